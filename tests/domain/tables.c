/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See tables.h. */
#include "tests/domain/tables.h"

#include <string.h>

#include "domain/json.h"
#include "domain/report.h"
#include "domain/state.h"
#include "domain/xml.h"

#define SEED 20240607u
#define MAX_STEPS 5

/* --- the table itself --- */
static void add_once(GHashTable *set, const struct schema *s, const char *what, const char *word)
{
	if (!g_hash_table_add(set, g_strdup(word)))
		g_error("%s: %s '%s' is there twice", s->name, what, word);
}

static void check_enum(const struct schema *s, const struct field *f)
{
	g_autoptr(GHashTable) words = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	g_assert_nonnull(f->names);
	g_assert_cmpuint(f->size, ==, sizeof(int));
	g_assert_cmpuint(f->def, <=, f->max);
	if (!f->names[f->def])
		g_error("%s.%s: the default has no name", s->name, f->name);
	for (uint64_t i = 0; i <= f->max; i++)
		if (f->names[i])
			add_once(words, s, f->name, f->names[i]);
}

static void check_number(const struct schema *s, const struct field *f)
{
	uint64_t most = f->size == 8 ? UINT64_MAX : (UINT64_C(1) << (8 * f->size)) - 1;

	if (f->kind == &kind_int) {
		int64_t lo = f->size == 8 ? INT64_MIN : -(INT64_C(1) << (8 * f->size - 1));

		g_assert_cmpint((int64_t)f->min, <=, (int64_t)f->max);
		g_assert_cmpint((int64_t)f->min, >=, lo);
		g_assert_cmpint((int64_t)f->max, <=, -(lo + 1));
		return;
	}
	if (f->min > f->max || f->max > most || f->def > most)
		g_error("%s.%s: bounds or default don't fit the member", s->name, f->name);
}

static void check_text(const struct schema *s, const struct field *f)
{
	struct resource member = { 0 };
	g_autoptr(GError) e = NULL;

	g_assert_cmpuint(f->min, <=, f->max);
	if (f->kind == &kind_cpuset)
		g_assert_cmpuint(f->max, <, 8192);
	if (!f->text_def)
		return;
	if (!f->kind->from_text(f, &member, f->text_def, &e))
		g_error("%s: default: %s", s->name, e->message);
	f->kind->clear(f, &member);
}

static void check_path(const struct schema *s, const struct field *f)
{
	const char *at = strchr(f->path, '@');
	unsigned steps = 0;

	for (const char *p = f->path; *p; p++)
		steps += *p == '/';
	if (steps > MAX_STEPS || !*f->path || *f->path == '/' || f->path[strlen(f->path) - 1] == '/' || strstr(f->path, "//") ||
	    (at && (strchr(at, '/') || !at[1] || (at > f->path && at[-1] != '/'))) || (f->path[0] == '.' && f->path[1]))
		g_error("%s.%s: the path '%s' is not one", s->name, f->name, f->path);
	if (at && (f->sub || f->kind == &kind_list))
		g_error("%s.%s: a struct can't be an attribute", s->name, f->name);
	if (f->kind == &kind_flag && !strcmp(f->path, "."))
		g_error("%s.%s: a flag is an element or an attribute", s->name, f->name);
}

/* Rows of one element: those of inlined structs belong to it. */
static void check_rows(const struct schema *outer, const struct schema *s, GHashTable *paths, unsigned *extras)
{
	g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	g_assert_nonnull(s->name);
	if (!s->doc)
		g_error("%s has no doc", s->name);
	g_assert_cmpuint(strlen(s->name), <=, 255);
	for (const struct field *f = s->fields; f->name; f++) {
		add_once(names, s, "name", f->name);
		if (f->key && strcmp(f->key, f->name))
			add_once(names, s, "key", f->key);
		if (!f->doc && f->kind != &kind_none)
			g_error("%s.%s has no doc", s->name, f->name);
		if (f->kind == &kind_none) {
			g_assert_nonnull(f->path);
			g_assert_true(f->flags & (KEEP_XML | REFUSE_XML));
		} else {
			g_assert_cmpuint(strlen(f->name), <=, 255);
			if (f->off + f->size > s->size)
				g_error("%s.%s lies outside its struct: the row is of another struct", s->name, f->name);
		}
		if (f->kind->shape == SHAPE_STRUCT || f->kind->shape == SHAPE_OPT || f->kind->shape == SHAPE_LIST) {
			g_assert_nonnull(f->sub);
			if (f->kind->shape == SHAPE_STRUCT)
				g_assert_cmpuint(f->size, ==, f->sub->size);
		}
		if (f->kind == &kind_list)
			g_assert_cmpuint(f->max, >, 0);
		if (f->kind == &kind_extras && (*extras)++)
			g_error("%s: kept XML has two homes in one element", outer->name);
		if (f->kind == &kind_enum)
			check_enum(s, f);
		else if (f->kind->shape == SHAPE_NUM || f->kind->shape == SHAPE_BOOL)
			check_number(s, f);
		else if (f->kind->shape == SHAPE_TEXT)
			check_text(s, f);
		if (!f->path)
			continue;
		check_path(s, f);
		if (f->kind->shape == SHAPE_STRUCT && !strcmp(f->path, "."))
			check_rows(outer, f->sub, paths, extras);
		else if (f->kind->shape == SHAPE_LIST && f > s->fields && f[-1].path && !strcmp(f[-1].path, f->path))
			g_assert_true(f[-1].kind->shape == SHAPE_STRUCT);       /* further elements of that name */
		else if (!g_hash_table_insert(paths, g_strdup(f->path), (void *)(uintptr_t)f))
			g_error("%s: path '%s' is there twice", outer->name, f->path);
	}
}

