/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * setmem, setmaxmem, dommemstat.
 *
 * A change of machine and definition goes as in vcpus.c: the new definition is made and checked first (beside the main
 * loop), then the machine's process does its part, then the definition goes to disk; a guest that refuses changes nothing.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/commands.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/refresh.h"
#include "daemon/supervise.h"
#include "domain/commands_memory.h"
#include "domain/commands_qmp_memory.h"
#include "domain/json.h"
#include "domain/xml.h"

#define STEPS 64                /* time-outs that a guest may take, with signs of progress: as daemon/worker_memory.c */

struct change;
struct change_ops {
	/* Not the main thread. */
	bool (*edit)(struct change *, struct machine *, GError **err);
	/* Asks the process; its answer comes to change_live_done. */
	void (*ask)(struct change *);
	void (*answer)(struct change *);        /* all is done: answers the request */
};

struct change {
	struct request *request;
	const struct change_ops *ops;
	const void *args;
	bool live, config;
	/* the thread's: from the definition's text to the new one */
	char *text, *xml;
	struct machine *machine;
	GError *err;
};

static void change_free(struct change *c)
{
	machine_free(c->machine);
	g_clear_error(&c->err);
	g_free(c->text);
	g_free(c->xml);
	g_free(c);
}

static void change_fail(struct change *c, const GError *err)
{
	if (c->config)
		c->request->dom->writing = false;
	request_fail(c->request, err);
	change_free(c);
}

static void make_definition(void *arg)
{
	struct change *c = arg;
	AUTO(report) r = report_new(NULL, false, true);
	AUTO(report) again = report_new(NULL, false, true);

	c->machine = machine_from_xml(c->text, strlen(c->text), r, &c->err);
	if (!c->machine || !c->ops->edit(c, c->machine, &c->err))
		return;
	machine_check(c->machine, again);
	if (report_ok(again, &c->err))
		c->xml = machine_to_xml(c->machine, XML_INACTIVE | XML_SECRETS);
}

static void change_end(struct change *c)
{
	c->ops->answer(c);
	change_free(c);
}

static void stored(void *arg, const GError *err)
{
	struct change *c = arg;
	struct dom *d = c->request->dom;
	json_object *data;

	if (err) {
		change_fail(c, err);
		return;
	}
	d->writing = false;
	dom_set_definition(d, c->xml, c->machine, NULL);
	data = json_object_new_object();
	json_object_object_add(data, "created", json_object_new_boolean(false));
	dom_event(d, "DEFINED", data);
	change_end(c);
}

static void store_definition(struct change *c)
{
	if (c->config)
		store_put(c->request->kvmd->store, c->request->dom->uuid, c->xml, stored, c);
	else
		change_end(c);
}

static void refreshed(void *arg, const GError *unused)
{
	struct change *c = arg;
	g_autoptr(GError) err = g_steal_pointer(&c->err);

	if (err)
		change_fail(c, err);
	else
		store_definition(c);    /* the guest has done it, whatever else went wrong */
}

static void change_live_done(void *arg, json_object *reply, const GError *err)
{
	struct change *c = arg;

	c->err = err ? g_error_copy(err) : NULL;
	if (c->request->dom->link)
		dom_refresh(c->request->dom, refreshed, c);
	else
		refreshed(c, NULL);
}

static void change_live(struct change *c)
{
	g_autoptr(GError) err = NULL;

	if (dom_can_ask(c->request->dom, &err))
		c->ops->ask(c);
	else
		change_fail(c, err);
}

static void made(void *arg)
{
	struct change *c = arg;

	if (c->err) {
		g_autoptr(GError) err = g_error_copy(c->err);

		change_fail(c, err);
	} else if (c->live) {
		change_live(c);
	} else {
		store_definition(c);
	}
}

/* What is meant: the machine, its definition, or both. */
static bool scope(const struct request *r, bool a_live, bool a_config, bool current, bool *live, bool *config, GError **err)
{
	bool active = dom_is_active(r->dom);

	if (current && (a_live || a_config))
		return kerr_set(err, KERR_ARGS, "--current is either the machine or its definition: leave out --live and --config");
	*live = a_live || (!a_config && active);
	*config = a_config || (!a_live && !active);
	if (*live && !active)
		return kerr_set(err, KERR_STATE, "the domain is not running: leave out --live");
	if (*config && (!r->dom->text || r->dom->trouble))
		return kerr_set(err, KERR_STATE, "it has no definition that could be changed");
	if (*config && r->dom->writing)
		return kerr_set(err, KERR_BUSY, "another change of this definition is being written: try again");
	return true;
}

static void change_run(struct request *r, const struct change_ops *ops, bool live, bool config)
{
	struct change *c = g_new0(struct change, 1);

	*c = (struct change){ .request = r, .ops = ops, .args = r->args, .live = live, .config = config };
	if (!config) {
		change_live(c);
		return;
	}
	r->dom->writing = true;
	c->text = g_strdup(r->dom->text);
	work_run(r->kvmd->work, make_definition, made, c);
}

/* --- setmem --- */

