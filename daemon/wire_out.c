/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A wire's output: a queue of chunks, each with its descriptors on its first byte. */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/wire_private.h"

#define BATCH 64                /* chunks handed to the socket at once */

void wire_chunk_free(struct wire_chunk *c)
{
	wire_fds_close(c->fds, &c->fds_n);
	g_free(c->fds);
	if (c->shared)
		g_bytes_unref(c->shared);
	else
		g_free((char *)c->data);
	g_free(c);
}

struct wire_chunk *wire_chunk_new(json_object *msg)
{
	struct wire_chunk *c = g_new0(struct wire_chunk, 1);
	size_t len;
	const char *s = json_object_to_json_string_length(msg, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	char *text = g_malloc(len + 1);

	memcpy(text, s, len);
	text[len] = '\n';
	c->data = text;
	c->len = len + 1;
	return c;
}

ssize_t wire_send_some(int fd, const struct wire_chunk *c, int flags)
{
	union { char buf[CMSG_SPACE(sizeof(int) * WIRE_FDS_MAX)]; struct cmsghdr align; } control;
	struct iovec v = { (char *)c->data + c->sent, c->len - c->sent };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (c->fds_n && !c->sent) {
		memset(&control, 0, sizeof control);
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * c->fds_n);
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);

		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(sizeof(int) * c->fds_n);
		memcpy(CMSG_DATA(h), c->fds, sizeof(int) * c->fds_n);
	}
	return sendmsg(fd, &m, flags | MSG_NOSIGNAL);
}

/* The first chunks of the queue in one go: those without descriptors. */
static ssize_t send_batch(int fd, GQueue *out)
{
	struct iovec v[BATCH];
	struct msghdr m = { .msg_iov = v };

	for (GList *l = out->head; l && m.msg_iovlen < BATCH; l = l->next) {
		const struct wire_chunk *c = l->data;

		if (c->fds_n)
			break;
		v[m.msg_iovlen++] = (struct iovec){ (char *)c->data + c->sent, c->len - c->sent };
	}
	return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* n bytes of the queue have gone out. */
static void wire_sent(struct wire *w, size_t n)
{
	w->queued -= n;
	for (struct wire_chunk *c; n && (c = g_queue_peek_head(&w->out));) {
		size_t part = MIN(n, c->len - c->sent);

		c->sent += part;
		n -= part;
		wire_fds_close(c->fds, &c->fds_n);
		if (c->sent < c->len)
			return;
		wire_chunk_free(g_queue_pop_head(&w->out));
	}
}

static gboolean wire_writable(gint fd, GIOCondition cond, gpointer data);

static void wire_flush(struct wire *w)
{
	struct wire_chunk *c;

	while ((c = g_queue_peek_head(&w->out))) {
		ssize_t n = c->fds_n || !c->shared ? wire_send_some(w->fd, c, MSG_DONTWAIT) : send_batch(w->fd, &w->out);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (!w->writable) {
				w->writable = g_unix_fd_source_new(w->fd, G_IO_OUT | G_IO_ERR | G_IO_HUP);
				g_source_set_callback(w->writable, G_SOURCE_FUNC(wire_writable), w, NULL);
				g_source_attach(w->writable, w->context);
			}
			return;
		}
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET) && !w->ended && !w->ops->leave) {
			w->deaf = true;
			w->queued = 0;
			g_queue_clear_full(&w->out, (GDestroyNotify)wire_chunk_free);
			break;
		}
		if (n < 0) {
			wire_end(w, w->ended ? w->why : g_strerror(errno));
			return;
		}
		wire_sent(w, (size_t)n);
	}
	wire_source_drop(&w->writable);
	if (w->ended && w->flush)
		wire_end(w, w->why);
	wire_settle_later(w);
}

static gboolean wire_writable(gint fd, GIOCondition cond, gpointer data)
{
	struct wire *w = data;

	wire_flush(w);
	return w->writable ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

bool wire_send(struct wire *w, json_object *msg, const int *fds, unsigned n)
{
	struct wire_chunk *c;

	g_assert(n <= WIRE_FDS_MAX);
	if (w->ended || w->deaf)
		return false;
	c = wire_chunk_new(msg);
	c->fds = n ? g_new(int, n) : NULL;
	for (unsigned i = 0; i < n; i++) {
		int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (copy < 0) {
			wire_chunk_free(c);
			wire_end(w, g_strerror(errno));
			return false;
		}
		c->fds[c->fds_n++] = copy;
	}
	g_queue_push_tail(&w->out, c);
	w->queued += c->len;
	if (!w->writable)
		wire_flush(w);
	if (!w->ended && w->queued > w->queue_max)
		wire_end(w, "the peer does not read: its queue is full");
	return !w->ended && !w->deaf;
}

static gboolean wire_batch(gpointer data)
{
	struct wire *w = data;

	wire_source_drop(&w->batch);
	if (!w->writable)
		wire_flush(w);
	return G_SOURCE_REMOVE;
}

bool wire_send_lines(struct wire *w, GBytes *lines)
{
	struct wire_chunk *c;

	if (w->ended || w->deaf)
		return false;
	c = g_new0(struct wire_chunk, 1);
	c->shared = g_bytes_ref(lines);
	c->data = g_bytes_get_data(lines, &c->len);
	g_queue_push_tail(&w->out, c);
	w->queued += c->len;
	if (!w->writable && !w->batch) {
		w->batch = g_idle_source_new();
		g_source_set_priority(w->batch, G_PRIORITY_DEFAULT);
		g_source_set_callback(w->batch, wire_batch, w, NULL);
		g_source_attach(w->batch, w->context);
	}
	if (w->queued > w->queue_max)
		wire_end(w, "the peer does not read: its queue is full");
	return !w->ended;
}
