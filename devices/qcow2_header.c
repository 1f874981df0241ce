/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: the header, opening the tables, and who uses which cluster. The part of the header that changes fits in its first
 * 512 bytes and is written whole, so that a power cut leaves the old or the new one.
 */
#include <errno.h>
#include <string.h>

#include "devices/qcow2.h"
#include "domain/error.h"

#define SNAPSHOT_BYTES (64u << 20)      /* of the table of snapshots, and of all their L1 tables */

/* --- who uses a cluster --- */

enum q2_use q2_use(const struct q2 *q, uint64_t cluster)
{
	if (!(q->uses_filter[cluster % Q2_FILTER / 64] >> cluster % 64 & 1))
		return USE_DATA;
	return (enum q2_use)GPOINTER_TO_UINT(
		g_hash_table_lookup(q->uses, GSIZE_TO_POINTER(cluster)));
}

void q2_use_set(struct q2 *q, uint64_t first, uint64_t n, enum q2_use use)
{
	for (uint64_t i = first; i < first + n; i++)
		if (use == USE_DATA) {
			g_hash_table_remove(q->uses, GSIZE_TO_POINTER(i));
		} else {
			g_hash_table_insert(q->uses, GSIZE_TO_POINTER(i), GUINT_TO_POINTER(use));
			q->uses_filter[i % Q2_FILTER / 64] |= 1ull << i % 64;
		}
}

bool q2_may_write(struct q2 *q, uint64_t off, uint64_t len, enum q2_use use)
{
	if (q->corrupt)
		return false;
	for (uint64_t c = off >> q->bits; c <= (off + len - 1) >> q->bits; c++)
		if (q2_use(q, c) != use) {
			q2_set_corrupt(q,
				use == USE_DATA ? "data would be written over a table"
						: "a table would be written over"
						  " something else",
				c << q->bits);
			return false;
		}
	return true;
}

/* --- the header --- */

void q2_head_set(struct q2 *q, unsigned at, unsigned bytes, uint64_t v)
{
	for (unsigned i = bytes; i-- > 0; v >>= 8)
		q->head[at + i] = (uint8_t)v;
}

int q2_head_sync(struct q2 *q)
{
	int rc = block_sync(q->block.lower, BLOCK_WRITE, 0, q->head, Q2_HEAD);

	return rc < 0 ? rc : block_sync(q->block.lower, BLOCK_FLUSH, 0, NULL, 0);
}

struct head_write { struct block_req req; struct iovec iov; struct q2 *q; uint8_t data[Q2_HEAD]; };

static void head_start(struct q2 *q);

static void head_done(struct block_req *r, int64_t result)
{
	struct head_write *w = r->arg;
	struct q2 *q = w->q;

	g_free(w);
	q->head_writing = false;
	q2_wake(q, &q->head_wait, result < 0 ? (int)result : 0);
	if (q->head_again)
		head_start(q);
	q2_run(q);
}

static void head_start(struct q2 *q)
{
	struct head_write *w = g_new0(struct head_write, 1);
	struct q2_wait next = q->head_next;

	q->head_writing = true;
	q->head_again = false;
	q2_wait_init(&q->head_next);
	for (struct q2_task *t = next.first, *after; t; t = after) {
		after = t->next;
		q2_wait_on(&q->head_wait, t);
	}
	w->q = q;
	memcpy(w->data, q->head, Q2_HEAD);
	w->iov = (struct iovec){ w->data, Q2_HEAD };
	w->req = (struct block_req){ .op = BLOCK_WRITE,
		.flags = BLOCK_FUA,
		.bytes = Q2_HEAD,
		.iov = &w->iov,
		.iov_n = 1,
		.done = head_done,
		.arg = w };
	block_submit(q->block.lower, &w->req);
}

int q2_head_write(struct q2 *q, struct q2_task *t)
{
	if (t)
		q2_wait_on(&q->head_next, t);
	if (q->head_writing)
		q->head_again = true;
	else
		head_start(q);
	return -EAGAIN;
}

