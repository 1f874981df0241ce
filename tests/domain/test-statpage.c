/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The statistics page: its table, slots, and pages that lie. */
#include <string.h>

#include "domain/error.h"
#include "domain/machine.h"
#include "domain/statpage.h"

static const unsigned few[STAT_KINDS] = { 1, 2, 2, 3, 1 };

static void *page_new(const unsigned slots[STAT_KINDS], size_t *len)
{
	void *page = g_malloc0(*len = statpage_size(slots));

	statpage_format(page, slots);
	return page;
}

/* Each word of a slot has exactly one row, and no two rows share a name. */
static void test_table(void)
{
	for (unsigned k = 0; k < STAT_KINDS; k++) {
		g_autofree unsigned *rows = g_new0(unsigned, stat_words[k]);
		g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);

		for (const struct stat_counter *c = stat_counters[k]; c->doc; c++) {
			g_assert_true(*c->doc && c->unit);
			if (c->name)
				g_assert_true(g_hash_table_add(names, (char *)c->name));
			for (unsigned w = 0; w < c->words; w++) {
				g_assert_cmpuint(c->at + w, <, stat_words[k]);
				rows[c->at + w]++;
			}
		}
		for (unsigned w = 0; w < stat_words[k]; w++)
			g_assert_cmpuint(rows[w], ==, 1);
	}
}

static void test_slots(void)
{
	size_t len;
	g_autofree uint8_t *page = page_new(few, &len);
	struct statpage p;
	struct stat_slot s;
	uint64_t *a, *b;

	g_assert_true(statpage_parse(&p, page, len, NULL) && statpage_may_write(page, len, NULL));
	g_assert_false(statpage_slot(&p, STAT_BLOCK, 0, &s));
	a = statpage_take(page, STAT_BLOCK, "virtio-disk0", "vda");
	b = statpage_take(page, STAT_BLOCK, "virtio-disk1", "vdb");
	g_assert_true(a && b && a != b);
	g_assert_null(statpage_take(page, STAT_BLOCK, "virtio-disk2", "vdc"));
	a[STAT_BLOCK_SIZE] = 4096;
	g_assert_true(statpage_slot(&p, STAT_BLOCK, 0, &s));
	g_assert_cmpstr(s.alias, ==, "virtio-disk0");
	g_assert_cmpstr(s.label, ==, "vda");
	g_assert_cmpuint(stat_slot_word(&s, STAT_BLOCK_SIZE), ==, 4096);
	g_assert_true(stat_slot_word(&s, STAT_BLOCK_WORDS) == STAT_UNKNOWN);
	g_assert_false(statpage_slot(&p, STAT_BLOCK, 2, &s));
	/* the next one finds it free and zeroed */
	statpage_give(page, a);
	g_assert_false(statpage_slot(&p, STAT_BLOCK, 0, &s));
	g_assert_true(statpage_take(page, STAT_BLOCK, "x", NULL) == a);
	g_assert_cmpuint(a[STAT_BLOCK_SIZE], ==, 0);
	statpage_give(page, NULL);
}

static void test_plan(void)
{
	struct machine *m = machine_new();
	unsigned slots[STAT_KINDS];

	m->vcpu.max = 4;
	statpage_plan(m, slots);
	g_assert_cmpuint(slots[STAT_VCPU], ==, 4);
	g_assert_cmpuint(slots[STAT_BLOCK], >=, 8);
	m->vcpu.max = 65535;
	statpage_plan(m, slots);
	for (unsigned k = 0; k < STAT_KINDS; k++)
		g_assert_cmpuint(slots[k], <=, stat_slots_max[k]);
	g_assert_cmpuint(statpage_size(slots), <, STAT_BYTES_MAX);
	g_assert_cmpuint(statpage_size(stat_slots_max), <, STAT_BYTES_MAX);
	machine_free(m);
}

/* Everything that a reader may ask of a page that it took. */
static void read_all(const struct statpage *p)
{
	struct stat_slot s;
	uint64_t sum = 0;

	for (unsigned k = 0; k < STAT_KINDS; k++)
		for (unsigned i = 0; i < p->kind[k].slots; i++)
			if (statpage_slot(p, k, i, &s)) {
				g_assert_true(g_utf8_validate(s.alias, -1, NULL) && g_utf8_validate(s.label, -1, NULL));
				for (unsigned w = 0; w <= stat_words[k]; w++)
					sum += stat_slot_word(&s, w);
			}
	(void)sum;
}

static void refused(const void *page, size_t len, const char *part)
{
	g_autoptr(GError) err = NULL;
	struct statpage p = { 0 };

	g_assert_false(statpage_parse(&p, page, len, &err));
	g_assert_nonnull(strstr(err->message, part));
	g_assert_null(p.data);
}

