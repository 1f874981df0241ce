/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the worker asks of virtio-blk disks. Main thread unless said otherwise. */
#pragma once
#include "devices/block.h"
#include "hv/device.h"

/* Before realize: a chain made elsewhere (memory for benches, faults for tests) takes the place of what the <disk> names.
 * It is the device's from now on. */
void virtio_blk_give(struct device *, struct block *);
/* Its chain, for statistics and information; NULL when the device is no disk. */
struct block *virtio_blk_chain(struct device *);
/*
 * Another medium for a drive (disk_removable), or none: `now` is its description with the new source, of which source, format,
 * backing images and tray are taken over; fds: what it names. Requests in flight end first, the guest is told of the new size.
 * true: `done` ends with 0, or -ENODEV when the drive goes away meanwhile. *err (false, nothing has changed): UNSUPPORTED, BUSY,
 * and why the medium can't be opened.
 */
bool virtio_blk_change(struct device *, const struct disk *now, struct fdset *, struct done *, GError **err);
/* Another size in bytes, told to the guest; also while paused. Ends `done` with 0 or -errno: what BLOCK_RESIZE says. Not
 * while the machine's state is saved. */
void virtio_blk_resize(struct device *, uint64_t bytes, struct done *);
/* What failed last with a policy to stop, since the machine went on: 0, -ENOSPC or -EIO. Any thread. */
int virtio_blk_trouble(struct device *);
