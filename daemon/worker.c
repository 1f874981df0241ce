/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmd-vm: options, the fence, control connections, dispatch and events. (A long file: connections, their waiters and what is
 * told to all of them are one list.)
 */
#include "daemon/worker.h"
#include "daemon/worker_chardev.h"
#include "daemon/worker_journal.h"
#include "daemon/worker_media.h"
#include "daemon/worker_plug.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glib-unix.h>
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/worker_powerdown.h"
#include "daemon/worker_qmp_agent.h"
#include "daemon/worker_qmp_net.h"
#include "daemon/worker_serve.h"
#include "domain/json.h"
#include "hv/lock.h"
#include "hv/stats.h"
#include "hv/x86/assist_native.h"
#include "hv/x86/host.h"

#define ARENAS 4

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

void worker_changed(struct worker *w, const char *what, const char *device)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "changed", json_object_new_string(what));
	if (device)
		json_object_object_add(o, "device", json_object_new_string(device));
	worker_event(w, "KVMD_MACHINE", o);
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
	stats_vm_set(&w->vm, STAT_VM_FENCE, total);
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
	static const struct worker_binding *const tables[] = {
		qmp_memory_bindings,
		worker_bindings,
		serve_bindings,
		qmp_bindings,
		qmp_dirty_bindings,
		qmp_block_bindings,
		qmp_net_bindings,
		qmp_migrate_bindings,
		qmp_agent_bindings,
		powerdown_bindings,
		plug_bindings,
		plug_update_bindings,
		qmp_device_bindings,
		qmp_media_bindings,
		chardev_bindings,
		chardev_add_bindings,
	};

	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		for (const struct worker_binding *b = tables[i]; b->name; b++)
			if (!strcmp(b->name, name))
				return b;
	return NULL;
}

static const struct command *row_of(const char *name)
{
	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		if (c->where == IN_WORKER && !strcmp(c->name, name))
			return c;
	return NULL;
}

static bool may_run(const struct client *c, const struct command *row, const char *name, GError **err)
{
	if (!row || ((row->flags & CMD_INTERNAL) && !c->internal))
		return kerr_set(err, KERR_NO_COMMAND, "The command %s has not been found", name);
	if (!c->worker->created && !(row->flags & CMD_PREADOPT))
		return kerr_set(err, KERR_STATE, "'%s': there is no machine yet", name);
	return true;
}

/* The first command of a session; what the client may do is settled by it. */
static bool negotiate(struct client *c, json_object *args, GError **err)
{
	json_object *list = NULL;

	if (args) {     /* the macro declares: it needs a block */
		json_object_object_foreach(args, key, v) {
			if (strcmp(key, "enable") || !json_object_is_type(v, json_type_array))
				return kerr_set(err, KERR_ARGS, "qmp_capabilities takes 'enable', a list");
			list = v;
		}
	}
	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		if (g_strcmp0(json_object_get_string(json_object_array_get_idx(list, i)), "oob"))
			return kerr_set(err, KERR_ARGS, "there is no capability %s", json_object_get_string(json_object_array_get_idx(list, i)));
	c->oob = list && json_object_array_length(list);
	c->negotiated = true;
	return true;
}

/* "execute" or "exec-oob": the command's name; *oob tells which. */
static const char *command_of(const struct client *c, json_object *msg, bool *oob, GError **err)
{
	json_object *name = NULL;

	json_object_object_foreach(msg, key, v) {
		bool is_oob = !strcmp(key, "exec-oob") && (c->oob || c->internal);

		if (is_oob || !strcmp(key, "execute")) {
			if (name || !json_object_is_type(v, json_type_string) ||
			    strlen(json_object_get_string(v)) != (size_t)json_object_get_string_len(v))
				return kerr_set(err, KERR_JSON, "a message has one command, and its name is a string"), NULL;
			name = v;
			*oob = is_oob;
		} else if (strcmp(key, "arguments") && strcmp(key, "id")) {
			return kerr_set(err, KERR_JSON, "'%s' has no place in a message", key), NULL;
		}
	}
	if (!name)
		kerr_set(err, KERR_JSON, "the message has no 'execute'");
	return name ? json_object_get_string(name) : NULL;
}

