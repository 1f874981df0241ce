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
 * One file, though a long one: input, output, the end and the blocking forms all work on struct wire, which nobody else sees.
 */
#include "daemon/wire.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/wire_text.h"
#include "domain/error.h"

#define READ_CHUNK (64u << 10)

#define BATCH 64                /* chunks handed to the socket at once */
#define LINGER_SECONDS 10       /* for what is queued when a connection ends */
#define PIECES_MS 50            /* ops->leave: for the rest of a message */

struct chunk {
	const char *data;
	GBytes *shared;                 /* holds data for others too; NULL: data is the chunk's own */
	size_t len, sent;
	int *fds;                       /* WIRE_FDS_MAX; NULL: none */
	unsigned fds_n;
};

struct wire {
	int fd;
	GMainContext *context;
	const struct wire_ops *ops;
	void *owner;
	GByteArray *in;
	struct wire_frame frame;        /* of the message that `in` begins with */
	int fds[WIRE_FDS_MAX];
	size_t fd_at[WIRE_FDS_MAX];     /* each belongs to the first message that ends behind this byte of `in` */
	unsigned fds_n;
	GQueue out;                     /* of struct chunk */
	size_t queued, line_max, queue_max;
	GSource *readable, *writable, *batch, *settle, *end;
	bool ended, held, flush, in_input, eof;
	bool deaf;                      /* the peer has gone, and what it sent before is still read */
	bool in_pieces;                 /* ops->leave: the rest of the message has been waited for */
	char *why;
};

static void source_drop(GSource **s)
{
	if (!*s)
		return;
	g_source_destroy(*s);
	g_source_unref(*s);
	*s = NULL;
}

static void fds_close(int *fds, unsigned *n)
{
	for (unsigned i = 0; i < *n; i++)
		close(fds[i]);
	*n = 0;
}

static void chunk_free(struct chunk *c)
{
	fds_close(c->fds, &c->fds_n);
	g_free(c->fds);
	if (c->shared)
		g_bytes_unref(c->shared);
	else
		g_free((char *)c->data);
	g_free(c);
}

static gboolean wire_ended(gpointer data)
{
	struct wire *w = data;

	w->ops->closed(w, w->why);
	source_drop(&w->readable);
	source_drop(&w->writable);
	source_drop(&w->batch);
	source_drop(&w->settle);
	source_drop(&w->end);
	if (w->ops->leave)              /* whoever was to read what stays may still have the socket */
		(void)shutdown(w->fd, SHUT_RDWR);
	close(w->fd);
	fds_close(w->fds, &w->fds_n);
	g_queue_clear_full(&w->out, (GDestroyNotify)chunk_free);
	g_byte_array_unref(w->in);
	g_main_context_unref(w->context);
	g_free(w->why);
	g_free(w);
	return G_SOURCE_REMOVE;
}

static void wire_end(struct wire *w, const char *why)
{
	if (w->end)
		return;
	if (!w->ended)
		w->why = g_strdup(why);
	w->ended = true;
	source_drop(&w->readable);
	source_drop(&w->writable);
	source_drop(&w->batch);
	source_drop(&w->settle);
	w->end = g_idle_source_new();
	g_source_set_priority(w->end, G_PRIORITY_DEFAULT);
	g_source_set_callback(w->end, wire_ended, w, NULL);
	g_source_attach(w->end, w->context);
}

/* --- input --- */

/* Those of the message that ends at `next`; how many. */
static unsigned fds_of(struct wire *w, size_t next, int fds[WIRE_FDS_MAX])
{
	unsigned n = 0, left = 0;

	for (unsigned i = 0; i < w->fds_n; i++) {
		if (w->fd_at[i] < next) {
			fds[n++] = w->fds[i];
		} else {
			w->fds[left] = w->fds[i];
			w->fd_at[left++] = w->fd_at[i];
		}
	}
	w->fds_n = left;
	return n;
}

/* So many bytes have gone from the input's start. */
static void fds_move(struct wire *w, size_t gone)
{
	for (unsigned i = 0; i < w->fds_n; i++)
		w->fd_at[i] -= MIN(w->fd_at[i], gone);
}

static void wire_line(struct wire *w, const char *line, size_t len, size_t next)
{
	const char *why = NULL;
	json_object *o;
	int fds[WIRE_FDS_MAX];
	unsigned n;

	if (wire_is_blank(line, len))
		return;
	o = wire_parse(line, len, true, &why);
	n = fds_of(w, next, fds);
	if (!o) {
		fds_close(fds, &n);
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
	static __thread char rest[READ_CHUNK];
	g_autofree char *why = g_strdup_printf("longer than %zu bytes, the limit, or its newline is missing", w->line_max);

	fds_close(w->fds, &w->fds_n);
	g_byte_array_set_size(w->in, 0);
	w->frame = (struct wire_frame){ 0 };
	if (w->ops->garbage)
		w->ops->garbage(w, why);
	(void)shutdown(w->fd, SHUT_RD);         /* fails when the peer has gone: then nobody reads */
	for (ssize_t n; (n = recv(w->fd, rest, sizeof rest, MSG_DONTWAIT)) > 0 || (n < 0 && errno == EINTR);)
		continue;
	wire_close(w, true, "a message is longer than the limit");
}

/* Hands on every whole message that is there, until the wire is held or ended. */
static void wire_lines(struct wire *w)
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
		fds_move(w, done);
	}
	if (done > READ_CHUNK && !w->in->len) {         /* do not keep what one large message took */
		g_byte_array_unref(w->in);
		w->in = g_byte_array_new();
	}
	if (!w->ended && w->frame.scanned == w->in->len && w->in->len > w->line_max)
		wire_too_long(w);
}

