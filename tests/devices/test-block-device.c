/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks on block devices of the host (loop devices of our own, as root): every operation byte by byte, space that is given back, a host
 * that is full, growing. Sectors of 512 and of 4096 bytes, through the page cache and past it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "block_rig.h"
#include "devices/block_file.h"
#include "devices/qcow2_create.h"

#define LENGTH (4u << 20)

struct dev { int loop, file; char *path; };

/* NULL: why there is none. */
static const char *dev_open(struct dev *d, const char *image, uint32_t sector)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	struct loop_config c = { .block_size = sector, .info.lo_flags = LO_FLAGS_AUTOCLEAR };

	*d = (struct dev){ -1, -1, NULL };
	if (control < 0)
		return "no /dev/loop-control";
	d->file = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	g_assert_cmpint(d->file, >=, 0);
	g_assert_cmpint(ftruncate(d->file, LENGTH), ==, 0);
	c.fd = (uint32_t)d->file;
	for (int tries = 0; tries < 20 && d->loop < 0; tries++) {       /* others take them too */
		int n = ioctl(control, LOOP_CTL_GET_FREE);

		g_free(d->path);
		d->path = g_strdup_printf("/dev/loop%d", n);
		d->loop = n < 0 ? -1 : open(d->path, O_RDWR | O_CLOEXEC);
		if (d->loop >= 0 && ioctl(d->loop, LOOP_CONFIGURE, &c) < 0) {
			close(d->loop);
			d->loop = -1;
		}
	}
	close(control);
	return d->loop < 0 ? "no free loop device" : NULL;
}

static void dev_close(struct dev *d)
{
	if (d->loop >= 0)
		close(d->loop);
	if (d->file >= 0)
		close(d->file);
	g_free(d->path);
}

static struct block *chain(struct rig *r, const struct dev *d, const char *driver, bool direct)
{
	struct block_file_config c = { .fd = "dev" };
	struct block_row row = { driver, &c };
	int fd = open(d->path, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));

	g_assert_cmpint(fd, >=, 0);
	g_assert_true(fdset_add(r->fds, "dev", fd, NULL));
	return rig_open(r, &row, 1, &(struct block_options){ .align = 512 });
}

static uint64_t used(const struct dev *d)
{
	struct stat st;

	g_assert_cmpint(fstat(d->file, &st), ==, 0);
	return (uint64_t)st.st_blocks * 512;
}

static void expect(struct rig *r, struct block *b, const uint8_t *model)
{
	g_autofree uint8_t *got = g_malloc(LENGTH);

	g_assert_cmpint(rig_io(r, b, BLOCK_READ, 0, 0, got, LENGTH), ==, LENGTH);
	g_assert_cmpmem(got, LENGTH, model, LENGTH);
}

static void zero(struct rig *r, struct block *b, uint8_t *model, unsigned flags, uint64_t off, uint64_t n)
{
	g_assert_cmpint(rig_io(r, b, BLOCK_ZERO, flags, off, NULL, n), ==, (int64_t)n);
	memset(model + off, 0, n);
	expect(r, b, model);
}

