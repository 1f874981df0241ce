/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places on the machine's one flat PCI bus; slot 0 is the root complex. In this order:
 *  1. Addresses on bus 0 stay as they are given. Devices that kvmd only keeps hold theirs too, as long
 *     as there are others.
 *  2. Devices that the definition puts elsewhere (behind a root port or bridge, or on SATA, IDE, SCSI,
 *     USB) keep that address and get a place of their own beside it, struct address' flat_slot. It is
 *     in no definition, so it follows from the definition alone and as little as possible from the
 *     other devices: each has a slot it prefers (from slot 4 on by the number of its bus, from slot
 *     18 on by the number of its disk), and takes the next free one where that is taken.
 *  3. Devices without an address take the lowest free slot, which becomes part of the definition.
 * When all slots are taken, further devices become functions 1 to 7 of slots that were given out in
 * the same pass (or whose device says multifunction='on'), since a slot that a guest may have probed
 * already cannot grow; those of 2 only of 2's, those of 3 only of 3's, because the former may not
 * depend on what the latter found free. Clashes are check_places.c's: here they only count as taken.
 */
#include "domain/machine.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS 32
#define FUNCTIONS 8
#define FIRST_BEHIND 4          /* slot that bus 1 prefers: below are screens and root ports on q35 */
#define FIRST_STAND_IN 18       /* slot that disk "a" of another bus prefers: behind 14 root ports' */

struct bus {
	struct report *report;
	bool taken[SLOTS][FUNCTIONS];
	bool runs[SLOTS];                       /* something there that is not only kept */
	struct address *first[SLOTS];           /* function 0 that may share its slot with devices of kind 3 */
	struct address *first_flat[SLOTS];      /* the same for devices of kind 2 */
	GArray *wishes;
	unsigned next_slot, next_multi;
};

/* A device of kind 2 without a place yet. */
struct wish {
	struct address *a;
	const void *dev;
	unsigned slot;                  /* preferred */
	uint64_t key;                   /* order, by the definition's own words */
	unsigned nth;                   /* order among equals */
};

bool device_on_pci(const struct field *row, const void *dev)
{
	const struct schema *s = row->sub;

	if (s == &disk_schema)
		return disk_runs(dev);
	if (s == &iface_schema)
		return ((const struct iface *)dev)->type != IFACE_HOSTDEV;
	if (s == &controller_schema) {
		const struct controller *c = dev;

		return c->type == CONTROLLER_VIRTIO_SERIAL ||
			(c->type == CONTROLLER_SCSI && (!c->model || g_str_has_prefix(c->model, "virtio")));
	}
	if (s == &balloon_schema) {
		const struct balloon *b = dev;

		return b->model != BALLOON_NONE && b->model != BALLOON_XEN;
	}
	if (s == &panic_schema)
		return ((const struct panic *)dev)->model == PANIC_PVPANIC;
	if (s == &memdev_schema) {
		const struct memdev *m = dev;

		return m->model == MEMDEV_VIRTIO_MEM || m->model == MEMDEV_VIRTIO_PMEM;
	}
	if (s == &serial_schema)
		return !g_strcmp0(((const struct chardev *)dev)->target.type, "pci-serial");
	if (s == &watchdog_schema)
		return ((const struct watchdog *)dev)->model == WATCHDOG_I6300ESB;
	return s == &rng_schema || s == &vsock_schema || s == &filesystem_schema;
}

static bool stands_in(const struct field *row, const void *dev)
{
	return row->sub == &disk_schema && disk_stands_in(dev);
}

/* Is the definition's address one of another bus than the machine's? */
static bool is_elsewhere(const struct field *row, const void *dev, const struct address *a)
{
	if (!device_on_pci(row, dev))
		return false;
	if (a->type != ADDRESS_PCI)
		return stands_in(row, dev);
	return (a->bus && a->bus != ADDRESS_UNSET) || (a->domain && a->domain != ADDRESS_UNSET);
}

static void set_unset(uint32_t *member, uint32_t value)
{
	if (*member == ADDRESS_UNSET)
		*member = value;
}

/* What is not given will be 0. */
static bool is_zero(uint32_t value)
{
	return !value || value == ADDRESS_UNSET;
}

static void forget_flat(struct address *a)
{
	a->flat_slot = a->flat_function = 0;
	a->flat_multifunction = ONOFF_ABSENT;
}

static void wish(struct bus *bus, const struct field *row, const void *dev, struct address *a)
{
	struct wish w = { .a = a, .dev = dev, .nth = bus->wishes->len };
	unsigned from;

	if (a->type == ADDRESS_PCI) {
		from = FIRST_BEHIND - 1 + a->bus + a->slot;
		w.key = (uint64_t)a->domain << 32 | a->bus << 16 | a->slot << 8 | a->function;
	} else {
		const struct disk *d = dev;
		int index = disk_target_index(d->target.dev);

		from = FIRST_STAND_IN + (unsigned)MAX(index, 0);
		w.key = UINT64_C(1) << 48 | (uint64_t)MAX(index, 0) << 8 | (unsigned)d->target.bus;
	}
	w.slot = 1 + (from - 1) % (SLOTS - 1);
	g_array_append_val(bus->wishes, w);
}