/*
 * Messages that were sent one by one may come in one read. The kernel ends a read behind the piece that carries
 * descriptors, and they ride on a message's first byte: so they belong to the last message that begins in the read.
 */
static bool take_fds(struct wire *w, struct msghdr *m, const GByteArray *in)
{
	bool ok = !(m->msg_flags & MSG_CTRUNC);
	size_t at = in->len;

	while (at && strchr(" \t\r\n", in->data[at - 1]))
		at--;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (w->fds_n < WIRE_FDS_MAX) {
				w->fd_at[w->fds_n] = at ? at - 1 : 0;
				w->fds[w->fds_n++] = fd;
			} else {
				close(fd);
				ok = false;
			}
		}
	}
	return ok;
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

	source_drop(&w->settle);
	if (!w->ended && !w->held)
		wire_lines(w);
	if (!w->ended && !w->held && w->in->len)
		wire_last_line(w);
	if (!w->ended && !w->held && g_queue_is_empty(&w->out) && !(w->ops->busy && w->ops->busy(w)))
		wire_end(w, NULL);
	return G_SOURCE_REMOVE;
}

static void settle_later(struct wire *w)
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
	source_drop(&w->readable);
	w->readable = g_unix_fd_source_new(w->fd, G_IO_HUP | G_IO_ERR);
	g_source_set_callback(w->readable, G_SOURCE_FUNC(wire_gone), w, NULL);
	g_source_attach(w->readable, w->context);
	settle_later(w);
}

/* Takes what is there into `in`, at most `max` bytes; 0: nothing, or it has ended. */
static size_t wire_receive(struct wire *w, size_t max)
{
	static __thread char buf[READ_CHUNK];   /* one for all connections of a thread: thousands may be idle */
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
	if (!take_fds(w, &m, w->in)) {
		wire_end(w, "too many descriptors");
		return 0;
	}
	return (size_t)n;
}

static gboolean wire_readable(gint fd, GIOCondition cond, gpointer data);

static void wire_listen(struct wire *w)
{
	source_drop(&w->readable);
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
	source_drop(&w->readable);
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
		(void)wire_receive(w, READ_CHUNK);      /* has ended, or nothing is there */
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
	else if (wire_receive(w, READ_CHUNK))
		wire_lines(w);
	return G_SOURCE_CONTINUE;
}

/* --- output --- */

static ssize_t send_some(int fd, const struct chunk *c, int flags)
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
		const struct chunk *c = l->data;

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
	for (struct chunk *c; n && (c = g_queue_peek_head(&w->out));) {
		size_t part = MIN(n, c->len - c->sent);

		c->sent += part;
		n -= part;
		fds_close(c->fds, &c->fds_n);
		if (c->sent < c->len)
			return;
		chunk_free(g_queue_pop_head(&w->out));
	}
}

static gboolean wire_writable(gint fd, GIOCondition cond, gpointer data);

static void wire_flush(struct wire *w)
{
	struct chunk *c;

	while ((c = g_queue_peek_head(&w->out))) {
		ssize_t n = c->fds_n || !c->shared ? send_some(w->fd, c, MSG_DONTWAIT) : send_batch(w->fd, &w->out);

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
			g_queue_clear_full(&w->out, (GDestroyNotify)chunk_free);
			break;
		}
		if (n < 0) {
			wire_end(w, w->ended ? w->why : g_strerror(errno));
			return;
		}
		wire_sent(w, (size_t)n);
	}
	source_drop(&w->writable);
	if (w->ended && w->flush)
		wire_end(w, w->why);
	settle_later(w);
}

