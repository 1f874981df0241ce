/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSRs: which of them are state, and how each is treated at save, load and reset. KVM's own list says most; rows here add
 * what it leaves out and except what must not be copied blindly.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define MSR_TSC 0x10u
#define MSR_TSC_ADJUST 0x3bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_SYSCALL_MASK 0xc0000084u
#define MSR_TSC_AUX 0xc0000103u

enum msr_flags {
	MSR_STATE = 1 << 0,     /* state although KVM does not list it */
	MSR_SKIP = 1 << 1,      /* listed, but no state: constants, or what another call carries */
	MSR_KEEP = 1 << 2,      /* survives a reset */
	MSR_ZERO = 1 << 3,      /* zero after a reset, whatever it was when the machine began: turns a guest's feature off */
	MSR_LATE = 1 << 4,      /* set after all others */
	MSR_LOOSE = 1 << 5,     /* best effort: failing to set it is no error */
};
struct msr_row { uint32_t first, last; unsigned flags; const char *name; };

unsigned msr_flags(uint32_t index);
/* KVM's list as it should be saved: extras added, skipped ones gone, late ones last. Caller frees. */
uint32_t *msr_list(const uint32_t *kvm, unsigned n, unsigned *count);
