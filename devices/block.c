/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The core of disks: the door every request passes, batches, drain.
 *
 * A request that comes in gets .top, the node at whose door it stands. Filters hand the same request on to the node below
 * (the door sees .top and lets it through); formats make requests of their own, which come in at the lower node's door. All
 * are counted in the chain, so that drain waits for background work as well. FUA below which no driver has it becomes a
 * flush of our own after the write.
 */
#include "devices/block.h"

#include <errno.h>

#include "devices/block_driver.h"
#include "devices/block_iov.h"

const char *const block_op_names[BLOCK_OPS] = { "read", "write", "flush", "discard", "zero",
	"resize" };

enum state {
	STATE_FLUSH_AFTER = 1 << 0,     /* FUA by a flush, once the write is done */
	STATE_RELAYED = 1 << 1,         /* not counted */
};

/* The flush after a write; kept for the next one. */
struct block_fua { struct block_req req; struct block_req *parent; struct block_fua *next; };

/* --- statistics: one writer, the loop --- */

static void count(uint64_t *at, uint64_t more)
{
	__atomic_store_n(at, *at + more, __ATOMIC_RELAXED);
}

static void count_request(struct block_chain *c, struct block_req *r, int64_t result)
{
	struct block_op_stats *s = &c->stats->op[r->op];
	int64_t ns = MAX(clock_now(c->host->clock, CLOCK_HOST) - r->started, 1);
	int log2 = 63 - __builtin_clzll((uint64_t)ns);

	count(&s->ops, 1);
	count(&s->ns, (uint64_t)ns);
	count(&s->hist[CLAMP(log2 - 8, 0, BLOCK_HIST - 1)], 1);
	if (result < 0)
		count(&s->errors, 1);
	else if (r->op != BLOCK_FLUSH && r->op != BLOCK_RESIZE)
		count(&s->bytes, r->bytes);
	if (r->op == BLOCK_WRITE && result >= 0 && r->offset + r->bytes > c->stats->highest)
		__atomic_store_n(&c->stats->highest, r->offset + r->bytes, __ATOMIC_RELAXED);
}

