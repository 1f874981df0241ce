/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices.
 *
 * All output goes into one ring; each end has its own place in that stream, so that a slow end costs
 * nothing to others and a late one simply starts further back. The guest's thread puts its bytes
 * into the ring and wakes the loop only when the loop is not busy with it: the first byte is put out
 * at once, later ones at most FLUSH_NS later, together, without a system call of the guest's thread.
 *
 * Descriptors are watched edge-triggered: an end remembers whether it was last seen readable and
 * writable. Input is read only while the front end has room, so it waits in the
 * host's buffers and not here. An end whose other side has gone stays until its input is used up.
 *
 * Lock order: front end's lock → chr->lock; the latter guards a few words and a memcpy.
 */
#include "devices/chr_core.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "domain/error.h"
#include "hv/vm.h"

#define FLUSH_NS 1000000        /* output gathers for so long after a byte was put out */
#define WATCHED (EPOLLIN | EPOLLRDHUP | EPOLLET)        /* and EPOLLOUT while an end is full */
#define DISCARD_MAX 16          /* chunks of unwanted input read in one go */

static void flush_all(struct chr *c);
static void pump(struct chr *c);

/* --- posts hold a reference, so that they may run after chr_free --- */

static void unref(struct chr *c)
{
	if (!g_atomic_int_dec_and_test(&c->refs))
		return;
	chr_ring_finish(&c->ring);
	g_ptr_array_free(c->ends, TRUE);
	g_mutex_clear(&c->lock);
	g_free(c);
}

static void post(struct chr *c, void (*fn)(void *))
{
	g_atomic_int_inc(&c->refs);
	loop_post(c->loop, fn, c);
}

/* --- ends --- */

static bool is_on_loop(const struct chr *c)
{
	return loop_current() == c->loop || !loop_current();    /* none: not started, or tests' own thread */
}

static void close_fd(struct chr_end *e)
{
	loop_fd_remove(&e->watch);
	if (e->watch.fd >= 0)
		close(e->watch.fd);
	e->watch.fd = -1;
	e->readable = e->writable = false;
}

static void end_free(struct chr_end *e)
{
	close_fd(e);
	if (e->ops->close)
		e->ops->close(e);
	g_free(e);
}

static void tell_opened(struct chr *c, bool on)
{
	if (c->front->opened && !c->dead)
		c->front->opened(c->dev, on);
}

/* The other side has gone and what it sent was used: the end waits for the next one or ends. */
static void end_gone(struct chr_end *e)
{
	close_fd(e);
	e->hup = e->ended = false;
	if (!e->ops->gone || !e->ops->gone(e))
		e->closing = true;
	if (e == e->chr->backend)
		tell_opened(e->chr, false);
}

void chr_sweep(struct chr *c)
{
	for (unsigned i = c->ends->len; i-- > 0;) {
		struct chr_end *e = c->ends->pdata[i];

		if (!e->closing)
			continue;
		if (c->backend == e)
			c->backend = NULL;
		g_ptr_array_remove_index(c->ends, i);
		end_free(e);
	}
}

void chr_end_event(struct chr_end *e, uint32_t events)
{
	struct chr *c = e->chr;

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		e->readable = true;
	if (events & EPOLLOUT) {
		loop_fd_set(&e->watch, WATCHED);
		e->writable = true;
	}
	if (events & (EPOLLHUP | EPOLLERR)) {
		if (e->ops->hangup)
			e->ops->hangup(e);
		else
			e->hup = true;
	}
	flush_all(c);
	pump(c);
}

static void end_event(void *arg, uint32_t events)
{
	chr_end_event(arg, events);
}

static bool watch(struct chr_end *e, GError **err)
{
	int flags = fcntl(e->watch.fd, F_GETFL);

	if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(e->watch.fd, F_SETFL, flags | O_NONBLOCK) < 0))
		return kerr_errno(err, errno, "make %s non-blocking", e->ops->name);
	e->readable = e->ops->read != NULL;
	e->writable = true;
	e->watch.events = WATCHED;
	e->watch.fn = end_event;
	e->watch.arg = e;
	return loop_fd_add(e->chr->loop, &e->watch, err);
}

