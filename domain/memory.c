/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <memoryBacking>; the sizes themselves stand in machine.c's table, between other elements. */
#include "domain/memory.h"

#include "domain/rows.h"

NAMES(memory_source_names, MEMSRC_N, "file", "anonymous", "memfd");
NAMES(memory_access_names, MEMACCESS_N, "shared", "private");
NAMES(memory_allocation_names, MEMALLOC_N, "immediate", "ondemand");

static const struct field hugepage_schema_fields[] = {
	SIZE(struct hugepage, size, "@size", 0, MEMORY_MAX, REQUIRED, "size of a page"),
	CPUSET(struct hugepage, nodeset, "@nodeset", NOT_YET, "guest nodes that are backed by it"),
	EXTRAS(struct hugepage, extras), END
};
static SCHEMA(hugepage_schema, struct hugepage, "page", "one size of huge pages");

static const struct field hugepages_schema_fields[] = {
	LIST(struct hugepages, pages, "page", hugepage_schema, 64, 0, "which sizes for which guest nodes"),
	EXTRAS(struct hugepages, extras), END
};
static SCHEMA(hugepages_schema, struct hugepages, "hugepages", "back the memory by the host's reserved huge pages");

static const struct field memory_backing_schema_fields[] = {
	OPT(struct memory_backing, hugepages, "hugepages", hugepages_schema, 0, "huge pages reserved on the host"),
	FLAG(struct memory_backing, nosharepages, "nosharepages", NOT_YET, "the host must not merge equal pages (KSM)"),
	FLAG(struct memory_backing, locked, "locked", NOT_YET, "the memory is never swapped out"),
	ENUM(struct memory_backing, source, "source/@type", memory_source_names, NOT_YET, "what kind of memory backs the guest's", .lacks = 1 << MEMSRC_FILE | 1 << MEMSRC_ANONYMOUS),
	ENUM(struct memory_backing, access, "access/@mode", memory_access_names, 0, "may other processes map it"),
	ENUM(struct memory_backing, allocation, "allocation/@mode", memory_allocation_names, NOT_YET, "when the host gives the pages", .lacks = 1 << MEMALLOC_IMMEDIATE),
	U32(struct memory_backing, allocation_threads, "allocation/@threads", 0, 256, NOT_YET, "threads that touch the pages at start"),
	FLAG(struct memory_backing, discard, "discard", 0, "the pages' contents are dropped at the end"),
	EXTRAS(struct memory_backing, extras), END
};
SCHEMA(memory_backing_schema, struct memory_backing, "memoryBacking", "what stands behind the guest's memory");
