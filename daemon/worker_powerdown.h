/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest is asked to go down: by its power button, by its agent, or by one after the other. Main thread. */
#pragma once
#include "daemon/worker_qmp.h"

extern const struct worker_binding powerdown_bindings[];
