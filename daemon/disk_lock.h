/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Locks on images, which QEMU and its tools understand. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* What is done with an image, and what others may do with it meanwhile. */
enum disk_use {
	DISK_USE_WRITE,                 /* nobody else may write; others may only look (as with qemu-img -U) */
	DISK_USE_WRITE_SHARED,          /* others may write as well */
	DISK_USE_READ,                  /* others may read */
	DISK_USE_READ_SHARED,           /* others may even write */
	DISK_USE_N
};

/* Locks the image by its open file description until the last copy of fd is closed. machines: pid → name of those that run, to name
 * a holder; may be NULL. false: *err is BUSY and names him, or what the file system lacks; fd must be closed then. Any thread. */
bool disk_lock(int fd, const char *path, enum disk_use, GHashTable *machines, GError **err);