/* A struct's element belongs to the struct: no other row reaches into it. A refused one is not read at all. */
static void check_hidden(const struct schema *s, GHashTable *paths)
{
	GHashTableIter it;
	void *path;

	g_hash_table_iter_init(&it, paths);
	while (g_hash_table_iter_next(&it, &path, NULL)) {
		for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
			g_autofree char *up = g_strndup(path, (size_t)(slash - (char *)path));
			const struct field *f = g_hash_table_lookup(paths, up);

			if (f && (f->sub || f->flags & REFUSE_XML))
				g_error("%s: '%s' lies in '%s', whose row hides it", s->name, (char *)path, up);
		}
	}
}

static void check_schema(const struct schema *s, GHashTable *done)
{
	g_autoptr(GHashTable) paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	unsigned extras = 0;

	if (!g_hash_table_add(done, (void *)(uintptr_t)s))
		return;
	check_rows(s, s, paths, &extras);
	check_hidden(s, paths);
	for (const struct field *f = s->fields; f->name; f++)
		if (f->sub)
			check_schema(f->sub, done);
}

void tables_check(const struct schema *s)
{
	g_autoptr(GHashTable) done = g_hash_table_new(NULL, NULL);

	check_schema(s, done);
}

/* --- round trips --- */
static void *random_obj(const struct schema *s, GRand *r, unsigned depth)
{
	void *obj = schema_new(s);

	schema_random(s, obj, r, depth);
	return obj;
}

/* Where two structs differ first, for messages. */
static void differ(const struct schema *s, const void *a, const void *b, GString *path)
{
	for (const struct field *f = s->fields; f->name; f++) {
		const void *x = field_at(f, a), *y = field_at(f, b);
		const GPtrArray *k, *l;

		if (f->kind == &kind_none || f->kind->equal(f, x, y))
			continue;
		g_string_append_printf(path, "%s%s", path->len ? "." : "", f->name);
		if (f->kind->shape == SHAPE_STRUCT)
			differ(f->sub, x, y, path);
		if (f->kind->shape == SHAPE_OPT && *(void *const *)x && *(void *const *)y)
			differ(f->sub, *(void *const *)x, *(void *const *)y, path);
		if (f->kind->shape != SHAPE_LIST)
			return;
		k = *(GPtrArray *const *)x;
		l = *(GPtrArray *const *)y;
		for (unsigned i = 0; k && l && i < k->len && i < l->len; i++)
			if (!schema_equal(f->sub, k->pdata[i], l->pdata[i])) {
				g_string_append_printf(path, "[%u]", i);
				differ(f->sub, k->pdata[i], l->pdata[i], path);
				return;
			}
		return;
	}
}

static void must_equal(const struct schema *s, const void *a, const void *b, const char *codec, const char *text)
{
	g_autoptr(GString) path = g_string_new(NULL);

	if (schema_equal(s, a, b))
		return;
	differ(s, a, b, path);
	g_error("%s: %s changed '%s' of\n%s", s->name, codec, path->str, text);
}

/* Whether XML carries all members. */
static bool all_in_xml(const struct schema *s, GHashTable *done)
{
	if (!g_hash_table_add(done, (void *)(uintptr_t)s))
		return true;
	for (const struct field *f = s->fields; f->name; f++)
		if ((!f->path && f->kind != &kind_extras) || (f->sub && !all_in_xml(f->sub, done)))
			return false;
	return true;
}

static void parse(const struct schema *s, void *obj, const char *root, const char *text)
{
	AUTO(report) r = report_new(NULL, false, false);
	g_autoptr(GError) e = NULL;

	if (!xml_parse(s, obj, root, text, strlen(text), r) || !report_ok(r, &e))
		g_error("%s: our own XML is refused: %s\n%s", s->name, e ? e->message : "?", text);
}

static void trip_xml(const struct schema *s, const void *obj, const char *root)
{
	g_autoptr(GHashTable) done = g_hash_table_new(NULL, NULL);
	g_autofree char *text = xml_format(s, obj, root, XML_SECRETS), *again = NULL;
	void *back = schema_new(s);

	parse(s, back, root, text);
	again = xml_format(s, back, root, XML_SECRETS);
	for (size_t i = 0, line = 0; strcmp(text, again); i++) {
		line = i && text[i - 1] == '\n' ? i : line;
		if (text[i] != again[i])
			g_error("%s: XML read and written again differs at\n%.300s\nwhich became\n%.300s", s->name, text + line,
				again + line);
	}
	if (all_in_xml(s, done))
		must_equal(s, obj, back, "XML", text);
	schema_free(s, back);
}

