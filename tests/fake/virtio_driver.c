/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plays a guest's virtio driver, after virtio 1.2, sections 2.7, 2.8, 3.1 and 4.1. */
#include "tests/fake/virtio_driver.h"

#include <string.h>

#include "devices/pci.h"
#include "tests/fake/driver.h"

enum { NEXT = 1, WRITE = 2, INDIRECT = 4, AVAIL = 0x80, USED = 0x8000 };
enum { R_OFFERED_SELECT = 0, R_OFFERED = 4, R_ACCEPTED_SELECT = 8, R_ACCEPTED = 12, R_CONFIG_VECTOR = 16, R_QUEUES = 18, R_STATUS = 20,
	R_QUEUE_SELECT = 22, R_QUEUE_SIZE = 24, R_QUEUE_VECTOR = 26, R_QUEUE_ENABLE = 28, R_QUEUE_NOTIFY = 30, R_QUEUE_DESC = 32,
	R_QUEUE_DRIVER = 40, R_QUEUE_DEVICE = 48 };

/* What the other side looks at while we write is 16 bits wide; everything else is published by these. */
static void put(struct vring *r, uint64_t gpa, uint64_t v, unsigned n)
{
	if (n == 2)
		__atomic_store_n((uint16_t *)ram_host(r->ram, gpa, 2), (uint16_t)v, __ATOMIC_RELEASE);
	else
		g_assert_true(ram_write(r->ram, gpa, &v, n));
}

static uint64_t fetch(struct vring *r, uint64_t gpa, unsigned n)
{
	uint64_t v = 0;

	if (n == 2)
		return __atomic_load_n((const uint16_t *)ram_host(r->ram, gpa, 2), __ATOMIC_ACQUIRE);
	g_assert_true(ram_read(r->ram, gpa, &v, n));
	return v;
}

static void put_desc(struct vring *r, uint64_t at, uint64_t addr, uint32_t len, uint16_t a, uint16_t b)
{
	put(r, at, addr, 8);
	put(r, at + 8, len, 4);
	put(r, at + 12, a, 2);
	put(r, at + 14, b, 2);
}

uint64_t vring_init(struct vring *r, struct ram *ram, unsigned size, bool packed, bool indirect, bool event_idx, uint64_t at)
{
	*r = (struct vring){ .ram = ram, .size = size, .packed = packed, .indirect = indirect, .event_idx = event_idx, .desc = at,
		.avail_wrap = true, .used_wrap = true, .n_free = (uint16_t)size };
	g_assert(size <= VRING_MAX);
	r->driver = at + 16 * size;
	r->device = r->driver + (packed ? 16 : (6 + 2 * size + 15) / 16 * 16);
	r->tables = r->device + (packed ? 16 : (6 + 8 * size + 15) / 16 * 16);
	for (unsigned i = 0; i < size; i++)
		r->next[i] = (uint16_t)(i + 1);
	g_assert_true(ram_fill(ram, at, 0, r->tables - at));
	return ((indirect ? r->tables + 256ull * size : r->tables) - at + 4095) / 4096 * 4096;
}

static uint64_t make_table(struct vring *r, unsigned id, const struct vseg *s, unsigned out, unsigned n)
{
	uint64_t at = r->tables + 256ull * id;

	for (unsigned i = 0; i < n; i++) {
		uint16_t write = i >= out ? WRITE : 0;

		if (r->packed)
			put_desc(r, at + 16 * i, s[i].addr, s[i].len, 0, write);
		else
			put_desc(r, at + 16 * i, s[i].addr, s[i].len, (uint16_t)(write | (i + 1 < n ? NEXT : 0)), (uint16_t)(i + 1));
	}
	return at;
}

static void add_split(struct vring *r, const struct vseg *s, unsigned out, unsigned n, uint16_t head)
{
	uint16_t i = head;

	if (r->indirect && n > 1) {
		put_desc(r, r->desc + 16 * head, make_table(r, head, s, out, n), 16 * n, INDIRECT, 0);
		r->free_head = r->next[head];
		r->count[head] = 1;
	} else {
		for (unsigned k = 0; k < n; k++) {
			put_desc(r, r->desc + 16 * i, s[k].addr, s[k].len, (uint16_t)((k >= out ? WRITE : 0) | (k + 1 < n ? NEXT : 0)),
				r->next[i]);
			i = r->next[i];
		}
		r->free_head = i;
		r->count[head] = (uint16_t)n;
	}
	put(r, r->driver + 4 + 2 * (r->avail % r->size), head, 2);
	r->avail++;
	r->pushed++;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	put(r, r->driver + 2, r->avail, 2);
}

