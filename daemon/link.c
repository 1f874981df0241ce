/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection from kvmd to one worker. */
#include "daemon/link.h"

#include <unistd.h>

#include "daemon/log.h"
#include "daemon/wire.h"
#include "domain/error.h"

#define REPLY_MAX (64u << 20)
#define QUEUE_MAX (64u << 20)

struct call {
	struct link *link;
	uint64_t id;
	char *execute;
	link_reply *fn;
	void *arg;
	guint deadline;
	unsigned timeout;
};

/* What the wire points to: it lives until the wire has ended, the link may go before. */
struct link_end { struct link *link; };

struct link {
	struct link_end *end;
	struct wire *wire;              /* NULL: ended */
	const struct link_ops *ops;
	void *owner;
	GHashTable *calls;              /* by id; owned */
	uint64_t last;
};

static void call_free(gpointer p)
{
	struct call *c = p;

	if (c->deadline)
		g_source_remove(c->deadline);
	g_free(c->execute);
	g_free(c);
}

static void call_end(struct call *c, json_object *reply, const GError *err)
{
	link_reply *fn = c->fn;
	void *arg = c->arg;

	g_hash_table_remove(c->link->calls, &c->id);
	if (fn)
		fn(arg, reply, err);
}

static void fail_all(struct link *l, enum kerr code, const char *why)
{
	while (g_hash_table_size(l->calls)) {
		g_autoptr(GError) err = NULL;
		GHashTableIter it;
		gpointer c;

		g_hash_table_iter_init(&it, l->calls);
		g_hash_table_iter_next(&it, NULL, &c);
		kerr_set(&err, code, "%s: %s", ((struct call *)c)->execute, why);
		call_end(c, NULL, err);
	}
}

static void link_message(struct wire *w, json_object *m, int *fds, unsigned n)
{
	struct link *l = ((struct link_end *)wire_owner(w))->link;
	g_autoptr(GError) err = NULL;
	json_object *v, *data = NULL;
	struct call *c;
	uint64_t id;

	if (l && n == 1 && json_object_object_get_ex(m, "serve", &v)) {
		l->ops->serve(l->owner, json_object_get_uint64(v), fds[0]);
		return;
	}
	for (unsigned i = 0; i < n; i++)        /* workers hand nothing else out */
		close(fds[i]);
	if (!l)
		return;
	if (json_object_object_get_ex(m, "event", &v) && json_object_is_type(v, json_type_string)) {
		const char *name = json_object_get_string(v);
		uint64_t seq = json_object_object_get_ex(m, "seq", &v) ? json_object_get_uint64(v) : 0;

		json_object_object_get_ex(m, "data", &data);
		l->ops->event(l->owner, name, data, seq);
		return;
	}
	if (!json_object_object_get_ex(m, "id", &v))
		return;                         /* the greeting, or an answer to nothing */
	id = json_object_get_uint64(v);
	c = g_hash_table_lookup(l->calls, &id);
	if (!c)
		return;                         /* too late: its caller has been told */
	if (!wire_check(m, &err))
		call_end(c, NULL, err);
	else if (json_object_object_get_ex(m, "return", &v))
		call_end(c, v, NULL);
}

static void link_ended(struct wire *w, const char *why)
{
	struct link_end *end = wire_owner(w);
	struct link *l = end->link;

	g_free(end);
	if (!l)
		return;
	l->wire = NULL;
	l->end = NULL;
	fail_all(l, KERR_CONNECT, why ? why : "the machine's process ended");
	l->ops->closed(l->owner, why);
}

static const struct wire_ops wire_ops = { .message = link_message, .closed = link_ended };

struct link *link_new(int fd, const struct link_ops *ops, void *owner)
{
	struct link *l = g_new0(struct link, 1);

	l->ops = ops;
	l->owner = owner;
	l->calls = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, call_free);
	l->end = g_new(struct link_end, 1);
	l->end->link = l;
	l->wire = wire_new(fd, NULL, &wire_ops, l->end);
	wire_limits(l->wire, REPLY_MAX, QUEUE_MAX);
	return l;
}

void link_free(struct link *l)
{
	if (!l)
		return;
	if (l->wire) {
		l->end->link = NULL;
		wire_close(l->wire, false, NULL);
		l->wire = NULL;
	}
	fail_all(l, KERR_CONNECT, "the machine's process ended");
	g_hash_table_unref(l->calls);
	g_free(l);
}

static gboolean deadline_passed(gpointer data)
{
	struct call *c = data;
	g_autoptr(GError) err = NULL;

	c->deadline = 0;
	kerr_set(&err, KERR_TIMEOUT, "%s: the machine's process did not answer within %u ms: its log may say why, 'kvmctl destroy' ends one that hangs", c->execute, c->timeout);
	call_end(c, NULL, err);
	return G_SOURCE_REMOVE;
}

static gboolean no_wire(gpointer data)
{
	struct call *c = data;
	g_autoptr(GError) err = NULL;

	c->deadline = 0;
	kerr_set(&err, KERR_CONNECT, "%s: the machine's process cannot be reached", c->execute);
	call_end(c, NULL, err);
	return G_SOURCE_REMOVE;
}

void link_call(struct link *l, const char *execute, json_object *args, const int *fds, unsigned n, unsigned timeout_ms,
	link_reply *fn, void *arg)
{
	struct call *c = fn ? g_new0(struct call, 1) : NULL;    /* NULL: nobody waits; a machine that never answers must cost nothing */
	json_object *m = json_object_new_object();

	l->last++;
	json_object_object_add(m, "execute", json_object_new_string(execute));
	if (args)
		json_object_object_add(m, "arguments", args);
	json_object_object_add(m, "id", json_object_new_uint64(l->last));
	if (c) {
		*c = (struct call){ .link = l, .id = l->last, .execute = g_strdup(execute), .fn = fn, .arg = arg, .timeout = timeout_ms };
		g_hash_table_insert(l->calls, &c->id, c);
	}
	if (c && !l->wire)
		c->deadline = g_idle_add(no_wire, c);
	else if (c && timeout_ms)
		c->deadline = g_timeout_add(timeout_ms, deadline_passed, c);
	if (l->wire)
		(void)wire_send(l->wire, m, fds, n);    /* a failure ends the wire, which answers all */
	json_object_put(m);
}
