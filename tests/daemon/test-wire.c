/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The wire: framing, descriptors, limits, ends. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/wire.h"
#include "domain/error.h"

struct side {
	struct wire *wire;
	GString *log;           /* "msg:{…};" "garbage:…;" "closed:…;" */
	int fds[16];
	unsigned fds_n;
	bool closed, hold_after_one;
};

static void on_message(struct wire *w, json_object *o, int *fds, unsigned n)
{
	struct side *s = wire_owner(w);

	g_string_append_printf(s->log, "msg:%s;", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	for (unsigned i = 0; i < n; i++)
		s->fds[s->fds_n++] = fds[i];
	if (n)
		g_string_append_printf(s->log, "+%u;", n);
	if (s->hold_after_one)
		wire_hold(w, true);
}

static void on_garbage(struct wire *w, const char *why)
{
	g_string_append_printf(((struct side *)wire_owner(w))->log, "garbage:%s;", why);
}

static void on_closed(struct wire *w, const char *why)
{
	struct side *s = wire_owner(w);

	g_string_append_printf(s->log, "closed:%s;", why ? why : "eof");
	s->closed = true;
}

static const struct wire_ops ops = { on_message, on_garbage, on_closed };

static int side_open(struct side *s)
{
	int sv[2];

	memset(s, 0, sizeof *s);
	s->log = g_string_new(NULL);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), ==, 0);
	s->wire = wire_new(sv[0], NULL, &ops, s);
	return sv[1];
}

static void spin(void)
{
	for (int i = 0; i < 100; i++)
		while (g_main_context_iteration(NULL, FALSE))
			;
}

static void side_end(struct side *s, int peer)
{
	close(peer);
	while (!s->closed)
		g_main_context_iteration(NULL, TRUE);
	g_string_free(s->log, TRUE);
}

static void put(int fd, const char *text)
{
	g_assert_cmpint(write(fd, text, strlen(text)), ==, (ssize_t)strlen(text));
}

static void test_lines(void)
{
	struct side s;
	int peer = side_open(&s);

	put(peer, "{\"a\":1}\r\n\n{\"b\"");
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":1};");
	put(peer, ":2}\n{\"c\":3}\n");
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":1};msg:{\"b\":2};msg:{\"c\":3};");
	side_end(&s, peer);
}

/* QEMU's own Python client sends no newline. */
static void test_no_newline(void)
{
	static const char text[] = "{\"a\":\"}\\\"{\",\"b\":[{}]}{\"c\":{}} ";
	struct side s;
	int peer = side_open(&s);

	for (unsigned i = 0; i < sizeof(text) - 1; i++) {
		char one[2] = { text[i] };

		put(peer, one);
		spin();
	}
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":\"}\\\"{\",\"b\":[{}]};msg:{\"c\":{}};");
	g_string_truncate(s.log, 0);
	put(peer, "{\"d\":1}{\"e\":2}x\n{\"f\":\"\n{}");       /* a string does not go on behind a newline */
	spin();
	g_assert_true(g_str_has_prefix(s.log->str, "msg:{\"d\":1};msg:{\"e\":2};garbage:"));
	g_assert_true(g_str_has_suffix(s.log->str, "msg:{};"));
	side_end(&s, peer);
}

static void test_garbage(void)
{
	static const char *const bad[] = { "hello", "[1]", "{\"a\":}", "x{}", "{\"a\":1,}", "{\"a\":[1,]}", "/**/{\"a\":1}", "{\"a\":/**/1}", "{\"a\":01}", "{\"a\":.5}",
		"{\"a\":+5}", "{\"a\":True}", "{a:1}", "{\"a\":%d}", "{\"a\" 1}", "{\"a\":\"\\x\"}", "{]", "}", "{'a':1,'a':2}", "{'a':1,\"a\":2}", "{'a\":1}", "{'a:1}\n",
		"{'a':\"b'}\n", "{'a':'\t'}", "{\"a\":\"\n\"}", "{'a':NaN}", "{'a':'\\x'}", "{'a':1,}", "{\"a\":\"\xc3\x28\"}", "{\"a\":\x01", "{\"a\":\"\xff", "\xfe", "\"s\"", "{\"a\":\xff}", "1",
		"{\"a\":NaN}", "{\"a\":[1,-Infinity]}", "{\"id\":nan}" };
	struct side s;
	int peer = side_open(&s);

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_string_truncate(s.log, 0);
		put(peer, bad[i]);
		put(peer, "\n");
		spin();
		g_test_message("%s", s.log->str);
		g_assert_true(g_str_has_prefix(s.log->str, "garbage:"));
	}
	g_string_truncate(s.log, 0);
	put(peer, "{}\n");      /* the connection lives on */
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{};");
	side_end(&s, peer);
}

