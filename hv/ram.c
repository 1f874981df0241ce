/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest RAM: one memfd, mapped in two pieces (below the hole under 4 GiB, and from 4 GiB on) at host addresses that are as
 * 2 MiB-aligned as the guest's, so that huge pages fit both. Nothing is touched before the guest does: a machine costs
 * what it uses. Every access is checked against the pieces with arithmetic that cannot wrap; stores mark pages dirty,
 * because KVM's log sees only what vCPUs store.
 */
#include "hv/ram.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "domain/error.h"

#define RAM_PAGE 4096ull
#define RAM_HUGE (2ull << 20)
#define RAM_MAX (1ull << 46)
#define TRACK_MORE (64ull << 30)        /* bytes of guest memory: 2 MiB of bits */
#define BITS_PER_LONG (8 * sizeof(long))

/* Address space, 2 MiB-aligned. NULL and errno on failure. */
static uint8_t *reserve(uint64_t room)
{
	uint8_t *space = mmap(NULL, room + RAM_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t slack = -(uintptr_t)space & (RAM_HUGE - 1);

	if (space == MAP_FAILED)
		return NULL;
	if (slack)
		munmap(space, slack);
	munmap(space + slack + room, RAM_HUGE - slack);
	return space + slack;
}

/* Memory over the beginning of a place. NULL and errno on failure: what was there is there. */
static uint8_t *map_over(uint8_t *base, int fd, uint64_t size, uint64_t offset)
{
	int share = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	uint8_t *host = mmap(base, size, PROT_READ | PROT_WRITE, share | MAP_NORESERVE | MAP_FIXED, fd, fd < 0 ? 0 : (off_t)offset);

	if (host == MAP_FAILED)
		return NULL;
	/* Advice: a kernel without one of them costs speed or dump size, no more. */
	(void)madvise(host, size, MADV_HUGEPAGE);
	(void)madvise(host, size, MADV_DONTFORK);
	(void)madvise(host, size, MADV_DONTDUMP);
	return host;
}

static uint8_t *map_piece(int fd, uint64_t size, uint64_t offset)
{
	uint8_t *base = reserve(size), *host = base ? map_over(base, fd, size, offset) : NULL;
	int saved = errno;

	if (base && !host)
		munmap(base, size);
	errno = saved;
	return host;
}

static size_t bitmap_bytes(uint64_t pages)
{
	return (pages / BITS_PER_LONG + 1) * sizeof(long);
}

static bool init(struct ram *ram, int fd, uint64_t size, GError **err)
{
	uint64_t low = MIN(size, RAM_HOLE_START);

	*ram = (struct ram){ .fd = fd, .size = size, .total = size };
	ram->pieces[0] = (struct ram_piece){ .gpa = 0, .size = low, .fd = -1 };
	ram->pieces[1] = (struct ram_piece){ .gpa = RAM_HOLE_END, .size = size - low, .offset = low, .fd = -1 };
	for (unsigned i = 0; i < RAM_BOOT_PIECES; i++) {
		struct ram_piece *p = &ram->pieces[i];

		if (!p->size)
			continue;
		p->host = map_piece(fd, p->size, i ? low : 0);
		if (!p->host) {
			int saved = errno;

			ram_finish(ram);
			return kerr_errno(err, saved, "map %" G_GUINT64_FORMAT " MiB of guest memory", size >> 20);
		}
	}
	return true;
}

static bool size_ok(uint64_t size, GError **err)
{
	if (size && size % RAM_PAGE == 0 && size <= RAM_MAX)
		return true;
	return kerr_set(err, KERR_ARGS, "guest memory of %" G_GUINT64_FORMAT " bytes: must be a multiple of 4 KiB, at most 64 TiB",
		size);
}

bool ram_init(struct ram *ram, int fd, uint64_t size, GError **err)
{
	struct stat st;

	*ram = (struct ram){ .fd = -1 };
	if (!size_ok(size, err))
		goto fail;
	if (fstat(fd, &st) < 0) {
		kerr_errno(err, errno, "guest memory descriptor");
		goto fail;
	}
	if (st.st_size < 0 || (uint64_t)st.st_size < size) {
		kerr_set(err, KERR_ARGS, "guest memory file has %lld bytes, the machine needs %" G_GUINT64_FORMAT,
			(long long)st.st_size, size);
		goto fail;
	}
	return init(ram, fd, size, err);        /* closes fd on failure */
fail:
	if (fd >= 0)
		close(fd);
	return false;
}

bool ram_init_anon(struct ram *ram, uint64_t size, GError **err)
{
	*ram = (struct ram){ .fd = -1 };
	return size_ok(size, err) && init(ram, -1, size, err);
}

void ram_finish(struct ram *ram)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(ram->pieces); i++) {
		struct ram_piece *p = &ram->pieces[i];

		if (p->base)
			munmap(p->base, p->room);
		else if (p->host)
			munmap(p->host, p->size);
		if (p->host && p->fd >= 0)
			close(p->fd);
	}
	if (ram->fd >= 0)
		close(ram->fd);
	if (ram->dirty != ram->kept)
		g_free(ram->dirty);     /* a test's */
	if (ram->kept)
		munmap(ram->kept, bitmap_bytes(ram->kept_pages));
	*ram = (struct ram){ .fd = -1 };
}

