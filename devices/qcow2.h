/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The qcow2 writer, inside. Everything runs on the chain's loop; one owner, no locks.
 *
 * State. The L1 table and the table of reference blocks are in memory; L2 tables and reference blocks come through caches
 * of slices (4 KiB, or a cluster when that is smaller). All changes are made in memory and reach the disk in commits only
 * (qcow2_commit.c), in this order, with flushes between: reference counts → table of reference blocks → L2 → L1 → what a
 * flush promises. Counts go up before anything points at a cluster, and down after nothing on the disk does.
 *
 * Waiting. Whoever needs something that is not in memory calls a function with its task; -EAGAIN means: the task waits and
 * is run again, from its beginning, when the thing is there. Between two such returns nothing else runs, so what was checked
 * holds. Other negative returns are errors. A task that is run because what it waited for failed has .error set.
 *
 * Freed clusters wait (qcow2_free.c) until the commit that made them free is on the disk and every request that was under
 * way when they were freed has ended; then the hole is punched, and only then may they be used again.
 */
#pragma once
#include "devices/block_driver.h"
#include "domain/image.h"

#define Q2_OFFSET 0x00fffffffffffe00ull
#define Q2_COPIED (1ull << 63)          /* one reference: may be written in place */
#define Q2_COMPRESSED (1ull << 62)
#define Q2_ZERO 1ull                    /* L2, v3: reads as zeroes */
#define Q2_SLICE 4096u
#define Q2_HEAD 512u                    /* the header's changing part, written at once */
#define Q2_FRONT 256u
#define Q2_FILTER (1u << 15)            /* bits */

struct q2;
struct q2_task { void (*run)(struct q2_task *); struct q2_task *next; int error; };
struct q2_wait { struct q2_task *first, **end; };

/* What a host cluster is used for when not for data: nobody else may write there. */
enum q2_use {
	USE_DATA,
	USE_HEADER,
	USE_L1,
	USE_L2,
	USE_REFT,
	USE_REFBLOCK,
	USE_SNAPSHOTS,
	USE_OLD_L1
};

/* --- slices --- */
struct q2_slice {
	struct block_req req;
	struct iovec iov;
	struct q2_cache *cache;
	uint64_t offset;
	uint8_t *data;          /* big-endian, as on the disk */
	bool loading, dirty;
	bool used;              /* has stood in front since it was last looked at for eviction */
	unsigned writing;       /* a commit writes a copy: not to be evicted */
	struct q2_wait wait;
	struct q2_slice *newer, *older;         /* by age */
};
struct q2_cache {
	struct q2 *q;
	GHashTable *slices;     /* offset / slice size → slice */
	/* Those used last, by the low bits of that, in few cache lines. */
	struct q2_front { uint64_t offset; uint8_t *data; } front[Q2_FRONT];
	struct q2_slice *newest, *oldest;
	unsigned n, max, dirty_n;
	enum q2_use use;
};

/* --- tables in memory --- */
#define Q2_CHUNK 512u                   /* entries that are written together */
struct q2_table {
	uint64_t *e;            /* host order */
	uint32_t n;
	uint64_t offset, clusters;
	uint8_t *dirty;         /* per chunk */
	unsigned dirty_n;
};

enum q2_kind { KIND_HOLE, KIND_ZERO, KIND_DATA, KIND_COMPRESSED };
struct q2_extent {
	enum q2_kind kind;
	uint64_t len;           /* bytes of the disk */
	uint64_t host;          /* data: of the first byte; compressed: the entry */
	uint64_t entry;         /* the first L2 entry */
	bool in_place;          /* data: one reference only */
};

struct q2_req;
/* A write to clusters that must be allocated, from getting them until they are linked. */
struct q2_alloc {
	struct q2_task task;
	struct q2_req *req;
	uint64_t first, n;      /* guest clusters */
	uint64_t host;          /* of the first */
	uint64_t linked;        /* clusters done */
	bool reuse;             /* the cluster was allocated already, reading as zeroes */
	bool fresh;             /* never written: reads as zeroes */
	uint64_t from, to;      /* the part of the request, guest bytes */
	unsigned pending;
	bool copied;            /* edges are read, data goes out */
	int error;
	uint64_t cow;           /* bytes held */
	uint8_t *edge[2];       /* head, tail as they were before; NULL: zeroes or none */
	struct q2_wait wait;
	struct q2_alloc *next, **prev;
};

/* A place in the order in which requests came, until they end. */
struct q2_turn { uint64_t epoch; struct q2_turn *older, *newer; };

/* A request of the guest, or one of our own (cow reads, resize). */
struct q2_req {
	struct q2_task task;
	struct q2 *q;
	struct block_req *guest;        /* NULL: own */
	void (*own_done)(struct q2_req *, int error);
	void *own_arg;
	enum block_op op;
	unsigned flags;
	uint64_t off, end, pos;
	const struct iovec *iov;
	unsigned iov_n;
	struct iovec own_iov;
	unsigned pending;       /* children and allocations */
	unsigned work;          /* L2 entries changed since others had their turn */
	bool walked;            /* over the whole range */
	int error;
	struct q2_turn turn;
};

