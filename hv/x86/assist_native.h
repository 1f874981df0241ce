/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Running one guest vector or x87 instruction on the host's own processor.
 *
 * Theory: the assist module never executes guest bytes. It builds an instruction from what it
 * decoded and found in its table: the same opcode and vector registers, but the memory operand
 * replaced by a buffer of ours (address in rdi) and a general register by rbx. This file puts those
 * bytes, followed by a jump back, into a page, loads the guest's extended state (XRSTOR), enters
 * with IRET (which serialises: the page was just written through another mapping), and saves state
 * and flags afterwards. The processor thus decides everything: results, MXCSR, invalid encodings,
 * alignment. Its exceptions come as signals and are turned into the guest's.
 *
 * The page is mapped twice, writable and executable, because a fenced process may not ask for
 * executable memory: create the object before the fence. That is a writable alias of executable
 * memory in the process, 4 KiB per object, only on hosts that need it. A caller who does not want it
 * leaves cpu->native NULL; vector arithmetic in guest kernels then ends the VM with a clear report,
 * all else works (Linux boots without).
 *
 * Threads: vCPUs may share an object, one at a time runs in it. SIGILL, SIGFPE and SIGSEGV must not be blocked
 * there.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct assist_native;

struct assist_native_call {
	uint64_t rax, rcx, rdx, rbx;        /* in and out */
	uint64_t rflags;            /* the arithmetic flags, in and out */
	void *mem;                  /* rdi */
	void *xsave;                /* standard format, 64-byte aligned; in and out */
	uint64_t components;        /* of *xsave that are loaded and saved */
	uint8_t code[16];           /* one instruction */
	unsigned code_len;
	uint64_t address;           /* out: where it ran */
};

/* −errno: no memfd or mapping. Before the fence. */
int assist_native_new(struct assist_native **native);
void assist_native_free(struct assist_native *native);

/*
 * Install handlers for SIGILL, SIGFPE, SIGSEGV, which pass on to the ones before when the signal is
 * not from an instruction run here. Once per process, before the fence; −errno.
 */
int assist_native_signals(void);

/* 0, or the signal the instruction raised (memory and registers are then as before). */
int assist_native_run(struct assist_native *native, struct assist_native_call *call);