static bool file_holds(int fd, uint64_t end, GError **err)
{
	struct stat st;

	if (fd < 0)
		return true;
	if (fstat(fd, &st) < 0)
		return kerr_errno(err, errno, "guest memory descriptor");
	return (st.st_size >= 0 && (uint64_t)st.st_size >= end) || kerr_set(err, KERR_ARGS, "guest memory file has %lld bytes, the machine needs %"
		G_GUINT64_FORMAT, (long long)st.st_size, end);
}

/* A place that was left and fits. */
static struct ram_piece *place_left(struct ram *ram, uint64_t size, uint64_t align, int fd)
{
	for (unsigned i = RAM_BOOT_PIECES; i < RAM_PIECES; i++) {
		struct ram_piece *p = &ram->pieces[i];

		/* a part of the machine's file is as large as it was */
		if (p->base && !p->host && p->gpa % align == 0 && (fd >= 0 ? p->room >= size : p->room == size && file_holds(ram->fd, p->offset + size, NULL)))
			return p;
	}
	return NULL;
}

static struct ram_piece *place_new(struct ram *ram, uint64_t size, uint64_t align, int fd, GError **err)
{
	/* what is left up to the next region's beginning would be nobody's */
	uint64_t end = RAM_HOLE_END, room = fd < 0 ? size : (size + align - 1) & ~(align - 1);
	struct ram_piece *p = &ram->pieces[1];
	uint8_t *base;

	for (unsigned i = 1; i < RAM_PIECES; i++) {
		p = &ram->pieces[i];
		if (i >= RAM_BOOT_PIECES && !p->base)
			break;
		if (p->size)
			end = MAX(end, p->gpa + MAX(p->room, p->size));
	}
	if (p->base)
		return kerr_set(err, KERR_LIMIT, "more than %d memory devices, or no place for one of this size was left by those that have gone",
			RAM_PIECES - RAM_BOOT_PIECES), NULL;
	end = (end + align - 1) & ~(align - 1);
	if (room < size || room > RAM_MAX || end > RAM_MAX - room || ram->total > RAM_MAX - room)
		return kerr_set(err, KERR_LIMIT, "memory above 64 TiB"), NULL;
	if (fd < 0 && !file_holds(ram->fd, ram->total + size, err))
		return NULL;
	if (ram->dirty && (ram->total + room) / RAM_PAGE > ram->kept_pages)     /* others write to it: it stays where it is */
		return kerr_set(err, KERR_BUSY, "the machine's writes to memory are being counted: try again when that has ended"), NULL;
	base = reserve(room);
	if (!base)
		return kerr_errno(err, errno, "find room for %" G_GUINT64_FORMAT " MiB of guest memory", size >> 20), NULL;
	*p = (struct ram_piece){ .gpa = end, .size = size, .offset = ram->total, .fd = -1, .base = base, .room = room };
	ram->total += room;
	return p;
}

int ram_add(struct ram *ram, uint64_t size, uint64_t align, int fd, GError **err)
{
	struct ram_piece *p = NULL;
	uint8_t *host = NULL;

	align = MAX(align, RAM_PAGE);
	if (size_ok(size, err) && file_holds(fd, size, err)) {
		p = place_left(ram, size, align, fd);
		if (!p)
			p = place_new(ram, size, align, fd, err);
	}
	if (p) {
		host = map_over(p->base, fd >= 0 ? fd : ram->fd, size, fd >= 0 ? 0 : p->offset);
		if (!host)
			kerr_errno(err, errno, "map %" G_GUINT64_FORMAT " MiB of guest memory", size >> 20);
	}
	if (!host) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	p->size = size;
	p->fd = fd;
	p->node = 0;
	__atomic_store_n(&p->host, host, __ATOMIC_RELEASE);
	return (int)(p - ram->pieces);
}