static void trip_json(const struct schema *s, const void *obj)
{
	g_autoptr(GError) e = NULL;
	json_object *j = json_from_struct(s, obj, JSON_SECRETS), *wire;
	void *back = schema_new(s);
	const char *text = json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN);

	wire = json_tokener_parse(text);
	if (!json_to_struct(s, back, wire, &e))
		g_error("our own JSON is refused: %s\n%s", e->message, text);
	must_equal(s, obj, back, "JSON", text);
	json_object_put(wire);
	json_object_put(j);
	schema_free(s, back);
}

static void trip_state(const struct schema *s, const void *obj)
{
	g_autoptr(GByteArray) b = g_byte_array_new();
	g_autoptr(GString) dump = g_string_new(NULL);
	g_autoptr(GError) e = NULL;
	void *back = schema_new(s);
	const uint8_t *p;
	size_t n;

	state_save(s, obj, b);
	p = b->data;
	n = b->len;
	if (!state_load(s, back, &p, &n, &e))
		g_error("our own state is refused: %s", e->message);
	g_assert_cmpuint(n, ==, 0);
	g_assert_true(state_dump(b->data, b->len, dump, NULL));
	must_equal(s, obj, back, "state", dump->str);
	schema_free(s, back);
}

void tables_round_trip(const struct schema *s, const char *root, unsigned rounds, unsigned depth)
{
	GRand *r = g_rand_new_with_seed(SEED);

	for (unsigned i = 0; i < rounds; i++) {
		void *obj = random_obj(s, r, i % (depth + 1)), *copy = schema_dup(s, obj);

		g_assert_true(schema_equal(s, obj, copy));
		trip_json(s, obj);
		if (!s->post_load)              /* random values need not be what it accepts */
			trip_state(s, obj);
		if (root)
			trip_xml(s, obj, root);
		schema_clear(s, copy);
		schema_copy(s, copy, obj);
		g_assert_true(schema_equal(s, obj, copy));
		schema_free(s, copy);
		schema_free(s, obj);
	}
	g_rand_free(r);
}

/* --- damage --- */
static bool loads(const struct schema *s, const uint8_t *p, size_t n)
{
	void *obj = schema_new(s);
	bool ok = state_load(s, obj, &p, &n, NULL);

	schema_free(s, obj);
	return ok;
}

static bool parses(const struct schema *s, const char *root, const char *text, size_t n)
{
	AUTO(report) r = report_new(NULL, false, true);
	void *obj = schema_new(s);
	bool ok = xml_parse(s, obj, root, text, n, r) && report_ok(r, NULL);

	if (ok) {
		g_autofree char *out = xml_format(s, obj, root, XML_SECRETS);

		g_assert_true(g_utf8_validate(out, -1, NULL));
	}
	schema_free(s, obj);
	return ok;
}

static void damage_state(const struct schema *s, const void *obj, unsigned most)
{
	g_autoptr(GByteArray) b = g_byte_array_new();
	unsigned step;

	state_save(s, obj, b);
	step = b->len / most + 1;
	for (guint i = 0; i < b->len; i += step) {
		/* exactly as long as it is, so that a read behind the end is caught */
		uint8_t *cut = g_memdup2(b->data, i);

		g_assert_false(loads(s, cut, i));
		g_free(cut);
	}
	step = 8 * b->len / most + 1;
	for (guint i = 0; i < 8 * b->len; i += step) {
		b->data[i / 8] = (uint8_t)(b->data[i / 8] ^ 1u << i % 8);
		g_assert_false(loads(s, b->data, b->len));
		b->data[i / 8] = (uint8_t)(b->data[i / 8] ^ 1u << i % 8);
	}
}

static void damage_xml(const struct schema *s, const void *obj, const char *root, unsigned most)
{
	g_autofree char *text = xml_format(s, obj, root, XML_SECRETS);
	size_t n = strlen(text), step = n / most + 1;

	for (size_t i = 0; i + 1 < n; i += step) {
		char *cut = g_memdup2(text, i);

		g_assert_false(parses(s, root, cut, i));
		g_free(cut);
	}
	step = 8 * n / most + 1;
	for (size_t i = 0; i < 8 * n; i += step) {
		text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
		parses(s, root, text, n);
		text[i / 8] = (char)(text[i / 8] ^ 1 << i % 8);
	}
}

void tables_damage(const struct schema *s, const char *root, unsigned most)
{
	GRand *r = g_rand_new_with_seed(SEED);

	for (unsigned depth = 0; depth < 2; depth++) {
		void *obj = random_obj(s, r, depth);

		damage_state(s, obj, most);
		if (root)
			damage_xml(s, obj, root, most);
		schema_free(s, obj);
	}
	g_rand_free(r);
}

void tables_all(const struct schema *s, const char *root)
{
	tables_check(s);
	tables_round_trip(s, root, 1000, 2);
	tables_damage(s, root, 4000);
}