static void run(const char *driver, uint32_t sector, bool direct)
{
	g_autofree uint8_t *model = g_malloc(LENGTH);
	struct rig r;
	struct dev d;
	struct block *b;
	const char *why;

	rig_init(&r, false, true);
	g_autofree char *image = rig_path(&r, "image");
	why = dev_open(&d, image, sector);
	if (why) {
		g_test_skip(why);
		goto out;
	}
	g_test_message("%s, sectors of %u bytes%s", driver, sector, direct ? ", direct" : "");
	b = chain(&r, &d, driver, direct);
	g_assert_cmpuint(block_size(b), ==, LENGTH);
	memset(model, 0x5a, LENGTH);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 0, model, LENGTH), ==, LENGTH);
	g_assert_cmpint(rig_io(&r, b, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	g_assert_cmpuint(used(&d), >=, LENGTH);
	/* ragged: smaller than a sector of 4096, and across */
	model[512] = 1;
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 512, model + 512, 512), ==, 512);
	expect(&r, b, model);
	zero(&r, b, model, 0, 1024, 512);
	zero(&r, b, model, BLOCK_UNMAP, 3584, 1024);
	g_assert_cmpint(rig_io(&r, b, BLOCK_DISCARD, 0, 512, NULL, 1024), ==, 1024);    /* less than a sector: may stay */
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 512, model + 512, 1024), ==, 1024);
	/* aligned, after those: ragged ones spoil nothing */
	zero(&r, b, model, 0, 65536, 65536);
	zero(&r, b, model, BLOCK_UNMAP, 1 << 20, 1 << 20);
	g_assert_cmpint(rig_io(&r, b, BLOCK_DISCARD, 0, 2 << 20, NULL, 1 << 20), ==, 1 << 20);
	g_assert_cmpint(rig_io(&r, b, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	g_assert_cmpuint(used(&d), <=, LENGTH - (2u << 20) + 65536);         /* and what the file system needs itself */
	/* grown by the operator first; not beyond */
	g_assert_cmpint(rig_io(&r, b, BLOCK_RESIZE, 0, LENGTH + (1 << 20), NULL, 0), ==, -EFBIG);
	g_assert_cmpint(ftruncate(d.file, LENGTH + (1 << 20)), ==, 0);
	g_assert_cmpint(ioctl(d.loop, LOOP_SET_CAPACITY, 0), ==, 0);
	g_assert_cmpint(rig_io(&r, b, BLOCK_RESIZE, 0, LENGTH + (1 << 20), NULL, 0), ==, 0);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, BLOCK_FUA, LENGTH, model, 1 << 20), ==, 1 << 20);
	rig_close(&r, b, false);
out:
	dev_close(&d);
	rig_finish(&r);
}

static void test_device(gconstpointer data)
{
	for (unsigned i = 0; i < 4; i++)
		run(data, i & 1 ? 4096 : 512, i & 2);
}

/* An image on a device that is full goes on when the device was made larger; no mark or damage is left. */
static void test_format(gconstpointer driver)
{
	struct block_file_config c = { .fd = "dev", .flags = BLOCK_FILE_GROWS };
	struct block_row rows[] = { { "qcow2", NULL }, { driver, &c } };
	g_autofree uint8_t *buf = g_malloc(1 << 20);
	unsigned full = 0;
	struct rig r;
	struct dev d;
	struct block *b;

	rig_init(&r, false, true);
	g_autofree char *image = rig_path(&r, "image");
	const char *why = dev_open(&d, image, 512);

	if (why) {
		g_test_skip(why);
		goto out;
	}
	g_assert_true(fdset_add(r.fds, "dev", open(d.path, O_RDWR | O_CLOEXEC), NULL));
	b = rig_open(&r, rows + 1, 1, NULL);
	g_assert_true(qcow2_create(b, &(struct qcow2_create){ .size = 4 * LENGTH }, NULL));
	rig_close(&r, b, false);
	g_assert_true(fdset_add(r.fds, "dev", open(d.path, O_RDWR | O_CLOEXEC), NULL));
	b = rig_open(&r, rows, 2, &(struct block_options){ .align = 512 });
	memset(buf, 7, 1 << 20);
	while (full < 16 && rig_io(&r, b, BLOCK_WRITE, 0, (uint64_t)full << 20, buf, 1 << 20) == 1 << 20)
		full++;
	g_assert_cmpuint(full, ==, 3);          /* the fourth has no room beside the tables */
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 8 << 20, buf, 1 << 20), ==, -ENOSPC);
	g_assert_cmpint(ftruncate(d.file, 2 * LENGTH), ==, 0);
	g_assert_cmpint(ioctl(d.loop, LOOP_SET_CAPACITY, 0), ==, 0);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, (uint64_t)full << 20, buf, 1 << 20), ==, 1 << 20);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 8 << 20, buf, 1 << 20), ==, 1 << 20);
	g_assert_cmpint(rig_io(&r, b, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	memset(buf, 0, 1 << 20);
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 8 << 20, buf, 1 << 20), ==, 1 << 20);
	g_assert_true(buf[0] == 7 && !memcmp(buf, buf + 1, (1 << 20) - 1));
	rig_close(&r, b, false);
	if (rig_has_qemu_img())
		g_assert_cmpint(rig_check(d.path, 0), ==, 0);
out:
	dev_close(&d);
	rig_finish(&r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/block/device/threads", "threads", test_device);
	g_test_add_data_func("/block/device/uring", "uring", test_device);
	g_test_add_data_func("/block/device/format/threads", "threads", test_format);
	g_test_add_data_func("/block/device/format/uring", "uring", test_format);
	return g_test_run();
}
