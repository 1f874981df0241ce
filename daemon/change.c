/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of machines and of their definitions, step by step. */
#include "daemon/change.h"

#include <string.h>

#include "daemon/kvmd.h"
#include "daemon/wire.h"
#include "daemon/launch.h"
#include "daemon/link.h"
#include "daemon/refresh.h"
#include "daemon/supervise.h"
#include "domain/report.h"
#include "domain/xml.h"

struct change {
	struct request *request;
	const struct change_ops *ops;
	void *arg;
	void (*look)(struct request *, const struct machine *, const GError *);         /* instead of ops */
	bool live, config;
	bool runs;                      /* so an error about the definition has to say that it is */
	/* the thread's: from the definition's text to the new one */
	char *text, *xml;
	struct machine *machine;
	GError *err;                    /* of the thread, then of the machine */
};

static void change_free(struct change *c)
{
	if (c->ops && c->ops->free)
		c->ops->free(c->arg);
	machine_free(c->machine);
	g_clear_error(&c->err);
	g_free(c->text);
	g_free(c->xml);
	g_free(c);
}

static void fail(struct change *c, const GError *err)
{
	if (c->config)
		c->request->dom->writing = false;
	request_fail(c->request, err);
	change_free(c);
}

static void succeed(struct change *c)
{
	if (c->ops->answer)
		c->ops->answer(c->request, c->live, c->arg);
	else
		request_reply(c->request, NULL);
	change_free(c);
}

/* --- what is meant --- */

static bool find_scope(const struct dom *d, const struct ask_scope *given, struct ask_scope *meant, GError **err)
{
	bool active = dom_is_active(d);

	if (given->current && (given->live || given->config))
		return kerr_set(err, KERR_ARGS, "--current is either the machine or its definition: leave out --live and --config");
	meant->live = given->live || (!given->config && active);
	meant->config = given->config || (!given->live && !active);
	if (meant->live && !active)
		return kerr_set(err, KERR_STATE, "the domain is not running: leave out --live");
	if (meant->config && (!d->text || d->trouble))
		return kerr_set(err, KERR_STATE, "it has no definition that could be used");
	return true;
}

static bool is_known(const struct dom *d, GError **err)
{
	return d->live || kerr_set(err, KERR_STATE, "what runs is not known just now: try again");
}

static bool can_apply(const struct dom *d, GError **err)
{
	return dom_can_ask(d, err) && is_known(d, err);
}

bool change_scope(const struct request *r, const struct ask_scope *given, struct ask_scope *meant, GError **err)
{
	struct ask_scope s = { 0 };

	if (!find_scope(r->dom, given, &s, err))
		return false;
	if (s.config && r->dom->writing)
		return kerr_set(err, KERR_BUSY, "another change of this definition is being written: try again");
	if (s.live && !can_apply(r->dom, err))
		return false;
	*meant = s;
	return true;
}

/* --- on the work thread --- */

static void parse(void *arg)
{
	struct change *c = arg;
	AUTO(report) r = report_new(NULL, false, true);

	c->machine = machine_from_xml(c->text, strlen(c->text), r, &c->err);
}

static void make(void *arg)
{
	struct change *c = arg;
	AUTO(report) again = report_new(NULL, false, true);

	if (c->live && c->ops->prepare && !c->ops->prepare(c->arg, &c->err))
		return;
	if (!c->config)
		return;
	parse(c);
	if (!c->machine)
		return;
	if (c->ops->edit(c->machine, c->arg, &c->err))
		machine_check(c->machine, again);
	if (!c->err && report_ok(again, &c->err))
		c->xml = machine_to_xml(c->machine, XML_INACTIVE | XML_SECRETS);
	else if (c->runs)
		g_prefix_error(&c->err, "in its definition: ");
}

/* --- the definition --- */

static void stored(void *arg, const GError *err)
{
	struct change *c = arg;
	struct dom *d = c->request->dom;
	json_object *data;

	if (err) {
		fail(c, err);
		return;
	}
	d->writing = false;
	dom_set_definition(d, c->xml, c->machine, NULL);
	data = json_object_new_object();
	json_object_object_add(data, "created", json_object_new_boolean(false));
	dom_event(d, "DEFINED", data);
	succeed(c);
}

static void store(struct change *c)
{
	if (c->config)
		store_put(c->request->kvmd->store, c->request->dom->uuid, c->xml, stored, c);
	else
		succeed(c);
}

/* --- the machine --- */

/* Whoever asks next is told what is, also when the machine has done only a part of it. */
static void refreshed(void *arg, const GError *unused)
{
	struct change *c = arg;
	g_autoptr(GError) err = g_steal_pointer(&c->err);

	if (c->ops->applied)
		c->ops->applied(c->request->dom, !err, c->arg);
	if (err)
		fail(c, err);
	else
		store(c);       /* the machine has done it, whatever else went wrong */
}

void change_done(struct change *c, const GError *err)
{
	c->err = err ? g_error_copy(err) : NULL;
	if (c->request->dom->link)
		dom_refresh(c->request->dom, refreshed, c);
	else
		refreshed(c, NULL);
}

