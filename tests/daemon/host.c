/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kvmd of a test's own. */
#include "tests/daemon/host.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/unix.h"
#include "daemon/wire.h"

#define DEADLINE_MS 20000

char *host_path(const struct host *h, const char *relative)
{
	return g_build_filename(h->root, relative, NULL);
}

static const char *program(const char *variable)
{
	const char *p = g_getenv(variable);

	g_assert_nonnull(p);
	return p;
}

static void child(const struct host *h)
{
	const char *argv[] = { program("KVMD"), "--root", h->root, "--worker", program("FAKE_WORKER"), "--kvm", h->kvm, NULL };

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* an assertion that fails ends kvmd too */
	if (h->nofile) {
		struct rlimit r = { (rlim_t)h->nofile, (rlim_t)h->nofile };

		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
	execv(argv[0], (char **)argv);
	_exit(127);
}

void host_spawn(struct host *h)
{
	g_setenv("NOTIFY_SOCKET", h->notify, TRUE);
	h->kvmd = fork();
	if (!h->kvmd)
		child(h);
}

void host_start(struct host *h)
{
	char buf[256] = "";
	struct pollfd p = { .fd = h->notify_fd, .events = POLLIN };

	host_spawn(h);
	g_assert_cmpint(poll(&p, 1, DEADLINE_MS), ==, 1);
	g_assert_cmpint(recv(h->notify_fd, buf, sizeof buf - 1, 0), >, 0);
	g_assert_true(g_str_has_prefix(buf, "READY=1"));
}

struct host *host_new(const char *conf)
{
	struct host *h = g_new0(struct host, 1);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	h->root = g_dir_make_tmp("kvmd-test-XXXXXX", NULL);
	h->kvm = "/dev/null";
	h->notify = host_path(h, "notify");
	h->kernel = host_path(h, "kernel");
	g_assert_true(g_file_set_contents(h->kernel, "kernel", -1, NULL));
	if (conf) {
		g_autofree char *etc = host_path(h, "etc/kvmd"), *file = host_path(h, "etc/kvmd/kvmd.conf");

		g_assert_cmpint(g_mkdir_with_parents(etc, 0755), ==, 0);
		g_assert_true(g_file_set_contents(file, conf, -1, NULL));
	}
	h->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	g_strlcpy(sa.sun_path, h->notify, sizeof sa.sun_path);
	g_assert_cmpint(bind(h->notify_fd, (struct sockaddr *)&sa, sizeof sa), ==, 0);
	host_start(h);
	return h;
}

void host_kill(struct host *h, int sig)
{
	char buf[256];
	int status;

	if (!h->kvmd)
		return;
	g_assert_cmpint(kill(h->kvmd, sig), ==, 0);
	g_assert_cmpint(waitpid(h->kvmd, &status, 0), ==, h->kvmd);
	if (sig == SIGTERM)                     /* sanitizers speak through it */
		g_assert_cmpint(status, ==, 0);
	h->kvmd = 0;
	while (recv(h->notify_fd, buf, sizeof buf, MSG_DONTWAIT) > 0)
		;
}

static void remove_tree(const char *path)
{
	GDir *d = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
	const char *name;

	while (d && (name = g_dir_read_name(d))) {
		g_autofree char *sub = g_build_filename(path, name, NULL);

		remove_tree(sub);
	}
	if (d)
		g_dir_close(d);
	(void)g_remove(path);
}

void host_free(struct host *h)
{
	if (!h->kvmd)
		host_start(h);

	json_object *all = ask(h, "list", NULL, "{}"), *rows;

	json_object_object_get_ex(all, "domains", &rows);
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct conn *c = conn_new(h);

		json_object_put(conn_ask(c, "destroy", str(json_object_array_get_idx(rows, i), "uuid"), NULL));
		conn_free(c);
	}
	json_object_put(all);
	host_kill(h, SIGTERM);
	close(h->notify_fd);
	remove_tree(h->root);
	g_free(h->root);
	g_free(h->notify);
	g_free(h->kernel);
	g_free(h);
}

char *domain_xml(const struct host *h, const char *name, const char *uuid, const char *description, const char *extra)
{
	g_autofree char *id = uuid ? g_strdup_printf("<uuid>%s</uuid>", uuid) : g_strdup("");

	return g_strdup_printf("<domain type='kvm'>\n  <name>%s</name>\n  %s\n  <description>%s</description>\n  <memory unit='MiB'>16</memory>\n"
		"  <vcpu>1</vcpu>\n  <os><type arch='x86_64'>hvm</type><kernel>%s</kernel></os>\n  <devices><serial type='pty'/></devices>\n  %s\n</domain>\n",
		name, id, description ? description : "fine", h->kernel, extra ? extra : "");
}

/* --- asking --- */

struct conn *conn_new(const struct host *h)
{
	g_autofree char *path = host_path(h, "run/kvmd/control.sock");
	g_autoptr(GError) err = NULL;
	struct conn *c = g_new0(struct conn, 1);

	c->fd = connect_unix(path, &err);
	g_assert_no_error(err);
	c->reader = wire_reader_new(c->fd);
	json_object_put(conn_read(c));          /* the greeting */
	return c;
}

void conn_free(struct conn *c)
{
	wire_reader_free(c->reader);
	close(c->fd);
	g_free(c);
}

