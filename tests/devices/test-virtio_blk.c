/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk: each request and each way to get one wrong, configurations that are refused, hostile guests. */
#include <string.h>

#include "domain/error.h"
#include "tests/devices/virtio_blk_rig.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_hostile.h"

static void test_io(void)
{
	struct place *p = simple();
	uint8_t buf[8192];
	uint32_t len;

	g_assert_cmpuint(drv_mmio_read(p->f, p->d.space, 4), ==, DISK / 512);
	begin(p, 0, 0, IN, 8, DATA, sizeof(buf));
	g_assert_true(ended(p, 0, &len));
	g_assert_cmpuint(len, ==, sizeof(buf) + 1);
	g_assert_cmpuint(status(p, 0), ==, OK);
	g_assert_cmpuint(vdrv_interrupts(&p->d, 0), ==, 1);
	g_assert_true(ram_read(&p->f->vm.ram, DATA, buf, sizeof(buf)));
	g_assert_cmpmem(buf, sizeof(buf), p->image + 8 * 512, sizeof(buf));
	g_assert_true(fake_dirty(p->f, DATA) && fake_dirty(p->f, DATA + 4096) && fake_dirty(p->f, STATUS));
	pattern(buf, sizeof(buf), 99);
	put(p, DATA, buf, sizeof(buf));
	g_assert_cmpuint(ask(p, OUT, 100, DATA, 4096), ==, OK);
	g_assert_cmpmem(disk(p) + 51200, 4096, buf, 4096);
	g_assert_cmpmem(disk(p) + 51200 + 4096, 512, p->image + 51200 + 4096, 512);
	g_assert_cmpuint(ask(p, FLUSH, 0, 0, 0), ==, OK);
	g_assert_cmpuint(p->fault.seen[BLOCK_FLUSH], ==, 1);
	g_assert_cmpuint(ask(p, GET_ID, 0, DATA, 20), ==, OK);
	g_assert_true(ram_read(&p->f->vm.ram, DATA, buf, 20));
	g_assert_cmpmem(buf, 20, "a serial number that", 20);
	g_assert_cmpuint(ask(p, IN, DISK / 512 - 1, DATA, 512), ==, OK);
	place_free(p);
}

/* Any way to cut a request into segments means the same. */
static void test_segments(void)
{
	struct place *p = simple();
	g_autoptr(GRand) r = g_rand_new_with_seed(5);
	uint8_t buf[4096];

	for (unsigned round = 0; round < 500; round++) {
		bool out = round & 1;
		uint32_t bytes = 512 * (uint32_t)g_rand_int_range(r, 1, 9), data = out ? 16 + bytes : bytes + 1, at = 0;
		uint64_t sector = (uint64_t)g_rand_int_range(r, 0, DISK / 512 - 8);
		struct vseg s[VRING_SEGS];
		unsigned n = 0, fixed;

		/* headers, data and status lie one after the other in memory: cuts may be anywhere */
		header(p, 0, out ? OUT : IN, sector);
		g_assert_true(ram_read(&p->f->vm.ram, HEADER, buf, 16));
		put(p, DATA, buf, 16);
		pattern(buf, bytes, round);
		if (out)
			put(p, DATA + 16, buf, bytes);
		else
			s[n++] = (struct vseg){ DATA, 16 };
		fixed = n;
		while (at < data) {
			uint32_t part = n - fixed > 8 ? data - at : (uint32_t)g_rand_int_range(r, 1, (gint32)(data - at) + 1);

			s[n++] = (struct vseg){ DATA + (out ? 0 : 16) + at, part };
			at += part;
		}
		if (out)
			s[n++] = (struct vseg){ STATUS, 1 };
		g_assert_true(vring_add(&p->d.rings[0], s, out ? n - 1 : 1, out ? 1 : n - 1, p));
		vdrv_kick(&p->d, 0);
		g_assert_true(ended(p, 0, NULL));
		if (out) {
			g_assert_cmpuint(status(p, 0), ==, OK);
			g_assert_cmpmem(disk(p) + sector * 512, bytes, buf, bytes);
			continue;
		}
		g_assert_true(ram_read(&p->f->vm.ram, DATA + 16, buf, bytes));
		g_assert_cmpmem(buf, bytes, disk(p) + sector * 512, bytes);
		g_assert_true(ram_read(&p->f->vm.ram, DATA + 16 + bytes, buf, 1));
		g_assert_cmpuint(buf[0], ==, OK);
	}
	place_free(p);
}

