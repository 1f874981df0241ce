/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disks, seen from a front end (virtio-blk, a mirror, a test). A chain is a stack of nodes, each an instance of a driver:
 * filters (throttle, detect, fault) over a format (qcow2, with its backing chain) over a leaf (uring, threads, mem). All
 * nodes are of one type, so that a filter can stand anywhere.
 *
 * The core owns the contract, drivers own the work: every request passes block_submit, which checks range, alignment, right
 * to write and loop, counts it, and calls the driver; drivers do not check again.
 *
 * Threads: a chain belongs to one loop. block_submit, plug, drain, undrain and everything in drivers run on the loop's
 * thread; open, close, update and info are called from the main thread; stats from any. While a loop is not started (tests)
 * one thread plays all.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "domain/statpage.h"
#include "hv/device.h"
#include "hv/fdset.h"
#include "hv/loop.h"
#include "hv/ring.h"

struct block;
struct block_chain;
struct block_host;
struct disk;
struct iotune;

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,
	BLOCK_DISCARD,
	BLOCK_ZERO,
	BLOCK_RESIZE,
	BLOCK_OPS
};
enum block_flag {
	BLOCK_FUA = 1 << 0, /* write, zero: stable before done (any chain; done as a flush where the
			       driver has none) */
	BLOCK_UNMAP = 1 << 1, /* zero: the space may be given back */
};
enum block_can {
	BLOCK_CAN_WRITE = 1 << 0,   /* else -EROFS */
	BLOCK_CAN_DISCARD = 1 << 1, /* else discard succeeds and does nothing */
	BLOCK_CAN_ZERO = 1 << 2,    /* zeroes without writing them all */
	BLOCK_CAN_FUA = 1 << 3,
	BLOCK_CAN_RESIZE = 1 << 4,
	BLOCK_CAN_GROW =
		1 << 5, /* a file: writes beyond .size extend it, reads there give zeroes */
	BLOCK_CAN_CACHE = 1 << 6, /* done writes may be lost by a power cut until a flush: offer
				     FLUSH to the guest */
};
#define BLOCK_SIZE_MAX (1ull << 62)
#define BLOCK_IOV_MAX 1024u             /* pieces of a request */
#define BLOCK_IO_MAX (1u << 30)         /* bytes of a read or write */

/*
 * One request. Flush: offset and bytes are 0. Resize: offset is the new size. The memory of iov's pieces may be the guest's
 * own: it can change at any time. done is called exactly once, on the loop, never from inside block_submit (but perhaps
 * from inside block_unplug), with the bytes of the request or -errno; the request may be freed or used again in done.
 * -ENOSPC and -EIO leave the disk consistent: the same request may be submitted again.
 */
struct block_req {
	/* the submitter's; unchanged until done */
	enum block_op op;
	unsigned flags;                 /* enum block_flag; FUA is added in writethrough chains */
	uint64_t offset, bytes;
	const struct iovec *iov; /* read, write: sums up to bytes. The array stays the submitter's,
				    valid until done */
	unsigned iov_n;
	void (*done)(struct block_req *, int64_t result);
	void *arg;
	/* the core's and, in between, the driver's that holds the request; zero when submitted */
	struct block *top;              /* node at whose door it came in */
	struct block_req *next;
	int64_t started, result;        /* ns; kept while a flush follows for FUA */
	unsigned state;
};

#define BLOCK_HIST STAT_HIST /* bucket i: latency < 2^(i + 9) ns; the last takes the rest */
/* A slot of the statistics page (domain/statpage.h): 64-bit words, new ones at the end. */
struct block_stats {
	struct block_op_stats {
		uint64_t ops, bytes, errors, ns;        /* ns: sum of latencies */
		uint64_t refused;                       /* at the door */
		uint64_t hist[BLOCK_HIST];
	} op[BLOCK_OPS];
	uint64_t bad;                   /* refused at the door */
	uint64_t highest;               /* end of the furthest write that was done, bytes */
	uint64_t inflight;
	uint64_t throttled;             /* ns that requests waited for <iotune> */
	uint64_t size;                  /* bytes that the guest sees */
};
extern const char *const block_op_names[BLOCK_OPS];

