/* SPDX-License-Identifier: GPL-2.0-or-later */
/* See virtio.h. */
#include "virtio.h"

#define POOL 0x2000000ull               /* memory for rings and buffers: from 32 MiB on */
#define CFG_VENDOR 0x00
#define CFG_COMMAND 0x04
#define CFG_BAR 0x10
#define CFG_CAP 0x34
#define CAP_VENDOR 9
enum { VIRTIO_CAP_COMMON = 1, VIRTIO_CAP_NOTIFY = 2, VIRTIO_CAP_ISR = 3, VIRTIO_CAP_DEVICE = 4 };
enum { C_OFFERED_SELECT = 0, C_OFFERED = 4, C_ACCEPTED_SELECT = 8, C_ACCEPTED = 12, C_STATUS = 20, C_SELECT = 22, C_SIZE = 24, C_VECTOR = 26,
	C_ENABLE = 28, C_NOTIFY = 30, C_DESC = 32, C_DRIVER = 40, C_DEVICE = 48 };

static uint64_t pool = POOL;

void give_up(const char *why)
{
	print("failed: %s\n", why);
	poweroff();
}

void *pages(uint64_t bytes)
{
	uint64_t align = bytes >= 1 << 21 ? 1 << 21 : 4096, at = (pool + align - 1) & ~(align - 1);

	pool = at + bytes;
	if (pool > memory_size())
		give_up("not enough memory");
	return (void *)at;
}

static uint32_t get32(const volatile uint8_t *at) { return *(const volatile uint32_t *)at; }
static uint8_t get8(const volatile uint8_t *at) { return *at; }
static uint16_t get16(const volatile uint8_t *at) { return *(const volatile uint16_t *)at; }
static void put32(volatile uint8_t *at, uint32_t v) { *(volatile uint32_t *)at = v; }
static void put16(volatile uint8_t *at, uint16_t v) { *(volatile uint16_t *)at = v; }
static void put64(volatile uint8_t *at, uint64_t v) { put32(at, (uint32_t)v); put32(at + 4, (uint32_t)(v >> 32)); }

/* Every memory BAR gets a place below 4 GiB, for no more than that is mapped. */
static void place_bars(volatile uint8_t *cfg, uint64_t *base)
{
	static uint64_t next;
	uint64_t at = next ? next : param("mmio", 0xc0000000);

	put16(cfg + CFG_COMMAND, 0);
	for (unsigned i = 0; i < 6; i++) {
		volatile uint8_t *bar = cfg + CFG_BAR + 4 * i;
		uint32_t old = get32(bar), mask;
		bool wide;

		if (old & 1)
			continue;
		put32(bar, ~0u);
		mask = get32(bar) & ~0xfu;
		if (!mask)
			continue;
		wide = (old >> 1 & 3) == 2;
		at = (at + ~mask) & mask;
		base[i] = at;
		put32(bar, (uint32_t)at);
		at += ~mask + 1ull;
		if (wide)
			put32(cfg + CFG_BAR + 4 * ++i, 0);
	}
	put16(cfg + CFG_COMMAND, 6);
	next = at;
}

static void find_parts(struct virtio_fn *f, volatile uint8_t *cfg)
{
	uint64_t base[6] = { 0 };
	unsigned left = 48;

	place_bars(cfg, base);
	for (uint8_t at = get8(cfg + CFG_CAP); at && left--; at = get8(cfg + at + 1)) {
		volatile uint8_t *part;

		if (get8(cfg + at) != CAP_VENDOR || get8(cfg + at + 4) > 5)
			continue;
		part = (volatile uint8_t *)(base[get8(cfg + at + 4)] + get32(cfg + at + 8));
		switch (get8(cfg + at + 3)) {
		case VIRTIO_CAP_COMMON: f->common = part; break;
		case VIRTIO_CAP_DEVICE: f->config = part; break;
		case VIRTIO_CAP_ISR: f->isr = part; break;
		case VIRTIO_CAP_NOTIFY:
			f->notify = part;
			f->notify_step = get32(cfg + at + 16);
			break;
		}
	}
	f->pci = cfg;
	if (!f->common || !f->notify || !f->isr)
		give_up("the device is not a modern one");
}

