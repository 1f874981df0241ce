/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvmd-vm: options, the fence, control connections, dispatch and events. */
#include "daemon/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glib-unix.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "domain/json.h"
#include "hv/lock.h"
#include "hv/x86/assist_native.h"
#include "hv/x86/host.h"

struct listener {
	struct worker *worker;
	int fd;
	bool internal;
};

static int violation_fd = -1;   /* eventfd: written by the signal handler of a fence violation */

/* --- events --- */

static void client_event(struct client *c, json_object *event)
{
	if (c->negotiated)
		wire_send(c->wire, event, NULL, 0);
}

void worker_event(struct worker *w, const char *name, json_object *data)
{
	json_object *o = wire_event(name, data, ++w->seq);

	g_queue_push_tail(&w->events, o);
	if (g_queue_get_length(&w->events) > WORKER_EVENTS_KEPT)
		json_object_put(g_queue_pop_head(&w->events));
	for (guint i = 0; i < w->clients->len; i++)
		client_event(w->clients->pdata[i], o);
}

static gboolean on_violation_fd(gint fd, GIOCondition cond, gpointer data)
{
	struct worker *w = data;
	uint64_t n, total;
	json_object *o;
	int nr;

	if (read(fd, &n, sizeof n) != sizeof n)
		return G_SOURCE_CONTINUE;
	total = lock_violations(&nr);
	g_printerr("fence: system call %s refused (%" G_GUINT64_FORMAT " so far)\n", lock_syscall_name(nr), total);
	o = json_object_new_object();
	json_object_object_add(o, "syscall", json_object_new_string(lock_syscall_name(nr)));
	json_object_object_add(o, "count", json_object_new_uint64(total));
	worker_event(w, "KVMD_FENCE", o);
	return G_SOURCE_CONTINUE;
}

static void on_violation(int nr)
{
	uint64_t one = 1;

	if (write(violation_fd, &one, sizeof one) < 0)
		return;         /* the counter has it all the same */
}

/* --- dispatch --- */

static const struct worker_binding *binding_of(const char *name)
{
	for (const struct worker_binding *b = worker_bindings; b->name; b++)
		if (!strcmp(b->name, name))
			return b;
	return NULL;
}

