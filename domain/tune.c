/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <blkiotune>, <memtune>, <cputune>, <numatune>, <iothreadids>, <resource>. */
#include "domain/tune.h"

#include "domain/cpu.h"
#include "domain/rows.h"

NAMES(scheduler_names, SCHED_NAME_N, "batch", "idle", "fifo", "rr");
NAMES(numa_mode_names, NUMA_MODE_N, "strict", "preferred", "interleave", "restrictive");

#define PERIOD_MIN 1000
#define PERIOD_MAX 1000000
#define QUOTA_MAX 17592186044415

static const struct field blkio_device_schema_fields[] = {
	STR(struct blkio_device, path, "path", REQUIRED, "block device of the host"),
	U32(struct blkio_device, weight, "weight", 100, 1000, LIVE, "share of the device's time, 100 to 1000"),
	U32(struct blkio_device, read_iops_sec, "read_iops_sec", 0, UINT32_MAX, LIVE, "reads per second"),
	U32(struct blkio_device, write_iops_sec, "write_iops_sec", 0, UINT32_MAX, LIVE, "writes per second"),
	U64(struct blkio_device, read_bytes_sec, "read_bytes_sec", 0, INT64_MAX, LIVE, "bytes read per second"),
	U64(struct blkio_device, write_bytes_sec, "write_bytes_sec", 0, INT64_MAX, LIVE, "bytes written per second"),
	EXTRAS(struct blkio_device, extras), END
};
static SCHEMA(blkio_device_schema, struct blkio_device, "device", "limits on one block device of the host");

static const struct field blkiotune_schema_fields[] = {
	U32(struct blkiotune, weight, "weight", 100, 1000, LIVE, "share of all disks' time, 100 to 1000"),
	LIST(struct blkiotune, devices, "device", blkio_device_schema, 256, LIVE, "limits by block device of the host"),
	EXTRAS(struct blkiotune, extras), END
};
SCHEMA(blkiotune_schema, struct blkiotune, "blkiotune", "the machine's share of the host's disks");

static const struct field memtune_schema_fields[] = {
	SIZE(struct memtune, hard_limit, "hard_limit", 0, INT64_MAX, LIVE, "most memory the machine's process may use"),
	SIZE(struct memtune, soft_limit, "soft_limit", 0, INT64_MAX, LIVE, "what it is pushed back to when the host is short"),
	SIZE(struct memtune, min_guarantee, "min_guarantee", 0, INT64_MAX, LIVE, "what it is never pushed below"),
	SIZE(struct memtune, swap_hard_limit, "swap_hard_limit", 0, INT64_MAX, LIVE, "most memory and swap together"),
	EXTRAS(struct memtune, extras), END
};
SCHEMA(memtune_schema, struct memtune, "memtune", "limits on the memory of the machine's process");

static const struct field vcpupin_schema_fields[] = {
	U32(struct vcpupin, vcpu, "@vcpu", 0, VCPUS_MAX - 1, REQUIRED, "the vCPU"),
	CPUSET(struct vcpupin, cpuset, "@cpuset", LIVE | REQUIRED, "host CPUs it may run on"),
	EXTRAS(struct vcpupin, extras), END
};
static SCHEMA(vcpupin_schema, struct vcpupin, "vcpupin", "where one vCPU runs");

static const struct field iothreadpin_schema_fields[] = {
	U32(struct iothreadpin, iothread, "@iothread", 1, 1024, REQUIRED, "the I/O thread"),
	CPUSET(struct iothreadpin, cpuset, "@cpuset", LIVE | REQUIRED, "host CPUs it may run on"),
	EXTRAS(struct iothreadpin, extras), END
};
static SCHEMA(iothreadpin_schema, struct iothreadpin, "iothreadpin", "where one I/O thread runs");

static const struct field vcpusched_schema_fields[] = {
	CPUSET(struct vcpusched, vcpus, "@vcpus", 0, "which vCPUs; none given: all"),
	ENUM(struct vcpusched, scheduler, "@scheduler", scheduler_names, REQUIRED, "how they are scheduled"),
	U32(struct vcpusched, priority, "@priority", 0, 99, 0, "real-time priority (fifo, rr)"),
	EXTRAS(struct vcpusched, extras), END
};
static SCHEMA(vcpusched_schema, struct vcpusched, "vcpusched", "how vCPUs are scheduled");

static const struct field iothreadsched_schema_fields[] = {
	CPUSET(struct iothreadsched, iothreads, "@iothreads", 0, "which I/O threads; none given: all"),
	ENUM(struct iothreadsched, scheduler, "@scheduler", scheduler_names, REQUIRED, "how they are scheduled"),
	U32(struct iothreadsched, priority, "@priority", 0, 99, 0, "real-time priority (fifo, rr)"),
	EXTRAS(struct iothreadsched, extras), END
};
static SCHEMA(iothreadsched_schema, struct iothreadsched, "iothreadsched", "how I/O threads are scheduled");

static const struct field emulatorsched_schema_fields[] = {
	ENUM(struct emulatorsched, scheduler, "@scheduler", scheduler_names, REQUIRED, "how they are scheduled"),
	U32(struct emulatorsched, priority, "@priority", 0, 99, 0, "real-time priority (fifo, rr)"),
	EXTRAS(struct emulatorsched, extras), END
};
static SCHEMA(emulatorsched_schema, struct emulatorsched, "emulatorsched", "how the machine's other threads are scheduled");

