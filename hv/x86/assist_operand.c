/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Registers, segments and memory as an instruction's operands see them.
 */
#include "hv/x86/assist_priv.h"

/* x86 register number -> struct kvm_regs member, which has its own order. */
static const uint8_t reg_offset[16] = {
	offsetof(struct kvm_regs, rax), offsetof(struct kvm_regs, rcx),
	offsetof(struct kvm_regs, rdx), offsetof(struct kvm_regs, rbx),
	offsetof(struct kvm_regs, rsp), offsetof(struct kvm_regs, rbp),
	offsetof(struct kvm_regs, rsi), offsetof(struct kvm_regs, rdi),
	offsetof(struct kvm_regs, r8),  offsetof(struct kvm_regs, r9),
	offsetof(struct kvm_regs, r10), offsetof(struct kvm_regs, r11),
	offsetof(struct kvm_regs, r12), offsetof(struct kvm_regs, r13),
	offsetof(struct kvm_regs, r14), offsetof(struct kvm_regs, r15),
};

static __u64 *reg_slot(const struct assist_cpu *cpu, unsigned reg)
{
	return (__u64 *)((char *)cpu->regs + reg_offset[reg & 15]);
}

uint64_t reg_read(const struct assist_cpu *cpu, unsigned reg, unsigned size)
{
	uint64_t v = *reg_slot(cpu, reg);

	return size == 8 ? v : v & (BIT(8 * size) - 1);
}

void reg_write(struct assist_cpu *cpu, unsigned reg, unsigned size, uint64_t value)
{
	__u64 *slot = reg_slot(cpu, reg);
	uint64_t keep = size >= 4 ? 0 : ~(BIT(8 * size) - 1);

	if (size == 4)
		value = (uint32_t)value;
	*slot = (*slot & keep) | (value & ~keep);
}

unsigned cpu_mode(const struct assist_cpu *cpu)
{
	const struct kvm_segment *cs = &cpu->sregs->cs;

	if ((cpu->sregs->efer & EFER_LMA) && cs->l)
		return MODE_64;
	return (cpu->sregs->cr0 & CR0_PE) && cs->db ? MODE_32 : MODE_16;
}

unsigned cpu_cpl(const struct assist_cpu *cpu)
{
	return cpu->sregs->cr0 & CR0_PE ? cpu->sregs->ss.dpl & 3 : 0;
}

bool is_canonical(const struct assist_cpu *cpu, uint64_t va)
{
	unsigned shift = cpu->sregs->cr4 & CR4_LA57 ? 7 : 16;

	return (uint64_t)((int64_t)(va << shift) >> shift) == va;
}

enum assist_result raise_fault(struct assist_cpu *cpu, unsigned vector)
{
	cpu->fault = (struct assist_fault){ .vector = (uint8_t)vector };
	return ASSIST_FAULT;
}

enum assist_result raise_error(struct assist_cpu *cpu, unsigned vector, uint32_t error)
{
	cpu->fault = (struct assist_fault){ .vector = (uint8_t)vector, .has_error = true,
					    .error = error };
	return ASSIST_FAULT;
}

enum assist_result access_failed(struct assist_cpu *cpu)
{
	return cpu->fault.vector == ASSIST_NOT_RAM ? ASSIST_UNKNOWN : ASSIST_FAULT;
}

static const struct kvm_segment *segment(const struct assist_cpu *cpu, unsigned seg)
{
	const struct kvm_sregs *s = cpu->sregs;
	const struct kvm_segment *all[SEG_N] = {
		[SEG_ES] = &s->es, [SEG_CS] = &s->cs, [SEG_SS] = &s->ss,
		[SEG_DS] = &s->ds, [SEG_FS] = &s->fs, [SEG_GS] = &s->gs,
	};

	return all[seg];
}

/* Rights and limit of a segment outside 64-bit mode. */
static bool segment_allows(const struct assist_cpu *cpu, const struct kvm_segment *s, uint64_t off,
			   size_t len, bool write)
{
	bool code = s->type & 8;

	if (cpu->sregs->cr0 & CR0_PE) {
		if (s->unusable || !s->present)
			return false;
		if (!(s->type & 2) && (write || code))
			return false;
		if (write && code)
			return false;
	}
	if (!code && (s->type & 4)) {               /* expand-down: valid above the limit */
		uint64_t top = s->db ? 0xffffffff : 0xffff;

		return off > s->limit && off <= top && len - 1 <= top - off;
	}
	return off <= s->limit && len - 1 <= s->limit - off;
}

bool linear(struct assist_cpu *cpu, const struct insn *in, unsigned seg, uint64_t off, size_t len,
	    bool write, uint64_t *va)
{
	const struct kvm_segment *s = segment(cpu, seg);
	uint64_t a;

	if (in->mode == MODE_64) {
		a = off + (seg == SEG_FS || seg == SEG_GS ? s->base : 0);
		if (is_canonical(cpu, a) && is_canonical(cpu, a + len - 1) && a + len - 1 >= a) {
			*va = a;
			return true;
		}
	} else if (segment_allows(cpu, s, off, len, write)) {
		a = (uint32_t)(s->base + off);
		if (a + len - 1 <= 0xffffffff) {
			*va = a;
			return true;
		}
		cpu->fault = (struct assist_fault){ .vector = ASSIST_NOT_RAM };     /* wraps */
		return false;
	}
	raise_error(cpu, seg == SEG_SS ? ASSIST_SS : ASSIST_GP, 0);
	return false;
}

bool mem_read(struct assist_cpu *cpu, const struct insn *in, uint64_t offset, void *dst, size_t len)
{
	uint64_t va;

	return linear(cpu, in, in->seg, in->ea + offset, len, false, &va) &&
	       cpu->ops->read(cpu, va, dst, len, &cpu->fault);
}

bool mem_write(struct assist_cpu *cpu, const struct insn *in, uint64_t offset, const void *src,
	       size_t len)
{
	uint64_t va;

	return linear(cpu, in, in->seg, in->ea + offset, len, true, &va) &&
	       cpu->ops->write(cpu, va, src, len, &cpu->fault);
}

bool rm_read(struct assist_cpu *cpu, const struct insn *in, unsigned size, uint64_t *value)
{
	uint64_t v = 0;

	if (in->mem) {
		if (!mem_read(cpu, in, 0, &v, size))    /* little-endian */
			return false;
	} else if (size == 1 && !in->rex && in->rm >= 4) {
		v = reg_read(cpu, in->rm - 4u, 8) >> 8 & 0xff;     /* ah, ch, dh, bh */
	} else {
		v = reg_read(cpu, in->rm, size);
	}
	*value = v;
	return true;
}
