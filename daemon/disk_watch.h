/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Looks from time to time how much is free where running machines have their images, and tells once when it becomes little
 * (event DISK_SPACE_LOW: path, free, limit, machines; and the log) and once when there is enough again (DISK_SPACE_OK).
 * What is asked of a file system runs beside the main loop: one that hangs delays nothing. Main thread.
 */
#pragma once

struct kvmd;
struct disk_watch;
struct disk_watch *disk_watch_new(struct kvmd *);       /* NULL: kvmd.conf says not to */
void disk_watch_free(struct disk_watch *);              /* NULL is fine */
