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
#include "domain/commands_devices.h"
#include "domain/json.h"
#include "domain/machine.h"

#define FD "backend"

/* By alias, or as chardev-add called it, among those that have a host side of their own. */
static struct chardev *find_chardev(struct worker *w, const char *name, GError **err)
{
	struct devices *d = &w->machine->devices;
	const struct chardev *made;
	const char *user = chardev_made_user(w, name, &made), *label = user ? user : name;
	GPtrArray *lists[] = { d->serials, d->consoles, d->channels };
	const char *bare = g_str_has_prefix(label, "char") ? label + strlen("char") : label;     /* libvirt's name for it */

	for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
		list_each(chardev, c, lists[i])
			if (!chardev_is_serial_console(d, c) && (!g_strcmp0(c->alias, label) || !g_strcmp0(c->alias, bare) || (c->target.name && !strcmp(c->target.name, label))))
				return c;
	return kerr_set(err, KERR_ARGS, made ? "Chardev '%s': no device has it yet" : "Chardev '%s' does not exist", name), NULL;
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
	chardev_swap_host(own, now);
	if (again && chardev_is_serial_console(d, again) && d->serials->pdata[0] == own) {
		chardev_copy_host(again, own);
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

/* --- connections that are made again --- */

void chardevs_look(struct worker *w)
{
	struct devices *d = &w->machine->devices;
	GPtrArray *lists[] = { d->serials, d->consoles, d->channels };
	bool changed = false;

	for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
		list_each(chardev, c, lists[i]) {
			struct chr *chr = chardev_reconnects(c) && !chardev_is_serial_console(d, c) ? worker_chr(w, c->alias) : NULL;
			struct chr_info info;

			if (!chr)
				continue;
			chr_info(chr, &info);
			changed |= c->source.lost == info.open;
			c->source.lost = !info.open;
		}
	if (changed)
		plug_changed(w);
}

static enum run_result cmd_reconnect(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct chardev *own = find_chardev(c->worker, ((const struct args_netdev_del *)args)->id, err);
	struct chr *chr = own ? worker_chr(c->worker, own->alias) : NULL;
	int fd;

	if (!own)
		return RUN_FAILED;
	if (c->fds_n != 1 || !chr)
		return kerr_set(err, KERR_ARGS, "a connection that is lost, and one descriptor"), RUN_FAILED;
	fd = c->fds[0];
	c->fds[0] = -1;
	if (!chr_reconnect(chr, fd, err))
		return RUN_FAILED;
	chardevs_look(c->worker);
	return RUN_DONE;
}

/* --- ringbuf --- */

static struct chr *find_ring(struct worker *w, const char *label, GError **err)
{
	const struct chardev *own = find_chardev(w, label, err);
	struct chr *chr = own ? worker_chr(w, own->alias) : NULL;

	if (own && !chr)
		kerr_set(err, KERR_ARGS, "'%s' is not a ringbuf device", label);
	return chr;
}

static enum run_result qmp_ringbuf_write(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_ringbuf_write *a = args;
	struct chr *chr = find_ring(c->worker, a->device, err);
	g_autofree uint8_t *bytes = NULL;
	gsize n = strlen(a->data);

	if (!chr)
		return RUN_FAILED;
	if (a->format == RINGBUF_BASE64) {
		bytes = g_base64_decode(a->data, &n);
		if (!bytes || (!n && *a->data))
			return kerr_set(err, KERR_ARGS, "'data' is no base64"), RUN_FAILED;
	}
	if (!chr_ringbuf_write(chr, bytes ? bytes : (const uint8_t *)a->data, n, err)) {
		g_prefix_error(err, "%s: ", a->device);
		return RUN_FAILED;
	}
	return RUN_DONE;
}

static enum run_result qmp_ringbuf_read(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_ringbuf_read *a = args;
	struct chr *chr = find_ring(c->worker, a->device, err);
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	g_autofree char *text = NULL;

	if (!chr)
		return RUN_FAILED;
	if (!a->size)
		return kerr_set(err, KERR_ARGS, "size must be greater than zero"), RUN_FAILED;
	if (!chr_ringbuf_read(chr, MIN(a->size, RINGBUF_READ_MAX), bytes, err)) {
		g_prefix_error(err, "%s: ", a->device);
		return RUN_FAILED;
	}
	g_byte_array_append(bytes, (const uint8_t *)"", 1);      /* there are bytes to look at */
	g_byte_array_set_size(bytes, bytes->len - 1);
	text = a->format == RINGBUF_BASE64 ? g_base64_encode(bytes->data, bytes->len) : g_utf8_make_valid((const char *)bytes->data, bytes->len);
	*reply = json_object_new_string(text);
	return RUN_DONE;
}

const struct worker_binding chardev_bindings[] = {
	{ "chardev-update", cmd_update },
	{ "chardev-change", qmp_chardev_change },
	{ "chardev-reconnect", cmd_reconnect },
	{ "ringbuf-write", qmp_ringbuf_write },
	{ "ringbuf-read", qmp_ringbuf_read },
	{ NULL },
};
