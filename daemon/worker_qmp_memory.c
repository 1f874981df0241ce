/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands of domain/commands_qmp_memory.c. */
#include <string.h>

#include "daemon/worker_memory.h"
#include "daemon/worker_qmp.h"
#include "devices/virtio_balloon.h"
#include "devices/virtio_mem.h"
#include "domain/balloon.h"
#include "domain/json.h"
#include "domain/memdev.h"

static struct device *balloon(struct worker *w, GError **err)
{
	struct device *d = device_by_type(w, "virtio-balloon");

	if (!d)
		kerr_set(err, KERR_INACTIVE, "no balloon device has been activated: the definition says <memballoon model='none'/>");
	return d;
}

static QMP(balloon)
{
	const struct args_balloon *a = args;

	struct device *d = balloon(c->worker, err);

	/* more than all of it means all of it, as for QEMU */
	return d && memory_ask(c->worker, d, MIN(a->value, c->worker->vm.ram.size), err) ? RUN_DONE : RUN_FAILED;
}

static QMP(query_balloon)
{
	struct device *d = balloon(c->worker, err);
	struct balloon_info info;
	struct qmp_balloon b;

	if (!d)
		return RUN_FAILED;
	balloon_info(d, &info);
	b.actual = info.actual;
	*reply = json_from_struct(&qmp_balloon_schema, &b, JSON_ALL);
	return RUN_DONE;
}

static QMP(query_memory_size_summary)
{
	struct qmp_memory m = { .base = c->worker->vm.ram.size, .plugged = memory_plugged(c->worker) };

	*reply = json_from_struct(&qmp_memory_schema, &m, JSON_ALL);
	return RUN_DONE;
}

static QMP(query_memory_devices)
{
	struct worker *w = c->worker;

	*reply = json_object_new_array();
	for (unsigned i = 0; i < w->vm.devices->len; i++) {
		struct device *d = w->vm.devices->pdata[i];
		struct qmp_memory_device m = { .type = (char *)"virtio-mem" };
		g_autofree char *backend = NULL;
		struct virtio_mem_info v;

		if (strcmp(d->ops->name, "virtio-mem"))
			continue;
		virtio_mem_info(d, &v);
		backend = g_strdup_printf("/objects/mem%s", worker_name_of(d));
		m.data = (struct qmp_virtio_mem){ .id = (char *)worker_name_of(d), .addr = v.addr, .requested = v.requested, .size = v.plugged, .max = v.size,
			.block = v.block, .node = v.node, .memdev = backend };
		json_object_array_add(*reply, json_from_struct(&qmp_memory_device_schema, &m, JSON_ALL));
	}
	return RUN_DONE;
}

static QMP(memory_set)
{
	const struct args_memory_set *a = args;
	struct worker *w = c->worker;
	struct device *d = balloon(w, err);

	if (!d)
		return RUN_FAILED;
	if (a->size > w->vm.ram.size)
		return kerr_set(err, KERR_ARGS, "%" G_GUINT64_FORMAT " KiB are more than the %" G_GUINT64_FORMAT " KiB it was started with",
			a->size >> 10, w->vm.ram.size >> 10), RUN_FAILED;
	return memory_wait(c, d, a, err);
}

static QMP(memory_device_set)
{
	const struct args_memory_device_set *a = args;
	struct device *d = memory_device(c->worker, a->device);

	if (!d)
		return kerr_set(err, KERR_NO_DEVICE, "the machine has no virtio-mem device '%s'", a->device), RUN_FAILED;
	return memory_wait(c, d, &(struct args_memory_set){ .size = a->size, .timeout = a->timeout, .id = a->id }, err);
}

static json_object *stats_json(const struct balloon_info *info)
{
	json_object *stats = json_object_new_object();

	for (unsigned i = 0; i < BALLOON_STATS; i++)
		json_object_object_add(stats, balloon_stat_names[i], json_object_new_uint64(info->stats[i]));
	return stats;
}

static QMP(memory_stats)
{
	struct device *d = device_by_type(c->worker, "virtio-balloon");
	struct tell_memory_stats t = { .actual = c->worker->vm.ram.size, .wanted = c->worker->vm.ram.size, .stats = (char *)"{}" };
	struct balloon_info info;
	json_object *stats = NULL;

	if (d) {
		balloon_info(d, &info);
		stats = stats_json(&info);
		t = (struct tell_memory_stats){ .actual = info.actual, .wanted = info.target, .reported = info.reported, .driver = info.driver,
			.period = info.period, .updated = (uint64_t)(info.stats_at / 1000000000),
			.stats = (char *)json_object_to_json_string_ext(stats, JSON_C_TO_STRING_PLAIN) };
	}
	*reply = json_from_struct(&tell_memory_stats_schema, &t, JSON_ALL);
	json_object_put(stats);
	return RUN_DONE;
}

