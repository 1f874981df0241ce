/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands by which the guest's agent is asked. Main thread. */
#pragma once
#include "daemon/worker_qmp.h"
#include "domain/commands_agent.h"

extern const struct worker_binding qmp_agent_bindings[];
