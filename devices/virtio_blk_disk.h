/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside of disks: shared by virtio_blk.c (life, registers, state) and virtio_blk_io.c (requests). */
#pragma once
#include "devices/block_driver.h"
#include "devices/virtio.h"
#include "domain/disk.h"
#include "hv/stats.h"

/* virtio 1.2, 5.2.3 */
#define BLK_F_SIZE_MAX (1ull << 1)
#define BLK_F_SEG_MAX (1ull << 2)
#define BLK_F_RO (1ull << 5)
#define BLK_F_BLK_SIZE (1ull << 6)
#define BLK_F_FLUSH (1ull << 9)
#define BLK_F_TOPOLOGY (1ull << 10)
#define BLK_F_CONFIG_WCE (1ull << 11)
#define BLK_F_MQ (1ull << 12)
#define BLK_F_DISCARD (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

#define BLK_SECTOR 512u
#define BLK_RANGES_MAX 64u                  /* of one discard or write-zeroes */
#define BLK_TELL_NS 1000000000ll            /* errors that stop nothing are told at most so often */

struct blk_range { uint64_t sector; uint32_t sectors, flags; };
G_STATIC_ASSERT(sizeof(struct blk_range) == 16);

/* config registers, 5.2.4 */
struct blk_space {
	uint64_t capacity;              /* sectors */
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_zeroes_sectors, max_zeroes_seg;
	uint8_t zeroes_may_unmap, unused1[3];
} __attribute__((packed));
G_STATIC_ASSERT(sizeof(struct blk_space) == 60);

struct blk;

/* The loop's. */
struct request {
	struct block_req io;
	struct chain chain;
	struct virtq *q;
	struct request *next;           /* free, or failed */
	struct iovec *own;              /* segments, where the chain's do not fit */
	struct blk_range *ranges;       /* discard, write zeroes */
	unsigned ranges_n, range;
};

struct blk_queue {
	struct blk *b;
	struct virtq *q;
	struct block_kick signal;       /* once per batch */
	unsigned inflight;              /* at the chain; loop */
	struct done *drain;             /* ends when it is none; loop */
};

enum blk_stop { BLK_STOP_FAILED = 1, BLK_STOP_CHANGE = 2, BLK_STOP_AGAIN = 4 /* it went on during a change: try what failed after it */ };

struct blk_change;
struct blk {
	struct virtio virtio;
	struct block *block;
	uint64_t *stats;                /* slot of the statistics page; NULL: none */
	struct loop *loop;
	struct blk_queue *queues;       /* as many as virtio has */
	unsigned drains;                /* of the chain, not yet taken back; main */
	struct blk_change *change;      /* of the medium, under way; NULL: none; main */
	struct blk_space space;         /* dev->lock; .writeback also read by the loop, atomically */
	bool wce;                       /* the disk's own setting of .writeback */
	int on_error[2];                /* by "is it a write": enum disk_error_policy */
	/* loop */
	struct request *free, *failed, **failed_end;
	unsigned stopped;               /* enum blk_stop: takes no more until it goes on */
	bool empty;                     /* no medium is in it; also dev->lock to write */
	int64_t told;                   /* ns, the last error */
	int trouble;                    /* atomic; -errno of what is kept: virtio_blk_trouble() */
	/* waiting for the end: main waits, the loop signals */
	GMutex lock;
	GCond idle;
	int inflight;                   /* atomic; written by the loop only */
	int awaited;                    /* atomic: main wants to be told when it is 0; it looks now and then anyway */

	/* while saved */
	uint8_t saved_writeback;
	uint64_t saved_capacity;
};

static inline struct blk *blk_of(struct virtio *v)
{
	return (struct blk *)v;
}

static inline const struct disk *blk_config(const struct blk *b)
{
	return b->virtio.head.dev.config;
}

/* virtio_blk_io.c: ops of the device of these names */
void blk_ready(struct virtio *, struct virtq *);
void blk_drain(struct virtio *, struct virtq *, struct done *);
void blk_resumed(struct virtio *);
void blk_reset(struct virtio *);
/* Of a queue's .signal; arg: struct blk_queue. Loop. */
void blk_signal(void *arg);
/* Loop: one reason to stop is over. */
void blk_go_on_after(struct blk *, enum blk_stop);
/* What the chain holds, in sectors. */
uint64_t blk_sectors(const struct blk *);
/* virtio_blk_medium.c: has its chain no medium? */
bool blk_is_empty(const struct blk *);
/* Nothing is in flight, the drive goes away. Main. */
void blk_change_abandon(struct blk *);
