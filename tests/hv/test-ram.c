/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest RAM: pieces around the hole, bounds at every edge, dirty marks. */
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "domain/error.h"
#include "hv/ram.h"

#define KIB 1024ull
#define GIB (1024ull << 20)

static int memfd(uint64_t size)
{
	int fd = memfd_create("ram", MFD_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, (off_t)size), ==, 0);
	return fd;
}

static bool is_dirty(const struct ram *r, uint64_t page)
{
	return r->dirty[page / (8 * sizeof(long))] >> page % (8 * sizeof(long)) & 1;
}

static void test_small(void)
{
	g_autoptr(GError) err = NULL;
	struct ram r;
	char buf[8] = "";

	g_assert_true(ram_init(&r, memfd(64 * KIB), 64 * KIB, &err));
	g_assert_cmpuint(r.pieces[0].size, ==, 64 * KIB);
	g_assert_cmpuint(r.pieces[1].size, ==, 0);
	g_assert_cmpuint((uintptr_t)r.pieces[0].host % (2 << 20), ==, 0);
	g_assert_true(ram_write(&r, 64 * KIB - 8, "1234567", 8));
	g_assert_true(ram_read(&r, 64 * KIB - 8, buf, 8));
	g_assert_cmpstr(buf, ==, "1234567");
	g_assert_false(ram_write(&r, 64 * KIB - 7, "1234567", 8));
	g_assert_false(ram_read(&r, 64 * KIB, buf, 1));
	g_assert_false(ram_read(&r, UINT64_MAX, buf, 2));
	g_assert_false(ram_read(&r, 0, buf, UINT64_MAX));
	g_assert_false(ram_write(&r, UINT64_MAX - 3, buf, 8));
	g_assert_true(ram_read(&r, 64 * KIB, buf, 0));
	g_assert_false(ram_read(&r, 64 * KIB + 1, buf, 0));
	g_assert_true(ram_fill(&r, 100, 0x5a, 5000));
	g_assert_cmphex(*(uint8_t *)ram_host(&r, 5099, 1), ==, 0x5a);
	g_assert_cmphex(*(uint8_t *)ram_host(&r, 5100, 1), ==, 0);
	g_assert_null(ram_host(&r, 0, 64 * KIB + 1));
	g_assert_null(ram_host(&r, 0, 0));
	ram_finish(&r);
	ram_finish(&r);
}

static void test_hole(void)
{
	struct ram r;
	uint64_t size = 5 * GIB;
	char c = 'x';

	/* sparse: nothing of it is used */
	g_assert_true(ram_init(&r, memfd(size), size, NULL));
	g_assert_cmpuint(r.pieces[0].size, ==, RAM_HOLE_START);
	g_assert_cmpuint(r.pieces[1].gpa, ==, RAM_HOLE_END);
	g_assert_cmpuint(r.pieces[1].size, ==, 2 * GIB);
	g_assert_true(ram_write(&r, RAM_HOLE_START - 1, &c, 1));
	g_assert_false(ram_write(&r, RAM_HOLE_START, &c, 1));
	g_assert_null(ram_host(&r, RAM_HOLE_START - 1, 2));
	g_assert_null(ram_host(&r, RAM_HOLE_END - 1, 2));
	g_assert_true(ram_write(&r, RAM_HOLE_END, &c, 1));
	g_assert_true(ram_write(&r, RAM_HOLE_END + 2 * GIB - 1, &c, 1));
	g_assert_false(ram_write(&r, RAM_HOLE_END + 2 * GIB, &c, 1));
	/* the file is laid out without the hole */
	g_assert_cmpint(pread(r.fd, &c, 1, (off_t)RAM_HOLE_START), ==, 1);
	g_assert_cmpint(c, ==, 'x');
	ram_finish(&r);
}

static void test_dirty(void)
{
	struct ram r;
	uint64_t size = 4 * GIB;

	g_assert_true(ram_init(&r, memfd(size), size, NULL));
	r.dirty = g_new0(unsigned long, size / 4096 / (8 * sizeof(long)));
	g_assert_true(ram_fill(&r, 4095, 1, 4098));
	for (unsigned i = 0; i < 4; i++)
		g_assert_cmpint(is_dirty(&r, i), ==, i < 3);
	g_assert_true(ram_write(&r, RAM_HOLE_END, "a", 1));
	g_assert_true(is_dirty(&r, RAM_HOLE_START / 4096));
	g_assert_false(is_dirty(&r, RAM_HOLE_START / 4096 - 1));
	g_assert_false(ram_write(&r, RAM_HOLE_START - 1, "ab", 2));
	g_assert_false(is_dirty(&r, RAM_HOLE_START / 4096 - 1));
	ram_finish(&r);
}

