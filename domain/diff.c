/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between two structs of one schema. Entries of a list are matched by what names them
 * (a disk's target, a card's MAC), so their order does not count; entries without such a name are
 * matched by place, since there the order means something (<boot dev=…/>). What only a running
 * machine has (RUNTIME rows, aliases that are not the operator's) is no difference.
 */
#include "domain/machine.h"

#include <string.h>

#define KEY_FIELDS 2

/* Which members name an entry; "a/b": member b of struct member a. */
static const struct {
	const char *element, *fields[KEY_FIELDS];
} keys[] = {
	{ "disk", { "target/dev" } }, { "interface", { "mac" } }, { "controller", { "type",
		"index" } },
	{ "channel", { "target/name" } }, { "serial", { "target/port" } }, { "parallel",
		{ "target/port" } },
	{ "console", { "target/port" } }, { "graphics", { "type" } }, { "feature", { "name" } },
		{ "vcpu", { "id" } },
	{ "cell", { "id" } }, { "sibling", { "id" } }, { "timer", { "name" } }, { "iothread",
		{ "id" } },
	{ "vcpupin", { "vcpu" } }, { "iothreadpin", { "iothread" } }, { "memnode", { "cellid" } },
		{ "device", { "path" } },
	{ "sysinfo", { "type" } }, { "entry", { "name" } }, { "panic", { "model" } },
};

static char *key_part(const struct schema *s, const void *obj, const char *path)
{
	const char *slash = strchr(path, '/');
	g_autofree char *first = slash ? g_strndup(path, (gsize)(slash - path)) : g_strdup(path);
	const struct field *f = schema_field(s, first);

	if (!f)
		return NULL;
	if (slash)
		return key_part(f->sub, field_at(f, obj), slash + 1);
	return field_text(f, obj);
}

char *entry_key(const struct schema *s, const void *entry)
{
	for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
		g_autoptr(GString) key = NULL;

		if (strcmp(keys[i].element, s->name))
			continue;
		key = g_string_new(NULL);
		for (int k = 0; k < KEY_FIELDS && keys[i].fields[k]; k++) {
			g_autofree char *part = key_part(s, entry, keys[i].fields[k]);

			if (!part)
				return NULL;
			g_string_append_printf(key, "%s%s", k ? "." : "", part);
		}
		return g_string_free(g_steal_pointer(&key), FALSE);
	}
	return NULL;
}

static void difference_free(void *data)
{
	struct difference *d = data;

	g_free(d->path);
	g_free(d->before);
	g_free(d->after);
	g_free(d);
}

static void add(GPtrArray *out, const char *path, char *before, char *after, bool live)
{
	struct difference *d = g_new0(struct difference, 1);

	*d = (struct difference){ g_strdup(path), before, after, live };
	g_ptr_array_add(out, d);
}

static char *text(const struct field *f, const void *obj)
{
	if (field_is_default(f, obj))
		return NULL;
	return f->flags & SECRET ? g_strdup("***") : field_text(f, obj);
}

static gint by_text(gconstpointer a, gconstpointer b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted: where the pieces stand among the other elements says nothing. */
static char *extras_text(const struct extras *e)
{
	g_autoptr(GPtrArray) words = g_ptr_array_new();

	for (unsigned i = 0; i < list_len(e->list); i++) {
		const struct extra *x = g_ptr_array_index(e->list, i);

		if (*x->xml)    /* else: only that an element was there, empty */
			g_ptr_array_add(words, x->xml);
	}
	if (!words->len)
		return NULL;
	g_ptr_array_sort(words, by_text);
	g_ptr_array_add(words, NULL);
	return g_strjoinv(" ", (char **)words->pdata);
}

/* Nothing, or what only a running machine has. */
static bool is_made(const struct field *f, const void *member)
{
	return !*(char *const *)member || f->made(member);
}

static void diff(const struct schema *s, const void *a, const void *b, const char *path,
	GPtrArray *out);

/* Names of a list's entries, each once: a second of the same name gets "#2". NULL array when entries have no names. */
static GPtrArray *names_of(const struct schema *s, const GPtrArray *list)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

	for (unsigned i = 0; i < list_len(list); i++) {
		g_autofree char *key = entry_key(s, g_ptr_array_index(list, i));
		char *name = key ? g_strdup(key) : g_strdup_printf("%u", i);

		for (unsigned n = 2; !g_hash_table_add(seen, name); n++) {
			g_free(name);
			name = g_strdup_printf("%s#%u", key ? key : "", n);
		}
		g_ptr_array_add(names, name);
	}
	return names;
}

