/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of the commands that QEMU's clients know, and of the events they get. */
#include "domain/commands_qmp.h"

#include "domain/commands_media.h"
#include "domain/commands_qmp_memory.h"

#define S(id, T, what, text) const struct schema id = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }
#define N32(m, text, ...) U32(T, m, NULL, 0, UINT32_MAX, 0, text, ##__VA_ARGS__)
#define N64(m, text, ...) U64(T, m, NULL, 0, UINT64_MAX, 0, text, ##__VA_ARGS__)
#define TEXT(m, text, ...) STR(T, m, NULL, 0, text, ##__VA_ARGS__)
#define BOOL(m, text, ...) FLAG(T, m, NULL, 0, text, ##__VA_ARGS__)

static const char *const expansion_names[EXPANSION_N] = { "static", "full" };
static const char *const stats_names[STATS_TARGETS] = { "vm", "vcpu" };
static const char *const dump_names[DUMP_N] = { "none", "active", "completed", "failed" };

struct args_capabilities { char *enable; };
#define T struct args_capabilities
static const struct field args_capabilities_schema_fields[] = { JSON(T, enable, "[str]", 0, "oob: commands that may overtake"), END };
static S(args_capabilities_schema, T, "qmp_capabilities", "what the client can do");
#undef T

/* --- vCPUs --- */

#define T struct qmp_iothread
static const struct field qmp_iothread_schema_fields[] = {
	TEXT(id, "its name: iothread and its number"), N32(tid, "its thread on the host", .name = "thread-id"),
	N64(poll_max, "ns it polls before it sleeps, at most", .name = "poll-max-ns"), N64(poll_grow, "factor by which that grows", .name = "poll-grow"),
	N64(poll_shrink, "and shrinks", .name = "poll-shrink"), N64(batch, "requests in one system call; 0: no limit", .name = "aio-max-batch"), END };
S(qmp_iothread_schema, T, "IOThreadInfo", "an I/O thread");
#undef T

#define T struct qmp_props
static const struct field qmp_props_schema_fields[] = {
	N32(socket, "package", .name = "socket-id"), N32(die, "die", .name = "die-id"), N32(core, "core", .name = "core-id"),
	N32(thread, "thread", .name = "thread-id"), END };
static S(qmp_props_schema, T, "CpuInstanceProperties", "place of a vCPU");
#undef T

#define T struct qmp_cpu
static const struct field qmp_cpu_schema_fields[] = {
	N32(index, "number", .name = "cpu-index"), TEXT(path, "its place in the tree of objects", .name = "qom-path"),
	N32(tid, "its thread on the host", .name = "thread-id"), STRUCT(T, props, NULL, qmp_props_schema, 0, "its place"),
	TEXT(target, "architecture"), END };
S(qmp_cpu_schema, T, "CpuInfoFast", "a vCPU");
#undef T

#define T struct qmp_slot
static const struct field qmp_slot_schema_fields[] = {
	TEXT(type, "driver for device_add"), N32(count, "vCPUs in one", .name = "vcpus-count"),
	STRUCT(T, props, NULL, qmp_props_schema, 0, "arguments for device_add"),
	TEXT(path, "the vCPU that is there; not given: free", .name = "qom-path"), END };
S(qmp_slot_schema, T, "HotpluggableCPU", "a place for a vCPU");
#undef T

#define T struct qmp_model
static const struct field qmp_model_schema_fields[] = {
	STR(T, name, NULL, REQUIRED, "name of a model"), JSON(T, props, "any", 0, "features: true or false each"), END };
static S(qmp_model_schema, T, "CpuModelInfo", "a CPU model");
#undef T

#define T struct ask_expansion
static const struct field ask_expansion_schema_fields[] = {
	ENUM(T, type, NULL, expansion_names, REQUIRED, "both give all features; static: as changes of the model base"),
	STRUCT(T, model, NULL, qmp_model_schema, REQUIRED, "the running model, or any of libvirt's"), END };
static S(ask_expansion_schema, T, "query-cpu-model-expansion", "which model");
#undef T

