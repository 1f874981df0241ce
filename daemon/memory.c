/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * setmem, setmaxmem, dommemstat, update-memory-device.
 *
 * The machine's process waits for the guest and tells COMMAND_BEGUN, COMMAND_PROGRESS and COMMAND_DONE: when kvmd dies meanwhile
 * it goes on, and the next kvmd's journal has the result.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/change.h"
#include "daemon/commands.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/supervise.h"
#include "domain/commands_memory.h"
#include "domain/commands_qmp_memory.h"
#include "domain/json.h"

#define STEPS 64                /* time-outs that a guest may take, with signs of progress: as daemon/worker_memory.c */

/* --- setmem --- */

static bool setmem_edit(struct machine *m, void *arg, GError **err)
{
	const struct ask_setmem *a = arg;

	if (a->size > m->memory.size)
		return kerr_set(err, KERR_ARGS, "%" G_GUINT64_FORMAT " KiB are more than the definition's <memory> of %" G_GUINT64_FORMAT
			" KiB: setmaxmem raises that", a->size >> 10, m->memory.size >> 10);
	m->memory.current = a->size;
	return true;
}

static void setmem_apply(struct change *c, struct dom *d, void *arg)
{
	const struct ask_setmem *a = arg;
	json_object *args = json_object_new_object();

	json_object_object_add(args, "size", json_object_new_int64((int64_t)a->size));
	change_ask_guest(c, "memory-set", args, a->timeout, STEPS, NULL, 0);
}

static void sizes_answer(struct request *r, bool live, void *arg)
{
	const struct dom *d = r->dom;
	struct tell_setmem t = { .memory = d->def.memory, .memory_max = d->def.memory_max };

	if (d->live && live) {
		t.memory = d->live->memory.current ? d->live->memory.current : d->live->memory.size;
		t.memory_max = MAX(d->live->memory.max, d->live->memory.size);
	}
	request_reply(r, &t);
}

static void cmd_setmem(struct request *r)
{
	static const struct change_ops ops = { .edit = setmem_edit, .apply = setmem_apply, .answer = sizes_answer };

	change(r, &((const struct ask_setmem *)r->args)->scope, &ops, r->args);
}

/* --- setmaxmem --- */

static bool setmaxmem_edit(struct machine *m, void *arg, GError **err)
{
	const struct ask_setmaxmem *a = arg;

	if (list_len(m->cpu.cells))
		return kerr_set(err, KERR_UNSUPPORTED, "its memory is the sum of its NUMA cells: change <cell memory=…/> by define");
	if (m->memory.current == m->memory.size || m->memory.current > a->size)
		m->memory.current = a->size;
	m->memory.size = a->size;
	return true;
}

static void cmd_setmaxmem(struct request *r)
{
	static const struct change_ops ops = { .edit = setmaxmem_edit, .answer = sizes_answer };
	const struct ask_setmaxmem *a = r->args;
	g_autoptr(GError) err = NULL;
	struct ask_scope meant;

	if (change_scope(r, &a->scope, &meant, &err) && meant.live)
		kerr_set(&err, KERR_UNSUPPORTED, "what it may have is fixed while the machine runs: write --config, without --live");
	if (err)
		request_fail(r, err);
	else
		change_run(r, &meant, &ops, r->args);
}

/* --- dommemstat --- */

static uint64_t rss_of(int pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/statm", pid), *text = NULL;
	unsigned long long pages;

	if (pid <= 0 || !g_file_get_contents(path, &text, NULL, NULL) || sscanf(text, "%*u %llu", &pages) != 1)
		return UINT64_MAX;
	return pages * (unsigned long long)sysconf(_SC_PAGESIZE);
}

static const struct { const char *stat; size_t off; } stats[] = {
	{ "stat-swap-in", offsetof(struct tell_dommemstat, swap_in) }, { "stat-swap-out", offsetof(struct tell_dommemstat, swap_out) },
	{ "stat-major-faults", offsetof(struct tell_dommemstat, major_fault) }, { "stat-minor-faults", offsetof(struct tell_dommemstat, minor_fault) },
	{ "stat-free-memory", offsetof(struct tell_dommemstat, unused) }, { "stat-total-memory", offsetof(struct tell_dommemstat, available) },
	{ "stat-available-memory", offsetof(struct tell_dommemstat, usable) }, { "stat-disk-caches", offsetof(struct tell_dommemstat, disk_caches) },
	{ "stat-htlb-pgalloc", offsetof(struct tell_dommemstat, hugetlb_pgalloc) }, { "stat-htlb-pgfail", offsetof(struct tell_dommemstat, hugetlb_pgfail) },
};

static void have_stats(void *arg, json_object *reply, const GError *failed)
{
	struct request *r = arg;
	struct tell_memory_stats *s = schema_new(&tell_memory_stats_schema);
	struct tell_dommemstat t;
	g_autoptr(GError) err = NULL;
	json_object *values, *v;

	if (failed || !json_to_struct(&tell_memory_stats_schema, s, reply, &err)) {
		request_fail(r, failed ? failed : err);
		schema_free(&tell_memory_stats_schema, s);
		return;
	}
	schema_init(&tell_dommemstat_schema, &t);
	t.actual = s->actual;
	t.target = s->wanted;
	t.reported = s->reported;
	t.period = s->period;
	t.rss = rss_of(r->dom->pid);
	if (s->updated) {
		t.last_update = s->updated;
		values = json_tokener_parse(s->stats ? s->stats : "{}");
		for (size_t i = 0; i < G_N_ELEMENTS(stats); i++)
			if (json_object_object_get_ex(values, stats[i].stat, &v))
				*(uint64_t *)((char *)&t + stats[i].off) = json_object_get_uint64(v);
		json_object_put(values);
	}
	schema_free(&tell_memory_stats_schema, s);
	request_reply_json(r, json_from_struct(&tell_dommemstat_schema, &t, 0), NULL, 0);
}

