/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: writes, zeroes and discards.
 *
 * A cluster with one reference is written in place. Else clusters are allocated: what the write does not cover of the first
 * and last is read through the ordinary way (so from whatever held it before), new clusters are written, then linked. Until
 * then other writes, zeroes and discards of these clusters wait; reads see the old state.
 */
#include <errno.h>
#include <string.h>

#include "devices/block_iov.h"
#include "devices/qcow2.h"

#define COW_MAX (16u << 20)     /* bytes of edges held by allocations under way */
#define RUN_MAX 2048u           /* clusters of one allocation */
#define ZEROES 65536u
#define ENTRIES_AT_ONCE 65536u  /* L2 entries changed before others have their turn */

static bool is_whole(const struct q2 *q, uint64_t v)
{
	return !(v & (q->cluster - 1));
}

struct q2_alloc *q2_alloc_at(struct q2 *q, uint64_t first, uint64_t last)
{
	for (struct q2_alloc *a = q->allocs; a; a = a->next)
		if (a->first <= last && first < a->first + a->n)
			return a;
	return NULL;
}

/* Does an old entry read as zeroes at these bytes of the disk? */
static bool reads_zero(const struct q2 *q, enum q2_kind kind, uint64_t at)
{
	return kind == KIND_ZERO || (kind == KIND_HOLE && at >= q2_backed(q));
}

/* --- an allocation, once it has its clusters --- */

static void alloc_end(struct q2_alloc *a, int error)
{
	struct q2_req *r = a->req;
	struct q2 *q = r->q;

	if (error && !a->reuse && a->linked < a->n)
		q2_free(q, (a->host >> q->bits) + a->linked, a->n - a->linked);
	if (a->next)
		a->next->prev = a->prev;
	*a->prev = a->next;
	q2_wake(q, &a->wait, 0);
	q->cow_bytes -= a->cow;
	if (a->cow)
		q2_wake(q, &q->cow_wait, 0);
	g_free(a->edge[0]);
	g_free(a->edge[1]);
	g_free(a);
	q2_req_end(r, error);
}

static int link_clusters(struct q2_alloc *a)
{
	struct q2 *q = a->req->q;

	for (; a->linked < a->n; a->linked++) {
		struct q2_slice *s;
		uint64_t *e, old;
		int rc = q2_entry(q, (a->first + a->linked) << q->bits, &a->task, &s, &e);

		if (rc < 0)
			return rc;
		if (!s)
			return -EIO;
		old = q2_be(e);
		*e = GUINT64_TO_BE((a->host + (a->linked << q->bits)) | Q2_COPIED);
		q2_slice_dirty(s);
		if (!a->reuse)
			q2_free_entry(q, old);
	}
	return 0;
}

/* A write of several pieces in one go: edges, the guest's data, zeroes. */
struct gather {
	struct block_req req;
	struct q2_alloc *alloc;
	struct iovec iov[];
};

static void gather_done(struct block_req *r, int64_t result)
{
	struct gather *g = r->arg;
	struct q2_alloc *a = g->alloc;
	struct q2 *q = a->req->q;

	g_free(g);
	q2_alloc_part_done(a, result < 0 ? (int)result : 0);
	q2_run(q);
}

static unsigned add_zeroes(struct q2 *q, struct iovec *iov, uint64_t len)
{
	unsigned n = 0;

	for (; len; len -= iov[n++].iov_len)
		iov[n] = (struct iovec){ q->zeroes, MIN(len, ZEROES) };
	return n;
}

/* The edge of len bytes; *skip: it need not be written. */
static unsigned add_edge(struct q2_alloc *a, int which, uint64_t len, struct iovec *iov, bool *skip)
{
	*skip = !len || (!a->edge[which] && a->fresh);
	if (*skip)
		return 0;
	if (!a->edge[which])
		return add_zeroes(a->req->q, iov, len);
	iov[0] = (struct iovec){ a->edge[which], len };
	return 1;
}

static void submit_gather(struct gather *g, struct q2_alloc *a, uint64_t host, unsigned n)
{
	g->alloc = a;
	g->req = (struct block_req){ .op = BLOCK_WRITE,
		.offset = host,
		.bytes = iov_bytes(g->iov, n),
		.iov = g->iov,
		.iov_n = n,
		.done = gather_done,
		.arg = g };
	a->pending++;
	block_submit(a->req->q->block.lower, &g->req);
}

