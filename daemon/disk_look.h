/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a domain's images are on the host: looked at from outside, so also while nothing runs. Blocks; any thread. */
#pragma once
#include <glib.h>
#include <sys/types.h>

#include "domain/machine.h"

struct looked_image {
	char *target, *path;
	int format;                             /* enum disk_format */
	unsigned depth;                         /* 0: the one the guest writes */
	uint64_t virtual, allocated, physical;  /* bytes */
	dev_t dev;                              /* the file system, or for a device the device */
	ino_t ino;
	bool is_file, writable;
	GError *err;                            /* it could not be looked at; NULL: it could */
};
/* Adds what stands behind each disk (struct looked_image, looked_image_free) that is a file or device. target NULL: all. */
void disk_look(const struct machine *, const char *target, GPtrArray *out);
void looked_image_free(gpointer);
/* The disk by its target or source; NULL: none. */
struct disk *disk_find(const struct machine *, const char *name);
