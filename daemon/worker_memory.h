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

/* --- for worker_plug_memory.c --- */

/* A balloon or virtio-mem device has come; one is just going (before its device is freed). */
void memory_came(struct worker *, struct device *);
void memory_gone(struct worker *, struct device *);
/* The guest is to give back all of the device's memory, and it is no longer asked to take any. done runs once, perhaps before
 * this returns; err: what the guest did not. false, and no call: *err (STATE, GUEST, BUSY). */
bool memory_empty(struct worker *, struct device *, unsigned timeout_ms, void (*done)(void *arg, const GError *err), void *arg, GError **err);
/* It stays: so much as it was to have before. */
void memory_refill(struct worker *, struct device *, uint64_t bytes);
