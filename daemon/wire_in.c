/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A wire's input, and a peer that sends no more. */
#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "daemon/wire_private.h"

#define PIECES_MS 50            /* ops->leave: for the rest of a message */

static void wire_line(struct wire *w, const char *line, size_t len, size_t next)
{
	const char *why = NULL;
	json_object *o;
	int fds[WIRE_FDS_MAX];
	unsigned n;

	if (wire_is_blank(line, len))
		return;
	o = wire_parse(line, len, true, &why);
	n = wire_fds_of(&w->fds, next, fds);
	if (!o) {
		wire_fds_close(fds, &n);
		if (w->ops->garbage)
			w->ops->garbage(w, why);
		else
			wire_end(w, why);
		return;
	}
	w->ops->message(w, o, fds, n);
	json_object_put(o);
}

/* A message without an end: say so, let the peer read it, go. What the peer has sent by now is at most its socket's buffer. */
static void wire_too_long(struct wire *w)
{
	static __thread char rest[WIRE_READ_CHUNK];
	g_autofree char *why = g_strdup_printf("longer than %zu bytes, the limit, or its newline is missing", w->line_max);

	wire_fds_drop(&w->fds);
	g_byte_array_set_size(w->in, 0);
	w->frame = (struct wire_frame){ 0 };
	if (w->ops->garbage)
		w->ops->garbage(w, why);
	(void)shutdown(w->fd, SHUT_RD);         /* fails when the peer has gone: then nobody reads */
	for (ssize_t n; (n = recv(w->fd, rest, sizeof rest, MSG_DONTWAIT)) > 0 || (n < 0 && errno == EINTR);)
		continue;
	wire_close(w, true, "a message is longer than the limit");
}

void wire_lines(struct wire *w)
{
	size_t done = 0, end, next;

	w->in_input = true;
	while (!w->ended && !w->held && wire_frame_next(&w->frame, (char *)w->in->data, w->in->len, &end, &next)) {
		wire_line(w, (char *)w->in->data + done, end - done, next);
		done = next;
	}
	w->in_input = false;
	if (done) {
		g_byte_array_remove_range(w->in, 0, (guint)done);
		w->frame.scanned -= done;
		wire_fds_move(&w->fds, done);
	}
	if (done > WIRE_READ_CHUNK && !w->in->len) {    /* do not keep what one large message took */
		g_byte_array_unref(w->in);
		w->in = g_byte_array_new();
	}
	if (!w->ended && w->frame.scanned == w->in->len && w->in->len > w->line_max)
		wire_too_long(w);
}

/* --- a peer that sends no more --- */

/* The last message may lack its newline. */
static void wire_last_line(struct wire *w)
{
	GByteArray *last = w->in;
	const char *why;
	json_object *o = wire_is_blank((char *)last->data, last->len) ? NULL : wire_parse((char *)last->data, last->len, true, &why);

	if (o) {
		json_object_put(o);
		w->in = g_byte_array_new();
		w->frame = (struct wire_frame){ 0 };
		wire_line(w, (char *)last->data, last->len, G_MAXSIZE);
		g_byte_array_unref(last);
	} else if (!wire_is_blank((char *)last->data, last->len)) {
		wire_end(w, "ended inside a message");
	} else {
		g_byte_array_set_size(w->in, 0);
		w->frame = (struct wire_frame){ 0 };
	}
}

static gboolean wire_settled(gpointer data)
{
	struct wire *w = data;

	wire_source_drop(&w->settle);
	if (!w->ended && !w->held)
		wire_lines(w);
	if (!w->ended && !w->held && w->in->len)
		wire_last_line(w);
	if (!w->ended && !w->held && g_queue_is_empty(&w->out) && !(w->ops->busy && w->ops->busy(w)))
		wire_end(w, NULL);
	return G_SOURCE_REMOVE;
}

void wire_settle_later(struct wire *w)
{
	if (!w->eof || w->ended || w->settle)
		return;
	w->settle = g_idle_source_new();
	g_source_set_priority(w->settle, G_PRIORITY_DEFAULT);
	g_source_set_callback(w->settle, wire_settled, w, NULL);
	g_source_attach(w->settle, w->context);
}

