/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver "qcow2": opening, closing, and its ops. How it works: qcow2.h. */
#include <errno.h>
#include <string.h>

#include "devices/qcow2.h"
#include "devices/qcow2_create.h"
#include "domain/error.h"

#define L2_CACHE                                                                                   \
	(8u << 20) /* bytes, taken as they are used: 64 GiB of a disk with 64 KiB clusters */
#define REFS_CACHE (1u << 20)
#define SLICES_MIN 16u

static bool read_header(struct q2 *q, GError **err)
{
	struct block *file = q->block.lower;
	size_t n = MIN(IMAGE_PROBE_BYTES, MAX(file->size, Q2_HEAD)), need;
	g_autofree uint8_t *bytes = g_malloc0(n);
	int rc = block_sync(file, BLOCK_READ, 0, bytes, n);
	GError *why = NULL;

	if (rc < 0)
		return kerr_errno(err, -rc, "read the image's header");
	memcpy(q->head, bytes, Q2_HEAD);
	if (image_probe(bytes, n, file->size, FORMAT_QCOW2, &q->info, &need, &why))
		return true;
	if (need > n) {
		g_clear_error(&why);
		bytes = g_realloc(bytes, need);
		rc = block_sync(file, BLOCK_READ, 0, bytes, need);
		if (rc < 0)
			return kerr_errno(err, -rc, "read the image's header");
		return image_probe(bytes, need, file->size, FORMAT_QCOW2, &q->info, NULL, err);
	}
	g_propagate_error(err, why);
	return false;
}

static void init(struct q2 *q, const struct block_qcow2_config *c)
{
	uint64_t l2 = c && c->cache ? MIN(c->cache, 1ull << 30) : L2_CACHE;

	q->bits = q->info.cluster_bits;
	q->cluster = 1u << q->bits;
	q->slice = MIN(q->cluster, Q2_SLICE);
	q->l2_bits = q->bits - 3;
	q->ref_order = q->info.refcount_order;
	q->ref_bits = q->bits + 3 - q->ref_order;
	q->v3 = q->info.version >= 3;
	q->lazy = q->v3 && q->info.compatible & IMAGE_LAZY_REFCOUNTS;
	q->punch = c && c->punch;
	q2_cache_init(&q->l2, q, USE_L2, MAX((unsigned)(l2 / q->slice), SLICES_MIN));
	q2_cache_init(&q->refs, q, USE_REFBLOCK, MAX(REFS_CACHE / q->slice, SLICES_MIN));
}

static bool qcow2_open(struct block *b, const void *config, struct fdset *fds, GError **err)
{
	struct q2 *q = (struct q2 *)b;
	struct q2_wait *waits[] = { &q->ready, &q->later, &q->cow_wait, &q->l2_wait, &q->refs_wait,
		&q->commit_next, &q->room_wait, &q->exclusive_wait, &q->head_wait, &q->head_next };

	for (unsigned i = 0; i < G_N_ELEMENTS(waits); i++)
		q2_wait_init(waits[i]);
	q->durable_end = &q->durable;
	q->freed = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	q->frees = g_array_new(FALSE, FALSE, sizeof(struct q2_free));
	q->uses = g_hash_table_new(NULL, NULL);
	q->zip = q2_zip_new(q);
	q->zeroes = g_malloc0(65536);
	loop_timer_init(&q->timer, b->loop, CLOCK_HOST, q2_on_timer, q);
	if (!read_header(q, err))
		return false;
	if (q->info.backing && !b->backing)
		return kerr_set(err, KERR_STATE_DATA,
			"the image stands on '%s', which its chain doesn't have", q->info.backing);
	if (!q->info.backing && b->backing)
		return kerr_set(err, KERR_STATE_DATA,
			"the image stands on no other, but its chain has one");
	init(q, config);
	q->writable = !b->readonly && b->lower->can & BLOCK_CAN_WRITE;
	b->size = q->info.size;
	b->can = BLOCK_CAN_CACHE & b->lower->can;
	if (q->writable)
		b->can |= BLOCK_CAN_WRITE | BLOCK_CAN_DISCARD | BLOCK_CAN_ZERO | BLOCK_CAN_RESIZE;
	q->opened = q2_open_tables(q, err);
	return q->opened;
}

/* Writes everything back. The image is then as if it had never been open. */
static int write_back(struct q2 *q)
{
	int rc;

	q->closing = true;
	if (q->corrupt)
		return -EIO;
	rc = q2_commit_sync(q);
	if (rc >= 0)
		rc = q2_release_sync(q);
	if (rc >= 0)
		rc = q2_commit_sync(q);
	if (rc >= 0 && q->info.incompatible & IMAGE_DIRTY) {
		q->info.incompatible &= ~(uint64_t)IMAGE_DIRTY;
		q2_head_set(q, 72, 8, q->info.incompatible);
		rc = q2_head_sync(q);
	}
	return q->corrupt ? -EIO : rc;
}

static int qcow2_close(struct block *b)
{
	struct q2 *q = (struct q2 *)b;
	int rc = 0;

	loop_timer_cancel(&q->timer);
	g_assert(!q->commit && !q->oldest && !q->allocs && !q->ready.first);
	if (q->opened && q->writable)
		rc = write_back(q);
	while (q->durable) {    /* after a failure: they stay counted */
		struct q2_batch *batch = q->durable;

		q->durable = batch->next;
		g_array_free(batch->list, TRUE);
		g_free(batch);
	}
	q2_cache_finish(&q->l2);
	q2_cache_finish(&q->refs);
	q2_table_finish(&q->l1);
	q2_table_finish(&q->reft);
	q2_zip_free(q->zip);
	g_array_free(q->freed, TRUE);
	g_array_free(q->frees, TRUE);
	g_hash_table_destroy(q->uses);
	g_free(q->zeroes);
	q2_short_finish(q);
	image_info_clear(&q->info);
	return rc;
}

static void qcow2_quiet(struct block *b, bool on)
{
	struct q2 *q = (struct q2 *)b;

	q->quiet = on;
	if (on) {
		loop_timer_cancel(&q->timer);
		q->timer_set = false;
		return;
	}
	q2_release(q);
	q2_touch(q);            /* nothing dirty: the timer finds out */
	q2_run(q);
}

static void qcow2_info(struct block *b, struct block_info *out)
{
	const struct q2 *q = (const struct q2 *)b;

	out->format = "qcow2";
	out->cluster_size = q->cluster;
	out->snapshots = q->info.snapshots;
	out->corrupt = q->corrupt;
	out->repaired = q->repaired;
	out->version = q->info.version;
	out->backing = q->info.backing;
	out->refcount_bits = 1u << q->info.refcount_order;
	out->lazy_refcounts = q->lazy;
	out->dirty = q->info.incompatible & IMAGE_DIRTY;
	out->zstd = q->info.compression == IMAGE_ZSTD;
}

const struct block_ops block_qcow2_ops = {
	.name = "qcow2",
	.size = sizeof(struct q2),
	.format = true,
	.open = qcow2_open,
	.close = qcow2_close,
	.submit = q2_submit,
	.quiet = qcow2_quiet,
	.info = qcow2_info,
};
