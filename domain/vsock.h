/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets between host and guest: <vsock>. */
#pragma once
#include "domain/address.h"

struct vsock {
	int model;                      /* enum virtio_model */
	int cid_auto;                   /* YESNO */
	uint32_t cid;                   /* from 3; 0: not given */
	struct virtio_driver driver;
	DEVICE_MEMBERS;
};
extern const struct schema vsock_schema;
