/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Vector, opmask and x87 instructions: operands fetched here, execution in assist_native.c.
 *
 * Limits: gathers, scatters, VMASKMOV and MASKMOVQ have no row. Of loads only moves and expansions
 * suppress the faults of masked-out elements; with other masked instructions a fault anywhere in
 * the memory operand is raised.
 */
#include "hv/x86/assist_native.h"
#include "hv/x86/assist_priv.h"
#include <signal.h>
#include <string.h>

enum { BASE = GPR_RDI, GPR = GPR_RBX };     /* what operands become */

static void encode_legacy(const struct insn *in, unsigned reg, unsigned rm, uint8_t **p)
{
	static const uint8_t escape[4][2] = { { 0 }, { 0 }, { 0x38 }, { 0x3a } };
	unsigned rex = (in->w ? 8u : 0) | (reg & 8 ? 4 : 0) | (rm & 8 ? 1 : 0);

	if (in->pp == PP_66)
		*(*p)++ = 0x66;
	else if (in->pp == PP_F3)
		*(*p)++ = 0xf3;
	else if (in->pp == PP_F2)
		*(*p)++ = 0xf2;
	if (rex)
		*(*p)++ = (uint8_t)(0x40 | rex);
	if (in->map)
		*(*p)++ = 0x0f;
	if (in->map > 1)
		*(*p)++ = escape[in->map][0];
}

