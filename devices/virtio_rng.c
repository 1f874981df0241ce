/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-rng (virtio 1.2, 5.4): entropy from the kernel or from a device that kvmd opened, at most rate_bytes per period.
 * Buffers of the guest wait in the ring while the quota is used up or the source has nothing.
 */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "devices/list.h"
#include "devices/virtio.h"
#include "domain/error.h"
#include "domain/rng.h"

#define PERIOD_MS 1000          /* when the XML gives a rate without one */
#define CHUNK 4096
#define RUN_MAX (256u << 10)    /* bytes given before others on the loop get their turn */

struct rng_device {
	struct virtio virtio;
	struct loop_fd source;          /* .fd -1: the kernel's getrandom */
	struct loop_timer timer;        /* guest time: the next period; loop */
	uint32_t rate;                  /* bytes per period, 0: unlimited; loop */
	int64_t period;                 /* ns */
	int64_t until;                  /* end of this period; 0: none began */
	bool timed;

	/* state */
	uint32_t used;                  /* bytes of the quota; loop */
	uint64_t left;                  /* of the period, ns, while saved */
};

static struct rng_device *rng_of(struct virtio *v)
{
	return (struct rng_device *)v;
}

static int64_t now(const struct rng_device *r)
{
	return clock_now(r->virtio.head.dev.vm->clock, CLOCK_GUEST);
}

/* Bytes that may be given now. When it is none, the timer runs. */
static size_t quota(struct rng_device *r)
{
	if (!r->rate)
		return RUN_MAX;
	if (!r->until || now(r) >= r->until) {
		r->until = now(r) + r->period;
		r->used = 0;
	}
	if (r->used < r->rate)
		return r->rate - r->used;
	loop_timer_set(&r->timer, r->until);
	return 0;
}

/* -EAGAIN: nothing for now. */
static ssize_t source_read(struct rng_device *r, void *buf, size_t n)
{
	ssize_t got;

	do
		got = r->source.fd < 0 ? getrandom(buf, n, 0) : read(r->source.fd, buf, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : got;
}

static void wait_for_source(struct rng_device *r, ssize_t why)
{
	if (why == -EAGAIN && r->source.fd >= 0 && !r->source.loop && loop_fd_add(r->virtio.queues[0].loop, &r->source, NULL))
		return;
	if (why == -EAGAIN && r->source.loop)
		return;
	/* at its end, or broken, or not to be waited for: look again now and then */
	loop_timer_set(&r->timer, now(r) + r->period);
}

static void source_event(void *arg, uint32_t events)
{
	struct rng_device *r = arg;

	loop_fd_remove(&r->source);
	virtio_kick(&r->virtio, 0);
}

static void period_over(void *arg)
{
	virtio_kick(&((struct rng_device *)arg)->virtio, 0);
}

/* Fills one chain with what there is; false: it got nothing. */
static ssize_t fill(struct rng_device *r, struct chain *c, size_t most)
{
	uint8_t buf[CHUNK];
	size_t want = (size_t)MIN(MIN(chain_room(c), most), sizeof(buf));
	ssize_t n = source_read(r, buf, want);

	if (n > 0)
		(void)chain_write(c, buf, (size_t)n);
	return n;
}

static void rng_ready(struct virtio *v, struct virtq *q)
{
	struct rng_device *r = rng_of(v);
	size_t given = 0, most;
	struct chain c;

	while (virtq_has(q)) {
		ssize_t n;

		most = quota(r);
		if (!most)
			return;
		if (given >= RUN_MAX) {
			virtio_kick(v, q->index);
			return;
		}
		if (!virtq_pop(q, &c))
			return;
		n = c.in_len ? fill(r, &c, most) : 0;
		if (n <= 0 && c.in_len) {
			virtq_unpop(q, &c);
			wait_for_source(r, n);
			return;
		}
		virtq_push(q, &c, (uint64_t)MAX(n, 0));
		r->used += (uint32_t)MAX(n, 0);
		given += (size_t)MAX(n, 0) + 64;
	}
}

static void set_rate(struct rng_device *r, const struct rng *config)
{
	r->rate = config->rate_bytes;
	r->period = (int64_t)(config->rate_period ? config->rate_period : PERIOD_MS) * 1000000;
}

static bool rng_realize(struct virtio *v, struct fdset *fds, GError **err)
{
	struct rng_device *r = rng_of(v);
	const struct rng *config = v->head.dev.config;
	struct loop *loop = v->head.dev.vm->loops[0];

	r->source = (struct loop_fd){ .fd = -1, .events = EPOLLIN, .fn = source_event, .arg = r };
	if (config->backend.model == RNG_EGD)
		return kerr_set(err, KERR_UNSUPPORTED, "entropy daemons (EGD) are not supported: use <backend model='random'>");
	if (config->backend.model == RNG_RANDOM && config->backend.path.fd) {
		r->source.fd = fdset_take(fds, config->backend.path.fd, err);
		if (r->source.fd < 0)
			return false;
	}
	set_rate(r, config);
	loop_timer_init(&r->timer, loop, CLOCK_GUEST, period_over, r);
	r->timed = true;
	return virtio_set_queues(v, 1, 0, loop, err);
}

static void stop_source(void *arg)
{
	struct rng_device *r = arg;

	loop_timer_cancel(&r->timer);
	loop_fd_remove(&r->source);
}

static void rng_unrealize(struct virtio *v)
{
	struct rng_device *r = rng_of(v);

	if (r->timed)
		loop_call(r->timer.loop, stop_source, r);
	if (r->source.fd >= 0)
		close(r->source.fd);
	r->source.fd = -1;
}

static void rng_reset(struct virtio *v)
{
	struct rng_device *r = rng_of(v);

	r->used = 0;
	r->until = 0;
	r->left = 0;
}

struct change {
	struct rng_device *r;
	const struct rng *config;
};

static void update_on_loop(void *arg)
{
	struct change *c = arg;

	set_rate(c->r, c->config);
	c->r->until = 0;
	loop_timer_cancel(&c->r->timer);
}

static bool rng_update(struct virtio *v, const void *config, GError **err)
{
	struct change c = { rng_of(v), config };

	loop_call(c.r->timer.loop, update_on_loop, &c);
	virtio_kick(v, 0);
	return true;
}

static void rng_pre_save(struct virtio *v)
{
	struct rng_device *r = rng_of(v);

	r->left = r->until > now(r) ? (uint64_t)(r->until - now(r)) : 0;
}

static bool rng_post_load(struct virtio *v, GError **err)
{
	struct rng_device *r = rng_of(v);

	r->until = r->left ? now(r) + (int64_t)MIN(r->left, (uint64_t)r->period) : 0;
	return true;
}

static const struct virtio_ops ops = {
	.name = "rng",
	.id = 4,
	.class = 0x00ff00,
	.address = offsetof(struct rng, address),
	.driver = offsetof(struct rng, driver),
	.realize = rng_realize,
	.unrealize = rng_unrealize,
	.ready = rng_ready,
	.reset = rng_reset,
	.update = rng_update,
	.pre_save = rng_pre_save,
	.post_load = rng_post_load,
};

VIRTIO_DEVICE(virtio_rng, "virtio-rng", struct rng_device, &ops, &rng_schema, "entropy for the guest",
	U32(struct rng_device, used, NULL, 0, UINT32_MAX, 0, "bytes of this period's quota that were given"),
	U64(struct rng_device, left, NULL, 0, UINT64_MAX / 2, 0, "of this period, ns"));
