/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: commits, the only place where tables reach the disk.
 *
 * A commit takes copies of everything dirty at its start and writes them in steps; between steps with a dependency the file
 * is flushed:
 *   1 reference counts, flush      (also makes the data and new tables stable that step 3 and 4 will point at)
 *   2 table of reference blocks, flush
 *   3 slices of L2 tables
 *   4 L1; no flush before it, because a new L2 table was made stable as zeroes, or as a copy, in step 1
 *   5 flush                        (what a guest's flush promises; and freed clusters are free)
 * What becomes dirty meanwhile is for the next one. All flushes of the guest that come during a commit share the next.
 * A commit that fails leaves everything dirty as it was, and tells those who waited.
 *
 * With lazy_refcounts, step 1 and 2 are left out: the image is marked dirty first, and counts are written when it is closed,
 * when their cache is full, or made anew at the next open.
 */
#include <errno.h>
#include <string.h>

#include "devices/qcow2.h"

#define BACKGROUND_NS 5000000000ll      /* dirty tables without a flush by the guest */

enum step {
	STEP_MARK,
	STEP_REFS,
	STEP_REFS_FLUSH,
	STEP_REFT,
	STEP_REFT_FLUSH,
	STEP_L2,
	STEP_L1,
	STEP_FLUSH,
	STEP_END
};

struct copy {                           /* of something dirty */
	struct block_req req;
	struct iovec iov;
	struct q2_commit *commit;
	struct q2_slice *slice;         /* or of a chunk of a table */
	struct q2_table *table;
	uint32_t chunk;
	enum q2_use use;
	uint8_t data[];
};
struct q2_commit {
	struct q2_task task;
	struct q2 *q;
	enum step step;
	GPtrArray *copies[USE_OLD_L1 + 1];      /* by use */
	GArray *frees;
	uint64_t epoch;
	struct block_req flush;
	unsigned pending;
	int error;
	bool exclusive;
	struct q2_wait wait;
};

/* --- exclusive: one at a time --- */

bool q2_take_exclusive(struct q2 *q, struct q2_task *t)
{
	if (q->exclusive) {
		q2_wait_on(&q->exclusive_wait, t);
		return false;
	}
	q->exclusive = true;
	return true;
}

void q2_drop_exclusive(struct q2 *q)
{
	q->exclusive = false;
	q2_wake(q, &q->exclusive_wait, 0);
}

/* --- copies --- */

static struct copy *new_copy(
	struct q2_commit *c, enum q2_use use, uint64_t offset, const void *data, size_t n)
{
	struct copy *p = g_malloc(sizeof(*p) + n);

	memset(p, 0, sizeof(*p));
	p->commit = c;
	p->use = use;
	p->iov = (struct iovec){ p->data, n };
	p->req = (struct block_req){ .op = BLOCK_WRITE,
		.offset = offset,
		.bytes = n,
		.iov = &p->iov,
		.iov_n = 1,
		.arg = p };
	if (data)
		memcpy(p->data, data, n);
	g_ptr_array_add(c->copies[use], p);
	return p;
}

static void take_slices(struct q2_commit *c, struct q2_cache *cache)
{
	for (struct q2_slice *s = cache->newest; s && cache->dirty_n; s = s->older) {
		if (!s->dirty)
			continue;
		new_copy(c, cache->use, s->offset, s->data, c->q->slice)->slice = s;
		s->dirty = false;
		s->writing++;
		cache->dirty_n--;
	}
}

static void take_chunks(struct q2_commit *c, struct q2_table *t, enum q2_use use)
{
	for (uint32_t i = 0; i * Q2_CHUNK < t->n && t->dirty_n; i++) {
		uint32_t n = MIN(Q2_CHUNK, t->n - i * Q2_CHUNK);
		struct copy *p;

		if (!t->dirty[i])
			continue;
		p = new_copy(c, use, t->offset + (uint64_t)i * Q2_CHUNK * 8, NULL, n * 8);
		for (uint32_t k = 0; k < n; k++)
			((uint64_t *)(void *)p->data)[k] = GUINT64_TO_BE(t->e[i * Q2_CHUNK + k]);
		p->table = t;
		p->chunk = i;
		t->dirty[i] = 0;
		t->dirty_n--;
	}
}

/* The copy is on the disk, or dirty again. */
static void settle(struct copy *p, bool failed)
{
	if (p->slice) {
		p->slice->writing--;
		if (failed && !p->slice->dirty) {
			p->slice->dirty = true;
			p->slice->cache->dirty_n++;
		}
	} else if (failed && !p->table->dirty[p->chunk]) {
		p->table->dirty[p->chunk] = 1;
		p->table->dirty_n++;
	}
}

static bool leaves_refs(const struct q2 *q)
{
	return q->lazy && !q->force_refs && !q->closing;
}

static bool is_dirty(const struct q2 *q)
{
	return q->l2.dirty_n || q->l1.dirty_n || q->frees->len ||
	       (!leaves_refs(q) && (q->refs.dirty_n || q->reft.dirty_n));
}

static void take(struct q2_commit *c)
{
	struct q2 *q = c->q;

	for (unsigned i = 0; i < G_N_ELEMENTS(c->copies); i++)
		c->copies[i] = g_ptr_array_new_with_free_func(g_free);
	c->step = STEP_REFS;
	if (leaves_refs(q)) {
		if ((q->refs.dirty_n || q->reft.dirty_n) && !(q->info.incompatible & IMAGE_DIRTY))
			c->step = STEP_MARK;
	} else {
		take_slices(c, &q->refs);
		take_chunks(c, &q->reft, USE_REFT);
		q->force_refs = false;
	}
	take_slices(c, &q->l2);
	take_chunks(c, &q->l1, USE_L1);
	c->frees = q->frees;
	q->frees = g_array_new(FALSE, FALSE, sizeof(struct q2_free));
	c->epoch = q->epoch++;
}

static void commit_free(struct q2_commit *c)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(c->copies); i++)
		if (c->copies[i])
			g_ptr_array_free(c->copies[i], TRUE);
	g_free(c);
}

