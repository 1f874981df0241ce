/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk in memory: for tests and as the null disk of benchmarks. Nothing is kept when it is closed. */
#pragma once
#include "devices/block.h"

struct block_mem_config {
	uint64_t size;          /* bytes */
	uint64_t max;           /* more than size: it grows like a file, up to here */
	bool null; /* no memory behind it: writes vanish, reads leave the buffer as it was */
	const void *data;       /* what it begins with; NULL: zeroes */
	uint64_t data_n;
};
/* The bytes of a mem node, valid until close; *n: how many. For tests. */
void *block_mem_data(struct block *, uint64_t *n);
