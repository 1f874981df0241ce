/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: back ends on real descriptors, logs, changes. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "devices/chr_ring.h"
#include "domain/error.h"
#include "tests/devices/chr_rig.h"

static void open_fd(struct test *t, int type, int fd)
{
	struct chardev c = { .type = type, .source.path.fd = (char *)"fd" };
	GError *err = NULL;

	g_assert_true(fdset_add(t->f->fds, "fd", fd, NULL));
	chr_open(t->chr, &c, t->f->fds, &err);
	g_assert_no_error(err);
}

static int temp_file(void)
{
	char name[] = "/tmp/kvmd-test-XXXXXX";
	int fd = mkstemp(name);

	g_assert_cmpint(fd, >=, 0);
	unlink(name);
	return fd;
}

static off_t size_of(int fd)
{
	struct stat st;

	g_assert_cmpint(fstat(fd, &st), ==, 0);
	return st.st_size;
}

static void test_ring(void)
{
	struct chr_ring r;
	char buf[8];

	chr_ring_init(&r);
	chr_ring_put(&r, "abc", 3);
	g_assert_cmpuint(chr_ring_tail(&r), ==, 0);
	g_assert_cmpuint(chr_ring_copy(&r, 1, buf, sizeof(buf)), ==, 2);
	g_assert_cmpmem(buf, 2, "bc", 2);
	for (unsigned i = 0; i < CHR_RING_BYTES; i++)
		chr_ring_put(&r, "x", 1);
	g_assert_cmpuint(chr_ring_tail(&r), ==, 3);
	g_assert_cmpuint(r.head - chr_ring_backlog(&r), ==, CHR_BACKLOG_BYTES);
	chr_ring_put(&r, "end", 3);
	g_assert_cmpuint(chr_ring_copy(&r, r.head - 3, buf, sizeof(buf)), ==, 3);
	g_assert_cmpmem(buf, 3, "end", 3);
	{
		g_autofree char *big = g_strnfill(CHR_RING_BYTES + 5, 'y');

		chr_ring_put(&r, big, CHR_RING_BYTES + 5);
	}
	g_assert_cmpuint(chr_ring_copy(&r, chr_ring_tail(&r), buf, 1), ==, 1);
	g_assert_cmpint(buf[0], ==, 'y');
	chr_ring_finish(&r);
}

/* The kernel moves a pty's bytes in its own time. */
static char *get_pty(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	poll(&p, 1, 1000);
	return get_text(fd);
}

static void wait_input(struct test *t, const char *text)
{
	for (int i = 0; i < 100 && strcmp(t->sink.got->str, text); i++)
		loop_step(t->f->loop, 20);
	g_assert_cmpstr(t->sink.got->str, ==, text);
}

static void test_pty(void)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	g_autofree char *name = NULL;
	struct chr_info info;
	struct termios raw;
	struct test t;

	if (master < 0 || grantpt(master) || unlockpt(master)) {
		g_test_skip("no ptys here");
		return;
	}
	name = g_strdup(ptsname(master));
	slave = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	g_assert_cmpint(slave, >=, 0);
	tcgetattr(slave, &raw);
	cfmakeraw(&raw);
	tcsetattr(slave, TCSANOW, &raw);
	set_up(&t, 1000);
	open_fd(&t, CHARDEV_PTY, master);
	put_text(&t, "hello");
	g_assert_cmpstr(get_pty(slave), ==, "hello");
	g_assert_cmpint(write(slave, "typed", 5), ==, 5);
	wait_input(&t, "typed");
	/* nobody there: dropped, not held, and no busy loop */
	close(slave);
	while (loop_step(t.f->loop, 20))
		;
	put_text(&t, "lost");
	g_assert_false(loop_step(t.f->loop, 0));
	chr_info(t.chr, &info);
	g_assert_cmpuint(info.lost, ==, 4);
	slave = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	put_text(&t, "back");
	g_assert_cmpstr(get_pty(slave), ==, "back");
	g_assert_cmpint(write(slave, "!", 1), ==, 1);
	wait_input(&t, "typed!");
	/* one that does not read: the rest is held, and comes in order */
	for (int i = 0; i < 1000; i++)
		chr_write(t.chr, "0123456789abcdef\n", 17);
	pass(&t);
	{
		g_autoptr(GString) all = g_string_new(NULL);

		for (int i = 0; i < 1000 && all->len < 17000; i++) {
			g_string_append(all, get_pty(slave));
			loop_step(t.f->loop, 5);
		}
		g_assert_cmpuint(all->len, ==, 17000);
		for (size_t i = 0; i < all->len; i++)
			g_assert_cmpint(all->str[i], ==, "0123456789abcdef\n"[i % 17]);
	}
	close(slave);
	tear_down(&t);
}

static int listener(char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	g_snprintf(path, 64, "/tmp/kvmd-test-%d-%u", getpid(), g_random_int());
	g_strlcpy(a.sun_path, path, sizeof(a.sun_path));
	g_assert_cmpint(bind(fd, (struct sockaddr *)&a, sizeof(a)), ==, 0);
	g_assert_cmpint(listen(fd, 8), ==, 0);
	return fd;
}

