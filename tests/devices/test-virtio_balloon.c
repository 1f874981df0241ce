/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-balloon: pages really go back to the host, and come back as zeroes; statistics; reporting; hostile guests. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/virtio.h"
#include "devices/virtio_balloon.h"
#include "domain/error.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_driver.h"
#include "tests/fake/virtio_hostile.h"

#define F_STATS 2ull
#define F_POISON 16ull
#define F_REPORTING 32ull
#define SECOND 1000000000ll

static int tokens[4];

static struct fake *machine(const char *json, struct device **d)
{
	struct fake *f = fake_vm();

	fake_add(f, "pci-host", NULL);
	*d = fake_add(f, "virtio-balloon", json ? json : "{'model':'virtio','stats_period':5,'free_page_reporting':'on'}");
	return f;
}

static void open_it(struct vdrv *d, struct fake *f, struct device *dev, uint64_t features, unsigned queues)
{
	vdrv_open(d, f, dev, features, true);
	for (unsigned i = 0; i < queues; i++)
		vdrv_queue(d, i, 16);
	vdrv_go(d);
}

static void give(struct vdrv *d, unsigned q, uint64_t at, uint32_t len, bool write)
{
	struct vseg s = { at, len };
	uint32_t n;

	g_assert_true(vring_add(&d->rings[q], &s, !write, write, &tokens[0]));
	vdrv_kick(d, q);
	g_assert_true(vring_take(&d->rings[q], &n) == &tokens[0]);
}

static void test_inflate(void)
{
	struct device *dev;
	struct fake *f = machine(NULL, &dev);
	uint32_t pages[] = { 0x92, 0x91, 0x90, 0xa0, 0x91, 0xfff, 0xffffffff, 0x80 }, twelve = 12, there;
	struct balloon_info info;
	struct vdrv d;

	open_it(&d, f, dev, F_STATS, 3);
	for (uint64_t at = 0x80000; at < 0xb0000; at += 4096)
		g_assert_true(ram_fill(&f->vm.ram, at, 0x55, 4096));
	memset(f->vm.ram.dirty, 0, FAKE_RAM / 4096 / 8);
	g_assert_true(ram_write(&f->vm.ram, 0x70000, pages, sizeof(pages)));
	give(&d, 0, 0x70000, sizeof(pages), false);
	g_assert_false(fake_resident(f, 0x90000));
	g_assert_false(fake_resident(f, 0x92000));
	g_assert_false(fake_resident(f, 0xa0000));
	g_assert_false(fake_resident(f, 0x80000));
	g_assert_true(fake_resident(f, 0x93000));
	g_assert_true(fake_dirty(f, 0x91000));
	g_assert_cmpuint(dev->guest_errors, ==, 2);
	g_assert_true(ram_read(&f->vm.ram, 0x90000, &there, 4));
	g_assert_cmpuint(there, ==, 0);
	drv_mmio_write(f, d.space + 4, 4, twelve);
	balloon_info(dev, &info);
	g_assert_true(info.driver);
	g_assert_cmpuint(info.actual, ==, FAKE_RAM - 12 * 4096);
	give(&d, 1, 0x70000, sizeof(pages), false);
	fake_free(f);
}

static uint64_t changed_to;

static void on_change(void *arg, uint64_t actual)
{
	changed_to = actual;
}