/* --- the steps --- */

static void run_commit(struct q2_task *t);

static void part_done(struct q2_commit *c, int64_t result)
{
	struct q2 *q = c->q;

	if (result < 0 && !c->error)
		c->error = (int)result;
	if (!--c->pending) {
		c->step++;
		run_commit(&c->task);
		q2_run(q);
	}
}

static void written(struct block_req *r, int64_t result)
{
	part_done(((struct copy *)r->arg)->commit, result);
}

static void flushed(struct block_req *r, int64_t result)
{
	part_done(r->arg, result);
}

static bool write_copies(struct q2_commit *c, enum q2_use use)
{
	GPtrArray *list = c->copies[use];

	if (!list->len)
		return false;
	c->pending++;
	for (unsigned i = 0; i < list->len && !c->error; i++) {
		struct copy *p = list->pdata[i];

		if (!q2_may_write(c->q, p->req.offset, p->req.bytes, use)) {
			c->error = -EIO;
			break;
		}
		p->req.done = written;
		c->pending++;
		block_submit(c->q->block.lower, &p->req);
	}
	if (--c->pending)
		return true;
	return false;           /* only when the first was refused */
}

static bool flush_file(struct q2_commit *c, bool needed)
{
	if (!needed)
		return false;
	c->pending++;
	c->flush = (struct block_req){ .op = BLOCK_FLUSH, .done = flushed, .arg = c };
	block_submit(c->q->block.lower, &c->flush);
	return true;
}

/* Begins the present step; false: there is nothing to do in it. */
static bool begin_step(struct q2_commit *c)
{
	bool reft = c->copies[USE_REFT]->len, l2 = c->copies[USE_L2]->len,
	     l1 = c->copies[USE_L1]->len;

	switch (c->step) {
	case STEP_REFS:
		return write_copies(c, USE_REFBLOCK);
	case STEP_REFS_FLUSH:
		return flush_file(c, reft || l2 || l1);
	case STEP_REFT:
		return write_copies(c, USE_REFT);
	case STEP_REFT_FLUSH:
		return flush_file(c, reft && (l2 || l1));
	case STEP_L2:
		return write_copies(c, USE_L2);
	case STEP_L1:
		return write_copies(c, USE_L1);
	case STEP_FLUSH:
		return flush_file(c, true);
	default:
		return false;
	}
}

static void end(struct q2_commit *c)
{
	struct q2 *q = c->q;

	for (unsigned i = 0; i < G_N_ELEMENTS(c->copies); i++)
		for (unsigned k = 0; k < c->copies[i]->len; k++)
			settle(c->copies[i]->pdata[k], c->error);
	if (c->error) {
		g_array_append_vals(q->frees, c->frees->data, c->frees->len);
		g_array_free(c->frees, TRUE);
	} else {
		q2_free_durable(q, c->frees, c->epoch);
	}
	q->commit = NULL;
	q2_wake(q, &c->wait, c->error);
	q2_wake(q, &q->room_wait, c->error);
	q2_drop_exclusive(q);
	commit_free(c);
	if (q->commit_next.first) {
		struct q2_wait next = q->commit_next;
		struct q2_task *t = next.first;

		q2_wait_init(&q->commit_next);
		while (t) {
			struct q2_task *after = t->next;

			q2_flush(q, t);
			t = after;
		}
	}
	if (q->durable)
		q2_release(q);
	if (is_dirty(q))
		q2_touch(q);
}

