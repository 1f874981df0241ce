/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Images that qemu-img made, with every option: read by us they are what they should be; written by us they are fine for
 * qemu-img, their snapshots included. Through files, so the leaves are used as a machine uses them. What can't be used is
 * refused by its name.
 */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "block_rig.h"
#include "domain/disk.h"
#include "domain/error.h"

#define DISK_BYTES (3u << 20)         /* bytes, plus a ragged end */
#define RAGGED (DISK_BYTES + 512 * 7)

static const struct image {
	const char *name, *options;
	bool compressed, snapshot, bitmap;
} images[] = {
	{ "default", "compat=1.1" },
	{ "v2", "compat=0.10" },
	{ "v2-snapshot", "compat=0.10", .snapshot = true },
	{ "512", "cluster_size=512" },
	{ "2m", "cluster_size=2M" },
	{ "refs1", "refcount_bits=1" },
	{ "refs2-snapshot", "refcount_bits=2", .snapshot = true },
	{ "refs4", "refcount_bits=4,cluster_size=4k" },
	{ "refs8", "refcount_bits=8,cluster_size=1k" },
	{ "refs32", "refcount_bits=32" },
	{ "refs64", "refcount_bits=64,cluster_size=512" },
	{ "lazy", "lazy_refcounts=on" },
	{ "lazy-snapshot", "lazy_refcounts=on,cluster_size=8k", .snapshot = true },
	{ "metadata", "preallocation=metadata" },
	{ "falloc", "preallocation=falloc,cluster_size=4k" },
	{ "zlib", "compression_type=zlib", .compressed = true },
	{ "zstd", "compression_type=zstd", .compressed = true },
	{ "zlib-4k", "compression_type=zlib,cluster_size=4k", .compressed = true },
	{ "zstd-2m", "compression_type=zstd,cluster_size=2M", .compressed = true },
	{ "zlib-snapshot", "compression_type=zlib,cluster_size=16k", .compressed = true, .snapshot = true },
	{ "zlib-v2", "compat=0.10", .compressed = true },
	{ "bitmap", "cluster_size=64k", .bitmap = true },
};
static const struct { const char *name, *options, *says; } refused[] = {
	{ "extended-l2", "extended_l2=on", "extended L2 entries" },
	{ "data-file", "data_file=", "external data file" },
	{ "encrypted", NULL, "encrypted" },     /* by hand: making one takes qemu-img seconds */
};

#define MUST(...) g_assert_cmpint(rig_command(NULL, __VA_ARGS__, NULL), ==, 0)

/* Content that compresses, with holes. */
static uint8_t *content(GRand *rand, uint64_t n)
{
	uint8_t *c = g_malloc0(n);

	for (uint64_t at = 0; at < n; at += 4096) {
		uint64_t part = MIN(4096, n - at);

		if (g_rand_int_range(rand, 0, 4) == 0)
			continue;
		memset(c + at, g_rand_int_range(rand, 1, 256), part);
		for (int i = 0; i < 300; i++)
			c[at + (uint64_t)g_rand_int_range(rand, 0, (gint32)part)] =
				(uint8_t)g_rand_int(rand);
	}
	return c;
}

