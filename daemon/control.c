/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.sock.
 *
 * Theory of operation: a peer has a queue of messages and at most one request under way; the next is taken when it has
 * been answered, so that `define` and `start` sent in one go work. A peer that sends on is held after QUEUE_MAX messages.
 * Out of descriptors: a spare one is given up to accept, say so and close, or the listener would spin.
 */
#include "daemon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <grp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/auth.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/launch.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/supervise.h"
#include "daemon/unix.h"
#include "daemon/wire.h"
#include "domain/json.h"

#define QUEUE_MAX 64
#define BACKLOG 1024
#define BYTES_OUT (64u << 20)           /* unread by a client: it is cut off */
#define ACCEPTS_A_TURN 64
#define CUT_OFFS_A_SECOND 10            /* lines in the log */

struct peer {
	struct control *control;
	struct wire *wire;
	struct auth who;
	GQueue queue;                   /* json_object: messages not yet run */
	struct request *request;        /* under way */
	bool running;                   /* in peer_next: no recursion */
	void *stream;                   /* NULL: none */
	bool stream_over;
	void (*stream_free)(void *);
};

struct control {
	struct kvmd *kvmd;
	int fd, spare;
	bool ours;                      /* we made the socket: remove it at the end */
	int64_t told_second;            /* of the clients that were cut off: in which second, how many got a line, how many none */
	unsigned told, untold;
	guint source;
	GPtrArray *peers;
	bool full;                      /* told once until there is room again */
};

static void peer_next(struct peer *);

/* --- answers --- */

static void request_free(struct request *r)
{
	if (r->peer)
		r->peer->request = NULL;
	if (r->command && r->command->args)
		schema_free(r->command->args, r->args);
	json_object_put(r->raw);
	json_object_put(r->id);
	dom_unref(r->dom);
	g_free(r);
}

static void request_send(struct request *r, json_object *message, const int *fds, unsigned n)
{
	struct peer *p = r->peer;

	if (p)
		(void)wire_send(p->wire, message, fds, n);      /* a failure ends the connection */
	if (r->served)
		r->served(r->served_arg, message);
	json_object_put(message);
	request_free(r);
	if (p)
		peer_next(p);
}

void request_reply_json(struct request *r, json_object *value, const int *fds, unsigned n)
{
	request_send(r, wire_return(r->id, value), fds, n);
}

void request_reply(struct request *r, const void *reply)
{
	request_reply_json(r, reply ? json_from_struct(r->command->reply, reply, JSON_ALL | JSON_SECRETS) : NULL, NULL, 0);
}

void request_fail(struct request *r, const GError *err)
{
	g_autoptr(GError) told = g_error_copy(err);

	if (r->dom && !r->served)
		g_prefix_error(&told, "vm '%s': ", r->dom->name);
	request_send(r, wire_error(r->id, told), NULL, 0);
}

struct wire *request_wire(struct request *r)
{
	return r->peer ? r->peer->wire : NULL;
}

void request_stream(struct request *r, void *stream, void (*free_fn)(void *))
{
	struct peer *p = r->peer;

	if (p->stream)
		p->stream_free(p->stream);
	p->stream = stream;
	p->stream_free = free_fn;
	p->stream_over = false;
}

void request_stream_over(struct wire *w)
{
	((struct peer *)wire_owner(w))->stream_over = true;
}

/* --- running --- */

static void forwarded(void *arg, json_object *reply, const GError *err)
{
	struct request *r = arg;

	if (err)
		request_fail(r, err);
	else
		request_reply_json(r, json_object_get(reply), NULL, 0);
}

/* Commands in which the guest has part say how many seconds it may take. */
static unsigned patience(const struct request *r)
{
	const struct field *f = r->args ? schema_field(r->command->args, "timeout") : NULL;

	return f && f->size == sizeof(uint32_t) ? *(const uint32_t *)field_at(f, r->args) * 1000 : 0;
}

void request_forward(struct request *r, const int *fds, unsigned n)
{
	g_autoptr(GError) err = NULL;

	if (!dom_can_ask(r->dom, &err)) {
		request_fail(r, err);
		return;
	}
	link_call(r->dom->link, r->command->name, r->raw ? json_object_get(r->raw) : NULL, fds, n, r->kvmd->config->answer_timeout + patience(r), forwarded, r);
}

