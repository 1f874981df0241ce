/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The root complex: bus 0, its windows, the config ports CF8 and CFC, and the host bridge that is function 00:00.0.
 *
 * A function answers in the ECAM window by itself. The data port looks the function up there, so it is called with this
 * device's lock held and takes the function's: the one place where two devices' locks nest, always in this order; no
 * function calls here from its registers. Only main changes who is on the bus.
 *
 * Homes of BARs are first fits in the window below 4 GiB, so that equal machines get equal addresses.
 */
#include <string.h>

#include "devices/list.h"
#include "devices/pci.h"
#include "domain/error.h"
#include "domain/state.h"
#include "hv/vm.h"
#include "hv/x86/ports.h"

#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_WRITE 0x80fffffcu
#define BRIDGE_VENDOR 0x1b36
#define BRIDGE_DEVICE 0x0008
#define BRIDGE_CLASS 0x060000           /* host bridge */

struct place {
	uint64_t base, size;
};
struct pci_bus {
	struct pci *functions[PCI_SLOTS][PCI_FUNCTIONS];
	GArray *places;                 /* of struct place, by base */
};

struct pci_host {
	struct pci_device head;
	struct pci_bus bus;
	struct region address_port, data_port;

	/* state */
	uint32_t address;
};

static struct pci_host *host_of(struct device *d)
{
	return (struct pci_host *)d;
}

/* --- the bus --- */

struct pci_bus *pci_bus_of(struct vm *vm)
{
	for (unsigned i = 0; i < vm->devices->len; i++) {
		struct device *d = vm->devices->pdata[i];

		if (d->ops == &pci_host_ops && host_of(d)->bus.places)
			return &host_of(d)->bus;
	}
	return NULL;
}

bool pci_bus_slot_free(const struct pci_bus *b, unsigned slot)
{
	for (unsigned f = 0; f < PCI_FUNCTIONS; f++)
		if (b->functions[slot][f])
			return false;
	return true;
}

bool pci_bus_join(struct pci_bus *b, struct pci *p, const struct address *a, GError **err)
{
	unsigned slot = 0, function = 0;

	if (a && (a->flat_slot || (a->type == ADDRESS_PCI && a->slot != ADDRESS_UNSET))) {
		slot = address_slot(a);
		function = address_function(a);
		if (slot >= PCI_SLOTS || function >= PCI_FUNCTIONS) {
			g_autofree char *text = address_text(a);

			return kerr_set(err, KERR_ARGS, "PCI address %s: the machine has bus 0000:00 only, slots 0x00 to 0x1f", text);
		}
		if (b->functions[slot][function])
			return kerr_set(err, KERR_BUSY, "PCI address 0000:00:%02x.%x belongs to '%s'", slot, function,
				b->functions[slot][function]->dev->id);
	} else {
		while (slot < PCI_SLOTS && !pci_bus_slot_free(b, slot))
			slot++;
		if (slot == PCI_SLOTS)
			return kerr_set(err, KERR_LIMIT, "no PCI slot is free");
	}
	p->bus = b;
	p->slot = slot;
	p->function = function;
	b->functions[slot][function] = p;
	return true;
}

struct pci *pci_neighbour(const struct pci *p)
{
	for (unsigned f = 0; p->bus && f < PCI_FUNCTIONS; f++)
		if (f != p->function && p->bus->functions[p->slot][f])
			return p->bus->functions[p->slot][f];
	return NULL;
}

void pci_bus_leave(struct pci *p)
{
	if (p->bus)
		p->bus->functions[p->slot][p->function] = NULL;
	p->bus = NULL;
}

bool pci_bus_place(struct pci_bus *b, uint64_t size, uint64_t *base, GError **err)
{
	uint64_t at = PCI_MMIO32_BASE;
	unsigned i;

	for (i = 0; i < b->places->len; i++) {
		const struct place *p = &g_array_index(b->places, struct place, i);

		if (p->base >= at && p->base - at >= size)
			break;
		at = MAX(at, (p->base + p->size + size - 1) & ~(size - 1));
	}
	if (at + size > (uint64_t)PCI_MMIO32_BASE + PCI_MMIO32_LEN)
		return kerr_set(err, KERR_LIMIT, "the PCI window has no room for %" G_GUINT64_FORMAT " KiB", size >> 10);
	g_array_insert_val(b->places, i, ((struct place){ at, size }));
	*base = at;
	return true;
}

void pci_bus_unplace(struct pci_bus *b, uint64_t base)
{
	for (unsigned i = 0; i < b->places->len; i++) {
		if (g_array_index(b->places, struct place, i).base != base)
			continue;
		g_array_remove_index(b->places, i);
		return;
	}
}

