/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System instructions that need no descriptor tables: breakpoints, #UD on purpose, SMAP's AC flag,
 * TLB, time stamps, protection keys, cache lines, MONITOR/MWAIT, SYSRET.
 */
#include "hv/x86/assist_priv.h"
#include <string.h>

/* Traps: rip is already behind the instruction when the exception is delivered. */
enum assist_result sys_int3(struct assist_cpu *cpu, struct insn *in)
{
	cpu->regs->rip += in->len;
	return raise_fault(cpu, ASSIST_BP);
}

enum assist_result sys_int1(struct assist_cpu *cpu, struct insn *in)
{
	cpu->regs->rip += in->len;
	return raise_fault(cpu, ASSIST_DB);
}

enum assist_result sys_ud(struct assist_cpu *cpu, struct insn *in)
{
	return raise_fault(cpu, ASSIST_UD);
}

enum assist_result sys_stac(struct assist_cpu *cpu, struct insn *in)
{
	cpu->regs->rflags |= RF_AC;
	return ASSIST_DONE;
}

enum assist_result sys_clac(struct assist_cpu *cpu, struct insn *in)
{
	cpu->regs->rflags &= ~(uint64_t)RF_AC;
	return ASSIST_DONE;
}

enum assist_result sys_invpcid(struct assist_cpu *cpu, struct insn *in)
{
	uint64_t type = reg_read(cpu, in->reg, in->mode == MODE_64 ? 8 : 4), descriptor[2];

	if (!mem_read(cpu, in, 0, descriptor, sizeof descriptor))
		return access_failed(cpu);
	if (type > 3)
		return raise_error(cpu, ASSIST_GP, 0);
	if (type < 2) {
		if (descriptor[0] >> 12)
			return raise_error(cpu, ASSIST_GP, 0);
		if (descriptor[0] && !(cpu->sregs->cr4 & CR4_PCIDE))
			return raise_error(cpu, ASSIST_GP, 0);
	}
	if (type == 0 && !is_canonical(cpu, descriptor[1]))
		return raise_error(cpu, ASSIST_GP, 0);
	if (!cpu->ops->flush_tlb)
		return ASSIST_UNKNOWN;
	cpu->ops->flush_tlb(cpu, (unsigned)type, descriptor[0] & 0xfff, descriptor[1]);
	return ASSIST_DONE;
}

enum assist_result sys_rdtscp(struct assist_cpu *cpu, struct insn *in)
{
	uint64_t tsc;

	if ((cpu->sregs->cr4 & CR4_TSD) && cpu_cpl(cpu))
		return raise_error(cpu, ASSIST_GP, 0);
	tsc = cpu->ops->tsc(cpu);
	reg_write(cpu, GPR_RAX, 4, tsc);
	reg_write(cpu, GPR_RDX, 4, tsc >> 32);
	reg_write(cpu, GPR_RCX, 4, cpu->ops->tsc_aux(cpu));
	return ASSIST_DONE;
}

enum assist_result sys_rdpid(struct assist_cpu *cpu, struct insn *in)
{
	reg_write(cpu, in->rm, in->mode == MODE_64 ? 8 : 4, cpu->ops->tsc_aux(cpu));
	return ASSIST_DONE;
}

/* Where PKRU lies in the XSAVE image; NULL: the result is in *result. */
static uint8_t *pkru(struct assist_cpu *cpu, enum assist_result *result)
{
	const struct assist_layout *l = cpu->layout;

	*result = ASSIST_UNKNOWN;
	if (!(cpu->sregs->cr4 & CR4_PKE)) {
		*result = raise_fault(cpu, ASSIST_UD);
		return NULL;
	}
	if ((uint32_t)cpu->regs->rcx) {
		*result = raise_error(cpu, ASSIST_GP, 0);
		return NULL;
	}
	if (!(l->user & BIT(9)) || l->offset[9] + 4 > cpu->xsave_size || !xstate_load(cpu))
		return NULL;
	return (uint8_t *)cpu->xsave + l->offset[9];
}