json_object *conn_read(struct conn *c)
{
	g_autoptr(GError) err = NULL;
	json_object *o = wire_read_sync(c->reader, DEADLINE_MS, NULL, NULL, &err);

	g_assert_no_error(err);
	return o;
}

json_object *conn_ask(struct conn *c, const char *execute, const char *vm, const char *arguments)
{
	json_object *m = json_object_new_object(), *v;
	g_autoptr(GError) err = NULL;

	json_object_object_add(m, "execute", json_object_new_string(execute));
	if (vm)
		json_object_object_add(m, "vm", json_object_new_string(vm));
	if (arguments)
		json_object_object_add(m, "arguments", json_tokener_parse(arguments));
	g_assert_true(wire_write_sync(c->fd, m, NULL, 0, &err));
	json_object_put(m);
	for (;;) {
		json_object *o = conn_read(c);

		if (!json_object_object_get_ex(o, "event", &v))
			return o;
		json_object_put(o);
	}
}

json_object *ask(const struct host *h, const char *execute, const char *vm, const char *arguments)
{
	struct conn *c = conn_new(h);
	json_object *o = conn_ask(c, execute, vm, arguments), *v;
	g_autoptr(GError) err = NULL;

	(void)wire_check(o, &err);
	g_assert_no_error(err);
	g_assert_true(json_object_object_get_ex(o, "return", &v));
	v = json_object_get(v);
	json_object_put(o);
	conn_free(c);
	return v;
}

void ask_ok(const struct host *h, const char *execute, const char *vm, const char *arguments)
{
	json_object_put(ask(h, execute, vm, arguments));
}

void ask_bad(const struct host *h, const char *execute, const char *vm, const char *arguments, const char *code, const char *part)
{
	struct conn *c = conn_new(h);
	json_object *o = conn_ask(c, execute, vm, arguments), *e;

	g_assert_true(json_object_object_get_ex(o, "error", &e));
	g_assert_cmpstr(str(e, "code"), ==, code);
	if (!strstr(str(e, "desc"), part))
		g_error("'%s' is not in '%s'", part, str(e, "desc"));
	json_object_put(o);
	conn_free(c);
}

json_object *define_args(const char *xml)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "xml", json_object_new_string(xml));
	return o;
}

void define(const struct host *h, const char *xml)
{
	json_object *o = define_args(xml);

	ask_ok(h, "define", NULL, json_object_to_json_string(o));
	json_object_put(o);
}

char *state_of(const struct host *h, const char *vm)
{
	json_object *o = ask(h, "domstate", vm, NULL);
	char *s = g_strdup(str(o, "state"));

	json_object_put(o);
	return s;
}

void wait_for(const struct host *h, const char *vm, const char *state)
{
	g_autofree char *args = g_strdup_printf("{\"state\":\"%s\",\"timeout\":15}", state);

	ask_ok(h, "wait", vm, args);
}

void fake_do(const struct host *h, const char *vm, const char *execute, const char *text)
{
	g_autofree char *name = g_strdup_printf("run/kvmd/vm/%s.qmp", vm);
	g_autofree char *path = host_path(h, name);
	g_autoptr(GError) err = NULL;
	int fd = connect_unix(path, &err);
	json_object *m = json_object_new_object(), *a = json_object_new_object();

	g_assert_no_error(err);
	json_object_object_add(m, "execute", json_object_new_string(execute));
	json_object_object_add(a, "text", json_object_new_string(text ? text : ""));
	json_object_object_add(m, "arguments", a);
	g_assert_true(wire_write_sync(fd, m, NULL, 0, NULL));
	json_object_put(m);
	/* it answers, or it is gone: either ends the read */
	struct wire_reader *r = wire_reader_new(fd);

	if (strcmp(execute, "x-mute"))
		json_object_put(wire_read_sync(r, DEADLINE_MS, NULL, NULL, NULL));
	wire_reader_free(r);
	close(fd);
}

const char *str(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) && v ? json_object_get_string(v) : "";
}

int64_t num(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : -1;
}

json_object *event_wait(struct conn *c, const char *name, const char *vm)
{
	for (;;) {
		json_object *o = conn_read(c), *data;

		json_object_object_get_ex(o, "data", &data);
		if (!strcmp(str(o, "event"), name) && (!vm || !strcmp(str(data, "vm"), vm)))
			return o;
		json_object_put(o);
	}
}

/* --- passt --- */

/* In the background, as passt is when it is ready, until its socket closes; its arguments name the pid file. */
static const char passt[] =
	"#!/bin/sh\n"
	"for a in \"$@\"; do [ \"$before\" != --pid ] || file=$a; before=$a; done\n"
	"sh -c 'cat <&3 >/dev/null; :' passt \"$@\" </dev/null >/dev/null 2>&1 &\n"
	"echo $! >\"$file\"\n";

char *passt_new(void)
{
	char *dir = g_dir_make_tmp("kvmd-passt-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "passt", NULL), *all = g_strdup_printf("%s:%s", dir, g_getenv("PATH"));

	g_assert_true(g_file_set_contents(path, passt, -1, NULL));
	g_assert_cmpint(g_chmod(path, 0755), ==, 0);
	g_assert_cmpint(g_chmod(dir, 0755), ==, 0);
	g_setenv("PATH", all, TRUE);
	return dir;
}

void passt_remove(const char *dir)
{
	remove_tree(dir);
}