static void asked(void *arg, json_object *reply, const GError *err)
{
	struct change *c = arg;

	if (!err && c->ops->told)
		c->ops->told(reply, c->arg);
	change_done(c, err);
}

static void ask(struct change *c, const char *execute, json_object *args, const int *fds, unsigned n, uint64_t more)
{
	uint64_t timeout = more + c->request->kvmd->config->answer_timeout;

	link_call(c->request->dom->link, execute, args, fds, n, (unsigned)MIN(timeout, G_MAXINT), asked, c);
}

void change_ask(struct change *c, const char *execute, json_object *args)
{
	ask(c, execute, args, NULL, 0, 0);
}

void change_ask_fds(struct change *c, const char *execute, json_object *args, const int *fds, unsigned n)
{
	ask(c, execute, args, fds, n, 0);
}

void change_ask_opened(struct change *c, const char *execute, json_object *args, const GPtrArray *opened)
{
	json_object *names = json_object_new_array();
	g_autoptr(GError) err = NULL;
	int fds[WIRE_FDS_MAX];

	json_object_object_add(args, "names", names);
	if (opened->len > WIRE_FDS_MAX) {
		json_object_put(args);
		kerr_set(&err, KERR_LIMIT, "it needs %u files at once; %u are possible", opened->len, WIRE_FDS_MAX);
		change_done(c, err);
		return;
	}
	for (unsigned i = 0; i < opened->len; i++) {
		const struct launch_fd *f = opened->pdata[i];
		json_object *o = json_object_new_object();

		fds[i] = f->fd;
		json_object_object_add(o, "name", json_object_new_string(f->name));
		json_object_array_add(names, o);
	}
	change_ask_fds(c, execute, args, fds, opened->len);
}

void change_ask_guest(struct change *c, const char *execute, json_object *args, uint32_t timeout, uint64_t times, const int *fds, unsigned n)
{
	g_autofree char *id = g_strdup_printf("%08x%08x", g_random_int(), g_random_int());
	uint64_t ms = (uint64_t)timeout * 1000;

	json_object_object_add(args, "timeout", json_object_new_int64((int64_t)ms));
	json_object_object_add(args, "id", json_object_new_string(id));
	ask(c, execute, args, fds, n, ms * times);
}

/* --- the steps --- */

static void apply(struct change *c)
{
	g_autoptr(GError) err = NULL;

	if (can_apply(c->request->dom, &err))   /* time has passed */
		c->ops->apply(c, c->request->dom, c->arg);
	else
		fail(c, err);
}

static void made(void *arg)
{
	struct change *c = arg;
	g_autoptr(GError) err = g_steal_pointer(&c->err);

	if (err)
		fail(c, err);
	else if (c->live)
		apply(c);
	else
		store(c);
}

void change_run(struct request *r, const struct ask_scope *meant, const struct change_ops *ops, void *arg)
{
	struct change *c = g_new0(struct change, 1);

	*c = (struct change){ .request = r, .ops = ops, .arg = arg, .live = meant->live, .config = meant->config,
		.runs = dom_is_active(r->dom) };
	if (!c->config && !ops->prepare) {
		apply(c);
		return;
	}
	if (c->config) {
		r->dom->writing = true;
		c->text = g_strdup(r->dom->text);
	}
	work_run(r->kvmd->work, make, made, c);
}

void change(struct request *r, const struct ask_scope *given, const struct change_ops *ops, void *arg)
{
	struct ask_scope meant;
	g_autoptr(GError) err = NULL;

	if (change_scope(r, given, &meant, &err)) {
		change_run(r, &meant, ops, arg);
		return;
	}
	request_fail(r, err);
	if (ops->free)
		ops->free(arg);
}

/* --- looking --- */

static void parsed(void *arg)
{
	struct change *c = arg;

	c->look(c->request, c->machine, c->err);
	change_free(c);
}

bool change_may_look(const struct dom *d, const struct ask_scope *given, GError **err)
{
	struct ask_scope meant = { 0 };

	if (!given->live && !given->config && !given->current)
		return true;
	if (given->live && given->config)
		return kerr_set(err, KERR_ARGS, "one of --live and --config can be shown at a time");
	return find_scope(d, given, &meant, err) && (!meant.live || is_known(d, err));
}

void change_look(struct request *r, const struct ask_scope *given, void (*fn)(struct request *, const struct machine *, const GError *))
{
	struct ask_scope meant = { 0 };
	g_autoptr(GError) err = NULL;
	struct change *c;

	if (change_may_look(r->dom, given, &err))
		(void)find_scope(r->dom, given, &meant, &err);  /* err says it */
	if (err || meant.live) {
		fn(r, err ? NULL : r->dom->live, err);
		return;
	}
	c = g_new0(struct change, 1);
	*c = (struct change){ .request = r, .look = fn, .text = g_strdup(r->dom->text) };
	work_run(r->kvmd->work, parse, parsed, c);
}
