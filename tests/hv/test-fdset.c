/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors by name: nothing leaks, nothing is given twice. */
#include <fcntl.h>
#include <unistd.h>

#include "domain/error.h"
#include "hv/fdset.h"

static int open_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	return fd;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

static void test_take(void)
{
	struct fdset *s = fdset_new();
	int a = open_fd(), b = open_fd(), c = open_fd();
	GError *err = NULL;

	g_assert_true(fdset_add(s, "a", a, &err));
	g_assert_true(fdset_add(s, "b", b, &err));
	g_assert_true(fdset_has(s, "a"));
	g_assert_false(fdset_has(s, "c"));
	g_assert_false(fdset_has(s, NULL));
	g_assert_false(fdset_add(s, "a", c, &err));
	g_assert_error(err, kerr_quark(), KERR_EXISTS);
	g_clear_error(&err);
	g_assert_false(is_open(c));             /* it was handed over */
	g_assert_cmpint(fdset_take(s, "a", &err), ==, a);
	g_assert_cmpint(fdset_take(s, "a", &err), ==, -1);
	g_assert_error(err, kerr_quark(), KERR_NO_FILE);
	g_clear_error(&err);
	g_assert_cmpint(fdset_take(s, NULL, &err), ==, -1);
	g_clear_error(&err);
	fdset_free(s);
	g_assert_true(is_open(a));
	g_assert_false(is_open(b));
	close(a);
	fdset_free(NULL);
}

static void test_full(void)
{
	struct fdset *s = fdset_new();
	GError *err = NULL;
	unsigned n;

	for (n = 0; n < 2000; n++) {
		g_autofree char *name = g_strdup_printf("fd%u", n);
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		if (fd < 0) {
			g_test_skip("too few descriptors allowed here");
			break;
		}
		if (!fdset_add(s, name, fd, &err)) {
			g_assert_error(err, kerr_quark(), KERR_LIMIT);
			g_assert_cmpuint(n, ==, 1024);
			g_assert_false(is_open(fd));
			break;
		}
	}
	g_clear_error(&err);
	fdset_free(s);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/fdset/take", test_take);
	g_test_add_func("/fdset/full", test_full);
	return g_test_run();
}