static gboolean wire_writable(gint fd, GIOCondition cond, gpointer data)
{
	struct wire *w = data;

	wire_flush(w);
	return w->writable ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static struct chunk *chunk_new(json_object *msg)
{
	struct chunk *c = g_new0(struct chunk, 1);
	size_t len;
	const char *s = json_object_to_json_string_length(msg, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len);
	char *text = g_malloc(len + 1);

	memcpy(text, s, len);
	text[len] = '\n';
	c->data = text;
	c->len = len + 1;
	return c;
}

bool wire_send(struct wire *w, json_object *msg, const int *fds, unsigned n)
{
	struct chunk *c;

	g_assert(n <= WIRE_FDS_MAX);
	if (w->ended || w->deaf)
		return false;
	c = chunk_new(msg);
	c->fds = n ? g_new(int, n) : NULL;
	for (unsigned i = 0; i < n; i++) {
		int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 3);

		if (copy < 0) {
			chunk_free(c);
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

	source_drop(&w->batch);
	if (!w->writable)
		wire_flush(w);
	return G_SOURCE_REMOVE;
}

bool wire_send_lines(struct wire *w, GBytes *lines)
{
	struct chunk *c;

	if (w->ended || w->deaf)
		return false;
	c = g_new0(struct chunk, 1);
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
		settle_later(w);
		return;
	}
	source_drop(&w->readable);
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
	source_drop(&w->readable);
	source_drop(&w->settle);
	w->settle = g_timeout_source_new_seconds(LINGER_SECONDS);
	g_source_set_callback(w->settle, wire_lingered, w, NULL);
	g_source_attach(w->settle, w->context);
}

/* --- blocking forms --- */

bool wire_write_sync(int fd, json_object *msg, const int *fds, unsigned n, GError **err)
{
	struct chunk *c = chunk_new(msg);
	bool ok = true;

	g_assert(n <= WIRE_FDS_MAX);
	c->fds = n ? g_new(int, n) : NULL;
	for (unsigned i = 0; i < n; i++)
		c->fds[c->fds_n++] = fds[i];
	while (ok && c->sent < c->len) {
		ssize_t r = send_some(fd, c, 0);

		if (r < 0 && errno == EAGAIN) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			poll(&p, 1, -1);
		} else if (r < 0 && errno != EINTR) {
			ok = kerr_set(err, KERR_CONNECT, "send: %s", g_strerror(errno));
		} else if (r > 0) {
			c->sent += (size_t)r;
		}
	}
	c->fds_n = 0;
	chunk_free(c);
	return ok;
}

struct wire_reader {
	int fd;
	GByteArray *in;
	size_t scanned;
	struct wire pending;    /* only its fds */
};

struct wire_reader *wire_reader_new(int fd)
{
	struct wire_reader *r = g_new0(struct wire_reader, 1);

	r->fd = fd;
	r->in = g_byte_array_new();
	return r;
}

void wire_reader_free(struct wire_reader *r)
{
	if (!r)
		return;
	fds_close(r->pending.fds, &r->pending.fds_n);
	g_byte_array_unref(r->in);
	g_free(r);
}

static json_object *reader_line(struct wire_reader *r, int *fds, unsigned *n, GError **err)
{
	char *nl = r->in->len ? memchr(r->in->data + r->scanned, '\n', r->in->len - r->scanned) : NULL;
	const char *why;
	json_object *o;
	int taken[WIRE_FDS_MAX];
	unsigned taken_n;
	size_t len;

	if (!nl) {
		r->scanned = r->in->len;
		return NULL;
	}
	len = (size_t)(nl - (char *)r->in->data);
	o = wire_parse((char *)r->in->data, len, true, &why);
	taken_n = fds_of(&r->pending, len + 1, taken);
	g_byte_array_remove_range(r->in, 0, (guint)len + 1);
	fds_move(&r->pending, len + 1);
	r->scanned = 0;
	if (!o)
		kerr_set(err, KERR_JSON, "the answer is %s", why);
	unsigned room = fds && n ? *n : 0, got = MIN(room, taken_n);

	for (unsigned i = 0; i < got; i++)
		fds[i] = taken[i];
	if (n)
		*n = got;
	for (unsigned i = got; i < taken_n; i++)
		close(taken[i]);
	return o;
}

json_object *wire_read_sync(struct wire_reader *r, int timeout_ms, int *fds, unsigned *n, GError **err)
{
	gint64 end = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

	for (;;) {
		GError *bad = NULL;
		json_object *o = reader_line(r, fds, n, &bad);

		if (o)
			return o;
		if (bad) {
			g_propagate_error(err, bad);
			return NULL;
		}
		if (r->in->len > WIRE_LINE_MAX) {
			kerr_set(err, KERR_JSON, "the answer is longer than %u bytes", WIRE_LINE_MAX);
			return NULL;
		}
		struct pollfd p = { .fd = r->fd, .events = POLLIN };
		int wait = timeout_ms < 0 ? -1 : (int)MAX(0, (end - g_get_monotonic_time() + 999) / 1000);

		if (poll(&p, 1, wait) == 0) {
			kerr_set(err, KERR_TIMEOUT, "no answer within %d ms", timeout_ms);
			return NULL;
		}
		union { char buf[CMSG_SPACE(sizeof(int) * 253)]; struct cmsghdr align; } control;
		guint had = r->in->len;
		struct iovec v;
		struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
		ssize_t got;

		g_byte_array_set_size(r->in, had + READ_CHUNK);
		v = (struct iovec){ r->in->data + had, READ_CHUNK };
		got = recvmsg(r->fd, &m, MSG_CMSG_CLOEXEC);
		g_byte_array_set_size(r->in, had + (got > 0 ? (guint)got : 0));
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0) {
			kerr_set(err, KERR_CONNECT, "the connection ended%s%s", got < 0 ? ": " : "", got < 0 ? g_strerror(errno) : "");
			return NULL;
		}
		take_fds(&r->pending, &m, r->in);
	}
}
