/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: reference counts made anew, for an image with lazy_refcounts that was not closed. Everything that is referenced
 * is counted; new reference blocks and their table go behind the last cluster in use; then one write of the header switches
 * to them. A power cut before that leaves the image as it was. Blocking; at open.
 */
#include <errno.h>
#include <string.h>

#include "devices/qcow2.h"
#include "domain/error.h"

#define CLUSTERS_MAX (1ull << 27)

struct repair {
	struct q2 *q;
	uint32_t *counts;
	uint64_t n, room;       /* one more than the last cluster in use; of counts */
	GError **err;
};

static bool damaged(struct repair *r, const char *what, uint64_t at)
{
	return kerr_set(r->err, KERR_STATE_DATA,
		"the qcow2 image was not closed and is damaged: %s at %#" G_GINT64_MODIFIER "x",
		what, at);
}

/* Counts for n clusters. */
static bool reserve(struct repair *r, uint64_t n)
{
	uint64_t room = MAX(n, MIN(r->room * 2, CLUSTERS_MAX));
	uint32_t *more;

	if (n > CLUSTERS_MAX)
		return damaged(r, "a reference far beyond its end", n << r->q->bits);
	r->n = MAX(r->n, n);
	if (n <= r->room)
		return true;
	more = g_try_renew(uint32_t, r->counts, room);
	if (!more)
		return kerr_set(r->err, KERR_NO_MEMORY, "no memory to count an image's clusters");
	memset(more + r->room, 0, (room - r->room) * sizeof(*more));
	r->counts = more;
	r->room = room;
	return true;
}

static bool count(struct repair *r, uint64_t offset, uint64_t bytes)
{
	uint64_t first = offset >> r->q->bits, last = (offset + bytes - 1) >> r->q->bits;

	if (!bytes)
		return true;
	if (offset > Q2_OFFSET)
		return damaged(r, "a reference far beyond its end", offset);
	if (!reserve(r, last + 1))
		return false;
	for (uint64_t i = first; i <= last; i++)
		r->counts[i] += r->counts[i] < UINT32_MAX;
	return true;
}

static int get(struct q2 *q, uint64_t at, uint64_t *table, uint64_t n)
{
	int rc = block_sync(q->block.lower, BLOCK_READ, at, table, n * 8);

	for (uint64_t i = 0; rc >= 0 && i < n; i++)
		table[i] = GUINT64_FROM_BE(table[i]);
	return rc;
}

static int put(struct q2 *q, uint64_t at, uint64_t *table, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		table[i] = GUINT64_TO_BE(table[i]);
	return block_sync(q->block.lower, BLOCK_WRITE, at, table, n * 8);
}

static bool count_entry(struct repair *r, uint64_t e)
{
	uint64_t len, at;

	if (e & Q2_COMPRESSED) {
		at = q2_zip_range(r->q, e, &len);
		return count(r, at, len);
	}
	at = e & Q2_OFFSET;
	if (at & (r->q->cluster - 1))
		return damaged(r, "a cluster of data off its boundary", at);
	return !at || count(r, at, r->q->cluster);
}

/* What one L1 table reaches: its L2 tables and their clusters. */
static bool count_l1(struct repair *r, uint64_t *l1, uint32_t n)
{
	struct q2 *q = r->q;
	uint64_t per = 1ull << q->l2_bits, tables = 0, most = q->block.lower->size / q->cluster + 1;
	g_autofree uint64_t *l2 = g_new(uint64_t, per);

	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = l1[i] & Q2_OFFSET;
		int rc;

		if (!at)
			continue;
		if (at & (q->cluster - 1) || ++tables > most)
			return damaged(r, "an L2 table out of place", at);
		if (!count(r, at, q->cluster))
			return false;
		rc = get(q, at, l2, per);
		if (rc < 0)
			return kerr_errno(r->err, -rc, "read an L2 table");
		for (uint64_t k = 0; k < per; k++)
			if (!count_entry(r, l2[k]))
				return false;
	}
	return true;
}

static bool count_snapshot(
	struct q2 *q, uint64_t l1_offset, uint32_t l1_size, void *arg, GError **err)
{
	struct repair *r = arg;
	g_autofree uint64_t *l1 = g_new(uint64_t, MAX(l1_size, 1));
	int rc;

	if (l1_offset & (q->cluster - 1))
		return damaged(r, "a snapshot's L1 table off its boundary", l1_offset);
	if (!count(r, l1_offset, (uint64_t)l1_size * 8))
		return false;
	rc = get(q, l1_offset, l1, l1_size);
	if (rc < 0)
		return kerr_errno(err, -rc, "read a snapshot's L1 table");
	return count_l1(r, l1, l1_size);
}

/* The flag "one reference" as the new counts have it. */
static bool set_flag(const struct repair *r, uint64_t *e, uint64_t cluster)
{
	uint64_t v = r->counts[cluster] == 1 ? *e | Q2_COPIED : *e & ~Q2_COPIED;
	bool changed = v != *e;

	*e = v;
	return changed;
}

