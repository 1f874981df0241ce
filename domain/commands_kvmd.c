/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands that kvmd runs itself, and those of kvmctl alone: names, arguments, replies, words for --help and manuals. */
#include "domain/commands_kvmd.h"

/* The name is what follows ask_ or tell_. */
#define ASK(T, text) \
	const struct schema ask_##T##_schema = { .name = #T, .doc = text, .size = sizeof(struct ask_##T), .fields = ask_##T##_fields }
#define TELL(T, text) \
	const struct schema tell_##T##_schema = { .name = #T, .doc = text, .size = sizeof(struct tell_##T), .fields = tell_##T##_fields }

const char *const dom_state_names[DOM_STATE_N] = {
	[DOM_SHUTOFF] = "shut off",     [DOM_STARTING] = "starting",  [DOM_RUNNING] = "running",
	[DOM_PAUSED] = "paused",        [DOM_SHUTDOWN] = "in shutdown", [DOM_CRASHED] = "crashed",
	[DOM_ADOPTING] = "adopting",    [DOM_UNKNOWN] = "unknown",
};
static const char *const wait_names[WAIT_N] = { "off", "running", "paused" };
static const char *const check_names[CHECK_N] = { "ok", "warning", "failed" };
static const char *const level_names[] = { "warning", "error" };

/* --- arguments --- */

#define T struct ask_define
static const struct field ask_define_fields[] = {
	F_NUM(T, xml, char *, NULL, kind_str, 1, 16u << 20, REQUIRED | POSITIONAL | FILE_TEXT, "file with the domain's XML, - for standard input"),
	FLAG(T, strict, NULL, 0, "take warnings for errors"),
	FLAG(T, lenient, NULL, 0, "keep unknown parts and optional devices that kvmd has not, with a warning"),
	END,
};
#undef T
ASK(define, "a definition");

#define T struct ask_start
static const struct field ask_start_fields[] = {
	FLAG(T, paused, NULL, 0, "make the machine ready and leave it paused: resume lets it go"),
	FLAG(T, console, NULL, 0, "connect to the console at once"),
	END,
};
#undef T
ASK(start, "how to start");

#define T struct ask_dumpxml
static const struct field ask_dumpxml_fields[] = {
	FLAG(T, inactive, NULL, 0, "the stored definition, also while the machine runs"),
	FLAG(T, security_info, NULL, 0, "passwords and keys too"),
	END,
};
#undef T
ASK(dumpxml, "which description");

#define T struct ask_list
static const struct field ask_list_fields[] = {
	FLAG(T, all, NULL, 0, "running and shut off"),
	FLAG(T, inactive, NULL, 0, "only those shut off"),
	FLAG(T, names, NULL, 0, "names only, one a line"),
	END,
};
#undef T
ASK(list, "which domains");

#define T struct ask_undefine
static const struct field ask_undefine_fields[] = {
	FLAG(T, destroy, NULL, 0, "end the machine too if it runs; without, it runs on and is forgotten when it ends"),
	END,
};
#undef T
ASK(undefine, "what goes");

#define T struct ask_domstate
static const struct field ask_domstate_fields[] = {
	FLAG(T, reason, NULL, 0, "say why"),
	END,
};
#undef T
ASK(domstate, "how much to say");

#define T struct ask_console
static const struct field ask_console_fields[] = {
	STR(T, device, NULL, POSITIONAL, "alias of the device (serial0); not given: the first serial port or console"),
	FLAG(T, readonly, NULL, 0, "look only"),
	FLAG(T, force, NULL, 0, "take the keyboard away from whoever has it, who is told and disconnected"),
	END,
};
#undef T
ASK(console, "which console");

#define T struct ask_autostart
static const struct field ask_autostart_fields[] = {
	FLAG(T, disable, NULL, 0, "no longer"),
	END,
};
#undef T
ASK(autostart, "on or off");

#define T struct ask_validate
static const struct field ask_validate_fields[] = {
	STR(T, file, NULL, POSITIONAL | REQUIRED, "XML files, and folders whose *.xml files are meant; - for standard input"),
	FLAG(T, strict, NULL, 0, "take warnings for errors"),
	FLAG(T, lenient, NULL, 0, "keep unknown parts and optional devices that kvmd has not, with a warning"),
	END,
};
#undef T
ASK(validate, "what to check");

