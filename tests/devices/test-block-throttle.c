/* SPDX-License-Identifier: GPL-2.0-or-later */
/* <iotune> on a manual clock: rates within 1 %, bursts exact, groups fair within 10 %, changes at once. */
#include <string.h>

#include "block_rig.h"
#include "devices/block_throttle.h"

#define SECOND 1000000000ll
#define STEP (SECOND / 1000)
#define DISK (64u << 20)

static void test_bucket(void)
{
	struct bucket b;
	uint64_t sent = 0;

	/* sizes from below to above what it holds; odd steps of time */
	bucket_init(&b, 1000003, 100000);
	for (int64_t t = 0, step = 777777; t < 1000 * SECOND; t += step) {
		static const uint64_t sizes[] = { 512, 99999, 350001, 1, 4096 };
		uint64_t size = sizes[(uint64_t)t / 1000 % 5];

		bucket_refill(&b, step);
		if (!bucket_wait(&b, size)) {
			bucket_take(&b, size);
			sent += size;
		}
	}
	g_assert_cmpuint(sent, >, 1000003ull * 1000 / 1000 * 999);
	g_assert_cmpuint(sent, <=, 1000003ull * 1000 + 450001);

	/* what it says to wait is exactly enough */
	bucket_init(&b, 3, 1);
	bucket_take(&b, 1);
	g_assert_cmpint(bucket_wait(&b, 1), ==, 333333334);
	bucket_refill(&b, 333333333);
	g_assert_cmpint(bucket_wait(&b, 1), ==, 1);
	bucket_refill(&b, 1);
	g_assert_cmpint(bucket_wait(&b, 1), ==, 0);

	/* the largest numbers there are */
	bucket_init(&b, INT64_MAX, UINT64_MAX);
	bucket_take(&b, UINT64_MAX);
	g_assert_cmpint(bucket_wait(&b, 1), <, 3 * SECOND);
	bucket_refill(&b, INT64_MAX);
	g_assert_cmpint(bucket_wait(&b, 1 << 30), ==, 0);

	/* a change keeps debts as time, and does not stall */
	bucket_init(&b, 1000000, 100000);
	bucket_take(&b, 600000);        /* half a second owed */
	bucket_set(&b, 10, 1);
	g_assert_cmpint(bucket_wait(&b, 1), <=, SECOND / 2 + SECOND / 10 + 1);
	bucket_set(&b, 0, 0);
	g_assert_cmpint(bucket_wait(&b, 1 << 20), ==, 0);
}

/* --- disks that are always busy --- */

#define QUEUE 8
struct load {
	struct rig *rig;
	struct block *block;
	enum block_op op;
	uint64_t size, bytes, ops;
	struct block_req reqs[QUEUE];
	struct iovec iov;
	unsigned busy;
	bool stop;
};

static void load_done(struct block_req *r, int64_t result)
{
	struct load *l = r->arg;

	g_assert_cmpint(result, ==, l->size);
	l->bytes += l->size;
	l->ops++;
	l->busy--;
	if (l->stop)
		return;
	l->busy++;
	block_submit(l->block, r);
}

static void load_start(struct load *l, struct rig *rig, const struct iotune *limits,
	enum block_op op, uint64_t size)
{
	static const struct block_mem_config mem = { .size = DISK, .null = true };
	struct block_throttle_config throttle = { limits };
	struct block_row rows[] = { { "throttle", &throttle }, { "mem", &mem } };

	*l = (struct load){ .rig = rig, .op = op, .size = size, .iov = { g_malloc0(size), size } };
	if (!l->block)
		l->block = rig_open(rig, rows, 2, NULL);
	for (unsigned i = 0; i < QUEUE; i++) {
		l->reqs[i] = (struct block_req){ .op = op,
			.bytes = size,
			.iov = &l->iov,
			.iov_n = 1,
			.done = load_done,
			.arg = l };
		l->busy++;
		block_submit(l->block, &l->reqs[i]);
	}
}

static void load_end(struct load *l)
{
	l->stop = true;
	rig_close(l->rig, l->block, false);
	g_assert_cmpuint(l->busy, ==, 0);
	g_free(l->iov.iov_base);
}

static void let_run(struct rig *r, int64_t ns)
{
	for (; ns > 0; ns -= STEP) {
		clock_step(r->clock, STEP);
		while (loop_step(r->loop, 0))
			;
	}
}

static void near(uint64_t got, uint64_t want, unsigned permille)
{
	g_assert_cmpuint(got, >=, want - want * permille / 1000);
	g_assert_cmpuint(got, <=, want + want * permille / 1000);
}

