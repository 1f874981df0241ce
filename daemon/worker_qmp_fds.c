/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptors that a QMP client hands over: by name (getfd; the client's own, gone with it) and in numbered sets (add-fd;
 * the machine's).
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/worker_qmp.h"
#include "daemon/worker_serve.h"
#include "domain/json.h"

#define NAMED_MAX 64            /* of one client */
#define SETS_MAX 256

static void set_free(gpointer data)
{
	struct qmp_fdset *s = data;

	for (unsigned i = 0; i < s->fds->len; i++) {
		struct qmp_fd *f = s->fds->pdata[i];

		close((int)f->fd);
		g_free(f->opaque);
		g_free(f);
	}
	g_ptr_array_unref(s->fds);
	g_free(s);
}

/* The one descriptor of the message, now the caller's. */
static int take_one(struct client *c, GError **err)
{
	int fd;

	if (c->fds_n != 1)
		return kerr_set(err, KERR_ARGS, "one descriptor must come along with the message, not %u", c->fds_n), -1;
	fd = c->fds[0];
	c->fds[0] = -1;
	return fd;
}

static void close_named(gpointer value)
{
	close(GPOINTER_TO_INT(value) - 1);
}

QMP(getfd)
{
	const struct args_fdname *a = args;
	int fd;

	if (!c->named)
		c->named = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_named);
	if (g_hash_table_size(c->named) >= NAMED_MAX && !g_hash_table_contains(c->named, a->name))
		return kerr_set(err, KERR_LIMIT, "%u descriptors are kept already", NAMED_MAX), RUN_FAILED;
	fd = take_one(c, err);
	if (fd < 0)
		return RUN_FAILED;
	g_hash_table_replace(c->named, g_strdup(a->name), GINT_TO_POINTER(fd + 1));
	return RUN_DONE;
}

int client_take_fd(struct client *c, const char *name, GError **err)
{
	gpointer key, value;

	if (c->internal && c->fds_n == 1)       /* what kvmd opened comes along */
		return take_one(c, err);
	if (!c->named || !g_hash_table_steal_extended(c->named, name, &key, &value))
		return kerr_set(err, KERR_NO_FILE, "there is no descriptor '%s': give it by getfd", name), -1;
	g_free(key);
	return GPOINTER_TO_INT(value) - 1;
}

QMP(closefd)
{
	const struct args_fdname *a = args;
	int fd = client_take_fd(c, a->name, err);

	if (fd < 0)
		return RUN_FAILED;
	close(fd);
	return RUN_DONE;
}

static struct qmp_fdset *set_by_id(const struct worker *w, int64_t id)
{
	for (unsigned i = 0; w->fdsets && i < w->fdsets->len; i++) {
		struct qmp_fdset *s = w->fdsets->pdata[i];

		if (s->id == id)
			return s;
	}
	return NULL;
}

static struct qmp_fdset *set_new(struct worker *w, int64_t id, GError **err)
{
	struct qmp_fdset *s;

	if (!w->fdsets)
		w->fdsets = g_ptr_array_new_with_free_func(set_free);
	if (w->fdsets->len >= SETS_MAX)
		return kerr_set(err, KERR_LIMIT, "there are %u sets already", SETS_MAX), NULL;
	for (int64_t i = 0; id < 0; i++)
		if (!set_by_id(w, i))
			id = i;
	s = g_new0(struct qmp_fdset, 1);
	s->id = id;
	s->fds = g_ptr_array_new();
	g_ptr_array_add(w->fdsets, s);
	return s;
}

QMP(add_fd)
{
	const struct args_add_fd *a = args;
	struct qmp_fdset *s = set_by_id(c->worker, a->set);
	struct tell_add_fd t;
	struct qmp_fd *f;
	int fd;

	if (s && s->fds->len >= SETS_MAX)
		return kerr_set(err, KERR_LIMIT, "the set holds %u descriptors already", SETS_MAX), RUN_FAILED;
	fd = take_one(c, err);
	if (fd < 0)
		return RUN_FAILED;
	if (!s)
		s = set_new(c->worker, a->set, err);
	if (!s) {
		close(fd);
		return RUN_FAILED;
	}
	f = g_new0(struct qmp_fd, 1);
	*f = (struct qmp_fd){ fd, g_strdup(a->opaque) };
	g_ptr_array_add(s->fds, f);
	t = (struct tell_add_fd){ s->id, fd };
	*reply = json_from_struct(&tell_add_fd_schema, &t, JSON_ALL);
	return RUN_DONE;
}

QMP(remove_fd)
{
	const struct args_remove_fd *a = args;
	struct qmp_fdset *s = set_by_id(c->worker, a->set);

	for (unsigned i = 0; s && a->fd >= 0 && i < s->fds->len; i++) {
		struct qmp_fd *f = s->fds->pdata[i];

		if (f->fd != a->fd)
			continue;
		close((int)f->fd);
		g_free(f->opaque);
		g_free(f);
		g_ptr_array_remove_index(s->fds, i);
		if (!s->fds->len)
			g_ptr_array_remove(c->worker->fdsets, s);
		return RUN_DONE;
	}
	if (!s || a->fd >= 0)
		return kerr_set(err, KERR_NO_FILE, "there is no such descriptor in a set %d", (int)a->set), RUN_FAILED;
	g_ptr_array_remove(c->worker->fdsets, s);
	return RUN_DONE;
}

QMP(query_fdsets)
{
	const GPtrArray *sets = c->worker->fdsets;

	*reply = json_object_new_array();
	for (unsigned i = 0; sets && i < sets->len; i++)
		json_object_array_add(*reply, json_from_struct(&qmp_fdset_schema, sets->pdata[i], JSON_ALL));
	return RUN_DONE;
}

int qmp_fd_of_set(const struct worker *w, const char *filename, bool readonly, GError **err)
{
	unsigned id;
	int end = 0;

	if (!filename || sscanf(filename, "/dev/fdset/%u%n", &id, &end) != 1 || filename[end])
		return kerr_set(err, KERR_UNSUPPORTED, "'%s': " SERVE_NOT "start it, or hand the descriptor over by add-fd and write filename=/dev/fdset/N",
			filename ? filename : ""), -1;
	for (unsigned i = 0; w->fdsets && i < w->fdsets->len; i++) {
		const struct qmp_fdset *s = w->fdsets->pdata[i];

		for (unsigned k = 0; s->id == id && k < s->fds->len; k++) {
			int fd = (int)((const struct qmp_fd *)s->fds->pdata[k])->fd, flags = fcntl(fd, F_GETFL);

			if (flags >= 0 && (readonly || (flags & O_ACCMODE) == O_RDWR))
				return fcntl(fd, F_DUPFD_CLOEXEC, 0);
		}
	}
	return kerr_set(err, KERR_NO_FILE, "set %u has no descriptor that is open for %s", id, readonly ? "reading" : "reading and writing"), -1;
}
