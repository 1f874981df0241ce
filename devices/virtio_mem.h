/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Memory by virtio-mem, for those who drive it. Main thread. */
#pragma once
#include "hv/device.h"

struct virtio_mem_info {
	uint64_t addr;          /* where the guest sees it */
	uint64_t size;          /* bytes of address space: what the guest may have at most */
	uint64_t block;         /* grain */
	uint64_t requested;     /* bytes the guest is to use */
	uint64_t plugged;       /* that it uses */
	uint16_t node;
	bool driver;            /* a driver works with it */
};
void virtio_mem_info(struct device *, struct virtio_mem_info *out);
/* What the guest is to use; it answers in its own time. *err: ARGS when it is no number of blocks up to all of it. */
bool virtio_mem_request(struct device *, uint64_t bytes, GError **err);
/* Runs on main when the guest took or gave blocks, once for all since it ran last; NULL: nobody. */
void virtio_mem_set_watch(struct device *, void (*fn)(void *arg, struct device *), void *arg);
/* Whether a byte of guest memory is in a block that the guest has not plugged (false for memory that is no device's). Main
 * thread, the guest paused; `to`: where that changes next, at most `end`. */
bool virtio_mem_is_hole(struct device *, uint64_t gpa, uint64_t end, uint64_t *to);
