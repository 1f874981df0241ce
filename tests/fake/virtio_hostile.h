/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plays a hostile guest: random actions upon one virtio device, after which it must still obey a driver that behaves. */
#pragma once
#include "tests/fake/virtio_driver.h"

/* How many by default: 100,000; 1,000,000 with KVMD_LONG in the environment. */
unsigned vhostile_rounds(void);
/* A second device in the same machine must go on working all the while. queues: how many the device has. between: called now and then to play the host's side; may be NULL. */
void vhostile(struct fake *, struct device *, unsigned queues, unsigned rounds, uint32_t seed, void (*between)(struct fake *, GRand *));
