/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio over PCI, with an echo for a device: every kind of ring, registers, the window in config space, hostile guests. */
#include "devices/virtio_pci.h"
#include "tests/devices/echo_rig.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_hostile.h"

static void test_kinds(void)
{
	for (unsigned kind = 0; kind < 32; kind++) {
		uint64_t features = (kind & 1 ? VIRTIO_F_INDIRECT_DESC : 0) | (kind & 2 ? VIRTIO_F_EVENT_IDX : 0) |
			(kind & 4 ? VIRTIO_F_RING_PACKED : 0);
		struct echo *e;
		struct fake *f = echo_machine(&e, kind & 16 ? &echo_paged : NULL);
		struct vdrv d;
		unsigned gsi = 16 + 1;
		uint64_t at;

		echo_open(&d, f, e, features, kind & 8);
		g_assert_true((d.accepted & features) == features);
		at = vdrv_alloc(&d, 4096);
		for (unsigned i = 0; i < 300; i++) {
			unsigned q = i & 1;

			echo_send(&d, q, i, at);
			vdrv_kick(&d, q);
			if (!(kind & 8))
				g_assert_cmpint(f->level[gsi], ==, 1);
			g_assert_cmpuint(vdrv_interrupts(&d, q), ==, 1);
			g_assert_cmpint(f->level[gsi], ==, 0);
			echo_expect(&d, q, i, at);
		}
		g_assert_cmpuint(e->virtio.head.dev.guest_errors, ==, 0);
		fake_free(f);
	}
}

/* --- registers --- */

static void set_features(struct vdrv *d, uint64_t features)
{
	for (unsigned i = 0; i < 2; i++) {
		vdrv_common_write(d, COMMON_ACCEPTED_SELECT, 4, i);
		vdrv_common_write(d, COMMON_ACCEPTED, 4, (uint32_t)(features >> 32 * i));
	}
}

static void test_features(void)
{
	struct echo *e;
	struct fake *f = echo_machine(&e, NULL);
	static const uint64_t bad[] = { F_ECHO, VIRTIO_F_VERSION_1 | 1ull << 33, VIRTIO_F_VERSION_1 | 1, VIRTIO_F_VERSION_1 | F_PART };
	struct vdrv d;

	vdrv_open(&d, f, &e->virtio.head.dev, F_ECHO, true);
	g_assert_true(d.offered & VIRTIO_F_RING_PACKED);
	g_assert_false(d.offered & 1ull << 33);
	vdrv_common_write(&d, COMMON_OFFERED_SELECT, 4, 2);
	g_assert_cmphex(vdrv_common(&d, COMMON_OFFERED, 4), ==, 0);
	/* fixed once they are agreed on */
	set_features(&d, VIRTIO_F_VERSION_1);
	g_assert_true(virtio_has(&e->virtio, F_ECHO));
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		vdrv_reset(&d);
		vdrv_common_write(&d, COMMON_STATUS, 1, 3);
		set_features(&d, bad[i]);
		vdrv_common_write(&d, COMMON_STATUS, 1, 11);
		g_assert_cmpuint(vdrv_status(&d), ==, 3);
		vdrv_common_write(&d, COMMON_STATUS, 1, 7);
		g_assert_cmpuint(vdrv_status(&d), ==, 3);
	}
	vdrv_reset(&d);
	vdrv_common_write(&d, COMMON_STATUS, 1, 3);
	set_features(&d, VIRTIO_F_VERSION_1 | F_ECHO | F_PART);
	vdrv_common_write(&d, COMMON_STATUS, 1, 11);
	g_assert_cmpuint(vdrv_status(&d), ==, 11);
	fake_free(f);
}

