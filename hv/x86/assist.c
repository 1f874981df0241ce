/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entry points of the assist module: run one instruction, name one, list the rows.
 */
#include "hv/x86/assist_priv.h"
#include <stdio.h>
#include <string.h>

static void advance(struct assist_cpu *cpu, const struct insn *in)
{
	uint64_t rip = cpu->regs->rip + in->len;

	if (in->mode == MODE_32)
		rip = (uint32_t)rip;
	else if (in->mode == MODE_16)
		rip = (uint16_t)rip;
	cpu->regs->rip = rip;
}

static enum assist_result execute(struct assist_cpu *cpu, const uint8_t *bytes, unsigned len)
{
	bool stepping = cpu->regs->rflags & RF_TF;
	enum assist_result result;
	struct insn in;

	if (cpu->regs->rflags & RF_VM)
		return ASSIST_UNKNOWN;
	switch (insn_decode(&in, cpu, cpu_mode(cpu), bytes, len)) {
	case DECODE_UNKNOWN: return ASSIST_UNKNOWN;
	case DECODE_UD: return raise_fault(cpu, ASSIST_UD);
	case DECODE_OK: break;
	}
	cpu->row = in.row->run == simd_run ?
			   (int)(in.row - assist_simd_rows) + (int)assist_rows_n :
			   (int)(in.row - assist_rows);
	if ((in.row->flags & F_CPL0) && cpu_cpl(cpu))
		return raise_fault(cpu, ASSIST_UD);
	result = in.row->run(cpu, &in);
	if (result != ASSIST_DONE)
		return result;
	if (cpu->xstate_dirty && !cpu->ops->xstate(cpu, true))
		return ASSIST_UNKNOWN;
	if (!in.jumped) {
		advance(cpu, &in);
		cpu->regs->rflags &= ~(uint64_t)RF_RF;
	}
	if (stepping) {
		result = raise_fault(cpu, ASSIST_DB);
		cpu->fault.dr6 = BIT(14);
	}
	return result;
}

enum assist_result assist_run(struct assist_cpu *cpu, const uint8_t *bytes, unsigned len)
{
	struct kvm_regs regs = *cpu->regs;
	struct kvm_sregs sregs = *cpu->sregs;
	enum assist_result result;

	cpu->row = -1;
	cpu->fault = (struct assist_fault){ .vector = ASSIST_NOT_RAM };
	cpu->sregs_changed = false;
	cpu->system = false;
	cpu->xstate_loaded = false;
	cpu->xstate_dirty = false;
	result = execute(cpu, bytes, len);
	if (result == ASSIST_UNKNOWN) {
		*cpu->regs = regs;
		*cpu->sregs = sregs;
		cpu->sregs_changed = false;
	}
	return result;
}

unsigned assist_count(void)
{
	return assist_rows_n + assist_simd_rows_n;
}

const char *assist_name(unsigned i)
{
	if (i < assist_rows_n)
		return assist_rows[i].name;
	return i < assist_count() ? assist_simd_rows[i - assist_rows_n].name : "unknown";
}

const char *assist_describe(const uint8_t *bytes, unsigned len, char *buf)
{
	static const char *const enc[] = { [ENC_LEGACY] = "", [ENC_VEX] = "VEX ",
					   [ENC_EVEX] = "EVEX " };
	unsigned at, n = len > 15 ? 15 : len;
	enum decode_result result;
	struct insn in;

	if (!n)
		return strcpy(buf, "no instruction bytes");
	result = insn_decode(&in, NULL, MODE_64, bytes, n);
	if (result == DECODE_OK || (result == DECODE_UD && in.row)) {
		n = in.len;
		at = (unsigned)snprintf(buf, ASSIST_DESCRIBE_SIZE, "%s (", in.row->name);
	} else if (in.enc) {
		at = (unsigned)snprintf(buf, ASSIST_DESCRIBE_SIZE, "unknown %smap %u opcode %02x (",
					enc[in.enc], in.map, in.opcode);
	} else {
		at = (unsigned)snprintf(buf, ASSIST_DESCRIBE_SIZE, "unknown (");
	}
	for (unsigned i = 0; i < n; i++)
		at += (unsigned)snprintf(buf + at, ASSIST_DESCRIBE_SIZE - at, "%s%02x",
					 i ? " " : "", bytes[i]);
	snprintf(buf + at, ASSIST_DESCRIBE_SIZE - at, ")");
	return buf;
}
