/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvmctl's connection to kvmd. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/paths.h"
#include "daemon/unix.h"
#include "daemon/wire.h"
#include "tools/kvmctl.h"

#define PATIENCE 10             /* s: with thousands of clients before us */
#define SYSTEM_SOCKET "/run/kvmd/control.sock"

struct client {
	const struct call *call;
	int fd;
	struct wire_reader *reader;
};

/* --connect, else the kvmd of this user or --root, else the system's when this user has none of his own. */
static char *socket_path(const struct call *c, GError **err)
{
	static const char *const schemes[] = { "kvmd+unix://", "unix://", "unix:" };
	AUTO(paths) p = NULL;

	if (c->connect) {
		for (size_t i = 0; i < G_N_ELEMENTS(schemes); i++)
			if (g_str_has_prefix(c->connect, schemes[i]))
				return g_strdup(c->connect + strlen(schemes[i]));
		return g_strdup(c->connect);
	}
	p = paths_new(c->root, err);
	if (!p)
		return NULL;
	if (!p->root && access(p->control, F_OK) && !access(SYSTEM_SOCKET, F_OK))
		return g_strdup(SYSTEM_SOCKET);
	return g_strdup(p->control);
}

struct client *client_new(const struct call *call, GError **err)
{
	g_autofree char *path = socket_path(call, err);
	g_autoptr(GError) bad = NULL;
	struct client *c;
	json_object *hello;
	int fd;

	if (!path)
		return NULL;
	fd = connect_unix_wait(path, PATIENCE, &bad);
	if (fd < 0) {
		if (kerr_of(bad) == kerr_row(KERR_ACCESS))
			kerr_set(err, KERR_ACCESS, "no permission for '%s': be root, or a member of the group that kvmd.conf names as socket_group", path);
		else
			kerr_set(err, KERR_CONNECT, "%s: is kvmd running? 'systemctl start kvmd' starts it, --root or --connect name another", bad->message);
		return NULL;
	}
	c = g_new0(struct client, 1);
	c->call = call;
	c->fd = fd;
	c->reader = wire_reader_new(fd);
	hello = wire_read_sync(c->reader, 10000, NULL, NULL, err);
	if (!hello || !wire_check(hello, err)) {
		json_object_put(hello);
		g_prefix_error(err, "'%s': ", path);
		client_free(c);
		return NULL;
	}
	json_object_put(hello);
	return c;
}

void client_free(struct client *c)
{
	if (!c)
		return;
	wire_reader_free(c->reader);
	close(c->fd);
	g_free(c);
}

/* A second connection, which the journal tells how far the machine is. NULL: not to be had; then there are dots. */
static struct client *progress_new(const struct client *c, const char *vm)
{
	struct client *p = vm ? client_new(c->call, NULL) : NULL;
	json_object *args, *reply;

	if (!p)
		return NULL;
	args = json_object_new_object();
	json_object_object_add(args, "follow", json_object_new_boolean(true));
	json_object_object_add(args, "domain", json_object_new_string(vm));
	json_object_object_add(args, "event", json_object_new_string("COMMAND_PROGRESS"));
	reply = client_call(p, "event", NULL, args, NULL, NULL);
	if (!reply)
		g_clear_pointer(&p, client_free);
	json_object_put(reply);
	return p;
}

/* Prints the last one that has come; false: none has. */
static bool progress_tell(struct client *p, const char *what, const char *vm)
{
	json_object *m, *data, *actual, *wanted;
	bool told = false;

	while (p && (m = wire_read_sync(p->reader, 0, NULL, NULL, NULL))) {
		if (json_object_object_get_ex(m, "data", &data) && json_object_object_get_ex(data, "actual", &actual) &&
		    json_object_object_get_ex(data, "wanted", &wanted)) {
			fprintf(stderr, "\r%s %s: %" G_GINT64_FORMAT " MiB, wanted are %" G_GINT64_FORMAT " MiB ", what, vm,
				(gint64)json_object_get_int64(actual) >> 20, (gint64)json_object_get_int64(wanted) >> 20);
			told = true;
		}
		json_object_put(m);
	}
	return told;
}

static json_object *read_patiently(struct client *c, const char *what, const char *vm, int *fd, GError **err)
{
	struct client *progress = NULL;
	bool told = false;

	for (;;) {
		g_autoptr(GError) bad = NULL;
		unsigned n = fd ? 1 : 0;
		json_object *o = wire_read_sync(c->reader, isatty(STDERR_FILENO) ? 1000 : -1, fd, &n, &bad);

		if (fd && (!o || !n))
			*fd = -1;
		if (o || !g_error_matches(bad, kerr_quark(), KERR_TIMEOUT)) {
			if (told)
				fputc('\n', stderr);
			if (bad)
				g_propagate_error(err, g_steal_pointer(&bad));
			client_free(progress);
			return o;
		}
		if (!told) {
			fprintf(stderr, "%s%s%s: waiting ", what, vm ? " " : "", vm ? vm : "");
			progress = progress_new(c, vm);
		} else if (!progress_tell(progress, what, vm)) {
			fputc('.', stderr);
		}
		told = true;
		fflush(stderr);
	}
}

static char interrupted[512];

/* What has been asked for does not end with us. */
static void tell_interrupted(int sig)
{
	(void)!write(STDERR_FILENO, interrupted, strlen(interrupted));
	(void)raise(sig);       /* SA_RESETHAND: ends us when this returns */
}

static void watch_interrupt(const struct client *c, const char *execute, const char *vm)
{
	struct sigaction sa = { .sa_handler = tell_interrupted, .sa_flags = (int)SA_RESETHAND }, old;

	if (!vm || strcmp(execute, c->call->command->name) || (c->call->command->flags & CMD_READ) ||
	    sigaction(SIGINT, NULL, &old) || old.sa_handler != SIG_DFL)
		return;
	g_snprintf(interrupted, sizeof(interrupted), "\n%s: not taken back, it goes on: 'kvmctl event --since 0 --domain %s' tells what becomes of it\n",
		execute, vm);
	(void)sigaction(SIGINT, &sa, NULL);
}

json_object *client_call(struct client *c, const char *execute, const char *vm, json_object *args, int *fd, GError **err)
{
	json_object *m = json_object_new_object(), *reply, *value = NULL;
	g_autoptr(GError) bad = NULL;
	bool sent;

	json_object_object_add(m, "execute", json_object_new_string(execute));
	if (vm)
		json_object_object_add(m, "vm", json_object_new_string(vm));
	if (args)
		json_object_object_add(m, "arguments", args);
	sent = wire_write_sync(c->fd, m, NULL, 0, err);
	json_object_put(m);
	if (!sent)
		return NULL;
	watch_interrupt(c, execute, vm);
	reply = read_patiently(c, execute, vm, fd, &bad);
	if (*interrupted)
		(void)signal(SIGINT, SIG_DFL);
	*interrupted = '\0';
	if (!reply) {
		if (g_error_matches(bad, kerr_quark(), KERR_CONNECT))
			g_prefix_error(&bad, "kvmd has ended, or cut us off, before it answered '%s'; if that has begun it goes on: ask again when kvmd runs: ", execute);
		g_propagate_error(err, g_steal_pointer(&bad));
		return NULL;
	}
	if (wire_check(reply, err) && json_object_object_get_ex(reply, "return", &value))
		value = json_object_get(value);
	json_object_put(reply);
	return value;
}

json_object *client_next(struct client *c, GError **err)
{
	return wire_read_sync(c->reader, -1, NULL, NULL, err);
}
