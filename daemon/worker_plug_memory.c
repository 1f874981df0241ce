/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory devices that come and go. One that comes has its memory in a file of its own, which kvmd made; one that goes must be
 * empty first, so the guest is asked to give all of it back, and only then for the device.
 */
#include "daemon/worker_memory.h"
#include "daemon/worker_plug.h"
#include "devices/virtio_mem.h"
#include "domain/memdev.h"

const char *const plug_memory_live[] = { "target/requested", NULL };
const char *const plug_memory_own[] = { "target/current", NULL };

bool plug_memory_may_come(struct worker *w, const void *config, GError **err)
{
	const struct memdev *m = config;
	const struct memory *has = &w->machine->memory;

	if (m->model != MEMDEV_VIRTIO_MEM)
		return kerr_set(err, KERR_UNSUPPORTED, "only <memory model='virtio-mem'> can be plugged");
	if (list_len(w->machine->devices.memdevs) >= has->slots)
		return kerr_set(err, KERR_LIMIT, "all %u slots of <maxMemory> are in use", has->slots);
	return (has->size <= has->max && m->target.size <= has->max - has->size) ||
		kerr_set(err, KERR_LIMIT, "with %" G_GUINT64_FORMAT " KiB more the machine would have more than its <maxMemory>", m->target.size >> 10);
}

/* The sizes are read by main only. */
void plug_memory_came(struct worker *w, struct device *d)
{
	const struct memdev *m = d->config;

	w->machine->memory.size += m->target.size;
	memory_came(w, d);
}

void plug_memory_gone(struct worker *w, struct device *d)
{
	const struct memdev *m = d->config;

	w->machine->memory.size -= m->target.size;
	memory_gone(w, d);
}

uint64_t plug_memory_holds(struct device *d)
{
	struct virtio_mem_info v;

	virtio_mem_info(d, &v);
	return MAX(v.requested, v.plugged);
}

bool plug_memory_update(struct worker *w, struct device *d, const void *config, GError **err)
{
	return memory_ask(w, d, ((const struct memdev *)config)->target.requested, err);
}