static void encode_vex(const struct insn *in, unsigned reg, unsigned rm, uint8_t **p)
{
	unsigned pp = in->pp == PP_66 ? 1 : in->pp == PP_F3 ? 2 : in->pp == PP_F2 ? 3 : 0;
	unsigned v = ~in->vvvv & 15u;

	if (in->enc == ENC_VEX) {
		*(*p)++ = 0xc4;
		*(*p)++ = (uint8_t)((reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | in->map);
		*(*p)++ = (uint8_t)((in->w ? 0x80 : 0) | v << 3 | (unsigned)in->vlen << 2 | pp);
		return;
	}
	*(*p)++ = 0x62;
	*(*p)++ = (uint8_t)((reg & 8 ? 0 : 0x80) | (rm & 16 ? 0 : 0x40) | (rm & 8 ? 0 : 0x20) |
			    (reg & 16 ? 0 : 0x10) | in->map);
	*(*p)++ = (uint8_t)((in->w ? 0x80 : 0) | v << 3 | 4 | pp);
	*(*p)++ = (uint8_t)((in->zeroing ? 0x80 : 0) | (unsigned)in->vlen << 5 |
			    (in->broadcast ? 0x10 : 0) | (in->vvvv & 16 ? 0 : 8) | in->mask);
}

static unsigned encode(const struct insn *in, uint8_t *code)
{
	unsigned reg = in->row->flags & F_GPR_REG ? GPR : in->reg, rm = in->rm;
	uint8_t *p = code;

	if (in->mem)
		rm = BASE;
	else if (in->row->flags & F_GPR_RM)
		rm = GPR;
	if (in->enc == ENC_LEGACY)
		encode_legacy(in, reg, rm, &p);
	else
		encode_vex(in, reg, rm, &p);
	*p++ = in->opcode;
	*p++ = (uint8_t)((in->mem ? 0 : 0xc0) | (reg & 7) << 3 | (rm & 7));
	if (in->row->flags & F_IMM8)
		*p++ = (uint8_t)in->imm;
	return (unsigned)(p - code);
}

/* The elements of the memory operand: their size, and which of them are accessed. */
struct elements {
	unsigned size, n;
	uint64_t mask;
};

static bool elements_of(struct assist_cpu *cpu, const struct insn *in, unsigned len,
			struct elements *e)
{
	const struct assist_layout *l = cpu->layout;
	uint32_t flags = in->row->flags;

	if ((flags & F_EBW) == F_EBW)
		e->size = in->w ? 2 : 1;
	else
		e->size = flags & F_E1 ? 1 : flags & F_E2 ? 2 : in->w ? 8 : 4;
	if (flags & F_PACK)
		len = 16u << in->vlen;
	e->n = len > e->size ? len / e->size : 1;
	e->mask = e->n == 64 ? ~0ull : BIT(e->n) - 1;
	if (in->mask) {
		uint64_t k;

		if (!(l->user & BIT(5)) || l->offset[5] + 64 > cpu->xsave_size)
			return false;
		memcpy(&k, (char *)cpu->xsave + l->offset[5] + 8 * in->mask, sizeof k);
		e->mask &= k;
	}
	if (flags & F_PACK) {
		e->n = (unsigned)__builtin_popcountll(e->mask);
		e->mask = e->n == 64 ? ~0ull : BIT(e->n) - 1;
	}
	return true;
}

static enum assist_result load(struct assist_cpu *cpu, const struct insn *in, unsigned len,
			       uint8_t *mem)
{
	struct elements e;

	if (in->row->flags & F_PACK) {
		if (!elements_of(cpu, in, len, &e))
			return ASSIST_UNKNOWN;
		if (e.n && !mem_read(cpu, in, 0, mem, e.n * e.size))
			return access_failed(cpu);
		return ASSIST_DONE;
	}
	if (mem_read(cpu, in, 0, mem, len))
		return ASSIST_DONE;
	if (!in->mask || in->broadcast || !(in->row->flags & F_SUPPRESS))
		return access_failed(cpu);
	if (!elements_of(cpu, in, len, &e))
		return ASSIST_UNKNOWN;
	for (unsigned i = 0; i < e.n; i++) {
		if ((e.mask >> i & 1) &&
		    !mem_read(cpu, in, i * e.size, mem + i * e.size, e.size))
			return access_failed(cpu);
	}
	return ASSIST_DONE;
}

/* Runs of unmasked elements, so that no masked-out byte is touched. */
static enum assist_result store(struct assist_cpu *cpu, const struct insn *in, unsigned len,
				const uint8_t *mem)
{
	struct elements e;
	unsigned end;

	if (!in->mask && !(in->row->flags & F_PACK))
		return mem_write(cpu, in, 0, mem, len) ? ASSIST_DONE : access_failed(cpu);
	if (!elements_of(cpu, in, len, &e))
		return ASSIST_UNKNOWN;
	for (unsigned i = 0; i < e.n; i = end + 1) {
		for (end = i; end < e.n && (e.mask >> end & 1); end++)
			;
		if (end > i && !mem_write(cpu, in, i * e.size, mem + i * e.size,
					  (end - i) * e.size))
			return access_failed(cpu);
	}
	return ASSIST_DONE;
}

static enum assist_result usable(struct assist_cpu *cpu, const struct insn *in)
{
	bool mmx = (in->row->flags & F_MMX) && in->enc == ENC_LEGACY && in->pp == PP_NONE;

	if (in->row->flags & F_X87) {
		if (cpu->sregs->cr0 & (CR0_EM | CR0_TS))
			return raise_fault(cpu, ASSIST_NM);
	} else if (mmx) {
		if (cpu->sregs->cr0 & CR0_EM)
			return raise_fault(cpu, ASSIST_UD);
		if (cpu->sregs->cr0 & CR0_TS)
			return raise_fault(cpu, ASSIST_NM);
	} else {
		bool wide = in->enc == ENC_EVEX || (in->row->flags & F_OPMASK);

		return xstate_usable(cpu, wide ? 0xe6 : in->enc == ENC_VEX ? 6 : 2);
	}
	return xstate_load(cpu) ? ASSIST_DONE : ASSIST_UNKNOWN;
}

static enum assist_result signalled(struct assist_cpu *cpu, const struct insn *in, int sig)
{
	bool mmx = (in->row->flags & F_MMX) && in->enc == ENC_LEGACY && in->pp == PP_NONE;

	switch (sig) {
	case SIGSEGV:               /* alignment: the address itself is good */
		return raise_error(cpu, ASSIST_GP, 0);
	case SIGFPE:
		if (!cpu->ops->xstate(cpu, true))   /* exception flags in MXCSR */
			return ASSIST_UNKNOWN;
		if ((in->row->flags & F_X87) || mmx)
			return cpu->sregs->cr0 & CR0_NE ? raise_fault(cpu, ASSIST_MF) :
							  ASSIST_UNKNOWN;
		return raise_fault(cpu, cpu->sregs->cr4 & CR4_OSXMMEXCPT ? ASSIST_XM : ASSIST_UD);
	default:
		return raise_fault(cpu, ASSIST_UD);
	}
}

/* x87 instruction and data pointers that are ours after the run become the guest's. */
static void fix_pointers(struct assist_cpu *cpu, const struct insn *in,
			 const struct assist_native_call *call)
{
	uint64_t fip, fdp, mem = (uint64_t)(uintptr_t)call->mem;
	uint8_t *x = cpu->xsave;

	memcpy(&fip, x + XS_FIP, sizeof fip);
	memcpy(&fdp, x + XS_FDP, sizeof fdp);
	if (fip == call->address)
		memcpy(x + XS_FIP, &cpu->regs->rip, sizeof fip);
	if (fdp == mem)
		memcpy(x + XS_FDP, &in->ea, sizeof fdp);
}

enum assist_result simd_run(struct assist_cpu *cpu, struct insn *in)
{
	bool gpr = in->row->flags & (F_GPR_REG | F_GPR_RM);
	struct kvm_regs *r = cpu->regs;
	_Alignas(64) uint8_t buffer[128] = { 0 };
	struct assist_native_call call;
	enum assist_result result;
	unsigned len = 0, explicit = 0;
	uint8_t *mem;
	uint64_t va = 0;
	int sig;

	if (!cpu->native || ((uintptr_t)cpu->xsave & 63))
		return ASSIST_UNKNOWN;
	if (in->mode != MODE_64) {
		if (in->enc == ENC_EVEX)
			return ASSIST_UNKNOWN;
		if (gpr)
			in->w = false;
	}
	result = usable(cpu, in);
	if (result != ASSIST_DONE)
		return result;
	if (in->mem) {
		len = insn_vector_size(in);
		if (!len)
			return raise_fault(cpu, ASSIST_UD);
		/* the processor checks alignment on an address with the same low bits */
		if (!linear(cpu, in, in->seg, in->ea, len, in->row->flags & F_STORE, &va))
			return access_failed(cpu);
	}
	mem = buffer + (va & 63);
	if (in->mem && !(in->row->flags & F_STORE)) {
		result = load(cpu, in, len, mem);
		if (result != ASSIST_DONE)
			return result;
	}
	if (gpr)
		explicit = in->row->flags & F_GPR_REG ? in->reg : in->rm;
	if ((in->row->flags & F_GPR_REG) && explicit > 15)
		return raise_fault(cpu, ASSIST_UD);
	call = (struct assist_native_call){
		.rax = r->rax, .rcx = r->rcx, .rdx = r->rdx,
		.rbx = gpr ? reg_read(cpu, explicit, 8) : 0, .rflags = r->rflags, .mem = mem,
		.xsave = cpu->xsave, .components = cpu->layout->user & 0xe7,
	};
	call.code_len = encode(in, call.code);
	sig = assist_native_run(cpu->native, &call);
	fix_pointers(cpu, in, &call);
	if (sig)
		return signalled(cpu, in, sig);
	if (in->mem && (in->row->flags & F_STORE) &&
	    !((in->row->flags & F_X87) && (xstate_u16(cpu, XS_FSW) & 0x80))) {
		result = store(cpu, in, len, mem);
		if (result != ASSIST_DONE)
			return result;
	}
	cpu->xstate_dirty = true;
	r->rax = call.rax;
	r->rcx = call.rcx;
	r->rdx = call.rdx;
	if (gpr && !(in->mem && (in->row->flags & F_GPR_RM)))
		reg_write(cpu, explicit, 8, call.rbx);
	r->rflags = (r->rflags & ~(uint64_t)RF_ARITH) | call.rflags;
	return ASSIST_DONE;
}
