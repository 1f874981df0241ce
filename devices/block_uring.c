/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files and block devices through the loop's restricted io_uring: calls are collected while the batch is open and go to
 * the kernel with one system call when it ends. What the kernel finished meanwhile is taken at once; the rest makes the
 * ring's descriptor readable. No more is in flight than the completion queue holds; the surplus waits here.
 *
 * Short transfers of files in memory (tmpfs) are made by this thread itself at the end of the batch: the kernel would hand
 * them to a thread of its own, for tmpfs can't do them without waiting in principle, and two wake-ups cost much more than
 * copying a page.
 */
#include "devices/block_file.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "domain/error.h"

#define RETRY_NS 10000000       /* the kernel was short of memory */
#define COPY_MAX (1u << 20)        /* bytes that are copied rather than handed on */

struct engine {                         /* one per host */
	struct block_shared shared;
	struct block_host *host;
	struct ring *ring;
	struct loop_fd watch;
	struct loop_poll poll;
	struct block_kick kick;
	struct loop_timer retry;
	unsigned inflight, most;
	struct file_op *waiting, **waiting_end;
	struct file_op *copies, **copies_end;   /* of the open batch */
	bool added;
	GError *err;
};
struct uring {
	struct file file;
	struct engine *engine;
	int slot;
};

static void prepare(struct engine *e, struct file_op *op)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&e->ring->uring);
	int slot = ((struct uring *)op->file)->slot;

	if (!sqe) {             /* the submission queue is full: make room */
		(void)io_uring_submit(&e->ring->uring);         /* no room: seen below */
		sqe = io_uring_get_sqe(&e->ring->uring);
	}
	if (!sqe) {
		op->next = NULL;
		*e->waiting_end = op;
		e->waiting_end = &op->next;
		return;
	}
	switch (op->call) {
	case FILE_READ:
		if (op->iov_n == 1)
			io_uring_prep_read(
				sqe, slot, op->iov->iov_base, (unsigned)op->iov->iov_len, op->off);
		else
			io_uring_prep_readv(sqe, slot, op->iov, op->iov_n, op->off);
		break;
	case FILE_WRITE:
		if (op->iov_n == 1)
			io_uring_prep_write(
				sqe, slot, op->iov->iov_base, (unsigned)op->iov->iov_len, op->off);
		else
			io_uring_prep_writev(sqe, slot, op->iov, op->iov_n, op->off);
		sqe->rw_flags = op->dsync ? RWF_DSYNC : 0;
		break;
	case FILE_SYNC:
		io_uring_prep_fsync(sqe, slot, IORING_FSYNC_DATASYNC);
		break;
	case FILE_FALLOCATE:
		io_uring_prep_fallocate(sqe, slot, op->mode, (off_t)op->off, (off_t)op->len);
		break;
	}
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, op);
	e->inflight++;
}

static void reap(struct engine *e)
{
	struct io_uring_cqe *cqe;

	for (unsigned i = 0; i < e->most && io_uring_peek_cqe(&e->ring->uring, &cqe) == 0; i++) {
		struct file_op *op = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&e->ring->uring, cqe);
		e->inflight--;
		if (e->waiting) {
			struct file_op *next = e->waiting;

			e->waiting = next->next;
			if (!e->waiting)
				e->waiting_end = &e->waiting;
			prepare(e, next);
			block_kick(e->host, &e->kick);
		}
		file_call_done(op, res);
	}
}

static int64_t copy(const struct file_op *op)
{
	int fd = op->file->fd;
	ssize_t n;

	if (op->call == FILE_READ)
		n = op->iov_n == 1 ? pread(fd, op->iov->iov_base, op->iov->iov_len, (off_t)op->off) :
				     preadv(fd, op->iov, (int)op->iov_n, (off_t)op->off);
	else
		n = op->iov_n == 1 ? pwrite(fd, op->iov->iov_base, op->iov->iov_len, (off_t)op->off) :
				     pwritev(fd, op->iov, (int)op->iov_n, (off_t)op->off);
	return n < 0 ? -errno : n;
}

static void run_copies(struct engine *e)
{
	struct file_op *op = e->copies;

	e->copies = NULL;
	e->copies_end = &e->copies;
	while (op) {
		struct file_op *next = op->next;

		file_call_done(op, copy(op));
		op = next;
	}
}

static void push(void *arg)
{
	struct engine *e = arg;
	int rc;

	while ((rc = io_uring_sq_ready(&e->ring->uring) ? io_uring_submit(&e->ring->uring) : 0) == -EINTR)
		;
	if (rc < 0) {           /* -EBUSY, -EAGAIN: entries stay in the queue */
		g_debug("io_uring: submit: %s", g_strerror(-rc));
		loop_timer_set(&e->retry, clock_now(e->host->clock, CLOCK_HOST) + RETRY_NS);
	}
	if (!e->host->submitting) {
		run_copies(e);
		reap(e);
	} else if (e->copies) { /* in the middle of a driver's submit, where nothing may end */
		block_kick_later(e->host, &e->kick);
	}
}

