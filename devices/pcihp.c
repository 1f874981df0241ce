/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The PCI hot-plug block (registers: hv/x86/ports.h; the AML that uses them: hv/x86/acpi_dsdt.c).
 *
 * The block knows events only: what is in a slot, the guest reads in configuration space, and what an ejection means is
 * main's decision. What the guest does is collected per slot until main takes it, so a guest that writes all day queues
 * nothing; the last _OST of a slot counts. An ejection that was not asked for is reported as well: an operator inside the
 * guest may power a slot off.
 */
#include "devices/pcihp.h"

#include <string.h>

#include "devices/list.h"
#include "hv/vm.h"
#include "hv/x86/ports.h"

#define FIXED (~PCIHP_ALL)      /* the host bridge's slot */

struct pcihp {
	struct device dev;
	struct region region;
	struct pcihp_report reports[PCIHP_SLOTS];
	uint32_t waiting;       /* slots whose report has something */
	void (*posted)(void *);
	void *arg;

	/* state */
	uint32_t slots, up, down, ost_slot, ost_event;
};

static struct pcihp *pcihp_of(struct device *d)
{
	return (struct pcihp *)d;
}

/* The report of a slot, which main will be told of. */
static struct pcihp_report *report(struct pcihp *p, unsigned slot)
{
	struct pcihp_report *r = &p->reports[slot];

	if (!(p->waiting & 1u << slot)) {
		*r = (struct pcihp_report){ .slot = slot };
		if (!p->waiting && p->posted)
			p->posted(p->arg);
		p->waiting |= 1u << slot;
	}
	return r;
}

/* --- registers --- */

static uint64_t hp_read(struct device *d, uint64_t offset, unsigned size)
{
	const struct pcihp *p = pcihp_of(d);

	return offset == PCIHP_UP ? p->up : offset == PCIHP_DOWN ? p->down : 0;
}

static void acknowledge(struct pcihp *p, uint32_t *events, uint32_t bits)
{
	bits &= *events;
	*events &= ~bits;
	for (unsigned slot = 0; slot < PCIHP_SLOTS; slot++)
		if (bits & 1u << slot)
			report(p, slot)->seen = true;
}

static void eject(struct pcihp *p, uint32_t bits)
{
	if (bits & FIXED)
		guest_error(&p->dev, "the host bridge cannot be ejected");
	for (unsigned slot = 0; slot < PCIHP_SLOTS; slot++) {
		if (!(bits & ~FIXED & 1u << slot))
			continue;
		p->up &= ~(1u << slot);
		p->down &= ~(1u << slot);
		report(p, slot)->ejected = true;
	}
}

static void hp_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct pcihp *p = pcihp_of(d);
	uint32_t v = (uint32_t)value;
	struct pcihp_report *r;

	switch (offset) {
	case PCIHP_UP:
		acknowledge(p, &p->up, v);
		return;
	case PCIHP_DOWN:
		acknowledge(p, &p->down, v);
		return;
	case PCIHP_EJECT:
		eject(p, v);
		return;
	case PCIHP_OST_SLOT:
		p->ost_slot = v;
		return;
	case PCIHP_OST_EVENT:
		p->ost_event = v;
		return;
	default:
		if (p->ost_slot >= PCIHP_SLOTS) {
			guest_error(d, "_OST of slot %u", p->ost_slot);
			return;
		}
		r = report(p, p->ost_slot);
		r->told = true;
		r->event = p->ost_event;
		r->status = v;
	}
}

static const struct region_ops hp_ops = { .read = hp_read, .write = hp_write, .min = 4, .max = 4 };

/* --- main's side --- */

void pcihp_listen(struct device *d, void (*posted)(void *), void *arg)
{
	struct pcihp *p = pcihp_of(d);

	g_mutex_lock(&d->lock);
	p->posted = posted;
	p->arg = arg;
	g_mutex_unlock(&d->lock);
}