static bool fix_flags(struct repair *r)
{
	struct q2 *q = r->q;
	uint64_t per = 1ull << q->l2_bits;
	g_autofree uint64_t *l2 = g_new(uint64_t, per);
	bool l1_changed = false;
	int rc = 0;

	for (uint32_t i = 0; i < q->l1.n && rc >= 0; i++) {
		uint64_t at = q->l1.e[i] & Q2_OFFSET;
		bool changed = false;

		if (!at)
			continue;
		l1_changed |= set_flag(r, &q->l1.e[i], at >> q->bits);
		rc = get(q, at, l2, per);
		for (uint64_t k = 0; rc >= 0 && k < per; k++)
			if (!(l2[k] & Q2_COMPRESSED) && l2[k] & Q2_OFFSET)
				changed |= set_flag(r, &l2[k], (l2[k] & Q2_OFFSET) >> q->bits);
		if (rc >= 0 && changed)
			rc = put(q, at, l2, per);
	}
	if (rc >= 0 && l1_changed)
		rc = put(q, q->l1.offset, q->l1.e, q->l1.n);
	return rc >= 0 ? true : kerr_errno(r->err, -rc, "repair L2 tables");
}

/* Which blocks are needed when the new tables lie at r->n … end. */
static uint64_t needed_blocks(const struct repair *r, uint64_t end, uint8_t *used, uint64_t blocks)
{
	uint64_t n = 0;

	memset(used, 0, blocks);
	for (uint64_t c = 0; c < end; c++)
		if (c >= r->n || r->counts[c])
			used[c >> r->q->ref_bits] = 1;
	for (uint64_t i = 0; i < blocks; i++)
		n += used[i];
	return n;
}

static bool write_counts(struct repair *r)
{
	struct q2 *q = r->q;
	uint64_t max = q->ref_order == 6 ? UINT64_MAX : (1ull << (1u << q->ref_order)) - 1;
	uint64_t table = 1, blocks = 1, all = 0, per = 1ull << q->ref_bits, end = 0, at;
	g_autofree uint8_t *used = NULL, *block = g_malloc(q->cluster);
	g_autofree uint64_t *reft = NULL;
	int rc = 0;

	for (uint64_t last = 0; last != (table << 32 | blocks);) {
		last = table << 32 | blocks;
		end = r->n + table + blocks;
		all = (end + per - 1) >> q->ref_bits;
		used = g_realloc(used, all);
		blocks = needed_blocks(r, end, used, all);
		table = (all * 8 + q->cluster - 1) >> q->bits;
	}
	if (table << q->bits > 8u << 20)
		return kerr_set(
			r->err, KERR_UNSUPPORTED, "the image is too large for its cluster size");
	reft = g_new0(uint64_t, (table << q->bits) / 8);
	at = r->n + table;
	for (uint64_t i = 0; i < all && rc >= 0; i++) {
		if (!used[i])
			continue;
		memset(block, 0, q->cluster);
		for (uint64_t k = 0; k < per && i * per + k < end; k++) {
			uint64_t c = i * per + k, v = c >= r->n ? 1 : r->counts[c];

			if (v > max)
				return damaged(
					r, "more references than its counts can say", c << q->bits);
			q2_count_put(block, q->ref_order, k, v);
		}
		reft[i] = at << q->bits;
		rc = block_sync(q->block.lower, BLOCK_WRITE, at++ << q->bits, block, q->cluster);
	}
	if (rc >= 0)
		rc = put(q, r->n << q->bits, reft, (table << q->bits) / 8);
	if (rc >= 0)
		rc = block_sync(q->block.lower, BLOCK_FLUSH, 0, NULL, 0);
	if (rc < 0)
		return kerr_errno(r->err, -rc, "write new reference counts");
	q->info.reft_offset = r->n << q->bits;
	q->info.reft_clusters = (uint32_t)table;
	q->info.incompatible &= ~(uint64_t)IMAGE_DIRTY;
	q->info.autoclear = 0;
	q2_head_set(q, 48, 8, q->info.reft_offset);
	q2_head_set(q, 56, 4, table);
	q2_head_set(q, 72, 8, q->info.incompatible);
	q2_head_set(q, 88, 8, 0);
	rc = q2_head_sync(q);
	return rc >= 0 ? true : kerr_errno(r->err, -rc, "write the image's header");
}

bool q2_repair(struct q2 *q, GError **err)
{
	struct repair r = { .q = q, .err = err, .room = 1024, .counts = g_new0(uint32_t, 1024) };
	uint64_t bytes = 0;
	bool ok = count(&r, 0, q->cluster) && count(&r, q->l1.offset, (uint64_t)q->l1.n * 8) &&
		  count_l1(&r, q->l1.e, q->l1.n) &&
		  q2_each_snapshot(q, count_snapshot, &r, &bytes, err) &&
		  count(&r, q->info.snapshots_offset, bytes);

	/* behind the end of the file, where nothing of the old counts is overwritten before the header switches */
	if (ok)
		ok = reserve(&r, (q->block.lower->size + q->cluster - 1) >> q->bits);
	ok = ok && fix_flags(&r) && write_counts(&r);
	g_free(r.counts);
	return ok;
}
