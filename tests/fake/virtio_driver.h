/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plays a guest's virtio driver in plain memory: rings of either kind (struct vring), and on top of them a driver that finds
 * a device by its PCI capabilities, negotiates, sets queues and vectors up and waits for interrupts (struct vdrv).
 * It is an implementation of its own: nothing here is shared with the device's side but the addresses of struct fake.
 */
#pragma once
#include "tests/fake/fake.h"

#define VRING_MAX 256
#define VRING_SEGS 16                   /* of one request */

struct vseg { uint64_t addr; uint32_t len; };

/* The driver's side of a queue. */
struct vring {
	struct ram *ram;
	unsigned size;
	bool packed, indirect, event_idx;
	uint64_t desc, driver, device, tables;  /* guest-physical; tables: indirect ones, 256 bytes per entry */
	uint16_t avail, used, pushed;   /* split: free running; packed: positions; since the last kick */
	bool avail_wrap, used_wrap;
	uint16_t free_head, n_free;
	uint16_t next[VRING_MAX], count[VRING_MAX];     /* of descriptors (split); entries a request took */
	void *tokens[VRING_MAX];
	bool taken[VRING_MAX];
};
/* Bytes of guest memory a ring takes from `at` (a multiple of 4096) on. */
uint64_t vring_init(struct vring *, struct ram *, unsigned size, bool packed, bool indirect, bool event_idx, uint64_t at);
/* First `out` segments to be read, then `in` to be written. false: no room. */
bool vring_add(struct vring *, const struct vseg *, unsigned out, unsigned in, void *token);
bool vring_wants_kick(struct vring *);  /* since the last time it was asked */
/* A finished request's token, or NULL. With event_idx the next interrupt is asked for. */
void *vring_take(struct vring *, uint32_t *len);
void vring_interrupts(struct vring *, bool on);

#define VDRV_QUEUES 16
struct vdrv {
	struct fake *f;
	struct device *dev;
	unsigned devfn;
	uint64_t bar;                   /* where BAR 0 is */
	uint64_t common, isr, space, notify;    /* addresses */
	uint32_t notify_step, space_len;
	uint64_t offered, accepted;
	bool msix;
	struct vring rings[VDRV_QUEUES];
	uint64_t next;                  /* free guest memory */
};

uint32_t vdrv_config_read(struct vdrv *, unsigned offset, unsigned size);       /* by the ports */
void vdrv_config_write(struct vdrv *, unsigned offset, unsigned size, uint32_t value);
uint64_t vdrv_common(struct vdrv *, unsigned reg, unsigned size);
void vdrv_common_write(struct vdrv *, unsigned reg, unsigned size, uint64_t value);
uint8_t vdrv_status(struct vdrv *);
/* Finds the device, resets it, accepts features & wanted (VERSION_1 always); up to FEATURES_OK. */
void vdrv_open(struct vdrv *, struct fake *, struct device *, uint64_t wanted, bool msix);
/* Sets queue i up, vector i + 1 where MSI-X is on. */
void vdrv_queue(struct vdrv *, unsigned i, unsigned size);
void vdrv_go(struct vdrv *);            /* DRIVER_OK, and steps */
void vdrv_reset(struct vdrv *);         /* and waits until it is done */
void vdrv_kick(struct vdrv *, unsigned i);      /* if the device wants it, and steps */
void vdrv_move(struct vdrv *, struct fake *to);         /* the guest has moved (fake_move), the old machine is still there */
uint64_t vdrv_alloc(struct vdrv *, unsigned bytes);     /* guest memory */
unsigned vdrv_interrupts(struct vdrv *, unsigned i);    /* of queue i since the last call; without MSI-X: does its line say so? */
