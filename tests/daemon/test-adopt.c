/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvmd dies and comes back; machines hang; machines end while it is away. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/unix.h"
#include "tests/daemon/host.h"

#define U1 "11111111-1111-4111-8111-111111111111"
#define U2 "22222222-2222-4222-8222-222222222222"

static pid_t pid_of(struct host *h, const char *vm)
{
	json_object *o = ask(h, "dominfo", vm, NULL);
	pid_t pid = (pid_t)num(o, "pid");

	json_object_put(o);
	g_assert_cmpint(pid, >, 0);
	return pid;
}

/* Waits until a process that may not be our child has gone; its lock is free then. */
static void await_lock(struct host *h, const char *uuid)
{
	g_autofree char *rel = g_strdup_printf("run/kvmd/vm/%s/lock", uuid), *path = host_path(h, rel);
	int fd = open(path, O_RDWR | O_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(flock(fd, LOCK_EX), ==, 0);
	close(fd);
}

static void test_adopt(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *a = domain_xml(h, "a", U1, NULL, NULL), *b = domain_xml(h, "b", U2, NULL, NULL), *before = NULL, *s = NULL, *s2 = NULL;
	struct conn *c;
	json_object *o;
	int64_t last = 0;
	pid_t pid;

	define(h, a);
	define(h, b);
	ask_ok(h, "start", "a", NULL);
	ask_ok(h, "start", "b", "{\"paused\":true}");
	ask_ok(h, "undefine", "b", NULL);                /* transient: nothing on disk speaks of it */
	pid = pid_of(h, "a");
	o = ask(h, "dumpxml", "a", NULL);
	before = g_strdup(str(o, "xml"));
	json_object_put(o);
	for (int round = 0; round < 3; round++) {
		host_kill(h, SIGKILL);
		fake_do(h, "a", "x-event", "WHILE_AWAY");
		host_start(h);
		g_assert_cmpint(pid_of(h, "a"), ==, pid);
		o = ask(h, "dumpxml", "a", NULL);        /* pty and id included */
		g_assert_cmpstr(str(o, "xml"), ==, before);
		json_object_put(o);
		g_free(s);
		s = state_of(h, "b");
		g_assert_cmpstr(s, ==, "paused");
		ask_bad(h, "start", "a", NULL, "WrongState", "already");
	}
	/* each event once, numbers rising */
	c = conn_new(h);
	json_object_put(conn_ask(c, "event", NULL, "{\"since\":0,\"event\":\"WHILE_AWAY\"}"));
	for (int i = 0; i < 3; i++) {
		o = conn_read(c);
		g_assert_cmpstr(str(o, "event"), ==, "WHILE_AWAY");
		g_assert_cmpint(num(o, "seq"), >, last);
		last = num(o, "seq");
		json_object_put(o);
	}
	o = conn_read(c);
	g_assert_cmpstr(str(o, "event"), ==, "EVENTS_END");
	json_object_put(o);
	conn_free(c);
	ask_ok(h, "cont", "b", NULL);
	s2 = state_of(h, "b");
	g_assert_cmpstr(s2, ==, "running");
	ask_ok(h, "system_powerdown", "a", NULL);
	wait_for(h, "a", "off");
	host_free(h);
}

static unsigned count_events(const struct host *h, const char *name)
{
	g_autofree char *ask = g_strdup_printf("{\"since\":0,\"event\":\"%s\"}", name);
	struct conn *c = conn_new(h);
	unsigned n = 0;
	bool over;

	json_object_put(conn_ask(c, "event", NULL, ask));
	do {
		json_object *o = conn_read(c);

		over = !strcmp(str(o, "event"), "EVENTS_END");
		n += !over;
		json_object_put(o);
	} while (!over);
	conn_free(c);
	return n;
}

/* kvmd dies when it has taken a machine's event and not yet written it down. */
static void test_event_unwritten(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *a = domain_xml(h, "a", U1, NULL, NULL), *path = host_path(h, "var/lib/kvmd/events.jsonl"), *text = NULL;
	struct conn *c;
	char *line;
	gsize len;

	define(h, a);
	ask_ok(h, "start", "a", NULL);
	c = conn_new(h);
	json_object_put(conn_ask(c, "event", NULL, "{\"follow\":true}"));
	fake_do(h, "a", "x-event", "FIRST");
	json_object_put(event_wait(c, "FIRST", "a"));
	fake_do(h, "a", "x-event", "SECOND");
	json_object_put(event_wait(c, "SECOND", "a"));
	conn_free(c);
	host_kill(h, SIGKILL);
	g_assert_true(g_file_get_contents(path, &text, &len, NULL));
	text[len - 1] = '\0';
	line = strrchr(text, '\n');
	g_assert_nonnull(strstr(line, "SECOND"));
	g_assert_cmpint(truncate(path, line + 1 - text), ==, 0);
	for (int round = 0; round < 2; round++) {
		host_start(h);
		g_assert_cmpuint(count_events(h, "FIRST"), ==, 1);
		g_assert_cmpuint(count_events(h, "SECOND"), ==, 1);
		host_kill(h, SIGKILL);
	}
	host_start(h);
	host_free(h);
}

/* kvmd is told to end while a machine has not answered yet. */
static void test_ended_early(void)
{
	struct host *h = host_new("answer_timeout = 60000\n");
	g_autofree char *a = domain_xml(h, "a", U1, NULL, NULL), *path = host_path(h, "run/kvmd/control.sock"), *s = NULL;
	pid_t pid;
	int fd;

	define(h, a);
	ask_ok(h, "start", "a", NULL);
	pid = pid_of(h, "a");
	host_kill(h, SIGKILL);
	g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
	g_assert_cmpint(unlink(path), ==, 0);
	host_spawn(h);
	while ((fd = connect_unix(path, NULL)) < 0)     /* then it is in its loop, or will be next */
		g_thread_yield();
	host_kill(h, SIGTERM);
	close(fd);
	g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
	host_start(h);
	s = state_of(h, "a");
	g_assert_cmpstr(s, ==, "running");
	g_assert_cmpint(pid_of(h, "a"), ==, pid);
	g_assert_cmpuint(count_events(h, "LOST"), ==, 0);
	host_free(h);
}

static void test_ended_meanwhile(void)
{
	struct host *h = host_new("restart_delay = 1\n");
	g_autofree char *a = domain_xml(h, "a", U1, NULL, NULL), *b = domain_xml(h, "b", U2, NULL, "<on_crash>restart</on_crash>"), *s = NULL;
	struct conn *c;
	json_object *o;
	pid_t pid;

	define(h, a);
	define(h, b);
	ask_ok(h, "start", "a", NULL);
	ask_ok(h, "start", "b", NULL);
	pid = pid_of(h, "b");
	host_kill(h, SIGKILL);
	fake_do(h, "a", "x-leave", "shutdown");
	await_lock(h, U1);
	g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
	await_lock(h, U2);
	host_start(h);
	s = state_of(h, "a");
	g_assert_cmpstr(s, ==, "shut off");
	wait_for(h, "b", "running");                    /* by its on_crash */
	c = conn_new(h);
	json_object_put(conn_ask(c, "event", NULL, "{\"since\":0}"));
	json_object_put(event_wait(c, "CRASHED", "b"));
	conn_free(c);
	c = conn_new(h);
	json_object_put(conn_ask(c, "event", NULL, "{\"since\":0}"));
	o = event_wait(c, "STOPPED", "a");
	g_assert_nonnull(strstr(json_object_to_json_string(o), "\"shutdown\""));
	json_object_put(o);
	conn_free(c);
	host_free(h);
}

/* A restart that is due is made by the next kvmd, however this one ended; one that fails is tried again. */
static void test_restart_due(void)
{
	struct host *h = host_new("restart_delay = 300\nrestart_delay_max = 300\n");
	g_autofree char *b = domain_xml(h, "b", U2, NULL, "<on_crash>restart</on_crash>"), *away = g_strconcat(h->kernel, ".away", NULL), *s = NULL;
	g_autofree char *note = host_path(h, "run/kvmd/restart-" U2);
	static const int signals[] = { SIGKILL, SIGTERM };
	struct conn *c;

	define(h, b);
	ask_ok(h, "start", "b", NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
		c = conn_new(h);
		json_object_put(conn_ask(c, "event", NULL, "{\"follow\":true}"));
		fake_do(h, "b", "x-leave", "crashed");
		json_object_put(event_wait(c, "RESTARTING", "b"));
		conn_free(c);
		host_kill(h, signals[i]);
		g_assert_true(g_file_test(note, G_FILE_TEST_EXISTS));
		host_start(h);
		wait_for(h, "b", "running");
		g_assert_false(g_file_test(note, G_FILE_TEST_EXISTS));
	}
	/* what was missing comes back */
	c = conn_new(h);
	json_object_put(conn_ask(c, "event", NULL, "{\"follow\":true}"));
	g_assert_cmpint(rename(h->kernel, away), ==, 0);
	fake_do(h, "b", "x-leave", "crashed");
	json_object_put(event_wait(c, "START_FAILED", "b"));
	json_object_put(event_wait(c, "RESTARTING", "b"));
	g_assert_cmpint(rename(away, h->kernel), ==, 0);
	json_object_put(event_wait(c, "STARTED", "b"));
	/* called off by destroy, for good */
	fake_do(h, "b", "x-leave", "crashed");
	json_object_put(event_wait(c, "RESTARTING", "b"));
	conn_free(c);
	ask_ok(h, "destroy", "b", NULL);
	host_kill(h, SIGKILL);
	host_start(h);
	s = state_of(h, "b");
	g_assert_cmpstr(s, ==, "shut off");
	g_assert_false(g_file_test(note, G_FILE_TEST_EXISTS));
	host_free(h);
}

/* A start that was refused for a disk in use leaves nothing behind that a later kvmd would take for a machine. */
static void test_refused_start(void)
{
	struct host *h = host_new("restart_delay = 1\n");
	g_autofree char *image = host_path(h, "disk"), *s = NULL, *dir = host_path(h, "run/kvmd/vm/" U2);
	g_autofree char *devices = g_strdup_printf("<devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='%s'/>"
		"<target dev='vda' bus='virtio'/></disk>", image);

	g_assert_true(g_file_set_contents(image, (char [512]){ 0 }, 512, NULL));
	for (unsigned i = 0; i < 2; i++) {
		g_autofree char *xml = domain_xml(h, i ? "b" : "a", i ? U2 : U1, NULL, "<on_crash>restart</on_crash>");
		g_auto(GStrv) parts = g_strsplit(xml, "<devices>", 2);
		g_autofree char *text = g_strjoinv(devices, parts);

		define(h, text);
	}
	ask_ok(h, "start", "a", NULL);
	ask_bad(h, "start", "b", NULL, "ResourceBusy", "in use by");
	g_assert_false(g_file_test(dir, G_FILE_TEST_EXISTS));
	host_kill(h, SIGKILL);
	host_start(h);
	s = state_of(h, "b");
	g_assert_cmpstr(s, ==, "shut off");
	host_free(h);
}

static void test_hung(void)
{
	struct host *h = host_new("answer_timeout = 300\ndestroy_timeout = 100\n");
	g_autofree char *a = domain_xml(h, "a", U1, NULL, NULL), *b = domain_xml(h, "b", U2, NULL, NULL), *s = NULL, *s2 = NULL;
	gint64 begin;
	pid_t pid;

	define(h, a);
	define(h, b);
	ask_ok(h, "start", "a", NULL);
	ask_ok(h, "start", "b", NULL);
	pid = pid_of(h, "a");
	g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
	/* all else goes on at once */
	begin = g_get_monotonic_time();
	ask_ok(h, "list", NULL, "{\"all\":true}");
	ask_ok(h, "dumpxml", "a", NULL);
	ask_ok(h, "dominfo", "a", NULL);
	ask_ok(h, "stop", "b", NULL);
	g_assert_cmpint(g_get_monotonic_time() - begin, <, 300 * 1000);
	ask_bad(h, "stop", "a", NULL, "Timeout", "300 ms");
	/* a new kvmd serves although it does not answer, and does it no harm */
	host_kill(h, SIGKILL);
	host_start(h);
	ask_ok(h, "cont", "b", NULL);
	struct conn *c = conn_new(h);

	json_object_put(conn_ask(c, "event", NULL, "{\"since\":0,\"follow\":true}"));
	json_object_put(event_wait(c, "LOST", "a"));
	s = state_of(h, "a");
	g_assert_cmpstr(s, ==, "unknown");
	ask_bad(h, "start", "a", NULL, "ResourceBusy", "does not answer");
	ask_bad(h, "stop", "a", NULL, "NoConnection", "does not answer");
	g_assert_cmpint(kill(pid, 0), ==, 0);
	/* it comes to its senses */
	g_assert_cmpint(kill(pid, SIGCONT), ==, 0);
	json_object_put(event_wait(c, "ADOPTED", "a"));
	conn_free(c);
	g_assert_cmpint(pid_of(h, "a"), ==, pid);
	ask_ok(h, "stop", "a", NULL);
	/* hung again: destroy works */
	g_assert_cmpint(kill(pid, SIGSTOP), ==, 0);
	ask_ok(h, "destroy", "a", NULL);
	s2 = state_of(h, "a");
	g_assert_cmpstr(s2, ==, "shut off");
	ask_ok(h, "start", "a", NULL);
	host_free(h);
}

/* What domstate --reason said before kvmd was killed it says afterwards; events that come by then have their reasons. */
#define REASON_IS(h, vm, state_, reason_) do { \
	json_object *o_ = ask(h, "domstate", vm, NULL); \
	g_assert_cmpstr(str(o_, "state"), ==, state_); \
	g_assert_cmpstr(str(o_, "reason"), ==, reason_); \
	json_object_put(o_); \
} while (0)

