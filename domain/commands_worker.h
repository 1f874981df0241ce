/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments and replies of the commands that a worker runs (domain/commands_worker.c has the rows). */
#pragma once
#include "domain/command.h"

enum run_state { RUN_STATE_INMIGRATE, RUN_STATE_PRELAUNCH, RUN_STATE_PAUSED, RUN_STATE_RUNNING, RUN_STATE_SHUTDOWN,
	RUN_STATE_GUEST_PANICKED, RUN_STATE_INTERNAL_ERROR, RUN_STATE_IO_ERROR, RUN_STATE_N };
extern const char *const run_state_names[RUN_STATE_N];

struct name_item { char *name; };
struct args_add_fds { GPtrArray *names; };              /* of struct name_item */
struct args_since { uint64_t since; };
struct args_console { char *device, *name; bool writer, force; };
struct args_netdev_reconnect { char *id; };
struct args_served { uint64_t serve; bool taken; char *answer; };
struct reply_status { int status; bool running, singlestep; };
struct reply_hello { char *version, *name, *uuid, *fence; int status; uint64_t last_seq; uint32_t pid; };
struct reply_kvm { bool enabled, present; };
struct reply_named { char *name; };
struct reply_uuid { char *UUID; };
struct vcpu_stats { uint32_t id; uint64_t exits, pio, mmio, hlt, interrupted, assists, syscalls, msr, other; };
struct device_stats { char *id, *type; uint64_t guest_errors; };
struct reply_stats {
	GPtrArray *vcpus, *devices;
	uint64_t fence_violations;
	bool emulated;
	uint64_t guest_ns;
};

extern const struct schema args_add_fds_schema, args_since_schema, args_console_schema, args_netdev_reconnect_schema, args_served_schema,
	reply_status_schema, reply_hello_schema, reply_kvm_schema, reply_named_schema, reply_uuid_schema, reply_stats_schema;