static void test_target(void)
{
	struct device *dev;
	struct fake *f = fake_vm();
	struct balloon_info info;
	GError *err = NULL;
	struct vdrv d;

	/* 1 MiB of RAM leaves no room for a target below: this one has more */
	(void)ram_track(&f->vm.ram, false, NULL);
	ram_finish(&f->vm.ram);
	g_assert_true(ram_init_anon(&f->vm.ram, 8 << 20, NULL));
	fake_add(f, "pci-host", NULL);
	dev = fake_add(f, "virtio-balloon", "{'model':'virtio'}");
	balloon_set_watch(dev, on_change, NULL);
	open_it(&d, f, dev, 0, 2);
	g_assert_cmpuint(drv_mmio_read(f, d.space, 4), ==, 0);
	g_assert_false(balloon_set_target(dev, 0, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_false(balloon_set_target(dev, 9 << 20, NULL));
	g_assert_true(balloon_set_target(dev, 6 << 20, NULL));
	g_assert_cmpuint(f->msis_of[d.devfn][0], ==, 1);
	g_assert_cmpuint(drv_mmio_read(f, d.space, 4), ==, 512);
	g_assert_true(balloon_set_target(dev, 6 << 20, NULL));
	g_assert_cmpuint(f->msis_of[d.devfn][0], ==, 1);
	drv_mmio_write(f, d.space + 4, 4, 512);
	fake_step(f);
	g_assert_cmpuint(changed_to, ==, 6 << 20);
	/* the target stays over a reset of the guest, what it had given does not */
	devices_reset(&f->vm);
	balloon_info(dev, &info);
	g_assert_cmpuint(info.target, ==, 6 << 20);
	g_assert_cmpuint(info.actual, ==, 8 << 20);
	drv_mmio_write(f, d.space + 4, 4, 1);
	fake_free(f);
}

static void put_stat(struct fake *f, uint64_t at, uint16_t tag, uint64_t value)
{
	g_assert_true(ram_write(&f->vm.ram, at, &tag, 2) && ram_write(&f->vm.ram, at + 2, &value, 8));
}

static void offer_stats(struct vdrv *d, uint64_t value)
{
	struct vseg s = { 0x70000, 30 };

	put_stat(d->f, 0x70000, BALLOON_FREE, value);
	put_stat(d->f, 0x7000a, 77, 1);
	put_stat(d->f, 0x70014, BALLOON_TOTAL, 1000);
	g_assert_true(vring_add(&d->rings[2], &s, 1, 0, &tokens[1]));
	vdrv_kick(d, 2);
}

static void test_stats(void)
{
	struct device *dev;
	struct fake *f = machine(NULL, &dev);
	struct balloon_info info;
	struct vdrv d;
	uint32_t len;

	open_it(&d, f, dev, F_STATS | VIRTIO_F_EVENT_IDX, 3);
	balloon_info(dev, &info);
	g_assert_cmpuint(info.stats[BALLOON_FREE], ==, BALLOON_NO_STAT);
	fake_pass(f, SECOND);
	offer_stats(&d, 400);
	balloon_info(dev, &info);
	g_assert_cmpuint(info.stats[BALLOON_FREE], ==, 400);
	g_assert_cmpuint(info.stats[BALLOON_TOTAL], ==, 1000);
	g_assert_cmpuint(info.stats[BALLOON_CACHES], ==, BALLOON_NO_STAT);
	g_assert_null(vring_take(&d.rings[2], &len));
	fake_pass(f, 5 * SECOND);
	g_assert_true(vring_take(&d.rings[2], &len) == &tokens[1]);
	g_assert_cmpuint(vdrv_interrupts(&d, 2), ==, 1);
	fake_pass(f, 50 * SECOND);
	offer_stats(&d, 300);
	balloon_info(dev, &info);
	g_assert_cmpuint(info.stats[BALLOON_FREE], ==, 300);
	/* other periods, and none */
	balloon_set_period(dev, 0);
	fake_pass(f, 100 * SECOND);
	g_assert_null(vring_take(&d.rings[2], &len));
	balloon_set_period(dev, 1);
	fake_step(f);
	g_assert_true(vring_take(&d.rings[2], &len) == &tokens[1]);
	fake_free(f);
}

/* The held buffer is a request in flight: it moves. */
static void test_move(void)
{
	struct device *a, *b;
	struct fake *f = machine(NULL, &a), *g = machine(NULL, &b);
	struct balloon_info info;
	struct vdrv d;
	uint32_t len;

	open_it(&d, f, a, F_STATS, 3);
	offer_stats(&d, 123);
	fake_pause(f);
	fake_pause(g);
	fake_move(f, g);
	vdrv_move(&d, g);
	fake_free(f);
	fake_resume(g);
	balloon_info(b, &info);
	g_assert_cmpuint(info.stats[BALLOON_FREE], ==, 123);
	g_assert_null(vring_take(&d.rings[2], &len));
	fake_pass(g, 5 * SECOND);
	g_assert_true(vring_take(&d.rings[2], &len) == &tokens[1]);
	fake_free(g);
}

static void test_reporting(void)
{
	for (unsigned stats = 0; stats < 2; stats++) {
		struct device *dev;
		struct fake *f = machine(NULL, &dev);
		struct balloon_info info;
		struct vdrv d;

		/* the reporting queue is the one after those that were negotiated */
		open_it(&d, f, dev, F_REPORTING | F_POISON | (stats ? F_STATS : 0), 3 + stats);
		g_assert_true(ram_fill(&f->vm.ram, 0x80000, 0x55, 0x10000));
		give(&d, 2 + stats, 0x80800, 0x4000, true);
		g_assert_true(fake_resident(f, 0x80000));
		g_assert_false(fake_resident(f, 0x81000));
		g_assert_false(fake_resident(f, 0x83000));
		g_assert_true(fake_resident(f, 0x84000));
		balloon_info(dev, &info);
		g_assert_cmpuint(info.reported, ==, 0x3000);
		/* pages that are to read as poison cannot be dropped */
		drv_mmio_write(f, d.space + 12, 4, 0xaa);
		give(&d, 2 + stats, 0x88000, 0x4000, true);
		g_assert_true(fake_resident(f, 0x88000));
		fake_free(f);
	}
}

static void test_hostile(void)
{
	struct device *dev;
	struct fake *f = machine("{'model':'virtio','stats_period':1,'free_page_reporting':'on','autodeflate':'on',"
		"'driver':{'packed':'on'}}", &dev);

	vhostile(f, dev, 4, vhostile_rounds(), 3, NULL);
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/balloon/inflate", test_inflate);
	g_test_add_func("/balloon/target", test_target);
	g_test_add_func("/balloon/stats", test_stats);
	g_test_add_func("/balloon/move", test_move);
	g_test_add_func("/balloon/reporting", test_reporting);
	g_test_add_func("/balloon/hostile", test_hostile);
	return g_test_run();
}
