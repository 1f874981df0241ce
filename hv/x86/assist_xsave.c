/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XGETBV, XSAVE, XSAVEOPT, XSAVEC, XSAVES, XRSTOR, XRSTORS on the guest's extended state.
 *
 * Theory: cpu->xsave is the state, in the standard format; its XSTATE_BV is the processor's XINUSE.
 * KVM fills components that are not in use with their initial values, so every component can be
 * read at any time; one that gets changed is marked in use (xstate_touch()).
 *
 * No supervisor component is enabled in IA32_XSS on the hosts this is for, so XSAVES and XRSTORS
 * move user components only, like XSAVEC and a compacted XRSTOR that insists on CPL 0.
 */
#include "hv/x86/assist_priv.h"
#include <cpuid.h>
#include <string.h>

#define X87 BIT(0)
#define SSE BIT(1)
#define AVX BIT(2)
#define COMPACTED BIT(63)
#define MXCSR_INIT 0x1f80u
#define FCW_INIT 0x37fu

bool assist_layout_init(struct assist_layout *layout)
{
	struct assist_layout l = { .mxcsr_mask = 0xffff };
	unsigned a, b, c, d;
	_Alignas(16) uint8_t fx[512] = { 0 };

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return false;
	__asm__ volatile("fxsave64 %0" : "=m"(fx));
	if (fx[28] || fx[29])
		memcpy(&l.mxcsr_mask, fx + 28, sizeof l.mxcsr_mask);
	__cpuid_count(0xd, 0, a, b, c, d);
	l.user = (uint64_t)d << 32 | a;
	if (!(l.user & SSE) || c > ASSIST_XSAVE_MAX)
		return false;
	for (unsigned i = 2; i < 63; i++) {
		if (!(l.user & BIT(i)))
			continue;
		__cpuid_count(0xd, i, a, b, c, d);
		if (a > 4096) {             /* tiles: more than assist_ops moves at once */
			l.user &= ~BIT(i);
			continue;
		}
		if (b < XS_EXT || a > ASSIST_XSAVE_MAX || b > ASSIST_XSAVE_MAX - a)
			return false;
		l.size[i] = a;
		l.offset[i] = b;
		if (c & 2)
			l.aligned |= BIT(i);
	}
	*layout = l;
	return true;
}

static uint64_t field64(const struct assist_cpu *cpu, unsigned offset)
{
	uint64_t v;

	memcpy(&v, (const char *)cpu->xsave + offset, sizeof v);
	return v;
}

uint32_t xstate_u32(const struct assist_cpu *cpu, unsigned offset)
{
	uint32_t v;

	memcpy(&v, (const char *)cpu->xsave + offset, sizeof v);
	return v;
}

uint16_t xstate_u16(const struct assist_cpu *cpu, unsigned offset)
{
	uint16_t v;

	memcpy(&v, (const char *)cpu->xsave + offset, sizeof v);
	return v;
}

bool xstate_load(struct assist_cpu *cpu)
{
	if (!cpu->xstate_loaded)
		cpu->xstate_loaded = cpu->xsave && cpu->xsave_size >= 4096 &&
				     cpu->ops->xstate(cpu, false);
	return cpu->xstate_loaded;
}

void xstate_touch(struct assist_cpu *cpu, uint64_t components)
{
	uint64_t bv = field64(cpu, XS_BV) | components;

	memcpy((char *)cpu->xsave + XS_BV, &bv, sizeof bv);
	cpu->xstate_dirty = true;
}

enum assist_result xstate_usable(struct assist_cpu *cpu, uint64_t components)
{
	const struct kvm_sregs *s = cpu->sregs;
	uint64_t xcr0;

