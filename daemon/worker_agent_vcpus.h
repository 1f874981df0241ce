/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPUs switched on and off inside the guest, by its agent. A change asks what there is, switches, and asks again until it is so,
 * or says what the guest said. Main thread.
 */
#pragma once
#include "daemon/worker_agent_calls.h"

/* list: of struct guest_vcpu, what there is now, valid during the call; NULL with *err. Called once. */
typedef void guest_vcpus_done(struct worker *, const GPtrArray *list, const GError *err, void *arg);

unsigned guest_vcpus_online(const GPtrArray *list);
/* Each returns false and *err when nothing was begun; then done is not called. */
/* So many are to be online: the lowest are switched on, the highest off. */
bool guest_vcpus_count(struct worker *, unsigned count, unsigned timeout_ms, guest_vcpus_done *, void *arg, GError **err);
/* Those of the ids (uint32_t, taken) are to be online or not. */
bool guest_vcpus_switch(struct worker *, GArray *ids, bool online, unsigned timeout_ms, guest_vcpus_done *, void *arg, GError **err);
/* At least n that are not among the ids (taken: those there were before) are to be there, and all of these online. */
bool guest_vcpus_new(struct worker *, GArray *ids, unsigned n, unsigned timeout_ms, guest_vcpus_done *, void *arg, GError **err);
