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
#define BITS_PER_LONG (8 * sizeof(long))

/* Address space for a piece, 2 MiB-aligned, then the memory itself over it. MAP_FAILED and errno on failure. */
static uint8_t *map_piece(int fd, uint64_t size, uint64_t offset)
{
	int share = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	uint8_t *space, *host;
	uint64_t slack;

	space = mmap(NULL, size + RAM_HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (space == MAP_FAILED)
		return MAP_FAILED;
	slack = -(uintptr_t)space & (RAM_HUGE - 1);
	host = mmap(space + slack, size, PROT_READ | PROT_WRITE, share | MAP_NORESERVE | MAP_FIXED, fd,
		fd < 0 ? 0 : (off_t)offset);
	if (host == MAP_FAILED) {
		int saved = errno;

		munmap(space, size + RAM_HUGE);
		errno = saved;
		return MAP_FAILED;
	}
	if (slack)
		munmap(space, slack);
	munmap(host + size, RAM_HUGE - slack);
	/* Advice: a kernel without one of them costs speed or dump size, no more. */
	(void)madvise(host, size, MADV_HUGEPAGE);
	(void)madvise(host, size, MADV_DONTFORK);
	(void)madvise(host, size, MADV_DONTDUMP);
	return host;
}

static bool init(struct ram *ram, int fd, uint64_t size, GError **err)
{
	uint64_t low = MIN(size, RAM_HOLE_START);

	*ram = (struct ram){ .fd = fd, .size = size, .total = size };
	ram->pieces[0] = (struct ram_piece){ .gpa = 0, .size = low };
	ram->pieces[1] = (struct ram_piece){ .gpa = RAM_HOLE_END, .size = size - low, .offset = low };
	for (unsigned i = 0; i < RAM_BOOT_PIECES; i++) {
		struct ram_piece *p = &ram->pieces[i];

		if (!p->size)
			continue;
		p->host = map_piece(fd, p->size, i ? low : 0);
		if (p->host == MAP_FAILED) {
			int saved = errno;

			p->host = NULL;
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
	for (unsigned i = 0; i < G_N_ELEMENTS(ram->pieces); i++)
		if (ram->pieces[i].host)
			munmap(ram->pieces[i].host, ram->pieces[i].size);
	if (ram->fd >= 0)
		close(ram->fd);
	g_free(ram->dirty);
	*ram = (struct ram){ .fd = -1 };
}

static bool file_holds(const struct ram *ram, uint64_t end, GError **err)
{
	struct stat st;

	if (ram->fd < 0)
		return true;
	if (fstat(ram->fd, &st) < 0)
		return kerr_errno(err, errno, "guest memory descriptor");
	return (st.st_size >= 0 && (uint64_t)st.st_size >= end) || kerr_set(err, KERR_ARGS, "guest memory file has %lld bytes, the machine needs %"
		G_GUINT64_FORMAT, (long long)st.st_size, end);
}

/* An empty place for a region: one that was left, or a new one. */
static int place_for(struct ram *ram, uint64_t size, uint64_t align, GError **err)
{
	uint64_t end = RAM_HOLE_END, pages = ram->total / RAM_PAGE, more = size / RAM_PAGE;
	unsigned long *dirty;

	for (int i = 0; i < RAM_PIECES; i++) {
		struct ram_piece *p = &ram->pieces[i];

		if (i >= RAM_BOOT_PIECES && p->size == size && !p->host)
			return i;
		if (p->size)
			end = MAX(end, p->gpa + p->size);
		if (i < RAM_BOOT_PIECES || p->size)
			continue;
		if (!file_holds(ram, ram->total + size, err))
			return -1;
		end = (end + align - 1) & ~(align - 1);
		if (end > RAM_MAX - size || ram->total > RAM_MAX - size) {
			kerr_set(err, KERR_LIMIT, "memory above 64 TiB");
			return -1;
		}
		if (ram->dirty) {
			dirty = g_new0(unsigned long, (pages + more) / BITS_PER_LONG + 1);
			memcpy(dirty, ram->dirty, (pages + BITS_PER_LONG - 1) / BITS_PER_LONG * sizeof(long));
			g_free(ram->dirty);
			ram->dirty = dirty;
		}
		*p = (struct ram_piece){ .gpa = end, .size = size, .offset = ram->total };
		ram->total += size;
		return i;
	}
	kerr_set(err, KERR_LIMIT, "more than %d memory devices", RAM_PIECES - RAM_BOOT_PIECES);
	return -1;
}

int ram_add(struct ram *ram, uint64_t size, uint64_t align, GError **err)
{
	int i;
	uint8_t *host;

	if (!size_ok(size, err))
		return -1;
	i = place_for(ram, size, MAX(align, RAM_PAGE), err);
	if (i < 0)
		return -1;
	host = map_piece(ram->fd, size, ram->pieces[i].offset);
	if (host == MAP_FAILED) {
		kerr_errno(err, errno, "map %" G_GUINT64_FORMAT " MiB of guest memory", size >> 20);
		return -1;
	}
	ram->pieces[i].host = host;
	return i;
}

void ram_remove(struct ram *ram, int i)
{
	struct ram_piece *p = &ram->pieces[i];

	g_assert(i >= RAM_BOOT_PIECES && i < RAM_PIECES && p->host);
	/* whoever comes next finds zeroes, and until then it costs nothing */
	(void)madvise(p->host, p->size, ram->fd >= 0 ? MADV_REMOVE : MADV_DONTNEED);
	munmap(p->host, p->size);
	p->host = NULL;
}

/* The piece that holds all of [gpa, gpa + len); NULL: none does. */
static const struct ram_piece *piece_of(const struct ram *ram, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(ram->pieces); i++) {
		const struct ram_piece *p = &ram->pieces[i];

		if (gpa >= p->gpa && gpa - p->gpa <= p->size && len <= p->size - (gpa - p->gpa))
			return p->host ? p : NULL;
	}
	return NULL;
}

void *ram_host(const struct ram *ram, uint64_t gpa, uint64_t len)
{
	const struct ram_piece *p = piece_of(ram, gpa, len);

	return p && len ? p->host + (gpa - p->gpa) : NULL;
}

void ram_mark(struct ram *ram, uint64_t gpa, uint64_t len)
{
	const struct ram_piece *p;
	uint64_t first, last;

	if (!ram->dirty || !len)
		return;
	p = piece_of(ram, gpa, len);
	g_assert(p);
	first = gpa - p->gpa + p->offset;
	last = (first + len - 1) / RAM_PAGE;
	for (uint64_t page = first / RAM_PAGE; page <= last; page++)
		__atomic_fetch_or(&ram->dirty[page / BITS_PER_LONG], 1ul << page % BITS_PER_LONG, __ATOMIC_RELAXED);
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
