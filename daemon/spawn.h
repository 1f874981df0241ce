/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts a worker: vfork-like, so that it costs the same however large kvmd is. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct spawn {
	char *const *argv;      /* argv[0] is the program's path */
	int in, out, fd3;       /* become descriptors 0; 1 and 2; 3 */
	int cgroup;             /* v2 group to be born in, -1: ours */
};
/* The child has a session of its own, no blocked or ignored signals and only those descriptors. *pidfd is the caller's.
 * Blocks until the program is running. Any thread. */
bool spawn_process(const struct spawn *, pid_t *pid, int *pidfd, GError **err);
