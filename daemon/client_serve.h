/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands that clients give at a machine's own socket and kvmd does, as they name what only it can open. Main thread. */
#pragma once
#include <stdint.h>

struct dom;

/* The machine's process says that the next command on this socket, of a client of its own, is such a one: its number comes back
 * with the answer. fd is taken. */
void client_serve(struct dom *, uint64_t id, int fd);