static uint16_t packed_flags(const struct vring *r)
{
	return r->avail_wrap ? AVAIL : USED;
}

static void step_packed(struct vring *r)
{
	if (++r->avail == r->size) {
		r->avail = 0;
		r->avail_wrap = !r->avail_wrap;
	}
	r->pushed++;
}

/* The head's flags are written last. */
static void add_packed(struct vring *r, const struct vseg *s, unsigned out, unsigned n, uint16_t id)
{
	uint64_t head = r->desc + 16 * r->avail;
	uint16_t flags = packed_flags(r);

	if (r->indirect && n > 1) {
		put_desc(r, head, make_table(r, id, s, out, n), 16 * n, id, 0);
		flags |= INDIRECT;
		r->count[id] = 1;
		step_packed(r);
	} else {
		flags |= (uint16_t)((out ? 0 : WRITE) | (n > 1 ? NEXT : 0));
		for (unsigned k = 0; k < n; k++) {
			uint64_t at = r->desc + 16 * r->avail;
			uint16_t f = (uint16_t)(packed_flags(r) | (k >= out ? WRITE : 0) | (k + 1 < n ? NEXT : 0));

			put(r, at, s[k].addr, 8);
			put(r, at + 8, s[k].len, 4);
			put(r, at + 12, id, 2);
			if (k)
				put(r, at + 14, f, 2);
			step_packed(r);
		}
		r->count[id] = (uint16_t)n;
	}
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	put(r, head + 14, flags, 2);
}

bool vring_add(struct vring *r, const struct vseg *s, unsigned out, unsigned in, void *token)
{
	unsigned n = out + in, need = r->indirect && n > 1 ? 1 : n;
	uint16_t id = r->free_head;

	g_assert(n && n <= VRING_SEGS && token);
	if (need > r->n_free)
		return false;
	if (r->packed) {
		for (id = 0; r->taken[id]; id++)
			;
		add_packed(r, s, out, n, id);
	} else {
		add_split(r, s, out, n, id);
	}
	r->taken[id] = true;
	r->tokens[id] = token;
	r->n_free = (uint16_t)(r->n_free - need);
	return true;
}

bool vring_wants_kick(struct vring *r)
{
	uint16_t n = r->pushed, event, flags;

	r->pushed = 0;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!n)
		return false;
	if (!r->packed) {
		if (!r->event_idx)
			return !(fetch(r, r->device, 2) & 1);
		event = (uint16_t)fetch(r, r->device + 4 + 8ull * r->size, 2);
		return (uint16_t)(r->avail - event - 1) < n;
	}
	flags = (uint16_t)fetch(r, r->device + 2, 2);
	event = (uint16_t)fetch(r, r->device, 2);
	if (flags != 2)
		return flags == 0;
	if ((event >> 15) != r->avail_wrap)
		event = (uint16_t)((event & 0x7fff) - r->size);
	else
		event &= 0x7fff;
	return (uint16_t)(r->avail - event - 1) < n;
}

static void *finish(struct vring *r, uint16_t id)
{
	void *token;

	g_assert(id < r->size && r->taken[id]);
	token = r->tokens[id];
	r->taken[id] = false;
	r->n_free = (uint16_t)(r->n_free + r->count[id]);
	if (!r->packed) {
		uint16_t last = id;

		for (unsigned k = 1; k < r->count[id]; k++)
			last = r->next[last];
		r->next[last] = r->free_head;
		r->free_head = id;
	}
	return token;
}