static void run_commit(struct q2_task *t)
{
	struct q2_commit *c = (struct q2_commit *)t;
	struct q2 *q = c->q;

	if (t->error && !c->error)
		c->error = t->error;
	if (!c->exclusive) {
		if (!q2_take_exclusive(q, t))
			return;
		c->exclusive = true;
		take(c);
	}
	if (c->step == STEP_MARK && !c->error) {
		if (!(q->info.incompatible & IMAGE_DIRTY)) {
			q->info.incompatible |= IMAGE_DIRTY;
			q2_head_set(q, 72, 8, q->info.incompatible);
			if (q2_head_write(q, t) == -EAGAIN)
				return;
		}
		c->step = STEP_REFS;
	}
	if (c->error && q->lazy && c->step == STEP_MARK) {      /* the mark is not on the disk */
		q->info.incompatible &= ~(uint64_t)IMAGE_DIRTY;
		q2_head_set(q, 72, 8, q->info.incompatible);
	}
	while (!c->error && c->step < STEP_END) {
		if (begin_step(c))
			return;
		c->step++;
	}
	end(c);
}

void q2_flush(struct q2 *q, struct q2_task *t)
{
	struct q2_commit *c;

	if (q->commit && q->commit->exclusive) {        /* it has taken what it writes */
		q2_wait_on(&q->commit_next, t);
		return;
	}
	if (q->commit) {
		q2_wait_on(&q->commit->wait, t);
		return;
	}
	c = g_new0(struct q2_commit, 1);
	c->task.run = run_commit;
	c->q = q;
	q2_wait_init(&c->wait);
	q2_wait_on(&c->wait, t);
	q->commit = c;
	q2_ready(q, &c->task);
}

/* --- commits nobody waits for --- */

static void nothing(struct q2_task *t)
{
	g_free(t);
}

static void start(struct q2 *q)
{
	struct q2_task *t = g_new0(struct q2_task, 1);

	t->run = nothing;
	q2_flush(q, t);
}

void q2_need_room(struct q2 *q, struct q2_cache *c, struct q2_task *t)
{
	q2_wait_on(&q->room_wait, t);
	if (!c->dirty_n)        /* all are on their way in or out: their end wakes us */
		return;
	q->force_refs |= c == &q->refs;
	if (!q->commit)
		start(q);
}

void q2_touch(struct q2 *q)
{
	if (q->timer_set || q->quiet || q->closing)
		return;
	q->timer_set = true;
	loop_timer_set(&q->timer, clock_now(q->block.host->clock, CLOCK_HOST) + BACKGROUND_NS);
}

void q2_on_timer(void *arg)
{
	struct q2 *q = arg;

	q->timer_set = false;
	if (q->quiet || !is_dirty(q))
		return;
	if (!q->commit)
		start(q);
	q2_run(q);
}

/* --- blocking, for close --- */

static int write_sync(struct q2_commit *c, enum q2_use use, bool flush)
{
	GPtrArray *list = c->copies[use];
	struct q2 *q = c->q;
	int rc = 0;

	for (unsigned i = 0; i < list->len && rc >= 0; i++) {
		struct copy *p = list->pdata[i];

		rc = q2_may_write(q, p->req.offset, p->req.bytes, use)
			     ? block_sync(q->block.lower, BLOCK_WRITE, p->req.offset, p->data,
				       p->req.bytes)
			     : -EIO;
	}
	return rc >= 0 && flush && list->len ? block_sync(q->block.lower, BLOCK_FLUSH, 0, NULL, 0)
					     : rc;
}

int q2_commit_sync(struct q2 *q)
{
	struct q2_commit *c = g_new0(struct q2_commit, 1);
	int rc = 0;

	g_assert(!q->commit && !q->exclusive && q->closing);
	c->q = q;
	take(c);
	if (c->copies[USE_REFBLOCK]->len || c->copies[USE_L2]->len || c->copies[USE_L1]->len ||
		c->copies[USE_REFT]->len) {
		rc = write_sync(c, USE_REFBLOCK, false);
		if (rc >= 0)
			rc = block_sync(q->block.lower, BLOCK_FLUSH, 0, NULL, 0);
		if (rc >= 0)
			rc = write_sync(c, USE_REFT, true);
		if (rc >= 0)
			rc = write_sync(c, USE_L2, false);
		if (rc >= 0)
			rc = write_sync(c, USE_L1, false);
	}
	if (rc >= 0)
		rc = block_sync(q->block.lower, BLOCK_FLUSH, 0, NULL, 0);
	c->error = rc < 0 ? rc : 0;
	for (unsigned i = 0; i < G_N_ELEMENTS(c->copies); i++)
		for (unsigned k = 0; k < c->copies[i]->len; k++)
			settle(c->copies[i]->pdata[k], rc < 0);
	if (rc >= 0)
		q2_free_durable(q, c->frees, c->epoch);
	else
		g_array_free(c->frees, TRUE);
	commit_free(c);
	return rc;
}