static int64_t since_of(struct host *h, const char *vm)
{
	json_object *o = ask(h, "domstate", vm, NULL);
	int64_t n = num(o, "since");

	json_object_put(o);
	return n;
}

static void again(struct host *h)
{
	host_kill(h, SIGKILL);
	host_start(h);
}

static void test_reasons(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *a = domain_xml(h, "a", U1, NULL, NULL), *b = domain_xml(h, "b", U2, NULL, NULL);
	json_object *o, *data;
	struct conn *c;
	int64_t begun;

	define(h, a);
	define(h, b);
	ask_ok(h, "start", "a", NULL);
	ask_ok(h, "start", "b", "{\"paused\":true}");
	begun = since_of(h, "a");
	again(h);
	REASON_IS(h, "a", "running", "booted");
	g_assert_cmpint(since_of(h, "a"), <=, begun + 1);
	REASON_IS(h, "b", "paused", "not yet run");
	ask_ok(h, "destroy", "b", NULL);
	again(h);
	REASON_IS(h, "b", "shut off", "destroyed");
	ask_ok(h, "stop", "a", NULL);
	again(h);
	REASON_IS(h, "a", "paused", "by request");
	ask_ok(h, "cont", "a", NULL);
	again(h);
	REASON_IS(h, "a", "running", "resumed");
	/* it stops while nobody looks */
	host_kill(h, SIGKILL);
	fake_do(h, "a", "stop", NULL);
	host_start(h);
	REASON_IS(h, "a", "paused", "by request");
	c = conn_new(h);
	json_object_put(conn_ask(c, "event", NULL, "{\"since\":0,\"follow\":true,\"event\":\"STOP\"}"));
	for (int i = 0; i < 2; i++) {
		o = conn_read(c);
		json_object_object_get_ex(o, "data", &data);
		g_assert_cmpstr(str(data, "reason"), ==, "by request");
		json_object_put(o);
	}
	conn_free(c);
	/* another of the same uuid has not run */
	ask_ok(h, "undefine", "b", NULL);
	define(h, b);
	again(h);
	REASON_IS(h, "b", "shut off", "");
	host_free(h);
}