#define T struct ask_event
static const struct field ask_event_fields[] = {
	FLAG(T, follow, NULL, 0, "go on with new events until interrupted"),
	U64(T, since, NULL, 0, UINT64_MAX, 0, "first the stored events after this number; 0: all that are kept; none given: these too, but with --follow new ones only", .def = UINT64_MAX),
	STR(T, domain, NULL, 0, "only those of this domain"),
	STR(T, event, NULL, 0, "only events of this name; man kvmctl lists them"),
	U64(T, count, NULL, 0, UINT64_MAX, 0, "end after so many; 0: no limit"),
	END,
};
#undef T
ASK(event, "which events");

#define T struct ask_wait
static const struct field ask_wait_fields[] = {
	ENUM(T, state, NULL, wait_names, POSITIONAL, "what to wait for"),
	U32(T, timeout, NULL, 0, 86400, 0, "give up after so many seconds; 0: never"),
	END,
};
#undef T
ASK(wait, "what to wait for");

#define T struct ask_log
static const struct field ask_log_fields[] = {
	U64(T, bytes, NULL, 0, 1u << 20, 0, "so many bytes from its end", .def = 65536),
	END,
};
#undef T
ASK(log, "how much");

/* --- replies --- */

#define T struct tell_finding
static const struct field tell_finding_fields[] = {
	ENUM(T, level, NULL, level_names, 0, "warning or error"),
	STR(T, path, NULL, 0, "place in the XML"),
	U32(T, line, NULL, 0, UINT32_MAX, 0, "line, from 1"),
	U32(T, column, NULL, 0, UINT32_MAX, 0, "column, from 1"),
	STR(T, text, NULL, 0, "what was found"),
	STR(T, cure, NULL, 0, "what to write instead"),
	END,
};
#undef T
TELL(finding, "one finding");

#define T struct tell_define
static const struct field tell_define_fields[] = {
	STR(T, name, NULL, 0, "name"),
	UUID(T, uuid, NULL, 0, "uuid, made up when the XML had none"),
	FLAG(T, created, NULL, 0, "it is new; otherwise it replaced a definition"),
	LIST(T, warnings, NULL, tell_finding_schema, 200, 0, "what was kept but has no effect"),
	END,
};
#undef T
TELL(define, "the definition that is stored now");

#define T struct tell_name
static const struct field tell_name_fields[] = { STR(T, name, NULL, 0, "name"), END };
#undef T
TELL(name, "a name");

#define T struct tell_uuid
static const struct field tell_uuid_fields[] = { UUID(T, uuid, NULL, 0, "uuid"), END };
#undef T
TELL(uuid, "a uuid");

#define T struct tell_id
static const struct field tell_id_fields[] = { U32(T, id, NULL, 0, UINT32_MAX, 0, "number while it runs; 0: off"), END };
#undef T
TELL(id, "a number");

#define T struct tell_xml
static const struct field tell_xml_fields[] = {
	F_NUM(T, xml, char *, NULL, kind_str, 0, 32u << 20, 0, "the domain's XML"),
	END,
};
#undef T
TELL(xml, "a description");

#define T struct tell_state
static const struct field tell_state_fields[] = {
	ENUM(T, state, NULL, dom_state_names, 0, "state"),
	STR(T, reason, NULL, 0, "why"),
	U64(T, since, NULL, 0, UINT64_MAX, 0, "seconds since 1970 when it got so"),
	END,
};
#undef T
TELL(state, "the state of a machine");

#define T struct tell_list_row
static const struct field tell_list_row_fields[] = {
	U32(T, id, NULL, 0, UINT32_MAX, 0, "number while it runs; 0: off"),
	STR(T, name, NULL, 0, "name"),
	ENUM(T, state, NULL, dom_state_names, 0, "state"),
	STR(T, reason, NULL, 0, "why it is in that state"),
	UUID(T, uuid, NULL, 0, "uuid"),
	STR(T, title, NULL, 0, "title from the XML"),
	FLAG(T, persistent, NULL, 0, "a definition is stored"),
	FLAG(T, autostart, NULL, 0, "starts with the host"),
	END,
};
#undef T
TELL(list_row, "one domain");

