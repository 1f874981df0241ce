/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files and block devices of the host, whichever way system calls are made.
 *
 * A request takes one of these ways: straight on the caller's memory; through a bounce buffer, in chunks, when O_DIRECT
 * does not take the memory's or the range's alignment (edges are then read first and written back whole: while that goes
 * on, other writes to those blocks wait); punching a hole; zeroing a range. What the file system can't do falls back to the
 * next way for good: hole → zero range → writing zeroes.
 */
#include "devices/block_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block_iov.h"
#include "domain/error.h"

#define FREE_OPS 64             /* kept for the next request */

/* --- ops --- */

static struct file_op *op_new(struct file *f, struct block_req *r)
{
	struct file_op *op = f->free;

	if (op) {
		f->free = op->next;
		f->free_n--;
	} else {
		op = g_new(struct file_op, 1);
	}
	*op = (struct file_op){ .req = r, .file = f };
	return op;
}

static void op_free(struct file_op *op)
{
	struct file *f = op->file;

	free(op->bounce);
	g_free(op->iov_own);
	if (f->free_n >= FREE_OPS) {
		g_free(op);
		return;
	}
	op->next = f->free;
	f->free = op;
	f->free_n++;
}

static void activate(struct file_op *op)
{
	struct file *f = op->file;

	f->rmw_n += op->rmw;
	op->active_next = f->active;
	op->active_prev = &f->active;
	if (f->active)
		f->active->active_prev = &op->active_next;
	f->active = op;
}

/* Must op wait for another one that writes the same blocks? */
static bool is_blocked(const struct file_op *op)
{
	if (!op->rmw && !op->file->rmw_n)
		return false;
	for (const struct file_op *a = op->file->active; a; a = a->active_next)
		if ((a->rmw || op->rmw) && a->lo < op->hi && op->lo < a->hi)
			return true;
	return false;
}

static void begin(struct file_op *op);

static void deactivate(struct file_op *op)
{
	struct file *f = op->file;
	struct file_op *waiting = f->parked;

	f->rmw_n -= op->rmw;
	if (op->active_next)
		op->active_next->active_prev = op->active_prev;
	*op->active_prev = op->active_next;
	f->parked = NULL;
	f->parked_end = &f->parked;
	while (waiting) {
		struct file_op *next = waiting->next;

		begin(waiting);
		waiting = next;
	}
}

static void finish(struct file_op *op, int64_t rc)
{
	struct file *f = op->file;
	struct block_req *r = op->req;

	if (rc >= 0 && op->writes) {
		uint64_t end = r->offset + r->bytes;

		if (f->block.can & BLOCK_CAN_GROW)
			f->block.size = MAX(f->block.size, end);
		/* a whole block at the end of a file that ends inside it: the disk keeps its size */
		else if (op->rmw && f->regular && !f->slice && op->hi > f->offset + f->block.size &&
			ftruncate(f->fd, (off_t)(f->offset + f->block.size)) < 0)
			rc = -errno;
	}
	if (op->active_prev)
		deactivate(op);
	op_free(op);
	block_done(r, rc < 0 ? rc : (int64_t)r->bytes);
}

/* --- one system call after the other --- */

static void start(struct file_op *op, enum file_call what, uint64_t off, uint64_t len)
{
	op->call = what;
	op->off = off;
	op->len = len;
	op->file->engine->start(op->file, op);
}

static void start_one(
	struct file_op *op, enum file_call what, void *buf, uint64_t off, uint64_t len)
{
	op->one[0] = (struct iovec){ buf, len };
	op->iov = op->one;
	op->iov_n = 1;
	start(op, what, off, len);
}

static void start_fallocate(struct file_op *op)
{
	bool punch = op->way == WAY_PUNCH,
	     grows = op->file->block.can & BLOCK_CAN_GROW && op->req->op == BLOCK_ZERO;

	op->mode = punch ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE :
		FALLOC_FL_ZERO_RANGE | (grows ? 0 : FALLOC_FL_KEEP_SIZE);
	start(op, FILE_FALLOCATE, op->lo, op->hi - op->lo);
}

/* The next chunk through the bounce buffer. Writes with ragged edges: read head block, tail block, then write. */
enum { STEP_HEAD, STEP_TAIL, STEP_MOVE };

