/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk: each request and each way to get one wrong, error policies, moving in mid-request, resizing, hostile guests. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "devices/block_driver.h"
#include "devices/block_fault.h"
#include "devices/block_mem.h"
#include "devices/virtio.h"
#include "devices/virtio_blk.h"
#include "domain/disk.h"
#include "domain/error.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_driver.h"
#include "tests/fake/virtio_hostile.h"

#define F_RO (1ull << 5)
#define F_FLUSH (1ull << 9)
#define F_WCE (1ull << 11)
#define F_MQ (1ull << 12)
#define F_DISCARD (1ull << 13)
#define F_ZEROES (1ull << 14)
#define ALL (0x3fffull << 1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC)
enum { IN, OUT, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK, IOERR, UNSUPP, UNTOUCHED = 0xee };

#define DISK (1u << 20)
#define HEADER 0x80000
#define STATUS 0x80100
#define DATA 0x81000

struct place {
	struct fake *f;
	struct block_host *host, *hosts[1];
	struct disk config;
	struct block_fault fault;
	struct block *chain;
	struct device *dev;
	struct vdrv d;
	uint8_t image[DISK];
	unsigned tag;
};

static void pattern(uint8_t *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)((i >> 9) * 7 + i + seed);
}

/* A machine with a disk in memory, fault injection above it. */
static struct place *place_new(const struct disk *config, const struct block_options *options, bool can_grow)
{
	struct place *p = g_new0(struct place, 1);
	GError *err = NULL;

	p->f = fake_vm();
	p->host = p->hosts[0] = block_host_new(p->f->loop, NULL, p->f->clock, NULL);
	p->f->vm.block_hosts = p->hosts;
	fake_add(p->f, "pci-host", NULL);
	p->config = *config;
	p->config.target.dev = (char *)"vda";
	pattern(p->image, DISK, 3);

	struct block_mem_config mem = { .size = DISK, .max = can_grow ? 2 * DISK : 0, .data = p->image, .data_n = DISK };
	struct block_fault_config fault = { &p->fault };
	struct block_throttle_config { const struct iotune *limits; } throttle = { &p->config.iotune };
	struct block_row rows[] = { { "throttle", &throttle }, { "fault", &fault }, { "mem", &mem } };

	p->chain = block_open(p->host, rows, G_N_ELEMENTS(rows), options, p->f->fds, &err);
	g_assert_no_error(err);
	p->dev = device_new(&p->f->vm, device_type("virtio-blk"), "disk0", &p->config);
	virtio_blk_give(p->dev, p->chain);
	g_assert_true(virtio_blk_chain(p->dev) == p->chain);
	g_assert_true(device_realize(p->dev, p->f->fds, &err));
	g_assert_no_error(err);
	return p;
}

static void open_driver(struct place *p, uint64_t features)
{
	unsigned n = MAX(p->config.driver.queues, 1u);

	vdrv_open(&p->d, p->f, p->dev, features, true);
	for (unsigned i = 0; i < n; i++)
		vdrv_queue(&p->d, i, 16);
	vdrv_go(&p->d);
}

static struct place *simple(void)
{
	struct place *p = place_new(&(struct disk){ .serial = (char *)"a serial number that is too long" },
		&(struct block_options){ .align = 512 }, false);

	open_driver(p, ALL);
	return p;
}

static void place_free(struct place *p)
{
	fake_free(p->f);
	block_host_free(p->host);
	g_free(p);
}

static void put(struct place *p, uint64_t at, const void *data, size_t n)
{
	g_assert_true(ram_write(&p->f->vm.ram, at, data, n));
}

static uint8_t status(struct place *p, unsigned slot)
{
	uint8_t s;

	g_assert_true(ram_read(&p->f->vm.ram, STATUS + slot, &s, 1));
	return s;
}

static void header(struct place *p, unsigned slot, uint32_t type, uint64_t sector)
{
	struct { uint32_t type, zero; uint64_t sector; } h = { type, 0, sector };

	put(p, HEADER + 16 * slot, &h, 16);
	put(p, STATUS + slot, &(uint8_t){ UNTOUCHED }, 1);
}

