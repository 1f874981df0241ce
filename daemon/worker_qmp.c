/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What QEMU's clients ask of a machine: the table, and the short answers. */
#include <string.h>

#include "daemon/worker_channels.h"
#include "daemon/worker_chardev.h"
#include "daemon/worker_qmp.h"
#include "devices/block.h"
#include "domain/json.h"
#include "domain/qapi.h"
#include "hv/x86/cpuid.h"

#define VCPUS_MAX_TOLD 1024

static json_object *full(const struct schema *s, void *obj)
{
	return json_from_struct(s, obj, JSON_ALL);
}

/* --- the socket itself --- */

static QMP(query_version)
{
	struct qmp_version v = { .qemu = { 7, 2, 0 }, .package = (char *)"kvmd " KVMD_VERSION };

	*reply = full(&qmp_version_schema, &v);
	return RUN_DONE;
}

static json_object *name_only(const char *name)
{
	struct qmp_name n = { (char *)name };

	return full(&qmp_name_schema, &n);
}

static QMP(query_commands)
{
	*reply = json_object_new_array();
	for (const struct command *r = command_next(NULL); r; r = command_next(r))
		if (r->where == IN_WORKER && !(r->flags & CMD_INTERNAL))
			json_object_array_add(*reply, name_only(r->name));
	return RUN_DONE;
}

static QMP(query_events)
{
	*reply = json_object_new_array();
	for (const struct event_row *e = worker_events; e->name; e++)
		json_object_array_add(*reply, name_only(e->name));
	return RUN_DONE;
}

static QMP(query_qmp_schema)
{
	*reply = qapi_describe();
	return RUN_DONE;
}

static QMP(human_monitor_command)
{
	return kerr_set(err, KERR_UNSUPPORTED, "there is no monitor for people here: use the commands of query-commands, or kvmctl"), RUN_FAILED;
}

static QMP(screendump)
{
	return kerr_set(err, KERR_UNSUPPORTED, "the machine has no screen: look at its serial console"), RUN_FAILED;
}

/* --- the machine --- */

static QMP(query_machines)
{
	const struct worker *w = c->worker;
	struct qmp_machine m = { .name = w->machine->os.machine ? w->machine->os.machine : (char *)MACHINE_VERSION, .is_default = true,
		.hotpluggable = true, .cpu_max = VCPUS_MAX_TOLD, .cpu_type = (char *)"qemu64-x86_64-cpu", .ram_id = (char *)"ram" };

	*reply = json_object_new_array();
	json_object_array_add(*reply, full(&qmp_machine_schema, &m));
	return RUN_DONE;
}

static QMP(query_current_machine)
{
	struct qmp_wakeup no = { .wakeup = false };

	*reply = full(&qmp_wakeup_schema, &no);
	return RUN_DONE;
}

static QMP(system_wakeup)
{
	return kerr_set(err, KERR_STATE, "the guest does not sleep"), RUN_FAILED;
}

static QMP(query_target)
{
	struct qmp_arch a = { (char *)"x86_64" };

	*reply = full(&qmp_arch_schema, &a);
	return RUN_DONE;
}

static json_object *chardev_row(const struct chardev *s, const char *fallback, bool open)
{
	g_autofree char *file = chardev_filename(s);
	struct qmp_chardev row = { .label = s->alias ? s->alias : (char *)fallback, .filename = file, .open = open };

	return full(&qmp_chardev_schema, &row);
}

static void made_row(const char *id, const struct chardev *like, void *arg)
{
	g_autofree char *file = chardev_filename(like);
	struct qmp_chardev row = { .label = (char *)(uintptr_t)id, .filename = file };

	json_object_array_add(arg, full(&qmp_chardev_schema, &row));
}

static QMP(query_chardev)
{
	const struct devices *d = &c->worker->machine->devices;

	*reply = json_object_new_array();
	list_each(chardev, s, d->serials)
		json_object_array_add(*reply, chardev_row(s, "serial", true));
	list_each(chardev, s, d->channels)
		json_object_array_add(*reply, chardev_row(s, "channel", channel_is_open(c->worker, s)));
	chardevs_made(c->worker, made_row, *reply);
	return RUN_DONE;
}

/* What there is none of, told as QEMU tells it. */
static QMP(none)
{
	*reply = json_object_new_array();
	return RUN_DONE;
}

static QMP(query_iothreads)
{
	*reply = json_object_new_array();
	for (unsigned i = 1; i < c->worker->vm.block_hosts_n; i++) {
		const struct block_host *h = c->worker->vm.block_hosts[i];
		g_autofree char *id = g_strdup_printf("iothread%u", block_host_iothread(h));
		struct qmp_iothread t = { .id = id, .tid = (uint32_t)loop_thread_id(block_host_loop(h)) };
		unsigned grow, shrink;

		t.poll_max = (uint64_t)loop_polling(block_host_loop(h), &grow, &shrink);
		t.poll_grow = grow;
		t.poll_shrink = shrink;
		json_object_array_add(*reply, full(&qmp_iothread_schema, &t));
	}
	return RUN_DONE;
}

const struct worker_binding qmp_bindings[] = {
	{ "query-version", qmp_query_version },
	{ "query-commands", qmp_query_commands },
	{ "query-events", qmp_query_events },
	{ "query-qmp-schema", qmp_query_qmp_schema },
	{ "human-monitor-command", qmp_human_monitor_command },
	{ "screendump", qmp_screendump },
	{ "query-machines", qmp_query_machines },
	{ "query-current-machine", qmp_query_current_machine },
	{ "system_wakeup", qmp_system_wakeup },
	{ "query-target", qmp_query_target },
	{ "query-chardev", qmp_query_chardev },
	{ "query-iothreads", qmp_query_iothreads },
	{ "query-jobs", qmp_none },
	{ "query-block-jobs", qmp_none },
	{ "query-cpus-fast", qmp_query_cpus_fast },
	{ "query-hotpluggable-cpus", qmp_query_hotpluggable_cpus },
	{ "query-cpu-model-expansion", qmp_query_cpu_model_expansion },
	{ "query-acpi-ospm-status", qmp_query_acpi_ospm_status },
	{ "device_add", qmp_device_add },
	{ "device_del", qmp_device_del },
	{ "vcpus-set", qmp_vcpus_set },
	{ "vcpus-list", qmp_vcpus_list },
	{ "qom-list", qmp_qom_list },
	{ "qom-get", qmp_qom_get },
	{ "qom-set", qmp_qom_set },
	{ "query-pci", qmp_query_pci },
	{ "getfd", qmp_getfd },
	{ "closefd", qmp_closefd },
	{ "add-fd", qmp_add_fd },
	{ "remove-fd", qmp_remove_fd },
	{ "query-fdsets", qmp_query_fdsets },
	{ "query-stats", qmp_query_stats },
	{ "query-stats-schemas", qmp_query_stats_schemas },
	{ "dump-guest-memory", qmp_dump_guest_memory },
	{ "query-dump", qmp_query_dump },
	{ "query-dump-guest-memory-capability", qmp_query_dump_capability },
	{ NULL },
};
