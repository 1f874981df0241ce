/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices of the host given to the guest: <hostdev>. Refused until VFIO is here; <source> is kept as it is. */
#pragma once
#include "domain/address.h"

enum hostdev_mode { HOSTDEV_MODE_ABSENT, HOSTDEV_SUBSYSTEM, HOSTDEV_CAPABILITIES, HOSTDEV_MODE_N };
enum hostdev_type { HOSTDEV_ABSENT, HOSTDEV_USB, HOSTDEV_PCI, HOSTDEV_SCSI, HOSTDEV_SCSI_HOST, HOSTDEV_MDEV,
	HOSTDEV_STORAGE, HOSTDEV_MISC, HOSTDEV_NET, HOSTDEV_TYPE_N };

struct rom {                            /* a card's boot code: hostdev, interface */
	int enabled;                    /* YESNO */
	int bar;                        /* ONOFF */
	char *file;
	struct extras extras;
};
struct hostdev {
	int mode, type;
	int managed;                    /* YESNO */
	char *model;                    /* mdev, scsi_host */
	char *driver;                   /* pci: "vfio" */
	uint32_t boot_order;
	struct rom rom;
	bool readonly, shareable;
	DEVICE_MEMBERS;
};
extern const struct schema hostdev_schema, rom_schema;
