/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's real-time clock, seen from the host. That the guest has set it is told by VM_REQ_CLOCK. */
#pragma once
#include <stdint.h>

struct device;
/* Seconds that it is ahead of what <clock> let it begin with, negative: behind. Any thread that holds no device's lock. */
int64_t rtc_moved(struct device *);
