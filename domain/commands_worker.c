/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of the commands that run in the worker: QMP's, and a few internal ones between kvmd and its workers. */
#include "domain/commands_worker.h"

#include "domain/commands_agent.h"

const char *const run_state_names[RUN_STATE_N] = {
	"inmigrate", "prelaunch", "paused", "running", "shutdown", "guest-panicked", "internal-error", "io-error",
};
/* the first status is sent like any other: QMP clients expect the key */
#define STATUS(T) ENUM(T, status, NULL, run_state_names, 0, "run state, QEMU's names")

#define T struct name_item
static const struct field name_item_fields[] = { STR(T, name, NULL, REQUIRED, "name of a descriptor"), END };
static const struct schema name_item_schema = { .name = "name", .doc = "a name", .size = sizeof(T), .fields = name_item_fields };
#undef T

#define T struct args_add_fds
static const struct field args_add_fds_fields[] = {
	LIST(T, names, NULL, name_item_schema, 200, 0, "names of the descriptors that come with the message, in order"), END };
const struct schema args_add_fds_schema = { .name = "add-fds", .doc = "descriptors for the machine", .size = sizeof(T), .fields = args_add_fds_fields };
#undef T

#define T struct args_since
static const struct field args_since_fields[] = { U64(T, since, NULL, 0, INT64_MAX, 0, "only events with a greater number"), END };
const struct schema args_since_schema = { .name = "query-events", .doc = "which events", .size = sizeof(T), .fields = args_since_fields };
#undef T

#define T struct args_console
static const struct field args_console_fields[] = {
	STR(T, device, NULL, 0, "id of the serial port or console; default: the first"),
	STR(T, name, NULL, 0, "who it is, for the message to a second writer"),
	FLAG(T, writer, NULL, 0, "may also type; one writer at a time"),
	FLAG(T, force, NULL, 0, "take the keyboard from the present writer"), END };
const struct schema args_console_schema = { .name = "console-attach", .doc = "connect a socket to a console", .size = sizeof(T), .fields = args_console_fields };
#undef T

#define T struct reply_status
static const struct field reply_status_fields[] = {
	FLAG(T, running, NULL, 0, "the vCPUs run"), FLAG(T, singlestep, NULL, 0, "always false"), STATUS(T), END };
const struct schema reply_status_schema = { .name = "StatusInfo", .doc = "run state", .size = sizeof(T), .fields = reply_status_fields };
#undef T

#define T struct reply_hello
static const struct field reply_hello_fields[] = {
	STR(T, version, NULL, 0, "version of the worker"), STR(T, name, NULL, 0, "name of the domain"),
	STR(T, uuid, NULL, 0, "uuid of the domain"), STR(T, fence, NULL, 0, "what the worker's fence consists of"),
	STATUS(T), U64(T, last_seq, NULL, 0, UINT64_MAX, 0, "number of the newest event", .name = "last-seq"),
	U32(T, pid, NULL, 0, UINT32_MAX, 0, "process id as the worker sees it"), END };
const struct schema reply_hello_schema = { .name = "hello", .doc = "who a worker is", .size = sizeof(T), .fields = reply_hello_fields };
#undef T

#define T struct reply_kvm
static const struct field reply_kvm_fields[] = { FLAG(T, enabled, NULL, 0, "KVM is used"), FLAG(T, present, NULL, 0, "KVM is there"), END };
const struct schema reply_kvm_schema = { .name = "KvmInfo", .doc = "KVM in use", .size = sizeof(T), .fields = reply_kvm_fields };
#undef T

#define T struct reply_named
static const struct field reply_named_fields[] = { STR(T, name, NULL, 0, "name of the domain"), END };
const struct schema reply_named_schema = { .name = "NameInfo", .doc = "name", .size = sizeof(T), .fields = reply_named_fields };
#undef T

#define T struct reply_uuid
static const struct field reply_uuid_fields[] = { STR(T, UUID, NULL, 0, "uuid of the domain"), END };
const struct schema reply_uuid_schema = { .name = "UuidInfo", .doc = "uuid", .size = sizeof(T), .fields = reply_uuid_fields };
#undef T

#define T struct vcpu_stats
#define COUNT(m, text, ...) U64(T, m, NULL, 0, UINT64_MAX, 0, text, ##__VA_ARGS__)
static const struct field vcpu_stats_fields[] = {
	U32(T, id, NULL, 0, UINT32_MAX, 0, "APIC id"), COUNT(exits, "returns from KVM_RUN"), COUNT(pio, "port accesses"),
	COUNT(mmio, "memory-mapped accesses"), COUNT(hlt, "halts seen by the worker"), COUNT(interrupted, "kicks"),
	COUNT(assists, "instructions finished for KVM"), COUNT(syscalls, "system calls redirected for KVM"),
	COUNT(msr, "MSR accesses seen by the worker"), COUNT(other, "other exits"), END };
static const struct schema vcpu_stats_schema = { .name = "vcpu-stats", .doc = "exits of a vCPU", .size = sizeof(T), .fields = vcpu_stats_fields };
#undef T