static gboolean wire_gone(gint fd, GIOCondition cond, gpointer data)
{
	wire_end(data, NULL);
	return G_SOURCE_CONTINUE;
}

static void wire_eof(struct wire *w)
{
	struct pollfd p = { .fd = w->fd };

	if (poll(&p, 1, 0) != 0) {              /* HUP: both directions */
		wire_end(w, w->in->len ? "ended inside a message" : NULL);
		return;
	}
	w->eof = true;
	wire_source_drop(&w->readable);
	w->readable = g_unix_fd_source_new(w->fd, G_IO_HUP | G_IO_ERR);
	g_source_set_callback(w->readable, G_SOURCE_FUNC(wire_gone), w, NULL);
	g_source_attach(w->readable, w->context);
	wire_settle_later(w);
}

/* --- reading --- */

/* Takes what is there into `in`, at most `max` bytes; 0: nothing, or it has ended. */
static size_t wire_receive(struct wire *w, size_t max)
{
	static __thread char buf[WIRE_READ_CHUNK];   /* one for all connections of a thread: thousands may be idle */
	union { char buf[CMSG_SPACE(sizeof(int) * 253)]; struct cmsghdr align; } control;
	struct iovec v = { buf, MIN(max, sizeof buf) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	ssize_t n = recvmsg(w->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		if (n < 0)
			wire_end(w, g_strerror(errno));
		else
			wire_eof(w);
		return 0;
	}
	g_byte_array_append(w->in, (guint8 *)buf, (guint)n);
	if (!wire_fds_take(&w->fds, &m, w->in)) {
		wire_end(w, "too many descriptors");
		return 0;
	}
	return (size_t)n;
}

static gboolean wire_readable(gint fd, GIOCondition cond, gpointer data);

void wire_listen(struct wire *w)
{
	wire_source_drop(&w->readable);
	w->readable = g_unix_fd_source_new(w->fd, G_IO_IN | G_IO_HUP | G_IO_ERR);
	g_source_set_callback(w->readable, G_SOURCE_FUNC(wire_readable), w, NULL);
	g_source_attach(w->readable, w->context);
}

static gboolean wire_waited(gpointer data)
{
	struct wire *w = data;

	w->in_pieces = true;
	wire_listen(w);
	return G_SOURCE_REMOVE;
}

static void wire_wait(struct wire *w)
{
	wire_source_drop(&w->readable);
	w->readable = g_timeout_source_new(PIECES_MS);
	g_source_set_callback(w->readable, wire_waited, w, NULL);
	g_source_attach(w->readable, w->context);
}

/* Reads message by message, as long as none stays. */
static void wire_look(struct wire *w)
{
	static __thread char seen[WIRE_WHOLE_MAX];
	ssize_t n = recv(w->fd, seen, sizeof seen, MSG_PEEK | MSG_DONTWAIT);
	size_t left = n > 0 ? (size_t)n : 0, end, next;

	if (!left) {
		(void)wire_receive(w, WIRE_READ_CHUNK); /* has ended, or nothing is there */
		return;
	}
	for (const char *at = seen; left && !w->ended && !w->held; at += next, left -= next) {
		struct wire_frame frame = w->frame;
		bool whole;

		frame.scanned = 0;
		whole = wire_frame_next(&frame, at, left, &end, &next);
		if (!whole && !w->in->len && !w->in_pieces && left < sizeof seen) {
			wire_wait(w);
			return;
		}
		if (whole && !w->in->len && w->ops->leave(w, at, end))
			return;
		size_t message = whole ? next : left;

		/* what is blank behind it goes with it */
		for (next = message; next < left && strchr(" \t\r\n", at[next]) && at[next];)
			next++;
		w->in_pieces = false;
		for (size_t got, rest = next; rest; rest -= got) {      /* a read ends behind a piece with descriptors */
			got = wire_receive(w, rest);
			if (!got)
				return;
		}
		g_byte_array_set_size(w->in, w->in->len - (guint)(next - message));
		wire_lines(w);
	}
}

static gboolean wire_readable(gint fd, GIOCondition cond, gpointer data)
{
	struct wire *w = data;

	if (w->ops->leave)
		wire_look(w);
	else if (wire_receive(w, WIRE_READ_CHUNK))
		wire_lines(w);
	return G_SOURCE_CONTINUE;
}
