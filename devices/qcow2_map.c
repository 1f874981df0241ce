/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: where a part of the disk lies: L1 → L2. And L2 tables of our own, before anything in them changes. */
#include <errno.h>
#include <string.h>

#include "devices/qcow2.h"

static uint64_t l1_index(const struct q2 *q, uint64_t pos)
{
	return pos >> (q->bits + q->l2_bits);
}

static bool is_cluster(const struct q2 *q, uint64_t offset)
{
	return offset && !(offset & (q->cluster - 1));
}

/* Where pos' L2 entry lies in the file; 0: there is no table. */
static int entry_offset(struct q2 *q, uint64_t pos, uint64_t *at)
{
	uint64_t i = l1_index(q, pos), l2;

	*at = 0;
	if (i >= q->l1.n)
		return -EIO;
	l2 = q->l1.e[i] & Q2_OFFSET;
	if (!l2)
		return 0;
	if (!is_cluster(q, l2)) {
		q2_set_corrupt(q, "an L2 table is not on a cluster's boundary", l2);
		return -EIO;
	}
	*at = l2 + (pos >> q->bits & ((1ull << q->l2_bits) - 1)) * 8;
	return 0;
}

int q2_entry(
	struct q2 *q, uint64_t pos, struct q2_task *t, struct q2_slice **slice, uint64_t **entry)
{
	uint64_t at;
	int rc = entry_offset(q, pos, &at);

	if (rc < 0 || !at) {
		*slice = NULL;
		return rc;
	}
	rc = q2_slice_get(&q->l2, at, t, slice);
	if (rc < 0)
		return rc;
	*entry = (uint64_t *)(void *)((*slice)->data + (at & (q->slice - 1)));
	return 0;
}

static enum q2_kind kind_of(const struct q2 *q, uint64_t entry)
{
	if (entry & Q2_COMPRESSED)
		return KIND_COMPRESSED;
	if (q->v3 && entry & Q2_ZERO)
		return KIND_ZERO;
	return entry & Q2_OFFSET ? KIND_DATA : KIND_HOLE;
}

/* Does the entry go on where the extent (of len bytes, a whole number of clusters from its first) ends? */
static bool continues(const struct q2 *q, const struct q2_extent *x, uint64_t first_host,
	uint64_t clusters, uint64_t entry)
{
	if (kind_of(q, entry) != x->kind)
		return false;
	switch (x->kind) {
	case KIND_DATA:
		return (entry & Q2_OFFSET) == first_host + (clusters << q->bits) &&
		       !(entry & Q2_COPIED) == !x->in_place;
	case KIND_ZERO:
		return !(entry & Q2_OFFSET) == !(x->entry & Q2_OFFSET);
	case KIND_COMPRESSED:
		return false;
	default:
		return true;
	}
}

/* What the entries from e on, those of pos and behind it in a slice, say. */
static int extent_at(struct q2 *q, const uint64_t *e, uint64_t pos, uint64_t len, struct q2_extent *out)
{
	uint64_t in = pos & (q->cluster - 1), per_slice = q->slice / 8, n = 1, most, host;

	*out = (struct q2_extent){ .entry = q2_be(e) };
	out->kind = kind_of(q, out->entry);
	out->in_place = out->entry & Q2_COPIED && out->kind == KIND_DATA;
	host = out->entry & Q2_OFFSET;
	if (out->kind == KIND_DATA && !is_cluster(q, host)) {
		q2_set_corrupt(q, "a cluster of data is not on a cluster's boundary", host);
		return -EIO;
	}
	out->host = out->kind == KIND_COMPRESSED ? out->entry : host + in;
	most = MIN(per_slice - ((pos >> q->bits) & (per_slice - 1)),
		(in + len + q->cluster - 1) >> q->bits);
	while (n < most && continues(q, out, host, n, q2_be(e + n)))
		n++;
	out->len = MIN(len, (n << q->bits) - in);
	return 0;
}

int q2_map(struct q2 *q, uint64_t pos, uint64_t len, struct q2_task *t, struct q2_extent *out)
{
	struct q2_slice *s;
	uint64_t *e;
	int rc = q2_entry(q, pos, t, &s, &e);

	if (rc < 0)
		return rc;
	if (!s) {               /* the L1 entry's whole range is a hole */
		uint64_t span = 1ull << (q->bits + q->l2_bits);

		*out = (struct q2_extent){ .kind = KIND_HOLE, .len = MIN(len, span - (pos & (span - 1))) };
		return 0;
	}
	return extent_at(q, e, pos, len, out);
}

bool q2_map_now(struct q2 *q, uint64_t pos, uint64_t len, struct q2_extent *out)
{
	uint64_t i = l1_index(q, pos), l2 = i < q->l1.n ? q->l1.e[i] & Q2_OFFSET : 0;
	uint64_t at = l2 + (pos >> q->bits & ((1ull << q->l2_bits) - 1)) * 8;
	const uint8_t *e = is_cluster(q, l2) ? q2_slice_peek(&q->l2, at) : NULL;

	/* what is damaged, the long way finds out */
	return e && extent_at(q, (const uint64_t *)(const void *)e, pos, len, out) == 0;
}