#define T struct tell_list
static const struct field tell_list_fields[] = { LIST(T, domains, NULL, tell_list_row_schema, 1000000, 0, "the domains, by name"), END };
#undef T
TELL(list, "domains");

#define T struct tell_dominfo
static const struct field tell_dominfo_fields[] = {
	U32(T, id, NULL, 0, UINT32_MAX, 0, "number while it runs; 0: off"),
	STR(T, name, NULL, 0, "name"),
	UUID(T, uuid, NULL, 0, "uuid"),
	STR(T, title, NULL, 0, "title from the XML"),
	ENUM(T, state, NULL, dom_state_names, 0, "state"),
	STR(T, reason, NULL, 0, "why it is in that state"),
	STR(T, detail, NULL, 0, "what else is known of that: the error for which it ended or did not start"),
	U64(T, since, NULL, 0, UINT64_MAX, 0, "seconds since 1970 when it got so"),
	U32(T, vcpus, NULL, 0, UINT32_MAX, 0, "CPUs it has"),
	U32(T, vcpus_max, NULL, 0, UINT32_MAX, 0, "CPUs it may have"),
	U64(T, memory, NULL, 0, UINT64_MAX, 0, "bytes of memory it has"),
	U64(T, memory_max, NULL, 0, UINT64_MAX, 0, "bytes of memory it may have"),
	U64(T, cpu_time, NULL, 0, UINT64_MAX, 0, "ns of CPU time its process has used"),
	U64(T, rss, NULL, 0, UINT64_MAX, 0, "bytes of host memory its process has now, the guest's included"),
	FLAG(T, persistent, NULL, 0, "a definition is stored"),
	FLAG(T, autostart, NULL, 0, "starts with the host"),
	U32(T, restarts, NULL, 0, UINT32_MAX, 0, "restarts by on_crash, on_reboot or on_poweroff since it was started"),
	U32(T, pid, NULL, 0, UINT32_MAX, 0, "its process"),
	U32(T, uid, NULL, 0, UINT32_MAX, 0, "the user its process runs as"),
	STR(T, qmp, NULL, 0, "socket for QMP clients"),
	STR(T, console_log, NULL, 0, "file with what its consoles printed"),
	STR(T, log, NULL, 0, "log of its process"),
	STR(T, trouble, NULL, 0, "why it cannot be used as it is"),
	END,
};
#undef T
TELL(dominfo, "a domain");

#define T struct tell_console
static const struct field tell_console_fields[] = {
	STR(T, device, NULL, 0, "alias of the device"),
	FLAG(T, readonly, NULL, 0, "what is sent is not taken"),
	END,
};
#undef T
TELL(console, "a console: its stream comes as descriptor");

#define T struct tell_events
static const struct field tell_events_fields[] = {
	U64(T, first, NULL, 0, UINT64_MAX, 0, "oldest number that is kept; 0: none"),
	U64(T, last, NULL, 0, UINT64_MAX, 0, "newest number"),
	END,
};
#undef T
TELL(events, "the journal; the events themselves come as QMP events after this reply, then EVENTS_END unless followed");

#define T struct tell_check
static const struct field tell_check_fields[] = {
	STR(T, name, NULL, 0, "what was looked at"),
	ENUM(T, result, NULL, check_names, 0, "ok, warning or failed"),
	STR(T, found, NULL, 0, "what was found"),
	STR(T, cure, NULL, 0, "what to do about it"),
	END,
};
#undef T
TELL(check, "one look at the host");

