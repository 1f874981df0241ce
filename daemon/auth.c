/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who a client is. */
#include "daemon/auth.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

void auth_of_socket(int fd, struct auth *a)
{
	struct ucred cred;
	socklen_t len = sizeof cred;

	*a = (struct auth){ .uid = (uid_t)-1, .gid = (gid_t)-1, .pid = -1 };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return;
	a->uid = cred.uid;
	a->gid = cred.gid;
	a->pid = cred.pid;
}

char *auth_text(const struct auth *a)
{
	char path[40], comm[20] = "";
	int fd;

	/* looked up when it is wanted: most clients only read */
	(void)snprintf(path, sizeof path, "/proc/%d/comm", a->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = read(fd, comm, sizeof comm - 1);

		comm[n > 0 ? n : 0] = '\0';
		comm[strcspn(comm, "\n")] = '\0';
		close(fd);
	}
	return g_strdup_printf("uid %u, pid %d (%s)", a->uid, a->pid, *comm ? comm : "gone");
}

static bool in_group(int fd, const struct auth *a, gid_t wanted)
{
	gid_t groups[256];
	socklen_t len = sizeof groups;

	if (a->gid == wanted)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) < 0)
		return false;
	for (size_t i = 0; i < len / sizeof *groups; i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

bool auth_may_connect(int fd, const struct auth *a, const char *path)
{
	struct stat st;

	if (a->uid == (uid_t)-1)
		return false;
	if (!a->uid)
		return true;
	if (stat(path, &st) < 0)
		return false;
	if (a->uid == st.st_uid)
		return st.st_mode & S_IWUSR;
	if (in_group(fd, a, st.st_gid))
		return st.st_mode & S_IWGRP;
	return st.st_mode & S_IWOTH;
}
