/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's page tables, walked as the processor would (Intel SDM volume 3, chapter 4): none, 32-bit, PAE, 4 and 5
 * levels. Reads RAM only; accessed and dirty bits are not set (see paging_walk).
 */
#pragma once
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "hv/ram.h"

enum paging_access { PAGING_WRITE = 1 << 0, PAGING_USER = 1 << 1, PAGING_FETCH = 1 << 2,
	PAGING_AC = 1 << 3 /* supervisor access with RFLAGS.AC set: SMAP does not bar it */,
	PAGING_MARK = 1 << 4 /* set accessed and dirty bits, as an access by the processor does */ };

/* Page fault error code, as pushed. */
enum { PF_PRESENT = 1 << 0, PF_WRITE = 1 << 1, PF_USER = 1 << 2, PF_RSVD = 1 << 3, PF_FETCH = 1 << 4, PF_PK = 1 << 5 };

/*
 * Physical address of linear address va for this access; false: page fault with *error. Tables outside of RAM are not
 * present. Protection keys are not checked. Any thread that may read sregs.
 */
bool paging_walk(struct ram *, const struct kvm_sregs *, uint64_t va, unsigned access, uint64_t *gpa, uint32_t *error);
