/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM: a memfd, sparse, mapped in one piece below the hole under 4 GiB and one above; regions of memory devices follow. The accessors are the only way
 * to guest memory outside the accelerator: bounded, copying, and they mark pages dirty. Any thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define RAM_HOLE_START 0xc0000000ull    /* 3 GiB */
#define RAM_HOLE_END 0x100000000ull     /* 4 GiB */

#define RAM_BOOT_PIECES 2       /* what is there when the guest boots */
#define RAM_PIECES 18           /* and regions of memory devices */

struct ram_piece {
	uint64_t gpa, size;
	uint8_t *host;                  /* NULL: nothing is there (now); published last, so that other threads may look at any time */
	uint64_t offset;                /* of its pages among all; in the file, where it is a part of that */
	int fd;                         /* a file of its own; -1: a part of the machine's */
	uint32_t node;                  /* of the guest; of memory devices */
	/* A region's place outlives it: whoever comes next and fits gets it. */
	uint8_t *base;                  /* NULL: no place */
	uint64_t room;
};
struct ram {
	int fd;
	uint64_t size;                  /* bytes of RAM at boot, multiple of 4 KiB */
	uint64_t total;                 /* bytes that have bits in `dirty`: RAM and the places of regions */
	struct ram_piece pieces[RAM_PIECES];    /* sorted; the second may be empty */
	unsigned long *dirty;           /* bit per page by its offset (not GPA); NULL: not tracked. Set atomically */
	unsigned long *kept;            /* `dirty` while it is not wanted, or the same; NULL: never was */
	uint64_t kept_pages;
};
/* Maps fd (taken over) of at least size bytes. *err: NO_MEMORY, ARGS. */
bool ram_init(struct ram *, int fd, uint64_t size, GError **err);
/* Private anonymous memory instead, for tests. */
bool ram_init_anon(struct ram *, uint64_t size, GError **err);
void ram_finish(struct ram *);
/*
 * One more region, above all others, at a multiple of align (a power of two): the number of its piece, -1 and *err (LIMIT,
 * ARGS, NO_MEMORY, BUSY: pages are tracked just now). fd: its file (taken over, also on failure); -1: the next part of the
 * machine's. Regions that are added after ram_remove get the first place that fits. Main thread; others may use memory meanwhile.
 */
int ram_add(struct ram *, uint64_t size, uint64_t align, int fd, GError **err);
/* The accelerator has it no more. Who still holds an address in it (a request in flight) finds memory there that is nobody's. */
void ram_remove(struct ram *, int piece);
/* Whether files stand behind a piece: such pages go back to the host by MADV_REMOVE, others by MADV_DONTNEED. */
int ram_discard_advice(const struct ram *);
/* Begins (all is clean) or ends to note which pages are written other than by vCPUs. false: *err. Main thread. */
bool ram_track(struct ram *, bool on, GError **err);
/* Adds what was noted of a piece to a bitmap of it (bit 0: its first page), as KVM's log is one. Main thread. */
void ram_tracked(const struct ram *, unsigned piece, unsigned long *bits);
/* false when any byte is outside RAM; nothing is copied then. */
bool ram_read(const struct ram *, uint64_t gpa, void *to, uint64_t len);
bool ram_write(struct ram *, uint64_t gpa, const void *from, uint64_t len);
bool ram_fill(struct ram *, uint64_t gpa, uint8_t byte, uint64_t len);
/* Host address of [gpa, gpa + len) when it lies in one piece, else NULL. For zero-copy I/O and atomics: the guest changes it
 * at any time; read once, and ram_mark what was written. */
void *ram_host(const struct ram *, uint64_t gpa, uint64_t len);
void ram_mark(struct ram *, uint64_t gpa, uint64_t len);
