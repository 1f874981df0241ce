/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine that has been taken over says what it likes of itself: kvmd gives it nothing for that, and goes on. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/unix.h"
#include "daemon/wire.h"
#include "tests/daemon/host.h"

#define UUID "5a8a7c0e-0b54-4f0e-9d7a-0d6ac1d6a001"
#define UP "{\"interface\":\"52:54:00:00:00:07\",\"state\":\"up\",\"live\":true}"
#define CARD "<interface type='user'><mac address='52:54:00:00:00:07'/></interface>"

static void start(const struct host *h)
{
	g_autofree char *xml = domain_xml(h, "v", UUID, NULL, NULL);
	g_auto(GStrv) parts = g_strsplit(xml, "</devices>", 2);
	g_autofree char *with = g_strdup_printf("%s%s</devices>%s", parts[0], CARD, parts[1]);

	define(h, with);
	ask_ok(h, "start", "v", NULL);
	wait_for(h, "v", "running");
	ask_ok(h, "domif-setlink", "v", UP);    /* which the fake tells about itself in its way */
}

/* The fake's answer to an order; NULL: an error. The caller puts it. */
static json_object *order(const struct host *h, const char *execute, const char *text)
{
	g_autofree char *path = host_path(h, "run/kvmd/vm/v.qmp");
	g_autoptr(GError) err = NULL;
	int fd = connect_unix(path, &err);
	struct wire_reader *r = wire_reader_new(fd);
	json_object *m = json_object_new_object(), *a = json_object_new_object(), *v = NULL;

	g_assert_no_error(err);
	json_object_object_add(m, "execute", json_object_new_string(execute));
	json_object_object_add(a, "text", json_object_new_string(text));
	json_object_object_add(m, "arguments", a);
	g_assert_true(wire_write_sync(fd, m, NULL, 0, NULL));
	json_object_put(m);
	for (;;) {
		m = wire_read_sync(r, 20000, NULL, NULL, NULL);
		g_assert_nonnull(m);
		if (!json_object_object_get_ex(m, "event", NULL))
			break;
		json_object_put(m);
	}
	if (json_object_object_get_ex(m, "return", &v))
		json_object_get(v);
	json_object_put(m);
	wire_reader_free(r);
	close(fd);
	return v;
}

static void must(const struct host *h, const char *execute, const char *text)
{
	json_object *o = order(h, execute, text);

	g_assert_nonnull(o);
	json_object_put(o);
}

static char *dump(const struct host *h)
{
	json_object *r = ask(h, "dumpxml", "v", "{}");
	char *xml = g_strdup(str(r, "xml"));

	json_object_put(r);
	return xml;
}

/* Whatever it names, kvmd holds on to what it gave: while it runs, and when kvmd begins anew. */
static void test_descriptions(void)
{
	static const struct { const char *what; bool again; } lies[] = {
		{ "/devices/interfaces/0/forwards=[{\"proto\":\"tcp\",\"ranges\":[{\"start\":22}]}]", true },
		{ "/devices/interfaces/0/backend_log=\"/etc/cron.d/lie\"", false },
		{ "/devices/interfaces/0/source={\"dev\":\"lie0\"}", false },
		{ "/devices/interfaces/0/alias=\"../../lie\"", true },
		{ "/devices/interfaces/0/mtu=9000", false },
		{ "/devices/interfaces/-={\"type\":\"user\",\"alias\":\"lie\"}", false },
		{ "/devices/serials/0/source/path=\"/dev/lie\"", false },
		{ "/devices/serials/0/alias=\"../lie\"", false },
		{ "/devices/serials/0/log={\"file\":\"/etc/lie\"}", false },
		{ "/devices/channels=[{\"type\":\"unix\",\"alias\":\"c\",\"source\":{\"mode\":\"connect\",\"path\":\"/run/lie\",\"reconnect\":\"yes\",\"lost\":true}}]", true },
		{ "/devices/channels=[{\"type\":\"tcp\",\"alias\":\"c\",\"source\":{\"mode\":\"connect\",\"host\":\"lie\",\"service\":\"1\",\"reconnect\":\"yes\",\"lost\":true}}]", false },
		{ "/devices/channels=[{\"type\":\"unix\",\"alias\":\"c\",\"source\":{\"mode\":\"bind\",\"path\":\"/run/lie\"}}]", false },
		{ "/devices/disks=[{\"type\":\"file\",\"source\":{\"file\":\"/etc/lie\"},\"target\":{\"dev\":\"vda\"}}]", false },
		{ "/devices/disks=[{\"type\":\"block\",\"source\":{\"dev\":{\"path\":\"/dev/fdset/../lie\",\"fd\":\"x\"}},\"target\":{\"dev\":\"vda\"}}]", false },
		{ "/os/nvram=\"/etc/lie\"", false },
		{ "/name=\"lie\"", true },
		{ "/uuid=\"5a8a7c0e-0b54-4f0e-9d7a-0d6ac1d6a777\"", false },
		{ "/id=4000000000", false },
		{ "/on_crash=\"restart\"", false },
	};
	g_autofree char *passt = passt_new();
	struct host *h = host_new(NULL);

	start(h);
	g_autofree char *truth = dump(h);

	for (unsigned i = 0; i < G_N_ELEMENTS(lies); i++) {
		g_autofree char *now = NULL, *after = NULL;

		g_test_message("%s", lies[i].what);
		must(h, "x-forge", lies[i].what);
		ask_ok(h, "domif-setlink", "v", UP);
		now = dump(h);
		g_assert_cmpstr(now, ==, truth);
		if (!lies[i].again)
			continue;
		host_kill(h, SIGKILL);
		host_start(h);
		ask_bad(h, "domif-setlink", "v", UP, "NoConnection", "not given by kvmd");
		must(h, "x-forge", "");
		wait_for(h, "v", "running");
		after = dump(h);
		g_assert_cmpstr(after, ==, truth);
	}
	host_free(h);
	passt_remove(passt);
}

