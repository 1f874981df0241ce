/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Finishing instructions that KVM's emulator hands back.
 *
 * Theory of operation
 *
 * Some hosts offer /dev/kvm without VMX or SVM. There KVM runs 64-bit CPL3 code natively, but
 * interprets everything else, and its interpreter knows only part of the instruction set. What it
 * does not know ends KVM_RUN with KVM_EXIT_INTERNAL_ERROR, suberror 1 (emulation), and the
 * instruction's bytes. assist_run() completes exactly one such instruction as the processor would:
 * registers, flags, memory, faults. On hosts with VMX or SVM it is never called.
 *
 * The module is pure: it makes no ioctl and holds no fd. Everything outside the registers comes
 * through struct assist_ops, given by the vCPU code or by a test.
 *
 * Instructions are rows of tables (assist_table.c, assist_simd_table.c); the decoder
 * (assist_decode.c) finds the row from encoding, opcode map, opcode and mandatory prefix. Two kinds
 * of handler exist. Integer, system, x87-control and XSAVE instructions are written out in C. Vector
 * and x87 arithmetic is run by the host's own processor on the guest's register state
 * (assist_native.h), if the caller prepared a struct assist_native; without one such instructions
 * end as ASSIST_UNKNOWN.
 *
 * What the caller does around it
 * - KVM queues a #UD of its own when it makes this exit (unless KVM_CAP_EXIT_ON_EMULATION_FAILURE
 *   is on). KVM_SET_REGS and dirty KVM_SYNC_X86_REGS drop it; so write regs back after ASSIST_DONE
 *   and ASSIST_FAULT even if they look unchanged, and only then inject with KVM_SET_VCPU_EVENTS.
 * - After DONE or FAULT write back sregs if cpu->sregs_changed.
 * - After FAULT inject cpu->fault: vector, error code if has_error, CR2 for vector 14, DR6 |= dr6
 *   for vector 1. rip in regs is already what the exception frame must show: at the instruction
 *   for faults; after it for the traps #BP (int3), #DB (int1, single step).
 * - After UNKNOWN nothing has changed; end the VM with assist_describe() in the report.
 * - Two failures at the same rip mean no progress: that guard is the caller's.
 * - movbe and rdpid come back as #UD to the guest, not as an exit, unless the guest's CPUID
 *   (KVM_SET_CPUID2) shows MOVBE and RDPID: KVM emulates both then.
 *
 * Redirected SYSCALL, the other half of running on such hosts, is in assist_syscall.h.
 *
 * Threads: none of this is shared; one struct assist_cpu belongs to one vCPU thread.
 */
#pragma once
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct assist_cpu;
struct assist_native;

enum {
	ASSIST_DE = 0,
	ASSIST_DB = 1,
	ASSIST_BP = 3,
	ASSIST_UD = 6,
	ASSIST_NM = 7,
	ASSIST_NP = 11,
	ASSIST_SS = 12,
	ASSIST_GP = 13,
	ASSIST_PF = 14,
	ASSIST_MF = 16,
	ASSIST_XM = 19,
	ASSIST_NOT_RAM = 0xff,      /* not a vector: an ops function met a page that is no RAM */
};

#define ASSIST_XSAVE_MAX 12288      /* bytes; larger states are refused by assist_layout_init() */

/* An exception for the guest. Filled by assist_run(), or by an ops function that fails. */
struct assist_fault {
	uint8_t vector;             /* or ASSIST_NOT_RAM: the instruction ends as ASSIST_UNKNOWN */
	bool has_error;
	uint32_t error;
	uint64_t cr2;               /* #PF: linear address */
	uint64_t dr6;               /* #DB: bits to set in DR6 */
};

/*
 * Access to the guest, all on the vCPU's thread. va is a linear address, checked to be canonical
 * and not wrapping. Each returns false (NULL) with *fault filled when it cannot. A member may be
 * NULL where noted; instructions that need it are then ASSIST_UNKNOWN.
 */