static struct gather *new_gather(uint64_t pieces)
{
	return g_malloc(sizeof(struct gather) + sizeof(struct iovec) * pieces);
}

static void write_data(struct q2_alloc *a)
{
	struct q2_req *r = a->req;
	struct q2 *q = r->q;
	uint64_t start = a->first << q->bits, end = (a->first + a->n) << q->bits,
		 head = a->from - start, tail = end - a->to;
	uint64_t len = a->to - a->from,
		 most = (head + tail + (r->iov ? 0 : len)) / ZEROES + 3 + r->iov_n;
	struct gather *g;
	bool skip;
	unsigned n;

	a->copied = true;
	a->pending++;           /* us */
	if (!q2_may_write(q, a->host, a->n << q->bits, USE_DATA)) {
		q2_alloc_part_done(a, -EIO);
		return;
	}
	g = new_gather(most);
	n = add_edge(a, 0, head, g->iov, &skip);
	if (most > BLOCK_IOV_MAX && n) {        /* too many pieces for one request */
		submit_gather(g, a, a->host, n);
		g = new_gather(most);
		n = 0;
		skip = true;
	}
	n += r->iov ? iov_slice(r->iov, r->iov_n, a->from - r->off, len, g->iov + n)
		    : add_zeroes(q, g->iov + n, len);
	if (most > BLOCK_IOV_MAX) {
		submit_gather(g, a, a->host + head, n);
		g = new_gather(most);
		n = add_edge(a, 1, tail, g->iov, &skip);
		if (n)
			submit_gather(g, a, a->host + head + len, n);
		else
			g_free(g);
	} else {
		bool no_tail;

		n += add_edge(a, 1, tail, g->iov + n, &no_tail);
		submit_gather(g, a, a->host + (skip ? head : 0), n);
	}
	q2_alloc_part_done(a, 0);
}

static void run_alloc(struct q2_task *t)
{
	struct q2_alloc *a = (struct q2_alloc *)t;
	int rc = t->error ? t->error : link_clusters(a);

	if (rc != -EAGAIN)
		alloc_end(a, rc);
}

void q2_alloc_part_done(struct q2_alloc *a, int error)
{
	if (error && !a->error)
		a->error = error;
	if (--a->pending)
		return;
	if (a->error)
		alloc_end(a, a->error);
	else if (!a->copied)
		write_data(a);
	else
		run_alloc(&a->task);
}

static void edge_read(struct q2_req *r, int error)
{
	struct q2_alloc *a = r->own_arg;

	g_free(r);
	q2_alloc_part_done(a, error);
}

static void read_edge(struct q2_alloc *a, int which, uint64_t at, uint64_t len)
{
	struct q2 *q = a->req->q;

	a->edge[which] = g_malloc(len);
	a->pending++;
	q2_own_request(
		g_new(struct q2_req, 1), q, BLOCK_READ, 0, at, len, a->edge[which], edge_read, a);
}

/* --- what a write needs --- */

struct plan {
	uint64_t n;             /* clusters */
	uint64_t to;            /* bytes of the disk: from r->pos to here */
	uint64_t reuse;         /* host offset of a cluster to write again; 0: none */
	enum q2_kind first, last;
};

static bool is_reusable(const struct q2_extent *x)
{
	return x->kind == KIND_ZERO && x->entry & Q2_OFFSET && x->entry & Q2_COPIED;
}