static int dial(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	g_strlcpy(a.sun_path, path, sizeof(a.sun_path));
	g_assert_cmpint(connect(fd, (struct sockaddr *)&a, sizeof(a)), ==, 0);
	return fd;
}

static void test_listening(void)
{
	int one, two;
	char path[64];
	struct test t;

	set_up(&t, 1000);
	open_fd(&t, CHARDEV_UNIX, listener(path));
	put_text(&t, "early ");
	one = dial(path);
	two = dial(path);
	pass(&t);
	put_text(&t, "one");
	g_assert_cmpstr(get_text(one), ==, "early one");
	g_assert_cmpint(write(one, "1", 1), ==, 1);
	g_assert_cmpint(write(two, "2", 1), ==, 1);
	pass(&t);
	g_assert_cmpstr(t.sink.got->str, ==, "1");
	close(one);
	pass(&t);
	put_text(&t, "two");
	g_assert_cmpstr(get_text(two), ==, "two");
	g_assert_cmpstr(t.sink.got->str, ==, "12");
	/* what is sent right before leaving counts */
	t.sink.room = 0;
	g_assert_cmpint(write(two, "bye", 3), ==, 3);
	close(two);
	pass(&t);
	g_assert_false(loop_step(t.f->loop, 0));
	t.sink.room = 2;
	chr_ready(t.chr);
	pass(&t);
	t.sink.room = 2;
	chr_ready(t.chr);
	pass(&t);
	g_assert_cmpstr(t.sink.got->str, ==, "12bye");
	/* a thousand that come and go at once */
	for (int i = 0; i < 1000; i++) {
		close(dial(path));
		fake_step(t.f);
	}
	one = dial(path);
	pass(&t);
	put_text(&t, "still");
	g_assert_true(g_str_has_suffix(get_text(one), "still"));
	close(one);
	unlink(path);
	tear_down(&t);
}

static void test_connected(void)
{
	int pair[2];
	struct test t;
	struct chr_info info;

	set_up(&t, 1000);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
	open_fd(&t, CHARDEV_UNIX, pair[1]);
	put_text(&t, "out");
	g_assert_cmpstr(get_text(pair[0]), ==, "out");
	g_assert_cmpint(write(pair[0], "in", 2), ==, 2);
	pass(&t);
	g_assert_cmpstr(t.sink.got->str, ==, "in");
	close(pair[0]);
	put_text(&t, "nobody");
	g_assert_false(loop_step(t.f->loop, 0));
	chr_info(t.chr, &info);
	g_assert_cmpstr(info.backend, ==, "socket");
	tear_down(&t);
}

static void test_file(void)
{
	int fd = temp_file(), copy = dup(fd);
	struct test t;

	set_up(&t, 1000);
	open_fd(&t, CHARDEV_FILE, fd);
	for (int i = 0; i < 3000; i++)
		chr_write(t.chr, "a line of text that is 32 bytes\n", 32);
	put_text(&t, "");
	g_assert_cmpint(size_of(copy), ==, 96000);
	chr_write(t.chr, "last", 4);
	tear_down(&t);          /* puts out what it has */
	g_assert_cmpint(size_of(copy), ==, 96004);
	close(copy);
}

static void test_full_disk(void)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct chr_info info;
	struct test t;

	if (fd < 0) {
		g_test_skip("no /dev/full here");
		return;
	}
	set_up(&t, 1000);
	open_fd(&t, CHARDEV_FILE, fd);
	put_text(&t, "12345");
	chr_info(t.chr, &info);
	g_assert_cmpuint(info.lost, ==, 5);
	tear_down(&t);
}

static void test_log_rotates(void)
{
	int log = temp_file(), backup = temp_file(), log2 = dup(log), backup2 = dup(backup);
	g_autofree char *text = g_strnfill(65536, '.');
	GError *err = NULL;
	struct test t;
	char c[4];

	set_up(&t, 1000);
	chr_set_log(t.chr, log, backup, &err);
	g_assert_no_error(err);
	put_text(&t, "head");
	for (int i = 0; i < 16; i++)
		put_text(&t, text);
	g_assert_cmpint(size_of(log2), ==, 4);
	g_assert_cmpint(size_of(backup2), ==, CHR_LOG_BYTES);
	g_assert_cmpint(pread(backup2, c, 4, 0), ==, 4);
	g_assert_cmpmem(c, 4, "head", 4);
	put_text(&t, "tail");
	g_assert_cmpint(size_of(log2), ==, 8);
	for (int i = 0; i < 40; i++)
		put_text(&t, text);
	g_assert_cmpint(size_of(log2), <=, CHR_LOG_BYTES);
	g_assert_cmpint(size_of(backup2), ==, CHR_LOG_BYTES);
	close(log2);
	close(backup2);
	tear_down(&t);
}

