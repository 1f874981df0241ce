/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: clusters on their way to be free.
 *
 * A batch holds what lost a reference in one epoch (between the starts of two commits). When its commit is on the disk and
 * every request that began in that epoch or before has ended, nothing on the disk and nobody in flight points there. Then
 * each cluster's count goes down; the last reference punches the hole first, counted all the while, so that nobody can get
 * the cluster before the hole is done.
 */
#include <errno.h>
#include <string.h>

#include "devices/qcow2.h"

#define PUNCHES 16u     /* under way at once */

struct punch {
	struct q2_task task;
	struct q2 *q;
	struct q2_batch *batch;
	uint64_t first, n;
	struct block_req req;
};

void q2_free(struct q2 *q, uint64_t first, uint64_t n)
{
	struct q2_free f = { first, n },
		       *last = q->frees->len
				       ? &g_array_index(q->frees, struct q2_free, q->frees->len - 1)
				       : NULL;

	if (last && last->first + last->n == first)
		last->n += n;
	else
		g_array_append_val(q->frees, f);
	q2_touch(q);
}

void q2_free_durable(struct q2 *q, GArray *list, uint64_t epoch)
{
	struct q2_batch *b;

	if (!list->len) {
		g_array_free(list, TRUE);
		return;
	}
	b = g_new0(struct q2_batch, 1);
	b->list = list;
	b->epoch = epoch;
	*q->durable_end = b;
	q->durable_end = &b->next;
}

/* Nothing can be read from there any more. */
static void forget(struct q2 *q, uint64_t cluster)
{
	enum q2_use use = q2_use(q, cluster);

	if (use == USE_L2)
		q2_cache_drop(&q->l2, cluster << q->bits, q->cluster);
	if (use != USE_DATA)
		q2_use_set(q, cluster, 1, USE_DATA);
	q2_zip_forget(q->zip);
}

static void batch_free(struct q2 *q)
{
	struct q2_batch *b = q->durable;

	q->durable = b->next;
	if (!q->durable)
		q->durable_end = &q->durable;
	g_array_free(b->list, TRUE);
	g_free(b);
}

static void end_punch(struct punch *p)
{
	struct q2 *q = p->q;

	p->batch->pending--;
	g_free(p);
	q2_release(q);
}

/* The hole is punched: now the clusters may be used. An error only means that they are counted for ever, or till a check. */
static void uncount(struct q2_task *t)
{
	struct punch *p = (struct punch *)t;

	while (p->n) {
		int rc = t->error ? 0 : q2_ref_set(p->q, p->first, 0, t);

		if (rc == -EAGAIN)
			return;
		t->error = 0;
		p->first++;
		p->n--;
	}
	end_punch(p);
}

static void punched(struct block_req *r, int64_t result)
{
	struct punch *p = r->arg;
	struct q2 *q = p->q;

	p->task.error = 0;      /* no hole: the space is used again all the same */
	uncount(&p->task);
	q2_run(q);
}

static void start_punch(struct q2 *q, struct q2_batch *b, uint64_t first, uint64_t n)
{
	struct punch *p = g_new0(struct punch, 1);

	p->task.run = uncount;
	p->q = q;
	p->batch = b;
	p->first = first;
	p->n = n;
	b->pending++;
	if (!q->punch) {
		q2_ready(q, &p->task);
		return;
	}
	p->req = (struct block_req){ .op = BLOCK_DISCARD,
		.offset = first << q->bits,
		.bytes = n << q->bits,
		.done = punched,
		.arg = p };
	block_submit(q->block.lower, &p->req);
}