/* A descriptor that a client gave it is not the host's. */
static void test_descriptors(void)
{
	g_autofree char *passt = passt_new();
	struct host *h = host_new(NULL);
	g_autofree char *xml = NULL;

	start(h);
	must(h, "x-forge", "/devices/disks=[{\"type\":\"file\",\"source\":{\"file\":\"/dev/fdset/12\"},\"target\":{\"dev\":\"vda\"}}]");
	ask_ok(h, "domif-setlink", "v", UP);
	xml = dump(h);
	g_assert_nonnull(strstr(xml, "/dev/fdset/12"));
	host_free(h);
	passt_remove(passt);
}

/* The lock file says which process is the machine, and so which is killed: not by the machine's word. */
static void test_sign(void)
{
	g_autofree char *passt = passt_new(), *text = NULL;
	struct host *h = host_new(NULL);
	json_object *o;
	int64_t pid;

	start(h);
	o = ask(h, "dominfo", "v", NULL);
	pid = num(o, "pid");
	json_object_put(o);
	text = g_strdup_printf("pid %d start 1 uid 0 boot x machine other\n", getpid());
	must(h, "x-sign", text);        /* it could not */
	host_kill(h, SIGKILL);
	host_start(h);
	wait_for(h, "v", "running");
	o = ask(h, "dominfo", "v", NULL);
	g_assert_cmpint(num(o, "pid"), ==, pid);
	json_object_put(o);
	host_free(h);
	passt_remove(passt);
}

static void test_messages(void)
{
	static const char *const said[] = { "{\"event\":null}", "{\"event\":null,\"seq\":3,\"data\":null}", "{\"event\":7}", "{\"event\":[]}", "{\"event\":\"\"}",
		"{\"event\":\"KVMD_MACHINE\",\"data\":7}", "{\"event\":\"KVMD_MACHINE\",\"data\":{\"path\":null}}", "{\"event\":\"KVMD_MACHINE\",\"data\":{\"path\":\"\"}}",
		"{\"event\":\"RTC_CHANGE\",\"data\":{\"offset\":null}}", "{\"event\":\"BALLOON_CHANGE\",\"data\":{\"actual\":-1}}", "{\"event\":\"BALLOON_CHANGE\",\"data\":[]}",
		"{\"event\":\"BLOCK_IO_ERROR\",\"data\":{\"action\":null,\"nospace\":{}}}", "{\"event\":\"GUEST_PANICKED\",\"data\":{\"action\":7}}",
		"{\"event\":\"COMMAND_DONE\",\"data\":null}", "{\"event\":\"COMMAND_DONE\",\"data\":{\"command\":null,\"id\":{}}}", "{\"event\":\"COMMAND_BEGUN\",\"data\":[]}",
		"{\"event\":\"\\u001b[2J\",\"data\":{}}", "{\"serve\":null}", "{\"serve\":1}", "{\"id\":null}", "{\"id\":[],\"return\":1}", "{\"id\":1}", "{\"id\":2,\"error\":7}",
		"{\"id\":3,\"error\":{\"class\":null,\"desc\":null,\"code\":7}}", "{\"return\":{}}", "[]" };
	g_autofree char *passt = passt_new(), *big = g_strnfill(4 << 20, 'x');
	struct host *h = host_new(NULL);
	json_object *o;

	start(h);
	must(h, "x-words", big);
	for (unsigned i = 0; i < G_N_ELEMENTS(said); i++) {
		g_test_message("%s", said[i]);
		must(h, "x-say", said[i]);
		ask_ok(h, "version", NULL, NULL);
	}
	o = ask(h, "event", NULL, "{\"since\":0}");
	g_assert_null(strstr(json_object_to_json_string(o), "WORDS"));
	g_assert_null(strstr(json_object_to_json_string(o), "[2J"));
	json_object_put(o);
	host_free(h);
	passt_remove(passt);
}