static void test_leftovers(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *a = domain_xml(h, "a", U1, NULL, NULL), *temp = host_path(h, "var/lib/kvmd/domains/.tmp-7");
	g_autofree char *damaged = host_path(h, "var/lib/kvmd/domains/" U2 ".xml"), *stray = host_path(h, "var/lib/kvmd/domains/notes.txt"), *still = NULL;
	json_object *o;

	define(h, a);
	host_kill(h, SIGKILL);
	g_assert_true(g_file_set_contents(temp, "half of", -1, NULL));
	g_assert_true(g_file_set_contents(damaged, "<domain type='kvm'><na", -1, NULL));
	g_assert_true(g_file_set_contents(stray, "mine", -1, NULL));
	host_start(h);
	g_assert_false(g_file_test(temp, G_FILE_TEST_EXISTS));
	g_assert_true(g_file_test(stray, G_FILE_TEST_EXISTS));
	g_assert_true(g_file_get_contents(damaged, &still, NULL, NULL));
	g_assert_cmpstr(still, ==, "<domain type='kvm'><na");
	o = ask(h, "dominfo", U2, NULL);
	g_assert_cmpstr(str(o, "trouble"), !=, "");
	json_object_put(o);
	ask_bad(h, "start", U2, NULL, "BadXml", "cannot be used");
	g_autofree char *mended = domain_xml(h, "mended", U2, NULL, NULL);

	define(h, mended);
	ask_ok(h, "start", "mended", NULL);
	host_free(h);
}

