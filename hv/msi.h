/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Message signalled interrupts to the guest. Each struct msi is a message (address, data) that a device may send; where
 * the accelerator can, it is an eventfd that KVM watches (irqfd) with a route of its own, so that signalling is one write
 * and the descriptor can be handed to others. Elsewhere the accelerator is called with the message.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;

#define MSI_MAX 1024            /* of one machine; more are sent without a route */

struct msi {
	struct vm *vm;
	uint64_t addr;          /* under the table's lock */
	uint32_t data;
	bool set;               /* it has a message */
	int gsi;                /* its route; -1: none */
	int fd;                 /* KVM's eventfd; -1: the accelerator is called */
};

/* Main thread. Never fails: without descriptors or routes left it takes the slower way. */
void msi_init(struct msi *, struct vm *);
void msi_finish(struct msi *);          /* fine after zeroing only, too */
/* What it says from now on. Serialised by the device's lock; vCPU threads and main. */
void msi_set(struct msi *, uint64_t addr, uint32_t data);
/* Sends it; nothing happens before it has a message. Any thread. */
void msi_signal(struct msi *);
/* With the machine: frees the table. */
void msis_free(struct vm *);