#define T struct tell_host
static const struct field tell_host_fields[] = {
	STR(T, hostname, NULL, 0, "name"),
	STR(T, kernel, NULL, 0, "release of the kernel"),
	STR(T, cpu_model, NULL, 0, "as /proc/cpuinfo says"),
	U32(T, cpus, NULL, 0, UINT32_MAX, 0, "CPUs on line"),
	U64(T, memory, NULL, 0, UINT64_MAX, 0, "bytes of memory"),
	U64(T, memory_available, NULL, 0, UINT64_MAX, 0, "bytes that could be had now"),
	STR(T, virtualisation, NULL, 0, "vmx, svm or none, from /proc/cpuinfo"),
	STR(T, kvm, NULL, 0, "ok, or why /dev/kvm cannot be used"),
	STR(T, guest_kernel_code, NULL, 0, "native, emulated or unknown"),
	LIST(T, checks, NULL, tell_check_schema, 100, 0, "what was looked at, and what to do"),
	END,
};
#undef T
TELL(host, "what this host can do; `capabilities` holds what KVM reported");

#define T struct tell_version
static const struct field tell_version_fields[] = {
	STR(T, kvmd, NULL, 0, "version of kvmd"),
	STR(T, machine, NULL, 0, "newest machine version"),
	STR(T, protocol, NULL, 0, "version spoken to machines' processes"),
	END,
};
#undef T
TELL(version, "versions");

#define T struct tell_log
static const struct field tell_log_fields[] = {
	STR(T, path, NULL, 0, "the file"),
	F_NUM(T, text, char *, NULL, kind_str, 0, 8u << 20, 0, "its end; bytes that are not UTF-8 are replaced"),
	END,
};
#undef T
TELL(log, "what the consoles printed");

#define T struct tell_autostart
static const struct field tell_autostart_fields[] = { FLAG(T, autostart, NULL, 0, "starts with the host"), END };
#undef T
TELL(autostart, "the flag");

#define T struct tell_note
static const struct field tell_note_fields[] = { STR(T, text, NULL, 0, "a sentence"), END };
#undef T
static TELL(note, "something to know");

#define T struct tell_start
static const struct field tell_start_fields[] = {
	U32(T, id, NULL, 0, UINT32_MAX, 0, "number while it runs"),
	U32(T, pid, NULL, 0, UINT32_MAX, 0, "its process"),
	LIST(T, notes, NULL, tell_note_schema, 200, 0, "parts of the definition that the guest will not find yet"),
	END,
};
#undef T
TELL(start, "a started machine");

/* --- vCPUs --- */

static const char *const vcpu_state_names[VCPU_STATE_N] = { "running", "offline" };

#define T struct ask_setvcpus
static const struct field ask_setvcpus_fields[] = {
	U32(T, count, NULL, 1, 65535, REQUIRED | POSITIONAL, "how many"),
	ASK_SCOPE(T),
	FLAG(T, maximum, NULL, 0, "how many it may have at most; with --config"),
	FLAG(T, guest, NULL, 0, "have the guest's agent switch its CPUs on or off, without plugging"),
	U32(T, timeout, NULL, 1, 3600, 0, "seconds for the guest to answer; signs of progress prolong it", .def = 10),
	END,
};
#undef T
ASK(setvcpus, "a number of vCPUs");

#define T struct ask_vcpucount
static const struct field ask_vcpucount_fields[] = {
	FLAG(T, maximum, NULL, 0, "print only how many it may have"),
	FLAG(T, active, NULL, 0, "print only how many it has"),
	FLAG(T, live, NULL, 0, "of the running machine"),
	FLAG(T, config, NULL, 0, "of the definition, from its next start"),
	FLAG(T, guest, NULL, 0, "how many the guest uses, as its agent says"),
	FLAG(T, current, NULL, 0, "of the machine if it runs, else of its definition"),   /* not ASK_SCOPE: without options all are printed */
	END,
};
#undef T
ASK(vcpucount, "which number");

#define T struct tell_setvcpus
static const struct field tell_setvcpus_fields[] = {
	U32(T, vcpus, NULL, 0, UINT32_MAX, 0, "vCPUs it has now"), U32(T, maximum, NULL, 0, UINT32_MAX, 0, "vCPUs it may have"),
	U32(T, online, NULL, 0, UINT32_MAX, 0, "those the guest uses, as its agent says; 0: nobody has said"), END };
#undef T
TELL(setvcpus, "how many vCPUs");

