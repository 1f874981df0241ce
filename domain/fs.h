/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Folders of the host for the guest: <filesystem>. Read and kept; refused until virtiofs is here. */
#pragma once
#include "domain/address.h"

enum fs_type { FS_ABSENT, FS_MOUNT, FS_BLOCK, FS_FILE, FS_TEMPLATE, FS_RAM, FS_BIND, FS_TYPE_N };
enum fs_access { FS_ACCESS_ABSENT, FS_PASSTHROUGH, FS_MAPPED, FS_SQUASH, FS_ACCESS_N };
enum fs_driver_type { FS_DRIVER_ABSENT, FS_DRIVER_PATH, FS_DRIVER_HANDLE, FS_DRIVER_LOOP, FS_DRIVER_NBD, FS_DRIVER_PLOOP,
	FS_DRIVER_VIRTIOFS, FS_DRIVER_N };

struct fs_driver {
	int type;
	char *format;
	int wrpolicy;                   /* 1 = immediate */
	uint32_t queue;
	VIRTIO_MEMBERS;
	struct extras extras;
};
struct filesystem {
	int type, accessmode, multidevs, model;
	char *fmode, *dmode;            /* octal */
	struct fs_driver driver;
	char *binary;                   /* virtiofsd's path: kept, kvmd uses its own */
	int binary_xattr;               /* ONOFF */
	int cache, sandbox;
	int lock_posix, lock_flock;     /* ONOFF */
	int32_t thread_pool;            /* size; -1: not given */
	struct resource dir, socket;    /* source */
	char *file, *dev, *name;        /* source of the other types */
	char *target;                   /* the tag by which the guest mounts it */
	bool readonly;
	uint64_t space_hard_limit, space_soft_limit;
	uint32_t boot_order;
	DEVICE_MEMBERS;
};
extern const struct schema filesystem_schema;
