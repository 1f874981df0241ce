/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI with requests in flight: resets of device and queue, pauses, moves, and what stays broken until a reset. */
#include "devices/virtio_pci.h"
#include "tests/devices/echo_rig.h"
#include "tests/fake/driver.h"

#define F_ALL (VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED | VIRTIO_F_RING_RESET)

/* --- resets --- */

static void test_reset_in_request(void)
{
	for (unsigned drains = 0; drains < 2; drains++) {
		struct echo *e;
		struct fake *f = echo_machine(&e, NULL);
		struct vdrv d;
		uint64_t at;
		uint8_t byte = 0;

		e->lazy = true;
		e->drains = drains;
		echo_open(&d, f, e, F_ALL, true);
		at = vdrv_alloc(&d, 256);
		echo_send(&d, 0, 0, at);
		vdrv_kick(&d, 0);
		g_assert_nonnull(e->held[0]);
		vdrv_common_write(&d, COMMON_STATUS, 1, 0);
		/* not done before what is in flight is; until then registers do not listen */
		g_assert_cmpuint(vdrv_status(&d), ==, 15);
		vdrv_common_write(&d, COMMON_STATUS, 1, 1);
		g_assert_cmpuint(vdrv_status(&d), ==, 15);
		fake_step(f);
		g_assert_cmpuint(vdrv_status(&d), ==, 0);
		g_assert_cmpuint(e->served, ==, drains);
		/* what is finished later reaches nobody */
		ram_write(&f->vm.ram, at + 128, &byte, 1);
		echo_finish_held(e);
		g_assert_true(ram_read(&f->vm.ram, at + 128, &byte, 1));
		g_assert_cmpuint(byte, ==, 0);
		e->lazy = false;
		echo_open(&d, f, e, F_ALL, true);
		echo_send(&d, 0, 1, at);
		vdrv_kick(&d, 0);
		echo_expect(&d, 0, 1, at);
		/* the same by the machine, and by function level reset */
		e->lazy = true;
		echo_send(&d, 0, 2, at);
		vdrv_kick(&d, 0);
		vdrv_config_write(&d, e->virtio.head.pci.express + 8, 2, 0x8000);
		fake_step(f);
		echo_open(&d, f, e, 0, false);
		echo_send(&d, 0, 3, at);
		vdrv_kick(&d, 0);
		devices_reset(&f->vm);
		fake_step(f);
		echo_finish_held(e);
		e->lazy = false;
		echo_open(&d, f, e, F_ALL, true);
		echo_send(&d, 0, 4, at);
		vdrv_kick(&d, 0);
		echo_expect(&d, 0, 4, at);
		fake_free(f);
	}
}

static void test_queue_reset(void)
{
	struct echo *e;
	struct fake *f = echo_machine(&e, NULL);
	struct vdrv d;
	uint64_t at;

	e->lazy = e->drains = true;
	echo_open(&d, f, e, F_ALL, true);
	at = vdrv_alloc(&d, 512);
	echo_send(&d, 0, 0, at);
	vdrv_kick(&d, 0);
	vdrv_common_write(&d, COMMON_QUEUE_SELECT, 2, 0);
	vdrv_common_write(&d, COMMON_QUEUE_RESET, 2, 1);
	g_assert_cmpuint(vdrv_common(&d, COMMON_QUEUE_RESET, 2), ==, 1);
	fake_step(f);
	g_assert_cmpuint(vdrv_common(&d, COMMON_QUEUE_RESET, 2), ==, 0);
	g_assert_cmpuint(vdrv_common(&d, COMMON_QUEUE_ENABLE, 2), ==, 0);
	g_assert_cmpuint(vdrv_common(&d, COMMON_QUEUE_VECTOR, 2), ==, 0xffff);
	e->lazy = false;
	/* the other goes on, and this one can be had again */
	echo_send(&d, 1, 1, at);
	vdrv_kick(&d, 1);
	echo_expect(&d, 1, 1, at);
	vdrv_queue(&d, 0, 8);
	echo_send(&d, 0, 2, at);
	vdrv_kick(&d, 0);
	echo_expect(&d, 0, 2, at);
	g_assert_cmpuint(e->virtio.head.dev.guest_errors, ==, 0);
	fake_free(f);
}

