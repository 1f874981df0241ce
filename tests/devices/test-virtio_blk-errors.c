/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk when the disk below fails: reported, ignored, or the machine stops and the guest notices nothing. */
#include <errno.h>

#include "tests/devices/virtio_blk_rig.h"

static void test_report(void)
{
	struct place *p = simple();

	fail(p, BLOCK_READ, -EIO, 2);
	g_assert_cmpuint(ask(p, IN, 0, DATA, 512), ==, IOERR);
	g_assert_cmpuint(ask(p, IN, 0, DATA, 512), ==, IOERR);
	g_assert_cmpuint(ask(p, IN, 0, DATA, 512), ==, OK);
	g_assert_cmpuint(p->f->requests_n, ==, 1);              /* the second one came too soon */
	g_assert_cmpint(p->f->requests[0].what, ==, VM_REQ_IO_ERROR);
	g_assert_cmpuint(p->f->requests[0].value, ==, 0);
	place_free(p);
	p = place_new(&(struct disk){ .driver = { .error_policy = DISK_ERROR_IGNORE, .rerror_policy = DISK_ERROR_REPORT } },
		&(struct block_options){ .align = 512 }, false);
	open_driver(p, ALL);
	fail(p, BLOCK_WRITE, -EIO, 1);
	g_assert_cmpuint(ask(p, OUT, 0, DATA, 512), ==, OK);
	g_assert_cmpuint(p->f->requests[0].value, ==, VM_IO_WRITE | VM_IO_IGNORE);
	fail(p, BLOCK_READ, -EIO, 1);
	g_assert_cmpuint(ask(p, IN, 0, DATA, 512), ==, IOERR);
	place_free(p);
}

/* Out of space, by default: the machine pauses, and when it goes on the guest notices nothing. */
static void test_stop(void)
{
	struct place *p = simple();
	uint8_t data[512];

	pattern(data, 512, 50);
	put(p, DATA, data, 512);
	fail(p, BLOCK_WRITE, -ENOSPC, 3);
	begin(p, 0, 0, OUT, 10, DATA, 512);
	begin(p, 0, 1, IN, 0, DATA + 4096, 512);        /* waits in the ring */
	g_assert_false(ended(p, 0, NULL));
	g_assert_cmpuint(p->f->requests_n, ==, 1);
	g_assert_cmpuint(p->f->requests[0].value, ==, VM_IO_WRITE | VM_IO_STOP | VM_IO_NO_SPACE);
	g_assert_cmpint(virtio_blk_trouble(p->dev), ==, -ENOSPC);
	for (unsigned i = 0; i < 3; i++) {
		g_assert_false(ended(p, 0, NULL));
		fake_pause(p->f);
		fake_resume(p->f);
	}
	g_assert_true(ended(p, 0, NULL) && ended(p, 0, NULL));
	g_assert_cmpuint(status(p, 0), ==, OK);
	g_assert_cmpuint(status(p, 1), ==, OK);
	g_assert_cmpint(virtio_blk_trouble(p->dev), ==, 0);
	g_assert_cmpmem(disk(p) + 5120, 512, data, 512);
	g_assert_cmpuint(p->f->requests_n, ==, 3);
	/* a reset forgets it */
	fail(p, BLOCK_WRITE, -ENOSPC, 1);
	begin(p, 0, 0, OUT, 10, DATA, 512);
	vdrv_reset(&p->d);
	open_driver(p, ALL);
	g_assert_cmpuint(ask(p, IN, 10, DATA, 512), ==, OK);
	/* so does the end */
	fail(p, BLOCK_WRITE, -ENOSPC, 1);
	begin(p, 0, 0, OUT, 10, DATA, 512);
	place_free(p);
}

/* A read that failed waits like a write when its policy says so; a flush goes by that of writes. */
static void test_stop_all(void)
{
	static const struct { uint32_t type; enum block_op op; unsigned told; } cases[] = {
		{ IN, BLOCK_READ, VM_IO_STOP }, { FLUSH, BLOCK_FLUSH, VM_IO_STOP | VM_IO_WRITE } };

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct place *p = place_new(&(struct disk){ .driver = { .error_policy = DISK_ERROR_STOP, .rerror_policy = DISK_ERROR_STOP } },
			&(struct block_options){ .align = 512 }, false);

		open_driver(p, ALL);
		g_assert_cmpuint(ask(p, OUT, 0, DATA, 512), ==, OK);
		fail(p, cases[i].op, -EIO, 2);
		begin(p, 0, 0, cases[i].type, 0, DATA, cases[i].type == FLUSH ? 0 : 512);
		for (unsigned k = 0; k < 2; k++) {
			g_assert_false(ended(p, 0, NULL));
			g_assert_cmpuint(p->f->requests_n, ==, k + 1);
			g_assert_cmpuint(p->f->requests[k].value, ==, cases[i].told);
			g_assert_cmpint(virtio_blk_trouble(p->dev), ==, -EIO);
			fake_pause(p->f);
			fake_resume(p->f);
		}
		g_assert_true(ended(p, 0, NULL));
		g_assert_cmpuint(status(p, 0), ==, OK);
		g_assert_cmpint(virtio_blk_trouble(p->dev), ==, 0);
		place_free(p);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/blk/report", test_report);
	g_test_add_func("/blk/stop", test_stop);
	g_test_add_func("/blk/stop-all", test_stop_all);
	return g_test_run();
}