static const struct command *row_of(const char *name)
{
	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		if (!strcmp(c->name, name) && c->where != IN_CLIENT && !(c->flags & CMD_INTERNAL))
			return c;
	return NULL;
}

static bool read_args(struct request *r, GError **err)
{
	const struct command *c = r->command;

	if (r->raw && !json_object_is_type(r->raw, json_type_object))
		return kerr_set(err, KERR_ARGS, "'arguments' must be an object");
	if (!c->args) {
		if (r->raw && json_object_object_length(r->raw))
			return kerr_set(err, KERR_ARGS, "'%s' takes no arguments", c->name);
		return true;
	}
	r->args = schema_new(c->args);
	if (r->raw ? json_to_struct(c->args, r->args, r->raw, err) : schema_check(c->args, r->args, err))
		return true;
	return command_blame(c, err);
}

static bool read_request(struct request *r, json_object *m, GError **err)
{
	json_object *v;
	const char *name;

	if (json_object_object_get_ex(m, "id", &v))
		r->id = json_object_get(v);
	if ((!json_object_object_get_ex(m, "execute", &v) && !json_object_object_get_ex(m, "exec-oob", &v)) || !json_object_is_type(v, json_type_string))
		return kerr_set(err, KERR_JSON, "a message needs \"execute\" with the name of a command");
	name = json_object_get_string(v);
	json_object_object_foreach(m, key, value) {
		static const char *const known[] = { "execute", "exec-oob", "arguments", "id", "vm", NULL };

		(void)value;
		if (!g_strv_contains(known, key))
			return kerr_set(err, KERR_JSON, "'%s' has no place in a message", key);
	}
	r->command = row_of(name);
	if (!r->command)
		return kerr_set(err, KERR_NO_COMMAND, "there is no command '%s'", name);
	if (json_object_object_get_ex(m, "arguments", &v))
		r->raw = json_object_get(v);
	if (!read_args(r, err))
		return false;
	bool wants = (r->command->flags & CMD_VM) || r->command->where == IN_WORKER;

	if (json_object_object_get_ex(m, "vm", &v)) {
		if (!wants)
			return kerr_set(err, KERR_ARGS, "'%s' is not about one domain: leave \"vm\" out", name);
		if (!json_object_is_type(v, json_type_string))
			return kerr_set(err, KERR_ARGS, "\"vm\" is a name, a uuid or a number, as a string");
		struct dom *d = doms_find(r->kvmd->doms, json_object_get_string(v), err);

		if (!d)
			return false;
		r->dom = dom_ref(d);
	} else if (wants) {
		return kerr_set(err, KERR_ARGS, "'%s' needs \"vm\", the name or uuid of a domain", name);
	}
	return true;
}

static bool run_here(struct request *r, const struct command_binding *const *tables)
{
	for (size_t i = 0; tables[i]; i++)
		for (const struct command_binding *b = tables[i]; b->name; b++)
			if (!strcmp(b->name, r->command->name)) {
				b->run(r);
				return true;
			}
	return false;
}

static void run(struct peer *p, json_object *m)
{
	struct request *r = g_new0(struct request, 1);
	g_autoptr(GError) err = NULL;
	json_object *v;

	r->kvmd = p->control->kvmd;
	r->peer = p;
	p->request = r;
	/* QMP clients begin with this; here it is welcome and not needed */
	if (json_object_object_get_ex(m, "execute", &v) && !g_strcmp0(json_object_get_string(v), "qmp_capabilities")) {
		r->id = json_object_object_get_ex(m, "id", &v) ? json_object_get(v) : NULL;
		request_reply_json(r, NULL, NULL, 0);
		return;
	}
	if (!read_request(r, m, &err)) {
		request_fail(r, err);
		return;
	}
	if (!(r->command->flags & CMD_READ)) {
		g_autofree char *who = auth_text(&p->who);

		log_info("%s: %s%s%s", who, r->command->name, r->dom ? " " : "", r->dom ? r->dom->name : "");
	}
	if (run_here(r, r->command->where == IN_WORKER ? kvmd_opening : kvmd_bindings))
		return;
	if (r->command->where == IN_WORKER) {
		request_forward(r, NULL, 0);
		return;
	}
	kerr_set(&err, KERR_INTERNAL, "'%s' has no code", r->command->name);
	request_fail(r, err);
}

