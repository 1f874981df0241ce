/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <watchdog>. */
#include "domain/watchdog.h"

#include "domain/rows.h"

NAMES(watchdog_model_names, WATCHDOG_MODEL_N, "i6300esb", "ib700", "diag288", "itco");
NAMES(watchdog_action_names, WATCHDOG_ACTION_N, "reset", "shutdown", "poweroff", "pause", "none", "dump", "inject-nmi");

static const struct field watchdog_schema_fields[] = {
	ENUM(struct watchdog, model, "@model", watchdog_model_names, GUEST | REQUIRED, "the timer the guest sees"),
	ENUM(struct watchdog, action, "@action", watchdog_action_names, LIVE, "what happens when it runs out; none given: reset"),
	DEVICE_ROWS(struct watchdog)
};
SCHEMA(watchdog_schema, struct watchdog, "watchdog", "a timer that acts when the guest no longer feeds it");
