/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows and whole structs: defaults, bounds, text forms, checks, suggestions. */
#include <string.h>

#include "domain/report.h"
#include "tests/domain/sample.h"
#include "tests/domain/tables.h"

static const struct field *row(const char *name)
{
	const struct field *f = schema_field(&sample_schema, name);

	g_assert_nonnull(f);
	return f;
}

static void test_defaults(void)
{
	struct sample *s = schema_new(&sample_schema);

	g_assert_cmpuint(s->small, ==, 1);
	g_assert_cmpint(s->far, ==, -1);
	g_assert_cmpstr(s->title, ==, "untitled");
	g_assert_cmpint(s->chan.mode, ==, 1);           /* of an embedded struct */
	for (const struct field *f = sample_schema.fields; f->name; f++)
		g_assert_true(field_is_default(f, s));
	s->small = 2;
	s->tune.total_bytes_sec = 4;
	g_assert_false(field_is_default(row("small"), s));
	g_assert_false(field_is_default(row("tune"), s));
	schema_clear(&sample_schema, s);
	g_assert_cmpuint(s->small, ==, 1);
	g_assert_true(field_is_default(row("tune"), s));
	schema_free(&sample_schema, s);
	schema_free(&sample_schema, NULL);
}

/* Text that a row reads, and how it says it; NULL: refused, and the member stays. */
static const struct { const char *field, *in, *out; } texts[] = {
	{ "small", "1", "1" }, { "small", "0200", "200" }, { "small", "201", NULL }, { "small", "0", NULL },
	{ "small", "-1", NULL }, { "small", "", NULL }, { "small", "1x", NULL }, { "small", "0x10", NULL },
	{ "small", "99999999999999999999", NULL }, { "small", " 7\n", "7" }, { "small", "+7", NULL },
	{ "big", "18446744073709551615", "18446744073709551615" }, { "big", "18446744073709551616", NULL },
	{ "offset", "-86400", "-86400" }, { "offset", "-86401", NULL }, { "offset", "--1", NULL },
	{ "far", "-9223372036854775808", "-9223372036854775808" }, { "far", "-9223372036854775809", NULL },
	{ "far", "9223372036854775807", "9223372036854775807" }, { "far", "9223372036854775808", NULL },
	{ "bus", "0xFF", "0xff" }, { "bus", "7", "0x07" }, { "bus", "256", NULL }, { "bus", "0x", NULL }, { "bus", "012", NULL },
	{ "bus", "07", "0x07" }, { "base", "0xffffffffffffffff", "0xffffffffffffffff" },
	{ "memory", "4096", "4096 KiB" }, { "memory", "2 GiB", "2097152 KiB" }, { "memory", "1000b", "1000 bytes" },
	{ "memory", "1KB", "1000 bytes" }, { "memory", "16 EiB", NULL }, { "memory", "1 Kib x", NULL }, { "memory", "1 K B", NULL },
	{ "memory", "KiB", NULL },
	{ "readonly", "yes", "yes" }, { "readonly", "off", "no" }, { "readonly", "perhaps", NULL },
	{ "cache", "none", "none" }, { "cache", " unsafe ", "unsafe" }, { "cache", "None", NULL }, { "cache", "", NULL },
	{ "name", "x", "x" }, { "name", "", NULL }, { "name", "a\x01", NULL }, { "name", "a\xff", NULL },
	{ "name", "\xef\xbf\xbf", NULL }, { "name", "日本", "日本" },
	{ "uuid", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8" },
	{ "uuid", "6ba7b8109dad11d180b400c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8" },
	{ "uuid", "6ba7b8109dad11d180b400c04fd430c", NULL }, { "uuid", "6ba7b8109dad11d180b400c04fd430c88", NULL },
	{ "uuid", "-6ba7b8109dad11d180b400c04fd430c8", NULL }, { "uuid", "6ba7b810-9dad-11d1-80b4-00c04fd430cg", NULL },
	{ "mac", "52:54:00:AB:0:1", "52:54:00:ab:00:01" }, { "mac", "52:54:00:ab:00", NULL }, { "mac", "52:54:00:ab:00:01:02", NULL },
	{ "mac", "52:54:00:ab:00:123", NULL }, { "mac", "52-54-00-ab-00-01", NULL },
	{ "cpus", "0-3,^2,8", "0-1,3,8" }, { "cpus", "3,1,2", "1-3" }, { "cpus", "0", "0" }, { "cpus", "0-8191", "0-8191" },
	{ "cpus", "", NULL }, { "cpus", "1,", NULL }, { "cpus", "1,^1", NULL }, { "cpus", "2-1", NULL }, { "cpus", "8192", NULL },
	{ "cpus", "1-", NULL }, { "cpus", "a", NULL }, { "cpus", "1 2", NULL }, { "cpus", "0-99999999999", NULL },
	{ "key", "00ff", "00ff" }, { "key", "0", NULL }, { "key", "0g", NULL }, { "key", "", NULL }, { "file", "/a b", "/a b" },
};

static void test_texts(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
		const struct field *f = row(texts[i].field);
		struct sample *s = schema_new(&sample_schema), *fresh = schema_new(&sample_schema);
		g_autoptr(GError) e = NULL;
		bool ok = field_set_text(f, s, texts[i].in, &e);
		g_autofree char *out = field_text(f, s);

		/* no key at all is the empty one */
		if (f->kind == &kind_bytes && !*texts[i].in)
			g_assert_true(ok);
		else if (ok != !!texts[i].out)
			g_error("%s: '%s': %s", f->name, texts[i].in, ok ? out : e->message);
		if (!ok) {
			g_assert_nonnull(strstr(e->message, f->name));
			g_assert_true(schema_equal(&sample_schema, s, fresh));
		} else {
			g_assert_cmpstr(out, ==, texts[i].out);
		}
		schema_free(&sample_schema, s);
		schema_free(&sample_schema, fresh);
	}
}

