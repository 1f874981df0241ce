/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments and replies of kvmctl's commands about memory. Sizes are bytes. Each struct has its schema `NAME_schema`. */
#pragma once
#include "domain/command.h"

struct ask_setmem { uint64_t size; struct ask_scope scope; uint32_t timeout; };
struct ask_setmaxmem { uint64_t size; struct ask_scope scope; };
struct ask_dommemstat { uint32_t period; struct ask_scope scope; };
struct ask_memory_device { char *alias; uint32_t node; uint64_t requested_size; struct ask_scope scope; uint32_t timeout; };
struct tell_memory_device { char *alias; uint64_t requested, size, maximum; };
#define PERIOD_ABSENT UINT32_MAX

struct tell_setmem { uint64_t memory, memory_max; };
/* UINT64_MAX: the guest does not say. */
struct tell_dommemstat {
	uint64_t actual, swap_in, swap_out, major_fault, minor_fault, unused, available, usable, last_update, disk_caches, hugetlb_pgalloc,
		hugetlb_pgfail, rss, target, reported, period;
};

extern const struct schema ask_setmem_schema, ask_setmaxmem_schema, ask_dommemstat_schema, tell_setmem_schema, tell_dommemstat_schema,
	ask_memory_device_schema, tell_memory_device_schema;
