/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a machine boots: libvirt's <os>. */
#pragma once
#include "domain/field.h"

enum os_firmware { FIRMWARE_ABSENT, FIRMWARE_BIOS, FIRMWARE_EFI, FIRMWARE_N };
enum boot_dev { BOOT_ABSENT, BOOT_HD, BOOT_FD, BOOT_CDROM, BOOT_NETWORK, BOOT_N };
enum loader_type { LOADER_ABSENT, LOADER_ROM, LOADER_PFLASH, LOADER_N };
enum smbios_mode { SMBIOS_ABSENT, SMBIOS_EMULATE, SMBIOS_HOST, SMBIOS_SYSINFO, SMBIOS_N };

struct os_boot {
	int dev;                        /* enum boot_dev */
	struct extras extras;
};
struct firmware_feature {
	int enabled;                    /* YESNO */
	char *name;
	struct extras extras;
};
struct acpi_table {
	char *type;                     /* "slic" */
	struct resource file;
	struct extras extras;
};

struct os {
	int firmware;                   /* enum os_firmware */
	char *type, *arch, *machine;    /* "hvm", "x86_64", "kvmd-1.0" or what the operator wrote */
	GPtrArray *firmware_features;   /* struct firmware_feature */
	struct resource loader;         /* firmware image; parsed and kept, booting it comes with firmware support */
	int loader_readonly, loader_secure, loader_stateless;   /* YESNO */
	int loader_type;
	struct resource nvram;          /* the machine's own copy of the variables */
	char *nvram_template;
	struct resource kernel, initrd;
	char *cmdline;
	GPtrArray *boot;                /* struct os_boot, in order */
	int bootmenu;                   /* YESNO */
	uint32_t bootmenu_timeout;      /* ms */
	int smbios;                     /* enum smbios_mode */
	int bios_useserial;             /* YESNO */
	int32_t bios_reboot_timeout;    /* ms; -1: never; INT32_MIN: not given */
	GPtrArray *acpi_tables;         /* struct acpi_table */
	struct extras extras;
};

extern const struct schema os_schema;
/* Does it start from a kernel of its own rather than from firmware? */
bool os_has_kernel(const struct os *);
