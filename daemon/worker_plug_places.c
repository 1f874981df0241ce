/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI slots of devices that come and go: which the guest is told of, and where among them a device comes to. */
#include "daemon/worker_plug.h"
#include "devices/pci.h"
#include "devices/pcihp.h"
#include "domain/error.h"
#include "hv/x86/ports.h"

/* Where each slot that the guest is told of costs it much boot time, it is told of those with a device and of these. */
#define FREE_SLOTS 8

bool plug_shares_slot(struct device *d, GError **err)
{
	const struct pci *own = pci_of(d), *other = pci_neighbour(own);

	if (other)
		kerr_set(err, KERR_UNSUPPORTED, "its PCI slot 0x%02x is also that of '%s', and only whole slots come and go", own->slot, other->dev->id);
	else if (own->function)
		kerr_set(err, KERR_LIMIT, "all PCI slots are taken, and only whole slots come and go");
	return other || own->function;
}

static unsigned free_slot(struct worker *w, uint32_t slots)
{
	const struct pci_bus *b = pci_bus_of(&w->vm);
	unsigned slot = 0;

	while (slot < PCIHP_SLOTS && (!(slots & 1u << slot) || !pci_bus_slot_free(b, slot)))
		slot++;
	return slot;
}

bool plug_settle(struct worker *w, struct address *a, GError **err)
{
	uint32_t at = address_slot(a), slots = pcihp_slots(device_by_type(w, "pcihp"));
	bool given = at < PCIHP_SLOTS && !a->flat_slot;
	unsigned slot;

	if (at < PCIHP_SLOTS && slots & 1u << at)
		return true;
	slot = free_slot(w, slots);
	if (slot == PCIHP_SLOTS)
		return kerr_set(err, KERR_LIMIT, "all PCI slots that the guest was told of when it started are taken: detach a device, or attach it with --config and start the domain anew");
	if (given)
		return kerr_set(err, KERR_UNSUPPORTED, "PCI slot 0x%02x is none that the guest was told of when it started (this host emulates guest kernel code, each slot costs it time), 0x%02x is one: leave out the address, or attach it with --config and start the domain anew", at, slot);
	if (a->flat_slot) {
		a->flat_slot = slot;
		a->flat_function = 0;
		a->flat_multifunction = ONOFF_ABSENT;
	} else {
		a->type = ADDRESS_PCI;
		a->domain = a->bus = a->function = 0;
		a->slot = slot;
	}
	return true;
}

void plugs_limit(struct worker *w)
{
	struct device *block = device_by_type(w, "pcihp");
	const struct pci_bus *b = pci_bus_of(&w->vm);
	uint32_t slots = 0;

	if (!block || !w->vm.emulated)
		return;
	for (unsigned slot = 1, n = 0; slot < PCIHP_SLOTS; slot++)
		if (!pci_bus_slot_free(b, slot) || n++ < FREE_SLOTS)
			slots |= 1u << slot;
	pcihp_limit(block, slots);
}