/* How far one allocation can go from r->pos, whose extent is x. */
static int make_plan(struct q2_req *r, uint64_t end, const struct q2_extent *x, struct plan *p)
{
	struct q2 *q = r->q;
	uint64_t first = r->pos >> q->bits, span = 1ull << (q->bits + q->l2_bits);
	uint64_t stop = MIN(MIN(end, (r->pos | (span - 1)) + 1), (first + RUN_MAX) << q->bits);

	*p = (struct plan){ .to = r->pos + x->len, .first = x->kind, .last = x->kind };
	if (is_reusable(x)) {
		p->reuse = x->entry & Q2_OFFSET;
		p->to = MIN(stop, (first + 1) << q->bits);
	}
	p->to = MIN(p->to, stop);
	while (!p->reuse && p->to < stop) {
		struct q2_extent more;
		int rc;

		if (q2_alloc_at(q, p->to >> q->bits, p->to >> q->bits))
			break;
		rc = q2_map(q, p->to, stop - p->to, &r->task, &more);
		if (rc < 0)
			return rc;
		if (more.in_place || is_reusable(&more))
			break;
		p->to += more.len;
		p->last = more.kind;
	}
	p->n = ((p->to + q->cluster - 1) >> q->bits) - first;
	for (struct q2_alloc *a = q2_alloc_at(q, first, first + p->n - 1); a;
		a = q2_alloc_at(q, first, first + p->n - 1)) {
		p->n = a->first - first;        /* inside a long extent */
		p->to = a->first << q->bits;
	}
	return 0;
}

static int begin_alloc(struct q2_req *r, struct plan *p)
{
	struct q2 *q = r->q;
	uint64_t first = r->pos >> q->bits, head = r->pos & (q->cluster - 1), tail,
		 host = p->reuse >> q->bits, got = 1;
	bool read_head = head && !reads_zero(q, p->first, r->pos - head), read_tail;
	struct q2_alloc *a;
	int rc;

	/* the last extent may begin before p->to's cluster; its kind is what counts */
	tail = -p->to & (q->cluster - 1);
	read_tail = tail && !reads_zero(q, p->last, p->to);
	if (q->cow_bytes &&
		q->cow_bytes + (read_head ? head : 0) + (read_tail ? tail : 0) > COW_MAX) {
		q2_wait_on(&q->cow_wait, &r->task);
		return -EAGAIN;
	}
	if (!p->reuse) {
		rc = q2_clusters(q, p->n, &r->task, &host, &got);
		if (rc < 0)
			return rc;
		if (got < p->n) {
			p->n = got;
			p->to = (first + got) << q->bits;
			tail = 0;
			read_tail = false;
		}
	}
	a = g_new0(struct q2_alloc, 1);
	*a = (struct q2_alloc){ .task.run = run_alloc,
		.req = r,
		.first = first,
		.n = p->n,
		.host = host << q->bits,
		.reuse = p->reuse,
		.from = r->pos,
		.to = p->to,
		.next = q->allocs,
		.prev = &q->allocs };
	q2_wait_init(&a->wait);
	if (q->allocs)
		q->allocs->prev = &a->next;
	q->allocs = a;
	if (!p->reuse && q->fresh != UINT64_MAX) {
		a->fresh = a->host >= q->fresh;
		q->fresh = MAX(q->fresh, a->host + (a->n << q->bits));
	}
	a->cow = (read_head ? head : 0) + (read_tail ? tail : 0);
	q->cow_bytes += a->cow;
	r->pending++;
	r->pos = p->to;
	a->pending++;           /* us */
	if (read_head)
		read_edge(a, 0, first << q->bits, head);
	if (read_tail)
		read_edge(a, 1, p->to, tail);
	q2_alloc_part_done(a, 0);
	return 0;
}

/* The next piece of [r->pos, end). */
static int step_write(struct q2_req *r, uint64_t end)
{
	struct q2 *q = r->q;
	uint64_t first = r->pos >> q->bits;
	struct q2_alloc *other = q2_alloc_at(q, first, first);
	struct q2_extent x;
	struct plan plan;
	int rc;

	if (q->corrupt)
		return -EIO;
	if (other) {
		q2_wait_on(&other->wait, &r->task);
		return -EAGAIN;
	}
	rc = q2_map(q, r->pos, end - r->pos, &r->task, &x);
	if (rc < 0)
		return rc;
	if (x.in_place) {
		if (!q2_may_write(q, x.host, x.len, USE_DATA))
			return -EIO;
		q2_child(r, NULL, q->block.lower, r->iov ? BLOCK_WRITE : BLOCK_ZERO, x.host, r->pos,
			x.len);
		r->pos += x.len;
		return 0;
	}
	rc = q2_l2_writable(q, r->pos, &r->task);
	if (rc < 0)
		return rc;
	rc = make_plan(r, end, &x, &plan);
	return rc < 0 ? rc : begin_alloc(r, &plan);
}

int q2_step_write(struct q2_req *r)
{
	return step_write(r, r->end);
}