/* --- freeing what an entry points at --- */

uint64_t q2_zip_range(const struct q2 *q, uint64_t entry, uint64_t *len)
{
	unsigned shift = 62 - (q->bits - 8);
	uint64_t offset = entry & ((1ull << shift) - 1),
		 sectors = (entry >> shift & ((1ull << (q->bits - 8)) - 1)) + 1;

	*len = sectors * 512 - (offset & 511);
	return offset;
}

void q2_free_entry(struct q2 *q, uint64_t entry)
{
	uint64_t len = q->cluster, at = entry & Q2_OFFSET;

	if (entry & Q2_COMPRESSED)
		at = q2_zip_range(q, entry, &len);
	else if (!at)
		return;
	/* a damaged entry must not make a hole in a table */
	if (q2_may_write(q, at, len, USE_DATA))
		q2_free(q, at >> q->bits, ((at + len - 1) >> q->bits) - (at >> q->bits) + 1);
}

/* --- an L2 table that we may write --- */

struct newl2 {
	struct q2_task task;
	struct q2 *q;
	uint64_t index;         /* in L1 */
	uint64_t cluster;       /* 0: none yet */
	uint64_t old;           /* table to copy, 0: none */
	uint8_t *copy;
	struct block_req req;
	struct iovec iov;
	bool read, written;
};

static void newl2_end(struct newl2 *n, int error)
{
	struct q2 *q = n->q;

	if (error && n->cluster)
		q2_free(q, n->cluster, 1);
	q->making_l2 = false;
	g_free(n->copy);
	g_free(n);
	q2_wake(q, &q->l2_wait, error);
	q2_run(q);
}

static void newl2_io(struct block_req *r, int64_t result)
{
	struct newl2 *n = r->arg;

	*(r->op == BLOCK_READ ? &n->read : &n->written) = true;
	n->task.error = result < 0 ? (int)result : 0;
	n->task.run(&n->task);
}

static void newl2_submit(struct newl2 *n, enum block_op op, uint64_t offset)
{
	n->iov = (struct iovec){ n->copy, n->q->cluster };
	n->req = (struct block_req){ .op = op,
		.offset = offset,
		.bytes = n->q->cluster,
		.iov = &n->iov,
		.iov_n = n->copy ? 1 : 0,
		.done = newl2_io,
		.arg = n };
	block_submit(n->q->block.lower, &n->req);
}

static void run_newl2(struct q2_task *t)
{
	struct newl2 *n = (struct newl2 *)t;
	struct q2 *q = n->q;
	uint64_t got;
	int rc;

	if (t->error) {
		newl2_end(n, t->error);
		return;
	}
	if (!n->cluster) {
		rc = q2_clusters(q, 1, t, &n->cluster, &got);
		if (rc == -EAGAIN)
			return;
		if (rc < 0) {
			n->cluster = 0;
			newl2_end(n, rc);
			return;
		}
		if (q->fresh != UINT64_MAX)
			q->fresh = MAX(q->fresh, (n->cluster + 1) << q->bits);
		n->old = q->l1.e[n->index] & Q2_OFFSET;
		if (n->old)
			n->copy = g_malloc(q->cluster);         /* at most 2 MiB, one at a time */
	}
	if (n->old && !n->read) { /* shared with a snapshot: never written by us, so the disk has it
				     all */
		newl2_submit(n, BLOCK_READ, n->old);
		return;
	}
	if (!n->written) {
		newl2_submit(n, n->copy ? BLOCK_WRITE : BLOCK_ZERO, n->cluster << q->bits);
		return;
	}
	q2_table_set(&q->l1, (uint32_t)n->index, n->cluster << q->bits | Q2_COPIED);
	q2_use_set(q, n->cluster, 1, USE_L2);
	if (n->old)
		q2_free(q, n->old >> q->bits, 1);
	q2_touch(q);
	newl2_end(n, 0);
}

int q2_l2_writable(struct q2 *q, uint64_t pos, struct q2_task *t)
{
	uint64_t i = l1_index(q, pos);
	struct newl2 *n;

	if (i >= q->l1.n)
		return -EIO;
	if (q->l1.e[i] & Q2_OFFSET && q->l1.e[i] & Q2_COPIED)
		return 0;
	if (q->l1.e[i] & Q2_OFFSET && !is_cluster(q, q->l1.e[i] & Q2_OFFSET)) {
		q2_set_corrupt(
			q, "an L2 table is not on a cluster's boundary", q->l1.e[i] & Q2_OFFSET);
		return -EIO;
	}
	q2_wait_on(&q->l2_wait, t);
	if (q->making_l2)
		return -EAGAIN;
	q->making_l2 = true;
	n = g_new0(struct newl2, 1);
	n->task.run = run_newl2;
	n->q = q;
	n->index = i;
	q2_ready(q, &n->task);
	return -EAGAIN;
}
