/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A change of a domain: of the running machine, of its definition, or of both, as --live, --config and --current say. All such
 * commands go these steps, and a change that is refused at one of them changes nothing:
 *
 *   scope    main thread    what is meant; is it there, can it be asked, is no other change of the definition on its way
 *   prepare  work thread    what the machine needs for it, opened and checked (live; optional)
 *   edit     work thread    the definition is parsed, changed, checked and made text again (config)
 *   apply    main thread    the machine's process is asked; then it is asked what it is now (live)
 *   store    store's thread the definition goes to disk; event DEFINED (config)
 *   answer   main thread    the request is answered
 *
 * When kvmd dies meanwhile the machine's process goes on, and its events COMMAND_BEGUN and COMMAND_DONE tell the result to
 * the next kvmd's journal. All functions: main thread.
 */
#pragma once
#include "daemon/control.h"
#include "daemon/dom.h"

struct change;

/* arg is the change's own: the request's args where these are all it needs (they live as long as the change). */
struct change_ops {
	/* Work thread, may block, touches nothing but arg. *err: what is wrong. */
	bool (*prepare)(void *arg, GError **err);       /* NULL: nothing */
	bool (*edit)(struct machine *definition, void *arg, GError **err);
	/* Main thread. dom->live is known; must end in change_done(), change_ask() or change_ask_guest(). NULL: never live. */
	void (*apply)(struct change *, struct dom *, void *arg);
	/* Main thread, after apply: the machine has done it, or not, and dom->live is what it is now (NULL: it has ended). NULL: nothing. */
	void (*applied)(struct dom *, bool done, void *arg);
	/* All is done. live: the machine was meant. NULL: the answer is {}. */
	void (*answer)(struct request *, bool live, void *arg);
	void (*free)(void *arg);                        /* NULL: nothing; also called when the change is refused */
	/* Main thread, between apply and applied: what the machine answered to change_ask() or change_ask_guest(), valid during the call. NULL: of no interest. */
	void (*told)(json_object *reply, void *arg);
};

/* What the options mean now: at least one of live and config. *err: ARGS, STATE, CONNECT, BUSY. */
bool change_scope(const struct request *, const struct ask_scope *given, struct ask_scope *meant, GError **err);
/* From prepare on, with what change_scope() has said. Answers the request, once; arg is taken. */
void change_run(struct request *, const struct ask_scope *meant, const struct change_ops *, void *arg);
/* All steps. */
void change(struct request *, const struct ask_scope *given, const struct change_ops *, void *arg);

/* For apply: err NULL: the machine has done it. */
void change_done(struct change *, const GError *err);
/* For apply: asks the machine by one command that it answers at once. args (may be NULL) is taken. */
void change_ask(struct change *, const char *execute, json_object *args);
/* The same, with descriptors (not taken). */
void change_ask_fds(struct change *, const char *execute, json_object *args, const int *fds, unsigned n);
/* The same, with what was opened for it (struct launch_fd, not taken): args get "names". More than go at once: *err LIMIT of the change. */
void change_ask_opened(struct change *, const char *execute, json_object *args, const GPtrArray *opened);
/* For apply: as change_ask, with a command in which the guest has part: gets "timeout" (ms) and "id" too. timeout: s without a
 * sign of progress; times: how many of these it may take in all; fds (not taken) go along. */
void change_ask_guest(struct change *, const char *execute, json_object *args, uint32_t timeout, uint64_t times, const int *fds, unsigned n);

/* For commands that print both when neither is asked for: is there what --live, --config or --current name? *err: ARGS, STATE. */
bool change_may_look(const struct dom *, const struct ask_scope *given, GError **err);
/* A look at the machine as it runs, or at its definition, which is parsed on the work thread. fn is called once, on the main
 * thread, and answers the request; m is valid during the call; NULL: *err. */
void change_look(struct request *, const struct ask_scope *given, void (*fn)(struct request *, const struct machine *m, const GError *err));
