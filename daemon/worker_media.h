/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Media of drives, in the machine. Main thread. */
#pragma once
#include "daemon/worker.h"
#include "domain/disk.h"

/*
 * Changes the medium of a drive to what `like` says (source, type, format, backing images, limits; none: it is taken out); fds:
 * what that names. The tray moves, and stays open when like's is. true: the command is answered later, with `answer` (taken on
 * success; may be NULL). *err: nothing has changed.
 */
bool media_change(struct client *, struct device *, const struct disk *like, struct fdset *, json_object *answer, GError **err);

extern const struct worker_binding qmp_media_bindings[];