/* As QEMU: strings may be in single quotes, a message may have several lines, a line several messages. */
static void test_loose(void)
{
	static const struct { const char *in, *out; } as[] = {
		{ "{'a':'b'}", "{\"a\":\"b\"}" },
		{ "{'a':'x\"y',\"b\":\"x'y\"}", "{\"a\":\"x\\\"y\",\"b\":\"x'y\"}" },
		{ "{'a':'it\\'s',\"b\":\"it\\'s\"}", "{\"a\":\"it's\",\"b\":\"it's\"}" },
		{ "{'a':'x\\\"y\\\\','b':'}{'}", "{\"a\":\"x\\\"y\\\\\",\"b\":\"}{\"}" },
		{ "{'a':'\\u0041:N','b':''}", "{\"a\":\"A:N\",\"b\":\"\"}" },
		{ "{\n  \"a\" :\r\n [ 1,\n\t2 ]\n}", "{\"a\":[1,2]}" },
	};
	struct side s;
	int peer = side_open(&s);

	for (unsigned i = 0; i < G_N_ELEMENTS(as); i++) {
		g_autofree char *want = g_strdup_printf("msg:%s;", as[i].out);

		g_string_truncate(s.log, 0);
		put(peer, as[i].in);
		spin();
		g_assert_cmpstr(s.log->str, ==, want);
	}
	g_string_truncate(s.log, 0);
	put(peer, "{'a':1}{\"b\":2} {'c':3}\n\n}{'d':4}\xff{'e':5}");
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":1};msg:{\"b\":2};msg:{\"c\":3};garbage:not valid JSON;msg:{\"d\":4};garbage:not valid UTF-8;msg:{\"e\":5};");
	/* out of a message that was left open, wherever */
	for (unsigned i = 0; i < 3; i++) {
		static const char *const open[] = { "{'a':", "{'a", "{\"a\":[{\"b\\" };

		g_string_truncate(s.log, 0);
		put(peer, open[i]);
		spin();
		g_assert_cmpstr(s.log->str, ==, "");
		put(peer, "\x01{'a':1}");
		spin();
		g_assert_true(g_str_has_prefix(s.log->str, "garbage:") && g_str_has_suffix(s.log->str, ";msg:{\"a\":1};"));
	}
	side_end(&s, peer);
}

/* One key twice in an object, at any depth; colons and quotes in texts count for nothing. */
static void test_keys(void)
{
	static const char *const twice[] = { "{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":2}", "{\"x\":[{\"b\":{},\"c\":2,\"b\":{\"d\":1}}]}", "{\"a\":{\"b\":1},\"a\":2}" };
	static const char *const once[] = { "{\"a\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":2}]}", "{\"a:\\\":{\":\"N:I\\\\\",\"b\":\"\\\"c\\\":1\"}", "{\"\":null,\"NaN\":\"Infinity\"}" };
	struct side s;
	int peer = side_open(&s);

	for (unsigned i = 0; i < G_N_ELEMENTS(twice) + G_N_ELEMENTS(once); i++) {
		bool bad = i < G_N_ELEMENTS(twice);

		g_string_truncate(s.log, 0);
		put(peer, bad ? twice[i] : once[i - G_N_ELEMENTS(twice)]);
		put(peer, "\n");
		spin();
		g_test_message("%s", s.log->str);
		g_assert_true(g_str_has_prefix(s.log->str, bad ? "garbage:not valid JSON: duplicate key;" : "msg:"));
	}
	side_end(&s, peer);
}

static void test_deep(void)
{
	struct side s;
	int peer = side_open(&s);
	g_autofree char *deep = g_strnfill(500, '[');

	put(peer, "{\"a\":");
	put(peer, deep);                /* told at the brace too many, not when it is closed */
	spin();
	g_assert_true(g_str_has_prefix(s.log->str, "garbage:"));
	side_end(&s, peer);
}

