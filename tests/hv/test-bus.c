/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Port and MMIO maps: look-up, cutting of accesses, regions that come and go under load. */
#include <string.h>

#include "domain/error.h"
#include "tests/fake/driver.h"

#define CELLS 64

struct cells {
	struct device dev;
	struct region region;
	uint8_t bytes[CELLS];
	GString *log;
};

static uint64_t mem_read(struct device *d, uint64_t offset, unsigned size)
{
	struct cells *m = (struct cells *)d;
	uint64_t value = 0;

	g_assert_cmpuint(offset % size, ==, 0);
	g_assert_cmpuint(offset + size, <=, CELLS);
	if (m->log)
		g_string_append_printf(m->log, "r%u@%u ", size, (unsigned)offset);
	memcpy(&value, m->bytes + offset, size);
	return value;
}

static void mem_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct cells *m = (struct cells *)d;

	g_assert_cmpuint(offset % size, ==, 0);
	g_assert_cmpuint(offset + size, <=, CELLS);
	if (m->log)
		g_string_append_printf(m->log, "w%u@%u ", size, (unsigned)offset);
	memcpy(m->bytes + offset, &value, size);
}

static const struct region_ops ops_any = { .read = mem_read, .write = mem_write };
static const struct region_ops ops_1 = { .read = mem_read, .write = mem_write, .min = 1, .max = 1 };
static const struct region_ops ops_2_4 = { .read = mem_read, .write = mem_write, .min = 2, .max = 4 };
static const struct region_ops ops_4 = { .read = mem_read, .write = mem_write, .min = 4, .max = 4 };

static void mem_init(struct cells *m, const struct region_ops *ops, uint64_t size)
{
	*m = (struct cells){ .dev.id = (char *)"m" };
	g_mutex_init(&m->dev.lock);
	m->region = (struct region){ .ops = ops, .dev = &m->dev, .name = "memory", .size = size };
}

