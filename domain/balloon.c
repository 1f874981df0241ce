/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <memballoon>. */
#include "domain/balloon.h"

#include "domain/rows.h"

NAMES(balloon_model_names, BALLOON_N, "virtio", "virtio-transitional", "virtio-non-transitional", "xen", "none");

static const struct field balloon_schema_fields[] = {
	ENUM(struct balloon, model, "@model", balloon_model_names, GUEST | REQUIRED, "generation of the virtio device, or none"),
	ENUM(struct balloon, autodeflate, "@autodeflate", onoff_names, GUEST, "the guest takes memory back before it kills a process"),
	ENUM(struct balloon, free_page_reporting, "@freePageReporting", onoff_names, GUEST, "the guest names pages it does not use"),
	U32(struct balloon, stats_period, "stats/@period", 0, INT32_MAX, LIVE, "seconds between statistics"),
	STRUCT(struct balloon, driver, "driver", virtio_driver_schema, 0, "how it is served"),
	DEVICE_ROWS(struct balloon)
};
SCHEMA(balloon_schema, struct balloon, "memballoon", "the device through which a guest gives memory back");
