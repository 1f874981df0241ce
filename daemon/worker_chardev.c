/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Another back end for a serial port, console or channel that is in use: chardev-update, by which kvmd sends what it has
 * opened, and QMP's chardev-change at the machine's own socket, which knows what needs no opening: null, a file of add-fd's
 * sets, a socket of getfd.
 */
#include "daemon/worker_chardev.h"

#include <string.h>

#include "daemon/worker_plug.h"
#include "daemon/worker_qmp.h"
#include "daemon/worker_serve.h"
#include "devices/chr.h"
#include "domain/chardev_backend.h"
#include "domain/commands_chardev.h"
#include "domain/json.h"
#include "domain/machine.h"

#define FD "backend"

/* By alias, among those that have a host side of their own. */
static struct chardev *find_chardev(struct worker *w, const char *label, GError **err)
{
	struct devices *d = &w->machine->devices;
	GPtrArray *lists[] = { d->serials, d->consoles, d->channels };
	const char *bare = g_str_has_prefix(label, "char") ? label + strlen("char") : label;     /* libvirt's name for it */

	for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
		list_each(chardev, c, lists[i])
			if (!chardev_is_serial_console(d, c) && (!g_strcmp0(c->alias, label) || !g_strcmp0(c->alias, bare) || (c->target.name && !strcmp(c->target.name, label))))
				return c;
	return kerr_set(err, KERR_ARGS, "Chardev '%s' does not exist", label), NULL;
}

static void swap_sources(struct chardev *a, struct chardev *b)
{
	struct chardev_source source = a->source;
	char *tty = a->tty;

	a->type = b->type;
	a->protocol = b->protocol;
	a->source = b->source;
	a->tty = b->tty;
	b->source = source;
	b->tty = tty;
}

/* Changes it, and the <console> that says again what the first <serial> says. `now` has the new type and source (taken out of it). */
static bool change(struct worker *w, struct chardev *own, struct chardev *now, struct fdset *fds, GError **err)
{
	struct devices *d = &w->machine->devices;
	struct chr *chr = worker_chr(w, own->alias);
	struct chardev *again = list_len(d->consoles) ? d->consoles->pdata[0] : NULL;

	if (!chr)
		return kerr_set(err, KERR_UNSUPPORTED, "'%s' has no host side that could be changed", own->alias);
	if (!chr_change(chr, now, fds, err))
		return false;
	swap_sources(own, now);
	if (again && chardev_is_serial_console(d, again) && d->serials->pdata[0] == own) {
		schema_clear(&chardev_source_schema, &again->source);
		schema_copy(&chardev_source_schema, &again->source, &own->source);
		again->type = own->type;
		again->protocol = own->protocol;
		g_free(again->tty);
		again->tty = g_strdup(own->tty);
	}
	plug_changed(w);
	return true;
}

static enum run_result cmd_update(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_chardev_update *a = args;
	struct chardev *own = find_chardev(c->worker, a->id, err), *now;
	struct fdset *fds;
	json_object *o = NULL;
	bool ok;

	if (!own)
		return RUN_FAILED;
	(void)json_object_object_get_ex(raw, "device", &o);
	now = schema_new(&channel_schema);      /* all four have the same rows */
	fds = json_to_struct(&channel_schema, now, o, err) ? plug_take_fds(c, a->names, err) : NULL;
	ok = fds && change(c->worker, own, now, fds, err);
	fdset_free(fds);
	schema_free(&channel_schema, now);
	return ok ? RUN_DONE : RUN_FAILED;
}

bool chardev_take_named(struct client *c, struct chardev *now, struct fdset *fds, GError **err)
{
	const char *path = now->source.path.path;
	int fd;

	if (now->type == CHARDEV_NULL)
		return true;
	if (now->type == CHARDEV_FILE && g_str_has_prefix(path, "/dev/fdset/"))
		fd = qmp_fd_of_set(c->worker, path, false, err);
	else if (now->type == CHARDEV_UNIX && g_str_has_prefix(path, "fd:"))
		fd = client_take_fd(c, path + strlen("fd:"), err);
	else
		return kerr_set(err, KERR_UNSUPPORTED, SERVE_NOT "start it, or hand the descriptor over: a file by add-fd "
			"(out=/dev/fdset/N), a socket by getfd (addr of type fd)");
	now->source.path.fd = g_strdup(FD);
	return fd >= 0 && fdset_add(fds, FD, fd, err);
}

static enum run_result qmp_chardev_change(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_chardev_change *a = args;
	struct chardev *own = find_chardev(c->worker, a->id, err), *now;
	struct fdset *fds;
	bool ok;

	if (!own)
		return RUN_FAILED;
	now = schema_new(&channel_schema);
	fds = fdset_new();
	ok = chardev_of_backend(a->backend, now, err) && chardev_take_named(c, now, fds, err) && change(c->worker, own, now, fds, err);
	fdset_free(fds);
	schema_free(&channel_schema, now);
	if (ok)
		*reply = json_object_new_object();
	return ok ? RUN_DONE : RUN_FAILED;
}

const struct worker_binding chardev_bindings[] = {
	{ "chardev-update", cmd_update },
	{ "chardev-change", qmp_chardev_change },
	{ NULL },
};
