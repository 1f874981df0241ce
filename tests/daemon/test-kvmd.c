/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvmd with a fake worker: definitions, the life of a machine, what is refused and how. */
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/wire.h"
#include "tests/daemon/host.h"

#define U1 "11111111-1111-4111-8111-111111111111"
#define U2 "22222222-2222-4222-8222-222222222222"

static void define_bad(struct host *h, const char *xml, const char *code, const char *part)
{
	json_object *o = define_args(xml);

	ask_bad(h, "define", NULL, json_object_to_json_string(o), code, part);
	json_object_put(o);
}

static void test_define(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *a = domain_xml(h, "a", U1, NULL, NULL), *b = domain_xml(h, "b", U2, NULL, NULL);
	g_autofree char *a2 = domain_xml(h, "a", U2, NULL, NULL), *b1 = domain_xml(h, "b", U1, NULL, NULL);
	g_autofree char *plain = domain_xml(h, "plain", NULL, NULL, NULL), *slash = domain_xml(h, "x/y", NULL, NULL, NULL);
	g_autofree char *gone = NULL, *uuid = NULL;
	json_object *o;

	define(h, a);
	define(h, a);                                   /* the same again replaces */
	define_bad(h, a2, "AlreadyExists", U1);
	define_bad(h, b1, "AlreadyExists", "'a'");
	define(h, b);
	define(h, plain);
	o = ask(h, "domuuid", "plain", NULL);
	uuid = g_strdup(str(o, "uuid"));
	json_object_put(o);
	define(h, plain);                               /* no uuid: it keeps the one it has */
	o = ask(h, "domuuid", "plain", NULL);
	g_assert_cmpstr(str(o, "uuid"), ==, uuid);
	json_object_put(o);
	define_bad(h, slash, "BadXml", "domain/name");
	define_bad(h, "<domain type='kvm'>\n <name>x</nam>\n</domain>", "BadXml", "2:");
	define_bad(h, "", "BadArguments", "xml");
	ask_ok(h, "undefine", "plain", NULL);
	ask_bad(h, "domuuid", "plain", NULL, "VmNotFound", "'plain'");
	/* what is stored is what is dumped, also after a restart */
	o = ask(h, "dumpxml", "a", "{\"inactive\":true}");
	gone = g_strdup(str(o, "xml"));
	json_object_put(o);
	host_kill(h, SIGKILL);
	host_start(h);
	o = ask(h, "dumpxml", "a", "{\"inactive\":true}");
	g_assert_cmpstr(str(o, "xml"), ==, gone);
	json_object_put(o);
	define(h, gone);
	o = ask(h, "list", NULL, "{\"all\":true}");
	g_assert_nonnull(strstr(json_object_to_json_string(o), "\"name\": \"b\""));
	g_assert_null(strstr(json_object_to_json_string(o), "plain"));
	json_object_put(o);
	host_free(h);
}

static void test_life(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *xml = domain_xml(h, "vm", U1, NULL, NULL), *s = NULL, *s2 = NULL;
	struct conn *events = conn_new(h);
	json_object *o, *live;

	define(h, xml);
	json_object_put(conn_ask(events, "event", NULL, "{\"follow\":true}"));
	ask_bad(h, "suspend", "vm", NULL, "CommandNotFound", "suspend");
	ask_bad(h, "stop", "vm", NULL, "WrongState", "not running");
	ask_bad(h, "destroy", "vm", NULL, "WrongState", "not running");
	o = ask(h, "start", "vm", NULL);
	g_assert_cmpint(num(o, "id"), ==, 1);
	g_assert_cmpint(num(o, "pid"), >, 0);
	json_object_put(o);
	json_object_put(event_wait(events, "STARTED", "vm"));
	ask_bad(h, "start", "vm", NULL, "WrongState", "already running");
	ask_ok(h, "stop", "vm", NULL);
	json_object_put(event_wait(events, "STOP", "vm"));
	s = state_of(h, "vm");
	g_assert_cmpstr(s, ==, "paused");
	ask_ok(h, "cont", "1", NULL);                   /* by its number */
	json_object_put(event_wait(events, "RESUME", "vm"));
	live = ask(h, "dumpxml", U1, NULL);
	g_assert_nonnull(strstr(str(live, "xml"), "/dev/pts/"));
	g_assert_nonnull(strstr(str(live, "xml"), "id='1'"));
	json_object_put(live);
	o = ask(h, "console-log", "vm", NULL);
	g_assert_nonnull(strstr(str(o, "text"), "fake guest"));
	json_object_put(o);
	ask_ok(h, "undefine", "vm", NULL);              /* it runs on, and is forgotten when it ends */
	s2 = state_of(h, "vm");
	g_assert_cmpstr(s2, ==, "running");
	ask_ok(h, "system_powerdown", "vm", NULL);
	json_object_put(event_wait(events, "STOPPED", "vm"));
	json_object_put(event_wait(events, "UNDEFINED", "vm"));
	ask_bad(h, "domstate", "vm", NULL, "VmNotFound", "vm");
	conn_free(events);
	host_free(h);
}

