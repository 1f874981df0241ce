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

struct ram_piece { uint64_t gpa, size; uint8_t *host; uint64_t offset; /* in the file */ };
struct ram {
	int fd;
	uint64_t size;                  /* bytes of RAM at boot, multiple of 4 KiB */
	uint64_t total;                 /* bytes of the file that are in use, regions included */
	struct ram_piece pieces[RAM_PIECES];    /* sorted; the second may be empty, those without host hold nobody's place */
	unsigned long *dirty;           /* bit per page of the file (not of GPA); NULL: not tracked. Set atomically */
};
/* Maps fd (taken over) of at least size bytes. *err: NO_MEMORY, ARGS. */
bool ram_init(struct ram *, int fd, uint64_t size, GError **err);
/* Private anonymous memory instead, for tests. */
bool ram_init_anon(struct ram *, uint64_t size, GError **err);
void ram_finish(struct ram *);
/* One more region of the file, above all others, at a multiple of align (a power of two): the number of its piece, -1 and
 * *err (LIMIT, ARGS, NO_MEMORY). Equal regions that are added again after ram_remove get their places again. Main thread;
 * vCPUs and loops do not use guest memory meanwhile. */
int ram_add(struct ram *, uint64_t size, uint64_t align, GError **err);
void ram_remove(struct ram *, int piece);
/* false when any byte is outside RAM; nothing is copied then. */
bool ram_read(const struct ram *, uint64_t gpa, void *to, uint64_t len);
bool ram_write(struct ram *, uint64_t gpa, const void *from, uint64_t len);
bool ram_fill(struct ram *, uint64_t gpa, uint8_t byte, uint64_t len);
/* Host address of [gpa, gpa + len) when it lies in one piece, else NULL. For zero-copy I/O and atomics: the guest changes it
 * at any time; read once, and ram_mark what was written. */
void *ram_host(const struct ram *, uint64_t gpa, uint64_t len);
void ram_mark(struct ram *, uint64_t gpa, uint64_t len);
