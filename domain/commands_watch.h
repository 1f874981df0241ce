/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments and replies of the commands that watch machines. Each struct has its schema `NAME_schema`. */
#pragma once
#include "domain/command.h"

struct watch_name { char *name; };
struct ask_domstats {
	GPtrArray *domains;             /* struct watch_name */
	bool state, cpu_total, balloon, vcpu, interface, block, dirtyrate, vm;
	bool latency, list_active, list_inactive, list_running, list_paused, list_shutoff, nowait;
};
struct tell_domstats_row { char *name, *uuid, *stats; };
struct tell_domstats { GPtrArray *domains; };
extern const struct schema ask_domstats_schema, tell_domstats_schema;