bool chr_end_connected(struct chr_end *e, int fd, GError **err)
{
	struct chr *c = e->chr;

	g_assert(is_on_loop(c) && e->watch.fd < 0);
	e->watch.fd = fd;
	if (!watch(e, err)) {
		close_fd(e);
		return false;
	}
	if (e == c->backend)
		tell_opened(c, true);
	flush_all(c);
	pump(c);
	return true;
}

struct chr_end *chr_end_new(struct chr *c, const struct chr_ops *ops)
{
	struct chr_end *e = g_malloc0(ops->size);

	e->ops = ops;
	e->chr = c;
	e->watch.fd = -1;
	return e;
}

struct loop *chr_loop(struct chr *c)
{
	return c->loop;
}

/* --- output --- */

/* Catches up an end that the ring has overtaken. false: it is cut off instead. Lock held. */
static bool catch_up(struct chr *c, struct chr_end *e)
{
	uint64_t tail = chr_ring_tail(&c->ring);

	if (e->at >= tail)
		return true;
	if (e->strict)
		return false;
	e->lost += tail - e->at;
	e->at = tail;
	return true;
}

static void end_flush(struct chr *c, struct chr_end *e)
{
	while (!e->closing) {
		bool ok;
		size_t n = 0;
		ssize_t put;

		g_mutex_lock(&c->lock);
		ok = catch_up(c, e);
		if (ok && e->hup)
			e->at = c->ring.head;
		if (ok && e->writable)
			n = chr_ring_copy(&c->ring, e->at, c->buf, sizeof(c->buf));
		g_mutex_unlock(&c->lock);
		if (!ok) {
			g_debug("console '%s' was cut off: it does not read", e->name);
			c->cut++;
			e->closing = true;
		}
		if (!n)
			return;
		put = e->ops->write(e, c->buf, n);
		if (put > 0) {
			e->at += (uint64_t)put;
			e->sent += (uint64_t)put;
		} else if (put == 0) {
			e->writable = false;
			if (e->watch.loop)
				loop_fd_set(&e->watch, WATCHED | EPOLLOUT);
		} else {
			e->hup = true;
			e->readable = true;
		}
	}
}

static void flush_all(struct chr *c)
{
	g_mutex_lock(&c->lock);
	c->flushed = c->ring.head;
	c->urged = false;
	g_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < c->ends->len; i++)
		end_flush(c, c->ends->pdata[i]);
	chr_sweep(c);
	if (c->wants_space && !c->dead && chr_space(c) >= CHR_RING_BYTES / 2) {
		c->wants_space = false;
		if (c->front->drained)
			c->front->drained(c->dev);
	}
}

void chr_flush(struct chr *c)
{
	flush_all(c);
}

bool chr_is_open(struct chr *c)
{
	return !c->backend || (!c->backend->hup && (c->backend->ops != &chr_socket || c->backend->watch.fd >= 0));
}

size_t chr_space(struct chr *c)
{
	uint64_t behind = 0;

	if (c->backend && chr_is_open(c)) {
		g_mutex_lock(&c->lock);
		behind = c->ring.head - MIN(c->backend->at, c->ring.head);
		g_mutex_unlock(&c->lock);
	}
	if (behind > CHR_RING_BYTES / 2)
		c->wants_space = true;
	return behind < CHR_RING_BYTES ? (size_t)(CHR_RING_BYTES - behind) : 0;
}

static void look_again(struct chr *c)
{
	loop_timer_set(&c->timer, clock_now(c->dev->vm->clock, CLOCK_HOST) + FLUSH_NS);
}

static void flush_timer(void *arg)
{
	struct chr *c = arg;
	bool idle;

	g_mutex_lock(&c->lock);
	idle = c->flushed == c->ring.head;
	if (idle)
		c->busy = false;
	g_mutex_unlock(&c->lock);
	if (idle)
		return;
	flush_all(c);
	pump(c);
	look_again(c);
}

static void flush_post(void *arg)
{
	struct chr *c = arg;

	if (!c->dead) {
		flush_all(c);
		pump(c);
		look_again(c);
	}
	unref(c);
}

