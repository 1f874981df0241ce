/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine has changed while it runs: its process is asked what it is now, and d->live follows. Main thread. */
#pragma once
#include <glib.h>

#include "daemon/dom.h"

/* done (may be NULL) runs later, once; err: it did not answer, or what kvmd does not believe (given.h); d->live is as before. */
void dom_refresh(struct dom *, void (*done)(void *arg, const GError *err), void *arg);
/* The machine says that it has changed: many such words are one question. */
void dom_refresh_soon(struct dom *);
