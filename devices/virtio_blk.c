/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk (virtio 1.2, 5.2): from requests in the rings to requests of a block chain, without copying.
 *
 * All queues of a disk belong to its chain's loop, and everything about requests happens there. A request stays popped
 * until the chain has done it; a queue's interrupt is decided once per batch of ended requests.
 *
 * A request that failed and whose error policy is to stop is kept, still popped, and the state driver is asked for a pause;
 * no more are taken meanwhile. When the machine goes on it is tried again; saved and loaded, its chain is simply found in
 * the ring once more.
 */
#include "devices/virtio_blk.h"

#include <errno.h>
#include <string.h>

#include "devices/block_driver.h"
#include "devices/list.h"
#include "devices/virtio.h"
#include "domain/disk.h"
#include "domain/error.h"

#define BLK_F_SIZE_MAX (1ull << 1)
#define BLK_F_SEG_MAX (1ull << 2)
#define BLK_F_RO (1ull << 5)
#define BLK_F_BLK_SIZE (1ull << 6)
#define BLK_F_FLUSH (1ull << 9)
#define BLK_F_TOPOLOGY (1ull << 10)
#define BLK_F_CONFIG_WCE (1ull << 11)
#define BLK_F_MQ (1ull << 12)
#define BLK_F_DISCARD (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

enum blk_type { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_GET_ID = 8, BLK_DISCARD = 11, BLK_ZEROES = 13 };
enum blk_status { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2 };
#define BLK_ZEROES_UNMAP 1u

#define SECTOR 512u
#define ID_BYTES 20
#define QUEUE_SIZE 256u
#define SEGMENT_MAX (4u << 20)          /* bytes of one segment */
#define RANGES_MAX 64u                  /* of one discard or write-zeroes */
#define RANGE_SECTORS (1u << 22)        /* 2 GiB: what the driver is told */
#define RUN_MAX 512                     /* requests taken before others on the loop get their turn */
#define TELL_NS 1000000000ll            /* errors that stop nothing are told at most so often */
#define WAIT_US 1000                    /* at the end of a disk: how often its chain is looked at */

struct blk_header { uint32_t type, reserved; uint64_t sector; };
struct blk_range { uint64_t sector; uint32_t sectors, flags; };
G_STATIC_ASSERT(sizeof(struct blk_header) == 16 && sizeof(struct blk_range) == 16);

/* config registers, 5.2.4 */
struct blk_space {
	uint64_t capacity;              /* sectors */
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_block_exp, alignment_offset;
	uint16_t min_io_size;
	uint32_t opt_io_size;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
	uint32_t max_zeroes_sectors, max_zeroes_seg;
	uint8_t zeroes_may_unmap, unused1[3];
} __attribute__((packed));
G_STATIC_ASSERT(sizeof(struct blk_space) == 60);

struct blk;

/* The loop's. */
struct request {
	struct block_req io;
	struct chain chain;
	struct virtq *q;
	struct request *next;           /* free, or failed */
	struct iovec *own;              /* segments, where the chain's do not fit */
	struct blk_range *ranges;       /* discard, write zeroes */
	unsigned ranges_n, range;
};

struct blk_queue {
	struct blk *b;
	struct virtq *q;
	struct block_kick signal;       /* once per batch */
	unsigned inflight;              /* at the chain; loop */
	struct done *drain;             /* ends when it is none; loop */
};

struct blk {
	struct virtio virtio;
	struct block *block;
	struct loop *loop;
	struct blk_queue *queues;       /* as many as virtio has */
	unsigned drains;                /* of the chain, not yet taken back; main */
	struct blk_space space;         /* dev->lock; .writeback also read by the loop, atomically */
	bool wce;                       /* the disk's own setting of .writeback */
	int on_error[2];                /* by "is it a write": enum disk_error_policy */
	/* loop */
	struct request *free, *failed, **failed_end;
	bool stopped;                   /* takes no more until it goes on */
	int64_t told;                   /* ns, the last error */
	/* waiting for the end: main waits, the loop signals */
	GMutex lock;
	GCond idle;
	int inflight;                   /* atomic */