/* --- zeroes and discards --- */

/* What clusters of the extent become; false: they stay. *keep: the entry keeps its cluster. */
static bool zero_target(const struct q2_req *r, const struct q2_extent *x, uint64_t *entry)
{
	const struct q2 *q = r->q;
	bool backed = r->pos < q2_backed(q),
	     unmap = r->op == BLOCK_DISCARD || r->flags & BLOCK_UNMAP;

	*entry = backed ? Q2_ZERO : 0;
	if (x->kind == KIND_HOLE)
		return backed && r->op == BLOCK_ZERO;
	if (x->kind == KIND_ZERO)
		return unmap && x->entry & Q2_OFFSET;
	if (x->in_place && !unmap && q->v3)
		*entry = x->entry | Q2_ZERO;
	return true;
}

static int set_entries(struct q2_req *r, uint64_t n, uint64_t target)
{
	struct q2 *q = r->q;
	struct q2_slice *s;
	uint64_t *e;
	int rc = q2_entry(q, r->pos, &r->task, &s, &e);

	if (rc < 0)
		return rc;
	if (!s)
		return -EIO;
	for (uint64_t i = 0; i < n; i++) {
		uint64_t old = q2_be(e + i);

		if (target & Q2_OFFSET) {
			e[i] = GUINT64_TO_BE(old | Q2_ZERO);
		} else {
			e[i] = GUINT64_TO_BE(target);
			q2_free_entry(q, old);
		}
	}
	q2_slice_dirty(s);
	return 0;
}

/* Whole clusters from r->pos on, at most to end. */
static int zero_clusters(struct q2_req *r, uint64_t end)
{
	struct q2 *q = r->q;
	uint64_t target, first = r->pos >> q->bits,
			 backed = (q2_backed(q) + q->cluster - 1) & ~(uint64_t)(q->cluster - 1);
	struct q2_alloc *a;
	struct q2_extent x;
	int rc = q2_map(q, r->pos, end - r->pos, &r->task, &x);

	if (rc < 0)
		return rc;
	if (r->pos < backed)
		x.len = MIN(x.len, backed - r->pos);
	while ((a = q2_alloc_at(q, first, (r->pos + x.len - 1) >> q->bits))) {
		if (a->first <= first) {
			q2_wait_on(&a->wait, &r->task);
			return -EAGAIN;
		}
		x.len = (a->first << q->bits) - r->pos;
	}
	if (zero_target(r, &x, &target)) {
		if (!q->v3 && r->pos < backed) { /* v2 can't say "zeroes" over a backing image */
			if (r->op == BLOCK_ZERO)
				return step_write(r, MIN(r->end, (first + 1) << q->bits));
		} else {
			rc = q2_l2_writable(q, r->pos, &r->task);
			if (rc < 0)
				return rc;
			rc = set_entries(r, x.len >> q->bits, target);
			if (rc < 0)
				return rc;
		}
	}
	r->pos += x.len;
	r->work += (x.len >> q->bits) + 1;
	return 0;
}

int q2_step_zero(struct q2_req *r)
{
	struct q2 *q = r->q;
	uint64_t next = (r->pos | (q->cluster - 1)) + 1, end = r->end;
	struct q2_extent x;
	int rc;

	if (q->corrupt)
		return -EIO;
	if (r->work > ENTRIES_AT_ONCE) {
		r->work = 0;
		q2_later(q, &r->task);
		return -EAGAIN;
	}
	if (end == q->block.size)       /* the last cluster counts as whole */
		end = (end + q->cluster - 1) & ~(uint64_t)(q->cluster - 1);
	if (is_whole(q, r->pos) && next <= end)
		return zero_clusters(r, end & ~(uint64_t)(q->cluster - 1));
	end = MIN(r->end, next);
	if (r->op == BLOCK_DISCARD) {
		r->pos = end;
		return 0;
	}
	if (q2_alloc_at(q, r->pos >> q->bits, r->pos >> q->bits))
		return step_write(r, end);      /* waits */
	rc = q2_map(q, r->pos, end - r->pos, &r->task, &x);
	if (rc < 0)
		return rc;
	if (!reads_zero(q, x.kind, r->pos))
		return step_write(r, end);
	r->pos = end;
	return 0;
}
