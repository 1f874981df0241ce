/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of character devices: shared by chr.c and chr_console.c only. */
#pragma once
#include "devices/chr.h"
#include "devices/chr_ring.h"

#define CHR_CHUNK 16384

struct chr {
	struct loop *loop;
	const struct chr_front *front;
	struct device *dev;
	int refs;               /* atomic: owner and posts under way */
	int starved;            /* atomic: input waits until the front end has room */
	GMutex lock;            /* this block */
	struct chr_ring ring;
	uint64_t flushed;       /* place up to which the loop has seen the ring */
	bool busy;              /* the loop will look again by itself */
	bool urged;             /* it was told to look at once */
	/* the loop's thread */
	GPtrArray *ends;        /* of struct chr_end, owned */
	struct chr_end *backend;        /* NULL: none */
	struct loop_timer timer;
	bool held, dead;
	bool wants_space;       /* the front end waits for chr_space to grow */
	unsigned next_id, cut;
	uint64_t in;
	uint8_t buf[CHR_CHUNK];
};

/* Loop. New end, not in the list yet. */
struct chr_end *chr_end_new(struct chr *, const struct chr_ops *);
/* Loop. The end begins its work; on failure it is freed. */
bool chr_end_join(struct chr_end *, bool backend, GError **err);
/* Loop. All that was written goes to the ends now, as far as they take it. */
void chr_flush(struct chr *);
/* Loop. Frees the ends that are .closing. */
void chr_sweep(struct chr *);