/* However often it says so, it is asked now and then only; and what it is in the end is known. */
static void test_flood(void)
{
	g_autofree char *passt = passt_new();
	struct host *h = host_new(NULL);
	json_object *o;

	start(h);
	must(h, "x-changes", "20000");
	ask_ok(h, "domif-setlink", "v", UP);
	o = order(h, "x-asked", "");
	g_assert_cmpint(json_object_get_int64(o), >, 0);
	g_assert_cmpint(json_object_get_int64(o), <, 200);
	json_object_put(o);
	host_free(h);
	passt_remove(passt);
}

/* Its last words, which kvmd reads whenever it is there again. */
static void test_last_words(void)
{
	static const struct { const char *line; bool clean; } words[] = {
		{ "{\"reason\":null}\n", false }, { "{\"reason\":7,\"detail\":null}\n", false }, { "[[[[[[\n", false },
		{ "{\"reason\":\"shutdown\",\"detail\":\"\\u001b[2J\",\"guest\":7,\"value\":null}\n", true },
	};
	g_autofree char *passt = passt_new();
	struct host *h = host_new(NULL);

	start(h);
	for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
		json_object *o;

		if (i)
			ask_ok(h, "start", "v", NULL);
		wait_for(h, "v", "running");
		fake_do(h, "v", "x-leave-with", words[i].line);
		wait_for(h, "v", "off");
		o = ask(h, "dominfo", "v", NULL);
		g_assert_cmpstr(str(o, "reason"), ==, words[i].clean ? "shutdown" : "crashed");
		json_object_put(o);
	}
	/* the next kvmd reads them too */
	ask_ok(h, "start", "v", NULL);
	wait_for(h, "v", "running");
	host_kill(h, SIGKILL);
	fake_do(h, "v", "x-leave-with", words[0].line);
	host_start(h);
	wait_for(h, "v", "off");
	host_free(h);
	passt_remove(passt);
}

/* What an operator's terminal gets of `kvmctl event`. New. */
static char *on_terminal(const struct host *h)
{
	g_autofree char *path = host_path(h, "run/kvmd/control.sock");
	const char *argv[] = { g_getenv("KVMCTL"), "-c", path, "event", "--since", "0", NULL };
	int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), out, status = -1;
	GString *text = g_string_new(NULL);
	char buf[4096];
	ssize_t n;
	pid_t pid;

	g_assert_true(!grantpt(terminal) && !unlockpt(terminal));
	out = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (!pid) {
		dup2(out, 1);
		execv(argv[0], (char **)argv);
		_exit(127);
	}
	close(out);
	while ((n = read(terminal, buf, sizeof buf)) > 0)
		g_string_append_len(text, buf, n);
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_cmpint(status, ==, 0);
	close(terminal);
	return g_string_free(text, FALSE);
}

static void test_terminal(void)
{
	g_autofree char *passt = passt_new(), *text = NULL;
	struct host *h = host_new(NULL);

	start(h);
	must(h, "x-say", "{\"event\":\"ODD\",\"data\":{\"none\":null,\"list\":[null],\"\\u001b[2Jkey\":\"\\u009b2Jvalue\\u007f\\rover\"}}");
	text = on_terminal(h);
	g_assert_nonnull(strstr(text, "ODD"));
	g_assert_nonnull(strstr(text, "?[2Jkey=?2Jvalue??over"));
	g_assert_null(strchr(text, '\033'));
	host_free(h);
	passt_remove(passt);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/trust/descriptions", test_descriptions);
	g_test_add_func("/trust/descriptors", test_descriptors);
	g_test_add_func("/trust/sign", test_sign);
	g_test_add_func("/trust/messages", test_messages);
	g_test_add_func("/trust/flood", test_flood);
	g_test_add_func("/trust/last-words", test_last_words);
	g_test_add_func("/trust/terminal", test_terminal);
	return g_test_run();
}
