/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks, seen from a driver: the node, its ops table, and what the core does for drivers. Loop thread unless said. */
#pragma once
#include "devices/block.h"

struct block_ops {
	const char *name;
	size_t size; /* of the driver's struct, whose first member is struct block */
	bool leaf;                      /* has no lower node */
	bool format;                    /* may have a backing image */
	/* Main thread. Sets size and can; those of a filter are preset to the lower's. */
	bool (*open)(struct block *, const void *config, struct fdset *, GError **err);
	/* Also after a failed open. Nothing is in flight. 0 or -errno of writing back. */
	int (*close)(struct block *);
	/* NULL: passes to lower. Never blocks. Ends in block_done, never from inside: see block_done_soon. */
	void (*submit)(struct block *, struct block_req *);
	/* true: drain begins, let go of parked requests and start nothing in the background; false: it is over. */
	void (*quiet)(struct block *, bool on);
	/* Looks whether it has become larger meanwhile; may be NULL. */
	void (*measure)(struct block *);
	bool (*update)(struct block *, const void *config, GError **err);
	/* Blocking, for open and close only (nothing in flight): read, write, flush, discard, resize (size in off).
	 * Reads beyond the end give zeroes. 0 or -errno. NULL: passes to lower. */
	int (*sync)(struct block *, enum block_op, uint64_t off, void *buf, uint64_t n);
	void (*info)(struct block *,
		struct block_info *); /* adds what it knows; called from the leaf up */
};

struct block {                          /* a node; owned by its chain */
	const struct block_ops *ops;
	struct block_chain *chain;
	struct block *lower, *backing;
	struct block_host *host;
	struct loop *loop;
	uint64_t size;
	unsigned can;
	bool readonly;                  /* preset: the operator says so, or it is a backing image */
};

struct block_chain {
	struct block_host *host;
	struct loop *loop;
	struct block *root;
	GPtrArray *nodes;               /* root first */
	struct block_options options;
	unsigned inflight;              /* requests at all doors */
	unsigned quiet;                 /* nested drains */
	GPtrArray *drains;              /* struct done */
	struct block_fua *fua;          /* block.c's, unused ones */
	struct block_stats *stats;      /* of the root, in the statistics page or `counted`; written by the loop, read by anyone */
	struct block_stats counted;
};

/* Work for the end of a batch. The struct belongs to the driver or engine. */
struct block_kick { void (*fn)(void *); void *arg; struct block_kick *next; bool queued; };
/* A throttle group, a thread pool: shared by name, counted; see block_host_shared. */
struct block_shared { char *name; void (*free)(struct block_shared *); unsigned users; };

struct block_host {
	struct loop *loop;
	struct clock *clock;
	struct ring *ring;
	uint32_t iothread;              /* its <iothread>'s id; 0: everyone's */
	void (*thread_start)(void);
	GPtrArray *shared;              /* struct block_shared; main thread */
	GMutex lock;                    /* slots */
	uint8_t *slots;                 /* ring file slots in use */
	/* loop */
	unsigned plugged;
	struct block_kick *kicks;
	struct block_req *finished, **finished_end;
	unsigned submitting;            /* inside drivers' submit: nothing may end now */
	bool posted;
};

/* The request is over. Not from inside submit. */
void block_done(struct block_req *, int64_t result);
/* The same from inside submit: done is called soon. */
void block_done_soon(struct block *, struct block_req *, int64_t result);
/* A format's read or write that stands for the whole of one it was given: like block_submit, but not counted once more,
 * for that one stays in flight until this one's done function ends it. */
void block_relay(struct block *, struct block_req *);
/* fn runs when the batch ends, at once outside of one. */
void block_kick(struct block_host *, struct block_kick *);
/* From a kick's fn that cannot do its work yet: once more when the batch after this one ends. */
void block_kick_later(struct block_host *, struct block_kick *);
void block_host_plug(struct block_host *);
void block_host_unplug(struct block_host *);
int block_sync(struct block *, enum block_op, uint64_t off, void *buf, uint64_t n);
/* Finds or makes what is shared under that name; make returns NULL and *err on failure. Main thread. */
struct block_shared *block_host_shared(struct block_host *, const char *name,
	struct block_shared *(*make)(struct block_host *, GError **err), GError **err);
void block_host_unshare(struct block_host *, struct block_shared *);
/* A slot of the ring's file table, -1 when all are taken. Any thread. */
int block_host_slot(struct block_host *);
void block_host_slot_free(struct block_host *, int slot);

/* block.c, for block_open.c */
void block_chain_quiet(struct block_chain *, bool on);
void block_chain_finish(struct block_chain *);
/* All drivers; ends with NULL. */
extern const struct block_ops *const block_drivers[];
extern const struct block_ops block_mem_ops, block_fault_ops, block_uring_ops, block_threads_ops,
	block_throttle_ops, block_detect_ops, block_qcow2_ops, block_empty_ops;
