/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: growing a disk while it is used. First the L1 table (in its place when its clusters have room, else anew at the
 * end), then zeroes over what the backing image would show behind the old end, then the size in the header.
 */
#include <errno.h>
#include <string.h>

#include "devices/qcow2.h"

struct resize {
	struct q2_task task;
	struct q2 *q;
	struct block_req *guest;
	uint64_t old_size, size;
	uint32_t l1_n;
	uint64_t l1_offset, l1_clusters;
	enum {
		RESIZE_L1,
		RESIZE_L1_ROOM,
		RESIZE_L1_READ,
		RESIZE_L1_WRITE,
		RESIZE_L1_FLUSH,
		RESIZE_L1_HEAD,
		RESIZE_L1_DONE,
		RESIZE_ZERO,
		RESIZE_COMMIT,
		RESIZE_HEAD,
		RESIZE_DONE
	} step;
	bool exclusive, refs;
	uint8_t *data;          /* the new L1 table */
	struct block_req req;
	struct iovec iov;
	struct q2_req zero;
};

static void set_head(struct q2 *q, uint64_t l1_offset, uint32_t l1_n, uint64_t size)
{
	q2_head_set(q, 24, 8, size);
	q2_head_set(q, 36, 4, l1_n);
	q2_head_set(q, 40, 8, l1_offset);
}

static void let_go(struct resize *r)
{
	struct q2 *q = r->q;

	if (r->refs) {
		q->making_refs = false;
		q2_wake(q, &q->refs_wait, 0);
	}
	if (r->exclusive)
		q2_drop_exclusive(q);
	r->refs = r->exclusive = false;
}

static void end(struct resize *r, int error)
{
	struct q2 *q = r->q;

	let_go(r);
	if (error) {
		q->block.size = r->old_size;
		set_head(q, q->l1.offset, q->l1.n, r->old_size);
	}
	q->resizing = false;
	block_done_soon(&q->block, r->guest, error);
	g_free(r->data);
	g_free(r);
}

static void stepped(struct block_req *req, int64_t result)
{
	struct resize *r = req->arg;
	struct q2 *q = r->q;

	r->task.error = result < 0 ? (int)result : 0;
	r->step++;
	r->task.run(&r->task);
	q2_run(q);
}

static void submit(struct resize *r, enum block_op op, uint64_t offset, void *buf, uint64_t n)
{
	r->iov = (struct iovec){ buf, n };
	r->req = (struct block_req){ .op = op,
		.offset = offset,
		.bytes = n,
		.iov = &r->iov,
		.iov_n = op != BLOCK_FLUSH,
		.done = stepped,
		.arg = r };
	block_submit(r->q->block.lower, &r->req);
}

static void room(void *arg, int error, uint64_t first)
{
	struct resize *r = arg;

	r->l1_offset = first << r->q->bits;
	r->task.error = error;
	r->step = RESIZE_L1_READ;
	r->task.run(&r->task);
}

static void zeroed(struct q2_req *req, int error)
{
	struct resize *r = req->own_arg;

	r->step = RESIZE_COMMIT;
	q2_ready(r->q, &r->task);
	r->task.error = error;
}

/* The table on the disk has moved or grown; what is dirty in memory stays so. */
static void adopt_l1(struct resize *r)
{
	struct q2 *q = r->q;
	struct q2_table old = q->l1;

	if (!q2_table_init(&q->l1, r->l1_offset, r->l1_n, r->l1_clusters))
		g_error("out of memory");       /* 32 MiB at most: as GLib's allocations */
	memcpy(q->l1.e, old.e, (size_t)old.n * 8);
	memcpy(q->l1.dirty, old.dirty, old.n / Q2_CHUNK + 1);
	q->l1.dirty_n = old.dirty_n;
	if (old.offset != r->l1_offset) {
		q2_use_set(q, old.offset >> q->bits, old.clusters, USE_DATA);
		q2_free(q, old.offset >> q->bits, old.clusters);
		q2_use_set(q, r->l1_offset >> q->bits, r->l1_clusters, USE_L1);
	}
	q2_table_finish(&old);
}

/* true: exclusive and the right to make reference blocks are ours, and their table is clean */
static bool take_refs(struct resize *r)
{
	struct q2 *q = r->q;

	if (!r->refs && q->making_refs) {
		q2_wait_on(&q->refs_wait, &r->task);
		return false;
	}
	r->refs = q->making_refs = true;
	if (q->reft.dirty_n && !r->exclusive) {
		q->force_refs = true;
		q2_flush(q, &r->task);
		return false;
	}
	if (!r->exclusive && !q2_take_exclusive(q, &r->task))
		return false;
	return r->exclusive = true;
}

