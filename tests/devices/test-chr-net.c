/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices: telnet, datagrams, FIFOs, ringbufs, connections that are made again. Socket pairs stand in for the network. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/chr_telnet.h"
#include "domain/error.h"
#include "tests/devices/chr_rig.h"

static void put(struct test *t, const void *data, size_t n)
{
	chr_write(t->chr, data, n);
	pass(t);
}

static void open_it(struct test *t, const struct chardev *c)
{
	GError *err = NULL;

	chr_open(t->chr, c, t->f->fds, &err);
	g_assert_no_error(err);
}

static void give(struct test *t, const char *name, int fd)
{
	g_assert_true(fdset_add(t->f->fds, name, fd, NULL));
}

static int pair_of(struct test *t, int kind)
{
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, kind | SOCK_NONBLOCK, 0, pair), ==, 0);
	give(t, "fd", pair[1]);
	return pair[0];
}

static GByteArray *get(int fd)
{
	GByteArray *all = g_byte_array_new();
	uint8_t buf[65536];
	ssize_t n;

	while ((n = read(fd, buf, sizeof buf)) > 0)
		g_byte_array_append(all, buf, (guint)n);
	return all;
}

#define assert_gets(fd, text) G_STMT_START { \
	g_autoptr(GByteArray) all_ = get(fd); \
	g_assert_cmpmem(all_->data, all_->len, text, sizeof(text) - 1); } G_STMT_END

static void assert_input(struct test *t, const char *want, size_t n)
{
	pass(t);
	g_assert_cmpmem(t->sink.got->str, t->sink.got->len, want, n);
	g_string_truncate(t->sink.got, 0);
}

static void type(struct test *t, int fd, const char *text, size_t n)
{
	g_assert_cmpint(write(fd, text, n), ==, n);
	pass(t);
}

#define HELLO "\xff\xfb\x01\xff\xfb\x03\xff\xfb\x00\xff\xfd\x00"

static void test_telnet(void)
{
	struct chardev c = { .type = CHARDEV_TCP, .protocol = CHARDEV_TELNET, .source.path.fd = (char *)"fd" };
	struct test t;
	int peer;

	set_up(&t, 1 << 20);
	peer = pair_of(&t, SOCK_STREAM);
	open_it(&t, &c);
	pass(&t);
	assert_gets(peer, HELLO);
	put(&t, "a\xff\xff" "b", 4);
	assert_gets(peer, "a\xff\xff\xff\xff" "b");
	/* a byte at a time; a NUL after CR goes as long as the peer is not binary */
	for (const char *p = "x\xff\xfd\x01y\xff\xff\r"; *p; p++)
		type(&t, peer, p, 1);
	type(&t, peer, "\0z\0", 3);
	assert_input(&t, "xy\xff\rz\0", 6);
	assert_gets(peer, "");
	type(&t, peer, "\xff\xfb\0\r\0", 5);
	assert_input(&t, "\r\0", 2);
	/* what we have not is refused, one thing is agreed to once, an option's words are passed over */
	type(&t, peer, "\xff\xfd\x22\xff\xfb\x18\xff\xfb\x03\xff\xfb\x03\xff\xfa\x18\xff\xff\x01\xff\xf0-\xff\xf1", 23);
	assert_input(&t, "-", 1);
	assert_gets(peer, "\xff\xfc\x22\xff\xfe\x18\xff\xfd\x03");
	close(peer);
	tear_down(&t);
}

/* Whatever comes, and whoever never reads: nothing grows. */
static void test_telnet_hostile(void)
{
	struct telnet t;
	uint8_t data[4096];
	GRand *r = g_rand_new_with_seed(1);

	telnet_begin(&t);
	for (unsigned i = 0; i < 2000; i++) {
		size_t n = (size_t)g_rand_int_range(r, 1, sizeof data);

		for (size_t k = 0; k < n; k++)
			data[k] = (uint8_t)g_rand_int_range(r, g_rand_int_range(r, 0, 2) ? 0 : 238, 256);
		g_assert_cmpuint(telnet_read(&t, data, n), <=, n);
		g_assert_cmpuint(t.say_n, <=, TELNET_SAY);
		if (g_rand_boolean(r))
			telnet_said(&t, t.say_n / 2);
	}
	g_rand_free(r);
}

