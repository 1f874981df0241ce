/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The code behind domain/commands_qmp_net.c. */
#pragma once
#include "daemon/worker.h"

/* worker_qmp_devices.c: alias of the card that stands on a back end of netdev_add; NULL: none. Borrowed. */
const char *made_card(const struct worker *, const char *netdev);
extern const struct worker_binding qmp_net_bindings[];  /* ends with a row without a name */
