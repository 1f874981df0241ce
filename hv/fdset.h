/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors by name: all that a worker knows of the host. Main thread only. */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct fdset;
struct fdset *fdset_new(void);
void fdset_free(struct fdset *);        /* closes what was not taken */
/* Takes ownership of fd; false and *err when the name is taken or the set is full (1024). */
bool fdset_add(struct fdset *, const char *name, int fd, GError **err);
/* Gives the descriptor away: the caller closes it. -1 and *err when there is none of that name. */
int fdset_take(struct fdset *, const char *name, GError **err);
bool fdset_has(const struct fdset *, const char *name);