/* Queues one; slot: which header and status byte. */
static void begin(struct place *p, unsigned queue, unsigned slot, uint32_t type, uint64_t sector, uint64_t at, uint32_t n)
{
	bool out = type == OUT || type == DISCARD || type == ZEROES;
	struct vseg s[3] = { { HEADER + 16 * slot, 16 }, { at, n }, { STATUS + slot, 1 } };

	header(p, slot, type, sector);
	if (!n)
		s[1] = s[2];
	g_assert_true(vring_add(&p->d.rings[queue], s, out && n ? 2 : 1, n ? (out ? 1 : 2) : 1, GUINT_TO_POINTER(slot + 1)));
	vdrv_kick(&p->d, queue);
}

static bool ended(struct place *p, unsigned queue, uint32_t *len)
{
	uint32_t dummy;

	return vring_take(&p->d.rings[queue], len ? len : &dummy);
}

static uint8_t ask(struct place *p, uint32_t type, uint64_t sector, uint64_t at, uint32_t n)
{
	begin(p, 0, 0, type, sector, at, n);
	g_assert_true(ended(p, 0, NULL));
	return status(p, 0);
}

static const uint8_t *disk(struct place *p)
{
	struct block *b = p->chain;
	uint64_t n;

	while (b->lower)
		b = b->lower;
	return block_mem_data(b, &n);
}

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