/* --- pause, save, load --- */

static void test_pause(void)
{
	struct echo *e;
	struct fake *f = echo_machine(&e, NULL);
	struct vdrv d;
	uint64_t at;

	echo_open(&d, f, e, F_ALL, true);
	at = vdrv_alloc(&d, 512);
	fake_pause(f);
	echo_send(&d, 0, 0, at);
	vdrv_kick(&d, 0);
	g_assert_cmpuint(e->served, ==, 0);
	fake_resume(f);
	g_assert_cmpuint(e->served, ==, 1);
	echo_expect(&d, 0, 0, at);
	/* what is in flight ends before the pause counts */
	e->lazy = e->drains = true;
	echo_send(&d, 0, 1, at);
	vdrv_kick(&d, 0);
	fake_pause(f);
	echo_expect(&d, 0, 1, at);
	fake_resume(f);
	/* a reset under way, too */
	echo_send(&d, 0, 2, at);
	vdrv_kick(&d, 0);
	vdrv_common_write(&d, COMMON_STATUS, 1, 0);
	fake_pause(f);
	g_assert_cmpuint(vdrv_status(&d), ==, 0);
	fake_resume(f);
	fake_free(f);
}

static void test_master(void)
{
	struct echo *e;
	struct fake *f = echo_machine(&e, NULL);
	struct vdrv d;
	uint64_t at;

	echo_open(&d, f, e, F_ALL, true);
	at = vdrv_alloc(&d, 256);
	vdrv_config_write(&d, 4, 2, 2);
	echo_send(&d, 0, 0, at);
	vdrv_kick(&d, 0);
	g_assert_cmpuint(e->served, ==, 0);
	vdrv_config_write(&d, 4, 2, 6);
	fake_step(f);
	echo_expect(&d, 0, 0, at);
	fake_free(f);
}

/* Saved with requests popped and not finished, some with many segments: the other machine finishes them. */
static void test_move(void)
{
	for (unsigned kind = 0; kind < 16; kind++) {
		uint64_t features = (kind & 1 ? VIRTIO_F_INDIRECT_DESC : 0) | (kind & 2 ? VIRTIO_F_EVENT_IDX : 0) |
			(kind & 4 ? VIRTIO_F_RING_PACKED : 0);
		struct echo *a, *b;
		struct fake *f = echo_machine(&a, NULL), *g = echo_machine(&b, NULL);
		struct vdrv d;
		uint64_t at;
		unsigned n = 0, seen = 0;
		uint32_t len;

		echo_open(&d, f, a, features, kind & 8);
		at = vdrv_alloc(&d, 4096);
		for (unsigned i = 0; i < 21; i++) {
			echo_send(&d, 0, 100, at);
			vdrv_kick(&d, 0);
			echo_expect(&d, 0, 100, at);
			(void)vdrv_interrupts(&d, 0);
		}
		a->lazy = true;
		for (; n < 4; n++)
			echo_send(&d, 0, n, at + 256 * n);
		vdrv_kick(&d, 0);
		/* one of them is finished out of order, and one more is only offered */
		for (unsigned i = 1; i < 2; i++) {
			struct chain *c = a->held[i];

			a->held[i] = NULL;
			echo_finish(a, c->q, c);
			g_free(c);
		}
		fake_pause(f);
		echo_send(&d, 0, n, at + 256 * n);
		n++;
		(void)vring_wants_kick(&d.rings[0]);
		fake_pause(g);
		fake_move(f, g);
		vdrv_move(&d, g);
		fake_free(f);
		fake_resume(g);
		g_assert_cmpuint(vdrv_interrupts(&d, 0), >=, 1);
		for (int *t; (t = vring_take(&d.rings[0], &len)); seen++) {
			unsigned i = (unsigned)(t - echo_tokens);
			uint8_t byte;

			g_assert_cmpuint(len, ==, 100);
			g_assert_true(ram_read(&g->vm.ram, at + 256 * i + 128, &byte, 1));
			g_assert_cmpuint(byte, ==, 'a' + i);
		}
		g_assert_cmpuint(seen, ==, n);
		echo_send(&d, 0, 200, at);
		vdrv_kick(&d, 0);
		echo_expect(&d, 0, 200, at);
		g_assert_cmpuint(b->virtio.head.dev.guest_errors, ==, 0);
		fake_free(g);
	}
}

