/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Documentation from tables. */
#include <string.h>

#include "domain/doc.h"
#include "tests/domain/sample.h"

static void type_is(const char *name, const char *want)
{
	g_autofree char *type = doc_type(schema_field(&sample_schema, name));

	g_assert_cmpstr(type, ==, want);
}

static void test_types(void)
{
	type_is("small", "u8 1..200 (default 1)");
	type_is("offset", "i32 -86400..86400");
	type_is("bus", "u16 0x0..0xff");
	type_is("memory", "size 0..256 TiB");
	type_is("cache", "none | writeback | unsafe");
	type_is("title", "string of up to 4096 bytes (default untitled)");
	type_is("name", "string of 1 to 60 bytes, required");
	type_is("readonly", "flag: present or not");
	type_is("hosts", "up to 8 host");
	type_is("-sound", "refused");
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void test_styles(void)
{
	static const char *const once[] = { "\niotune: limits\n", "\n### `iotune`\n", ".SS iotune\n" };

	for (int style = DOC_TEXT; style <= DOC_ROFF; style++) {
		g_autoptr(GString) out = g_string_new(NULL);

		doc_schema(&sample_schema, (enum doc_style)style, out);
		g_assert_cmpuint(count(out->str, once[style]), ==, 1);
		g_assert_nonnull(strstr(out->str, "source/@path"));     /* of the inlined struct */
		g_assert_nonnull(strstr(out->str, "total_bytes_sec_max_length"));
	}
}

static void test_escapes(void)
{
	static const struct field fields[] = { { .name = "x", .path = "x", .kind = &kind_none, .flags = KEEP_XML,
		.doc = ".a \\ *b* <c>" }, END };
	static const struct schema s = { "s", NULL, 1, 0, fields };
	g_autoptr(GString) md = g_string_new(NULL), roff = g_string_new(NULL);

	doc_schema(&s, DOC_MARKDOWN, md);
	g_assert_nonnull(strstr(md->str, ".a \\\\ \\*b\\* \\<c\\>"));
	doc_schema(&s, DOC_ROFF, roff);
	g_assert_nonnull(strstr(roff->str, "\n\\&.a \\e *b* <c>\n"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/doc/types", test_types);
	g_test_add_func("/doc/styles", test_styles);
	g_test_add_func("/doc/escapes", test_escapes);
	return g_test_run();
}