void block_stats(const struct block *b, struct block_stats *out)
{
	const uint64_t *from = (const uint64_t *)b->chain->stats;
	uint64_t *to = (uint64_t *)out;

	G_STATIC_ASSERT(sizeof(*out) % sizeof(uint64_t) == 0);
	for (size_t i = 0; i < sizeof(*out) / sizeof(uint64_t); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	out->inflight = __atomic_load_n(&b->chain->inflight, __ATOMIC_RELAXED);
}

G_STATIC_ASSERT(BLOCK_OPS == (int)STAT_BLOCK_OPS && sizeof(struct block_op_stats) == STAT_OP_WORDS * sizeof(uint64_t));
G_STATIC_ASSERT(offsetof(struct block_stats, op[0].hist) == STAT_OP_HIST * sizeof(uint64_t));
G_STATIC_ASSERT(offsetof(struct block_stats, inflight) == STAT_BLOCK_INFLIGHT * sizeof(uint64_t));
G_STATIC_ASSERT(offsetof(struct block_stats, size) == STAT_BLOCK_SIZE * sizeof(uint64_t) && sizeof(struct block_stats) == STAT_BLOCK_WORDS * sizeof(uint64_t));

void block_count_in(struct block *b, struct block_stats *s)
{
	b->chain->stats = s ? s : &b->chain->counted;
	__atomic_store_n(&b->chain->stats->size, b->size, __ATOMIC_RELAXED);
}

/* --- the door --- */

static bool on_loop(const struct block *b)
{
	struct loop *l = loop_current();

	return !l || l == b->loop; /* outside of any loop: tests, and the loop is not started */
}

static bool fits(uint64_t size, const struct block_req *r)
{
	return r->offset <= size && r->bytes <= size - r->offset;
}

static bool is_inside(struct block *b, const struct block_req *r)
{
	if (fits(b->can & BLOCK_CAN_GROW ? BLOCK_SIZE_MAX : b->size, r))
		return true;
	/* below a format, a device that the operator has made larger, perhaps because it was full */
	if (b == b->chain->root || !b->ops->measure)
		return false;
	b->ops->measure(b);
	return fits(b->size, r);
}

/* -errno for what drivers must never see; 0 for the rest. */
static int check(struct block *b, const struct block_req *r)
{
	const struct block_chain *c = b->chain;

	if ((unsigned)r->op >= BLOCK_OPS)
		return -EINVAL;
	if (r->op != BLOCK_READ && !(b->can & BLOCK_CAN_WRITE))
		return r->op == BLOCK_FLUSH ? 0 : -EROFS;
	if (r->op == BLOCK_FLUSH)
		return 0;
	if (r->op == BLOCK_RESIZE) {
		if (!(b->can & BLOCK_CAN_RESIZE))
			return -ENOTSUP;
		return r->offset > BLOCK_SIZE_MAX               ? -EFBIG
		       : r->offset % 512 || r->offset < b->size ? -EINVAL
								: 0;
	}
	if (!is_inside(b, r)) /* a format on a device that is full, or damaged */
		return b == c->root ? -EINVAL : r->op == BLOCK_READ ? -EIO : -ENOSPC;
	if (b == c->root && (r->offset | r->bytes) & (c->options.align - 1))
		return -EINVAL;
	if (r->op != BLOCK_READ && r->op != BLOCK_WRITE)
		return 0;
	if (r->bytes > BLOCK_IO_MAX || r->iov_n > BLOCK_IOV_MAX ||
		iov_bytes(r->iov, r->iov_n) != r->bytes)
		return -EINVAL;
	return 0;
}

/* What needs no driver. */
static bool is_nothing(const struct block *b, const struct block_req *r)
{
	switch (r->op) {
	case BLOCK_FLUSH:
		return !(b->can & BLOCK_CAN_WRITE);
	case BLOCK_RESIZE:
		return r->offset == b->size;
	case BLOCK_DISCARD:
		return !r->bytes || !(b->can & BLOCK_CAN_DISCARD);
	default:
		return !r->bytes;
	}
}

static void call(struct block *b, struct block_req *r)
{
	while (!b->ops->submit)
		b = b->lower;
	b->host->submitting++;
	b->ops->submit(b, r);
	b->host->submitting--;
}

void block_submit(struct block *b, struct block_req *r)
{
	struct block_chain *c = b->chain;
	int rc;

	if (r->top) {           /* a filter hands it on */
		call(b, r);
		return;
	}
	g_assert(on_loop(b) && r->done);
	r->top = b;
	r->state = 0;
	__atomic_store_n(&c->inflight, c->inflight + 1, __ATOMIC_RELAXED);
	__atomic_store_n(&c->stats->inflight, c->inflight, __ATOMIC_RELAXED);
	if (b == c->root) {
		r->started = clock_now(c->host->clock, CLOCK_HOST);
		if (c->options.writethrough && (r->op == BLOCK_WRITE || r->op == BLOCK_ZERO))
			r->flags |= BLOCK_FUA;
		if (c->options.ignore_discard)  /* Linux asks for it also where the disk says that it can't */
			r->flags &= ~(unsigned)BLOCK_UNMAP;
	}
	rc = check(b, r);
	if (rc < 0 || is_nothing(b, r)) {
		if (rc < 0 && b == c->root) {
			count(&c->stats->bad, 1);
			if ((unsigned)r->op < BLOCK_OPS)
				count(&c->stats->op[r->op].refused, 1);
		}
		block_done_soon(b, r, rc < 0 || r->op == BLOCK_RESIZE ? rc : (int64_t)r->bytes);
		return;
	}
	if (r->flags & BLOCK_FUA && !(b->can & BLOCK_CAN_FUA) &&
		(r->op == BLOCK_WRITE || r->op == BLOCK_ZERO))
		r->state |= STATE_FLUSH_AFTER;
	call(b, r);
}

void block_relay(struct block *b, struct block_req *r)
{
	g_assert(r->done && b != b->chain->root);
	r->top = b;
	r->state = STATE_RELAYED;
	if (r->op == BLOCK_WRITE && !(b->can & BLOCK_CAN_WRITE))
		block_done_soon(b, r, -EROFS);
	else if (!is_inside(b, r))
		block_done_soon(b, r, r->op == BLOCK_READ ? -EIO : -ENOSPC);
	else
		call(b, r);
}

static void grown(struct block_chain *c)
{
	for (unsigned i = c->nodes->len; i-- > 0;) {
		struct block *b = c->nodes->pdata[i];

		if (!b->ops->leaf && !b->ops->format)
			b->size = b->lower->size;
	}
	__atomic_store_n(&c->stats->size, c->root->size, __ATOMIC_RELAXED);
}

static void fua_done(struct block_req *r, int64_t result)
{
	struct block_fua *f = r->arg;
	struct block_req *parent = f->parent;
	struct block_chain *c = parent->top->chain;

	f->next = c->fua;
	c->fua = f;
	parent->state = 0;
	block_done(parent, result < 0 ? result : parent->result);
}

void block_chain_finish(struct block_chain *c)
{
	while (c->fua) {
		struct block_fua *f = c->fua;

		c->fua = f->next;
		g_free(f);
	}
}

static void flush_after(struct block *b, struct block_req *r, int64_t result)
{
	struct block_fua *f = b->chain->fua;

	if (f)
		b->chain->fua = f->next;
	else
		f = g_new(struct block_fua, 1);
	r->result = result;
	*f = (struct block_fua){ .parent = r, .req = { .op = BLOCK_FLUSH, .done = fua_done, .arg = f } };
	block_submit(b, &f->req);
}

void block_done(struct block_req *r, int64_t result)
{
	struct block *b = r->top;
	struct block_chain *c = b->chain;

	g_assert(!c->host->submitting);
	if (r->state & STATE_RELAYED) {
		r->top = NULL;
		r->done(r, result);
		return;
	}
	if (r->state & STATE_FLUSH_AFTER && result >= 0) {
		flush_after(b, r, result);
		return;
	}
	if (r->op == BLOCK_RESIZE && result >= 0)
		grown(c);
	if (b == c->root && (unsigned)r->op < BLOCK_OPS)
		count_request(c, r, result);
	r->top = NULL;
	r->state = 0;
	r->done(r, result);
	__atomic_store_n(&c->inflight, c->inflight - 1, __ATOMIC_RELAXED);
	__atomic_store_n(&c->stats->inflight, c->inflight, __ATOMIC_RELAXED);
	if (!c->inflight && c->drains->len) {
		for (unsigned i = 0; i < c->drains->len; i++)
			done_end(c->drains->pdata[i], 0);
		g_ptr_array_set_size(c->drains, 0);
	}
}

/* --- batches, and requests that end at once --- */

#define ROUNDS 8        /* batches ended in one go before the loop gets its turn */

static void run_finished(void *arg)
{
	struct block_host *h = arg;

	h->posted = false;
	block_host_plug(h);
	block_host_unplug(h);
}

static void end_batch(struct block_host *h)
{
	struct block_req *r = h->finished;

	h->finished = NULL;
	h->finished_end = &h->finished;
	while (r) {
		struct block_req *next = r->next;

		block_done(r, r->result);
		r = next;
	}
}

void block_done_soon(struct block *b, struct block_req *r, int64_t result)
{
	struct block_host *h = b->host;

	r->result = result;
	r->next = NULL;
	*h->finished_end = r;
	h->finished_end = &r->next;
	if (!h->plugged && !h->posted) {
		h->posted = true;
		loop_post(h->loop, run_finished, h);
	}
}

static void queue_kick(struct block_host *h, struct block_kick *k)
{
	if (k->queued)
		return;
	k->queued = true;
	k->next = h->kicks;
	h->kicks = k;
}

void block_kick(struct block_host *h, struct block_kick *k)
{
	if (h->plugged)
		queue_kick(h, k);
	else
		k->fn(k->arg);
}

/* Those queued now; what they queue in turn is for the next round. */
static void run_kicks(struct block_host *h)
{
	struct block_kick *k = h->kicks, *next;

	h->kicks = NULL;
	for (; k; k = next) {
		next = k->next;
		k->queued = false;
		k->fn(k->arg);
	}
}

void block_host_plug(struct block_host *h)
{
	h->plugged++;
}

static void post_rest(struct block_host *h)
{
	if ((h->finished || h->kicks) && !h->posted) {
		h->posted = true;
		loop_post(h->loop, run_finished, h);
	}
}

void block_kick_later(struct block_host *h, struct block_kick *k)
{
	queue_kick(h, k);
	if (!h->plugged)
		post_rest(h);
}

/* The outermost unplug. While done functions run it counts as plugged, so that what they submit is the next batch. */
void block_host_unplug(struct block_host *h)
{
	g_assert(h->plugged);
	if (h->plugged > 1) {
		h->plugged--;
		return;
	}
	for (int i = 0; i < ROUNDS && !h->submitting && (h->finished || h->kicks); i++) {
		run_kicks(h);
		end_batch(h);
	}
	if (h->submitting)      /* a format's own batch: nothing may end here */
		run_kicks(h);
	h->plugged = 0;
	post_rest(h);
}

void block_plug(struct block *b)
{
	block_host_plug(b->host);
}

void block_unplug(struct block *b)
{
	block_host_unplug(b->host);
}

/* --- drain --- */

struct drain { struct block_chain *chain; struct done *done; };

void block_chain_quiet(struct block_chain *c, bool on)
{
	for (unsigned i = 0; i < c->nodes->len; i++) {
		struct block *b = c->nodes->pdata[i];

		if (b->ops->quiet)
			b->ops->quiet(b, on);
	}
}

static void start_drain(void *arg)
{
	struct drain *d = arg;
	struct block_chain *c = d->chain;

	block_host_plug(c->host);
	if (!c->quiet++)
		block_chain_quiet(c, true);
	if (c->inflight)
		g_ptr_array_add(c->drains, d->done);
	else
		done_end(d->done, 0);
	block_host_unplug(c->host);
	g_free(d);
}

void block_drain(struct block *b, struct done *done)
{
	struct drain *d = g_new(struct drain, 1);

	*d = (struct drain){ b->chain, done };
	done_begin(done);
	loop_post(b->loop, start_drain, d);
}

static void end_drain(void *arg)
{
	struct block_chain *c = arg;

	g_assert(c->quiet);
	if (!--c->quiet)
		block_chain_quiet(c, false);
}

void block_undrain(struct block *b)
{
	loop_call(b->loop, end_drain, b->chain);
}
