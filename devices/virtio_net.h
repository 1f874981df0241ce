/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network cards: what others than the guest may ask of them. Main thread. */
#pragma once
#include "devices/net.h"
#include "hv/device.h"

extern const struct device_ops virtio_net_ops;

/* The back end, for statistics and tests; NULL when the device is no network card. */
struct net *virtio_net_backend(struct device *);
/* A new connection to the user-mode network, taken over also on failure. *err: UNSUPPORTED. */
bool virtio_net_reconnect(struct device *, int fd, GError **err);
/* The guest is asked to tell its neighbours where it is now (after a migration), when its driver can. */
void virtio_net_announce(struct device *);