	if (components & AVX) {
		if (!(s->cr4 & CR4_OSXSAVE))
			return raise_fault(cpu, ASSIST_UD);
		if (!cpu->ops->xcr0(cpu, &xcr0))
			return ASSIST_UNKNOWN;
		if (components & ~xcr0)
			return raise_fault(cpu, ASSIST_UD);
	} else if ((s->cr0 & CR0_EM) || !(s->cr4 & CR4_OSFXSR)) {
		return raise_fault(cpu, ASSIST_UD);
	}
	if (s->cr0 & CR0_TS)
		return raise_fault(cpu, ASSIST_NM);
	return xstate_load(cpu) ? ASSIST_DONE : ASSIST_UNKNOWN;
}

/* XINUSE, with MXCSR's share: it belongs to SSE and has no bit of its own. */
static uint64_t in_use(const struct assist_cpu *cpu)
{
	uint64_t bv = field64(cpu, XS_BV);

	return xstate_u32(cpu, XS_MXCSR) == MXCSR_INIT ? bv : bv | SSE;
}

enum assist_result xs_xgetbv(struct assist_cpu *cpu, struct insn *in)
{
	uint32_t which = (uint32_t)cpu->regs->rcx;
	uint64_t value;

	if (!(cpu->sregs->cr4 & CR4_OSXSAVE))
		return raise_fault(cpu, ASSIST_UD);
	if (which > 1)
		return raise_error(cpu, ASSIST_GP, 0);
	if (!cpu->ops->xcr0(cpu, &value) || (which == 1 && !xstate_load(cpu)))
		return ASSIST_UNKNOWN;
	if (which == 1)
		value &= in_use(cpu);
	reg_write(cpu, GPR_RAX, 4, value);
	reg_write(cpu, GPR_RDX, 4, value >> 32);
	return ASSIST_DONE;
}

enum xsave_kind { XSAVE, XSAVEOPT, XSAVEC, XSAVES };

struct area {                       /* one execution of an instruction of the family */
	uint64_t rfbm, xcr0;
	bool is64;                  /* REX.W: x87 pointers in the 64-bit format */
};

/* Common checks; fills *a, loads the state. */
static enum assist_result begin(struct assist_cpu *cpu, const struct insn *in, bool supervisor,
				bool write, struct area *a)
{
	uint64_t va;

	if (!(cpu->sregs->cr4 & CR4_OSXSAVE))
		return raise_fault(cpu, ASSIST_UD);
	if (supervisor && cpu_cpl(cpu))
		return raise_error(cpu, ASSIST_GP, 0);
	if (cpu->sregs->cr0 & CR0_TS)
		return raise_fault(cpu, ASSIST_NM);
	if (!linear(cpu, in, in->seg, in->ea, XS_EXT, write, &va))
		return access_failed(cpu);
	if (va & 63)
		return raise_error(cpu, ASSIST_GP, 0);
	if (!cpu->ops->xcr0(cpu, &a->xcr0) || !xstate_load(cpu))
		return ASSIST_UNKNOWN;
	if (a->xcr0 & ~cpu->layout->user)
		return ASSIST_UNKNOWN;      /* the guest enabled what we do not know */
	a->rfbm = ((uint64_t)(uint32_t)cpu->regs->rdx << 32 | (uint32_t)cpu->regs->rax) & a->xcr0;
	a->is64 = in->w;
	return ASSIST_DONE;
}

/* Offset of component i in an area of that format; 0: not in it. */
static unsigned component_offset(const struct assist_layout *l, uint64_t xcomp, unsigned i)
{
	unsigned offset = XS_EXT;

	if (!(xcomp & COMPACTED))
		return l->offset[i];
	for (unsigned n = 2; n <= i; n++) {
		if (!(xcomp & BIT(n)))
			continue;
		if (l->aligned & BIT(n))
			offset = (offset + 63) & ~63u;
		if (n == i)
			return offset;
		offset += l->size[n];
	}
	return 0;
}

static bool fits(const struct assist_cpu *cpu, unsigned i)
{
	return cpu->layout->offset[i] + cpu->layout->size[i] <= cpu->xsave_size;
}

