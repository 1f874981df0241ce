/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk (virtio 1.2, 5.2): life, registers, saving. All queues of a disk belong to its chain's loop. What the driver wants of
 * the cache is a register; the size is one that can change while it runs.
 */
#include "devices/virtio_blk.h"

#include <errno.h>
#include <string.h>

#include "devices/block_mem.h"
#include "devices/list.h"
#include "devices/virtio_blk_disk.h"
#include "domain/error.h"

#define QUEUE_SIZE 256u
#define SEGMENT_MAX (4u << 20)          /* bytes of one segment */
#define RANGE_SECTORS (1u << 22)        /* 2 GiB: what the driver is told */
#define WAIT_US 1000                    /* at the end of a disk: how often its chain is looked at */

/* --- registers --- */

static bool blk_write(struct virtio *v, unsigned offset, unsigned size, uint32_t value)
{
	struct blk *b = blk_of(v);

	if (offset != offsetof(struct blk_space, writeback) || size != 1 || !virtio_has(v, BLK_F_CONFIG_WCE))
		return false;
	__atomic_store_n(&b->space.writeback, value & 1, __ATOMIC_RELAXED);
	return true;
}

uint64_t blk_sectors(const struct blk *b)
{
	uint64_t size = block_size(b->block);

	return (size - size % b->space.blk_size) / BLK_SECTOR;
}

static uint32_t or_sector(uint32_t size)
{
	return size ? size : BLK_SECTOR;
}

static void describe(struct blk *b, unsigned queue_size)
{
	const struct disk *d = blk_config(b);
	uint32_t logical = or_sector(d->logical_block_size), physical = MAX(or_sector(d->physical_block_size), logical);
	bool removable = disk_removable(d);
	unsigned can = removable ? 0 : block_can(b->block);     /* media come and go, features stay */
	struct block_info info;

	block_info(b->block, &info);
	if (removable)
		info.cluster_size = 0;
	b->empty = blk_is_empty(b);
	b->wce = can & BLOCK_CAN_CACHE && d->driver.cache != CACHE_WRITETHROUGH && d->driver.cache != CACHE_DIRECTSYNC;
	b->space = (struct blk_space){ .size_max = SEGMENT_MAX, .seg_max = MAX(queue_size, 3u) - 2, .blk_size = logical,
		.physical_block_exp = (uint8_t)__builtin_ctz(physical / logical), .min_io_size = (uint16_t)(physical / logical), .writeback = b->wce,
		.num_queues = (uint16_t)b->virtio.queues_n, .max_discard_sectors = RANGE_SECTORS, .max_discard_seg = BLK_RANGES_MAX,
		.discard_sector_alignment = MAX(MAX(info.cluster_size, 4096u), physical) / BLK_SECTOR, .max_zeroes_sectors = RANGE_SECTORS,
		.max_zeroes_seg = BLK_RANGES_MAX, .zeroes_may_unmap = can & BLOCK_CAN_DISCARD ? 1 : 0 };
	b->space.capacity = blk_sectors(b);
	b->virtio.offered |= BLK_F_SIZE_MAX | BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_TOPOLOGY | (b->virtio.queues_n > 1 ? BLK_F_MQ : 0);
	if (b->wce)
		b->virtio.offered |= BLK_F_FLUSH | BLK_F_CONFIG_WCE;
	if (!(can & BLOCK_CAN_WRITE))
		b->virtio.offered |= BLK_F_RO;
	else
		b->virtio.offered |= (can & BLOCK_CAN_DISCARD ? BLK_F_DISCARD : 0) | (can & BLOCK_CAN_ZERO ? BLK_F_WRITE_ZEROES : 0);
	if (d->driver.event_idx == ONOFF_OFF)
		b->virtio.offered &= ~VIRTIO_F_EVENT_IDX;
}

/* --- life --- */

static bool is_block_size(uint32_t size, uint32_t most)
{
	return !size || (size >= BLK_SECTOR && size <= most && !(size & (size - 1)));
}

static void set_policies(struct blk *b, const struct disk *d)
{
	b->on_error[0] = d->driver.rerror_policy ? d->driver.rerror_policy :
		d->driver.error_policy == DISK_ERROR_ENOSPACE || !d->driver.error_policy ? DISK_ERROR_REPORT : d->driver.error_policy;
	b->on_error[1] = d->driver.error_policy ? d->driver.error_policy : DISK_ERROR_ENOSPACE;
}

/* That of the disk's <driver iothread='…'>; NULL: there is no such thread. */
static struct block_host *host_of(const struct vm *vm, const struct disk *d)
{
	if (!d->driver.iothread)
		return vm->block_hosts[0];
	for (unsigned i = 0; i < vm->block_hosts_n; i++)
		if (block_host_iothread(vm->block_hosts[i]) == d->driver.iothread)
			return vm->block_hosts[i];
	return NULL;
}

