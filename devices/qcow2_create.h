/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New qcow2 images. */
#pragma once
#include "devices/block_driver.h"

struct qcow2_create {
	uint64_t size;                  /* of the disk, bytes, a multiple of 512 */
	uint32_t cluster;               /* 0: 64 KiB; 512 … 2 MiB */
	unsigned refcount_bits;         /* 0: 16; 1, 2, 4 … 64 */
	unsigned version;               /* 0: 3 */
	bool lazy_refcounts, zstd;
	const char *backing;            /* as it will stand in the image; NULL: none */
	int backing_format;             /* enum disk_format */
};
/* Writes an empty image into `file`, a leaf that grows and holds nothing. Blocking; nothing may be in flight. */
bool qcow2_create(struct block *file, const struct qcow2_create *, GError **err);
/* Config of the driver "qcow2". */
struct block_qcow2_config {
	uint64_t cache;                 /* bytes of L2 tables to keep, 0: 8 MiB */
	bool punch;                     /* freed clusters become holes of the file */
};