void request_serve(struct dom *d, json_object *m, const char *who, void (*fn)(void *, json_object *), void *arg)
{
	struct request *r = g_new0(struct request, 1);
	g_autoptr(GError) err = NULL;

	r->kvmd = d->kvmd;
	r->served = fn;
	r->served_arg = arg;
	if (json_object_object_get_ex(m, "vm", NULL)) {
		kerr_set(&err, KERR_JSON, "'vm' has no place in a message to a machine");
	} else {
		json_object_object_add(m, "vm", json_object_new_string(d->uuid));
		if (read_request(r, m, &err) && !(r->command->flags & CMD_OPENS))
			kerr_set(&err, KERR_INTERNAL, "'%s' is the machine's own", r->command->name);
	}
	if (err) {
		request_fail(r, err);
		return;
	}
	log_info("%s at %s's socket: %s", who, d->name, r->command->name);
	if (!run_here(r, kvmd_opening))
		request_forward(r, NULL, 0);
}

static void peer_next(struct peer *p)
{
	json_object *m;

	if (p->running)
		return;
	p->running = true;
	while (!p->request && (m = g_queue_pop_head(&p->queue))) {
		run(p, m);
		json_object_put(m);
	}
	p->running = false;
	wire_hold(p->wire, p->queue.length >= QUEUE_MAX);
}

/* --- connections --- */

static void peer_message(struct wire *w, json_object *m, int *fds, unsigned n)
{
	struct peer *p = wire_owner(w);

	for (unsigned i = 0; i < n; i++)        /* no command of kvmd takes any yet */
		close(fds[i]);
	g_queue_push_tail(&p->queue, json_object_get(m));
	peer_next(p);
}

static void peer_garbage(struct wire *w, const char *why)
{
	g_autoptr(GError) err = NULL;
	json_object *o;

	kerr_set(&err, KERR_JSON, "the message is %s", why);
	o = wire_error(NULL, err);
	(void)wire_send(w, o, NULL, 0);
	json_object_put(o);
}

/* A crowd that leaves at once is a few lines and a number. */
static void tell_cut_off(struct peer *p, const char *why)
{
	struct control *c = p->control;
	g_autofree char *who = auth_text(&p->who);
	int64_t second = g_get_monotonic_time() / G_USEC_PER_SEC;

	if (second != c->told_second) {
		if (c->untold)
			log_info("control.sock: %u more clients were cut off", c->untold);
		c->told_second = second;
		c->told = c->untold = 0;
	}
	if (c->told++ < CUT_OFFS_A_SECOND)
		log_info("%s: cut off: %s", who, why);
	else
		c->untold++;
}

static void peer_closed(struct wire *w, const char *why)
{
	struct peer *p = wire_owner(w);
	struct request *r = p->request;

	if (why)
		tell_cut_off(p, why);
	if (p->stream)
		p->stream_free(p->stream);
	p->stream = NULL;
	while (!g_queue_is_empty(&p->queue))
		json_object_put(g_queue_pop_head(&p->queue));
	if (r) {
		r->peer = NULL;
		if (r->gone)
			r->gone(r);
	}
	g_ptr_array_remove_fast(p->control->peers, p);
	p->control->full = false;
	g_free(p);
}

static bool peer_busy(struct wire *w)
{
	const struct peer *p = wire_owner(w);

	return p->request || p->queue.length || (p->stream && !p->stream_over);
}

static const struct wire_ops wire_callbacks = { peer_message, peer_garbage, peer_closed, peer_busy };

static json_object *greeting(void)
{
	json_object *o = json_tokener_parse("{\"QMP\":{\"version\":{\"qemu\":{\"major\":7,\"minor\":2,\"micro\":0},\"package\":\"kvmd " KVMD_VERSION "\"},"
		"\"capabilities\":[]}}");

	return o;
}

static void refuse(int fd, enum kerr code, const char *why)
{
	g_autoptr(GError) err = NULL;
	g_autofree char *line = NULL;
	json_object *o;

	kerr_set(&err, code, "%s", why);
	o = wire_error(NULL, err);
	line = g_strconcat(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN), "\n", NULL);
	(void)!send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);       /* best effort: it goes anyway */
	json_object_put(o);
	close(fd);
}

