/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Why domains are in their states, as an earlier kvmd's journal tells it: a machine's process does not know, and one that is off has none. */
#pragma once
#include <glib.h>

struct kvmd;
/* Start only, after definitions are loaded and before machines are adopted; blocks. Sets reason and since of domains that are off, and
 * remembered of all. */
void reasons_load(struct kvmd *);
