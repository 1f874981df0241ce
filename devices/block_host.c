/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the chains of one loop share. */
#include "devices/block_driver.h"

#include <string.h>

struct block_host *block_host_new(
	struct loop *loop, struct ring *ring, struct clock *clock, void (*thread_start)(void))
{
	struct block_host *h = g_new0(struct block_host, 1);

	h->loop = loop;
	h->ring = ring;
	h->clock = clock;
	h->thread_start = thread_start;
	h->shared = g_ptr_array_new();
	h->finished_end = &h->finished;
	g_mutex_init(&h->lock);
	if (ring)
		h->slots = g_malloc0(ring->files);
	return h;
}

void block_host_free(struct block_host *h)
{
	if (!h)
		return;
	g_assert(!h->shared->len && !h->finished && !h->kicks);
	g_ptr_array_free(h->shared, TRUE);
	g_mutex_clear(&h->lock);
	g_free(h->slots);
	g_free(h);
}

void block_host_set_iothread(struct block_host *h, uint32_t id)
{
	h->iothread = id;
}

uint32_t block_host_iothread(const struct block_host *h)
{
	return h->iothread;
}

struct loop *block_host_loop(const struct block_host *h)
{
	return h->loop;
}

struct block_shared *block_host_shared(struct block_host *h, const char *name,
	struct block_shared *(*make)(struct block_host *, GError **err), GError **err)
{
	struct block_shared *s;

	for (unsigned i = 0; i < h->shared->len; i++) {
		s = h->shared->pdata[i];
		if (!strcmp(s->name, name)) {
			s->users++;
			return s;
		}
	}
	s = make(h, err);
	if (!s)
		return NULL;
	s->name = g_strdup(name);
	s->users = 1;
	g_ptr_array_add(h->shared, s);
	return s;
}

void block_host_unshare(struct block_host *h, struct block_shared *s)
{
	if (--s->users)
		return;
	g_ptr_array_remove_fast(h->shared, s);
	g_free(s->name);
	s->free(s);
}

int block_host_slot(struct block_host *h)
{
	int slot = -1;

	g_mutex_lock(&h->lock);
	for (unsigned i = 0; i < h->ring->files && slot < 0; i++)
		if (!h->slots[i])
			slot = (int)i;
	if (slot >= 0)
		h->slots[slot] = 1;
	g_mutex_unlock(&h->lock);
	return slot;
}

void block_host_slot_free(struct block_host *h, int slot)
{
	if (slot < 0)
		return;
	g_mutex_lock(&h->lock);
	h->slots[slot] = 0;
	g_mutex_unlock(&h->lock);
}