static void test_refused(void)
{
	g_autoptr(GError) err = NULL;
	struct ram r;

	g_assert_false(ram_init(&r, memfd(4096), 8192, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_false(ram_init(&r, memfd(4096), 4095, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_false(ram_init(&r, memfd(4096), 0, &err));
	g_clear_error(&err);
	g_assert_false(ram_init(&r, -1, 4096, &err));
	g_clear_error(&err);
	g_assert_false(ram_init(&r, memfd(4096), UINT64_MAX & ~4095ull, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_assert_true(ram_init_anon(&r, 4096, NULL));
	g_assert_true(ram_write(&r, 0, "x", 1));
	ram_finish(&r);
}

/* Memory of devices: above all else, its own part of the file, back at its place when it comes again. */
static void test_regions(void)
{
	g_autoptr(GError) err = NULL;
	uint64_t size = 64 * KIB, more = 128 * KIB;
	struct ram r;
	char c = 'y';
	int a, b;

	g_assert_true(ram_init(&r, memfd(size + 2 * more), size, NULL));
	g_assert_null(ram_host(&r, RAM_HOLE_END, 1));
	a = ram_add(&r, more, GIB, -1, &err);
	g_assert_no_error(err);
	b = ram_add(&r, more, GIB, -1, &err);
	g_assert_cmpint(a, ==, 2);
	g_assert_cmpint(b, ==, 3);
	g_assert_cmpuint(r.pieces[a].gpa, ==, RAM_HOLE_END);
	g_assert_cmpuint(r.pieces[b].gpa, ==, RAM_HOLE_END + GIB);
	g_assert_cmpuint(r.size, ==, size);
	g_assert_cmpuint(r.total, ==, size + 2 * more);
	g_assert_true(ram_track(&r, true, NULL));
	g_assert_true(ram_write(&r, RAM_HOLE_END + GIB + more - 1, &c, 1));
	g_assert_false(ram_write(&r, RAM_HOLE_END + GIB + more, &c, 1));
	g_assert_null(ram_host(&r, RAM_HOLE_END + more - 1, 2));
	g_assert_true(is_dirty(&r, (size + 2 * more) / 4096 - 1));
	g_assert_cmpint(pread(r.fd, &c, 1, (off_t)(size + 2 * more - 1)), ==, 1);
	g_assert_cmpint(c, ==, 'y');
	/* while pages are noted there is no place for what has no bits */
	g_assert_cmpint(ram_add(&r, more, GIB, -1, &err), ==, -1);
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_cmpint(ram_add(&r, 128 * GIB, GIB, memfd(128 * GIB), &err), ==, -1);
	g_assert_error(err, kerr_quark(), KERR_BUSY);
	g_clear_error(&err);
	g_assert_true(ram_track(&r, false, NULL));
	g_assert_null(r.dirty);
	/* no more in the file; no more places */
	g_assert_cmpint(ram_add(&r, more, GIB, -1, &err), ==, -1);
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_cmpint(ram_add(&r, 4097, GIB, -1, NULL), ==, -1);
	ram_remove(&r, a);
	g_assert_null(ram_host(&r, RAM_HOLE_END, 1));
	g_assert_nonnull(ram_host(&r, RAM_HOLE_END + GIB, 1));
	g_assert_cmpint(ram_add(&r, more, GIB, -1, NULL), ==, a);
	g_assert_cmpuint(r.pieces[a].gpa, ==, RAM_HOLE_END);
	/* who comes again finds zeroes */
	ram_remove(&r, b);
	g_assert_cmpint(ram_add(&r, more, GIB, -1, NULL), ==, b);
	g_assert_true(ram_read(&r, RAM_HOLE_END + GIB + more - 1, &c, 1));
	g_assert_cmpint(c, ==, 0);
	ram_finish(&r);
	g_assert_true(ram_init_anon(&r, size, NULL));
	for (int i = RAM_BOOT_PIECES; i < RAM_PIECES; i++)
		g_assert_cmpint(ram_add(&r, more, 4096, -1, NULL), ==, i);
	g_assert_cmpint(ram_add(&r, more, 4096, -1, &err), ==, -1);
	g_assert_error(err, kerr_quark(), KERR_LIMIT);
	ram_finish(&r);
}

/* Regions in files of their own, which come while others look. */
static void test_own_files(void)
{
	g_autoptr(GError) err = NULL;
	uint64_t size = 64 * KIB, more = 128 * KIB;
	int a, b, fd = memfd(more);
	struct ram r;
	uint8_t *late;
	char c = 'y';

	g_assert_true(ram_init(&r, memfd(size), size, NULL));
	a = ram_add(&r, more, GIB, dup(fd), &err);
	g_assert_no_error(err);
	b = ram_add(&r, 2 * GIB, GIB, memfd(2 * GIB), NULL);
	g_assert_cmpuint(r.pieces[a].gpa, ==, RAM_HOLE_END);
	g_assert_cmpuint(r.pieces[b].gpa, ==, RAM_HOLE_END + GIB);
	g_assert_true(ram_write(&r, RAM_HOLE_END + more - 1, &c, 1));
	g_assert_cmpint(pread(fd, &c, 1, (off_t)more - 1), ==, 1);
	g_assert_cmpint(c, ==, 'y');
	g_assert_null(ram_host(&r, RAM_HOLE_END + more, 1));
	/* a file that is too small, or none */
	g_assert_cmpint(ram_add(&r, more, GIB, memfd(more - 4096), &err), ==, -1);
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	/* who wrote there when it went away writes to nobody's memory, and it costs the file nothing */
	late = ram_host(&r, RAM_HOLE_END, more);
	ram_remove(&r, a);
	late[0] = late[more - 1] = 1;
	g_assert_null(ram_host(&r, RAM_HOLE_END, 1));
	g_assert_cmpint(pread(fd, &c, 1, (off_t)more - 1), ==, 1);
	g_assert_cmpint(c, ==, 0);
	/* the place has room for more than was there, and not for anything */
	g_assert_cmpint(ram_add(&r, GIB, GIB, memfd(GIB), NULL), ==, a);
	g_assert_true(ram_host(&r, RAM_HOLE_END, GIB) == late && !late[0]);
	ram_remove(&r, a);
	g_assert_cmpint(ram_add(&r, 2 * GIB, GIB, memfd(2 * GIB), NULL), ==, b + 1);
	g_assert_cmpuint(r.pieces[b + 1].gpa, ==, RAM_HOLE_END + 3 * GIB);
	/* as a bitmap of a piece that begins amidst a word, without its neighbours */
	{
		g_autofree unsigned long *bits = g_new0(unsigned long, 2 * GIB / 4096 / 64);

		g_assert_true(ram_track(&r, true, NULL));
		g_assert_true(ram_fill(&r, 64 * KIB - 4096, 1, 4096));
		g_assert_true(ram_fill(&r, RAM_HOLE_END + GIB, 1, 1));
		g_assert_true(ram_fill(&r, RAM_HOLE_END + GIB + 127 * 4096, 1, 1));
		g_assert_true(ram_fill(&r, RAM_HOLE_END + 3 * GIB, 1, 1));
		bits[1] = 1;            /* KVM's */
		ram_tracked(&r, (unsigned)b, bits);
		g_assert_cmphex(bits[0], ==, 1);
		g_assert_cmphex(bits[1], ==, 1ul | 1ul << 63);
		g_assert_cmphex(bits[2 * GIB / 4096 / 64 - 1], ==, 0);
		bits[0] = bits[1] = 0;
		ram_tracked(&r, 0, bits);
		g_assert_cmphex(bits[0], ==, 1ul << 15);
		g_assert_true(ram_track(&r, false, NULL));
	}
	/* what is noted covers all, and again in the next round */
	for (int i = 0; i < 2; i++) {
		g_assert_true(ram_track(&r, true, NULL));
		g_assert_false(is_dirty(&r, (r.pieces[b].offset + GIB) / 4096));
		g_assert_true(ram_fill(&r, RAM_HOLE_END + 2 * GIB, 1, 1));
		g_assert_true(is_dirty(&r, (r.pieces[b].offset + GIB) / 4096));
		g_assert_true(ram_track(&r, false, NULL));
		ram_mark(&r, RAM_HOLE_END + 2 * GIB, 1);
	}
	ram_finish(&r);
	close(fd);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ram/small", test_small);
	g_test_add_func("/ram/own-files", test_own_files);
	g_test_add_func("/ram/hole", test_hole);
	g_test_add_func("/ram/dirty", test_dirty);
	g_test_add_func("/ram/refused", test_refused);
	g_test_add_func("/ram/regions", test_regions);
	return g_test_run();
}
