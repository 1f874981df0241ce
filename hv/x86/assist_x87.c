/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87 control and environment instructions, EMMS, MXCSR, VZEROUPPER/VZEROALL.
 *
 * The XSAVE image holds the tag word abridged to one bit per physical register (1 = not empty); the
 * environment in memory has two bits, whose valid/zero/special part is computed from the values.
 * The image's st(i) are relative to the top of stack, the tags are not: whoever moves the top must
 * rotate the registers.
 */
#include "hv/x86/assist_priv.h"
#include <string.h>

#define FSW_ES 0x0080u
#define FSW_BUSY 0x8000u
#define FSW_EXCEPTIONS 0x003fu
#define X87 BIT(0)

static void put16(struct assist_cpu *cpu, unsigned offset, uint16_t v)
{
	memcpy((char *)cpu->xsave + offset, &v, sizeof v);
	xstate_touch(cpu, X87);
}

/*
 * Common start. Waiting instructions first report an exception left pending by an earlier one.
 * Without CR0.NE that goes through an external interrupt, which nobody has used since the 386.
 */
static enum assist_result x87_begin(struct assist_cpu *cpu, bool waiting)
{
	if (cpu->sregs->cr0 & (CR0_EM | CR0_TS))
		return raise_fault(cpu, ASSIST_NM);
	if (!xstate_load(cpu))
		return ASSIST_UNKNOWN;
	if (waiting && (xstate_u16(cpu, XS_FSW) & FSW_ES)) {
		if (!(cpu->sregs->cr0 & CR0_NE))
			return ASSIST_UNKNOWN;
		return raise_fault(cpu, ASSIST_MF);
	}
	return ASSIST_DONE;
}

void x87_normalize(uint16_t *fcw, uint16_t *fsw)
{
	*fcw = (*fcw & 0x1f7f) | 0x40;
	*fsw &= (uint16_t)~(FSW_ES | FSW_BUSY);
	if (*fsw & ~*fcw & FSW_EXCEPTIONS)
		*fsw |= FSW_ES | FSW_BUSY;
}

enum assist_result x87_fwait(struct assist_cpu *cpu, struct insn *in)
{
	uint64_t cr0 = cpu->sregs->cr0;

	if ((cr0 & (CR0_TS | CR0_MP)) == (CR0_TS | CR0_MP))
		return raise_fault(cpu, ASSIST_NM);
	if (!xstate_load(cpu))
		return ASSIST_UNKNOWN;
	if (!(xstate_u16(cpu, XS_FSW) & FSW_ES))
		return ASSIST_DONE;
	return cr0 & CR0_NE ? raise_fault(cpu, ASSIST_MF) : ASSIST_UNKNOWN;
}

/* feni, fdisi, fsetpm: of the 8087 and 80287, without effect since. */
enum assist_result x87_nop(struct assist_cpu *cpu, struct insn *in)
{
	return x87_begin(cpu, false);
}

enum assist_result x87_fnclex(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result = x87_begin(cpu, false);

	if (result == ASSIST_DONE)
		put16(cpu, XS_FSW, xstate_u16(cpu, XS_FSW) & 0x7f00);
	return result;
}

static unsigned top_of(uint16_t fsw)
{
	return fsw >> 11 & 7;
}

/* Registers stay where they are physically while the top moves to that of the new status word. */
static void move_top(struct assist_cpu *cpu, uint16_t fsw)
{
	unsigned by = (top_of(fsw) - top_of(xstate_u16(cpu, XS_FSW))) & 7;
	uint8_t *st = (uint8_t *)cpu->xsave + XS_ST, old[128];

	memcpy(old, st, sizeof old);
	for (unsigned i = 0; i < 8; i++)
		memcpy(st + 16 * i, old + 16 * ((i + by) & 7), 16);
}

static void init_control(struct assist_cpu *cpu)
{
	move_top(cpu, 0);
	memset(cpu->xsave, 0, 24);
	put16(cpu, XS_FCW, 0x37f);
}

enum assist_result x87_fninit(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result = x87_begin(cpu, false);

	if (result == ASSIST_DONE)
		init_control(cpu);
	return result;
}

static enum assist_result store16(struct assist_cpu *cpu, struct insn *in, unsigned offset)
{
	enum assist_result result = x87_begin(cpu, false);
	uint16_t v;

	if (result != ASSIST_DONE)
		return result;
	v = xstate_u16(cpu, offset);
	if (!in->mem)
		reg_write(cpu, GPR_RAX, 2, v);
	else if (!mem_write(cpu, in, 0, &v, sizeof v))
		return access_failed(cpu);
	return ASSIST_DONE;
}