static void test_console(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *xml = domain_xml(h, "vm", U1, NULL, NULL);
	struct conn *c = conn_new(h);
	json_object *m = json_tokener_parse("{\"execute\":\"console\",\"vm\":\"vm\",\"arguments\":{}}"), *o;
	g_autoptr(GError) err = NULL;
	char buf[64] = "";
	unsigned n = 1;
	int fd = -1;

	define(h, xml);
	ask_bad(h, "console", "vm", NULL, "WrongState", "not running");
	ask_ok(h, "start", "vm", NULL);
	g_assert_true(wire_write_sync(c->fd, m, NULL, 0, NULL));
	json_object_put(m);
	o = wire_read_sync(c->reader, 20000, &fd, &n, &err);
	g_assert_no_error(err);
	g_assert_cmpuint(n, ==, 1);
	g_assert_cmpint(recv(fd, buf, 8, MSG_WAITALL), ==, 8);
	g_assert_cmpstr(buf, ==, "backlog\n");
	g_assert_cmpint(write(fd, "typed", 5), ==, 5);
	g_assert_cmpint(recv(fd, buf, 5, MSG_WAITALL), ==, 5);
	g_assert_cmpmem(buf, 5, "typed", 5);
	close(fd);
	json_object_put(o);
	conn_free(c);
	host_free(h);
}

/* What is known of an end is told as long as the machine is off, also by a kvmd that begins anew. */
static void has_detail(const struct host *h, const char *name, const char *words)
{
	json_object *o = ask(h, "dominfo", name, NULL);

	if (words)
		g_assert_nonnull(strstr(str(o, "detail"), words));
	else
		g_assert_false(json_object_object_get_ex(o, "detail", NULL));
	json_object_put(o);
}

static int64_t since_of(const struct host *h, const char *name)
{
	json_object *o = ask(h, "domstate", name, NULL), *v = NULL;
	int64_t since = json_object_object_get_ex(o, "since", &v) ? json_object_get_int64(v) : 0;

	json_object_put(o);
	return since;
}

static void test_start_fails(void)
{
	struct host *h = host_new("start_timeout = 300\ndestroy_timeout = 100\n");
	g_autofree char *refuse = domain_xml(h, "refuse", NULL, "refuse", NULL), *die = domain_xml(h, "die", NULL, "die", NULL);
	g_autofree char *mute = domain_xml(h, "mute", NULL, "mute", NULL), *fine = domain_xml(h, "fine", NULL, NULL, NULL);
	g_autofree char *run = NULL, *s = NULL;
	json_object *o;
	int64_t since;

	define(h, refuse);
	define(h, die);
	define(h, mute);
	define(h, fine);
	for (int i = 0; i < 3; i++) {                   /* and nothing is left that would hinder the next try */
		ask_bad(h, "start", "refuse", NULL, "HostLacks", "this fake refuses");
		ask_bad(h, "start", "die", NULL, "NoConnection", "ended before it was ready");
		ask_bad(h, "start", "mute", NULL, "Timeout", "300 ms");
	}
	s = state_of(h, "refuse");
	g_assert_cmpstr(s, ==, "shut off");
	has_detail(h, "refuse", "this fake refuses");
	has_detail(h, "die", "ended before it was ready");
	has_detail(h, "mute", "300 ms");
	has_detail(h, "fine", NULL);
	(void)g_unlink(h->kernel);
	ask_bad(h, "start", "fine", NULL, "FileNotFound", "os/kernel");
	has_detail(h, "fine", "os/kernel");
	since = since_of(h, "refuse");
	host_kill(h, SIGKILL);
	while (g_get_real_time() / G_USEC_PER_SEC <= since)
		g_usleep(20000);
	host_start(h);
	g_assert_cmpint(since_of(h, "refuse"), ==, since);
	has_detail(h, "refuse", "this fake refuses");
	has_detail(h, "fine", "os/kernel");
	g_assert_true(g_file_set_contents(h->kernel, "k", -1, NULL));
	ask_ok(h, "start", "fine", NULL);
	has_detail(h, "fine", NULL);
	o = ask(h, "dominfo", "fine", NULL);
	run = g_path_get_dirname(str(o, "qmp"));
	json_object_put(o);
	ask_ok(h, "destroy", "fine", NULL);
	g_assert_false(g_file_test(run, G_FILE_TEST_EXISTS));
	host_free(h);
}

