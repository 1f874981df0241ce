/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much memory the guest has: the balloon, driven and watched. Main thread. */
#pragma once
#include "daemon/worker.h"
#include "domain/commands_qmp_memory.h"

/* After devices are made: the machine's description follows the balloon, and BALLOON_CHANGE tells. */
void memory_listen(struct worker *);
/* A target for the guest, without waiting. More than all of it means all of it, as for QEMU. */
bool memory_target(struct worker *, uint64_t bytes, GError **err);
/* The command memory-set. */
enum run_result memory_set(struct client *, const struct args_memory_set *, GError **err);
