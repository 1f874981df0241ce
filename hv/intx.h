/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Level triggered interrupts whose sharers are many and whose raiser is any thread: PCI's INTx. Where the accelerator can,
 * each is an eventfd (a resampled irqfd): writing it raises the line without a call into KVM, and can be handed to others.
 * KVM lowers the line at the guest's EOI and tells all who share it; who still wants it raises it again. Elsewhere it is a
 * line that follows the device's level (hv/irq.h).
 *
 * So a line may stay up for longer than the device's level, until the next EOI, and the guest's handler then finds nothing
 * to do: at most once per raise, as on a bus where the level travels slowly. It is never lower than the device's level
 * for longer than the loop takes to raise it again.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "hv/irq.h"
#include "hv/loop.h"

struct intx {
	struct vm *vm;          /* NULL: none */
	unsigned gsi;
	int level;              /* atomic: what the device wants; written under its lock */
	int used;               /* atomic: raised since the line was certainly low */
	struct irq line;        /* .vm NULL: by eventfds */
	int fd;                 /* -1: by the line */
	struct loop_fd eoi;     /* on vm->loops[0] */
	struct intx *next;      /* of vm->intxs; main */
};

/* Main. Joins line gsi, low. *err: as irq_init's, or LIMIT when there are no descriptors. */
bool intx_init(struct intx *, struct vm *, unsigned gsi, GError **err);
void intx_finish(struct intx *);                /* lowers and leaves; fine after zeroing only */
/* Calls are serialised by the device's lock; any thread. Nothing happens when it is so already. */
void intx_set(struct intx *, bool level);
/* After a reset or a load, vCPUs parked, main: each line as the devices want it, whatever was on its way. */
void intxs_sync(struct vm *);
