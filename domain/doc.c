/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Documentation from field tables. Each struct is told once; where it comes again, its name refers to it. */
#include "domain/doc.h"

#include <inttypes.h>
#include <string.h>

static const char *sized(const struct field *f)
{
	static const char *const u[] = { "u8", "u16", "u32", "u64" }, *const i[] = { "i8", "i16", "i32", "i64" };
	unsigned n = f->size == 1 ? 0 : f->size == 2 ? 1 : f->size == 4 ? 2 : 3;

	return f->kind == &kind_int ? i[n] : u[n];
}

static void num(const struct field *f, uint64_t v, GString *s)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned u = 0;

	if (f->kind == &kind_int) {
		g_string_append_printf(s, "%" PRId64, (int64_t)v);
	} else if (f->kind == &kind_hex) {
		g_string_append_printf(s, "0x%" PRIx64, v);
	} else if (f->kind == &kind_size && v) {
		for (; v % 1024 == 0 && u + 1 < G_N_ELEMENTS(units); u++)
			v /= 1024;
		g_string_append_printf(s, "%" PRIu64 " %s", v, units[u]);
	} else {
		g_string_append_printf(s, "%" PRIu64, v);
	}
}

char *doc_type(const struct field *f)
{
	GString *s = g_string_new(NULL);
	bool first = true;

	switch (f->kind->shape) {
	case SHAPE_BOOL:
		g_string_append(s, f->path && !strrchr(f->path, '@') ? "flag: present or not" : "yes or no");
		break;
	case SHAPE_NUM:
		if (f->kind == &kind_enum) {
			for (uint64_t i = 0; i <= f->max; i++) {
				if (!f->names[i] || !*f->names[i])
					continue;
				g_string_append_printf(s, "%s%s", first ? "" : " | ", f->names[i]);
				first = false;
			}
			if (f->def <= f->max && f->names[f->def] && *f->names[f->def])
				g_string_append_printf(s, " (default %s)", f->names[f->def]);
			break;
		}
		g_string_append_printf(s, "%s ", f->kind == &kind_size ? "size" : sized(f));
		num(f, f->min, s);
		if ((f->kind == &kind_size || f->kind == &kind_uint) && f->max == UINT64_MAX) {
			g_string_append(s, "…");
		} else if (f->kind != &kind_int || f->min != (uint64_t)INT64_MIN || f->max != INT64_MAX) {
			g_string_append(s, "..");
			num(f, f->max, s);
		}
		if (f->def && !(f->kind != &kind_int && (f->def > f->max || f->def == UINT64_MAX))) {   /* beyond: "not given" */
			g_string_append(s, " (default ");
			num(f, f->def, s);
			g_string_append_c(s, ')');
		}
		break;
	case SHAPE_TEXT:
		g_string_append(s, f->kind->name);
		if (f->kind == &kind_cpuset)
			g_string_append(s, " such as 0-3,^2");
		else if ((f->kind == &kind_str || f->kind == &kind_bytes) && f->min)
			g_string_append_printf(s, " of %" PRIu64 " to %" PRIu64 " bytes", f->min, f->max);
		else if (f->kind == &kind_str || f->kind == &kind_bytes)
			g_string_append_printf(s, " of up to %" PRIu64 " bytes", f->max);
		if (f->text_def)
			g_string_append_printf(s, " (default %s)", f->text_def);
		break;
	case SHAPE_STRUCT:
	case SHAPE_OPT:
		g_string_append_printf(s, "%s", f->sub->name);
		break;
	case SHAPE_LIST:
		g_string_append_printf(s, "up to %" PRIu64 " %s", f->max, f->sub->name);
		break;
	case SHAPE_EXTRAS:
		g_string_append(s, "kept XML");
		break;
	case SHAPE_NONE:
		g_string_append(s, f->flags & REFUSE_XML ? "refused" : "kept, not used");
		break;
	}
	if (f->flags & REQUIRED)
		g_string_append(s, ", required");
	if (f->flags & LIVE)
		g_string_append(s, ", may change while running");
	if (f->flags & NOT_YET)
		g_string_append(s, f->lacks ? ", no effect yet:" : ", no effect yet");
	for (uint64_t i = 0; f->flags & NOT_YET && f->kind == &kind_enum && i <= f->max; i++)
		if (f->lacks >> i & 1)
			g_string_append_printf(s, " %s", f->names[i]);
	return g_string_free(s, FALSE);
}

