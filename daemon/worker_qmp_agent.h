/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands by which the guest's agent is asked. Main thread. */
#pragma once
#include "daemon/worker_qmp.h"
#include "domain/commands_agent.h"

extern const struct worker_binding qmp_agent_bindings[];
/* The guest is asked to go off, or to begin anew; answered when its agent has begun, which it seldom says. */
enum run_result agent_powerdown(struct client *, bool reboot, unsigned timeout_s, GError **err);
