/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <input>. */
#include "domain/input.h"

#include "domain/rows.h"

NAMES(input_type_names, INPUT_TYPE_N, "mouse", "tablet", "keyboard", "passthrough", "evdev");
NAMES(input_bus_names, INPUT_BUS_N, "ps2", "usb", "xen", "virtio");
static const char *const grab_names[] = { "", "all" };
static const char *const toggle_names[] = { "", "ctrl-ctrl", "alt-alt", "shift-shift", "meta-meta", "scrolllock", "ctrl-scrolllock" };

static const struct field input_schema_fields[] = {
	ENUM(struct input, type, "@type", input_type_names, GUEST | REQUIRED, "what it is"),
	ENUM(struct input, bus, "@bus", input_bus_names, GUEST, "what it is attached to"),
	ENUM(struct input, model, "@model", virtio_model_names, GUEST, "generation of the virtio device"),
	STRUCT(struct input, driver, "driver", virtio_driver_schema, 0, "how it is served"),
	STR(struct input, evdev, "source/@evdev", 0, "event device of the host"),
	STR(struct input, dev, "source/@dev", 0, "event device of the host"),
	ENUM(struct input, grab, "source/@grab", grab_names, 0, "take all of the host's input"),
	ENUM(struct input, grab_toggle, "source/@grabToggle", toggle_names, 0, "keys that give it back"),
	ENUM(struct input, repeat, "source/@repeat", onoff_names, 0, "repeat held keys"),
	DEVICE_ROWS(struct input)
};
SCHEMA(input_schema, struct input, "input", "a keyboard, mouse or tablet");
