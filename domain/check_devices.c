/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules on the other devices, and on places and names across all of them. */
#include <string.h>

#include "domain/check.h"

/* --- devices kvmd reads but cannot run yet (OPTIONAL_DEVICE in devices.c) --- */
static bool check_optional(const struct field *row, void *dev, void *arg)
{
	static const struct {
		const char *name, *what, *cure;
	} rows[] = {
		{ "filesystems", "folders of the host can't be given to the guest yet",
			"use a disk image, or NFS over the network" },
		{ "parallels", "there is no parallel port", "write a <serial>" },
		{ "tpms", "there is no TPM yet", "leave <tpm> out" },
		{ "hostdevs", "devices of the host can't be given to the guest yet",
			"leave <hostdev> out" },
		{ "watchdogs", "there is no watchdog yet", "leave <watchdog> out" },
		{ "vsock", "there are no vsock connections yet",
			"leave <vsock> out, or use a <channel>" },
	};

	for (size_t i = 0; (row->flags & OPTIONAL_DEVICE) && i < G_N_ELEMENTS(rows); i++)
		if (!strcmp(rows[i].name, row->name))
			report_refuse(arg, dev, NULL, rows[i].cure, "%s", rows[i].what);
	return true;
}

static void check_screen(const struct devices *d, struct report *r)
{
	list_each(graphics, g, d->graphics)
		report_warn(r, g, NULL, NULL, "there is no screen yet: kept, nothing is shown");
	list_each(video, v, d->videos)
		if (v->model.type != VIDEO_NONE)
			report_warn(r, v, NULL, NULL,
				"there is no graphics card yet: kept, the guest will not find it");
	list_each(input, i, d->inputs)
		report_warn(r, i, NULL, NULL,
			"there is no screen yet: kept, the guest will not find it");
}

static void check_controllers(const struct machine *m, struct report *r)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

	list_each(controller, c, m->devices.controllers) {
		const char *model = c->model ? c->model : "";

		/* companions of a USB controller have its number */
		if (c->type != CONTROLLER_USB && !g_hash_table_add(seen,
		    GUINT_TO_POINTER((unsigned)c->type << 16 | c->index)))
			BAD(c, "index", "number the controllers of each type from 0",
				"%s controller %u is given twice",
				controller_type_names[c->type], c->index);
		if (c->driver.iothread && !machine_has_iothread(m, c->driver.iothread))
			BAD(&c->driver, "iothread",
				"add <iothreads>1</iothreads>, or name an id of <iothreadids>",
				"there is no I/O thread %u",
				c->driver.iothread);
		switch (c->type) {
		case CONTROLLER_PCI:
			if (!c->index && strcmp(model, "pci-root") && strcmp(model, "pcie-root"))
				BAD(c, "model", "write model='pcie-root'",
					"PCI controller 0 is the root");
			else if (c->index)
				report_warn(r, c, NULL, "leave it out",
					"the machine has one flat PCI bus: kept, the guest will not find the bridge");
			break;
		case CONTROLLER_VIRTIO_SERIAL:
			break;
		case CONTROLLER_USB:
			if (strcmp(model, "none"))
				report_warn(r, c, NULL, "write model='none'",
					"there is no USB yet: kept, the guest will not find it");
			break;
		case CONTROLLER_XENBUS:
			report_refuse(r, c, "type", "leave it out", "the bus is Xen's");
			break;
		case CONTROLLER_ISA:
			break;
		default:
			report_warn(r, c, NULL, NULL,
				"there is no %s controller yet: kept, its disks are shown as virtio", controller_type_names[c->type]);
		}
	}
}

static void check_memdevs(const struct devices *d, struct report *r)
{
	list_each(memdev, mem, d->memdevs) {
		const struct memdev_target *t = &mem->target;

		if (mem->model != MEMDEV_VIRTIO_MEM) {
			report_refuse(r, mem, "model", "write <memory model='virtio-mem'>",
				"there is no such memory device yet");
			continue;
		}
		if (!power_of_two(t->block) || t->block < MEMORY_MIN)
			BAD(t, "block", "write <block unit='MiB'>2</block>",
				"blocks of %" PRIu64 " KiB are not possible", t->block / 1024);
		else if (!t->size || t->size % t->block)
			BAD(t, "size", "write a multiple of <block>",
				"%" PRIu64 " KiB are no whole number of blocks", t->size / 1024);
		else if (t->requested % t->block || t->requested > t->size)
			BAD(t, "requested", "write a multiple of <block>, at most <size>",
				"%" PRIu64 " KiB can't be given", t->requested / 1024);
	}
}