static void test_half(void)
{
	struct side s;
	int peer = side_open(&s);

	put(peer, "{\"a\":1");
	spin();
	close(peer);
	while (!s.closed)
		g_main_context_iteration(NULL, TRUE);
	g_assert_cmpstr(s.log->str, ==, "closed:ended inside a message;");
	g_string_free(s.log, TRUE);
}

static void test_long_line(void)
{
	struct side s;
	int peer = side_open(&s);
	g_autofree char *x = g_strnfill(4096, 'x');

	wire_limits(s.wire, 64 << 10, 1 << 20);
	for (int i = 0; i < 1000 && !s.closed; i++) {
		if (send(peer, x, 4096, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			g_assert_true(errno == EPIPE || errno == ECONNRESET || errno == EAGAIN);
		while (g_main_context_iteration(NULL, FALSE))
			;
	}
	g_assert_true(s.closed);
	g_assert_cmpstr(s.log->str, ==, "garbage:longer than 65536 bytes, the limit, or its newline is missing;closed:a message is longer than the limit;");
	close(peer);
	g_string_free(s.log, TRUE);
}

static void on_garbage_answer(struct wire *w, const char *why)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "why", json_object_new_string(why));
	(void)wire_send(w, o, NULL, 0);
	json_object_put(o);
}

/* Whoever sends without an end can read why the connection ends, however much is on the way. */
static void test_long_line_is_told(void)
{
	static const struct wire_ops telling = { on_message, on_garbage_answer, on_closed };
	struct side s = { .log = g_string_new(NULL) };
	g_autofree char *x = g_strnfill(1 << 20, ' ');
	char answer[256] = "";
	int peer, p[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), ==, 0);
	peer = p[1];
	*x = '{';
	s.wire = wire_new(p[0], NULL, &telling, &s);
	wire_limits(s.wire, 64 << 10, 1 << 20);
	while (!s.closed) {
		(void)!send(peer, x, 1 << 20, MSG_NOSIGNAL | MSG_DONTWAIT);
		g_main_context_iteration(NULL, FALSE);
	}
	g_assert_cmpint(send(peer, x, 1, MSG_NOSIGNAL), ==, -1);
	g_assert_cmpint(errno, ==, EPIPE);
	g_assert_cmpint(recv(peer, answer, sizeof answer - 1, 0), >, 0);
	g_assert_nonnull(strstr(answer, "longer than 65536 bytes"));
	g_assert_cmpint(recv(peer, answer, sizeof answer, 0), ==, 0);           /* an end, not ECONNRESET */
	close(peer);
	g_string_free(s.log, TRUE);
}

static void test_fds(void)
{
	struct side s;
	int peer = side_open(&s), fd = memfd_create("x", MFD_CLOEXEC);
	json_object *o = json_tokener_parse("{\"take\":1}");
	int two[2] = { fd, fd };

	put(peer, "{\"no\":0}\n");
	g_assert_true(wire_write_sync(peer, o, two, 2, NULL));
	spin();
	g_assert_cmpuint(s.fds_n, ==, 2);
	g_assert_cmpint(fcntl(s.fds[0], F_GETFD), ==, FD_CLOEXEC);
	close(s.fds[0]);
	close(s.fds[1]);
	/* and back */
	struct wire_reader *r = wire_reader_new(peer);
	int got[4];
	unsigned n = 4;

	g_assert_true(wire_send(s.wire, o, two, 2));
	json_object_put(o);
	o = wire_read_sync(r, 1000, got, &n, NULL);
	g_assert_nonnull(o);
	g_assert_cmpuint(n, ==, 2);
	close(got[0]);
	close(got[1]);
	json_object_put(o);
	wire_reader_free(r);
	close(fd);
	side_end(&s, peer);
}

