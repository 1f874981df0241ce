/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A drive's medium: taken out, put in, exchanged while the guest uses it.
 *
 * The new chain is opened first, so that what can't be used changes nothing. Then the drive takes no more requests, the old
 * chain ends what it has in flight, and main exchanges the two in one turn of the loop: the guest finds the new capacity and
 * gets the interrupt of a changed configuration, what waited in its rings goes to the new medium. Requests that failed and
 * are kept for a machine that stands still are tried on the new one. A pause or reset that drains meanwhile drains both.
 */
#include <errno.h>

#include "devices/list.h"
#include "devices/virtio_blk.h"
#include "devices/virtio_blk_disk.h"
#include "domain/error.h"

/* Main. */
struct blk_change {
	struct done drained;
	struct blk *b;                  /* NULL: it has gone meanwhile */
	struct block *next;             /* the new chain, then the old one */
	struct disk *now;               /* what its description becomes */
	struct done *done;
};

static void close_quietly(const struct blk *b, struct block *chain)
{
	g_autoptr(GError) err = NULL;

	if (!block_close(chain, &err))  /* no guest writes to it */
		g_debug("disk '%s': %s", blk_config(b)->target.dev, err->message);
}

bool blk_is_empty(const struct blk *b)
{
	const struct block *leaf = b->block;

	while (leaf->lower)
		leaf = leaf->lower;
	return leaf->ops == &block_empty_ops;
}

/* Loop. */
static void hold_requests(void *arg)
{
	((struct blk *)arg)->stopped |= BLK_STOP_CHANGE;
}

static void chain_swap(struct blk *b, struct block *next)
{
	struct block *old = b->block;

	for (unsigned i = 0; i < b->drains; i++)        /* who drains is going to undrain this one */
		if (!next->chain->quiet++)
			block_chain_quiet(next->chain, true);
	block_count_in(old, NULL);
	block_count_in(next, (struct block_stats *)b->stats);
	b->block = next;
}

/* Loop. */
static void exchange(void *arg)
{
	struct blk_change *c = arg;
	struct blk *b = c->b;
	struct device *d = &b->virtio.head.dev;
	struct block *old = b->block;

	chain_swap(b, c->next);
	c->next = old;
	blk_go_on_after(b, BLK_STOP_CHANGE);
	g_mutex_lock(&d->lock);
	b->empty = blk_is_empty(b);
	b->space.capacity = blk_sectors(b);
	virtio_changed(&b->virtio);
	g_mutex_unlock(&d->lock);
}

static void take_over(struct disk *d, struct disk *now)
{
	struct disk_source source = d->source;
	struct disk_backing *backing = d->backing;

	d->type = now->type;
	d->source = now->source;
	d->backing = now->backing;
	d->driver.format = now->driver.format;
	d->target.tray = now->target.tray;
	now->source = source;
	now->backing = backing;
}

static void change_end(struct blk_change *c, int result)
{
	schema_free(&disk_schema, c->now);
	done_end(c->done, result);
	g_free(c);
}

/* Nobody knows the old chain any more. */
static void left(struct done *done, int result)
{
	struct blk_change *c = done->arg;
	struct blk *b = c->b;

	if (b) {
		close_quietly(b, c->next);
		b->change = NULL;
	}
	change_end(c, b ? 0 : -ENODEV);
}

static void drained(struct done *done, int result)
{
	struct blk_change *c = done->arg;
	struct blk *b = c->b;

	if (!b) {
		change_end(c, -ENODEV);
		return;
	}
	loop_call(b->loop, exchange, c);
	take_over((struct disk *)b->virtio.head.dev.config, c->now);
	for (unsigned i = 0; i < b->virtio.queues_n; i++)       /* what waited */
		virtio_kick(&b->virtio, i);
	c->drained = (struct done){ .fn = left, .arg = c };     /* a pause may be on its way to the old chain: behind that */
	block_drain(c->next, &c->drained);
}

void blk_change_abandon(struct blk *b)
{
	struct blk_change *c = b->change;

	if (!c)
		return;
	b->change = NULL;
	close_quietly(b, c->next);
	c->b = NULL;
}

bool virtio_blk_change(struct device *d, const struct disk *now, struct fdset *fds, struct done *done, GError **err)
{
	struct blk *b = blk_of(virtio_of(d));
	struct blk_change *c;
	struct block *next;

	g_assert(d->ops == &virtio_blk_ops);
	if (!disk_removable(blk_config(b)))
		return kerr_set(err, KERR_UNSUPPORTED, "disk '%s' is no drive: its image stays while it runs", blk_config(b)->target.dev);
	if (d->state != DEVICE_REALIZED && d->state != DEVICE_PAUSED)
		return kerr_set(err, KERR_STATE, "drive '%s' is not in use", blk_config(b)->target.dev);
	if (b->change)
		return kerr_set(err, KERR_BUSY, "the medium of drive '%s' is being changed: try again", blk_config(b)->target.dev);
	next = block_open_disk(b->block->host, now, fds, err);
	if (!next) {
		g_prefix_error(err, "drive '%s': ", blk_config(b)->target.dev);
		return false;
	}
	c = g_new0(struct blk_change, 1);
	*c = (struct blk_change){ .drained = { .fn = drained, .arg = c }, .b = b, .next = next, .now = schema_dup(&disk_schema, now), .done = done };
	b->change = c;
	done_begin(done);
	loop_call(b->loop, hold_requests, b);
	block_drain(b->block, &c->drained);
	return true;
}
