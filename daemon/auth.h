/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who a client is: the kernel's word at connect time. Whoever may open the socket may use it; this is for the log. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct auth {
	uid_t uid;
	gid_t gid;
	pid_t pid;
};
void auth_of_socket(int fd, struct auth *);
char *auth_text(const struct auth *);           /* "uid 0, pid 12 (kvmctl)". New */
/* May that peer of a connected unix socket connect to the socket of that path too, by its owner, group and mode? */
bool auth_may_connect(int fd, const struct auth *, const char *path);