static void test_full_disk(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *dir = host_path(h, "var/lib/kvmd/domains"), *a = domain_xml(h, "a", U1, NULL, NULL), *filler = NULL, *was = NULL;
	g_autofree char *longer = NULL, *text = g_malloc(40000);
	json_object *o, *args;

	host_kill(h, SIGKILL);
	if (mount("none", dir, "tmpfs", 0, "size=16k") < 0) {
		host_start(h);
		host_free(h);
		g_test_skip("may not mount a small file system here");
		return;
	}
	host_start(h);
	define(h, a);
	o = ask(h, "dumpxml", "a", "{\"inactive\":true}");
	was = g_strdup(str(o, "xml"));
	json_object_put(o);
	memset(text, 'x', 39999);
	text[39999] = '\0';
	filler = g_strdup_printf("<metadata><f:f xmlns:f='urn:f'>%s</f:f></metadata>", text);
	longer = domain_xml(h, "a", U1, NULL, filler);
	args = define_args(longer);
	ask_bad(h, "define", NULL, json_object_to_json_string(args), "NoSpace", "No space left");
	o = ask(h, "dumpxml", "a", "{\"inactive\":true}");
	g_assert_cmpstr(str(o, "xml"), ==, was);
	json_object_put(o);
	json_object_put(args);
	/* and a new one that does not fit leaves no name behind */
	g_free(longer);
	longer = domain_xml(h, "b", U2, NULL, filler);
	args = define_args(longer);
	ask_bad(h, "define", NULL, json_object_to_json_string(args), "NoSpace", "No space left");
	ask_bad(h, "domid", "b", NULL, "VmNotFound", "'b'");
	json_object_put(args);
	host_kill(h, SIGKILL);
	host_start(h);
	o = ask(h, "dumpxml", "a", "{\"inactive\":true}");
	g_assert_cmpstr(str(o, "xml"), ==, was);
	json_object_put(o);
	host_kill(h, SIGKILL);
	g_assert_cmpint(umount(dir), ==, 0);
	host_free(h);
}