/* Header: magic 8, version 4, kinds 4, then offset, stride, slots, 0 of each kind. */
static void poke(uint8_t *page, size_t at, uint32_t value)
{
	memcpy(page + at, &value, sizeof(value));
}
#define ROW_OF(k) (16 + 16 * (k))

static void test_hostile(void)
{
	size_t len;
	g_autofree uint8_t *page = page_new(few, &len), *copy = g_malloc(len);
	struct statpage p;
	uint64_t *w = statpage_take(page, STAT_NET, "\x1b[2J\xff\xfe", NULL);

	memset(w, 0xff, STAT_NET_WORDS * sizeof(*w));
	memset((char *)w - 96, 'x', 96);                /* names without an end */
	g_assert_true(statpage_parse(&p, page, len, NULL));
	read_all(&p);
	/* cut at every byte, in memory of exactly that size */
	for (size_t n = 0; n < len; n += n < 128 ? 1 : 37) {
		g_autofree uint8_t *cut = g_memdup2(page, n);

		g_assert_false(statpage_parse(&p, cut, n, NULL));
	}
	refused("", 0, "not a statistics page");
#define BAD(at, value, part) do { memcpy(copy, page, len); poke(copy, at, value); refused(copy, len, part); } while (0)
	BAD(0, 0, "not a statistics page");
	BAD(8, 2, "version 2");
	BAD(ROW_OF(STAT_NET) + 8, 1u << 31, "slots of kind 'net'");
	BAD(ROW_OF(STAT_NET) + 8, 1024, "outside");
	BAD(ROW_OF(STAT_NET) + 4, UINT32_MAX, "outside");
	BAD(ROW_OF(STAT_NET) + 4, 0, "outside");
	BAD(ROW_OF(STAT_NET), UINT32_MAX, "outside");
#undef BAD
	/* kinds that we do not know are no harm; fewer neither */
	poke(page, 12, UINT32_MAX);
	g_assert_true(statpage_parse(&p, page, len, NULL));
	read_all(&p);
	poke(page, 12, 1);
	g_assert_true(statpage_parse(&p, page, len, NULL));
	g_assert_cmpuint(p.kind[STAT_NET].slots, ==, 0);
}

static void test_noise(void)
{
	size_t len;
	g_autofree uint8_t *page = page_new(few, &len), *copy = g_malloc(len);
	g_autoptr(GRand) rand = g_rand_new_with_seed(7);
	struct statpage p;

	(void)statpage_take(page, STAT_BALLOON, "balloon0", NULL);
	for (unsigned n = 0; n < 20000; n++) {
		size_t most = n & 1 ? 96 : len;

		memcpy(copy, page, len);
		for (unsigned i = 0; i < 4; i++)
			copy[g_rand_int_range(rand, 0, (gint32)most)] ^= (uint8_t)g_rand_int(rand);
		if (statpage_parse(&p, copy, len, NULL))
			read_all(&p);
	}
}

/* A writer or reader that knows fewer or more counters. */
static void test_versions(void)
{
	size_t len;
	g_autofree uint8_t *page = page_new(few, &len);
	struct statpage p;
	struct stat_slot s;
	g_autoptr(GError) err = NULL;

	(void)statpage_take(page, STAT_BLOCK, "a", "vda");
	poke(page, ROW_OF(STAT_BLOCK) + 4, 104 + 8 * STAT_BLOCK_SIZE);         /* without the last one */
	g_assert_true(statpage_parse(&p, page, len, NULL));
	g_assert_true(statpage_slot(&p, STAT_BLOCK, 0, &s));
	g_assert_true(stat_slot_word(&s, STAT_BLOCK_SIZE) == STAT_UNKNOWN);
	g_assert_cmpuint(stat_slot_word(&s, STAT_BLOCK_THROTTLED), ==, 0);
	g_assert_false(statpage_may_write(page, len, &err));
	g_assert_nonnull(strstr(err->message, "too small"));
	poke(page, ROW_OF(STAT_BLOCK) + 4, 104 + 8 * STAT_BLOCK_WORDS + 4);
	poke(page, ROW_OF(STAT_BLOCK) + 8, 1);
	g_assert_false(statpage_may_write(page, len, NULL));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/statpage/table", test_table);
	g_test_add_func("/statpage/slots", test_slots);
	g_test_add_func("/statpage/plan", test_plan);
	g_test_add_func("/statpage/hostile", test_hostile);
	g_test_add_func("/statpage/noise", test_noise);
	g_test_add_func("/statpage/versions", test_versions);
	return g_test_run();
}
