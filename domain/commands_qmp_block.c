/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of QMP about disks. */
#include "domain/commands_qmp_block.h"

#define S(id, T, what, text) const struct schema id = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }
#define N32(m, text, ...) U32(T, m, NULL, 0, UINT32_MAX, 0, text, ##__VA_ARGS__)
#define N64(m, text, ...) U64(T, m, NULL, 0, UINT64_MAX, 0, text, ##__VA_ARGS__)
#define TEXT(m, text, ...) STR(T, m, NULL, 0, text, ##__VA_ARGS__)
#define BOOL(m, text, ...) FLAG(T, m, NULL, 0, text, ##__VA_ARGS__)

static const char *const detect_names[ZEROES_N] = { "off", "off", "on", "unmap" };

/* --- images --- */

#define T struct qmp_qcow2
static const struct field qmp_qcow2_schema_fields[] = {
	TEXT(compat, "version of the format: 0.10 or 1.1"), TEXT(compression, "how compressed clusters are", .name = "compression-type"),
	BOOL(lazy, "reference counts are brought up to date late", .name = "lazy-refcounts"), BOOL(corrupt, "found damaged: writes are refused"),
	BOOL(extended, "always false: such images are not opened", .name = "extended-l2"),
	N32(refcount_bits, "bits of a reference count", .name = "refcount-bits"), END };
static S(qmp_qcow2_schema, T, "ImageInfoSpecificQCow2", "a qcow2 image");
#undef T

#define T struct qmp_specific
static const struct field qmp_specific_schema_fields[] = {
	TEXT(type, "format"), STRUCT(T, data, NULL, qmp_qcow2_schema, 0, "what only this format has"), END };
static S(qmp_specific_schema, T, "ImageInfoSpecific", "what only one format has");
#undef T

static const struct schema qmp_image_schema;
#define T struct qmp_image
static const struct field qmp_image_schema_fields[] = {
	TEXT(filename, "path on the host"), TEXT(format, "format"), N64(size, "bytes that a guest sees", .name = "virtual-size"),
	N64(actual, "bytes on the host's file system", .name = "actual-size"), BOOL(dirty, "it was not closed", .name = "dirty-flag"),
	U32(T, cluster, NULL, 0, UINT32_MAX, UNSAID, "bytes of a cluster", .name = "cluster-size"),
	TEXT(backing_name, "the image behind, as this one names it", .name = "backing-filename"),
	TEXT(backing_full, "its path", .name = "full-backing-filename"), TEXT(backing_format, "its format", .name = "backing-filename-format"),
	OPT(T, specific, NULL, qmp_specific_schema, 0, "what only this format has", .name = "format-specific"),
	OPT(T, backing, NULL, qmp_image_schema, 0, "the image behind", .name = "backing-image"), END };
static const S(qmp_image_schema, T, "ImageInfo", "an image");
#undef T

#define T struct qmp_cache
static const struct field qmp_cache_schema_fields[] = {
	BOOL(writeback, "writes may be done before they are safe"), BOOL(direct, "past the host's page cache"),
	BOOL(no_flush, "flushes are not waited for", .name = "no-flush"), END };
static S(qmp_cache_schema, T, "BlockdevCacheInfo", "how it is cached");
#undef T

/* The twenty limits, in QEMU's words. */
#define LIMIT_MAX 1000000000000000
#define LIMIT(m, key, fl, text) U64(T, tune.m, NULL, 0, LIMIT_MAX, fl, text, .name = key)
#define LENGTH(m, key) U64(T, tune.m, NULL, 0, 86400, UNSAID, "seconds of that burst", .name = key)
#define LIMITS(fl) \
	LIMIT(total_bytes_sec, "bps", fl, "bytes per second"), LIMIT(read_bytes_sec, "bps_rd", fl, "bytes read per second"), \
	LIMIT(write_bytes_sec, "bps_wr", fl, "bytes written per second"), LIMIT(total_iops_sec, "iops", fl, "operations per second"), \
	LIMIT(read_iops_sec, "iops_rd", fl, "reads per second"), LIMIT(write_iops_sec, "iops_wr", fl, "writes per second"), \
	LIMIT(total_bytes_sec_max, "bps_max", UNSAID, "bytes per second in a burst"), \
	LIMIT(read_bytes_sec_max, "bps_rd_max", UNSAID, "bytes read in a burst"), \
	LIMIT(write_bytes_sec_max, "bps_wr_max", UNSAID, "bytes written in a burst"), \
	LIMIT(total_iops_sec_max, "iops_max", UNSAID, "operations in a burst"), LIMIT(read_iops_sec_max, "iops_rd_max", UNSAID, "reads in a burst"), \
	LIMIT(write_iops_sec_max, "iops_wr_max", UNSAID, "writes in a burst"), \
	LENGTH(total_bytes_sec_max_length, "bps_max_length"), LENGTH(read_bytes_sec_max_length, "bps_rd_max_length"), \
	LENGTH(write_bytes_sec_max_length, "bps_wr_max_length"), LENGTH(total_iops_sec_max_length, "iops_max_length"), \
	LENGTH(read_iops_sec_max_length, "iops_rd_max_length"), LENGTH(write_iops_sec_max_length, "iops_wr_max_length"), \
	LIMIT(size_iops_sec, "iops_size", UNSAID, "bytes that count as one operation"), \
	STR(T, tune.group_name, NULL, 0, "disks of one group share the limits", .name = "group")

