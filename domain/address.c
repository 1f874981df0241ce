/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows of <address> and of what virtio devices share. The one hook of the grammar: bus and slot are
 * hexadecimal in a PCI address and decimal elsewhere, so their text follows the type beside them.
 */
#include "domain/address.h"

#include <string.h>

#include "domain/rows.h"

NAMES(address_type_names, ADDRESS_N, "pci", "drive", "virtio-serial", "ccid", "usb", "spapr-vio", "ccw", "isa",
	"virtio-mmio", "dimm", "unassigned");
NAMES_SHARED(virtio_model_names, VIRTIO_MODEL_N, "virtio", "virtio-transitional", "virtio-non-transitional");

static bool number_from_text(const struct field *f, void *member, const char *text, GError **err)
{
	return kind_hex.from_text(f, member, text, err);
}

static char *number_to_text(const struct field *f, const void *member)
{
	const struct address *a = (const void *)((const char *)member - f->off);

	return g_strdup_printf(a->type == ADDRESS_PCI ? "0x%02x" : "%u", *(const uint32_t *)member);
}

static bool number_equal(const struct field *f, const void *a, const void *b)
{
	(void)f;
	return !memcmp(a, b, sizeof(uint32_t));
}

static void number_copy(const struct field *f, void *to, const void *from)
{
	(void)f;
	memcpy(to, from, sizeof(uint32_t));
}

static void number_clear(const struct field *f, void *member)
{
	(void)f;
	memset(member, 0, sizeof(uint32_t));
}

static void number_random(const struct field *f, void *member, GRand *r)
{
	uint32_t v = g_rand_int(r) % 32;

	memcpy(member, &v, sizeof v);
}

static const struct kind kind_address_number = { .name = "number", .shape = SHAPE_NUM, .from_text = number_from_text,
	.to_text = number_to_text, .equal = number_equal, .copy = number_copy, .clear = number_clear,
	.random = number_random };

/* Not given: outside the bounds. */
#define UNSET .def = ADDRESS_UNSET
#define BY_TYPE(m, text) \
	F_NUM(struct address, m, uint32_t, "@" #m, kind_address_number, 0, 255, GUEST, text, UNSET)

static const struct field address_schema_fields[] = {
	ENUM(struct address, type, "@type", address_type_names, GUEST, "what kind of place it is"),
	HEX32(struct address, domain, "@domain", 0, 0xffff, GUEST, "PCI segment", UNSET),
	U32(struct address, controller, "@controller", 0, 255, GUEST, "index of the controller", UNSET),
	BY_TYPE(bus, "bus on the segment or controller"),
	U32(struct address, target, "@target", 0, UINT32_MAX - 1, GUEST, "SCSI target", UNSET),
	U32(struct address, unit, "@unit", 0, UINT32_MAX - 1, GUEST, "unit on the bus", UNSET),
	BY_TYPE(slot, "device number on the bus, or DIMM socket"),
	HEX32(struct address, function, "@function", 0, 7, GUEST, "function of the PCI device", UNSET),
	ENUM(struct address, multifunction, "@multifunction", onoff_names, GUEST, "other functions share the slot"),
	STR(struct address, port, "@port", GUEST, "port of a USB hub or virtio-serial controller"),
	HEX32(struct address, iobase, "@iobase", 0, 0xffff, GUEST, "first I/O port", UNSET),
	HEX32(struct address, irq, "@irq", 0, 15, GUEST, "ISA interrupt", UNSET),
	HEX64(struct address, base, "@base", 0, UINT64_MAX, GUEST, "guest-physical address of the memory"),
	U32(struct address, flat_slot, NULL, 0, 31, GUEST, "slot of the machine's own bus, where the definition names another bus; 0: it does not"),
	U32(struct address, flat_function, NULL, 0, 7, GUEST, "function of that slot"),
	ENUM(struct address, flat_multifunction, NULL, onoff_names, GUEST, "other functions share that slot"),
	REFUSE("@reg", "spapr-vio addresses belong to POWER guests: write type='pci' or leave the address out"),
	REFUSE("@cssid", "ccw addresses belong to s390 guests: write type='pci' or leave the address out"),
	REFUSE("@ssid", "ccw addresses belong to s390 guests: write type='pci' or leave the address out"),
	REFUSE("@devno", "ccw addresses belong to s390 guests: write type='pci' or leave the address out"),
	REFUSE("@uuid", "an mdev address belongs into the <source> of a <hostdev type='mdev'>"),
	REFUSE("zpci", "PCI extras of s390 guests: leave the element out"),
	EXTRAS(struct address, extras), END
};
SCHEMA(address_schema, struct address, "address", "where a device sits");

static const struct field virtio_driver_schema_fields[] = {
	VIRTIO_ROWS(struct virtio_driver),
	EXTRAS(struct virtio_driver, extras), END
};
SCHEMA(virtio_driver_schema, struct virtio_driver, "driver", "what every virtio device may be told");

bool alias_is_made(const void *member)
{
	const char *alias = *(char *const *)member;

	return alias && strncmp(alias, "ua-", 3);
}

char *address_text(const struct address *a)
{
	switch (a->type) {
	case ADDRESS_ABSENT:
		return g_strdup("");
	case ADDRESS_PCI:
		return g_strdup_printf("%04x:%02x:%02x.%x", a->domain, a->bus, a->slot, a->function);
	case ADDRESS_DRIVE:
		return g_strdup_printf("drive %u:%u:%u:%u", a->controller, a->bus, a->target, a->unit);
	case ADDRESS_VIRTIO_SERIAL:
		return g_strdup_printf("virtio-serial %u:%u:%s", a->controller, a->bus, a->port ? a->port : "");
	case ADDRESS_USB:
		return g_strdup_printf("usb %u:%s", a->bus, a->port ? a->port : "");
	case ADDRESS_ISA:
		return g_strdup_printf("isa 0x%x", a->iobase);
	case ADDRESS_DIMM:
		return g_strdup_printf("dimm %u", a->slot);
	default:
		return g_strdup(address_type_names[a->type]);
	}
}

bool address_empty(const struct address *a)
{
	for (const struct field *f = address_schema.fields; f->name; f++)
		if ((f->path || f->kind == &kind_extras) && !field_is_default(f, a))
			return false;
	return true;
}

static bool names_flat_bus(const struct address *a)
{
	return a->type == ADDRESS_PCI && a->slot != ADDRESS_UNSET && (!a->bus || a->bus == ADDRESS_UNSET) &&
		(!a->domain || a->domain == ADDRESS_UNSET);
}

uint32_t address_slot(const struct address *a)
{
	if (a->flat_slot)
		return a->flat_slot;
	return names_flat_bus(a) ? a->slot : ADDRESS_UNSET;
}

uint32_t address_function(const struct address *a)
{
	if (a->flat_slot)
		return a->flat_function;
	return names_flat_bus(a) && a->function != ADDRESS_UNSET ? a->function : 0;
}

bool address_multifunction(const struct address *a)
{
	return (a->flat_slot ? a->flat_multifunction : a->multifunction) == ONOFF_ON;
}

uint32_t address_port(const struct address *a)
{
	char *end;
	guint64 v;

	if (!a->port || !g_ascii_isdigit(*a->port))
		return ADDRESS_UNSET;
	v = g_ascii_strtoull(a->port, &end, 10);
	return *end || v >= ADDRESS_UNSET ? ADDRESS_UNSET : (uint32_t)v;
}
