/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A driver of modern virtio over PCI for flat guests that measure: finds the function through ECAM, gives its BARs
 * addresses where they have none, negotiates, and drives split rings by polling. All of it runs at level 3, no interrupt is
 * ever wanted, and kicks are plain stores. Works on kvmd's machine and on QEMU's (microvm with pcie=on, q35).
 *
 * Command line: ecam=ADDRESS (0xe0000000), mmio=ADDRESS (0xc0000000, for BARs), event_idx=0, indirect=0, ring=N entries.
 */
#pragma once
#include "flat.h"

#define VIRTIO_F_INDIRECT (1ull << 28)
#define VIRTIO_F_EVENT_IDX (1ull << 29)
#define VIRTIO_F_VERSION_1 (1ull << 32)
#define RING_MAX 1024
#define DESC_NEXT 1
#define DESC_WRITE 2
#define DESC_INDIRECT 4

struct desc { uint64_t addr; uint32_t len; uint16_t flags, next; };
struct ring {
	struct desc *desc;
	volatile uint16_t *avail, *used;
	volatile uint32_t *notify;
	uint16_t index, size, avail_at, used_at, told;
	bool event_idx;
	uint64_t kicks;
};
struct virtio_fn {
	volatile uint8_t *common, *notify, *config, *isr;       /* config: NULL where there is none */
	volatile uint8_t *pci;          /* configuration space */
	uint32_t notify_step;
	uint64_t features;
};

void *pages(uint64_t bytes);                    /* memory, 4 KiB aligned (2 MiB for 2 MiB and more), zeroed by the machine */
/* The n-th (from 0) function of that virtio device; gives up with a message when there is none. wanted: features if offered. */
void virtio_find_nth(struct virtio_fn *, unsigned id, unsigned n, uint64_t wanted);
void virtio_find(struct virtio_fn *, unsigned id, uint64_t wanted);     /* the first, which has config registers */
void ring_make(struct virtio_fn *, struct ring *, unsigned index);
void virtio_go(struct virtio_fn *);             /* DRIVER_OK */
void give_up(const char *why) __attribute__((noreturn));

/* Makes a chain available whose first descriptor is `head`; told to the device by ring_kick. */
static inline void ring_add(struct ring *r, uint16_t head)
{
	r->avail[2 + (r->avail_at++ & (r->size - 1))] = head;
}

static inline void ring_kick(struct ring *r)
{
	uint16_t old = r->told, now = r->avail_at;

	if (old == now)
		return;
	__atomic_store_n(&r->avail[1], now, __ATOMIC_RELEASE);
	r->told = now;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (r->event_idx ? (uint16_t)(now - r->used[2 + 4 * r->size] - 1) >= (uint16_t)(now - old) : r->used[0] & 1)
		return;
	*(volatile uint16_t *)r->notify = r->index;
	r->kicks++;
}

/* The next used entry: its head, -1 when there is none; *len: bytes written. */
static inline int ring_used(struct ring *r, uint32_t *len)
{
	const volatile uint32_t *e;

	if (__atomic_load_n(&r->used[1], __ATOMIC_ACQUIRE) == r->used_at)
		return -1;
	e = (const volatile uint32_t *)(r->used + 2) + 2 * (r->used_at++ & (r->size - 1));
	*len = e[1];
	if (r->event_idx)       /* no interrupt for a long time */
		r->avail[2 + r->size] = (uint16_t)(r->used_at + 0x7fff);
	return (int)e[0];
}

/* --- times --- */
#define HIST_FINE 5
struct hist { uint64_t n; uint32_t at[64 << HIST_FINE]; };
static inline void hist_add(struct hist *h, uint64_t v)
{
	unsigned log2 = 63 - (unsigned)__builtin_clzll(v | 1 << HIST_FINE);

	h->n++;
	h->at[((log2 - HIST_FINE) << HIST_FINE) + (v >> (log2 - HIST_FINE))]++;
}
uint64_t hist_percentile(const struct hist *, unsigned percent);        /* upper bound of the bucket */