/* A peer of TCP that has ended its side makes room for the next, and main is told when there is none; kvmd brings another one. */
static void test_again(void)
{
	struct chardev c = { .type = CHARDEV_TCP, .source = { .path.fd = (char *)"fd", .mode = CHARDEV_CONNECT } },
		lost = { .type = CHARDEV_TCP, .protocol = CHARDEV_TELNET, .source = { .lost = true, .mode = CHARDEV_CONNECT } };
	struct chr_info info;
	GError *err = NULL;
	struct test t;
	int peer, pair[2];

	set_up(&t, 1 << 20);
	peer = pair_of(&t, SOCK_STREAM);
	open_it(&t, &c);
	put(&t, "one", 3);
	assert_gets(peer, "one");
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
	g_assert_false(chr_reconnect(t.chr, dup(pair[1]), &err));
	g_assert_error(err, kerr_quark(), KERR_STATE);
	g_clear_error(&err);
	g_assert_cmpuint(t.f->requests_n, ==, 0);
	g_assert_cmpint(shutdown(peer, SHUT_WR), ==, 0);
	pass(&t);
	g_assert_cmpuint(t.f->requests_n, ==, 1);
	chr_info(t.chr, &info);
	g_assert_false(info.open);
	put(&t, "two", 3);
	g_assert_true(chr_reconnect(t.chr, pair[1], &err));
	pass(&t);
	assert_gets(pair[0], "two");
	chr_info(t.chr, &info);
	g_assert_true(info.open);
	close(pair[0]);
	close(peer);
	/* not connected from the start */
	g_assert_true(chr_change(t.chr, &lost, t.f->fds, &err));
	chr_info(t.chr, &info);
	g_assert_false(info.open);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
	g_assert_true(chr_reconnect(t.chr, pair[1], &err));
	pass(&t);
	assert_gets(pair[0], HELLO);
	close(pair[0]);
	tear_down(&t);
}

static void test_udp(void)
{
	struct chardev c = { .type = CHARDEV_UDP, .source.path.fd = (char *)"fd" };
	static uint8_t big[5000];
	g_autoptr(GByteArray) got = g_byte_array_new();
	uint8_t buf[65536];
	struct chr_info info;
	struct test t;
	ssize_t n;
	int peer;

	for (unsigned i = 0; i < sizeof big; i++)
		big[i] = (uint8_t)(i * 7);
	set_up(&t, 1 << 20);
	peer = pair_of(&t, SOCK_DGRAM);
	open_it(&t, &c);
	put(&t, big, sizeof big);
	while ((n = recv(peer, buf, sizeof buf, 0)) > 0) {
		g_assert_cmpint(n, <=, 1400);
		g_byte_array_append(got, buf, (guint)n);
	}
	g_assert_cmpmem(got->data, got->len, big, sizeof big);
	/* a datagram is taken as the guest has room, one without bytes is no end */
	t.sink.room = 1000;
	g_assert_cmpint(send(peer, "", 0, 0), ==, 0);
	type(&t, peer, (char *)big, sizeof big);
	type(&t, peer, "next", 4);
	for (unsigned i = 0; i < 9; i++) {
		pass(&t);
		t.sink.room = 1000;
		chr_ready(t.chr);
	}
	pass(&t);
	g_assert_cmpuint(t.sink.got->len, ==, sizeof big + 4);
	g_assert_cmpmem(t.sink.got->str, sizeof big, big, sizeof big);
	g_assert_cmpstr(t.sink.got->str + sizeof big, ==, "next");
	/* more of them at once than are read in one go */
	for (unsigned i = 0; i < 2000; i++)
		if (send(peer, "", 0, MSG_DONTWAIT) < 0)
			fake_step(t.f);
	g_string_truncate(t.sink.got, 0);
	t.sink.room = 1000;
	for (unsigned i = 0; i < 100 && send(peer, "end", 3, MSG_DONTWAIT) < 0; i++)
		fake_step(t.f);
	for (unsigned i = 0; i < 20; i++)
		pass(&t);
	g_assert_cmpstr(t.sink.got->str, ==, "end");
	/* nobody there: it is lost, and no more */
	close(peer);
	put(&t, "lost", 4);
	put(&t, "too", 3);
	chr_info(t.chr, &info);
	g_assert_cmpuint(info.lost, ==, 7);
	g_assert_true(info.open);
	tear_down(&t);
}