static const struct rate_case {
	const char *name;
	struct iotune t;
	enum block_op op;
	uint64_t size, bytes, ops;      /* per second */
} rate_cases[] = {
	{ "bytes-total", { .total_bytes_sec = 10000000 }, BLOCK_READ, 4096, 10000000, 0 },
	{ "bytes-total-large", { .total_bytes_sec = 10000000 }, BLOCK_WRITE, 4 << 20, 10000000, 0 },
	{ "bytes-read", { .read_bytes_sec = 3000000 }, BLOCK_READ, 65536, 3000000, 0 },
	{ "bytes-write", { .write_bytes_sec = 123457 }, BLOCK_WRITE, 512, 123457, 0 },
	{ "iops-total", { .total_iops_sec = 500 }, BLOCK_WRITE, 65536, 0, 500 },
	{ "iops-read", { .read_iops_sec = 7 }, BLOCK_READ, 4096, 0, 7 },
	{ "iops-write", { .write_iops_sec = 250, .write_bytes_sec = 1ull << 40 }, BLOCK_WRITE, 4096, 0, 250 },
	{ "iops-by-size", { .total_iops_sec = 1000, .size_iops_sec = 4096 }, BLOCK_READ, 16384, 0, 250 },
	{ "iops-with-length", { .total_iops_sec = 500, .total_iops_sec_max = 500, .total_iops_sec_max_length = 10 }, BLOCK_READ, 512, 0, 500 },
};

static void test_rate(const void *arg)
{
	const struct rate_case *c = arg;
	struct rig r;
	struct load l;

	rig_init(&r, true, false);
	load_start(&l, &r, &c->t, c->op, c->size);
	let_run(&r, SECOND);            /* what the full bucket gave is gone */
	l.bytes = l.ops = 0;
	let_run(&r, 60 * SECOND);
	if (c->bytes)
		near(l.bytes, c->bytes * 60, c->size > 1 << 20 ? 10 : 2);
	if (c->ops)
		near(l.ops, c->ops * 60, 3);
	load_end(&l);
	rig_finish(&r);
}

static void test_burst(void)
{
	struct iotune t = { .total_bytes_sec = 1000000,
		.total_bytes_sec_max = 5000000,
		.total_bytes_sec_max_length = 4 };
	struct rig r;
	struct load l;

	rig_init(&r, true, false);
	load_start(&l, &r, &t, BLOCK_WRITE, 4096);
	let_run(&r, 2 * SECOND);
	near(l.bytes, 10000000 + 500000,
		10); /* at the burst's rate, plus its own tenth of a second */
	let_run(&r, 2 * SECOND);
	near(l.bytes, 20000000, 1);             /* exactly rate × length is through */
	let_run(&r, 4 * SECOND);
	near(l.bytes, 24000000, 1);
	/* half an idle refill gives half a burst */
	l.stop = true;
	let_run(&r, SECOND);
	g_assert_cmpuint(l.busy, ==, 0);
	let_run(&r, 8 * SECOND);
	l.bytes = 0;
	l.stop = false;
	for (unsigned i = 0; i < QUEUE; i++) {
		l.busy++;
		block_submit(l.block, &l.reqs[i]);
	}
	let_run(&r, 4 * SECOND);
	near(l.bytes, 9000000 + 4000000, 20);
	load_end(&l);
	rig_finish(&r);
}

static void test_group(void)
{
	struct iotune t = { .total_bytes_sec = 8000000, .group_name = "g" };
	static const uint64_t sizes[] = { 4096, 65536, 4096, 1 << 20 };
	struct load l[4];
	struct rig r;
	uint64_t sum = 0;

	rig_init(&r, true, false);
	for (unsigned i = 0; i < 4; i++)
		load_start(&l[i], &r, &t, i % 2 ? BLOCK_READ : BLOCK_WRITE, sizes[i]);
	let_run(&r, 2 * SECOND);
	for (unsigned i = 0; i < 4; i++)
		l[i].bytes = 0;
	let_run(&r, 60 * SECOND);
	for (unsigned i = 0; i < 4; i++) {
		near(l[i].bytes, 2000000 * 60, 50);
		sum += l[i].bytes;
	}
	near(sum, 8000000 * 60, 10);
	/* two stop: the others share what is there */
	l[0].stop = l[3].stop = true;
	let_run(&r, 2 * SECOND);
	l[1].bytes = l[2].bytes = 0;
	let_run(&r, 30 * SECOND);
	near(l[1].bytes, 4000000 * 30, 50);
	near(l[2].bytes, 4000000 * 30, 50);
	/* one comes back: it gets its share, not what it did not use */
	l[0].stop = false;
	l[0].bytes = 0;
	for (unsigned i = 0; i < QUEUE; i++) {
		l[0].busy++;
		block_submit(l[0].block, &l[0].reqs[i]);
	}
	let_run(&r, 30 * SECOND);
	near(l[0].bytes, 8000000 / 3 * 30, 50);
	for (unsigned i = 0; i < 4; i++)
		load_end(&l[i]);
	rig_finish(&r);
}

