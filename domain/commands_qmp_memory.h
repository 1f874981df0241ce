/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine's memory: what QEMU's clients ask of the balloon and of memory devices, and what stands behind kvmctl's setmem
 * and dommemstat. Key names and units are QEMU's. Sizes are bytes.
 */
#pragma once
#include "domain/command.h"

struct qmp_memory { uint64_t base, plugged; };
struct qmp_balloon { uint64_t actual; };
struct args_balloon { uint64_t value; };
struct args_qom_set { char *path, *property, *value; };
struct args_memory_set { uint64_t size; uint32_t timeout; char *id; };
struct tell_memory { uint64_t actual, wanted; };
struct tell_memory_stats {
	uint64_t actual, wanted, reported;
	bool driver;
	uint32_t period;
	uint64_t updated;
	char *stats;            /* JSON: QEMU's names to values */
};
struct args_memory_device_set { char *device; uint64_t size; uint32_t timeout; char *id; };
struct qmp_virtio_mem { char *id; uint64_t addr, requested, size, max, block; uint32_t node; char *memdev; };
struct qmp_memory_device { char *type; struct qmp_virtio_mem data; };
struct args_period { uint32_t period; };

extern const struct schema qmp_memory_schema, qmp_balloon_schema, tell_memory_schema, tell_memory_stats_schema,
	event_balloon_schema, event_memory_command_schema,
	event_memory_device_schema, qmp_memory_device_schema;