static void test_ranges(void)
{
	struct place *p = simple();
	static const uint8_t zero[4096];

	range(p, 0, 8, 8, 0);
	range(p, 1, 32, 8, 1);
	range(p, 2, 64, 0, 0);
	g_assert_cmpuint(ask(p, ZEROES, 0, DATA, 48), ==, OK);
	g_assert_cmpmem(disk(p) + 8 * 512, 4096, zero, 4096);
	g_assert_cmpmem(disk(p) + 32 * 512, 4096, zero, 4096);
	g_assert_cmpmem(disk(p) + 16 * 512, 4096, p->image + 16 * 512, 4096);
	range(p, 0, 128, 16, 0);
	range(p, 1, 256, 8, 0);
	g_assert_cmpuint(ask(p, DISCARD, 0, DATA, 32), ==, OK);
	g_assert_cmpuint(p->fault.seen[BLOCK_DISCARD], ==, 2);
	/* nothing is done of those of which one is wrong */
	range(p, 1, DISK / 512 - 1, 2, 0);
	g_assert_cmpuint(ask(p, DISCARD, 0, DATA, 32), ==, IOERR);
	range(p, 1, UINT64_MAX, 1, 0);
	g_assert_cmpuint(ask(p, ZEROES, 0, DATA, 32), ==, IOERR);
	range(p, 1, 0, 1, 1);
	g_assert_cmpuint(ask(p, DISCARD, 0, DATA, 32), ==, UNSUPP);
	range(p, 1, 0, 1, 2);
	g_assert_cmpuint(ask(p, ZEROES, 0, DATA, 32), ==, UNSUPP);
	g_assert_cmpuint(p->fault.seen[BLOCK_DISCARD], ==, 2);
	g_assert_cmpuint(ask(p, DISCARD, 0, DATA, 31), ==, IOERR);
	g_assert_cmpuint(ask(p, DISCARD, 0, DATA, 0), ==, IOERR);
	g_assert_cmpuint(ask(p, DISCARD, 0, DATA, 65 * 16), ==, IOERR);
	place_free(p);
}