/* <driver iommu='on'>: there is none, so the addresses are what they are. */
static void test_platform(void)
{
	static struct echo_config config = { .driver.iommu = ONOFF_ON };
	struct echo *e;
	struct fake *f = echo_machine(&e, &config);
	struct vdrv d;

	for (unsigned i = 0; i < 2; i++) {      /* a driver that does not know of it is served all the same */
		echo_open(&d, f, e, i ? VIRTIO_F_ACCESS_PLATFORM : 0, true);
		g_assert_true(d.offered & VIRTIO_F_ACCESS_PLATFORM);
		g_assert_cmpint(virtio_has(&e->virtio, VIRTIO_F_ACCESS_PLATFORM), ==, i);
		echo_send(&d, 0, 0, 0x80000);
		vdrv_kick(&d, 0);
		echo_expect(&d, 0, 0, 0x80000);
	}
	fake_free(f);
}

static void test_registers(void)
{
	struct echo *e;
	struct fake *f = echo_machine(&e, NULL);
	struct vdrv d;

	vdrv_open(&d, f, &e->virtio.head.dev, F_ECHO, true);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUES, 2), ==, 2);
	vdrv_common_write(&d, COMMON_QUEUE_SELECT, 2, 2);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_SIZE, 2), ==, 0);
	vdrv_common_write(&d, COMMON_QUEUE_SIZE, 2, 16);
	vdrv_common_write(&d, COMMON_QUEUE_SELECT, 2, 1);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_SIZE, 2), ==, 256);
	vdrv_common_write(&d, COMMON_QUEUE_SIZE, 2, 512);
	vdrv_common_write(&d, COMMON_QUEUE_SIZE, 2, 100);
	vdrv_common_write(&d, COMMON_QUEUE_SIZE, 2, 0);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_SIZE, 2), ==, 256);
	vdrv_common_write(&d, COMMON_QUEUE_VECTOR, 2, 77);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_VECTOR, 2), ==, 0xffff);
	vdrv_common_write(&d, COMMON_QUEUE_VECTOR, 2, 2);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_VECTOR, 2), ==, 2);
	vdrv_common_write(&d, COMMON_QUEUE_DESC, 8, 0x123456789abcdef0);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_DESC, 4), ==, 0x9abcdef0);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_DESC + 4, 4), ==, 0x12345678);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_DESC + 5, 1), ==, 0x56);
	/* widths that are not a register's own do nothing */
	vdrv_common_write(&d, COMMON_QUEUE_DESC, 2, 0xffff);
	vdrv_common_write(&d, COMMON_QUEUE_DESC + 2, 4, 0xffff);
	vdrv_common_write(&d, COMMON_STATUS, 4, 0);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_DESC, 4), ==, 0x9abcdef0);
	g_assert_cmpuint(vdrv_status(&d), ==, 11);
	vdrv_queue(&d, 1, 8);
	vdrv_common_write(&d, COMMON_QUEUE_DESC, 4, 0);
	vdrv_common_write(&d, COMMON_QUEUE_ENABLE, 2, 0);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_ENABLE, 2), ==, 1);
	g_assert_cmphex(vdrv_common(&d, COMMON_QUEUE_DESC, 4), ==, d.rings[1].desc);
	/* its own registers */
	g_assert_cmphex(drv_mmio_read(f, d.space, 4), ==, 0x11223344);
	g_assert_cmphex(drv_mmio_read(f, d.space + 1, 2), ==, 0x2233);
	g_assert_cmphex(drv_mmio_read(f, d.space + 8, 4), ==, 0);
	drv_mmio_write(f, d.space, 4, 1);
	drv_mmio_write(f, d.space + 4, 4, 0xabcd);
	g_assert_cmphex(drv_mmio_read(f, d.space, 8), ==, 0xabcd11223344);
	fake_free(f);
}

