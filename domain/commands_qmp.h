/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arguments and replies of the commands that QEMU's clients know, beyond the machine's states (domain/commands_qmp.c has
 * the rows), and of what stands behind kvmctl's setvcpus. Key names and units are QEMU's.
 */
#pragma once
#include "domain/command.h"

/* --- vCPUs --- */
enum expansion_type { EXPANSION_STATIC, EXPANSION_FULL, EXPANSION_N };
struct qmp_props { uint32_t socket, die, core, thread; };
struct qmp_cpu { uint32_t index, tid; char *path; struct qmp_props props; char *target; };
struct qmp_iothread { char *id; uint32_t tid; uint64_t poll_max, poll_grow, poll_shrink, batch; };
struct qmp_slot { char *type; uint32_t count; struct qmp_props props; char *path; };
struct qmp_model { char *name, *props; };
struct ask_expansion { int type; struct qmp_model model; };
struct tell_expansion { struct qmp_model model; };
struct qmp_ost { char *device, *slot, *type; uint32_t source, status; };
struct args_device_add { char *driver, *bus, *id, *drive, *netdev, *mac, *serial, *addr, *chardev, *name; uint32_t nr, socket, die, core, thread; };
struct args_id { char *id; };
#define QMP_NO_ID UINT32_MAX            /* socket, die, core, thread: not given */
struct args_vcpus_set { uint32_t count, timeout; char *id, *vcpus; bool enable; };
struct tell_vcpus { uint32_t vcpus, maximum, online; };
struct vcpu_row { uint32_t id; bool enabled, hotpluggable; char *alias; uint32_t tid; uint64_t exits; };

/* --- the machine --- */
struct qmp_machine {
	char *name;
	bool is_default, hotpluggable, numa, deprecated;
	uint32_t cpu_max;
	char *cpu_type, *ram_id;
};
struct qmp_arch { char *arch; };
struct qmp_number { uint32_t major, minor, micro; };
struct qmp_version { struct qmp_number qemu; char *package; };
struct qmp_name { char *name; };
struct qmp_wakeup { bool wakeup; };
struct qmp_chardev { char *label, *filename; bool open; };
struct args_qom { char *path, *property; };
struct qmp_property { char *name, *type; };

/* --- descriptors --- */
struct args_fdname { char *name; };
struct args_add_fd { int64_t set; char *opaque; };      /* set -1: a new one */
struct args_remove_fd { int64_t set, fd; };             /* fd -1: all */
struct tell_add_fd { int64_t set, fd; };
struct qmp_fd { int64_t fd; char *opaque; };
struct qmp_fdset { int64_t id; GPtrArray *fds; };       /* struct qmp_fd */

/* --- statistics --- */
enum stats_target { STATS_VM, STATS_VCPU, STATS_TARGETS };
struct args_stats { int target; char *vcpus, *providers; };
struct qmp_stats { char *provider, *path, *stats; };
struct qmp_stats_schema { char *provider, *target, *stats; };

/* --- dumps --- */
enum dump_status { DUMP_NONE, DUMP_ACTIVE, DUMP_COMPLETED, DUMP_FAILED, DUMP_N };
struct args_dump { bool paging, detach; char *protocol, *format; uint64_t begin, length; };
struct tell_dump { int status; uint64_t completed, total; };

extern const struct schema args_vcpus_set_schema, tell_vcpus_schema, qmp_cpu_schema, qmp_iothread_schema, qmp_slot_schema, vcpu_row_schema,
	tell_expansion_schema, qmp_ost_schema, qmp_machine_schema, qmp_arch_schema, qmp_version_schema, qmp_name_schema,
	qmp_wakeup_schema, qmp_chardev_schema, qmp_property_schema, tell_add_fd_schema, qmp_fdset_schema,
	qmp_stats_schema, qmp_stats_schema_schema, tell_dump_schema;

/* The events of a machine's socket: QEMU's names where it has one. Ends with a row without a name. */
struct event_row { const char *name, *doc; const struct schema *data; };
extern const struct event_row worker_events[];
