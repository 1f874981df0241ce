/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: reference counts and allocation.
 *
 * Clusters come from those freed in this session, then from the first free ones behind `hint`, which wanders to the end
 * of the file. A part of the file without a reference block gets one in its first cluster, counted by itself.
 */
#include <errno.h>
#include <string.h>

#include "devices/qcow2.h"

#define FREED_MAX 4096u

/* --- counts of 1 to 64 bits --- */

uint64_t q2_count_at(const uint8_t *data, unsigned order, uint64_t i)
{
	unsigned bits = 1u << order;
	uint64_t v = 0;

	if (bits < 8)
		return data[i * bits / 8] >> (i * bits % 8) & ((1u << bits) - 1);
	for (unsigned k = 0; k < bits / 8; k++)
		v = v << 8 | data[i * bits / 8 + k];
	return v;
}

void q2_count_put(uint8_t *data, unsigned order, uint64_t i, uint64_t v)
{
	unsigned bits = 1u << order;

	if (bits < 8) {
		uint8_t *p = &data[i * bits / 8], mask = (uint8_t)((1u << bits) - 1);
		unsigned shift = (unsigned)(i * bits % 8);

		*p = (uint8_t)((*p & ~(mask << shift)) | (v & mask) << shift);
		return;
	}
	for (unsigned k = bits / 8; k-- > 0; v >>= 8)
		data[i * bits / 8 + k] = (uint8_t)v;
}

static uint64_t count_max(const struct q2 *q)
{
	return q->ref_order == 6 ? UINT64_MAX : (1ull << (1u << q->ref_order)) - 1;
}

/* --- tables in memory --- */

bool q2_table_init(struct q2_table *t, uint64_t offset, uint32_t n, uint64_t clusters)
{
	*t = (struct q2_table){ .offset = offset, .n = n, .clusters = clusters };
	t->e = g_try_new0(uint64_t, MAX(n, 1));
	t->dirty = g_try_malloc0(n / Q2_CHUNK + 1);
	return t->e && t->dirty;
}

void q2_table_finish(struct q2_table *t)
{
	g_free(t->e);
	g_free(t->dirty);
	*t = (struct q2_table){ 0 };
}

void q2_table_set(struct q2_table *t, uint32_t i, uint64_t v)
{
	t->e[i] = v;
	t->dirty_n += !t->dirty[i / Q2_CHUNK];
	t->dirty[i / Q2_CHUNK] = 1;
}

/* --- one count --- */

/* The slice with cluster's count; *slice NULL: there is no block, the count is 0. */
static int ref_slice(
	struct q2 *q, uint64_t cluster, struct q2_task *t, struct q2_slice **slice, uint64_t *index)
{
	uint64_t block = cluster >> q->ref_bits, in = cluster & ((1ull << q->ref_bits) - 1), at;

	*slice = NULL;
	if (block >= q->reft.n || !q->reft.e[block])
		return 0;
	at = (q->reft.e[block] & Q2_OFFSET) +
	     ((in << q->ref_order) / 8 & ~(uint64_t)(q->slice - 1));
	*index = in & (((uint64_t)q->slice * 8 >> q->ref_order) - 1);
	return q2_slice_get(&q->refs, at, t, slice);
}

int q2_ref(struct q2 *q, uint64_t cluster, struct q2_task *t, uint64_t *count)
{
	struct q2_slice *s;
	uint64_t i;
	int rc = ref_slice(q, cluster, t, &s, &i);

	if (rc < 0)
		return rc;
	*count = s ? q2_count_at(s->data, q->ref_order, i) : 0;
	return 0;
}

int q2_ref_set(struct q2 *q, uint64_t cluster, uint64_t count, struct q2_task *t)
{
	struct q2_slice *s;
	uint64_t i;
	int rc = ref_slice(q, cluster, t, &s, &i);

	if (rc < 0)
		return rc;
	if (!s || count > count_max(q))
		return -EINVAL;
	q2_count_put(s->data, q->ref_order, i, count);
	q2_slice_dirty(s);
	if (!count && q->freed->len < FREED_MAX)
		g_array_append_val(q->freed, cluster);
	else if (!count)
		q->hint = MIN(q->hint, cluster);
	return 0;
}

/* --- new reference blocks --- */

struct newblock {
	struct q2_task task;
	struct q2 *q;
	struct block_req req;
	uint64_t block;
	bool zeroed;
};

static void newblock_end(struct newblock *nb, int error)
{
	struct q2 *q = nb->q;

	q->making_refs = false;
	g_free(nb);
	q2_wake(q, &q->refs_wait, error);
	q2_run(q);
}

static void zeroed(struct block_req *r, int64_t result)
{
	struct newblock *nb = r->arg;

	nb->zeroed = true;
	nb->task.error = result < 0 ? (int)result : 0;
	nb->task.run(&nb->task);
}