	/* while saved */
	uint8_t saved_writeback;
	uint64_t saved_capacity;
};

static struct blk *blk_of(struct virtio *v)
{
	return (struct blk *)v;
}

static const struct disk *config_of(const struct blk *b)
{
	return b->virtio.head.dev.config;
}

/* --- ending requests --- */

static void signal_queue(void *arg)
{
	virtq_signal(((struct blk_queue *)arg)->q);
}

static void forget(struct blk *b, struct request *r)
{
	g_clear_pointer(&r->own, g_free);
	g_clear_pointer(&r->ranges, g_free);
	r->next = b->free;
	b->free = r;
}

/* The last byte that the device may write; the queue has looked that it is in RAM. */
static uint8_t *status_byte(struct chain *c)
{
	struct iovec *v = chain_in(c);

	for (unsigned i = c->in_n; i-- > 0;)
		if (v[i].iov_len)
			return (uint8_t *)v[i].iov_base + v[i].iov_len - 1;
	return NULL;
}

static void answer(struct blk *b, struct request *r, enum blk_status status)
{
	if (r->chain.q)         /* else an orphan: its memory is the guest's own again */
		__atomic_store_n(status_byte(&r->chain), (uint8_t)status, __ATOMIC_RELAXED);
	virtq_push(r->q, &r->chain, r->chain.in_len);
	block_kick(b->block->host, &b->queues[r->q->index].signal);
	forget(b, r);
}

static void tell(struct blk *b, bool write, bool stop, int64_t result)
{
	int64_t now = clock_now(b->virtio.head.dev.vm->clock, CLOCK_HOST);

	if (!stop && now - b->told < TELL_NS)
		return;
	b->told = now;
	vm_request(b->virtio.head.dev.vm, VM_REQ_IO_ERROR, (write ? VM_IO_WRITE : 0u) | (stop ? VM_IO_STOP : 0u) |
		(result == -ENOSPC ? VM_IO_NO_SPACE : 0u), config_of(b)->target.dev);
}

/* What the policy makes of a failure; true: the request is kept. */
static bool keep_failed(struct blk *b, struct request *r, int64_t *result)
{
	bool write = r->io.op != BLOCK_READ;
	int policy = b->on_error[write];
	bool stop = policy == DISK_ERROR_STOP || (policy == DISK_ERROR_ENOSPACE && *result == -ENOSPC);

	if (*result == -EINVAL || *result == -EROFS || !r->chain.q)
		return false;           /* the guest's fault, or nobody's business any more */
	if (policy == DISK_ERROR_IGNORE) {
		*result = 0;
		return false;
	}
	tell(b, write, stop, *result);
	if (!stop)
		return false;
	b->stopped = true;
	r->next = NULL;
	*b->failed_end = r;
	b->failed_end = &r->next;
	return true;
}

static void submit(struct blk *b, struct request *r)
{
	b->queues[r->q->index].inflight++;
	g_atomic_int_inc(&b->inflight);
	block_submit(b->block, &r->io);
}

static void was_done(struct blk *b, struct blk_queue *bq)
{
	if (!--bq->inflight && bq->drain) {
		done_end(bq->drain, 0);
		bq->drain = NULL;
	}
	if (g_atomic_int_dec_and_test(&b->inflight)) {
		g_mutex_lock(&b->lock);
		g_cond_signal(&b->idle);
		g_mutex_unlock(&b->lock);
	}
}

static bool next_range(struct blk *b, struct request *r);

