/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A timer that acts when the guest no longer feeds it: <watchdog>. */
#pragma once
#include "domain/address.h"

enum watchdog_model { WATCHDOG_ABSENT, WATCHDOG_I6300ESB, WATCHDOG_IB700, WATCHDOG_DIAG288, WATCHDOG_ITCO, WATCHDOG_MODEL_N };
enum watchdog_action { WATCHDOG_ACTION_ABSENT, WATCHDOG_RESET, WATCHDOG_SHUTDOWN, WATCHDOG_POWEROFF, WATCHDOG_PAUSE,
	WATCHDOG_NONE, WATCHDOG_DUMP, WATCHDOG_INJECT_NMI, WATCHDOG_ACTION_N };

struct watchdog {
	int model, action;
	DEVICE_MEMBERS;
};
extern const struct schema watchdog_schema;