static void run_resize(struct q2_task *t)
{
	struct resize *r = (struct resize *)t;
	struct q2 *q = r->q;
	uint64_t from, to;

	if (t->error) {
		end(r, t->error);
		return;
	}
	switch (r->step) {
	case RESIZE_L1:
		if (r->l1_n <= q->l1.n) {
			r->step = RESIZE_ZERO;
			break;
		}
		r->step = RESIZE_L1_ROOM;
		/* fall through */
	case RESIZE_L1_ROOM:
		r->l1_clusters = ((uint64_t)r->l1_n * 8 + q->cluster - 1) >> q->bits;
		if (r->l1_clusters > q->l1.clusters) {
			if (take_refs(r))
				q2_extend(q, r->l1_clusters, room, r);
			return;
		}
		if (!q2_take_exclusive(q, t))
			return;
		r->exclusive = true;
		r->l1_offset = q->l1.offset;
		r->l1_clusters = q->l1.clusters;
		r->step = RESIZE_L1_READ;
		/* fall through */
	case RESIZE_L1_READ: /* from the disk: memory may know tables that are not there yet */
		r->data = g_malloc0(r->l1_clusters << q->bits);
		submit(r, BLOCK_READ, q->l1.offset, r->data, MAX((uint64_t)q->l1.n * 8, 8));
		return;
	case RESIZE_L1_WRITE:
		if (!q->l1.n)
			memset(r->data, 0, 8);
		if (r->l1_offset != q->l1.offset)
			submit(r, BLOCK_WRITE, r->l1_offset, r->data, r->l1_clusters << q->bits);
		else
			submit(r, BLOCK_WRITE, r->l1_offset + (uint64_t)q->l1.n * 8,
				r->data + (size_t)q->l1.n * 8, (uint64_t)(r->l1_n - q->l1.n) * 8);
		return;
	case RESIZE_L1_FLUSH:
		submit(r, BLOCK_FLUSH, 0, NULL, 0);
		return;
	case RESIZE_L1_HEAD:
		/* a new place is counted in blocks that only the next commit makes known: it must come first */
		if (r->l1_offset != q->l1.offset && q->reft.dirty_n) {
			q2_drop_exclusive(q);
			r->exclusive = false;
			q->force_refs = true;
			q2_flush(q, t);
			return;
		}
		if (!r->exclusive) { /* L1 entries may have reached the old place meanwhile: once
					more */
			if (!q2_take_exclusive(q, t))
				return;
			r->exclusive = true;
			g_clear_pointer(&r->data, g_free);
			r->step = RESIZE_L1_READ;
			run_resize(t);
			return;
		}
		set_head(q, r->l1_offset, r->l1_n, r->old_size);
		r->step = RESIZE_L1_DONE;
		q2_head_write(q, t);
		return;
	case RESIZE_L1_DONE:
		adopt_l1(r);
		let_go(r);
		r->step = RESIZE_ZERO;
		break;
	default:
		break;
	}
	switch (r->step) {
	case RESIZE_ZERO:
		from = r->old_size;
		to = q->block.backing ? MIN(r->size, q->block.backing->size) : 0;
		q->block.size = r->size;
		if (from < to) {
			q2_own_request(&r->zero, q, BLOCK_ZERO, BLOCK_UNMAP, from, to - from, NULL,
				zeroed, r);
			return;
		}
		r->step = RESIZE_COMMIT;
		/* fall through */
	case RESIZE_COMMIT:
		r->step = RESIZE_HEAD;
		q2_flush(q, t);
		return;
	case RESIZE_HEAD:
		if (!q2_take_exclusive(q, t))
			return;
		r->exclusive = true;
		set_head(q, q->l1.offset, q->l1.n, r->size);
		r->step = RESIZE_DONE;
		q2_head_write(q, t);
		return;
	default:
		end(r, 0);
	}
}

void q2_resize(struct q2 *q, struct block_req *guest)
{
	uint64_t span = 1ull << (q->bits + q->l2_bits),
		 need = guest->offset / span + (guest->offset % span != 0);
	struct resize *r;

	if (q->corrupt || q->resizing || need > (32u << 20) / 8 || (!q->v3 && q->info.snapshots)) {
		block_done_soon(&q->block, guest,
			q->corrupt    ? -EIO
			: q->resizing ? -EBUSY
			: q->v3       ? -EFBIG
				      : -ENOTSUP);
		return;
	}
	r = g_new0(struct resize, 1);
	r->task.run = run_resize;
	r->q = q;
	r->guest = guest;
	r->old_size = q->block.size;
	r->size = guest->offset;
	r->l1_n = (uint32_t)need;
	q->resizing = true;
	q2_ready(q, &r->task);
}