static enum run_result run(struct client *c, json_object *msg, json_object **reply, GError **err)
{
	json_object *args = NULL, *none;
	const struct command *row;
	enum run_result res = RUN_FAILED;
	bool oob = false, given;
	const char *name = command_of(c, msg, &oob, err);
	void *obj = NULL;

	if (!name)
		return RUN_FAILED;
	given = json_object_object_get_ex(msg, "arguments", &args);
	if (given && !json_object_is_type(args, json_type_object))
		return kerr_set(err, KERR_JSON, "'arguments' is not an object"), RUN_FAILED;
	if (!c->negotiated) {
		if (strcmp(name, "qmp_capabilities"))
			return kerr_set(err, KERR_NO_COMMAND, "expecting capabilities negotiation with 'qmp_capabilities'"), RUN_FAILED;
		return negotiate(c, args, err) ? RUN_DONE : RUN_FAILED;
	}
	row = row_of(name);
	if (!may_run(c, row, name, err))
		return RUN_FAILED;
	if (oob && !(row->flags & CMD_READ))
		return kerr_set(err, KERR_ARGS, "'%s' cannot be run out of band: it changes something", name), RUN_FAILED;
	if (row->args) {
		none = json_object_new_object();
		obj = schema_new(row->args);
		if (json_to_struct(row->args, obj, args ? args : none, err))
			res = binding_of(name)->run(c, args, obj, reply, err);
		else
			(void)command_blame(row, err);
		json_object_put(none);
		schema_free(row->args, obj);
		return res;
	}
	if (args && json_object_object_length(args) && strcmp(name, "machine-create"))
		return kerr_set(err, KERR_ARGS, "'%s' takes no arguments", name), RUN_FAILED;
	return binding_of(name)->run(c, args, NULL, reply, err);
}

static void send_answer(struct client *c, bool has_id, json_object *id, json_object *value, const GError *err)
{
	json_object *out = err ? wire_error(id, err) : wire_return(id, value);

	if (has_id && !id)
		json_object_object_add(out, "id", NULL);
	wire_send(c->wire, out, NULL, 0);
	json_object_put(out);
}

struct message {
	json_object *json;
	int fds[WIRE_FDS_MAX];
	unsigned n;
};

static void message_free(struct message *m)
{
	for (unsigned i = 0; i < m->n; i++)
		if (m->fds[i] >= 0)
			close(m->fds[i]);
	json_object_put(m->json);
	g_free(m);
}

/* What kvmd asks for is told by an event too: it may be gone when the answer comes. */
static json_object *journal_begin(const struct client *c, json_object *msg, const struct command **row)
{
	json_object *v, *args = NULL;

	*row = NULL;
	if (!c->internal || !c->worker->created || !json_object_object_get_ex(msg, "execute", &v) || !json_object_is_type(v, json_type_string))
		return NULL;
	*row = row_of(json_object_get_string(v));
	(void)json_object_object_get_ex(msg, "arguments", &args);
	return journal_wants(*row) ? journal_data(*row, args) : NULL;
}

static void journal_end(struct worker *w, json_object *data, const GError *err)
{
	journal_result(data, err);
	worker_event(w, "COMMAND_DONE", data);
}

