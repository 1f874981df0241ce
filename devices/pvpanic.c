/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic on an I/O port: a guest's kernel writes what happened to it. Reading tells which events
 * are understood. What is done about it is policy (on_crash) and not decided here.
 */
#include "devices/list.h"
#include "domain/error.h"
#include "domain/panic.h"
#include "hv/vm.h"
#include "hv/x86/ports.h"

#define EVENT_PANICKED 0x01
#define EVENT_CRASH_LOADED 0x02         /* a crash kernel takes over */
#define EVENT_SHUTDOWN 0x04
#define EVENTS (EVENT_PANICKED | EVENT_CRASH_LOADED | EVENT_SHUTDOWN)

struct pvpanic {
	struct device dev;
	struct region region;
};

static uint64_t panic_read(struct device *d, uint64_t offset, unsigned size)
{
	return EVENTS;
}

static void panic_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	if (value & EVENTS)
		vm_request(d->vm, VM_REQ_PANIC, (unsigned)(value & EVENTS), NULL);
	if (value & ~(uint64_t)EVENTS)
		guest_error(d, "unknown event 0x%x", (unsigned)value);
}

static const struct region_ops panic_ops = { .read = panic_read, .write = panic_write, .min = 1, .max = 1 };

static bool panic_realize(struct device *d, struct fdset *fds, GError **err)
{
	struct pvpanic *p = (struct pvpanic *)d;
	const struct panic *config = d->config;
	uint32_t port = PORT_PVPANIC;

	if (config && config->address.type == ADDRESS_ISA && config->address.iobase != ADDRESS_UNSET)
		port = config->address.iobase;
	if (port > 0xffff)
		return kerr_set(err, KERR_ARGS, "port 0x%x is outside 0..0xffff", port);
	return device_map_pio(d, &p->region, &panic_ops, "pvpanic", (uint16_t)port, PORT_PVPANIC_LEN, err);
}

static void panic_unrealize(struct device *d)
{
	bus_unmap(&((struct pvpanic *)d)->region);
}

const struct device_ops pvpanic_ops = {
	.name = "pvpanic",
	.doc = "tells the host that the guest crashed",
	.size = sizeof(struct pvpanic),
	.config = &panic_schema,
	.state = &no_state,
	.realize = panic_realize,
	.unrealize = panic_unrealize,
};
