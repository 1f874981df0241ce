/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Writes of zeroes become write-zeroes. The guest may change the memory after we looked: it then loses a race with itself,
 * for either content is what it wrote during the request.
 */
#include "devices/block_detect.h"

#include "devices/block_driver.h"
#include "devices/block_iov.h"

struct detect {
	struct block block;
	bool unmap;
	struct zero_req *free;
};
struct zero_req {
	struct block_req req;
	struct detect *detect;
	struct block_req *parent;
	struct zero_req *next;
};

static bool detect_open(struct block *b, const void *config, struct fdset *fds, GError **err)
{
	((struct detect *)b)->unmap = ((const struct block_detect_config *)config)->unmap;
	return true;
}

static int detect_close(struct block *b)
{
	struct detect *d = (struct detect *)b;

	while (d->free) {
		struct zero_req *z = d->free;

		d->free = z->next;
		g_free(z);
	}
	return 0;
}

static void zero_done(struct block_req *r, int64_t result)
{
	struct zero_req *z = r->arg;
	struct block_req *parent = z->parent;

	z->next = z->detect->free;
	z->detect->free = z;
	block_done(parent, result);
}

static void detect_submit(struct block *b, struct block_req *r)
{
	struct detect *d = (struct detect *)b;
	struct zero_req *z;

	if (r->op != BLOCK_WRITE || !(b->can & BLOCK_CAN_ZERO) ||
		!iov_is_zero(r->iov, r->iov_n, 0, r->bytes)) {
		block_submit(b->lower, r);
		return;
	}
	z = d->free;
	if (z)
		d->free = z->next;
	else
		z = g_new(struct zero_req, 1);
	*z = (struct zero_req){ .detect = d,
		.parent = r,
		.req = { .op = BLOCK_ZERO,
			.offset = r->offset,
			.bytes = r->bytes,
			.flags = (d->unmap ? BLOCK_UNMAP : 0) |
				 (b->can & BLOCK_CAN_FUA ? r->flags & BLOCK_FUA : 0),
			.done = zero_done,
			.arg = z } };
	block_submit(b->lower, &z->req);
}

const struct block_ops block_detect_ops = {
	.name = "detect",
	.size = sizeof(struct detect),
	.open = detect_open,
	.close = detect_close,
	.submit = detect_submit,
};