static void client_run(struct client *c, json_object *msg, int *fds, unsigned n)
{
	const struct command *row;
	json_object *journal = journal_begin(c, msg, &row);
	json_object *reply = NULL;
	g_autoptr(GError) err = NULL;
	enum run_result res;

	c->id = NULL;
	c->has_id = json_object_object_get_ex(msg, "id", &c->id);
	c->fds = fds;
	c->fds_n = n;
	c->journal = journal && !(row->flags & CMD_TELLS) ? journal : NULL;
	res = run(c, msg, &reply, &err);
	c->journal = NULL;
	if (journal && (res == RUN_FAILED || (res == RUN_DONE && !(row->flags & CMD_TELLS))))
		journal_end(c->worker, json_object_get(journal), res == RUN_FAILED ? err : NULL);
	json_object_put(journal);
	for (unsigned i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	c->fds_n = 0;
	if (res == RUN_LATER)
		return;
	send_answer(c, c->has_id, c->id, reply, res == RUN_DONE ? NULL : err);
	/* a worker that cannot become its machine has nothing to stay for */
	if (res == RUN_FAILED && c->internal && !c->worker->created)
		state_exit(c->worker, EXIT_ERROR, false, 0, err->message);
}

/* A client of QMP has its commands answered in order: what follows one that is answered later waits. */
static void client_next(struct client *c)
{
	struct message *m;

	if (c->running)
		return;
	c->running = true;
	while (!c->busy && (m = g_queue_pop_head(&c->held))) {
		unsigned n = m->n;

		m->n = 0;
		client_run(c, m->json, m->fds, n);
		message_free(m);
	}
	c->running = false;
	wire_hold(c->wire, c->held.length >= WORKER_HELD_MAX);
}

static void on_message(struct wire *wire, json_object *msg, int *fds, unsigned n)
{
	struct client *c = wire_owner(wire);
	struct message *m;

	if (c->internal || (c->oob && json_object_object_get_ex(msg, "exec-oob", NULL)) || (!c->busy && !c->running)) {
		client_run(c, msg, fds, n);
		return;
	}
	m = g_new0(struct message, 1);
	m->json = json_object_get(msg);
	memcpy(m->fds, fds, n * sizeof(*fds));
	m->n = n;
	g_queue_push_tail(&c->held, m);
	client_next(c);
}

struct post { struct worker *worker; void (*fn)(struct worker *); };

static gboolean run_post(gpointer data)
{
	const struct post *p = data;

	if (!p->worker->ending)
		p->fn(p->worker);
	return G_SOURCE_REMOVE;
}

void worker_post(struct worker *w, void (*fn)(struct worker *))
{
	struct post *p = g_new(struct post, 1);
	GSource *s = g_idle_source_new();

	*p = (struct post){ w, fn };
	g_source_set_priority(s, G_PRIORITY_DEFAULT);
	g_source_set_callback(s, run_post, p, g_free);
	g_source_attach(s, NULL);
	g_source_unref(s);
}

/* Events are kept, and what is kept must not change any more. */
static json_object *copy_of(json_object *o)
{
	json_object *copy = NULL;

	(void)json_object_deep_copy(o, &copy, NULL);
	return copy;
}

struct waiter *waiter_new(struct client *c)
{
	struct waiter *x = g_new0(struct waiter, 1);

	*x = (struct waiter){ .worker = c->worker, .client = c, .has_id = c->has_id, .id = json_object_get(c->id) };
	c->busy = !c->internal;
	g_ptr_array_add(c->worker->later, x);
	if (c->journal) {
		x->journal = json_object_get(c->journal);
		worker_event(c->worker, "COMMAND_BEGUN", copy_of(c->journal));
	}
	return x;
}

void waiter_drop(struct waiter *x)
{
	g_ptr_array_remove_fast(x->worker->later, x);
	x->client->busy = false;
	json_object_put(x->journal);
	json_object_put(x->id);
	g_free(x);
}

void waiter_answer(struct waiter *x, json_object *value, const GError *err)
{
	struct client *c = x->client;

	g_ptr_array_remove_fast(x->worker->later, x);
	if (x->journal)
		journal_end(x->worker, x->journal, err);
	if (c) {
		send_answer(c, x->has_id, x->id, value, err);
		c->busy = false;
	} else {
		json_object_put(value);
	}
	json_object_put(x->id);
	g_free(x);
	if (c)
		client_next(c);
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
	for (guint i = 0; i < w->later->len; i++)
		if (((struct waiter *)w->later->pdata[i])->client == c)
			((struct waiter *)w->later->pdata[i])->client = NULL;
	serve_lost(c);
	g_ptr_array_remove(w->clients, c);      /* frees it */
	if (!w->created)
		exit(1);        /* kvmd went away before it said what we are */
}

static bool is_busy(struct wire *wire)
{
	const struct client *c = wire_owner(wire);

	return c->busy || c->held.length;
}

static bool on_look(struct wire *wire, const char *text, size_t len)
{
	return serve_leave(wire_owner(wire), text, len);
}

static const struct wire_ops link_callbacks = { on_message, on_garbage, on_closed, is_busy };
static const struct wire_ops client_callbacks = { on_message, on_garbage, on_closed, is_busy, on_look };

static void client_free(gpointer data)
{
	struct client *c = data;

	g_queue_clear_full(&c->held, (GDestroyNotify)message_free);
	if (c->named)
		g_hash_table_unref(c->named);
	g_free(c);
}

static void greet(struct client *c)
{
	json_object *o = json_tokener_parse(
		"{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":0},\"package\":\"kvmd " KVMD_VERSION "\"},\"capabilities\":[\"oob\"]}}");

	wire_send(c->wire, o, NULL, 0);
	json_object_put(o);
}

