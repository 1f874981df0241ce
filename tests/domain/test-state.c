/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Saved state: round trips, damage, versions, order of the hooks, the dump. */
#include <string.h>

#include "domain/state.h"
#include "tests/domain/sample.h"
#include "tests/domain/tables.h"

static bool load(const struct schema *s, void *obj, const GByteArray *b, GError **err)
{
	const uint8_t *p = b->data;
	size_t n = b->len;

	return state_load(s, obj, &p, &n, err);
}

static void test_tables(void)
{
	tables_check(&sample_schema);
	tables_round_trip(&sample_schema, NULL, 300, 2);
	tables_damage(&sample_schema, NULL, 20000);
}

struct dev { uint32_t a, sum; uint64_t b; };
static int saves, loads;
static void dev_pre_save(void *obj)
{
	saves++;
	((struct dev *)obj)->a = 7;
}

static bool dev_post_load(void *obj, GError **err)
{
	struct dev *d = obj;

	loads++;
	if (d->a == 13)
		return kerr_set(err, KERR_STATE_DATA, "thirteen");
	d->sum = d->a + (uint32_t)d->b;
	return true;
}

static const struct field dev_fields[] = {
	U32(struct dev, a, NULL, 0, 100, 0, "a"),
	U64(struct dev, b, NULL, 0, UINT64_MAX, 0, "b", .def = 5),
	END
};
static const struct schema dev_schema = { "dev", "a device", 2, sizeof(struct dev), dev_fields, NULL, dev_pre_save, dev_post_load };
static const struct schema dev_v1 = { "dev", "a device", 1, sizeof(struct dev), dev_fields };
static const struct schema dev_other = { "other", "another device", 2, sizeof(struct dev), dev_fields };
static const struct field dev_few[] = { U32(struct dev, a, NULL, 0, 6, 0, "a"), END };
static const struct schema dev_small = { "dev", "bounds are tighter", 2, sizeof(struct dev), dev_few };

static void expect(const struct schema *s, const GByteArray *b, const char *what)
{
	g_autoptr(GError) e = NULL;
	struct dev d;

	schema_init(s, &d);
	g_assert_false(load(s, &d, b, &e));
	g_assert_cmpint(e->code, ==, KERR_STATE_DATA);
	if (!strstr(e->message, what))
		g_error("'%s' does not say '%s'", e->message, what);
}

static void test_hooks(void)
{
	g_autoptr(GByteArray) b = g_byte_array_new();
	g_autoptr(GError) e = NULL;
	struct dev d = { .a = 3, .b = 9 }, back;
	const uint8_t *p;
	size_t n;

	state_save(&dev_schema, &d, b);
	state_save(&dev_schema, &d, b);
	g_assert_cmpint(saves, ==, 2);
	schema_init(&dev_schema, &back);
	p = b->data;
	n = b->len;
	g_assert_true(state_load(&dev_schema, &back, &p, &n, &e));
	g_assert_cmpuint(n, ==, b->len / 2);            /* one of two */
	g_assert_cmpuint(back.a, ==, 7);
	g_assert_cmpuint(back.sum, ==, 16);
	g_assert_true(state_load(&dev_schema, &back, &p, &n, &e));
	g_assert_cmpuint(n, ==, 0);
	g_assert_cmpint(loads, ==, 2);
	expect(&dev_v1, b, "version 2");
	expect(&dev_other, b, "'other' is expected");
	expect(&dev_small, b, "outside 0..6");
}

static void test_refused(void)
{
	g_autoptr(GByteArray) b = g_byte_array_new();
	struct dev d = { .a = 13, .b = 9 };

	state_save(&dev_v1, &d, b);
	expect(&dev_schema, b, "thirteen");
	g_byte_array_set_size(b, 0);
	d.a = 3;
	state_save(&dev_v1, &d, b);
	expect(&dev_small, b, "no field 'b'");
	b->data[b->len - 6] ^= 1;
	expect(&dev_v1, b, "damaged");
	g_byte_array_set_size(b, 0);
	expect(&dev_v1, b, "damaged");
}

static void test_dump(void)
{
	g_autoptr(GByteArray) b = g_byte_array_new();
	g_autoptr(GString) out = g_string_new(NULL);
	struct dev d = { .a = 3, .b = 0xffffffffffffffff };

	state_save(&dev_v1, &d, b);
	g_assert_true(state_dump(b->data, b->len, out, NULL));
	g_assert_cmpstr(out->str, ==, "dev version 1\n  a = 3 (0x3)\n  b = 18446744073709551615 (0xffffffffffffffff)\n");
	g_assert_false(state_dump(b->data, b->len - 1, out, NULL));
}

/* The format is for ever: these bytes must load. */
static void test_golden(void)
{
	static const uint8_t golden[] = {
		3, 'd', 'e', 'v', 0, 0, 0, 1, 0, 0, 0, 15,
		1, 'a', 'u', 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 42,
		0x0e, 0x00, 0x55, 0xdc,
	};
	struct dev d;
	const uint8_t *p = golden;
	size_t n = sizeof(golden);
	g_autoptr(GError) e = NULL;

	schema_init(&dev_v1, &d);
	g_assert_true(state_load(&dev_v1, &d, &p, &n, &e));
	g_assert_no_error(e);
	g_assert_cmpuint(d.a, ==, 42);
	g_assert_cmpuint(d.b, ==, 5);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/state/tables", test_tables);
	g_test_add_func("/state/hooks", test_hooks);
	g_test_add_func("/state/refused", test_refused);
	g_test_add_func("/state/dump", test_dump);
	g_test_add_func("/state/golden", test_golden);
	return g_test_run();
}
