/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices on a terminal: the master of a pty, and host devices (/dev/ttyS0) and other
 * plain streams.
 *
 * A pty without anybody at its slave takes output for a while and shows it to whoever comes later;
 * after the first one has gone it says so (POLLHUP), and then output is dropped, as with QEMU. That
 * somebody came back is seen when there is output again, or when he types.
 */
#include "devices/chr.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "domain/error.h"

struct pty {
	struct chr_end end;
	bool away;              /* nobody has the slave open */
};

static bool take_fd(struct chr_end *e, const struct chardev *config, struct fdset *fds, GError **err)
{
	e->watch.fd = fdset_take(fds, config->source.path.fd, err);
	e->pollable = true;
	return e->watch.fd >= 0;
}

static ssize_t stream_write(struct chr_end *e, const uint8_t *data, size_t n)
{
	ssize_t put;

	do
		put = write(e->watch.fd, data, n);
	while (put < 0 && errno == EINTR);
	if (put < 0)
		return errno == EAGAIN ? 0 : -errno;
	return put;
}

static ssize_t stream_read(struct chr_end *e, uint8_t *data, size_t n)
{
	ssize_t got;

	do
		got = read(e->watch.fd, data, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static bool is_away(struct pty *p)
{
	struct pollfd pfd = { .fd = p->end.watch.fd };

	p->away = poll(&pfd, 1, 0) > 0 && pfd.revents & POLLHUP;
	return p->away;
}

static ssize_t pty_write(struct chr_end *e, const uint8_t *data, size_t n)
{
	struct pty *p = (struct pty *)e;
	ssize_t put;

	if (p->away && is_away(p)) {
		e->lost += n;
		return (ssize_t)n;
	}
	put = stream_write(e, data, n);
	if (put >= 0)
		return put;
	p->away = true;
	e->lost += n;
	return (ssize_t)n;
}

static ssize_t pty_read(struct chr_end *e, uint8_t *data, size_t n)
{
	struct pty *p = (struct pty *)e;
	ssize_t got = stream_read(e, data, n);

	if (got > 0) {
		p->away = false;
		return got;
	}
	if (got != -EAGAIN)
		p->away = true;
	return -EAGAIN;
}

static void pty_hangup(struct chr_end *e)
{
	struct pty *p = (struct pty *)e;

	is_away(p);
	e->writable = true;     /* pty_write asks again */
}

const struct chr_ops chr_pty = {
	.name = "pty",
	.size = sizeof(struct pty),
	.open = take_fd,
	.write = pty_write,
	.read = pty_read,
	.hangup = pty_hangup,
};

const struct chr_ops chr_stream = {
	.name = "dev",
	.size = sizeof(struct chr_end),
	.open = take_fd,
	.write = stream_write,
	.read = stream_read,
};
