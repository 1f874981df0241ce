/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A channel for a machine that has no virtio-serial controller with room for it: the controller is plugged, then, when the guest
 * has it, the channel. For whoever asked it is one change with one answer; a channel that does not come takes its
 * controller along. Main thread.
 */
#include "daemon/worker_plug.h"
#include "domain/json.h"
#include "domain/machine.h"

struct with {
	struct waiter *waiter;
	const struct plug_kind *kind;
	void *config;                   /* NULL: it has been taken */
	struct fdset *fds;
	char *alias, *controller, *id;
	unsigned timeout_ms;
	GError *err;                    /* why there is no channel */
};

static void with_free(struct with *x)
{
	if (x->config)
		schema_free(x->kind->schema, x->config);
	fdset_free(x->fds);
	g_clear_error(&x->err);
	g_free(x->alias);
	g_free(x->controller);
	g_free(x->id);
	g_free(x);
}

static void answer(struct worker *w, struct with *x)
{
	struct tell_device t = { .alias = x->alias };

	plug_command_event(w, "attach-device", x->id, x->alias, true, x->err);
	waiter_answer(x->waiter, x->err ? NULL : json_from_struct(&tell_device_schema, &t, JSON_ALL), x->err);
	with_free(x);
}

static void stays(struct with *x, const GError *why)
{
	g_autofree char *was = g_strdup(x->err->message);
	int code = x->err->code;
	GQuark domain = x->err->domain;

	g_clear_error(&x->err);
	x->err = g_error_new(domain, code, "%s; the controller '%s' that came for it stays: %s", was, x->controller, why->message);
}

/* The controller has gone again. */
static void taken_back(struct worker *w, const GError *err, void *arg)
{
	struct with *x = arg;

	if (err)
		stays(x, err);
	answer(w, x);
}

static void take_back(struct worker *w, struct with *x)
{
	g_autoptr(GError) err = NULL;

	if (plug_detach_then(w, x->controller, x->timeout_ms, taken_back, x, &err))
		return;
	stays(x, err);
	answer(w, x);
}

static void device_came(struct worker *w, const GError *err, void *arg)
{
	struct with *x = arg;

	if (!err) {
		answer(w, x);
		return;
	}
	x->err = g_error_copy(err);
	take_back(w, x);
}

static void controller_came(struct worker *w, const GError *err, void *arg)
{
	struct with *x = arg;

	if (err) {
		x->err = g_error_copy(err);
		g_prefix_error(&x->err, "its controller '%s': ", x->controller);
		answer(w, x);
		return;
	}
	if (!plug_attach_then(w, x->kind, g_steal_pointer(&x->config), x->fds, x->timeout_ms, device_came, x, &x->err))
		take_back(w, x);
}

bool plug_attach_with(struct client *client, void *controller, const struct plug_kind *k, void *config, struct fdset *fds, unsigned timeout, const char *id,
	GError **err)
{
	const struct plug_kind *kind = plug_kind_of(&controller_schema);
	struct worker *w = client->worker;
	struct with *x = g_new0(struct with, 1);

	*x = (struct with){ .kind = k, .config = config, .fds = fds, .alias = g_strdup(plug_base(k, config)->alias),
		.controller = g_strdup(plug_base(kind, controller)->alias), .id = g_strdup(id), .timeout_ms = timeout };
	if (!plug_attach_then(w, kind, controller, NULL, timeout, controller_came, x, err)) {
		with_free(x);
		return false;
	}
	x->waiter = waiter_new(client);
	plug_command_event(w, "attach-device", id, x->alias, false, NULL);
	return true;
}