/* Completes what is given and counts it as taken; what is elsewhere and has no place yet is noted. */
static bool take_given(const struct field *row, void *dev, void *arg)
{
	struct bus *bus = arg;
	struct address *a = device_address(row, dev);

	if (!a)
		return true;
	if (a->type == ADDRESS_PCI && !is_elsewhere(row, dev, a) && device_on_pci(row, dev) && !a->slot &&
	    is_zero(a->bus) && is_zero(a->function)) {
		if (a->bus || a->function) {    /* the root complex's slot, which is refused: not to be taken for "any" later */
			a->bus = ADDRESS_UNSET;
			a->function = 0;
			return true;
		}
		a->slot = ADDRESS_UNSET;        /* libvirt's way of saying "any" */
	}
	if (a->type == ADDRESS_PCI && (a->slot != ADDRESS_UNSET || (a->bus && a->bus != ADDRESS_UNSET))) {
		set_unset(&a->domain, 0);
		set_unset(&a->bus, 0);
		set_unset(&a->slot, 0);
		set_unset(&a->function, 0);
	}
	if (!is_elsewhere(row, dev, a)) {
		forget_flat(a);
	} else if (!a->flat_slot || a->flat_slot >= SLOTS || a->flat_function >= FUNCTIONS) {
		forget_flat(a);
		wish(bus, row, dev, a);
		return true;
	}
	if (address_slot(a) >= SLOTS || address_function(a) >= FUNCTIONS)
		return true;
	bus->taken[address_slot(a)][address_function(a)] = true;
	bus->runs[address_slot(a)] |= device_on_pci(row, dev);
	if (!a->flat_slot && !a->function && a->multifunction == ONOFF_ON && device_on_pci(row, dev))
		bus->first[a->slot] = a;
	return true;
}

static bool slot_free(const struct bus *bus, unsigned slot)
{
	for (unsigned f = 0; f < FUNCTIONS; f++)
		if (bus->taken[slot][f])
			return false;
	return true;
}

/* A free function beside a device; 0: none. */
static unsigned free_function(const struct bus *bus, unsigned slot)
{
	for (unsigned f = 1; f < FUNCTIONS; f++)
		if (!bus->taken[slot][f])
			return f;
	return 0;
}

static void no_place(struct bus *bus, const void *dev)
{
	report_error(bus->report, dev, NULL, KERR_LIMIT,
		"leave out a device, or give free functions: <address type='pci' slot='0x01' function='0x1'/>",
		"there is no PCI slot left for it");
}

/* --- devices whose address is elsewhere --- */
static gint by_key(gconstpointer x, gconstpointer y)
{
	const struct wish *a = x, *b = y;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return a->nth < b->nth ? -1 : 1;
}

static void put_flat(struct bus *bus, struct address *a, unsigned slot, unsigned function)
{
	bus->taken[slot][function] = bus->runs[slot] = true;
	a->flat_slot = slot;
	a->flat_function = function;
}

/* The i-th slot to try, from the preferred one on. */
static unsigned nth_slot(const struct wish *w, unsigned i)
{
	return 1 + (w->slot - 1 + i) % (SLOTS - 1);
}

static void grant(struct bus *bus, const struct wish *w)
{
	for (unsigned i = 0; i < 2 * (SLOTS - 1); i++) {
		unsigned slot = nth_slot(w, i);

		/* on the second round, where nothing but kept devices is */
		if (i < SLOTS - 1 ? slot_free(bus, slot) : !bus->runs[slot]) {
			bus->first_flat[slot] = w->a;
			put_flat(bus, w->a, slot, 0);
			return;
		}
	}
	for (unsigned i = 0; i < SLOTS - 1; i++) {
		unsigned slot = nth_slot(w, i), function = bus->first_flat[slot] ? free_function(bus, slot) : 0;

		if (function) {
			bus->first_flat[slot]->flat_multifunction = ONOFF_ON;
			put_flat(bus, w->a, slot, function);
			return;
		}
	}
	no_place(bus, w->dev);
}

/* --- devices without an address --- */
static void put(struct bus *bus, struct address *a, unsigned slot, unsigned function)
{
	bus->taken[slot][function] = bus->runs[slot] = true;
	a->type = ADDRESS_PCI;
	a->domain = a->bus = 0;
	a->slot = slot;
	a->function = function;
}

static bool give(const struct field *row, void *dev, void *arg)
{
	struct bus *bus = arg;
	struct address *a = device_address(row, dev);

	if (!a || !device_on_pci(row, dev) || a->flat_slot || a->type > ADDRESS_PCI ||
	    (a->type == ADDRESS_PCI && a->slot != ADDRESS_UNSET) ||
	    (a->type == ADDRESS_ABSENT && !address_empty(a)))
		return true;
	while (bus->next_slot < SLOTS && !slot_free(bus, bus->next_slot))
		bus->next_slot++;
	if (bus->next_slot < SLOTS) {
		bus->first[bus->next_slot] = a;
		put(bus, a, bus->next_slot++, 0);
		return true;
	}
	for (; bus->next_multi < SLOTS; bus->next_multi++) {
		unsigned slot = bus->next_multi, function = bus->first[slot] ? free_function(bus, slot) : 0;

		if (function) {
			bus->first[slot]->multifunction = ONOFF_ON;
			put(bus, a, slot, function);
			return true;
		}
	}
	no_place(bus, dev);
	return true;
}

void machine_place_pci(struct devices *d, struct report *r)
{
	struct bus bus = { .report = r, .next_slot = 1, .next_multi = 1 };

	bus.wishes = g_array_new(FALSE, FALSE, sizeof(struct wish));
	devices_each(d, take_given, &bus);
	g_array_sort(bus.wishes, by_key);
	for (unsigned i = 0; i < bus.wishes->len; i++)
		grant(&bus, &g_array_index(bus.wishes, struct wish, i));
	g_array_unref(bus.wishes);
	devices_each(d, give, &bus);
}
