/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Host sides of character devices that are more than a path. May block; any thread; -1 and *err. */
#pragma once
#include <glib.h>

#include "domain/chardev.h"

/* A connection (unix, TCP) that is made by us. */
int chardev_connect(const struct chardev *, GError **err);
int chardev_listen_tcp(struct chardev *, GError **err);         /* port 0 becomes the one it got */
int chardev_open_udp(const struct chardev *, GError **err);
/* The FIFO for output; *in: that for input, -1: none. */
int chardev_open_pipe(const char *path, int *in, GError **err);

/* chardev_redial.c, main thread: what has lost its connection and shall have it again is connected, until it is. Called
 * whenever d->live is new. */
struct dom;
void chardev_redial(struct dom *);
void chardev_redial_stop(struct dom *);
