/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of machines and definitions, step by step. */
#include "daemon/revise.h"

#include <string.h>

#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/refresh.h"
#include "daemon/supervise.h"
#include "domain/report.h"
#include "domain/xml.h"

struct revising {
	struct request *request;
	const struct revision *how;
	void (*look)(struct request *, const struct machine *, const GError *);  /* instead of how */
	bool live, config;
	/* the thread's: from the definition's text to the new one */
	char *text, *xml;
	struct machine *machine;
	GError *err;
};

static void revising_free(struct revising *s)
{
	machine_free(s->machine);
	g_clear_error(&s->err);
	g_free(s->text);
	g_free(s->xml);
	g_free(s);
}

static void fail(struct revising *s, const GError *err)
{
	if (s->config)
		s->request->dom->writing = false;
	request_fail(s->request, err);
	revising_free(s);
}

static void succeed(struct revising *s)
{
	request_reply(s->request, NULL);
	revising_free(s);
}

/* --- what is meant --- */

static bool has_definition(const struct dom *d, GError **err)
{
	return (d->text && !d->trouble) || kerr_set(err, KERR_STATE, "it has no definition that could be used");
}

static bool scope_find(const struct request *r, struct revise_scope a, bool *live, bool *config, GError **err)
{
	bool active = dom_is_active(r->dom);

	if (a.current && (a.live || a.config))
		return kerr_set(err, KERR_ARGS, "--current is either the machine or its definition: leave out --live and --config");
	*live = a.live || (!a.config && active);
	*config = a.config || (!a.live && !active);
	if (*live && !active)
		return kerr_set(err, KERR_STATE, "the domain is not running: leave out --live");
	return !*config || has_definition(r->dom, err);
}

/* --- the definition --- */

static void parse(void *arg)
{
	struct revising *s = arg;
	AUTO(report) r = report_new(NULL, false, true);

	s->machine = machine_from_xml(s->text, strlen(s->text), r, &s->err);
}

static void make_definition(void *arg)
{
	struct revising *s = arg;
	AUTO(report) again = report_new(NULL, false, true);

	parse(s);
	if (!s->machine || !s->how->edit(s->request, s->machine, &s->err))
		return;
	machine_check(s->machine, again);
	if (report_ok(again, &s->err))
		s->xml = machine_to_xml(s->machine, XML_INACTIVE | XML_SECRETS);
}

static void stored(void *arg, const GError *err)
{
	struct revising *s = arg;
	struct dom *d = s->request->dom;
	json_object *data;

	if (err) {
		fail(s, err);
		return;
	}
	d->writing = false;
	dom_set_definition(d, s->xml, s->machine, NULL);
	data = json_object_new_object();
	json_object_object_add(data, "created", json_object_new_boolean(false));
	dom_event(d, "DEFINED", data);
	succeed(s);
}

static void store_definition(struct revising *s)
{
	if (s->config)
		store_put(s->request->kvmd->store, s->request->dom->uuid, s->xml, stored, s);
	else
		succeed(s);
}

/* --- the machine --- */

/* Whoever asks next is told what is. */
static void refreshed(void *arg, const GError *unused)
{
	store_definition(arg);  /* the machine has changed, whatever else went wrong */
}

static void machine_done(void *arg, json_object *reply, const GError *err)
{
	struct revising *s = arg;

	if (err)
		fail(s, err);
	else if (s->request->dom->link)
		dom_refresh(s->request->dom, refreshed, s);
	else
		refreshed(s, NULL);
}

static void ask_machine(struct revising *s)
{
	struct request *r = s->request;
	g_autoptr(GError) err = NULL;
	json_object *args = NULL;
	const char *command;

	if (!dom_can_ask(r->dom, &err) || !(command = s->how->ask(r, &args, &err))) {
		fail(s, err);
		return;
	}
	link_call(r->dom->link, command, args, NULL, 0, r->kvmd->config->answer_timeout, machine_done, s);
}

static void made(void *arg)
{
	struct revising *s = arg;

	if (s->err) {
		g_autoptr(GError) err = g_error_copy(s->err);

		fail(s, err);
	} else if (s->live) {
		ask_machine(s);
	} else {
		store_definition(s);
	}
}

void revise(struct request *r, const struct revision *how, struct revise_scope scope)
{
	g_autoptr(GError) err = NULL;
	bool live = false, config = false;
	struct revising *s;

	if (scope_find(r, scope, &live, &config, &err) && config && r->dom->writing)
		kerr_set(&err, KERR_BUSY, "another change of this definition is being written: try again");
	if (err) {
		request_fail(r, err);
		return;
	}
	s = g_new0(struct revising, 1);
	*s = (struct revising){ .request = r, .how = how, .live = live, .config = config };
	if (!config) {
		ask_machine(s);
		return;
	}
	r->dom->writing = true;
	s->text = g_strdup(r->dom->text);
	work_run(r->kvmd->work, make_definition, made, s);
}

/* --- looking --- */

static void parsed(void *arg)
{
	struct revising *s = arg;

	s->look(s->request, s->machine, s->err);
	revising_free(s);
}

void revise_look(struct request *r, struct revise_scope scope, void (*fn)(struct request *, const struct machine *, const GError *))
{
	g_autoptr(GError) err = NULL;
	bool live = false, config = false;
	struct revising *s;

	if (scope.live && scope.config)
		kerr_set(&err, KERR_ARGS, "one of --live and --config can be shown at a time");
	else if (scope_find(r, scope, &live, &config, &err) && live && !r->dom->live)
		kerr_set(&err, KERR_STATE, "its process has not yet said what it is: try again");
	if (err || live) {
		fn(r, err ? NULL : r->dom->live, err);
		return;
	}
	s = g_new0(struct revising, 1);
	*s = (struct revising){ .request = r, .look = fn, .text = g_strdup(r->dom->text) };
	work_run(r->kvmd->work, parse, parsed, s);
}
