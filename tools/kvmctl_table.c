/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Replies with a list of like things, as a table; and what the commands about disks print. */
#include <stdio.h>
#include <string.h>

#include "domain/commands_disk.h"
#include "tools/kvmctl.h"

static const char *const sizes[] = { "virtual", "allocated", "physical", "free", "size", "promised", "used", "lacking", NULL };

static char *size_text(uint64_t n)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned u = 0;
	double v = (double)n;

	for (; v >= 1024 && u + 1 < G_N_ELEMENTS(units); u++)
		v /= 1024;
	return g_strdup_printf(u && v < 100 && v * 10 != (double)(uint64_t)v * 10 ? "%.1f %s" : "%.0f %s", v, units[u]);
}

static char *cell_text(const struct field *f, json_object *row)
{
	const char *key = f->key ? f->key : f->name;
	json_object *v = NULL;

	if (!json_object_object_get_ex(row, key, &v) || !v)
		return g_strdup("-");
	if (g_strv_contains(sizes, key))
		return size_text(json_object_get_uint64(v));
	if (json_object_is_type(v, json_type_boolean))
		return g_strdup(json_object_get_boolean(v) ? "yes" : "no");
	return g_strdup(json_object_get_string(v));
}

/* Columns are the rows of the list's schema, but those that no entry has. */
void print_rows(const struct schema *s, json_object *rows, const char *const *hidden)
{
	size_t n = rows ? json_object_array_length(rows) : 0;
	g_autoptr(GPtrArray) columns = g_ptr_array_new();
	g_autofree int *wide = NULL;

	for (const struct field *f = s->fields; f->name; f++) {
		bool any = f->kind->shape != SHAPE_TEXT || f->flags & REQUIRED || !n;

		for (size_t i = 0; i < n && !any; i++)
			any = json_object_object_get_ex(json_object_array_get_idx(rows, i), f->key ? f->key : f->name, NULL);
		if (any && f->kind->shape != SHAPE_LIST && !(hidden && g_strv_contains(hidden, f->name)))
			g_ptr_array_add(columns, (gpointer)(uintptr_t)f);
	}
	wide = g_new0(int, columns->len);
	for (unsigned k = 0; k < columns->len; k++) {
		const struct field *f = columns->pdata[k];

		wide[k] = (int)strlen(f->name);
		for (size_t i = 0; i < n; i++) {
			g_autofree char *text = cell_text(f, json_object_array_get_idx(rows, i));

			wide[k] = MAX(wide[k], (int)g_utf8_strlen(text, -1));
		}
	}
	for (size_t i = 0; i <= n; i++)
		for (unsigned k = 0; k < columns->len; k++) {
			const struct field *f = columns->pdata[k];
			g_autofree char *text = i ? cell_text(f, json_object_array_get_idx(rows, i - 1)) : g_strdelimit(g_strdup(f->name), "_", ' ');
			int pad = wide[k] - (int)g_utf8_strlen(text, -1);
			bool right = f->kind->shape == SHAPE_NUM && f->kind != &kind_enum, last = k + 1 == columns->len;

			printf("%s%*s", k ? "  " : " ", right ? pad : 0, "");
			put_text(stdout, text);
			printf("%*s%s", right || last ? 0 : pad, "", last ? "\n" : "");
		}
}

void print_table(const struct call *c, json_object *reply)
{
	static const char *const kinds[] = { "type", "device", NULL };
	unsigned told = 0;
	bool plain = !strcmp(c->command->name, "domblklist") && !((const struct ask_domblklist *)c->args)->details;

	for (const struct field *f = c->command->reply->fields; f->name; f++) {
		json_object *v = NULL;

		json_object_object_get_ex(reply, f->name, &v);
		if (f->kind->shape != SHAPE_LIST || !json_object_is_type(v, json_type_array) || !json_object_array_length(v))
			continue;
		if (told++)
			putchar('\n');
		print_rows(f->sub, v, plain ? kinds : NULL);
	}
}

/* What was changed needs no list. */
void print_tune(const struct call *c, json_object *reply)
{
	for (const struct field *f = c->command->args->fields; f->name; f++)
		if (!(f->flags & POSITIONAL) && f->kind->shape != SHAPE_BOOL && !field_is_default(f, c->args)) {
			if (!c->quiet)
				printf("domain '%s': the limits are changed\n", c->vm);
			return;
		}
	json_object_object_foreach(reply, key, v)
		printf("%-26s %s\n", key, json_object_get_string(v));
}

void print_resized(const struct call *c, json_object *reply)
{
	json_object *target = NULL, *size = NULL;
	g_autofree char *text = NULL;

	json_object_object_get_ex(reply, "target", &target);
	json_object_object_get_ex(reply, "size", &size);
	text = size_text(json_object_get_uint64(size));
	if (!c->quiet)
		printf("domain '%s': disk '%s' has %s (%s bytes)\n", c->vm, json_object_get_string(target), text, json_object_get_string(size));
}
