/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One device as XML, and finding it among a machine's. */
#include "domain/device_xml.h"

#include <string.h>

#include "domain/xml.h"

#define NAME_MAX_BYTES 64

const struct field *device_row(const struct schema *s)
{
	for (const struct field *f = devices_schema.fields; f->name; f++)
		if (f->sub == s)
			return f;
	return NULL;
}

/* --- XML --- */

/* Behind white space, the XML declaration and comments. */
static const char *skip_prolog(const char *s, const char *end)
{
	static const struct { const char *open, *close; } parts[] = { { "<?", "?>" }, { "<!--", "-->" } };

	for (;;) {
		const char *before;

		while (s < end && g_ascii_isspace(*s))
			s++;
		before = s;
		for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
			const char *close;

			if ((size_t)(end - s) < strlen(parts[i].open) || strncmp(s, parts[i].open, strlen(parts[i].open)))
				continue;
			close = g_strstr_len(s, end - s, parts[i].close);
			s = close ? close + strlen(parts[i].close) : end;
		}
		if (s == before)
			return s;
	}
}

/* The root element's name; NULL: there is none. New. */
static char *root_name(const char *text, size_t len)
{
	const char *end = text + len, *s = skip_prolog(text, end), *from;

	if (s >= end || *s++ != '<')
		return NULL;
	for (from = s; s < end && s - from < NAME_MAX_BYTES && (g_ascii_isalnum(*s) || strchr("_-:.", *s)); s++)
		;
	return s > from ? g_strndup(from, (gsize)(s - from)) : NULL;
}

static const struct field *row_named(const char *name, GError **err)
{
	struct nearest near = { .word = name };

	for (const struct field *f = devices_schema.fields; f->name; f++) {
		if (!f->path)
			continue;
		if (!strcmp(f->path, name)) {
			if (f->sub)
				return f;
			kerr_set(err, KERR_UNSUPPORTED, "<%s>: %s", name, f->doc ? f->doc : "kvmd has no such device");
			return NULL;
		}
		nearest_try(&near, f->path);
	}
	kerr_set(err, KERR_XML, near.best ? "<%s> is no device: did you mean <%s>?" : "<%s> is no device%.0s", name, near.best ? near.best : "");
	return NULL;
}

void *device_from_xml(const char *text, size_t len, struct report *r, const struct field **row, GError **err)
{
	g_autofree char *name = root_name(text, len);
	const struct field *f;
	void *dev;

	if (!name)
		return kerr_set(err, KERR_XML, "no element was found: a device is <disk>…</disk>, <interface>…"), NULL;
	f = row_named(name, err);
	if (!f)
		return NULL;
	dev = schema_new(f->sub);
	(void)xml_parse(f->sub, dev, name, text, len, r);
	if (!report_ok(r, err)) {
		schema_free(f->sub, dev);
		return NULL;
	}
	*row = f;
	return dev;
}

char *device_to_xml(const struct field *row, const void *dev, unsigned flags)
{
	return xml_format(row->sub, dev, row->path, flags);
}

void device_forget(const struct field *row, void *dev)
{
	const struct schema *s = row->sub;

	machine_forget(s, dev);
	if (s == &serial_schema || s == &parallel_schema || s == &console_schema || s == &channel_schema) {
		struct chardev *c = dev;

		if (c->type == CHARDEV_PTY)
			g_clear_pointer(&c->source.path.path, g_free);
	}
}

/* --- among a machine's --- */

bool device_put(struct devices *d, const struct field *row, void *dev, GError **err)
{
	void **member = field_at(row, d);
	GPtrArray **list = (GPtrArray **)member;

	if (row->kind->shape == SHAPE_OPT) {
		if (*member)
			return kerr_set(err, KERR_EXISTS, "there is a <%s> already, and there can be one only", row->path);
		*member = dev;
		return true;
	}
	if (list_len(*list) >= row->max)
		return kerr_set(err, KERR_LIMIT, "there are %u <%s> already: more are not possible", list_len(*list), row->path);
	if (!*list)
		*list = g_ptr_array_new();
	g_ptr_array_add(*list, dev);
	return true;
}

void device_take(struct devices *d, const struct field *row, void *dev)
{
	void **member = field_at(row, d);

	if (row->kind->shape == SHAPE_OPT)
		*member = NULL;
	else
		g_ptr_array_remove(*(GPtrArray **)member, dev);
}

struct by_alias {
	const char *alias;
	const struct field *row;
	void *dev;
};

static bool has_alias(const struct field *row, void *dev, void *arg)
{
	struct by_alias *b = arg;
	char **alias = device_alias(row, dev);

	if (!alias || g_strcmp0(*alias, b->alias))
		return true;
	b->row = row;
	b->dev = dev;
	return false;
}

void *device_by_alias(const struct devices *d, const char *alias, const struct field **row)
{
	struct by_alias b = { .alias = alias };

	devices_each(d, has_alias, &b);
	if (b.dev)
		*row = b.row;
	return b.dev;
}

static void inherit_text(char **new, const char *old)
{
	if (!*new)
		*new = g_strdup(old);
}

static void disk_inherit(struct disk *new, const struct disk *old)
{
	const char *a = new->source.file.path ? new->source.file.path : new->source.dev.path;
	const char *b = old->source.file.path ? old->source.file.path : old->source.dev.path;

	if (!new->backing && old->backing && !g_strcmp0(a, b))
		new->backing = schema_dup(&disk_backing_schema, old->backing);
	if (!new->driver.format)
		new->driver.format = old->driver.format;
}

