/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI, modern only. Everything lies in BAR 0 (64 bit), MSI-X too. A queue's notification address is watched by
 * the accelerator (an ioeventfd) while the queue is enabled and the BAR is mapped; where it cannot watch, the write comes
 * here and we write the same eventfd. Registers of the common configuration are a table; the driver must use accesses of
 * a register's own width (4.1.3.1), which for 64 bit ones is two of 32.
 */
#include "devices/virtio_pci.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "devices/virtio.h"
#include "domain/error.h"
#include "hv/accel.h"

#define BAR_N 0
#define VECTORS_EXTRA 1         /* for config changes */
#define PAGE 4096u

static struct virtio_queue *selected(struct virtio *v)
{
	return v->queue_select < v->queues_n ? &v->queues[v->queue_select] : NULL;
}

/* --- kicks --- */

static void watch(struct virtio *v, struct virtio_queue *vq, uint64_t at, bool on)
{
	struct vm *vm = v->head.dev.vm;
	struct kick k = { .addr = at, .size = 0, .fd = vq->kick.fd };
	int r = vm->accel->kick_fd(vm, &k, on);

	if (r < 0 && r != -ENOTSUP)
		g_debug("device '%s': queue %u: watch kicks: %s", v->head.dev.id, vq->q.index, g_strerror(-r));
	vq->kick_on = on && r >= 0;
	vq->kick_at = at;
}

void virtio_pci_kick(struct virtio *v, struct virtio_queue *vq)
{
	const struct region *bar = &v->head.pci.bars[BAR_N].region;
	uint64_t at = bar->bus ? bar->base + VIRTIO_BAR_NOTIFY + (uint64_t)vq->q.index * v->notify_step : 0;
	bool on = vq->enabled && bar->bus;

	if (vq->kick_on && (!on || at != vq->kick_at))
		watch(v, vq, vq->kick_at, false);
	if (on && !vq->kick_on)
		watch(v, vq, at, true);
}

void virtio_pci_kicks(struct virtio *v, bool on)
{
	for (unsigned i = 0; i < v->queues_n; i++) {
		struct virtio_queue *vq = &v->queues[i];

		if (on)
			virtio_pci_kick(v, vq);
		else if (vq->kick_on)
			watch(v, vq, vq->kick_at, false);
	}
}

