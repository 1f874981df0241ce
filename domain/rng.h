/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Entropy for the guest: <rng>. */
#pragma once
#include "domain/address.h"
#include "domain/chardev.h"

enum rng_backend_model { RNG_BACKEND_ABSENT, RNG_RANDOM, RNG_EGD, RNG_BUILTIN, RNG_BACKEND_N };

struct rng_backend {
	int model;
	struct resource path;           /* random: "/dev/urandom" by default */
	int type;                       /* egd: enum chardev_type */
	struct chardev_source source;   /* egd */
	int protocol;
	struct extras extras;
};
struct rng {
	int model;                      /* enum virtio_model */
	uint32_t rate_bytes, rate_period;       /* bytes per period (ms); 0: unlimited */
	struct rng_backend backend;
	struct virtio_driver driver;
	DEVICE_MEMBERS;
};
extern const struct schema rng_schema;
