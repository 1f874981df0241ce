/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A disk in memory. A request is done when the batch ends. Memory is reserved, not taken, until it is written. */
#include "devices/block_mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "devices/block_driver.h"
#include "devices/block_iov.h"
#include "domain/error.h"

struct mem {
	struct block block;
	char *data;             /* NULL: null disk */
	uint64_t max;
};

static bool mem_open(struct block *b, const void *config, struct fdset *fds, GError **err)
{
	const struct block_mem_config *c = config;
	struct mem *m = (struct mem *)b;
	void *at;

	m->max = MAX(c->size, c->max);
	if (!m->max || m->max > (1ull << 46) || c->data_n > c->size)
		return kerr_set(
			err, KERR_ARGS, "a disk in memory of %" G_GUINT64_FORMAT " bytes", c->size);
	b->size = c->size;
	b->can = BLOCK_CAN_WRITE | BLOCK_CAN_DISCARD | BLOCK_CAN_ZERO | BLOCK_CAN_FUA |
		 BLOCK_CAN_RESIZE;
	if (m->max > c->size)
		b->can |= BLOCK_CAN_GROW;
	if (c->null)
		return true;
	at = mmap(NULL, m->max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		-1, 0);
	if (at == MAP_FAILED)
		return kerr_errno(err, errno, "reserve memory for a disk");
	m->data = at;
	if (c->data_n)
		memcpy(m->data, c->data, c->data_n);
	return true;
}

static int mem_close(struct block *b)
{
	struct mem *m = (struct mem *)b;

	if (m->data)
		munmap(m->data, m->max);
	return 0;
}

static void clear(struct mem *m, uint64_t off, uint64_t n)
{
	uint64_t end = MIN(off + n, m->block.size), first = (off + 4095) & ~4095ull,
		 last = end & ~4095ull;

	if (off >= end)
		return;
	if (first >= last) {
		memset(m->data + off, 0, end - off);
		return;
	}
	memset(m->data + off, 0, first - off);
	memset(m->data + last, 0, end - last);
	if (madvise(m->data + first, last - first, MADV_DONTNEED) < 0)
		memset(m->data + first, 0, last - first);
}

/* How many of n bytes at off lie inside; the rest reads as zeroes. */
static uint64_t inside(const struct mem *m, uint64_t off, uint64_t n)
{
	return off >= m->block.size ? 0 : MIN(n, m->block.size - off);
}

static int grow(struct mem *m, uint64_t end)
{
	if (end > m->max)
		return -ENOSPC;
	m->block.size = MAX(m->block.size, end);
	return 0;
}

static int64_t run(struct mem *m, struct block_req *r)
{
	uint64_t n;

	if (!m->data) {
		m->block.size = r->op == BLOCK_RESIZE ? r->offset : m->block.size;
		return (int64_t)r->bytes;
	}
	switch (r->op) {
	case BLOCK_READ:
		n = inside(m, r->offset, r->bytes);
		if (n)
			iov_from_buf(r->iov, r->iov_n, 0, m->data + r->offset, n);
		iov_fill(r->iov, r->iov_n, n, 0, r->bytes - n);
		break;
	case BLOCK_WRITE:
		if (grow(m, r->offset + r->bytes) < 0)
			return -ENOSPC;
		iov_to_buf(r->iov, r->iov_n, 0, m->data + r->offset, r->bytes);
		break;
	case BLOCK_ZERO:
	case BLOCK_DISCARD:
		clear(m, r->offset, r->bytes);
		if (r->op == BLOCK_ZERO && grow(m, r->offset + r->bytes) < 0)
			return -ENOSPC;
		break;
	case BLOCK_RESIZE:
		return grow(m, r->offset);
	default:
		break;
	}
	return (int64_t)r->bytes;
}

static void mem_submit(struct block *b, struct block_req *r)
{
	block_done_soon(b, r, run((struct mem *)b, r));
}

static int mem_sync(struct block *b, enum block_op op, uint64_t off, void *buf, uint64_t n)
{
	struct iovec iov = { buf, n };
	struct block_req r = { .op = op, .offset = off, .bytes = n, .iov = &iov, .iov_n = 1 };
	struct mem *m = (struct mem *)b;
	int64_t rc;

	if (!m->data && op == BLOCK_READ)
		memset(buf, 0, n);
	if (op == BLOCK_RESIZE && m->data && off < b->size) {
		clear(m, off, b->size - off);
		b->size = off;
		return 0;
	}
	rc = run(m, &r);
	return rc < 0 ? (int)rc : 0;
}

void *block_mem_data(struct block *b, uint64_t *n)
{
	g_assert(b->ops == &block_mem_ops);
	*n = b->size;
	return ((struct mem *)b)->data;
}

const struct block_ops block_mem_ops = {
	.name = "mem", .size = sizeof(struct mem), .leaf = true,
	.open = mem_open, .close = mem_close, .submit = mem_submit, .sync = mem_sync,
};
