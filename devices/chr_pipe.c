/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices on FIFOs: one for output, another one (or none) for input. kvmd has opened each for reading and writing, so
 * it is there whether the other side is or not: what nobody reads stays in the FIFO, then in the ring, and nobody's end of
 * writing is no end of input.
 */
#include "devices/chr.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "domain/error.h"

struct fifos {
	struct chr_end end;             /* .watch: output. That it is readable too wakes for nothing */
	struct loop_fd in;              /* .fd -1: none */
};

static void readable(void *arg, uint32_t events)
{
	chr_end_event(arg, EPOLLIN);
}

static bool pipe_open(struct chr_end *e, const struct chardev *config, struct fdset *fds, GError **err)
{
	struct fifos *p = (struct fifos *)e;
	g_autofree char *in = g_strconcat(config->source.path.fd ? config->source.path.fd : "", ".in", NULL);
	int flags;

	p->in = (struct loop_fd){ .fd = -1, .events = EPOLLIN | EPOLLET, .fn = readable, .arg = p };
	e->watch.fd = fdset_take(fds, config->source.path.fd, err);
	e->pollable = true;
	if (e->watch.fd < 0 || !fdset_has(fds, in))
		return e->watch.fd >= 0;
	p->in.fd = fdset_take(fds, in, err);
	flags = fcntl(p->in.fd, F_GETFL);
	return (flags >= 0 && (flags & O_NONBLOCK || fcntl(p->in.fd, F_SETFL, flags | O_NONBLOCK) >= 0)) || kerr_errno(err, errno, "descriptor '%s'", in);
}

static bool pipe_start(struct chr_end *e, GError **err)
{
	struct fifos *p = (struct fifos *)e;

	return p->in.fd < 0 || loop_fd_add(chr_loop(e->chr), &p->in, err);
}

static void pipe_close(struct chr_end *e)
{
	struct fifos *p = (struct fifos *)e;

	loop_fd_remove(&p->in);
	if (p->in.fd >= 0)
		close(p->in.fd);
}

static ssize_t pipe_write(struct chr_end *e, const uint8_t *data, size_t n)
{
	ssize_t put;

	do
		put = write(e->watch.fd, data, n);
	while (put < 0 && errno == EINTR);
	return put >= 0 ? put : errno == EAGAIN ? 0 : -errno;
}

static ssize_t pipe_read(struct chr_end *e, uint8_t *data, size_t n)
{
	struct fifos *p = (struct fifos *)e;
	ssize_t got;

	if (p->in.fd < 0)
		return -EAGAIN;
	do
		got = read(p->in.fd, data, n);
	while (got < 0 && errno == EINTR);
	return got > 0 ? got : -EAGAIN;
}

static void pipe_hangup(struct chr_end *e)
{
}

const struct chr_ops chr_pipe = {
	.name = "pipe",
	.size = sizeof(struct fifos),
	.open = pipe_open,
	.start = pipe_start,
	.close = pipe_close,
	.write = pipe_write,
	.read = pipe_read,
	.hangup = pipe_hangup,
};
