/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The code behind the rows of domain/commands_worker.c. */
#include <string.h>
#include <unistd.h>

#include "daemon/worker.h"
#include "devices/acpi_pm.h"
#include "devices/chr.h"
#include "devices/virtio_net.h"
#include "domain/json.h"
#include "hv/accel.h"
#include "hv/lock.h"
#include "hv/vcpu.h"

#define COMMAND(fn) static enum run_result fn(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)

struct device *device_by_type(struct worker *w, const char *type)
{
	for (guint i = 0; i < w->vm.devices->len; i++) {
		struct device *d = w->vm.devices->pdata[i];

		if (!strcmp(d->ops->name, type))
			return d;
	}
	return NULL;
}

const char *worker_alias_of(const struct device *d)
{
	const struct field *f = d->config && d->ops->config ? schema_field(d->ops->config, "alias") : NULL;

	return f ? *(char *const *)field_at(f, d->config) : NULL;
}

const char *worker_name_of(const struct device *d)
{
	const char *alias = worker_alias_of(d);

	return alias ? alias : d->id;
}

static json_object *full(const struct schema *s, void *obj)
{
	return json_from_struct(s, obj, JSON_ALL);
}

/* --- QMP --- */

COMMAND(cmd_qmp_capabilities)
{
	kerr_set(err, KERR_NO_COMMAND, "capabilities negotiation is already complete");
	return RUN_FAILED;
}

COMMAND(cmd_query_status)
{
	struct worker *w = c->worker;
	struct reply_status r = { .status = w->run_state, .running = w->vm.state == VM_RUNNING };

	*reply = full(&reply_status_schema, &r);
	return RUN_DONE;
}

COMMAND(cmd_stop)
{
	return state_pause(c->worker, c, err) ? RUN_LATER : RUN_FAILED;
}

COMMAND(cmd_cont)
{
	return state_run(c->worker, err) ? RUN_DONE : RUN_FAILED;
}

COMMAND(cmd_reset)
{
	return state_reset(c->worker, c, err) ? RUN_LATER : RUN_FAILED;
}

COMMAND(cmd_quit)
{
	struct worker *w = c->worker;
	json_object *o = json_object_new_object();

	json_object_object_add(o, "guest", json_object_new_boolean(false));
	json_object_object_add(o, "reason", json_object_new_string("host-qmp-quit"));
	worker_event(w, "SHUTDOWN", o);
	o = wire_return(c->id, NULL);
	wire_send(c->wire, o, NULL, 0);
	json_object_put(o);
	state_exit(w, EXIT_KILLED, false, 0, "by request");
}

COMMAND(cmd_inject_nmi)
{
	struct vm *vm = &c->worker->vm;

	for (guint i = 0; i < vm->vcpus->len; i++) {
		struct vcpu *v = vm->vcpus->pdata[i];
		int rc = v->unplugged ? 0 : vcpu_nmi(v);

		if (rc)
			return kerr_errno(err, -rc, "vcpu %u: inject an NMI", i), RUN_FAILED;
	}
	return RUN_DONE;
}

COMMAND(cmd_query_name)
{
	struct reply_named r = { .name = c->worker->machine->name };

	*reply = full(&reply_named_schema, &r);
	return RUN_DONE;
}

COMMAND(cmd_query_uuid)
{
	struct reply_uuid r = { .UUID = c->worker->machine->uuid };

	*reply = full(&reply_uuid_schema, &r);
	return RUN_DONE;
}

COMMAND(cmd_query_kvm)
{
	struct reply_kvm r = { .enabled = true, .present = true };

	*reply = full(&reply_kvm_schema, &r);
	return RUN_DONE;
}

static uint64_t stat_of(const struct vcpu *v, enum vcpu_stat s)
{
	return __atomic_load_n(&v->stats[s], __ATOMIC_RELAXED);
}

COMMAND(cmd_query_counters)
{
	struct vm *vm = &c->worker->vm;
	struct reply_stats *r = schema_new(&reply_stats_schema);

	r->vcpus = g_ptr_array_new();
	r->devices = g_ptr_array_new();
	for (guint i = 0; i < vm->vcpus->len; i++) {
		const struct vcpu *v = vm->vcpus->pdata[i];
		struct vcpu_stats *s = g_new0(struct vcpu_stats, 1);

		*s = (struct vcpu_stats){ v->id, stat_of(v, VCPU_EXITS), stat_of(v, VCPU_PIO), stat_of(v, VCPU_MMIO), stat_of(v, VCPU_HLT),
			stat_of(v, VCPU_INTR), stat_of(v, VCPU_ASSISTS), stat_of(v, VCPU_SYSCALLS), stat_of(v, VCPU_MSR), stat_of(v, VCPU_OTHER) };
		g_ptr_array_add(r->vcpus, s);
	}
	for (guint i = 0; i < vm->devices->len; i++) {
		const struct device *d = vm->devices->pdata[i];
		struct device_stats *s = g_new0(struct device_stats, 1);

		*s = (struct device_stats){ g_strdup(d->id), g_strdup(d->ops->name), __atomic_load_n(&d->guest_errors, __ATOMIC_RELAXED) };
		g_ptr_array_add(r->devices, s);
	}
	r->fence_violations = lock_violations(NULL);
	r->emulated = vm->emulated;
	r->guest_ns = (uint64_t)clock_now(vm->clock, CLOCK_GUEST);
	*reply = full(&reply_stats_schema, r);
	schema_free(&reply_stats_schema, r);
	return RUN_DONE;
}