static void notify_write(struct virtio *v, uint64_t offset)
{
	uint64_t one = 1, queue = offset / v->notify_step;

	if (queue >= v->queues_n || offset % v->notify_step) {
		guest_error(&v->head.dev, "notification of a queue that is not there");
		return;
	}
	/* EAGAIN: it is full of kicks already */
	while (write(v->queues[queue].kick.fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

/* --- common configuration --- */

static uint16_t vector_of(struct virtio *v, uint64_t value)
{
	return value < v->head.pci.msix.n ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

static uint64_t common_value(struct virtio *v, unsigned reg)
{
	const struct virtio_queue *vq = selected(v);

	switch (reg) {
	case COMMON_OFFERED_SELECT: return v->offered_select;
	case COMMON_OFFERED: return v->offered_select > 1 ? 0 : (uint32_t)(v->offered >> 32 * v->offered_select);
	case COMMON_ACCEPTED_SELECT: return v->accepted_select;
	case COMMON_ACCEPTED: return v->accepted_select > 1 ? 0 : (uint32_t)(v->accepted >> 32 * v->accepted_select);
	case COMMON_CONFIG_VECTOR: return v->config_vector;
	case COMMON_QUEUES: return v->queues_n;
	case COMMON_STATUS: return v->status;
	case COMMON_GENERATION: return v->generation;
	case COMMON_QUEUE_SELECT: return v->queue_select;
	default: break;
	}
	if (!vq)
		return 0;
	switch (reg) {
	case COMMON_QUEUE_SIZE: return vq->size;
	case COMMON_QUEUE_VECTOR: return vq->vector;
	case COMMON_QUEUE_ENABLE: return vq->enabled;
	case COMMON_QUEUE_NOTIFY: return v->queue_select;
	case COMMON_QUEUE_DESC: return vq->desc;
	case COMMON_QUEUE_DRIVER: return vq->driver;
	case COMMON_QUEUE_DEVICE: return vq->device;
	case COMMON_QUEUE_RESET: return vq->resetting;
	default: return 0;
	}
}

static const struct { uint8_t offset, size; } common_regs[] = {
	{ COMMON_OFFERED_SELECT, 4 }, { COMMON_OFFERED, 4 }, { COMMON_ACCEPTED_SELECT, 4 }, { COMMON_ACCEPTED, 4 },
	{ COMMON_CONFIG_VECTOR, 2 }, { COMMON_QUEUES, 2 }, { COMMON_STATUS, 1 }, { COMMON_GENERATION, 1 },
	{ COMMON_QUEUE_SELECT, 2 }, { COMMON_QUEUE_SIZE, 2 }, { COMMON_QUEUE_VECTOR, 2 }, { COMMON_QUEUE_ENABLE, 2 },
	{ COMMON_QUEUE_NOTIFY, 2 }, { COMMON_QUEUE_DESC, 8 }, { COMMON_QUEUE_DRIVER, 8 }, { COMMON_QUEUE_DEVICE, 8 },
	{ COMMON_QUEUE_DATA, 2 }, { COMMON_QUEUE_RESET, 2 },
};

static uint64_t common_read(struct virtio *v, unsigned offset, unsigned size)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(common_regs); i++) {
		unsigned at = common_regs[i].offset;

		if (offset >= at && offset + size <= at + common_regs[i].size)
			return common_value(v, at) >> 8 * (offset - at);
	}
	guest_error(&v->head.dev, "common configuration: %u bytes read at 0x%x", size, offset);
	return 0;
}

static void write_size(struct virtio *v, struct virtio_queue *vq, uint64_t value)
{
	if (!value || value > vq->size_max || (!(v->accepted & VIRTIO_F_RING_PACKED) && value & (value - 1)))
		guest_error(&v->head.dev, "queue %u: impossible size %u", vq->q.index, (unsigned)value);
	else
		vq->size = (uint16_t)value;
}

static void write_half(uint64_t *reg, bool high, uint64_t value)
{
	*reg = high ? (*reg & UINT32_MAX) | value << 32 : (*reg & ~(uint64_t)UINT32_MAX) | value;
}

static void write_queue(struct virtio *v, struct virtio_queue *vq, unsigned offset, uint64_t value)
{
	if (offset == COMMON_QUEUE_VECTOR) {
		__atomic_store_n(&vq->vector, vector_of(v, value), __ATOMIC_RELAXED);
		return;
	}
	if (offset == COMMON_QUEUE_RESET) {
		if (value == 1 && v->accepted & VIRTIO_F_RING_RESET && v->status & VIRTIO_FEATURES_OK && vq->enabled && !vq->resetting)
			virtio_reset_queue(v, vq);
		else
			guest_error(&v->head.dev, "queue %u: reset when it must not be", vq->q.index);
		return;
	}
	if (vq->enabled || vq->resetting) {
		if (offset != COMMON_QUEUE_ENABLE || value != 1)
			guest_error(&v->head.dev, "queue %u: changed while it is enabled", vq->q.index);
		return;
	}
	switch (offset & ~4u) {
	case COMMON_QUEUE_DESC: write_half(&vq->desc, offset & 4, value); return;
	case COMMON_QUEUE_DRIVER & ~4u: write_half(&vq->driver, offset & 4, value); return;
	case COMMON_QUEUE_DEVICE & ~4u: write_half(&vq->device, offset & 4, value); return;
	default: break;
	}
	if (offset == COMMON_QUEUE_SIZE)
		write_size(v, vq, value);
	else if (offset == COMMON_QUEUE_ENABLE && value == 1)
		virtio_enable_queue(v, vq);
	else
		guest_error(&v->head.dev, "queue %u: 0x%x written at 0x%x", vq->q.index, (unsigned)value, offset);
}

static bool common_width(unsigned offset, unsigned size)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(common_regs); i++) {
		unsigned at = common_regs[i].offset, width = common_regs[i].size;

		if (width == 8 ? size == 4 && (offset == at || offset == at + 4) : offset == at && size == width)
			return true;
	}
	return false;
}

static void common_write(struct virtio *v, unsigned offset, unsigned size, uint64_t value)
{
	if (!common_width(offset, size)) {
		guest_error(&v->head.dev, "common configuration: %u bytes written at 0x%x", size, offset);
		return;
	}
	if (v->resetting)
		return;         /* it reads as done when it is */
	switch (offset) {
	case COMMON_OFFERED_SELECT: v->offered_select = (uint32_t)value; return;
	case COMMON_ACCEPTED_SELECT: v->accepted_select = (uint32_t)value; return;
	case COMMON_ACCEPTED: virtio_write_features(v, (uint32_t)value); return;
	case COMMON_CONFIG_VECTOR: v->config_vector = vector_of(v, value); return;
	case COMMON_STATUS: virtio_write_status(v, (uint8_t)value); return;
	case COMMON_QUEUE_SELECT: v->queue_select = (uint16_t)value; return;
	case COMMON_OFFERED: case COMMON_QUEUES: case COMMON_GENERATION: case COMMON_QUEUE_NOTIFY: case COMMON_QUEUE_DATA:
		guest_error(&v->head.dev, "common configuration: 0x%x is read-only", offset);
		return;
	default:
		break;
	}
	if (selected(v))
		write_queue(v, selected(v), offset, value);
}

