/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <cpu> and of <vcpus>' entries. */
#include "domain/cpu.h"

#include "domain/memory.h"
#include "domain/rows.h"

NAMES_SHARED(vcpu_placement_names, PLACEMENT_N, "static", "auto");
NAMES(cpu_mode_names, CPU_MODE_N, "custom", "host-model", "host-passthrough", "maximum");
NAMES(cpu_match_names, CPU_MATCH_N, "minimum", "exact", "strict");
NAMES(cpu_check_names, CPU_CHECK_N, "none", "partial", "full");
NAMES(cpu_fallback_names, CPU_FALLBACK_N, "allow", "forbid");
NAMES(cpu_policy_names, CPU_POLICY_N, "force", "require", "optional", "disable", "forbid");
NAMES(cpu_cache_mode_names, CPU_CACHE_N, "emulate", "passthrough", "disable");
NAMES(numa_assoc_names, NUMA_ASSOC_N, "none", "direct", "full");
NAMES(numa_policy_names, NUMA_POLICY_N, "none", "writeback", "writethrough");
NAMES(numa_link_names, NUMA_LINK_N, "access", "read", "write");
NAMES(mem_access_names, MEMACCESS_N, "shared", "private");

#define CELLS_MAX 128

static const struct field vcpu_entry_schema_fields[] = {
	U32(struct vcpu_entry, id, "@id", 0, VCPUS_MAX - 1, REQUIRED, "number of the vCPU"),
	ENUM(struct vcpu_entry, enabled, "@enabled", yesno_names, LIVE | REQUIRED, "whether it is there at start"),
	ENUM(struct vcpu_entry, hotpluggable, "@hotpluggable", yesno_names, 0, "whether it may come and go"),
	U32(struct vcpu_entry, order, "@order", 0, VCPUS_MAX, 0, "place in the order of being plugged"),
	EXTRAS(struct vcpu_entry, extras), END
};
SCHEMA(vcpu_entry_schema, struct vcpu_entry, "vcpu", "one vCPU");

static const struct field cpu_feature_schema_fields[] = {
	ENUM(struct cpu_feature, policy, "@policy", cpu_policy_names, GUEST, "force it on, require it of the host, take it if there, hide it, or refuse hosts that have it"),
	STR(struct cpu_feature, name, "@name", GUEST | REQUIRED, "the feature's name, as 'virsh cpu-models' and libvirt's cpu_map have it"),
	EXTRAS(struct cpu_feature, extras), END
};
SCHEMA(cpu_feature_schema, struct cpu_feature, "feature", "one feature beyond the model");

static const struct field cpu_topology_schema_fields[] = {
	U32(struct cpu_topology, sockets, "@sockets", 0, VCPUS_MAX, GUEST, "packages"),
	U32(struct cpu_topology, dies, "@dies", 0, VCPUS_MAX, GUEST, "dies of a package"),
	U32(struct cpu_topology, clusters, "@clusters", 0, VCPUS_MAX, GUEST, "clusters of a die: 1"),
	U32(struct cpu_topology, cores, "@cores", 0, VCPUS_MAX, GUEST, "cores of a die"),
	U32(struct cpu_topology, threads, "@threads", 0, VCPUS_MAX, GUEST, "threads of a core"),
	EXTRAS(struct cpu_topology, extras), END
};
static SCHEMA(cpu_topology_schema, struct cpu_topology, "topology", "how the vCPUs are arranged");

static const struct field cpu_cache_schema_fields[] = {
	U32(struct cpu_cache, level, "@level", 0, 3, GUEST, "which level; none: all"),
	ENUM(struct cpu_cache, mode, "@mode", cpu_cache_mode_names, GUEST | REQUIRED | NOT_YET, "what CPUID says of the caches", .lacks = 1 << CPU_CACHE_EMULATE),
	EXTRAS(struct cpu_cache, extras), END
};
static SCHEMA(cpu_cache_schema, struct cpu_cache, "cache", "what the guest is told about caches");

static const struct field cpu_maxphysaddr_schema_fields[] = {
	ENUM(struct cpu_maxphysaddr, mode, "@mode", cpu_cache_mode_names, GUEST | REQUIRED, "emulate a width or pass the host's"),
	U32(struct cpu_maxphysaddr, bits, "@bits", 0, 64, GUEST, "width of a physical address"),
	U32(struct cpu_maxphysaddr, limit, "@limit", 0, 64, GUEST, "most that is passed"),
	EXTRAS(struct cpu_maxphysaddr, extras), END
};
static SCHEMA(cpu_maxphysaddr_schema, struct cpu_maxphysaddr, "maxphysaddr", "width of physical addresses");

static const struct field numa_distance_schema_fields[] = {
	U32(struct numa_distance, id, "@id", 0, CELLS_MAX - 1, GUEST | REQUIRED, "the other node"),
	U32(struct numa_distance, value, "@value", 0, 255, GUEST | REQUIRED, "10 is local, 20 twice as far"),
	EXTRAS(struct numa_distance, extras), END
};
static SCHEMA(numa_distance_schema, struct numa_distance, "sibling", "how far another node is");