/* --- kvmd's own --- */

COMMAND(cmd_hello)
{
	struct worker *w = c->worker;
	struct reply_hello r = { .version = (char *)KVMD_VERSION, .fence = (char *)lock_state(), .status = w->run_state,
		.last_seq = w->seq, .pid = (uint32_t)getpid() };

	if (w->created) {
		r.name = w->machine->name;
		r.uuid = w->machine->uuid;
	}
	*reply = full(&reply_hello_schema, &r);
	return RUN_DONE;
}

COMMAND(cmd_add_fds)
{
	const struct args_add_fds *a = args;
	unsigned n = a->names ? a->names->len : 0;

	if (n != c->fds_n)
		return kerr_set(err, KERR_ARGS, "%u names, but %u descriptors", n, c->fds_n), RUN_FAILED;
	for (unsigned i = 0; i < n; i++) {
		const struct name_item *item = a->names->pdata[i];
		int fd = c->fds[i];

		c->fds[i] = -1;         /* fdset_add closes it when it fails */
		if (!fdset_add(c->worker->fds, item->name, fd, err))
			return RUN_FAILED;
	}
	return RUN_DONE;
}

COMMAND(cmd_machine_create)
{
	if (c->worker->created)
		return kerr_set(err, KERR_STATE, "this worker already is a machine"), RUN_FAILED;
	return worker_machine_create(c->worker, raw, err) ? RUN_DONE : RUN_FAILED;
}

COMMAND(cmd_query_machine)
{
	*reply = worker_machine_json(c->worker);
	return RUN_DONE;
}

COMMAND(cmd_replay_events)
{
	const struct args_since *a = args;
	struct worker *w = c->worker;
	json_object *list = json_object_new_array();
	uint64_t seq = w->seq - g_queue_get_length(&w->events);

	for (GList *l = w->events.head; l; l = l->next)
		if (++seq > a->since)
			json_object_array_add(list, json_object_get(l->data));
	*reply = list;
	return RUN_DONE;
}

COMMAND(cmd_console_attach)
{
	const struct args_console *a = args;
	int fd;

	if (c->fds_n != 1)
		return kerr_set(err, KERR_ARGS, "console-attach wants one descriptor"), RUN_FAILED;
	fd = c->fds[0];
	c->fds[0] = -1;
	return worker_console_attach(c->worker, a, fd, err) ? RUN_DONE : RUN_FAILED;
}

COMMAND(cmd_netdev_reconnect)
{
	const struct args_netdev_reconnect *a = args;
	int fd;

	if (c->fds_n != 1)
		return kerr_set(err, KERR_ARGS, "netdev-reconnect wants one descriptor"), RUN_FAILED;
	for (guint i = 0; i < c->worker->vm.devices->len; i++) {
		struct device *d = c->worker->vm.devices->pdata[i];

		if (!virtio_net_backend(d) || g_strcmp0(((const struct iface *)d->config)->alias, a->id))
			continue;
		fd = c->fds[0];
		c->fds[0] = -1;
		return virtio_net_reconnect(d, fd, err) ? RUN_DONE : RUN_FAILED;
	}
	return kerr_set(err, KERR_NO_DEVICE, "there is no network card '%s'", a->id), RUN_FAILED;
}

const struct worker_binding worker_bindings[] = {
	{ "qmp_capabilities", cmd_qmp_capabilities },
	{ "query-status", cmd_query_status },
	{ "stop", cmd_stop },
	{ "cont", cmd_cont },
	{ "system_reset", cmd_reset },
	{ "quit", cmd_quit },
	{ "inject-nmi", cmd_inject_nmi },
	{ "query-name", cmd_query_name },
	{ "query-uuid", cmd_query_uuid },
	{ "query-kvm", cmd_query_kvm },
	{ "query-counters", cmd_query_counters },
	{ "hello", cmd_hello },
	{ "add-fds", cmd_add_fds },
	{ "machine-create", cmd_machine_create },
	{ "query-machine", cmd_query_machine },
	{ "replay-events", cmd_replay_events },
	{ "console-attach", cmd_console_attach },
	{ "netdev-reconnect", cmd_netdev_reconnect },
	{ NULL },
};