/* The first 24 bytes: control, status, tag, opcode, pointers; their width depends on REX.W. */
static void x87_head(const struct assist_cpu *cpu, bool is64, uint8_t head[24])
{
	memcpy(head, cpu->xsave, 24);
	if (!is64) {                        /* selectors are saved as 0, as processors without them */
		memset(head + XS_FIP + 4, 0, 4);
		memset(head + XS_FDP + 4, 0, 4);
	}
}

static enum assist_result save(struct assist_cpu *cpu, const struct insn *in,
			       enum xsave_kind kind)
{
	uint64_t use, write_bv, bv, xcomp = 0, header[2];
	const uint8_t *x = cpu->xsave;
	uint8_t head[24];
	enum assist_result result;
	struct area a;

	result = begin(cpu, in, kind == XSAVES, true, &a);
	if (result != ASSIST_DONE)
		return result;
	use = kind >= XSAVEC ? in_use(cpu) : field64(cpu, XS_BV);
	write_bv = kind == XSAVE ? a.rfbm : a.rfbm & use;
	if (kind >= XSAVEC) {
		xcomp = a.rfbm | COMPACTED;
		bv = a.rfbm & use;
	} else {
		if (!mem_read(cpu, in, XS_BV, &bv, sizeof bv))
			return access_failed(cpu);
		bv = (bv & ~a.rfbm) | (use & a.rfbm);
	}
	if (write_bv & X87) {
		x87_head(cpu, a.is64, head);
		if (!mem_write(cpu, in, 0, head, sizeof head) ||
		    !mem_write(cpu, in, XS_ST, x + XS_ST, 128))
			return access_failed(cpu);
	}
	if (kind >= XSAVEC ? write_bv & SSE : a.rfbm & (SSE | AVX)) {
		uint32_t mxcsr[2] = { xstate_u32(cpu, XS_MXCSR), cpu->layout->mxcsr_mask };

		if (!mem_write(cpu, in, XS_MXCSR, mxcsr, sizeof mxcsr))
			return access_failed(cpu);
	}
	if ((write_bv & SSE) && !mem_write(cpu, in, XS_XMM, x + XS_XMM, 256))
		return access_failed(cpu);
	for (unsigned i = 2; i < 63; i++) {
		const struct assist_layout *l = cpu->layout;

		if ((write_bv & BIT(i)) &&
		    (!fits(cpu, i) || !mem_write(cpu, in, component_offset(l, xcomp, i),
						 x + l->offset[i], l->size[i])))
			return access_failed(cpu);
	}
	header[0] = bv;
	header[1] = xcomp;
	if (!mem_write(cpu, in, XS_BV, header, kind >= XSAVEC ? 16 : 8))
		return access_failed(cpu);
	return ASSIST_DONE;
}

enum assist_result xs_xsave(struct assist_cpu *cpu, struct insn *in)
{
	if (in->opcode == 0xae)
		return save(cpu, in, (in->reg & 7) == 4 ? XSAVE : XSAVEOPT);
	return save(cpu, in, (in->reg & 7) == 4 ? XSAVEC : XSAVES);
}

static bool header_valid(const uint64_t header[8], const struct area *a, bool supervisor)
{
	uint64_t bv = header[0], xcomp = header[1];
	unsigned reserved;

	if (xcomp & COMPACTED) {
		if ((xcomp & ~COMPACTED & ~a->xcr0) || (bv & ~xcomp))
			return false;
		reserved = 8;
	} else {
		if (supervisor || xcomp || (bv & ~a->xcr0))
			return false;
		reserved = 3;
	}
	for (unsigned i = 2; i < reserved; i++) {
		if (header[i])
			return false;
	}
	return true;
}

static void init_x87(uint8_t *image)
{
	static const uint16_t fcw = FCW_INIT;

	memset(image, 0, 24);
	memcpy(image + XS_FCW, &fcw, sizeof fcw);
	memset(image + XS_ST, 0, 128);
}

