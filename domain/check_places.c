/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules on places and names across all devices: addresses, aliases, boot order. */
#include <string.h>

#include "domain/check.h"

#define PORTS_MAX (VIRTIO_QUEUES_MAX / 2 - 1)    /* two queues each, and two for control */

struct places {
	struct report *r;
	const struct machine *m;
	const void *pci[32][8];
	bool runs[32][8], multifunction[32];
	const struct address *flat[32][8];      /* devices whose definition names another bus */
	const struct address *behind;   /* first device that runs and is given a place on another bus */
	GHashTable *other;              /* text of a drive or virtio-serial address, or of one behind a bridge */
	GHashTable *aliases;            /* the operator's own */
	GHashTable *boot;               /* order → device */
	GHashTable *indices;
};

static bool is_given(uint32_t number)
{
	return number && number != ADDRESS_UNSET;
}

static void take_slot(struct places *p, const void *dev, const struct address *a, bool runs)
{
	struct report *r = p->r;

	if (a->slot > 31) {     /* the row has no bound: it is the number of a memory device, too */
		BAD(a, "slot", "write slot='0x01' to '0x1f', or leave <address> out", "there is no slot 0x%x on a PCI bus", a->slot);
		return;
	}
	if (a->function > 7)
		return;         /* the row has said so */
	if (!a->slot) {
		BAD(a, "slot", "write slot='0x01' to '0x1f', or leave <address> out",
			"slot 0 is the root complex's");
		return;
	}
	if (p->pci[a->slot][a->function]) {
		BAD(a, "slot", "write another slot, or leave <address> out",
			"PCI address 0000:00:%02x.%x is given twice", a->slot, a->function);
		return;
	}
	p->pci[a->slot][a->function] = dev;
	p->runs[a->slot][a->function] = runs;
	if (!a->function)
		p->multifunction[a->slot] = a->multifunction == ONOFF_ON;
}

/* Addresses behind bridges and root ports: kept, but they must be possible. */
static void check_behind(struct places *p, const struct address *a, bool runs)
{
	struct report *r = p->r;
	g_autofree char *where = address_text(a);

	if (is_given(a->domain)) {
		report_refuse(r, a, "domain", "write domain='0x0000'", "there is one PCI segment, 0000");
		return;
	}
	if (!p->behind && runs)
		p->behind = a;
	if (!g_hash_table_add(p->other, g_strdup(where)))
		BAD(a, "slot", "write another slot, or leave <address> out", "PCI address %s is given twice", where);
}

static void check_pci(struct places *p, const void *dev, const struct address *a, bool runs)
{
	if (a->slot == ADDRESS_UNSET)
		return;
	if (is_given(a->domain) || is_given(a->bus))
		check_behind(p, a, runs);
	else if (!a->flat_slot)
		take_slot(p, dev, a, runs);
}

/* A port beyond those of its controller would be refused when the machine starts. */
static void check_port(struct places *p, const struct address *a)
{
	struct report *r = p->r;
	unsigned most = PORTS_MAX;

	list_each(controller, c, p->m->devices.controllers)
		if (c->type == CONTROLLER_VIRTIO_SERIAL && c->index == a->controller && c->ports)
			most = MIN(most, c->ports);
	if (a->port && address_port(a) >= most)
		BAD(a, "port", "write a smaller one, or leave <address> out", "port '%s': its controller has ports 0 to %u", a->port, most - 1);
}

static void check_address(struct places *p, const struct field *row, void *dev,
	const struct address *a)
{
	struct report *r = p->r;
	bool runs = device_on_pci(row, dev);
	bool pci_only = runs && !(row->sub == &disk_schema && ((struct disk *)dev)->target.bus != DISK_BUS_VIRTIO);

	if (a->flat_slot && a->flat_slot < 32 && a->flat_function < 8)
		p->flat[a->flat_slot][a->flat_function] = a;
	switch (a->type) {
	case ADDRESS_ABSENT:
		if (!address_empty(a))
			BAD(a, "type",
				"write <address type='pci' slot='0x04'/>, or leave <address> out",
				"the kind of address is missing");
		return;
	case ADDRESS_PCI:
		check_pci(p, dev, a, runs);
		return;
	case ADDRESS_SPAPR_VIO:
	case ADDRESS_CCW:
	case ADDRESS_VIRTIO_MMIO:
		HAS_NOT(a, "type", "write type='pci', or leave <address> out",
			"the machine has no such bus");
		return;
	case ADDRESS_VIRTIO_SERIAL:
		check_port(p, a);
		G_GNUC_FALLTHROUGH;
	case ADDRESS_DRIVE: {
		g_autofree char *where = address_text(a);
		g_autofree char *key = row->sub == &disk_schema ?
			g_strdup_printf("%s %s", disk_bus_names[((struct disk *)dev)->target.bus],
				where) : g_strdup(where);

		if (pci_only)
			BAD(a, "type", "write type='pci', or leave <address> out",
				"the device sits on the PCI bus");
		else if (!g_hash_table_add(p->other, g_steal_pointer(&key)))
			BAD(a, NULL, "write another, or leave <address> out",
				"address '%s' is given twice", where);
		return;
	}
	default:
		if (pci_only && a->type != ADDRESS_ABSENT && a->type != ADDRESS_UNASSIGNED)
			BAD(a, "type", "write type='pci', or leave <address> out",
				"the device sits on the PCI bus");
	}
}

