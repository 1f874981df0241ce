/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A change of a machine and of its definition. */
#include "daemon/change.h"

#include <string.h>

#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/refresh.h"
#include "daemon/supervise.h"
#include "domain/xml.h"

struct change {
	struct request *request;
	const struct change_ops *ops;
	void *arg;
	bool live, config;
	/* the thread's: from the definition's text to the new one */
	char *text, *xml;
	struct machine *machine;
	GError *err;
};

static void change_free(struct change *c)
{
	if (c->ops->free)
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

static void answer(struct change *c)
{
	c->ops->answer(c->request, c->arg);
	change_free(c);
}

static void make_definition(void *arg)
{
	struct change *c = arg;
	AUTO(report) r = report_new(NULL, false, true);
	AUTO(report) again = report_new(NULL, false, true);

	c->machine = machine_from_xml(c->text, strlen(c->text), r, &c->err);
	if (!c->machine || !c->ops->edit(c->machine, c->arg, &c->err))
		return;
	machine_check(c->machine, again);
	if (report_ok(again, &c->err))
		c->xml = machine_to_xml(c->machine, XML_INACTIVE | XML_SECRETS);
}

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
	answer(c);
}

/* Whoever asks next is told what is. */
static void refreshed(void *arg, const GError *unused)
{
	struct change *c = arg;
	g_autoptr(GError) err = g_steal_pointer(&c->err);

	if (err)
		fail(c, err);
	else if (c->config)     /* the machine has done it, whatever else went wrong */
		store_put(c->request->kvmd->store, c->request->dom->uuid, c->xml, stored, c);
	else
		answer(c);
}

void change_done(struct change *c, const GError *err)
{
	c->err = err ? g_error_copy(err) : NULL;
	if (c->live && c->request->dom->link)
		dom_refresh(c->request->dom, refreshed, c);
	else
		refreshed(c, NULL);
}

static void asked(void *arg, json_object *reply, const GError *err)
{
	change_done(arg, err);
}

void change_ask(struct change *c, const char *execute, json_object *args)
{
	link_call(c->request->dom->link, execute, args, NULL, 0, c->request->kvmd->config->answer_timeout, asked, c);
}

static void apply(struct change *c)
{
	g_autoptr(GError) err = NULL;

	if (dom_can_ask(c->request->dom, &err))
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
		change_done(c, NULL);
}

bool change_scope(const struct request *r, bool want_live, bool want_config, bool current, bool *live, bool *config, GError **err)
{
	bool active = dom_is_active(r->dom);

	if (current && (want_live || want_config))
		return kerr_set(err, KERR_ARGS, "--current is either the machine or its definition: leave out --live and --config");
	*live = want_live || (!want_config && active);
	*config = want_config || (!want_live && !active);
	if (*live && !active)
		return kerr_set(err, KERR_STATE, "the domain is not running: leave out --live");
	if (*config && (!r->dom->text || r->dom->trouble))
		return kerr_set(err, KERR_STATE, "it has no definition that could be changed");
	if (*config && r->dom->writing)
		return kerr_set(err, KERR_BUSY, "another change of this definition is being written: try again");
	return true;
}

void change_run(struct request *r, bool live, bool config, const struct change_ops *ops, void *arg)
{
	struct change *c = g_new0(struct change, 1);

	*c = (struct change){ .request = r, .ops = ops, .arg = arg, .live = live, .config = config };
	if (!config) {
		apply(c);
		return;
	}
	r->dom->writing = true;
	c->text = g_strdup(r->dom->text);
	work_run(r->kvmd->work, make_definition, made, c);
}