static void start_bounce(struct file_op *op)
{
	struct file *f = op->file;
	struct block_req *r = op->req;
	uint64_t at = f->offset + r->offset + op->pos, lo = file_down(at, f->align), end, hi;

	op->chunk = MIN(r->bytes - op->pos, FILE_BOUNCE - FILE_ALIGN_MAX - (at - lo));
	end = at + op->chunk;
	hi = file_up(end, f->align);
	if (op->writes && op->step == STEP_HEAD) {
		if (lo < at) {
			start_one(op, FILE_READ, op->bounce, lo, f->align);
			return;
		}
		op->step = STEP_TAIL;
	}
	if (op->writes && op->step == STEP_TAIL) {
		if (end < hi &&
			(hi - f->align > lo || lo == at)) { /* else the head read it already */
			start_one(op, FILE_READ, (char *)op->bounce + (hi - f->align - lo),
				hi - f->align, f->align);
			return;
		}
		op->step = STEP_MOVE;
	}
	if (op->writes && r->op == BLOCK_ZERO)
		memset((char *)op->bounce + (at - lo), 0, op->chunk);
	else if (op->writes)
		iov_to_buf(r->iov, r->iov_n, op->pos, (char *)op->bounce + (at - lo), op->chunk);
	op->dsync = r->flags & BLOCK_FUA && !f->no_sync;
	start_one(op, op->writes ? FILE_WRITE : FILE_READ, op->bounce, lo, hi - lo);
}

static void begin_bounce(struct file_op *op)
{
	op->way = WAY_BOUNCE;
	op->step = op->writes ? STEP_HEAD : STEP_MOVE;
	if (!op->bounce && posix_memalign(&op->bounce, FILE_ALIGN_MAX,
				   MIN(file_up(op->req->bytes, FILE_ALIGN_MAX) + 2 * FILE_ALIGN_MAX,
					   FILE_BOUNCE)))
		op->bounce = NULL;
	g_assert(op->bounce);   /* at most 1 MiB: as for GLib's own allocations */
	start_bounce(op);
}

/* Alignment has been chosen; op's range is known. */
static void begin(struct file_op *op)
{
	struct file *f = op->file;
	struct block_req *r = op->req;
	uint64_t at = f->offset + r->offset;
	bool ragged;

	if (op->way == WAY_SYNC) {
		start(op, FILE_SYNC, 0, 0);
		return;
	}
	ragged = (at | r->bytes) & (f->align - 1);
	op->lo = file_down(at, f->align);
	op->hi = file_up(at + r->bytes, f->align);
	op->rmw = op->writes && ragged && r->op != BLOCK_DISCARD;
	if (op->writes && f->align > 1) {
		if (is_blocked(op)) {
			op->next = NULL;
			*f->parked_end = op;
			f->parked_end = &op->next;
			return;
		}
		activate(op);
	}
	if (op->way == WAY_PUNCH || op->way == WAY_ZERO_RANGE) {
		if (op->rmw || (op->lo | op->hi) & (f->hole_align - 1)) {       /* ragged zeroes: whole blocks would be too much */
			begin_bounce(op);
			return;
		}
		start_fallocate(op);
		return;
	}
	if (r->op == BLOCK_ZERO || ragged ||
		(f->mem_align > 1 && !iov_is_aligned(r->iov, r->iov_n, f->mem_align))) {
		begin_bounce(op);
		return;
	}
	op->way = WAY_DIRECT;
	op->iov = r->iov;
	op->iov_n = r->iov_n;
	op->dsync = r->flags & BLOCK_FUA && !f->no_sync;
	start(op, op->writes ? FILE_WRITE : FILE_READ, at, r->bytes);
}

static void resize(struct file *f, struct block_req *r)
{
	int64_t rc = 0;

	if (f->regular)
		rc = ftruncate(f->fd, (off_t)(f->offset + r->offset)) < 0 ? -errno : 0;
	else if (lseek(f->fd, 0, SEEK_END) < (off_t)(f->offset + r->offset))
		rc = -EFBIG;            /* the operator grows the device first */
	if (rc >= 0)
		f->block.size = r->offset;
	block_done_soon(&f->block, r, rc);
}

void file_submit(struct block *b, struct block_req *r)
{
	struct file *f = (struct file *)b;
	struct file_op *op;
	enum file_way way = WAY_DIRECT;

	switch (r->op) {
	case BLOCK_FLUSH:
		if (f->no_sync) {
			block_done_soon(b, r, 0);
			return;
		}
		way = WAY_SYNC;
		break;
	case BLOCK_RESIZE:
		resize(f, r);
		return;
	case BLOCK_DISCARD: {
		/* whole blocks only: the rest may stay */
		uint64_t align = MAX(f->align, f->hole_align), lo = file_up(f->offset + r->offset, align),
			 hi = file_down(f->offset + r->offset + r->bytes, align);

		if (f->no_punch || lo >= hi) {
			block_done_soon(b, r, (int64_t)r->bytes);
			return;
		}
		op = op_new(f, r);
		op->way = WAY_PUNCH;
		op->writes = true;
		op->lo = lo;
		op->hi = hi;
		if (f->align > 1)
			activate(op);
		start_fallocate(op);
		return;
	}
	case BLOCK_ZERO:
		way = r->flags & BLOCK_UNMAP && !f->no_punch ? WAY_PUNCH
		      : !f->no_zero_range                    ? WAY_ZERO_RANGE
							     : WAY_BOUNCE;
		break;
	default:
		break;
	}
	op = op_new(f, r);
	op->way = way;
	op->writes = r->op == BLOCK_WRITE || r->op == BLOCK_ZERO;
	op->sync_after = r->op == BLOCK_ZERO && r->flags & BLOCK_FUA && !f->no_sync;
	begin(op);
}