static void extended(void *arg, int error, uint64_t first)
{
	struct newblock *nb = arg;

	q2_drop_exclusive(nb->q);
	newblock_end(nb, error);
}

static void run_newblock(struct q2_task *t)
{
	struct newblock *nb = (struct newblock *)t;
	struct q2 *q = nb->q;
	uint64_t cluster = nb->block << q->ref_bits, offset = cluster << q->bits, i;
	struct q2_slice *s;
	int rc;

	if (t->error) {
		newblock_end(nb, t->error);
		return;
	}
	if (nb->block >= q->reft.n) {
		if (q->reft.dirty_n) { /* the new table may only name blocks that are on the disk */
			q->force_refs = true;
			q2_flush(q, t);
		} else if (q2_take_exclusive(q, t)) {
			q2_extend(q, 0, extended, nb);
		}
		return;
	}
	if (q2_use(q, cluster) != USE_DATA) {
		q2_set_corrupt(q, "a table lies where no cluster is counted", offset);
		newblock_end(nb, -EIO);
		return;
	}
	if (!nb->zeroed) {
		nb->req = (struct block_req){ .op = BLOCK_ZERO,
			.offset = offset,
			.bytes = q->cluster,
			.done = zeroed,
			.arg = nb };
		if (q->fresh != UINT64_MAX)
			q->fresh = MAX(q->fresh, offset + q->cluster);
		block_submit(q->block.lower, &nb->req);
		return;
	}
	i = cluster & ((1ull << q->ref_bits) - 1);      /* 0: its first count is its own */
	rc = q2_slice_new(&q->refs, offset, t, &s);
	if (rc == -EAGAIN)
		return;
	q2_count_put(s->data, q->ref_order, i, 1);
	q2_slice_dirty(s);
	q2_table_set(&q->reft, (uint32_t)nb->block, offset);
	q2_use_set(q, cluster, 1, USE_REFBLOCK);
	newblock_end(nb, 0);
}

/* Makes a reference block; the task runs when there is one, or the table has grown. */
static void make_block(struct q2 *q, uint64_t block, struct q2_task *t)
{
	struct newblock *nb;

	q2_wait_on(&q->refs_wait, t);
	if (q->making_refs)
		return;
	q->making_refs = true;
	nb = g_new0(struct newblock, 1);
	nb->task.run = run_newblock;
	nb->q = q;
	nb->block = block;
	q2_ready(q, &nb->task);
}

/* --- allocation --- */

/* Counts free clusters from the slice's index i, at most want, with counts 0, and takes them. */
static uint64_t take_run(struct q2 *q, struct q2_slice *s, uint64_t i, uint64_t want)
{
	uint64_t per = (uint64_t)q->slice * 8 >> q->ref_order, n = 0;

	while (n < want && i + n < per && !q2_count_at(s->data, q->ref_order, i + n)) {
		q2_count_put(s->data, q->ref_order, i + n, 1);
		n++;
	}
	if (n)
		q2_slice_dirty(s);
	return n;
}

static int took(struct q2 *q, uint64_t first, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (q2_use(q, first + i) != USE_DATA) {
			q2_set_corrupt(
				q, "a table's cluster is counted as free", (first + i) << q->bits);
			return -EIO;
		}
	return 0;
}

/* A freed cluster, if one is still free. */
static int from_freed(struct q2 *q, struct q2_task *t, uint64_t *first, uint64_t *got)
{
	*got = 0;
	while (q->freed->len) {
		uint64_t c = g_array_index(q->freed, uint64_t, q->freed->len - 1), i;
		struct q2_slice *s;
		int rc = ref_slice(q, c, t, &s, &i);

		if (rc < 0)
			return rc;
		g_array_set_size(q->freed, q->freed->len - 1);
		if (!s || !take_run(q, s, i, 1))
			continue;
		*first = c;
		*got = 1;
		return took(q, c, 1);
	}
	return 0;
}

int q2_clusters(struct q2 *q, uint64_t want, struct q2_task *t, uint64_t *first, uint64_t *got)
{
	int rc = from_freed(q, t, first, got);

	if (rc < 0 || *got)
		return rc;
	for (;;) {
		uint64_t per = (uint64_t)q->slice * 8 >> q->ref_order, i = 0;
		struct q2_slice *s;

		if (q->hint > Q2_OFFSET >> q->bits)
			return -EFBIG;
		rc = ref_slice(q, q->hint, t, &s, &i);
		if (rc < 0)
			return rc;
		if (!s) {
			make_block(q, q->hint >> q->ref_bits, t);
			return -EAGAIN;
		}
		while (i < per && q2_count_at(s->data, q->ref_order, i)) {
			i++;
			q->hint++;
		}
		if (i == per)
			continue;
		*first = q->hint;
		*got = take_run(q, s, i, want);
		q->hint += *got;
		return took(q, *first, *got);
	}
}