static void test_changes(void)
{
	struct echo *e;
	struct fake *f = echo_machine(&e, NULL);
	struct vdrv d;
	unsigned before;

	echo_open(&d, f, e, 0, true);
	before = (unsigned)vdrv_common(&d, COMMON_GENERATION, 1);
	g_mutex_lock(&e->virtio.head.dev.lock);
	e->space[0] = 5;
	virtio_changed(&e->virtio);
	g_mutex_unlock(&e->virtio.head.dev.lock);
	g_assert_cmpuint(vdrv_common(&d, COMMON_GENERATION, 1), !=, before);
	g_assert_cmpuint(f->msis_of[d.devfn][0], ==, 1);
	fake_free(f);
}

/* Everything can be reached through the window in config space as well. */
static void test_window(void)
{
	struct echo *e;
	struct fake *f = echo_machine(&e, NULL);
	struct vdrv d;
	unsigned at;

	echo_open(&d, f, e, 0, true);
	at = e->virtio.access_cap;
	g_assert_cmphex(vdrv_config_read(&d, at + 3, 1), ==, VIRTIO_CAP_WINDOW);
	vdrv_config_write(&d, at + 4, 1, 0);
	vdrv_config_write(&d, at + 8, 4, VIRTIO_BAR_COMMON + COMMON_STATUS);
	vdrv_config_write(&d, at + 12, 4, 1);
	g_assert_cmphex(vdrv_config_read(&d, at + 16, 1), ==, 15);
	vdrv_config_write(&d, at + 8, 4, VIRTIO_BAR_DEVICE + 4);
	vdrv_config_write(&d, at + 12, 4, 4);
	vdrv_config_write(&d, at + 16, 4, 0x5555);
	g_assert_cmphex(e->space[1], ==, 0x5555);
	/* nonsense reaches nothing */
	vdrv_config_write(&d, at + 4, 1, 3);
	vdrv_config_write(&d, at + 16, 4, 0x6666);
	vdrv_config_write(&d, at + 4, 1, 0);
	vdrv_config_write(&d, at + 8, 4, 0xfffffffc);
	vdrv_config_write(&d, at + 16, 4, 0x6666);
	vdrv_config_write(&d, at + 12, 4, 3);
	vdrv_config_write(&d, at + 16, 4, 0x6666);
	g_assert_cmphex(e->space[1], ==, 0x5555);
	fake_free(f);
}

/* --- anything --- */

static void play_host(struct fake *f, GRand *r)
{
	struct echo *e = (struct echo *)device_find(&f->vm, "echo");

	e->lazy = g_rand_boolean(r);
	e->drains = g_rand_boolean(r);
	if (g_rand_boolean(r))
		echo_finish_held(e);
}

static void test_hostile(void)
{
	struct echo *e;
	struct fake *f = echo_machine(&e, &echo_paged);
	struct device *other = fake_add(f, "virtio-rng", "{'model':'virtio','backend':{'model':'builtin'}}");
	struct vdrv d;
	struct vseg s = { 0x8000, 64 };
	uint32_t len = 0;

	vhostile(f, &e->virtio.head.dev, 2, vhostile_rounds(), 1, play_host);
	g_test_message("%u requests served, %u resets, %lu errors of the guest", e->served, e->resets, (unsigned long)e->virtio.head.dev.guest_errors);
	echo_finish_held(e);
	vdrv_open(&d, f, other, 0, true);
	vdrv_queue(&d, 0, 8);
	vdrv_go(&d);
	g_assert_true(vring_add(&d.rings[0], &s, 0, 1, &s));
	vdrv_kick(&d, 0);
	g_assert_true(vring_take(&d.rings[0], &len) == &s);
	g_assert_cmpuint(len, ==, 64);
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtio/kinds", test_kinds);
	g_test_add_func("/virtio/features", test_features);
	g_test_add_func("/virtio/platform", test_platform);
	g_test_add_func("/virtio/registers", test_registers);
	g_test_add_func("/virtio/changes", test_changes);
	g_test_add_func("/virtio/window", test_window);
	g_test_add_func("/virtio/hostile", test_hostile);
	return g_test_run();
}
