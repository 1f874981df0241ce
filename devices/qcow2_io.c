/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: requests under way. A request walks over its range, extent by extent; parts (reads and writes of the file below,
 * of the backing image, allocations) run at once, and it is done when the last one is. Requests are kept in the order they
 * came, because freed clusters may be used again only after those that might still touch them.
 */
#include <errno.h>
#include <string.h>

#include "devices/block_iov.h"
#include "devices/qcow2.h"

struct child {
	struct block_req req;
	struct q2_req *parent;
	struct q2_alloc *alloc;         /* part of an allocation, else of the request */
	struct iovec one, *many;
};

/* --- children --- */

static void child_done(struct block_req *r, int64_t result)
{
	struct child *c = r->arg;
	struct q2_req *parent = c->parent;
	struct q2_alloc *a = c->alloc;
	struct q2 *q = parent->q;
	int error = result < 0 ? (int)result : 0;

	g_free(c->many);
	g_free(c);
	if (a)
		q2_alloc_part_done(a, error);
	else
		q2_req_end(parent, error);
	q2_run(q);
}

void q2_child(struct q2_req *p, struct q2_alloc *a, struct block *to, enum block_op op,
	uint64_t host, uint64_t at, uint64_t len)
{
	struct child *c = g_new(struct child, 1);

	*c = (struct child){ .parent = p, .alloc = a, .req = { .op = op, .offset = host, .bytes = len, .done = child_done,
		.arg = c } };
	if (p->iov && (op == BLOCK_READ || op == BLOCK_WRITE)) {
		if (at == p->off && len == p->end - p->off) {
			c->req.iov = p->iov;
			c->req.iov_n = p->iov_n;
		} else if (p->iov_n == 1) {
			c->one = (struct iovec){ (char *)p->iov->iov_base + (at - p->off), len };
			c->req.iov = &c->one;
			c->req.iov_n = 1;
		} else {
			c->many = g_new(struct iovec, p->iov_n);
			c->req.iov = c->many;
			c->req.iov_n = iov_slice(p->iov, p->iov_n, at - p->off, len, c->many);
		}
	}
	*(a ? &a->pending : &p->pending) += 1;
	block_submit(to, &c->req);
}

/* --- reading --- */

uint64_t q2_backed(const struct q2 *q)
{
	return q->block.backing ? MIN(q->block.backing->size, q->block.size) : 0;
}

static void read_zeroes(struct q2_req *r, uint64_t at, uint64_t len)
{
	iov_fill(r->iov, r->iov_n, at - r->off, 0, len);
}

static void read_backing(struct q2_req *r, uint64_t at, uint64_t len)
{
	uint64_t most = q2_backed(r->q), n = at >= most ? 0 : MIN(len, most - at);

	if (n)
		q2_child(r, NULL, r->q->block.backing, BLOCK_READ, at, at, n);
	if (n < len)
		read_zeroes(r, at + n, len - n);
}

static int step_read(struct q2_req *r)
{
	struct q2 *q = r->q;
	struct q2_extent x;
	int rc;

	if (r->pos >= q->block.size) {  /* an edge of a cluster beyond the disk's end */
		read_zeroes(r, r->pos, r->end - r->pos);
		r->pos = r->end;
		return 0;
	}
	rc = q2_map(q, r->pos, MIN(r->end, q->block.size) - r->pos, &r->task, &x);
	if (rc < 0)
		return rc;
	if (x.kind == KIND_DATA)
		q2_child(r, NULL, q->block.lower, BLOCK_READ, x.host, r->pos, x.len);
	else if (x.kind == KIND_COMPRESSED)
		q2_zip_read(r, x.entry, r->pos, x.len);
	else if (x.kind == KIND_ZERO)
		read_zeroes(r, r->pos, x.len);
	else
		read_backing(r, r->pos, x.len);
	r->pos += x.len;
	return 0;
}

/* --- a request --- */

