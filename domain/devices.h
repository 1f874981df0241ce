/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All devices of a machine: one list per element; NULL is an empty list. */
#pragma once
#include "domain/balloon.h"
#include "domain/chardev.h"
#include "domain/controller.h"
#include "domain/disk.h"
#include "domain/fs.h"
#include "domain/graphics.h"
#include "domain/hostdev.h"
#include "domain/iface.h"
#include "domain/input.h"
#include "domain/memdev.h"
#include "domain/panic.h"
#include "domain/rng.h"
#include "domain/tpm.h"
#include "domain/video.h"
#include "domain/vsock.h"
#include "domain/watchdog.h"

#define DEVICES_MAX 1024                        /* entries of one list */

struct devices {
	GPtrArray *disks;               /* struct disk */
	GPtrArray *controllers;         /* struct controller */
	GPtrArray *filesystems;         /* struct filesystem */
	GPtrArray *interfaces;          /* struct iface */
	GPtrArray *serials, *parallels, *consoles, *channels;   /* struct chardev */
	GPtrArray *inputs;              /* struct input */
	GPtrArray *tpms;                /* struct tpm */
	GPtrArray *graphics;            /* struct graphics */
	GPtrArray *videos;              /* struct video */
	GPtrArray *hostdevs;            /* struct hostdev */
	GPtrArray *watchdogs;           /* struct watchdog */
	struct balloon *memballoon;     /* NULL: none */
	GPtrArray *rngs;                /* struct rng */
	GPtrArray *panics;              /* struct panic */
	GPtrArray *memdevs;             /* struct memdev */
	struct vsock *vsock;            /* NULL: none */
	struct extras extras;
};

extern const struct schema devices_schema;

/* Number of entries and the i-th of a list that may be NULL. */
static inline unsigned list_len(const GPtrArray *l) { return l ? l->len : 0; }
#define list_at(T, l, i) ((struct T *)g_ptr_array_index((l), (i)))
/* for (each struct T *var of list l): break and continue work as in any loop */
#define list_each(T, var, l) \
	for (struct T *var = NULL, **var##_p = (struct T **)((l) ? (l)->pdata : NULL); \
		(l) && var##_p < (struct T **)(l)->pdata + (l)->len && ((var = *var##_p), true); var##_p++)

/*
 * Every device of the machine once, in the order of the XML, whatever its element: fn gets the row of struct devices,
 * the struct and its schema. Stops and returns false when fn does.
 */
bool devices_each(const struct devices *, bool (*fn)(const struct field *row, void *dev, void *arg), void *arg);
/* The members all devices have; NULL where the element has none (graphics). row: as devices_each gives it. */
struct device_base {
	DEVICE_MEMBERS;
};
struct device_base *device_base(const struct field *row, void *dev);
static inline char **device_alias(const struct field *row, void *dev)
{
	struct device_base *b = device_base(row, dev);

	return b ? &b->alias : NULL;
}
static inline struct address *device_address(const struct field *row, void *dev)
{
	struct device_base *b = device_base(row, dev);

	return b ? &b->address : NULL;
}
/* Is it on the PCI bus when kvmd runs it? (A disk of SATA, IDE, SCSI or USB is: as virtio.) */
bool device_on_pci(const struct field *row, const void *dev);
/* Its place in the boot order; 0: none, or it can't be booted from. */
uint32_t device_boot_order(const struct field *row, const void *dev);
