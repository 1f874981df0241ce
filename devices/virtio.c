/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio devices. (A long file: a queue that runs, stops and is reset is one state, which all parts below share.)
 *
 * A queue runs when the driver said DRIVER_OK and enabled it, and neither a pause, a reset nor a lost bus mastering holds
 * it. Whoever changes one of these posts the queue's service to its loop, which compares what should be with what is:
 * starts it, or runs .ready once more. So a notification that came while it was held is made up for.
 *
 * Stopping takes three steps: the queue gives nothing any more (on its loop), the device completes what is in flight
 * (drain), registers and rings are cleared. A reset by the guest starts on a vCPU's thread, which only posts; step two and
 * three follow on main, and until then the status reads as before.
 */
#include "devices/virtio.h"

#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "domain/error.h"

#define QUEUE_SIZE 256
#define ISR_QUEUE 1
#define ISR_CONFIG 2

/* Posts and stops under way refer to this, so that they may run after the device has gone. */
struct virtio_self {
	int refs;               /* atomic */
	struct virtio *v;       /* NULL: gone; changed on main with all loops passed */
};
struct queue_post {
	struct virtio_self *self;
	unsigned index;
	int refs, queued;       /* atomic */
};
struct stop {
	struct done done;
	struct virtio_self *self;
	struct virtio_queue *only;      /* NULL: a reset of the device */
};

static struct virtio_self *self_ref(struct virtio_self *s)
{
	g_atomic_int_inc(&s->refs);
	return s;
}

static void self_unref(struct virtio_self *s)
{
	if (g_atomic_int_dec_and_test(&s->refs))
		g_free(s);
}

static void post_unref(struct queue_post *p)
{
	if (!g_atomic_int_dec_and_test(&p->refs))
		return;
	self_unref(p->self);
	g_free(p);
}

static struct device *dev_of(struct virtio *v)
{
	return &v->head.dev;
}

/* --- interrupts --- */

static void raise_locked(struct virtio *v, uint8_t bit, uint16_t vector)
{
	if (pci_msix_on(&v->head.pci)) {
		pci_msix_signal(&v->head.pci, vector);
		return;
	}
	v->isr |= bit;
	pci_intx(&v->head.pci, true);
}

static void queue_interrupt(struct virtq *q)
{
	struct virtio *v = virtio_of_queue(q);
	uint16_t vector = __atomic_load_n(&v->queues[q->index].vector, __ATOMIC_RELAXED);

	if (pci_msix_on(&v->head.pci)) {
		pci_msix_signal(&v->head.pci, vector);
		return;
	}
	g_mutex_lock(&dev_of(v)->lock);
	raise_locked(v, ISR_QUEUE, vector);
	g_mutex_unlock(&dev_of(v)->lock);
}

void virtio_changed(struct virtio *v)
{
	v->generation++;
	if (v->status & VIRTIO_DRIVER_OK)
		raise_locked(v, ISR_CONFIG, v->config_vector);
}

void virtio_break(struct virtio *v, const char *fmt, ...)
{
	g_autofree char *why = NULL;
	va_list ap;

	va_start(ap, fmt);
	why = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	guest_error(dev_of(v), "%s", why);
	g_mutex_lock(&dev_of(v)->lock);
	if (!virtio_flag(&v->broken) && v->status) {
		virtio_set_flag(&v->broken, 1);
		v->status |= VIRTIO_NEEDS_RESET;
		virtio_changed(v);
	}
	g_mutex_unlock(&dev_of(v)->lock);
}

static void queue_broken(struct virtq *q, const char *why)
{
	virtio_break(virtio_of_queue(q), "queue %u: %s", q->index, why);
}

/* --- running --- */

static bool may_run(const struct virtio *v, const struct virtio_queue *vq)
{
	return virtio_flag(&v->active) && !virtio_flag(&v->held) && !virtio_flag(&v->mute) && !virtio_flag(&v->broken) && !virtio_flag(&vq->stopping);
}

bool virtio_runs(struct virtio *v, const struct virtq *q)
{
	return may_run(v, &v->queues[q->index]) && q->started;  /* in this order: .started is main's while it may not run */
}