static const struct field numa_cache_schema_fields[] = {
	U32(struct numa_cache, level, "@level", 0, 255, GUEST | REQUIRED, "level of the memory-side cache"),
	ENUM(struct numa_cache, associativity, "@associativity", numa_assoc_names, GUEST | REQUIRED, "how it is addressed"),
	ENUM(struct numa_cache, policy, "@policy", numa_policy_names, GUEST | REQUIRED, "how it writes"),
	SIZE(struct numa_cache, size, "size/@value", 0, MEMORY_MAX, GUEST, "bytes it holds"),
	SIZE(struct numa_cache, line, "line/@value", 0, 1 << 20, GUEST, "bytes of a line", .unit = 1),
	EXTRAS(struct numa_cache, extras), END
};
static SCHEMA(numa_cache_schema, struct numa_cache, "cache", "memory-side cache of a node (HMAT)");

static const struct field numa_cell_schema_fields[] = {
	U32(struct numa_cell, id, "@id", 0, UINT32_MAX, GUEST, "number of the node", .def = UINT32_MAX),
	CPUSET(struct numa_cell, cpus, "@cpus", GUEST, "its vCPUs"),
	SIZE(struct numa_cell, memory, "@memory", 0, MEMORY_MAX, GUEST | REQUIRED, "its memory"),
	ENUM(struct numa_cell, mem_access, "@memAccess", mem_access_names, 0, "may other processes map its memory"),
	ENUM(struct numa_cell, discard, "@discard", yesno_names, 0, "drop its contents at the end"),
	LIST(struct numa_cell, distances, "distances/sibling", numa_distance_schema, CELLS_MAX, GUEST, "how far the others are"),
	LIST(struct numa_cell, caches, "cache", numa_cache_schema, 8, GUEST | NOT_YET, "memory-side caches"),
	EXTRAS(struct numa_cell, extras), END
};
SCHEMA(numa_cell_schema, struct numa_cell, "cell", "one NUMA node of the guest");

static const struct field numa_latency_schema_fields[] = {
	U32(struct numa_link, initiator, "@initiator", 0, CELLS_MAX - 1, GUEST | REQUIRED, "node that asks"),
	U32(struct numa_link, target, "@target", 0, CELLS_MAX - 1, GUEST | REQUIRED, "node that answers"),
	U32(struct numa_link, cache, "@cache", 0, 255, GUEST, "level of its cache"),
	ENUM(struct numa_link, type, "@type", numa_link_names, GUEST | REQUIRED, "kind of access"),
	U64(struct numa_link, value, "@value", 0, UINT32_MAX, GUEST | REQUIRED, "nanoseconds"),
	EXTRAS(struct numa_link, extras), END
};
static SCHEMA(numa_latency_schema, struct numa_link, "latency", "time of an access between nodes (HMAT)");

static const struct field numa_bandwidth_schema_fields[] = {
	U32(struct numa_link, initiator, "@initiator", 0, CELLS_MAX - 1, GUEST | REQUIRED, "node that asks"),
	U32(struct numa_link, target, "@target", 0, CELLS_MAX - 1, GUEST | REQUIRED, "node that answers"),
	U32(struct numa_link, cache, "@cache", 0, 255, GUEST, "level of its cache"),
	ENUM(struct numa_link, type, "@type", numa_link_names, GUEST | REQUIRED, "kind of access"),
	SIZE(struct numa_link, value, "@value", 0, MEMORY_MAX, GUEST | REQUIRED, "bytes per second"),
	EXTRAS(struct numa_link, extras), END
};
static SCHEMA(numa_bandwidth_schema, struct numa_link, "bandwidth", "rate of accesses between nodes (HMAT)");

static const struct field cpu_schema_fields[] = {
	ENUM(struct cpu, mode, "@mode", cpu_mode_names, GUEST, "a named model, the host's model, or the host as it is"),
	ENUM(struct cpu, match, "@match", cpu_match_names, GUEST, "how close the host must come to a named model"),
	ENUM(struct cpu, check, "@check", cpu_check_names, 0, "how much is compared before the start"),
	ENUM(struct cpu, migratable, "@migratable", onoff_names, GUEST, "leave out what cannot move to another host"),
	STR(struct cpu, model, "model", GUEST, "the named model"),
	ENUM(struct cpu, fallback, "model/@fallback", cpu_fallback_names, GUEST, "take a near model when the host lacks this one"),
	STR(struct cpu, vendor_id, "model/@vendor_id", GUEST, "vendor that the guest sees, 12 characters"),
	STR(struct cpu, vendor, "vendor", GUEST, "vendor that the host must have"),
	STRUCT(struct cpu, topology, "topology", cpu_topology_schema, GUEST, "how the vCPUs are arranged"),
	OPT(struct cpu, cache, "cache", cpu_cache_schema, GUEST, "what the guest is told about caches"),
	OPT(struct cpu, maxphysaddr, "maxphysaddr", cpu_maxphysaddr_schema, GUEST, "width of physical addresses"),
	LIST(struct cpu, features, "feature", cpu_feature_schema, 512, GUEST, "features beyond the model"),
	LIST(struct cpu, cells, "numa/cell", numa_cell_schema, CELLS_MAX, GUEST, "NUMA nodes of the guest"),
	LIST(struct cpu, latencies, "numa/interconnects/latency", numa_latency_schema, 1024, GUEST | NOT_YET, "access times between nodes"),
	LIST(struct cpu, bandwidths, "numa/interconnects/bandwidth", numa_bandwidth_schema, 1024, GUEST | NOT_YET, "access rates between nodes"),
	EXTRAS(struct cpu, extras), END
};
SCHEMA(cpu_schema, struct cpu, "cpu", "what the processors are");