static void peer_new(struct control *c, int fd)
{
	struct peer *p;
	json_object *hello;

	if (c->peers->len >= c->kvmd->config->connections_max) {
		if (!c->full)
			log_warning("control.sock: %u clients, the limit: more are refused", c->peers->len);
		c->full = true;
		refuse(fd, KERR_LIMIT, "kvmd serves its limit of clients already: raise connections_max in kvmd.conf");
		return;
	}
	p = g_new0(struct peer, 1);
	p->control = c;
	auth_of_socket(fd, &p->who);
	g_queue_init(&p->queue);
	g_ptr_array_add(c->peers, p);
	p->wire = wire_new(fd, NULL, &wire_callbacks, p);
	wire_limits(p->wire, WIRE_LINE_MAX, BYTES_OUT);
	hello = greeting();
	(void)wire_send(p->wire, hello, NULL, 0);
	json_object_put(hello);
}

static gboolean acceptable(gint fd, GIOCondition cond, gpointer data)
{
	struct control *c = data;

	for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
		int s = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (s >= 0) {
			peer_new(c, s);
			continue;
		}
		if (errno == EINTR || errno == ECONNABORTED)
			continue;
		if (errno != EMFILE && errno != ENFILE)
			break;
		if (!c->full)
			log_error("control.sock: out of file descriptors: clients are turned away");
		c->full = true;
		close(c->spare);
		s = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (s >= 0)
			refuse(s, KERR_LIMIT, "kvmd is out of file descriptors");
		c->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (s < 0)
			break;
	}
	return G_SOURCE_CONTINUE;
}

/* systemd hands the socket over as descriptor 3. */
static int activated(void)
{
	const char *pid = g_getenv("LISTEN_PID"), *n = g_getenv("LISTEN_FDS");
	int type;
	socklen_t len = sizeof type;

	if (!pid || !n || strtol(pid, NULL, 10) != getpid() || strtol(n, NULL, 10) < 1)
		return -1;
	if (getsockopt(3, SOL_SOCKET, SO_ACCEPTCONN, &type, &len) < 0 || !type)
		return -1;
	(void)fcntl(3, F_SETFD, FD_CLOEXEC);
	g_unix_set_fd_nonblocking(3, TRUE, NULL);
	return 3;
}

static bool set_owner(const struct config *conf, const char *path, GError **err)
{
	struct group *g;

	if (!conf->socket_group)
		return true;
	g = getgrnam(conf->socket_group);
	if (!g)
		return kerr_set(err, KERR_ARGS, "kvmd.conf: there is no group '%s' (socket_group)", conf->socket_group);
	if (chown(path, (uid_t)-1, g->gr_gid) < 0)
		return kerr_errno(err, errno, "give '%s' to group '%s'", path, conf->socket_group);
	return true;
}

struct control *control_new(struct kvmd *k, GError **err)
{
	struct control *c = g_new0(struct control, 1);

	c->kvmd = k;
	c->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	c->peers = g_ptr_array_new();
	c->fd = activated();
	if (c->fd >= 0)
		return c;
	c->fd = listen_unix(k->paths->control, (unsigned)strtoul(k->config->socket_mode, NULL, 8) & 0777, BACKLOG, err);
	c->ours = c->fd >= 0;
	if (c->fd < 0 || !set_owner(k->config, k->paths->control, err)) {
		control_free(c);
		return NULL;
	}
	return c;
}

void control_open(struct control *c)
{
	c->source = g_unix_fd_add(c->fd, G_IO_IN, acceptable, c);
}

char *control_path(const struct control *c)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t len = sizeof at;

	if (getsockname(c->fd, (struct sockaddr *)&at, &len) < 0 || len <= offsetof(struct sockaddr_un, sun_path) || !at.sun_path[0])
		return g_strdup("without a name");
	return g_strndup(at.sun_path, len - offsetof(struct sockaddr_un, sun_path));
}

void control_free(struct control *c)
{
	if (!c)
		return;
	if (c->source)
		g_source_remove(c->source);
	if (c->fd >= 0)
		close(c->fd);
	if (c->ours)
		(void)unlink(c->kvmd->paths->control);
	for (unsigned i = 0; i < c->peers->len; i++)
		wire_close(((struct peer *)g_ptr_array_index(c->peers, i))->wire, true, NULL);
	for (unsigned turns = 0; c->peers->len && turns < 1000; turns++)        /* clients that read get their last answer */
		if (!g_main_context_iteration(NULL, FALSE))
			break;
	if (c->spare >= 0)
		close(c->spare);
	g_ptr_array_unref(c->peers);
	g_free(c);
}