/* --- the BAR --- */

static uint64_t device_read(struct virtio *v, unsigned offset, unsigned size)
{
	const uint8_t *space = (const uint8_t *)v + v->ops->space;
	uint64_t value = 0;

	if (v->ops->space_len && offset < v->ops->space_len && size <= v->ops->space_len - offset)
		memcpy(&value, space + offset, size);
	return value;
}

static void device_write(struct virtio *v, unsigned offset, unsigned size, uint64_t value)
{
	if (v->resetting || (v->ops->write && offset < v->ops->space_len && size <= v->ops->space_len - offset &&
		v->ops->write(v, offset, size, (uint32_t)value)))
		return;
	guest_error(&v->head.dev, "config registers: %u bytes written at 0x%x", size, offset);
}

static uint64_t isr_read(struct virtio *v)
{
	uint8_t isr = v->isr;

	v->isr = 0;
	pci_intx(&v->head.pci, false);
	return isr;
}

static uint64_t bar_read(struct device *d, uint64_t offset, unsigned size)
{
	struct virtio *v = virtio_of(d);

	if (offset < VIRTIO_BAR_COMMON + COMMON_LEN)
		return common_read(v, (unsigned)offset, size);
	if (offset == VIRTIO_BAR_ISR)
		return isr_read(v);
	if (offset >= VIRTIO_BAR_DEVICE && offset < VIRTIO_BAR_DEVICE + VIRTIO_BAR_DEVICE_LEN)
		return device_read(v, (unsigned)(offset - VIRTIO_BAR_DEVICE), size);
	return 0;
}

static void bar_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio *v = virtio_of(d);

	if (offset < VIRTIO_BAR_COMMON + COMMON_LEN)
		common_write(v, (unsigned)offset, size, value);
	else if (offset >= VIRTIO_BAR_NOTIFY)
		notify_write(v, offset - VIRTIO_BAR_NOTIFY);
	else if (offset >= VIRTIO_BAR_DEVICE && offset < VIRTIO_BAR_DEVICE + VIRTIO_BAR_DEVICE_LEN)
		device_write(v, (unsigned)(offset - VIRTIO_BAR_DEVICE), size, value);
	else
		guest_error(d, "%u bytes written at 0x%x of its registers", size, (unsigned)offset);
}

static const struct region_ops bar_ops = { .read = bar_read, .write = bar_write };

/* --- the window in config space: for firmware that cannot reach BARs --- */

enum { WINDOW_BAR = 4, WINDOW_OFFSET = 8, WINDOW_LEN = 12, WINDOW_DATA = 16 };

static bool in_window(struct virtio *v, unsigned offset, unsigned size)
{
	unsigned at = v->access_cap + WINDOW_DATA;

	return offset < at + 4 && at < offset + size;
}

/* What it points to; false: nothing that may be reached so. */
static bool window(struct virtio *v, uint32_t *offset, uint32_t *len)
{
	const uint8_t *c = v->head.pci.config + v->access_cap;

	memcpy(offset, c + WINDOW_OFFSET, 4);
	memcpy(len, c + WINDOW_LEN, 4);
	return c[WINDOW_BAR] == BAR_N && (*len == 1 || *len == 2 || *len == 4) && !(*offset % *len) &&
		*offset < v->head.pci.bars[BAR_N].size && !pci_msix_hit(&v->head.pci, BAR_N, *offset);
}

static void config_read(struct pci *p, unsigned offset, unsigned size)
{
	struct virtio *v = (struct virtio *)p->dev;
	uint32_t at, len, value;

	if (!in_window(v, offset, size) || !window(v, &at, &len))
		return;
	value = (uint32_t)bar_read(p->dev, at, len);
	memcpy(p->config + v->access_cap + WINDOW_DATA, &value, 4);
}

static void config_written(struct pci *p, unsigned offset, unsigned size)
{
	struct virtio *v = (struct virtio *)p->dev;
	uint32_t at, len, value;

	if (!in_window(v, offset, size) || !window(v, &at, &len))
		return;
	memcpy(&value, p->config + v->access_cap + WINDOW_DATA, 4);
	bar_write(p->dev, at, len, len == 4 ? value : value & ((1u << 8 * len) - 1));
}