static void test_wrong(void)
{
	struct place *p = simple();
	struct vseg s[3] = { { HEADER, 16 }, { DATA, 512 }, { STATUS, 1 } };
	static const struct { uint32_t type; uint64_t sector; uint32_t n; uint8_t status; } rows[] = {
		{ IN, DISK / 512, 512, IOERR }, { IN, DISK / 512 - 1, 1024, IOERR }, { IN, UINT64_MAX, 512, IOERR }, { IN, 1ull << 55, 512, IOERR },
		{ IN, 0, 511, IOERR }, { IN, 0, 513, IOERR }, { OUT, 0, 1, IOERR }, { OUT, DISK / 512, 512, IOERR }, { 2, 0, 512, UNSUPP },
		{ 0xffffffff, 0, 512, UNSUPP }, { 0x80000000, 0, 512, UNSUPP }, { IN, 5, 0, OK }, { OUT, 5, 0, OK },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
		g_assert_cmpuint(ask(p, rows[i].type, rows[i].sector, DATA, rows[i].n), ==, rows[i].status);
	g_assert_cmpmem(disk(p), DISK, p->image, DISK);
	/* a short header */
	header(p, 0, IN, 0);
	s[0].len = 15;
	g_assert_true(vring_add(&p->d.rings[0], s, 1, 2, p));
	vdrv_kick(&p->d, 0);
	g_assert_true(ended(p, 0, NULL));
	g_assert_cmpuint(status(p, 0), ==, IOERR);
	/* nowhere to say how it went: the device must be reset */
	s[0].len = 16;
	g_assert_true(vring_add(&p->d.rings[0], s, 2, 0, p));
	vdrv_kick(&p->d, 0);
	g_assert_true(vdrv_status(&p->d) & VIRTIO_NEEDS_RESET);
	vdrv_reset(&p->d);
	open_driver(p, ALL);
	g_assert_cmpuint(ask(p, IN, 0, DATA, 512), ==, OK);
	place_free(p);
}

static void test_readonly(void)
{
	struct place *p = place_new(&(struct disk){ .readonly = true }, &(struct block_options){ .align = 512, .readonly = true }, false);

	open_driver(p, ALL);
	g_assert_true(p->d.offered & F_RO);
	g_assert_false(p->d.offered & (F_DISCARD | F_ZEROES));
	g_assert_cmpuint(ask(p, IN, 0, DATA, 512), ==, OK);
	g_assert_cmpuint(ask(p, OUT, 0, DATA, 512), ==, IOERR);
	range(p, 0, 0, 1, 0);
	g_assert_cmpuint(ask(p, DISCARD, 0, DATA, 16), ==, UNSUPP);
	g_assert_cmpuint(ask(p, FLUSH, 0, 0, 0), ==, OK);
	g_assert_cmpmem(disk(p), DISK, p->image, DISK);
	place_free(p);
}

/* A driver that does not know of a cache, or switched it off, has its writes safe when they are done. */
static void test_cache(void)
{
	struct place *p = simple();
	uint64_t flushes;

	g_assert_true(p->d.offered & F_WCE && p->d.offered & F_FLUSH);
	g_assert_cmpuint(drv_mmio_read(p->f, p->d.space + 32, 1), ==, 1);
	g_assert_cmpuint(ask(p, OUT, 0, DATA, 512), ==, OK);
	g_assert_cmpuint(p->fault.seen[BLOCK_FLUSH], ==, 0);
	drv_mmio_write(p->f, p->d.space + 32, 1, 0);
	g_assert_cmpuint(drv_mmio_read(p->f, p->d.space + 32, 1), ==, 0);
	g_assert_cmpuint(ask(p, OUT, 0, DATA, 512), ==, OK);
	flushes = p->fault.seen[BLOCK_FLUSH];
	drv_mmio_write(p->f, p->d.space + 32, 1, 1);
	g_assert_cmpuint(ask(p, OUT, 0, DATA, 512), ==, OK);
	g_assert_cmpuint(p->fault.seen[BLOCK_FLUSH], ==, flushes);
	drv_mmio_write(p->f, p->d.space + 32, 1, 0);
	vdrv_reset(&p->d);
	g_assert_cmpuint(drv_mmio_read(p->f, p->d.space + 32, 1), ==, 1);
	open_driver(p, ALL & ~(F_FLUSH | F_WCE));
	g_assert_cmpuint(ask(p, OUT, 0, DATA, 512), ==, OK);
	place_free(p);
}

static void test_queues(void)
{
	struct place *p = place_new(&(struct disk){ .driver.queues = 4 }, &(struct block_options){ .align = 512 }, false);

	open_driver(p, ALL);
	g_assert_true(p->d.offered & F_MQ);
	g_assert_cmpuint(drv_mmio_read(p->f, p->d.space + 34, 2), ==, 4);
	p->fault.delay = 1000000;
	for (unsigned q = 0; q < 4; q++)
		for (unsigned i = 0; i < 3; i++)
			begin(p, q, q * 3 + i, IN, q * 3 + i, DATA + (q * 3 + i) * 512, 512);
	g_assert_false(ended(p, 0, NULL));
	fake_pass(p->f, 2000000);
	for (unsigned q = 0; q < 4; q++) {
		for (unsigned i = 0; i < 3; i++)
			g_assert_true(ended(p, q, NULL));
		g_assert_cmpuint(vdrv_interrupts(&p->d, q), ==, 1);     /* of a batch one */
	}
	g_assert_cmpmem(ram_host(&p->f->vm.ram, DATA, 12 * 512), 12 * 512, p->image, 12 * 512);
	place_free(p);
}

static void test_refused(void)
{
	struct fake *f = fake_vm();
	struct disk odd = { .logical_block_size = 1000, .target.dev = (char *)"vda" }, many = { .driver.queues = 1000, .target.dev = (char *)"vda" };
	struct disk gone = { .type = DISK_FILE, .target.dev = (char *)"vda", .source.file = { .path = (char *)"/x", .fd = (char *)"disk" } };
	struct disk lost = { .driver.iothread = 3, .target.dev = (char *)"vda" };
	struct block_host *hosts[1] = { block_host_new(f->loop, NULL, f->clock, NULL) };
	GError *err = NULL;

	fake_add(f, "pci-host", NULL);
	g_assert_null(fake_try(f, "virtio-blk", &odd, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_null(fake_try(f, "virtio-blk", &many, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_null(fake_try(f, "virtio-blk", &gone, &err));
	g_assert_error(err, kerr_quark(), KERR_STATE);
	g_clear_error(&err);
	f->vm.block_hosts = hosts;
	f->vm.block_hosts_n = 1;
	g_assert_null(fake_try(f, "virtio-blk", &lost, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_assert_nonnull(strstr(err->message, "no I/O thread 3"));
	g_clear_error(&err);
	g_assert_null(fake_try(f, "virtio-blk", &gone, &err));
	g_assert_nonnull(err);
	g_clear_error(&err);
	fake_free(f);
	block_host_free(hosts[0]);
}

static void between(struct fake *f, GRand *r)
{
	f->requests_n = 0;
}

static void test_hostile(void)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct place *p = place_new(&(struct disk){ .driver = { .queues = 2, .packed = packed ? ONOFF_ON : ONOFF_ABSENT } },
			&(struct block_options){ .align = 512 }, false);

		p->fault.shuffle = g_rand_new_with_seed(7);
		vhostile(p->f, p->dev, 2, vhostile_rounds() / 2, 11 + packed, between);
		g_clear_pointer(&p->fault.shuffle, g_rand_free);
		place_free(p);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/blk/io", test_io);
	g_test_add_func("/blk/segments", test_segments);
	g_test_add_func("/blk/ranges", test_ranges);
	g_test_add_func("/blk/wrong", test_wrong);
	g_test_add_func("/blk/readonly", test_readonly);
	g_test_add_func("/blk/cache", test_cache);
	g_test_add_func("/blk/queues", test_queues);
	g_test_add_func("/blk/refused", test_refused);
	g_test_add_func("/blk/hostile", test_hostile);
	return g_test_run();
}
