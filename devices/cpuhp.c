/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vCPU hot-plug block (registers: hv/x86/ports.h; the AML that uses them: hv/x86/acpi_dsdt.c).
 *
 * A slot's byte is what the guest reads: present, and events that it has not seen. Which slots are present after a reset
 * follows from the machine's vCPUs. What the guest does is collected per slot until main takes it, so a guest that writes
 * all day queues nothing; the last _OST of a slot counts.
 */
#include "devices/cpuhp.h"

#include <string.h>

#include "devices/list.h"
#include "domain/error.h"
#include "hv/vm.h"
#include "hv/x86/ports.h"

#define EVENTS (CPUHP_INSERT | CPUHP_REMOVE)
#define SLOTS_MAX 4096u

struct cpuhp {
	struct device dev;
	struct region region;
	unsigned n;                     /* slots; n and fixed do not change */
	bool *fixed;                    /* n: what may not be ejected */
	struct cpuhp_report *reports;   /* n of them */
	bool *waiting;                  /* n: this slot's report has something */
	unsigned waiting_n;
	void (*posted)(void *);
	void *arg;

	/* state */
	uint32_t select, ost_event;
	GByteArray *slots;              /* n of CPUHP_PRESENT, CPUHP_INSERT, CPUHP_REMOVE; NULL only inside a load */
};

static struct cpuhp *cpuhp_of(struct device *d)
{
	return (struct cpuhp *)d;
}

static uint8_t *slot_at(struct cpuhp *c, uint32_t slot)
{
	return slot < c->n ? &c->slots->data[slot] : NULL;
}

/* The report of the selected slot, which main will be told of. */
static struct cpuhp_report *report(struct cpuhp *c)
{
	struct cpuhp_report *r = &c->reports[c->select];

	if (!c->waiting[c->select]) {
		c->waiting[c->select] = true;
		*r = (struct cpuhp_report){ .slot = c->select };
		if (!c->waiting_n++ && c->posted)
			c->posted(c->arg);
	}
	return r;
}

/* --- registers --- */

static uint64_t hp_read(struct device *d, uint64_t offset, unsigned size)
{
	struct cpuhp *c = cpuhp_of(d);
	const uint8_t *slot = slot_at(c, c->select);

	return offset == CPUHP_STATE && slot ? *slot : 0;
}

static void write_state(struct cpuhp *c, uint8_t value)
{
	uint8_t *slot = slot_at(c, c->select);

	if (!slot)
		return;
	if (*slot & value & EVENTS) {
		*slot &= (uint8_t)~(value & EVENTS);
		report(c)->seen = true;
	}
	if (!(value & CPUHP_EJECT) || !(*slot & CPUHP_PRESENT))
		return;
	if (c->fixed[c->select]) {
		guest_error(&c->dev, "vCPU %u cannot be ejected", c->select);
		return;
	}
	*slot = 0;
	report(c)->ejected = true;
}

static void hp_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	struct cpuhp *c = cpuhp_of(d);
	struct cpuhp_report *r;

	/* the wide registers are dwords: their other bytes, and narrower writes, mean nothing */
	if (offset == CPUHP_STATE) {
		write_state(c, (uint8_t)value);
		return;
	}
	if (size != 4)
		return;
	switch (offset) {
	case CPUHP_SELECT:
		c->select = (uint32_t)value;
		return;
	case CPUHP_OST_EVENT:
		c->ost_event = (uint32_t)value;
		return;
	case CPUHP_OST_STATUS:
		if (!slot_at(c, c->select))
			return;
		r = report(c);
		r->told = true;
		r->event = c->ost_event;
		r->status = (uint32_t)value;
		return;
	default:
		return;
	}
}

static const struct region_ops hp_ops = { .read = hp_read, .write = hp_write, .min = 1, .max = 4 };

/* --- main's side --- */

void cpuhp_listen(struct device *d, void (*posted)(void *), void *arg)
{
	struct cpuhp *c = cpuhp_of(d);

	g_mutex_lock(&d->lock);
	c->posted = posted;
	c->arg = arg;
	g_mutex_unlock(&d->lock);
}

bool cpuhp_take(struct device *d, struct cpuhp_report *out)
{
	struct cpuhp *c = cpuhp_of(d);
	bool any;

	g_mutex_lock(&d->lock);
	any = c->waiting_n;
	for (unsigned i = 0; any && i < c->n; i++) {
		if (!c->waiting[i])
			continue;
		c->waiting[i] = false;
		c->waiting_n--;
		*out = c->reports[i];
		break;
	}
	g_mutex_unlock(&d->lock);
	return any;
}

