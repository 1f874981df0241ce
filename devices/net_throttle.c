/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * <bandwidth>: how many KiB per second a card may receive (inbound) and send (outbound), all its queues together.
 *
 * Each direction has two token buckets: `avg` fills at the average and holds the burst, `peak` keeps a burst to the peak. A
 * frame goes when neither is empty and may leave them in debt, for the length of a frame that comes is not known before it
 * is taken: the average is exact all the same. A direction that must wait is not asked of the lower node until the timer.
 */
#include <errno.h>

#include "devices/block_throttle.h"
#include "devices/net.h"

#define KIB 1024ull
#define BURST_LEAST (64 * KIB)          /* tokens: the largest frame */

enum side { SIDE_RX, SIDE_TX, SIDES };
enum layer { LAYER_AVG, LAYER_PEAK, LAYERS };

struct throttle {
	struct net net;
	int any;                        /* atomic: is there a limit at all? */
	GMutex lock;                    /* this block: queues may be on several loops */
	struct bucket bucket[SIDES][LAYERS];
	int64_t filled;                 /* host time */
	struct throttle_queue {         /* of the queue's loop */
		struct throttle *throttle;
		unsigned index;
		unsigned waits;         /* enum net_wish: for the timer */
		struct loop_timer timer;
	} queue[NET_QUEUES_MAX];
};

static unsigned wish_of(enum side s)
{
	return s == SIDE_RX ? NET_RX : NET_TX;
}

/* Lock held. */
static void refill(struct throttle *t)
{
	int64_t now = clock_now(t->net.clock, CLOCK_HOST), ns = now - t->filled;

	if (ns <= 0)
		return;
	t->filled = now;
	for (int s = 0; s < SIDES; s++)
		for (int l = 0; l < LAYERS; l++)
			bucket_refill(&t->bucket[s][l], ns);
}

/* ns to wait; 0: a frame may go. */
static int64_t wait_of(struct throttle *t, enum side s)
{
	int64_t most = 0;

	g_mutex_lock(&t->lock);
	refill(t);
	for (int l = 0; l < LAYERS; l++)
		most = MAX(most, bucket_wait(&t->bucket[s][l], 1));
	g_mutex_unlock(&t->lock);
	return most;
}

static void charge(struct throttle *t, enum side s, ssize_t bytes)
{
	if (bytes <= (ssize_t)t->net.header)
		return;
	g_mutex_lock(&t->lock);
	for (int l = 0; l < LAYERS; l++)
		bucket_take(&t->bucket[s][l], (uint64_t)bytes - t->net.header);
	g_mutex_unlock(&t->lock);
}

static void pass_wishes(struct throttle *t, unsigned q)
{
	net_want(t->net.lower, q, t->net.queue[q].wishes & ~t->queue[q].waits);
}

static bool must_wait(struct throttle *t, unsigned q, enum side s)
{
	struct throttle_queue *tq = &t->queue[q];
	int64_t ns;

	if (!g_atomic_int_get(&t->any))
		return false;
	if (tq->waits & wish_of(s))
		return true;
	ns = wait_of(t, s);
	if (!ns)
		return false;
	if (!tq->waits || tq->timer.at > clock_now(t->net.clock, CLOCK_HOST) + ns)
		loop_timer_set(&tq->timer, clock_now(t->net.clock, CLOCK_HOST) + ns);
	tq->waits |= wish_of(s);
	pass_wishes(t, q);
	return true;
}

static void on_timer(void *arg)
{
	struct throttle_queue *tq = arg;
	struct throttle *t = tq->throttle;
	struct net *n = &t->net;
	unsigned waited = tq->waits & n->queue[tq->index].wishes;

	tq->waits = 0;
	pass_wishes(t, tq->index);
	if (waited & NET_RX)
		n->front->readable(n->front_arg, tq->index);
	if (waited & NET_TX && n->queue[tq->index].wishes & NET_TX)
		n->front->writable(n->front_arg, tq->index);
}

static ssize_t throttle_recv(struct net *n, unsigned q, const struct iovec *iov, unsigned iov_n)
{
	struct throttle *t = (struct throttle *)n;
	ssize_t got;

	if (must_wait(t, q, SIDE_RX))
		return -EAGAIN;
	got = n->lower->ops->recv(n->lower, q, iov, iov_n);
	if (g_atomic_int_get(&t->any))
		charge(t, SIDE_RX, got);
	return got;
}

