/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keyboards, mice, tablets: <input>. Kept; there is no screen they would belong to yet. */
#pragma once
#include "domain/address.h"

enum input_type { INPUT_ABSENT, INPUT_MOUSE, INPUT_TABLET, INPUT_KEYBOARD, INPUT_PASSTHROUGH, INPUT_EVDEV, INPUT_TYPE_N };
enum input_bus { INPUT_BUS_ABSENT, INPUT_PS2, INPUT_USB, INPUT_XEN, INPUT_VIRTIO, INPUT_BUS_N };

struct input {
	int type, bus, model;           /* model: enum virtio_model */
	struct virtio_driver driver;
	char *evdev, *dev;              /* source */
	int grab, grab_toggle, repeat;
	DEVICE_MEMBERS;
};
extern const struct schema input_schema;
