/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's agent (qemu-guest-agent), the host's side. The worker holds it, so that it stays connected whatever becomes of
 * kvmd, and what a hostile guest answers is read behind the fence; kvmd and its clients get results of bounded size.
 *
 * The guest may answer what, when and as often as it likes. So: nothing is read unless a call is under way; a call ends at its
 * deadline; each begins by guest-sync-delimited, behind whose byte 0xFF and number no older answer is taken for its own; and a
 * command is sent only to an agent that has just answered to that, so none waits in the channel to be done much later.
 * Main thread.
 */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>

#define AGENT_CALLS_MAX 16              /* waiting for their turn */
#define AGENT_TIMEOUT_MS 10000          /* unless the caller says otherwise */
#define AGENT_LINE_MAX (2u << 20)       /* bytes of an answer, and of a command; more than WORKER_CLIENT_QUEUE would cut off who asked */
#define AGENT_VALUES_MAX 65536          /* values in an answer: each takes memory here */
#define AGENT_DEPTH 32                  /* values in values */
#define AGENT_READ_MAX (32u << 20)      /* bytes read for one call, with all that is not its answer */
#define AGENT_QUIET_MS 2000             /* so long a command that has no answer when it works may still fail */

struct worker;
struct agent;

/* answer: what the agent said ({"return": …}), valid during the call; NULL: there is none and none was due (AGENT_SILENT), or *err:
 * TIMEOUT, GUEST (what the agent refused, or nonsense), STATE (it went away), BUSY. Called once. */
typedef void agent_done(struct worker *, json_object *answer, const GError *err, void *arg);
enum agent_flags { AGENT_SILENT = 1 /* no answer means that it worked */ };

/* fd (taken): our end of the channel; name: the domain's, for messages (copied). */
struct agent *agent_new(struct worker *, int fd, const char *name);
void agent_free(struct agent *);        /* calls under way fail; NULL is fine */
/* Whether somebody in the guest has its end open. When it closes, the call under way fails. */
void agent_set_connected(struct agent *, bool);
bool agent_is_connected(const struct agent *);          /* NULL: no */
/* Takes args (may be NULL for none). false: done is not called. a NULL: the machine has no channel for it. done never runs
 * before this returns. *err: STATE, BUSY, INACTIVE, ARGS. */
bool agent_call(struct agent *a, const char *execute, json_object *args, unsigned timeout_ms, unsigned flags, agent_done *done, void *arg, GError **err);
