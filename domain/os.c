/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <os>. */
#include "domain/os.h"

#include "domain/rows.h"

NAMES(firmware_names, FIRMWARE_N, "bios", "efi");
NAMES(boot_dev_names, BOOT_N, "hd", "fd", "cdrom", "network");
NAMES(loader_type_names, LOADER_N, "rom", "pflash");
NAMES(smbios_names, SMBIOS_N, "emulate", "host", "sysinfo");

static const struct field os_boot_schema_fields[] = {
	ENUM(struct os_boot, dev, "@dev", boot_dev_names, REQUIRED, "class of devices to boot from"),
	EXTRAS(struct os_boot, extras), END
};
static SCHEMA(os_boot_schema, struct os_boot, "boot", "one entry of the boot order");

static const struct field firmware_feature_schema_fields[] = {
	ENUM(struct firmware_feature, enabled, "@enabled", yesno_names, REQUIRED, "whether the firmware must have it"),
	STR(struct firmware_feature, name, "@name", REQUIRED, "enrolled-keys or secure-boot"),
	EXTRAS(struct firmware_feature, extras), END
};
static SCHEMA(firmware_feature_schema, struct firmware_feature, "feature", "what the firmware must or must not have");

static const struct field acpi_table_schema_fields[] = {
	STR(struct acpi_table, type, "@type", GUEST, "kind of table: slic"),
	RESOURCE(struct acpi_table, file, ".", RES_READ, GUEST, "file with the table"),
	EXTRAS(struct acpi_table, extras), END
};
static SCHEMA(acpi_table_schema, struct acpi_table, "table", "an ACPI table of the operator's own");

static const struct field os_schema_fields[] = {
	ENUM(struct os, firmware, "@firmware", firmware_names, GUEST, "kind of firmware to find by itself"),
	STR(struct os, type, "type", GUEST, "hvm: a whole machine"),
	STR(struct os, arch, "type/@arch", GUEST, "x86_64"),
	STR(struct os, machine, "type/@machine", GUEST, "machine version; names of QEMU's machines are kept as written"),
	LIST(struct os, firmware_features, "firmware/feature", firmware_feature_schema, 16, GUEST | NOT_YET, "what the firmware must have"),
	RESOURCE(struct os, loader, "loader", RES_READ, GUEST, "firmware image"),
	ENUM(struct os, loader_readonly, "loader/@readonly", yesno_names, GUEST, "the image is not written to"),
	ENUM(struct os, loader_secure, "loader/@secure", yesno_names, GUEST, "the firmware does secure boot"),
	ENUM(struct os, loader_type, "loader/@type", loader_type_names, GUEST, "how the image is shown to the guest"),
	ENUM(struct os, loader_stateless, "loader/@stateless", yesno_names, GUEST, "the firmware keeps no variables"),
	RESOURCE(struct os, nvram, "nvram", RES_WRITE, GUEST, "the machine's own copy of the firmware's variables"),
	STR(struct os, nvram_template, "nvram/@template", GUEST, "what that copy is made from"),
	KEEP_SILENT("loader/@format"),
	KEEP_SILENT("nvram/@format"),
	KEEP_SILENT("nvram/@templateFormat"),
	KEEP_SILENT("nvram/@type"),
	KEEP("nvram/source", "there is no firmware yet"),
	REFUSE("init", "for container guests: boot with <kernel>"),
	REFUSE("initarg", "for container guests: boot with <kernel>"),
	REFUSE("initenv", "for container guests: boot with <kernel>"),
	REFUSE("initdir", "for container guests: boot with <kernel>"),
	REFUSE("inituser", "for container guests: boot with <kernel>"),
	REFUSE("initgroup", "for container guests: boot with <kernel>"),
	RESOURCE(struct os, kernel, "kernel", RES_READ, GUEST, "ELF (PVH) or bzImage to start"),
	RESOURCE(struct os, initrd, "initrd", RES_READ, GUEST, "initial RAM disk for the kernel"),
	STR(struct os, cmdline, "cmdline", GUEST, "the kernel's command line"),
	REFUSE("root", "for Xen guests: write root=… into <cmdline>"),
	REFUSE("dtb", "device trees are for ARM and POWER guests: leave the element out"),
	LIST(struct os, boot, "boot", os_boot_schema, 4, GUEST | NOT_YET, "boot order by class of device"),
	ENUM(struct os, bootmenu, "bootmenu/@enable", yesno_names, GUEST | NOT_YET, "the firmware offers a menu", .lacks = 1 << YESNO_YES),
	U32(struct os, bootmenu_timeout, "bootmenu/@timeout", 0, 65535, GUEST | NOT_YET, "how long the menu waits, ms"),
	ENUM(struct os, smbios, "smbios/@mode", smbios_names, GUEST | NOT_YET, "where the SMBIOS words come from", .lacks = 1 << SMBIOS_HOST),
	ENUM(struct os, bios_useserial, "bios/@useserial", yesno_names, GUEST | NOT_YET, "the firmware speaks on the serial port", .lacks = 1 << YESNO_YES),
	I32(struct os, bios_reboot_timeout, "bios/@rebootTimeout", INT32_MIN, 65535, GUEST | NOT_YET, "ms until the firmware tries again; -1: never",
		.def = (uint64_t)(int64_t)INT32_MIN),
	LIST(struct os, acpi_tables, "acpi/table", acpi_table_schema, 8, GUEST, "ACPI tables of the operator's own"),
	EXTRAS(struct os, extras), END
};
SCHEMA(os_schema, struct os, "os", "how the machine boots");

bool os_has_kernel(const struct os *os)
{
	return os->kernel.path != NULL;
}