static uint32_t period_of(const void *arg)
{
	return ((const struct ask_dommemstat *)arg)->period;
}

static bool period_edit(struct machine *m, void *arg, GError **err)
{
	struct balloon *b = m->devices.memballoon;

	if (!b || b->model == BALLOON_NONE)
		return kerr_set(err, KERR_INACTIVE, "the definition has no balloon: it says <memballoon model='none'/>");
	b->stats_period = period_of(arg);
	return true;
}

static void period_apply(struct change *c, struct dom *d, void *arg)
{
	json_object *args = json_object_new_object();

	json_object_object_add(args, "period", json_object_new_int64(period_of(arg)));
	change_ask(c, "memory-stats-period", args);
}

static void period_answer(struct request *r, bool live, void *arg)
{
	struct tell_dommemstat t;

	schema_init(&tell_dommemstat_schema, &t);
	t.period = period_of(arg);
	request_reply_json(r, json_from_struct(&tell_dommemstat_schema, &t, 0), NULL, 0);
}

static void cmd_dommemstat(struct request *r)
{
	static const struct change_ops ops = { .edit = period_edit, .apply = period_apply, .answer = period_answer };
	const struct ask_dommemstat *a = r->args;
	g_autoptr(GError) err = NULL;

	if (a->period != PERIOD_ABSENT) {
		change(r, &a->scope, &ops, r->args);
		return;
	}
	if (a->scope.config)
		kerr_set(&err, KERR_ARGS, "--config is about --period: a definition has no statistics");
	else if (dom_can_ask(r->dom, &err))
		link_call(r->dom->link, "memory-stats", NULL, NULL, 0, r->kvmd->config->answer_timeout, have_stats, r);
	if (err)
		request_fail(r, err);
}

/* --- update-memory-device --- */

/* The virtio-mem device that is meant. */
static struct memdev *memdev_of(const struct machine *m, const struct ask_memory_device *a, GError **err)
{
	struct memdev *found = NULL;

	list_each(memdev, d, m->devices.memdevs) {
		if (d->model != MEMDEV_VIRTIO_MEM || (a->alias && g_strcmp0(d->alias, a->alias)) || (a->node != UINT32_MAX && d->target.node != a->node))
			continue;
		if (found)
			return kerr_set(err, KERR_ARGS, "it has several virtio-mem devices: --alias says which is meant"), NULL;
		found = d;
	}
	if (!found)
		kerr_set(err, KERR_NO_DEVICE, a->alias ? "it has no virtio-mem device '%s'" : "it has no such virtio-mem device%.0s", a->alias);
	return found;
}

static bool memdev_size_ok(const struct memdev *d, uint64_t size, GError **err)
{
	return (size <= d->target.size && size % MAX(d->target.block, 1) == 0) || kerr_set(err, KERR_ARGS, "'%s' has %" G_GUINT64_FORMAT
		" KiB in blocks of %" G_GUINT64_FORMAT " KiB: %" G_GUINT64_FORMAT " KiB can't be asked for", d->alias ? d->alias : "?",
		d->target.size >> 10, d->target.block >> 10, size >> 10);
}

static bool memdev_edit(struct machine *m, void *arg, GError **err)
{
	const struct ask_memory_device *a = arg;
	struct memdev *d = memdev_of(m, a, err);

	if (!d || !memdev_size_ok(d, a->requested_size, err))
		return false;
	d->target.requested = a->requested_size;
	return true;
}

static void memdev_apply(struct change *c, struct dom *d, void *arg)
{
	const struct ask_memory_device *a = arg;
	g_autoptr(GError) err = NULL;
	struct memdev *m = NULL;
	json_object *args;

	if ((m = memdev_of(d->live, a, &err)) && !m->alias)
		kerr_set(&err, KERR_NO_DEVICE, "the device has no alias");
	if (err || !memdev_size_ok(m, a->requested_size, &err)) {
		change_done(c, err);
		return;
	}
	args = json_object_new_object();
	json_object_object_add(args, "device", json_object_new_string(m->alias));
	json_object_object_add(args, "size", json_object_new_int64((int64_t)a->requested_size));
	change_ask_guest(c, "memory-device-set", args, a->timeout, STEPS, NULL, 0);
}

static void memdev_answer(struct request *r, bool live, void *arg)
{
	const struct ask_memory_device *a = arg;
	const struct memdev *m = live && r->dom->live ? memdev_of(r->dom->live, a, NULL) : NULL;
	struct tell_memory_device t = { .requested = a->requested_size, .alias = a->alias };

	if (m)
		t = (struct tell_memory_device){ m->alias, m->target.requested, m->target.current, m->target.size };
	request_reply(r, &t);
}

static void cmd_memory_device(struct request *r)
{
	static const struct change_ops ops = { .edit = memdev_edit, .apply = memdev_apply, .answer = memdev_answer };
	const struct ask_memory_device *a = r->args;
	g_autoptr(GError) err = NULL;

	if (a->requested_size != UINT64_MAX) {
		change(r, &a->scope, &ops, r->args);
		return;
	}
	kerr_set(&err, KERR_ARGS, "--requested-size says how much the guest is to use");
	request_fail(r, err);
}

const struct command_binding memory_bindings[] = {
	{ "update-memory-device", cmd_memory_device },
	{ "setmem", cmd_setmem },
	{ "setmaxmem", cmd_setmaxmem },
	{ "dommemstat", cmd_dommemstat },
	{ NULL },
};
