/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places and names of devices. The machine has one flat PCI bus: slot 0 is the root complex, devices
 * without an address take the first free one of slots 1 to 31, in the order of the XML. When all
 * slots are taken, further devices become functions 1 to 7 of slots that were given out in the same
 * pass (or whose device says multifunction='on'), since a slot that a guest may have probed already
 * cannot grow. What has an address keeps it; a clash is an error (check.c finds clashes of given
 * addresses, so here they only count as taken).
 */
#include "domain/machine.h"

#include <string.h>

#define SLOTS 32
#define FUNCTIONS 8
#define VIRTIO_SERIAL_PORTS 31          /* of a controller that does not say */

struct bus {
	struct report *report;
	bool taken[SLOTS][FUNCTIONS];
	struct address *first[SLOTS];   /* function 0 that may become a multifunction device */
	unsigned next_slot, next_multi;
};

/* --- PCI --- */
/* Does a device of this row sit on the PCI bus when kvmd runs it? */
static bool wants_pci(const struct field *row, void *dev)
{
	const struct schema *s = row->sub;

	if (s == &disk_schema)
		return disk_runs(dev);
	if (s == &iface_schema)
		return ((struct iface *)dev)->type != IFACE_HOSTDEV;
	if (s == &controller_schema) {
		const struct controller *c = dev;

		return c->type == CONTROLLER_VIRTIO_SERIAL ||
			(c->type == CONTROLLER_SCSI && (!c->model || g_str_has_prefix(c->model,
				"virtio")));
	}
	if (s == &balloon_schema)
		return ((struct balloon *)dev)->model != BALLOON_NONE &&
			((struct balloon *)dev)->model != BALLOON_XEN;
	if (s == &panic_schema)
		return ((struct panic *)dev)->model == PANIC_PVPANIC;
	if (s == &memdev_schema)
		return ((struct memdev *)dev)->model == MEMDEV_VIRTIO_MEM ||
			((struct memdev *)dev)->model == MEMDEV_VIRTIO_PMEM;
	if (s == &serial_schema)
		return row->sub == &serial_schema &&
			!g_strcmp0(((struct chardev *)dev)->target.type, "pci-serial");
	if (s == &watchdog_schema)
		return ((struct watchdog *)dev)->model == WATCHDOG_I6300ESB;
	return s == &rng_schema || s == &vsock_schema || s == &filesystem_schema;
}

/* The address that says where on the bus the device is. */
static struct address *pci_of(const struct field *row, void *dev)
{
	if (row->sub == &disk_schema) {
		struct disk *d = dev;

		return disk_stands_in(d) && d->address.type != ADDRESS_PCI ?
			&d->stand_in : &d->address;
	}
	return device_address(row, dev);
}

static void set_unset(uint32_t *member, uint32_t value)
{
	if (*member == ADDRESS_UNSET)
		*member = value;
}