void *vring_take(struct vring *r, uint32_t *len)
{
	uint64_t at;
	uint16_t id;

	if (!r->packed) {
		if ((uint16_t)fetch(r, r->device + 2, 2) == r->used)
			return NULL;
		at = r->device + 4 + 8ull * (r->used % r->size);
		id = (uint16_t)fetch(r, at, 4);
		*len = (uint32_t)fetch(r, at + 4, 4);
		r->used++;
		if (r->event_idx)
			put(r, r->driver + 4 + 2ull * r->size, r->used, 2);
		return finish(r, id);
	}
	at = r->desc + 16ull * r->used;
	id = (uint16_t)fetch(r, at + 14, 2);
	if (!!(id & AVAIL) != r->used_wrap || !!(id & USED) != r->used_wrap)
		return NULL;
	*len = (uint32_t)fetch(r, at + 8, 4);
	id = (uint16_t)fetch(r, at + 12, 2);
	r->used = (uint16_t)(r->used + r->count[id]);
	if (r->used >= r->size) {
		r->used = (uint16_t)(r->used - r->size);
		r->used_wrap = !r->used_wrap;
	}
	if (r->event_idx) {
		put(r, r->driver, r->used | (r->used_wrap ? 0x8000u : 0), 2);
		put(r, r->driver + 2, 2, 2);
	}
	return finish(r, id);
}

void vring_interrupts(struct vring *r, bool on)
{
	if (r->packed)
		put(r, r->driver + 2, on ? 0 : 1, 2);
	else
		put(r, r->driver, on ? 0 : 1, 2);
}

/* --- the driver --- */

uint32_t vdrv_config_read(struct vdrv *d, unsigned offset, unsigned size)
{
	drv_out(d->f, 0xcf8, 4, 0x80000000u | d->devfn << 8 | (offset & 0xfc));
	return (uint32_t)drv_in(d->f, (uint16_t)(0xcfc + (offset & 3)), size);
}

void vdrv_config_write(struct vdrv *d, unsigned offset, unsigned size, uint32_t value)
{
	drv_out(d->f, 0xcf8, 4, 0x80000000u | d->devfn << 8 | (offset & 0xfc));
	drv_out(d->f, (uint16_t)(0xcfc + (offset & 3)), size, value);
}

uint64_t vdrv_common(struct vdrv *d, unsigned reg, unsigned size)
{
	return drv_mmio_read(d->f, d->common + reg, size);
}

void vdrv_common_write(struct vdrv *d, unsigned reg, unsigned size, uint64_t value)
{
	if (size == 8) {
		drv_mmio_write(d->f, d->common + reg, 4, (uint32_t)value);
		drv_mmio_write(d->f, d->common + reg + 4, 4, value >> 32);
	} else {
		drv_mmio_write(d->f, d->common + reg, size, value);
	}
}

uint8_t vdrv_status(struct vdrv *d)
{
	return (uint8_t)vdrv_common(d, R_STATUS, 1);
}

static void find_caps(struct vdrv *d)
{
	unsigned at = vdrv_config_read(d, 0x34, 1), guard = 48;

	while (at && guard--) {
		unsigned id = vdrv_config_read(d, at, 1), type = vdrv_config_read(d, at + 3, 1);
		uint64_t place = d->bar + vdrv_config_read(d, at + 8, 4);

		if (id == 0x11) {
			uint32_t table = vdrv_config_read(d, at + 4, 4);
			unsigned n = (vdrv_config_read(d, at + 2, 2) & 0x7ff) + 1;

			g_assert_cmpuint(table & 7, ==, 0);
			for (unsigned i = 0; i < n && d->msix; i++) {
				uint64_t entry = d->bar + (table & ~7u) + 16 * i;

				drv_mmio_write(d->f, entry, 4, 0xfee00000u);
				drv_mmio_write(d->f, entry + 4, 4, 0);
				drv_mmio_write(d->f, entry + 8, 4, d->devfn << 8 | i);
				drv_mmio_write(d->f, entry + 12, 4, 0);
			}
			vdrv_config_write(d, at + 2, 2, d->msix ? 0x8000 : 0);
		} else if (id == 9) {
			g_assert_cmpuint(vdrv_config_read(d, at + 4, 1), ==, 0);
			if (type == 1)
				d->common = place;
			else if (type == 3)
				d->isr = place;
			else if (type == 4) {
				d->space = place;
				d->space_len = vdrv_config_read(d, at + 12, 4);
			} else if (type == 2) {
				d->notify = place;
				d->notify_step = vdrv_config_read(d, at + 16, 4);
			}
		}
		at = vdrv_config_read(d, at + 1, 1);
	}
	g_assert(d->common && d->isr && d->notify && d->notify_step);
}

void vdrv_reset(struct vdrv *d)
{
	int64_t end = g_get_monotonic_time() + 10000000;

	vdrv_common_write(d, R_STATUS, 1, 0);
	while (vdrv_status(d) && g_get_monotonic_time() < end)
		fake_step(d->f);
	g_assert_cmpuint(vdrv_status(d), ==, 0);
}

