/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that read descriptor tables: VERR, VERW, LAR, LSL, far return to an outer ring,
 * INT n inside the kernel.
 *
 * Far returns and INT n are done for 64-bit mode only. Descriptors are read with supervisor rights
 * whatever the CPL (cpu->system). Their accessed bit is set only for segments that get loaded.
 */
#include "hv/x86/assist_priv.h"
#include <string.h>

enum { DT_TYPE = 40, DT_S = 44, DT_DPL = 45, DT_P = 47, DT_L = 53, DT_DB = 54, DT_G = 55 };

struct descriptor {
	uint64_t low, high, va;     /* high only of 16-byte system descriptors */
};

static unsigned dt_bits(const struct descriptor *d, unsigned shift, unsigned n)
{
	return (unsigned)(d->low >> shift & (BIT(n) - 1));
}

static uint32_t dt_limit(const struct descriptor *d)
{
	uint32_t limit = (uint32_t)(d->low & 0xffff) | (uint32_t)(d->low >> 32 & 0xf0000);

	return dt_bits(d, DT_G, 1) ? limit << 12 | 0xfff : limit;
}

static uint32_t dt_base(const struct descriptor *d)
{
	return (uint32_t)(d->low >> 16 & 0xffffff) | (uint32_t)(d->low >> 32 & 0xff000000);
}

static bool system_read(struct assist_cpu *cpu, uint64_t va, void *dst, size_t len)
{
	bool ok;

	cpu->system = true;
	ok = is_canonical(cpu, va) && is_canonical(cpu, va + len - 1);
	if (ok)
		ok = cpu->ops->read(cpu, va, dst, len, &cpu->fault);
	else
		raise_error(cpu, ASSIST_GP, 0);
	cpu->system = false;
	return ok;
}

/* 1: found, 0: beyond the table or null, -1: cpu->fault. */
static int dt_read(struct assist_cpu *cpu, uint16_t selector, struct descriptor *d)
{
	const struct kvm_sregs *s = cpu->sregs;
	uint64_t base = s->gdt.base;
	uint32_t limit = s->gdt.limit;

	if (!(selector & ~3u))
		return 0;
	if (selector & 4) {
		if (s->ldt.unusable || !s->ldt.present)
			return 0;
		base = s->ldt.base;
		limit = s->ldt.limit;
	}
	if ((selector | 7u) > limit)
		return 0;
	*d = (struct descriptor){ .va = base + (selector & ~7u) };
	return system_read(cpu, d->va, &d->low, 8) ? 1 : -1;
}

static bool in_protected_mode(const struct assist_cpu *cpu)
{
	return (cpu->sregs->cr0 & CR0_PE) && !(cpu->regs->rflags & RF_VM);
}

static void set_zf(struct assist_cpu *cpu, bool set)
{
	cpu->regs->rflags = (cpu->regs->rflags & ~(uint64_t)RF_ZF) | (set ? RF_ZF : 0);
}

static bool privilege_allows(struct assist_cpu *cpu, uint16_t selector, const struct descriptor *d)
{
	unsigned dpl = dt_bits(d, DT_DPL, 2);

	return dpl >= cpu_cpl(cpu) && dpl >= (selector & 3u);
}

/* verr /4, verw /5 */
enum assist_result seg_verr(struct assist_cpu *cpu, struct insn *in)
{
	bool write = (in->reg & 7) == 5, ok = false;
	struct descriptor d;
	uint64_t selector;
	int found;

	if (!in_protected_mode(cpu))
		return raise_fault(cpu, ASSIST_UD);
	if (!rm_read(cpu, in, 2, &selector))
		return access_failed(cpu);
	found = dt_read(cpu, (uint16_t)selector, &d);
	if (found < 0)
		return access_failed(cpu);
	if (found && dt_bits(&d, DT_S, 1)) {
		unsigned type = dt_bits(&d, DT_TYPE, 4);
		bool code = type & 8, conforming = code && (type & 4);

		ok = write ? !code && (type & 2) : !code || (type & 2);
		if (!(conforming && !write))
			ok = ok && privilege_allows(cpu, (uint16_t)selector, &d);
	}
	set_zf(cpu, ok);
	return ASSIST_DONE;
}

/* System descriptor types that LAR and LSL answer for: bit n = type n. */
static bool type_answers(const struct assist_cpu *cpu, unsigned type, bool limit)
{
	static const uint16_t lar64 = 1 << 2 | 1 << 9 | 1 << 11 | 1 << 12;
	static const uint16_t lsl64 = 1 << 2 | 1 << 9 | 1 << 11;
	static const uint16_t lar32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 9 |
				      1 << 11 | 1 << 12;
	static const uint16_t lsl32 = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 9 | 1 << 11;

	if (cpu->sregs->efer & EFER_LMA)
		return (limit ? lsl64 : lar64) >> type & 1;
	return (limit ? lsl32 : lar32) >> type & 1;
}

/* lar 0f 02, lsl 0f 03 */
enum assist_result seg_lar(struct assist_cpu *cpu, struct insn *in)
{
	bool limit = in->opcode == 3, ok = false;
	struct descriptor d;
	uint64_t selector;
	int found;