struct q2_free { uint64_t first, n; };  /* host clusters that lose one reference */
struct q2_batch {
	GArray *list;
	uint64_t epoch;
	unsigned at, pending;
	bool failed;
	struct q2_batch *next;
};

/* One that goes the short way (qcow2_short.c). */
struct q2_short {
	struct block_req req;
	struct block_req *guest;
	struct q2 *q;
	union {
		struct q2_turn turn;
		struct q2_short *next;  /* free */
	};
};

struct q2_commit;
struct q2_zip;

struct q2 {
	struct block block;
	uint32_t cluster, slice;        /* bytes */
	unsigned bits, l2_bits;         /* of a cluster; of the entries of an L2 table */
	unsigned ref_order, ref_bits; /* a count has 2^order bits; a block has 2^ref_bits counts */
	bool writable, corrupt, repaired, lazy, punch, v3, closing, resizing, opened;

	/* requests; these and those above are what each one touches */
	struct q2_turn *oldest, *newest;
	uint64_t epoch;
	struct q2_short *short_free;
	struct q2_alloc *allocs;
	struct q2_batch *durable, **durable_end;        /* committed, oldest first */
	struct q2_table l1, reft;
	struct q2_cache l2, refs;
	GHashTable *uses;               /* host cluster → enum q2_use */
	struct q2_zip *zip;
	uint8_t *zeroes;                /* 64 KiB */

	/* tasks to run when the present one returns; on the loop's next turn */
	struct q2_wait ready, later;
	bool running, posted;

	/* allocation */
	uint64_t cow_bytes;
	struct q2_wait cow_wait;
	uint64_t hint;                  /* host cluster to look at next */
	uint64_t fresh; /* host bytes from here on were never written; UINT64_MAX: can't say */
	GArray *freed;                  /* clusters known to be free, below hint */
	bool making_l2, making_refs;
	struct q2_wait l2_wait, refs_wait;

	/* commits */
	struct q2_commit *commit;       /* running */
	struct q2_wait commit_next;     /* want one that begins after now */
	struct q2_wait room_wait;       /* for a slot in a cache */
	bool force_refs;                /* lazy: write counts too */
	bool exclusive; /* a commit, or a change of the tables' places, is under way */
	struct q2_wait exclusive_wait;
	GArray *frees;                  /* struct q2_free of the present epoch */
	struct q2_task release;
	bool releasing;
	struct loop_timer timer;        /* background commit */
	bool timer_set, quiet;
	bool head_writing, head_again;
	struct q2_wait head_wait, head_next;

	struct image_info info;
	uint8_t head[Q2_HEAD];
	uint64_t uses_filter[Q2_FILTER / 64];   /* by the cluster's low bits: clear, when none of them is in uses */
};

/* qcow2_cache.c: tasks and slices */
void q2_wait_init(struct q2_wait *);
void q2_wait_on(struct q2_wait *, struct q2_task *);
void q2_wake(struct q2 *, struct q2_wait *, int error);
void q2_ready(struct q2 *, struct q2_task *);           /* run it soon */
void q2_run(struct q2 *); /* runs what is ready; not from inside submit */
void q2_later(struct q2 *, struct q2_task *);           /* when the loop has seen to others */
void q2_cache_init(struct q2_cache *, struct q2 *, enum q2_use, unsigned max);
void q2_cache_finish(struct q2_cache *);
int q2_slice_get(struct q2_cache *, uint64_t offset, struct q2_task *, struct q2_slice **out);
/* What stands at an offset, if that slice is in memory, else NULL: nobody waits. */
const uint8_t *q2_slice_peek(struct q2_cache *, uint64_t offset);
/* A slice known to be zeroes, without reading. */
int q2_slice_new(struct q2_cache *, uint64_t offset, struct q2_task *, struct q2_slice **out);
void q2_slice_dirty(struct q2_slice *);
void q2_cache_drop(struct q2_cache *, uint64_t offset, uint64_t len);

/* qcow2_refs.c: reference counts, allocation */
int q2_ref(struct q2 *, uint64_t cluster, struct q2_task *, uint64_t *count);
int q2_ref_set(struct q2 *, uint64_t cluster, uint64_t count, struct q2_task *);
/* 1..want clusters in a row, counted once each. */
int q2_clusters(struct q2 *, uint64_t want, struct q2_task *, uint64_t *first, uint64_t *got);
uint64_t q2_count_at(const uint8_t *data, unsigned order, uint64_t i);
void q2_count_put(uint8_t *data, unsigned order, uint64_t i, uint64_t v);
bool q2_table_init(struct q2_table *, uint64_t offset, uint32_t n, uint64_t clusters);
void q2_table_finish(struct q2_table *);
void q2_table_set(struct q2_table *, uint32_t i, uint64_t v);