#define T struct tell_expansion
static const struct field tell_expansion_schema_fields[] = { STRUCT(T, model, NULL, qmp_model_schema, 0, "the model"), END };
S(tell_expansion_schema, T, "CpuModelExpansionInfo", "a CPU model, spelt out");
#undef T

#define T struct qmp_ost
static const struct field qmp_ost_schema_fields[] = {
	TEXT(device, "id of the device"), TEXT(slot, "slot", ), TEXT(type, "CPU", .name = "slot-type"),
	N32(source, "event it answers to"), N32(status, "what the guest said"), END };
S(qmp_ost_schema, T, "ACPIOSTInfo", "what the guest said of a slot (_OST)");
#undef T

#define T struct args_device_add
#define PLACE(m, what, text) U32(T, m, NULL, 0, UINT32_MAX, 0, text, .name = what, .def = QMP_NO_ID)
static const struct field args_device_add_schema_fields[] = {
	STR(T, driver, NULL, REQUIRED, "type of the device: query-hotpluggable-cpus tells that of vCPUs"),
	TEXT(bus, "bus it goes to"), STRN(T, id, NULL, 1, 255, 0, "id for device_del"),
	PLACE(socket, "socket-id", "vCPUs: package"), PLACE(die, "die-id", "vCPUs: die"),
	PLACE(core, "core-id", "vCPUs: core"), PLACE(thread, "thread-id", "vCPUs: thread"),
	TEXT(drive, "virtio-blk-pci: its block node"), TEXT(serial, "virtio-blk-pci: serial number"),
	TEXT(netdev, "virtio-net-pci: its back end"), TEXT(mac, "virtio-net-pci: address"), TEXT(addr, "slot of bus 0: 0xa"),
	TEXT(chardev, "virtserialport: its host side, of chardev-add"), TEXT(name, "virtserialport: its name inside"),
	PLACE(nr, "nr", "virtserialport: number of the port; none: a free one"), END };
static S(args_device_add_schema, T, "device_add", "a device to plug");
#undef T

#define T struct args_id
static const struct field args_id_schema_fields[] = { STR(T, id, NULL, REQUIRED, "id of the device, or its path"), END };
static S(args_id_schema, T, "device_del", "a device to unplug");
#undef T

#define T struct args_vcpus_set
static const struct field args_vcpus_set_schema_fields[] = {
	U32(T, count, NULL, 0, 65535, 0, "how many; 0: vcpus says which"), CPUSET(T, vcpus, NULL, 0, "which come or go, instead of a number"),
	BOOL(enable, "these come; false: they go"), U32(T, timeout, NULL, 100, 3600000, 0, "ms for the guest to answer", .def = 10000),
	TEXT(id, "comes back in COMMAND_BEGUN and COMMAND_DONE"), END };
S(args_vcpus_set_schema, T, "vcpus-set", "a number of vCPUs");
#undef T

#define T struct tell_vcpus
static const struct field tell_vcpus_schema_fields[] = { N32(vcpus, "vCPUs it has now"), N32(maximum, "vCPUs it may have"),
	N32(online, "those the guest uses, as its agent says; 0: nobody has said"), END };
S(tell_vcpus_schema, T, "vcpus", "how many vCPUs");
#undef T

#define T struct vcpu_row
static const struct field vcpu_row_schema_fields[] = {
	N32(id, "number"), BOOL(enabled, "it is there"), BOOL(hotpluggable, "it may come and go"), TEXT(alias, "id for device_del"),
	N32(tid, "its thread on the host", .name = "thread-id"), N64(exits, "returns from KVM_RUN"), END };
S(vcpu_row_schema, T, "vcpu", "a vCPU");
#undef T

/* --- the machine --- */

#define T struct qmp_machine
static const struct field qmp_machine_schema_fields[] = {
	TEXT(name, "machine type"), BOOL(is_default, "what a definition without a machine type gets", .name = "is-default"),
	N32(cpu_max, "most vCPUs", .name = "cpu-max"), BOOL(hotpluggable, "vCPUs can be plugged", .name = "hotpluggable-cpus"),
	BOOL(numa, "always false: NUMA memory needs <numa>", .name = "numa-mem-supported"), BOOL(deprecated, "it will go"),
	TEXT(cpu_type, "CPU type without <cpu>", .name = "default-cpu-type"), TEXT(ram_id, "id of the memory", .name = "default-ram-id"), END };