/* Each message gets its own descriptors, also when several are read at once, and those of a large one come first. */
static void test_fds_owner(void)
{
	g_autofree char *big = g_strnfill(300000, 'x'), *text = g_strdup_printf("{\"big\":\"%s\"}", big);
	json_object *none = json_tokener_parse("{\"none\":1}"), *one = json_tokener_parse("{\"one\":1}"), *large = json_tokener_parse(text);
	const struct { json_object *o; unsigned fds; } sent[] = { { none, 0 }, { one, 1 }, { none, 0 }, { none, 0 }, { one, 1 }, { large, 2 }, { none, 0 } };
	int peer, fd = memfd_create("x", MFD_CLOEXEC), two[2] = { fd, fd }, got[4];
	struct wire_reader *r;
	struct side s;

	for (unsigned held = 0; held < 2; held++) {
		peer = side_open(&s);
		wire_hold(s.wire, held);
		for (unsigned i = 0; i < 5; i++)
			g_assert_true(wire_write_sync(peer, sent[i].o, two, sent[i].fds, NULL));
		spin();
		wire_hold(s.wire, false);
		spin();
		g_assert_cmpstr(s.log->str, ==, "msg:{\"none\":1};msg:{\"one\":1};+1;msg:{\"none\":1};msg:{\"none\":1};msg:{\"one\":1};+1;");
		g_assert_cmpuint(s.fds_n, ==, 2);
		close(s.fds[0]);
		close(s.fds[1]);
		side_end(&s, peer);
	}
	/* the other way, where the socket does not take all at once */
	peer = side_open(&s);
	r = wire_reader_new(peer);
	for (size_t i = 0; i < G_N_ELEMENTS(sent); i++)
		g_assert_true(wire_send(s.wire, sent[i].o, two, sent[i].fds));
	for (size_t i = 0; i < G_N_ELEMENTS(sent); i++) {
		json_object *o = NULL;
		unsigned n = 4;

		for (unsigned tries = 0; !o && tries < 100; tries++) {
			spin();
			n = 4;
			o = wire_read_sync(r, 10, got, &n, NULL);
		}
		g_assert_nonnull(o);
		g_assert_cmpuint(n, ==, sent[i].fds);
		for (unsigned k = 0; k < n; k++)
			close(got[k]);
		json_object_put(o);
	}
	json_object_put(none);
	json_object_put(one);
	json_object_put(large);
	wire_reader_free(r);
	close(fd);
	side_end(&s, peer);
}

/* A peer that never reads is cut off at the limit, with the reason. */
static void test_deaf_peer(void)
{
	struct side s;
	int peer = side_open(&s);
	json_object *o = json_object_new_object();
	g_autofree char *x = g_strnfill(10000, 'x');
	bool ok = true;

	wire_limits(s.wire, 1 << 20, 1 << 20);
	json_object_object_add(o, "x", json_object_new_string(x));
	for (int i = 0; i < 1000 && ok; i++)
		ok = wire_send(s.wire, o, NULL, 0);
	g_assert_false(ok);
	spin();
	g_assert_true(s.closed);
	g_assert_nonnull(strstr(s.log->str, "does not read"));
	json_object_put(o);
	close(peer);
	g_string_free(s.log, TRUE);
}

/* A peer that sent something and died: that it cannot be answered does not take away what it sent. */
static void test_last_words(void)
{
	struct side s;
	int peer = side_open(&s);
	json_object *o = json_object_new_object();

	put(peer, "{\"a\":1}\n{\"b\":2}\n");
	close(peer);
	g_assert_false(wire_send(s.wire, o, NULL, 0));
	g_assert_false(wire_send(s.wire, o, NULL, 0));
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":1};msg:{\"b\":2};closed:eof;");
	json_object_put(o);
	g_string_free(s.log, TRUE);
}

static void test_hold(void)
{
	struct side s;
	int peer = side_open(&s);

	s.hold_after_one = true;
	put(peer, "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n");
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":1};");
	wire_hold(s.wire, false);
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":1};msg:{\"b\":2};");
	s.hold_after_one = false;
	wire_hold(s.wire, false);
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":1};msg:{\"b\":2};msg:{\"c\":3};");
	side_end(&s, peer);
}

/* What has "stay" in it stays in the socket, until it has been taken from there. */
static bool on_leave(struct wire *w, const char *text, size_t len)
{
	struct side *s = wire_owner(w);
	bool stays = g_strstr_len(text, (gssize)len, "stay");

	g_string_append_printf(s->log, stays ? "stays:%.*s;" : "?", (int)len, text);
	if (stays)
		wire_hold(w, true);
	return stays;
}

