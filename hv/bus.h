/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port and MMIO maps. A region belongs to a device; the bus finds it, takes the device's lock and
 * calls its ops with accesses cut to the sizes the region accepts, so that devices see only legal ones. Unclaimed reads
 * give all ones. Look-up and access from vCPU threads; changes from the main thread (or a vCPU that moves a BAR).
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct device;
struct region;
struct bus;

struct region_ops {
	uint64_t (*read)(struct device *, uint64_t offset, unsigned size);      /* size 1, 2, 4, 8 */
	void (*write)(struct device *, uint64_t offset, unsigned size, uint64_t value);
	uint8_t min, max;       /* access sizes accepted; 0: 1 and 8. Others are split or merged by the bus */
};
struct region {
	const struct region_ops *ops;
	struct device *dev;
	const char *name;
	uint64_t base, size;
	struct bus *bus;        /* NULL: not mapped */
	void *arg;
	struct bus *of;         /* the bus's own: also while hidden */
};

struct bus *bus_new(const char *name, uint64_t size);
void bus_free(struct bus *);
/* false and *err when it overlaps another region or leaves the bus. */
bool bus_map(struct bus *, struct region *, uint64_t base, GError **err);
/* Waits until no access is inside, so not with any dev->lock held nor from within an access. Fine when it is not mapped. */
void bus_unmap(struct region *);
/* The same without waiting, with dev->lock held: for a device whose registers move one of its own regions (a BAR). Accesses
 * that wait for the lock find nothing there any more. bus_map may follow; bus_unmap must, before the region is freed. */
void bus_hide(struct region *);
/* Any size 1..8; false when nobody claims the address (reads then give all ones). */
bool bus_read(struct bus *, uint64_t addr, void *data, unsigned size);
bool bus_write(struct bus *, uint64_t addr, const void *data, unsigned size);
