/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-blk as a drive: media that go and come, also under a busy, paused, failed, moved or hostile guest. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "domain/error.h"
#include "tests/devices/virtio_blk_rig.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_hostile.h"

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
	fake_move(a->f, b->f);
	b->d = a->d;
	vdrv_move(&b->d, b->f);
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/blk/medium", test_medium);
	g_test_add_func("/blk/medium-writable", test_medium_writable);
	g_test_add_func("/blk/medium-busy", test_medium_busy);
	g_test_add_func("/blk/medium-pause", test_medium_pause);
	g_test_add_func("/blk/medium-failed", test_medium_failed);
	g_test_add_func("/blk/medium-move", test_medium_move);
	g_test_add_func("/blk/medium-refused", test_medium_refused);
	g_test_add_func("/blk/medium-hostile", test_medium_hostile);
	return g_test_run();
}