bool pcihp_take(struct device *d, struct pcihp_report *out)
{
	struct pcihp *p = pcihp_of(d);
	bool any;

	g_mutex_lock(&d->lock);
	any = p->waiting;
	if (any) {
		unsigned slot = (unsigned)__builtin_ctz(p->waiting);

		p->waiting &= ~(1u << slot);
		*out = p->reports[slot];
	}
	g_mutex_unlock(&d->lock);
	return any;
}

static void set_event(struct device *d, unsigned slot, bool up)
{
	struct pcihp *p = pcihp_of(d);
	uint32_t bit = 1u << slot;

	g_assert(slot < PCIHP_SLOTS && !(bit & FIXED));
	g_mutex_lock(&d->lock);
	p->up = up ? p->up | bit : p->up & ~bit;
	p->down = up ? p->down & ~bit : p->down | bit;
	g_mutex_unlock(&d->lock);
}

/* What the tables of d->vm will tell, now and after each reset. */
static void tell_of(struct device *d, uint32_t slots)
{
	pcihp_of(d)->slots = d->vm->plug_slots = slots;
}

void pcihp_limit(struct device *d, uint32_t slots)
{
	g_assert(slots && !(slots & FIXED));
	tell_of(d, slots);
}

uint32_t pcihp_slots(const struct device *d)
{
	return ((const struct pcihp *)d)->slots;
}

void pcihp_insert(struct device *d, unsigned slot)
{
	set_event(d, slot, true);
}

void pcihp_remove(struct device *d, unsigned slot)
{
	set_event(d, slot, false);
}

bool pcihp_withdraw(struct device *d, unsigned slot)
{
	struct pcihp *p = pcihp_of(d);
	uint32_t had;

	g_assert(slot < PCIHP_SLOTS);
	g_mutex_lock(&d->lock);
	had = (p->up | p->down) & 1u << slot;
	p->up &= ~had;
	p->down &= ~had;
	g_mutex_unlock(&d->lock);
	return had;
}

/* --- lifecycle --- */

static void hp_reset(struct device *d)
{
	struct pcihp *p = pcihp_of(d);

	p->up = p->down = p->ost_slot = p->ost_event = p->waiting = 0;
}

static bool hp_realize(struct device *d, struct fdset *fds, GError **err)
{
	tell_of(d, PCIHP_ALL);
	return device_map_pio(d, &pcihp_of(d)->region, &hp_ops, "pci-hotplug", PORT_PCIHP, PORT_PCIHP_LEN, err);
}

static void hp_unrealize(struct device *d)
{
	bus_unmap(&pcihp_of(d)->region);
	d->vm->plug_slots = 0;
}

static bool hp_post_load(void *obj, GError **err)
{
	struct pcihp *p = obj;

	tell_of(&p->dev, p->slots & PCIHP_ALL);
	p->up &= ~FIXED;
	p->down &= ~(FIXED | p->up);
	return true;
}

static const struct field state_fields[] = {
	U32(struct pcihp, slots, NULL, 2, UINT32_MAX, 0, "slots that the guest's tables name", .def = PCIHP_ALL),
	U32(struct pcihp, up, NULL, 0, UINT32_MAX, 0, "slots filled that the guest has yet to look at"),
	U32(struct pcihp, down, NULL, 0, UINT32_MAX, 0, "slots the guest is asked for"),
	U32(struct pcihp, ost_slot, NULL, 0, UINT32_MAX, 0, "slot of the report under way"),
	U32(struct pcihp, ost_event, NULL, 0, UINT32_MAX, 0, "its source event"),
	END
};
static const struct schema state_schema = { .name = "pcihp", .doc = "PCI hot-plug", .version = 1, .size = sizeof(struct pcihp),
	.fields = state_fields, .post_load = hp_post_load };

const struct device_ops pcihp_ops = {
	.name = "pcihp",
	.doc = "PCI devices that come and go: which slots the guest shall look at, what it says to it",
	.size = sizeof(struct pcihp),
	.state = &state_schema,
	.realize = hp_realize,
	.unrealize = hp_unrealize,
	.reset = hp_reset,
};