/* A log of an earlier life is continued; XML's <log> comes with a backup by name. */
static void test_log_of_xml(void)
{
	int log = temp_file(), backup = temp_file(), log2 = dup(log), backup2 = dup(backup);
	struct chardev c = { .type = CHARDEV_NULL, .log.file.fd = (char *)"log" };
	g_autofree char *text = g_strnfill(CHR_LOG_BYTES - 2, 'o');
	GError *err = NULL;
	struct test t;

	g_assert_cmpint(write(log, text, CHR_LOG_BYTES - 2), ==, CHR_LOG_BYTES - 2);
	set_up(&t, 1000);
	g_assert_true(fdset_add(t.f->fds, "log", log, NULL));
	g_assert_true(fdset_add(t.f->fds, "log.backup", backup, NULL));
	chr_open(t.chr, &c, t.f->fds, &err);
	g_assert_no_error(err);
	put_text(&t, "abc");
	g_assert_cmpint(size_of(backup2), ==, CHR_LOG_BYTES);
	g_assert_cmpint(size_of(log2), ==, 1);
	close(log2);
	close(backup2);
	tear_down(&t);
}

static void test_hold(void)
{
	int pair[2];
	struct test t;

	set_up(&t, 1000);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
	open_fd(&t, CHARDEV_UNIX, pair[1]);
	chr_hold(t.chr, true, NULL);
	g_assert_cmpint(write(pair[0], "held", 4), ==, 4);
	pass(&t);
	g_assert_cmpuint(t.sink.got->len, ==, 0);
	put_text(&t, "out");
	g_assert_cmpstr(get_text(pair[0]), ==, "out");
	chr_hold(t.chr, false, NULL);
	pass(&t);
	g_assert_cmpstr(t.sink.got->str, ==, "held");
	close(pair[0]);
	tear_down(&t);
}

/* Another back end: nothing is lost on the way, the old one ends, what can't be opened changes nothing. */
static void test_change(void)
{
	struct chardev file = { .type = CHARDEV_FILE, .source.path.fd = (char *)"new" }, none = { .type = CHARDEV_NULL }, bad = { .type = CHARDEV_NMDM },
		sock = { .type = CHARDEV_UNIX, .source.path.fd = (char *)"new" };
	int first = temp_file(), second = temp_file(), pair[2], log = temp_file();
	g_autoptr(GError) err = NULL;
	struct chr_info info;
	struct test t;

	set_up(&t, 1000);
	open_fd(&t, CHARDEV_FILE, dup(first));
	g_assert_true(chr_set_log(t.chr, dup(log), -1, NULL));
	put_text(&t, "one ");
	chr_write(t.chr, "two ", 4);            /* not flushed yet */
	g_assert_true(fdset_add(t.f->fds, "new", dup(second), NULL));
	g_assert_true(chr_change(t.chr, &file, t.f->fds, &err));
	put_text(&t, "three");
	g_assert_cmpint(lseek(first, 0, SEEK_SET), ==, 0);
	g_assert_cmpstr(get_text(first), ==, "one two ");
	g_assert_cmpint(lseek(second, 0, SEEK_SET), ==, 0);
	g_assert_cmpstr(get_text(second), ==, "three");
	g_assert_false(chr_change(t.chr, &file, t.f->fds, &err));      /* nothing of that name any more */
	g_clear_error(&err);
	g_assert_false(chr_change(t.chr, &bad, t.f->fds, &err));
	g_assert_error(err, kerr_quark(), KERR_UNSUPPORTED);
	g_clear_error(&err);
	chr_info(t.chr, &info);
	g_assert_cmpstr(info.backend, ==, "file");
	g_assert_true(chr_change(t.chr, &none, t.f->fds, &err));
	put_text(&t, " lost");
	chr_info(t.chr, &info);
	g_assert_cmpstr(info.backend, ==, "null");
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
	g_assert_true(fdset_add(t.f->fds, "new", pair[1], NULL));
	g_assert_true(chr_change(t.chr, &sock, t.f->fds, &err));
	put_text(&t, " four");
	g_assert_cmpstr(get_text(pair[0]), ==, " four");
	g_assert_cmpint(write(pair[0], "in", 2), ==, 2);
	pass(&t);
	g_assert_cmpstr(t.sink.got->str, ==, "in");
	g_assert_true(chr_change(t.chr, &none, t.f->fds, &err));
	g_assert_cmpint(read(pair[0], &info, 1), ==, 0);                /* the old end is closed */
	g_assert_cmpint(lseek(log, 0, SEEK_SET), ==, 0);
	g_assert_cmpstr(get_text(log), ==, "one two three lost four");
	tear_down(&t);
	close(first);
	close(second);
	close(log);
	close(pair[0]);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/chr/ring", test_ring);
	g_test_add_func("/chr/pty", test_pty);
	g_test_add_func("/chr/listening", test_listening);
	g_test_add_func("/chr/connected", test_connected);
	g_test_add_func("/chr/file", test_file);
	g_test_add_func("/chr/full-disk", test_full_disk);
	g_test_add_func("/chr/log-rotates", test_log_rotates);
	g_test_add_func("/chr/log-of-xml", test_log_of_xml);
	g_test_add_func("/chr/hold", test_hold);
	g_test_add_func("/chr/change", test_change);
	return g_test_run();
}