/* --- config ports --- */

static uint64_t address_read(struct device *d, uint64_t offset, unsigned size)
{
	return (uint64_t)(host_of(d)->address >> 8 * offset);
}

static void address_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	if (size == 4)          /* narrower ones are for others: some chipsets have their reset at 0xcf9 */
		host_of(d)->address = (uint32_t)value & ADDRESS_WRITE;
}

static void relay(struct pci_host *h, unsigned offset, uint8_t *data, unsigned size, bool write)
{
	unsigned bus = h->address >> 16 & 0xff, devfn = h->address >> 8 & 0xff, reg = (h->address & 0xfc) + offset;
	uint64_t at = PCI_ECAM_BASE + ((uint64_t)devfn << 12) + reg;
	struct bus *mmio = h->head.dev.vm->mmio;
	uint32_t v = 0;

	memset(data + (write ? size : 0), 0xff, write ? 0 : size);
	if (!(h->address & ADDRESS_ENABLE) || bus)
		return;
	if (devfn) {
		if (write)
			bus_write(mmio, at, data, size);
		else
			bus_read(mmio, at, data, size);
	} else if (write) {     /* our own function: the lock is held */
		memcpy(&v, data, size);
		pci_config_write(&h->head.pci, reg, size, v);
	} else {
		v = pci_config_read(&h->head.pci, reg, size);
		memcpy(data, &v, size);
	}
}

static uint64_t data_read(struct device *d, uint64_t offset, unsigned size)
{
	uint64_t v = 0;

	relay(host_of(d), (unsigned)offset, (uint8_t *)&v, size, false);
	return v;
}

static void data_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	relay(host_of(d), (unsigned)offset, (uint8_t *)&value, size, true);
}

static const struct region_ops address_ops = { .read = address_read, .write = address_write, .min = 1, .max = 4 };
static const struct region_ops data_ops = { .read = data_read, .write = data_write, .min = 1, .max = 4 };

/* --- lifecycle --- */

static const struct pci_ids bridge_ids = { .vendor = BRIDGE_VENDOR, .device = BRIDGE_DEVICE, .subvendor = 0x1af4,
	.subdevice = 0x1100, .class = BRIDGE_CLASS };

static bool host_realize(struct device *d, struct fdset *fds, GError **err)
{
	struct pci_host *h = host_of(d);

	h->bus.places = g_array_new(FALSE, FALSE, sizeof(struct place));
	return pci_init(&h->head, NULL, &bridge_ids, NULL, err) &&
		device_map_pio(d, &h->address_port, &address_ops, "PCI address", PORT_PCI_ADDR, 4, err) &&
		device_map_pio(d, &h->data_port, &data_ops, "PCI data", PORT_PCI_DATA, 4, err) && pci_map(&h->head.pci, err);
}

static void host_unrealize(struct device *d)
{
	struct pci_host *h = host_of(d);

	bus_unmap(&h->address_port);
	bus_unmap(&h->data_port);
	pci_finish(&h->head.pci);
	for (unsigned i = 0; i < PCI_SLOTS * PCI_FUNCTIONS; i++)
		g_assert(!h->bus.functions[i / PCI_FUNCTIONS][i % PCI_FUNCTIONS]);      /* devices go before their bus */
	g_clear_pointer(&h->bus.places, g_array_unref);
}

static void host_reset(struct device *d)
{
	struct pci_host *h = host_of(d);

	h->address = 0;
	pci_reset(&h->head.pci);
}

static void host_pre_save(void *obj)
{
	pci_pre_save(&((struct pci_host *)obj)->head.pci);
}

static bool host_post_load(void *obj, GError **err)
{
	struct pci_host *h = obj;

	h->address &= ADDRESS_WRITE;
	return pci_post_load(&h->head.pci, err);
}

static const struct field state_fields[] = {
	PCI_STATE_ROWS(struct pci_host, head.pci),
	U32(struct pci_host, address, NULL, 0, UINT32_MAX, 0, "config address port"),
	END
};
static const struct schema state_schema = { .name = "pci-host", .doc = "PCI root complex", .version = 1,
	.size = sizeof(struct pci_host), .fields = state_fields, .pre_save = host_pre_save, .post_load = host_post_load };

const struct device_ops pci_host_ops = {
	.name = "pci-host",
	.doc = "PCI root complex: bus 0, config ports, host bridge",
	.size = sizeof(struct pci_host),
	.state = &state_schema,
	.realize = host_realize,
	.unrealize = host_unrealize,
	.reset = host_reset,
};
