/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models spelt out: all of the table, changed ones, unknown ones. */
#include "daemon/worker_models.h"

#include "domain/cpu_features.h"
#include "domain/cpu_models.h"

static bool has(json_object *o, const char *feature)
{
	json_object *v;

	g_assert_true(json_object_object_get_ex(o, feature, &v));
	g_assert_true(json_object_is_type(v, json_type_boolean));
	return json_object_get_boolean(v);
}

static void test_all(void)
{
	for (unsigned i = 0; i < cpu_model_rows_n; i++) {
		json_object *o = model_expand(cpu_model_rows[i].name, NULL);

		for (unsigned k = 0; k < cpu_feature_rows_n; k++)
			if (!cpu_feature_rows[k].msr)
				g_assert_cmpint(has(o, cpu_feature_rows[k].name), ==, cpu_model_has(&cpu_model_rows[i], cpu_feature_rows[k].name));
		json_object_put(o);
	}
}

static void bad(const char *model, const char *props, const char *want)
{
	g_autoptr(GError) err = NULL;
	json_object *o = model_expand(model, &err);

	if (o)
		g_assert_false(model_change(o, model, props, &err));
	g_assert_nonnull(err);
	g_assert_cmpstr(err->message, ==, want);
	json_object_put(o);
}

static void test_changed(void)
{
	json_object *o = model_expand("Haswell", NULL), *base = model_expand("base", NULL);

	g_assert_true(has(o, "avx2") && has(o, "sse2") && !has(o, "avx512f"));
	g_assert_false(has(base, "sse2"));
	g_assert_true(model_change(o, "Haswell", "{\"avx2\":false,\"avx512f\":true}", NULL));
	g_assert_true(!has(o, "avx2") && has(o, "sse2") && has(o, "avx512f"));
	g_assert_true(model_change(o, "Haswell", NULL, NULL));
	json_object_put(o);
	json_object_put(base);
	bad("nix", NULL, "CPU model 'nix' not found");
	bad("Haswell", "{\"flux\":true}", "Property 'Haswell-x86_64-cpu.flux' not found");
	bad("Haswell", "{\"avx\":\"on\"}", "Invalid parameter type for 'avx', expected: boolean");
	bad("Haswell", "[]", "Invalid parameter type for 'model.props', expected: object");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/models/all", test_all);
	g_test_add_func("/models/changed", test_changed);
	return g_test_run();
}
