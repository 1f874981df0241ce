/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attach-device, detach-device, update-device and their short forms.
 *
 * The change is prepared and checked first, for the machine and for the definition (devices_prepare.c, beside the main loop),
 * then the machine's process asks the guest, then the definition goes to disk: a guest that refuses changes nothing. When kvmd
 * dies meanwhile the process goes on, and its events COMMAND_BEGUN and COMMAND_DONE tell the result to the next kvmd's journal.
 */
#include "daemon/devices.h"

#include <string.h>
#include <unistd.h>

#include "daemon/change.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/net.h"
#include "daemon/refresh.h"
#include "daemon/supervise.h"
#include "daemon/wire.h"
#include "domain/commands_devices.h"
#include "domain/device_xml.h"

#define PATIENCE 9              /* times the time-out that a guest may take, with signs of progress */

static void change_free(struct device_change *c)
{
	g_free(c->xml);
	g_free(c->alias);
	g_free(c->image);
	g_free(c->text);
	g_free(c->found);
	g_free(c->mac);
	g_free(c->definition_xml);
	machine_free(c->machine);
	machine_free(c->definition);
	launch_free(c->launch);
	json_object_put(c->device);
	g_clear_error(&c->err);
	g_free(c);
}

static void fail(struct device_change *c, const GError *err)
{
	for (unsigned i = 0; c->launch && i < c->launch->sockets->len; i++)
		(void)unlink(g_ptr_array_index(c->launch->sockets, i));
	if (c->config)
		c->request->dom->writing = false;
	request_fail(c->request, err);
	change_free(c);
}

static void answer(struct device_change *c)
{
	struct tell_device t = { .alias = c->found };

	request_reply(c->request, &t);
	change_free(c);
}

static void stored(void *arg, const GError *err)
{
	struct device_change *c = arg;
	struct dom *d = c->request->dom;
	json_object *data;

	if (err) {
		fail(c, err);
		return;
	}
	d->writing = false;
	dom_set_definition(d, c->definition_xml, c->definition, NULL);
	data = json_object_new_object();
	json_object_object_add(data, "created", json_object_new_boolean(false));
	dom_event(d, "DEFINED", data);
	answer(c);
}

static void store_definition(struct device_change *c)
{
	if (c->config)
		store_put(c->request->kvmd->store, c->request->dom->uuid, c->definition_xml, stored, c);
	else
		answer(c);
}

/* Whoever asks next is told what is. */
static void refreshed(void *arg, const GError *unused)
{
	struct device_change *c = arg;
	g_autoptr(GError) err = g_steal_pointer(&c->err);
	struct dom *d = c->request->dom;

	if (d->link && d->live && !g_strcmp0(c->kind, "interface"))
		net_watch(d);           /* its helper too, or no longer */
	if (err)
		fail(c, err);
	else
		store_definition(c);    /* the guest has done it, whatever else went wrong */
}

static void guest_done(void *arg, json_object *reply, const GError *err)
{
	struct device_change *c = arg;

	c->err = err ? g_error_copy(err) : NULL;
	if (!err && c->launch)
		g_ptr_array_set_size(c->launch->sockets, 0);    /* the machine's now */
	if (c->request->dom->link)
		dom_refresh(c->request->dom, refreshed, c);
	else
		refreshed(c, NULL);
}

static json_object *call_args(const struct device_change *c)
{
	json_object *args = json_object_new_object(), *names;
	g_autofree char *id = g_strdup_printf("%08x%08x", g_random_int(), g_random_int());

	if (c->verb != DEVICE_DETACH) {
		json_object_object_add(args, "kind", json_object_new_string(c->kind));
		json_object_object_add(args, "device", json_object_get(c->device));
	}
	if (c->verb == DEVICE_UPDATE)
		return args;
	json_object_object_add(args, "timeout", json_object_new_int64((int64_t)c->timeout * 1000));
	json_object_object_add(args, "id", json_object_new_string(id));
	if (c->verb == DEVICE_DETACH) {
		json_object_object_add(args, "alias", json_object_new_string(c->found));
		json_object_object_add(args, "force", json_object_new_boolean(c->force));
		return args;
	}
	names = json_object_new_array();
	for (unsigned i = 0; i < c->launch->fds->len; i++) {
		json_object *o = json_object_new_object();

		json_object_object_add(o, "name", json_object_new_string(((const struct launch_fd *)c->launch->fds->pdata[i])->name));
		json_object_array_add(names, o);
	}
	json_object_object_add(args, "names", names);
	return args;
}

