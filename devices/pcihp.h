/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI hot-plug block: for whoever plugs and unplugs. The protocol is in hv/x86/ports.h. The caller raises
 * GPE_PCI_HOTPLUG after these calls. None may be made with the device's lock held.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "hv/device.h"

/* What the guest did to one slot since it was last asked about. */
struct pcihp_report {
	unsigned slot;
	bool seen;              /* it has looked at the event */
	bool ejected;           /* it gives up what is in the slot, whether it was asked or not */
	bool told;              /* _OST: source event and status are the latest */
	uint32_t event, status;
};

/* posted(arg) runs on a vCPU thread under the device's lock when there is something to take: it may only post. */
void pcihp_listen(struct device *, void (*posted)(void *arg), void *arg);
/* Main: the next report; false when there is none. What one guest can queue is one report per slot. */
bool pcihp_take(struct device *, struct pcihp_report *);

/*
 * Main: the slots (bits, of PCIHP_ALL) that the guest is told of: devices can come to these and go from them. It is told when
 * its tables are written, so they are limited before it first runs, and stay what they are; all, where they are not limited.
 */
void pcihp_limit(struct device *, uint32_t slots);
uint32_t pcihp_slots(const struct device *);

/* Main: the slot has been filled. */
void pcihp_insert(struct device *, unsigned slot);
/* Main: asks the guest to give the slot up. */
void pcihp_remove(struct device *, unsigned slot);
/* Main: takes either back. True when the guest had not seen it: then, for it, nothing has happened. */
bool pcihp_withdraw(struct device *, unsigned slot);
