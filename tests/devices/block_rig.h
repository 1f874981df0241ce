/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A loop with a manual clock and what disks need on it; requests that run to their end. For tests of disks. */
#pragma once
#include "devices/block_driver.h"
#include "devices/block_fault.h"
#include "devices/block_file.h"
#include "devices/block_mem.h"
#include "devices/qcow2_create.h"

struct rig {
	struct clock *clock;
	struct loop *loop;
	struct block_host *host;
	struct fdset *fds;
	struct ring ring;
	char *folder;                   /* temporary, removed at the end; made by rig_path */
};

void rig_init(struct rig *, bool manual_clock, bool ring);
void rig_finish(struct rig *);
/* Turns the loop until the counter is 0. */
void rig_run(struct rig *, const unsigned *pending);
/* One request to its end: bytes or -errno. */
int64_t rig_io(struct rig *, struct block *, enum block_op, unsigned flags, uint64_t off, void *buf,
	uint64_t len);
void rig_drain(struct rig *, struct block *);
/* Drains and closes; fails the test on an error unless `may_fail`. */
bool rig_close(struct rig *, struct block *, bool may_fail);
struct block *rig_open(
	struct rig *, const struct block_row *, unsigned n, const struct block_options *);
/* A path in the temporary folder. Caller frees. */
char *rig_path(struct rig *, const char *name);
void rig_save(const char *path, const void *data, uint64_t n);
/* Runs a command; its exit status, output in *out (may be NULL). -1: it is not installed. */
int rig_command(char **out, const char *first, ...) G_GNUC_NULL_TERMINATED;
bool rig_has_qemu_img(void);
/* "qemu-img check": 0 fine, 3 only leaks. Prints what it says when it is worse than `worst`. */
int rig_check(const char *path, int worst);
uint64_t rig_count(const char *variable, uint64_t normal,
	uint64_t full); /* full with KVMD_LONG=1; variable overrides */
