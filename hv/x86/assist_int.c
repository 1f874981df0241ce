/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Integer instructions: bit counts, BMI1, BMI2, ADX, CRC32, MOVBE, CMPXCHG16B, direct stores.
 *
 * Flags that the manuals leave undefined are given as this family of processors usually does:
 * cleared or unchanged. Nothing may depend on them.
 */
#include "hv/x86/assist_priv.h"
#include <string.h>

static void set_flags(struct assist_cpu *cpu, uint32_t which, uint32_t value)
{
	cpu->regs->rflags = (cpu->regs->rflags & ~(uint64_t)which) | (value & which);
}

static uint64_t width_mask(unsigned size)
{
	return size == 8 ? ~0ull : BIT(8 * size) - 1;
}

static uint32_t sign_zero(uint64_t value, unsigned size)
{
	return (value & width_mask(size) ? 0 : RF_ZF) |
	       (value >> (8 * size - 1) & 1 ? RF_SF : 0);
}

enum assist_result int_popcnt(struct assist_cpu *cpu, struct insn *in)
{
	uint64_t v;

	if (!rm_read(cpu, in, in->osize, &v))
		return access_failed(cpu);
	reg_write(cpu, in->reg, in->osize, (unsigned)__builtin_popcountll(v));
	set_flags(cpu, RF_ARITH, v ? 0 : RF_ZF);
	return ASSIST_DONE;
}

static enum assist_result count_zeros(struct assist_cpu *cpu, struct insn *in, bool leading)
{
	unsigned bits = in->osize * 8u, n;
	uint64_t v;

	if (!rm_read(cpu, in, in->osize, &v))
		return access_failed(cpu);
	if (!v)
		n = bits;
	else if (leading)
		n = (unsigned)__builtin_clzll(v) - (64 - bits);
	else
		n = (unsigned)__builtin_ctzll(v);
	reg_write(cpu, in->reg, in->osize, n);
	set_flags(cpu, RF_CF | RF_ZF, (v ? 0 : RF_CF) | (n ? 0 : RF_ZF));
	return ASSIST_DONE;
}

enum assist_result int_lzcnt(struct assist_cpu *cpu, struct insn *in)
{
	return count_zeros(cpu, in, true);
}

enum assist_result int_tzcnt(struct assist_cpu *cpu, struct insn *in)
{
	return count_zeros(cpu, in, false);
}

enum assist_result int_crc32(struct assist_cpu *cpu, struct insn *in)
{
	const uint32_t polynomial = 0x82f63b78;     /* Castagnoli's, bits reversed */
	unsigned size = in->opcode & 1 ? in->osize : 1;
	uint32_t crc = (uint32_t)reg_read(cpu, in->reg, 4);
	uint64_t v;

	if (!rm_read(cpu, in, size, &v))
		return access_failed(cpu);
	for (unsigned i = 0; i < size; i++) {
		crc ^= (uint8_t)(v >> (8 * i));
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
	}
	reg_write(cpu, in->reg, in->w ? 8 : 4, crc);
	return ASSIST_DONE;
}

/* adcx carries through CF, adox through OF; the other flags stay. */
enum assist_result int_adx(struct assist_cpu *cpu, struct insn *in)
{
	uint32_t carry = in->pp == PP_66 ? RF_CF : RF_OF;
	unsigned size = in->w ? 8 : 4;
	unsigned __int128 sum;
	uint64_t v;

	if (!rm_read(cpu, in, size, &v))
		return access_failed(cpu);
	sum = (unsigned __int128)reg_read(cpu, in->reg, size) + v +
	      (cpu->regs->rflags & carry ? 1 : 0);
	reg_write(cpu, in->reg, size, (uint64_t)sum);
	set_flags(cpu, carry, sum >> (8 * size) & 1 ? carry : 0);
	return ASSIST_DONE;
}

enum assist_result int_movbe(struct assist_cpu *cpu, struct insn *in)
{
	uint64_t v, swapped;