static void test_numbers(void)
{
	struct sample *s = schema_new(&sample_schema);
	g_autoptr(GError) e = NULL;

	g_assert_false(field_set_num(row("small"), s, 0, &e));
	g_assert_cmpstr(e->message, ==, "'small': 0 is outside 1..200");
	g_clear_error(&e);
	g_assert_false(field_set_num(row("cache"), s, 9, &e));
	g_assert_cmpstr(e->message, ==, "'cache': 9 is not one of its values");
	g_clear_error(&e);
	g_assert_false(field_set_num(row("offset"), s, (uint64_t)-86401, &e));
	g_assert_cmpstr(e->message, ==, "'offset': -86401 is outside -86400..86400");
	g_assert_true(field_set_num(row("offset"), s, (uint64_t)-4, NULL));
	g_assert_cmpint(s->offset, ==, -4);
	g_assert_cmpuint(field_num(row("offset"), s), ==, (uint64_t)-4);
	schema_free(&sample_schema, s);
}

static void wrong(struct sample *s, const char *want)
{
	g_autoptr(GError) e = NULL;

	g_assert_false(schema_check(&sample_schema, s, &e));
	g_assert_nonnull(e);
	if (!strstr(e->message, want))
		g_error("'%s' does not say '%s'", e->message, want);
}

static void test_check(void)
{
	struct sample *s = schema_new(&sample_schema);
	g_autoptr(GError) e = NULL;

	wrong(s, "'name' is missing");
	s->name = g_strdup("n");
	g_assert_true(schema_check(&sample_schema, s, &e));
	g_assert_no_error(e);
	s->small = 201;
	wrong(s, "small: 'small': 201 is outside 1..200");
	s->small = 3;
	s->cache = 77;
	wrong(s, "77");
	s->cache = 0;
	s->tune.total_bytes_sec = 5;
	s->tune.total_bytes_sec_max = 4;
	wrong(s, "the burst is below the rate; make it larger");
	s->tune.total_bytes_sec_max_length = 86401;
	wrong(s, "tune.total_bytes_sec_max_length: ");
	memset(&s->tune, 0, sizeof(s->tune));
	s->hosts = g_ptr_array_new();
	g_ptr_array_add(s->hosts, schema_new(row("hosts")->sub));
	wrong(s, "hosts[0].name: 'name' is missing");
	for (int i = 0; i < 8; i++)
		g_ptr_array_add(s->hosts, schema_new(row("hosts")->sub));
	wrong(s, "hosts: 9 entries, at most 8 are possible");
	schema_free(&sample_schema, s);
}

static void test_extras(void)
{
	static const struct { const char *at, *after, *xml; bool ok; } pieces[] = {
		{ "", "", "<a/>", true }, { "driver", "x", "<a:b c='d'>e</a:b>", true }, { "", NULL, "a='b'", true },
		{ "slots/slot[3]", NULL, "a:b='&lt;'", true }, { "driver", "", "", true }, { "", "", "", false },
		{ "", "", "a", false }, { "", "", "< a>", false }, { "", NULL, "a=b", false }, { "", NULL, "a='b'c='d'", false },
		{ "", NULL, "a='<'", false }, { "", NULL, "a b='c'", false }, { "<x>", "", "<a/>", false }, { "", "", "<!--x-->", false },
		{ "", NULL, "='b'", false }, { "", NULL, "a='", false }, { "", "", "<a>\x01</a>", false },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(pieces); i++) {
		struct extras x = { NULL };

		g_assert_true(extras_add(&x, pieces[i].at, pieces[i].after, 0, pieces[i].xml));
		if (extras_ok(&x, NULL) != pieces[i].ok)
			g_error("piece %u '%s'", i, pieces[i].xml);
		kind_extras.clear(NULL, &x);
	}
}

static void test_nearest(void)
{
	static const struct { const char *word, *best; } words[] = {
		{ "sorce", "source" }, { "srouce", "source" }, { "SOURCE", "source" }, { "sources", "source" }, { "disc", "disk" },
		{ "entirely", NULL }, { "x", NULL }, { "", NULL },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
		struct nearest n = { .word = words[i].word };

		nearest_try(&n, "target");
		nearest_try(&n, "source");
		nearest_try(&n, "disk");
		nearest_try(&n, "a-name-that-is-longer-than-any-name-in-use");
		g_assert_cmpstr(n.best, ==, words[i].best);
	}
}

static void test_tables(void)
{
	tables_all(&sample_schema, "sample");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/field/defaults", test_defaults);
	g_test_add_func("/field/texts", test_texts);
	g_test_add_func("/field/numbers", test_numbers);
	g_test_add_func("/field/check", test_check);
	g_test_add_func("/field/extras", test_extras);
	g_test_add_func("/field/nearest", test_nearest);
	g_test_add_func("/field/tables", test_tables);
	return g_test_run();
}