static void request_done(struct block_req *io, int64_t result)
{
	struct request *r = io->arg;
	struct blk_queue *bq = &((struct blk *)virtio_of_queue(r->q))->queues[r->q->index];
	struct blk *b = bq->b;

	if (result >= 0 && r->ranges) {
		r->range++;
		if (next_range(b, r)) {
			was_done(b, bq);
			return;
		}
	}
	if (result >= 0 || !keep_failed(b, r, &result))
		answer(b, r, result < 0 ? BLK_IOERR : BLK_OK);
	was_done(b, bq);
}

/* --- beginning them --- */

/*
 * Bytes skip … skip + len of the segments v. Where they begin and end between segments it is v itself, else an array of
 * the request's own.
 */
static void set_iov(struct request *r, const struct iovec *v, unsigned n, uint64_t skip, uint64_t len)
{
	unsigned i = 0, used = 0;
	uint64_t left = len;

	for (; i < n && skip >= v[i].iov_len; i++)
		skip -= v[i].iov_len;
	v += i;
	n -= i;
	r->io.bytes = len;
	if (!skip) {
		while (used < n && left >= v[used].iov_len && left)
			left -= v[used++].iov_len;
		if (!left) {
			r->io.iov = v;
			r->io.iov_n = used;
			return;
		}
	}
	r->own = g_new(struct iovec, n);
	left = len;
	for (used = 0; used < n && left; used++) {
		size_t part = (size_t)MIN(left, v[used].iov_len - skip);

		r->own[used] = (struct iovec){ (uint8_t *)v[used].iov_base + skip, part };
		left -= part;
		skip = 0;
	}
	r->io.iov = r->own;
	r->io.iov_n = used;
}

/* Does the guest expect a write to be safe when it is done? */
static bool is_writethrough(const struct blk *b)
{
	if (!virtio_has(&b->virtio, BLK_F_FLUSH))
		return true;
	return virtio_has(&b->virtio, BLK_F_CONFIG_WCE) && !__atomic_load_n(&b->space.writeback, __ATOMIC_RELAXED);
}

static bool read_write(struct blk *b, struct request *r, bool write, uint64_t sector)
{
	struct chain *c = &r->chain;
	uint64_t bytes = write ? c->out_len - sizeof(struct blk_header) : c->in_len - 1;

	if (bytes % SECTOR || sector > BLOCK_SIZE_MAX / SECTOR)
		return false;
	r->io.op = write ? BLOCK_WRITE : BLOCK_READ;
	r->io.offset = sector * SECTOR;
	r->io.flags = write && is_writethrough(b) ? BLOCK_FUA : 0;
	if (write)
		set_iov(r, chain_iov(c), c->out_n, sizeof(struct blk_header), bytes);
	else
		set_iov(r, chain_in(c), c->in_n, 0, bytes);
	submit(b, r);
	return true;
}

/* The next part of a discard; false: there is none. */
static bool next_range(struct blk *b, struct request *r)
{
	const struct blk_range *range = &r->ranges[r->range];

	if (r->range >= r->ranges_n)
		return false;
	r->io.offset = range->sector * SECTOR;
	r->io.bytes = (uint64_t)range->sectors * SECTOR;
	r->io.flags = r->io.op == BLOCK_ZERO ? (range->flags & BLK_ZEROES_UNMAP ? BLOCK_UNMAP : 0u) | (is_writethrough(b) ? BLOCK_FUA : 0u) : 0;
	submit(b, r);
	return true;
}

/* Copies and checks all ranges before the first is carried out. */
static enum blk_status ranges(struct blk *b, struct request *r, bool zero)
{
	uint64_t left = chain_left(&r->chain);
	unsigned n = (unsigned)(left / sizeof(struct blk_range));

