/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The daemon's one struct: who owns what. Main thread, but for `paths` and `config`, which do not change after start. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "daemon/control.h"
#include "daemon/events.h"
#include "daemon/paths.h"
#include "daemon/store.h"
#include "daemon/work.h"
#include "domain/config.h"

struct kvmd {
	struct paths *paths;
	struct config *config;
	GMainLoop *loop;
	struct work *work;              /* what may block, in parallel */
	struct work *slow;              /* cgroups: one thread, in order */
	struct work *dial;              /* connecting again: hosts that do not answer hold up each other only */
	struct store *store;
	struct events *events;
	struct control *control;
	struct doms *doms;
	struct probe *probe;
	struct cgroups *cgroups;
	struct disk_watch *disk_watch;
	int ram_fs;                     /* a tmpfs of kvmd's own for guests' memory, -1: memfd */
	int null_fd;
	int lock_fd;                    /* one kvmd per run/ */
	char *worker, *empty;           /* program; folder that becomes workers' root */
	bool privileged;                /* root: own users and cgroups for workers */
	bool stopping;
};
