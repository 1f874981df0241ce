/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time. Guest time is host time minus a base while it goes, and a number while it stands. The wall
 * clock goes on while the machine is paused, as a battery-backed one does.
 */
#include "hv/clock.h"

#include <glib.h>
#include <time.h>

struct clock {
	bool manual;            /* fixed */
	GMutex lock;            /* the rest */
	bool goes;
	int64_t guest;          /* goes: host time at which guest time was 0; else guest time */
	int64_t wall_offset;
	int64_t host;           /* manual: the time */
	GMutex watch_lock;
	struct clock_watch *watches;
};

static int64_t read_host(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t host_now(const struct clock *c)
{
	return c->manual ? c->host : read_host(CLOCK_MONOTONIC);
}

static void tell(struct clock *c)
{
	g_mutex_lock(&c->watch_lock);
	for (struct clock_watch *w = c->watches; w; w = w->next)
		w->fn(w->arg);
	g_mutex_unlock(&c->watch_lock);
}

struct clock *clock_new(void)
{
	struct clock *c = g_new0(struct clock, 1);

	g_mutex_init(&c->lock);
	g_mutex_init(&c->watch_lock);
	return c;
}

struct clock *clock_new_manual(void)
{
	struct clock *c = clock_new();

	c->manual = c->goes = true;
	return c;
}

void clock_free(struct clock *c)
{
	if (!c)
		return;
	g_assert(!c->watches);
	g_mutex_clear(&c->lock);
	g_mutex_clear(&c->watch_lock);
	g_free(c);
}

int64_t clock_now(const struct clock *clock, enum clock_kind kind)
{
	struct clock *c = (struct clock *)clock;        /* the lock is not part of its value */
	int64_t now;

	if (kind == CLOCK_HOST && !c->manual)   /* asked all the time; nothing of ours is part of it */
		return read_host(CLOCK_MONOTONIC);
	g_mutex_lock(&c->lock);
	switch (kind) {
	case CLOCK_GUEST:
		now = c->goes ? host_now(c) - c->guest : c->guest;
		break;
	case CLOCK_WALL:
		now = (c->manual ? c->host : read_host(CLOCK_REALTIME)) + c->wall_offset;
		break;
	default:
		now = host_now(c);
		break;
	}
	g_mutex_unlock(&c->lock);
	return now;
}

void clock_stop(struct clock *c)
{
	g_mutex_lock(&c->lock);
	if (c->goes) {
		c->guest = host_now(c) - c->guest;
		c->goes = false;
	}
	g_mutex_unlock(&c->lock);
	tell(c);
}

void clock_go(struct clock *c)
{
	g_mutex_lock(&c->lock);
	if (!c->goes) {
		c->guest = host_now(c) - c->guest;
		c->goes = true;
	}
	g_mutex_unlock(&c->lock);
	tell(c);
}

bool clock_goes(const struct clock *clock)
{
	struct clock *c = (struct clock *)clock;
	bool goes;

	g_mutex_lock(&c->lock);
	goes = c->goes;
	g_mutex_unlock(&c->lock);
	return goes;
}

void clock_set_guest(struct clock *c, int64_t ns)
{
	g_mutex_lock(&c->lock);
	g_assert(!c->goes);
	c->guest = ns;
	g_mutex_unlock(&c->lock);
	tell(c);
}

void clock_set_wall_offset(struct clock *c, int64_t ns)
{
	g_mutex_lock(&c->lock);
	c->wall_offset = ns;
	g_mutex_unlock(&c->lock);
	tell(c);
}

void clock_step(struct clock *c, int64_t ns)
{
	g_mutex_lock(&c->lock);
	g_assert(c->manual && ns >= 0);
	c->host += ns;
	g_mutex_unlock(&c->lock);
	tell(c);
}

void clock_watch_add(struct clock *c, struct clock_watch *w)
{
	g_mutex_lock(&c->watch_lock);
	w->next = c->watches;
	c->watches = w;
	g_mutex_unlock(&c->watch_lock);
}

void clock_watch_remove(struct clock *c, struct clock_watch *w)
{
	g_mutex_lock(&c->watch_lock);
	for (struct clock_watch **at = &c->watches; *at; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			break;
		}
	g_mutex_unlock(&c->watch_lock);
}
