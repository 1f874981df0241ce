/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Time, the only source of it. Guest time stands still while the machine is paused; host time is CLOCK_MONOTONIC; wall is
 * CLOCK_REALTIME plus the machine's <clock offset>. Tests use a manual clock. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum clock_kind { CLOCK_GUEST, CLOCK_HOST, CLOCK_WALL, CLOCK_KINDS };
struct clock;
struct clock *clock_new(void);                  /* guest time stands at 0 until clock_go */
struct clock *clock_new_manual(void);           /* for tests: starts at 0, goes, moves by clock_step */
void clock_free(struct clock *);
int64_t clock_now(const struct clock *, enum clock_kind);       /* ns */
void clock_stop(struct clock *);                /* guest time stands */
void clock_go(struct clock *);
void clock_set_guest(struct clock *, int64_t ns);       /* while stopped: restore */
void clock_set_wall_offset(struct clock *, int64_t ns);
void clock_step(struct clock *, int64_t ns);    /* manual clocks only */
bool clock_goes(const struct clock *);          /* guest time is not stopped */

/* Called by whoever stops, starts, sets or steps the clock, after the change: loops look at their timers again. fn may use
 * clock_now only. Removed by the one who added it; struct memory is his. */
struct clock_watch { void (*fn)(void *arg); void *arg; struct clock_watch *next; };
void clock_watch_add(struct clock *, struct clock_watch *);
void clock_watch_remove(struct clock *, struct clock_watch *);
