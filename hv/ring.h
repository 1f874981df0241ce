/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * io_uring escapes seccomp, so the worker makes its rings before the fence and restricts them: only the disk operations of
 * ring.c, only on registered files, and of registrations only the update of file slots. Afterwards no ring can be made.
 * One thread, the loop's.
 */
#pragma once
#include <glib.h>
#include <liburing.h>
#include <stdbool.h>

struct ring { struct io_uring uring; unsigned files; };
/* entries: 1..4096; files: slots for descriptors, 1..1024. */
bool ring_init(struct ring *, unsigned entries, unsigned files, GError **err);
void ring_finish(struct ring *);
/* Puts fd (stays the caller's) into a slot, or empties it with -1. 0 or -errno. */
int ring_set_file(struct ring *, unsigned slot, int fd);