static void init_mxcsr(uint8_t *image)
{
	static const uint32_t mxcsr = MXCSR_INIT;

	memcpy(image + XS_MXCSR, &mxcsr, sizeof mxcsr);
}

/* Everything is read and checked into a copy first, because a fault must leave the state alone. */
static enum assist_result restore(struct assist_cpu *cpu, const struct insn *in, bool supervisor)
{
	_Alignas(64) uint8_t image[ASSIST_XSAVE_MAX];
	const struct assist_layout *l = cpu->layout;
	uint64_t header[8], bv, xcomp;
	enum assist_result result;
	bool compacted, load_mxcsr;
	struct area a;

	result = begin(cpu, in, supervisor, false, &a);
	if (result != ASSIST_DONE)
		return result;
	if (cpu->xsave_size > sizeof image)
		return ASSIST_UNKNOWN;
	if (!mem_read(cpu, in, XS_BV, header, sizeof header))
		return access_failed(cpu);
	if (!header_valid(header, &a, supervisor))
		return raise_error(cpu, ASSIST_GP, 0);
	xcomp = header[1];
	compacted = xcomp & COMPACTED;
	bv = header[0] & a.rfbm;
	memcpy(image, cpu->xsave, cpu->xsave_size);

	if (bv & X87) {
		uint16_t words[2];

		if (!mem_read(cpu, in, 0, image, 24) ||
		    !mem_read(cpu, in, XS_ST, image + XS_ST, 128))
			return access_failed(cpu);
		memcpy(words, image, sizeof words);
		x87_normalize(&words[0], &words[1]);
		memcpy(image, words, sizeof words);
		if (!a.is64) {
			memset(image + XS_FIP + 4, 0, 4);
			memset(image + XS_FDP + 4, 0, 4);
		}
	} else if (a.rfbm & X87) {
		init_x87(image);
	}
	load_mxcsr = compacted ? bv & SSE : a.rfbm & (SSE | AVX);
	if (load_mxcsr) {
		uint32_t mxcsr;

		if (!mem_read(cpu, in, XS_MXCSR, &mxcsr, sizeof mxcsr))
			return access_failed(cpu);
		if (mxcsr & ~l->mxcsr_mask)
			return raise_error(cpu, ASSIST_GP, 0);
		memcpy(image + XS_MXCSR, &mxcsr, sizeof mxcsr);
	} else if (compacted && (a.rfbm & SSE)) {
		init_mxcsr(image);
	}
	if (bv & SSE) {
		if (!mem_read(cpu, in, XS_XMM, image + XS_XMM, 256))
			return access_failed(cpu);
	} else if (a.rfbm & SSE) {
		memset(image + XS_XMM, 0, 256);
	}
	for (unsigned i = 2; i < 63; i++) {
		if (!(a.rfbm & BIT(i)))
			continue;
		if (!fits(cpu, i))
			return ASSIST_UNKNOWN;
		if (!(bv & BIT(i)))
			memset(image + l->offset[i], 0, l->size[i]);
		else if (!mem_read(cpu, in, component_offset(l, xcomp, i), image + l->offset[i],
				   l->size[i]))
			return access_failed(cpu);
	}
	bv |= field64(cpu, XS_BV) & ~a.rfbm;
	memcpy(image + XS_BV, &bv, sizeof bv);
	memcpy(cpu->xsave, image, cpu->xsave_size);
	/* MXCSR reaches KVM only with SSE or AVX in use. */
	xstate_touch(cpu, xstate_u32(cpu, XS_MXCSR) == MXCSR_INIT ? 0 : SSE);
	return ASSIST_DONE;
}

enum assist_result xs_xrstor(struct assist_cpu *cpu, struct insn *in)
{
	return restore(cpu, in, in->opcode == 0xc7);
}