void q2_set_corrupt(struct q2 *q, const char *why, uint64_t offset)
{
	if (q->corrupt)
		return;
	g_debug("qcow2: %s, at %#" G_GINT64_MODIFIER "x: writes are refused from now on", why,
		offset);
	q->corrupt = true;
	if (!q->writable || !q->v3)
		return;
	q->info.incompatible |= IMAGE_CORRUPT;
	q2_head_set(q, 72, 8, q->info.incompatible);
	if (q->closing)
		(void)q2_head_sync(q);          /* it is refused already; the mark is for others */
	else
		q2_head_write(q, NULL);
}

/* --- opening --- */

static bool read_table(struct q2 *q, struct q2_table *t, const char *what, GError **err)
{
	int rc = block_sync(q->block.lower, BLOCK_READ, t->offset, t->e, (uint64_t)t->n * 8);

	if (rc < 0)
		return kerr_errno(err, -rc, "read %s", what);
	for (uint32_t i = 0; i < t->n; i++)
		t->e[i] = GUINT64_FROM_BE(t->e[i]);
	return true;
}

static bool claim(struct q2 *q, uint64_t offset, uint64_t bytes, enum q2_use use, GError **err)
{
	uint64_t first = offset >> q->bits, n = (bytes + q->cluster - 1) >> q->bits;

	if (offset & (q->cluster - 1) || offset > Q2_OFFSET)
		return kerr_set(err, KERR_STATE_DATA,
			"damaged qcow2 image: a table lies at %#" G_GINT64_MODIFIER "x", offset);
	for (uint64_t i = first; i < first + n; i++) {
		enum q2_use old = q2_use(q, i);

		if (old != USE_DATA)
			return kerr_set(err, KERR_STATE_DATA,
				"damaged qcow2 image: two tables at %#" G_GINT64_MODIFIER
				"x: 'qemu-img check -r all' may repair it",
				i << q->bits);
	}
	q2_use_set(q, first, n, use);
	return true;
}

/* L2 tables of an L1 table. Snapshots share them with each other and with the disk itself. */
static bool claim_l2(struct q2 *q, const uint64_t *l1, uint32_t n, bool shared, GError **err)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t l2 = l1[i] & Q2_OFFSET;

		if (!l2 || (shared && q2_use(q, l2 >> q->bits) == USE_L2))
			continue;
		if (!claim(q, l2, q->cluster, USE_L2, err))
			return false;
	}
	return true;
}

