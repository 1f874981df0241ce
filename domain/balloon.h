/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device through which a guest gives memory back: <memballoon>. */
#pragma once
#include "domain/address.h"

enum balloon_model { BALLOON_ABSENT, BALLOON_VIRTIO, BALLOON_VIRTIO_TRANSITIONAL, BALLOON_VIRTIO_NON_TRANSITIONAL,
	BALLOON_XEN, BALLOON_NONE, BALLOON_N };

struct balloon {
	int model;
	int autodeflate, free_page_reporting;   /* ONOFF */
	uint32_t stats_period;          /* s; 0: off */
	struct virtio_driver driver;
	DEVICE_MEMBERS;
};
extern const struct schema balloon_schema;