S(qmp_machine_schema, T, "MachineInfo", "a machine type");
#undef T

#define T struct qmp_arch
static const struct field qmp_arch_schema_fields[] = { TEXT(arch, "architecture"), END };
S(qmp_arch_schema, T, "TargetInfo", "architecture");
#undef T

#define T struct qmp_number
static const struct field qmp_number_schema_fields[] = { N32(major, "first"), N32(minor, "second"), N32(micro, "third"), END };
static S(qmp_number_schema, T, "VersionTriple", "a version");
#undef T

#define T struct qmp_version
static const struct field qmp_version_schema_fields[] = {
	STRUCT(T, qemu, NULL, qmp_number_schema, 0, "the QEMU whose protocol this is"), TEXT(package, "kvmd and its version"), END };
S(qmp_version_schema, T, "VersionInfo", "versions");
#undef T

#define T struct qmp_name
static const struct field qmp_name_schema_fields[] = { TEXT(name, "name"), END };
S(qmp_name_schema, T, "NameOnly", "a name");
#undef T

#define T struct qmp_wakeup
static const struct field qmp_wakeup_schema_fields[] = { BOOL(wakeup, "the guest can sleep and be woken", .name = "wakeup-suspend-support"), END };
S(qmp_wakeup_schema, T, "CurrentMachineParams", "of the running machine");
#undef T

#define T struct qmp_chardev
static const struct field qmp_chardev_schema_fields[] = {
	TEXT(label, "id"), TEXT(filename, "what is behind it"), BOOL(open, "the guest's side is there", .name = "frontend-open"), END };
S(qmp_chardev_schema, T, "ChardevInfo", "a character device");
#undef T

#define T struct args_qom
static const struct field args_qom_list_schema_fields[] = { STR(T, path, NULL, REQUIRED, "path from /machine on"), END };
static S(args_qom_list_schema, T, "qom-list", "an object");
static const struct field args_qom_get_schema_fields[] = {
	STR(T, path, NULL, REQUIRED, "path from /machine on"), STR(T, property, NULL, REQUIRED, "which property"), END };
static S(args_qom_get_schema, T, "qom-get", "a property of an object");
#undef T

#define T struct qmp_property
static const struct field qmp_property_schema_fields[] = { TEXT(name, "name"), TEXT(type, "type"), END };
S(qmp_property_schema, T, "ObjectPropertyInfo", "a property");
#undef T

/* --- descriptors --- */

#define T struct args_fdname
static const struct field args_fdname_schema_fields[] = { STRN(T, name, NULL, 1, 255, REQUIRED, "name for the descriptor", .name = "fdname"), END };
static S(args_fdname_schema, T, "getfd", "a descriptor by name");
#undef T

#define T struct args_add_fd
static const struct field args_add_fd_schema_fields[] = {
	I64(T, set, NULL, 0, INT32_MAX, 0, "which set; not given: a new one", .name = "fdset-id", .def = UINT64_MAX), TEXT(opaque, "a note"), END };
static S(args_add_fd_schema, T, "add-fd", "where a descriptor goes");
#undef T

#define T struct args_remove_fd
static const struct field args_remove_fd_schema_fields[] = {
	I64(T, set, NULL, 0, INT32_MAX, REQUIRED, "which set", .name = "fdset-id"),
	I64(T, fd, NULL, 0, INT32_MAX, 0, "which descriptor; not given: all", .def = UINT64_MAX), END };
static S(args_remove_fd_schema, T, "remove-fd", "a descriptor of a set");
#undef T

#define T struct tell_add_fd
static const struct field tell_add_fd_schema_fields[] = {
	I64(T, set, NULL, 0, INT64_MAX, REQUIRED, "the set", .name = "fdset-id"), I64(T, fd, NULL, 0, INT64_MAX, REQUIRED, "its number here"), END };
S(tell_add_fd_schema, T, "AddfdInfo", "where it went");
#undef T

#define T struct qmp_fd
static const struct field qmp_fd_schema_fields[] = { I64(T, fd, NULL, 0, INT64_MAX, REQUIRED, "its number here"), TEXT(opaque, "its note"), END };
static S(qmp_fd_schema, T, "FdsetFdInfo", "a descriptor");
#undef T