	if (!left || left % sizeof(struct blk_range) || left / sizeof(struct blk_range) > RANGES_MAX)
		return BLK_IOERR;
	if (!(block_can(b->block) & BLOCK_CAN_WRITE))
		return BLK_IOERR;
	r->ranges = g_new(struct blk_range, n);
	r->ranges_n = n;
	r->range = 0;
	(void)chain_read(&r->chain, r->ranges, n * sizeof(struct blk_range));
	for (unsigned i = 0; i < n; i++) {
		const struct blk_range *range = &r->ranges[i];
		uint64_t end = block_size(b->block) / SECTOR;

		if (range->flags & ~(zero ? BLK_ZEROES_UNMAP : 0u))
			return BLK_UNSUPP;
		if (range->sector > end || range->sectors > end - range->sector)
			return BLK_IOERR;
	}
	r->io.op = zero ? BLOCK_ZERO : BLOCK_DISCARD;
	r->io.iov = NULL;
	r->io.iov_n = 0;
	(void)next_range(b, r);
	return BLK_OK;
}

static void give_id(struct blk *b, struct request *r)
{
	const char *serial = config_of(b)->serial;
	char id[ID_BYTES] = "";

	if (serial)
		memcpy(id, serial, MIN(strlen(serial), sizeof(id)));
	(void)chain_write(&r->chain, id, (size_t)MIN(chain_room(&r->chain) - 1, sizeof(id)));
	answer(b, r, BLK_OK);
}

/* Begins what the guest asks for, or answers it at once. */
static void begin(struct blk *b, struct request *r)
{
	enum blk_status status = BLK_OK;
	struct blk_header h;

	if (chain_read(&r->chain, &h, sizeof(h)) != sizeof(h)) {
		answer(b, r, BLK_IOERR);
		return;
	}
	switch (h.type) {
	case BLK_IN:
	case BLK_OUT:
		if (!read_write(b, r, h.type == BLK_OUT, h.sector))
			status = BLK_IOERR;
		break;
	case BLK_FLUSH:
		r->io.op = BLOCK_FLUSH;
		r->io.offset = r->io.bytes = 0;
		r->io.iov_n = r->io.flags = 0;
		submit(b, r);
		break;
	case BLK_DISCARD:
	case BLK_ZEROES:
		status = virtio_has(&b->virtio, h.type == BLK_DISCARD ? BLK_F_DISCARD : BLK_F_WRITE_ZEROES) ? ranges(b, r, h.type == BLK_ZEROES) : BLK_UNSUPP;
		break;
	case BLK_GET_ID:
		give_id(b, r);
		break;
	default:
		status = BLK_UNSUPP;
		break;
	}
	if (status != BLK_OK)
		answer(b, r, status);
}

static struct request *take(struct blk *b)
{
	struct request *r = b->free;

	if (r)
		b->free = r->next;
	else
		r = g_new(struct request, 1);
	return r;
}

static void blk_ready(struct virtio *v, struct virtq *q)
{
	struct blk *b = blk_of(v);
	unsigned n = 0;

	block_plug(b->block);
	for (; n < RUN_MAX && !b->stopped && virtio_runs(v, q); n++) {
		struct request *r = take(b);

		memset(r, 0, sizeof(*r));
		if (!virtq_pop(q, &r->chain)) {
			forget(b, r);
			break;
		}
		r->q = q;
		r->io.done = request_done;
		r->io.arg = r;
		if (!r->chain.in_len) {
			virtq_push(q, &r->chain, 0);
			forget(b, r);
			virtio_break(v, "queue %u: a request without a byte for its status", q->index);
			break;
		}
		begin(b, r);
	}
	block_unplug(b->block);
	if (n == RUN_MAX)
		virtio_kick(v, q->index);
}

/* --- stopping and going on --- */

/* Loop: ends the failed requests of one queue. */
static void fail_queue(struct blk *b, struct virtq *q)
{
	struct request *r = b->failed, *next;

	b->failed = NULL;
	b->failed_end = &b->failed;
	for (; r; r = next) {
		next = r->next;
		if (r->q == q) {
			answer(b, r, BLK_IOERR);
			continue;
		}
		r->next = NULL;
		*b->failed_end = r;
		b->failed_end = &r->next;
	}
}

