/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2: tasks that wait, and the caches of slices of tables. A slice is evicted only when it is clean and at rest. */
#include "devices/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- tasks --- */

void q2_wait_init(struct q2_wait *w)
{
	w->first = NULL;
	w->end = &w->first;
}

void q2_wait_on(struct q2_wait *w, struct q2_task *t)
{
	t->next = NULL;
	*w->end = t;
	w->end = &t->next;
}

void q2_wake(struct q2 *q, struct q2_wait *w, int error)
{
	if (!w->first)
		return;
	for (struct q2_task *t = w->first; t; t = t->next)
		t->error = error;
	*q->ready.end = w->first;
	q->ready.end = w->end;
	q2_wait_init(w);
}

void q2_ready(struct q2 *q, struct q2_task *t)
{
	t->error = 0;
	q2_wait_on(&q->ready, t);
}

void q2_run(struct q2 *q)
{
	if (q->running)
		return;
	q->running = true;
	block_host_plug(q->block.host);
	while (q->ready.first) {
		struct q2_task *t = q->ready.first;

		q->ready.first = t->next;
		if (!q->ready.first)
			q->ready.end = &q->ready.first;
		t->run(t);
	}
	q->running = false;
	block_host_unplug(q->block.host);
}

static void run_posted(void *arg)
{
	struct q2 *q = arg;

	q->posted = false;
	q2_wake(q, &q->later, 0);
	q2_run(q);
}

void q2_later(struct q2 *q, struct q2_task *t)
{
	q2_wait_on(&q->later, t);
	if (q->posted)
		return;
	q->posted = true;
	loop_post(q->block.loop, run_posted, q);
}

/* --- slices --- */

void q2_cache_init(struct q2_cache *c, struct q2 *q, enum q2_use use, unsigned max)
{
	*c = (struct q2_cache){ .q = q, .use = use, .max = max, .slices = g_hash_table_new(NULL, NULL) };
}

static gpointer key_of(const struct q2_cache *c, uint64_t offset)
{
	return GSIZE_TO_POINTER(offset / c->q->slice);
}

static struct q2_front *front_of(struct q2_cache *c, uint64_t offset)
{
	return &c->front[offset / c->q->slice % Q2_FRONT];
}

static void enter_front(struct q2_slice *s)
{
	*front_of(s->cache, s->offset) = (struct q2_front){ s->offset, s->data };
	s->used = true;
}

static void leave_front(struct q2_slice *s)
{
	struct q2_front *f = front_of(s->cache, s->offset);

	if (f->data == s->data)
		*f = (struct q2_front){ 0, NULL };
	s->used = false;
}

static void unlink_slice(struct q2_slice *s)
{
	struct q2_cache *c = s->cache;

	*(s->newer ? &s->newer->older : &c->newest) = s->older;
	*(s->older ? &s->older->newer : &c->oldest) = s->newer;
	s->newer = s->older = NULL;
}

static void link_newest(struct q2_slice *s)
{
	struct q2_cache *c = s->cache;

	s->older = c->newest;
	s->newer = NULL;
	*(c->newest ? &c->newest->newer : &c->oldest) = s;
	c->newest = s;
}

static void free_slice(struct q2_slice *s)
{
	struct q2_cache *c = s->cache;

	unlink_slice(s);
	g_hash_table_remove(c->slices, key_of(c, s->offset));
	leave_front(s);
	c->n--;
	c->dirty_n -= s->dirty;
	free(s->data);
	g_free(s);
}

void q2_cache_finish(struct q2_cache *c)
{
	if (!c->slices)
		return;
	while (c->newest)
		free_slice(c->newest);
	g_hash_table_destroy(c->slices);
	c->slices = NULL;
}

/* The oldest goes that was not used since we last came by; each comes by twice at most. */
static bool make_room(struct q2_cache *c)
{
	struct q2_slice *next;

	if (c->n < c->max)
		return true;
	for (struct q2_slice *s = c->oldest; s; s = next) {
		next = s->newer;
		if (s->loading || s->dirty || s->writing)
			continue;
		if (s->used) {
			leave_front(s);
			unlink_slice(s);
			link_newest(s);
			next = next ? next : s;
			continue;
		}
		free_slice(s);
		return true;
	}
	return false;
}