enum assist_result sys_rdpkru(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result;
	const uint8_t *p = pkru(cpu, &result);
	uint32_t value;

	if (!p)
		return result;
	memcpy(&value, p, sizeof value);
	reg_write(cpu, GPR_RAX, 4, value);
	reg_write(cpu, GPR_RDX, 4, 0);
	return ASSIST_DONE;
}

enum assist_result sys_wrpkru(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result;
	uint32_t value = (uint32_t)cpu->regs->rax;
	uint8_t *p = pkru(cpu, &result);

	if (!p)
		return result;
	if ((uint32_t)cpu->regs->rdx)
		return raise_error(cpu, ASSIST_GP, 0);
	memcpy(p, &value, sizeof value);
	xstate_touch(cpu, BIT(9));
	return ASSIST_DONE;
}

/*
 * MONITOR checks its address like a byte load, MWAIT may always end at once. So a guest that idles
 * with MWAIT polls, which is right but warm: better not to show it MONITOR in CPUID.
 */
enum assist_result sys_monitor(struct assist_cpu *cpu, struct insn *in)
{
	uint8_t byte;
	uint64_t va;

	if (in->opcode == 0x01 && in->rm == 0 && (uint32_t)cpu->regs->rcx)
		return raise_error(cpu, ASSIST_GP, 0);
	if (!linear(cpu, in, SEG_DS, reg_read(cpu, GPR_RAX, in->asize), 1, false, &va) ||
	    !cpu->ops->read(cpu, va, &byte, 1, &cpu->fault))
		return access_failed(cpu);
	return ASSIST_DONE;
}

enum assist_result sys_mwait(struct assist_cpu *cpu, struct insn *in)
{
	return ASSIST_DONE;
}

/* Host caches are coherent: writing back a line only has to fault where a load would. */
enum assist_result sys_clwb(struct assist_cpu *cpu, struct insn *in)
{
	uint8_t byte;

	return mem_read(cpu, in, 0, &byte, 1) ? ASSIST_DONE : access_failed(cpu);
}

enum assist_result sys_clzero(struct assist_cpu *cpu, struct insn *in)
{
	static const uint8_t zero[64];
	uint64_t off = reg_read(cpu, GPR_RAX, in->asize) & ~63ull, va;

	if (!linear(cpu, in, SEG_DS, off, sizeof zero, true, &va) ||
	    !cpu->ops->write(cpu, va, zero, sizeof zero, &cpu->fault))
		return access_failed(cpu);
	return ASSIST_DONE;
}

static struct kvm_segment flat(uint64_t selector, unsigned type, bool is64)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = (uint16_t)(selector | 3), .type = (uint8_t)type,
		.present = 1, .dpl = 3, .db = !is64, .s = 1, .l = is64, .g = 1,
	};
}

/* To CPL 3 with flat segments, whatever the descriptor tables hold. */
enum assist_result sys_sysret(struct assist_cpu *cpu, struct insn *in)
{
	struct kvm_regs *r = cpu->regs;
	uint64_t star;

	if (!(cpu->sregs->efer & EFER_SCE) || in->mode != MODE_64)
		return raise_fault(cpu, ASSIST_UD);
	if (!cpu->ops->msr || !cpu->ops->msr(cpu, 0xc0000081, &star))
		return ASSIST_UNKNOWN;
	if (in->w && !is_canonical(cpu, r->rcx))
		return raise_error(cpu, ASSIST_GP, 0);
	star >>= 48;
	cpu->sregs->cs = flat(star + (in->w ? 16 : 0), 11, in->w);
	cpu->sregs->ss = flat(star + 8, 3, false);
	cpu->sregs_changed = true;
	r->rip = in->w ? r->rcx : (uint32_t)r->rcx;
	r->rflags = (r->r11 & 0x3c7fd7) | 2;
	in->jumped = true;
	return ASSIST_DONE;
}
