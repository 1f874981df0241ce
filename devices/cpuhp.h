/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vCPU hot-plug block: for whoever plugs and unplugs. The protocol is in hv/x86/ports.h. The caller raises
 * GPE_CPU_HOTPLUG after these calls. None may be made with the device's lock held.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "hv/device.h"

/* What the guest did to one slot since it was last asked about. */
struct cpuhp_report {
	unsigned slot;
	bool seen;              /* it has looked at the event */
	bool ejected;           /* the CPU is gone from the machine's side of the block */
	bool told;              /* _OST: source event and status are the latest */
	uint32_t event, status;
};

/* posted(arg) runs on a vCPU thread under the device's lock when there is something to take: it may only post. */
void cpuhp_listen(struct device *, void (*posted)(void *arg), void *arg);
/* Main: the next report; false when there is none. What one guest can queue is one report per slot. */
bool cpuhp_take(struct device *, struct cpuhp_report *);

/* Main: the slot is there now; event: the guest is to be told (it runs). */
void cpuhp_insert(struct device *, unsigned slot, bool event);
/* Main: asks the guest to give the slot up. */
void cpuhp_remove(struct device *, unsigned slot);
/* Main: takes an insertion or a request to remove back. True when the guest had not seen it: then nothing has happened.
 * An insertion that is taken back leaves the slot empty also when the guest has seen it. */
bool cpuhp_withdraw(struct device *, unsigned slot);
