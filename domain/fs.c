/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <filesystem>. */
#include "domain/fs.h"

#include "domain/rows.h"

NAMES(fs_type_names, FS_TYPE_N, "mount", "block", "file", "template", "ram", "bind");
NAMES(fs_access_names, FS_ACCESS_N, "passthrough", "mapped", "squash");
NAMES(fs_driver_names, FS_DRIVER_N, "path", "handle", "loop", "nbd", "ploop", "virtiofs");
static const char *const wrpolicy_names[] = { "", "immediate" };
static const char *const multidevs_names[] = { "", "default", "remap", "forbid", "warn" };
static const char *const fs_cache_names[] = { "", "none", "always" };
static const char *const sandbox_names[] = { "", "namespace", "chroot" };

static const struct field fs_driver_schema_fields[] = {
	ENUM(struct fs_driver, type, "@type", fs_driver_names, 0, "virtiofs, or 9p over path"),
	STR(struct fs_driver, format, "@format", 0, "format of an image"),
	ENUM(struct fs_driver, wrpolicy, "@wrpolicy", wrpolicy_names, 0, "when writes reach the host's disk"),
	U32(struct fs_driver, queue, "@queue", 0, 32768, GUEST, "entries of a queue"),
	VIRTIO_ROWS(struct fs_driver),
	EXTRAS(struct fs_driver, extras), END
};
static SCHEMA(fs_driver_schema, struct fs_driver, "driver", "how the folder is served");

static const struct field filesystem_schema_fields[] = {
	ENUM(struct filesystem, type, "@type", fs_type_names, 0, "kind of source"),
	ENUM(struct filesystem, accessmode, "@accessmode", fs_access_names, 0, "whose rights count"),
	ENUM(struct filesystem, multidevs, "@multidevs", multidevs_names, 0, "folders on several disks"),
	ENUM(struct filesystem, model, "@model", virtio_model_names, GUEST, "generation of the virtio device"),
	STR(struct filesystem, fmode, "@fmode", 0, "rights of new files"),
	STR(struct filesystem, dmode, "@dmode", 0, "rights of new folders"),
	STRUCT(struct filesystem, driver, "driver", fs_driver_schema, 0, "how it is served"),
	STR(struct filesystem, binary, "binary/@path", 0, "program that serves it"),
	ENUM(struct filesystem, binary_xattr, "binary/@xattr", onoff_names, 0, "extended attributes"),
	ENUM(struct filesystem, cache, "binary/cache/@mode", fs_cache_names, 0, "what the guest may cache"),
	ENUM(struct filesystem, sandbox, "binary/sandbox/@mode", sandbox_names, 0, "how that program is fenced"),
	ENUM(struct filesystem, lock_posix, "binary/lock/@posix", onoff_names, 0, "POSIX locks"),
	ENUM(struct filesystem, lock_flock, "binary/lock/@flock", onoff_names, 0, "flock"),
	I32(struct filesystem, thread_pool, "binary/thread_pool/@size", 0, 1024, 0, "threads of that program", .def = UINT64_MAX),
	KEEP_SILENT("binary/openfiles"),
	KEEP_SILENT("idmap"),
	RESOURCE(struct filesystem, dir, "source/@dir", RES_DIR, 0, "folder of the host"),
	RESOURCE(struct filesystem, socket, "source/@socket", RES_SOCKET_CONNECT, 0, "socket of a running virtiofsd"),
	STR(struct filesystem, file, "source/@file", 0, "image of the host"),
	STR(struct filesystem, dev, "source/@dev", 0, "block device of the host"),
	STR(struct filesystem, name, "source/@name", 0, "template"),
	KEEP_SILENT("source/@usage"),
	KEEP_SILENT("source/@units"),
	STR(struct filesystem, target, "target/@dir", GUEST, "name by which the guest mounts it"),
	FLAG(struct filesystem, readonly, "readonly", GUEST, "the guest cannot write to it"),
	SIZE(struct filesystem, space_hard_limit, "space_hard_limit", 0, INT64_MAX, 0, "most it may hold", .unit = 1),
	SIZE(struct filesystem, space_soft_limit, "space_soft_limit", 0, INT64_MAX, 0, "from where it is watched", .unit = 1),
	U32(struct filesystem, boot_order, "boot/@order", 1, 65535, GUEST, "place in the boot order, from 1"),
	KEEP_SILENT("boot/@loadparm"),
	DEVICE_ROWS(struct filesystem)
};
SCHEMA(filesystem_schema, struct filesystem, "filesystem", "a folder of the host for the guest");
