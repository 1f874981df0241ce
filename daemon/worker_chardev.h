/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Character devices of QMP clients, in the machine. Main thread. */
#pragma once
#include "daemon/worker.h"
#include "domain/chardev.h"
#include "domain/commands_qmp.h"

/* What a client handed over for `now`, whose type and source say what that is; true: it is in fds, or nothing is needed. */
bool chardev_take_named(struct client *, struct chardev *now, struct fdset *fds, GError **err);
/* device_add of a virtserialport: a channel, on a chardev of chardev-add; the guest is told and not waited for. */
bool chardev_add_port(struct worker *, const struct args_device_add *, GError **err);

/* One of chardev-add: the alias of the channel that has taken it, NULL: none has; what it is like, NULL: there is none such. */
const char *chardev_made_user(struct worker *, const char *id, const struct chardev **like);
/* Those that none has taken, for query-chardev. */
void chardevs_made(struct worker *, void (*fn)(const char *id, const struct chardev *, void *arg), void *arg);
/* Whether those that connect again are connected. */
void chardevs_look(struct worker *);

extern const struct worker_binding chardev_add_bindings[];