static void test_event_numbers(void)
{
	struct host *h = host_new("events_size = 65536\n");
	g_autofree char *a = domain_xml(h, "a", U1, NULL, NULL), *seq = host_path(h, "run/kvmd/seq"), *journal = host_path(h, "var/lib/kvmd/events.jsonl");
	g_autofree char *args = NULL, *all = NULL;
	int64_t last = 0, first, high;
	struct conn *c;
	json_object *o;

	define(h, a);
	for (int i = 0; i < 1200; i++) {                /* rotates: two files of 64 KiB hold 800 or so */
		ask_ok(h, "autostart", "a", NULL);
		ask_ok(h, "autostart", "a", "{\"disable\":true}");
	}
	c = conn_new(h);
	o = conn_ask(c, "event", NULL, "{\"since\":0}");
	json_object *r;

	json_object_object_get_ex(o, "return", &r);
	first = num(r, "first");
	high = num(r, "last");
	json_object_put(o);
	g_assert_cmpint(first, >, 1);
	g_assert_cmpint(high, ==, 2401);
	for (int64_t n = first; n <= high; n++) {       /* all that are kept, none twice, in order */
		o = conn_read(c);
		g_assert_cmpint(num(o, "seq"), ==, n);
		json_object_put(o);
	}
	json_object_put(event_wait(c, "EVENTS_END", NULL));
	conn_free(c);
	/* kill -9: numbers go on; half a line at the end is no harm */
	host_kill(h, SIGKILL);
	int fd = open(journal, O_WRONLY | O_APPEND);

	g_assert_cmpint(write(fd, "{\"event\":\"HA", 12), ==, 12);
	close(fd);
	host_start(h);
	define(h, a);
	c = conn_new(h);
	args = g_strdup_printf("{\"since\":%" G_GINT64_FORMAT "}", high);
	json_object_put(conn_ask(c, "event", NULL, args));
	o = event_wait(c, "DEFINED", "a");
	g_assert_cmpint(num(o, "seq"), ==, high + 1);
	json_object_put(o);
	conn_free(c);
	/* power cut: run/ is empty and the journal's end is lost; numbers jump ahead rather than repeat */
	host_kill(h, SIGKILL);
	(void)g_unlink(seq);
	g_assert_true(g_file_get_contents(journal, &all, NULL, NULL));
	g_assert_cmpint(truncate(journal, 1000), ==, 0);
	host_start(h);
	define(h, a);
	c = conn_new(h);
	json_object_put(conn_ask(c, "event", NULL, args));
	o = event_wait(c, "DEFINED", "a");
	last = num(o, "seq");
	g_assert_cmpint(last, >, high + 1);
	json_object_put(o);
	conn_free(c);
	host_free(h);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/adopt/kill-9", test_adopt);
	g_test_add_func("/adopt/event-unwritten", test_event_unwritten);
	g_test_add_func("/adopt/ended-early", test_ended_early);
	g_test_add_func("/adopt/ended-meanwhile", test_ended_meanwhile);
	g_test_add_func("/adopt/restart-due", test_restart_due);
	g_test_add_func("/adopt/refused-start", test_refused_start);
	g_test_add_func("/adopt/hung", test_hung);
	g_test_add_func("/adopt/reasons", test_reasons);
	g_test_add_func("/store/leftovers", test_leftovers);
	g_test_add_func("/store/full-disk", test_full_disk);
	g_test_add_func("/events/numbers", test_event_numbers);
	return g_test_run();
}
