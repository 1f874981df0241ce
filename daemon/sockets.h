/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sockets in the file system on which machines listen. A machine's run folder has a note of each ("socket-…", a link to
 * it), made before the socket: so whoever comes after a kvmd that died in between finds what is to be removed.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "domain/machine.h"

/* Before a socket is made; dir: the run folder. Any thread. */
bool socket_note(const char *dir, const char *path, GError **err);
/* The machine does not listen there any more: removes socket and note. Any thread. */
void socket_drop(const char *dir, const char *path);
/* Main: what `was` listened at and `is` does not. */
void sockets_changed(const char *dir, struct machine *was, struct machine *is);
/* Main: the machine says that it listens at path no more. Dropped if that was its own, and nobody does. */
void sockets_gone(const char *dir, struct machine *live, const char *path);
/* Main: drops all that is noted and that `live` (NULL: it is off) does not have, unless somebody listens there. No device of the
 * machine may be on its way to it. */
void sockets_tidy(const char *dir, struct machine *live);