struct virtq_setup virtio_queue_setup(const struct virtio *v, const struct virtio_queue *vq)
{
	return (struct virtq_setup){ .size = vq->size, .packed = virtio_has(v, VIRTIO_F_RING_PACKED),
		.indirect = virtio_has(v, VIRTIO_F_INDIRECT_DESC), .event_idx = virtio_has(v, VIRTIO_F_EVENT_IDX),
		.desc = vq->desc, .driver = vq->driver, .device = vq->device };
}

static bool start_queue(struct virtio *v, struct virtio_queue *vq)
{
	struct virtq_setup s;
	bool enabled;

	g_mutex_lock(&dev_of(v)->lock);
	enabled = vq->enabled && virtio_flag(&v->active) && !virtio_flag(&vq->stopping);
	s = virtio_queue_setup(v, vq);
	g_mutex_unlock(&dev_of(v)->lock);
	return enabled && virtq_start(&vq->q, &s);
}

/* On the queue's loop. */
static void service(struct virtio *v, struct virtio_queue *vq)
{
	if (!may_run(v, vq) || (!vq->q.started && !start_queue(v, vq)))
		return;
	vq->q.polled = vq->polled;
	v->ops->ready(v, &vq->q);
	virtq_signal(&vq->q);
}

static void service_post(void *arg)
{
	struct queue_post *p = arg;
	struct virtio *v = p->self->v;

	virtio_set_flag(&p->queued, 0);
	if (v)
		service(v, &v->queues[p->index]);
	post_unref(p);
}

void virtio_kick(struct virtio *v, unsigned queue)
{
	struct virtio_queue *vq = &v->queues[queue];

	if (__atomic_exchange_n(&vq->post->queued, 1, __ATOMIC_SEQ_CST))
		return;
	g_atomic_int_inc(&vq->post->refs);
	loop_post(vq->loop, service_post, vq->post);
}

void virtio_kick_all(struct virtio *v)
{
	for (unsigned i = 0; i < v->queues_n; i++)
		virtio_kick(v, i);
}

static void on_kick(void *arg, uint32_t events)
{
	struct virtio_queue *vq = arg;
	uint64_t count;

	if (read(vq->kick.fd, &count, sizeof(count)) != sizeof(count))
		return;
	vq->kicks += count;
	service(virtio_of_queue(&vq->q), vq);
}

/* What is polled: a look at the ring. Progress is what was taken, for a device may leave it all where it is. */
static bool poll_queue(void *arg)
{
	struct virtio_queue *vq = arg;
	struct virtio *v = virtio_of_queue(&vq->q);
	uint16_t at;

	if (!may_run(v, vq) || !vq->q.started || !virtq_waits(&vq->q))
		return false;
	at = vq->q.avail;
	service(v, vq);
	return vq->q.avail != at;
}

/* A queue that is held keeps its ring as it is: it is looked at when it runs again, and that turns kicks on. */
static void poll_quiet(void *arg, bool on)
{
	struct virtio_queue *vq = arg;
	struct virtio *v = virtio_of_queue(&vq->q);

	vq->polled = on;
	if (may_run(v, vq) && vq->q.started)
		virtq_set_polled(&vq->q, on);
}

/* --- stopping --- */

/* On the queue's loop: afterwards it does not run, because everyone there looks first. */
static void pass(void *arg)
{
}

static void settle(struct virtio *v, struct virtio_queue *only)
{
	for (unsigned i = 0; i < v->queues_n; i++)
		if (!only || only == &v->queues[i])
			loop_call(v->queues[i].loop, pass, NULL);
}

static void clear_queue(struct virtio *v, struct virtio_queue *vq)
{
	virtq_stop(&vq->q);
	vq->enabled = vq->resetting = false;
	vq->size = vq->size_max;
	vq->desc = vq->driver = vq->device = 0;
	__atomic_store_n(&vq->vector, VIRTIO_NO_VECTOR, __ATOMIC_RELAXED);
	virtio_pci_kick(v, vq);
	virtio_set_flag(&vq->stopping, 0);
}

