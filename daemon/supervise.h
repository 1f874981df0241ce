/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The life of a machine as kvmd sees it: start, events, end, what follows from the end, and finding machines again that
 * an earlier kvmd started. Main thread; nothing here waits.
 *
 *   SHUTOFF ──start──► STARTING ──ready──► RUNNING ◄──► PAUSED, SHUTDOWN, CRASHED (kept by on_* = preserve)
 *      ▲                   │                  │
 *      └──────── process gone (pidfd) ────────┘        ADOPTING ──hello──► RUNNING …, or UNKNOWN until it answers
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "daemon/dom.h"

/* notes: char *, parts of the definition that the guest will not find; err NULL: done. */
typedef void dom_done(void *arg, const GPtrArray *notes, const GError *err);

void dom_start(struct dom *, bool paused, dom_done *, void *arg);
/* Ends the process: asks, then kills. Done when it is gone. Calls off a pending restart. */
void dom_destroy(struct dom *, dom_done *, void *arg);
/* false and WRONG_STATE or NO_CONNECTION when nothing can be asked of its process now. */
bool dom_can_ask(const struct dom *, GError **err);

/* For start.c and adopt.c. */
void dom_start_with_host(struct dom *);
void dom_start_again(struct dom *);             /* by policy; when it fails, later once more */
void dom_kill(struct dom *);
/* Reaps a child and words its end; ours: we killed it. NULL: not ended, or not our child. New. */
char *pidfd_status(int pidfd, bool ours);
void dom_watch(struct dom *);                   /* pidfd is set: notice its end */
void dom_link(struct dom *, int fd);            /* talk to it; fd is taken */
void dom_take_event(struct dom *, const char *name, json_object *data, uint64_t seq);
char *end_record(const char *dir);              /* what the machine's process wrote last of its end, at most 64 KiB; "": nothing. New */
void dom_ended_unseen(struct dom *, const char *record, bool same_boot);  /* the process had gone before we looked */
enum dom_state dom_state_of_run_state(const char *run_state, const char **reason);

/* adopt.c: looks at run/vm; done() when every machine has answered or `patience` ms have passed. */
void adopt_all(struct kvmd *, unsigned patience_ms, void (*done)(void *arg), void *arg);
void dom_reconnect(struct dom *);               /* state UNKNOWN: ask again after a while, until it answers or ends */
void dom_clean(struct dom *);                   /* removes what a start left in run/ */

/* restart.c */
void dom_restart_later(struct dom *, bool at_once);     /* by on_* policy, with back-off */
bool dom_restart_call_off(struct dom *);        /* whether one was due */
void dom_restart_note(struct dom *);            /* one is due: for a kvmd that begins anew */
void dom_restart_forget(struct dom *);          /* drops that note */
void restarts_resume(struct kvmd *);            /* after adoption: what was due when an earlier kvmd ended */