/* --- PCI's events --- */

static void moved(struct pci *p, unsigned bar)
{
	struct virtio *v = (struct virtio *)p->dev;

	if (bar == BAR_N)
		virtio_pci_kicks(v, true);
}

static void flr(struct pci *p)
{
	virtio_request_reset((struct virtio *)p->dev);
}

static void master(struct pci *p, bool on)
{
	virtio_may_reach_memory((struct virtio *)p->dev, on);
}

static const struct pci_ops pci_ops = { .read = config_read, .written = config_written, .moved = moved, .flr = flr,
	.master = master };

static void add_cap(struct virtio *v, uint8_t type, uint32_t offset, uint32_t len)
{
	struct { uint8_t len, type, bar, id, pad[2]; uint32_t offset, length; uint32_t more; } __attribute__((packed)) c = {
		.len = type == VIRTIO_CAP_NOTIFY || type == VIRTIO_CAP_WINDOW ? 20 : 16, .type = type, .bar = BAR_N,
		.offset = offset, .length = len, .more = type == VIRTIO_CAP_NOTIFY ? v->notify_step : 0 };
	unsigned at = pci_add_cap(&v->head.pci, PCI_CAP_VENDOR, &c, c.len - 2u);

	if (type != VIRTIO_CAP_WINDOW)
		return;
	v->access_cap = at;
	pci_add_regs(&v->head.pci, (struct pci_reg[]){ { (uint16_t)(at + WINDOW_BAR), 1, 0, 0xff, 0 },
		{ (uint16_t)(at + WINDOW_OFFSET), 4, 0, UINT32_MAX, 0 }, { (uint16_t)(at + WINDOW_LEN), 4, 0, UINT32_MAX, 0 },
		{ (uint16_t)(at + WINDOW_DATA), 4, 0, UINT32_MAX, 0 } }, 4);
}

static const void *config_at(const struct virtio *v, size_t offset)
{
	return v->head.dev.config && offset ? (const uint8_t *)v->head.dev.config + offset : NULL;
}

bool virtio_pci_init(struct virtio *v, GError **err)
{
	const struct virtio_ops *ops = v->ops;
	const struct { VIRTIO_MEMBERS; } *driver = config_at(v, ops->driver);
	const struct pci_ids ids = { .vendor = VIRTIO_PCI_VENDOR, .device = (uint16_t)(VIRTIO_PCI_DEVICE + ops->id), .revision = 1,
		.subvendor = VIRTIO_PCI_VENDOR, .subdevice = (uint16_t)(VIRTIO_PCI_DEVICE + ops->id), .class = ops->class };
	struct pci *p = &v->head.pci;
	uint64_t size = VIRTIO_BAR_SIZE;

	v->notify_step = 4;
	if (driver && driver->packed == ONOFF_ON)
		v->offered |= VIRTIO_F_RING_PACKED;
	if (driver && driver->iommu == ONOFF_ON)        /* there is no IOMMU: what the guest's DMA layer says is physical */
		v->offered |= VIRTIO_F_ACCESS_PLATFORM;
	if (driver && driver->page_per_vq == ONOFF_ON)
		v->notify_step = PAGE;
	while (size < VIRTIO_BAR_NOTIFY + (uint64_t)v->queues_n * v->notify_step)
		size *= 2;
	if (!pci_init(&v->head, &pci_ops, &ids, config_at(v, ops->address), err) || !pci_add_bar(p, BAR_N, size, true, &bar_ops, err))
		return false;
	add_cap(v, VIRTIO_CAP_COMMON, VIRTIO_BAR_COMMON, COMMON_LEN);
	add_cap(v, VIRTIO_CAP_ISR, VIRTIO_BAR_ISR, 1);
	if (ops->space_len)
		add_cap(v, VIRTIO_CAP_DEVICE, VIRTIO_BAR_DEVICE, ops->space_len);
	add_cap(v, VIRTIO_CAP_NOTIFY, VIRTIO_BAR_NOTIFY, v->queues_n * v->notify_step);
	add_cap(v, VIRTIO_CAP_WINDOW, 0, 0);
	pci_add_msix(p, MIN(v->queues_n + VECTORS_EXTRA, PCI_VECTORS_MAX), BAR_N, VIRTIO_BAR_MSIX);
	pci_add_express(p);
	return pci_add_intx(p, p->function % 4, err) && pci_map(p, err);
}
