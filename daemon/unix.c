/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unix sockets by path, of any length. */
#include <errno.h>
#include <stdbool.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/unix.h"
#include "domain/error.h"

/* A socket address holds 107 bytes of path: a longer one is named through its folder's descriptor, *dirfd. */
static bool address(const char *path, struct sockaddr_un *sa, int *dirfd, GError **err)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	*dirfd = -1;
	if (strlen(path) < sizeof sa->sun_path) {
		strcpy(sa->sun_path, path);
		return true;
	}
	g_autofree char *dir = g_path_get_dirname(path), *base = g_path_get_basename(path);

	*dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dirfd < 0)
		return kerr_errno(err, errno, "open folder '%s'", dir);
	if ((size_t)snprintf(sa->sun_path, sizeof sa->sun_path, "/proc/self/fd/%d/%s", *dirfd, base) >= sizeof sa->sun_path) {
		close(*dirfd);
		return kerr_set(err, KERR_ARGS, "socket '%s': its name is too long", path);
	}
	return true;
}

int listen_unix(const char *path, unsigned mode, int backlog, GError **err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), dirfd;
	struct sockaddr_un sa;

	if (fd < 0) {
		kerr_errno(err, errno, "socket");
		return -1;
	}
	if (!address(path, &sa, &dirfd, err)) {
		close(fd);
		return -1;
	}
	(void)unlink(path);
	(void)fchmod(fd, mode);                 /* bind gives the file this mode at its birth */
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, backlog) < 0) {
		kerr_errno(err, errno, "listen on '%s'", path);
		close(fd);
		fd = -1;
	}
	if (dirfd >= 0)
		close(dirfd);
	return fd;
}

bool unix_is_dead(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), dirfd = -1;
	struct sockaddr_un sa;
	bool dead = false;

	if (fd >= 0 && address(path, &sa, &dirfd, NULL))
		dead = connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0 && (errno == ECONNREFUSED || errno == ENOENT);
	if (fd >= 0)
		close(fd);
	if (dirfd >= 0)
		close(dirfd);
	return dead;
}

int connect_unix(const char *path, GError **err)
{
	return connect_unix_wait(path, 0, err);
}

int connect_unix_wait(const char *path, unsigned seconds, GError **err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (seconds ? 0 : SOCK_NONBLOCK), 0), dirfd;
	struct timeval limit = { .tv_sec = seconds };
	struct sockaddr_un sa;

	if (fd < 0) {
		kerr_errno(err, errno, "socket");
		return -1;
	}
	if (!address(path, &sa, &dirfd, err)) {
		close(fd);
		return -1;
	}
	if (seconds)                            /* a blocking connect honours it */
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
		if (errno == EAGAIN)
			kerr_set(err, KERR_CONNECT, "connect to '%s': too many others wait for it already", path);
		else
			kerr_errno(err, errno, "connect to '%s'", path);
		close(fd);
		fd = -1;
	}
	if (dirfd >= 0)
		close(dirfd);
	if (fd >= 0)
		(void)fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
	return fd;
}