#define CPU_PERIOD(m, text) U64(struct cputune, m, #m, PERIOD_MIN, PERIOD_MAX, LIVE, text)
#define CPU_QUOTA(m, text) I64(struct cputune, m, #m, -1, QUOTA_MAX, LIVE, text)
#define NO_RDT "the host's caches and memory bandwidth aren't divided (resctrl)"
static const struct field cputune_schema_fields[] = {
	U64(struct cputune, shares, "shares", 2, 262144, LIVE, "share of the host's CPUs against other machines"),
	CPU_PERIOD(period, "µs in which a vCPU's quota is counted"),
	CPU_QUOTA(quota, "µs of each period that a vCPU may run; -1: no limit"),
	CPU_PERIOD(global_period, "µs in which the machine's quota is counted"),
	CPU_QUOTA(global_quota, "µs of each period that the machine may run; -1: no limit"),
	CPU_PERIOD(emulator_period, "µs in which its other threads' quota is counted"),
	CPU_QUOTA(emulator_quota, "µs of each period that its other threads may run; -1: no limit"),
	CPU_PERIOD(iothread_period, "µs in which an I/O thread's quota is counted"),
	CPU_QUOTA(iothread_quota, "µs of each period that an I/O thread may run; -1: no limit"),
	LIST(struct cputune, vcpupins, "vcpupin", vcpupin_schema, VCPUS_MAX, LIVE, "where vCPUs run"),
	CPUSET(struct cputune, emulatorpin, "emulatorpin/@cpuset", LIVE, "host CPUs for the other threads"),
	LIST(struct cputune, iothreadpins, "iothreadpin", iothreadpin_schema, 1024, LIVE, "where I/O threads run"),
	OPT(struct cputune, emulatorsched, "emulatorsched", emulatorsched_schema, LIVE, "how the other threads are scheduled"),
	LIST(struct cputune, vcpuscheds, "vcpusched", vcpusched_schema, VCPUS_MAX, LIVE, "how vCPUs are scheduled"),
	LIST(struct cputune, iothreadscheds, "iothreadsched", iothreadsched_schema, 1024, LIVE, "how I/O threads are scheduled"),
	KEEP("cachetune", NO_RDT),
	KEEP("memorytune", NO_RDT),
	EXTRAS(struct cputune, extras), END
};
SCHEMA(cputune_schema, struct cputune, "cputune", "the machine's share of the host's CPUs");

static const struct field memnode_schema_fields[] = {
	U32(struct memnode, cellid, "@cellid", 0, 127, REQUIRED, "guest node"),
	ENUM(struct memnode, mode, "@mode", numa_mode_names, REQUIRED, "how strictly"),
	CPUSET(struct memnode, nodeset, "@nodeset", LIVE | REQUIRED, "host nodes its memory comes from"),
	EXTRAS(struct memnode, extras), END
};
static SCHEMA(memnode_schema, struct memnode, "memnode", "where one guest node's memory comes from");

static const struct field numatune_schema_fields[] = {
	ENUM(struct numatune, mode, "memory/@mode", numa_mode_names, 0, "how strictly"),
	ENUM(struct numatune, placement, "memory/@placement", vcpu_placement_names, NOT_YET, "given here, or found at start", .lacks = 1 << PLACEMENT_AUTO),
	CPUSET(struct numatune, nodeset, "memory/@nodeset", LIVE, "host nodes the memory comes from"),
	LIST(struct numatune, memnodes, "memnode", memnode_schema, 128, 0, "the same by guest node"),
	EXTRAS(struct numatune, extras), END
};
SCHEMA(numatune_schema, struct numatune, "numatune", "which host nodes the memory comes from");

static const struct field iothread_schema_fields[] = {
	U32(struct iothread, id, "@id", 1, 1024, REQUIRED, "number of the thread"),
	I32(struct iothread, pool_min, "@thread_pool_min", 0, INT32_MAX, LIVE | NOT_YET, "helpers it keeps", .def = UINT64_MAX),
	I32(struct iothread, pool_max, "@thread_pool_max", 0, INT32_MAX, LIVE | NOT_YET, "helpers it may have", .def = UINT64_MAX),
	I64(struct iothread, poll_max, "poll/@max", 0, 1000000000, 0, "ns it looks for work before it sleeps, while busy; 0: never", .def = UINT64_MAX),
	I32(struct iothread, poll_grow, "poll/@grow", 0, 1000, 0, "factor by which that grows", .def = UINT64_MAX),
	I32(struct iothread, poll_shrink, "poll/@shrink", 0, 1000, 0, "and shrinks; 0: to nothing at once", .def = UINT64_MAX),
	EXTRAS(struct iothread, extras), END
};
SCHEMA(iothread_schema, struct iothread, "iothread", "a thread that serves disks");

static const struct field resource_group_schema_fields[] = {
	STR(struct resource_group, partition, "partition", 0, "cgroup the machine is put into"),
	KEEP("fibrechannel", "Fibre Channel application ids aren't set"),
	EXTRAS(struct resource_group, extras), END
};
SCHEMA(resource_group_schema, struct resource_group, "resource", "where the machine stands among others");
