/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt lines. Several devices may share a GSI: it is high while any of them holds it. Any thread, but calls for one
 * struct irq are serialised by its device's lock.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;
#define IRQ_LINES 24

struct irq { struct vm *vm; unsigned gsi, source; bool level; };
/* Joins line gsi (0..23) as one more source, low; false and *err when there are too many (64). */
bool irq_init(struct irq *, struct vm *, unsigned gsi, GError **err);
void irq_finish(struct irq *);                  /* lowers and leaves */
void irq_set(struct irq *, bool level);         /* nothing happens when it is so already */
void irq_pulse(struct irq *);                   /* edge */
/* after a load or reset, main: tells the accelerator every line's level again, those of hv/intx.h too */
void irqs_sync(struct vm *);
