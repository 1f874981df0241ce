/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What other devices hang on: <controller>. */
#pragma once
#include "domain/address.h"

enum controller_type { CONTROLLER_ABSENT, CONTROLLER_IDE, CONTROLLER_FDC, CONTROLLER_SCSI, CONTROLLER_SATA,
	CONTROLLER_VIRTIO_SERIAL, CONTROLLER_CCID, CONTROLLER_USB, CONTROLLER_PCI, CONTROLLER_XENBUS, CONTROLLER_ISA,
	CONTROLLER_N };

#define CONTROLLER_INDEX_NONE UINT32_MAX

struct controller_driver {
	uint32_t queues, cmd_per_lun, max_sectors;
	int ioeventfd;                  /* ONOFF */
	uint32_t iothread;              /* 0: none */
	VIRTIO_MEMBERS;
	struct extras extras;
};
struct controller_target {              /* PCI bridges */
	uint32_t chassis_nr, chassis, port, bus_nr, index;      /* UINT32_MAX: not given */
	int hotplug;                    /* ONOFF */
	uint32_t node;                  /* UINT32_MAX: not given */
	struct extras extras;
};
struct controller {
	int type;
	uint32_t index;                 /* CONTROLLER_INDEX_NONE: not given (fill sets it) */
	char *model;
	uint32_t ports, vectors;        /* 0: not given */
	char *model_name;               /* QEMU's device for a bridge: kept */
	uint32_t master_startport;      /* UINT32_MAX: not given */
	uint64_t pcihole64;             /* bytes */
	struct controller_target target;
	struct controller_driver driver;
	DEVICE_MEMBERS;
};
extern const struct schema controller_schema;
extern const char *const controller_type_names[CONTROLLER_N];
