/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Consoles of a character device: who may write, what a slow reader costs, what is kept for the next, who has left. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/chr_ring.h"
#include "domain/error.h"
#include "tests/devices/chr_rig.h"

static void test_consoles(void)
{
	int fd[CHR_CONSOLES_MAX], extra[2];
	unsigned id[CHR_CONSOLES_MAX], id2;
	GError *err = NULL;
	struct chr_info info;
	struct test t;

	set_up(&t, 1000);
	put_text(&t, "before ");
	for (int i = 0; i < CHR_CONSOLES_MAX; i++) {
		g_autofree char *name = g_strdup_printf("reader %d", i);

		fd[i] = attach(&t, i == 2 ? CHR_WRITER : i == 3 ? CHR_NO_BACKLOG : 0, name, &id[i]);
	}
	put_text(&t, "after");
	for (int i = 0; i < CHR_CONSOLES_MAX; i++)
		g_assert_cmpstr(get_text(fd[i]), ==, i == 3 ? "after" : "before after");
	/* full; a second writer */
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, extra), ==, 0);
	g_assert_false(chr_attach(t.chr, extra[1], 0, "x", &id2, &err));
	g_assert_error(err, kerr_quark(), KERR_LIMIT);
	g_clear_error(&err);
	close(extra[0]);
	close(fd[7]);
	pass(&t);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, extra), ==, 0);
	g_assert_false(chr_attach(t.chr, extra[1], CHR_WRITER, "x", &id2, &err));
	g_assert_error(err, kerr_quark(), KERR_BUSY);
	g_assert_nonnull(strstr(err->message, "reader 2"));
	g_clear_error(&err);
	close(extra[0]);
	/* only the writer's input counts */
	for (int i = 0; i < 7; i++)
		g_assert_cmpint(write(fd[i], "abcdefg" + i, 1), ==, 1);
	pass(&t);
	g_assert_cmpstr(t.sink.got->str, ==, "c");
	/* taken over by force: the old writer is told, and disconnected */
	fd[7] = attach(&t, CHR_WRITER | CHR_FORCE, "boss", &id2);
	g_assert_cmpint(send(fd[2], "-", 1, MSG_NOSIGNAL), ==, -1);
	g_assert_cmpstr(get_text(fd[2]), ==, "\r\n[kvmd] 'boss' has taken this console\r\n");
	g_assert_cmpint(read(fd[2], extra, 1), ==, 0);
	g_assert_cmpint(write(fd[7], "+", 1), ==, 1);
	pass(&t);
	g_assert_cmpstr(t.sink.got->str, ==, "c+");
	put_text(&t, "all");
	/* detach, and one that leaves by itself */
	g_assert_true(chr_detach(t.chr, id[0], NULL));
	g_assert_false(chr_detach(t.chr, id[0], &err));
	g_assert_error(err, kerr_quark(), KERR_NO_DEVICE);
	g_clear_error(&err);
	g_assert_cmpstr(get_text(fd[0]), ==, "all");
	g_assert_cmpint(read(fd[0], extra, 1), ==, 0);
	close(fd[1]);
	pass(&t);
	chr_info(t.chr, &info);
	g_assert_cmpuint(info.consoles_n, ==, 5);
	g_assert_cmpuint(info.out, ==, strlen("before afterall"));
	g_assert_cmpuint(info.in, ==, 2);
	/* half closed: no more input, output goes on */
	shutdown(fd[7], SHUT_WR);
	put_text(&t, "more");
	g_assert_cmpstr(get_text(fd[7]), ==, "before afterallmore");
	g_assert_cmpstr(get_text(fd[6]), ==, "allmore");
	for (int i = 2; i < CHR_CONSOLES_MAX; i++)
		close(fd[i]);
	close(fd[0]);
	pass(&t);
	chr_info(t.chr, &info);
	g_assert_cmpuint(info.consoles_n, ==, 0);
	tear_down(&t);
}

/* One that does not read is cut off; another one sees everything. */
static void test_slow_reader(void)
{
	g_autofree char *text = g_strnfill(4096, 'z');
	size_t seen = 0, put_n = 0;
	struct chr_info info;
	unsigned id;
	int slow, quick;
	struct test t;

	set_up(&t, 1000);
	slow = attach(&t, 0, "slow", &id);
	quick = attach(&t, 0, "quick", &id);
	for (int i = 0; i < 200; i++) {
		put_text(&t, text);
		put_n += 4096;
		seen += strlen(get_text(quick));
	}
	g_assert_cmpuint(seen, ==, put_n);
	chr_info(t.chr, &info);
	g_assert_cmpuint(info.consoles_n, ==, 1);
	g_assert_cmpuint(info.cut, ==, 1);
	g_assert_cmpstr(info.consoles[0].name, ==, "quick");
	close(slow);
	close(quick);
	tear_down(&t);
}

/* A late reader gets the last 64 KiB, and is not cut off for being late. */
static void test_backlog(void)
{
	g_autofree char *text = g_strnfill(1024, 'b');
	struct test t;
	unsigned id;
	int fd;

	set_up(&t, 1000);
	for (int i = 0; i < 300; i++)
		put_text(&t, text);
	fd = attach(&t, 0, "late", &id);
	put_text(&t, "now");
	{
		size_t n = 0;
		const char *got;

		for (int i = 0; i < 100; i++) {
			got = get_text(fd);
			n += strlen(got);
			pass(&t);
		}
		g_assert_cmpuint(n, ==, CHR_BACKLOG_BYTES + 3);
	}
	close(fd);
	tear_down(&t);
}

/* The writer's last words wait for the guest, but do not keep others out. */
static void test_writer_left(void)
{
	struct test t;
	unsigned id;
	int fd;

	set_up(&t, 1000);
	t.sink.room = 0;
	for (int i = 0; i < 20; i++) {
		fd = attach(&t, CHR_WRITER, "w", &id);
		g_assert_cmpint(write(fd, "k", 1), ==, 1);
		close(fd);
		pass(&t);
	}
	t.sink.room = 100;
	chr_ready(t.chr);
	pass(&t);
	g_assert_cmpuint(t.sink.got->len, ==, CHR_CONSOLES_MAX);        /* the limit holds for them too */
	tear_down(&t);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/chr/consoles", test_consoles);
	g_test_add_func("/chr/slow-reader", test_slow_reader);
	g_test_add_func("/chr/backlog", test_backlog);
	g_test_add_func("/chr/writer-left", test_writer_left);
	return g_test_run();
}