	if (in->opcode == 0xf0) {
		if (!mem_read(cpu, in, 0, &v, in->osize))
			return access_failed(cpu);
		reg_write(cpu, in->reg, in->osize, __builtin_bswap64(v) >> (64 - 8 * in->osize));
		return ASSIST_DONE;
	}
	swapped = __builtin_bswap64(reg_read(cpu, in->reg, in->osize)) >> (64 - 8 * in->osize);
	return mem_write(cpu, in, 0, &swapped, in->osize) ? ASSIST_DONE : access_failed(cpu);
}

enum assist_result int_mulx(struct assist_cpu *cpu, struct insn *in)
{
	unsigned __int128 product;
	uint64_t v;

	if (!rm_read(cpu, in, in->osize, &v))
		return access_failed(cpu);
	product = (unsigned __int128)reg_read(cpu, GPR_RDX, in->osize) * v;
	reg_write(cpu, in->vvvv, in->osize, (uint64_t)product);
	reg_write(cpu, in->reg, in->osize, (uint64_t)(product >> (8 * in->osize)));
	return ASSIST_DONE;
}

enum assist_result int_rorx(struct assist_cpu *cpu, struct insn *in)
{
	unsigned bits = in->osize * 8u, n = in->imm & (bits - 1);
	uint64_t v;

	if (!rm_read(cpu, in, in->osize, &v))
		return access_failed(cpu);
	reg_write(cpu, in->reg, in->osize, n ? v >> n | v << (bits - n) : v);
	return ASSIST_DONE;
}

/* shlx 66, shrx F2, sarx F3 */
enum assist_result int_shiftx(struct assist_cpu *cpu, struct insn *in)
{
	unsigned n = (unsigned)reg_read(cpu, in->vvvv, 1) & (in->osize * 8u - 1);
	uint64_t v;

	if (!rm_read(cpu, in, in->osize, &v))
		return access_failed(cpu);
	if (in->pp == PP_66)
		v <<= n;
	else if (in->pp == PP_F2)
		v >>= n;
	else if (in->osize == 8)
		v = (uint64_t)((int64_t)v >> n);
	else
		v = (uint32_t)((int32_t)v >> n);
	reg_write(cpu, in->reg, in->osize, v);
	return ASSIST_DONE;
}

enum assist_result int_andn(struct assist_cpu *cpu, struct insn *in)
{
	uint64_t v;

	if (!rm_read(cpu, in, in->osize, &v))
		return access_failed(cpu);
	v &= ~reg_read(cpu, in->vvvv, in->osize);
	reg_write(cpu, in->reg, in->osize, v);
	set_flags(cpu, RF_SF | RF_ZF | RF_OF | RF_CF, sign_zero(v, in->osize));
	return ASSIST_DONE;
}

enum assist_result int_bextr(struct assist_cpu *cpu, struct insn *in)
{
	uint64_t control = reg_read(cpu, in->vvvv, in->osize), v;
	unsigned start = control & 0xff, n = control >> 8 & 0xff;

	if (!rm_read(cpu, in, in->osize, &v))
		return access_failed(cpu);
	v = start < 64 ? v >> start : 0;
	if (n < 64)
		v &= BIT(n) - 1;
	reg_write(cpu, in->reg, in->osize, v);
	set_flags(cpu, RF_ZF | RF_OF | RF_CF, v ? 0 : RF_ZF);
	return ASSIST_DONE;
}

/* blsr /1, blsmsk /2, blsi /3; the destination is vvvv */
enum assist_result int_bls(struct assist_cpu *cpu, struct insn *in)
{
	uint64_t v, result;
	unsigned op = in->reg & 7;
	bool carry;

	if (!rm_read(cpu, in, in->osize, &v))
		return access_failed(cpu);
	if (op == 1)
		result = v & (v - 1);
	else if (op == 2)
		result = v ^ (v - 1);
	else
		result = v & -v;
	result &= width_mask(in->osize);
	carry = op == 3 ? v != 0 : v == 0;
	reg_write(cpu, in->vvvv, in->osize, result);
	set_flags(cpu, RF_SF | RF_ZF | RF_OF | RF_CF,
		  sign_zero(result, in->osize) | (carry ? RF_CF : 0));
	return ASSIST_DONE;
}

