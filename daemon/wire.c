/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON lines with descriptors over a unix stream socket.
 *
 * Theory of operation: input is gathered in one GByteArray until a message ends; each is parsed and handed on.
 * Descriptors wait in `fds` for the next message. Output is a queue of chunks, each with its descriptors on its first
 * byte; it is written as far as the socket takes and a POLLOUT source does the rest. The end of a connection is a state,
 * not an action: `ended` is set once, and an idle source calls closed() and frees, so that no callback frees its caller.
 * A peer that closed only its direction (`eof`) gets its answers first: from then on an idle source (`settle`) runs what is
 * left of the input and ends the connection once nothing is queued and the owner says that nothing more comes.
 * A peer that has gone altogether may have sent something before: that it cannot be answered (`deaf`) does not end the
 * connection, the end of its input does.
 * With ops->leave nothing is read that the owner has not seen: the socket is peeked at, then one message is read exactly. The rest
 * of one that comes in pieces is waited for PIECES_MS (a socket with something in it stays readable: polling would spin),
 * then it is read as far as it has come.
 * A peer whose message has no end is told so first. A socket that is closed with input unread takes the answer with it
 * (ECONNRESET), so the input is shut before the rest of it is thrown away: whoever still writes gets EPIPE and can read.
 *
 * wire_in.c has the input, wire_out.c the output, wire_sync.c the blocking forms, wire_private.h what they share.
 */
#include <fcntl.h>
#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/wire_private.h"

#define LINGER_SECONDS 10       /* for what is queued when a connection ends */

void wire_source_drop(GSource **s)
{
	if (!*s)
		return;
	g_source_destroy(*s);
	g_source_unref(*s);
	*s = NULL;
}

static gboolean wire_ended(gpointer data)
{
	struct wire *w = data;

	w->ops->closed(w, w->why);
	wire_source_drop(&w->readable);
	wire_source_drop(&w->writable);
	wire_source_drop(&w->batch);
	wire_source_drop(&w->settle);
	wire_source_drop(&w->end);
	if (w->ops->leave)              /* whoever was to read what stays may still have the socket */
		(void)shutdown(w->fd, SHUT_RDWR);
	close(w->fd);
	wire_fds_drop(&w->fds);
	g_queue_clear_full(&w->out, (GDestroyNotify)wire_chunk_free);
	g_byte_array_unref(w->in);
	g_main_context_unref(w->context);
	g_free(w->why);
	g_free(w);
	return G_SOURCE_REMOVE;
}

void wire_end(struct wire *w, const char *why)
{
	if (w->end)
		return;
	if (!w->ended)
		w->why = g_strdup(why);
	w->ended = true;
	wire_source_drop(&w->readable);
	wire_source_drop(&w->writable);
	wire_source_drop(&w->batch);
	wire_source_drop(&w->settle);
	w->end = g_idle_source_new();
	g_source_set_priority(w->end, G_PRIORITY_DEFAULT);
	g_source_set_callback(w->end, wire_ended, w, NULL);
	g_source_attach(w->end, w->context);
}

struct wire *wire_new(int fd, GMainContext *context, const struct wire_ops *ops, void *owner)
{
	struct wire *w = g_new0(struct wire, 1);

	g_unix_set_fd_nonblocking(fd, TRUE, NULL);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	w->fd = fd;
	w->context = context ? g_main_context_ref(context) : g_main_context_ref(g_main_context_default());
	w->ops = ops;
	w->owner = owner;
	w->in = g_byte_array_new();
	w->line_max = WIRE_LINE_MAX;
	w->queue_max = WIRE_QUEUE_MAX;
	g_queue_init(&w->out);
	wire_listen(w);
	return w;
}

void *wire_owner(const struct wire *w)
{
	return w->owner;
}

int wire_fd(const struct wire *w)
{
	return w->fd;
}

void wire_limits(struct wire *w, size_t line_max, size_t queue_max)
{
	w->line_max = line_max;
	w->queue_max = queue_max;
}

size_t wire_queued(const struct wire *w)
{
	return w->queued;
}

static gboolean wire_resume(gpointer data)
{
	struct wire *w = data;

	wire_lines(w);
	return G_SOURCE_REMOVE;
}

void wire_hold(struct wire *w, bool hold)
{
	if (w->held == hold || w->ended)
		return;
	w->held = hold;
	if (w->eof) {
		wire_settle_later(w);
		return;
	}
	wire_source_drop(&w->readable);
	if (hold)
		return;
	wire_listen(w);
	if (w->frame.scanned < w->in->len && !w->in_input) {
		/* lines that came before the hold: an idle child of the readable source, gone with it */
		GSource *again = g_idle_source_new();

		g_source_set_callback(again, (GSourceFunc)wire_resume, w, NULL);
		g_source_add_child_source(w->readable, again);
		g_source_unref(again);
	}
}

/* The peer does not read what is left for it. */
static gboolean wire_lingered(gpointer data)
{
	struct wire *w = data;

	wire_end(w, w->why);
	return G_SOURCE_REMOVE;
}

void wire_close(struct wire *w, bool flush, const char *why)
{
	if (w->ended)
		return;
	if (!flush || g_queue_is_empty(&w->out)) {
		wire_end(w, why);
		return;
	}
	w->ended = w->flush = true;
	w->why = g_strdup(why);
	wire_source_drop(&w->readable);
	wire_source_drop(&w->settle);
	w->settle = g_timeout_source_new_seconds(LINGER_SECONDS);
	g_source_set_callback(w->settle, wire_lingered, w, NULL);
	g_source_attach(w->settle, w->context);
}
