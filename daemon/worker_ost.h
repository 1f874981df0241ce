/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest says by _OST (ACPI 6.5, section 6.3.5) about a device that comes or goes. Pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { OST_DEVICE_CHECK = 1, OST_EJECT_REQUEST = 3, OST_EJECTION = 0x103, OST_INSERTION = 0x200 };

bool ost_is_leave(uint32_t event);              /* is it about leaving? */
bool ost_goes_on(uint32_t event, uint32_t status);      /* it has begun, and will say more */
char *ost_text(uint32_t event, uint32_t status);        /* in words; caller frees */
