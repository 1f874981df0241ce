/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest says by _OST (ACPI 6.5, section 6.3.5) about a device that comes or goes. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { OST_DEVICE_CHECK = 1, OST_EJECT_REQUEST = 3, OST_EJECTION = 0x103, OST_INSERTION = 0x200 };

bool ost_is_leave(uint32_t event);              /* is it about leaving? */
bool ost_goes_on(uint32_t event, uint32_t status);      /* it has begun, and will say more */
char *ost_text(uint32_t event, uint32_t status);        /* in words; caller frees */

/* ACPI_DEVICE_OST for the machine's clients. A guest can write them all day: more than OST_EVENTS_A_SECOND are not told. Main. */
#define OST_EVENTS_A_SECOND 20
struct ost_limit { gint64 second; unsigned events; };
struct worker;
void ost_event(struct worker *, struct ost_limit *, const char *device /* NULL: it has no name */, unsigned slot, const char *slot_type,
	uint32_t event, uint32_t status);
