/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The leaf of a drive without a medium: no byte long, so that the door refuses all that is asked of it. */
#include <errno.h>
#include <string.h>

#include "devices/block_driver.h"

static bool empty_open(struct block *b, const void *config, struct fdset *fds, GError **err)
{
	b->size = 0;
	b->can = 0;
	return true;
}

static void empty_submit(struct block *b, struct block_req *r)
{
	block_done_soon(b, r, -ENOMEDIUM);
}

static int empty_sync(struct block *b, enum block_op op, uint64_t off, void *buf, uint64_t n)
{
	if (op == BLOCK_READ)
		memset(buf, 0, n);
	return op == BLOCK_READ || op == BLOCK_FLUSH ? 0 : -ENOMEDIUM;
}

const struct block_ops block_empty_ops = {
	.name = "empty", .size = sizeof(struct block), .leaf = true, .open = empty_open, .submit = empty_submit, .sync = empty_sync,
};
