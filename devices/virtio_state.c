/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * State of virtio devices. Rings are not looked at while loading, only their places: memory may come later. Queues that ran
 * begin again when the machine goes on, first with the requests that were outstanding.
 */
#include "devices/virtio.h"

#include "domain/error.h"

void virtio_free_saved(struct virtio *v)
{
	for (unsigned i = 0; v->saved_queues && i < v->saved_queues->len; i++)
		schema_free(&virtq_state_schema, v->saved_queues->pdata[i]);
	if (v->saved_queues)
		g_ptr_array_unref(v->saved_queues);
	v->saved_queues = NULL;
}

void virtio_pre_save(void *obj)
{
	struct virtio *v = obj;

	pci_pre_save(&v->head.pci);
	virtio_free_saved(v);
	v->saved_queues = g_ptr_array_new();
	for (unsigned i = 0; i < v->queues_n; i++) {
		struct virtio_queue *vq = &v->queues[i];
		struct virtq_state *s = schema_new(&virtq_state_schema);

		s->size = vq->size;
		s->vector = vq->vector;
		s->enabled = vq->enabled;
		s->desc = vq->desc;
		s->driver = vq->driver;
		s->device = vq->device;
		if (vq->q.started)
			virtq_save(&vq->q, s);
		else
			s->avail_wrap = s->used_wrap = true;
		g_ptr_array_add(v->saved_queues, s);
	}
	if (v->ops->pre_save)
		v->ops->pre_save(v);
}

static void not_now(struct virtq *q, const char *why)
{
}

/* The lock is held, which .broken would take: what it would do, the caller does. */
static bool start(struct virtio *v, struct virtio_queue *vq)
{
	struct virtq_setup s = virtio_queue_setup(v, vq);
	void (*broken)(struct virtq *, const char *) = vq->q.broken;
	bool ok;

	vq->q.broken = not_now;
	ok = virtq_start(&vq->q, &s);
	vq->q.broken = broken;
	return ok;
}

static bool load_queue(struct virtio *v, struct virtio_queue *vq, struct virtq_state *s, GError **err)
{
	vq->size = s->size ? MIN(s->size, vq->size_max) : vq->size_max;
	vq->vector = s->vector;
	vq->enabled = s->enabled;
	vq->desc = s->desc;
	vq->driver = s->driver;
	vq->device = s->device;
	if (!vq->enabled || !virtio_flag(&v->active))
		return true;
	if (!start(v, vq)) {
		virtio_set_flag(&v->broken, 1);
		v->status |= VIRTIO_NEEDS_RESET;
		return true;    /* the guest's fault, as before */
	}
	return virtq_load(&vq->q, s, err);
}

bool virtio_post_load(void *obj, GError **err)
{
	struct virtio *v = obj;
	bool ok = true;

	if (v->accepted & ~v->offered) {
		kerr_set(err, KERR_STATE_DATA, "its driver uses features 0x%" G_GINT64_MODIFIER "x, of which this kvmd does not have 0x%"
			G_GINT64_MODIFIER "x", v->accepted, v->accepted & ~v->offered);
		goto fail;
	}
	if (v->saved_queues && v->saved_queues->len > v->queues_n) {
		kerr_set(err, KERR_STATE_DATA, "%u queues, this device has %u", v->saved_queues->len, v->queues_n);
		goto fail;
	}
	if (!pci_post_load(&v->head.pci, err))
		goto fail;
	virtio_set_flag(&v->mute, !pci_is_master(&v->head.pci));
	virtio_set_flag(&v->broken, v->status & VIRTIO_NEEDS_RESET ? 1 : 0);
	virtio_set_flag(&v->active, (v->status & (VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK)) == (VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK));
	for (unsigned i = 0; ok && v->saved_queues && i < v->saved_queues->len; i++)
		ok = load_queue(v, &v->queues[i], v->saved_queues->pdata[i], err);
	virtio_free_saved(v);
	if (!ok || (v->ops->post_load && !v->ops->post_load(v, err)))
		return false;
	if (!pci_msix_on(&v->head.pci))
		pci_intx(&v->head.pci, v->isr != 0);
	virtio_pci_kicks(v, true);
	if (v->head.dev.state == DEVICE_REALIZED)
		virtio_kick_all(v);
	return true;
fail:
	virtio_free_saved(v);
	pci_free_saved(&v->head.pci);
	return false;
}