void cpuhp_insert(struct device *d, unsigned slot, bool event)
{
	struct cpuhp *c = cpuhp_of(d);

	g_mutex_lock(&d->lock);
	g_assert(slot_at(c, slot));
	*slot_at(c, slot) = (uint8_t)(CPUHP_PRESENT | (event ? CPUHP_INSERT : 0));
	g_mutex_unlock(&d->lock);
}

void cpuhp_remove(struct device *d, unsigned slot)
{
	struct cpuhp *c = cpuhp_of(d);

	g_mutex_lock(&d->lock);
	g_assert(slot_at(c, slot));
	if (*slot_at(c, slot) & CPUHP_PRESENT)
		*slot_at(c, slot) |= CPUHP_REMOVE;
	g_mutex_unlock(&d->lock);
}

bool cpuhp_withdraw(struct device *d, unsigned slot)
{
	struct cpuhp *c = cpuhp_of(d);
	uint8_t *s, had;

	g_mutex_lock(&d->lock);
	s = slot_at(c, slot);
	g_assert(s);
	had = *s;
	*s = vm_has_vcpu(d->vm, slot) ? (uint8_t)(had & ~EVENTS) : 0;
	g_mutex_unlock(&d->lock);
	return had & EVENTS;
}

/* --- lifecycle --- */

static void slots_fresh(struct cpuhp *c)
{
	if (!c->slots)
		c->slots = g_byte_array_new();
	g_byte_array_set_size(c->slots, c->n);
	for (unsigned i = 0; i < c->n; i++)
		c->slots->data[i] = vm_has_vcpu(c->dev.vm, i) ? CPUHP_PRESENT : 0;
}

static void hp_reset(struct device *d)
{
	struct cpuhp *c = cpuhp_of(d);

	c->select = c->ost_event = 0;
	slots_fresh(c);
	memset(c->waiting, 0, c->n * sizeof(*c->waiting));
	c->waiting_n = 0;
}

static bool hp_realize(struct device *d, struct fdset *fds, GError **err)
{
	struct cpuhp *c = cpuhp_of(d);

	c->n = CLAMP(d->vm->def->vcpu.max, 1, SLOTS_MAX);
	c->reports = g_new0(struct cpuhp_report, c->n);
	c->waiting = g_new0(bool, c->n);
	c->fixed = g_new(bool, c->n);
	for (unsigned i = 0; i < c->n; i++)
		c->fixed[i] = !machine_vcpu_hotpluggable(d->vm->def, i);
	return device_map_pio(d, &c->region, &hp_ops, "vcpu-hotplug", PORT_CPUHP, PORT_CPUHP_LEN, err);
}

static void hp_unrealize(struct device *d)
{
	struct cpuhp *c = cpuhp_of(d);

	bus_unmap(&c->region);
	g_clear_pointer(&c->slots, g_byte_array_unref);
	g_clear_pointer(&c->reports, g_free);
	g_clear_pointer(&c->waiting, g_free);
	g_clear_pointer(&c->fixed, g_free);
}

static bool hp_post_load(void *obj, GError **err)
{
	struct cpuhp *c = obj;

	if (!c->slots)          /* none was sent */
		slots_fresh(c);
	if (c->slots->len != c->n)
		return kerr_set(err, KERR_STATE_DATA, "%u vCPU slots in the saved state, %u here", c->slots->len, c->n);
	for (unsigned i = 0; i < c->n; i++) {
		uint8_t s = c->slots->data[i];

		if (!!(s & CPUHP_PRESENT) != vm_has_vcpu(c->dev.vm, i))
			return kerr_set(err, KERR_STATE_DATA, "vCPU %u is %s in the saved state", i, s & CPUHP_PRESENT ? "present" : "absent");
		if (s & ~(CPUHP_PRESENT | EVENTS) || (s & EVENTS && !(s & CPUHP_PRESENT)))
			return kerr_set(err, KERR_STATE_DATA, "vCPU %u: state 0x%x is impossible", i, s);
	}
	return true;
}

static const struct field state_fields[] = {
	U32(struct cpuhp, select, NULL, 0, UINT32_MAX, 0, "slot selected"),
	U32(struct cpuhp, ost_event, NULL, 0, UINT32_MAX, 0, "source event of the report under way"),
	BYTES(struct cpuhp, slots, NULL, SLOTS_MAX, 0, "what each slot shows"),
	END
};
static const struct schema state_schema = { .name = "cpuhp", .doc = "vCPU hot-plug", .version = 1, .size = sizeof(struct cpuhp),
	.fields = state_fields, .post_load = hp_post_load };

const struct device_ops cpuhp_ops = {
	.name = "cpuhp",
	.doc = "vCPUs that come and go: which are there, what the guest shall look at, what it says to it",
	.size = sizeof(struct cpuhp),
	.state = &state_schema,
	.realize = hp_realize,
	.unrealize = hp_unrealize,
	.reset = hp_reset,
};