#define T struct qmp_fdset
static const struct field qmp_fdset_schema_fields[] = {
	I64(T, id, NULL, 0, INT64_MAX, REQUIRED, "number", .name = "fdset-id"), LIST(T, fds, NULL, qmp_fd_schema, 1024, 0, "what is in it"), END };
S(qmp_fdset_schema, T, "FdsetInfo", "a set of descriptors");
#undef T

/* --- statistics --- */

#define T struct args_stats
static const struct field args_stats_schema_fields[] = {
	ENUM(T, target, NULL, stats_names, REQUIRED, "of the machine or of its vCPUs"), JSON(T, vcpus, "[str]", 0, "only these, by path"),
	JSON(T, providers, "any", 0, "only these: [{provider, names}]"), END };
static S(args_stats_schema, T, "query-stats", "which counters");
static const struct field args_stats_schemas_schema_fields[] = { STR(struct qmp_name, name, NULL, 0, "only this provider", .name = "provider"), END };
static S(args_stats_schemas_schema, struct qmp_name, "query-stats-schemas", "whose counters");
#undef T

#define T struct qmp_stats
static const struct field qmp_stats_schema_fields[] = {
	TEXT(provider, "who counts"), TEXT(path, "vCPU", .name = "qom-path"), JSON(T, stats, "any", 0, "[{name, value}]"), END };
S(qmp_stats_schema, T, "StatsResult", "counters");
#undef T

#define T struct qmp_stats_schema
static const struct field qmp_stats_schema_schema_fields[] = {
	TEXT(provider, "who counts"), TEXT(target, "of what"), JSON(T, stats, "any", 0, "[{name, type, unit, base, exponent}]"), END };
S(qmp_stats_schema_schema, T, "StatsSchema", "what the counters mean");
#undef T

/* --- dumps --- */

#define T struct args_dump
static const struct field args_dump_schema_fields[] = {
	FLAG(T, paging, NULL, REQUIRED, "must be false: the dump is by physical address"),
	STR(T, protocol, NULL, REQUIRED, "file:PATH, or fd:NAME, a descriptor given by getfd"), BOOL(detach, "answer at once; DUMP_COMPLETED follows"),
	N64(begin, "first physical address"), N64(length, "bytes from there; not given: all"), TEXT(format, "elf"), END };
static S(args_dump_schema, T, "dump-guest-memory", "what goes where");
#undef T

#define T struct tell_dump
static const struct field tell_dump_schema_fields[] = {
	ENUM(T, status, NULL, dump_names, 0, "how far it is", .def = DUMP_NONE), N64(completed, "bytes written"), N64(total, "bytes to write"), END };
S(tell_dump_schema, T, "DumpQueryResult", "a dump");
#undef T

struct dump_capability { char *formats; };
#define T struct dump_capability
static const struct field dump_capability_schema_fields[] = { JSON(T, formats, "[str]", 0, "what dump-guest-memory can write"), END };
static S(dump_capability_schema, T, "DumpGuestMemoryCapability", "formats");
#undef T

/* --- refused --- */

struct args_refused { char *what, *device, *format; uint32_t number; };
#define T struct args_refused
static const struct field args_monitor_schema_fields[] = {
	STR(T, what, NULL, REQUIRED, "a command for people", .name = "command-line"), N32(number, "vCPU", .name = "cpu-index"), END };
static S(args_monitor_schema, T, "human-monitor-command", "a command for people");
static const struct field args_screendump_schema_fields[] = {
	STR(T, what, NULL, REQUIRED, "file", .name = "filename"), TEXT(device, "screen"), N32(number, "head", .name = "head"),
	TEXT(format, "kind of file"), END };
static S(args_screendump_schema, T, "screendump", "which screen, and where to");
#undef T

/* --- events --- */

struct event_shutdown { bool guest; char *reason; };
#define T struct event_shutdown
static const struct field event_shutdown_schema_fields[] = { BOOL(guest, "the guest asked for it"), TEXT(reason, "why"), END };
static S(event_shutdown_schema, T, "SHUTDOWN", "why it ends or begins anew");
#undef T