static void drain_queue(void *arg)
{
	struct blk_queue *bq = arg;

	block_plug(bq->b->block);
	fail_queue(bq->b, bq->q);
	block_unplug(bq->b->block);
	if (bq->inflight)
		return;
	done_end(bq->drain, 0);
	bq->drain = NULL;
}

static void blk_drain(struct virtio *v, struct virtq *q, struct done *done)
{
	struct blk *b = blk_of(v);

	if (!b->block)
		return;
	if (q) {        /* the others go on */
		done_begin(done);
		b->queues[q->index].drain = done;
		loop_call(b->loop, drain_queue, &b->queues[q->index]);
		return;
	}
	b->drains++;
	block_drain(b->block, done);
}

static void go_on(void *arg)
{
	struct blk *b = arg;
	struct request *r = b->failed, *next;

	b->stopped = false;
	b->failed = NULL;
	b->failed_end = &b->failed;
	block_plug(b->block);
	for (; r; r = next) {
		next = r->next;
		r->io.next = NULL;
		submit(b, r);
	}
	block_unplug(b->block);
}

static void blk_resumed(struct virtio *v)
{
	struct blk *b = blk_of(v);

	for (; b->drains; b->drains--)
		block_undrain(b->block);
	loop_call(b->loop, go_on, b);
	for (unsigned i = 0; i < v->queues_n; i++)      /* what waited while it was stopped */
		virtio_kick(v, i);
}

static void blk_reset(struct virtio *v)
{
	struct blk *b = blk_of(v);

	while (b->failed) {
		struct request *r = b->failed;

		b->failed = r->next;
		virtq_push(r->q, &r->chain, 0);         /* the queue has stopped: it only frees */
		forget(b, r);
	}
	b->failed_end = &b->failed;
	b->stopped = false;
	__atomic_store_n(&b->space.writeback, b->wce, __ATOMIC_RELAXED);
}

/* --- registers --- */

static bool blk_write(struct virtio *v, unsigned offset, unsigned size, uint32_t value)
{
	struct blk *b = blk_of(v);

	if (offset != offsetof(struct blk_space, writeback) || size != 1 || !virtio_has(v, BLK_F_CONFIG_WCE))
		return false;
	__atomic_store_n(&b->space.writeback, value & 1, __ATOMIC_RELAXED);
	return true;
}

static uint64_t sectors_of(const struct blk *b)
{
	uint64_t size = block_size(b->block);

	return (size - size % b->space.blk_size) / SECTOR;
}

static uint32_t or_sector(uint32_t size)
{
	return size ? size : SECTOR;
}