static const struct command *row_of(const char *name)
{
	for (const struct command *c = worker_commands; c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

static bool may_run(const struct client *c, const struct command *row, const char *name, GError **err)
{
	if (!row || ((row->flags & CMD_INTERNAL) && !c->internal))
		return kerr_set(err, KERR_NO_COMMAND, "the command '%s' is not known", name);
	if (!c->worker->created && !(row->flags & CMD_PREADOPT))
		return kerr_set(err, KERR_STATE, "'%s': there is no machine yet", name);
	return true;
}

static enum run_result run(struct client *c, json_object *msg, json_object **reply, GError **err)
{
	json_object *name_o = NULL, *args = NULL;
	const struct command *row;
	enum run_result res;
	const char *name;
	void *obj = NULL;

	if ((!json_object_object_get_ex(msg, "execute", &name_o) && !json_object_object_get_ex(msg, "exec-oob", &name_o)) ||
		!json_object_is_type(name_o, json_type_string))
		return kerr_set(err, KERR_JSON, "the message has no 'execute'"), RUN_FAILED;
	name = json_object_get_string(name_o);
	if (json_object_object_get_ex(msg, "arguments", &args) && !json_object_is_type(args, json_type_object))
		return kerr_set(err, KERR_JSON, "'arguments' is not an object"), RUN_FAILED;
	if (!c->negotiated) {
		if (strcmp(name, "qmp_capabilities"))
			return kerr_set(err, KERR_NO_COMMAND, "expecting capabilities negotiation with 'qmp_capabilities'"), RUN_FAILED;
		c->negotiated = true;
		return RUN_DONE;
	}
	row = row_of(name);
	if (!may_run(c, row, name, err))
		return RUN_FAILED;
	if (row->args) {
		obj = schema_new(row->args);
		if (args && !json_to_struct(row->args, obj, args, err)) {
			schema_free(row->args, obj);
			return RUN_FAILED;
		}
	} else if (args && json_object_object_length(args) && strcmp(name, "machine-create")) {
		return kerr_set(err, KERR_ARGS, "'%s' takes no arguments", name), RUN_FAILED;
	}
	res = binding_of(name)->run(c, args, obj, reply, err);
	if (row->args)
		schema_free(row->args, obj);
	return res;
}

static void on_message(struct wire *wire, json_object *msg, int *fds, unsigned n)
{
	struct client *c = wire_owner(wire);
	json_object *reply = NULL, *out;
	g_autoptr(GError) err = NULL;
	enum run_result res;

	c->id = NULL;
	json_object_object_get_ex(msg, "id", &c->id);
	c->fds = fds;
	c->fds_n = n;
	res = run(c, msg, &reply, &err);
	for (unsigned i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	c->fds_n = 0;
	if (res == RUN_LATER)
		return;
	out = res == RUN_DONE ? wire_return(c->id, reply) : wire_error(c->id, err);
	wire_send(wire, out, NULL, 0);
	json_object_put(out);
	/* a worker that cannot become its machine has nothing to stay for */
	if (res == RUN_FAILED && c->internal && !c->worker->created)
		state_exit(c->worker, EXIT_ERROR, false, 0, err->message);
}

static void on_garbage(struct wire *wire, const char *why)
{
	g_autoptr(GError) err = NULL;
	json_object *out;

	kerr_set(&err, KERR_JSON, "the message is %s", why);
	out = wire_error(NULL, err);
	wire_send(wire, out, NULL, 0);
	json_object_put(out);
}

static void on_closed(struct wire *wire, const char *why)
{
	struct client *c = wire_owner(wire);
	struct worker *w = c->worker;

	if (why)
		g_printerr("control connection: %s\n", why);
	state_forget_client(w, c);
	g_ptr_array_remove(w->clients, c);      /* frees it */
	if (!w->created)
		exit(1);        /* kvmd went away before it said what we are */
}

static const struct wire_ops wire_callbacks = { on_message, on_garbage, on_closed };

static void greet(struct client *c)
{
	json_object *o = json_tokener_parse(
		"{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":0},\"package\":\"kvmd\"},\"capabilities\":[\"oob\"]}}");

	wire_send(c->wire, o, NULL, 0);
	json_object_put(o);
}

static struct client *client_new(struct worker *w, int fd, bool internal)
{
	struct client *c = g_new0(struct client, 1);

	c->worker = w;
	c->internal = c->negotiated = internal;
	c->wire = wire_new(fd, NULL, &wire_callbacks, c);
	wire_limits(c->wire, internal ? WIRE_LINE_MAX : 1u << 20, WORKER_CLIENT_QUEUE);
	g_ptr_array_add(w->clients, c);
	if (!internal)
		greet(c);
	return c;
}

static gboolean on_connect(gint fd, GIOCondition cond, gpointer data)
{
	struct listener *l = data;
	int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (s < 0)
		return G_SOURCE_CONTINUE;
	if (l->worker->clients->len >= WORKER_CLIENTS_MAX) {
		g_printerr("control connection refused: %u are open\n", WORKER_CLIENTS_MAX);
		close(s);
		return G_SOURCE_CONTINUE;
	}
	client_new(l->worker, s, l->internal);
	return G_SOURCE_CONTINUE;
}

bool worker_listen(struct worker *w, const char *fd_name, bool internal, GError **err)
{
	struct listener *l;
	int fd = fdset_take(w->fds, fd_name, err);

	if (fd < 0)
		return false;
	l = g_new0(struct listener, 1);         /* lives as long as the process */
	*l = (struct listener){ w, fd, internal };
	g_unix_set_fd_nonblocking(fd, TRUE, NULL);
	g_unix_fd_add(fd, G_IO_IN, on_connect, l);
	return true;
}

/* --- main --- */

static int probe(int kvm)
{
	struct host_info info;
	g_autoptr(GError) err = NULL;
	json_object *o;

	schema_init(&host_info_schema, &info);
	if (!host_probe(kvm, &info, &err)) {
		o = wire_error(NULL, err);
		puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
		return kerr_of(err)->exit;
	}
	o = json_from_struct(&host_info_schema, &info, JSON_ALL);
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN));
	return 0;
}