void q2_turn_begin(struct q2 *q, struct q2_turn *t)
{
	t->epoch = q->epoch;
	t->newer = NULL;
	t->older = q->newest;
	*(t->older ? &t->older->newer : &q->oldest) = t;
	q->newest = t;
}

void q2_turn_end(struct q2 *q, struct q2_turn *t)
{
	*(t->older ? &t->older->newer : &q->oldest) = t->newer;
	*(t->newer ? &t->newer->older : &q->newest) = t->older;
}

static void finish(struct q2_req *r)
{
	struct q2 *q = r->q;

	q2_turn_end(q, &r->turn);
	if (r->guest) {
		block_done_soon(
			&q->block, r->guest, r->error ? r->error : (int64_t)r->guest->bytes);
		g_free(r);
	} else {
		r->own_done(r, r->error);
	}
	if (q->durable)
		q2_release(q);
}

static void run_req(struct q2_task *t)
{
	struct q2_req *r = (struct q2_req *)t;
	int rc = t->error;

	r->pending++;           /* us */
	while (!rc && !r->error && r->pos < r->end) {
		switch (r->op) {
		case BLOCK_READ:
			rc = step_read(r);
			break;
		case BLOCK_WRITE:
			rc = q2_step_write(r);
			break;
		default:
			rc = q2_step_zero(r);
			break;
		}
	}
	if (rc == -EAGAIN) {    /* parts may end meanwhile: not walked, so not over */
		r->pending--;
		return;
	}
	r->walked = true;
	q2_req_end(r, rc);
}

void q2_req_end(struct q2_req *r, int error)
{
	if (error && !r->error)
		r->error = error;
	r->pending--;
	if (!r->pending && r->walked)
		finish(r);
}

static void begin(struct q2_req *r, struct q2 *q)
{
	r->q = q;
	r->task.run = run_req;
	q2_turn_begin(q, &r->turn);
	r->pos = r->off;
}

void q2_own_request(struct q2_req *r, struct q2 *q, enum block_op op, unsigned flags, uint64_t off,
	uint64_t len, void *buf, void (*done)(struct q2_req *, int error), void *arg)
{
	*r = (struct q2_req){ .op = op, .flags = flags, .off = off, .end = off + len, .own_done = done, .own_arg = arg };
	r->own_iov = (struct iovec){ buf, len };
	r->iov = buf ? &r->own_iov : NULL;
	r->iov_n = buf ? 1 : 0;
	begin(r, q);
	q2_ready(q, &r->task);
}

struct flush { struct q2_task task; struct q2 *q; struct block_req *guest; };

static void flushed(struct q2_task *t)
{
	struct flush *f = (struct flush *)t;

	block_done_soon(&f->q->block, f->guest, t->error);
	g_free(f);
}

void q2_submit(struct block *b, struct block_req *guest)
{
	struct q2 *q = (struct q2 *)b;
	bool data = guest->op == BLOCK_READ || guest->op == BLOCK_WRITE;
	struct q2_req *r;

	if (data && q2_short_submit(q, guest))
		return;
	if (guest->op == BLOCK_FLUSH) {
		struct flush *f = g_new(struct flush, 1);

		*f = (struct flush){ { .run = flushed }, q, guest };
		q2_flush(q, &f->task);
	} else if (guest->op == BLOCK_RESIZE) {
		q2_resize(q, guest);
	} else if (q->corrupt && guest->op != BLOCK_READ) {
		block_done_soon(b, guest, -EIO);
		return;
	} else {
		r = g_new(struct q2_req, 1);
		*r = (struct q2_req){ .guest = guest, .op = guest->op, .flags = guest->flags, .off = guest->offset,
			.end = guest->offset + guest->bytes, .iov = data ? guest->iov : NULL,
			.iov_n = data ? guest->iov_n : 0 };
		begin(r, q);
		run_req(&r->task);
	}
	q2_run(q);
}
