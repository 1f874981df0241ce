/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments and replies of the commands that watch machines. Each struct has its schema `NAME_schema`. */
#pragma once
#include "domain/command.h"

struct watch_name { char *name; };
struct ask_domstats {
	GPtrArray *domains;             /* struct watch_name */
	bool state, cpu_total, balloon, vcpu, interface, block, dirtyrate, vm;
	bool latency, list_active, list_inactive, list_running, list_paused, list_shutoff, nowait, raw, enforce;
};
struct tell_domstats_row { char *name, *uuid, *stats; };
struct tell_domstats { GPtrArray *domains; };
extern const struct schema ask_domstats_schema, tell_domstats_schema;

/* the machine's */
enum dirty_mode { DIRTY_BITMAP, DIRTY_SAMPLING, DIRTY_RING, DIRTY_MODES };
struct ask_dirty_rate { uint32_t calc_time, sample_pages; int mode; };
struct tell_dirty_rate { uint64_t dirty_rate, start_time, calc_time, sample_pages; int status, mode; };
extern const struct schema tell_dirty_rate_schema;

/* kvmctl's own */
enum top_column { TOP_NAME, TOP_STATE, TOP_CPU, TOP_STEAL, TOP_VCPUS, TOP_RSS, TOP_MEMORY, TOP_READ, TOP_WRITE, TOP_OPS, TOP_RX, TOP_TX, TOP_EXITS, TOP_COLUMNS };
extern const char *const top_columns[TOP_COLUMNS];
struct ask_top { bool batch; uint32_t count; uint32_t delay; int sort; };
struct qmp_word { char *text; };
struct ask_qmp { char *command; GPtrArray *arguments /* struct qmp_word */; };