enum assist_result x87_fnstsw(struct assist_cpu *cpu, struct insn *in)
{
	return store16(cpu, in, XS_FSW);
}

enum assist_result x87_fnstcw(struct assist_cpu *cpu, struct insn *in)
{
	return store16(cpu, in, XS_FCW);
}

static void set_control(struct assist_cpu *cpu, uint16_t fcw)
{
	uint16_t fsw = xstate_u16(cpu, XS_FSW);

	x87_normalize(&fcw, &fsw);
	put16(cpu, XS_FCW, fcw);
	put16(cpu, XS_FSW, fsw);
}

enum assist_result x87_fldcw(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result = x87_begin(cpu, true);
	uint16_t fcw;

	if (result != ASSIST_DONE)
		return result;
	if (!mem_read(cpu, in, 0, &fcw, sizeof fcw))
		return access_failed(cpu);
	set_control(cpu, fcw);
	return ASSIST_DONE;
}

enum assist_result x87_emms(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result;
	uint16_t fsw;

	if (cpu->sregs->cr0 & CR0_EM)
		return raise_fault(cpu, ASSIST_UD);
	result = x87_begin(cpu, true);
	if (result != ASSIST_DONE)
		return result;
	fsw = xstate_u16(cpu, XS_FSW) & 0xc7ff;     /* MMX instructions set the top to 0 */
	move_top(cpu, fsw);
	put16(cpu, XS_FSW, fsw);
	put16(cpu, XS_FTW, 0);
	return result;
}

static const uint8_t *st(const struct assist_cpu *cpu, unsigned i)
{
	return (const uint8_t *)cpu->xsave + XS_ST + 16 * i;
}

/* Two bits per physical register: 0 valid, 1 zero, 2 special, 3 empty. */
static uint16_t full_tags(const struct assist_cpu *cpu)
{
	unsigned top = top_of(xstate_u16(cpu, XS_FSW)), abridged = xstate_u16(cpu, XS_FTW);
	uint16_t tags = 0;

	for (unsigned i = 0; i < 8; i++) {
		const uint8_t *r = st(cpu, (i - top) & 7);
		uint64_t mantissa;
		uint16_t exponent;
		unsigned tag = 0;

		memcpy(&mantissa, r, 8);
		memcpy(&exponent, r + 8, 2);
		exponent &= 0x7fff;
		if (!(abridged >> i & 1))
			tag = 3;
		else if (exponent == 0)
			tag = mantissa ? 2 : 1;
		else if (exponent == 0x7fff || !(mantissa >> 63))
			tag = 2;
		tags |= (uint16_t)(tag << (2 * i));
	}
	return tags;
}

/* 28 bytes, or 14 with a 16-bit operand size. Protected-mode layout; real mode is refused. */
static unsigned env_size(const struct insn *in)
{
	return (in->mode == MODE_16) != in->has66 ? 14 : 28;
}

static void env_pack(const struct assist_cpu *cpu, unsigned size, uint8_t *env)
{
	uint16_t tags = full_tags(cpu), fop = xstate_u16(cpu, XS_FOP) & 0x7ff;
	unsigned w = size / 7;
	const uint16_t words[3] = { xstate_u16(cpu, XS_FCW), xstate_u16(cpu, XS_FSW), tags };

	memset(env, 0, size);
	for (unsigned i = 0; i < 3; i++) {
		if (w == 4)
			memset(env + w * i + 2, 0xff, 2);
		memcpy(env + w * i, &words[i], 2);
	}
	memcpy(env + 3 * w, (char *)cpu->xsave + XS_FIP, w);
	memcpy(env + 5 * w, (char *)cpu->xsave + XS_FDP, w);
	if (w == 4) {
		memcpy(env + 4 * w + 2, &fop, 2);
		memset(env + 6 * w + 2, 0xff, 2);
	}
}

static void env_unpack(struct assist_cpu *cpu, unsigned size, const uint8_t *env)
{
	unsigned w = size / 7, abridged = 0;
	uint16_t word[3], fop = 0;

	for (unsigned i = 0; i < 3; i++)
		memcpy(&word[i], env + w * i, 2);
	for (unsigned i = 0; i < 8; i++) {
		if ((word[2] >> (2 * i) & 3) != 3)
			abridged |= 1u << i;
	}
	memset((char *)cpu->xsave + XS_FOP, 0, 18);
	memcpy((char *)cpu->xsave + XS_FIP, env + 3 * w, w);
	memcpy((char *)cpu->xsave + XS_FDP, env + 5 * w, w);
	if (w == 4)
		memcpy(&fop, env + 4 * w + 2, 2);
	put16(cpu, XS_FOP, fop & 0x7ff);
	put16(cpu, XS_FTW, (uint16_t)abridged);
	put16(cpu, XS_FSW, word[1]);
	set_control(cpu, word[0]);
}

