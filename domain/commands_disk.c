/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of kvmd's commands about disks. */
#include "domain/commands_disk.h"

#define ASK(T, text) \
	static const struct schema ask_##T##_schema = { .name = #T, .doc = text, .size = sizeof(struct ask_##T), .fields = ask_##T##_fields }
#define TELL(T, text) \
	const struct schema tell_##T##_schema = { .name = #T, .doc = text, .size = sizeof(struct tell_##T), .fields = tell_##T##_fields }
#define N64(m, text) U64(T, m, NULL, 0, UINT64_MAX, 0, text)
#define TEXT(m, text) STR(T, m, NULL, 0, text)
#define DEVICE(fl) STR(T, device, NULL, POSITIONAL | (fl), "which disk: its target (vda) or its source")

/* --- limits --- */

#define LIMIT(m, d, text) U64(T, tune.m, NULL, 0, UINT64_C(1000000000000000), 0, text, .name = #m, .def = d)
#define RATE(m, d, text) F_NUM(T, tune.m, uint64_t, NULL, kind_size, 0, UINT64_C(1000000000000000), 0, text, .name = #m, .def = d, .unit = 1)
#define LENGTH(m, d) U64(T, tune.m##_max_length, NULL, 0, 86400, 0, "seconds that this burst may last", .name = #m "_max_length", .def = d)
#define LIMITS(d) \
	RATE(total_bytes_sec, d, "bytes per second, read and written, or with a unit (10MiB); 0: no limit, as for all"), RATE(read_bytes_sec, d, "bytes read per second"), \
	RATE(write_bytes_sec, d, "bytes written per second"), LIMIT(total_iops_sec, d, "operations per second"), \
	LIMIT(read_iops_sec, d, "reads per second"), LIMIT(write_iops_sec, d, "writes per second"), \
	RATE(total_bytes_sec_max, d, "bytes per second in a burst"), RATE(read_bytes_sec_max, d, "bytes read in a burst"), \
	RATE(write_bytes_sec_max, d, "bytes written in a burst"), LIMIT(total_iops_sec_max, d, "operations in a burst"), \
	LIMIT(read_iops_sec_max, d, "reads in a burst"), LIMIT(write_iops_sec_max, d, "writes in a burst"), \
	LIMIT(size_iops_sec, d, "bytes that count as one operation"), \
	STR(T, tune.group_name, NULL, 0, "disks of one name share the limits", .name = "group_name"), \
	LENGTH(total_bytes_sec, d), LENGTH(read_bytes_sec, d), LENGTH(write_bytes_sec, d), LENGTH(total_iops_sec, d), LENGTH(read_iops_sec, d), \
	LENGTH(write_iops_sec, d)

#define T struct ask_blkdeviotune
static const struct field ask_blkdeviotune_fields[] = {
	DEVICE(REQUIRED), LIMITS(TUNE_SAME), ASK_SCOPE(T), END };
#undef T
ASK(blkdeviotune, "limits of a disk");

#define T struct tell_blkdeviotune
static const struct field tell_blkdeviotune_fields[] = { LIMITS(0), END };
#undef T
TELL(blkdeviotune, "limits of a disk");

/* --- size --- */

#define T struct ask_blockresize
static const struct field ask_blockresize_fields[] = {
	DEVICE(REQUIRED),
	F_NUM(T, size, uint64_t, NULL, kind_size, 1, INT64_MAX, REQUIRED | POSITIONAL, "the new size: 20G; without a unit KiB"), END };
#undef T
ASK(blockresize, "a larger disk");

#define T struct tell_blockresize
static const struct field tell_blockresize_fields[] = { TEXT(target, "the disk"), N64(size, "bytes it has now"), END };
#undef T
TELL(blockresize, "a disk's size");

/* --- looking --- */

#define T struct ask_domblklist
static const struct field ask_domblklist_fields[] = {
	FLAG(T, inactive, NULL, 0, "of the definition, also while the machine runs"), FLAG(T, details, NULL, 0, "print the kinds too"), END };
#undef T
ASK(domblklist, "which disks");

#define T struct tell_domblk
static const struct field tell_domblk_fields[] = {
	TEXT(type, "file, block, network"), TEXT(device, "disk, cdrom, floppy"), TEXT(target, "its name"),
	TEXT(source, "what holds the data; not given: nothing is in"), END };
#undef T
static TELL(domblk, "a disk");

#define T struct tell_domblklist
static const struct field tell_domblklist_fields[] = { LIST(T, disks, NULL, tell_domblk_schema, 65536, 0, "the disks"), END };
#undef T
TELL(domblklist, "the disks of a domain");

#define T struct ask_domblk
static const struct field ask_domblk_fields[] = { DEVICE(0), END };
#undef T
ASK(domblk, "one disk; not given: all");

#define T struct tell_image
static const struct field tell_image_fields[] = {
	TEXT(target, "the disk"), U32(T, depth, NULL, 0, UINT32_MAX, 0, "0: the image the guest writes; 1: what that stands on, …"),
	TEXT(format, "its format"), N64(virtual, "bytes a guest sees"), N64(allocated, "bytes it takes on the host"),
	N64(physical, "length of the file or device, bytes"), TEXT(path, "where it is"),
	TEXT(trouble, "why it could not be looked at"), END };
#undef T
static TELL(image, "an image");

#define T struct tell_domblkinfo
static const struct field tell_domblkinfo_fields[] = { LIST(T, images, NULL, tell_image_schema, 65536, 0, "the images of each disk"), END };
#undef T
TELL(domblkinfo, "how large disks are");

