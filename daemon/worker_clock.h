/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's clock, as events and the description tell of it. */
#pragma once

struct worker;
void clock_was_set(struct worker *);    /* by the guest. Main thread */