static enum assist_result env_begin(struct assist_cpu *cpu, bool waiting)
{
	if (!(cpu->sregs->cr0 & CR0_PE))
		return ASSIST_UNKNOWN;
	return x87_begin(cpu, waiting);
}

enum assist_result x87_fnstenv(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result = env_begin(cpu, false);
	unsigned size = env_size(in);
	uint8_t env[28];
	uint16_t fcw;

	if (result != ASSIST_DONE)
		return result;
	env_pack(cpu, size, env);
	if (!mem_write(cpu, in, 0, env, size))
		return access_failed(cpu);
	fcw = xstate_u16(cpu, XS_FCW) | FSW_EXCEPTIONS;
	set_control(cpu, fcw);
	return ASSIST_DONE;
}

enum assist_result x87_fldenv(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result = env_begin(cpu, true);
	unsigned size = env_size(in);
	uint8_t env[28];
	uint16_t fsw;

	if (result != ASSIST_DONE)
		return result;
	if (!mem_read(cpu, in, 0, env, size))
		return access_failed(cpu);
	memcpy(&fsw, env + size / 7, sizeof fsw);
	move_top(cpu, fsw);
	env_unpack(cpu, size, env);
	return ASSIST_DONE;
}

enum assist_result x87_fnsave(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result = env_begin(cpu, false);
	unsigned size = env_size(in);
	uint8_t image[108];

	if (result != ASSIST_DONE)
		return result;
	env_pack(cpu, size, image);
	for (unsigned i = 0; i < 8; i++)
		memcpy(image + size + 10 * i, st(cpu, i), 10);
	if (!mem_write(cpu, in, 0, image, size + 80))
		return access_failed(cpu);
	init_control(cpu);
	return ASSIST_DONE;
}

enum assist_result x87_frstor(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result = env_begin(cpu, true);
	unsigned size = env_size(in);
	uint8_t image[108];

	if (result != ASSIST_DONE)
		return result;
	if (!mem_read(cpu, in, 0, image, size + 80))
		return access_failed(cpu);
	for (unsigned i = 0; i < 8; i++) {
		memset((char *)cpu->xsave + XS_ST + 16 * i, 0, 16);
		memcpy((char *)cpu->xsave + XS_ST + 16 * i, image + size + 10 * i, 10);
	}
	env_unpack(cpu, size, image);
	return ASSIST_DONE;
}

enum assist_result sse_ldmxcsr(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result = xstate_usable(cpu, in->enc == ENC_VEX ? 6 : 2);
	uint32_t mxcsr;

	if (result != ASSIST_DONE)
		return result;
	if (!mem_read(cpu, in, 0, &mxcsr, sizeof mxcsr))
		return access_failed(cpu);
	if (mxcsr & ~cpu->layout->mxcsr_mask)
		return raise_error(cpu, ASSIST_GP, 0);
	memcpy((char *)cpu->xsave + XS_MXCSR, &mxcsr, sizeof mxcsr);
	xstate_touch(cpu, BIT(1));
	return ASSIST_DONE;
}

enum assist_result sse_stmxcsr(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result = xstate_usable(cpu, in->enc == ENC_VEX ? 6 : 2);
	uint32_t mxcsr;

	if (result != ASSIST_DONE)
		return result;
	mxcsr = xstate_u32(cpu, XS_MXCSR);
	return mem_write(cpu, in, 0, &mxcsr, sizeof mxcsr) ? ASSIST_DONE : access_failed(cpu);
}

/* Upper parts of registers 0..15 (all of them for VZEROALL, which has L set). */
enum assist_result sse_vzero(struct assist_cpu *cpu, struct insn *in)
{
	enum assist_result result = xstate_usable(cpu, 6);
	const struct assist_layout *l = cpu->layout;
	unsigned regs = in->mode == MODE_64 ? 16 : 8;
	uint64_t touched = BIT(2);
	uint8_t *x = cpu->xsave;

	if (result != ASSIST_DONE)
		return result;
	if (!(l->user & BIT(2)) || l->offset[2] + 256 > cpu->xsave_size)
		return ASSIST_UNKNOWN;
	memset(x + l->offset[2], 0, 16 * regs);
	if ((l->user & BIT(6)) && l->offset[6] + 512 <= cpu->xsave_size) {
		memset(x + l->offset[6], 0, 32 * regs);
		touched |= BIT(6);
	}
	if (in->vlen) {
		memset(x + XS_XMM, 0, 16 * regs);
		touched |= BIT(1);
	}
	xstate_touch(cpu, touched);
	return ASSIST_DONE;
}