void vdrv_open(struct vdrv *d, struct fake *f, struct device *dev, uint64_t wanted, bool msix)
{
	const struct pci *p = pci_of(dev);

	*d = (struct vdrv){ .f = f, .dev = dev, .devfn = p->slot << 3 | p->function, .msix = msix, .next = 0x10000 };
	g_assert_cmphex(vdrv_config_read(d, 0, 2), ==, 0x1af4);
	d->bar = vdrv_config_read(d, 0x10, 4) & ~0xfull;
	d->bar |= (uint64_t)vdrv_config_read(d, 0x14, 4) << 32;
	vdrv_config_write(d, 4, 2, 6 | (msix ? 0x400 : 0));
	find_caps(d);
	vdrv_reset(d);
	vdrv_common_write(d, R_STATUS, 1, 1);
	vdrv_common_write(d, R_STATUS, 1, 3);
	for (unsigned i = 0; i < 2; i++) {
		vdrv_common_write(d, R_OFFERED_SELECT, 4, i);
		d->offered |= vdrv_common(d, R_OFFERED, 4) << 32 * i;
	}
	d->accepted = d->offered & (wanted | 1ull << 32);
	for (unsigned i = 0; i < 2; i++) {
		vdrv_common_write(d, R_ACCEPTED_SELECT, 4, i);
		vdrv_common_write(d, R_ACCEPTED, 4, (uint32_t)(d->accepted >> 32 * i));
	}
	vdrv_common_write(d, R_STATUS, 1, 11);
	g_assert_cmpuint(vdrv_status(d), ==, 11);
	if (msix)
		vdrv_common_write(d, R_CONFIG_VECTOR, 2, 0);
}

void vdrv_move(struct vdrv *d, struct fake *to)
{
	d->f = to;
	d->dev = device_find(&to->vm, d->dev->id);
	for (unsigned i = 0; i < VDRV_QUEUES; i++)
		if (d->rings[i].ram)
			d->rings[i].ram = &to->vm.ram;
}

uint64_t vdrv_alloc(struct vdrv *d, unsigned bytes)
{
	uint64_t at = d->next;

	d->next += (bytes + 63) / 64 * 64;
	g_assert(d->next <= FAKE_RAM);
	return at;
}

void vdrv_queue(struct vdrv *d, unsigned i, unsigned size)
{
	struct vring *r = &d->rings[i];

	g_assert(i < VDRV_QUEUES);
	d->next = (d->next + 4095) / 4096 * 4096;
	d->next += vring_init(r, &d->f->vm.ram, size, d->accepted >> 34 & 1, d->accepted >> 28 & 1, d->accepted >> 29 & 1, d->next);
	vdrv_common_write(d, R_QUEUE_SELECT, 2, i);
	g_assert_cmpuint(vdrv_common(d, R_QUEUE_SIZE, 2), >=, size);
	vdrv_common_write(d, R_QUEUE_SIZE, 2, size);
	if (d->msix)
		vdrv_common_write(d, R_QUEUE_VECTOR, 2, i + 1);
	vdrv_common_write(d, R_QUEUE_DESC, 8, r->desc);
	vdrv_common_write(d, R_QUEUE_DRIVER, 8, r->driver);
	vdrv_common_write(d, R_QUEUE_DEVICE, 8, r->device);
	vdrv_common_write(d, R_QUEUE_ENABLE, 2, 1);
	g_assert_cmpuint(vdrv_common(d, R_QUEUE_ENABLE, 2), ==, 1);
}

void vdrv_go(struct vdrv *d)
{
	vdrv_common_write(d, R_STATUS, 1, 15);
	fake_step(d->f);
}

void vdrv_kick(struct vdrv *d, unsigned i)
{
	if (vring_wants_kick(&d->rings[i]))
		drv_mmio_write(d->f, d->notify + (uint64_t)i * d->notify_step, 2, i);
	fake_step(d->f);
}

unsigned vdrv_interrupts(struct vdrv *d, unsigned i)
{
	unsigned n;

	if (!d->msix)
		return drv_mmio_read(d->f, d->isr, 1) & 1;
	n = d->f->msis_of[d->devfn][i + 1];
	d->f->msis_of[d->devfn][i + 1] = 0;
	return n;
}