static void diff_list(const struct field *f, const GPtrArray *x, const GPtrArray *y,
	const char *path, GPtrArray *out)
{
	g_autoptr(GPtrArray) xn = names_of(f->sub, x), yn = names_of(f->sub, y);
	g_autoptr(GHashTable) places = g_hash_table_new(g_str_hash, g_str_equal);
	bool live = f->flags & LIVE;

	for (unsigned i = 0; i < yn->len; i++)
		g_hash_table_insert(places, yn->pdata[i], GUINT_TO_POINTER(i + 1));
	for (unsigned i = 0; i < xn->len; i++) {
		guint at = GPOINTER_TO_UINT(g_hash_table_lookup(places, xn->pdata[i]));
		g_autofree char *item = g_strdup_printf("%s[%s]", path, (char *)xn->pdata[i]);

		if (!at) {
			add(out, item, g_strdup(f->sub->name), NULL, live);
			continue;
		}
		diff(f->sub, x->pdata[i], y->pdata[at - 1], item, out);
		g_hash_table_remove(places, xn->pdata[i]);
	}
	for (unsigned i = 0; i < yn->len; i++)
		if (g_hash_table_contains(places, yn->pdata[i])) {
			g_autofree char *item = g_strdup_printf("%s[%s]", path,
				(char *)yn->pdata[i]);

			add(out, item, NULL, g_strdup(f->sub->name), live);
		}
}

/* Only what is said counts, not where; it has no effect, so it may change at any time. */
static void diff_extras(const struct extras *x, const struct extras *y, const char *path,
	GPtrArray *out)
{
	g_autofree char *before = extras_text(x), *after = extras_text(y);

	if (g_strcmp0(before, after))
		add(out, path, g_steal_pointer(&before), g_steal_pointer(&after), true);
}

static void diff(const struct schema *s, const void *a, const void *b, const char *path,
	GPtrArray *out)
{
	for (const struct field *f = s->fields; f->name; f++) {
		const void *x = field_at(f, a), *y = field_at(f, b);
		g_autofree char *at = NULL;

		if (f->kind->shape == SHAPE_NONE || (f->flags & RUNTIME) || f->kind->equal(f, x, y))
			continue;
		if (f->made && is_made(f, x) && is_made(f, y))
			continue;
		at = g_strdup_printf("%s%s%s", path, *path ? "/" : "", f->name);
		switch (f->kind->shape) {
		case SHAPE_STRUCT:
			diff(f->sub, x, y, at, out);
			break;
		case SHAPE_OPT:
			if (*(void *const *)x && *(void *const *)y)
				diff(f->sub, *(void *const *)x, *(void *const *)y, at, out);
			else
				add(out, at, *(void *const *)x ? g_strdup(f->sub->name) : NULL,
					*(void *const *)y ? g_strdup(f->sub->name) : NULL, f->flags & LIVE);
			break;
		case SHAPE_LIST:
			diff_list(f, *(GPtrArray *const *)x, *(GPtrArray *const *)y, at, out);
			break;
		case SHAPE_EXTRAS:
			diff_extras(x, y, at, out);
			break;
		default:
			add(out, at, text(f, a), text(f, b), f->flags & LIVE);
		}
	}
}

GPtrArray *schema_diff(const struct schema *s, const void *a, const void *b)
{
	GPtrArray *out = g_ptr_array_new_with_free_func(difference_free);

	diff(s, a, b, "", out);
	return out;
}

GPtrArray *machine_diff(const struct machine *a, const struct machine *b)
{
	return schema_diff(&machine_schema, a, b);
}
