/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files and block devices through a pool of threads that block in system calls: for hosts that forbid io_uring, and for
 * io='threads'. Calls handed out while a batch is open wake the threads when it ends; results come back to the loop by one
 * post for as many as there are. The queue holds one call per request in flight, so front ends bound it.
 */
#include "devices/block_file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "domain/error.h"

#define THREADS 8

struct pool {                           /* one per host */
	struct block_shared shared;
	struct block_host *host;
	struct block_kick kick;
	GThread *threads[THREADS];
	GMutex lock;                    /* the rest */
	GCond work;
	struct file_op *todo, **todo_end, *ready, **ready_end;
	bool posted, stop;
	struct file_op *fresh, **fresh_end;     /* loop only: of the open batch */
	unsigned fresh_n;
};
struct threads {
	struct file file;
	struct pool *pool;
};

static int64_t run(const struct file_op *op)
{
	int fd = op->file->fd;
	ssize_t n = 0;

	switch (op->call) {
	case FILE_READ:
		n = preadv(fd, op->iov, (int)op->iov_n, (off_t)op->off);
		break;
	case FILE_WRITE:
		n = pwritev(fd, op->iov, (int)op->iov_n, (off_t)op->off);
		if (n >= 0 && op->dsync && fdatasync(fd) < 0)
			n = -1;
		break;
	case FILE_SYNC:
		n = fdatasync(fd);
		break;
	case FILE_FALLOCATE:
		n = fallocate(fd, op->mode, (off_t)op->off, (off_t)op->len);
		break;
	}
	return n < 0 ? -errno : n;
}

static void take_results(void *arg)
{
	struct pool *p = arg;
	struct file_op *op;

	g_mutex_lock(&p->lock);
	op = p->ready;
	p->ready = NULL;
	p->ready_end = &p->ready;
	p->posted = false;
	g_mutex_unlock(&p->lock);
	block_host_plug(p->host);
	while (op) {
		struct file_op *next = op->next;

		file_call_done(op, op->result);
		op = next;
	}
	block_host_unplug(p->host);
}

static void *thread_main(void *arg)
{
	struct pool *p = arg;

	if (p->host->thread_start)
		p->host->thread_start();
	g_mutex_lock(&p->lock);
	for (;;) {
		struct file_op *op;
		bool post;

		while (!p->todo && !p->stop)
			g_cond_wait(&p->work, &p->lock);
		op = p->todo;
		if (!op)
			break;
		p->todo = op->next;
		if (!p->todo)
			p->todo_end = &p->todo;
		g_mutex_unlock(&p->lock);
		op->result = run(op);
		g_mutex_lock(&p->lock);
		op->next = NULL;
		*p->ready_end = op;
		p->ready_end = &op->next;
		post = !p->posted;
		p->posted = true;
		if (post) {
			g_mutex_unlock(&p->lock);
			loop_post(p->host->loop, take_results, p);
			g_mutex_lock(&p->lock);
		}
	}
	g_mutex_unlock(&p->lock);
	return NULL;
}

static void push(void *arg)
{
	struct pool *p = arg;
	unsigned n = p->fresh_n;

	if (!n)
		return;
	g_mutex_lock(&p->lock);
	*p->todo_end = p->fresh;
	p->todo_end = p->fresh_end;
	if (n >= THREADS)
		g_cond_broadcast(&p->work);
	else
		while (n--)
			g_cond_signal(&p->work);
	g_mutex_unlock(&p->lock);
	p->fresh = NULL;
	p->fresh_end = &p->fresh;
	p->fresh_n = 0;
}

static void pool_start(struct file *f, struct file_op *op)
{
	struct pool *p = ((struct threads *)f)->pool;

	op->next = NULL;
	*p->fresh_end = op;
	p->fresh_end = &op->next;
	p->fresh_n++;
	block_kick(p->host, &p->kick);
}

static void pool_free(struct block_shared *s)
{
	struct pool *p = (struct pool *)s;

	g_mutex_lock(&p->lock);
	p->stop = true;
	g_cond_broadcast(&p->work);
	g_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < THREADS && p->threads[i]; i++)
		g_thread_join(p->threads[i]);
	g_assert(!p->ready && !p->fresh && !p->posted);
	g_mutex_clear(&p->lock);
	g_cond_clear(&p->work);
	g_free(p);
}

static struct block_shared *pool_make(struct block_host *h, GError **err)
{
	struct pool *p = g_new0(struct pool, 1);
	GError *why = NULL;

	p->shared.free = pool_free;
	p->host = h;
	p->kick = (struct block_kick){ .fn = push, .arg = p };
	p->todo_end = &p->todo;
	p->ready_end = &p->ready;
	p->fresh_end = &p->fresh;
	g_mutex_init(&p->lock);
	g_cond_init(&p->work);
	for (unsigned i = 0; i < THREADS; i++) {
		p->threads[i] = g_thread_try_new("disk", thread_main, p, &why);
		if (p->threads[i])
			continue;
		kerr_set(err, KERR_LIMIT, "start a thread for disks: %s", why->message);
		g_error_free(why);
		pool_free(&p->shared);
		return NULL;
	}
	return &p->shared;
}

static const struct file_engine threads_engine = { .start = pool_start };

static bool threads_open(struct block *b, const void *config, struct fdset *fds, GError **err)
{
	struct threads *t = (struct threads *)b;

	t->file.fd = -1;
	t->file.engine = &threads_engine;
	if (!file_open(&t->file, config, fds, err))
		return false;
	t->pool = (struct pool *)block_host_shared(b->host, "threads", pool_make, err);
	return t->pool;
}

static int threads_close(struct block *b)
{
	struct threads *t = (struct threads *)b;

	if (t->pool)
		block_host_unshare(b->host, &t->pool->shared);
	return file_close(&t->file);
}

const struct block_ops block_threads_ops = {
	.name = "threads",
	.size = sizeof(struct threads),
	.leaf = true,
	.open = threads_open,
	.close = threads_close,
	.submit = file_submit,
	.sync = file_sync,
	.measure = file_measure,
	.info = file_info,
};