/* --- three looks of one entry --- */
static void plain_md(GString *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("\\`*_<>|", *text))
			g_string_append_c(out, '\\');
		g_string_append_c(out, *text == '\n' ? ' ' : *text);
	}
}

static void plain_roff(GString *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		g_string_append(out, "\\&");
	for (; *text; text++) {
		if (*text == '\\')
			g_string_append(out, "\\e");
		else if (*text == '-')
			g_string_append(out, "\\-");
		else
			g_string_append_c(out, *text == '\n' ? ' ' : *text);
	}
}

static void heading(enum doc_style style, const char *path, const char *doc, GString *out)
{
	switch (style) {
	case DOC_TEXT:
		g_string_append_printf(out, "%s%s%s\n", path, doc ? ": " : "", doc ? doc : "");
		return;
	case DOC_MARKDOWN:
		g_string_append_printf(out, "\n### `%s`\n\n", path);
		if (doc)
			plain_md(out, doc);
		g_string_append(out, doc ? "\n\n" : "");
		return;
	case DOC_ROFF:
		g_string_append(out, ".SS ");
		plain_roff(out, path);
		g_string_append_c(out, '\n');
		if (doc)
			plain_roff(out, doc);
		g_string_append(out, doc ? "\n" : "");
		return;
	}
}

static void entry(enum doc_style style, const char *place, const char *type, const char *doc, GString *out)
{
	switch (style) {
	case DOC_TEXT:
		g_string_append_printf(out, "  %s: %s\n", place, type);
		if (doc)
			g_string_append_printf(out, "      %s\n", doc);
		return;
	case DOC_MARKDOWN:
		g_string_append_printf(out, "- `%s`: ", place);
		plain_md(out, type);
		if (doc)
			g_string_append(out, ". ");
		plain_md(out, doc ? doc : "");
		g_string_append_c(out, '\n');
		return;
	case DOC_ROFF:
		g_string_append(out, ".TP\n.B ");
		plain_roff(out, place);
		g_string_append_c(out, '\n');
		plain_roff(out, type);
		g_string_append(out, doc ? "\n.br\n" : "\n");
		plain_roff(out, doc ? doc : "");
		g_string_append(out, doc ? "\n" : "");
		return;
	}
}

static void rows(const struct schema *s, enum doc_style style, GString *out, GPtrArray *todo, GHashTable *told)
{
	for (const struct field *f = s->fields; f->name; f++) {
		g_autofree char *type = doc_type(f);
		const char *key = f->key ? f->key : f->name;

		if (f->kind->shape == SHAPE_EXTRAS)
			continue;
		if (f->kind->shape == SHAPE_STRUCT && f->path && !strcmp(f->path, ".")) {
			rows(f->sub, style, out, todo, told);
			continue;
		}
		entry(style, f->path ? f->path : key, type, f->doc, out);
		if (f->sub && g_hash_table_add(told, (void *)(uintptr_t)f->sub))
			g_ptr_array_add(todo, (void *)(uintptr_t)f->sub);
	}
}

void doc_schema(const struct schema *s, enum doc_style style, GString *out)
{
	g_autoptr(GHashTable) told = g_hash_table_new(NULL, NULL);
	g_autoptr(GPtrArray) todo = g_ptr_array_new();

	g_hash_table_add(told, (void *)(uintptr_t)s);
	g_ptr_array_add(todo, (void *)(uintptr_t)s);
	for (unsigned i = 0; i < todo->len; i++) {
		const struct schema *next = todo->pdata[i];

		heading(style, next->name, next->doc, out);
		rows(next, style, out, todo, told);
	}
}