/* One entry of the batch, or a part of it; -EAGAIN: the task waits. */
static int release_entry(struct q2 *q, struct q2_batch *b, struct q2_task *t)
{
	struct q2_free *f = &g_array_index(b->list, struct q2_free, b->at);
	uint64_t n = 0, count = 0;
	int rc = 0;

	/* a row of last references goes in one hole */
	while (n < f->n) {
		rc = t->error ? t->error : q2_ref(q, f->first + n, t, &count);
		t->error = 0;
		if (rc == -EAGAIN || rc < 0 || count != 1)
			break;
		forget(q, f->first + n);
		n++;
	}
	if (n) {
		start_punch(q, b, f->first, n);
		f->first += n;
		f->n -= n;
		return rc == -EAGAIN ? rc : 0;
	}
	if (rc == -EAGAIN)
		return rc;
	if (f->n && rc >= 0 && count > 1) {
		rc = q2_ref_set(q, f->first, count - 1, t);
		if (rc == -EAGAIN)
			return rc;
	}
	if (f->n) { /* counted 0 or unreadable: damage that was there before; it stays as it is */
		f->first++;
		f->n--;
	}
	if (!f->n)
		b->at++;
	return 0;
}

static void run_release(struct q2_task *t)
{
	struct q2 *q = (struct q2 *)((char *)t - offsetof(struct q2, release));

	q->releasing = false;
	while (q->durable && !q->corrupt && !q->quiet) {
		struct q2_batch *b = q->durable;

		if (q->oldest && q->oldest->epoch <= b->epoch)
			return;
		if (b->pending >= PUNCHES)
			return;
		if (b->at < b->list->len) {
			if (release_entry(q, b, t) == -EAGAIN) {
				q->releasing = true;
				return;
			}
			continue;
		}
		if (b->pending)
			return;
		batch_free(q);
	}
}

void q2_release(struct q2 *q)
{
	if (q->releasing || q->quiet || !q->durable)
		return;
	if (q->oldest && q->oldest->epoch <= q->durable->epoch)
		return;
	q->releasing = true;
	q->release.run = run_release;
	q2_ready(q, &q->release);
}

/* --- blocking, for close: all requests have ended --- */

static int count_sync(struct q2 *q, uint64_t cluster)
{
	uint64_t block = cluster >> q->ref_bits, in = cluster & ((1ull << q->ref_bits) - 1), at,
		 count, i;
	uint8_t buf[8];
	struct q2_slice *s;
	unsigned bytes = MAX((1u << q->ref_order) / 8, 1);
	int rc;

	if (block >= q->reft.n || !q->reft.e[block])
		return 0;
	at = (q->reft.e[block] & Q2_OFFSET) + (in << q->ref_order) / 8;
	s = g_hash_table_lookup(q->refs.slices, GSIZE_TO_POINTER(at / q->slice));
	if (s)
		memcpy(buf, s->data + (at & (q->slice - 1)), bytes);
	rc = s ? 0 : block_sync(q->block.lower, BLOCK_READ, at, buf, bytes);
	if (rc < 0)
		return rc;
	i = q->ref_order < 3 ? in & ((8u >> q->ref_order) - 1) : 0;
	count = q2_count_at(buf, q->ref_order, i);
	if (!count)
		return 0;
	q2_count_put(buf, q->ref_order, i, count - 1);
	if (count == 1 && q->punch)
		(void)block_sync(q->block.lower, BLOCK_DISCARD, cluster << q->bits, NULL,
			q->cluster); /* no hole: no harm */
	if (s) {
		memcpy(s->data + (at & (q->slice - 1)), buf, bytes);
		q2_slice_dirty(s);
		return 0;
	}
	return block_sync(q->block.lower, BLOCK_WRITE, at, buf, bytes);
}

int q2_release_sync(struct q2 *q)
{
	int rc = 0;

	while (q->durable) {
		struct q2_batch *b = q->durable;

		for (; b->at < b->list->len && !q->corrupt; b->at++) {
			struct q2_free *f = &g_array_index(b->list, struct q2_free, b->at);

			for (; f->n && rc >= 0; f->first++, f->n--)
				rc = count_sync(q, f->first);
		}
		batch_free(q);
	}
	return rc;
}
