/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is opened for a <disk>: its chain, its modes of caching, discard. */
#include <fcntl.h>
#include <string.h>

#include "domain/disk.h"
#include "domain/error.h"
#include "tests/devices/block_rig.h"

static void test_disk(void)
{
	struct rig r;
	struct disk *d = schema_new(&disk_schema);
	struct block_info info;
	struct block *b;
	g_autofree char *path = NULL;
	uint8_t buf[512];
	GError *err = NULL;

	rig_init(&r, false, true);
	path = rig_path(&r, "disk");
	memset(buf, 7, sizeof(buf));
	rig_save(path, buf, sizeof(buf));
	g_assert_true(fdset_add(r.fds, "disk0", open(path, O_RDWR | O_CLOEXEC), NULL));
	d->type = DISK_FILE;
	d->source.file.path = g_strdup(path);
	d->driver.format = FORMAT_VMDK;
	g_assert_null(block_open_disk(r.host, d, r.fds, &err));
	g_assert_error(err, kerr_quark(), KERR_UNSUPPORTED);
	g_clear_error(&err);
	d->source.file.fd = g_strdup("disk0");
	d->driver.format = FORMAT_RAW;
	d->driver.cache = CACHE_WRITETHROUGH;
	d->driver.detect_zeroes = ZEROES_ON;
	d->iotune.total_bytes_sec = 1 << 20;
	b = block_open_disk(r.host, d, r.fds, &err);
	g_assert_no_error(err);
	block_info(b, &info);
	g_assert_cmpstr(info.format, ==, "raw");
	g_assert_cmpuint(info.size, ==, 512);
	g_assert_cmpuint(info.images, ==, 1);
	memset(buf, 0, sizeof(buf));
	g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 0, buf, 512), ==, 512);
	g_assert_cmpuint(buf[511], ==, 7);
	g_assert_true(block_set_iotune(b, NULL, &err));
	rig_close(&r, b, false);
	/* the descriptor is used up */
	g_assert_null(block_open_disk(r.host, d, r.fds, NULL));
	schema_free(&disk_schema, d);
	rig_finish(&r);
}

static void make_qcow2(struct rig *r, const char *path)
{
	struct block_file_config c = { .fd = "new", .flags = BLOCK_FILE_GROWS };
	struct block_row row = { "threads", &c };
	struct block *b;

	g_assert_true(fdset_add(r->fds, "new", open(path, O_RDWR | O_CLOEXEC), NULL));
	b = block_open(r->host, &row, 1, &(struct block_options){ 0 }, r->fds, NULL);
	g_assert_nonnull(b);
	g_assert_true(qcow2_create(b, &(struct qcow2_create){ .size = 1 << 20 }, NULL));
	rig_close(r, b, false);
}

/* Which modes tell the guest of a cache, raw or with a format above: all but those that write through. */
static void test_modes(void)
{
	static const bool cached[CACHE_N] = { [CACHE_ABSENT] = true, [CACHE_DEFAULT] = true, [CACHE_NONE] = true, [CACHE_WRITEBACK] = true,
		[CACHE_UNSAFE] = true };

	for (unsigned i = 0; i < 2 * CACHE_N; i++) {
		struct disk *d = schema_new(&disk_schema);
		struct rig r;
		struct block *b;
		g_autofree char *path = NULL;
		GError *err = NULL;

		rig_init(&r, false, true);
		path = rig_path(&r, "disk");
		rig_save(path, "", 0);
		if (i >= CACHE_N)
			make_qcow2(&r, path);
		g_assert_true(fdset_add(r.fds, "disk0", open(path, O_RDWR | O_CLOEXEC), NULL));
		d->type = DISK_FILE;
		d->source.file.path = g_strdup(path);
		d->source.file.fd = g_strdup("disk0");
		d->driver.format = i < CACHE_N ? FORMAT_RAW : FORMAT_QCOW2;
		d->driver.cache = (int)(i % CACHE_N);
		b = block_open_disk(r.host, d, r.fds, &err);
		g_assert_no_error(err);
		g_assert_cmpint(!!(block_can(b) & BLOCK_CAN_CACHE), ==, cached[i % CACHE_N]);
		rig_close(&r, b, false);
		schema_free(&disk_schema, d);
		rig_finish(&r);
	}
}

/* discard='ignore': what was allocated stays so, also when the guest zeroes it and allows to give it back. */
static void test_unmap(void)
{
	for (int discard = DISCARD_ABSENT; discard < DISCARD_N; discard++) {
		struct disk *d = schema_new(&disk_schema);
		g_autofree uint8_t *buf = g_malloc(1 << 20);
		struct block_info info;
		struct rig r;
		struct block *b;
		GError *err = NULL;

		rig_init(&r, false, true);
		g_autofree char *path = rig_path(&r, "disk");
		memset(buf, 1, 1 << 20);
		rig_save(path, buf, 1 << 20);
		g_assert_true(fdset_add(r.fds, "disk0", open(path, O_RDWR | O_CLOEXEC), NULL));
		d->type = DISK_FILE;
		d->source.file.path = g_strdup(path);
		d->source.file.fd = g_strdup("disk0");
		d->driver.format = FORMAT_RAW;
		d->driver.discard = discard;
		b = block_open_disk(r.host, d, r.fds, &err);
		g_assert_no_error(err);
		g_assert_cmpint(rig_io(&r, b, BLOCK_ZERO, BLOCK_UNMAP, 0, NULL, 1 << 20), ==, 1 << 20);
		g_assert_cmpint(rig_io(&r, b, BLOCK_READ, 0, 0, buf, 1 << 20), ==, 1 << 20);
		g_assert_true(!buf[0] && !memcmp(buf, buf + 1, (1 << 20) - 1));
		block_info(b, &info);
		g_assert_cmpint(info.allocated >= 1 << 20, ==, discard == DISCARD_IGNORE);
		rig_close(&r, b, false);
		schema_free(&disk_schema, d);
		rig_finish(&r);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/block/disk", test_disk);
	g_test_add_func("/block/modes", test_modes);
	g_test_add_func("/block/unmap", test_unmap);
	return g_test_run();
}