static int fifo(const char *path)
{
	int fd;

	g_assert_cmpint(mkfifo(path, 0600), ==, 0);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	g_assert_cmpint(fd, >=, 0);
	return fd;
}

static void test_pipe(void)
{
	struct chardev c = { .type = CHARDEV_PIPE, .source.path.fd = (char *)"fd" };
	g_autofree char *dir = g_dir_make_tmp("kvmd-fifo-XXXXXX", NULL), *in = g_build_filename(dir, "in", NULL), *out = g_build_filename(dir, "out", NULL);
	static uint8_t much[100000];
	struct chr_info info;
	struct test t;
	int r, w;

	set_up(&t, 1 << 20);
	give(&t, "fd", fifo(out));
	give(&t, "fd.in", fifo(in));
	open_it(&t, &c);
	put(&t, "early", 5);
	r = open(out, O_RDONLY | O_NONBLOCK);
	assert_gets(r, "early");
	w = open(in, O_WRONLY | O_NONBLOCK);
	type(&t, w, "in", 2);
	assert_input(&t, "in", 2);
	close(w);
	pass(&t);
	w = open(in, O_WRONLY | O_NONBLOCK);
	type(&t, w, "again", 5);
	assert_input(&t, "again", 5);
	/* nobody reads: what the FIFO and the ring do not hold is lost, the oldest first */
	close(r);
	for (unsigned i = 0; i < 5; i++)
		put(&t, much, sizeof much);
	put(&t, "newest", 6);
	r = open(out, O_RDONLY | O_NONBLOCK);
	for (unsigned i = 0; i < 10; i++) {
		g_autoptr(GByteArray) all = get(r);

		pass(&t);
		if (all->len > 6 && !memcmp(all->data + all->len - 6, "newest", 6))
			break;
		g_assert_cmpuint(i, <, 9);
	}
	chr_info(t.chr, &info);
	g_assert_cmpuint(info.lost, >, 100000);
	close(r);
	close(w);
	tear_down(&t);
	unlink(in);
	unlink(out);
	rmdir(dir);
}

static void test_ringbuf(void)
{
	struct chardev c = { .type = CHARDEV_NULL, .source.ring = 8 }, bad = { .type = CHARDEV_NULL, .source.ring = 12 }, none = { .type = CHARDEV_NULL };
	g_autoptr(GByteArray) got = g_byte_array_new();
	GError *err = NULL;
	struct chr_info info;
	struct test t;

	set_up(&t, 1 << 20);
	g_assert_false(chr_open(t.chr, &bad, t.f->fds, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	open_it(&t, &c);
	chr_write(t.chr, "0123", 4);            /* read without waiting for the loop */
	g_assert_true(chr_ringbuf_read(t.chr, 2, got, &err));
	g_assert_cmpmem(got->data, got->len, "01", 2);
	put(&t, "456789abcdef", 12);
	g_assert_true(chr_ringbuf_write(t.chr, (const uint8_t *)"XY", 2, &err));
	g_assert_true(chr_ringbuf_read(t.chr, SIZE_MAX, got, &err));
	g_assert_cmpmem(got->data, got->len, "abcdefXY", 8);
	g_assert_true(chr_ringbuf_read(t.chr, 1, got, &err));
	g_assert_cmpuint(got->len, ==, 0);
	chr_info(t.chr, &info);
	g_assert_cmpstr(info.backend, ==, "ringbuf");
	g_assert_cmpuint(info.lost, ==, 8);
	g_assert_true(chr_change(t.chr, &none, t.f->fds, &err));
	g_assert_false(chr_ringbuf_read(t.chr, 1, got, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_false(chr_ringbuf_write(t.chr, (const uint8_t *)"XY", 2, NULL));
	tear_down(&t);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/chr-net/telnet", test_telnet);
	g_test_add_func("/chr-net/telnet-hostile", test_telnet_hostile);
	g_test_add_func("/chr-net/again", test_again);
	g_test_add_func("/chr-net/udp", test_udp);
	g_test_add_func("/chr-net/pipe", test_pipe);
	g_test_add_func("/chr-net/ringbuf", test_ringbuf);
	return g_test_run();
}
