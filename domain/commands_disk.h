/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments and replies of kvmd's commands about disks (domain/commands_disk.c has the rows). */
#pragma once
#include "domain/command.h"
#include "domain/disk.h"

#define TUNE_SAME UINT64_MAX            /* ask_blkdeviotune: not given */
struct ask_blkdeviotune { char *device; struct iotune tune; struct ask_scope scope; };
struct tell_blkdeviotune { struct iotune tune; };
struct ask_blockresize { char *device; uint64_t size; };
struct tell_blockresize { char *target; uint64_t size; };
struct ask_domblklist { bool inactive, details; };
struct tell_domblk { char *type, *device, *target, *source; };
struct tell_domblklist { GPtrArray *disks; /* struct tell_domblk */ };
struct ask_domblk { char *device; };
struct tell_image {
	char *target, *path, *format;
	uint64_t virtual, allocated, physical;  /* bytes */
	uint32_t depth;                         /* 0: the image the guest writes */
	char *trouble;                          /* why it could not be looked at; NULL: it could */
};
struct tell_domblkinfo { GPtrArray *images; };
struct tell_domblkstat_row {
	char *target;
	uint64_t rd_req, rd_bytes, wr_req, wr_bytes, flush_req, unmap_req, unmap_bytes, errs;
	uint64_t rd_total_times, wr_total_times, flush_total_times;     /* ns */
};
struct tell_domblkstat { GPtrArray *disks; };
struct tell_domblkerror_row { char *target, *error; };
struct tell_domblkerror { GPtrArray *disks; };

struct ask_disk_usage { char *domain; };
struct tell_usage_image {
	char *domain, *target, *format, *path, *trouble;
	uint32_t depth;
	uint64_t virtual, allocated, free;      /* bytes; free: on its file system */
};
struct tell_usage_fs {
	char *path;                             /* where it is mounted */
	uint64_t size, free, used;              /* bytes; used: by the images listed, each counted once */
	uint64_t promised;                      /* what guests may still write into images on it */
	uint64_t lacking;                       /* promised beyond what is free */
};
struct tell_disk_usage { GPtrArray *images, *filesystems; };

extern const struct schema tell_disk_usage_schema, tell_blkdeviotune_schema, tell_blockresize_schema, tell_domblklist_schema, tell_domblkinfo_schema,
	tell_domblkstat_schema, tell_domblkerror_schema;