static void test_refused(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *big = domain_xml(h, "big", NULL, NULL, NULL), *firmware = domain_xml(h, "firmware", NULL, NULL, NULL);
	g_autofree char *disk = NULL, *kernel = g_strdup_printf("<kernel>%s</kernel>", h->kernel);
	char *at = strstr(big, "unit='MiB'>16");

	memcpy(at, "unit='TiB'>90", 13);
	define(h, big);
	ask_bad(h, "start", "big", NULL, "NoMemory", "this host has");
	g_auto(GStrv) split = g_strsplit(firmware, kernel, 2);
	g_autofree char *bare = g_strjoinv("", split);

	define(h, bare);
	ask_bad(h, "start", "firmware", NULL, "Unsupported", "<os><kernel>");
	g_auto(GStrv) parts = g_strsplit(big, "<serial type='pty'/>", 2);

	disk = g_strjoinv("<disk type='file' device='disk'><source file='/x.img'/><target dev='vda' bus='virtio'/><transient/></disk>", parts);
	define(h, disk);
	ask_bad(h, "start", "big", NULL, "Unsupported", "disk 'vda'");
	g_autofree char *threads = domain_xml(h, "threads", NULL, NULL, NULL);
	g_auto(GStrv) halves = g_strsplit(threads, "<devices>", 2);
	g_autofree char *many = g_strjoinv("<iothreads>64</iothreads><devices>", halves);

	define(h, many);
	ask_bad(h, "start", "threads", NULL, "Unsupported", "64 I/O threads: at most 63");
	ask_bad(h, "start", "bid", NULL, "VmNotFound", "'bid'");
	ask_bad(h, "start", NULL, NULL, "BadArguments", "\"vm\"");
	ask_bad(h, "start", "big", "{\"paused\":1}", "BadArguments", "paused");
	ask_bad(h, "start", "big", "{\"pausd\":true}", "BadArguments", "pausd");
	ask_bad(h, "list", "big", "{}", "BadArguments", "leave \"vm\" out");
	ask_bad(h, "machine-create", "big", "{}", "CommandNotFound", "machine-create");
	ask_bad(h, "nonsense", NULL, NULL, "CommandNotFound", "nonsense");
	host_kill(h, SIGTERM);
	h->kvm = "/nonexistent/kvm";
	host_start(h);
	g_autofree char *fine = domain_xml(h, "fine", NULL, NULL, NULL);

	define(h, fine);
	ask_bad(h, "start", "fine", NULL, "HostLacks", "there is no /nonexistent/kvm");
	host_free(h);
}