struct event_device { char *device, *path; };
#define T struct event_device
static const struct field event_device_schema_fields[] = { TEXT(device, "id"), TEXT(path, "place in the tree of objects"), END };
static S(event_device_schema, T, "DEVICE_DELETED", "a device");
#undef T

struct event_ost { struct qmp_ost info; };
#define T struct event_ost
static const struct field event_ost_schema_fields[] = { STRUCT(T, info, NULL, qmp_ost_schema, 0, "what it said"), END };
static S(event_ost_schema, T, "ACPI_DEVICE_OST", "the guest spoke of a slot");
#undef T

struct event_panic { char *action; };
#define T struct event_panic
static const struct field event_panic_schema_fields[] = { TEXT(action, "what is done about it"), END };
static S(event_panic_schema, T, "GUEST_PANICKED", "the guest panicked");
#undef T

struct event_dump { struct tell_dump result; char *error; };
#define T struct event_dump
static const struct field event_dump_schema_fields[] = { STRUCT(T, result, NULL, tell_dump_schema, 0, "how it went"), TEXT(error, "why it failed"), END };
static S(event_dump_schema, T, "DUMP_COMPLETED", "a dump has ended");
#undef T

struct event_fence { char *syscall; uint64_t count; };
#define T struct event_fence
static const struct field event_fence_schema_fields[] = { TEXT(syscall, "which call"), N64(count, "violations so far"), END };
static S(event_fence_schema, T, "KVMD_FENCE", "a system call that the fence refused");
#undef T

struct event_crash { char *report; };
#define T struct event_crash
static const struct field event_crash_schema_fields[] = { TEXT(report, "what KVM said, and the processor's state"), END };
static S(event_crash_schema, T, "KVMD_CRASH", "the guest cannot go on");
#undef T

struct event_machine { char *changed, *device, *path; uint32_t vcpus; };
#define T struct event_machine
static const struct field event_machine_schema_fields[] = { TEXT(changed, "which part of its description"), TEXT(device, "which of them"), TEXT(path, "a socket at which it does not listen any more"), U32(T, vcpus, NULL, 0, UINT32_MAX, UNSAID, "vCPUs it has now"), END };
static S(event_machine_schema, T, "KVMD_MACHINE", "the machine is another one now");
#undef T

struct event_io { char *device, *path, *node, *operation, *action, *reason, *target; bool nospace; };
#define T struct event_io
static const struct field event_io_schema_fields[] = {
	TEXT(device, "name of the disk"), TEXT(path, "the device in the tree of objects", .name = "qom-path"),
	TEXT(node, "top of its chain", .name = "node-name"), TEXT(operation, "read or write"),
	TEXT(action, "stop: the machine pauses; report: the guest is told; ignore"), BOOL(nospace, "the host has no space left"),
	TEXT(reason, "for people"), TEXT(target, "the disk as its definition names it"), END };
static S(event_io_schema, T, "BLOCK_IO_ERROR", "a disk failed");
#undef T

struct event_port { char *id; bool open; };
#define T struct event_port
static const struct field event_port_schema_fields[] = { TEXT(id, "alias of the channel"), BOOL(open, "somebody in the guest has it open"), END };
static S(event_port_schema, T, "VSERPORT_CHANGE", "a channel and the guest");
#undef T

struct event_rtc { int64_t offset; char *path; };
#define T struct event_rtc
static const struct field event_rtc_schema_fields[] = { I64(T, offset, NULL, INT64_MIN, INT64_MAX, 0, "seconds it is ahead of what it began with"),
	STR(T, path, NULL, 0, "path of the clock", .name = "qom-path"), END };
static S(event_rtc_schema, T, "RTC_CHANGE", "the guest's clock");
#undef T

struct event_agent { char *device, *state; };
#define T struct event_agent
static const struct field event_agent_schema_fields[] = { TEXT(device, "alias of its channel"), TEXT(state, "connected or disconnected"), END };
static S(event_agent_schema, T, "KVMD_AGENT", "the guest's agent");
#undef T