static struct q2_slice *add_slice(struct q2_cache *c, uint64_t offset)
{
	struct q2_slice *s = g_new0(struct q2_slice, 1);
	void *data;

	if (posix_memalign(&data, 4096, MAX(c->q->slice, 4096)))
		g_error("out of memory");       /* as GLib's allocations do */
	s->cache = c;
	s->offset = offset;
	s->data = data;
	q2_wait_init(&s->wait);
	g_hash_table_insert(c->slices, key_of(c, offset), s);
	link_newest(s);
	c->n++;
	return s;
}

static void loaded(struct block_req *r, int64_t result)
{
	struct q2_slice *s = r->arg;
	struct q2 *q = s->cache->q;

	s->loading = false;
	q2_wake(q, &s->wait, result < 0 ? (int)result : 0);
	if (result < 0)
		free_slice(s);
	q2_wake(q, &q->room_wait, 0);
	q2_run(q);
}

static int find(struct q2_cache *c, uint64_t offset, struct q2_task *t, struct q2_slice **out)
{
	struct q2_slice *s = g_hash_table_lookup(c->slices, key_of(c, offset));

	*out = s;
	if (!s)
		return 0;
	if (s->loading) {
		q2_wait_on(&s->wait, t);
		return -EAGAIN;
	}
	enter_front(s);
	return 0;
}

const uint8_t *q2_slice_peek(struct q2_cache *c, uint64_t offset)
{
	uint64_t in = offset & (c->q->slice - 1), start = offset - in;
	const struct q2_front *f = front_of(c, start);
	struct q2_slice *s;

	if (f->offset == start && f->data)
		return f->data + in;
	s = g_hash_table_lookup(c->slices, key_of(c, start));
	if (!s || s->loading)
		return NULL;
	enter_front(s);
	return s->data + in;
}

int q2_slice_get(struct q2_cache *c, uint64_t offset, struct q2_task *t, struct q2_slice **out)
{
	struct q2 *q = c->q;
	struct q2_slice *s;
	int rc;

	offset &= ~(uint64_t)(q->slice - 1);
	rc = find(c, offset, t, &s);
	if (rc < 0 || s) {
		*out = s;
		return rc;
	}
	if (!make_room(c)) {
		q2_need_room(q, c, t);
		return -EAGAIN;
	}
	s = add_slice(c, offset);
	s->loading = true;
	s->iov = (struct iovec){ s->data, q->slice };
	s->req = (struct block_req){ .op = BLOCK_READ,
		.offset = offset,
		.bytes = q->slice,
		.iov = &s->iov,
		.iov_n = 1,
		.done = loaded,
		.arg = s };
	q2_wait_on(&s->wait, t);
	block_submit(q->block.lower, &s->req);
	return -EAGAIN;
}

int q2_slice_new(struct q2_cache *c, uint64_t offset, struct q2_task *t, struct q2_slice **out)
{
	struct q2_slice *s;
	int rc;

	offset &= ~(uint64_t)(c->q->slice - 1);
	rc = find(c, offset, t, &s);
	if (rc < 0)
		return rc;
	if (!s) {
		if (!make_room(c)) {
			q2_need_room(c->q, c, t);
			return -EAGAIN;
		}
		s = add_slice(c, offset);
	}
	memset(s->data, 0, c->q->slice);
	*out = s;
	return 0;
}

void q2_slice_dirty(struct q2_slice *s)
{
	if (s->dirty)
		return;
	s->dirty = true;
	s->cache->dirty_n++;
	q2_touch(s->cache->q);
}

void q2_cache_drop(struct q2_cache *c, uint64_t offset, uint64_t len)
{
	for (uint64_t at = offset; at < offset + len; at += c->q->slice) {
		struct q2_slice *s = g_hash_table_lookup(c->slices, key_of(c, at));

		if (s && !s->loading && !s->writing)
			free_slice(s);
	}
}