void ram_remove(struct ram *ram, int i)
{
	struct ram_piece *p = &ram->pieces[i];

	g_assert(i >= RAM_BOOT_PIECES && i < RAM_PIECES && p->host);
	/* whoever comes next finds zeroes, and until then it costs nothing */
	(void)madvise(p->host, p->size, ram_discard_advice(ram));
	__atomic_store_n(&p->host, NULL, __ATOMIC_SEQ_CST);
	/* Not unmapped: a device may be writing there for a guest that gave away what it had given it. Should it fail, the region's
	 * own memory stays there, which does as well. */
	(void)mmap(p->base, p->room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

int ram_discard_advice(const struct ram *ram)
{
	return ram->fd >= 0 ? MADV_REMOVE : MADV_DONTNEED;
}

bool ram_track(struct ram *ram, bool on, GError **err)
{
	/* with room for regions that come meanwhile; what is not touched costs nothing */
	uint64_t pages = (ram->total * 2 + TRACK_MORE) / RAM_PAGE;

	if (!on) {
		__atomic_store_n(&ram->dirty, NULL, __ATOMIC_SEQ_CST);
		/* address space stays: somebody may be about to set a bit */
		if (ram->kept)
			(void)madvise(ram->kept, bitmap_bytes(ram->kept_pages), MADV_DONTNEED);
		return true;
	}
	if (!ram->kept || ram->kept_pages < ram->total / RAM_PAGE) {
		/* a smaller one from before is left where it is, for the same reason: as many as there are regions at most */
		void *bits = mmap(NULL, bitmap_bytes(pages), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

		if (bits == MAP_FAILED)
			return kerr_errno(err, errno, "note which of %" G_GUINT64_FORMAT " pages are written", pages);
		ram->kept = bits;
		ram->kept_pages = pages;
	} else {
		(void)madvise(ram->kept, bitmap_bytes(ram->kept_pages), MADV_DONTNEED);
	}
	__atomic_store_n(&ram->dirty, ram->kept, __ATOMIC_SEQ_CST);
	return true;
}

void ram_tracked(const struct ram *ram, unsigned piece, unsigned long *bits)
{
	const struct ram_piece *p = &ram->pieces[piece];
	uint64_t first = p->offset / RAM_PAGE, n = p->size / RAM_PAGE;

	for (uint64_t at = 0; ram->dirty && at < n; at += BITS_PER_LONG) {
		uint64_t from = first + at, shift = from % BITS_PER_LONG, left = n - at;
		unsigned long word = __atomic_load_n(&ram->dirty[from / BITS_PER_LONG], __ATOMIC_RELAXED) >> shift;

		if (shift && left > BITS_PER_LONG - shift)
			word |= __atomic_load_n(&ram->dirty[from / BITS_PER_LONG + 1], __ATOMIC_RELAXED) << (BITS_PER_LONG - shift);
		if (left < BITS_PER_LONG)
			word &= (1ul << left) - 1;      /* others' pages follow */
		bits[at / BITS_PER_LONG] |= word;
	}
}

/* The piece that holds all of [gpa, gpa + len); NULL: none does. */
static const struct ram_piece *piece_of(const struct ram *ram, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(ram->pieces); i++) {
		const struct ram_piece *p = &ram->pieces[i];

		if (__atomic_load_n(&p->host, __ATOMIC_ACQUIRE) && gpa >= p->gpa && gpa - p->gpa <= p->size && len <= p->size - (gpa - p->gpa))
			return p;
	}
	return NULL;
}

void *ram_host(const struct ram *ram, uint64_t gpa, uint64_t len)
{
	const struct ram_piece *p = piece_of(ram, gpa, len);

	/* a region's memory is at its base also when it goes just now */
	return p && len ? (p->base ? p->base : p->host) + (gpa - p->gpa) : NULL;
}

void ram_mark(struct ram *ram, uint64_t gpa, uint64_t len)
{
	unsigned long *dirty = __atomic_load_n(&ram->dirty, __ATOMIC_RELAXED);
	const struct ram_piece *p;
	uint64_t first, last;

	if (!dirty || !len)
		return;
	p = piece_of(ram, gpa, len);
	if (!p)
		return;         /* a region that has just gone */
	first = gpa - p->gpa + p->offset;
	last = (first + len - 1) / RAM_PAGE;
	for (uint64_t page = first / RAM_PAGE; page <= last; page++)
		__atomic_fetch_or(&dirty[page / BITS_PER_LONG], 1ul << page % BITS_PER_LONG, __ATOMIC_RELAXED);
}

bool ram_read(const struct ram *ram, uint64_t gpa, void *to, uint64_t len)
{
	const void *host = ram_host(ram, gpa, len);

	if (!host)
		return !len && piece_of(ram, gpa, 0);
	memcpy(to, host, len);
	return true;
}

bool ram_write(struct ram *ram, uint64_t gpa, const void *from, uint64_t len)
{
	void *host = ram_host(ram, gpa, len);

	if (!host)
		return !len && piece_of(ram, gpa, 0);
	memcpy(host, from, len);
	ram_mark(ram, gpa, len);
	return true;
}

bool ram_fill(struct ram *ram, uint64_t gpa, uint8_t byte, uint64_t len)
{
	void *host = ram_host(ram, gpa, len);

	if (!host)
		return !len && piece_of(ram, gpa, 0);
	memset(host, byte, len);
	ram_mark(ram, gpa, len);
	return true;
}