#define T struct qmp_node
static const struct field qmp_node_schema_fields[] = {
	TEXT(file, "path on the host"), TEXT(node, "name of this part of the chain", .name = "node-name"), BOOL(ro, "only read"),
	TEXT(drv, "format, or how the host is reached"), TEXT(backing, "path of the image behind", .name = "backing_file"),
	N32(depth, "images behind", .name = "backing_file_depth"), BOOL(encrypted, "always false"),
	ENUM(T, detect, NULL, detect_names, 0, "what is made of zeroes that are written", .name = "detect_zeroes", .def = ZEROES_OFF),
	LIMITS(0), STRUCT(T, cache, NULL, qmp_cache_schema, 0, "how it is cached"),
	N64(threshold, "always 0: there is no such event", .name = "write_threshold"), STRUCT(T, image, NULL, qmp_image_schema, 0, "the image"), END };
S(qmp_node_schema, T, "BlockDeviceInfo", "a part of a disk's chain");
#undef T

#define T struct qmp_block
static const struct field qmp_block_schema_fields[] = {
	TEXT(device, "name of the disk"), TEXT(qdev, "the device in the tree of objects"), TEXT(type, "always unknown, as with QEMU"),
	BOOL(removable, "the medium can be changed"), BOOL(locked, "the guest holds the medium"),
	FLAG(T, tray, NULL, 0, "drives: the tray is open", .name = "tray_open"),
	OPT(T, inserted, NULL, qmp_node_schema, 0, "what is in it"), TEXT(status, "ok, failed, nospace", .name = "io-status"), END };
S(qmp_block_schema, T, "BlockInfo", "a disk");
#undef T

/* --- counters --- */

#define T struct qmp_disk_stats
#define OP(m, what) \
	N64(m.ops, "done", .name = what "_operations"), N64(m.ns, "ns they took, added up", .name = what "_total_time_ns"), \
	N64(m.failed, "that failed", .name = "failed_" what "_operations"), N64(m.invalid, "refused: the guest's fault", .name = "invalid_" what "_operations")
#define MOVES(m, what) \
	OP(m, what), N64(m.bytes, "bytes", .name = what "_bytes"), N64(m.merged, "always 0", .name = what "_merged")
static const struct field qmp_disk_stats_schema_fields[] = {
	MOVES(rd, "rd"), MOVES(wr, "wr"), OP(flush, "flush"), MOVES(unmap, "unmap"),
	N64(highest, "end of the furthest write, bytes", .name = "wr_highest_offset"),
	BOOL(invalid, "refused ones count as operations", .name = "account_invalid"), BOOL(failed, "failed ones count", .name = "account_failed"),
	JSON(T, timed, "any", 0, "always empty", .name = "timed_stats"), END };
static S(qmp_disk_stats_schema, T, "BlockDeviceStats", "counters of a disk");
#undef T

#define T struct qmp_blockstats
static const struct field qmp_blockstats_schema_fields[] = {
	TEXT(device, "name of the disk"), TEXT(qdev, "the device in the tree of objects"), TEXT(node, "top of its chain", .name = "node-name"),
	STRUCT(T, stats, NULL, qmp_disk_stats_schema, 0, "what the guest did"), END };
S(qmp_blockstats_schema, T, "BlockStats", "a disk and its counters");
#undef T

/* --- changes --- */

#define T struct args_block_resize
static const struct field args_block_resize_schema_fields[] = {
	TEXT(device, "name of the disk: drive-ALIAS, the target (vda), the alias, or the device's path"),
	TEXT(node, "or the top of its chain", .name = "node-name"),
	U64(T, size, NULL, 0, INT64_MAX, REQUIRED, "bytes; whole blocks are made of it"), END };
static S(args_block_resize_schema, T, "block_resize", "a new size");
#undef T

#define T struct args_io_throttle
static const struct field args_io_throttle_schema_fields[] = {
	TEXT(device, "name of the disk: drive-ALIAS or the target (vda)"), TEXT(id, "or the device's id or path"), LIMITS(REQUIRED), END };
S(args_io_throttle_schema, T, "block_set_io_throttle", "limits: 0 is none");
#undef T

#define ASK CMD_READ | CMD_VM
const struct command qmp_block_commands[] = {
	{ "query-block", NULL, "list the disks", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_block_schema },
	{ "query-blockstats", NULL, "show the disks' counters", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_blockstats_schema },
	{ "query-named-block-nodes", NULL, "list the parts of the disks' chains", IN_WORKER, ASK | CMD_LIST, NULL, &qmp_node_schema },
	{ "block_resize", NULL, "make a disk larger", IN_WORKER, CMD_VM, &args_block_resize_schema },
	{ "block_set_io_throttle", NULL, "limit a disk", IN_WORKER, CMD_VM, &args_io_throttle_schema },
	{ NULL },
};
