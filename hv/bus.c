/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port and MMIO maps: a sorted array of regions that accesses read without a lock.
 *
 * Every access counts itself in (enter) and out (leave). Between the two it finds its region in the
 * array under a sequence counter, takes the device's lock and looks again whether the region is
 * still where it was found, because a device may have moved it meanwhile (bus_hide). Changes of the
 * array are made under a mutex between two steps of the sequence counter; the array only grows, and
 * outgrown ones stay until the bus goes, so a reader always reads memory that is there.
 *
 * bus_unmap takes the region out and waits until every access that may have found it has ended. For
 * that accesses are counted by epoch: the waiter starts a new epoch and waits for the old one's
 * count to fall to 0, twice, because an access may count itself into an epoch that has just ended.
 * Counts are spread over stripes, so that vCPUs do not share a cache line.
 *
 * Accesses are cut at natural alignment into sizes the region accepts. A read narrower than the
 * region's least size takes its part of the aligned unit; such a write is a read of the unit and a
 * write of it with the bytes changed.
 */
#include "hv/bus.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "domain/error.h"
#include "hv/device.h"

#define STRIPES 8
#define FIRST_ROOM 64
#define MOVED_TRIES 8           /* how often one access follows a region that moves */

struct entry {                  /* each member is read and written by atomics */
	uint64_t base, last;
	struct region *region;
};

struct table {
	unsigned room;
	struct table *outgrown;
	struct entry entries[];
};

struct stripe {
	int inside[2];          /* atomic: accesses under way, by epoch & 1 */
} __attribute__((aligned(64)));

struct bus {
	struct stripe stripes[STRIPES];
	unsigned epoch;         /* atomic */
	unsigned seq;           /* atomic: odd while the table changes */
	unsigned n;             /* atomic: entries in use */
	struct table *table;    /* atomic */
	int waiters;            /* atomic: threads in wait_for_accesses */
	char *name;
	uint64_t size;          /* 0: all 64 bits */
	GMutex change;          /* of the table */
	GMutex wait;            /* one waiter at a time flips the epoch */
	GMutex idle_lock;
	GCond idle;             /* an access has ended while somebody waits */
};

/* Acquire and release instead of relaxed and fences, which ThreadSanitizer does not know; on x86 it is the same. */
#define load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

static struct table *table_new(unsigned room)
{
	struct table *t = g_malloc0(sizeof(*t) + room * sizeof(struct entry));

	t->room = room;
	return t;
}

struct bus *bus_new(const char *name, uint64_t size)
{
	void *memory = NULL;
	struct bus *b;

	g_assert(!posix_memalign(&memory, _Alignof(struct bus), sizeof(*b)));
	b = memset(memory, 0, sizeof(*b));
	b->name = g_strdup(name);
	b->size = size;
	b->table = table_new(FIRST_ROOM);
	g_mutex_init(&b->change);
	g_mutex_init(&b->wait);
	g_mutex_init(&b->idle_lock);
	g_cond_init(&b->idle);
	return b;
}

void bus_free(struct bus *b)
{
	struct table *next;

	if (!b)
		return;
	g_assert(!b->n);
	for (struct table *t = b->table; t; t = next) {
		next = t->outgrown;
		g_free(t);
	}
	g_mutex_clear(&b->change);
	g_mutex_clear(&b->wait);
	g_mutex_clear(&b->idle_lock);
	g_cond_clear(&b->idle);
	g_free(b->name);
	free(b);
}

/* --- accesses come and go --- */

static unsigned my_stripe(void)
{
	static __thread unsigned mine;
	static unsigned next;   /* the only variable here that is shared by all buses: a number for each thread */

	if (!mine)
		mine = 1 + __atomic_fetch_add(&next, 1, __ATOMIC_RELAXED) % STRIPES;
	return mine - 1;
}

static int *enter(struct bus *b)
{
	int *inside = &b->stripes[my_stripe()].inside[__atomic_load_n(&b->epoch, __ATOMIC_SEQ_CST) & 1];

	__atomic_add_fetch(inside, 1, __ATOMIC_SEQ_CST);
	return inside;
}

/* A waiter counts itself before it looks, so it is either seen here or sees this count. */
static void leave(struct bus *b, int *inside)
{
	__atomic_sub_fetch(inside, 1, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&b->waiters, __ATOMIC_SEQ_CST))
		return;
	g_mutex_lock(&b->idle_lock);
	g_cond_broadcast(&b->idle);
	g_mutex_unlock(&b->idle_lock);
}

