/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The events of kvmd's journal: those of machines (domain/commands_qmp.h), and kvmd's own. */
#pragma once
#include "domain/commands_qmp.h"

/* What kvmd itself tells. Ends with a row without a name; data is NULL in each. */
extern const struct event_row kvmd_events[];
/* The row after e, first the machines', then kvmd's; NULL: the first. NULL at the end. Any thread. */
const struct event_row *event_next(const struct event_row *e);
/* What was probably meant by a name that no event has; NULL: it is an event's, or near to none. */
const char *event_meant(const char *name);