static void test_leave(void)
{
	static const struct wire_ops leaving = { .message = on_message, .garbage = on_garbage, .closed = on_closed, .leave = on_leave };
	struct side s = { .log = g_string_new(NULL) };
	g_autofree char *x = g_strnfill(WIRE_WHOLE_MAX, 'x'), *long_one = g_strdup_printf("{\"stay\":\"%s\"}", x), *many = g_strdup("");
	char there[200] = "";
	int fd = memfd_create("x", MFD_CLOEXEC), p[2];
	json_object *o = json_tokener_parse("{\"fd\":1}");

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p), ==, 0);
	s.wire = wire_new(p[0], NULL, &leaving, &s);
	put(p[1], "{\"a\":1}\n\n {\"b\":2}\r\n{\"stay\":3}\n{\"c\":4}\n");
	spin();
	g_assert_cmpstr(s.log->str, ==, "?msg:{\"a\":1};?msg:{\"b\":2};stays:{\"stay\":3};");
	g_assert_cmpint(recv(p[0], there, sizeof there, MSG_PEEK), ==, 19);     /* untouched */
	g_assert_cmpstr(there, ==, "{\"stay\":3}\n{\"c\":4}\n");
	g_string_truncate(s.log, 0);
	wire_hold(s.wire, false);               /* it is asked for again */
	spin();
	g_assert_cmpstr(s.log->str, ==, "stays:{\"stay\":3};");
	g_assert_cmpint(recv(p[0], there, 10, 0), ==, 10);
	wire_hold(s.wire, false);
	spin();
	g_assert_true(g_str_has_suffix(s.log->str, "msg:{\"c\":4};") && !strstr(s.log->str, "garbage"));
	/* descriptors go with their message */
	g_string_truncate(s.log, 0);
	put(p[1], "{\"d\":5}");
	g_assert_true(wire_write_sync(p[1], o, &fd, 1, NULL));
	put(p[1], "{\"e\":6}");
	spin();
	g_assert_cmpstr(s.log->str, ==, "?msg:{\"d\":5};?msg:{\"fd\":1};+1;?msg:{\"e\":6};");
	close(s.fds[0]);
	/* one that comes in pieces, or is too long to be looked at as a whole, is not asked for; what comes behind it is */
	g_string_truncate(s.log, 0);
	put(p[1], "{\"stay\"");
	for (gint64 end = g_get_monotonic_time() + 200000; g_get_monotonic_time() < end;)
		g_main_context_iteration(NULL, FALSE);
	put(p[1], ":7}{\"f\":8}");
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"stay\":7};?msg:{\"f\":8};");
	g_string_truncate(s.log, 0);
	put(p[1], long_one);
	put(p[1], "{\"g\":9}{\"stay\":10}");
	spin();
	g_assert_true(g_str_has_prefix(s.log->str, "msg:{\"stay\":\"xxx") && g_str_has_suffix(s.log->str, ";?msg:{\"g\":9};stays:{\"stay\":10};"));
	/* many, with one that stays in the middle of what is seen at once; then the end */
	g_assert_cmpint(recv(p[0], there, 11, 0), ==, 11);
	g_string_truncate(s.log, 0);
	for (unsigned i = 0; i < 3000; i++) {
		g_autofree char *old = many;

		many = g_strconcat(old, i == 2000 ? "{\"stay\":1}" : "{\"many\":1}\n", NULL);
	}
	put(p[1], many);
	wire_hold(s.wire, false);
	spin();
	g_assert_true(g_str_has_suffix(s.log->str, "msg:{\"many\":1};stays:{\"stay\":1};"));
	g_assert_cmpint(recv(p[0], there, 10, 0), ==, 10);
	close(p[1]);
	g_string_truncate(s.log, 0);
	wire_hold(s.wire, false);
	while (!s.closed)
		g_main_context_iteration(NULL, TRUE);
	g_assert_true(g_str_has_suffix(s.log->str, "msg:{\"many\":1};closed:eof;"));
	g_assert_cmpuint(s.log->len, ==, 999 * strlen("?msg:{\"many\":1};") + strlen("closed:eof;"));
	json_object_put(o);
	g_string_free(s.log, TRUE);
	close(fd);
}

static void test_errors(void)
{
	g_autoptr(GError) a = NULL, b = NULL;
	json_object *o;

	kerr_set(&a, KERR_BUSY, "disk '%s': held", "vda");
	o = wire_error(NULL, a);
	g_assert_false(wire_check(o, &b));
	g_assert_error(b, kerr_quark(), KERR_BUSY);
	g_assert_cmpstr(b->message, ==, a->message);
	json_object_put(o);
	o = wire_return(NULL, NULL);
	g_assert_true(wire_check(o, NULL));
	json_object_put(o);
}