/* Everything a reset clears. Lock held, no queue runs, nothing in flight. */
static void clear(struct virtio *v)
{
	virtio_set_flag(&v->active, 0);
	for (unsigned i = 0; i < v->queues_n; i++)
		clear_queue(v, &v->queues[i]);
	v->accepted = 0;
	v->offered_select = v->accepted_select = 0;
	v->config_vector = VIRTIO_NO_VECTOR;
	v->queue_select = 0;
	v->status = v->isr = 0;
	v->generation = 0;
	v->access_bar = 0;
	v->access_offset = v->access_len = 0;
	v->resetting = false;
	virtio_set_flag(&v->broken, 0);
	pci_intx(&v->head.pci, false);
	if (v->ops->reset)
		v->ops->reset(v);
}

static void stop_finished(struct done *d, int result)
{
	struct stop *s = d->arg;
	struct virtio *v = s->self->v;

	if (v) {
		bool all = !s->only && v->resetting;

		g_mutex_lock(&dev_of(v)->lock);
		if (all)
			clear(v);
		else if (s->only && s->only->resetting)
			clear_queue(v, s->only);
		g_mutex_unlock(&dev_of(v)->lock);
		if (v->ops->resumed && !virtio_flag(&v->held))
			v->ops->resumed(v);
		if (all && v->pause_waits) {
			done_end(v->pause_waits, 0);
			v->pause_waits = NULL;
		}
	}
	self_unref(s->self);
	g_free(s);
}

/* Main: step two. */
static void stop_on_main(struct done *d, int result)
{
	struct stop *s = d->arg;
	struct virtio *v = s->self->v;

	s->done = (struct done){ .fn = stop_finished, .arg = s };
	done_begin(&s->done);
	if (v) {
		settle(v, s->only);
		if (v->ops->drain)
			v->ops->drain(v, s->only ? &s->only->q : NULL, &s->done);
	}
	done_end(&s->done, 0);
}

/* Lock held, any thread. */
static void begin_stop(struct virtio *v, struct virtio_queue *only)
{
	struct stop *s = g_new0(struct stop, 1);

	s->self = self_ref(v->self);
	s->only = only;
	s->done = (struct done){ .fn = stop_on_main, .arg = s };
	done_begin(&s->done);
	done_end(&s->done, 0);
}

void virtio_request_reset(struct virtio *v)
{
	if (v->resetting)
		return;
	if (!virtio_flag(&v->active)) {
		clear(v);
		return;
	}
	v->resetting = true;
	virtio_set_flag(&v->active, 0);
	begin_stop(v, NULL);
}

void virtio_reset_queue(struct virtio *v, struct virtio_queue *vq)
{
	vq->resetting = true;
	virtio_set_flag(&vq->stopping, 1);
	if (virtio_flag(&v->active))
		begin_stop(v, vq);
	else
		clear_queue(v, vq);
}

/* --- registers --- */