static void test_directions(void)
{
	struct iotune t = { .read_iops_sec = 10, .write_iops_sec = 1000, .group_name = "g" };
	struct load reads, writes;
	struct rig r;

	rig_init(&r, true, false);
	load_start(&reads, &r, &t, BLOCK_READ, 512);
	load_start(&writes, &r, &t, BLOCK_WRITE, 512);
	let_run(&r, 20 * SECOND);
	near(reads.ops, 200, 30);
	near(writes.ops, 20000, 30);
	load_end(&reads);
	load_end(&writes);
	rig_finish(&r);
}

static void test_live(void)
{
	struct iotune t = { .total_bytes_sec = 1000 }, fast = { .total_bytes_sec = 20000000 },
		      both = { .total_iops_sec = 9, .read_iops_sec = 3 };
	GError *err = NULL;
	struct rig r;
	struct load l;

	rig_init(&r, true, false);
	load_start(&l, &r, &t, BLOCK_READ, 65536);
	let_run(&r, 5 * SECOND);
	g_assert_cmpuint(l.ops, ==, 1);         /* and a minute owed */
	g_assert_true(block_set_iotune(l.block, &fast, &err));
	l.bytes = 0;
	let_run(&r, 10 * SECOND);               /* at once */
	near(l.bytes, 200000000, 10);
	g_assert_true(block_set_iotune(l.block, &t, &err));
	l.bytes = 0;
	let_run(&r, 10 * SECOND);
	g_assert_cmpuint(l.ops, >, 1);
	g_assert_false(block_set_iotune(l.block, &both, &err));
	g_assert_nonnull(err);
	g_clear_error(&err);
	l.stop = true; /* else it never ends without limits on a null disk */
	g_assert_true(block_set_iotune(l.block, NULL, &err));
	let_run(&r, STEP);
	g_assert_cmpuint(l.busy, ==, 0);
	load_end(&l);
	rig_finish(&r);
}

/* From a group of its own to a shared one and back, while requests wait. */
static void test_move(void)
{
	struct iotune slow = { .total_bytes_sec = 1000 }, g = { .total_bytes_sec = 8000000, .group_name = "g" },
		      own = { .total_bytes_sec = 3000000 };
	GError *err = NULL;
	struct load a, b;
	struct rig r;

	rig_init(&r, true, false);
	load_start(&a, &r, &g, BLOCK_READ, 4096);
	load_start(&b, &r, &slow, BLOCK_READ, 65536);
	let_run(&r, 2 * SECOND);
	g_assert_cmpuint(b.ops, ==, 1);
	g_assert_true(block_set_iotune(b.block, &g, &err));
	let_run(&r, 2 * SECOND);
	a.bytes = b.bytes = 0;
	let_run(&r, 30 * SECOND);
	near(a.bytes, 4000000 * 30, 50);
	near(b.bytes, 4000000 * 30, 50);
	g_assert_true(block_set_iotune(a.block, &own, &err));
	let_run(&r, 2 * SECOND);
	a.bytes = b.bytes = 0;
	let_run(&r, 30 * SECOND);
	near(a.bytes, 3000000 * 30, 50);
	near(b.bytes, 8000000 * 30, 50);
	load_end(&a);
	load_end(&b);
	rig_finish(&r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/throttle/bucket", test_bucket);
	for (unsigned i = 0; i < G_N_ELEMENTS(rate_cases); i++) {
		g_autofree char *path = g_strdup_printf("/throttle/rate/%s", rate_cases[i].name);

		g_test_add_data_func(path, &rate_cases[i], test_rate);
	}
	g_test_add_func("/throttle/burst", test_burst);
	g_test_add_func("/throttle/group", test_group);
	g_test_add_func("/throttle/move", test_move);
	g_test_add_func("/throttle/directions", test_directions);
	g_test_add_func("/throttle/live", test_live);
	return g_test_run();
}
