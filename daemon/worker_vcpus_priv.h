/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between worker_vcpus.c and worker_vcpus_set.c. */
#pragma once
#include "daemon/worker_confirm.h"
#include "daemon/worker_ost.h"
#include "daemon/worker_vcpus.h"

#define KEY_SIZE 16

struct cpu_slot {
	char *id;               /* what QMP calls it; NULL: no name of its own */
	bool leaving;           /* the guest was asked for it */
	bool told;
	uint32_t event, status; /* the last _OST */
};

struct set;
struct hotplug {
	struct worker *worker;
	struct device *block;
	unsigned n;
	struct cpu_slot *slots;
	struct set *set;        /* vcpus-set under way; NULL: none */
	struct ost_limit told;
};

/* The slot's key for worker_confirm.h. */
const char *vcpu_key(unsigned slot, char key[KEY_SIZE]);
bool vcpus_can_change(const struct worker *, GError **err);
void vcpus_tell_guest(struct worker *);         /* the general purpose event: there is something to look at */
void vcpu_ask_for(struct worker *, unsigned slot);      /* the slot's request to leave */
/* For struct confirm_ops. */
bool vcpu_undo_insert(struct worker *, const char *key, void *arg);
bool vcpu_undo_remove(struct worker *, const char *key, void *arg);
