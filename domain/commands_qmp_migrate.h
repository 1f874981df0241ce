/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP's commands about migration: what clients set up and read before they migrate. */
#pragma once
#include "domain/command.h"
#include "domain/field.h"

struct qmp_migrate_parameters {
	uint32_t announce_initial, announce_max, announce_rounds, announce_step;
	uint32_t throttle_trigger, throttle_initial, throttle_increment, throttle_max;
	bool throttle_tailslow;
	uint64_t bandwidth, postcopy_bandwidth, downtime;
	uint32_t channels, zlib_level, zstd_level;
	char *compression, *tls_creds, *tls_hostname, *tls_authz;
};
extern const struct schema qmp_migrate_parameters_schema;

struct qmp_migrate_capability { char *capability; bool state; };
extern const struct schema qmp_migrate_capability_schema;

struct args_migrate_capabilities { GPtrArray *capabilities; };
struct args_migrate { char *uri; };
struct args_migrate_continue { char *state; };
