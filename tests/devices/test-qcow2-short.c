/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2, requests that go the short way: one request below for each, errors come through, drain waits for them, and a
 * cluster that is freed under them is not used again before they have ended.
 */
#include <errno.h>
#include <string.h>

#include "block_rig.h"

#define CLUSTER 65536u
#define DISK_SIZE (1u << 20)

struct disk {
	struct rig rig;
	struct block_fault fault;
	struct block *block;
	uint8_t buf[4 * CLUSTER];
};

static void disk_init(struct disk *d)
{
	struct block_mem_config mem = { .max = 1 << 24 };
	struct block_fault_config fault = { &d->fault };
	struct block_qcow2_config config = { .punch = true };
	struct block_row rows[] = { { "qcow2", &config }, { "fault", &fault }, { "mem", &mem } };
	struct qcow2_create create = { .size = DISK_SIZE, .cluster = CLUSTER };
	g_autofree void *image = NULL;
	struct block *file;
	uint64_t n;

	memset(&d->fault, 0, sizeof(d->fault));
	rig_init(&d->rig, false, false);
	file = rig_open(&d->rig, &rows[2], 1, NULL);
	g_assert_true(qcow2_create(file, &create, NULL));
	image = g_memdup2(block_mem_data(file, &n), file->size);
	mem.data = image;
	mem.size = mem.data_n = file->size;
	g_assert_true(block_close(file, NULL));
	d->block = rig_open(&d->rig, rows, 3, NULL);
}

static void disk_finish(struct disk *d)
{
	rig_close(&d->rig, d->block, false);
	rig_finish(&d->rig);
}

static int64_t fill(struct disk *d, uint64_t off, uint64_t len, int byte)
{
	memset(d->buf, byte, len);
	return rig_io(&d->rig, d->block, BLOCK_WRITE, 0, off, d->buf, len);
}

static void assert_filled(struct disk *d, uint64_t off, uint64_t len, int byte)
{
	memset(d->buf, ~byte, len);
	g_assert_cmpint(rig_io(&d->rig, d->block, BLOCK_READ, 0, off, d->buf, len), ==, len);
	for (uint64_t i = 0; i < len; i++)
		g_assert_cmphex(d->buf[i], ==, byte);
}

static void flush(struct disk *d)
{
	g_assert_cmpint(rig_io(&d->rig, d->block, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
}

static void test_one(void)
{
	struct disk d;
	uint64_t reads, writes;

	disk_init(&d);
	g_assert_cmpint(fill(&d, 0, 2 * CLUSTER, 0x11), ==, 2 * CLUSTER);       /* in a row */
	g_assert_cmpint(fill(&d, 4 * CLUSTER, CLUSTER, 0x12), ==, CLUSTER);
	g_assert_cmpint(fill(&d, 3 * CLUSTER, CLUSTER, 0x13), ==, CLUSTER);     /* lies behind its neighbour */
	flush(&d);
	reads = d.fault.seen[BLOCK_READ];
	writes = d.fault.seen[BLOCK_WRITE];
	assert_filled(&d, CLUSTER - 4096, 8192, 0x11);
	g_assert_cmpuint(d.fault.seen[BLOCK_READ] - reads, ==, 1);
	g_assert_cmpint(fill(&d, CLUSTER - 4096, 8192, 0x21), ==, 8192);
	g_assert_cmpuint(d.fault.seen[BLOCK_WRITE] - writes, ==, 1);
	g_assert_cmpint(fill(&d, 4 * CLUSTER - 4096, 8192, 0x22), ==, 8192);
	g_assert_cmpuint(d.fault.seen[BLOCK_WRITE] - writes, ==, 3);
	assert_filled(&d, 4 * CLUSTER - 4096, 8192, 0x22);
	assert_filled(&d, 3 * CLUSTER, CLUSTER - 4096, 0x13);
	assert_filled(&d, 2 * CLUSTER, CLUSTER, 0);
	assert_filled(&d, 0, CLUSTER - 4096, 0x11);
	disk_finish(&d);
}

static void test_errors(void)
{
	struct disk d;

	disk_init(&d);
	g_assert_cmpint(fill(&d, 0, CLUSTER, 0x31), ==, CLUSTER);
	flush(&d);
	d.fault = (struct block_fault){ .fail_ops = 1u << BLOCK_READ, .nth = 1, .error = -EIO };
	g_assert_cmpint(rig_io(&d.rig, d.block, BLOCK_READ, 0, 0, d.buf, 4096), ==, -EIO);
	assert_filled(&d, 0, 4096, 0x31);
	d.fault = (struct block_fault){ .fail_ops = 1u << BLOCK_WRITE, .nth = 1, .error = -ENOSPC };
	g_assert_cmpint(fill(&d, 4096, 4096, 0x32), ==, -ENOSPC);
	g_assert_cmpint(fill(&d, 4096, 4096, 0x32), ==, 4096);
	assert_filled(&d, 4096, 4096, 0x32);
	disk_finish(&d);
}

struct late { struct block_req req; struct iovec iov; unsigned pending; uint8_t data[4096]; };

static void late_done(struct block_req *r, int64_t result)
{
	g_assert_cmpint(result, ==, 4096);
	((struct late *)r->arg)->pending = 0;
}

/* A write that reaches the file only after 50 ms. */
static void late_begin(struct disk *d, struct late *l, uint64_t off, int byte)
{
	memset(l->data, byte, sizeof(l->data));
	l->pending = 1;
	l->iov = (struct iovec){ l->data, sizeof(l->data) };
	l->req = (struct block_req){ .op = BLOCK_WRITE, .offset = off, .bytes = sizeof(l->data), .iov = &l->iov, .iov_n = 1,
		.done = late_done, .arg = l };
	d->fault.delay = 50000000;
	block_submit(d->block, &l->req);
	d->fault.delay = 0;
}

static void test_drain(void)
{
	struct disk d;
	struct late l;

	disk_init(&d);
	g_assert_cmpint(fill(&d, 0, CLUSTER, 0x41), ==, CLUSTER);
	late_begin(&d, &l, 0, 0x42);
	rig_drain(&d.rig, d.block);
	g_assert_cmpuint(l.pending, ==, 0);
	disk_finish(&d);
}

static void test_freed(void)
{
	struct disk d;
	struct late l;

	disk_init(&d);
	g_assert_cmpint(fill(&d, 0, CLUSTER, 0x51), ==, CLUSTER);
	flush(&d);
	late_begin(&d, &l, 0, 0x52);
	g_assert_cmpint(rig_io(&d.rig, d.block, BLOCK_DISCARD, 0, 0, NULL, CLUSTER), ==, CLUSTER);
	flush(&d);
	for (unsigned i = 1; i < 16; i++)       /* whoever gets that cluster */
		g_assert_cmpint(fill(&d, i * CLUSTER, CLUSTER, 0x60 + (int)i), ==, CLUSTER);
	g_assert_cmpuint(l.pending, ==, 1);
	rig_run(&d.rig, &l.pending);
	for (unsigned i = 1; i < 16; i++)
		assert_filled(&d, i * CLUSTER, CLUSTER, 0x60 + (int)i);
	flush(&d);
	disk_finish(&d);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/qcow2/short/one", test_one);
	g_test_add_func("/qcow2/short/errors", test_errors);
	g_test_add_func("/qcow2/short/drain", test_drain);
	g_test_add_func("/qcow2/short/freed", test_freed);
	return g_test_run();
}
