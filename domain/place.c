/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Places and names of devices: numbers of controllers, ports of virtio-serial controllers, aliases.
 * place_pci.c has the PCI bus.
 */
#include "domain/machine.h"

#include <string.h>

#define VIRTIO_SERIAL_PORTS 31          /* of a controller that does not say */

static void set_unset(uint32_t *member, uint32_t value)
{
	if (*member == ADDRESS_UNSET)
		*member = value;
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
	GHashTable *taken;              /* alias; the devices own the text */
	GHashTable *next;               /* stem → next number to try */
	const struct devices *devices;
};

/* What a device's alias begins with, as libvirt has it; *number: what follows, -1: the next free one. */
static const char *alias_stem(const struct field *row, const void *dev, int *number)
{
	static const char *const by_bus[DISK_BUS_N] = { "disk", "ide-disk", "fdc-disk", "scsi-disk", "virtio-disk", "xen-disk",
		"usb-disk", "uml-disk", "sata-disk", "sd-disk" };
	static const char *const by_model[MEMDEV_N] = { "mem", "dimm", "nvdimm", "virtiopmem", "virtiomem", "epc" };
	static const struct {
		const struct schema *schema;
		const char *stem;
	} stems[] = {
		{ &iface_schema, "net" }, { &channel_schema, "channel" }, { &serial_schema, "serial" },
		{ &console_schema, "console" }, { &rng_schema, "rng" }, { &balloon_schema, "balloon" },
		{ &input_schema, "input" }, { &video_schema, "video" }, { &panic_schema, "panic" },
		{ &filesystem_schema, "fs" }, { &parallel_schema, "parallel" }, { &tpm_schema, "tpm" },
		{ &hostdev_schema, "hostdev" }, { &watchdog_schema, "watchdog" }, { &vsock_schema, "vsock" },
	};
	const struct schema *s = row->sub;

	*number = -1;
	if (s == &disk_schema) {
		const struct disk *d = dev;

		*number = disk_target_index(d->target.dev);
		return by_bus[d->target.bus];
	}
	if (s == &controller_schema) {
		const struct controller *c = dev;

		*number = (int)MIN(c->index, 4096);
		if (c->type == CONTROLLER_PCI)
			return g_str_has_prefix(c->model ? c->model : "pcie", "pcie") ? "pcie." : "pci.";
		return controller_type_names[c->type];
	}
	if (s == &memdev_schema)
		return by_model[((const struct memdev *)dev)->model];
	for (size_t i = 0; i < G_N_ELEMENTS(stems); i++)
		if (stems[i].schema == s)
			return stems[i].stem;
	return NULL;
}

static bool take_alias(const struct field *row, void *dev, void *arg)
{
	struct names *n = arg;
	char **alias = device_alias(row, dev);

	if (alias && *alias)
		g_hash_table_add(n->taken, *alias);
	return true;
}

static bool give_alias(const struct field *row, void *dev, void *arg)
{
	struct names *n = arg;
	char **alias = device_alias(row, dev), name[64];
	const char *stem;
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
	do
		g_snprintf(name, sizeof name, "%s%d", stem, number++);
	while (g_hash_table_contains(n->taken, name));
	*alias = g_strdup(name);
	g_hash_table_add(n->taken, *alias);
	g_hash_table_insert(n->next, (gpointer)(uintptr_t)stem, GINT_TO_POINTER(number));
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

/* Names of QEMU's machines are kept; those of its old chipset have the old kind of root, so libvirt takes the definition too. */
static const char *root_of(const char *machine)
{
	static const char *const old[] = { "pc-i440fx", "pc-0.", "pc-1.", "rhel6." };

	for (size_t i = 0; machine && i < G_N_ELEMENTS(old); i++)
		if (g_str_has_prefix(machine, old[i]))
			return "pci-root";
	return g_strcmp0(machine, "pc") ? "pcie-root" : "pci-root";
}

void machine_place(struct machine *m, struct report *r)
{
	struct devices *d = &m->devices;
	struct names names = { .devices = d };

	controller_index(d);
	if (!controller_find(d, CONTROLLER_PCI, 0))
		controller_add(d, CONTROLLER_PCI, 0, root_of(m->os.machine));
	place_ports(d, r);
	place_isa(d);
	devices_each(d, complete_drive, NULL);
	machine_place_pci(d, r);
	names.taken = g_hash_table_new(g_str_hash, g_str_equal);
	names.next = g_hash_table_new(NULL, NULL);
	devices_each(d, take_alias, &names);
	devices_each(d, give_alias, &names);
	g_hash_table_unref(names.taken);
	g_hash_table_unref(names.next);
}
