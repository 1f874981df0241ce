/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A disk that fails on order, for tests: errors at the n-th call, torn writes, requests done late and in another order, and
 * a log of everything that reached the disk, from which tests make what a power cut leaves.
 */
#pragma once
#include "devices/block.h"

struct block_fault_event {
	bool done;              /* else: it reached the disk */
	bool failed;
	unsigned id;            /* the same in both events of a request */
	unsigned submitted;     /* events in the log when it was submitted */
	enum block_op op;
	uint64_t off, len;
	uint8_t *data;          /* write: what was written */
};

/* The test's; may be changed between steps. Loop thread. */
struct block_fault {
	unsigned fail_ops;      /* bit per enum block_op that counts below */
	uint64_t nth;           /* fail when it comes down to 0, counted from here; 0: never */
	uint64_t times;         /* how many fail from then on; 0: one */
	int error;              /* -errno */
	bool torn;              /* a failing write leaves its first half on the disk */
	GRand *shuffle; /* requests reach the disk and are done in random order, some very late;
			   NULL: at once */
	int64_t delay;          /* ns until a request reaches the disk, without shuffle */
	GPtrArray *log; /* of struct block_fault_event, made by block_fault_log_new; NULL: no log */
	uint64_t seen[BLOCK_OPS];       /* counters */
	unsigned next_id;
};
struct block_fault_config { struct block_fault *fault; };       /* NULL: fault nothing */

GPtrArray *block_fault_log_new(void);
