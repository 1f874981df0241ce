/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk in mid-request: moved, paused, reset; then resized and given other limits. */
#include <errno.h>
#include <string.h>

#include "tests/devices/virtio_blk_rig.h"
#include "tests/fake/driver.h"

/* Moved while one request has failed and is kept, and another waits behind it. */
static void test_move(void)
{
	struct place *a = simple(), *b = place_new(&(struct disk){ 0 }, &(struct block_options){ .align = 512 }, false);
	uint8_t data[512];

	pattern(data, 512, 51);
	put(a, DATA, data, 512);
	drv_mmio_write(a->f, a->d.space + 32, 1, 0);
	fail(a, BLOCK_WRITE, -ENOSPC, 1);
	begin(a, 0, 0, OUT, 10, DATA, 512);
	begin(a, 0, 1, IN, 10, DATA + 4096, 512);
	fake_pause(a->f);
	fake_pause(b->f);
	fake_move(a->f, b->f);
	b->d = a->d;
	vdrv_move(&b->d, b->f);
	fake_resume(b->f);
	g_assert_true(ended(b, 0, NULL) && ended(b, 0, NULL));
	g_assert_cmpuint(status(b, 0), ==, OK);
	g_assert_cmpuint(status(b, 1), ==, OK);
	g_assert_cmpmem(disk(b) + 5120, 512, data, 512);
	g_assert_cmpuint(drv_mmio_read(b->f, b->d.space + 32, 1), ==, 0);
	place_free(a);
	place_free(b);
}

/* A pause waits for what the disk is doing, a reset too; one queue can be reset alone. */
static void test_drain(void)
{
	struct place *p = place_new(&(struct disk){ .driver.queues = 2 }, &(struct block_options){ .align = 512 }, false);

	open_driver(p, ALL | VIRTIO_F_RING_RESET);
	p->fault.shuffle = g_rand_new_with_seed(1);
	for (unsigned i = 0; i < 4; i++)
		begin(p, i & 1, i, IN, i, DATA + i * 512, 512);
	fake_pause(p->f);
	for (unsigned i = 0; i < 4; i++)
		g_assert_true(ended(p, i & 1, NULL));
	fake_resume(p->f);
	for (unsigned i = 0; i < 4; i++)
		begin(p, i & 1, i, OUT, i, DATA + i * 512, 512);
	vdrv_reset(&p->d);
	g_clear_pointer(&p->fault.shuffle, g_rand_free);
	open_driver(p, ALL | VIRTIO_F_RING_RESET);
	p->fault.delay = 1000000;
	begin(p, 0, 0, IN, 0, DATA, 512);
	begin(p, 1, 1, IN, 1, DATA + 512, 512);
	vdrv_common_write(&p->d, 0x16, 2, 0);           /* queue_select */
	vdrv_common_write(&p->d, 0x3a, 2, 1);           /* queue_reset */
	fake_step(p->f);
	g_assert_cmpuint(vdrv_common(&p->d, 0x3a, 2), ==, 1);
	fake_pass(p->f, 2000000);
	g_assert_cmpuint(vdrv_common(&p->d, 0x3a, 2), ==, 0);
	g_assert_true(ended(p, 1, NULL));
	p->fault.delay = 0;
	vdrv_queue(&p->d, 0, 16);
	g_assert_cmpuint(ask(p, IN, 0, DATA, 512), ==, OK);
	place_free(p);
}

static void resized(struct done *d, int result)
{
	*(int *)d->arg = result;
}

static void test_resize(void)
{
	struct place *p = place_new(&(struct disk){ 0 }, &(struct block_options){ .align = 512 }, true);
	int result = 1;
	struct done done = { .fn = resized, .arg = &result };

	open_driver(p, ALL);
	virtio_blk_resize(p->dev, DISK + 8192, &done);
	fake_step(p->f);
	g_assert_cmpint(result, ==, 0);
	g_assert_cmpuint(drv_mmio_read(p->f, p->d.space, 4), ==, DISK / 512 + 16);
	g_assert_cmpuint(ask(p, IN, DISK / 512, DATA, 512), ==, OK);
	done = (struct done){ .fn = resized, .arg = &result };
	virtio_blk_resize(p->dev, DISK, &done);
	fake_step(p->f);
	g_assert_cmpint(result, <, 0);
	fake_pause(p->f);
	done = (struct done){ .fn = resized, .arg = &result };
	virtio_blk_resize(p->dev, DISK + 16384, &done);
	fake_step(p->f);
	g_assert_cmpint(result, ==, 0);         /* the guest learns of it when it goes on */
	fake_resume(p->f);
	g_assert_cmpuint(drv_mmio_read(p->f, p->d.space, 4), ==, DISK / 512 + 32);
	g_assert_cmpuint(ask(p, IN, DISK / 512 + 31, DATA, 512), ==, OK);
	place_free(p);
}

static void test_update(void)
{
	struct place *p = simple();
	struct disk slow = p->config;
	GError *err = NULL;

	slow.iotune.total_iops_sec = 10;
	g_assert_true(p->dev->ops->update(p->dev, &slow, &err));
	g_assert_no_error(err);
	for (unsigned i = 0; i < 5; i++)
		begin(p, 0, i, IN, i, DATA + i * 512, 512);
	fake_pause(p->f);               /* throttled ones are let through */
	for (unsigned i = 0; i < 5; i++)
		g_assert_true(ended(p, 0, NULL));
	place_free(p);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/blk/move", test_move);
	g_test_add_func("/blk/drain", test_drain);
	g_test_add_func("/blk/resize", test_resize);
	g_test_add_func("/blk/update", test_update);
	return g_test_run();
}
