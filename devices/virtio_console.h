/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio consoles and channels, for those who attach to them. Main thread. */
#pragma once
#include "devices/chr.h"
#include "domain/chardev.h"

/* The host side of the port whose <console> or <channel> has that alias or target name; NULL name: of the first console.
 * NULL: the controller has none such. */
struct chr *virtio_console_chr(struct device *, const char *name);

/* fn is called when somebody in the guest opens or closes a port, on any thread but not before the guest runs. One listener. */
void virtio_console_listen(struct device *, void (*fn)(void *), void *arg);
/* Whether somebody in the guest has that channel open. */
bool virtio_console_in_use(struct device *, const struct chardev *);

/* --- ports that come and go; main thread --- */
/* Is it a controller, and this channel one of its ports? */
bool virtio_console_serves(struct device *, const struct chardev *);
/* A channel more; it must stay where it is until it is removed. *id: of its struct device, by which VM_REQ_DRIVER tells that the
 * guest has it; NULL: the guest has no driver that could tell. New. *err: BUSY, LIMIT, and what opening its host side may say. */
bool virtio_console_add(struct device *, const struct chardev *, struct fdset *, char **id, GError **err);
/* It is gone; the guest is told. */
void virtio_console_remove(struct device *, const struct chardev *);
