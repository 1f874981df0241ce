/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Channels as the guest uses them: which it has open is in the machine's description (<target state=…/>) and told by the event
 * VSERPORT_CHANGE; the one with the guest's agent is w->agent. Main thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

struct chardev;
struct device;
struct fdset;
struct worker;

/* Whether somebody in the guest has it open. */
bool channel_is_open(struct worker *, const struct chardev *);
void channels_listen(struct worker *);          /* after devices are made */
/* One that was plugged, and is in the description. fds may hold our end of it. */
bool channel_came(struct worker *, struct device *controller, struct chardev *, struct fdset *fds, GError **err);
void channel_leaves(struct worker *, const struct chardev *);   /* while it still is in the description */