static void ask_guest(struct device_change *c)
{
	struct request *r = c->request;
	unsigned n = c->launch ? c->launch->fds->len : 0;
	static const char *const executes[] = { "device-attach", "device-detach", "device-update" };
	uint64_t limit = (uint64_t)c->timeout * 1000 * PATIENCE + r->kvmd->config->answer_timeout;
	g_autoptr(GError) err = NULL;
	int fds[WIRE_FDS_MAX];

	if (dom_can_ask(r->dom, &err) && n > WIRE_FDS_MAX)
		kerr_set(&err, KERR_LIMIT, "it needs %u files at once; %u are possible", n, WIRE_FDS_MAX);
	if (err) {
		fail(c, err);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		fds[i] = ((const struct launch_fd *)c->launch->fds->pdata[i])->fd;
	link_call(r->dom->link, executes[c->verb], call_args(c), fds, n,
		(unsigned)MIN(limit, G_MAXINT), guest_done, c);
	if (c->launch)
		launch_close_fds(c->launch);
}

static void prepared(void *arg)
{
	struct device_change *c = arg;

	if (c->err) {
		g_autoptr(GError) err = g_error_copy(c->err);

		fail(c, err);
	} else if (c->live) {
		ask_guest(c);
	} else {
		store_definition(c);
	}
}

/* --persistent: as --config, and --live too if it runs. */
static bool scope(const struct request *r, const struct ask_where *w, bool *live, bool *config, GError **err)
{
	if (w->current && w->persistent)
		return kerr_set(err, KERR_ARGS, "--current is either the machine or its definition: leave out --persistent");
	return change_scope(r, w->live || (w->persistent && dom_is_active(r->dom)), w->config || w->persistent, w->current, live, config, err);
}

/* xml, alias or image: what is meant (taken). */
static void begin(struct request *r, enum device_verb verb, const struct ask_where *where, uint32_t timeout, bool force, char *xml, char *alias,
	char *image)
{
	struct device_change *c = g_new0(struct device_change, 1);
	struct dom *d = r->dom;
	g_autoptr(GError) err = NULL;

	*c = (struct device_change){ .request = r, .verb = verb, .timeout = timeout, .force = force, .xml = xml, .alias = alias, .image = image };
	if (!scope(r, where, &c->live, &c->config, &err) || (c->live && !dom_can_ask(d, &err)) ||
	    (c->live && !d->live && !kerr_set(&err, KERR_STATE, "what runs is not known just now: try again"))) {
		c->config = false;
		fail(c, err);
		return;
	}
	if (c->live)
		c->machine = machine_dup(d->live);
	if (c->live && verb == DEVICE_ATTACH) {
		c->launch = launch_new();
		c->launch->paths = r->kvmd->paths;
		c->launch->config = r->kvmd->config;
		c->launch->null_fd = r->kvmd->null_fd;
		c->launch->name = g_strdup(d->name);
		c->launch->uuid = g_strdup(d->uuid);
		c->launch->machines = doms_by_pid(r->kvmd->doms);
	}
	if (c->config) {
		d->writing = true;
		c->text = g_strdup(d->text);
	}
	work_run(r->kvmd->work, device_change_prepare, prepared, c);
}

/* --- the commands --- */

static void attach_xml(struct request *r, char *xml, const GError *err, const struct ask_where *where, uint32_t timeout)
{
	if (xml)
		begin(r, DEVICE_ATTACH, where, timeout, false, xml, NULL, NULL);
	else
		request_fail(r, err);
}

static void cmd_attach_device(struct request *r)
{
	const struct ask_attach_device *a = r->args;

	attach_xml(r, g_strdup(a->xml), NULL, &a->where, a->timeout);
}

static void cmd_attach_disk(struct request *r)
{
	const struct ask_attach_disk *a = r->args;
	g_autoptr(GError) err = NULL;
	char *xml = device_disk_xml(a, &err);

	attach_xml(r, xml, err, &a->where, a->timeout);
}

static void cmd_attach_interface(struct request *r)
{
	const struct ask_attach_interface *a = r->args;
	g_autoptr(GError) err = NULL;
	char *xml = device_interface_xml(a, &err);

	attach_xml(r, xml, err, &a->where, a->timeout);
}

static void cmd_update_device(struct request *r)
{
	const struct ask_update_device *a = r->args;

	begin(r, DEVICE_UPDATE, &a->where, 0, false, g_strdup(a->xml), NULL, NULL);
}

static void cmd_detach_device(struct request *r)
{
	const struct ask_detach_device *a = r->args;

	begin(r, DEVICE_DETACH, &a->where, a->timeout, a->force, g_strdup(a->xml), NULL, NULL);
}

static void cmd_detach_alias(struct request *r)
{
	const struct ask_detach_alias *a = r->args;

	begin(r, DEVICE_DETACH, &a->where, a->timeout, a->force, NULL, g_strdup(a->alias), NULL);
}

static void cmd_detach_disk(struct request *r)
{
	const struct ask_detach_disk *a = r->args;
	g_autofree char *target = g_markup_escape_text(a->target, -1);
	bool image = strchr(a->target, '/');

	begin(r, DEVICE_DETACH, &a->where, a->timeout, a->force, image ? NULL : g_strdup_printf("<disk><target dev='%s'/></disk>", target), NULL,
		image ? g_strdup(a->target) : NULL);
}

static void cmd_detach_interface(struct request *r)
{
	const struct ask_detach_interface *a = r->args;
	g_autofree char *type = g_markup_escape_text(a->type, -1), *mac = a->mac ? g_markup_escape_text(a->mac, -1) : NULL;
	g_autofree char *child = mac ? g_strdup_printf("<mac address='%s'/>", mac) : g_strdup("");

	begin(r, DEVICE_DETACH, &a->where, a->timeout, a->force, g_strdup_printf("<interface type='%s'>%s</interface>", type, child), NULL, NULL);
}

const struct command_binding devices_bindings[] = {
	{ "attach-device", cmd_attach_device },
	{ "attach-disk", cmd_attach_disk },
	{ "attach-interface", cmd_attach_interface },
	{ "update-device", cmd_update_device },
	{ "detach-device", cmd_detach_device },
	{ "detach-device-alias", cmd_detach_alias },
	{ "detach-disk", cmd_detach_disk },
	{ "detach-interface", cmd_detach_interface },
	{ NULL },
};
