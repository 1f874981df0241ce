/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the leaves on a descriptor (uring, threads) have in common: sizes, alignment for O_DIRECT, zeroes and holes, short
 * transfers. They differ in the engine that carries out one system call.
 */
#pragma once
#include "devices/block_driver.h"

#define FILE_BOUNCE (1u << 20)  /* bytes of a bounce buffer, at most */
#define FILE_ALIGN_MAX 4096u

enum block_file_flags {
	BLOCK_FILE_GROWS = 1 << 0,      /* an image format stands on it */
	BLOCK_FILE_NO_SYNC = 1 << 1,    /* cache=unsafe: a flush does nothing */
};
struct block_file_config {
	const char *fd; /* name in the fdset; opened by the launcher, O_DIRECT where the cache mode
			   asks */
	unsigned flags;
	uint64_t offset, size;          /* a slice of it; size 0: all */
};

enum file_call { FILE_READ, FILE_WRITE, FILE_SYNC, FILE_FALLOCATE };
struct file;

/* One request under way, and its present system call. */
struct file_op {
	struct block_req *req;
	struct file *file;
	/* the call, for the engine */
	enum file_call call;
	const struct iovec *iov;
	unsigned iov_n;
	uint64_t off, len;
	int mode;                       /* fallocate */
	bool dsync;                     /* write */
	int64_t result;                 /* threads: on the way back */
	struct file_op *next;           /* engine's queues; free list; parked */
	/* block_file.c's */
	enum file_way { WAY_DIRECT, WAY_BOUNCE, WAY_SYNC, WAY_PUNCH, WAY_ZERO_RANGE } way;
	unsigned step;
	uint64_t pos, chunk;            /* bytes of the request done; bytes in the present bounce */
	uint64_t lo, hi;                /* blocks touched */
	bool rmw, writes, sync_after;
	struct iovec *iov_own, one[2];
	void *bounce;
	struct file_op *active_next, **active_prev;
};

struct file_engine {
	/* Begins op's call; ends in file_call_done on the loop's thread, never from inside. */
	void (*start)(struct file *, struct file_op *);
};
struct file {
	struct block block;
	const struct file_engine *engine;
	int fd;
	bool in_memory; /* a file of tmpfs: quick transfers never wait for a device */
	bool regular, direct, slice, no_sync, no_punch, no_zero_range;
	uint32_t align, mem_align;      /* 1: anything goes */
	uint32_t hole_align;            /* of holes and zero ranges; found when one is refused */
	uint64_t offset;                /* of the slice */
	struct file_op *active, *parked, **parked_end, *free;
	unsigned free_n;
	unsigned rmw_n;                 /* active ones that read and write back edges */
};

bool file_open(struct file *, const struct block_file_config *, struct fdset *, GError **err);
int file_close(struct file *);
void file_submit(struct block *, struct block_req *);
int file_sync(struct block *, enum block_op, uint64_t off, void *buf, uint64_t n);
void file_info(struct block *, struct block_info *);
void file_measure(struct block *);
/* res: of the system call, or -errno. */
void file_call_done(struct file_op *, int64_t res);

static inline uint64_t file_down(uint64_t v, uint64_t align) { return v & ~(align - 1); }
static inline uint64_t file_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}
