/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a definition says in vain: rows marked NOT_YET are read, kept and written back, and nothing acts on them. One warning for each
 * element that says more than its defaults. It looks at what was read, before fill.c adds to it.
 */
#include "domain/machine.h"

#include <string.h>

/* Does this member ask for something that is not done? */
static bool asks(const struct field *f, const void *obj)
{
	const void *member = field_at(f, obj);

	switch (f->kind->shape) {
	case SHAPE_STRUCT:
		for (const struct field *row = f->sub->fields; row->name; row++)
			if (asks(row, member))
				return true;
		return false;
	case SHAPE_OPT:
		return *(void *const *)member;
	case SHAPE_LIST:
		return list_len(*(GPtrArray *const *)member);
	case SHAPE_EXTRAS:
	case SHAPE_NONE:
		return false;
	default:
		return f->lacks ? f->lacks >> field_num(f, obj) & 1 : !field_is_default(f, obj);
	}
}

/* Length of the element's path: without the attribute. */
static size_t element(const struct field *f)
{
	const char *at = f->path ? strchr(f->path, '@') : "";

	return !f->path ? 0 : !at ? strlen(f->path) : at == f->path ? 0 : (size_t)(at - f->path) - 1;
}

static bool same_element(const struct field *a, const struct field *b)
{
	return element(a) == element(b) && !strncmp(a->path, b->path, element(a));
}

/* "what it is", with what was asked for: the value of an enum, the members of a struct. */
static void tell(const struct field *f, const void *obj, GString *out)
{
	const char *sep = " (";

	if (f->kind == &kind_enum)
		g_string_append_printf(out, "'%s', ", f->names[field_num(f, obj)]);
	g_string_append(out, f->doc);
	if (f->kind->shape != SHAPE_STRUCT)
		return;
	for (const struct field *row = f->sub->fields, *last = NULL; row->name; row++) {
		if (!asks(row, field_at(f, obj)) || (last && element(row) && same_element(last, row)))
			continue;
		g_string_append_printf(out, "%s%.*s", sep, element(row) ? (int)element(row) : -1, row->path);
		sep = ", ";
		last = row;
	}
	g_string_append(out, *sep == ',' ? ")" : "");
}

static void warn(const struct schema *s, const struct field *f, const void *obj, struct report *r)
{
	GPtrArray *const *list = field_at(f, obj);
	g_autoptr(GString) what = g_string_new(NULL);

	for (const struct field *row = s->fields; row < f; row++)
		if (row->flags & NOT_YET && same_element(row, f) && asks(row, obj))
			return;         /* said there */
	for (const struct field *row = f; row->name; row++)
		if (row->flags & NOT_YET && same_element(row, f) && asks(row, obj)) {
			g_string_append(what, row == f ? "" : "; ");
			tell(row, obj, what);
		}
	if (f->kind->shape == SHAPE_LIST)
		report_warn(r, g_ptr_array_index(*list, 0), NULL, NULL, "kept, has no effect yet: %s", what->str);
	else
		report_warn(r, obj, f->name, NULL, "kept, has no effect yet: %s", what->str);
}

/* Which rows of a schema are marked, or lead to some (devices that don't run are spoken of as a whole). Looked up once: a
 * definition has hundreds of structs and few schemas. */
static const GPtrArray *marked(const struct schema *s, GHashTable *cache)
{
	GPtrArray *rows = g_hash_table_lookup(cache, s);

	if (rows)
		return rows;
	rows = g_ptr_array_new();
	g_hash_table_insert(cache, (void *)(uintptr_t)s, rows);         /* before: a schema may hold itself */
	for (const struct field *f = s->fields; f->name; f++)
		if (!(f->flags & OPTIONAL_DEVICE) && (f->flags & NOT_YET || (f->sub && (f->sub == s || marked(f->sub, cache)->len))))
			g_ptr_array_add(rows, (void *)(uintptr_t)f);
	return rows;
}

static void look(const struct schema *s, const void *obj, struct report *r, GHashTable *cache)
{
	const GPtrArray *rows = marked(s, cache);

	for (unsigned n = 0; n < rows->len; n++) {
		const struct field *f = rows->pdata[n];
		void *member = field_at(f, obj);

		if (f->flags & NOT_YET) {
			if (asks(f, obj))
				warn(s, f, obj, r);
			continue;
		}
		if (f->kind->shape == SHAPE_STRUCT)
			look(f->sub, member, r, cache);
		else if (f->kind->shape == SHAPE_OPT && *(void **)member)
			look(f->sub, *(void **)member, r, cache);
		for (unsigned i = 0; f->kind->shape == SHAPE_LIST && i < list_len(*(GPtrArray **)member); i++)
			look(f->sub, g_ptr_array_index(*(GPtrArray **)member, i), r, cache);
	}
}

void schema_unused(const struct schema *s, const void *obj, struct report *r)
{
	g_autoptr(GHashTable) cache = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_ptr_array_unref);

	look(s, obj, r, cache);
}

void machine_unused(const struct machine *m, struct report *r)
{
	schema_unused(&machine_schema, m, r);
}