static void conclude(struct file_op *op)
{
	if (op->sync_after) {
		op->sync_after = false;
		op->way = WAY_SYNC;
		start(op, FILE_SYNC, 0, 0);
	} else {
		finish(op, 0);
	}
}

/* A transfer moved less than it should: the rest is to come. false: it was complete. */
static bool go_on(struct file_op *op, uint64_t moved)
{
	struct iovec *rest;

	if (moved == op->len)
		return false;
	if (op->way == WAY_BOUNCE || op->iov == op->one) {
		start_one(op, op->call, (char *)op->one[0].iov_base + moved, op->off + moved,
			op->len - moved);
		return true;
	}
	rest = g_new(struct iovec, op->iov_n);
	op->iov_n = iov_slice(op->iov, op->iov_n, moved, op->len - moved, rest);
	g_free(op->iov_own);
	op->iov = op->iov_own = rest;
	start(op, op->call, op->off + moved, op->len - moved);
	return true;
}

/* A device of larger sectors, used through the page cache, takes any write but no such hole: that does not mean that it takes none. */
static bool is_ragged_hole(const struct file_op *op, int64_t res)
{
	return res == -EINVAL && (op->lo | op->hi) & (FILE_ALIGN_MAX - 1);
}

static void fallocated(struct file_op *op, int64_t res)
{
	struct file *f = op->file;
	bool lacks = res == -EOPNOTSUPP || res == -ENOTTY || res == -EINVAL || res == -ENODEV ||
		     res == -ENOSYS;

	if (!lacks) {
		if (res < 0)
			finish(op, res);
		else
			conclude(op);
		return;
	}
	if (is_ragged_hole(op, res)) {
		f->hole_align = FILE_ALIGN_MAX;
		if (op->req->op == BLOCK_ZERO) {
			begin_bounce(op);
			return;
		}
		op->lo = file_up(op->lo, f->hole_align);
		op->hi = file_down(op->hi, f->hole_align);
		if (op->lo < op->hi)
			start_fallocate(op);
		else
			finish(op, 0);
		return;
	}
	if (op->way == WAY_PUNCH)
		f->no_punch = true;
	else
		f->no_zero_range = true;
	if (op->req->op == BLOCK_DISCARD) {
		finish(op, 0);
	} else if (op->way == WAY_PUNCH && !f->no_zero_range) {
		op->way = WAY_ZERO_RANGE;
		start_fallocate(op);
	} else {
		begin_bounce(op);
	}
}

static void bounced(struct file_op *op)
{
	struct file *f = op->file;
	struct block_req *r = op->req;
	uint64_t at = f->offset + r->offset + op->pos;

	if (op->step != STEP_MOVE) {
		op->step++;
		start_bounce(op);
		return;
	}
	if (!op->writes)
		iov_from_buf(r->iov, r->iov_n, op->pos,
			(char *)op->bounce + (at - file_down(at, f->align)), op->chunk);
	op->pos += op->chunk;
	if (op->pos == r->bytes) {
		conclude(op);
		return;
	}
	op->step = op->writes ? STEP_HEAD : STEP_MOVE;
	start_bounce(op);
}

void file_call_done(struct file_op *op, int64_t res)
{
	struct file *f = op->file;

	if (res == -EINTR || res == -EAGAIN) {
		f->engine->start(f, op);
		return;
	}
	if (op->call == FILE_FALLOCATE) {
		fallocated(op, res);
		return;
	}
	if (op->call == FILE_SYNC) {
		finish(op, res);
		return;
	}
	if (res == -EINVAL && f->direct &&
		f->align < FILE_ALIGN_MAX) { /* the probe at open was not strict enough */
		f->align = f->mem_align = FILE_ALIGN_MAX;
		if (op->active_prev)
			deactivate(op);
		op->active_prev = NULL;
		op->pos = 0;
		op->way = WAY_DIRECT;
		g_clear_pointer(&op->bounce, free);
		begin(op);
		return;
	}
	if (res < 0) {
		finish(op, res);
		return;
	}
	if (op->call == FILE_WRITE && !res && op->len) {
		finish(op, -ENOSPC);
		return;
	}
	/* the end of the file: zeroes beyond */
	if (op->call == FILE_READ && (uint64_t)res < op->len && (!res || res & (f->align - 1))) {
		iov_fill(op->iov, op->iov_n, (size_t)res, 0, op->len - (uint64_t)res);
		res = (int64_t)op->len;
	}
	if (go_on(op, (uint64_t)res))
		return;
	if (op->way == WAY_BOUNCE)
		bounced(op);
	else
		conclude(op);
}