/* Pages to run vector instructions in for guests of a host that emulates kernel code: they must be there before the
 * fence, which forbids executable memory. */
static bool make_native(struct worker *w, unsigned n, GError **err)
{
	int rc = assist_native_signals();

	w->native = g_new0(struct assist_native *, n);
	for (w->native_n = 0; !rc && w->native_n < n; w->native_n++)
		rc = assist_native_new(&w->native[w->native_n]);
	return !rc || kerr_errno(err, -rc, "make %u places to run vector instructions in", n);
}

static void usage(FILE *f)
{
	fputs("kvmd-vm: the process of one virtual machine; started by kvmd, not by people\n"
	      "  --fd N                 control socket (default 3)\n"
	      "  --fence=errno|kill|off what a refused system call does (default errno)\n"
	      "  --uid U --gid G        user of this machine\n"
	      "  --empty DIR            mount point for the empty root\n"
	      "  --assist N             make N places to run vector instructions in, for a host that emulates guest kernel code\n"
	      "  --probe                print what KVM on descriptor N can do, as JSON\n"
	      "  --version\n", f);
}

static const struct option options[] = {
	{ "fd", required_argument, NULL, 'f' }, { "fence", required_argument, NULL, 'F' },
	{ "uid", required_argument, NULL, 'u' }, { "gid", required_argument, NULL, 'g' },
	{ "empty", required_argument, NULL, 'e' }, { "assist", required_argument, NULL, 'a' }, { "probe", no_argument, NULL, 'p' },
	{ "version", no_argument, NULL, 'V' }, { "help", no_argument, NULL, 'h' }, { 0 },
};

int main(int argc, char **argv)
{
	static const char *const fences[] = { "errno", "kill", "off" };
	struct lock_options lock = { .fence = FENCE_ERRNO };
	struct worker w = { .exit_fd = -1 };
	g_autoptr(GError) err = NULL;
	bool want_probe = false;
	unsigned assist = 0;
	int fd = 3, c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'f': fd = atoi(optarg); break;
		case 'u': lock.uid = (uid_t)strtoul(optarg, NULL, 10); break;
		case 'g': lock.gid = (gid_t)strtoul(optarg, NULL, 10); break;
		case 'e': lock.empty = optarg; break;
		case 'a': assist = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'p': want_probe = true; break;
		case 'V': puts("kvmd-vm " KVMD_VERSION); return 0;
		case 'h': usage(stdout); return 0;
		case 'F':
			for (lock.fence = 0; lock.fence < G_N_ELEMENTS(fences) && strcmp(optarg, fences[lock.fence]);)
				lock.fence++;
			if (lock.fence < G_N_ELEMENTS(fences))
				break;
			/* fall through */
		default: usage(stderr); return 2;
		}
	}
	/* what libraries would open or ask later, now: the locale's tables, hash seeds */
	setlocale(LC_ALL, "C.UTF-8");
	g_get_charset(NULL);
	json_object_put(json_tokener_parse("{\"seed\":1}"));
	signal(SIGPIPE, SIG_IGN);
	violation_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w.loop = g_main_loop_new(NULL, FALSE);  /* makes its wake-up descriptor */
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
		g_printerr("kvmd-vm: descriptor %d is not open; this program is started by kvmd\n", fd);
		return 2;
	}
	close_range((unsigned)MAX(fd, violation_fd) + 16, ~0u, 0);
	if (want_probe)
		return probe(fd);
	lock_on_violation(on_violation);
	if ((assist && !make_native(&w, MIN(assist, 64), &err)) || !lock_self(&lock, &err)) {
		json_object *o = wire_error(NULL, err);

		wire_write_sync(fd, o, NULL, 0, NULL);
		g_printerr("kvmd-vm: %s\n", err->message);
		return 1;
	}
	w.fds = fdset_new();
	w.clients = g_ptr_array_new_with_free_func(g_free);
	g_queue_init(&w.events);
	g_unix_fd_add(violation_fd, G_IO_IN, on_violation_fd, &w);
	client_new(&w, fd, true);
	g_main_loop_run(w.loop);
	return 0;
}