static bool set_period(struct worker *w, uint32_t seconds, GError **err)
{
	struct device *d = balloon(w, err);

	if (!d)
		return false;
	balloon_set_period(d, seconds);
	w->machine->devices.memballoon->stats_period = seconds;         /* only main reads it */
	worker_changed(w, "memballoon", NULL);
	return true;
}

static QMP(memory_stats_period)
{
	return set_period(c->worker, ((const struct args_period *)args)->period, err) ? RUN_DONE : RUN_FAILED;
}

const struct worker_binding qmp_memory_bindings[] = {
	{ "balloon", qmp_balloon },
	{ "query-balloon", qmp_query_balloon },
	{ "query-memory-size-summary", qmp_query_memory_size_summary },
	{ "query-memory-devices", qmp_query_memory_devices },
	{ "memory-set", qmp_memory_set },
	{ "memory-device-set", qmp_memory_device_set },
	{ "memory-stats", qmp_memory_stats },
	{ "memory-stats-period", qmp_memory_stats_period },
	{ NULL },
};

/* --- properties --- */

static const struct { const char *name, *type; } balloon_properties[] = { { "guest-stats", "guest statistics" },
	{ "guest-stats-polling-interval", "int" } }, mem_properties[] = { { "requested-size", "size" }, { "size", "size" }, { "block-size", "size" },
	{ "memaddr", "uint64" }, { "node", "uint32" } };

void memory_properties(struct device *d, void (*add)(json_object *list, const char *name, const char *type), json_object *list)
{
	for (size_t i = 0; i < G_N_ELEMENTS(balloon_properties) && !strcmp(d->ops->name, "virtio-balloon"); i++)
		add(list, balloon_properties[i].name, balloon_properties[i].type);
	for (size_t i = 0; i < G_N_ELEMENTS(mem_properties) && !strcmp(d->ops->name, "virtio-mem"); i++)
		add(list, mem_properties[i].name, mem_properties[i].type);
}

static json_object *mem_property(struct device *d, const char *name)
{
	struct virtio_mem_info v;
	uint64_t values[G_N_ELEMENTS(mem_properties)];

	virtio_mem_info(d, &v);
	values[0] = v.requested;
	values[1] = v.plugged;
	values[2] = v.block;
	values[3] = v.addr;
	values[4] = v.node;
	for (size_t i = 0; i < G_N_ELEMENTS(mem_properties); i++)
		if (!strcmp(mem_properties[i].name, name))
			return json_object_new_uint64(values[i]);
	return NULL;
}

json_object *memory_property(struct device *d, const char *name)
{
	struct balloon_info info;
	json_object *o;

	if (!strcmp(d->ops->name, "virtio-mem"))
		return mem_property(d, name);
	if (strcmp(d->ops->name, "virtio-balloon"))
		return NULL;
	balloon_info(d, &info);
	if (!strcmp(name, "guest-stats-polling-interval"))
		return json_object_new_int64(info.period);
	if (strcmp(name, "guest-stats"))
		return NULL;
	o = json_object_new_object();
	json_object_object_add(o, "last-update", json_object_new_int64(info.stats_at / 1000000000));
	json_object_object_add(o, "stats", stats_json(&info));
	return o;
}

bool memory_property_set(struct worker *w, struct device *d, const char *name, json_object *value, GError **err)
{
	int64_t n = json_object_get_int64(value);

	if (!strcmp(d->ops->name, "virtio-mem") && !strcmp(name, "requested-size")) {
		if (!json_object_is_type(value, json_type_int) || n < 0)
			return kerr_set(err, KERR_ARGS, "'%s' is a number of bytes", name);
		return memory_ask(w, d, (uint64_t)n, err);
	}
	if (strcmp(d->ops->name, "virtio-balloon") || strcmp(name, "guest-stats-polling-interval"))
		return kerr_set(err, KERR_ARGS, "the property '%s' cannot be changed", name);
	if (!json_object_is_type(value, json_type_int))
		return kerr_set(err, KERR_ARGS, "'%s' is a number of seconds", name);
	if (n < 0 || n > INT32_MAX)
		return kerr_set(err, KERR_ARGS, n < 0 ? "%s: timer value must be greater than zero" : "%s: timer value is too big", name);
	return set_period(w, (uint32_t)n, err);
}
