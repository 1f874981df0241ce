/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands that name a path, or what else only kvmd can open (CMD_OPENS), when they come at the machine's own socket.
 *
 * This process cannot ask kvmd to open anything: its word is worth nothing there. What is worth something is the client's own
 * word. So such a command is left unread in the client's socket, and kvmd gets the socket: it looks who the client is, reads
 * the command itself and does it as if it had come at its own socket (daemon/client_serve.c says why that cannot be forged). Its
 * answer comes by client-served. Until then the client's next commands wait in the socket, also those out of band.
 *
 * Without kvmd nothing is left: the command is read and refused by its own code, as is one that came in pieces, for what
 * has been read here kvmd would not believe. kvmd may end while it has a command: then the client is told so, and whether
 * kvmd had read it tells the queue. One that does not answer any more may still read: so that client's connection ends.
 */
#include "daemon/worker_serve.h"

#include <string.h>
#include <sys/socket.h>

#include "daemon/wire_text.h"
#include "domain/chardev_backend.h"
#include "domain/json.h"

#define READ_SECONDS 30         /* for kvmd to read a command */

struct serve {
	struct worker *worker;
	uint64_t id;
	struct client *kvmd;
	struct waiter *waiter;
	char *text;             /* the command, as it stands in the socket */
	size_t len;
	bool taken;             /* kvmd has read it: it takes as long as it takes */
	guint deadline;         /* until then */
};

/* --- what is kvmd's --- */

static const char *text_of(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string) ? json_object_get_string(v) : NULL;
}

static bool is_path(const char *name)
{
	return name && !g_str_has_prefix(name, "/dev/fdset/");
}

static bool node_opens(json_object *args)
{
	json_object *file;

	return is_path(text_of(args, "filename")) || (json_object_object_get_ex(args, "file", &file) && json_object_is_type(file, json_type_object) &&
		is_path(text_of(file, "filename")));
}

static bool medium_opens(json_object *args)
{
	return is_path(text_of(args, "filename"));
}

static bool dump_opens(json_object *args)
{
	const char *to = text_of(args, "protocol");

	return to && g_str_has_prefix(to, "file:");
}

static bool netdev_opens(json_object *args)
{
	return !g_strcmp0(text_of(args, "type"), "tap") && !text_of(args, "fd");
}

static bool chardev_opens(json_object *args)
{
	struct chardev *like = schema_new(&channel_schema);
	json_object *backend;
	bool opens = json_object_object_get_ex(args, "backend", &backend) && chardev_of_backend(json_object_to_json_string(backend), like, NULL) &&
		chardev_use(like->type, like->source.mode) && !(like->source.path.path && (!is_path(like->source.path.path) || g_str_has_prefix(like->source.path.path, "fd:")));

	schema_free(&channel_schema, like);
	return opens;
}

static const struct { const char *name; bool (*opens)(json_object *args); } openers[] = {
	{ "blockdev-add", node_opens },
	{ "blockdev-change-medium", medium_opens },
	{ "dump-guest-memory", dump_opens },
	{ "netdev_add", netdev_opens },
	{ "chardev-add", chardev_opens },
	{ "chardev-change", chardev_opens },
};

/* The message, new, when it is such a command; NULL: it is not, or is no message. Nearly all are told by their names. */
static json_object *parse(const char *text, size_t len)
{
	bool (*opens)(json_object *) = NULL;
	json_object *m, *args = NULL;
	const char *why;

	for (size_t i = 0; i < G_N_ELEMENTS(openers) && !opens; i++)
		if (memmem(text, len, openers[i].name, strlen(openers[i].name)))
			opens = openers[i].opens;
	if (!opens)
		return NULL;
	m = wire_parse(text, len, true, &why);
	opens = NULL;
	for (size_t i = 0; m && i < G_N_ELEMENTS(openers); i++)
		if (!g_strcmp0(text_of(m, "execute"), openers[i].name))
			opens = openers[i].opens;
	if (opens && json_object_object_get_ex(m, "arguments", &args) && json_object_is_type(args, json_type_object) && opens(args))
		return m;
	json_object_put(m);
	return NULL;
}

/* --- under way --- */

static void serve_free(struct serve *s)
{
	g_ptr_array_remove_fast(s->worker->serves, s);
	if (s->deadline)
		g_source_remove(s->deadline);
	g_free(s->text);
	g_free(s);
}

