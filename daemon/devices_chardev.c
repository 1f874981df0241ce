/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Another back end for a character device: QMP's chardev-change for those who ask kvmd, and what update-device needs of it. The
 * machine gets descriptors by chardev-update. The <console> that says again what the first <serial> says is that.
 */
#include <string.h>

#include "daemon/commands.h"
#include "daemon/devices.h"
#include "daemon/refresh.h"
#include "daemon/supervise.h"
#include "domain/chardev_backend.h"
#include "domain/commands_chardev.h"
#include "domain/device_xml.h"

bool chardev_is(const struct field *row)
{
	return row->sub == &serial_schema || row->sub == &console_schema || row->sub == &channel_schema;
}

/* dev with the host side of `like`. New. */
static struct chardev *with_source(const struct field *row, const struct chardev *dev, const struct chardev *like)
{
	struct chardev *c = schema_dup(row->sub, dev);

	chardev_copy_host(c, like);
	g_clear_pointer(&c->tty, g_free);
	return c;
}

/* The first <serial> in place of the <console> that repeats it. */
static void *real_one(struct machine *m, const struct field **row, void *dev)
{
	if ((*row)->sub != &console_schema || !chardev_is_serial_console(&m->devices, dev))
		return dev;
	*row = device_row(&serial_schema);
	return m->devices.serials->pdata[0];
}

/* By what chardev-add called it. */
static void *made_as(struct machine *m, const char *label, const struct field **row)
{
	list_each(chardev, c, m->devices.channels) {
		if (g_strcmp0(c->made, label))
			continue;
		*row = device_row(&channel_schema);
		return c;
	}
	return NULL;
}

void *chardev_device(const struct chardev_ask *a, struct machine *m, const struct field **row, void **old, GError **err)
{
	const char *bare = g_str_has_prefix(a->label, "char") ? a->label + strlen("char") : a->label;   /* libvirt's name for it */
	void *dev = device_by_alias(&m->devices, a->label, row);

	if (!dev)
		dev = device_by_alias(&m->devices, bare, row);
	if (!dev)
		dev = made_as(m, a->label, row);
	if (!dev || !chardev_is(*row))
		return kerr_set(err, KERR_ARGS, "Chardev '%s' does not exist", a->label), NULL;
	*old = real_one(m, row, dev);
	return with_source(*row, *old, a->like);
}

/* All but the host side stays. */
static bool same_but_source(const struct field *row, const void *old, const void *new, GError **err)
{
	static const char *const may[] = { "type", "source", "others", "tty", "protocol", "made" };
	g_autoptr(GPtrArray) diff = schema_diff(row->sub, old, new);

	for (unsigned i = 0; i < diff->len; i++) {
		const struct difference *d = diff->pdata[i];
		bool ok = !g_strcmp0(d->before, d->after);

		for (size_t k = 0; k < G_N_ELEMENTS(may); k++)
			ok |= g_str_has_prefix(d->path, may[k]) && (!d->path[strlen(may[k])] || strchr("/[", d->path[strlen(may[k])]));
		if (!ok)
			return kerr_set(err, KERR_UNSUPPORTED, "while the machine runs it keeps '%s' (%s, not %s): change the definition (--config)", d->path,
				d->before ? d->before : "none", d->after ? d->after : "none");
	}
	return true;
}

void *chardev_match(struct machine *m, const struct field **row, void *new, bool live, void **replacement, GError **err)
{
	struct chardev *c = new, *old;
	int type = c->type;

	c->type = CHARDEV_ABSENT;       /* it may be another one now */
	old = device_match(&m->devices, *row, new, err);
	c->type = type;
	*replacement = new;
	if (!old)
		return NULL;
	if (real_one(m, row, old) != old) {
		old = m->devices.serials->pdata[0];
		*replacement = with_source(*row, old, c);
		schema_free(&console_schema, new);
		return old;
	}
	if (!live)
		return old;
	device_forget(*row, new);
	device_inherit(*row, new, old);
	if (!c->target.type)
		c->target.type = g_strdup(old->target.type);
	if (!c->target.model)
		c->target.model = g_strdup(old->target.model);
	if (c->target.port == CHARDEV_PORT_NONE)
		c->target.port = old->target.port;
	return same_but_source(*row, old, new, err) ? old : NULL;
}

bool chardev_opens(const struct chardev *old, const struct chardev *new)
{
	return !chardev_same_host(old, new);
}

void chardev_ask_free(struct chardev_ask *a)
{
	if (!a)
		return;
	schema_free(&channel_schema, a->like);
	g_free(a->label);
	g_free(a);
}

struct asking { struct request *request; struct chardev_ask *ask; };

/* d->live is what the machine is, also if a device_add of the same client has just been answered. */
static void looked(void *arg, const GError *err)
{
	g_autofree struct asking *a = arg;
	g_autoptr(GError) gone = NULL;

	if (!err && dom_can_ask(a->request->dom, &gone)) {
		device_change_chardev(a->request, a->ask);
		return;
	}
	request_fail(a->request, err ? err : gone);
	chardev_ask_free(a->ask);
}

static void qmp_chardev_change(struct request *r)
{
	const struct args_chardev_change *args = r->args;
	struct chardev_ask *a = g_new0(struct chardev_ask, 1);
	g_autoptr(GError) err = NULL;
	struct asking *asking;
	const char *path;

	a->label = g_strdup(args->id);
	a->like = schema_new(&channel_schema);
	if (!chardev_of_backend(args->backend, a->like, &err)) {
		request_fail(r, err);
		chardev_ask_free(a);
		return;
	}
	path = a->like->source.path.path;
	if (path && (g_str_has_prefix(path, "/dev/fdset/") || g_str_has_prefix(path, "fd:"))) {
		request_forward(r, NULL, 0);
		chardev_ask_free(a);
		return;
	}
	if (!r->dom->link) {
		device_change_chardev(r, a);
		return;
	}
	asking = g_new(struct asking, 1);
	*asking = (struct asking){ r, a };
	dom_refresh(r->dom, looked, asking);
}

const struct command_binding chardev_opening[] = {
	{ "chardev-change", qmp_chardev_change },
	{ NULL },
};
