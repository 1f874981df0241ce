/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Interrupt lines. Each struct irq is one source, a bit of its line; the line is high while any bit
 * is held. The accelerator is told under the lock, or two sources could swap the order of their
 * calls. Calls for one struct irq are serialised by its device's lock, so its level can be compared
 * without taking ours.
 */
#include "hv/irq.h"

#include "domain/error.h"
#include "hv/accel.h"
#include "hv/intx.h"
#include "hv/vm.h"

bool irq_init(struct irq *irq, struct vm *vm, unsigned gsi, GError **err)
{
	unsigned bit = 0;

	if (gsi >= IRQ_LINES)
		return kerr_set(err, KERR_ARGS, "interrupt line %u is outside 0..%d", gsi, IRQ_LINES - 1);
	g_mutex_lock(&vm->irqs.lock);
	while (bit < VM_IRQ_SOURCES && vm->irqs.sources[gsi] >> bit & 1)
		bit++;
	if (bit < VM_IRQ_SOURCES)
		vm->irqs.sources[gsi] |= 1ull << bit;
	g_mutex_unlock(&vm->irqs.lock);
	if (bit == VM_IRQ_SOURCES)
		return kerr_set(err, KERR_LIMIT, "interrupt line %u has %d devices already", gsi, VM_IRQ_SOURCES);
	*irq = (struct irq){ .vm = vm, .gsi = gsi, .source = bit };
	return true;
}

/* The line's level after one source changed. Lock held. */
static void change(struct irq *irq, bool level)
{
	struct vm *vm = irq->vm;
	uint64_t *held = &vm->irqs.held[irq->gsi], before = *held;
	int ret = 0;

	if (level)
		*held |= 1ull << irq->source;
	else
		*held &= ~(1ull << irq->source);
	if (!before != !*held)
		ret = vm->accel->irq(vm, irq->gsi, *held != 0);
	if (ret < 0)
		g_debug("irq %u: %s", irq->gsi, g_strerror(-ret));
}

void irq_finish(struct irq *irq)
{
	struct vm *vm = irq->vm;

	if (!vm)
		return;
	g_mutex_lock(&vm->irqs.lock);
	change(irq, false);
	vm->irqs.sources[irq->gsi] &= ~(1ull << irq->source);
	g_mutex_unlock(&vm->irqs.lock);
	*irq = (struct irq){ 0 };
}

void irq_set(struct irq *irq, bool level)
{
	if (irq->level == level)
		return;
	irq->level = level;
	g_mutex_lock(&irq->vm->irqs.lock);
	change(irq, level);
	g_mutex_unlock(&irq->vm->irqs.lock);
}

void irq_pulse(struct irq *irq)
{
	g_mutex_lock(&irq->vm->irqs.lock);
	change(irq, true);
	if (!irq->level)
		change(irq, false);
	g_mutex_unlock(&irq->vm->irqs.lock);
}

void irqs_sync(struct vm *vm)
{
	g_mutex_lock(&vm->irqs.lock);
	for (unsigned gsi = 0; gsi < IRQ_LINES; gsi++) {
		int ret = 0;

		if (vm->irqs.sources[gsi])
			ret = vm->accel->irq(vm, gsi, vm->irqs.held[gsi] != 0);
		if (ret < 0)
			g_debug("irq %u: %s", gsi, g_strerror(-ret));
	}
	g_mutex_unlock(&vm->irqs.lock);
	intxs_sync(vm);
}
