/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: room at the end, behind everything that is counted: [clusters asked for, zeroed] [a larger table of reference
 * blocks, when the old one is full] [reference blocks that count all of this]. Written and flushed before anything points
 * at it; with a new table, one write of the header makes it valid.
 */
#include <errno.h>
#include <string.h>

#include "devices/qcow2.h"

struct extend {
	struct q2_task task;
	struct q2 *q;
	void (*done)(void *arg, int error, uint64_t first);
	void *arg;
	uint64_t first, asked, table, blocks;   /* clusters */
	uint32_t block0;        /* index of the first new block */
	uint64_t table_n;
	uint8_t *data;          /* table and blocks */
	struct block_req req;
	struct iovec iov;
	enum { EXTEND_ZERO, EXTEND_WRITE, EXTEND_FLUSH, EXTEND_HEAD, EXTEND_DONE } step;
};

static void end(struct extend *x, int error)
{
	struct q2 *q = x->q;
	void (*done)(void *, int, uint64_t) = x->done;
	void *arg = x->arg;
	uint64_t first = x->first;

	g_free(x->data);
	g_free(x);
	done(arg, error, first);
	q2_run(q);
}

static void stepped(struct block_req *r, int64_t result)
{
	struct extend *x = r->arg;

	x->task.error = result < 0 ? (int)result : 0;
	x->step++;
	x->task.run(&x->task);
}

static void submit(struct extend *x, enum block_op op, uint64_t cluster, uint64_t n)
{
	x->iov = (struct iovec){ x->data, n << x->q->bits };
	x->req = (struct block_req){ .op = op,
		.offset = cluster << x->q->bits,
		.bytes = n << x->q->bits,
		.iov = &x->iov,
		.iov_n = op == BLOCK_WRITE,
		.done = stepped,
		.arg = x };
	if (op == BLOCK_FLUSH)
		x->req.offset = x->req.bytes = 0;
	block_submit(x->q->block.lower, &x->req);
}

/* The new table holds the old entries, which the caller knows to be on the disk, and the new blocks'. */
static void fill(struct extend *x)
{
	struct q2 *q = x->q;
	uint64_t *table = (uint64_t *)(void *)x->data, all = x->asked + x->table + x->blocks;
	uint64_t blocks_at = x->first + x->asked + x->table;
	uint8_t *blocks = x->data + (x->table << q->bits);

	if (x->table) {
		for (uint32_t i = 0; i < q->reft.n; i++)
			table[i] = GUINT64_TO_BE(q->reft.e[i]);
		for (uint64_t i = 0; i < x->blocks; i++)
			table[x->block0 + i] = GUINT64_TO_BE((blocks_at + i) << q->bits);
	}
	for (uint64_t i = 0; i < all; i++)
		q2_count_put(blocks + (i >> q->ref_bits << q->bits), q->ref_order,
			i & ((1ull << q->ref_bits) - 1), 1);
}

static void set_head(struct extend *x, uint64_t offset, uint64_t clusters)
{
	q2_head_set(x->q, 48, 8, offset);
	q2_head_set(x->q, 56, 4, clusters);
}

static void adopt(struct extend *x)
{
	struct q2 *q = x->q;
	uint64_t blocks_at = x->first + x->asked + x->table;

	if (x->table) {
		struct q2_table old = q->reft;
		uint64_t offset = (x->first + x->asked) << q->bits;

		g_assert(!old.dirty_n);
		if (!q2_table_init(&q->reft, offset, (uint32_t)x->table_n, x->table))
			g_error("out of memory");       /* 8 MiB at most: as GLib's allocations */
		memcpy(q->reft.e, old.e, (size_t)old.n * 8);
		q2_use_set(q, old.offset >> q->bits, old.clusters, USE_DATA);
		q2_free(q, old.offset >> q->bits, old.clusters);
		q2_use_set(q, x->first + x->asked, x->table, USE_REFT);
		q->info.reft_offset = offset;
		q->info.reft_clusters = (uint32_t)x->table;
		q2_table_finish(&old);
		for (uint64_t i = 0; i < x->blocks; i++)
			q->reft.e[x->block0 + i] = (blocks_at + i) << q->bits;
	} else {
		for (uint64_t i = 0; i < x->blocks; i++)
			q2_table_set(
				&q->reft, (uint32_t)(x->block0 + i), (blocks_at + i) << q->bits);
		q2_touch(q);
	}
	q2_use_set(q, blocks_at, x->blocks, USE_REFBLOCK);
}

static void run_extend(struct q2_task *t)
{
	struct extend *x = (struct extend *)t;
	struct q2 *q = x->q;

	if (t->error) {
		set_head(x, q->reft.offset, q->reft.clusters);
		end(x, t->error);
		return;
	}
	switch (x->step) {
	case EXTEND_ZERO:
		if (x->asked) {
			submit(x, BLOCK_ZERO, x->first, x->asked);
			return;
		}
		x->step = EXTEND_WRITE;
		/* fall through */
	case EXTEND_WRITE:
		submit(x, BLOCK_WRITE, x->first + x->asked, x->table + x->blocks);
		return;
	case EXTEND_FLUSH:
		submit(x, BLOCK_FLUSH, 0, 0);
		return;
	case EXTEND_HEAD:
		if (x->table) {
			x->step = EXTEND_DONE;
			set_head(x, (x->first + x->asked) << q->bits, x->table);
			q2_head_write(q, t);
			return;
		}
		break;
	case EXTEND_DONE:
		break;
	}
	adopt(x);
	end(x, 0);
}

void q2_extend(struct q2 *q, uint64_t clusters, void (*done)(void *arg, int error, uint64_t first),
	void *arg)
{
	struct extend *x = g_new0(struct extend, 1);
	uint64_t per = 1ull << q->ref_bits;

	g_assert(q->exclusive && q->making_refs && !q->reft.dirty_n);
	*x = (struct extend){ .task.run = run_extend, .q = q, .done = done, .arg = arg, .asked = clusters };
	for (x->block0 = q->reft.n; x->block0 && !q->reft.e[x->block0 - 1]; x->block0--)
		;
	x->first = (uint64_t)x->block0 << q->ref_bits;
	do {
		x->blocks++;
		x->table_n = x->block0 + x->blocks;
		if (x->table_n > q->reft.n) {
			x->table_n += x->table_n / 2;
			x->table = (x->table_n * 8 + q->cluster - 1) >> q->bits;
			x->table_n = (x->table << q->bits) / 8;
		}
	} while (x->blocks * per < clusters + x->table + x->blocks);
	if (x->table << q->bits > 8u << 20 ||
		(x->first + clusters + x->table + x->blocks) << q->bits > Q2_OFFSET) {
		end(x, -EFBIG);
		return;
	}
	for (uint64_t c = x->first; c < x->first + clusters + x->table + x->blocks; c++)
		if (q2_use(q, c) != USE_DATA) {
			q2_set_corrupt(q, "a table lies where no cluster is counted", c << q->bits);
			end(x, -EIO);
			return;
		}
	if (q->fresh != UINT64_MAX)
		q->fresh = MAX(q->fresh, (x->first + clusters + x->table + x->blocks) << q->bits);
	x->data = g_malloc0((x->table + x->blocks) << q->bits);
	fill(x);
	q2_ready(q, &x->task);
}
