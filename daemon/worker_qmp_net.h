/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The code behind domain/commands_qmp_net.c. */
#pragma once
#include "daemon/worker.h"

extern const struct worker_binding qmp_net_bindings[];  /* ends with a row without a name */
