/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices on datagrams, to and from one peer. Output is cut into datagrams that pass any network unfragmented; input
 * may be of any size, and what the guest has no room for of a datagram waits here, the next ones in the socket's queue. That
 * nobody is there (ECONNREFUSED) loses what was sent, no more.
 */
#include "devices/chr.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "domain/error.h"

#define DATAGRAM_OUT 1400
#define DATAGRAM_IN 65536
#define EMPTY_MOST 256                  /* datagrams without a byte read in one go */

struct udp {
	struct chr_end end;
	uint8_t *buf;                   /* DATAGRAM_IN bytes */
	size_t at, n;                   /* what is left of it */
};

static bool udp_open(struct chr_end *e, const struct chardev *config, struct fdset *fds, GError **err)
{
	struct udp *u = (struct udp *)e;

	e->watch.fd = fdset_take(fds, config->source.path.fd, err);
	e->pollable = true;
	u->buf = g_malloc(DATAGRAM_IN);
	return e->watch.fd >= 0;
}

static void udp_close(struct chr_end *e)
{
	g_free(((struct udp *)e)->buf);
}

static ssize_t udp_write(struct chr_end *e, const uint8_t *data, size_t n)
{
	ssize_t put;

	n = MIN(n, DATAGRAM_OUT);
	do
		put = send(e->watch.fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (put < 0 && errno == EINTR);
	if (put < 0 && errno == EAGAIN)
		return 0;
	if (put < 0)
		e->lost += n;
	return (ssize_t)n;
}

/* Fills the buffer; false: there is nothing now. */
static bool receive(struct udp *u)
{
	for (unsigned i = 0; i < EMPTY_MOST; i++) {
		ssize_t got = recv(u->end.watch.fd, u->buf, DATAGRAM_IN, MSG_DONTWAIT);

		if (got > 0) {
			u->at = 0;
			u->n = (size_t)got;
			return true;
		}
		if (got < 0 && errno != EINTR && errno != ECONNREFUSED)
			return false;
	}
	loop_fd_set(&u->end.watch, u->end.watch.events);        /* to be told again of what is left */
	return false;
}

static ssize_t udp_read(struct chr_end *e, uint8_t *data, size_t n)
{
	struct udp *u = (struct udp *)e;

	if (u->at == u->n && !receive(u))
		return -EAGAIN;
	n = MIN(n, u->n - u->at);
	memcpy(data, u->buf + u->at, n);
	u->at += n;
	return (ssize_t)n;
}

/* An error of the network, which reading takes away. */
static void udp_hangup(struct chr_end *e)
{
}

const struct chr_ops chr_udp = {
	.name = "udp",
	.size = sizeof(struct udp),
	.open = udp_open,
	.close = udp_close,
	.write = udp_write,
	.read = udp_read,
	.hangup = udp_hangup,
};
