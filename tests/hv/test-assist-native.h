/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For the assist tests: one instruction run both by assist_run() and by the processor itself, from
 * the same registers, flags, extended state and memory, and the outcomes compared.
 *
 * All guest memory is one arena of this process at its own address, below 4 GiB so that 32-bit
 * addresses reach it; its first page is executable and holds the instruction. Outside the arena the
 * emulated side reports a page fault. gs has its base at the arena's middle on both sides.
 */
#pragma once
#include "hv/x86/assist_native.h"
#include "hv/x86/assist_priv.h"
#include <glib.h>

#define ARENA_SIZE 0x10000u
#define ARENA_CODE 0x800u           /* offset of the instruction */
#define XSAVE_BYTES 4096u

struct outcome {
	enum assist_result result;
	unsigned vector;            /* of a fault; for the processor's: 6, 13 (memory), 16 (FP) */
	uint64_t gpr[16], rflags;
	uint8_t xsave[XSAVE_BYTES];
	uint8_t arena[ARENA_SIZE];
};

struct bench {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct assist_layout layout;
	struct assist_cpu cpu;
	struct assist_native *native;
	uint8_t *arena;
	uint8_t *xsave;             /* what cpu.xsave starts from */
	uint64_t xcr0;
	unsigned stores, loads;     /* of the extended state */
	unsigned flushes;
	GRand *rand;
};

/* 64-bit CPL 0 guest with everything enabled; exits 77 where the host has no XSAVE. */
struct bench *bench_new(void);
void bench_free(struct bench *b);
void bench_random_regs(struct bench *b);
void bench_random_xstate(struct bench *b);
uint64_t *bench_reg(struct bench *b, unsigned reg);

/* Both leave b's registers, state and arena as they were. */
void bench_emulate(struct bench *b, const uint8_t *code, unsigned len, struct outcome *out);
void bench_execute(struct bench *b, const uint8_t *code, unsigned len, struct outcome *out);

/* An instruction of that row, random in all it leaves free; registers are set so that its memory
 * operand lies in the arena. Returns its length. */
unsigned bench_instance(struct bench *b, const struct assist_row *row, unsigned enc, uint8_t *code);

/* Describe the first difference in buf; false: none. Flags are compared under mask. */
bool bench_differs(struct bench *b, const struct outcome *emulated, const struct outcome *real,
		   uint64_t flags, char *buf, size_t size);