static void test_ends(void)
{
	/* reason of the exit record, policy, is it restarted? */
	static const struct { const char *reason, *policy, *event; bool again; } ends[] = {
		{ "shutdown", NULL, "STOPPED", false },
		{ "shutdown", "<on_poweroff>restart</on_poweroff>", "STOPPED", true },
		{ "reset", NULL, "STOPPED", true },
		{ "reset", "<on_reboot>destroy</on_reboot>", "STOPPED", false },
		{ "panicked", NULL, "CRASHED", false },
		{ "panicked", "<on_crash>restart</on_crash>", "CRASHED", true },
		{ "crashed", "<on_crash>restart</on_crash>", "CRASHED", true },
		{ "killed", "<on_crash>restart</on_crash>", "STOPPED", false },
		{ "test-exit", "<on_crash>restart</on_crash>", "STOPPED", false },
	};
	struct host *h = host_new("restart_delay = 10\nrestart_delay_max = 40\n");

	for (size_t i = 0; i < G_N_ELEMENTS(ends); i++) {
		g_autofree char *name = g_strdup_printf("vm%zu", i), *xml = domain_xml(h, name, NULL, NULL, ends[i].policy), *s = NULL;
		struct conn *c = conn_new(h);
		json_object *e, *data;

		define(h, xml);
		ask_ok(h, "start", name, NULL);
		json_object_put(conn_ask(c, "event", NULL, "{\"follow\":true}"));
		fake_do(h, name, "x-leave", ends[i].reason);
		e = event_wait(c, ends[i].event, name);
		json_object_object_get_ex(e, "data", &data);
		if (strcmp(ends[i].reason, "killed"))
			g_assert_cmpstr(str(data, "reason"), ==, ends[i].reason);
		json_object_put(e);
		if (ends[i].again) {
			json_object_put(event_wait(c, "RESTARTING", name));
			json_object_put(event_wait(c, "STARTED", name));
		}
		conn_free(c);
		s = state_of(h, name);
		g_assert_cmpstr(s, ==, ends[i].again ? "running" : "shut off");
	}
	host_free(h);
}

static void test_back_off(void)
{
	struct host *h = host_new("restart_delay = 8\nrestart_delay_max = 32\n");
	g_autofree char *xml = domain_xml(h, "vm", NULL, NULL, "<on_crash>restart</on_crash>");
	static const int64_t delays[] = { 8, 16, 32, 32 };
	struct conn *c = conn_new(h);

	define(h, xml);
	json_object_put(conn_ask(c, "event", NULL, "{\"follow\":true}"));
	ask_ok(h, "start", "vm", NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(delays); i++) {
		json_object *e, *data;

		json_object_put(event_wait(c, "STARTED", "vm"));
		fake_do(h, "vm", "x-abort", NULL);
		json_object_put(event_wait(c, "CRASHED", "vm"));
		e = event_wait(c, "RESTARTING", "vm");
		json_object_object_get_ex(e, "data", &data);
		g_assert_cmpint(num(data, "delay-ms"), ==, delays[i]);
		json_object_put(e);
	}
	conn_free(c);
	host_free(h);
}

static void test_autostart(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *a = domain_xml(h, "a", NULL, NULL, NULL), *b = domain_xml(h, "b", NULL, NULL, NULL), *mark = host_path(h, "run/kvmd/autostarted");
	g_autofree char *s = NULL;

	define(h, a);
	define(h, b);
	ask_ok(h, "autostart", "a", NULL);
	ask_ok(h, "autostart", "b", NULL);
	ask_ok(h, "autostart", "b", "{\"disable\":true}");
	host_kill(h, SIGKILL);
	host_start(h);
	s = state_of(h, "a");
	g_assert_cmpstr(s, ==, "shut off");             /* the host has not booted since */
	host_kill(h, SIGKILL);
	(void)g_unlink(mark);
	host_start(h);
	wait_for(h, "a", "running");
	struct conn *c = conn_new(h);
	json_object *data, *o;

	json_object_put(conn_ask(c, "event", NULL, "{\"since\":0,\"follow\":true}"));
	o = event_wait(c, "STARTED", "a");
	json_object_object_get_ex(o, "data", &data);
	g_assert_cmpstr(str(data, "reason"), ==, "autostart");
	json_object_put(o);
	conn_free(c);
	g_autofree char *off = state_of(h, "b");

	g_assert_cmpstr(off, ==, "shut off");
	host_free(h);
}

static void has_vcpus(struct host *h, const char *want)
{
	json_object *o = ask(h, "dumpxml", "a", "{\"inactive\":true}");
	GString *s = g_string_new(NULL);

	for (const char *at = str(o, "xml"); (at = strstr(at, "<vcpu id='"));) {
		const char *enabled = strstr(at, "enabled='");

		g_string_append_c(s, enabled && enabled[9] == 'y' ? '1' : '0');
		at = enabled;
	}
	g_assert_cmpstr(s->str, ==, want);
	g_string_free(s, TRUE);
	json_object_put(o);
}