static bool take_given(const struct field *row, void *dev, void *arg)
{
	struct bus *bus = arg;
	struct address *a = pci_of(row, dev);

	if (!a || a->type != ADDRESS_PCI || a->slot == ADDRESS_UNSET)
		return true;
	set_unset(&a->domain, 0);
	set_unset(&a->bus, 0);
	set_unset(&a->function, 0);
	if ((a->domain || a->bus) && bus->report->lenient && wants_pci(row, dev)) {
		report_warn(bus->report, a, a->bus ? "bus" : "domain", NULL,
			"the machine has one flat PCI bus, 0000:00: the device is moved there");
		a->slot = ADDRESS_UNSET;        /* give_pci gives a new one */
		a->multifunction = ONOFF_ABSENT;
		return true;
	}
	if (a->domain || a->bus || a->slot >= SLOTS || a->function >= FUNCTIONS)
		return true;
	bus->taken[a->slot][a->function] = true;
	if (!a->function && a->multifunction == ONOFF_ON && wants_pci(row, dev))
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

static void put(struct bus *bus, struct address *a, unsigned slot, unsigned function)
{
	bus->taken[slot][function] = true;
	a->type = ADDRESS_PCI;
	a->domain = a->bus = 0;
	a->slot = slot;
	a->function = function;
}

static bool give_pci(const struct field *row, void *dev, void *arg)
{
	struct bus *bus = arg;
	struct address *a = pci_of(row, dev);

	if (!a || !wants_pci(row, dev) || a->type > ADDRESS_PCI || (a->type == ADDRESS_PCI &&
	    a->slot != ADDRESS_UNSET) ||
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
		unsigned slot = bus->next_multi;

		if (!bus->first[slot])
			continue;
		for (unsigned f = 1; f < FUNCTIONS; f++)
			if (!bus->taken[slot][f]) {
				bus->first[slot]->multifunction = ONOFF_ON;
				put(bus, a, slot, f);
				return true;
			}
	}
	report_error(bus->report, dev, NULL, KERR_LIMIT,
		"leave out a device, or give free functions: <address type='pci' slot='0x01' function='0x1'/>",
		"there is no PCI slot left for it");
	return true;
}

/*
 * Stand-ins go first: their places are in no definition, so they must not depend on what else is
 * added to the machine later.
 */
static bool give_stand_in(const struct field *row, void *dev, void *arg)
{
	if (row->sub == &disk_schema && disk_stands_in(dev))
		give_pci(row, dev, arg);
	return true;
}

/* --- controllers --- */
static const struct controller *controller_find(const struct devices *d, int type, uint32_t index)
{
	list_each(controller, c, d->controllers)
		if (c->type == type && c->index == index)
			return c;
	return NULL;
}

static void controller_index(struct devices *d)
{
	uint32_t next[CONTROLLER_N] = { 0 };

	list_each(controller, c, d->controllers) {
		if (c->index != CONTROLLER_INDEX_NONE)
			continue;
		/* the first without a number is the root, as in libvirt */
		while (controller_find(d, c->type, next[c->type]))
			next[c->type]++;
		c->index = next[c->type]++;
	}
}

static void controller_add(struct devices *d, int type, uint32_t index, const char *model)
{
	struct controller *c = schema_new(&controller_schema);

	c->type = type;
	c->index = index;
	c->model = g_strdup(model);
	if (!d->controllers)
		d->controllers = g_ptr_array_new();
	g_ptr_array_add(d->controllers, c);
}

/* --- virtio-serial ports --- */
#define SERIAL_CONTROLLERS 32

struct ports {
	bool taken[SERIAL_CONTROLLERS][1024];
	unsigned size[SERIAL_CONTROLLERS];      /* 0: no such controller yet */
	unsigned top;                           /* one above the highest controller that is needed */
};

static bool on_virtio_serial(const struct chardev *c, bool console)
{
	return !g_strcmp0(c->target.type, "virtio") && (console || c->type != CHARDEV_ABSENT);
}

static void take_port(struct ports *p, struct chardev *c)
{
	struct address *a = &c->address;
	uint32_t port = address_port(a);

	if (a->type != ADDRESS_VIRTIO_SERIAL)
		return;
	set_unset(&a->controller, 0);
	set_unset(&a->bus, 0);
	if (a->controller >= SERIAL_CONTROLLERS)
		return;
	p->top = MAX(p->top, a->controller + 1);
	if (port < 1024)
		p->taken[a->controller][port] = true;
}

static void give_port(struct ports *p, struct chardev *c, bool console, struct report *r)
{
	struct address *a = &c->address;
	unsigned ctl = 0;

	if (a->type == ADDRESS_VIRTIO_SERIAL ? a->port != NULL : !address_empty(a))
		return;
	if (a->type == ADDRESS_VIRTIO_SERIAL && a->controller < SERIAL_CONTROLLERS)
		ctl = a->controller;
	for (; ctl < SERIAL_CONTROLLERS; ctl++) {
		/* port 0 is for a console: old guests look for it there */
		for (unsigned port = console ? 0 : 1; port < (p->size[ctl] ?
			p->size[ctl] : VIRTIO_SERIAL_PORTS); port++) {
			if (p->taken[ctl][port])
				continue;
			p->taken[ctl][port] = true;
			p->top = MAX(p->top, ctl + 1);
			a->type = ADDRESS_VIRTIO_SERIAL;
			a->controller = ctl;
			a->bus = 0;
			a->port = g_strdup_printf("%u", port);
			return;
		}
	}
	report_error(r, c, NULL, KERR_LIMIT, "leave out a channel",
		"there is no virtio-serial port left for it");
}

static void place_ports(struct devices *d, struct report *r)
{
	g_autofree struct ports *p = g_new0(struct ports, 1);
	const struct {
		GPtrArray *list;
		bool console;
	} lists[] = { { d->consoles, true }, { d->channels, false } };

	list_each(controller, c, d->controllers)
		if (c->type == CONTROLLER_VIRTIO_SERIAL && c->index < SERIAL_CONTROLLERS)
			p->size[c->index] = c->ports ? MIN(c->ports, 1024) : VIRTIO_SERIAL_PORTS;
	for (size_t n = 0; n < G_N_ELEMENTS(lists); n++)
		list_each(chardev, c, lists[n].list)
			take_port(p, c);
	for (size_t n = 0; n < G_N_ELEMENTS(lists); n++)
		list_each(chardev, c, lists[n].list)
			if (on_virtio_serial(c, lists[n].console))
				give_port(p, c, lists[n].console, r);
	for (unsigned i = 0; i < p->top; i++)
		if (!p->size[i])
			controller_add(d, CONTROLLER_VIRTIO_SERIAL, i, NULL);
}

/* --- names --- */
struct names {
	GHashTable *taken;              /* alias */
	GHashTable *next;               /* stem → next number to try */
	const struct devices *devices;
};

/* What a device's alias begins with, as libvirt has it. */
static char *alias_stem(const struct field *row, void *dev, int *number)
{
	static const struct {
		const struct schema *schema;
		const char *stem;
	} stems[] = {
		{ &iface_schema, "net" }, { &filesystem_schema, "fs" }, { &serial_schema,
			"serial" },
		{ &parallel_schema, "parallel" }, { &console_schema, "console" }, { &channel_schema,
			"channel" },
		{ &input_schema, "input" }, { &tpm_schema, "tpm" }, { &video_schema, "video" },
		{ &hostdev_schema, "hostdev" }, { &watchdog_schema, "watchdog" }, { &balloon_schema,
			"balloon" },
		{ &rng_schema, "rng" }, { &panic_schema, "panic" }, { &vsock_schema, "vsock" },
	};
	const struct schema *s = row->sub;

	*number = -1;
	if (s == &disk_schema) {
		const struct disk *d = dev;

		*number = disk_target_index(d->target.dev);
		return g_strdup_printf("%s-disk", disk_bus_names[d->target.bus]);
	}
	if (s == &controller_schema) {
		const struct controller *c = dev;

		*number = (int)MIN(c->index, 4096);
		if (c->type == CONTROLLER_PCI)
			return g_strdup(g_str_has_prefix(c->model ? c->model : "pcie", "pcie") ?
				"pcie." : "pci.");
		return g_strdup(controller_type_names[c->type]);
	}
	if (s == &memdev_schema) {
		static const char *const by_model[MEMDEV_N] = { "mem", "dimm", "nvdimm",
			"virtiopmem", "virtiomem", "epc" };

		return g_strdup(by_model[((struct memdev *)dev)->model]);
	}
	for (size_t i = 0; i < G_N_ELEMENTS(stems); i++)
		if (stems[i].schema == s)
			return g_strdup(stems[i].stem);
	return NULL;
}

static bool take_alias(const struct field *row, void *dev, void *arg)
{
	struct names *n = arg;
	char **alias = device_alias(row, dev);

	if (alias && *alias)
		g_hash_table_add(n->taken, g_strdup(*alias));
	return true;
}

static bool give_alias(const struct field *row, void *dev, void *arg)
{
	struct names *n = arg;
	char **alias = device_alias(row, dev);
	g_autofree char *stem = NULL;
	int number;

	if (!alias || *alias)
		return true;
	if (row->sub == &console_schema && chardev_is_serial_console(n->devices, dev)) {
		*alias = g_strdup(list_at(chardev, n->devices->serials, 0)->alias);
		return true;
	}
	stem = alias_stem(row, dev, &number);
	if (!stem)
		return true;
	if (number < 0)
		number = GPOINTER_TO_INT(g_hash_table_lookup(n->next, stem));
	for (;; number++) {
		g_autofree char *name = g_strdup_printf("%s%d", stem, number);

		if (g_hash_table_add(n->taken, g_strdup(name))) {
			*alias = g_steal_pointer(&name);
			break;
		}
	}
	g_hash_table_insert(n->next, g_steal_pointer(&stem), GINT_TO_POINTER(number + 1));
	return true;
}

static void place_isa(struct devices *d)
{
	list_each(panic, p, d->panics)
		if (p->model == PANIC_ISA && p->address.type == ADDRESS_ABSENT) {
			p->address.type = ADDRESS_ISA;
			p->address.iobase = 0x505;
		}
}

/* A drive address that names only some of its numbers. */
static bool complete_drive(const struct field *row, void *dev, void *arg)
{
	struct address *a = device_address(row, dev);

	(void)arg;
	if (a && a->type == ADDRESS_DRIVE) {
		set_unset(&a->controller, 0);
		set_unset(&a->bus, 0);
		set_unset(&a->target, 0);
		set_unset(&a->unit, 0);
	}
	return true;
}

void machine_place(struct machine *m, struct report *r)
{
	struct devices *d = &m->devices;
	struct bus bus = { .report = r, .next_slot = 1, .next_multi = 1 };
	struct names names = { .devices = d };

	controller_index(d);
	if (!controller_find(d, CONTROLLER_PCI, 0))
		controller_add(d, CONTROLLER_PCI, 0, "pcie-root");
	place_ports(d, r);
	place_isa(d);
	devices_each(d, complete_drive, NULL);
	devices_each(d, take_given, &bus);
	devices_each(d, give_stand_in, &bus);
	devices_each(d, give_pci, &bus);
	names.taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	names.next = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	devices_each(d, take_alias, &names);
	devices_each(d, give_alias, &names);
	g_hash_table_unref(names.taken);
	g_hash_table_unref(names.next);
}
