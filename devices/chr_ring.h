/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last bytes of a stream, addressed by their place in the whole stream. Readers keep their own
 * place; one that is further behind than the ring is long has lost what lies between. No locking.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define CHR_RING_BYTES (128u << 10)
#define CHR_BACKLOG_BYTES (64u << 10)   /* shown to a late reader; the rest of the ring is his room to fall behind */

struct chr_ring {
	uint8_t *data;
	uint64_t head;          /* bytes put so far */
};

void chr_ring_init(struct chr_ring *);
void chr_ring_finish(struct chr_ring *);
void chr_ring_put(struct chr_ring *, const void *data, size_t n);
/* The oldest place that is still there. */
uint64_t chr_ring_tail(const struct chr_ring *);
/* Where a late reader starts. */
uint64_t chr_ring_backlog(const struct chr_ring *);
/* Copies at most n bytes from place `at` (tail <= at <= head); how many. */
size_t chr_ring_copy(const struct chr_ring *, uint64_t at, void *to, size_t n);
