/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens everything of the host that a machine names: kernels, ptys, sockets, files, disks. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

#include "domain/machine.h"

/* Adds a struct launch_fd (daemon/launch.h) per resource, named by its path in the description, writes the name into the
 * resource, and for ptys the path that people connect to. sockets: paths that must be removed afterwards; they are noted in dir, the
 * machine's run folder.
 * machines: pid → name of those that run, to name a holder; may be NULL. *err: the
 * resource and its path, with what to do. May block; any thread. */
bool resources_open(struct machine *, const char *dir, GPtrArray *fds, GPtrArray *sockets, GHashTable *machines, GError **err);
/* Unix sockets to listen on that have no path (<channel type='unix'> as libvirt's users write it) get one in dir, the
 * machine's run folder. Before resources_open. */
void resources_place_sockets(struct machine *, const char *dir);
/* Opens without waiting for a fifo's other end; -1 and why not in words that help. */
int resource_open_file(const char *path, int flags, mode_t mode, GError **err);
/* Who has locked this file, or else has it open: "machine 'db'", "process 1234 (qemu-system-x86)". New. */
char *resource_holder(int fd, GHashTable *machines);
