/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The JSON codec on the sample grammar. */
#include "domain/json.h"

#include <string.h>

#include "tests/domain/sample.h"
#include "tests/domain/tables.h"

static bool read_json(const char *text, struct sample *s, GError **err)
{
	json_object *j = json_tokener_parse(text);
	bool ok = json_to_struct(&sample_schema, s, j, err);

	json_object_put(j);
	return ok;
}

static void refused(const char *text, const char *message)
{
	struct sample *s = schema_new(&sample_schema);
	g_autoptr(GError) e = NULL;

	g_assert_false(read_json(text, s, &e));
	g_assert_cmpstr(e->message, ==, message);
	schema_free(&sample_schema, s);
}

static void same(const char *text)
{
	struct sample *s = schema_new(&sample_schema);
	g_autoptr(GError) e = NULL;
	json_object *out;

	read_json(text, s, &e);
	g_assert_no_error(e);
	out = json_from_struct(&sample_schema, s, JSON_SECRETS);
	g_assert_cmpstr(json_object_to_json_string_ext(out, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE), ==, text);
	json_object_put(out);
	schema_free(&sample_schema, s);
}

static void test_values(void)
{
	same("{\"name\":\"a\"}");
	same("{\"name\":\"a\",\"memory\":1024,\"cpus\":\"0-3\",\"big-number\":18446744073709551615,\"offset\":-5,"
		"\"far\":-9223372036854775808,\"bus\":255,\"cache\":\"none\",\"readonly\":true,\"key\":\"00ff\",\"file\":\"/x\","
		"\"chan\":{\"mode\":\"dial\",\"path\":{\"path\":\"/y\",\"fd\":\"chan0\"},\"secret\":\"p\"},\"rom\":{},"
		"\"hosts\":[{\"name\":\"h\"},{\"name\":\"i\",\"port\":1}],"
		"\"extras\":[{\"at\":\"driver\",\"after\":\"x\",\"nth\":2,\"xml\":\"<a/>\"},{\"at\":\"\",\"xml\":\"a='b'\"}]}");
}

static void test_refused(void)
{
	refused("{}", "sample.name: is missing");
	refused("{\"name\":null}", "sample.name: is missing");
	refused("[]", "sample: must be an object");
	refused("{\"nme\":\"a\"}", "sample.nme: unknown; did you mean 'name'?");
	refused("{\"name\":5}", "sample.name: must be a string (without zero bytes)");
	refused("{\"name\":\"a\\u0000b\"}", "sample.name: must be a string (without zero bytes)");
	refused("{\"name\":\"a\",\"small\":201}", "sample.small: 'small': 201 is outside 1..200");
	refused("{\"name\":\"a\",\"small\":-1}", "sample.small: -1 is out of range");
	refused("{\"name\":\"a\",\"small\":1.5}", "sample.small: must be a whole number");
	refused("{\"name\":\"a\",\"small\":\"1\"}", "sample.small: must be a whole number");
	refused("{\"name\":\"a\",\"far\":9223372036854775808}", "sample.far: 9223372036854775808 is out of range");
	refused("{\"name\":\"a\",\"readonly\":1}", "sample.readonly: must be true or false");
	refused("{\"name\":\"a\",\"rom\":{\"bar\":\"offf\"}}", "sample.rom.bar: 'bar': unknown value 'offf'; did you mean 'off'? "
		"(allowed: on, off)");
	refused("{\"name\":\"a\",\"hosts\":[{\"name\":\"b\"},{\"port\":1}]}", "sample.hosts[1].name: is missing");
	refused("{\"name\":\"a\",\"hosts\":{}}", "sample.hosts: must be an array");
	refused("{\"name\":\"a\",\"hosts\":[null]}", "sample.hosts[0]: must be an object");
	refused("{\"name\":\"a\",\"hosts\":[0,0,0,0,0,0,0,0,0]}", "sample.hosts: 9 entries, at most 8 are possible");
	refused("{\"name\":\"a\",\"file\":{\"fd\":5}}", "sample.file: must be a path or {\"path\", \"fd\"}");
	refused("{\"name\":\"a\",\"extras\":[{\"at\":\"\",\"after\":\"\",\"xml\":\"x\"}]}",
		"sample.extras: kept XML: piece 0 is not an element or an attribute");
	refused("{\"name\":\"a\",\"-sound\":1}", "sample.-sound: unknown");
}

static void test_flags(void)
{
	struct sample *s = schema_new(&sample_schema);
	json_object *j;

	s->chan.secret = g_strdup("p");
	j = json_from_struct(&sample_schema, s, 0);
	g_assert_cmpstr(json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN), ==, "{\"chan\":{}}");
	json_object_put(j);
	j = json_from_struct(&sample_schema, s, JSON_ALL);
	g_assert_cmpint(json_object_get_int(json_object_object_get(j, "small")), ==, 1);
	g_assert_true(json_object_object_get_ex(j, "hosts", NULL));
	g_assert_false(json_object_object_get_ex(j, "name", NULL));
	g_assert_false(json_object_object_get_ex(j, "rom", NULL));
	g_assert_false(json_object_object_get_ex(j, "cache", NULL));
	json_object_put(j);
	schema_free(&sample_schema, s);
}

static void test_describe(void)
{
	json_object *j = json_describe(&sample_schema), *types = json_object_object_get(j, "types"), *f;
	const char *text = json_object_to_json_string(j);

	g_assert_cmpstr(json_object_get_string(json_object_object_get(j, "struct")), ==, "sample");
	g_assert_cmpint(json_object_object_length(types), ==, 6);
	f = json_object_object_get(json_object_object_get(types, "sample"), "fields");
	g_assert_cmpstr(json_object_get_string(json_object_object_get(json_object_array_get_idx(f, 0), "name")), ==, "name");
	g_assert_nonnull(strstr(text, "\"values\": [ \"none\", \"writeback\", \"unsafe\" ]"));
	g_assert_nonnull(strstr(text, "\"max\": 86400"));
	json_object_put(j);
}

static void test_tables(void)
{
	tables_round_trip(&sample_schema, NULL, 300, 2);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/json/values", test_values);
	g_test_add_func("/json/refused", test_refused);
	g_test_add_func("/json/flags", test_flags);
	g_test_add_func("/json/describe", test_describe);
	g_test_add_func("/json/tables", test_tables);
	return g_test_run();
}
