/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames over a stream socket, each after its length as 32 bits, big endian: what passt speaks. One queue, no header.
 *
 * In: as many frames as there are come with one recv into a buffer, and are copied to the guest from there; a frame that is
 * cut by the socket waits in the buffer for its rest, so that the guest never sees half of one. Out: small frames are
 * collected until net_flush; a large one goes straight from the guest's buffers, behind what was collected. What the socket
 * does not take is kept, and until it is gone there is no room.
 *
 * passt loses its place in the stream when it finds a length in two halves, or a frame in three pieces (Debian 12's does: it
 * reads once what is there, and once more for the last frame's rest). So whole frames go with each send, as many as one
 * buffer of the kernel holds, for that is taken at once or not at all; a frame larger than that goes by itself, and when it
 * is cut, so does its rest.
 *
 * When the other end goes, or talks nonsense, the link is down until net_reconnect brings a new socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net.h"
#include "domain/error.h"

#define PREFIX 4u
#define IN_BYTES (2 * (NET_FRAME_MAX + PREFIX))
#define OUT_BYTES (NET_FRAME_MAX + PREFIX)
#define SMALL 4096u                     /* frames up to this are collected */
#define AT_ONCE 32768u                  /* the kernel cuts what goes with one send into buffers of at least this */
#define IOV_MOST 1023u                  /* of a frame: one more is the length */

struct stream {
	struct net net;
	/* loop */
	struct loop_fd watch;           /* .fd -1: nobody there */
	struct loop_timer tell;         /* frames wait in the buffer, where no event tells of them */
	size_t in_at, in_end;           /* unread part of `in` */
	size_t out_at, out_end;         /* unsent part of `out` */
	size_t out_cut;                 /* it begins with so many bytes of a frame of which the other end has the rest */
	uint8_t in[IN_BYTES], out[OUT_BYTES];
};

static void gone(struct stream *s, const char *why)
{
	if (s->watch.fd < 0)
		return;
	g_debug("stream: %s", why);
	loop_fd_remove(&s->watch);
	loop_timer_cancel(&s->tell);
	close(s->watch.fd);
	s->watch.fd = -1;
	s->in_at = s->in_end = s->out_at = s->out_end = s->out_cut = 0;
	net_set_linked(&s->net, false);
}

/* Bytes of the frame at the head of the buffer; 0: not all of it is there. */
static size_t frame_ready(struct stream *s)
{
	uint32_t n;

	if (s->in_end - s->in_at < PREFIX)
		return 0;
	memcpy(&n, s->in + s->in_at, PREFIX);
	n = ntohl(n);
	if (n < NET_FRAME_MIN || n > NET_FRAME_MAX) {
		gone(s, "impossible length of a frame");
		return 0;
	}
	return s->in_end - s->in_at - PREFIX >= n ? n : 0;
}

/* Events that are watched: what is wanted, and the end of the connection always. A card may wait for room (NET_TX) while
 * nothing is kept: its frame found the socket full. */
static void set_events(struct stream *s)
{
	unsigned wishes = s->net.queue[0].wishes;
	uint32_t events = EPOLLRDHUP;

	if (wishes & NET_RX)
		events |= EPOLLIN;
	if (s->out_end > s->out_at || wishes & NET_TX)
		events |= EPOLLOUT;
	if (s->watch.loop)
		loop_fd_set(&s->watch, events);
}

/* Bytes that go with the next send. */
static size_t portion(const struct stream *s)
{
	size_t bytes = 0, left = s->out_end - s->out_at;
	uint32_t n;

	if (s->out_cut)
		return s->out_cut;
	while (bytes < left) {
		memcpy(&n, s->out + s->out_at + bytes, PREFIX);
		n = ntohl(n) + PREFIX;
		if (bytes && bytes + n > AT_ONCE)
			break;
		bytes += n;
	}
	return bytes;
}

/* 0, or -EAGAIN while something is left. */
static int send_kept(struct stream *s)
{
	while (s->out_at < s->out_end) {
		size_t part = portion(s);
		ssize_t put = send(s->watch.fd, s->out + s->out_at, part, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (put > 0) {
			s->out_at += (size_t)put;
			s->out_cut = part - (size_t)put;
		} else if (put < 0 && errno != EINTR) {
			if (errno == EAGAIN)
				return -EAGAIN;
			gone(s, g_strerror(errno));
			return -ENOTCONN;
		}
	}
	s->out_at = s->out_end = 0;
	return 0;
}

static void on_event(void *arg, uint32_t events)
{
	struct stream *s = arg;
	struct net *n = &s->net;

	if (events & EPOLLOUT && !send_kept(s)) {
		set_events(s);
		if (n->queue[0].wishes & NET_TX)
			n->front->writable(n->front_arg, 0);
	}
	if (s->watch.fd >= 0 && events & EPOLLIN && n->queue[0].wishes & NET_RX)
		n->front->readable(n->front_arg, 0);    /* reads to the end of it, also when the other side has closed */
	else if (s->watch.fd >= 0 && events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))
		gone(s, "the other end has closed");
}

/* Frames that were read already make no event. */
static void on_tell(void *arg)
{
	struct stream *s = arg;
	struct net *n = &s->net;

	if (n->queue[0].wishes & NET_RX && frame_ready(s))
		n->front->readable(n->front_arg, 0);
}

static void stream_want(struct net *n, unsigned q, unsigned wishes)
{
	struct stream *s = (struct stream *)n;

	set_events(s);
	if (wishes & NET_RX && s->in_end > s->in_at)
		loop_timer_set(&s->tell, 0);
}

static ssize_t fill(struct stream *s)
{
	ssize_t got;

	if (s->in_at) {
		memmove(s->in, s->in + s->in_at, s->in_end - s->in_at);
		s->in_end -= s->in_at;
		s->in_at = 0;
	}
	do
		got = recv(s->watch.fd, s->in + s->in_end, sizeof s->in - s->in_end, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		s->in_end += (size_t)got;
	return got < 0 ? -errno : got;
}

static ssize_t stream_recv(struct net *n, unsigned q, const struct iovec *iov, unsigned iov_n)
{
	struct stream *s = (struct stream *)n;
	size_t len, done = 0;

	while (!(len = frame_ready(s))) {
		ssize_t got = s->watch.fd < 0 ? -EAGAIN : fill(s);

		if (got == -EAGAIN)
			return -EAGAIN;
		if (got <= 0) {
			gone(s, got ? g_strerror((int)-got) : "the other end has closed");
			return -EAGAIN;
		}
	}
	s->in_at += PREFIX;
	for (unsigned i = 0; i < iov_n && done < len; i++) {
		size_t part = MIN(iov[i].iov_len, len - done);

		memcpy(iov[i].iov_base, s->in + s->in_at + done, part);
		done += part;
	}
	s->in_at += len;
	if (s->in_at == s->in_end)
		s->in_at = s->in_end = 0;
	return done < len ? -EMSGSIZE : (ssize_t)len;
}

static void keep(struct stream *s, const struct iovec *iov, unsigned n, size_t skip)
{
	for (unsigned i = 0; i < n; i++) {
		size_t off = MIN(skip, iov[i].iov_len);

		skip -= off;
		memcpy(s->out + s->out_end, (const uint8_t *)iov[i].iov_base + off, iov[i].iov_len - off);
		s->out_end += iov[i].iov_len - off;
	}
}

/* Straight from the card's memory, behind what was collected; the rest of a frame that went in part is kept. */
static ssize_t send_large(struct stream *s, const struct iovec *iov, unsigned n, size_t len)
{
	uint32_t prefix = htonl((uint32_t)len);
	struct iovec all[IOV_MOST + 1];
	struct msghdr msg = { .msg_iov = all, .msg_iovlen = n + 1 };
	ssize_t put;
	int rc = send_kept(s);

	if (rc)
		return rc;
	all[0] = (struct iovec){ &prefix, PREFIX };
	memcpy(all + 1, iov, n * sizeof(*iov));
	do
		put = sendmsg(s->watch.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (put < 0 && errno == EINTR);
	if (put < 0) {
		if (errno == EAGAIN)
			return -EAGAIN;
		gone(s, g_strerror(errno));
		return -ENOTCONN;
	}
	if ((size_t)put < len + PREFIX) {
		keep(s, all, n + 1, (size_t)put);
		s->out_cut = s->out_end;
		set_events(s);
	}
	return (ssize_t)len;
}

static ssize_t stream_send(struct net *n, unsigned q, const struct iovec *iov, unsigned iov_n)
{
	struct stream *s = (struct stream *)n;
	size_t len = 0;
	ssize_t rc;

	for (unsigned i = 0; i < iov_n; i++)
		len += iov[i].iov_len;
	if (s->watch.fd < 0)
		return -ENOTCONN;
	if (len < NET_FRAME_MIN || len > NET_FRAME_MAX || iov_n > IOV_MOST)
		return -EMSGSIZE;
	if (len > SMALL || s->out_end + PREFIX + len > sizeof s->out) {
		rc = send_large(s, iov, iov_n, len);
	} else {
		uint32_t prefix = htonl((uint32_t)len);

		keep(s, &(struct iovec){ &prefix, PREFIX }, 1, 0);
		keep(s, iov, iov_n, 0);
		rc = (ssize_t)len;
	}
	if (rc == -EAGAIN)
		set_events(s);
	return rc;
}

static void stream_flush(struct net *n, unsigned q)
{
	struct stream *s = (struct stream *)n;

	if (s->watch.fd >= 0 && s->out_end > s->out_at && send_kept(s) == -EAGAIN)
		set_events(s);
}

/* --- lifecycle --- */

struct connecting { struct stream *stream; int fd; GError **err; bool ok; };

static void connect_it(void *arg)
{
	struct connecting *c = arg;
	struct stream *s = c->stream;

	gone(s, "replaced by a new connection");
	s->watch.fd = c->fd;
	s->watch.events = 0;
	c->ok = loop_fd_add(s->net.queue[0].loop, &s->watch, c->err);
	if (!c->ok) {
		close(s->watch.fd);
		s->watch.fd = -1;
		return;
	}
	set_events(s);
	net_set_linked(&s->net, true);
}

/* The kind of socket is checked: a datagram one would cut frames without a word. */
static bool check(int fd, GError **err)
{
	int type = 0, flags = fcntl(fd, F_GETFL);
	socklen_t len = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
		return kerr_errno(err, errno, "the network's socket");
	if (type != SOCK_STREAM)
		return kerr_set(err, KERR_ARGS, "the network's socket is not a stream socket");
	if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return kerr_errno(err, errno, "the network's socket");
	return true;
}

static bool stream_reconnect(struct net *n, int fd, GError **err)
{
	struct connecting c = { (struct stream *)n, fd, err, false };

	if (!check(fd, err)) {
		close(fd);
		return false;
	}
	loop_call(n->queue[0].loop, connect_it, &c);
	return c.ok;
}

static bool stream_open(struct net *n, const void *config, struct fdset *fds, GError **err)
{
	const struct net_fd_config *c = config;
	struct stream *s = (struct stream *)n;
	g_autofree char *name = g_strdup_printf(IFACE_FD_NAME, c->alias ? c->alias : "", 0u);
	int fd;

	s->watch = (struct loop_fd){ .fd = -1, .fn = on_event, .arg = s };
	loop_timer_init(&s->tell, n->queue[0].loop, CLOCK_HOST, on_tell, s);
	if (n->queues != 1)
		return kerr_set(err, KERR_UNSUPPORTED, "a user-mode network has one pair of queues, not %u: leave out queues", n->queues);
	fd = fdset_take(fds, name, err);
	return fd >= 0 && stream_reconnect(n, fd, err);
}

static void disconnect(void *arg)
{
	struct stream *s = arg;

	s->net.front = NULL;
	gone(s, "the card goes");
	loop_timer_cancel(&s->tell);
}

static void stream_close(struct net *n)
{
	loop_call(n->queue[0].loop, disconnect, n);
}

const struct net_ops net_stream_ops = {
	.name = "stream", .size = sizeof(struct stream), .leaf = true, .open = stream_open, .close = stream_close,
	.recv = stream_recv, .send = stream_send, .flush = stream_flush, .want = stream_want, .reconnect = stream_reconnect,
};