struct event_command { char *command, *id, *device; bool ok; uint32_t vcpus, online; uint64_t actual, wanted; char *code, *desc; };
#define T struct event_command
static const struct field event_begun_schema_fields[] = { TEXT(command, "name"), TEXT(device, "which device"), N64(actual, "bytes there are"), TEXT(id, "number that the result comes with"), N32(vcpus, "how many are wanted"),
	N64(wanted, "setmem: bytes that are wanted"), END };
static S(event_begun_schema, T, "COMMAND_BEGUN", "a command that is not done at once");
static const struct field event_command_schema_fields[] = {
	TEXT(command, "name"), TEXT(device, "which device"), TEXT(id, "number it began with"), BOOL(ok, "it is done"), N32(vcpus, "vCPUs it has now"),
	N32(online, "vCPUs the guest uses, as its agent says"), N64(actual, "setmem: bytes the guest has now"), N64(wanted, "setmem: bytes it is to have from now on"), TEXT(code, "kind of the error"), TEXT(desc, "what went wrong"), END };
static S(event_command_schema, T, "COMMAND_DONE", "what became of a command");
#undef T

const struct event_row worker_events[] = {
	{ "STOP", "the vCPUs are paused", NULL },
	{ "RESUME", "the vCPUs run", NULL },
	{ "RESET", "the machine begins anew", &event_shutdown_schema },
	{ "SHUTDOWN", "the machine ends", &event_shutdown_schema },
	{ "POWERDOWN", "the power button was pressed", NULL },
	{ "GUEST_PANICKED", "the guest's kernel panicked", &event_panic_schema },
	{ "GUEST_CRASHLOADED", "the guest's crash kernel has taken over", NULL },
	{ "DEVICE_DELETED", "the guest has given a device up", &event_device_schema },
	{ "DEVICE_UNPLUG_GUEST_ERROR", "the guest did not give a device up", &event_device_schema },
	{ "ACPI_DEVICE_OST", "the guest said something about a slot", &event_ost_schema },
	{ "BALLOON_CHANGE", "the guest gave memory back, or took some", &event_balloon_schema },
	{ "MEMORY_DEVICE_SIZE_CHANGE", "the guest took or gave blocks of a memory device", &event_memory_device_schema },
	{ "DUMP_COMPLETED", "a dump has ended", &event_dump_schema },
	{ "DEVICE_TRAY_MOVED", "a drive's tray was opened or closed", &event_tray_schema },
	{ "BLOCK_IO_ERROR", "the host failed a disk's request", &event_io_schema },
	{ "RTC_CHANGE", "the guest set its clock; at most once a second", &event_rtc_schema },
	{ "VSERPORT_CHANGE", "the guest opened or closed a channel; at most once a second", &event_port_schema },
	{ "KVMD_AGENT", "the guest's agent came or went", &event_agent_schema },
	{ "KVMD_FENCE", "the fence refused a system call", &event_fence_schema },
	{ "KVMD_CRASH", "KVM cannot go on with the guest", &event_crash_schema },
	{ "KVMD_MACHINE", "the machine's description has changed", &event_machine_schema },
	{ "COMMAND_BEGUN", "a command takes its time, or waits for the guest", &event_begun_schema },
	{ "COMMAND_PROGRESS", "how far it is, at most once a second", &event_memory_command_schema },
	{ "COMMAND_DONE", "a command that changes the machine has ended; without COMMAND_BEGUN: at once", &event_command_schema },
	{ NULL },
};

/* --- the table --- */

