/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The device by which a guest says that it crashed. */
#pragma once
#include "domain/address.h"

enum panic_model { PANIC_ABSENT, PANIC_ISA, PANIC_PSERIES, PANIC_HYPERV, PANIC_S390, PANIC_PVPANIC, PANIC_N };

struct panic {
	int model;                      /* isa (0x505 by default), pvpanic (PCI), hyperv */
	DEVICE_MEMBERS;                 /* address.iobase: of isa */
};
extern const struct schema panic_schema;
