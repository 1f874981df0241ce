/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of a disk: from the rings to the block chain, without copying.
 *
 * All queues of a disk belong to its chain's loop, and everything about requests happens there. A request stays popped
 * until the chain has done it; a queue's interrupt is decided once per batch of ended requests.
 *
 * A request that failed and whose error policy is to stop is kept, still popped, and the state driver is asked for a pause;
 * no more are taken meanwhile. When the machine goes on it is tried again; saved and loaded, its chain is simply found in
 * the ring once more.
 */
#include <errno.h>
#include <string.h>

#include "devices/virtio_blk_disk.h"

#define ID_BYTES 20
#define RUN_MAX 512                     /* requests taken before others on the loop get their turn */
enum blk_type { BLK_IN = 0, BLK_OUT = 1, BLK_FLUSH = 4, BLK_GET_ID = 8, BLK_DISCARD = 11, BLK_ZEROES = 13 };
enum blk_status { BLK_OK = 0, BLK_IOERR = 1, BLK_UNSUPP = 2 };
#define BLK_ZEROES_UNMAP 1u
struct blk_header { uint32_t type, reserved; uint64_t sector; };
G_STATIC_ASSERT(sizeof(struct blk_header) == 16);

/* --- ending requests --- */

void blk_signal(void *arg)
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

	if (!stop && now - b->told < BLK_TELL_NS)
		return;
	b->told = now;
	vm_request(b->virtio.head.dev.vm, VM_REQ_IO_ERROR, (write ? VM_IO_WRITE : 0u) | (stop ? VM_IO_STOP : 0u) |
		(b->on_error[write] == DISK_ERROR_IGNORE ? VM_IO_IGNORE : 0u) |
		(result == -ENOSPC ? VM_IO_NO_SPACE : 0u), blk_config(b)->target.dev);
}

/* What the policy makes of a failure; true: the request is kept. */
static bool keep_failed(struct blk *b, struct request *r, int64_t *result)
{
	bool write = r->io.op != BLOCK_READ;
	int policy = b->on_error[write];
	bool stop = policy == DISK_ERROR_STOP || (policy == DISK_ERROR_ENOSPACE && *result == -ENOSPC);

	if (*result == -EINVAL || *result == -EROFS || !r->chain.q)
		return false;           /* the guest's fault, or nobody's business any more */
	tell(b, write, stop, *result);
	if (policy == DISK_ERROR_IGNORE) {
		*result = 0;
		return false;
	}
	if (!stop)
		return false;
	g_atomic_int_set(&b->trouble, *result == -ENOSPC ? -ENOSPC : -EIO);
	b->stopped |= BLK_STOP_FAILED;
	r->next = NULL;
	*b->failed_end = r;
	b->failed_end = &r->next;
	return true;
}

static void submit(struct blk *b, struct request *r)
{
	b->queues[r->q->index].inflight++;
	__atomic_store_n(&b->inflight, b->inflight + 1, __ATOMIC_RELAXED);
	block_submit(b->block, &r->io);
}

static void was_done(struct blk *b, struct blk_queue *bq)
{
	if (!--bq->inflight && bq->drain) {
		done_end(bq->drain, 0);
		bq->drain = NULL;
	}
	__atomic_store_n(&b->inflight, b->inflight - 1, __ATOMIC_RELEASE);
	if (!b->inflight && g_atomic_int_get(&b->awaited)) {
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

	if (bytes % BLK_SECTOR || sector > BLOCK_SIZE_MAX / BLK_SECTOR)
		return false;
	if (write && b->virtio.offered & BLK_F_RO)      /* whatever its medium may be open for */
		return false;
	r->io.op = write ? BLOCK_WRITE : BLOCK_READ;
	r->io.offset = sector * BLK_SECTOR;
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
	r->io.offset = range->sector * BLK_SECTOR;
	r->io.bytes = (uint64_t)range->sectors * BLK_SECTOR;
	r->io.flags = r->io.op == BLOCK_ZERO ? (range->flags & BLK_ZEROES_UNMAP ? BLOCK_UNMAP : 0u) | (is_writethrough(b) ? BLOCK_FUA : 0u) : 0;
	submit(b, r);
	return true;
}

/* Copies and checks all ranges before the first is carried out. */
static enum blk_status ranges(struct blk *b, struct request *r, bool zero)
{
	uint64_t left = chain_left(&r->chain);
	unsigned n = (unsigned)(left / sizeof(struct blk_range));

	if (!left || left % sizeof(struct blk_range) || left / sizeof(struct blk_range) > BLK_RANGES_MAX)
		return BLK_IOERR;
	if (!(block_can(b->block) & BLOCK_CAN_WRITE))
		return BLK_IOERR;
	r->ranges = g_new(struct blk_range, n);
	r->ranges_n = n;
	r->range = 0;
	(void)chain_read(&r->chain, r->ranges, n * sizeof(struct blk_range));
	for (unsigned i = 0; i < n; i++) {
		const struct blk_range *range = &r->ranges[i];
		uint64_t end = block_size(b->block) / BLK_SECTOR;

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
	const char *serial = blk_config(b)->serial;
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
	if (b->empty && h.type != BLK_GET_ID) {
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

void blk_ready(struct virtio *v, struct virtq *q)
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

void blk_drain(struct virtio *v, struct virtq *q, struct done *done)
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

	if (b->stopped & BLK_STOP_CHANGE) {
		b->stopped |= BLK_STOP_AGAIN;
		return;
	}
	b->stopped = 0;
	g_atomic_int_set(&b->trouble, 0);
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

void blk_go_on_after(struct blk *b, enum blk_stop over)
{
	bool again = b->stopped & BLK_STOP_AGAIN;

	b->stopped &= ~(unsigned)(over | BLK_STOP_AGAIN);
	if (again)
		go_on(b);
}

void blk_resumed(struct virtio *v)
{
	struct blk *b = blk_of(v);

	for (; b->drains; b->drains--)
		block_undrain(b->block);
	loop_call(b->loop, go_on, b);
	for (unsigned i = 0; i < v->queues_n; i++)      /* what waited while it was stopped */
		virtio_kick(v, i);
}

void blk_reset(struct virtio *v)
{
	struct blk *b = blk_of(v);

	while (b->failed) {
		struct request *r = b->failed;

		b->failed = r->next;
		virtq_push(r->q, &r->chain, 0);         /* the queue has stopped: it only frees */
		forget(b, r);
	}
	b->failed_end = &b->failed;
	b->stopped &= BLK_STOP_CHANGE;
	g_atomic_int_set(&b->trouble, 0);
	__atomic_store_n(&b->space.writeback, b->wce, __ATOMIC_RELAXED);
}