void chr_write(struct chr *c, const void *data, size_t n)
{
	bool wake;

	g_mutex_lock(&c->lock);
	chr_ring_put(&c->ring, data, n);
	wake = !c->busy || (!c->urged && c->ring.head - c->flushed > CHR_RING_BYTES / 2);
	if (wake)
		c->busy = c->urged = true;
	g_mutex_unlock(&c->lock);
	if (wake)
		post(c, flush_post);
}

/* --- input --- */

/* Reads at most n bytes; 0 when there is none now or any more. */
static size_t end_read(struct chr *c, struct chr_end *e, size_t n)
{
	ssize_t got = e->ops->read(e, c->buf, MIN(n, sizeof(c->buf)));

	if (got > 0)
		return (size_t)got;
	e->readable = false;
	if (got != -EAGAIN)
		e->ended = true;
	if (got < 0 && got != -EAGAIN)
		e->hup = true;
	return 0;
}

static bool feed(struct chr *c, struct chr_end *e)
{
	size_t room, n;

	room = c->held ? 0 : c->front->room(c->dev);
	if (!room && !c->held) {
		/* said first, then asked again: the guest may make room in between */
		g_atomic_int_set(&c->starved, 1);
		room = c->front->room(c->dev);
	}
	if (!room)
		return false;
	g_atomic_int_set(&c->starved, 0);
	n = end_read(c, e, room);
	if (n) {
		c->in += n;
		c->front->input(c->dev, c->buf, n);
	}
	return n > 0;
}

static void pump_post(void *arg)
{
	struct chr *c = arg;

	if (!c->dead)
		pump(c);
	unref(c);
}

static void pump(struct chr *c)
{
	bool more = false;

	for (unsigned i = 0; i < c->ends->len; i++) {
		struct chr_end *e = c->ends->pdata[i];
		unsigned tries = 0;

		if (!e->ops->read || e->closing)
			continue;
		if (e == c->backend || e->writer)
			while (e->readable && !e->ended && feed(c, e))
				;
		else
			while (e->readable && !e->ended && tries++ < DISCARD_MAX)
				end_read(c, e, sizeof(c->buf));
		if (tries > DISCARD_MAX)
			more = true;
		if (e->hup && e->ended)
			end_gone(e);
	}
	chr_sweep(c);
	if (more)
		post(c, pump_post);
}

void chr_ready(struct chr *c)
{
	if (g_atomic_int_get(&c->starved) && g_atomic_int_compare_and_exchange(&c->starved, 1, 0))
		post(c, pump_post);
}

struct hold {
	struct chr *chr;
	bool hold;
	struct done *done;
};

static void hold_post(void *arg)
{
	struct hold *h = arg;
	struct chr *c = h->chr;

	if (!c->dead) {
		c->held = h->hold;
		pump(c);
	}
	if (h->done)
		done_end(h->done, 0);
	g_free(h);
	unref(c);
}

void chr_hold(struct chr *c, bool hold, struct done *done)
{
	struct hold *h = g_new(struct hold, 1);

	*h = (struct hold){ .chr = c, .hold = hold, .done = done };
	if (done)
		done_begin(done);
	g_atomic_int_inc(&c->refs);
	loop_post(c->loop, hold_post, h);
}

/* --- opening --- */

struct chr *chr_new(struct loop *loop, const struct chr_front *front, struct device *dev)
{
	struct chr *c = g_new0(struct chr, 1);

	c->loop = loop;
	c->front = front;
	c->dev = dev;
	c->refs = 1;
	c->next_id = 1;
	g_mutex_init(&c->lock);
	chr_ring_init(&c->ring);
	c->ends = g_ptr_array_new();
	loop_timer_init(&c->timer, loop, CLOCK_HOST, flush_timer, c);
	return c;
}

bool chr_end_join(struct chr_end *e, bool backend, GError **err)
{
	struct chr *c = e->chr;

	if ((e->ops->start && !e->ops->start(e, err)) || (e->pollable && !watch(e, err))) {
		end_free(e);
		return false;
	}
	if (backend)
		c->backend = e;
	if (!e->pollable && !e->ops->gone)
		e->writable = true;
	g_ptr_array_add(c->ends, e);
	flush_all(c);
	pump(c);
	return true;
}