/* qcow2_extend.c: room for tables at the end, counted once, with reference blocks of its own. The caller holds exclusive
 * and making_refs, and reft is clean. */
void q2_extend(struct q2 *, uint64_t clusters, void (*done)(void *arg, int error, uint64_t first),
	void *arg);

/* qcow2_map.c */
int q2_map(struct q2 *, uint64_t pos, uint64_t len, struct q2_task *, struct q2_extent *out);
int q2_l2_writable(
	struct q2 *, uint64_t pos, struct q2_task *); /* there is an L2 table of our own for pos */
int q2_entry(
	struct q2 *, uint64_t pos, struct q2_task *, struct q2_slice **slice, uint64_t **entry);
/* The same, from what is in memory: false when something must be read first, or looked at more closely. */
bool q2_map_now(struct q2 *, uint64_t pos, uint64_t len, struct q2_extent *out);
/* The clusters that an L2 entry points at lose a reference, at the next commit. */
void q2_free_entry(struct q2 *, uint64_t entry);
uint64_t q2_zip_range(
	const struct q2 *, uint64_t entry, uint64_t *len); /* compressed cluster: where, how long */

/* qcow2_short.c: false when the request must go the long way. */
bool q2_short_submit(struct q2 *, struct block_req *);
void q2_short_finish(struct q2 *);

/* qcow2_io.c, qcow2_write.c */
void q2_submit(struct block *, struct block_req *);
void q2_turn_begin(struct q2 *, struct q2_turn *);
void q2_turn_end(struct q2 *, struct q2_turn *);
void q2_own_request(struct q2_req *, struct q2 *, enum block_op, unsigned flags, uint64_t off,
	uint64_t len, void *buf, void (*done)(struct q2_req *, int error), void *arg);
void q2_req_end(struct q2_req *, int error);            /* a part of it ended */
void q2_child(struct q2_req *, struct q2_alloc *, struct block *to, enum block_op, uint64_t host,
	uint64_t at, uint64_t len);
int q2_step_write(struct q2_req *);
int q2_step_zero(struct q2_req *);
void q2_alloc_part_done(struct q2_alloc *, int error);
struct q2_alloc *q2_alloc_at(struct q2 *, uint64_t first, uint64_t last);
uint64_t q2_backed(const struct q2 *); /* bytes of the disk that the backing image holds */

/* qcow2_commit.c */
void q2_flush(struct q2 *, struct q2_task *); /* task runs when all that is so now is on the disk */
void q2_need_room(
	struct q2 *, struct q2_cache *, struct q2_task *); /* a commit that makes slots free */
bool q2_take_exclusive(struct q2 *, struct q2_task *);  /* false: the task waits */
void q2_drop_exclusive(struct q2 *);
void q2_touch(struct q2 *); /* something became dirty: commit in a while */
int q2_commit_sync(struct q2 *);                        /* for close */
void q2_on_timer(void *);

/* qcow2_free.c */
void q2_free(struct q2 *, uint64_t first, uint64_t n);
void q2_free_durable(struct q2 *, GArray *list, uint64_t epoch);
void q2_release(struct q2 *);                           /* perhaps something can be used again */
int q2_release_sync(struct q2 *);

/* qcow2_header.c */
bool q2_open_tables(struct q2 *, GError **err);
/* fn for each internal snapshot, blocking; *bytes: length of their table. */
bool q2_each_snapshot(struct q2 *,
	bool (*fn)(struct q2 *, uint64_t l1_offset, uint32_t l1_size, void *arg, GError **err),
	void *arg, uint64_t *bytes, GError **err);
int q2_head_sync(struct q2 *);
int q2_head_write(struct q2 *,
	struct q2_task *); /* 0: no; -EAGAIN: the task is run when it is written and flushed */
void q2_head_set(struct q2 *, unsigned at, unsigned bytes, uint64_t v);
void q2_set_corrupt(struct q2 *, const char *why, uint64_t offset);
enum q2_use q2_use(const struct q2 *, uint64_t cluster);
void q2_use_set(struct q2 *, uint64_t first, uint64_t n, enum q2_use);
/* May [off, off + len) be written for that use? false: the image is now marked corrupt. */
bool q2_may_write(struct q2 *, uint64_t off, uint64_t len, enum q2_use);

/* qcow2_repair.c */
bool q2_repair(struct q2 *, GError **err); /* reference counts anew; blocking, at open */

/* qcow2_zip.c */
struct q2_zip *q2_zip_new(struct q2 *);
void q2_zip_free(struct q2_zip *);
void q2_zip_forget(struct q2_zip *);
/* Reads [at, at + len) of the request out of a compressed cluster; counts as a part of it. */
void q2_zip_read(struct q2_req *, uint64_t entry, uint64_t at, uint64_t len);

/* qcow2_resize.c */
void q2_resize(struct q2 *, struct block_req *);

static inline uint64_t q2_be(const uint64_t *p) { return GUINT64_FROM_BE(*p); }