static void test_sync_timeout(void)
{
	int sv[2];
	g_autoptr(GError) err = NULL;
	struct wire_reader *r;

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), ==, 0);
	r = wire_reader_new(sv[0]);
	g_assert_null(wire_read_sync(r, 10, NULL, NULL, &err));
	g_assert_error(err, kerr_quark(), KERR_TIMEOUT);
	g_clear_error(&err);
	close(sv[1]);
	g_assert_null(wire_read_sync(r, -1, NULL, NULL, &err));
	g_assert_error(err, kerr_quark(), KERR_CONNECT);
	wire_reader_free(r);
	close(sv[0]);
}

static bool busy;

static bool is_busy(struct wire *w)
{
	return busy;
}

/* The peer ends its direction: held lines are run, answers reach it, then the connection ends; the last line needs no newline. */
static void test_half_closed(void)
{
	static const struct wire_ops patient = { on_message, on_garbage, on_closed, is_busy };
	json_object *o = json_tokener_parse("{\"answer\":1}");
	char text[64] = "";
	struct side s = { .log = g_string_new(NULL), .hold_after_one = true };
	int sv[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), ==, 0);
	s.wire = wire_new(sv[0], NULL, &patient, &s);
	busy = true;
	put(sv[1], "{\"a\":1}\n{\"b\":2}\n{\"c\":3}");
	shutdown(sv[1], SHUT_WR);
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":1};");
	wire_hold(s.wire, false);
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":1};msg:{\"b\":2};");
	s.hold_after_one = false;
	wire_hold(s.wire, false);
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":1};msg:{\"b\":2};msg:{\"c\":3};");
	g_assert_true(wire_send(s.wire, o, NULL, 0));
	spin();
	g_assert_false(s.closed);
	busy = false;
	g_assert_true(wire_send(s.wire, o, NULL, 0));
	spin();
	g_assert_true(s.closed);
	g_assert_cmpint(read(sv[1], text, sizeof text - 1), ==, 26);
	g_assert_cmpint(read(sv[1], text, sizeof text - 1), ==, 0);
	close(sv[1]);
	g_string_free(s.log, TRUE);
	json_object_put(o);
}

/* …and one that then goes altogether ends it although an answer is due. */
static void test_half_closed_gone(void)
{
	static const struct wire_ops patient = { on_message, on_garbage, on_closed, is_busy };
	struct side s = { .log = g_string_new(NULL) };
	int sv[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), ==, 0);
	s.wire = wire_new(sv[0], NULL, &patient, &s);
	busy = true;
	put(sv[1], "{\"a\":1}\n{\"half");
	shutdown(sv[1], SHUT_WR);
	spin();
	g_assert_cmpstr(s.log->str, ==, "msg:{\"a\":1};closed:ended inside a message;");
	close(sv[1]);
	s.closed = false;
	g_string_truncate(s.log, 0);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), ==, 0);
	s.wire = wire_new(sv[0], NULL, &patient, &s);
	shutdown(sv[1], SHUT_WR);
	spin();
	g_assert_false(s.closed);
	close(sv[1]);
	spin();
	g_assert_true(s.closed);
	g_string_free(s.log, TRUE);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/wire/lines", test_lines);
	g_test_add_func("/wire/no-newline", test_no_newline);
	g_test_add_func("/wire/garbage", test_garbage);
	g_test_add_func("/wire/loose", test_loose);
	g_test_add_func("/wire/keys", test_keys);
	g_test_add_func("/wire/long-line-is-told", test_long_line_is_told);
	g_test_add_func("/wire/deep", test_deep);
	g_test_add_func("/wire/half", test_half);
	g_test_add_func("/wire/long-line", test_long_line);
	g_test_add_func("/wire/fds", test_fds);
	g_test_add_func("/wire/fds-owner", test_fds_owner);
	g_test_add_func("/wire/deaf-peer", test_deaf_peer);
	g_test_add_func("/wire/last-words", test_last_words);
	g_test_add_func("/wire/hold", test_hold);
	g_test_add_func("/wire/half-closed", test_half_closed);
	g_test_add_func("/wire/half-closed-gone", test_half_closed_gone);
	g_test_add_func("/wire/leave", test_leave);
	g_test_add_func("/wire/errors", test_errors);
	g_test_add_func("/wire/sync-timeout", test_sync_timeout);
	return g_test_run();
}
