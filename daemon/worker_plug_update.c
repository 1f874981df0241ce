/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device-update: what of a device may change while the guest uses it. Each kind says which rows; its device does it. */
#include <string.h>

#include "daemon/worker_disks.h"
#include "daemon/worker_media.h"
#include "daemon/worker_plug.h"
#include "domain/json.h"

static bool is_among(const char *const *rows, const char *path)
{
	for (const char *const *name = rows; name && *name; name++)
		if (g_str_has_prefix(path, *name) && (!path[strlen(*name)] || path[strlen(*name)] == '/'))
			return true;
	return false;
}

static bool may_change(const struct plug_kind *k, const char *path)
{
	return is_among(k->live, path) || is_among(k->own, path);
}

/* All that differs may; *err names what may not. */
static bool only_live(const struct plug_kind *k, const void *old, const void *new, bool *any, GError **err)
{
	g_autoptr(GPtrArray) diff = schema_diff(k->schema, old, new);
	g_autoptr(GString) names = g_string_new(NULL);

	for (unsigned i = 0; i < diff->len; i++) {
		const struct difference *d = diff->pdata[i];

		if (!g_strcmp0(d->before, d->after))
			continue;       /* a resource's descriptor: its name is of no use any more */
		*any = true;
		if (!may_change(k, d->path))
			g_string_append_printf(names, "%s'%s' (%s, not %s)", names->len ? ", " : "", d->path, d->before ? d->before : "none",
				d->after ? d->after : "none");
	}
	return !names->len || kerr_set(err, KERR_UNSUPPORTED, "while the machine runs it keeps %s: change the definition (--config)", names->str);
}

/* Only what may change is written: the rest is read by other threads. up: what leads to these rows, "" or "target/". */
static void take_over(const struct plug_kind *k, const struct schema *s, const char *up, void *old, const void *new)
{
	for (const struct field *f = s->fields; f->name; f++) {
		g_autofree char *path = g_strconcat(up, f->name, NULL);
		void *to = field_at(f, old);
		const void *from = field_at(f, new);

		if (f->kind->shape == SHAPE_NONE || f->kind->equal(f, to, from))
			continue;
		if (!is_among(k->live, path)) {
			g_autofree char *below = g_strconcat(path, "/", NULL);

			if (f->kind->shape == SHAPE_STRUCT)
				take_over(k, f->sub, below, to, from);
			continue;
		}
		f->kind->clear(f, to);
		f->kind->copy(f, to, from);
	}
}

static bool update(struct worker *w, const struct plug_kind *k, void *old, const void *new, GError **err)
{
	struct device *d = device_find(&w->vm, plug_base(k, old)->alias);
	bool any = false;

	if (!only_live(k, old, new, &any, err))
		return false;
	if (!any)
		return true;
	if (!d || !(k->update || d->ops->update))
		return kerr_set(err, KERR_UNSUPPORTED, "nothing of it can be changed while the machine runs");
	if (k->update ? !k->update(w, d, new, err) : !d->ops->update(d, new, err))
		return false;
	take_over(k, k->schema, "", old, new);
	plug_changed(w);
	return true;
}

/* A drive's: its chain is another one then, which takes a while. */
static bool update_medium(struct client *c, const struct plug_kind *k, struct disk *old, const struct disk *new, struct fdset *fds, json_object *answer, GError **err)
{
	static const char *const rows[] = { "iotune", "type", "source", "driver/format", "backing", "target/tray", NULL };
	const struct plug_kind with_medium = { .schema = k->schema, .live = rows };
	struct device *d = device_find(&c->worker->vm, old->alias);
	bool any;

	if (!only_live(&with_medium, old, new, &any, err))
		return false;
	if (!d || !disk_of_device(d))
		return kerr_set(err, KERR_NO_DEVICE, "there is no such drive '%s'", old->alias);
	if (!media_change(c, d, new, fds, answer, err))
		return false;
	take_over(k, k->schema, "", old, new);
	return true;
}

static enum run_result cmd_update(struct client *client, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_device_update *a = args;
	const struct plug_kind *k = plug_kind_named(a->kind), *found = NULL;
	struct worker *w = client->worker;
	enum run_result res = RUN_FAILED;
	struct tell_device t = { 0 };
	struct fdset *fds;
	void *old, *new;

	if (!k)
		return kerr_set(err, KERR_UNSUPPORTED, "nothing of a <%s> can be changed while the machine runs", a->kind), RUN_FAILED;
	new = plug_parse(k, raw, err);
	fds = new ? plug_take_fds(client, a->names, err) : NULL;
	if (!fds) {
		schema_free(k->schema, new);
		return RUN_FAILED;
	}
	t.alias = plug_base(k, new)->alias;
	old = t.alias ? plug_find(w, t.alias, &found) : NULL;
	if (!old || found != k)
		kerr_set(err, KERR_NO_DEVICE, "there is no such device '%s'", t.alias ? t.alias : "");
	else if (k->schema == &disk_schema && disk_removable(old) && disk_media_differ(old, new))
		res = update_medium(client, k, old, new, fds, json_from_struct(&tell_device_schema, &t, JSON_ALL), err) ? RUN_LATER : RUN_FAILED;
	else
		res = update(w, k, old, new, err) ? RUN_DONE : RUN_FAILED;
	if (res == RUN_DONE)
		*reply = json_from_struct(&tell_device_schema, &t, JSON_ALL);
	schema_free(k->schema, new);
	fdset_free(fds);
	return res;
}

const struct worker_binding plug_update_bindings[] = {
	{ "device-update", cmd_update },
	{ NULL },
};