void virtio_write_features(struct virtio *v, uint32_t value)
{
	unsigned shift = 32 * v->accepted_select;

	if (v->status & VIRTIO_FEATURES_OK || v->accepted_select > 1) {
		if (value)
			guest_error(dev_of(v), "features written at the wrong time or place");
		return;
	}
	v->accepted = (v->accepted & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
}

static bool features_ok(struct virtio *v)
{
	if (v->accepted & ~v->offered)
		guest_error(dev_of(v), "the driver accepts features that were not offered");
	else if (!(v->accepted & VIRTIO_F_VERSION_1))
		guest_error(dev_of(v), "the driver is older than virtio 1.0");
	else
		return !v->ops->accept || v->ops->accept(v, v->accepted);
	return false;
}

void virtio_write_status(struct virtio *v, uint8_t status)
{
	uint8_t new = status & (uint8_t)~v->status;

	if (!status) {
		virtio_request_reset(v);
		return;
	}
	if (v->resetting)
		return;
	if (new & VIRTIO_FEATURES_OK && !features_ok(v))
		status &= (uint8_t)~VIRTIO_FEATURES_OK;
	if (v->status & ~status & ~VIRTIO_NEEDS_RESET)
		guest_error(dev_of(v), "status bits cleared without a reset");
	status |= v->status;    /* they stay, as NEEDS_RESET does */
	if (new & VIRTIO_DRIVER_OK && !(status & VIRTIO_FEATURES_OK)) {
		guest_error(dev_of(v), "DRIVER_OK without FEATURES_OK");
		status &= (uint8_t)~VIRTIO_DRIVER_OK;
	}
	if (!(v->status & VIRTIO_NEEDS_RESET))
		status &= (uint8_t)~VIRTIO_NEEDS_RESET; /* the device's own */
	v->status = status;
	if (new & status & VIRTIO_DRIVER_OK) {
		virtio_set_flag(&v->active, 1);
		virtio_kick_all(v);
		device_has_driver(dev_of(v));
	}
}

void virtio_enable_queue(struct virtio *v, struct virtio_queue *vq)
{
	if (!(v->status & VIRTIO_FEATURES_OK)) {
		guest_error(dev_of(v), "a queue is enabled before FEATURES_OK");
		return;
	}
	vq->enabled = true;
	virtio_pci_kick(v, vq);
	if (virtio_flag(&v->active))
		virtio_kick(v, vq->q.index);
}

void virtio_may_reach_memory(struct virtio *v, bool on)
{
	virtio_set_flag(&v->mute, !on);
	if (on && virtio_flag(&v->active))
		virtio_kick_all(v);
}

/* --- lifecycle --- */

static bool is_size(unsigned size, GError **err)
{
	return (size <= VIRTQ_SIZE_MAX && !(size & (size - 1))) ||
		kerr_set(err, KERR_ARGS, "queue size %u is not a power of two up to %d", size, VIRTQ_SIZE_MAX);
}

bool virtio_set_queues(struct virtio *v, unsigned n, unsigned size, struct loop *loop, GError **err)
{
	g_assert(!v->queues && n && n <= VIRTIO_QUEUES_MAX);
	if (!size)
		size = v->ops->queue_size ? v->ops->queue_size : QUEUE_SIZE;
	if (!is_size(size, err))
		return false;
	v->queues = g_new0(struct virtio_queue, n);
	for (unsigned i = 0; i < n; i++) {
		struct virtio_queue *vq = &v->queues[i];

		vq->q = (struct virtq){ .ram = &dev_of(v)->vm->ram, .interrupt = queue_interrupt, .broken = queue_broken, .arg = v,
			.index = i };
		virtq_init(&vq->q);
		vq->size_max = (uint16_t)size;
		vq->loop = loop ? loop : dev_of(v)->vm->loops[0];
		vq->kick = (struct loop_fd){ .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .events = EPOLLIN, .fn = on_kick, .arg = vq };
		vq->poll = (struct loop_poll){ .fn = poll_queue, .quiet = poll_quiet, .arg = vq };
		vq->post = g_new0(struct queue_post, 1);
		*vq->post = (struct queue_post){ .self = self_ref(v->self), .index = i, .refs = 1 };
		vq->vector = VIRTIO_NO_VECTOR;
		v->queues_n++;
		if (vq->kick.fd < 0)
			return kerr_set(err, KERR_LIMIT, "no descriptors left for queue %u", i);
	}
	return true;
}

void virtio_queue_loop(struct virtio *v, unsigned queue, struct loop *loop)
{
	g_assert(!v->queues[queue].kick.loop);
	v->queues[queue].loop = loop;
}

bool virtio_queue_size(struct virtio *v, unsigned queue, unsigned size, GError **err)
{
	if (!is_size(size, err))
		return false;
	if (size)
		v->queues[queue].size_max = (uint16_t)size;
	return true;
}

struct watch_call {
	struct virtio_queue *vq;
	bool ok;
	GError **err;
};

static void watch_kicks(void *arg)
{
	struct watch_call *c = arg;

	c->ok = loop_fd_add(c->vq->loop, &c->vq->kick, c->err);
	if (c->ok && virtio_of_queue(&c->vq->q)->ops->polls)
		loop_poll_add(c->vq->loop, &c->vq->poll);
}

bool virtio_realize(struct virtio *v, const struct virtio_ops *ops, struct fdset *fds, GError **err)
{
	v->ops = ops;
	v->self = g_new0(struct virtio_self, 1);
	*v->self = (struct virtio_self){ .refs = 1, .v = v };
	v->offered = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_RESET;
	virtio_set_flag(&v->mute, 1);
	if (ops->realize && !ops->realize(v, fds, err))
		return false;
	if (!v->queues && !virtio_set_queues(v, 1, 0, NULL, err))
		return false;
	for (unsigned i = 0; i < v->queues_n; i++) {
		struct watch_call c = { .vq = &v->queues[i], .err = err };

		loop_call(v->queues[i].loop, watch_kicks, &c);
		if (!c.ok)
			return false;
	}
	return virtio_pci_init(v, err);
}

static void unwatch_kicks(void *arg)
{
	struct virtio_queue *vq = arg;

	loop_fd_remove(&vq->kick);
	loop_poll_remove(&vq->poll);
	virtq_finish(&vq->q);
}

void virtio_unrealize(struct device *d)
{
	struct virtio *v = virtio_of(d);

	if (!v->self)
		return;
	if (v->head.pci.dev) {
		pci_unmap(&v->head.pci);
		g_mutex_lock(&d->lock);
		virtio_pci_kicks(v, false);
		g_mutex_unlock(&d->lock);
	}
	virtio_set_flag(&v->active, 0);
	settle(v, NULL);
	if (v->ops->unrealize)
		v->ops->unrealize(v);
	for (unsigned i = 0; i < v->queues_n; i++) {
		struct virtio_queue *vq = &v->queues[i];

		loop_call(vq->loop, unwatch_kicks, vq);
		if (vq->kick.fd >= 0)
			close(vq->kick.fd);
	}
	v->self->v = NULL;
	for (unsigned i = 0; i < v->queues_n; i++)
		settle(v, &v->queues[i]);       /* posts that had begun */
	for (unsigned i = 0; i < v->queues_n; i++)
		post_unref(v->queues[i].post);
	if (v->pause_waits)
		done_end(v->pause_waits, 0);
	pci_finish(&v->head.pci);
	self_unref(v->self);
	v->self = NULL;
	g_clear_pointer(&v->queues, g_free);
	v->queues_n = 0;
	virtio_free_saved(v);
}

/* By the core: the machine is paused, or has not run yet. */
void virtio_reset(struct device *d)
{
	struct virtio *v = virtio_of(d);

	if (virtio_flag(&v->active) && !virtio_flag(&v->held)) {
		/* not paused: loops may be at work, and may want the lock. vCPUs are parked */
		virtio_set_flag(&v->active, 0);
		g_mutex_unlock(&d->lock);
		settle(v, NULL);
		g_mutex_lock(&d->lock);
	}
	pci_reset(&v->head.pci);
	clear(v);
	if (v->ops->power_on)
		v->ops->power_on(v);
}

void virtio_pause(struct device *d, struct done *done)
{
	struct virtio *v = virtio_of(d);

	virtio_set_flag(&v->held, 1);
	settle(v, NULL);
	if (v->ops->hold)
		v->ops->hold(v, true, done);
	if (v->ops->drain)
		v->ops->drain(v, NULL, done);
	g_mutex_lock(&d->lock);
	if (v->resetting && !v->pause_waits) {
		done_begin(done);
		v->pause_waits = done;
	}
	g_mutex_unlock(&d->lock);
}

void virtio_resume(struct device *d)
{
	struct virtio *v = virtio_of(d);

	virtio_set_flag(&v->held, 0);
	if (v->ops->resumed)
		v->ops->resumed(v);
	if (v->ops->hold)
		v->ops->hold(v, false, NULL);
	virtio_kick_all(v);
}

bool virtio_update(struct device *d, const void *config, GError **err)
{
	struct virtio *v = virtio_of(d);

	if (v->ops->update)
		return v->ops->update(v, config, err);
	return kerr_set(err, KERR_UNSUPPORTED, "nothing of it can be changed while it runs");
}