static void on_readable(void *arg, uint32_t events)
{
	struct engine *e = arg;

	block_host_plug(e->host);
	reap(e);
	if (io_uring_sq_ready(&e->ring->uring))
		block_kick(e->host, &e->kick);
	block_host_unplug(e->host);
}

/* COOP_TASKRUN: what the kernel has finished may still wait for a call of ours, which peek makes. */
static bool on_poll(void *arg)
{
	struct engine *e = arg;
	struct io_uring_cqe *cqe;

	if (!e->inflight || io_uring_peek_cqe(&e->ring->uring, &cqe) != 0)
		return false;
	on_readable(e, 0);
	return true;
}

static void on_retry(void *arg)
{
	on_readable(arg, 0);
}

static void engine_start(struct file *f, struct file_op *op)
{
	struct engine *e = ((struct uring *)f)->engine;

	if (f->in_memory && op->len <= COPY_MAX && !op->dsync && (op->call == FILE_READ || op->call == FILE_WRITE)) {
		op->next = NULL;
		*e->copies_end = op;
		e->copies_end = &op->next;
		block_kick(e->host, &e->kick);
		return;
	}
	if (e->inflight >= e->most) {
		op->next = NULL;
		*e->waiting_end = op;
		e->waiting_end = &op->next;
		return;
	}
	prepare(e, op);
	block_kick(e->host, &e->kick);
}

static void add_watch(void *arg)
{
	struct engine *e = arg;

	e->added = loop_fd_add(e->host->loop, &e->watch, &e->err);
	if (e->added)
		loop_poll_add(e->host->loop, &e->poll);
}

static void remove_watch(void *arg)
{
	struct engine *e = arg;

	loop_fd_remove(&e->watch);
	loop_poll_remove(&e->poll);
}

static void engine_free(struct block_shared *s)
{
	struct engine *e = (struct engine *)s;

	g_assert(!e->inflight && !e->waiting && !e->copies);
	loop_timer_cancel(&e->retry);
	loop_call(e->host->loop, remove_watch, e);
	g_free(e);
}

static struct block_shared *engine_make(struct block_host *h, GError **err)
{
	struct engine *e = g_new0(struct engine, 1);

	e->shared.free = engine_free;
	e->host = h;
	e->ring = h->ring;
	e->most = *h->ring->uring.cq.kring_entries;
	e->waiting_end = &e->waiting;
	e->copies_end = &e->copies;
	e->kick = (struct block_kick){ .fn = push, .arg = e };
	loop_timer_init(&e->retry, h->loop, CLOCK_HOST, on_retry, e);
	e->watch = (struct loop_fd){
		.fd = h->ring->uring.ring_fd, .events = EPOLLIN, .fn = on_readable, .arg = e
	};
	e->poll = (struct loop_poll){ .fn = on_poll, .arg = e };
	loop_call(h->loop, add_watch, e);
	if (e->added)
		return &e->shared;
	g_propagate_error(err, e->err);
	g_free(e);
	return NULL;
}

static const struct file_engine uring_engine = { .start = engine_start };

static bool uring_open(struct block *b, const void *config, struct fdset *fds, GError **err)
{
	struct uring *u = (struct uring *)b;
	int rc;

	u->slot = -1;
	u->file.fd = -1;
	u->file.engine = &uring_engine;
	if (!b->host->ring)
		return kerr_set(err, KERR_HOST, "this host allows no io_uring: use io='threads'");
	if (!file_open(&u->file, config, fds, err))
		return false;
	u->engine = (struct engine *)block_host_shared(b->host, "uring", engine_make, err);
	if (!u->engine)
		return false;
	u->slot = block_host_slot(b->host);
	if (u->slot < 0)
		return kerr_set(err, KERR_LIMIT, "more than %u images on one I/O thread",
			b->host->ring->files);
	rc = ring_set_file(b->host->ring, (unsigned)u->slot, u->file.fd);
	return rc < 0 ? kerr_errno(err, -rc, "put an image into the I/O ring") : true;
}

static int uring_close(struct block *b)
{
	struct uring *u = (struct uring *)b;

	if (u->slot >= 0) {
		(void)ring_set_file(
			b->host->ring, (unsigned)u->slot, -1); /* an empty slot is as good */
		block_host_slot_free(b->host, u->slot);
	}
	if (u->engine)
		block_host_unshare(b->host, &u->engine->shared);
	return file_close(&u->file);
}

const struct block_ops block_uring_ops = {
	.name = "uring",
	.size = sizeof(struct uring),
	.leaf = true,
	.open = uring_open,
	.close = uring_close,
	.submit = file_submit,
	.sync = file_sync,
	.measure = file_measure,
	.info = file_info,
};
