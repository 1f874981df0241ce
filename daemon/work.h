/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Things that may block (opening files on a dead server, fsync, parsing 16 MiB of XML) run here, beside kvmd's one loop.
 * fn runs on a thread of the pool and touches nothing but `arg`; then done runs on the main loop.
 */
#pragma once
#include <glib.h>

/* Hands a struct from one thread to another where GLib carries the pointer: what was written before is seen after, also by
 * ThreadSanitizer, which does not look into GLib's queues. */
#define HANDED(flag) __atomic_store_n(flag, 1, __ATOMIC_RELEASE)
#define TAKEN(flag) ((void)__atomic_load_n(flag, __ATOMIC_ACQUIRE))

struct work;
/* serial: one thread, in order (disk writes, cgroups); otherwise up to `threads` at once. */
struct work *work_new(unsigned threads);
void work_run(struct work *, void (*fn)(void *arg), void (*done)(void *arg) /* may be NULL */, void *arg);
/* Waits for what has been given, its done() calls included when `wait`; else leaves it to its threads. Main thread. */
void work_free(struct work *, gboolean wait);