	if (!in_protected_mode(cpu))
		return raise_fault(cpu, ASSIST_UD);
	if (!rm_read(cpu, in, 2, &selector))
		return access_failed(cpu);
	found = dt_read(cpu, (uint16_t)selector, &d);
	if (found < 0)
		return access_failed(cpu);
	if (found) {
		unsigned type = dt_bits(&d, DT_TYPE, 4);
		bool segment = dt_bits(&d, DT_S, 1), conforming = segment && (type & 12) == 12;

		ok = segment || type_answers(cpu, type, limit);
		ok = ok && (conforming || privilege_allows(cpu, (uint16_t)selector, &d));
	}
	set_zf(cpu, ok);
	if (ok)
		reg_write(cpu, in->reg, in->osize,
			  limit ? dt_limit(&d) : d.low >> 32 & 0x00ffff00);
	return ASSIST_DONE;
}

static struct kvm_segment to_segment(uint16_t selector, const struct descriptor *d)
{
	return (struct kvm_segment){
		.base = dt_base(d), .limit = dt_limit(d), .selector = selector,
		.type = (uint8_t)(dt_bits(d, DT_TYPE, 4) | 1), .present = 1,
		.dpl = (uint8_t)dt_bits(d, DT_DPL, 2), .db = (uint8_t)dt_bits(d, DT_DB, 1),
		.s = 1, .l = (uint8_t)dt_bits(d, DT_L, 1), .g = (uint8_t)dt_bits(d, DT_G, 1),
	};
}

/* Descriptors of segments that get loaded are marked accessed in memory. */
static bool mark_accessed(struct assist_cpu *cpu, const struct descriptor *d)
{
	uint8_t type = (uint8_t)(d->low >> DT_TYPE | 1);
	bool ok;

	if (d->low & BIT(DT_TYPE))
		return true;
	cpu->system = true;
	ok = cpu->ops->write(cpu, d->va + 5, &type, 1, &cpu->fault);
	cpu->system = false;
	return ok;
}

static enum assist_result selector_fault(struct assist_cpu *cpu, int found, unsigned vector,
					 uint64_t selector)
{
	if (found < 0)
		return access_failed(cpu);
	return raise_error(cpu, vector, (uint32_t)selector & 0xfffc);
}

/* A data segment more privileged than the new CPL is lost. */
static void drop_segment(struct kvm_segment *s, unsigned cpl)
{
	bool conforming = (s->type & 12) == 12;

	if (!s->unusable && s->dpl < cpl && !conforming)
		*s = (struct kvm_segment){ .base = s->base, .unusable = 1 };
}

/* lret cb, lret imm16 ca: only to an outer ring and only from 64-bit code; KVM does the rest. */
enum assist_result seg_lret(struct assist_cpu *cpu, struct insn *in)
{
	unsigned size = in->w ? 8 : in->has66 ? 2 : 4, cpl = cpu_cpl(cpu), rpl;
	uint64_t rsp = cpu->regs->rsp, slot[4] = { 0 }, va;
	struct kvm_sregs *s = cpu->sregs;
	struct kvm_segment ss;
	struct descriptor cd, sd;
	int found;

	for (unsigned i = 0; i < 4; i++) {
		uint64_t extra = i >= 2 ? in->imm : 0;

		if (!linear(cpu, in, SEG_SS, rsp + i * size + extra, size, false, &va) ||
		    !cpu->ops->read(cpu, va, &slot[i], size, &cpu->fault))
			return access_failed(cpu);
		rpl = slot[1] & 3;
		if (i == 1 && rpl <= cpl)
			return ASSIST_UNKNOWN;
	}
	found = dt_read(cpu, (uint16_t)slot[1], &cd);
	if (found <= 0 || !dt_bits(&cd, DT_S, 1) || !(dt_bits(&cd, DT_TYPE, 4) & 8))
		return selector_fault(cpu, found, ASSIST_GP, slot[1]);
	if (dt_bits(&cd, DT_TYPE, 4) & 4 ? dt_bits(&cd, DT_DPL, 2) > rpl :
					   dt_bits(&cd, DT_DPL, 2) != rpl)
		return selector_fault(cpu, 1, ASSIST_GP, slot[1]);
	if (dt_bits(&cd, DT_L, 1) && dt_bits(&cd, DT_DB, 1))
		return selector_fault(cpu, 1, ASSIST_GP, slot[1]);
	if (!dt_bits(&cd, DT_P, 1))
		return selector_fault(cpu, 1, ASSIST_NP, slot[1]);
	if (!(slot[3] & 0xfffc)) {
		if (rpl == 3 || !dt_bits(&cd, DT_L, 1) || (slot[3] & 3) != rpl)
			return raise_error(cpu, ASSIST_GP, 0);
		ss = (struct kvm_segment){ .selector = (uint16_t)slot[3], .unusable = 1,
					   .dpl = (uint8_t)rpl };
	} else {
		found = dt_read(cpu, (uint16_t)slot[3], &sd);
		if (found <= 0 || (slot[3] & 3) != rpl || !dt_bits(&sd, DT_S, 1) ||
		    (dt_bits(&sd, DT_TYPE, 4) & 10) != 2 || dt_bits(&sd, DT_DPL, 2) != rpl)
			return selector_fault(cpu, found, ASSIST_GP, slot[3]);
		if (!dt_bits(&sd, DT_P, 1))
			return selector_fault(cpu, 1, ASSIST_SS, slot[3]);
		ss = to_segment((uint16_t)slot[3], &sd);
	}
	if (dt_bits(&cd, DT_L, 1) ? !is_canonical(cpu, slot[0]) : slot[0] > dt_limit(&cd))
		return raise_error(cpu, ASSIST_GP, 0);
	if (!mark_accessed(cpu, &cd) || (!ss.unusable && !mark_accessed(cpu, &sd)))
		return access_failed(cpu);
	s->cs = to_segment((uint16_t)slot[1], &cd);
	s->cs.dpl = (uint8_t)rpl;
	s->ss = ss;
	drop_segment(&s->ds, rpl);
	drop_segment(&s->es, rpl);
	drop_segment(&s->fs, rpl);
	drop_segment(&s->gs, rpl);
	cpu->sregs_changed = true;
	cpu->regs->rip = slot[0];
	reg_write(cpu, GPR_RSP, ss.unusable || s->cs.l || ss.db ? 8 : 2, slot[2] + in->imm);
	in->jumped = true;
	return ASSIST_DONE;
}