static bool is_idle(struct bus *b, unsigned epoch)
{
	for (unsigned i = 0; i < STRIPES; i++)
		if (__atomic_load_n(&b->stripes[i].inside[epoch & 1], __ATOMIC_SEQ_CST))
			return false;
	return true;
}

/* Returns when every access that began before has ended. */
static void wait_for_accesses(struct bus *b)
{
	g_mutex_lock(&b->wait);
	__atomic_add_fetch(&b->waiters, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < 2; i++) {
		unsigned old = __atomic_fetch_add(&b->epoch, 1, __ATOMIC_SEQ_CST);

		g_mutex_lock(&b->idle_lock);
		while (!is_idle(b, old))
			g_cond_wait(&b->idle, &b->idle_lock);
		g_mutex_unlock(&b->idle_lock);
	}
	__atomic_sub_fetch(&b->waiters, 1, __ATOMIC_SEQ_CST);
	g_mutex_unlock(&b->wait);
}

/* --- the table --- */

/* Index of the first of n entries that ends at addr or later. */
static unsigned find(struct table *t, unsigned n, uint64_t addr)
{
	unsigned lo = 0, hi = n;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (load(&t->entries[mid].last) < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* The region at addr and its base, NULL: none. Between enter and leave. */
static struct region *look_up(struct bus *b, uint64_t addr, uint64_t *base)
{
	for (;;) {
		unsigned seq = load(&b->seq), n, at;
		struct region *r = NULL;
		struct table *t;

		if (seq & 1) {
			g_thread_yield();
			continue;
		}
		t = load(&b->table);
		n = MIN(load(&b->n), t->room);
		at = find(t, n, addr);
		if (at < n) {
			*base = load(&t->entries[at].base);
			r = *base <= addr ? load(&t->entries[at].region) : NULL;
		}
		if (load(&b->seq) == seq)
			return r;
	}
}

static void put(struct entry *to, uint64_t base, uint64_t last, struct region *r)
{
	store(&to->base, base);
	store(&to->last, last);
	store(&to->region, r);
}

static void copy(struct entry *to, const struct entry *from)
{
	put(to, from->base, from->last, from->region);
}

static void change_begin(struct bus *b)
{
	store(&b->seq, b->seq + 1);
}

static void change_end(struct bus *b)
{
	store(&b->seq, b->seq + 1);
}

/* Lock held. */
static void insert(struct bus *b, unsigned at, struct region *r, uint64_t base, uint64_t last)
{
	struct table *t = b->table;

	if (b->n == t->room) {
		struct table *wider = table_new(2 * t->room);

		memcpy(wider->entries, t->entries, b->n * sizeof(struct entry));
		wider->outgrown = t;
		store(&b->table, wider);
		t = wider;
	}
	change_begin(b);
	for (unsigned i = b->n; i > at; i--)
		copy(&t->entries[i], &t->entries[i - 1]);
	put(&t->entries[at], base, last, r);
	store(&b->n, b->n + 1);
	change_end(b);
}

static unsigned min_size(const struct region *r)
{
	return r->ops->min ? r->ops->min : 1;
}

static unsigned max_size(const struct region *r)
{
	return r->ops->max ? r->ops->max : 8;
}

static bool is_power(unsigned n)
{
	return n == 1 || n == 2 || n == 4 || n == 8;
}

bool bus_map(struct bus *b, struct region *r, uint64_t base, GError **err)
{
	uint64_t last = base + (r->size - 1);
	const struct entry *other;
	unsigned at;

	g_assert(!r->bus && r->dev && r->ops && r->ops->read && r->ops->write);
	g_assert(is_power(min_size(r)) && is_power(max_size(r)) && min_size(r) <= max_size(r));
	if (!r->size || last < base || (b->size && last >= b->size))
		return kerr_set(err, KERR_ARGS, "%s: '%s' at 0x%" PRIx64 " leaves the bus", b->name, r->name, base);
	if (base % min_size(r) || r->size % min_size(r))
		return kerr_set(err, KERR_ARGS, "%s: '%s' at 0x%" PRIx64 " is not aligned", b->name, r->name, base);
	g_mutex_lock(&b->change);
	at = find(b->table, b->n, base);
	other = &b->table->entries[at];
	if (at < b->n && other->base <= last) {
		kerr_set(err, KERR_BUSY, "%s: '%s' at 0x%" PRIx64 "-0x%" PRIx64 " overlaps '%s' of '%s'", b->name, r->name,
			base, last, other->region->name, other->region->dev->id);
		g_mutex_unlock(&b->change);
		return false;
	}
	r->base = base;
	r->of = b;
	store(&r->bus, b);
	insert(b, at, r, base, last);
	g_mutex_unlock(&b->change);
	return true;
}

void bus_hide(struct region *r)
{
	struct bus *b = r->bus;
	struct table *t;

	if (!b)
		return;
	g_mutex_lock(&b->change);
	t = b->table;
	change_begin(b);
	for (unsigned i = find(t, b->n, r->base); i + 1 < b->n; i++)
		copy(&t->entries[i], &t->entries[i + 1]);
	store(&b->n, b->n - 1);
	change_end(b);
	store(&r->bus, NULL);
	g_mutex_unlock(&b->change);
}

void bus_unmap(struct region *r)
{
	struct bus *b = r->of;

	if (!b)
		return;
	bus_hide(r);
	wait_for_accesses(b);
	r->of = NULL;
}

/* --- one access --- */

static uint64_t mask(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << (8 * size)) - 1;
}

/* Largest legal piece at offset of at most size bytes: a power of two, aligned, at most the region's greatest. */
static unsigned piece_size(const struct region *r, uint64_t offset, unsigned size)
{
	unsigned n = max_size(r);

	while (n > size || offset & (n - 1))
		n /= 2;
	return n;
}

/* n: power of two, offset aligned to it, n <= greatest size. dev->lock held. */
static uint64_t read_piece(struct region *r, uint64_t offset, unsigned n)
{
	unsigned unit = min_size(r), shift = 8 * (unsigned)(offset & (unit - 1));

	if (n >= unit)
		return r->ops->read(r->dev, offset, n) & mask(n);
	return r->ops->read(r->dev, offset & ~(uint64_t)(unit - 1), unit) >> shift & mask(n);
}

static void write_piece(struct region *r, uint64_t offset, unsigned n, uint64_t value)
{
	unsigned unit = min_size(r), shift = 8 * (unsigned)(offset & (unit - 1));
	uint64_t whole;

	if (n < unit) {
		offset &= ~(uint64_t)(unit - 1);
		whole = r->ops->read(r->dev, offset, unit) & mask(unit);
		value = (whole & ~(mask(n) << shift)) | value << shift;
		n = unit;
	}
	r->ops->write(r->dev, offset, n, value);
}

/* The part of an access that lies in one region; how many bytes that was, 0 when the region is not there any more. */
static unsigned in_region(struct bus *b, struct region *r, uint64_t base, uint64_t addr, uint8_t *data, unsigned size,
	bool write)
{
	uint64_t offset = addr - base;
	unsigned done = 0;

	size = (unsigned)MIN(size, r->size - offset);
	g_mutex_lock(&r->dev->lock);
	if (load(&r->bus) == b && r->base == base) {
		while (done < size) {
			unsigned n = piece_size(r, offset + done, size - done);
			uint64_t value = 0;

			if (write) {
				memcpy(&value, data + done, n);
				write_piece(r, offset + done, n, value);
			} else {
				value = read_piece(r, offset + done, n);
				memcpy(data + done, &value, n);
			}
			done += n;
		}
	}
	g_mutex_unlock(&r->dev->lock);
	return done;
}

static bool access_all(struct bus *b, uint64_t addr, uint8_t *data, unsigned size, bool write)
{
	int *inside = enter(b);
	unsigned tries = 0;
	bool any = false;

	g_assert(size >= 1 && size <= 8);
	while (size) {
		uint64_t base;
		struct region *r = look_up(b, addr, &base);
		unsigned n = r ? in_region(b, r, base, addr, data, size, write) : 0;

		if (r && !n && ++tries < MOVED_TRIES)
			continue;       /* look again */
		if (n) {
			any = true;
		} else {
			n = 1;
			if (!write)
				*data = 0xff;
		}
		addr += n;
		data += n;
		size -= n;
	}
	leave(b, inside);
	return any;
}

bool bus_read(struct bus *b, uint64_t addr, void *data, unsigned size)
{
	return access_all(b, addr, data, size, false);
}

bool bus_write(struct bus *b, uint64_t addr, const void *data, unsigned size)
{
	return access_all(b, addr, (uint8_t *)data, size, true);        /* only read from */
}
