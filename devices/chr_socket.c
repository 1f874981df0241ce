/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices on stream sockets (unix, TCP): listening ones, which serve one client at a time (the next
 * waits in the kernel's queue, and what nobody has read yet waits for him in the ring), connected
 * ones, and the consoles that are handed over while the machine runs. A connection that has gone is made anew
 * by kvmd only, which hears of it by VM_REQ_CHARDEV.
 */
#include "devices/chr_core.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/chr_telnet.h"
#include "domain/error.h"
#include "hv/vm.h"

struct sock {
	struct chr_end end;
	struct loop_fd listener;        /* .fd -1: a connected socket */
	bool tcp;
	bool speaks;                    /* telnet */
	struct telnet telnet;
};

static ssize_t raw_write(struct chr_end *e, const uint8_t *data, size_t n)
{
	ssize_t put;

	do
		put = send(e->watch.fd, data, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (put < 0 && errno == EINTR);
	if (put < 0)
		return errno == EAGAIN ? 0 : -errno;
	return put;
}

static ssize_t raw_read(struct chr_end *e, uint8_t *data, size_t n)
{
	ssize_t got;

	do
		got = recv(e->watch.fd, data, n, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

/* What telnet has to say by itself. 1: all is out; 0: full; -errno. */
static ssize_t say(struct sock *s, struct chr_end *e)
{
	ssize_t put;

	while (s->telnet.say_n) {
		put = raw_write(e, s->telnet.say, s->telnet.say_n);
		if (put <= 0)
			return put;
		telnet_said(&s->telnet, (size_t)put);
	}
	return 1;
}

static ssize_t sock_write(struct chr_end *e, const uint8_t *data, size_t n)
{
	struct sock *s = (struct sock *)e;
	size_t plain;
	ssize_t put;

	if (!s->speaks)
		return raw_write(e, data, n);
	put = say(s, e);
	if (put <= 0)
		return put;
	plain = telnet_plain(data, n);
	if (plain)
		return raw_write(e, data, plain);
	telnet_escape(&s->telnet);      /* goes out before what comes next */
	put = say(s, e);
	return put < 0 ? put : 1;
}

static ssize_t sock_read(struct chr_end *e, uint8_t *data, size_t n)
{
	struct sock *s = (struct sock *)e;
	ssize_t got;

	do {
		got = raw_read(e, data, n);
		if (!got && s->tcp)     /* whether the peer still reads can't be seen, and others wait: as QEMU */
			return -EPIPE;
		if (got <= 0 || !s->speaks)
			return got;
		got = (ssize_t)telnet_read(&s->telnet, data, (size_t)got);
		(void)say(s, e);        /* what is left goes out with what comes next */
	} while (!got);
	return got;
}

/* A client has come. */
static bool serve(struct sock *s, int fd, GError **err)
{
	struct chr_end *e = &s->end;

	if (s->speaks)
		telnet_begin(&s->telnet);
	if (!chr_end_connected(e, fd, err))
		return false;
	if (s->speaks && e->watch.fd >= 0)
		(void)say(s, e);        /* as above */
	return true;
}

static void sock_close(struct chr_end *e)
{
	struct sock *s = (struct sock *)e;

	loop_fd_remove(&s->listener);
	if (s->listener.fd >= 0)
		close(s->listener.fd);
	s->listener.fd = -1;
}

/* Errors of accept that are the peer's or the network's (TCP), not the listening socket's. */
static bool passes(int error)
{
	static const int passing[] = { EAGAIN, EINTR, ECONNABORTED, EPROTO, ENOPROTOOPT, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENONET, EOPNOTSUPP,
		EPERM /* a firewall's */ };

	for (size_t i = 0; i < G_N_ELEMENTS(passing); i++)
		if (passing[i] == error)
			return true;
	return false;
}

/* Level-triggered, and watched only while there is no client. */
static void sock_accept(void *arg, uint32_t events)
{
	struct sock *s = arg;
	GError *err = NULL;
	int fd = accept4(s->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (!passes(errno))
			loop_fd_remove(&s->listener);   /* nothing that another try would cure */
		return;
	}
	loop_fd_remove(&s->listener);
	if (!serve(s, fd, &err)) {
		g_debug("socket: %s", err->message);
		g_error_free(err);
		loop_fd_add(chr_loop(s->end.chr), &s->listener, NULL);
	}
}

static bool sock_gone(struct chr_end *e)
{
	struct sock *s = (struct sock *)e;

	if (s->listener.fd >= 0)
		return loop_fd_add(chr_loop(e->chr), &s->listener, NULL);
	vm_request(e->chr->dev->vm, VM_REQ_CHARDEV, 0, NULL);   /* the end stays, without a peer */
	return true;
}

static bool sock_open(struct chr_end *e, const struct chardev *config, struct fdset *fds, GError **err)
{
	struct sock *s = (struct sock *)e;
	int fd, listening = 0;
	socklen_t len = sizeof(listening);

	s->listener.fd = -1;
	s->tcp = config->type == CHARDEV_TCP;
	s->speaks = config->type == CHARDEV_TCP && config->protocol == CHARDEV_TELNET;
	if (!config->source.path.fd && config->source.lost)     /* kvmd is still trying */
		return true;
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
		if (s->speaks)
			telnet_begin(&s->telnet);
		return true;
	}
	s->listener = (struct loop_fd){ .fd = fd, .events = EPOLLIN, .fn = sock_accept, .arg = s };
	return true;
}

static bool sock_start(struct chr_end *e, GError **err)
{
	struct sock *s = (struct sock *)e;

	if (s->speaks && e->watch.fd >= 0)
		(void)say(s, e);        /* what is left goes out with what comes next */
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
	.write = raw_write,
	.read = raw_read,
};

struct again {
	struct chr *chr;
	int fd;
	bool ok;
	GError **err;
};

static void again_on_loop(void *arg)
{
	struct again *a = arg;
	struct chr_end *e = a->chr->backend;

	if (e && e->ops == &chr_socket && e->watch.fd < 0 && ((struct sock *)e)->listener.fd < 0) {
		a->ok = serve((struct sock *)e, a->fd, a->err);
		return;
	}
	close(a->fd);
	kerr_set(a->err, KERR_STATE, "its host side is no connection that has gone");
}

bool chr_reconnect(struct chr *c, int fd, GError **err)
{
	struct again a = { c, fd, false, err };

	loop_call(c->loop, again_on_loop, &a);
	return a.ok;
}
