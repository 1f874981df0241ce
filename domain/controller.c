/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <controller>. */
#include "domain/controller.h"

#include "domain/rows.h"

NAMES_SHARED(controller_type_names, CONTROLLER_N, "ide", "fdc", "scsi", "sata", "virtio-serial", "ccid", "usb", "pci",
	"xenbus", "isa");

static const struct field controller_driver_schema_fields[] = {
	U32(struct controller_driver, queues, "@queues", 0, 1024, GUEST, "number of request queues"),
	U32(struct controller_driver, cmd_per_lun, "@cmd_per_lun", 0, UINT32_MAX, GUEST, "commands that one disk may hold"),
	U32(struct controller_driver, max_sectors, "@max_sectors", 0, UINT32_MAX, GUEST, "sectors of one command"),
	ENUM(struct controller_driver, ioeventfd, "@ioeventfd", onoff_names, NOT_YET, "kicks without a trip through the vCPU's thread", .lacks = 1 << ONOFF_OFF),
	U32(struct controller_driver, iothread, "@iothread", 0, 1024, 0, "thread that serves it"),
	VIRTIO_ROWS(struct controller_driver),
	EXTRAS(struct controller_driver, extras), END
};
static SCHEMA(controller_driver_schema, struct controller_driver, "driver", "how the controller is served");

#define PORT(m, xml, text) U32(struct controller_target, m, xml, 0, 255, GUEST, text, .def = UINT32_MAX)
static const struct field controller_target_schema_fields[] = {
	PORT(chassis_nr, "@chassisNr", "number of a PCI bridge"),
	PORT(chassis, "@chassis", "number of a PCI Express port's chassis"),
	HEX32(struct controller_target, port, "@port", 0, 255, GUEST, "number of a PCI Express port", .def = UINT32_MAX),
	PORT(bus_nr, "@busNr", "first bus of an expander"),
	PORT(index, "@index", "index of a POWER host bridge"),
	ENUM(struct controller_target, hotplug, "@hotplug", onoff_names, GUEST, "devices behind it may come and go"),
	U32(struct controller_target, node, "node", 0, 1023, GUEST, "guest node it belongs to", .def = UINT32_MAX),
	KEEP_SILENT("@memReserve"),
	EXTRAS(struct controller_target, extras), END
};
static SCHEMA(controller_target_schema, struct controller_target, "target", "what the guest sees of a bridge");

static const struct field controller_schema_fields[] = {
	ENUM(struct controller, type, "@type", controller_type_names, GUEST | REQUIRED, "kind of bus it makes"),
	U32(struct controller, index, "@index", 0, 4095, GUEST, "number among its kind", .def = CONTROLLER_INDEX_NONE),
	STR(struct controller, model, "@model", GUEST, "model of the controller"),
	U32(struct controller, ports, "@ports", 0, 1024, GUEST, "number of ports"),
	U32(struct controller, vectors, "@vectors", 0, 2048, GUEST | NOT_YET, "number of interrupt vectors"),
	REFUSE("@maxGrantFrames", "for Xen guests: leave the attribute out"),
	REFUSE("@maxEventChannels", "for Xen guests: leave the attribute out"),
	STR(struct controller, model_name, "model/@name", GUEST, "QEMU's device for a bridge: kept"),
	STRUCT(struct controller, target, "target", controller_target_schema, GUEST, "what the guest sees of a bridge"),
	STRUCT(struct controller, driver, "driver", controller_driver_schema, 0, "how it is served"),
	SIZE(struct controller, pcihole64, "pcihole64", 0, UINT64_C(1) << 52, GUEST | NOT_YET, "room for devices' memory above 4 GiB"),
	U32(struct controller, master_startport, "master/@startport", 0, 255, GUEST, "first port of a USB companion", .def = UINT32_MAX),
	DEVICE_ROWS(struct controller)
};
SCHEMA(controller_schema, struct controller, "controller", "what other devices hang on");
