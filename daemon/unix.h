/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Unix sockets by path, of any length: a path that does not fit into a socket address goes through its folder's descriptor.
 * Any thread; -1 and *err on failure. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* A listening socket, file mode as given; what stands at path before is removed. */
int listen_unix(const char *path, unsigned mode, int backlog, GError **err);
/* Connected, non-blocking; CONNECT when nobody listens or the backlog is full. */
int connect_unix(const char *path, GError **err);
/* Is there nothing at path that somebody would hear? False also when that cannot be told. */
bool unix_is_dead(const char *path);
/* The same, but waits up to so many seconds for room in the backlog. */
int connect_unix_wait(const char *path, unsigned seconds, GError **err);