static void negotiate(struct virtio_fn *f, uint64_t wanted)
{
	volatile uint8_t *c = f->common;

	c[C_STATUS] = 0;
	while (c[C_STATUS])
		;
	c[C_STATUS] = 1;
	c[C_STATUS] = 3;
	put32(c + C_OFFERED_SELECT, 0);
	f->features = get32(c + C_OFFERED);
	put32(c + C_OFFERED_SELECT, 1);
	f->features |= (uint64_t)get32(c + C_OFFERED) << 32;
	wanted |= VIRTIO_F_VERSION_1 | (param("event_idx", 1) ? VIRTIO_F_EVENT_IDX : 0) | (param("indirect", 1) ? VIRTIO_F_INDIRECT : 0);
	f->features &= wanted;
	for (unsigned i = 0; i < 2; i++) {
		put32(c + C_ACCEPTED_SELECT, i);
		put32(c + C_ACCEPTED, (uint32_t)(f->features >> 32 * i));
	}
	c[C_STATUS] = 11;
	if (!(c[C_STATUS] & 8))
		give_up("features were not accepted");
}

void virtio_find_nth(struct virtio_fn *f, unsigned id, unsigned n, uint64_t wanted)
{
	uint64_t ecam = param("ecam", 0xe0000000);

	*f = (struct virtio_fn){ 0 };
	for (unsigned dev = 0; dev < 32; dev++) {
		volatile uint8_t *cfg = (volatile uint8_t *)(ecam + (dev << 15));

		if (get32(cfg + CFG_VENDOR) != ((0x1040u + id) << 16 | 0x1af4) || n--)
			continue;
		find_parts(f, cfg);
		negotiate(f, wanted);
		return;
	}
	give_up("there is no such device");
}

void virtio_find(struct virtio_fn *f, unsigned id, uint64_t wanted)
{
	virtio_find_nth(f, id, 0, wanted);
	if (!f->config)
		give_up("the device has no config registers");
}

void ring_make(struct virtio_fn *f, struct ring *r, unsigned index)
{
	volatile uint8_t *c = f->common;
	uint64_t want = param("ring", 256);
	uint8_t *area = pages(65536);

	memset(area, 0, 65536);         /* a former life may have been there */
	put16(c + C_SELECT, (uint16_t)index);
	*r = (struct ring){ 0 };
	r->size = get16(c + C_SIZE);
	if (!r->size)
		give_up("there is no such queue");
	while (r->size > want || r->size > RING_MAX)
		r->size /= 2;
	r->index = (uint16_t)index;
	r->event_idx = f->features & VIRTIO_F_EVENT_IDX;
	r->desc = (struct desc *)area;
	r->avail = (volatile uint16_t *)(area + 16 * RING_MAX);
	r->used = (volatile uint16_t *)(area + 32768);
	r->avail[0] = 1;                /* no interrupts */
	r->avail[2 + r->size] = 0x7fff;
	put16(c + C_SIZE, r->size);
	put16(c + C_VECTOR, 0xffff);
	put64(c + C_DESC, (uint64_t)r->desc);
	put64(c + C_DRIVER, (uint64_t)r->avail);
	put64(c + C_DEVICE, (uint64_t)r->used);
	r->notify = (volatile uint32_t *)(f->notify + (uint64_t)get16(c + C_NOTIFY) * f->notify_step);
	put16(c + C_ENABLE, 1);
}

void virtio_go(struct virtio_fn *f)
{
	f->common[C_STATUS] = 15;
}

uint64_t hist_percentile(const struct hist *h, unsigned percent)
{
	uint64_t want = h->n * percent / 100, seen = 0;

	for (unsigned i = 0; i < 64u << HIST_FINE; i++) {
		unsigned shift = i >> (HIST_FINE + 1) ? (i >> HIST_FINE) - 1 : 0;

		seen += h->at[i];
		if (seen > want)
			return ((uint64_t)(i - (shift << HIST_FINE)) + 1) << shift;
	}
	return 0;
}