/*
 * INT n from CPL 0 through a 64-bit gate to a CPL 0 handler: what a kernel does to itself. There is
 * no ring to change, but the gate may name a stack of its own (IST).
 */
enum assist_result seg_int(struct assist_cpu *cpu, struct insn *in)
{
	struct kvm_sregs *s = cpu->sregs;
	unsigned gate_error = (in->imm & 0xff) << 3 | 2, type, ist;
	uint64_t gate[2], rsp = cpu->regs->rsp, frame[5], rip;
	struct descriptor g, cd;
	int found;

	if (in->mode != MODE_64 || cpu_cpl(cpu))
		return ASSIST_UNKNOWN;
	if ((in->imm & 0xff) * 16 + 15 > s->idt.limit)
		return raise_error(cpu, ASSIST_GP, gate_error);
	if (!system_read(cpu, s->idt.base + (in->imm & 0xff) * 16, gate, sizeof gate))
		return access_failed(cpu);
	g = (struct descriptor){ .low = gate[0], .high = gate[1] };
	type = dt_bits(&g, DT_TYPE, 5);
	if (type != 14 && type != 15)
		return raise_error(cpu, ASSIST_GP, gate_error);
	if (!dt_bits(&g, DT_P, 1))
		return raise_error(cpu, ASSIST_NP, gate_error);
	found = dt_read(cpu, (uint16_t)(gate[0] >> 16), &cd);
	if (found <= 0 || !dt_bits(&cd, DT_S, 1) || !(dt_bits(&cd, DT_TYPE, 4) & 8) ||
	    dt_bits(&cd, DT_DPL, 2) != 0 || !dt_bits(&cd, DT_L, 1) || dt_bits(&cd, DT_DB, 1))
		return selector_fault(cpu, found, ASSIST_GP, gate[0] >> 16);
	if (!dt_bits(&cd, DT_P, 1))
		return selector_fault(cpu, 1, ASSIST_NP, gate[0] >> 16);
	rip = (gate[0] & 0xffff) | (gate[0] >> 32 & 0xffff0000) | gate[1] << 32;
	if (!is_canonical(cpu, rip))
		return raise_error(cpu, ASSIST_GP, 0);
	ist = dt_bits(&g, 32, 3);
	if (ist) {
		if (28 + 8 * ist + 7 > s->tr.limit)
			return raise_error(cpu, ASSIST_GP, 0);
		if (!system_read(cpu, s->tr.base + 28 + 8 * ist, &rsp, sizeof rsp))
			return access_failed(cpu);
	}
	rsp &= ~15ull;
	frame[0] = cpu->regs->rip + in->len;
	frame[1] = s->cs.selector;
	frame[2] = cpu->regs->rflags & ~(uint64_t)RF_RF;
	frame[3] = cpu->regs->rsp;
	frame[4] = s->ss.selector;
	rsp -= sizeof frame;
	if (!is_canonical(cpu, rsp) || !is_canonical(cpu, rsp + sizeof frame - 1))
		return raise_error(cpu, ASSIST_SS, 0);
	if (!mark_accessed(cpu, &cd) ||
	    !cpu->ops->write(cpu, rsp, frame, sizeof frame, &cpu->fault))
		return access_failed(cpu);
	s->cs = to_segment((uint16_t)((gate[0] >> 16) & ~3u), &cd);
	cpu->sregs_changed = true;
	cpu->regs->rsp = rsp;
	cpu->regs->rip = rip;
	cpu->regs->rflags &= ~(uint64_t)(RF_TF | RF_NT | RF_RF | (type == 14 ? RF_IF : 0));
	in->jumped = true;
	return ASSIST_DONE;
}