static bool setmem_edit(struct change *c, struct machine *m, GError **err)
{
	const struct ask_setmem *a = c->args;

	if (a->size > m->memory.size)
		return kerr_set(err, KERR_ARGS, "%" G_GUINT64_FORMAT " KiB are more than the definition's <memory> of %" G_GUINT64_FORMAT
			" KiB: setmaxmem raises that", a->size >> 10, m->memory.size >> 10);
	m->memory.current = a->size;
	return true;
}

static void setmem_ask(struct change *c)
{
	const struct ask_setmem *a = c->args;
	struct request *r = c->request;
	json_object *args = json_object_new_object();
	g_autofree char *id = g_strdup_printf("%08x%08x", g_random_int(), g_random_int());

	json_object_object_add(args, "size", json_object_new_int64((int64_t)a->size));
	json_object_object_add(args, "timeout", json_object_new_int64((int64_t)a->timeout * 1000));
	json_object_object_add(args, "id", json_object_new_string(id));
	link_call(r->dom->link, "memory-set", args, NULL, 0, a->timeout * 1000 * STEPS + r->kvmd->config->answer_timeout, change_live_done, c);
}

static void sizes_answer(struct change *c)
{
	const struct dom *d = c->request->dom;
	struct tell_setmem t = { .memory = d->def.memory, .memory_max = d->def.memory_max };

	if (d->live && c->live) {
		t.memory = d->live->memory.current ? d->live->memory.current : d->live->memory.size;
		t.memory_max = MAX(d->live->memory.max, d->live->memory.size);
	}
	request_reply(c->request, &t);
}

static void cmd_setmem(struct request *r)
{
	static const struct change_ops ops = { setmem_edit, setmem_ask, sizes_answer };
	const struct ask_setmem *a = r->args;
	g_autoptr(GError) err = NULL;
	bool live, config;

	if (scope(r, a->live, a->config, a->current, &live, &config, &err))
		change_run(r, &ops, live, config);
	else
		request_fail(r, err);
}

/* --- setmaxmem --- */

static bool setmaxmem_edit(struct change *c, struct machine *m, GError **err)
{
	const struct ask_setmaxmem *a = c->args;

	if (list_len(m->cpu.cells))
		return kerr_set(err, KERR_UNSUPPORTED, "its memory is the sum of its NUMA cells: change <cell memory=…/> by define");
	if (m->memory.current == m->memory.size || m->memory.current > a->size)
		m->memory.current = a->size;
	m->memory.size = a->size;
	return true;
}

static void cmd_setmaxmem(struct request *r)
{
	static const struct change_ops ops = { setmaxmem_edit, NULL, sizes_answer };
	const struct ask_setmaxmem *a = r->args;
	g_autoptr(GError) err = NULL;
	bool live, config;

	if (scope(r, a->live, a->config, a->current, &live, &config, &err) && live)
		kerr_set(&err, KERR_UNSUPPORTED, "what it may have is fixed while the machine runs: write --config, without --live");
	if (err)
		request_fail(r, err);
	else
		change_run(r, &ops, false, true);
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

static bool period_edit(struct change *c, struct machine *m, GError **err)
{
	struct balloon *b = m->devices.memballoon;

	if (!b || b->model == BALLOON_NONE)
		return kerr_set(err, KERR_INACTIVE, "the definition has no balloon: it says <memballoon model='none'/>");
	b->stats_period = ((const struct ask_dommemstat *)c->args)->period;
	return true;
}

static void period_ask(struct change *c)
{
	json_object *args = json_object_new_object();

	json_object_object_add(args, "period", json_object_new_int64(((const struct ask_dommemstat *)c->args)->period));
	link_call(c->request->dom->link, "memory-stats-period", args, NULL, 0, c->request->kvmd->config->answer_timeout, change_live_done, c);
}

static void period_answer(struct change *c)
{
	struct tell_dommemstat t;

	schema_init(&tell_dommemstat_schema, &t);
	t.period = ((const struct ask_dommemstat *)c->args)->period;
	request_reply_json(c->request, json_from_struct(&tell_dommemstat_schema, &t, 0), NULL, 0);
}

static void cmd_dommemstat(struct request *r)
{
	static const struct change_ops ops = { period_edit, period_ask, period_answer };
	const struct ask_dommemstat *a = r->args;
	g_autoptr(GError) err = NULL;
	bool live, config;

	if (a->period != PERIOD_ABSENT) {
		if (scope(r, a->live, a->config, a->current, &live, &config, &err))
			change_run(r, &ops, live, config);
		else
			request_fail(r, err);
		return;
	}
	if (a->config)
		kerr_set(&err, KERR_ARGS, "--config is about --period: a definition has no statistics");
	else if (dom_can_ask(r->dom, &err))
		link_call(r->dom->link, "memory-stats", NULL, NULL, 0, r->kvmd->config->answer_timeout, have_stats, r);
	if (err)
		request_fail(r, err);
}

const struct command_binding memory_bindings[] = {
	{ "setmem", cmd_setmem },
	{ "setmaxmem", cmd_setmaxmem },
	{ "dommemstat", cmd_dommemstat },
	{ NULL },
};
