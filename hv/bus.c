/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Port and MMIO maps: a sorted array of regions under a reader-writer lock.
 *
 * An access holds the map's lock only for the look-up, in which it counts itself into the region
 * (.inside); then it takes the device's lock and looks again whether the region is still where it
 * was found, because a device may have moved it meanwhile (bus_hide). bus_unmap takes the region out
 * first and then waits for the count to fall to 0, so nothing is inside a device that goes away.
 *
 * Accesses are cut at natural alignment into sizes the region accepts. A read narrower than the
 * region's least size takes its part of the aligned unit; such a write is a read of the unit and a
 * write of it with the bytes changed.
 */
#include "hv/bus.h"

#include <inttypes.h>
#include <string.h>

#include "domain/error.h"
#include "hv/device.h"

struct bus {
	char *name;
	uint64_t size;          /* 0: all 64 bits */
	GRWLock lock;           /* regions */
	GPtrArray *regions;     /* of struct region, by base; not overlapping */
	GMutex idle_lock;
	GCond idle;             /* some region's .inside has become 0 */
	int waiters;            /* atomic: threads in bus_unmap */
};

struct bus *bus_new(const char *name, uint64_t size)
{
	struct bus *b = g_new0(struct bus, 1);

	b->name = g_strdup(name);
	b->size = size;
	g_rw_lock_init(&b->lock);
	b->regions = g_ptr_array_new();
	g_mutex_init(&b->idle_lock);
	g_cond_init(&b->idle);
	return b;
}

void bus_free(struct bus *b)
{
	if (!b)
		return;
	g_assert(!b->regions->len);
	g_ptr_array_free(b->regions, TRUE);
	g_rw_lock_clear(&b->lock);
	g_mutex_clear(&b->idle_lock);
	g_cond_clear(&b->idle);
	g_free(b->name);
	g_free(b);
}

/* Index of the first region that ends after addr. Lock held. */
static unsigned find(const struct bus *b, uint64_t addr)
{
	unsigned lo = 0, hi = b->regions->len;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		const struct region *r = b->regions->pdata[mid];

		if (r->base + (r->size - 1) < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
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
	const struct region *other;
	unsigned at;

	g_assert(!r->bus && r->dev && r->ops && r->ops->read && r->ops->write);
	g_assert(is_power(min_size(r)) && is_power(max_size(r)) && min_size(r) <= max_size(r));
	if (!r->size || last < base || (b->size && last >= b->size))
		return kerr_set(err, KERR_ARGS, "%s: '%s' at 0x%" PRIx64 " leaves the bus", b->name, r->name, base);
	if (base % min_size(r) || r->size % min_size(r))
		return kerr_set(err, KERR_ARGS, "%s: '%s' at 0x%" PRIx64 " is not aligned", b->name, r->name, base);
	g_rw_lock_writer_lock(&b->lock);
	at = find(b, base);
	other = at < b->regions->len ? b->regions->pdata[at] : NULL;
	if (other && other->base <= last) {
		g_rw_lock_writer_unlock(&b->lock);
		return kerr_set(err, KERR_BUSY, "%s: '%s' at 0x%" PRIx64 "-0x%" PRIx64 " overlaps '%s' of '%s'", b->name,
			r->name, base, last, other->name, other->dev->id);
	}
	r->base = base;
	r->of = b;
	g_atomic_pointer_set(&r->bus, b);
	g_ptr_array_insert(b->regions, (int)at, r);
	g_rw_lock_writer_unlock(&b->lock);
	return true;
}

static void take_out(struct region *r)
{
	struct bus *b = r->bus;

	if (!b)
		return;
	g_rw_lock_writer_lock(&b->lock);
	g_ptr_array_remove(b->regions, r);
	g_atomic_pointer_set(&r->bus, NULL);
	g_rw_lock_writer_unlock(&b->lock);
}

void bus_hide(struct region *r)
{
	take_out(r);
}

void bus_unmap(struct region *r)
{
	struct bus *b = r->of;

	if (!b)
		return;
	take_out(r);
	g_atomic_int_inc(&b->waiters);
	g_mutex_lock(&b->idle_lock);
	while (g_atomic_int_get(&r->inside))
		g_cond_wait(&b->idle, &b->idle_lock);
	g_mutex_unlock(&b->idle_lock);
	g_atomic_int_add(&b->waiters, -1);
	r->of = NULL;
}

static struct region *enter(struct bus *b, uint64_t addr, uint64_t *base)
{
	struct region *r = NULL;
	unsigned at;

	g_rw_lock_reader_lock(&b->lock);
	at = find(b, addr);
	if (at < b->regions->len) {
		r = b->regions->pdata[at];
		if (r->base <= addr) {
			g_atomic_int_inc(&r->inside);
			*base = r->base;
		} else {
			r = NULL;
		}
	}
	g_rw_lock_reader_unlock(&b->lock);
	return r;
}

/* r may be freed as soon as the count is 0: a waiter counts itself before it looks, so it is either seen here or sees the 0. */
static void leave(struct bus *b, struct region *r)
{
	if (!g_atomic_int_dec_and_test(&r->inside) || !g_atomic_int_get(&b->waiters))
		return;
	g_mutex_lock(&b->idle_lock);
	g_cond_broadcast(&b->idle);
	g_mutex_unlock(&b->idle_lock);
}

static uint64_t mask(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << (8 * size)) - 1;
}

/* Largest legal piece at offset of at most size bytes: a power of two, aligned, at most the region's greatest. */
static unsigned piece_size(const struct region *r, uint64_t offset, unsigned size)
{
	unsigned n = max_size(r);

	while (n > size || offset % n)
		n /= 2;
	return n;
}

/* n: power of two, offset aligned to it, n <= greatest size. dev->lock held. */
static uint64_t read_piece(struct region *r, uint64_t offset, unsigned n)
{
	unsigned unit = min_size(r), shift = 8 * (unsigned)(offset % unit);

	if (n >= unit)
		return r->ops->read(r->dev, offset, n) & mask(n);
	return r->ops->read(r->dev, offset - offset % unit, unit) >> shift & mask(n);
}

static void write_piece(struct region *r, uint64_t offset, unsigned n, uint64_t value)
{
	unsigned unit = min_size(r), shift = 8 * (unsigned)(offset % unit);
	uint64_t whole;

	if (n < unit) {
		offset -= offset % unit;
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
	if (g_atomic_pointer_get(&r->bus) == b && r->base == base) {
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
	unsigned tries = 0;
	bool any = false;

	g_assert(size >= 1 && size <= 8);
	while (size) {
		uint64_t base;
		struct region *r = enter(b, addr, &base);
		unsigned n = 1;

		if (r) {
			n = in_region(b, r, base, addr, data, size, write);
			leave(b, r);
			if (!n && ++tries < 8)
				continue;       /* it moved: look again */
			any = true;
		}
		if (!r || !n) {
			n = 1;
			if (!write)
				*data = 0xff;
		}
		addr += n;
		data += n;
		size -= n;
	}
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