struct block_info {
	const char *driver, *format;    /* of the root; "qcow2" or "raw" */
	uint64_t size;                  /* what the guest sees, bytes */
	uint64_t allocated;             /* bytes on the host's file system of the top image */
	uint32_t cluster_size;          /* qcow2, else 0 */
	unsigned can;
	unsigned snapshots;             /* internal ones */
	bool corrupt;                   /* qcow2: found damaged, writes are refused */
	bool repaired; /* qcow2: it had not been closed; reference counts were made anew */
	unsigned images;                /* in the chain, backing images included */
	/* qcow2, as its header has it */
	unsigned version, refcount_bits;
	bool lazy_refcounts, dirty, zstd;
	const char *backing;            /* as the image names it, while it is open; NULL: none */
	const char *leaf;               /* driver that reaches the host: "uring", "threads" */
	bool readonly;                  /* this image is only read */
	uint64_t file_size;             /* bytes of the file or device below the format */
};

/* --- what the chains of one loop share: ring, threads, throttle groups. Main thread; freed after its chains --- */
/* ring: NULL where the host forbids io_uring; stays the caller's, but all its slots and completions are ours. thread_start:
 * called first in every thread made for disks (lock_thread, say); NULL: nothing. */
struct block_host *block_host_new(
	struct loop *, struct ring *ring, struct clock *, void (*thread_start)(void));
void block_host_free(struct block_host *);
/* Which <iothread> it serves; 0 (the default): none, it is the one of all other disks. Before the first chain. */
void block_host_set_iothread(struct block_host *, uint32_t id);
uint32_t block_host_iothread(const struct block_host *);
struct loop *block_host_loop(const struct block_host *);

/* --- chains --- */
/*
 * One node to open. A list goes from the guest's side down; a leaf ends an image, what follows it is the backing image
 * of the format above: throttle, qcow2, uring, qcow2, uring, uring = a qcow2 on a qcow2 on a raw file.
 */
struct block_row { const char *driver; const void *config; };
struct block_options {
	bool readonly;
	bool writethrough;              /* every write is stable when done */
	bool ignore_discard;
	uint32_t align; /* what front-end requests are multiples of: 1, 512 … 64 KiB */
};
/* Opens from the last row to the first. Configs are used during the call only. *err: ARGS, IO, UNSUPPORTED, ACCESS … */
struct block *block_open(struct block_host *, const struct block_row *, unsigned n,
	const struct block_options *, struct fdset *, GError **err);
/* The chain of a <disk>: its backing list must name every image (the launcher has filled it in). */
struct block *block_open_disk(
	struct block_host *, const struct disk *, struct fdset *, GError **err);
/* Writes back and closes; nothing may be in flight (drain first). false and *err when writing back failed: closed all the
 * same. NULL is fine. */
bool block_close(struct block *, GError **err);

uint64_t block_size(const struct block *); /* bytes; loop, or main while nothing is in flight */
unsigned block_can(const struct block *);
struct loop *block_loop(const struct block *);
void block_submit(struct block *, struct block_req *);
/* Requests between plug and the last unplug go to the host in one batch. Unplug may call done functions. Nests. */
void block_plug(struct block *);
void block_unplug(struct block *);
/* Ends done when nothing is in flight any more, background work included; parked requests are let through at once. No
 * background work starts until undrain. The caller must not submit meanwhile. Any thread. */
void block_drain(struct block *, struct done *);
void block_undrain(struct block *);             /* any thread */
/* New limits (NULL: none) while running, and perhaps another group of disks that share them; what waits is not lost. *err: STATE when the chain has no throttle. */
bool block_set_iotune(struct block *, const struct iotune *, GError **err);
void block_stats(const struct block *,
	struct block_stats *out); /* any thread; no lock: sums may differ by one request */
/* From now on counts there (NULL: in memory of its own). Before the first request, or while nothing is in flight; main. */
void block_count_in(struct block *, struct block_stats *);
void block_info(struct block *, struct block_info *out);
/* Of each image of the chain, the top one first (all as block_info tells of the top, which .images counts). At most n are
 * written; how many there are. */
unsigned block_images(struct block *, struct block_info *out, unsigned n);
