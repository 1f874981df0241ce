/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SYSCALL where KVM leaves out half of it: the part without KVM.
 *
 * Theory: on hosts that run 64-bit CPL 3 code natively but emulate the kernel, SYSCALL at CPL 3
 * loads RCX, R11, RFLAGS and RIP = LSTAR, but CS, SS and the privilege level stay the user's: the
 * kernel's entry then faults. So the real LSTAR gets an address of ours, the trap, and the guest's
 * value is kept aside (reads and writes of the MSR come to the VMM by an MSR filter). The trap lies
 * in a PML4 slot that kernels leave free, which the VMM fills in the guest's current PML4 when the
 * guest writes LSTAR. It leads through three tables of ours, in a private memory slot, to a
 * user-executable page at a guest-physical address where nothing is. The fetch there ends KVM_RUN
 * with an internal error and rip == trap, and assist_syscall_enter() does what SYSCALL left out.
 * Kernels copy the upper half of their PML4 into each new one, so one entry is enough; a kernel
 * with page-table isolation uses another PML4 for user mode and needs pti=off.
 *
 * A program can also jump to the trap. What it gets is a system call with values it could have had
 * by SYSCALL, or a page fault.
 */
#pragma once
#include "hv/x86/assist.h"

/* The private memory slot: three pages of tables and, not backed by memory, the hole behind them. */
#define ASSIST_SYSCALL_TABLES 3u
#define ASSIST_SYSCALL_BYTES (4u * 4096u)

/*
 * Fill three pages of tables (PDPT, directory, table) for a slot at guest-physical address gpa
 * (page aligned, ASSIST_SYSCALL_BYTES free there). Accessed and dirty bits are set, so the memory
 * slot may be read-only.
 */
void assist_syscall_tables(uint64_t *tables, uint64_t gpa);

/* The PML4 entry that leads to tables at gpa. */
uint64_t assist_syscall_entry(uint64_t gpa);

/*
 * Find a slot in a PML4 (512 entries): the one that already leads to gpa, else a free one. Returns
 * the trap's address and the slot's index, or 0 if all candidates are taken.
 */
uint64_t assist_syscall_find(const uint64_t *pml4, uint64_t gpa, unsigned *slot);

/*
 * cpu->regs->rip is the trap, at CPL 3. ASSIST_DONE: registers and segments are those of the guest
 * kernel's entry (sregs_changed is set). ASSIST_FAULT: it was no SYSCALL, or EFER.SCE is off.
 * star, lstar, fmask: the guest's MSRs 0xc0000081, 82, 84.
 */
enum assist_result assist_syscall_enter(struct assist_cpu *cpu, uint64_t star, uint64_t lstar,
					uint64_t fmask);