static uint64_t be(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static bool claim_snapshot(
	struct q2 *q, uint64_t l1_offset, uint32_t l1_size, uint64_t *total, GError **err)
{
	g_autofree uint64_t *l1 = NULL;
	int rc;

	*total += (uint64_t)l1_size * 8;
	if (*total > SNAPSHOT_BYTES)
		return kerr_set(err, KERR_UNSUPPORTED,
			"the tables of the image's snapshots are larger than 64 MiB");
	if (!l1_size)
		return true;
	if (!claim(q, l1_offset, (uint64_t)l1_size * 8, USE_OLD_L1, err))
		return false;
	l1 = g_new(uint64_t, l1_size);
	rc = block_sync(q->block.lower, BLOCK_READ, l1_offset, l1, (uint64_t)l1_size * 8);
	if (rc < 0)
		return kerr_errno(err, -rc, "read a snapshot's L1 table");
	for (uint32_t i = 0; i < l1_size; i++)
		l1[i] = GUINT64_FROM_BE(l1[i]);
	return claim_l2(q, l1, l1_size, true, err);
}

bool q2_each_snapshot(struct q2 *q,
	bool (*fn)(struct q2 *, uint64_t l1_offset, uint32_t l1_size, void *arg, GError **err),
	void *arg, uint64_t *bytes, GError **err)
{
	uint64_t at = q->info.snapshots_offset, start = at;

	for (uint32_t i = 0; i < q->info.snapshots; i++) {
		uint8_t s[40];
		uint64_t len;
		int rc = block_sync(q->block.lower, BLOCK_READ, at, s, sizeof(s));

		if (rc < 0)
			return kerr_errno(err, -rc, "read the table of snapshots");
		len = sizeof(s) + be(s + 36, 4) + be(s + 12, 2) + be(s + 14, 2);
		if (be(s + 8, 4) > (32u << 20) / 8 || at + len - start > SNAPSHOT_BYTES)
			return kerr_set(err, KERR_STATE_DATA,
				"damaged qcow2 image: the table of snapshots");
		if (!fn(q, be(s, 8), (uint32_t)be(s + 8, 4), arg, err))
			return false;
		at += (len + 7) & ~7ull;
	}
	*bytes = at - start;
	return true;
}

static bool claim_one(struct q2 *q, uint64_t l1_offset, uint32_t l1_size, void *arg, GError **err)
{
	return claim_snapshot(q, l1_offset, l1_size, arg, err);
}

/* All tables in their places, none on another: only then may we write. */
static bool claim_all(struct q2 *q, GError **err)
{
	uint64_t total = 0, bytes = 0;

	g_hash_table_remove_all(q->uses);
	if (!claim(q, 0, q->cluster, USE_HEADER, err) ||
		!claim(q, q->l1.offset, MAX((uint64_t)q->l1.n * 8, 1), USE_L1, err) ||
		!claim(q, q->reft.offset, (uint64_t)q->reft.n * 8, USE_REFT, err))
		return false;
	for (uint32_t i = 0; i < q->reft.n; i++)
		if (q->reft.e[i] && !claim(q, q->reft.e[i], q->cluster, USE_REFBLOCK, err))
			return false;
	if (!claim_l2(q, q->l1.e, q->l1.n, false, err) ||
		!q2_each_snapshot(q, claim_one, &total, &bytes, err))
		return false;
	return !bytes || claim(q, q->info.snapshots_offset, bytes, USE_SNAPSHOTS, err);
}

static bool load_tables(struct q2 *q, GError **err)
{
	struct image_info *i = &q->info;
	uint64_t reft_n = ((uint64_t)i->reft_clusters << q->bits) / 8;

	q2_table_finish(&q->l1);
	q2_table_finish(&q->reft);
	if (!q2_table_init(&q->l1, i->l1_offset, i->l1_size,
		    (((uint64_t)i->l1_size * 8 + q->cluster - 1) >> q->bits)) ||
		!q2_table_init(&q->reft, i->reft_offset, (uint32_t)reft_n, i->reft_clusters))
		return kerr_set(err, KERR_NO_MEMORY, "no memory for an image's tables");
	return read_table(q, &q->l1, "the L1 table", err) &&
	       read_table(q, &q->reft, "the table of reference counts", err);
}

bool q2_open_tables(struct q2 *q, GError **err)
{
	uint64_t end;
	int rc;

	if (!load_tables(q, err))
		return false;
	if (!q->writable)
		return true;
	if (q->info.incompatible & IMAGE_CORRUPT)
		return kerr_set(err, KERR_STATE_DATA,
			"the qcow2 image is marked as corrupt: 'qemu-img check -r all' may repair "
			"it;"
			" read-only it can be used as it is");
	if (q->info.incompatible & IMAGE_DIRTY) {
		if (!q2_repair(q, err) || !load_tables(q, err))
			return false;
		q->repaired = true;
	}
	if (!q->l1.offset)      /* an empty disk of an old tool */
		return kerr_set(err, KERR_UNSUPPORTED,
			"a qcow2 image without an L1 table can only be read");
	if (!claim_all(q, err))
		return false;
	if (q->info.autoclear) { /* bitmaps and the like are not kept up to date by us: say so, as
				    the format asks */
		q->info.autoclear = 0;
		q2_head_set(q, 88, 8, 0);
		rc = q2_head_sync(q);
		if (rc < 0)
			return kerr_errno(err, -rc, "write the image's header");
	}
	end = (q->block.lower->size + q->cluster - 1) & ~(uint64_t)(q->cluster - 1);
	q->fresh = q->block.lower->can & BLOCK_CAN_GROW ? end : UINT64_MAX;
	return true;
}
