/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Injected faults. A request waits in `held` until it reaches the disk (as a request of our own, made then), and again
 * until it is reported done; with shuffle each turn of the loop takes a random one of all that wait.
 */
#include "devices/block_fault.h"

#include <errno.h>
#include <string.h>

#include "devices/block_driver.h"
#include "devices/block_iov.h"

struct fault {
	struct block block;
	struct block_fault *control, none;
	GPtrArray *held;        /* of struct call */
	bool posted;
};
struct call {
	struct fault *fault;
	struct block_req *parent, req;
	struct loop_timer timer;
	struct iovec *half;
	bool ran;
	unsigned late;          /* turns that it lets others go first */
	int64_t result;
	unsigned id, submitted;
};

static void free_event(void *p)
{
	struct block_fault_event *e = p;

	g_free(e->data);
	g_free(e);
}

GPtrArray *block_fault_log_new(void)
{
	return g_ptr_array_new_with_free_func(free_event);
}

static struct block_fault_event *log_event(
	struct fault *f, bool done, unsigned id, enum block_op op, uint64_t off, uint64_t len)
{
	struct block_fault_event *e;

	if (!f->control->log)
		return NULL;
	e = g_new0(struct block_fault_event, 1);
	*e = (struct block_fault_event){ .done = done, .id = id, .op = op, .off = off, .len = len };
	g_ptr_array_add(f->control->log, e);
	return e;
}

static bool fails(struct fault *f, enum block_op op)
{
	struct block_fault *c = f->control;

	c->seen[op]++;
	if (!c->nth || !(c->fail_ops & 1u << op))
		return false;
	if (c->nth > 1) {
		c->nth--;
		return false;
	}
	if (c->times > 1)
		c->times--;
	else
		c->nth = 0;
	return true;
}

static void release_later(struct fault *f);

static void finish(struct call *call)
{
	struct block_req *parent = call->parent;
	struct block_fault_event *e =
		log_event(call->fault, true, call->id, parent->op, parent->offset, parent->bytes);
	int64_t result = call->result;

	if (e)
		e->failed = result < 0;
	g_free(call->half);
	g_free(call);
	block_done(parent, result);
}

static void ran(struct block_req *r, int64_t result)
{
	struct call *call = r->arg;
	struct fault *f = call->fault;

	call->result = call->result < 0 ? call->result : result;
	call->ran = true;
	if (!f->control->shuffle) {
		finish(call);
		return;
	}
	g_ptr_array_add(f->held, call);
	release_later(f);
}

/* The request reaches the disk now. */
static void reach(struct call *call)
{
	struct fault *f = call->fault;
	struct block_req *p = call->parent;
	bool fail = fails(f, p->op);
	struct block_fault_event *e;

	call->id = f->control->next_id++;
	call->req = (struct block_req){ .op = p->op,
		.flags = p->flags,
		.offset = p->offset,
		.bytes = p->bytes,
		.iov = p->iov,
		.iov_n = p->iov_n,
		.done = ran,
		.arg = call };
	if (fail) {
		call->result = f->control->error;
		if (p->op != BLOCK_WRITE || !f->control->torn || p->bytes < 1024) {
			call->req.op = BLOCK_FLUSH;     /* nothing happens */
			call->req.offset = call->req.bytes = 0;
			call->req.iov_n = 0;
		} else {
			call->half = g_new(struct iovec, p->iov_n);
			call->req.bytes = p->bytes / 1024 * 512;
			call->req.iov_n =
				iov_slice(p->iov, p->iov_n, 0, call->req.bytes, call->half);
			call->req.iov = call->half;
		}
	}
	if (!fail || call->req.op == BLOCK_WRITE) {
		e = log_event(f, false, call->id, p->op, p->offset, call->req.bytes);
		if (e)
			e->submitted = call->submitted;
		if (e && p->op == BLOCK_WRITE) {
			e->data = g_malloc(e->len);
			iov_to_buf(p->iov, p->iov_n, 0, e->data, e->len);
		}
	}
	block_submit(f->block.lower, &call->req);
}

static void release(void *arg)
{
	struct fault *f = arg;
	struct call *call;
	guint at;

	f->posted = false;
	if (!f->held->len)
		return;
	at = f->control->shuffle
		     ? (guint)g_rand_int_range(f->control->shuffle, 0, (gint32)f->held->len)
		     : 0;
	call = f->held->pdata[at];
	if (call->late && f->held->len > 1 && f->control->shuffle) {
		call->late--;
		release_later(f);
		return;
	}
	g_ptr_array_remove_index_fast(f->held, at);
	if (f->held->len)
		release_later(f);
	block_host_plug(f->block.host);
	if (call->ran)
		finish(call);
	else
		reach(call);
	block_host_unplug(f->block.host);
}

static void release_later(struct fault *f)
{
	if (f->posted)
		return;
	f->posted = true;
	loop_post(f->block.loop, release, f);
}

static void on_timer(void *arg)
{
	struct call *call = arg;

	block_host_plug(call->fault->block.host);
	reach(call);
	block_host_unplug(call->fault->block.host);
}

static void fault_submit(struct block *b, struct block_req *r)
{
	struct fault *f = (struct fault *)b;
	struct call *call = g_new0(struct call, 1);

	call->fault = f;
	call->parent = r;
	call->submitted = f->control->log ? f->control->log->len : 0;
	if (f->control->shuffle) {
		call->late = g_rand_int_range(f->control->shuffle, 0, 30) ? 0 : 60;
		g_ptr_array_add(f->held, call);
		release_later(f);
	} else if (f->control->delay) {
		loop_timer_init(&call->timer, b->loop, CLOCK_HOST, on_timer, call);
		loop_timer_set(
			&call->timer, clock_now(b->host->clock, CLOCK_HOST) + f->control->delay);
	} else {
		reach(call);
	}
}

static int fault_sync(struct block *b, enum block_op op, uint64_t off, void *buf, uint64_t n)
{
	struct fault *f = (struct fault *)b;
	unsigned id = f->control->next_id++;
	struct block_fault_event *e;
	int rc;

	if (fails(f, op))
		return f->control->error;
	e = log_event(f, false, id, op, off, n);
	if (e)
		e->submitted = f->control->log->len - 1;
	if (e && op == BLOCK_WRITE)
		e->data = g_memdup2(buf, n);
	rc = block_sync(b->lower, op, off, buf, n);
	e = log_event(f, true, id, op, off, n);
	if (e)
		e->failed = rc < 0;
	b->size = b->lower->size;
	return rc;
}

static bool fault_open(struct block *b, const void *config, struct fdset *fds, GError **err)
{
	struct fault *f = (struct fault *)b;
	const struct block_fault_config *c = config;

	f->control = c && c->fault ? c->fault : &f->none;
	f->held = g_ptr_array_new();
	b->can &= ~(unsigned)BLOCK_CAN_FUA;     /* so that every promise is a flush in the log */
	b->can |= BLOCK_CAN_CACHE;
	return true;
}

static int fault_close(struct block *b)
{
	struct fault *f = (struct fault *)b;

	g_assert(!f->held->len);
	g_ptr_array_free(f->held, TRUE);
	return 0;
}

const struct block_ops block_fault_ops = {
	.name = "fault",
	.size = sizeof(struct fault),
	.open = fault_open,
	.close = fault_close,
	.submit = fault_submit,
	.sync = fault_sync,
};
