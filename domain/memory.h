/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much memory a machine has and what backs it: <memory>, <maxMemory>, <currentMemory>, <memoryBacking>. */
#pragma once
#include "domain/field.h"

enum memory_source { MEMSRC_ABSENT, MEMSRC_FILE, MEMSRC_ANONYMOUS, MEMSRC_MEMFD, MEMSRC_N };
enum memory_access { MEMACCESS_ABSENT, MEMACCESS_SHARED, MEMACCESS_PRIVATE, MEMACCESS_N };
enum memory_allocation { MEMALLOC_ABSENT, MEMALLOC_IMMEDIATE, MEMALLOC_ONDEMAND, MEMALLOC_N };

#define MEMORY_MIN (UINT64_C(1) << 20)          /* smallest machine */
#define MEMORY_MAX (UINT64_C(1) << 50)          /* larger is a typing error */

struct hugepage {
	uint64_t size;                  /* bytes */
	char *nodeset;                  /* guest nodes, cpuset syntax; NULL: all */
	struct extras extras;
};
struct hugepages {
	GPtrArray *pages;               /* struct hugepage; empty: the host's default size */
	struct extras extras;
};
struct memory_backing {
	struct hugepages *hugepages;    /* NULL: ordinary pages */
	bool nosharepages, locked, discard;
	int source, access;             /* enum memory_source, memory_access */
	int allocation;                 /* enum memory_allocation */
	uint32_t allocation_threads;
	struct extras extras;
};

struct memory {
	uint64_t size, current, max;    /* bytes; current 0: = size (fill sets it); max 0: no memory hot-plug */
	uint32_t slots;                 /* of max */
	int dump_core;                  /* ONOFF */
	struct memory_backing backing;
};

extern const struct schema memory_backing_schema;
