/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The block core: the door, batches, FUA, drain, chains. */
#include <errno.h>
#include <string.h>

#include "devices/block_detect.h"
#include "devices/block_throttle.h"
#include "domain/error.h"
#include "tests/devices/block_rig.h"

static const struct block_mem_config mem64k = { .size = 65536 };

static void test_door(void)
{
	struct rig r;
	struct block_row rows[] = { { "mem", &mem64k } };
	struct block_options options = { .align = 512 };
	struct block_stats stats;
	uint8_t buf[1024];
	struct block *b;

	rig_init(&r, true, false);
	b = rig_open(&r, rows, 1, &options);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 0, buf, 512), ==, 512);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 65536, buf, 512), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 65024, buf, 1024), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, UINT64_MAX - 511, buf, 512), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 1, buf, 512), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 0, buf, 100), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_DISCARD, 0, 512, NULL, 1ull << 60), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, (enum block_op)77, 0, 0, buf, 512), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_RESIZE, 0, 32768, NULL, 0), ==, -EINVAL); /* shrink */
	g_assert_cmpint(rig_io(&r, b, BLOCK_RESIZE, 0, 65536 + 100, NULL, 0), ==, -EINVAL);
	g_assert_cmpint(rig_io(&r, b, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 0, buf, 0), ==, 0);
	block_stats(b, &stats);
	g_assert_cmpuint(stats.op[BLOCK_READ].ops, ==, 5);
	g_assert_cmpuint(stats.op[BLOCK_READ].errors, ==, 3);
	g_assert_cmpuint(stats.op[BLOCK_READ].bytes, ==, 512);
	g_assert_cmpuint(stats.bad, ==, 9);
	g_assert_cmpuint(stats.inflight, ==, 0);
	rig_close(&r, b, false);

	options.readonly = true;
	b = rig_open(&r, rows, 1, &options);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 0, buf, 512), ==, 512);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 0, buf, 512), ==, -EROFS);
	g_assert_cmpint(rig_io(&r, b, BLOCK_DISCARD, 0, 0, NULL, 512), ==, -EROFS);
	g_assert_cmpint(rig_io(&r, b, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	g_assert_cmpuint(block_can(b) & BLOCK_CAN_WRITE, ==, 0);
	rig_close(&r, b, false);
	rig_finish(&r);
}

struct order { unsigned done, in_submit, wrong; struct block *block; };

static void count_done(struct block_req *req, int64_t result)
{
	struct order *o = req->arg;

	o->done++;
	o->wrong += o->in_submit || result != (int64_t)req->bytes;
}

/* Nothing ends inside submit; a batch may end in unplug; without one the loop ends it. */
static void test_batch(void)
{
	struct rig r;
	struct block_row rows[] = { { "mem", &mem64k } };
	struct order o = { 0 };
	struct block_req reqs[64];
	uint8_t buf[512];
	struct iovec iov = { buf, 512 };
	struct block *b;

	rig_init(&r, true, false);
	b = rig_open(&r, rows, 1, NULL);
	for (int round = 0; round < 2; round++) {
		if (round)
			block_plug(b);
		for (unsigned i = 0; i < 64; i++) {
			reqs[i] = (struct block_req){ .op = BLOCK_WRITE,
				.offset = i * 512u,
				.bytes = 512,
				.iov = &iov,
				.iov_n = 1,
				.done = count_done,
				.arg = &o };
			o.in_submit = 1;
			block_submit(b, &reqs[i]);
			o.in_submit = 0;
		}
		g_assert_cmpuint(o.done, ==, round * 64);
		if (round)
			block_unplug(b);
		else
			while (loop_step(r.loop, 0))
				;
		g_assert_cmpuint(o.done, ==, (round + 1) * 64);
	}
	g_assert_cmpuint(o.wrong, ==, 0);
	rig_close(&r, b, false);
	rig_finish(&r);
}

static void test_fua_and_detect(void)
{
	struct rig r;
	struct block_fault fault = { 0 };
	struct block_fault_config config = { &fault };
	struct block_detect_config detect = { .unmap = true };
	struct block_row rows[] = { { "detect", &detect }, { "fault", &config },
		{ "mem", &mem64k } };
	struct block_options options = { .align = 1 };
	uint8_t buf[4096] = { 0 };
	struct block *b;

	rig_init(&r, true, false);
	b = rig_open(&r, rows, 3, &options);
	g_assert_cmpint(
		rig_io(&r, b, BLOCK_WRITE, BLOCK_FUA, 0, memset(buf, 1, sizeof(buf)), sizeof(buf)),
		==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_FLUSH], ==, 1);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 0, buf, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_FLUSH], ==, 1);
	memset(buf, 0, sizeof(buf));
	g_assert_cmpint(
		rig_io(&r, b, BLOCK_WRITE, BLOCK_FUA, 0, buf, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_ZERO], ==, 1);
	g_assert_cmpuint(fault.seen[BLOCK_WRITE], ==, 2);
	g_assert_cmpuint(fault.seen[BLOCK_FLUSH], ==, 2);
	buf[4095] = 1;
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 0, buf, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_WRITE], ==, 3);
	/* a failing flush fails the write */
	fault.fail_ops = 1u << BLOCK_FLUSH;
	fault.nth = 1;
	fault.error = -EIO;
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, BLOCK_FUA, 0, buf, sizeof(buf)), ==, -EIO);
	rig_close(&r, b, false);

	options.writethrough = true;
	memset(&fault, 0, sizeof(fault));
	b = rig_open(&r, rows, 3, &options);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 0, buf, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpint(rig_io(&r, b, BLOCK_ZERO, 0, 0, NULL, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_FLUSH], ==, 2);
	rig_close(&r, b, false);

	options.ignore_discard = true;
	memset(&fault, 0, sizeof(fault));
	b = rig_open(&r, rows, 3, &options);
	g_assert_cmpint(rig_io(&r, b, BLOCK_DISCARD, 0, 0, NULL, sizeof(buf)), ==, sizeof(buf));
	g_assert_cmpuint(fault.seen[BLOCK_DISCARD], ==, 0);
	rig_close(&r, b, false);
	rig_finish(&r);
}