static void describe(struct blk *b, unsigned queue_size)
{
	const struct disk *d = config_of(b);
	uint32_t logical = or_sector(d->logical_block_size), physical = MAX(or_sector(d->physical_block_size), logical);
	unsigned can = block_can(b->block);
	struct block_info info;

	block_info(b->block, &info);
	b->wce = can & BLOCK_CAN_CACHE && d->driver.cache != CACHE_WRITETHROUGH && d->driver.cache != CACHE_DIRECTSYNC;
	b->space = (struct blk_space){ .size_max = SEGMENT_MAX, .seg_max = MAX(queue_size, 3u) - 2, .blk_size = logical,
		.physical_block_exp = (uint8_t)__builtin_ctz(physical / logical), .min_io_size = (uint16_t)(physical / logical), .writeback = b->wce,
		.num_queues = (uint16_t)b->virtio.queues_n, .max_discard_sectors = RANGE_SECTORS, .max_discard_seg = RANGES_MAX,
		.discard_sector_alignment = MAX(MAX(info.cluster_size, 4096u), physical) / SECTOR, .max_zeroes_sectors = RANGE_SECTORS,
		.max_zeroes_seg = RANGES_MAX, .zeroes_may_unmap = can & BLOCK_CAN_DISCARD ? 1 : 0 };
	b->space.capacity = sectors_of(b);
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

static bool is_block_size(uint32_t size)
{
	return !size || (size >= SECTOR && size <= 65536 && !(size & (size - 1)));
}

static void set_policies(struct blk *b, const struct disk *d)
{
	b->on_error[0] = d->driver.rerror_policy ? d->driver.rerror_policy :
		d->driver.error_policy == DISK_ERROR_ENOSPACE || !d->driver.error_policy ? DISK_ERROR_REPORT : d->driver.error_policy;
	b->on_error[1] = d->driver.error_policy ? d->driver.error_policy : DISK_ERROR_ENOSPACE;
}

static unsigned host_of(const struct vm *vm, const struct disk *d)
{
	return d->driver.iothread ? (d->driver.iothread - 1) % vm->loops_n : 0;
}

static bool open_chain(struct blk *b, struct fdset *fds, GError **err)
{
	struct vm *vm = b->virtio.head.dev.vm;

	if (b->block)
		return true;
	if (!vm->block_hosts)
		return kerr_set(err, KERR_STATE, "this machine was made without anything that serves disks");
	b->block = block_open_disk(vm->block_hosts[host_of(vm, config_of(b))], config_of(b), fds, err);
	return b->block;
}

static bool blk_realize(struct virtio *v, struct fdset *fds, GError **err)
{
	struct blk *b = blk_of(v);
	const struct disk *d = config_of(b);
	unsigned queues = d->driver.queues ? d->driver.queues : 1, size = d->driver.queue_size ? d->driver.queue_size : QUEUE_SIZE;

	b->failed_end = &b->failed;
	b->told = -TELL_NS;
	if (!is_block_size(d->logical_block_size) || !is_block_size(d->physical_block_size))
		return kerr_set(err, KERR_ARGS, "disk '%s': block sizes are powers of two from 512 to 65536", d->target.dev);
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
		b->queues[i].signal = (struct block_kick){ .fn = signal_queue, .arg = &b->queues[i] };
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
		g_debug("disk '%s': %s", config_of(b)->target.dev, err->message);
		vm_request(v->head.dev.vm, VM_REQ_IO_ERROR, VM_IO_WRITE, config_of(b)->target.dev);
	}
	b->block = NULL;
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
	const struct disk *d = config, *old = config_of(b);
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
			config_of(b)->target.dev, b->saved_capacity, b->space.capacity);
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
		b->space.capacity = sectors_of(b);
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
	if (d->state != DEVICE_REALIZED || b->drains) {
		done_end(done, -EBUSY);
		return;
	}
	r = g_new0(struct resize, 1);
	*r = (struct resize){ .io = { .op = BLOCK_RESIZE, .offset = bytes, .done = resize_done, .arg = r }, .b = b, .done = done };
	loop_call(b->loop, resize_start, r);
}

static const struct virtio_ops blk_virtio_ops = {
	.name = "blk", .id = 2, .class = 0x010000, .queue_size = QUEUE_SIZE,
	.address = offsetof(struct disk, address), .driver = offsetof(struct disk, driver.iommu),
	.space = offsetof(struct blk, space), .space_len = sizeof(struct blk_space),
	.realize = blk_realize, .unrealize = blk_unrealize, .ready = blk_ready, .drain = blk_drain, .resumed = blk_resumed, .reset = blk_reset,
	.write = blk_write, .update = blk_update, .pre_save = blk_pre_save, .post_load = blk_post_load,
};

VIRTIO_DEVICE(virtio_blk, "virtio-blk", struct blk, &blk_virtio_ops, &disk_schema, "a disk, whatever its image",
	U8(struct blk, saved_writeback, NULL, 0, 1, 0, "the driver wants writes cached", .name = "writeback", .def = 1),
	U64(struct blk, saved_capacity, NULL, 0, UINT64_MAX, 0, "sectors", .name = "capacity"));
