/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Changes of the machine that only the guest can finish: it takes or gives up a vCPU or a device. A change has parts, each
 * known by a key ("vcpu3", a device's id); a part is in one change at a time. The change ends when the guest has answered
 * for all parts, or when it has said nothing for the time-out: every sign of progress gives it that time again, up to
 * CONFIRM_PATIENCE times, and a suspended machine's time does not count. Parts that the guest did not do are taken back.
 * Main thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define CONFIRM_TIMEOUT_MS 10000        /* unless the caller says otherwise */
#define CONFIRM_PATIENCE 8

struct worker;
struct confirm;

enum confirm_word { CONFIRM_PROGRESS, CONFIRM_DONE, CONFIRM_REFUSED, CONFIRM_FAILED /* on our side */ };
struct confirm_ops {
	/* The guest refused this part or did not answer: take it back. true: it turns out that the guest has done it. */
	bool (*undo)(struct worker *, const char *key, void *arg);
	/* The last call. err: GUEST with what the guest said of each part; NULL: all is done. */
	void (*ended)(struct worker *, const GError *err, void *arg);
};

struct confirm *confirm_new(struct worker *, unsigned timeout_ms, const struct confirm_ops *, void *arg);
/* One more part; false and BUSY when it is in another change. */
bool confirm_part(struct confirm *, const char *key, GError **err);
/* All parts are in, and the guest has been told. */
void confirm_start(struct confirm *);
/* Instead: nothing has begun. Neither undo nor ended is called. */
void confirm_cancel(struct confirm *);

/* The guest said something about a part (said: its words, for the error; may be NULL). false: nobody waits for it. */
bool confirm_told(struct worker *, const char *key, enum confirm_word, const char *said);
/* Whether this part is in a change. */
bool confirm_waits(const struct worker *, const char *key);