void check_devices(const struct machine *m, struct report *r)
{
	const struct devices *d = &m->devices;
	bool panic[PANIC_N] = { false };

	devices_each(d, check_optional, r);
	check_screen(d, r);
	check_controllers(m, r);
	check_memdevs(d, r);
	list_each(panic, p, d->panics) {
		if (p->model != PANIC_ISA && p->model != PANIC_PVPANIC)
			report_refuse(r, p, "model", "write <panic model='isa'/>",
				"the guest can't report a crash in that way");
		else if (panic[p->model])
			BAD(p, "model", "leave one of them out", "the device is given twice");
		panic[p->model] = true;
	}
	list_each(rng, g, d->rngs) {
		if (g->backend.model == RNG_EGD)
			report_refuse(r, &g->backend, "model",
				"write <backend model='random'>/dev/urandom</backend>",
				"entropy daemons aren't asked");
		if (g->rate_period && !g->rate_bytes)
			BAD(g, "rate_bytes", "write <rate bytes='1024' period='1000'/>",
				"a period needs a number of bytes");
	}
	if (d->memballoon && d->memballoon->model == BALLOON_XEN)
		report_refuse(r, d->memballoon, "model", "write model='virtio'",
			"the balloon is Xen's");
}

/* --- places and names --- */
struct places {
	struct report *r;
	const struct machine *m;
	const void *pci[32][8];
	bool multifunction[32];
	GHashTable *other;              /* text of a drive or virtio-serial address */
	GHashTable *aliases;            /* the operator's own */
	GHashTable *boot;               /* order → device */
	GHashTable *indices;
};

static void check_pci(struct places *p, const void *dev, const struct address *a, bool runs)
{
	struct report *r = p->r;

	if (a->domain || a->bus) {
		if (runs)
			report_refuse(r, a, a->bus ? "bus" : "domain",
				"write domain='0x0000' bus='0x00', or leave <address> out",
				"the machine has one flat PCI bus, 0000:00");
		return;
	}
	if (a->slot > 31 || a->function > 7)
		return;         /* out of bounds: the row has said so */
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
	if (!a->function)
		p->multifunction[a->slot] = a->multifunction == ONOFF_ON;
}

static void check_address(struct places *p, const struct field *row, void *dev,
	const struct address *a)
{
	struct report *r = p->r;
	bool virtio = row->sub == &rng_schema || row->sub == &balloon_schema ||
		row->sub == &vsock_schema ||
		(row->sub == &disk_schema && ((struct disk *)dev)->target.bus == DISK_BUS_VIRTIO) ||
		(row->sub == &iface_schema && ((struct iface *)dev)->type != IFACE_HOSTDEV) ||
		(row->sub == &controller_schema &&
			((struct controller *)dev)->type == CONTROLLER_VIRTIO_SERIAL);
	bool runs = virtio || row->sub == &memdev_schema || row->sub == &panic_schema;

	switch (a->type) {
	case ADDRESS_ABSENT:
		if (!address_empty(a))
			BAD(a, "type",
				"write <address type='pci' slot='0x04'/>, or leave <address> out",
				"the kind of address is missing");
		return;
	case ADDRESS_PCI:
		check_pci(p, dev, a, runs || row->sub == &disk_schema);
		return;
	case ADDRESS_SPAPR_VIO:
	case ADDRESS_CCW:
	case ADDRESS_VIRTIO_MMIO:
		HAS_NOT(a, "type", "write type='pci', or leave <address> out",
			"the machine has no such bus");
		return;
	case ADDRESS_DRIVE:
	case ADDRESS_VIRTIO_SERIAL: {
		g_autofree char *where = address_text(a);
		g_autofree char *key = row->sub == &disk_schema ?
			g_strdup_printf("%s %s", disk_bus_names[((struct disk *)dev)->target.bus],
				where) : g_strdup(where);

		if (virtio)
			BAD(a, "type", "write type='pci', or leave <address> out",
				"a virtio device sits on the PCI bus");
		else if (!g_hash_table_add(p->other, g_steal_pointer(&key)))
			BAD(a, NULL, "write another, or leave <address> out",
				"address '%s' is given twice", where);
		return;
	}
	default:
		if (virtio && a->type != ADDRESS_ABSENT && a->type != ADDRESS_UNASSIGNED)
			BAD(a, "type", "write type='pci', or leave <address> out",
				"a virtio device sits on the PCI bus");
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
			if (p->pci[slot][f]) {
				report_warn(p->r, p->pci[slot][f], "address",
					"give function 0 of the slot multifunction='on'",
					"a guest does not look for function %u of slot 0x%02x: function 0 is %s", f, slot,
					p->pci[slot][0] ? "a single device" : "missing");
				break;
			}
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
	g_hash_table_unref(p.other);
	g_hash_table_unref(p.aliases);
	g_hash_table_unref(p.boot);
	g_hash_table_unref(p.indices);
}