#define T struct tell_domblkstat_row
static const struct field tell_domblkstat_row_fields[] = {
	TEXT(target, "the disk"), N64(rd_req, "reads"), N64(rd_bytes, "bytes read"), N64(wr_req, "writes"), N64(wr_bytes, "bytes written"),
	N64(flush_req, "flushes"), N64(unmap_req, "discards"), N64(unmap_bytes, "bytes discarded"), N64(errs, "requests that failed"),
	N64(rd_total_times, "ns that reads took, added up"), N64(wr_total_times, "ns that writes took"), N64(flush_total_times, "ns that flushes took"),
	END };
#undef T
static TELL(domblkstat_row, "counters of a disk");

#define T struct tell_domblkstat
static const struct field tell_domblkstat_fields[] = { LIST(T, disks, NULL, tell_domblkstat_row_schema, 65536, 0, "the disks"), END };
#undef T
TELL(domblkstat, "what the guest did with its disks");

#define T struct tell_domblkerror_row
static const struct field tell_domblkerror_row_fields[] = { TEXT(target, "the disk"), TEXT(error, "no space, or unspecified error"), END };
#undef T
static TELL(domblkerror_row, "a disk that failed");

#define T struct tell_domblkerror
static const struct field tell_domblkerror_fields[] = { LIST(T, disks, NULL, tell_domblkerror_row_schema, 65536, 0, "the disks"), END };
#undef T
TELL(domblkerror, "disks the machine waits for");

#define T struct ask_disk_usage
static const struct field ask_disk_usage_fields[] = { STR(T, domain, NULL, POSITIONAL, "only of this domain; not given: of all"), END };
#undef T
ASK(disk_usage, "whose disks");

#define T struct tell_usage_image
static const struct field tell_usage_image_fields[] = {
	TEXT(domain, "whose it is"), TEXT(target, "the disk"), U32(T, depth, NULL, 0, UINT32_MAX, 0, "0: the image the guest writes; 1: what that stands on, …"),
	TEXT(format, "its format"), N64(virtual, "bytes a guest sees"), N64(allocated, "bytes it takes on the host"),
	N64(free, "bytes its file system has left; 0 for a device"), TEXT(path, "where it is"), TEXT(trouble, "why it could not be looked at"), END };
#undef T
static TELL(usage_image, "an image");

#define T struct tell_usage_fs
static const struct field tell_usage_fs_fields[] = {
	TEXT(path, "where it is mounted"), N64(size, "bytes it has"), N64(free, "bytes it has left"), N64(used, "bytes the images above take"),
	N64(promised, "bytes that guests may still write into them"), N64(lacking, "what is promised beyond what is free"), END };
#undef T
static TELL(usage_fs, "a file system of the host");

#define T struct tell_disk_usage
static const struct field tell_disk_usage_fields[] = {
	LIST(T, images, NULL, tell_usage_image_schema, 1000000, 0, "images, by domain"),
	LIST(T, filesystems, NULL, tell_usage_fs_schema, 65536, 0, "the host's file systems they are on"), END };
#undef T
TELL(disk_usage, "what disks take and promise");

const struct command disk_commands[] = {
	{ "blkdeviotune", "blkdeviotune", "print or change how much a disk may do", IN_KVMD, CMD_VM, &ask_blkdeviotune_schema, &tell_blkdeviotune_schema,
	  "kvmctl blkdeviotune web vda\nkvmctl blkdeviotune web vda --total-iops-sec 500 --live --config\n"
	  "kvmctl blkdeviotune web vda --total-bytes-sec 0",
	  "Without limits it prints those there are. Limits of one kind (bytes, operations, their bursts, the bursts' lengths) are set "
	  "together: what is left out of that kind becomes 0, other kinds stay as they are. A change holds at once; nothing waits longer "
	  "for it than it would under the new limits." },
	{ "blockresize", "blockresize", "make a disk of a running machine larger", IN_KVMD, CMD_VM, &ask_blockresize_schema, &tell_blockresize_schema,
	  "kvmctl blockresize web vda 40G\nkvmctl blockresize web /srv/web.qcow2 41943040",
	  "The guest learns of it at once. Making a disk smaller is refused, for what is cut off would be lost. A disk that is a device of the "
	  "host can be made as large as that has become. When the domain is off, 'qemu-img resize' does it." },
	{ "domblklist", "domblklist", "list a domain's disks", IN_KVMD, CMD_VM | CMD_READ, &ask_domblklist_schema, &tell_domblklist_schema,
	  "kvmctl domblklist web\nkvmctl domblklist web --details", NULL },
	{ "domblkinfo", "domblkinfo", "print how large a domain's disks are, and what they take on the host", IN_KVMD, CMD_VM | CMD_READ,
	  &ask_domblk_schema, &tell_domblkinfo_schema, "kvmctl domblkinfo web\nkvmctl domblkinfo web vda", "Also when the domain is off." },
	{ "domblkstat", "domblkstat", "print the counters of a running machine's disks", IN_KVMD, CMD_VM | CMD_READ, &ask_domblk_schema,
	  &tell_domblkstat_schema, "kvmctl domblkstat web vda", NULL },
	{ "domblkerror", "domblkerror", "list the disks for which a machine has paused", IN_KVMD, CMD_VM | CMD_READ, NULL, &tell_domblkerror_schema,
	  "kvmctl domblkerror web", "A machine whose disk is full or failed goes on, and tries again, by 'kvmctl resume'." },
	{ "disk-usage", "disk-usage", "print what disks take on the host, and what is promised beyond that", IN_KVMD, CMD_READ, &ask_disk_usage_schema,
	  &tell_disk_usage_schema, "kvmctl disk-usage\nkvmctl disk-usage web",
	  "Each image of each chain, then each file system that holds some: an image that several domains use counts once there. Sparse "
	  "images promise guests more than they take; 'lacking' is what would be missing if all guests filled their disks." },
	{ NULL },
};
