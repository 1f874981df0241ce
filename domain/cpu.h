/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The processors: <vcpu>, <vcpus> and <cpu>. */
#pragma once
#include "domain/field.h"

#define VCPUS_MAX 1024

enum vcpu_placement { PLACEMENT_ABSENT, PLACEMENT_STATIC, PLACEMENT_AUTO, PLACEMENT_N };
enum cpu_mode { CPU_MODE_ABSENT, CPU_MODE_CUSTOM, CPU_MODE_HOST_MODEL, CPU_MODE_HOST_PASSTHROUGH, CPU_MODE_MAXIMUM, CPU_MODE_N };
enum cpu_match { CPU_MATCH_ABSENT, CPU_MATCH_MINIMUM, CPU_MATCH_EXACT, CPU_MATCH_STRICT, CPU_MATCH_N };
enum cpu_check { CPU_CHECK_ABSENT, CPU_CHECK_NONE, CPU_CHECK_PARTIAL, CPU_CHECK_FULL, CPU_CHECK_N };
enum cpu_fallback { CPU_FALLBACK_ABSENT, CPU_FALLBACK_ALLOW, CPU_FALLBACK_FORBID, CPU_FALLBACK_N };
enum cpu_policy { CPU_POLICY_ABSENT, CPU_POLICY_FORCE, CPU_POLICY_REQUIRE, CPU_POLICY_OPTIONAL, CPU_POLICY_DISABLE,
	CPU_POLICY_FORBID, CPU_POLICY_N };
enum cpu_cache_mode { CPU_CACHE_ABSENT, CPU_CACHE_EMULATE, CPU_CACHE_PASSTHROUGH, CPU_CACHE_DISABLE, CPU_CACHE_N };
enum numa_cache_assoc { NUMA_ASSOC_ABSENT, NUMA_ASSOC_NONE, NUMA_ASSOC_DIRECT, NUMA_ASSOC_FULL, NUMA_ASSOC_N };
enum numa_cache_policy { NUMA_POLICY_ABSENT, NUMA_POLICY_NONE, NUMA_POLICY_WRITEBACK, NUMA_POLICY_WRITETHROUGH, NUMA_POLICY_N };
enum numa_link_type { NUMA_LINK_ABSENT, NUMA_LINK_ACCESS, NUMA_LINK_READ, NUMA_LINK_WRITE, NUMA_LINK_N };

/* One entry of <vcpus>. */
struct vcpu_entry {
	uint32_t id;
	int enabled, hotpluggable;      /* YESNO */
	uint32_t order;                 /* of being plugged, from 1; 0: not given */
	struct extras extras;
};
struct vcpu_config {
	uint32_t max, current;          /* current 0: all of max */
	int placement;
	char *cpuset;                   /* host CPUs for all vCPUs; NULL: any */
	GPtrArray *list;                /* struct vcpu_entry; empty: the first `current` are on */
};

struct cpu_feature {
	char *name;                     /* libvirt's name: row of cpu_features.h */
	int policy;                     /* enum cpu_policy; ABSENT means require (fill sets it) */
	struct extras extras;
};
struct cpu_topology {
	uint32_t sockets, dies, clusters, cores, threads;       /* 0: not given */
	struct extras extras;
};
struct cpu_cache {
	uint32_t level;                 /* 1..3; 0: all */
	int mode;
	struct extras extras;
};
struct cpu_maxphysaddr {
	int mode;                       /* enum cpu_cache_mode without DISABLE */
	uint32_t bits, limit;           /* 0: not given */
	struct extras extras;
};
struct numa_distance {
	uint32_t id, value;
	struct extras extras;
};
struct numa_cache {
	uint32_t level;
	int associativity, policy;
	uint64_t size, line;            /* bytes */
	struct extras extras;
};
struct numa_cell {
	uint32_t id;                    /* UINT32_MAX: not given, then its place (fill sets it) */
	char *cpus;                     /* vCPUs, cpuset syntax; NULL: none */
	uint64_t memory;                /* bytes */
	int mem_access;                 /* enum memory_access */
	int discard;                    /* YESNO */
	GPtrArray *distances;           /* struct numa_distance */
	GPtrArray *caches;              /* struct numa_cache */
	struct extras extras;
};
struct numa_link {                      /* <latency> (value in ns) and <bandwidth> (value in bytes per second) */
	uint32_t initiator, target, cache;
	int type;
	uint64_t value;
	struct extras extras;
};

struct cpu {
	int mode, match, check;
	int migratable;                 /* ONOFF */
	char *model;
	int fallback;
	char *vendor_id;                /* 12 characters the guest shall see */
	char *vendor;                   /* "Intel", "AMD": the host must be one */
	struct cpu_topology topology;
	struct cpu_cache *cache;        /* NULL: not given */
	struct cpu_maxphysaddr *maxphysaddr;
	GPtrArray *features;            /* struct cpu_feature */
	GPtrArray *cells;               /* struct numa_cell */
	GPtrArray *latencies, *bandwidths;      /* struct numa_link */
	struct extras extras;
};

extern const struct schema cpu_schema, vcpu_entry_schema, cpu_feature_schema, numa_cell_schema;
extern const char *const vcpu_placement_names[PLACEMENT_N];