static struct block *open_files(struct rig *r, const char *driver, const char **paths,
	const char **formats, unsigned n, bool direct, bool readonly, GError **err)
{
	struct block_row rows[16];
	struct block_file_config files[8];
	struct block_qcow2_config qcow2 = { .punch = true };
	struct block_options options = { .align = 1, .readonly = readonly };
	char name[8][16];
	unsigned k = 0;

	for (unsigned i = 0; i < n; i++) {
		int fd = open(paths[i],
			(i || readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | (direct ? O_DIRECT : 0));
		bool is_qcow2 = !strcmp(formats[i], "qcow2");

		g_assert_cmpint(fd, >=, 0);
		g_snprintf(name[i], sizeof(name[i]), "disk%u", i);
		g_assert_true(fdset_add(r->fds, name[i], fd, NULL));
		if (is_qcow2)
			rows[k++] = (struct block_row){ "qcow2", &qcow2 };
		files[i] = (struct block_file_config){ .fd = name[i],
			.flags = is_qcow2 ? BLOCK_FILE_GROWS : 0 };
		rows[k++] = (struct block_row){ driver, &files[i] };
	}
	return block_open(r->host, rows, k, &options, r->fds, err);
}

static void read_equal(struct rig *r, struct block *b, const uint8_t *model, uint64_t n)
{
	g_autofree uint8_t *data = g_malloc(n);

	g_assert_cmpuint(block_size(b), ==, n);
	for (uint64_t at = 0, part; at < n; at += part) {
		part = MIN(n - at, 70000 + at % 5000);
		g_assert_cmpint(rig_io(r, b, BLOCK_READ, 0, at, data + at, part), ==, part);
	}
	g_assert_cmpmem(data, n, model, n);
}

static void scribble(struct rig *r, struct block *b, GRand *rand, uint8_t *model, uint64_t n)
{
	g_autofree uint8_t *buf = g_malloc(200000);

	for (int i = 0; i < 120; i++) {
		uint64_t off = (uint64_t)g_rand_int_range(rand, 0, (gint32)n),
			 len = (uint64_t)g_rand_int_range(rand, 1, i % 5 ? 9000 : 200000);

		len = MIN(len, n - off);
		if (i % 4 == 3) {
			g_assert_cmpint(rig_io(r, b, BLOCK_ZERO, i % 8 == 3 ? BLOCK_UNMAP : 0, off,
						NULL, len),
				==, len);
			memset(model + off, 0, len);
			continue;
		}
		for (uint64_t k = 0; k < len; k++)
			buf[k] = (uint8_t)g_rand_int(rand);
		g_assert_cmpint(rig_io(r, b, BLOCK_WRITE, 0, off, buf, len), ==, len);
		memcpy(model + off, buf, len);
		if (i % 17 == 0)
			g_assert_cmpint(rig_io(r, b, BLOCK_FLUSH, 0, 0, NULL, 0), ==, 0);
	}
}

static void judge(const char *path, const char *twin, const uint8_t *model, uint64_t n, bool leaks)
{
	g_autofree char *out = NULL;

	rig_save(twin, model, n);
	g_assert_cmpint(rig_check(path, leaks ? 3 : 0) % (leaks ? 3 : 256), ==, 0);
	if (rig_command(&out, "qemu-img", "compare", "-f", "qcow2", "-F", "raw", path, twin, NULL))
		g_error("%s", out);
}

static void test_image(const void *arg)
{
	const struct image *m = arg;
	const char *drivers[] = { "threads", "uring" };
	struct rig r;
	GRand *rand = g_rand_new_with_seed(7);
	g_autofree uint8_t *model = content(rand, RAGGED);
	g_autofree char *path = NULL, *raw = NULL, *snap = NULL, *again = NULL;
	const char *paths[1], *formats[] = { "qcow2" };
	GError *err = NULL;

	rig_init(&r, false, true);
	path = rig_path(&r, "image");
	raw = rig_path(&r, "raw");
	snap = rig_path(&r, "snapshot");
	again = rig_path(&r, "again");
	paths[0] = path;
	rig_save(raw, model, RAGGED);
	if (m->compressed)
		MUST("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "-o", m->options, raw,
			path);
	else
		MUST("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", m->options, raw,
			path);
	if (m->snapshot) {
		MUST("qemu-img", "snapshot", "-c", "s1", path);
		MUST("qemu-io", "-f", "qcow2", "-c", "write -P 17 100k 300k", path);
		memset(model + (100 << 10), 17, 300 << 10);
		MUST("qemu-img", "snapshot", "-c", "s2", path);
		MUST("qemu-img", "convert", "-l", "s1", "-O", "raw", path, snap);
	}
	if (m->bitmap)
		MUST("qemu-img", "bitmap", "--add", path, "dirt");
	for (unsigned i = 0; i < G_N_ELEMENTS(drivers); i++) {
		struct block *b;

		if (i && !r.host->ring)
			continue;
		b = open_files(&r, drivers[i], paths, formats, 1, i, false, &err);
		g_assert_no_error(err);
		read_equal(&r, b, model, RAGGED);
		scribble(&r, b, rand, model, RAGGED);
		read_equal(&r, b, model, RAGGED);
		g_assert_true(rig_close(&r, b, false));
		judge(path, raw, model, RAGGED, m->bitmap);
	}
	if (m->snapshot) {
		g_autofree char *was = NULL, *now = NULL;
		gsize was_n, now_n;

		MUST("qemu-img", "convert", "-l", "s1", "-O", "raw", path, again);
		g_assert_true(g_file_get_contents(snap, &was, &was_n, NULL) &&
			      g_file_get_contents(again, &now, &now_n, NULL));
		g_assert_cmpmem(was, was_n, now, now_n);
		MUST("qemu-img", "snapshot", "-d", "s1", path);
		MUST("qemu-img", "snapshot", "-a", "s2", path);
		g_assert_cmpint(rig_check(path, 0), ==, 0);
	}
	g_rand_free(rand);
	rig_finish(&r);
}

/* raw ← qcow2 ← qcow2 ← qcow2, of different sizes and clusters; only the top is written. */
static void test_chain(void)
{
	struct rig r;
	GRand *rand = g_rand_new_with_seed(8);
	g_autofree uint8_t *model = g_malloc0(RAGGED), *base = content(rand, DISK_BYTES / 2);
	g_autofree char *p0 = NULL, *p1 = NULL, *p2 = NULL, *p3 = NULL, *twin = NULL;
	const char *formats[] = { "qcow2", "qcow2", "qcow2", "raw" };
	struct block *b;
	GError *err = NULL;

	rig_init(&r, false, true);
	p0 = rig_path(&r, "top");
	p1 = rig_path(&r, "one");
	p2 = rig_path(&r, "two");
	p3 = rig_path(&r, "base");
	twin = rig_path(&r, "twin");
	rig_save(p3, base, DISK_BYTES / 2);
	memcpy(model, base, DISK_BYTES / 2);
	MUST("qemu-img", "create", "-f", "qcow2", "-o", "cluster_size=4k", "-b", p3, "-F", "raw",
		p2, "1M");
	MUST("qemu-img", "create", "-f", "qcow2", "-b", p2, "-F", "qcow2", p1, "2M");
	MUST("qemu-io", "-f", "qcow2", "-c", "write -P 5 10k 100k", "-c", "write -z 200k 100k", p1);
	g_assert_cmpint(rig_command(NULL, "qemu-img", "create", "-f", "qcow2", "-o",
				"cluster_size=32k", "-b", p1, "-F", "qcow2", p0, "3149312", NULL),
		==, 0);
	memset(model + (1 << 20), 0, RAGGED - (1 << 20)); /* beyond "two" nothing shines through */
	memset(model + (10 << 10), 5, 100 << 10);
	memset(model + (200 << 10), 0, 100 << 10);
	for (unsigned i = 0; i < 2; i++) {
		b = open_files(&r, i && r.host->ring ? "uring" : "threads",
			(const char *[]){ p0, p1, p2, p3 }, formats, 4, i, false, &err);
		g_assert_no_error(err);
		read_equal(&r, b, model, RAGGED);
		scribble(&r, b, rand, model, RAGGED);
		read_equal(&r, b, model, RAGGED);
		g_assert_true(rig_close(&r, b, false));
		judge(p0, twin, model, RAGGED, false);
	}
	/* without its chain it is not opened, nor with one it does not have */
	g_assert_null(
		open_files(&r, "threads", (const char *[]){ p0 }, formats, 1, false, false, &err));
	g_assert_nonnull(strstr(err->message, p1));
	g_clear_error(&err);
	MUST("qemu-img", "create", "-f", "qcow2", p0, "1M");
	g_assert_null(open_files(
		&r, "threads", (const char *[]){ p0, p1, p2, p3 }, formats, 4, false, false, &err));
	g_assert_error(err, kerr_quark(), KERR_STATE_DATA);
	g_clear_error(&err);
	g_rand_free(rand);
	rig_finish(&r);
}

/* An image that was not closed: qemu-io is killed with lazy counts outstanding; we repair and go on. */
static void test_dirty(void)
{
	struct rig r;
	g_autofree uint8_t *model = g_malloc0(DISK_BYTES);
	g_autofree char *path = NULL, *twin = NULL;
	const char *formats[] = { "qcow2" };
	struct block_info info;
	struct block *b;
	GError *err = NULL;

	rig_init(&r, false, true);
	path = rig_path(&r, "image");
	twin = rig_path(&r, "twin");
	MUST("qemu-img", "create", "-f", "qcow2", "-o", "lazy_refcounts=on,cluster_size=4k", path,
		"3M");
	(void)rig_command(NULL, "qemu-io", "-f", "qcow2", "-c", "write -P 9 64k 700k", "-c",
		"flush", "-c", "sigraise 9", path, NULL);
	memset(model + (64 << 10), 9, 700 << 10);
	g_assert_cmpint(rig_command(NULL, "qemu-img", "check", path, NULL), !=, 0);
	b = open_files(&r, "threads", (const char *[]){ path }, formats, 1, false, true,
		&err); /* read-only: left as it is */
	g_assert_no_error(err);
	read_equal(&r, b, model, DISK_BYTES);
	rig_close(&r, b, false);
	b = open_files(&r, "threads", (const char *[]){ path }, formats, 1, false, false, &err);
	g_assert_no_error(err);
	block_info(b, &info);
	g_assert_true(info.repaired);
	read_equal(&r, b, model, DISK_BYTES);
	memset(model + 1000, 3, 5000);
	g_assert_cmpint(rig_io(&r, b, BLOCK_WRITE, 0, 1000, model + 1000, 5000), ==, 5000);
	rig_close(&r, b, false);
	judge(path, twin, model, DISK_BYTES, false);
	rig_finish(&r);
}

static void test_refused(void)
{
	struct rig r;
	g_autofree char *path = NULL, *data = NULL;
	const char *formats[] = { "qcow2" };

	rig_init(&r, false, false);
	path = rig_path(&r, "image");
	data = rig_path(&r, "data");
	for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
		const char *own = refused[i].options ? refused[i].options : "compat=1.1";
		g_autofree char *options =
			g_strconcat(own, g_str_has_suffix(own, "data_file=") ? data : "", NULL);
		GError *err = NULL;

		MUST("qemu-img", "create", "-f", "qcow2", "-o", options, path, "1M");
		if (!refused[i].options) {
			int fd = open(path, O_WRONLY | O_CLOEXEC);

			g_assert_cmpint(pwrite(fd, "\0\0\0\1", 4, 32), ==, 4);
			close(fd);
		}
		g_assert_null(open_files(
			&r, "threads", (const char *[]){ path }, formats, 1, false, false, &err));
		g_assert_error(err, kerr_quark(), KERR_UNSUPPORTED);
		g_assert_nonnull(strstr(err->message, refused[i].says));
		g_clear_error(&err);
	}
	rig_finish(&r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	if (!rig_has_qemu_img()) {
		g_print("1..0 # SKIP qemu-img is not installed: no images of others to try\n");
		return 77;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(images); i++) {
		g_autofree char *path = g_strdup_printf("/qcow2/images/%s", images[i].name);

		g_test_add_data_func(path, &images[i], test_image);
	}
	g_test_add_func("/qcow2/images/chain", test_chain);
	g_test_add_func("/qcow2/images/dirty", test_dirty);
	g_test_add_func("/qcow2/images/refused", test_refused);
	return g_test_run();
}