/* --- broken --- */

static void test_needs_reset(void)
{
	struct echo *e;
	struct fake *f = echo_machine(&e, NULL);
	struct vdrv d;
	uint16_t index = 1000;
	uint64_t at;

	echo_open(&d, f, e, 0, true);
	at = vdrv_alloc(&d, 256);
	g_assert_true(ram_write(&f->vm.ram, d.rings[0].driver + 2, &index, 2));
	drv_mmio_write(f, d.notify, 2, 0);
	fake_step(f);
	g_assert_cmpuint(vdrv_status(&d), ==, 15 | VIRTIO_NEEDS_RESET);
	g_assert_cmpuint(f->msis_of[d.devfn][0], ==, 1);
	g_assert_cmpuint(e->virtio.head.dev.guest_errors, ==, 1);
	echo_send(&d, 1, 0, at);
	vdrv_kick(&d, 1);
	g_assert_cmpuint(e->served, ==, 0);
	/* it stays so over a move, and until the reset */
	vdrv_common_write(&d, COMMON_STATUS, 1, 15);
	g_assert_cmpuint(vdrv_status(&d), ==, 15 | VIRTIO_NEEDS_RESET);
	vdrv_reset(&d);
	echo_open(&d, f, e, 0, true);
	echo_send(&d, 1, 0, at);
	vdrv_kick(&d, 1);
	echo_expect(&d, 1, 0, at);
	fake_free(f);
}

/* A queue whose place cannot be: broken here, and there after a move. */
static void test_bad_place(void)
{
	struct echo *a, *b;
	struct fake *f = echo_machine(&a, NULL), *g = echo_machine(&b, NULL);
	struct vdrv d;

	vdrv_open(&d, f, &a->virtio.head.dev, 0, true);
	vdrv_queue(&d, 0, 16);
	vdrv_common_write(&d, COMMON_QUEUE_SELECT, 2, 1);
	vdrv_common_write(&d, COMMON_QUEUE_DESC, 8, FAKE_RAM);
	vdrv_common_write(&d, COMMON_QUEUE_ENABLE, 2, 1);
	vdrv_go(&d);
	g_assert_cmpuint(vdrv_status(&d), ==, 15 | VIRTIO_NEEDS_RESET);
	fake_pause(f);
	fake_pause(g);
	fake_move(f, g);
	vdrv_move(&d, g);
	fake_free(f);
	fake_resume(g);
	g_assert_cmpuint(vdrv_status(&d), ==, 15 | VIRTIO_NEEDS_RESET);
	vdrv_reset(&d);
	fake_free(g);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtio/reset-in-request", test_reset_in_request);
	g_test_add_func("/virtio/queue-reset", test_queue_reset);
	g_test_add_func("/virtio/pause", test_pause);
	g_test_add_func("/virtio/master", test_master);
	g_test_add_func("/virtio/move", test_move);
	g_test_add_func("/virtio/needs-reset", test_needs_reset);
	g_test_add_func("/virtio/bad-place", test_bad_place);
	return g_test_run();
}