#define T struct tell_vcpucount
static const struct field tell_vcpucount_fields[] = {
	U32(T, maximum_config, NULL, 0, UINT32_MAX, 0, "may have, from the next start; 0: there is no definition"),
	U32(T, maximum_live, NULL, 0, UINT32_MAX, 0, "may have now; 0: it is not running"),
	U32(T, current_config, NULL, 0, UINT32_MAX, 0, "has from the next start; 0: there is no definition"),
	U32(T, current_live, NULL, 0, UINT32_MAX, 0, "has now; 0: it is not running"),
	U32(T, guest, NULL, 0, UINT32_MAX, 0, "the guest uses; 0: not asked for"),
	END,
};
#undef T
TELL(vcpucount, "numbers of vCPUs");

#define T struct tell_vcpuinfo_row
static const struct field tell_vcpuinfo_row_fields[] = {
	U32(T, vcpu, NULL, 0, UINT32_MAX, 0, "number"),
	ENUM(T, state, NULL, vcpu_state_names, 0, "running, or offline: the machine is without it"),
	I32(T, cpu, NULL, -1, INT32_MAX, 0, "host CPU it ran on last; -1: none"),
	U64(T, cpu_time, NULL, 0, UINT64_MAX, 0, "ns of CPU time it has used"),
	FLAG(T, hotpluggable, NULL, 0, "it may come and go"),
	END,
};
#undef T
static TELL(vcpuinfo_row, "one vCPU");

#define T struct tell_vcpuinfo
static const struct field tell_vcpuinfo_fields[] = { LIST(T, vcpus, NULL, tell_vcpuinfo_row_schema, 65536, 0, "the vCPUs"), END };
#undef T
TELL(vcpuinfo, "the vCPUs of a machine");

/* --- the table --- */

