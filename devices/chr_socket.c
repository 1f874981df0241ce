/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices on stream sockets: listening ones, which serve one client at a time (the next
 * waits in the kernel's queue, and what nobody has read yet waits for him in the ring), connected
 * ones, and the consoles that are handed over while the machine runs.
 */
#include "devices/chr.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "domain/error.h"

struct sock {
	struct chr_end end;
	struct loop_fd listener;        /* .fd -1: a connected socket */
};

static ssize_t sock_write(struct chr_end *e, const uint8_t *data, size_t n)
{
	ssize_t put;

	do
		put = send(e->watch.fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (put < 0 && errno == EINTR);
	if (put < 0)
		return errno == EAGAIN ? 0 : -errno;
	return put;
}

static ssize_t sock_read(struct chr_end *e, uint8_t *data, size_t n)
{
	ssize_t got;

	do
		got = recv(e->watch.fd, data, n, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static void sock_close(struct chr_end *e)
{
	struct sock *s = (struct sock *)e;

	loop_fd_remove(&s->listener);
	if (s->listener.fd >= 0)
		close(s->listener.fd);
	s->listener.fd = -1;
}

/* Level-triggered, and watched only while there is no client. */
static void sock_accept(void *arg, uint32_t events)
{
	struct sock *s = arg;
	GError *err = NULL;
	int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			loop_fd_remove(&s->listener);   /* nothing that another try would cure */
		return;
	}
	loop_fd_remove(&s->listener);
	if (!chr_end_connected(&s->end, fd, &err)) {
		g_debug("socket: %s", err->message);
		g_error_free(err);
		loop_fd_add(chr_loop(s->end.chr), &s->listener, NULL);
	}
}

static bool sock_gone(struct chr_end *e)
{
	struct sock *s = (struct sock *)e;

	/* a connection that kvmd made is not made again: the end stays, without a peer */
	return s->listener.fd < 0 || loop_fd_add(chr_loop(e->chr), &s->listener, NULL);
}

static bool sock_open(struct chr_end *e, const struct chardev *config, struct fdset *fds, GError **err)
{
	struct sock *s = (struct sock *)e;
	int fd, listening = 0;
	socklen_t len = sizeof(listening);

	s->listener.fd = -1;
	fd = fdset_take(fds, config->source.path.fd, err);
	if (fd < 0)
		return false;
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0) {
		kerr_errno(err, errno, "descriptor '%s'", config->source.path.fd);
		close(fd);
		return false;
	}
	if (!listening) {
		e->watch.fd = fd;
		e->pollable = true;
		return true;
	}
	s->listener = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = sock_accept, .arg = s };
	return true;
}

static bool sock_start(struct chr_end *e, GError **err)
{
	struct sock *s = (struct sock *)e;

	return s->listener.fd < 0 || loop_fd_add(chr_loop(e->chr), &s->listener, err);
}

const struct chr_ops chr_socket = {
	.name = "socket",
	.size = sizeof(struct sock),
	.open = sock_open,
	.start = sock_start,
	.close = sock_close,
	.write = sock_write,
	.read = sock_read,
	.gone = sock_gone,
};

const struct chr_ops chr_console = {
	.name = "console",
	.size = sizeof(struct chr_end),
	.write = sock_write,
	.read = sock_read,
};