static void test_map(void)
{
	struct bus *b = bus_new("test", 0x1000);
	struct cells m[4];
	uint32_t value = 0;
	GError *err = NULL;

	for (int i = 0; i < 4; i++)
		mem_init(&m[i], &ops_any, 16);
	g_assert_true(bus_map(b, &m[0].region, 0x100, &err));
	g_assert_true(bus_map(b, &m[1].region, 0x0, &err));
	g_assert_true(bus_map(b, &m[2].region, 0xff0, &err));
	g_assert_false(bus_map(b, &m[3].region, 0x10f, &err));
	g_assert_error(err, kerr_quark(), KERR_BUSY);
	g_assert_nonnull(strstr(err->message, "overlaps 'memory' of 'm'"));
	g_clear_error(&err);
	g_assert_false(bus_map(b, &m[3].region, 0xf1, &err));
	g_clear_error(&err);
	g_assert_false(bus_map(b, &m[3].region, 0xff8, &err));
	g_clear_error(&err);
	g_assert_false(bus_map(b, &m[3].region, 0xfff1, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_false(bus_map(b, &m[3].region, UINT64_MAX - 3, &err));
	g_clear_error(&err);
	g_assert_true(bus_map(b, &m[3].region, 0x110, &err));
	g_assert_true(bus_write(b, 0x10e, "\1\2\3\4", 4));     /* across two regions */
	g_assert_cmpint(m[0].bytes[15], ==, 2);
	g_assert_cmpint(m[3].bytes[0], ==, 3);
	g_assert_true(bus_read(b, 0x10e, &value, 4));
	g_assert_cmphex(value, ==, 0x04030201);
	/* half claimed, not claimed, at the very end */
	g_assert_true(bus_read(b, 0x11e, &value, 4));
	g_assert_cmphex(value, ==, 0xffff0000);
	g_assert_false(bus_read(b, 0x500, &value, 4));
	g_assert_cmphex(value, ==, 0xffffffff);
	g_assert_false(bus_write(b, 0x500, &value, 4));
	g_assert_true(bus_read(b, 0xffe, &value, 4));
	g_assert_cmphex(value, ==, 0xffff0000);
	for (int i = 0; i < 4; i++)
		bus_unmap(&m[i].region);
	bus_unmap(&m[0].region);
	g_assert_false(bus_read(b, 0x100, &value, 1));
	bus_free(b);
	bus_free(NULL);
}

/* All 64 bits of address. */
static void test_wide(void)
{
	struct bus *b = bus_new("wide", 0);
	struct cells m;
	uint64_t value = 0;

	mem_init(&m, &ops_any, CELLS);
	g_assert_true(bus_map(b, &m.region, UINT64_MAX - CELLS + 1, NULL));
	g_assert_true(bus_write(b, UINT64_MAX - 7, "abcdefgh", 8));
	g_assert_true(bus_read(b, UINT64_MAX - 7, &value, 8));
	g_assert_cmpmem(&value, 8, "abcdefgh", 8);
	g_assert_true(bus_read(b, UINT64_MAX, &value, 8));      /* wraps into nothing */
	g_assert_cmphex(value, ==, 0xffffffffffffff68);
	bus_unmap(&m.region);
	bus_free(b);
}

static void test_cut(void)
{
	static const struct { const struct region_ops *ops; bool write; unsigned at, size; const char *log; } rows[] = {
		{ &ops_any, false, 0, 8, "r8@0 " },
		{ &ops_any, false, 1, 8, "r1@1 r2@2 r4@4 r1@8 " },
		{ &ops_any, true, 2, 3, "w2@2 w1@4 " },
		{ &ops_1, false, 2, 4, "r1@2 r1@3 r1@4 r1@5 " },
		{ &ops_1, true, 7, 2, "w1@7 w1@8 " },
		{ &ops_2_4, false, 4, 8, "r4@4 r4@8 " },
		{ &ops_2_4, false, 5, 1, "r2@4 " },
		{ &ops_2_4, true, 5, 1, "r2@4 w2@4 " },
		{ &ops_4, true, 6, 4, "r4@4 w4@4 r4@8 w4@8 " },
		{ &ops_4, false, 3, 1, "r4@0 " },
	};
	struct bus *b = bus_new("test", 0x1000);
	struct cells m;

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		uint8_t want[CELLS], data[8] = { 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8 };

		mem_init(&m, rows[i].ops, CELLS);
		m.log = g_string_new(NULL);
		for (unsigned k = 0; k < CELLS; k++)
			m.bytes[k] = want[k] = (uint8_t)k;
		g_assert_true(bus_map(b, &m.region, 0x40, NULL));
		if (rows[i].write) {
			g_assert_true(bus_write(b, 0x40 + rows[i].at, data, rows[i].size));
			memcpy(want + rows[i].at, data, rows[i].size);
		} else {
			g_assert_true(bus_read(b, 0x40 + rows[i].at, data, rows[i].size));
			g_assert_cmpmem(data, rows[i].size, want + rows[i].at, rows[i].size);
		}
		g_assert_cmpmem(m.bytes, CELLS, want, CELLS);
		g_assert_cmpstr(m.log->str, ==, rows[i].log);
		bus_unmap(&m.region);
		g_string_free(m.log, TRUE);
	}
	bus_free(b);
}

/* Every offset and size against plain memory. */
static void test_all_sizes(void)
{
	static const struct region_ops *const all[] = { &ops_any, &ops_1, &ops_2_4, &ops_4 };
	struct bus *b = bus_new("test", 0x1000);
	struct cells m;

	for (unsigned o = 0; o < G_N_ELEMENTS(all); o++) {
		mem_init(&m, all[o], CELLS);
		g_assert_true(bus_map(b, &m.region, 0x100, NULL));
		for (unsigned at = 0; at < CELLS; at++)
			for (unsigned size = 1; size <= 8; size++) {
				uint64_t in = 0x1122334455667788ull * (at + 1), out = 0;
				unsigned inside = MIN(size, CELLS - at);

				bus_write(b, 0x100 + at, &in, size);
				g_assert_cmpmem(m.bytes + at, inside, &in, inside);
				bus_read(b, 0x100 + at, &out, size);
				g_assert_cmpmem(&out, inside, &in, inside);
			}
		bus_unmap(&m.region);
	}
	bus_free(b);
}

/* More regions than the first table has room for, in any order, coming and going. */
static void test_many(void)
{
	enum { N = 300 };
	struct bus *b = bus_new("many", 0);
	struct cells *m = g_new(struct cells, N);
	GRand *r = g_rand_new_with_seed(3);
	bool is_there[N] = { false };

	for (int i = 0; i < N; i++)
		mem_init(&m[i], &ops_any, CELLS);
	for (int round = 0; round < 3000; round++) {
		int i = g_rand_int_range(r, 0, N);
		uint8_t v = 0;

		if (is_there[i])
			bus_unmap(&m[i].region);
		else
			g_assert_true(bus_map(b, &m[i].region, (uint64_t)i * 2 * CELLS, NULL));
		is_there[i] = !is_there[i];
		i = round < 1500 ? i : g_rand_int_range(r, 0, N);
		m[i].bytes[CELLS - 1] = (uint8_t)i;
		g_assert_cmpint(bus_read(b, (uint64_t)i * 2 * CELLS + CELLS - 1, &v, 1), ==, is_there[i]);
		g_assert_cmpint(v, ==, is_there[i] ? (uint8_t)i : 0xff);
		g_assert_false(bus_read(b, (uint64_t)i * 2 * CELLS + CELLS, &v, 1));
	}
	for (int i = 0; i < N; i++)
		bus_unmap(&m[i].region);
	g_rand_free(r);
	g_free(m);
	bus_free(b);
}

/* --- threads --- */

struct mover {
	struct device dev;
	struct region ctl, bar;
	struct bus *bus;
	int alive;      /* not atomic: under the device's lock */
	unsigned hits;
};

static uint64_t bar_read(struct device *d, uint64_t offset, unsigned size)
{
	struct mover *m = (struct mover *)d;

	g_assert_true(m->alive);
	m->hits++;
	return 0x55;
}

static void bar_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	g_assert_true(((struct mover *)d)->alive);
}

