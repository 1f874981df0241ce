/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How much memory the guest has: the balloon and virtio-mem devices, driven and watched. Main thread. */
#pragma once
#include "daemon/worker.h"
#include "domain/commands_qmp_memory.h"

/* After devices are made: the machine's description follows them, and events tell. */
void memory_listen(struct worker *);
/* The virtio-mem device of this alias or id; NULL: none. */
struct device *memory_device(struct worker *, const char *name);
/* Bytes that the guest uses of all of them. */
uint64_t memory_plugged(struct worker *);
/* What the guest is to have by the balloon, or to use of a virtio-mem device; it is not waited for. *err: BUSY, ARGS. */
bool memory_ask(struct worker *, struct device *, uint64_t bytes, GError **err);
/* The same, and wait: memory-set and memory-device-set. */
enum run_result memory_wait(struct client *, struct device *, const struct args_memory_set *, GError **err);