/* For measuring: the same size, and nothing behind it. */
static struct block *null_chain(struct block_host *h, struct block *image, GError **err)
{
	struct block_mem_config config = { .size = block_size(image), .null = true };
	struct block_row row = { "mem", &config };
	struct block_options options = { .align = BLK_SECTOR };

	if (!block_close(image, err))
		return NULL;
	return block_open(h, &row, 1, &options, NULL, err);
}

static bool open_chain(struct blk *b, struct fdset *fds, GError **err)
{
	struct vm *vm = b->virtio.head.dev.vm;
	struct block_host *h;

	if (b->block)
		return true;
	if (!vm->block_hosts)
		return kerr_set(err, KERR_STATE, "this machine was made without anything that serves disks");
	h = host_of(vm, blk_config(b));
	if (!h)
		return kerr_set(err, KERR_ARGS, "the running machine has no I/O thread %u", blk_config(b)->driver.iothread);
	b->block = block_open_disk(h, blk_config(b), fds, err);
	if (b->block && vm->def && vm->def->test.null_disks)
		b->block = null_chain(h, b->block, err);
	if (!b->block)
		return false;
	b->stats = stats_take(vm, STAT_BLOCK, blk_config(b)->alias, blk_config(b)->target.dev);
	block_count_in(b->block, (struct block_stats *)b->stats);
	return true;
}

static bool blk_realize(struct virtio *v, struct fdset *fds, GError **err)
{
	struct blk *b = blk_of(v);
	const struct disk *d = blk_config(b);
	unsigned queues = d->driver.queues ? d->driver.queues : 1, size = d->driver.queue_size ? d->driver.queue_size : QUEUE_SIZE;

	b->failed_end = &b->failed;
	b->told = -BLK_TELL_NS;
	if (!is_block_size(d->logical_block_size, 65536) || !is_block_size(d->physical_block_size, 2 << 20))
		return kerr_set(err, KERR_ARGS, "disk '%s': block sizes are powers of two from 512 to 65536, physical ones to 2 MiB", d->target.dev);
	if (queues > VIRTIO_QUEUES_MAX)
		return kerr_set(err, KERR_ARGS, "disk '%s': 1 to %d queues, not %u", d->target.dev, VIRTIO_QUEUES_MAX, queues);
	if (!open_chain(b, fds, err)) {
		g_prefix_error(err, "disk '%s': ", d->target.dev);
		return false;
	}
	g_mutex_init(&b->lock);
	g_cond_init(&b->idle);
	b->loop = block_loop(b->block);
	if (!virtio_set_queues(v, queues, size, b->loop, err))
		return false;
	b->queues = g_new0(struct blk_queue, queues);
	for (unsigned i = 0; i < queues; i++) {
		b->queues[i] = (struct blk_queue){ .b = b, .q = &v->queues[i].q };
		b->queues[i].signal = (struct block_kick){ .fn = blk_signal, .arg = &b->queues[i] };
	}
	set_policies(b, d);
	describe(b, size);
	return true;
}

struct look { struct blk *b; bool started; };

/* Loop: what was put off until the end of a batch. */
static void flush_kicks(void *arg)
{
	struct look *l = arg;

	l->started = loop_current() != NULL;
	block_plug(l->b->block);
	block_unplug(l->b->block);
}

static void drained(struct done *d, int result)
{
	g_free(d);
}

/* Until nothing is in flight: the guest's requests and the chain's own. Main. */
static void wait_idle(struct blk *b)
{
	struct done *done = g_new0(struct done, 1);
	struct look l = { b, false };
	struct block_stats stats;

	done->fn = drained;
	block_drain(b->block, done);
	loop_call(b->loop, flush_kicks, &l);
	g_atomic_int_set(&b->awaited, 1);
	for (;;) {
		block_stats(b->block, &stats);
		if (!stats.inflight && !g_atomic_int_get(&b->inflight))
			break;
		if (!l.started) {
			(void)loop_step(b->loop, 1);
			continue;
		}
		g_mutex_lock(&b->lock);
		(void)g_cond_wait_until(&b->idle, &b->lock, g_get_monotonic_time() + WAIT_US);
		g_mutex_unlock(&b->lock);
	}
	g_atomic_int_set(&b->awaited, 0);
	if (!l.started)         /* one thread plays all: the drain itself was only posted */
		while (loop_step(b->loop, 0))
			;
	loop_call(b->loop, flush_kicks, &l);
}

static void blk_unrealize(struct virtio *v)
{
	struct blk *b = blk_of(v);
	g_autoptr(GError) err = NULL;

	if (b->block && b->queues) {
		wait_idle(b);
		blk_change_abandon(b);
		for (unsigned i = 0; i < v->queues_n; i++)
			virtq_stop(&v->queues[i].q);
		blk_reset(v);
	}
	for (; b->drains && b->block; b->drains--)
		block_undrain(b->block);
	if (b->loop) {
		g_mutex_clear(&b->lock);
		g_cond_clear(&b->idle);
	}
	if (!block_close(b->block, &err)) {
		g_debug("disk '%s': %s", blk_config(b)->target.dev, err->message);
		vm_request(v->head.dev.vm, VM_REQ_IO_ERROR, VM_IO_WRITE, blk_config(b)->target.dev);
	}
	b->block = NULL;
	stats_give(v->head.dev.vm, b->stats);
	b->stats = NULL;
	while (b->free) {
		struct request *r = b->free;

		b->free = r->next;
		g_free(r);
	}
	g_clear_pointer(&b->queues, g_free);
}

