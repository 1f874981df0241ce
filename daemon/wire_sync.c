/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The blocking forms, for clients and start-up. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/wire_private.h"
#include "domain/error.h"

bool wire_write_sync(int fd, json_object *msg, const int *fds, unsigned n, GError **err)
{
	struct wire_chunk *c = wire_chunk_new(msg);
	bool ok = true;

	g_assert(n <= WIRE_FDS_MAX);
	c->fds = n ? g_new(int, n) : NULL;
	for (unsigned i = 0; i < n; i++)
		c->fds[c->fds_n++] = fds[i];
	while (ok && c->sent < c->len) {
		ssize_t r = wire_send_some(fd, c, 0);

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
	wire_chunk_free(c);
	return ok;
}

struct wire_reader {
	int fd;
	GByteArray *in;
	size_t scanned;
	struct wire_fds pending;
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
	wire_fds_drop(&r->pending);
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
	taken_n = wire_fds_of(&r->pending, len + 1, taken);
	g_byte_array_remove_range(r->in, 0, (guint)len + 1);
	wire_fds_move(&r->pending, len + 1);
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

		g_byte_array_set_size(r->in, had + WIRE_READ_CHUNK);
		v = (struct iovec){ r->in->data + had, WIRE_READ_CHUNK };
		got = recvmsg(r->fd, &m, MSG_CMSG_CLOEXEC);
		g_byte_array_set_size(r->in, had + (got > 0 ? (guint)got : 0));
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0) {
			kerr_set(err, KERR_CONNECT, "the connection ended%s%s", got < 0 ? ": " : "", got < 0 ? g_strerror(errno) : "");
			return NULL;
		}
		wire_fds_take(&r->pending, &m, r->in);
	}
}