static void range(struct place *p, unsigned i, uint64_t sector, uint32_t n, uint32_t flags)
{
	struct { uint64_t sector; uint32_t n, flags; } r = { sector, n, flags };

	put(p, DATA + 16 * i, &r, 16);
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

static void fail(struct place *p, enum block_op op, int error, uint64_t times)
{
	p->fault.fail_ops = 1u << op;
	p->fault.nth = 1;
	p->fault.times = times;
	p->fault.error = error;
}

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

/* Moved while one request has failed and is kept, and another waits behind it. */
static void test_move(void)
{
	struct place *a = simple(), *b = place_new(&(struct disk){ 0 }, &(struct block_options){ .align = 512 }, false);
	g_autoptr(GByteArray) state = g_byte_array_new();
	uint8_t data[512];
	const uint8_t *at;
	size_t n;
	GError *err = NULL;

	pattern(data, 512, 51);
	put(a, DATA, data, 512);
	drv_mmio_write(a->f, a->d.space + 32, 1, 0);
	fail(a, BLOCK_WRITE, -ENOSPC, 1);
	begin(a, 0, 0, OUT, 10, DATA, 512);
	begin(a, 0, 1, IN, 10, DATA + 4096, 512);
	fake_pause(a->f);
	devices_save(&a->f->vm, state);
	fake_pause(b->f);
	memcpy(ram_host(&b->f->vm.ram, 0, FAKE_RAM), ram_host(&a->f->vm.ram, 0, FAKE_RAM), FAKE_RAM);
	at = state->data;
	n = state->len;
	g_assert_true(devices_load(&b->f->vm, &at, &n, &err));
	g_assert_no_error(err);
	b->d = a->d;
	b->d.f = b->f;
	b->d.dev = b->dev;
	b->d.rings[0].ram = &b->f->vm.ram;
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

/* --- media --- */

static void medium_done(struct done *d, int result)
{
	*(int *)d->arg = result;
}

enum { PENDING = 1 };
struct change { struct done done; int result; };

/* A file of so many sectors, or none. */
static bool change_to(struct place *p, unsigned sectors, bool writable, struct change *c, GError **err)
{
	struct disk now = p->config;
	struct fdset *fds = fdset_new();
	g_autofree char *name = NULL;
	bool ok;

	*c = (struct change){ .done = { .fn = medium_done, .arg = &c->result }, .result = PENDING };
	now.source = (struct disk_source){ 0 };
	now.backing = NULL;
	if (sectors) {
		int fd = g_file_open_tmp("kvmd-medium-XXXXXX", &name, NULL);

		g_assert_cmpint(fd, >=, 0);
		unlink(name);
		g_assert_cmpint(write(fd, p->image + DISK / 2, sectors * 512), ==, sectors * 512);
		now.type = DISK_FILE;
		now.driver.format = FORMAT_RAW;
		now.source.file = (struct resource){ .path = name, .fd = (char *)"medium" };
		now.source.writable = writable;
		g_assert_true(fdset_add(fds, "medium", fd, NULL));
	}
	ok = virtio_blk_change(p->dev, &now, fds, &c->done, err);
	fdset_free(fds);
	return ok;
}

static bool change(struct place *p, unsigned sectors, struct change *c, GError **err)
{
	return change_to(p, sectors, false, c, err);
}

static void change_now(struct place *p, unsigned sectors)
{
	struct change c;
	GError *err = NULL;

	g_assert_true(change(p, sectors, &c, &err));
	g_assert_no_error(err);
	fake_step(p->f);
	g_assert_cmpint(c.result, ==, 0);
}

static struct place *drive(int policy)
{
	struct place *p = place_new(&(struct disk){ .device = DISK_DEVICE_CDROM, .readonly = true, .driver.rerror_policy = policy, .driver.queues = 2,
		.serial = (char *)"drive" }, &(struct block_options){ .align = 512, .readonly = true }, false);

	open_driver(p, ALL);
	p->chain = NULL;
	return p;
}

static void drive_free(struct place *p)
{
	struct disk_source source;

	fake_free(p->f);
	source = p->config.source;
	schema_clear(&disk_source_schema, &source);
	schema_free(&disk_backing_schema, p->config.backing);
	block_host_free(p->host);
	g_free(p);
}

static void wait_ended(struct place *p, unsigned queue)
{
	for (unsigned i = 0; i < 5000; i++) {
		if (ended(p, queue, NULL))
			return;
		g_usleep(1000);
		fake_step(p->f);
	}
	g_error("a request does not end");
}

static uint64_t capacity(struct place *p)
{
	return drv_mmio_read(p->f, p->d.space, 4);
}

/* Out, in, another one: the guest is told each time, and reads what is in. */
static void test_medium(void)
{
	struct place *p = drive(0);
	uint8_t generation = (uint8_t)vdrv_common(&p->d, 0x15, 1);
	uint8_t buf[512];

	g_assert_true(p->d.offered & F_RO);
	g_assert_false(p->d.offered & (F_FLUSH | F_WCE | F_DISCARD | F_ZEROES));
	g_assert_cmpuint(ask(p, IN, 0, DATA, 512), ==, OK);
	change_now(p, 0);
	g_assert_cmpuint(vdrv_common(&p->d, 0x15, 1), !=, generation);
	g_assert_cmpuint(capacity(p), ==, 0);
	g_assert_cmpuint(ask(p, IN, 0, DATA, 512), ==, IOERR);
	g_assert_cmpuint(ask(p, IN, 0, DATA, 0), ==, IOERR);
	g_assert_cmpuint(ask(p, FLUSH, 0, 0, 0), ==, IOERR);
	g_assert_cmpuint(ask(p, OUT, 0, DATA, 512), ==, IOERR);
	g_assert_cmpuint(ask(p, GET_ID, 0, DATA, 20), ==, OK);
	g_assert_cmpuint(p->f->requests_n, ==, 0);              /* no trouble of the host's */
	for (unsigned n = 8; n <= 16; n += 8) {
		change_now(p, n);
		g_assert_cmpuint(capacity(p), ==, n);
		g_assert_cmpstr(p->config.source.file.fd, ==, "medium");
		begin(p, 0, 0, IN, n - 1, DATA, 512);
		wait_ended(p, 0);
		g_assert_cmpuint(status(p, 0), ==, OK);
		g_assert_true(ram_read(&p->f->vm.ram, DATA, buf, 512));
		g_assert_cmpmem(buf, 512, p->image + DISK / 2 + (n - 1) * 512, 512);
		g_assert_cmpuint(ask(p, IN, n, DATA, 512), ==, IOERR);
	}
	drive_free(p);
}

/* A medium may be open for writing: the guest was told that it only reads, and a drive holds it to that. */
static void test_medium_writable(void)
{
	struct place *p = drive(0);
	struct change c;
	GError *err = NULL;

	g_assert_true(change_to(p, 8, true, &c, &err));
	g_assert_no_error(err);
	fake_step(p->f);
	g_assert_cmpint(c.result, ==, 0);
	g_assert_true(p->config.source.writable);
	for (unsigned i = 0; i < 2; i++) {
		begin(p, 0, 0, i ? IN : OUT, 0, DATA, 512);
		wait_ended(p, 0);
		g_assert_cmpuint(status(p, 0), ==, i ? OK : IOERR);
	}
	g_assert_cmpuint(p->f->requests_n, ==, 0);
	drive_free(p);
}

/* What is under way ends on the old medium, what waits goes to the new one; one change at a time. */
static void test_medium_busy(void)
{
	struct place *p = drive(0);
	struct change c, other;
	GError *err = NULL;

	p->fault.delay = 1000000;
	for (unsigned i = 0; i < 4; i++)
		begin(p, i & 1, i, IN, i, DATA + i * 512, 512);
	g_assert_true(change(p, 0, &c, &err));
	g_assert_false(change(p, 8, &other, &err));
	g_assert_error(err, kerr_quark(), KERR_BUSY);
	g_clear_error(&err);
	begin(p, 0, 4, IN, 0, DATA, 512);
	fake_step(p->f);
	g_assert_cmpint(c.result, ==, PENDING);
	g_assert_false(ended(p, 0, NULL));
	g_assert_cmpuint(capacity(p), ==, DISK / 512);
	fake_pass(p->f, 2000000);
	g_assert_cmpint(c.result, ==, 0);
	for (unsigned i = 0; i < 4; i++) {
		g_assert_true(ended(p, i & 1, NULL));
		g_assert_cmpuint(status(p, i), ==, OK);
	}
	g_assert_true(ended(p, 0, NULL));
	g_assert_cmpuint(status(p, 4), ==, IOERR);
	drive_free(p);
}

/* A pause or a reset in the middle; the device goes away in the middle. */
static void test_medium_pause(void)
{
	for (unsigned i = 0; i < 3; i++) {
		struct place *p = drive(0);
		struct change c;

		p->fault.delay = 1000000;
		begin(p, 0, 0, IN, 0, DATA, 512);
		g_assert_true(change(p, 8, &c, NULL));
		p->fault.delay = 0;
		if (i == 0) {
			devices_pause(&p->f->vm, &(struct done){ .fn = medium_done, .arg = &(int){ 0 } });
			fake_pass(p->f, 2000000);
			g_assert_cmpint(c.result, ==, 0);
			fake_resume(p->f);
		} else if (i == 1) {
			vdrv_common_write(&p->d, 0x14, 1, 0);
			fake_pass(p->f, 2000000);
			g_assert_cmpint(c.result, ==, 0);
			open_driver(p, ALL);
		} else {
			fake_pass(p->f, 2000000);
			begin(p, 0, 0, IN, 0, DATA, 512);
			g_assert_true(change(p, 0, &c, NULL));
		}
		if (i < 2) {
			g_assert_cmpuint(capacity(p), ==, 8);
			if (!i)
				g_assert_true(ended(p, 0, NULL));
			begin(p, 0, 0, IN, 1, DATA, 512);
			wait_ended(p, 0);
			g_assert_cmpuint(status(p, 0), ==, OK);
			fake_pause(p->f);
			change_now(p, 16);              /* the guest learns of it when it goes on */
			fake_resume(p->f);
			g_assert_cmpuint(capacity(p), ==, 16);
			begin(p, 1, 0, IN, 15, DATA, 512);
			wait_ended(p, 1);
			g_assert_cmpuint(status(p, 0), ==, OK);
		}
		drive_free(p);
	}
}

/* A request that failed and is kept is tried on the new medium, also when the machine goes on while it is changed. */
static void test_medium_failed(void)
{
	for (unsigned i = 0; i < 2; i++) {
		struct place *p = drive(DISK_ERROR_STOP);
		struct change c;

		fail(p, BLOCK_READ, -EIO, 1);
		if (i) {
			p->fault.delay = 1000000;
			begin(p, 1, 1, IN, 9, DATA + 512, 512);
		}
		p->fault.nth = i ? 2 : 1;
		begin(p, 0, 0, IN, 0, DATA, 512);
		if (!i)
			g_assert_false(ended(p, 0, NULL));
		g_assert_true(change(p, 0, &c, NULL));
		devices_pause(&p->f->vm, &(struct done){ .fn = medium_done, .arg = &(int){ 0 } });
		fake_step(p->f);
		fake_pass(p->f, i ? 2000000 : 0);
		fake_resume(p->f);
		fake_pause(p->f);
		fake_resume(p->f);
		g_assert_cmpint(c.result, ==, 0);
		g_assert_true(ended(p, 0, NULL));
		g_assert_cmpuint(status(p, 0), !=, UNTOUCHED);
		if (!i)
			g_assert_cmpuint(status(p, 0), ==, IOERR);
		g_assert_cmpint(virtio_blk_trouble(p->dev), ==, 0);
		drive_free(p);
	}
}

/* An empty drive is saved and loaded; one with a medium is another one. */
static void test_medium_move(void)
{
	struct place *a = drive(0), *b = drive(0);
	g_autoptr(GByteArray) state = g_byte_array_new();
	const uint8_t *at;
	size_t n;
	GError *err = NULL;

	change_now(a, 0);
	fake_pause(a->f);
	devices_save(&a->f->vm, state);
	fake_pause(b->f);
	at = state->data;
	n = state->len;
	g_assert_false(devices_load(&b->f->vm, &at, &n, &err));
	g_assert_nonnull(strstr(err->message, "had 0 sectors"));
	g_clear_error(&err);
	fake_resume(b->f);
	change_now(b, 0);
	fake_pause(b->f);
	memcpy(ram_host(&b->f->vm.ram, 0, FAKE_RAM), ram_host(&a->f->vm.ram, 0, FAKE_RAM), FAKE_RAM);
	at = state->data;
	n = state->len;
	g_assert_true(devices_load(&b->f->vm, &at, &n, &err));
	g_assert_no_error(err);
	b->d = a->d;
	b->d.f = b->f;
	b->d.dev = b->dev;
	b->d.rings[0].ram = &b->f->vm.ram;
	fake_resume(b->f);
	g_assert_cmpuint(ask(b, IN, 0, DATA, 512), ==, IOERR);
	change_now(b, 8);
	begin(b, 0, 0, IN, 0, DATA, 512);
	wait_ended(b, 0);
	g_assert_cmpuint(status(b, 0), ==, OK);
	drive_free(a);
	drive_free(b);
}

/* Drives only; what can't be opened changes nothing. */
static void test_medium_refused(void)
{
	struct place *p = simple(), *q = drive(0);
	struct change c;
	struct disk bad = q->config;
	struct fdset *fds = fdset_new();
	GError *err = NULL;

	g_assert_false(change(p, 0, &c, &err));
	g_assert_error(err, kerr_quark(), KERR_UNSUPPORTED);
	g_clear_error(&err);
	bad.type = DISK_FILE;
	bad.source.file = (struct resource){ .path = (char *)"/x", .fd = (char *)"nix" };
	g_assert_false(virtio_blk_change(q->dev, &bad, fds, &c.done, &err));
	g_assert_nonnull(err);
	g_clear_error(&err);
	fdset_free(fds);
	g_assert_cmpuint(capacity(q), ==, DISK / 512);
	g_assert_cmpuint(ask(q, IN, 0, DATA, 512), ==, OK);
	place_free(p);
	drive_free(q);
}

static struct place *hostile;

/* The host's side changes media while the guest does what it wants. */
static void change_between(struct fake *f, GRand *r)
{
	static struct change c = { .result = 0 };

	f->requests_n = 0;
	if (c.result == PENDING)
		fake_step(f);
	if (c.result != PENDING)
		g_assert_true(change(hostile, g_rand_boolean(r) ? 0 : (unsigned)g_rand_int_range(r, 1, 64), &c, NULL));
	if (g_rand_boolean(r))
		fake_step(f);
}

static void test_medium_hostile(void)
{
	hostile = drive(0);
	vhostile(hostile->f, hostile->dev, 2, vhostile_rounds() / 4, 23, change_between);
	fake_step(hostile->f);
	drive_free(hostile);
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
	g_test_add_func("/blk/report", test_report);
	g_test_add_func("/blk/stop", test_stop);
	g_test_add_func("/blk/stop-all", test_stop_all);
	g_test_add_func("/blk/move", test_move);
	g_test_add_func("/blk/drain", test_drain);
	g_test_add_func("/blk/resize", test_resize);
	g_test_add_func("/blk/update", test_update);
	g_test_add_func("/blk/refused", test_refused);
	g_test_add_func("/blk/medium", test_medium);
	g_test_add_func("/blk/medium-writable", test_medium_writable);
	g_test_add_func("/blk/medium-busy", test_medium_busy);
	g_test_add_func("/blk/medium-pause", test_medium_pause);
	g_test_add_func("/blk/medium-failed", test_medium_failed);
	g_test_add_func("/blk/medium-move", test_medium_move);
	g_test_add_func("/blk/medium-refused", test_medium_refused);
	g_test_add_func("/blk/hostile", test_hostile);
	g_test_add_func("/blk/medium-hostile", test_medium_hostile);
	return g_test_run();
}
