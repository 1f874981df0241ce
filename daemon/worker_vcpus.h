/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPUs that come and go. A slot is a vCPU's number; its key for worker_confirm.h is "vcpuN". The machine's description
 * (current number, <vcpus>) follows, and the event KVMD_MACHINE says so. Main thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "daemon/worker.h"
#include "domain/commands_qmp.h"

/* Before devices are made: fills in what the description leaves open, so that it stays true whatever is plugged. */
void vcpus_describe(struct worker *);
/* After devices are made. */
void vcpus_listen(struct worker *);
/* All are parked and the guest begins a new life: changes under way are settled. Before devices_reset. */
void vcpus_reset(struct worker *);

/* What QMP shows: the CPU's id (NULL: none was given) and path. path: caller frees. */
const char *vcpu_qid(const struct worker *, unsigned slot);
char *vcpu_path(const struct worker *, unsigned slot);
/* "host-x86_64-cpu" of the running model. Caller frees. */
char *vcpu_type(const struct worker *);
struct cpu_props { uint32_t socket, die, core, thread; };
void vcpu_props(const struct worker *, unsigned slot, struct cpu_props *);
/* The slot of an id or path; -1: none is there. */
int vcpu_by_name(const struct worker *, const char *name);

/* Plugs; the guest is told and not waited for. id may be NULL (copied). */
bool vcpu_plug(struct worker *, unsigned slot, const char *id, GError **err);
/* Asks the guest for it. DEVICE_DELETED follows, or DEVICE_UNPLUG_GUEST_ERROR. */
bool vcpu_unplug(struct worker *, unsigned slot, GError **err);

/* For query-acpi-ospm-status: the last _OST of a slot; false: it has said nothing. */
bool vcpu_ost(const struct worker *, unsigned slot, uint32_t *event, uint32_t *status);

/* The command vcpus-set. */
enum run_result vcpus_set(struct client *, const struct args_vcpus_set *, GError **err);
