/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where a device sits: libvirt's <address>, and the members every device has besides (<alias>, <acpi>).
 * One struct serves all address types; a number that was not given is ADDRESS_UNSET until fill.c
 * gives it (a PCI or drive address is complete after machine_fill).
 *
 * The machine has one flat PCI bus. A PCI device whose definition names another bus, or a bus of another
 * kind that kvmd has not (SATA), keeps that address word by word and stands on the flat bus at flat_slot:
 * address_slot() says where a device is, whatever its definition looks like.
 */
#pragma once
#include "domain/field.h"

enum address_type { ADDRESS_ABSENT, ADDRESS_PCI, ADDRESS_DRIVE, ADDRESS_VIRTIO_SERIAL, ADDRESS_CCID, ADDRESS_USB,
	ADDRESS_SPAPR_VIO, ADDRESS_CCW, ADDRESS_ISA, ADDRESS_VIRTIO_MMIO, ADDRESS_DIMM, ADDRESS_UNASSIGNED, ADDRESS_N };

#define ADDRESS_UNSET UINT32_MAX

struct address {
	int type;                       /* enum address_type */
	uint32_t domain, bus, slot, function;   /* pci; bus: drive, usb, virtio-serial too; slot: dimm, ccid too */
	int multifunction;              /* ONOFF */
	uint32_t controller, target, unit;      /* drive; controller: virtio-serial, ccid too */
	char *port;                     /* usb: "1.2"; virtio-serial: "1" */
	uint32_t iobase, irq;           /* isa; ADDRESS_UNSET too */
	uint64_t base;                  /* dimm: guest-physical address; 0: not given */
	uint32_t flat_slot, flat_function;      /* place_pci.c; slot 0: the device is where the address says. Not in XML */
	int flat_multifunction;         /* ONOFF */
	struct extras extras;
};

extern const struct schema address_schema;

/* "0000:00:03.0"; "drive 0:0:0:1"; "" when there is none. Caller frees. */
char *address_text(const struct address *);
/* Is nothing given, not even a type? */
bool address_empty(const struct address *);
/* The port of a virtio-serial address as a number; ADDRESS_UNSET when there is none. */
uint32_t address_port(const struct address *);

/* Where it is on the flat PCI bus: slot (ADDRESS_UNSET: not placed there), function, whether others share the slot. */
uint32_t address_slot(const struct address *);
uint32_t address_function(const struct address *);
bool address_multifunction(const struct address *);

/* Is this alias (char *const *) one that kvmd gave? The user's own begin with "ua-". */
bool alias_is_made(const void *member);

/* Members and rows that end the struct and table of every device. */
#define DEVICE_MEMBERS \
	char *alias;                    /* the device's id while running; "ua-…" is the user's own */ \
	uint32_t acpi_index;            /* name the guest gives it by firmware index; 0: none */ \
	struct address address; \
	struct extras extras
#define DEVICE_ROWS(T) \
	STR(T, alias, "alias/@name", 0, "the device's id while running; names that begin with 'ua-' are kept as given", \
		.made = alias_is_made), \
	U32(T, acpi_index, "acpi/@index", 0, 16383, GUEST | NOT_YET, "index by which the guest's firmware tables name the device"), \
	STRUCT(T, address, "address", address_schema, GUEST, "where the device sits"), \
	EXTRAS(T, extras), END

#define VIRTIO_QUEUES_MAX 128           /* of a device */
#define VIRTQ_SIZE_MAX 1024             /* entries of a queue */

/* <driver iommu= ats= packed= page_per_vq=>: what every virtio device may be told. Use inside a driver schema. */
#define VIRTIO_MEMBERS int iommu, ats, packed, page_per_vq
#define VIRTIO_ROWS(T) \
	ENUM(T, iommu, "@iommu", onoff_names, GUEST, "offer VIRTIO_F_ACCESS_PLATFORM: the driver asks the guest's DMA layer for addresses"), \
	ENUM(T, ats, "@ats", onoff_names, GUEST | NOT_YET, "address translation service", .lacks = 1 << ONOFF_ON), \
	ENUM(T, packed, "@packed", onoff_names, GUEST, "offer packed rings"), \
	ENUM(T, page_per_vq, "@page_per_vq", onoff_names, GUEST, "a page of notification space per queue")

/* A <driver> with nothing but these. */
struct virtio_driver {
	VIRTIO_MEMBERS;
	struct extras extras;
};
extern const struct schema virtio_driver_schema;

/* model='virtio' and the two spellings by generation; kvmd's devices are modern only. */
enum virtio_model { VIRTIO_MODEL_ABSENT, VIRTIO_MODEL_VIRTIO, VIRTIO_MODEL_TRANSITIONAL, VIRTIO_MODEL_NON_TRANSITIONAL,
	VIRTIO_MODEL_N };
extern const char *const virtio_model_names[VIRTIO_MODEL_N];
