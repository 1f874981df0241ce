/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands of QMP clients that kvmd serves, as they name what this process cannot open. Main thread. */
#pragma once
#include "daemon/worker.h"

/* struct wire_ops' leave: true: kvmd reads it, and the client waits. */
bool serve_leave(struct client *, const char *text, size_t len);
/* Why such a command is refused here after all; what can be done instead follows. */
#define SERVE_NOT "a machine's process opens nothing itself, and kvmd was not asked (it does not run, or the command came in pieces or is longer than 64 KiB): "
/* This connection has ended. If it was kvmd's: what it served just then has failed. */
void serve_lost(struct client *);