struct assist_ops {
	/* Copy len bytes (1..4096, may cross pages) with the rights of the current CPL, or with
	 * supervisor rights while cpu->system is set (descriptor tables). A write must change
	 * nothing if any byte of it faults. */
	bool (*read)(struct assist_cpu *, uint64_t va, void *dst, size_t len,
		     struct assist_fault *);
	bool (*write)(struct assist_cpu *, uint64_t va, const void *src, size_t len,
		      struct assist_fault *);
	/* Host address for a locked access of len bytes inside one page; checks write access and
	 * marks the page dirty. Valid until assist_run() returns. */
	void *(*map)(struct assist_cpu *, uint64_t va, size_t len, struct assist_fault *);
	/* Load cpu->xsave (the standard format of KVM_GET_XSAVE2), or store it back. */
	bool (*xstate)(struct assist_cpu *, bool write);
	bool (*xcr0)(struct assist_cpu *, uint64_t *value);
	/* Read an MSR (only STAR, 0xc0000081, is asked for). May be NULL. */
	bool (*msr)(struct assist_cpu *, uint32_t index, uint64_t *value);
	uint64_t (*tsc)(struct assist_cpu *);
	uint32_t (*tsc_aux)(struct assist_cpu *);
	/* INVPCID of a checked type 0..3. Flushing more than asked is right; KVM drops its shadow
	 * when KVM_SET_SREGS changes CR3, so setting another value and then the old one does it.
	 * May be NULL. */
	void (*flush_tlb)(struct assist_cpu *, unsigned type, uint16_t pcid, uint64_t va);
};

/* Where each XSAVE component lies in the standard format, from the host's CPUID leaf 0xd. */
struct assist_layout {
	uint64_t user;              /* components known here; bit n = component n. An XCR0 with
				     * others makes the XSAVE family ASSIST_UNKNOWN */
	uint64_t aligned;           /* those aligned to 64 bytes in the compacted format */
	uint32_t offset[64], size[64];      /* bytes */
	uint32_t mxcsr_mask;
};

/*
 * One vCPU as an instruction sees it. The caller fills everything above the line once (pointers) or
 * before each run (their contents: current state).
 */
struct assist_cpu {
	struct kvm_regs *regs;
	struct kvm_sregs *sregs;
	void *xsave;                /* 64-byte aligned, xsave_size bytes */
	size_t xsave_size;          /* >= 4096 */
	const struct assist_layout *layout;
	const struct assist_ops *ops;
	struct assist_native *native;       /* may be NULL: no vector or x87 arithmetic */
	void *opaque;               /* the caller's */
	/* ---- results of assist_run() ---- */
	struct assist_fault fault;
	int row;                    /* index for assist_name(), or -1 */
	bool sregs_changed;
	/* ---- private ---- */
	bool system, xstate_loaded, xstate_dirty;
};

enum assist_result {
	ASSIST_DONE,                /* finished, rip advanced */
	ASSIST_FAULT,               /* inject cpu->fault */
	ASSIST_UNKNOWN,             /* not ours, or refused; nothing changed */
	ASSIST_RESULT_N
};

/* Fill *layout from this host's CPUID. False: the host has no XSAVE, or a state too large. */
bool assist_layout_init(struct assist_layout *layout);

/*
 * Complete the instruction at regs->rip, whose first bytes are given (up to 15; more are ignored,
 * fewer are fine if they hold the whole instruction). Accepts 64-bit code, and 32- and 16-bit code
 * outside virtual-8086 mode.
 */
enum assist_result assist_run(struct assist_cpu *cpu, const uint8_t *bytes, unsigned len);

#define ASSIST_DESCRIBE_SIZE 128

/*
 * Name the (64-bit) instruction and give its bytes in hex: "vpaddd (c5 f9 fe c1)", "unknown EVEX
 * map 2 opcode 92 (62 …)". buf has ASSIST_DESCRIBE_SIZE bytes; returns buf.
 */
const char *assist_describe(const uint8_t *bytes, unsigned len, char *buf);

/* The rows, for statistics: 0 <= i < assist_count(). Names are not unique (forms of one name). */
unsigned assist_count(void);
const char *assist_name(unsigned i);
