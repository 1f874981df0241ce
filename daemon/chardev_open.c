/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets and FIFOs of character devices. */
#include "daemon/chardev_open.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/inet.h"
#include "daemon/resources.h"
#include "daemon/unix.h"

#define BACKLOG 4                       /* clients that wait while one is served */

int chardev_connect(const struct chardev *c, GError **err)
{
	int fd = c->type == CHARDEV_TCP ? inet_connect(c->source.host, c->source.service, err) : connect_unix(c->source.path.path, err);

	if (fd < 0)
		g_prefix_error(err, "nobody listens there: ");
	return fd;
}

int chardev_listen_tcp(struct chardev *c, GError **err)
{
	int fd = inet_listen(c->source.host, c->source.service, BACKLOG, err);

	if (fd >= 0 && !strcmp(c->source.service, "0")) {
		g_free(c->source.service);
		c->source.service = inet_port(fd);
	}
	return fd;
}

int chardev_open_udp(const struct chardev *c, GError **err)
{
	const struct chardev_source *to = chardev_udp(c, CHARDEV_CONNECT), *own = chardev_udp(c, CHARDEV_BIND);

	if (!to || !to->service) {
		kerr_set(err, KERR_ARGS, "where the datagrams are to be sent to is missing");
		return -1;
	}
	return inet_udp(to->host, to->service, own ? own->host : NULL, own ? own->service : NULL, err);
}

static bool is_there(const char *path)
{
	return !access(path, F_OK);
}

/* For both ways, so that it needs nobody at its other end. */
static int open_fifo(const char *path, GError **err)
{
	int fd = resource_open_file(path, O_RDWR, 0, err);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))) {
		kerr_set(err, KERR_ARGS, "'%s' is no FIFO: make it with mkfifo", path);
		close(fd);
		fd = -1;
	}
	return fd;
}

int chardev_open_pipe(const char *path, int *in, GError **err)
{
	g_autofree char *from = g_strconcat(path, ".in", NULL), *to = g_strconcat(path, ".out", NULL);
	int fd;

	*in = -1;
	/* one alone is for output: read too, it would give the guest its own words */
	if (!is_there(from) && !is_there(to))
		return open_fifo(path, err);
	*in = open_fifo(from, err);
	if (*in < 0)
		return -1;
	fd = open_fifo(to, err);
	if (fd < 0) {
		close(*in);
		*in = -1;
	}
	return fd;
}