static ssize_t throttle_send(struct net *n, unsigned q, const struct iovec *iov, unsigned iov_n)
{
	struct throttle *t = (struct throttle *)n;
	ssize_t put;

	if (must_wait(t, q, SIDE_TX))
		return -EAGAIN;
	put = n->lower->ops->send(n->lower, q, iov, iov_n);
	if (g_atomic_int_get(&t->any))
		charge(t, SIDE_TX, put);
	return put;
}

static void throttle_want(struct net *n, unsigned q, unsigned wishes)
{
	pass_wishes((struct throttle *)n, q);
}

/* --- limits --- */

static void set_side(struct bucket b[LAYERS], const struct bandwidth_side *side)
{
	uint64_t average = side->average * KIB, peak = side->peak * KIB, burst = side->burst * KIB;

	bucket_set(&b[LAYER_AVG], average, MAX(burst, MAX(average / 10, BURST_LEAST)));
	bucket_set(&b[LAYER_PEAK], average ? peak : 0, MAX(peak / 20, BURST_LEAST));
}

/* What waited under the old limits asks again under the new ones. */
static void look_again(void *arg)
{
	struct throttle_queue *tq = arg;

	if (!tq->waits)
		return;
	loop_timer_cancel(&tq->timer);
	on_timer(tq);
}

static void set_limits(struct throttle *t, const struct bandwidth *b)
{
	static const struct bandwidth none;

	b = b ? b : &none;
	g_mutex_lock(&t->lock);
	refill(t);
	set_side(t->bucket[SIDE_RX], &b->inbound);
	set_side(t->bucket[SIDE_TX], &b->outbound);
	g_mutex_unlock(&t->lock);
	g_atomic_int_set(&t->any, b->inbound.average || b->outbound.average);
}

static bool throttle_update(struct net *n, const struct iface *i, GError **err)
{
	struct throttle *t = (struct throttle *)n;

	set_limits(t, &i->bandwidth);
	for (unsigned q = 0; q < n->queues; q++)
		loop_call(n->queue[q].loop, look_again, &t->queue[q]);
	return true;
}

static bool throttle_open(struct net *n, const void *config, struct fdset *fds, GError **err)
{
	const struct net_throttle_config *c = config;
	struct throttle *t = (struct throttle *)n;

	g_mutex_init(&t->lock);
	t->filled = clock_now(n->clock, CLOCK_HOST);
	for (unsigned q = 0; q < n->queues; q++) {
		t->queue[q] = (struct throttle_queue){ .throttle = t, .index = q };
		loop_timer_init(&t->queue[q].timer, n->queue[q].loop, CLOCK_HOST, on_timer, &t->queue[q]);
	}
	set_limits(t, c ? c->limits : NULL);
	return true;
}

static void stop_timer(void *arg)
{
	loop_timer_cancel(&((struct throttle_queue *)arg)->timer);
}

static void throttle_close(struct net *n)
{
	struct throttle *t = (struct throttle *)n;

	for (unsigned q = 0; q < n->queues; q++)
		loop_call(n->queue[q].loop, stop_timer, &t->queue[q]);
	g_mutex_clear(&t->lock);
}

/* --- from the lower node --- */

static void from_readable(void *arg, unsigned q)
{
	struct net *n = arg;

	n->front->readable(n->front_arg, q);
}

static void from_writable(void *arg, unsigned q)
{
	struct net *n = arg;

	n->front->writable(n->front_arg, q);
}

static void from_linked(void *arg, bool up)
{
	struct net *n = arg;

	if (n->front && n->front->linked)
		n->front->linked(n->front_arg, up);
}

static const struct net_front throttle_front = { from_readable, from_writable, from_linked };

const struct net_ops net_throttle_ops = {
	.name = "throttle", .size = sizeof(struct throttle), .open = throttle_open, .close = throttle_close, .recv = throttle_recv,
	.send = throttle_send, .want = throttle_want, .update = throttle_update, .front = &throttle_front,
};