/* It must not stay, when kvmd has not read it. */
static void read_away(const struct serve *s)
{
	g_autofree char *there = g_malloc(s->len);
	int fd = s->waiter->client ? wire_fd(s->waiter->client->wire) : -1;
	size_t len = s->len;

	if (s->taken || fd < 0 || recv(fd, there, len, MSG_PEEK | MSG_DONTWAIT) != (ssize_t)len || memcmp(there, s->text, len))
		return;
	for (ssize_t n; len && (n = recv(fd, there, len, MSG_DONTWAIT)) > 0;)
		len -= (size_t)n;
}

static void serve_end(struct serve *s, json_object *value, const GError *err)
{
	struct waiter *x = s->waiter;

	serve_free(s);
	waiter_answer(x, value, err);
}

void serve_lost(struct client *c)
{
	GPtrArray *all = c->worker->serves;

	for (unsigned i = all ? all->len : 0; i-- > 0;) {
		struct serve *s = all->pdata[i];
		g_autoptr(GError) err = NULL;

		if (s->kvmd != c)
			continue;
		read_away(s);
		kerr_set(&err, KERR_CONNECT, "kvmd, which opens files for the machine, ended meanwhile: look whether it was done, and try again when kvmd runs");
		serve_end(s, NULL, err);
	}
}

static gboolean silent(gpointer data)
{
	struct serve *s = data;
	struct client *c = s->waiter->client;
	g_autoptr(GError) err = NULL;
	char there[4096];

	/* whatever it reads now must not be a command that waits */
	while (c && recv(wire_fd(c->wire), there, sizeof there, MSG_DONTWAIT) > 0)
		continue;
	kerr_set(&err, KERR_TIMEOUT, "kvmd, which opens files for the machine, has not answered for %d s: look whether it runs; this connection ends", READ_SECONDS);
	s->deadline = 0;
	serve_end(s, NULL, err);
	if (c)
		wire_close(c->wire, true, "kvmd does not answer");
	return G_SOURCE_REMOVE;
}

static struct client *kvmd_of(const struct worker *w)
{
	for (unsigned i = w->clients->len; i-- > 0;) {
		struct client *c = w->clients->pdata[i];

		if (c->internal)
			return c;
	}
	return NULL;
}

static void ask(struct client *c, struct client *kvmd, json_object *m, const char *text, size_t len)
{
	struct worker *w = c->worker;
	struct serve *s = g_new0(struct serve, 1);
	json_object *o = json_object_new_object();
	int fd = wire_fd(c->wire);

	if (!w->serves)
		w->serves = g_ptr_array_new();
	c->id = NULL;
	c->has_id = json_object_object_get_ex(m, "id", &c->id);
	c->journal = NULL;
	*s = (struct serve){ .worker = w, .id = ++w->serves_made, .kvmd = kvmd, .waiter = waiter_new(c), .text = g_memdup2(text, len), .len = len };
	s->deadline = g_timeout_add_seconds(READ_SECONDS, silent, s);
	g_ptr_array_add(w->serves, s);
	json_object_object_add(o, "serve", json_object_new_uint64(s->id));
	(void)wire_send(kvmd->wire, o, &fd, 1);         /* a failure ends the connection: serve_lost */
	json_object_put(o);
}

bool serve_leave(struct client *c, const char *text, size_t len)
{
	json_object *m = c->negotiated && c->worker->created ? parse(text, len) : NULL;
	struct client *kvmd = m ? kvmd_of(c->worker) : NULL;

	if (kvmd) {
		wire_hold(c->wire, true);       /* let go when the client's turn has come, or is over: then it is asked for again */
		if (!c->busy)
			ask(c, kvmd, m, text, len);
	}
	json_object_put(m);
	return kvmd;
}

static enum run_result cmd_served(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_served *a = args;
	json_object *answer, *value = NULL;
	g_autoptr(GError) why = NULL;
	struct serve *s = NULL;

	for (unsigned i = 0; c->worker->serves && i < c->worker->serves->len; i++)
		if (((struct serve *)c->worker->serves->pdata[i])->id == a->serve)
			s = c->worker->serves->pdata[i];
	if (!s || s->kvmd != c)
		return RUN_DONE;        /* the client was told otherwise meanwhile */
	s->taken |= a->taken;
	if (s->taken && s->deadline) {
		g_source_remove(s->deadline);
		s->deadline = 0;
	}
	if (!json_object_object_get_ex(raw, "answer", &answer))
		return RUN_DONE;
	read_away(s);
	if (wire_check(answer, &why) && !json_object_object_get_ex(answer, "return", &value))
		kerr_set(&why, KERR_INTERNAL, "kvmd's answer says nothing");
	serve_end(s, why ? NULL : json_object_get(value), why);
	return RUN_DONE;
}

const struct worker_binding serve_bindings[] = {
	{ "client-served", cmd_served },
	{ NULL },
};