static struct client *client_new(struct worker *w, int fd, bool internal)
{
	struct client *c = g_new0(struct client, 1);

	c->worker = w;
	c->internal = c->negotiated = internal;
	c->wire = wire_new(fd, NULL, internal ? &link_callbacks : &client_callbacks, c);
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

#define RING_ENTRIES 1024
#define RING_FILES 256          /* images of all disks of a loop */

/* For disks; a host that forbids them is no reason to fail: disks then use threads. */
static void make_rings(struct worker *w, unsigned n)
{
	g_autoptr(GError) err = NULL;

	w->rings = g_new0(struct ring, n);
	while (w->rings_n < n && ring_init(&w->rings[w->rings_n], RING_ENTRIES, RING_FILES, &err))
		w->rings_n++;
	if (err)
		g_printerr("disks use threads: %s\n", err->message);
}

static void usage(FILE *f)
{
	fputs("kvmd-vm: the process of one virtual machine; started by kvmd, not by people\n"
	      "  --fd N                 control socket (default 3)\n"
	      "  --fence=errno|kill|off what a refused system call does (default errno)\n"
	      "  --uid U --gid G        user of this machine\n"
	      "  --empty DIR            mount point for the empty root\n"
	      "  --assist N             make N places to run vector instructions in, for a host that emulates guest kernel code\n"
	      "  --rings N              make N I/O rings for disks\n"
	      "  --probe                print what KVM on descriptor N can do, as JSON\n"
	      "  --version\n", f);
}

static const struct option options[] = {
	{ "fd", required_argument, NULL, 'f' }, { "fence", required_argument, NULL, 'F' },
	{ "uid", required_argument, NULL, 'u' }, { "gid", required_argument, NULL, 'g' },
	{ "empty", required_argument, NULL, 'e' }, { "assist", required_argument, NULL, 'a' }, { "rings", required_argument, NULL, 'r' }, { "probe", no_argument, NULL, 'p' },
	{ "version", no_argument, NULL, 'V' }, { "help", no_argument, NULL, 'h' }, { 0 },
};

int main(int argc, char **argv)
{
	static const char *const fences[] = { "errno", "kill", "off" };
	struct lock_options lock = { .fence = FENCE_ERRNO };
	struct worker w = { .exit_fd = -1 };
	g_autoptr(GError) err = NULL;
	bool want_probe = false;
	unsigned assist = 0, rings = 0;
	int fd = 3, c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'f': fd = atoi(optarg); break;
		case 'u': lock.uid = (uid_t)strtoul(optarg, NULL, 10); break;
		case 'g': lock.gid = (gid_t)strtoul(optarg, NULL, 10); break;
		case 'e': lock.empty = optarg; break;
		case 'a': assist = (unsigned)strtoul(optarg, NULL, 10); break;
		case 'r': rings = (unsigned)strtoul(optarg, NULL, 10); break;
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
	setlocale(LC_CTYPE, "C.UTF-8");
	g_get_charset(NULL);
	json_object_put(json_tokener_parse("{\"seed\":1}"));
	mallopt(M_ARENA_MAX, ARENAS);   /* else malloc reads /sys for the number of CPUs once there are many threads */
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
	if (rings)
		make_rings(&w, MIN(rings, IOTHREADS_RUN + 1u));
	if ((assist && !make_native(&w, MIN(assist, 64), &err)) || !lock_self(&lock, &err)) {
		json_object *o = wire_error(NULL, err);

		wire_write_sync(fd, o, NULL, 0, NULL);
		g_printerr("kvmd-vm: %s\n", err->message);
		return 1;
	}
	w.fds = fdset_new();
	w.clients = g_ptr_array_new_with_free_func(client_free);
	w.later = g_ptr_array_new();
	g_queue_init(&w.events);
	g_unix_fd_add(violation_fd, G_IO_IN, on_violation_fd, &w);
	client_new(&w, fd, true);
	g_main_loop_run(w.loop);
	return 0;
}