static void check_alias(struct places *p, const void *dev, const char *alias)
{
	struct report *r = p->r;

	for (const char *s = alias; *s; s++)
		if (!g_ascii_isalnum(*s) && !strchr("_-.", *s)) {
			BAD(dev, "alias", "write letters, digits, '-', '_', '.'",
				"'%s' is no alias", alias);
			return;
		}
	if (!g_hash_table_add(p->aliases, (gpointer)(uintptr_t)alias))
		BAD(dev, "alias", "give each device a name of its own", "alias '%s' is given twice",
			alias);
}

static void check_boot(struct places *p, const struct field *row, void *dev)
{
	struct report *r = p->r;
	uint32_t order = device_boot_order(row, dev);

	if (!order)
		return;
	if (list_len(p->m->os.boot))
		BAD(dev, "boot_order", "leave <os><boot dev=…/> out",
			"the boot order is given by class and by device");
	if (!g_hash_table_add(p->boot, GUINT_TO_POINTER(order)))
		BAD(dev, "boot_order", "give each device a number of its own",
			"boot order %u is given twice", order);
}

static bool check_place(const struct field *row, void *dev, void *arg)
{
	struct places *p = arg;
	struct report *r = p->r;
	struct device_base *b = device_base(row, dev);

	if (!b)
		return true;
	check_address(p, row, dev, &b->address);
	if (b->alias && !(row->sub == &console_schema && chardev_is_serial_console(&p->m->devices,
	    dev)))
		check_alias(p, dev, b->alias);
	if (b->acpi_index && !g_hash_table_add(p->indices, GUINT_TO_POINTER(b->acpi_index)))
		BAD(dev, "acpi_index", "give each device a number of its own",
			"ACPI index %u is given twice", b->acpi_index);
	check_boot(p, row, dev);
	return true;
}

/* A guest looks at functions 1 to 7 only where function 0 says that there are any. */
static void check_functions(const struct places *p)
{
	for (unsigned slot = 1; slot < 32; slot++)
		for (unsigned f = 1; f < 8 && !p->multifunction[slot]; f++)
			if (p->pci[slot][f] && p->runs[slot][f]) {
				report_warn(p->r, p->pci[slot][f], "address",
					"give function 0 of the slot multifunction='on'",
					"a guest does not look for function %u of slot 0x%02x: function 0 is %s", f, slot,
					p->pci[slot][0] ? "a single device" : "missing");
				break;
			}
}

/* A place that was given to a device of another bus while the machine ran, and is now another's too. */
static void check_flat(const struct places *p)
{
	struct report *r = p->r;

	for (unsigned slot = 1; slot < 32; slot++)
		for (unsigned f = 0; f < 8; f++)
			if (p->flat[slot][f] && p->pci[slot][f] && p->runs[slot][f])
				BAD(p->pci[slot][f], "address", "write another slot, or leave <address> out",
					"PCI address 0000:00:%02x.%x is taken by a device of another bus", slot, f);
}

/* Where there are bridges, check_devices.c has said it. */
static void warn_flat(const struct places *p)
{
	list_each(controller, c, p->m->devices.controllers)
		if (c->type == CONTROLLER_PCI && c->index)
			return;
	if (p->behind)
		report_warn(p->r, p->behind, "bus", NULL,
			"the machine has one flat PCI bus: devices of other buses are shown to the guest on bus 0");
}

void check_places(const struct machine *m, struct report *r)
{
	struct places p = { .r = r, .m = m };

	p.other = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	p.aliases = g_hash_table_new(g_str_hash, g_str_equal);
	p.boot = g_hash_table_new(NULL, NULL);
	p.indices = g_hash_table_new(NULL, NULL);
	devices_each(&m->devices, check_place, &p);
	check_functions(&p);
	check_flat(&p);
	warn_flat(&p);
	g_hash_table_unref(p.other);
	g_hash_table_unref(p.aliases);
	g_hash_table_unref(p.boot);
	g_hash_table_unref(p.indices);
}
