/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens and locks the images of a machine's disks, whole backing chains. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "domain/machine.h"

/*
 * For each disk that runs: finds the images it stands on (which are then in its <backingStore>), opens each as the cache
 * mode and <readonly/> say, locks it by its open file description, which goes to the worker and with it the lock, and adds
 * it to fds (struct launch_fd) under the name that is then in the resource's fd. machines: pid → name of those that run, to
 * name a holder; may be NULL. *err: the disk, the image and what to do. May block; any thread.
 */
bool disks_open(struct machine *, GPtrArray *fds, GHashTable *machines, GError **err);

/*
 * <source startupPolicy='optional'>: takes out what is missing on the host, a disk as a whole, the medium of a CD-ROM drive.
 * Adds to dropped what was taken: json_object {target, path, reason}, for the event. What can't be looked at for another
 * reason is not missing: opening it says why. May block; any thread.
 */
void disks_drop_missing(struct machine *, GPtrArray *dropped);

/* Adds what is probably meant otherwise, in words for whoever asked: a qcow2 image that the guest is given raw, so that it sees
 * a small disk without its data and writes over them. Only a word: what stands in a raw image is the guest's. May block. */
void disk_doubt(struct disk *, GPtrArray *notes /* char * */);

/* struct image_reader's read: the first bytes of an image. */
struct image_reader;
bool disks_read_start(struct image_reader *, const char *path, uint8_t *buf, size_t n, size_t *got, uint64_t *size, GError **err);
