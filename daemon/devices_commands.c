/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * attach-device, detach-device, update-device and their short forms.
 *
 * The steps are daemon/change.h's; what is made and checked beside the main loop is in devices_prepare.c.
 */
#include "daemon/devices.h"

#include <string.h>

#include "daemon/change.h"
#include "daemon/kvmd.h"
#include "daemon/net.h"
#include "daemon/sockets.h"
#include "daemon/wire.h"
#include "domain/commands_devices.h"
#include "domain/device_xml.h"

#define PATIENCE 9              /* times the time-out that a guest may take, with signs of progress */
#define EMPTYING 65             /* more of them for a device that it empties first */

static void device_change_free(void *arg)
{
	struct device_change *c = arg;

	for (unsigned i = 0; c->launch && i < c->launch->sockets->len; i++)
		socket_drop(c->dir, g_ptr_array_index(c->launch->sockets, i));  /* the machine does not have it */
	g_free(c->dir);
	g_free(c->xml);
	g_free(c->alias);
	g_free(c->image);
	medium_ask_free(c->medium);
	chardev_ask_free(c->chardev);
	g_free(c->pty);
	g_free(c->found);
	g_free(c->mac);
	g_clear_pointer(&c->notes, g_ptr_array_unref);
	machine_free(c->machine);
	launch_free(c->launch);
	json_object_put(c->device);
	json_object_put(c->controller);
	g_free(c);
}

static void answer(struct request *r, bool live, void *arg)
{
	const struct device_change *c = arg;
	g_autoptr(GPtrArray) notes = g_ptr_array_new_with_free_func(g_free);

	if (c->chardev) {
		json_object *o = json_object_new_object();

		if (c->pty)
			json_object_object_add(o, "pty", json_object_new_string(c->pty));
		request_reply_json(r, o, NULL, 0);
		return;
	}
	for (unsigned i = 0; c->notes && i < c->notes->len; i++) {
		struct device_note *n = g_new(struct device_note, 1);

		n->text = c->notes->pdata[i];   /* borrowed */
		g_ptr_array_add(notes, n);
	}
	request_reply(r, r->command->reply ? &(struct tell_device){ .alias = c->found, .notes = notes } : NULL);
}

static void applied(struct dom *d, bool done, void *arg)
{
	struct device_change *c = arg;

	if (done && c->launch)
		g_ptr_array_set_size(c->launch->sockets, 0);    /* the machine's now */
	if (d->link && d->live && !g_strcmp0(c->kind, "interface"))
		net_watch(d);           /* its helper too, or no longer */
}

