/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A virtqueue, the device's side (virtio 1.2, 2.6 to 2.8): split and packed rings, indirect descriptors, EVENT_IDX.
 *
 * The guest is not trusted. Each index and descriptor is copied once, checked against RAM and limits, and only the copy is
 * used; what makes no sense ends in .broken, once, after which the queue gives and takes nothing. Buffers are host
 * addresses of guest RAM: the guest may change their contents at any time.
 *
 * A chain that was popped stays where it is in memory until it is pushed: the queue keeps a list of them. It is what is
 * saved in mid-request: after a load the same chains are popped again, first and in the same order, so a device repeats
 * what it had not finished. Chains of a queue that was stopped are orphans: pushing them frees them and nothing else.
 *
 * Dirty marks for migration are set here: in chain_write and virtq_push.
 *
 * Everything on one thread at a time: the loop the queue belongs to, or main while that is held.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "domain/address.h"
#include "domain/field.h"
#include "hv/ram.h"

#define VIRTQ_SEGMENTS_MAX 1024         /* of one chain; also entries of an indirect table */
#define VIRTQ_FEW 6                     /* segments that need no memory of their own */

struct virtq;

struct chain {
	struct virtq *q;        /* NULL: not popped, or an orphan */
	struct chain *next, *prev;
	uint16_t id, count;     /* what the used ring says; ring entries it took (packed) */
	unsigned out_n, in_n;   /* segments the device reads, then those it writes */
	uint64_t out_len, in_len;       /* bytes of each, < 4 GiB */
	/* places of chain_read and chain_write */
	uint64_t read, written;
	unsigned out_at, in_at;
	size_t out_off, in_off;
	struct iovec *more, few[VIRTQ_FEW];
};

/* Where a ring is and how it is used: fixed while it is started. */
struct virtq_setup {
	uint16_t size;          /* 1 … VIRTQ_SIZE_MAX; a power of two unless packed */
	bool packed, indirect, event_idx;
	uint64_t desc, driver, device;  /* guest-physical */
};

struct virtq {
	struct ram *ram;
	void (*interrupt)(struct virtq *);
	void (*broken)(struct virtq *, const char *why);        /* why: static text */
	void *arg;              /* the owner's */
	unsigned index;

	bool started, is_broken;
	struct virtq_setup set;
	uint8_t *desc, *driver, *device;        /* host addresses of the three areas */
	uint16_t avail, used;   /* split: free running; packed: positions */
	uint16_t seen;          /* split: the driver's index when it was last looked at, not behind .avail */
	bool avail_wrap, used_wrap;
	bool kicks_off;         /* the driver was told that we are looking anyway */
	bool polled;            /* somebody looks all the time: an empty ring does not turn kicks on */
	bool hidden;            /* pushed and not shown yet; packed: .hidden_flags, which come last, belong at .hidden_at */
	uint16_t hidden_at, hidden_flags;
	uint16_t unsignalled;   /* ring entries pushed since the last decision to interrupt */
	bool signalled_any;
	unsigned popped;        /* outstanding chains */
	struct chain list;      /* of them: .next oldest */
	GPtrArray *again;       /* of struct virtq_saved, after a load: popped first */
	unsigned again_at;
};

/* Made once; fields ram, interrupt, broken, arg, index are the owner's to set before. */
void virtq_init(struct virtq *);
void virtq_finish(struct virtq *);
/* Begins at index 0. false and .broken when the areas are not in RAM or not aligned. */
bool virtq_start(struct virtq *, const struct virtq_setup *);
void virtq_stop(struct virtq *);                /* outstanding chains become orphans */

/* The next chain; false: there is none now (kicks are on again), or the queue is stopped or broken. */
bool virtq_pop(struct virtq *, struct chain *);
void virtq_unpop(struct virtq *, struct chain *);       /* as if it had not been: it is popped again, before all others */
bool virtq_has(struct virtq *);                 /* would virtq_pop find something? Kicks are on when not */
/* Begins and ends polling: an empty ring turns kicks off, or on again (look once more after that). */
void virtq_set_polled(struct virtq *, bool on);
bool virtq_waits(struct virtq *);               /* is there something? Leaves kicks as they are */
/* Gives it back with `len` bytes written from its start, and frees what it holds. */
void virtq_push(struct virtq *, struct chain *, uint64_t len);
/*
 * The same, but the driver sees it only after the next virtq_show, virtq_push or virtq_signal, all at once: for chains that
 * belong together, and where many follow each other, for a line of memory that both processors use costs more than a frame.
 */
void virtq_push_hidden(struct virtq *, struct chain *, uint64_t len);
void virtq_show(struct virtq *);
void virtq_signal(struct virtq *);              /* after one or more pushes: interrupts when the driver wants it */

/* Sequential access; both give how many bytes it were, less than n only at the end. */
size_t chain_read(struct chain *, void *to, size_t n);
size_t chain_write(struct chain *, const void *from, size_t n);
static inline uint64_t chain_left(const struct chain *c) { return c->out_len - c->read; }
static inline uint64_t chain_room(const struct chain *c) { return c->in_len - c->written; }
/* The segments, for I/O without copying: out_n to read, then in_n to write. */
static inline struct iovec *chain_iov(struct chain *c) { return c->more ? c->more : c->few; }
static inline struct iovec *chain_in(struct chain *c) { return chain_iov(c) + c->out_n; }

/* --- saving --- */
struct virtq_saved {            /* one outstanding chain */
	uint16_t id, count;
	GByteArray *out, *in;   /* u64 address, u32 length of each segment, big endian */
};
struct virtq_state {
	uint16_t size, vector;
	bool enabled;
	uint64_t desc, driver, device;
	uint16_t avail, used;
	bool avail_wrap, used_wrap;
	GPtrArray *chains;      /* of struct virtq_saved */
};
extern const struct schema virtq_state_schema;
/* Fills indices and chains (not the registers: size to device, enabled, vector). */
void virtq_save(struct virtq *, struct virtq_state *);
/* After virtq_start. Takes .chains. *err: STATE_DATA. */
bool virtq_load(struct virtq *, struct virtq_state *, GError **err);

/* --- between virtq.c and virtq_state.c --- */
extern const struct schema virtq_saved_schema;
uint64_t virtq_gpa(const struct ram *, const void *host);       /* host: an address in RAM */
void virtq_unlink(struct virtq *, struct chain *);
