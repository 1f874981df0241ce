/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The visit of every resource of a machine, by the tables alone: whatever row is a RESOURCE is found.
 * Two things are known here besides: which devices are only kept (OPTIONAL_DEVICE rows and the console
 * that repeats a serial port), and that a chardev's type says how its path is opened.
 */
#include "domain/machine.h"

#include <string.h>

#define DEPTH_MAX 128           /* steps; a chain of backing images is the deepest there is */

struct step {
	const struct field *f;
	unsigned i;             /* of a list */
};

struct walk {
	const struct machine *m;
	bool (*fn)(struct resource_visit *, void *, GError **);
	void *arg;
	struct step steps[DEPTH_MAX];
	unsigned depth;
};

static char *path_of(const struct walk *w)
{
	GString *s = g_string_new(NULL);

	for (unsigned i = 0; i < w->depth; i++) {
		g_string_append_printf(s, "%s%s", i ? "/" : "", w->steps[i].f->name);
		if (w->steps[i].f->kind->shape == SHAPE_LIST)
			g_string_append_printf(s, "[%u]", w->steps[i].i);
	}
	return g_string_free(s, FALSE);
}

/* What opens this resource; RES_NONE: nobody, it is not visited. chardev: the one whose source it is, or NULL. */
static enum resource_use use_of(const struct field *f, const void *obj,
	const struct chardev *chardev)
{
	const struct resource *res = field_at(f, obj);
	enum resource_use use = f->use;

	if (use == RES_NONE && chardev) {
		use = chardev_is_agent(chardev) ? RES_PAIR : chardev_use(chardev->type, chardev->source.mode);
		if (use != RES_DEVICE && use != RES_LOG && use != RES_PIPE && use != RES_SOCKET_CONNECT)
			return use;
	}
	return res->path ? use : RES_NONE;
}

/* Devices that are in a list kvmd serves, but are themselves only kept. */
static bool only_kept(const struct walk *w, const struct schema *s, const void *entry)
{
	if (s == &console_schema)
		return chardev_is_serial_console(&w->m->devices, entry);
	if (s == &disk_schema)
		return !disk_runs(entry);
	return s == &memdev_schema && ((const struct memdev *)entry)->model != MEMDEV_VIRTIO_MEM;
}

static bool is_chardev(const struct schema *s)
{
	return s == &serial_schema || s == &parallel_schema || s == &console_schema ||
		s == &channel_schema;
}

static bool walk(struct walk *w, const struct schema *s, void *obj,
	const struct schema *parent_schema, void *parent, GError **err);

static bool walk_list(struct walk *w, const struct field *f, GPtrArray *list,
	const struct schema *s, void *obj, GError **err)
{
	for (unsigned i = 0; i < list_len(list); i++) {
		void *entry = g_ptr_array_index(list, i);

		w->steps[w->depth - 1].i = i;
		if (!only_kept(w, f->sub, entry) && !walk(w, f->sub, entry, s, obj, err))
			return false;
	}
	return true;
}

static bool visit(struct walk *w, const struct field *f, const struct schema *s, void *obj,
	const struct schema *parent_schema,
	void *parent, GError **err)
{
	bool source = s == &chardev_source_schema && is_chardev(parent_schema);
	enum resource_use use = use_of(f, obj, source ? parent : NULL);
	g_autofree char *path = NULL;
	struct resource_visit v;

	if (use == RES_NONE || (source && obj != &((struct chardev *)parent)->source))  /* udp's second is opened with the first */
		return true;
	path = path_of(w);
	v = (struct resource_visit){ .res = field_at(f, obj), .field = f, .use = use, .owner = obj, .chardev = source ? parent : NULL,
		.owner_schema = s, .path = path };
	return w->fn(&v, w->arg, err);
}

/* obj, of schema s, stands in parent. The steps lead to obj. */
static bool walk(struct walk *w, const struct schema *s, void *obj,
	const struct schema *parent_schema, void *parent, GError **err)
{
	if (w->depth == DEPTH_MAX)
		return kerr_set(err, KERR_LIMIT, "the machine is nested too deeply");
	for (const struct field *f = s->fields; f->name; f++) {
		void *member = field_at(f, obj);
		bool ok = true;

		if (s == &devices_schema && (f->flags & OPTIONAL_DEVICE))
			continue;
		w->steps[w->depth++].f = f;
		if (f->kind == &kind_resource)
			ok = visit(w, f, s, obj, parent_schema, parent, err);
		else if (f->kind->shape == SHAPE_STRUCT)
			ok = walk(w, f->sub, member, s, obj, err);
		else if (f->kind->shape == SHAPE_OPT && *(void **)member)
			ok = walk(w, f->sub, *(void **)member, s, obj, err);
		else if (f->kind->shape == SHAPE_LIST)
			ok = walk_list(w, f, *(GPtrArray **)member, s, obj, err);
		w->depth--;
		if (!ok)
			return false;
	}
	return true;
}

bool machine_walk_resources(struct machine *m, bool (*fn)(struct resource_visit *, void *arg,
	GError **), void *arg, GError **err)
{
	struct walk w = { .m = m, .fn = fn, .arg = arg };

	return walk(&w, &machine_schema, m, NULL, NULL, err);
}
