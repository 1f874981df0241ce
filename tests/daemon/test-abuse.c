/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What comes at control.sock that no kvmctl would send, and more of it than kvmd takes. Others must not notice. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/unix.h"
#include "daemon/wire.h"
#include "tests/daemon/host.h"

static int raw(const struct host *h)
{
	g_autofree char *path = host_path(h, "run/kvmd/control.sock");
	g_autoptr(GError) err = NULL;
	int fd = connect_unix(path, &err);

	g_assert_no_error(err);
	return fd;
}

/* Sends bytes as far as the other side takes them; false: it has closed. */
static bool push(int fd, const char *data, size_t n)
{
	while (n) {
		ssize_t w = send(fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		if (w > 0) {
			data += w;
			n -= (size_t)w;
		} else if (errno != EAGAIN) {
			return false;
		} else if (poll(&p, 1, 20000) != 1) {
			g_error("kvmd neither reads nor closes");
		}
	}
	return true;
}

/* Reads until the other side closes. */
static void drain(int fd)
{
	char buf[65536];
	struct pollfd p = { .fd = fd, .events = POLLIN };

	for (;;) {
		ssize_t n;

		g_assert_cmpint(poll(&p, 1, 20000), ==, 1);
		n = recv(fd, buf, sizeof buf, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return;
	}
}

static void test_garbage(void)
{
	static const struct { const char *line; const char *code; } lines[] = {
		{ "hello", "BadMessage" },
		{ "{\"execute\":}", "BadMessage" },
		{ "[1,2,3]", "BadMessage" },
		{ "{\"execute\":\"list\xc3(\"}", "BadMessage" },
		{ "{}", "BadMessage" },
		{ "{\"execute\":7}", "BadMessage" },
		{ "{\"execute\":\"list\",\"arguments\":[]}", "BadArguments" },
		{ "{\"execute\":\"list\",\"arguments\":{\"all\":\"yes please\"}}", "BadArguments" },
		{ "{\"execute\":\"list\",\"colour\":1}", "BadMessage" },
		{ "{\"execute\":\"start\",\"vm\":7}", "BadArguments" },
		{ "{\"execute\":\"start\",\"vm\":\"\"}", "VmNotFound" },
		{ "{\"execute\":\"event\",\"arguments\":{\"count\":-1}}", "BadArguments" },
		{ "{\"execute\":\"define\"}", "BadArguments" },
		{ "{\"execute\":\"define\",\"arguments\":{\"xml\":\"\\u0000\"}}", "BadArguments" },
		{ "{\"execute\":\"\"}", "CommandNotFound" },
	};
	static const char three[] = "{\"execute\":\"qmp_capabilities\",\"id\":1}\n{\"execute\":\"list\",\"id\":2}\n\n{\"execute\":\"version\",\"id\":3}\n";
	struct host *h = host_new(NULL);
	int fd = raw(h);
	struct wire_reader *r = wire_reader_new(fd);
	g_autofree char *deep = g_malloc(66);
	json_object *o, *e;

	json_object_put(wire_read_sync(r, 20000, NULL, NULL, NULL));
	for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
		g_assert_true(push(fd, lines[i].line, strlen(lines[i].line)) && push(fd, "\r\n", 2));
		o = wire_read_sync(r, 20000, NULL, NULL, NULL);
		g_assert_true(o && json_object_object_get_ex(o, "error", &e));
		if (strcmp(str(e, "code"), lines[i].code))
			g_error("%s: %s", lines[i].line, json_object_to_json_string(o));
		json_object_put(o);
	}
	memset(deep, '[', 65);          /* one too many */
	deep[65] = '\n';
	g_assert_true(push(fd, deep, 66));
	o = wire_read_sync(r, 20000, NULL, NULL, NULL);
	g_assert_true(o && json_object_object_get_ex(o, "error", &e));
	json_object_put(o);
	/* the connection still serves, several messages in one go are answered in order */
	g_assert_true(push(fd, three, strlen(three)));
	for (int i = 1; i <= 3; i++) {
		o = wire_read_sync(r, 20000, NULL, NULL, NULL);
		g_assert_cmpint(num(o, "id"), ==, i);
		json_object_put(o);
	}
	/* half a message, then gone; descriptors that nobody asked for */
	g_assert_true(push(fd, "{\"execute\":\"li", 14));
	wire_reader_free(r);
	close(fd);
	for (int i = 0; i < 50; i++) {
		json_object *m = json_tokener_parse("{\"execute\":\"list\"}");
		int fds[3] = { 0, 1, 2 };

		fd = raw(h);
		g_assert_true(wire_write_sync(fd, m, fds, 3, NULL));
		json_object_put(m);
		close(fd);
	}
	ask_ok(h, "version", NULL, NULL);
	host_free(h);
}

static void test_endless_line(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *block = g_malloc(1 << 20);
	g_autoptr(GError) err = NULL;
	int fd = raw(h);
	struct wire_reader *r = wire_reader_new(fd);
	json_object *o, *e;
	unsigned sent = 0;

	memset(block, 'x', 1 << 20);
	while (sent < 1024 && push(fd, block, 1 << 20))         /* a gigabyte, if kvmd let us */
		sent++;
	g_assert_cmpuint(sent, <, 100);
	json_object_put(wire_read_sync(r, 20000, NULL, NULL, NULL));
	o = wire_read_sync(r, 20000, NULL, NULL, &err);         /* although it never stopped writing */
	g_assert_no_error(err);
	g_assert_true(json_object_object_get_ex(o, "error", &e));
	g_assert_cmpstr(str(e, "code"), ==, "BadMessage");
	g_assert_nonnull(strstr(str(e, "desc"), "longer than 33554432 bytes"));
	json_object_put(o);
	g_assert_null(wire_read_sync(r, 20000, NULL, NULL, &err));
	g_assert_cmpstr(err->message, ==, "the connection ended");      /* not: reset */
	wire_reader_free(r);
	close(fd);
	ask_ok(h, "version", NULL, NULL);
	host_free(h);
}

static void test_pipelined(void)
{
	struct host *h = host_new(NULL);
	g_autoptr(GString) all = g_string_new(NULL);
	int fd = raw(h);
	struct wire_reader *r = wire_reader_new(fd);

	for (int i = 0; i < 5000; i++)
		g_string_append_printf(all, "{\"execute\":\"%s\",\"id\":%d}\n", i % 2 ? "list" : "version", i);
	json_object_put(wire_read_sync(r, 20000, NULL, NULL, NULL));
	g_assert_true(push(fd, all->str, all->len));
	for (int i = 0; i < 5000; i++) {
		json_object *o = wire_read_sync(r, 20000, NULL, NULL, NULL);

		g_assert_cmpint(num(o, "id"), ==, i);
		json_object_put(o);
	}
	/* define, start and destroy in one go: each begins when the one before has ended */
	g_autofree char *xml = domain_xml(h, "vm", NULL, NULL, NULL);
	json_object *args = define_args(xml);
	g_autofree char *go = g_strdup_printf("{\"execute\":\"define\",\"arguments\":%s,\"id\":1}\n{\"execute\":\"start\",\"vm\":\"vm\",\"id\":2}\n"
		"{\"execute\":\"destroy\",\"vm\":\"vm\",\"id\":3}\n{\"execute\":\"undefine\",\"vm\":\"vm\",\"id\":4}\n",
		json_object_to_json_string_ext(args, JSON_C_TO_STRING_PLAIN));

	json_object_put(args);
	g_assert_true(push(fd, go, strlen(go)));
	for (int i = 1; i <= 4; i++) {
		json_object *o = wire_read_sync(r, 20000, NULL, NULL, NULL), *v;

		g_assert_cmpint(num(o, "id"), ==, i);
		g_assert_true(json_object_object_get_ex(o, "return", &v));
		json_object_put(o);
	}
	wire_reader_free(r);
	close(fd);
	host_free(h);
}

static void raise_limit(rlim_t n)
{
	struct rlimit r;

	(void)getrlimit(RLIMIT_NOFILE, &r);
	r.rlim_cur = MIN(r.rlim_max, n);
	(void)setrlimit(RLIMIT_NOFILE, &r);
}

static void test_crowd(void)
{
	struct host *h = host_new("connections_max = 4000\n");
	unsigned n = 10000, refused = 0, served = 0;
	struct conn *before = conn_new(h);
	g_autofree int *fds = NULL;
	struct rlimit r;

	raise_limit(10200);
	(void)getrlimit(RLIMIT_NOFILE, &r);
	n = (unsigned)MIN(n, r.rlim_cur - 100);
	fds = g_new(int, n);
	for (unsigned i = 0; i < n; i++) {
		g_autofree char *path = host_path(h, "run/kvmd/control.sock");

		do
			fds[i] = connect_unix(path, NULL);
		while (fds[i] < 0 && errno == EAGAIN);
		if (fds[i] < 0) {                       /* the backlog is full: kvmd is still taking them in */
			ask_ok(h, "version", NULL, NULL);
			i--;
		}
		if (i % 1000 == 0)
			json_object_put(conn_ask(before, "list", NULL, NULL));
	}
	/* each got a greeting or the reason why not */
	for (unsigned i = 0; i < n; i++) {
		struct wire_reader *reader = wire_reader_new(fds[i]);
		json_object *o = wire_read_sync(reader, 20000, NULL, NULL, NULL), *e;

		g_assert_nonnull(o);
		if (json_object_object_get_ex(o, "error", &e)) {
			g_assert_cmpstr(str(e, "code"), ==, "LimitReached");
			refused++;
		} else {
			served++;
		}
		json_object_put(o);
		wire_reader_free(reader);
	}
	json_object_put(conn_ask(before, "list", NULL, NULL));
	g_assert_cmpuint(served, <=, 3999);
	g_assert_cmpuint(refused + served, ==, n);
	g_test_message("%u connections: %u served, %u refused", n, served, refused);
	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	json_object_put(conn_ask(before, "version", NULL, NULL));
	conn_free(before);
	ask_ok(h, "version", NULL, NULL);
	host_free(h);
}

static void test_out_of_descriptors(void)
{
	struct host *h = host_new("connections_max = 4000\n");
	struct conn *before;
	int fds[200];
	char buf[300];

	host_kill(h, SIGTERM);
	h->nofile = 100;
	host_start(h);
	before = conn_new(h);
	for (int i = 0; i < 200; i++)
		fds[i] = raw(h);
	for (int i = 0; i < 200; i++) {
		struct pollfd p = { .fd = fds[i], .events = POLLIN };

		g_assert_cmpint(poll(&p, 1, 20000), ==, 1);
		g_assert_cmpint(recv(fds[i], buf, sizeof buf, 0), >, 0);
	}
	json_object_put(conn_ask(before, "list", NULL, NULL));
	for (int i = 0; i < 200; i++)
		close(fds[i]);
	json_object_put(conn_ask(before, "version", NULL, NULL));
	conn_free(before);
	h->nofile = 0;
	host_kill(h, SIGTERM);
	host_start(h);
	host_free(h);
}

static void test_deaf_follower(void)
{
	struct host *h = host_new("events_size = 65536\n");
	g_autofree char *xml = domain_xml(h, "vm", NULL, NULL, NULL), *text = g_strnfill(900, 'E');
	struct conn *deaf = conn_new(h), *good = conn_new(h), *typist = conn_new(h);
	json_object *o;

	define(h, xml);
	json_object_put(conn_ask(deaf, "event", NULL, "{\"follow\":true}"));
	json_object_put(conn_ask(good, "event", NULL, "{\"follow\":true}"));
	ask_ok(h, "start", "vm", NULL);
	json_object_put(event_wait(good, "STARTED", "vm"));
	for (int i = 0; i < 900; i++) {                 /* 900 KB of events */
		fake_do(h, "vm", "x-words", text);
		o = conn_read(good);
		g_assert_cmpstr(str(o, "event"), ==, "WORDS");
		json_object_put(o);
	}
	drain(deaf->fd);                                /* it has been closed: what it did not read is no longer kept */
	json_object_put(conn_ask(typist, "list", NULL, NULL));
	conn_free(deaf);
	conn_free(good);
	conn_free(typist);
	host_free(h);
}

/* Many events at once: all reach all, in order, whether they read at once or when it is over; none costs kvmd memory. */
static void test_followers(void)
{
	enum { FOLLOWERS = 16, MACHINES = 4, EACH = 900 };
	struct host *h = host_new(NULL);
	struct conn *c[FOLLOWERS];
	int64_t last[FOLLOWERS] = { 0 };

	for (int i = 0; i < MACHINES; i++) {
		g_autofree char *name = g_strdup_printf("vm%d", i), *xml = domain_xml(h, name, NULL, NULL, NULL);

		define(h, xml);
		ask_ok(h, "start", name, NULL);
	}
	for (int i = 0; i < FOLLOWERS; i++) {
		c[i] = conn_new(h);
		json_object_put(conn_ask(c[i], "event", NULL, i % 4 == 3 ? "{\"follow\":true,\"event\":\"BURST\"}" : "{\"follow\":true}"));
	}
	for (int i = 0; i < MACHINES; i++) {
		g_autofree char *name = g_strdup_printf("vm%d", i), *n = g_strdup_printf("%d", EACH);

		fake_do(h, name, "x-burst", n);
		for (int j = 0; j < EACH; j++) {        /* the first reads along, the others have two megabytes before them */
			json_object *o = event_wait(c[0], "BURST", NULL);

			g_assert_cmpint(num(o, "seq"), >, last[0]);
			last[0] = num(o, "seq");
			json_object_put(o);
		}
	}
	for (int i = 1; i < FOLLOWERS; i++)
		for (int j = 0; j < MACHINES * EACH; j++) {
			json_object *o = conn_read(c[i]);

			g_assert_cmpstr(str(o, "event"), ==, "BURST");
			g_assert_cmpint(num(o, "seq"), >, last[i]);
			last[i] = num(o, "seq");
			json_object_put(o);
		}
	for (int i = 1; i < FOLLOWERS; i++)
		g_assert_cmpint(last[i], ==, last[0]);
	/* and they are live again */
	fake_do(h, "vm0", "x-event", "LAST");
	for (int i = 0; i < FOLLOWERS; i++) {
		if (i % 4 != 3)
			json_object_put(event_wait(c[i], "LAST", "vm0"));
		conn_free(c[i]);
	}
	host_free(h);
}

/* A machine that makes noise: the first thousand are told, the rest counted; its end is told in any case. */
static void test_noise(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *xml = domain_xml(h, "vm", NULL, NULL, NULL);
	struct conn *c = conn_new(h);
	unsigned told = 0;
	bool over = false;

	define(h, xml);
	ask_ok(h, "start", "vm", NULL);
	json_object_put(conn_ask(c, "event", NULL, "{\"follow\":true}"));
	for (int i = 0; i < 1100; i++)
		fake_do(h, "vm", "x-event", "NOISE");
	fake_do(h, "vm", "x-leave", "shutdown");
	while (!over) {
		json_object *o = conn_read(c);

		told += !strcmp(str(o, "event"), "NOISE");
		over = !strcmp(str(o, "event"), "STOPPED");
		json_object_put(o);
	}
	g_assert_cmpuint(told, >=, 900);
	g_assert_cmpuint(told, <=, 1050);
	conn_free(c);
	host_free(h);
}

static void test_thousand(void)
{
	struct host *h = host_new(NULL);
	struct conn *c = conn_new(h);
	g_autofree char *statm = NULL, *path = NULL;
	gint64 begin = g_get_monotonic_time();
	json_object *o, *rows, *r;

	for (int i = 0; i < 1000; i++) {
		g_autofree char *name = g_strdup_printf("vm-%d", i), *xml = domain_xml(h, name, NULL, NULL, NULL);
		json_object *args = define_args(xml), *e;

		o = conn_ask(c, "define", NULL, json_object_to_json_string(args));
		g_assert_false(json_object_object_get_ex(o, "error", &e));
		json_object_put(o);
		json_object_put(args);
	}
	g_test_message("1,000 definitions one after another: %.0f ms", (double)(g_get_monotonic_time() - begin) / 1000);
	conn_free(c);
	host_kill(h, SIGTERM);
	begin = g_get_monotonic_time();
	host_start(h);
	g_test_message("start with them: %.0f ms", (double)(g_get_monotonic_time() - begin) / 1000);
	c = conn_new(h);
	begin = g_get_monotonic_time();
	o = conn_ask(c, "list", NULL, "{\"all\":true}");
	g_test_message("list: %.1f ms", (double)(g_get_monotonic_time() - begin) / 1000);
	json_object_object_get_ex(o, "return", &r);
	json_object_object_get_ex(r, "domains", &rows);
	g_assert_cmpuint(json_object_array_length(rows), ==, 1000);
	json_object_put(o);
	conn_free(c);
	path = g_strdup_printf("/proc/%d/statm", h->kvmd);
	g_assert_true(g_file_get_contents(path, &statm, NULL, NULL));
	g_test_message("resident: %.1f MiB", g_ascii_strtod(strchr(statm, ' '), NULL) * 4096 / (1 << 20));
	host_free(h);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/abuse/garbage", test_garbage);
	g_test_add_func("/abuse/endless-line", test_endless_line);
	g_test_add_func("/abuse/pipelined", test_pipelined);
	g_test_add_func("/abuse/crowd", test_crowd);
	g_test_add_func("/abuse/out-of-descriptors", test_out_of_descriptors);
	g_test_add_func("/abuse/deaf-follower", test_deaf_follower);
	g_test_add_func("/abuse/followers", test_followers);
	g_test_add_func("/abuse/noise", test_noise);
	g_test_add_func("/abuse/thousand", test_thousand);
	return g_test_run();
}
