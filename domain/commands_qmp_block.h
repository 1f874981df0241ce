/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arguments and replies of the commands about disks that QEMU's clients know (domain/commands_qmp_block.c has the rows).
 * Key names and units are QEMU's. Replies borrow their texts.
 */
#pragma once
#include "domain/command.h"
#include "domain/disk.h"

struct qmp_qcow2 { char *compat, *compression; bool lazy, corrupt, extended; uint32_t refcount_bits; };
struct qmp_specific { char *type; struct qmp_qcow2 data; };
struct qmp_image {
	char *filename, *format;
	uint64_t size, actual;          /* what a guest sees; on the host's file system; bytes */
	uint32_t cluster;               /* 0: the format has none */
	bool dirty;
	char *backing_name, *backing_full, *backing_format;
	struct qmp_specific *specific;
	struct qmp_image *backing;
};
struct qmp_cache { bool writeback, direct, no_flush; };
struct qmp_node {
	char *file, *node, *drv, *backing;
	bool ro, encrypted;
	uint32_t depth;
	int detect;
	struct iotune tune;
	uint64_t threshold;
	struct qmp_cache cache;
	struct qmp_image image;
};
struct qmp_block { char *device, *qdev, *type, *status; bool removable, locked, tray; struct qmp_node *inserted; };

struct qmp_op_stats { uint64_t bytes, ops, ns, failed, invalid, merged; };
struct qmp_disk_stats { struct qmp_op_stats rd, wr, flush, unmap; uint64_t highest; bool invalid, failed; char *timed; };
struct qmp_blockstats { char *device, *qdev, *node; struct qmp_disk_stats stats; };

struct args_block_resize { char *device, *node; uint64_t size; };
struct args_io_throttle { char *device, *id; struct iotune tune; };

extern const struct schema args_io_throttle_schema, qmp_node_schema, qmp_block_schema, qmp_blockstats_schema;
