/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Makes the ACPI and SMBIOS tables of a machine as it is now, and puts them into its RAM below 1 MiB. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;
/* Main thread, vCPUs parked. *rsdp: address of the RSDP, 0 when the definition has no <acpi/>. */
bool tables_place(struct vm *, uint64_t *rsdp, GError **err);
