/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For how long a loop polls before it sleeps: waking a sleeping thread costs more than a quick disk, and the guest's kick an exit.
 *
 * How likely it is to be needed again soon, the last sleeps tell: one that was shorter than .max makes .now grow from 4 us on, a
 * longer one makes it shrink (to nothing, unless told otherwise): a loop with fewer events than one in .max never polls. Who has
 * polled in vain for 1 ms of 10 (the guest may be waiting for this very processor), or finds that the host gave the processor to
 * somebody else meanwhile, is modest for 1 ms, and for twice as long each time when that goes on: on a crowded host polling only
 * takes time from the guest. Modest, it polls for 10 us, about what it costs to sleep and be woken: so what it loses is never more
 * than that again, and a guest that asks its next question at once is answered at once.
 *
 * Times are in ns of CLOCK_HOST. One thread.
 */
#pragma once
#include <stdint.h>

struct loop_spin {
	int64_t max;            /* longest polling, 0: never */
	unsigned grow, shrink;  /* factor, divisor; 0: 2, and to nothing */
	int64_t now;            /* without modesty */
	int64_t window, vain;   /* begin of the 10 ms, polled in vain in them */
	int64_t modest_until, penance;
};

int64_t spin_for(struct loop_spin *, int64_t now);      /* how long to poll from now on; 0: not at all */
void spin_looked(struct loop_spin *, int64_t before, int64_t now);      /* two looks without a find, one after the other */
/* Polling is over. most: what spin_for said; since: the last find, or the begin. That others had their turn is no failure. */
void spin_ended(struct loop_spin *, int64_t since, int64_t now, int64_t most);
void spin_slept(struct loop_spin *, int64_t ns);        /* polling included, until a descriptor woke it */