static void test_drain(void)
{
	struct rig r;
	struct block_fault fault = { .delay = 1000000000 };
	struct block_fault_config config = { &fault };
	struct iotune slow = { .total_iops_sec = 1 };
	struct block_throttle_config throttle = { &slow };
	struct block_row rows[] = { { "throttle", &throttle }, { "fault", &config },
		{ "mem", &mem64k } };
	struct block_req reqs[20];
	struct order o = { 0 };
	struct block *b;

	rig_init(&r, true, false);
	b = rig_open(&r, rows, 3, NULL);
	for (unsigned i = 0; i < 20; i++) {
		reqs[i] = (struct block_req){ .op = BLOCK_DISCARD,
			.offset = i * 512u,
			.bytes = 512,
			.done = count_done,
			.arg = &o };
		block_submit(b, &reqs[i]);
	}
	for (int i = 0; i < 10; i++)
		loop_step(r.loop, 0);
	g_assert_cmpuint(o.done, ==, 0);
	fault.delay = 0; /* what the throttle lets go is done at once; the first one still waits */
	clock_step(r.clock, 1000000000);
	rig_drain(&r, b);
	g_assert_cmpuint(o.done, ==, 20);
	g_assert_cmpuint(o.wrong, ==, 0);
	block_undrain(b);
	rig_close(&r, b, false);
	rig_finish(&r);
}

static void test_rows(void)
{
	struct rig r;
	struct block_options options = { .align = 1 };
	static const struct { const char *names[4]; enum kerr code; } bad[] = {
		{ { "floppy" }, KERR_UNSUPPORTED },
		{ { "throttle" }, KERR_ARGS },
		{ { "mem", "mem" }, KERR_ARGS },
		{ { "qcow2", "qcow2", "mem" }, KERR_ARGS },
		{ { "qcow2", "mem" }, KERR_STATE_DATA },
	};
	struct block_throttle_config throttle = { NULL };

	rig_init(&r, true, false);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct block_row rows[4];
		unsigned n = 0;
		GError *err = NULL;

		for (; n < 4 && bad[i].names[n]; n++)
			rows[n] = (struct block_row){ bad[i].names[n],
				!strcmp(bad[i].names[n], "mem")        ? (void *)&mem64k
				: !strcmp(bad[i].names[n], "throttle") ? (void *)&throttle
								       : NULL };
		g_assert_null(block_open(r.host, rows, n, &options, r.fds, &err));
		g_assert_error(err, kerr_quark(), (int)bad[i].code);
		g_clear_error(&err);
	}
	g_assert_null(block_open(r.host, NULL, 0, &options, r.fds, NULL));
	rig_finish(&r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/block/door", test_door);
	g_test_add_func("/block/batch", test_batch);
	g_test_add_func("/block/fua-and-detect", test_fua_and_detect);
	g_test_add_func("/block/drain", test_drain);
	g_test_add_func("/block/rows", test_rows);
	return g_test_run();
}
