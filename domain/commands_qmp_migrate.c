/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of QMP's commands about migration. A machine that does not migrate answers as QEMU's does; the defaults are QEMU's. */
#include "domain/commands_qmp_migrate.h"

#define S(id, T, what, text) const struct schema id = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }
#define NUM(m, key, lo, hi, value, text) U32(T, m, NULL, lo, hi, 0, text, .name = key, .def = value)
#define TEXT(m, key, text) STR(T, m, NULL, 0, text, .name = key, .text_def = "")

#define T struct qmp_migrate_parameters
static const struct field qmp_migrate_parameters_schema_fields[] = {
	NUM(announce_initial, "announce-initial", 0, 100000, 50, "ms before the guest's first announcement"),
	NUM(announce_max, "announce-max", 0, 100000, 550, "ms between two announcements at most"),
	NUM(announce_rounds, "announce-rounds", 0, 1000, 5, "announcements"),
	NUM(announce_step, "announce-step", 0, 10000, 100, "ms by which each wait is longer"),
	NUM(throttle_trigger, "throttle-trigger-threshold", 1, 100, 50, "% of what was sent that is written meanwhile, before vCPUs are slowed down"),
	NUM(throttle_initial, "cpu-throttle-initial", 1, 99, 20, "% by which vCPUs are slowed down at first"),
	NUM(throttle_increment, "cpu-throttle-increment", 1, 99, 10, "% more each time"),
	NUM(throttle_max, "max-cpu-throttle", 1, 99, 99, "% at most"),
	FLAG(T, throttle_tailslow, NULL, 0, "slow down less near the end", .name = "cpu-throttle-tailslow"),
	U64(T, bandwidth, NULL, 0, INT64_MAX, 0, "bytes per second", .name = "max-bandwidth", .def = 134217728),
	U64(T, postcopy_bandwidth, NULL, 0, INT64_MAX, 0, "bytes per second after the switch-over; 0: no limit", .name = "max-postcopy-bandwidth"),
	U64(T, downtime, NULL, 0, 2000000, 0, "ms that the guest may stand still", .name = "downtime-limit", .def = 300),
	NUM(channels, "multifd-channels", 1, 255, 2, "connections"),
	NUM(zlib_level, "multifd-zlib-level", 0, 9, 1, "how hard zlib works"),
	NUM(zstd_level, "multifd-zstd-level", 0, 20, 1, "how hard zstd works"),
	STR(T, compression, NULL, 0, "none, zlib or zstd", .name = "multifd-compression", .text_def = "none"),
	TEXT(tls_creds, "tls-creds", "certificates"), TEXT(tls_hostname, "tls-hostname", "name in the other host's certificate"),
	TEXT(tls_authz, "tls-authz", "who may connect"), END };
S(qmp_migrate_parameters_schema, T, "MigrationParameters", "how to migrate");
#undef T

#define T struct qmp_migrate_capability
static const struct field qmp_migrate_capability_schema_fields[] = {
	STR(T, capability, NULL, REQUIRED, "its name"), FLAG(T, state, NULL, REQUIRED, "it is to be used"), END };
S(qmp_migrate_capability_schema, T, "MigrationCapabilityStatus", "something that a migration may use");
#undef T

#define T struct args_migrate_capabilities
static const struct field args_migrate_capabilities_schema_fields[] = {
	LIST(T, capabilities, NULL, qmp_migrate_capability_schema, 64, REQUIRED, "which"), END };
static S(args_migrate_capabilities_schema, T, "migrate-set-capabilities", "what a migration may use");
#undef T

#define T struct args_migrate
static const struct field args_migrate_schema_fields[] = { STR(T, uri, NULL, REQUIRED, "where to, or from"), END };
static S(args_migrate_schema, T, "migrate", "the other side");
#undef T

#define T struct args_migrate_continue
static const struct field args_migrate_continue_schema_fields[] = { STR(T, state, NULL, REQUIRED, "in which it waits"), END };
static S(args_migrate_continue_schema, T, "migrate-continue", "a state");
#undef T

#define ASK CMD_READ | CMD_VM
const struct command qmp_migrate_commands[] = {
	{ "query-migrate", NULL, "show how a migration goes", IN_WORKER, ASK | CMD_ANY },
	{ "query-migrate-parameters", NULL, "show how it would migrate", IN_WORKER, ASK, NULL, &qmp_migrate_parameters_schema },
	{ "migrate-set-parameters", NULL, "say how to migrate", IN_WORKER, CMD_VM, &qmp_migrate_parameters_schema },
	{ "query-migrate-capabilities", NULL, "show what a migration would use", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_migrate_capability_schema },
	{ "migrate-set-capabilities", NULL, "say what a migration may use; nothing yet", IN_WORKER, CMD_VM, &args_migrate_capabilities_schema },
	{ "migrate_cancel", NULL, "call a migration off", IN_WORKER, CMD_VM },
	{ "migrate-continue", NULL, "go on with a migration that waits", IN_WORKER, CMD_VM, &args_migrate_continue_schema },
	{ "migrate-pause", NULL, "interrupt a migration that waits for pages", IN_WORKER, CMD_VM },
	{ "migrate-recover", NULL, "take an interrupted migration up again", IN_WORKER, CMD_VM, &args_migrate_schema },
	{ "migrate-start-postcopy", NULL, "let the other side run while pages follow", IN_WORKER, CMD_VM },
	{ "migrate", NULL, "refused: there is no migration yet", IN_WORKER, CMD_VM, &args_migrate_schema },
	{ "migrate-incoming", NULL, "refused: there is no migration yet", IN_WORKER, CMD_VM, &args_migrate_schema },
	{ NULL },
};