#define T struct device_stats
static const struct field device_stats_fields[] = {
	STR(T, id, NULL, 0, "id of the device"), STR(T, type, NULL, 0, "its type"),
	COUNT(guest_errors, "rules the guest's driver broke", .name = "guest-errors"), END };
#undef COUNT
static const struct schema device_stats_schema = { .name = "device-stats", .doc = "what a device counted", .size = sizeof(T), .fields = device_stats_fields };
#undef T

#define T struct reply_stats
static const struct field reply_stats_fields[] = {
	LIST(T, vcpus, NULL, vcpu_stats_schema, 1024, 0, "vCPUs"), LIST(T, devices, NULL, device_stats_schema, 1024, 0, "devices"),
	U64(T, fence_violations, NULL, 0, UINT64_MAX, 0, "system calls that the fence refused", .name = "fence-violations"),
	FLAG(T, emulated, NULL, 0, "the host emulates guest kernel code"),
	U64(T, guest_ns, NULL, 0, UINT64_MAX, 0, "time the guest has run, in ns", .name = "guest-ns"), END };
const struct schema reply_stats_schema = { .name = "stats", .doc = "counters of the machine", .size = sizeof(T), .fields = reply_stats_fields };
#undef T

#define T struct args_netdev_reconnect
static const struct field args_netdev_reconnect_fields[] = { STR(T, id, NULL, REQUIRED, "alias of the network card"), END };
const struct schema args_netdev_reconnect_schema = { .name = "netdev-reconnect", .doc = "a new socket for the user-mode network", .size = sizeof(T),
	.fields = args_netdev_reconnect_fields };
#undef T

#define T struct args_served
static const struct field args_served_fields[] = {
	U64(T, serve, NULL, 1, UINT64_MAX, REQUIRED, "which of its clients' commands"),
	FLAG(T, taken, NULL, 0, "kvmd has read it from the client's socket"), JSON(T, answer, "any", 0, "return or error; none: it is being done"), END };
const struct schema args_served_schema = { .name = "client-served", .doc = "kvmd's answer for a client", .size = sizeof(T), .fields = args_served_fields };
#undef T

const struct command worker_commands[] = {
	{ "query-status", NULL, "show the run state", IN_WORKER, CMD_READ | CMD_VM, NULL, &reply_status_schema },
	{ "stop", "suspend", "pause the vCPUs; the machine stays in memory", IN_WORKER, CMD_VM, NULL, NULL, "kvmctl suspend web" },
	{ "cont", "resume", "let a suspended machine run again", IN_WORKER, CMD_VM, NULL, NULL, "kvmctl resume web" },
	{ "system_powerdown", NULL, "press the power button: a well-behaved guest shuts down", IN_WORKER, CMD_VM },
	{ "system_reset", "reset", "reset the machine at once, as its reset button would", IN_WORKER, CMD_VM, NULL, NULL, "kvmctl reset web" },
	{ "quit", NULL, "end the machine at once", IN_WORKER, CMD_VM | CMD_PLUMBING },
	{ "inject-nmi", NULL, "send a non-maskable interrupt to every vCPU", IN_WORKER, CMD_VM },
	{ "query-name", NULL, "show the domain's name", IN_WORKER, CMD_READ | CMD_VM, NULL, &reply_named_schema },
	{ "query-uuid", NULL, "show the domain's uuid", IN_WORKER, CMD_READ | CMD_VM, NULL, &reply_uuid_schema },
	{ "query-kvm", NULL, "tell whether KVM is used", IN_WORKER, CMD_READ | CMD_VM, NULL, &reply_kvm_schema },
	{ "query-counters", NULL, "show counters of vCPUs and devices", IN_WORKER, CMD_READ | CMD_VM, NULL, &reply_stats_schema },
	{ "hello", NULL, "tell who this worker is", IN_WORKER, CMD_READ | CMD_INTERNAL | CMD_PREADOPT, NULL, &reply_hello_schema },
	{ "add-fds", NULL, "hand descriptors to the worker", IN_WORKER, CMD_INTERNAL | CMD_FDS | CMD_PREADOPT, &args_add_fds_schema, NULL },
	{ "machine-create", NULL, "tell the worker what machine it is", IN_WORKER, CMD_INTERNAL | CMD_PREADOPT },
	{ "query-machine", NULL, "give the machine's description as it is now", IN_WORKER, CMD_READ | CMD_INTERNAL },
	{ "replay-events", NULL, "give the events since a number", IN_WORKER, CMD_READ | CMD_INTERNAL, &args_since_schema, NULL },
	{ "console-attach", NULL, "connect a socket to a console", IN_WORKER, CMD_INTERNAL | CMD_FDS | CMD_PLUMBING, &args_console_schema, NULL },
	{ "netdev-reconnect", NULL, "give a card a new socket to its user-mode network", IN_WORKER, CMD_INTERNAL | CMD_FDS | CMD_PLUMBING, &args_netdev_reconnect_schema, NULL },
	{ "client-served", NULL, "what became of a client's command that kvmd has served", IN_WORKER, CMD_INTERNAL | CMD_PLUMBING, &args_served_schema, NULL },
	{ NULL },
};
