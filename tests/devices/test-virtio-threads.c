/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio with real threads: two loops serve a rng and a balloon, this thread is the guest's vCPU and main in one. Requests,
 * masking of vectors, resets, pauses and moving BARs go on together; no request and no interrupt may get lost, and
 * ThreadSanitizer must have nothing to say.
 */
#include <string.h>

#include "devices/virtio.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_driver.h"

#define ROUNDS 300
#define LIMIT_US 10000000

struct rig {
	struct fake *f;
	struct loop *loop;
	struct device *dev;
	struct vdrv d;
};

/* The fake's loop is the test's own: devices get one with a thread. */
static void rig_make(struct rig *r)
{
	*r = (struct rig){ .f = fake_vm() };
	(void)ram_track(&r->f->vm.ram, false, NULL);
	r->loop = loop_new("io", r->f->clock);
	g_assert_true(loop_start(r->loop, NULL));
	r->f->vm.loops[0] = r->loop;
	fake_add(r->f, "pci-host", NULL);
	r->dev = fake_add(r->f, "virtio-rng", "{'model':'virtio','driver':{'packed':'on'},'backend':{'model':'builtin'}}");
}

static void rig_clear(struct rig *r)
{
	while (r->f->vm.devices->len)
		device_free(r->f->vm.devices->pdata[r->f->vm.devices->len - 1]);
	r->f->vm.loops[0] = r->f->loop;
	loop_free(r->loop);
	fake_free(r->f);
}

static unsigned messages(struct rig *r)
{
	return __atomic_load_n(&r->f->msis_of[r->d.devfn][1], __ATOMIC_SEQ_CST);
}

static void main_turn(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

static void open_it(struct rig *r, uint64_t features)
{
	r->d.next = 0x10000;
	vdrv_open(&r->d, r->f, r->dev, features, true);
	vdrv_queue(&r->d, 0, 64);
	vdrv_go(&r->d);
}

/* Offers n buffers and waits until they are full, by interrupts only. */
static void requests(struct rig *r, unsigned n)
{
	static int token;
	int64_t end = g_get_monotonic_time() + LIMIT_US;
	unsigned done = 0, seen = messages(r);
	uint32_t len;

	for (unsigned i = 0; i < n; i++)
		g_assert_true(vring_add(&r->d.rings[0], &(struct vseg){ 0x80000 + 64 * i, 64 }, 0, 1, &token));
	if (vring_wants_kick(&r->d.rings[0]))
		drv_mmio_write(r->f, r->d.notify, 2, 0);
	while (done < n) {
		while (vring_take(&r->d.rings[0], &len))
			done++;
		if (done == n)
			break;
		while (messages(r) == seen) {
			g_assert_cmpint(g_get_monotonic_time(), <, end);
			g_thread_yield();
			main_turn();
		}
		seen = messages(r);
	}
}

static void test_requests(void)
{
	static const uint64_t kinds[] = { 0, VIRTIO_F_EVENT_IDX, VIRTIO_F_RING_PACKED, VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX };
	struct rig r;

	rig_make(&r);
	for (unsigned k = 0; k < G_N_ELEMENTS(kinds); k++) {
		open_it(&r, kinds[k]);
		for (unsigned i = 0; i < ROUNDS; i++)
			requests(&r, 1 + i % 40);
		vdrv_common_write(&r.d, 20, 1, 0);
		while (vdrv_status(&r.d))
			main_turn();
	}
	rig_clear(&r);
}

/* A vector that is masked and unmasked while it is signalled: one message at least, after the last unmask. */
static void test_masks(void)
{
	struct rig r;

	rig_make(&r);
	open_it(&r, 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t control = r.d.bar + 0x2000 + 16 + 12;

		drv_mmio_write(r.f, control, 4, 1);
		drv_mmio_write(r.f, control, 4, 0);
		if (i % 3 == 0)
			drv_mmio_write(r.f, control, 4, 1);
		if (i % 3 == 0) {
			static int token;
			uint32_t len;

			g_assert_true(vring_add(&r.d.rings[0], &(struct vseg){ 0x80000, 64 }, 0, 1, &token));
			drv_mmio_write(r.f, r.d.notify, 2, 0);
			drv_mmio_write(r.f, control, 4, 0);
			for (unsigned seen = messages(&r); !vring_take(&r.d.rings[0], &len) && seen == messages(&r);)
				g_thread_yield();
			while (!vring_take(&r.d.rings[0], &len) && r.d.rings[0].n_free < 64)
				g_thread_yield();
		} else {
			requests(&r, 5);
		}
	}
	rig_clear(&r);
}

static void paused(struct done *d, int result)
{
	*(bool *)d->arg = true;
}

/* Resets by the guest, pauses and moving BARs in the middle of requests. */
static void test_disturbed(void)
{
	struct rig r;

	rig_make(&r);
	for (unsigned i = 0; i < ROUNDS; i++) {
		static int token;
		bool is_paused = false;
		struct done done = { .fn = paused, .arg = &is_paused };

		open_it(&r, i & 1 ? VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX : 0);
		requests(&r, 3);
		for (unsigned k = 0; k < 30; k++)
			g_assert_true(vring_add(&r.d.rings[0], &(struct vseg){ 0x80000 + 4096 * k, 4096 }, 0, 1, &token));
		drv_mmio_write(r.f, r.d.notify, 2, 0);
		switch (i % 4) {
		case 0:
			vdrv_common_write(&r.d, 20, 1, 0);
			while (vdrv_status(&r.d))
				main_turn();
			break;
		case 1:
			devices_pause(&r.f->vm, &done);
			while (!is_paused)
				g_main_context_iteration(NULL, TRUE);
			if (i % 8 == 1)
				devices_reset(&r.f->vm);
			devices_resume(&r.f->vm);
			break;
		case 2:
			vdrv_config_write(&r.d, 4, 2, 0);
			vdrv_config_write(&r.d, 0x10, 4, 0xd0000000u + i * 0x10000);
			vdrv_config_write(&r.d, 4, 2, 6);
			break;
		default:
			vdrv_config_write(&r.d, ((struct virtio *)r.dev)->head.pci.express + 8, 2, 0x8000);
			break;
		}
		main_turn();
	}
	rig_clear(&r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtio-threads/requests", test_requests);
	g_test_add_func("/virtio-threads/masks", test_masks);
	g_test_add_func("/virtio-threads/disturbed", test_disturbed);
	return g_test_run();
}
