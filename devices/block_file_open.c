/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files and block devices of the host: opening, and the blocking calls of open and close. */
#include "devices/block_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "domain/error.h"

/* What O_DIRECT takes, found by trying: asking would need system calls that the worker does without. */
static void probe_align(struct file *f)
{
	g_autofree char *mem = g_malloc(3 * FILE_ALIGN_MAX);
	char *buf = (char *)file_up((uintptr_t)mem, FILE_ALIGN_MAX);

	f->align = f->mem_align = FILE_ALIGN_MAX;
	if (lseek(f->fd, 0, SEEK_END) < (off_t)FILE_ALIGN_MAX)
		return;
	for (uint32_t a = 512; a < FILE_ALIGN_MAX; a *= 2) {
		if (pread(f->fd, buf, a, a) != (ssize_t)a)
			continue;
		f->align = a;
		break;
	}
	for (uint32_t a = 512; a < FILE_ALIGN_MAX; a *= 2) {
		if (pread(f->fd, buf + a, f->align, 0) != (ssize_t)f->align)
			continue;
		f->mem_align = a;
		break;
	}
}

bool file_open(struct file *f, const struct block_file_config *c, struct fdset *fds, GError **err)
{
	struct block *b = &f->block;
	struct stat st;
	struct statfs fs;
	off_t end;
	int flags;

	f->parked_end = &f->parked;
	f->fd = fdset_take(fds, c->fd, err);
	if (f->fd < 0)
		return false;
	flags = fcntl(f->fd, F_GETFL);
	end = lseek(f->fd, 0, SEEK_END);
	if (flags < 0 || end < 0 || fstat(f->fd, &st) < 0)
		return kerr_errno(err, errno, "look at image '%s'", c->fd);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return kerr_set(
			err, KERR_ARGS, "image '%s' is neither a file nor a block device", c->fd);
	if ((flags & O_ACCMODE) == O_WRONLY || ((flags & O_ACCMODE) == O_RDONLY && !b->readonly))
		return kerr_set(err, KERR_ACCESS, "image '%s' is open for %s only", c->fd,
			(flags & O_ACCMODE) == O_WRONLY ? "writing" : "reading");
	f->regular = S_ISREG(st.st_mode);
	f->in_memory = fstatfs(f->fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
	f->direct = flags & O_DIRECT;
	f->no_sync = c->flags & BLOCK_FILE_NO_SYNC;
	f->align = f->mem_align = f->hole_align = 1;
	if (f->direct)
		probe_align(f);
	/* direct writes over pages that a copy or conversion left in the cache can't be done without waiting: a thread would
	 * make each (io_uring); nobody reads them there any more */
	if (f->direct && f->regular && !b->readonly)
		(void)posix_fadvise(f->fd, 0, 0, POSIX_FADV_DONTNEED);
	f->offset = c->offset;
	f->slice = c->size;
	if (c->offset > (uint64_t)end || c->size > (uint64_t)end - c->offset)
		return kerr_set(
			err, KERR_ARGS, "the slice of image '%s' reaches beyond its end", c->fd);
	b->size = c->size ? c->size : (uint64_t)end - c->offset;
	/* also where a flush does nothing: a guest that knows no cache would have each write flushed through a format */
	b->can = BLOCK_CAN_WRITE | BLOCK_CAN_DISCARD | BLOCK_CAN_ZERO | BLOCK_CAN_FUA | BLOCK_CAN_CACHE;
	if (!c->size)
		b->can |= BLOCK_CAN_RESIZE;
	if (c->flags & BLOCK_FILE_GROWS && f->regular && !c->size)
		b->can |= BLOCK_CAN_GROW;
	return true;
}

int file_close(struct file *f)
{
	g_assert(!f->active && !f->parked);
	while (f->free) {
		struct file_op *op = f->free;

		f->free = op->next;
		g_free(op);
	}
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	return 0;
}

/* --- blocking, for open and close --- */

static int sync_move(struct file *f, bool write, uint64_t off, char *buf, uint64_t n)
{
	while (n) {
		ssize_t got = write ? pwrite(f->fd, buf, n, (off_t)off)
				    : pread(f->fd, buf, n, (off_t)off);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (!got && write)
			return -ENOSPC;
		if (!got || (f->direct && got & (f->align - 1))) {
			memset(buf + got, 0, n - (uint64_t)got);
			return 0;
		}
		buf += got;
		off += (uint64_t)got;
		n -= (uint64_t)got;
	}
	return 0;
}

/* By whole blocks on memory of our own. */
static int sync_bounce(struct file *f, bool write, uint64_t at, char *buf, uint64_t n)
{
	g_autofree char *mem = g_malloc(FILE_BOUNCE + FILE_ALIGN_MAX);
	char *bounce = (char *)file_up((uintptr_t)mem, FILE_ALIGN_MAX);
	int rc = 0;

	while (n && rc >= 0) {
		uint64_t lo = file_down(at, f->align), part = MIN(n, FILE_BOUNCE - (at - lo)),
			 hi = file_up(at + part, f->align);

		rc = write && lo == at && hi == at + part
			     ? 0
			     : sync_move(f, false, lo, bounce, hi - lo);
		if (rc < 0)
			break;
		if (write) {
			memcpy(bounce + (at - lo), buf, part);
			rc = sync_move(f, true, lo, bounce, hi - lo);
		} else {
			memcpy(buf, bounce + (at - lo), part);
		}
		at += part;
		buf += part;
		n -= part;
	}
	return rc;
}

int file_sync(struct block *b, enum block_op op, uint64_t off, void *buf, uint64_t n)
{
	struct file *f = (struct file *)b;
	uint64_t at = f->offset + off;
	int rc = 0;

	switch (op) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		if (off > BLOCK_SIZE_MAX || n > BLOCK_SIZE_MAX - off)
			return -EINVAL;
		rc = f->direct ? sync_bounce(f, op == BLOCK_WRITE, at, buf, n)
			       : sync_move(f, op == BLOCK_WRITE, at, buf, n);
		if (rc >= 0 && op == BLOCK_WRITE)
			b->size = MAX(b->size, off + n);
		return rc;
	case BLOCK_FLUSH:
		return f->no_sync || fdatasync(f->fd) >= 0 ? 0 : -errno;
	case BLOCK_RESIZE:
		if (f->regular && ftruncate(f->fd, (off_t)at) < 0)
			return -errno;
		b->size = off;
		return 0;
	case BLOCK_DISCARD:
		if (n && fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
				 (off_t)n) < 0)
			return errno == EOPNOTSUPP || errno == EINVAL ? 0 : -errno;
		return 0;
	default:
		return -ENOTSUP;
	}
}

void file_measure(struct block *b)
{
	struct file *f = (struct file *)b;
	off_t end = f->regular || f->slice ? -1 : lseek(f->fd, 0, SEEK_END);

	if (end > 0 && (uint64_t)end > f->offset)
		b->size = MAX(b->size, (uint64_t)end - f->offset);
}

void file_info(struct block *b, struct block_info *out)
{
	struct file *f = (struct file *)b;
	struct stat st;

	if (fstat(f->fd, &st) == 0)
		out->allocated = f->regular ? (uint64_t)st.st_blocks * 512 : b->size;
}
