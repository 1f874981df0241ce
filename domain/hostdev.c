/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <hostdev> and <rom>. */
#include "domain/hostdev.h"

#include "domain/rows.h"

NAMES(hostdev_mode_names, HOSTDEV_MODE_N, "subsystem", "capabilities");
NAMES(hostdev_type_names, HOSTDEV_TYPE_N, "usb", "pci", "scsi", "scsi_host", "mdev", "storage", "misc", "net");

static const struct field rom_schema_fields[] = {
	ENUM(struct rom, enabled, "@enabled", yesno_names, GUEST, "whether the card has boot code", .lacks = 1 << YESNO_YES),
	ENUM(struct rom, bar, "@bar", onoff_names, GUEST, "whether the guest sees it", .lacks = 1 << ONOFF_ON),
	STR(struct rom, file, "@file", GUEST, "file with the code"),
	EXTRAS(struct rom, extras), END
};
SCHEMA(rom_schema, struct rom, "rom", "a card's boot code");

static const struct field hostdev_schema_fields[] = {
	ENUM(struct hostdev, mode, "@mode", hostdev_mode_names, 0, "a whole device, or what a container may use"),
	ENUM(struct hostdev, type, "@type", hostdev_type_names, REQUIRED, "kind of device"),
	ENUM(struct hostdev, managed, "@managed", yesno_names, 0, "detach it from the host by itself"),
	STR(struct hostdev, model, "@model", 0, "kind of mediated device"),
	KEEP_SILENT("@sgio"),
	KEEP_SILENT("@rawio"),
	KEEP_SILENT("@display"),
	KEEP_SILENT("@ramfb"),
	STR(struct hostdev, driver, "driver/@name", 0, "vfio"),
	KEEP_SILENT("driver/@model"),
	KEEP_SILENT("driver/@iommufd"),
	KEEP_SILENT("teaming"),
	KEEP_SILENT("source"),
	KEEP_SILENT("ip"),
	KEEP_SILENT("route"),
	FLAG(struct hostdev, readonly, "readonly", 0, "the guest cannot write to it"),
	FLAG(struct hostdev, shareable, "shareable", 0, "other machines use it at the same time"),
	U32(struct hostdev, boot_order, "boot/@order", 1, 65535, GUEST, "place in the boot order, from 1"),
	KEEP_SILENT("boot/@loadparm"),
	STRUCT(struct hostdev, rom, "rom", rom_schema, GUEST, "the card's boot code"),
	DEVICE_ROWS(struct hostdev)
};
SCHEMA(hostdev_schema, struct hostdev, "hostdev", "a device of the host given to the guest");
