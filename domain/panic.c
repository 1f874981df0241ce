/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <panic>. */
#include "domain/panic.h"

#include "domain/rows.h"

NAMES(panic_model_names, PANIC_N, "isa", "pseries", "hyperv", "s390", "pvpanic");

static const struct field panic_schema_fields[] = {
	ENUM(struct panic, model, "@model", panic_model_names, GUEST, "isa: an I/O port; pvpanic: a PCI device; hyperv: MSRs"),
	DEVICE_ROWS(struct panic)
};
SCHEMA(panic_schema, struct panic, "panic", "the device by which a guest says that it crashed");
