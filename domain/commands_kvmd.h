/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments and replies of the commands that kvmd runs itself. Each struct has its schema `NAME_schema`. */
#pragma once
#include "domain/command.h"

struct ask_define { char *xml; bool strict, lenient; };
struct ask_start { bool paused, console; };
struct ask_dumpxml { bool inactive, security_info; };
struct ask_list { bool all, inactive, names; };
struct ask_undefine { bool destroy; };
struct ask_domstate { bool reason; };
struct ask_console { char *device; bool readonly, force; };
struct ask_autostart { bool disable; };
struct ask_validate { char *file; bool strict, lenient; };
struct ask_event { bool follow; uint64_t since; char *domain, *event; uint64_t count; };
struct ask_wait { int state; uint32_t timeout; };
struct ask_log { uint64_t bytes; };
struct ask_setvcpus { uint32_t count; struct ask_scope scope; bool maximum, guest; uint32_t timeout; };
struct ask_vcpucount { bool maximum, active, live, config, current, guest; };

struct tell_finding { int level; char *path, *text, *cure; uint32_t line, column; };
struct tell_define { char *name, *uuid; bool created; GPtrArray *warnings; };
struct tell_name { char *name; };
struct tell_uuid { char *uuid; };
struct tell_id { uint32_t id; };
struct tell_xml { char *xml; };
struct tell_state { int state; char *reason; uint64_t since; };
struct tell_list_row { uint32_t id; char *name, *uuid; int state; char *reason, *title; bool persistent, autostart; };
struct tell_list { GPtrArray *domains; };
struct tell_dominfo {
	uint32_t id, pid, uid, restarts;
	char *name, *uuid, *title;
	int state;
	char *reason, *detail;
	uint64_t since;
	uint32_t vcpus, vcpus_max;
	uint64_t memory, memory_max, cpu_time, rss;
	bool persistent, autostart;
	char *trouble, *qmp, *console_log, *log;
};
struct tell_console { char *device; bool readonly; };
struct tell_events { uint64_t first, last; };
struct tell_check { char *name; int result; char *found, *cure; };
struct tell_host {
	char *hostname, *kernel, *cpu_model, *virtualisation, *kvm, *guest_kernel_code;
	uint32_t cpus;
	uint64_t memory, memory_available;
	GPtrArray *checks;
};
struct tell_version { char *kvmd, *machine, *protocol; };
struct tell_log { char *path, *text; };
struct tell_autostart { bool autostart; };
struct tell_note { char *text; };
struct tell_setvcpus { uint32_t vcpus, maximum, online; };
struct tell_vcpucount { uint32_t maximum_config, maximum_live, current_config, current_live, guest; };
enum vcpu_state { VCPU_STATE_RUNNING, VCPU_STATE_OFFLINE, VCPU_STATE_N };
struct tell_vcpuinfo_row { uint32_t vcpu; int state; int32_t cpu; uint64_t cpu_time; bool hotpluggable; };
struct tell_vcpuinfo { GPtrArray *vcpus; };
struct tell_start { uint32_t id, pid; GPtrArray *notes; };

enum dom_state { DOM_SHUTOFF, DOM_STARTING, DOM_RUNNING, DOM_PAUSED, DOM_SHUTDOWN, DOM_CRASHED, DOM_ADOPTING, DOM_UNKNOWN,
	DOM_STATE_N };
/* As virsh words them: "shut off", "running", … */
extern const char *const dom_state_names[DOM_STATE_N];
enum wait_state { WAIT_OFF, WAIT_RUNNING, WAIT_PAUSED, WAIT_N };
enum check_result { CHECK_OK, CHECK_WARNING, CHECK_FAILED, CHECK_N };

extern const struct schema ask_define_schema, ask_start_schema, ask_dumpxml_schema, ask_list_schema, ask_undefine_schema,
	ask_domstate_schema, ask_console_schema, ask_autostart_schema, ask_validate_schema, ask_event_schema, ask_wait_schema,
	ask_log_schema, ask_setvcpus_schema, ask_vcpucount_schema;
extern const struct schema tell_finding_schema, tell_define_schema, tell_name_schema, tell_uuid_schema, tell_id_schema,
	tell_xml_schema, tell_state_schema, tell_list_row_schema, tell_list_schema, tell_dominfo_schema, tell_console_schema,
	tell_events_schema, tell_check_schema, tell_host_schema, tell_version_schema, tell_log_schema, tell_autostart_schema,
	tell_start_schema, tell_setvcpus_schema, tell_vcpucount_schema, tell_vcpuinfo_schema;