static void memdev_inherit(struct memdev *new, const struct memdev *old)
{
	if (!new->target.block)
		new->target.block = old->target.block;
	if (new->target.node == UINT32_MAX)
		new->target.node = old->target.node;
	new->target.current = old->target.current;
}

void device_inherit(const struct field *row, void *new, const void *old)
{
	struct device_base *a = device_base(row, new), *b = device_base(row, (void *)(uintptr_t)old);

	if (a && b) {
		inherit_text(&a->alias, b->alias);
		if (address_empty(&a->address)) {
			schema_clear(&address_schema, &a->address);
			schema_copy(&address_schema, &a->address, &b->address);
		}
	}
	if (row->sub == &disk_schema) {
		disk_inherit(new, old);
	} else if (row->sub == &iface_schema) {
		inherit_text(&((struct iface *)new)->mac, ((const struct iface *)old)->mac);
		inherit_text(&((struct iface *)new)->target, ((const struct iface *)old)->target);
	} else if (row->sub == &memdev_schema) {
		memdev_inherit(new, old);
	} else if (row->sub == &channel_schema && ((struct chardev *)new)->type == ((const struct chardev *)old)->type) {
		inherit_text(&((struct chardev *)new)->source.path.path, ((const struct chardev *)old)->source.path.path);
	}
}

void device_swap(struct devices *d, const struct field *row, void *old, void *new)
{
	void **member = field_at(row, d);
	guint at;

	if (row->kind->shape == SHAPE_OPT)
		*member = new;
	else if (g_ptr_array_find(*(GPtrArray **)member, old, &at))
		(*(GPtrArray **)member)->pdata[at] = new;
}

static bool said_differs(const char *said, const char *is)
{
	return said && g_ascii_strcasecmp(said, is ? is : "");
}

static bool place_differs(const struct address *said, const struct address *is)
{
	return said->type == ADDRESS_PCI && said->slot != ADDRESS_UNSET &&
		(is->type != ADDRESS_PCI || said->bus != is->bus || said->slot != is->slot || (said->function != ADDRESS_UNSET && said->function != is->function));
}

static bool disk_fits(const void *like, const void *dev)
{
	const struct disk *a = like, *b = dev;

	return a->target.dev && !g_strcmp0(a->target.dev, b->target.dev);
}

static bool iface_fits(const void *like, const void *dev)
{
	const struct iface *a = like, *b = dev;

	return !said_differs(a->mac, b->mac) && (!a->type || a->type == b->type);
}

static bool chardev_fits(const void *like, const void *dev)
{
	const struct chardev *a = like, *b = dev;

	return !said_differs(a->target.name, b->target.name) && (!a->type || a->type == b->type) &&
		(a->address.type != ADDRESS_VIRTIO_SERIAL || !a->address.port || address_port(&a->address) == address_port(&b->address));
}

static bool controller_fits(const void *like, const void *dev)
{
	const struct controller *a = like, *b = dev;

	return a->type == b->type && (a->index == CONTROLLER_INDEX_NONE || a->index == b->index);
}

static bool rng_fits(const void *like, const void *dev)
{
	const struct rng *a = like, *b = dev;

	return !a->backend.model || a->backend.model == b->backend.model;
}

static bool memdev_fits(const void *like, const void *dev)
{
	const struct memdev *a = like, *b = dev;

	return a->model == b->model && a->target.size == b->target.size && (a->target.node == UINT32_MAX || a->target.node == b->target.node) &&
		(!a->target.block || a->target.block == b->target.block);
}

static const struct { const struct schema *schema; bool (*fits)(const void *like, const void *dev); } matches[] = {
	{ &disk_schema, disk_fits }, { &iface_schema, iface_fits }, { &channel_schema, chardev_fits }, { &console_schema, chardev_fits },
	{ &controller_schema, controller_fits }, { &rng_schema, rng_fits }, { &memdev_schema, memdev_fits },
};

static bool fits(const struct field *row, void *like, void *dev)
{
	const struct device_base *a = device_base(row, like), *b = device_base(row, dev);

	if (a && a->alias)
		return b && !g_strcmp0(a->alias, b->alias);
	if (a && b && place_differs(&a->address, &b->address))
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(matches); i++)
		if (matches[i].schema == row->sub)
			return matches[i].fits(like, dev);
	return true;
}

void *device_match(const struct devices *d, const struct field *row, const void *like, GError **err)
{
	void **member = field_at(row, d), *found = NULL;
	const GPtrArray *list;

	if (row->kind->shape == SHAPE_OPT)
		return *member ? *member : (kerr_set(err, KERR_NO_DEVICE, "there is no <%s>", row->path), NULL);
	list = *member;
	for (unsigned i = 0; i < list_len(list); i++) {
		if (!fits(row, (void *)(uintptr_t)like, list->pdata[i]))
			continue;
		if (found)
			return kerr_set(err, KERR_ARGS, "several of its <%s> fit this description: add the <alias> that dumpxml shows, or its address", row->path), NULL;
		found = list->pdata[i];
	}
	if (!found)
		kerr_set(err, KERR_NO_DEVICE, "none of its <%s> fits this description", row->path);
	return found;
}