enum assist_result int_bzhi(struct assist_cpu *cpu, struct insn *in)
{
	unsigned n = (unsigned)reg_read(cpu, in->vvvv, 1), bits = in->osize * 8u;
	uint64_t v;

	if (!rm_read(cpu, in, in->osize, &v))
		return access_failed(cpu);
	if (n < bits)
		v &= BIT(n) - 1;
	reg_write(cpu, in->reg, in->osize, v);
	set_flags(cpu, RF_SF | RF_ZF | RF_OF | RF_CF,
		  sign_zero(v, in->osize) | (n >= bits ? RF_CF : 0));
	return ASSIST_DONE;
}

enum assist_result int_pdep(struct assist_cpu *cpu, struct insn *in)
{
	uint64_t source = reg_read(cpu, in->vvvv, in->osize), mask, result = 0;

	if (!rm_read(cpu, in, in->osize, &mask))
		return access_failed(cpu);
	for (; mask; mask &= mask - 1, source >>= 1) {
		if (source & 1)
			result |= mask & -mask;
	}
	reg_write(cpu, in->reg, in->osize, result);
	return ASSIST_DONE;
}

enum assist_result int_pext(struct assist_cpu *cpu, struct insn *in)
{
	uint64_t source = reg_read(cpu, in->vvvv, in->osize), mask, result = 0, bit = 1;

	if (!rm_read(cpu, in, in->osize, &mask))
		return access_failed(cpu);
	for (; mask; mask &= mask - 1, bit <<= 1) {
		if (source & mask & -mask)
			result |= bit;
	}
	reg_write(cpu, in->reg, in->osize, result);
	return ASSIST_DONE;
}

/* A locked access to guest RAM, for other vCPUs run meanwhile. It writes even when unequal. */
enum assist_result int_cmpxchg16b(struct assist_cpu *cpu, struct insn *in)
{
	uint64_t low = cpu->regs->rax, high = cpu->regs->rdx, va;
	void *host;
	bool equal;

	if (!linear(cpu, in, in->seg, in->ea, 16, true, &va))
		return access_failed(cpu);
	if (va & 15)
		return raise_error(cpu, ASSIST_GP, 0);
	host = cpu->ops->map(cpu, va, 16, &cpu->fault);
	if (!host)
		return access_failed(cpu);
	__asm__ volatile("lock cmpxchg16b %0"
			 : "+m"(*(unsigned __int128 *)host), "=@ccz"(equal), "+a"(low), "+d"(high)
			 : "b"(cpu->regs->rbx), "c"(cpu->regs->rcx)
			 : "memory");
	if (!equal) {
		cpu->regs->rax = low;
		cpu->regs->rdx = high;
	}
	set_flags(cpu, RF_ZF, equal ? RF_ZF : 0);
	return ASSIST_DONE;
}

enum assist_result int_movdiri(struct assist_cpu *cpu, struct insn *in)
{
	unsigned size = in->w ? 8 : 4;
	uint64_t v = reg_read(cpu, in->reg, size);

	return mem_write(cpu, in, 0, &v, size) ? ASSIST_DONE : access_failed(cpu);
}

/* The destination is ES:reg, with the address size of the instruction. */
enum assist_result int_movdir64b(struct assist_cpu *cpu, struct insn *in)
{
	uint8_t line[64];
	uint64_t va;

	if (!linear(cpu, in, SEG_ES, reg_read(cpu, in->reg, in->asize), 64, true, &va))
		return access_failed(cpu);
	if (va & 63)
		return raise_error(cpu, ASSIST_GP, 0);
	if (!mem_read(cpu, in, 0, line, sizeof line) ||
	    !cpu->ops->write(cpu, va, line, sizeof line, &cpu->fault))
		return access_failed(cpu);
	return ASSIST_DONE;
}