static void test_setvcpu(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *xml = domain_xml(h, "a", NULL, NULL, NULL);
	g_auto(GStrv) parts = g_strsplit(xml, "<vcpu>1</vcpu>", 2);
	g_autofree char *four = g_strjoinv("<vcpu current='2'>4</vcpu>", parts);
	json_object *o;

	define(h, four);
	o = ask(h, "setvcpu", "a", "{\"vcpulist\":\"3\",\"enable\":true}");
	g_assert_cmpint(num(o, "vcpus"), ==, 3);
	json_object_put(o);
	has_vcpus(h, "1101");
	ask_ok(h, "setvcpu", "a", "{\"vcpulist\":\"1,3\",\"disable\":true,\"config\":true}");
	has_vcpus(h, "1000");
	ask_ok(h, "setvcpu", "a", "{\"vcpulist\":\"1-3\",\"enable\":true}");
	has_vcpus(h, "1111");
	ask_ok(h, "setvcpu", "a", "{\"vcpulist\":\"2\",\"disable\":true}");
	ask_bad(h, "setvcpu", "a", "{\"vcpulist\":\"4\",\"enable\":true}", "BadArguments", "there is no vCPU 4");
	ask_bad(h, "setvcpu", "a", "{\"vcpulist\":\"0-1\",\"disable\":true}", "Unsupported", "boots the guest");
	ask_bad(h, "setvcpu", "a", "{\"vcpulist\":\"1\"}", "BadArguments", "--enable");
	ask_bad(h, "setvcpu", "a", "{\"vcpulist\":\"1\",\"enable\":true,\"disable\":true}", "BadArguments", "--enable");
	ask_bad(h, "setvcpu", "a", "{\"vcpulist\":\"one\",\"enable\":true}", "BadArguments", "vcpulist");
	ask_bad(h, "setvcpu", "a", "{\"vcpulist\":\"1\",\"enable\":true,\"live\":true}", "WrongState", "not running");
	has_vcpus(h, "1101");
	ask_ok(h, "setvcpus", "a", "{\"count\":4}");
	has_vcpus(h, "1111");
	host_free(h);
}

static void has_adjustment(const struct host *h, const char *dump, const char *seconds)
{
	g_autofree char *part = g_strdup_printf("adjustment='%s'", seconds);
	json_object *o = ask(h, "dumpxml", "a", dump);

	g_assert_nonnull(strstr(str(o, "xml"), part));
	json_object_put(o);
}

/* The live definition says what the guest set its clock to. */
static void test_clock(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *xml = domain_xml(h, "a", NULL, NULL, "<clock offset='variable' adjustment='-100'/>");
	struct conn *events = conn_new(h);

	define(h, xml);
	json_object_put(conn_ask(events, "event", NULL, "{\"follow\":true}"));
	ask_ok(h, "start", "a", NULL);
	fake_do(h, "a", "x-clock", "250");
	json_object_put(event_wait(events, "RTC_CHANGE", "a"));
	has_adjustment(h, NULL, "150");
	has_adjustment(h, "{\"inactive\":true}", "-100");
	fake_do(h, "a", "x-clock", "-9223372036854775808");     /* what no clock shows */
	json_object_put(event_wait(events, "RTC_CHANGE", "a"));
	has_adjustment(h, NULL, "150");
	conn_free(events);
	host_free(h);
}

static void test_schema(void)
{
	struct host *h = host_new(NULL);
	json_object *o = ask(h, "query-schema", NULL, NULL);

	g_assert_cmpint(json_object_get_type(o), ==, json_type_array);
	g_assert_cmpuint(json_object_array_length(o), >, 15);
	json_object_put(o);
	o = ask(h, "host", NULL, NULL);
	g_assert_cmpstr(str(o, "guest_kernel_code"), ==, "native");
	json_object_put(o);
	host_free(h);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/kvmd/define", test_define);
	g_test_add_func("/kvmd/life", test_life);
	g_test_add_func("/kvmd/console", test_console);
	g_test_add_func("/kvmd/start-fails", test_start_fails);
	g_test_add_func("/kvmd/refused", test_refused);
	g_test_add_func("/kvmd/ends", test_ends);
	g_test_add_func("/kvmd/back-off", test_back_off);
	g_test_add_func("/kvmd/autostart", test_autostart);
	g_test_add_func("/kvmd/setvcpu", test_setvcpu);
	g_test_add_func("/kvmd/clock", test_clock);
	g_test_add_func("/kvmd/schema", test_schema);
	return g_test_run();
}
