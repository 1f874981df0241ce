/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The epoll loop of an I/O thread: descriptors, timers, posts. Everything registered on a loop runs on its thread only.
 * loop_post and loop_call may be used from any thread; the rest from the loop's own thread, or from the thread that made
 * it while it is not started. Tests do not start the loop but step it.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "hv/clock.h"

struct loop;
struct loop *loop_new(const char *name, struct clock *clock);   /* NULL and errno when descriptors ran out */
bool loop_start(struct loop *, GError **err);   /* makes the thread */
void loop_stop(struct loop *);                  /* ends and joins it; from outside */
void loop_free(struct loop *);
int loop_thread_id(const struct loop *);         /* as the host numbers threads; 0: not started. Any thread */
struct loop *loop_current(void);                /* NULL outside any loop thread */
bool loop_step(struct loop *, int timeout_ms);  /* tests: runs what is due once; true when anything ran */

void loop_post(struct loop *, void (*fn)(void *), void *arg);
void loop_call(struct loop *, void (*fn)(void *), void *arg);   /* waits; at once when not started or on its own thread */

struct loop_fd { struct loop *loop; int fd; uint32_t events; void (*fn)(void *arg, uint32_t events); void *arg; };
/* Caller owns the struct and fd (non-blocking); .loop must be NULL, .events is what to wait for, EPOLLET allowed. */
bool loop_fd_add(struct loop *, struct loop_fd *, GError **err);
void loop_fd_set(struct loop_fd *, uint32_t events);
void loop_fd_remove(struct loop_fd *);          /* at once: fn does not run again; fine when it was not added */

/*
 * Something that can be looked at without a system call: a ring in the guest's memory, a completion queue. A loop that is busy
 * enough polls these for a while before it sleeps (loop_set_polling). Caller owns the struct; .loop must be NULL.
 */
struct loop_poll {
	struct loop *loop;
	bool (*fn)(void *arg);          /* does what there is to do; false: nothing was */
	void (*quiet)(void *arg, bool on);      /* notifications are not needed from now on; off: they are, and fn runs again. May be NULL */
	void *arg;
	struct loop_poll *next;
};
void loop_poll_add(struct loop *, struct loop_poll *);
void loop_poll_remove(struct loop_poll *);      /* fine when it was not added */
#define LOOP_POLL_MAX_NS 100000         /* what busy loops of disks get when nobody says otherwise */
/* max_ns: polls at most so long before it sleeps, 0 (the default): never; what it is at present is multiplied by grow
 * (0: 2) when polling a little longer would have spared a sleep, divided by shrink (0: becomes 0) when it would not. */
void loop_set_polling(struct loop *, int64_t max_ns, unsigned grow, unsigned shrink);
int64_t loop_polling(const struct loop *, unsigned *grow, unsigned *shrink);    /* as set; any thread */

struct loop_timer { struct loop *loop; enum clock_kind kind; int64_t at; void (*fn)(void *arg); void *arg; unsigned place; };
void loop_timer_init(struct loop_timer *, struct loop *, enum clock_kind, void (*fn)(void *), void *arg);
void loop_timer_set(struct loop_timer *, int64_t at_ns);        /* absolute, in the timer's clock; any thread */
/* Any thread; from the loop's own thread (loop_call) fn is certain not to run afterwards, else it may just be running. */
void loop_timer_cancel(struct loop_timer *);