const struct command kvmd_commands[] = {
	{ "define", "define", "store a domain from libvirt XML, or replace the definition of the same name and uuid", IN_KVMD, 0,
	  &ask_define_schema, &tell_define_schema,
	  "kvmctl define web.xml\nvirsh dumpxml web | kvmctl define -",
	  "The definition is on disk, synced, when the command returns. A running machine goes on as it is; the new definition holds "
	  "from its next start. Every element is honoured, kept with a warning, or refused with its line and column." },
	{ "undefine", "undefine", "forget a domain's definition", IN_KVMD, CMD_VM, &ask_undefine_schema, NULL,
	  "kvmctl undefine web", "A running machine runs on without a definition until it ends." },
	{ "list", "list", "list domains", IN_KVMD, CMD_READ, &ask_list_schema, &tell_list_schema,
	  "kvmctl list --all\nkvmctl list --all -o jsonl", NULL },
	{ "start", "start", "start a domain", IN_KVMD, CMD_VM, &ask_start_schema, &tell_start_schema,
	  "kvmctl start web\nkvmctl start web --console", NULL },
	{ "destroy", "destroy", "end a machine at once, as by pulling the plug", IN_KVMD, CMD_VM, NULL, NULL,
	  "kvmctl destroy web", "Works when the machine's process hangs: it is killed after destroy_timeout. Calls off a pending restart." },
	{ "dumpxml", "dumpxml", "print a domain's XML", IN_KVMD, CMD_VM | CMD_READ, &ask_dumpxml_schema, &tell_xml_schema,
	  "kvmctl dumpxml web > web.xml\nkvmctl dumpxml web --inactive",
	  "While the machine runs, what is known only then (pty names, the id) is included." },
	{ "dominfo", "dominfo", "tell about a domain", IN_KVMD, CMD_VM | CMD_READ, NULL, &tell_dominfo_schema, "kvmctl dominfo web", NULL },
	{ "domstate", "domstate", "print a domain's state", IN_KVMD, CMD_VM | CMD_READ, &ask_domstate_schema, &tell_state_schema,
	  "kvmctl domstate web --reason", NULL },
	{ "console", "console", "connect to a serial port or console", IN_KVMD, CMD_VM | CMD_FDS, &ask_console_schema, &tell_console_schema,
	  "kvmctl console web\necho reboot | kvmctl console web --force",
	  "What the guest printed before is shown first. Ctrl-] detaches. Any number may look, one may type. When standard input is "
	  "not a terminal, it is sent and output is shown until the input ends and the guest has been quiet for a second." },
	{ "autostart", "autostart", "start a domain with the host, or no longer", IN_KVMD, CMD_VM, &ask_autostart_schema, &tell_autostart_schema,
	  "kvmctl autostart web\nkvmctl autostart web --disable", NULL },
	{ "validate", "validate", "check XML without storing it", IN_CLIENT, CMD_READ, &ask_validate_schema, NULL,
	  "kvmctl validate web.xml\nkvmctl validate --strict /srv/domains",
	  "Prints every finding as file:line:column; ends with status 2 when a definition has an error, 3 when a file could not be read. Needs no kvmd." },
	{ "event", "event", "print what happens", IN_KVMD, CMD_READ | CMD_STREAM, &ask_event_schema, &tell_events_schema,
	  "kvmctl event --follow\nkvmctl event --since 0 -o jsonl",
	  "Events are numbered, across restarts of kvmd and the host too. A follower goes on where it was when kvmd is restarted; "
	  "one that does not read is cut off, --since goes on where it was. -o json prints one array, which is closed also when it is interrupted; -o jsonl one event per line." },
	{ "host", "host", "tell what virtualisation this host has, and what to do about each problem", IN_KVMD, CMD_READ, NULL, &tell_host_schema,
	  "kvmctl host", NULL },
	{ "version", "version", "print versions", IN_KVMD, CMD_READ, NULL, &tell_version_schema, "kvmctl version", NULL },
	{ "domuuid", "domuuid", "print a domain's uuid", IN_KVMD, CMD_VM | CMD_READ, NULL, &tell_uuid_schema, "kvmctl domuuid web", NULL },
	{ "domname", "domname", "print a domain's name", IN_KVMD, CMD_VM | CMD_READ, NULL, &tell_name_schema,
	  "kvmctl domname 4dea22b3-1d52-d8f3-2516-782e98ab3fa0", NULL },
	{ "domid", "domid", "print a running domain's number", IN_KVMD, CMD_VM | CMD_READ, NULL, &tell_id_schema, "kvmctl domid web", NULL },
	{ "wait", "wait", "wait until a domain is off, running or paused", IN_KVMD, CMD_VM | CMD_READ, &ask_wait_schema, &tell_state_schema,
	  "kvmctl shutdown web && kvmctl wait web off --timeout 60 || kvmctl destroy web", NULL },
	{ "console-log", "log", "print the end of what a domain's consoles printed, also when it is off", IN_KVMD, CMD_VM | CMD_READ,
	  &ask_log_schema, &tell_log_schema, "kvmctl log web --bytes 4096", NULL },
	{ "setvcpus", "setvcpus", "change how many vCPUs a domain has", IN_KVMD, CMD_VM, &ask_setvcpus_schema, &tell_setvcpus_schema,
	  "kvmctl setvcpus web 4\nkvmctl setvcpus web 2 --live --config\nkvmctl setvcpus web 8 --config --maximum\nkvmctl setvcpus web 1 --guest",
	  "Returns when the guest has taken or given up the vCPUs (in Linux: their ACPI devices are there; its udev brings them online), "
	  "or fails with what the guest said, and takes back what the guest has not done. When the guest's agent answers (see qemu-agent-command), new vCPUs are "
	  "switched on by it and the command returns when they are online. --guest plugs nothing: the agent switches CPUs on or off. With --config too, the definition is "
	  "changed when the guest has done it. The journal's COMMAND_DONE tells the result also when kvmd went away meanwhile." },
	{ "vcpucount", "vcpucount", "print how many vCPUs a domain has and may have", IN_KVMD, CMD_VM | CMD_READ, &ask_vcpucount_schema, &tell_vcpucount_schema,
	  "kvmctl vcpucount web\nkvmctl vcpucount web --live --active", NULL },
	{ "vcpuinfo", "vcpuinfo", "list a running domain's vCPUs", IN_KVMD, CMD_VM | CMD_READ, NULL, &tell_vcpuinfo_schema, "kvmctl vcpuinfo web", NULL },
	{ "query-schema", NULL, "the command table: names, arguments, replies", IN_KVMD, CMD_READ, NULL, NULL, NULL, NULL },
	{ NULL },
};