static const struct region_ops bar_ops = { .read = bar_read, .write = bar_write };

static uint64_t ctl_read(struct device *d, uint64_t offset, unsigned size)
{
	return 0;
}

/* As a PCI device whose BAR is moved by a write to its configuration, with its own lock held. */
static void ctl_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct mover *m = (struct mover *)d;

	bus_hide(&m->bar);
	g_assert_true(bus_map(m->bus, &m->bar, value, NULL));
}

static const struct region_ops ctl_ops = { .read = ctl_read, .write = ctl_write };

struct player {
	struct bus *bus;
	int stop;       /* atomic */
};

static void *play(void *arg)
{
	struct player *p = arg;

	while (!g_atomic_int_get(&p->stop)) {
		uint8_t v = 0;

		for (uint64_t at = 0x100; at <= 0x300; at += 0x100) {
			bus_read(p->bus, at, &v, 1);
			g_assert_true(v == 0x55 || v == 0xff);
		}
	}
	return NULL;
}

static void test_moves(void)
{
	struct player p = { .bus = bus_new("test", 0x10000) };
	GThread *threads[2];

	for (int i = 0; i < 2; i++)
		threads[i] = g_thread_new("play", play, &p);
	for (int round = 0; round < 30; round++) {
		struct mover *m = g_new0(struct mover, 1);

		g_mutex_init(&m->dev.lock);
		m->dev.id = (char *)"mover";
		m->bus = p.bus;
		m->alive = true;
		m->ctl = (struct region){ .ops = &ctl_ops, .dev = &m->dev, .name = "ctl", .size = 8 };
		m->bar = (struct region){ .ops = &bar_ops, .dev = &m->dev, .name = "bar", .size = 16 };
		g_assert_true(bus_map(p.bus, &m->ctl, 0x10, NULL));
		for (int i = 0; i < 50; i++) {
			uint64_t to = 0x100 * (uint64_t)(1 + i % 3);

			bus_write(p.bus, 0x10, &to, 8);
		}
		/* the device goes: nobody may be inside, nor come */
		bus_unmap(&m->ctl);
		bus_unmap(&m->bar);
		m->alive = false;
		g_mutex_clear(&m->dev.lock);
		memset(m, 0xdd, sizeof(*m));
		g_free(m);
	}
	g_atomic_int_set(&p.stop, 1);
	for (int i = 0; i < 2; i++)
		g_thread_join(threads[i]);
	bus_free(p.bus);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/bus/map", test_map);
	g_test_add_func("/bus/wide", test_wide);
	g_test_add_func("/bus/cut", test_cut);
	g_test_add_func("/bus/all-sizes", test_all_sizes);
	g_test_add_func("/bus/many", test_many);
	g_test_add_func("/bus/moves", test_moves);
	return g_test_run();
}