#define ASK CMD_READ | CMD_VM
const struct command qmp_commands[] = {
	{ "qmp_capabilities", NULL, "begin a QMP session", IN_WORKER, CMD_READ | CMD_OOB, &args_capabilities_schema },
	{ "query-version", NULL, "show the version", IN_WORKER, ASK, NULL, &qmp_version_schema },
	{ "query-commands", NULL, "list the commands of this socket", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_name_schema },
	{ "query-events", NULL, "list the events of this socket", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_name_schema },
	{ "query-qmp-schema", NULL, "describe commands, events and their types", IN_WORKER, ASK | CMD_LIST | CMD_ANY },
	{ "query-cpus-fast", NULL, "list the vCPUs", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_cpu_schema },
	{ "query-hotpluggable-cpus", NULL, "list the places for vCPUs", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_slot_schema },
	{ "query-cpu-model-expansion", NULL, "spell a CPU model out", IN_WORKER, ASK, &ask_expansion_schema, &tell_expansion_schema },
	{ "query-acpi-ospm-status", NULL, "show what the guest said of its slots", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_ost_schema },
	{ "query-machines", NULL, "list the machine types", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_machine_schema },
	{ "query-current-machine", NULL, "show what the running machine can do", IN_WORKER, ASK, NULL, &qmp_wakeup_schema },
	{ "query-target", NULL, "show the architecture", IN_WORKER, ASK, NULL, &qmp_arch_schema },
	{ "query-chardev", NULL, "list the character devices", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_chardev_schema },
	{ "query-iothreads", NULL, "list the I/O threads that were asked for", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_iothread_schema },
	{ "query-jobs", NULL, "list the jobs", IN_WORKER, ASK | CMD_LIST | CMD_ANY },
	{ "query-block-jobs", NULL, "list the jobs on disks", IN_WORKER, ASK | CMD_LIST | CMD_ANY },
	{ "query-pci", NULL, "list the PCI functions", IN_WORKER, ASK | CMD_LIST | CMD_ANY },
	{ "query-stats", NULL, "show counters", IN_WORKER, ASK | CMD_LIST, &args_stats_schema, &qmp_stats_schema },
	{ "query-stats-schemas", NULL, "describe the counters", IN_WORKER, ASK | CMD_LIST, &args_stats_schemas_schema, &qmp_stats_schema_schema },
	{ "qom-list", NULL, "list the properties of an object", IN_WORKER, ASK | CMD_LIST, &args_qom_list_schema, &qmp_property_schema },
	{ "qom-get", NULL, "show a property of an object", IN_WORKER, ASK | CMD_ANY, &args_qom_get_schema },
	{ "getfd", NULL, "keep the descriptor that comes along, by name", IN_WORKER, CMD_VM | CMD_FDS | CMD_PLUMBING, &args_fdname_schema },
	{ "closefd", NULL, "close a descriptor that was kept", IN_WORKER, CMD_VM | CMD_PLUMBING, &args_fdname_schema },
	{ "add-fd", NULL, "add the descriptor that comes along to a set", IN_WORKER, CMD_VM | CMD_FDS | CMD_PLUMBING, &args_add_fd_schema, &tell_add_fd_schema },
	{ "remove-fd", NULL, "take descriptors out of a set", IN_WORKER, CMD_VM | CMD_PLUMBING, &args_remove_fd_schema },
	{ "query-fdsets", NULL, "list the sets of descriptors", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_fdset_schema },
	{ "system_wakeup", NULL, "wake the guest up: it never sleeps here", IN_WORKER, CMD_VM },
	{ "device_add", NULL, "plug a device", IN_WORKER, CMD_VM, &args_device_add_schema },
	{ "device_del", NULL, "ask the guest to give a device up", IN_WORKER, CMD_VM, &args_id_schema },
	{ "dump-guest-memory", NULL, "write the guest's memory as an ELF core", IN_WORKER, CMD_VM | CMD_OPENS, &args_dump_schema },
	{ "query-dump", NULL, "show how a dump goes", IN_WORKER, ASK, NULL, &tell_dump_schema },
	{ "query-dump-guest-memory-capability", NULL, "list the formats of dumps", IN_WORKER, ASK, NULL, &dump_capability_schema },
	{ "human-monitor-command", NULL, "refused: there is no such monitor", IN_WORKER, CMD_VM | CMD_ANY, &args_monitor_schema },
	{ "screendump", NULL, "refused: there is no screen yet", IN_WORKER, CMD_VM, &args_screendump_schema },
	{ "vcpus-set", NULL, "change how many vCPUs there are, and wait for the guest", IN_WORKER, CMD_INTERNAL | CMD_TELLS, &args_vcpus_set_schema, &tell_vcpus_schema },
	{ "vcpus-list", NULL, "list all vCPUs, also those that are not there", IN_WORKER, CMD_READ | CMD_INTERNAL | CMD_LIST, NULL, &vcpu_row_schema },
	{ NULL },
};