static json_object *call_args(const struct device_change *c)
{
	json_object *args = json_object_new_object(), *names;

	if (c->is_chardev) {
		json_object_object_add(args, "id", json_object_new_string(c->found));
		json_object_object_add(args, "device", json_object_get(c->device));
	} else if (c->verb != DEVICE_DETACH) {
		json_object_object_add(args, "kind", json_object_new_string(c->kind));
		json_object_object_add(args, "device", json_object_get(c->device));
	}
	if (c->controller)
		json_object_object_add(args, "controller", json_object_get(c->controller));
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

static void apply(struct change *change, struct dom *d, void *arg)
{
	struct device_change *c = arg;
	unsigned n = c->launch ? c->launch->fds->len : 0;
	g_autoptr(GError) err = NULL;
	int fds[WIRE_FDS_MAX];

	if (n > WIRE_FDS_MAX) {
		kerr_set(&err, KERR_LIMIT, "it needs %u files at once; %u are possible", n, WIRE_FDS_MAX);
		change_done(change, err);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		fds[i] = ((const struct launch_fd *)c->launch->fds->pdata[i])->fd;
	if (c->is_chardev && !c->opens)
		change_done(change, NULL);
	else if (c->verb == DEVICE_UPDATE)
		change_ask_fds(change, c->is_chardev ? "chardev-update" : "device-update", call_args(c), fds, n);
	else
		change_ask_guest(change, c->verb == DEVICE_ATTACH ? "device-attach" : "device-detach", call_args(c), c->timeout,
			(c->controller ? 3 : 1) * PATIENCE + (c->verb == DEVICE_DETACH && !strcmp(c->kind, "memory") ? EMPTYING : 0), fds, n);
	if (c->launch)
		launch_close_fds(c->launch);
}

/* xml, alias, image, medium or chardev: what is meant (taken). */
static void begin(struct request *r, enum device_verb verb, const struct ask_scope *given, bool persistent, uint32_t timeout, bool force,
	char *xml, char *alias, char *image, struct medium_ask *medium, struct chardev_ask *chardev)
{
	static const struct change_ops ops = { device_change_prepare, device_change_edit, apply, applied, answer, device_change_free };
	struct device_change *c = g_new0(struct device_change, 1);
	/* --persistent: as --config, and --live too if it runs */
	struct ask_scope meant, asked = { given->live || (persistent && dom_is_active(r->dom)), given->config || persistent, given->current };
	g_autoptr(GError) err = NULL;
	struct dom *d = r->dom;

	*c = (struct device_change){ .verb = verb, .timeout = timeout, .force = force, .xml = xml, .alias = alias, .image = image, .medium = medium, .chardev = chardev,
		.dir = dom_run_dir(d) };
	if (given->current && persistent)
		kerr_set(&err, KERR_ARGS, "--current is either the machine or its definition: leave out --persistent");
	if (err || !change_scope(r, &asked, &meant, &err)) {
		request_fail(r, err);
		device_change_free(c);
		return;
	}
	if (meant.live)
		c->machine = machine_dup(d->live);
	if (meant.live && verb != DEVICE_DETACH) {
		c->launch = launch_new();
		c->launch->paths = r->kvmd->paths;
		c->launch->config = r->kvmd->config;
		c->launch->null_fd = r->kvmd->null_fd;
		c->launch->ram_fs = r->kvmd->ram_fs;
		c->launch->name = g_strdup(d->name);
		c->launch->uuid = g_strdup(d->uuid);
		c->launch->machines = doms_by_pid(r->kvmd->doms);
	}
	change_run(r, &meant, &ops, c);
}

void device_change_medium(struct request *r, const struct ask_scope *scope, struct medium_ask *m)
{
	begin(r, DEVICE_UPDATE, scope, false, 0, false, NULL, NULL, NULL, m, NULL);
}

void device_change_chardev(struct request *r, struct chardev_ask *a)
{
	static const struct ask_scope live = { .live = true };

	begin(r, DEVICE_UPDATE, &live, false, 0, false, NULL, NULL, NULL, NULL, a);
}

/* --- the commands --- */

static void attach_xml(struct request *r, char *xml, const GError *err, const struct ask_scope *scope, bool persistent, uint32_t timeout)
{
	if (xml)
		begin(r, DEVICE_ATTACH, scope, persistent, timeout, false, xml, NULL, NULL, NULL, NULL);
	else
		request_fail(r, err);
}

static void cmd_attach_device(struct request *r)
{
	const struct ask_attach_device *a = r->args;

	attach_xml(r, g_strdup(a->xml), NULL, &a->scope, a->persistent, a->timeout);
}

static void cmd_attach_disk(struct request *r)
{
	const struct ask_attach_disk *a = r->args;
	g_autoptr(GError) err = NULL;
	char *xml = device_disk_xml(a, &err);

	attach_xml(r, xml, err, &a->scope, a->persistent, a->timeout);
}

static void cmd_attach_interface(struct request *r)
{
	const struct ask_attach_interface *a = r->args;
	g_autoptr(GError) err = NULL;
	char *xml = device_interface_xml(a, &err);

	attach_xml(r, xml, err, &a->scope, a->persistent, a->timeout);
}

static void cmd_update_device(struct request *r)
{
	const struct ask_update_device *a = r->args;

	begin(r, DEVICE_UPDATE, &a->scope, a->persistent, 0, false, g_strdup(a->xml), NULL, NULL, NULL, NULL);
}

static void cmd_detach_device(struct request *r)
{
	const struct ask_detach_device *a = r->args;

	begin(r, DEVICE_DETACH, &a->scope, a->persistent, a->timeout, a->force, g_strdup(a->xml), NULL, NULL, NULL, NULL);
}

static void cmd_detach_alias(struct request *r)
{
	const struct ask_detach_alias *a = r->args;

	begin(r, DEVICE_DETACH, &a->scope, a->persistent, a->timeout, a->force, NULL, g_strdup(a->alias), NULL, NULL, NULL);
}

static void cmd_detach_disk(struct request *r)
{
	const struct ask_detach_disk *a = r->args;
	g_autofree char *target = g_markup_escape_text(a->target, -1);
	bool image = strchr(a->target, '/');

	begin(r, DEVICE_DETACH, &a->scope, a->persistent, a->timeout, a->force, image ? NULL : g_strdup_printf("<disk><target dev='%s'/></disk>", target), NULL,
		image ? g_strdup(a->target) : NULL, NULL, NULL);
}

static void cmd_detach_interface(struct request *r)
{
	const struct ask_detach_interface *a = r->args;
	g_autofree char *type = g_markup_escape_text(a->type, -1), *mac = a->mac ? g_markup_escape_text(a->mac, -1) : NULL;
	g_autofree char *child = mac ? g_strdup_printf("<mac address='%s'/>", mac) : g_strdup("");

	begin(r, DEVICE_DETACH, &a->scope, a->persistent, a->timeout, a->force, g_strdup_printf("<interface type='%s'>%s</interface>", type, child), NULL, NULL, NULL, NULL);
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
