/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much of the host a machine may use, and where: <cputune>, <memtune>, <blkiotune>, <numatune>, <iothreads>, <resource>. */
#pragma once
#include "domain/field.h"

enum tune_scheduler { SCHED_ABSENT, SCHED_NAME_BATCH, SCHED_NAME_IDLE, SCHED_NAME_FIFO, SCHED_NAME_RR, SCHED_NAME_N };
enum numa_mode { NUMA_MODE_ABSENT, NUMA_STRICT, NUMA_PREFERRED, NUMA_INTERLEAVE, NUMA_RESTRICTIVE, NUMA_MODE_N };

struct blkio_device {
	char *path;                     /* of the host's block device */
	uint32_t weight;                /* 100..1000; 0: not given, like the rest */
	uint32_t read_iops_sec, write_iops_sec;
	uint64_t read_bytes_sec, write_bytes_sec;
	struct extras extras;
};
struct blkiotune {
	uint32_t weight;
	GPtrArray *devices;             /* struct blkio_device */
	struct extras extras;
};
struct memtune {                        /* bytes; 0: not given */
	uint64_t hard_limit, soft_limit, min_guarantee, swap_hard_limit;
	struct extras extras;
};
struct vcpupin {
	uint32_t vcpu;
	char *cpuset;
	struct extras extras;
};
struct iothreadpin {
	uint32_t iothread;
	char *cpuset;
	struct extras extras;
};
struct vcpusched {
	char *vcpus;                    /* cpuset syntax */
	int scheduler;
	uint32_t priority;
	struct extras extras;
};
struct iothreadsched {
	char *iothreads;
	int scheduler;
	uint32_t priority;
	struct extras extras;
};
struct emulatorsched {
	int scheduler;
	uint32_t priority;
	struct extras extras;
};
struct cputune {                        /* periods and quotas in µs; 0: not given; quota -1: unlimited */
	uint64_t shares;
	uint64_t period, global_period, emulator_period, iothread_period;
	int64_t quota, global_quota, emulator_quota, iothread_quota;
	GPtrArray *vcpupins;            /* struct vcpupin */
	char *emulatorpin;
	GPtrArray *iothreadpins;        /* struct iothreadpin */
	struct emulatorsched *emulatorsched;
	GPtrArray *vcpuscheds, *iothreadscheds;
	struct extras extras;
};
struct memnode {
	uint32_t cellid;
	int mode;
	char *nodeset;
	struct extras extras;
};
struct numatune {
	int mode, placement;            /* placement: enum vcpu_placement */
	char *nodeset;
	GPtrArray *memnodes;            /* struct memnode */
	struct extras extras;
};
#define IOTHREADS_RUN 63                /* of a running machine, at most */
struct iothread {
	uint32_t id;                    /* from 1 */
	int32_t pool_min, pool_max;     /* -1: not given */
	int64_t poll_max;               /* ns; -1: not given */
	int32_t poll_grow, poll_shrink; /* -1: not given */
	struct extras extras;
};
struct iothreads {
	uint32_t count;                 /* <iothreads>n; 0: as many as listed */
	GPtrArray *list;                /* struct iothread */
	int32_t pool_min, pool_max;     /* <defaultiothread>; -1: not given */
};
struct resource_group {
	char *partition;                /* cgroup */
	struct extras extras;
};

extern const struct schema blkiotune_schema, memtune_schema, cputune_schema, numatune_schema, iothread_schema,
	resource_group_schema;
