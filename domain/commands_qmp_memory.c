/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of the commands about a machine's memory that run in its process, and of their events. */
#include "domain/commands_qmp_memory.h"

#define S(id, T, what, text) const struct schema id = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }
#define N64(m, text, ...) U64(T, m, NULL, 0, UINT64_MAX, 0, text, ##__VA_ARGS__)

#define T struct qmp_memory
static const struct field qmp_memory_schema_fields[] = {
	N64(base, "bytes at start", .name = "base-memory"), N64(plugged, "bytes plugged since", .name = "plugged-memory"), END };
S(qmp_memory_schema, T, "MemoryInfo", "the guest's memory");
#undef T

#define T struct qmp_balloon
static const struct field qmp_balloon_schema_fields[] = { N64(actual, "bytes the guest has"), END };
S(qmp_balloon_schema, T, "BalloonInfo", "the balloon");
const struct schema event_balloon_schema = { .name = "BALLOON_CHANGE", .doc = "the guest gave memory back, or took some",
	.size = sizeof(T), .fields = qmp_balloon_schema_fields };
#undef T

#define T struct args_balloon
static const struct field args_balloon_schema_fields[] = { U64(T, value, NULL, 0, INT64_MAX, REQUIRED, "bytes the guest is to have"), END };
static S(args_balloon_schema, T, "balloon", "a size");
#undef T

#define T struct args_qom_set
static const struct field args_qom_set_schema_fields[] = {
	STR(T, path, NULL, REQUIRED, "path from /machine on"), STR(T, property, NULL, REQUIRED, "which property"),
	JSON(T, value, "any", REQUIRED, "what it shall be"), END };
static S(args_qom_set_schema, T, "qom-set", "a property of an object");
#undef T

#define T struct args_memory_set
static const struct field args_memory_set_schema_fields[] = {
	U64(T, size, NULL, 1, INT64_MAX, REQUIRED, "bytes the guest is to have"),
	U32(T, timeout, NULL, 100, 3600000, 0, "ms without progress after which it is given up", .def = 10000),
	STR(T, id, NULL, 0, "comes back in COMMAND_BEGUN, COMMAND_PROGRESS and COMMAND_DONE"), END };
static S(args_memory_set_schema, T, "memory-set", "a size, and how long to wait for it");
#undef T

#define T struct args_memory_device_set
static const struct field args_memory_device_set_schema_fields[] = {
	STR(T, device, NULL, REQUIRED, "its alias"), U64(T, size, NULL, 0, INT64_MAX, REQUIRED, "bytes the guest is to use of it"),
	U32(T, timeout, NULL, 100, 3600000, 0, "ms without progress after which it is given up", .def = 10000),
	STR(T, id, NULL, 0, "comes back in COMMAND_BEGUN, COMMAND_PROGRESS and COMMAND_DONE"), END };
static S(args_memory_device_set_schema, T, "memory-device-set", "a size, and how long to wait for it");
#undef T

#define T struct qmp_virtio_mem
static const struct field qmp_virtio_mem_schema_fields[] = {
	STR(T, id, NULL, 0, "alias"), N64(addr, "where the guest sees it", .name = "memaddr"),
	N64(requested, "bytes the guest is to use", .name = "requested-size"), N64(size, "bytes it uses"),
	N64(max, "bytes it may use at most", .name = "max-size"), N64(block, "grain", .name = "block-size"),
	U32(T, node, NULL, 0, UINT32_MAX, 0, "guest node"), STR(T, memdev, NULL, 0, "what stands behind it"), END };
static S(qmp_virtio_mem_schema, T, "VirtioMEMDeviceInfo", "a virtio-mem device");
#undef T

#define T struct qmp_memory_device
static const struct field qmp_memory_device_schema_fields[] = {
	STR(T, type, NULL, 0, "virtio-mem"), STRUCT(T, data, NULL, qmp_virtio_mem_schema, 0, "the device"), END };
S(qmp_memory_device_schema, T, "MemoryDeviceInfo", "a memory device");
#undef T

struct event_memory_device { char *id, *path; uint64_t size; };
#define T struct event_memory_device
static const struct field event_memory_device_schema_fields[] = {
	STR(T, id, NULL, 0, "alias"), N64(size, "bytes the guest uses of it"), STR(T, path, NULL, 0, "place in the tree of objects", .name = "qom-path"), END };
S(event_memory_device_schema, T, "MEMORY_DEVICE_SIZE_CHANGE", "the guest took or gave blocks of a memory device");
#undef T

#define T struct tell_memory
static const struct field tell_memory_schema_fields[] = { N64(actual, "bytes the guest has"), N64(wanted, "bytes it is to have"), END };
S(tell_memory_schema, T, "memory", "what the guest has of its memory");
#undef T

#define T struct tell_memory_stats
static const struct field tell_memory_stats_schema_fields[] = {
	N64(actual, "bytes the guest has"), N64(wanted, "bytes it is to have"), N64(reported, "bytes it named as free so far"),
	FLAG(T, driver, NULL, 0, "a driver works with the balloon"), U32(T, period, NULL, 0, INT32_MAX, 0, "seconds between statistics; 0: none"),
	N64(updated, "seconds since 1970 when the guest told last; 0: never"), JSON(T, stats, "any", 0, "what it told"), END };
S(tell_memory_stats_schema, T, "memory-stats", "what the guest says of its memory");
#undef T

#define T struct args_period
static const struct field args_period_schema_fields[] = { U32(T, period, NULL, 0, INT32_MAX, REQUIRED, "seconds; 0: none"), END };
static S(args_period_schema, T, "memory-stats-period", "time between statistics");
#undef T

struct event_progress { char *command, *id, *device; uint64_t actual, wanted; };
#define T struct event_progress
static const struct field event_memory_command_schema_fields[] = {
	STR(T, command, NULL, 0, "name"), STR(T, id, NULL, 0, "number it began with"), STR(T, device, NULL, 0, "which memory device"), N64(actual, "bytes the guest has now"),
	N64(wanted, "bytes it is to have"), END };
S(event_memory_command_schema, T, "COMMAND_PROGRESS", "how far a command is");
#undef T

#define ASK CMD_READ | CMD_VM
const struct command qmp_memory_commands[] = {
	{ "balloon", NULL, "say how much memory the guest is to have; it gives the rest back as it can", IN_WORKER, CMD_VM, &args_balloon_schema, NULL },
	{ "query-balloon", NULL, "show what the guest has left of its memory", IN_WORKER, ASK, NULL, &qmp_balloon_schema },
	{ "query-memory-size-summary", NULL, "show how much memory there is", IN_WORKER, ASK, NULL, &qmp_memory_schema },
	{ "query-memory-devices", NULL, "list the memory devices", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_memory_device_schema },
	{ "qom-set", NULL, "change a property of an object", IN_WORKER, CMD_VM, &args_qom_set_schema, NULL },
	{ "memory-set", NULL, "say how much memory the guest is to have, and wait for it", IN_WORKER, CMD_INTERNAL | CMD_TELLS, &args_memory_set_schema, &tell_memory_schema },
	{ "memory-device-set", NULL, "say how much of a memory device the guest is to use, and wait for it", IN_WORKER, CMD_INTERNAL | CMD_TELLS, &args_memory_device_set_schema, &tell_memory_schema },
	{ "memory-stats", NULL, "show what the guest says of its memory", IN_WORKER, CMD_READ | CMD_INTERNAL, NULL, &tell_memory_stats_schema },
	{ "memory-stats-period", NULL, "change how often the guest is asked for statistics", IN_WORKER, CMD_INTERNAL, &args_period_schema, NULL },
	{ NULL },
};