static bool blk_update(struct virtio *v, const void *config, GError **err)
{
	struct blk *b = blk_of(v);
	const struct disk *d = config, *old = blk_config(b);
	const struct resource *now = disk_source_resource(old->type, (struct disk_source *)&old->source);
	const struct resource *then = disk_source_resource(d->type, (struct disk_source *)&d->source);

	if (g_strcmp0(now ? now->path : NULL, then ? then->path : NULL))
		return kerr_set(err, KERR_UNSUPPORTED, "disk '%s': another image can't be put in while it runs", d->target.dev);
	return block_set_iotune(b->block, &d->iotune, err);
}

/* --- state --- */

static void blk_pre_save(struct virtio *v)
{
	struct blk *b = blk_of(v);

	b->saved_writeback = b->space.writeback;
	b->saved_capacity = b->space.capacity;
}

static bool blk_post_load(struct virtio *v, GError **err)
{
	struct blk *b = blk_of(v);

	if (b->saved_capacity != b->space.capacity)
		return kerr_set(err, KERR_STATE_DATA, "disk '%s' had %" G_GUINT64_FORMAT " sectors and has %" G_GUINT64_FORMAT " here",
			blk_config(b)->target.dev, b->saved_capacity, b->space.capacity);
	__atomic_store_n(&b->space.writeback, b->saved_writeback & 1, __ATOMIC_RELAXED);
	return true;
}

/* --- for others --- */

void virtio_blk_give(struct device *d, struct block *block)
{
	g_assert(d->ops == &virtio_blk_ops && d->state == DEVICE_NEW);
	blk_of(virtio_of(d))->block = block;
}

struct block *virtio_blk_chain(struct device *d)
{
	return d->ops == &virtio_blk_ops ? blk_of(virtio_of(d))->block : NULL;
}

int virtio_blk_trouble(struct device *d)
{
	g_assert(d->ops == &virtio_blk_ops);
	return g_atomic_int_get(&blk_of(virtio_of(d))->trouble);
}

struct resize {
	struct block_req io;
	struct blk *b;
	struct done *done;
};

static void resize_done(struct block_req *io, int64_t result)
{
	struct resize *r = io->arg;
	struct blk *b = r->b;
	struct device *d = &b->virtio.head.dev;

	if (result >= 0) {
		g_mutex_lock(&d->lock);
		b->space.capacity = blk_sectors(b);
		virtio_changed(&b->virtio);
		g_mutex_unlock(&d->lock);
	}
	done_end(r->done, (int)MIN(result, 0));
	g_free(r);
}

static void resize_start(void *arg)
{
	struct resize *r = arg;

	block_plug(r->b->block);
	block_submit(r->b->block, &r->io);
	block_unplug(r->b->block);
}

void virtio_blk_resize(struct device *d, uint64_t bytes, struct done *done)
{
	struct blk *b = blk_of(virtio_of(d));
	struct resize *r;

	g_assert(d->ops == &virtio_blk_ops);
	done_begin(done);
	if ((d->state != DEVICE_REALIZED && d->state != DEVICE_PAUSED) || b->change) {
		done_end(done, -EBUSY);
		return;
	}
	r = g_new0(struct resize, 1);
	*r = (struct resize){ .io = { .op = BLOCK_RESIZE, .offset = bytes, .done = resize_done, .arg = r }, .b = b, .done = done };
	loop_call(b->loop, resize_start, r);
}

static const struct virtio_ops blk_virtio_ops = {
	.name = "blk", .id = 2, .class = 0x010000, .queue_size = QUEUE_SIZE, .polls = true,
	.address = offsetof(struct disk, address), .driver = offsetof(struct disk, driver.iommu),
	.space = offsetof(struct blk, space), .space_len = sizeof(struct blk_space),
	.realize = blk_realize, .unrealize = blk_unrealize, .ready = blk_ready, .drain = blk_drain, .resumed = blk_resumed, .reset = blk_reset,
	.write = blk_write, .update = blk_update, .pre_save = blk_pre_save, .post_load = blk_post_load,
};

VIRTIO_DEVICE(virtio_blk, "virtio-blk", struct blk, &blk_virtio_ops, &disk_schema, "a disk, whatever its image",
	U8(struct blk, saved_writeback, NULL, 0, 1, 0, "the driver wants writes cached", .name = "writeback", .def = 1),
	U64(struct blk, saved_capacity, NULL, 0, UINT64_MAX, 0, "sectors", .name = "capacity"));
