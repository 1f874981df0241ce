/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names of a machine's disks, as its clients know them. Main thread. */
#pragma once
#include "daemon/worker.h"
#include "domain/disk.h"

/* The <disk> behind a device; NULL: it is none. */
const struct disk *disk_of_device(const struct device *);
/* New strings. The disk as a whole (drive-ALIAS); its device's path; part i of its chain, 0 is the top: the format, or the
 * file below it. */
char *disk_drive_name(const struct device *);
char *disk_qdev(const struct device *);
char *disk_node_name(const struct device *, unsigned i, bool storage);
/* By any of these, its id, alias or target name; NULL: none. */
struct device *disk_by_name(struct worker *, const char *name);

/* --- worker_qmp_devices.c: nodes that clients made --- */

/* The name that a client gave to the top of a device's chain, or (storage) to what is below; NULL: none. Borrowed. */
const char *made_node_name(const struct device *, bool storage);
/* Is the top of its chain a bare file? */
bool made_node_bare(const struct device *);
/* Adds those that no device has, as query-named-block-nodes shows them. */
void made_nodes(struct worker *, json_object *list);
