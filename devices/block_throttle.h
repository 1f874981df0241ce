/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <iotune>: limits for a disk or for a group of disks. The buckets are pure (numbers in, numbers out) and tested alone.
 */
#pragma once
#include "devices/block.h"
#include "domain/disk.h"

/*
 * A token bucket. Tokens (bytes, operations) come in at `rate` per second up to `cap`; a request may go when the tokens
 * it costs are there, or the bucket is full, and takes them, into debt if it costs more than the bucket holds: so the
 * average is exact whatever the sizes. Levels are in token-nanoseconds (10^9 per token): nothing is lost by rounding.
 */
struct bucket {
	uint64_t rate;          /* per second; 0: no limit */
	uint64_t cap;           /* tokens */
	__int128 level;         /* tokens × 10^9; below 0: debt */
};
/* Full. */
void bucket_init(struct bucket *, uint64_t rate, uint64_t cap);
/* New limits: what was saved keeps its part of the bucket; what was owed costs neither more tokens nor more time. */
void bucket_set(struct bucket *, uint64_t rate, uint64_t cap);
void bucket_refill(struct bucket *, int64_t ns);
/* ns until a request of that cost may go; 0: now. */
int64_t bucket_wait(const struct bucket *, uint64_t cost);
void bucket_take(struct bucket *, uint64_t cost);

struct block_throttle_config {
	const struct iotune *limits;    /* group_name NULL: a group of its own */
};