struct join {
	struct chr *chr;
	struct chr_end *end;
	bool backend, ok;
	GError **err;
};

static void join_on_loop(void *arg)
{
	struct join *j = arg;

	j->ok = chr_end_join(j->end, j->backend, j->err);
}

static bool start_end(struct chr_end *e, bool backend, GError **err)
{
	struct join j = { .end = e, .backend = backend, .err = err };

	loop_call(e->chr->loop, join_on_loop, &j);
	return j.ok;
}

static bool open_end(struct chr *c, const struct chr_ops *ops, const struct chardev *config, struct fdset *fds,
	bool backend, GError **err)
{
	struct chr_end *e = chr_end_new(c, ops);

	if (!ops->open(e, config, fds, err)) {
		end_free(e);
		return false;
	}
	return start_end(e, backend, err);
}

static const struct chr_ops *const backends[CHARDEV_N] = {
	[CHARDEV_PTY] = &chr_pty,       [CHARDEV_DEV] = &chr_stream,    [CHARDEV_FILE] = &chr_file,
	[CHARDEV_UNIX] = &chr_socket,   [CHARDEV_TCP] = &chr_socket,    [CHARDEV_UDP] = &chr_udp,       [CHARDEV_PIPE] = &chr_pipe,
};

static bool is_silent(int type)
{
	return type == CHARDEV_ABSENT || type == CHARDEV_NULL || type == CHARDEV_VC || type == CHARDEV_STDIO;
}

/* *ops NULL: it has no end; false and *err: there is none such. */
static bool find_ops(const struct chardev *config, const struct chr_ops **ops, GError **err)
{
	*ops = config->type >= 0 && config->type < CHARDEV_N ? backends[config->type] : NULL;
	if (config->type == CHARDEV_NULL && config->source.ring)
		*ops = &chr_ringbuf;
	return *ops || is_silent(config->type) || kerr_set(err, KERR_UNSUPPORTED, "character devices of this type are not supported");
}

bool chr_open(struct chr *c, const struct chardev *config, struct fdset *fds, GError **err)
{
	const struct chr_ops *ops;

	if (!find_ops(config, &ops, err))
		return false;
	if (ops && !open_end(c, ops, config, fds, true, err))
		return false;
	return !config->log.file.fd || open_end(c, &chr_log, config, fds, false, err);
}

static void swap_on_loop(void *arg)
{
	struct join *j = arg;
	struct chr *c = j->chr;
	struct chr_end *old = c->backend;

	flush_all(c);
	old = c->backend;               /* it may have ended just now */
	j->ok = true;
	if (j->end) {
		g_mutex_lock(&c->lock);
		j->end->at = old ? old->at : c->ring.head;
		g_mutex_unlock(&c->lock);
		j->ok = chr_end_join(j->end, true, j->err);
	}
	if (!j->ok)
		return;
	if (!j->end)
		c->backend = NULL;
	if (old)
		old->closing = true;
	chr_sweep(c);
	tell_opened(c, chr_is_open(c));
}

bool chr_change(struct chr *c, const struct chardev *config, struct fdset *fds, GError **err)
{
	struct join j = { .chr = c, .err = err };
	const struct chr_ops *ops;

	if (!find_ops(config, &ops, err))
		return false;
	if (ops) {
		j.end = chr_end_new(c, ops);
		if (!ops->open(j.end, config, fds, err)) {
			end_free(j.end);
			return false;
		}
	}
	loop_call(c->loop, swap_on_loop, &j);
	return j.ok;
}

bool chr_set_log(struct chr *c, int fd, int backup, GError **err)
{
	struct chr_end *e = chr_end_new(c, &chr_log);

	chr_log_init(e, fd, backup);
	return start_end(e, false, err);
}

static void tear_down(void *arg)
{
	struct chr *c = arg;

	flush_all(c);
	loop_timer_cancel(&c->timer);
	c->dead = true;
	for (unsigned i = 0; i < c->ends->len; i++)
		((struct chr_end *)c->ends->pdata[i])->closing = true;
	chr_sweep(c);
}

void chr_free(struct chr *c)
{
	if (!c)
		return;
	loop_call(c->loop, tear_down, c);
	unref(c);
}
