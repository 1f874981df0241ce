/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What kvmd itself asks of the guest's agent: a table of calls, with what each may answer. Keys that the table does not know are
 * left out of an answer, for newer agents say more; what it knows must be of its type and within its bounds. Main thread.
 */
#pragma once
#include "daemon/worker_agent.h"
#include "domain/field.h"

enum agent_ask { AGENT_GET_VCPUS, AGENT_SET_VCPUS, AGENT_SHUTDOWN, AGENT_ASK_N };

struct guest_vcpu { uint32_t id; bool online, can_offline; };
extern const struct schema guest_vcpu_schema;

/* Valid during the call. */
struct agent_told {
	GPtrArray *list;                /* of structs of the call's schema, when it answers with a list; else NULL */
	int64_t number;                 /* when it answers with one */
};
typedef void agent_told_fn(struct worker *, const struct agent_told *, const GError *err, void *arg);

/* As agent_call: args is taken; false: fn is not called. */
bool agent_ask(struct worker *, enum agent_ask, json_object *args, unsigned timeout_ms, agent_told_fn *, void *arg, GError **err);
