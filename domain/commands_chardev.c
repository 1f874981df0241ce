/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of the commands about character devices. */
#include "domain/commands_chardev.h"

#include "domain/commands_devices.h"

#define S(id, T, what, text) static const struct schema id = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }

#define T struct args_chardev_change
static const struct field args_chardev_change_schema_fields[] = {
	STR(T, id, NULL, REQUIRED, "its label: the alias of the serial port, console or channel"),
	JSON(T, backend, "any", REQUIRED, "what is to stand behind it: type (null, pty, file, serial, pipe, socket, udp, ringbuf) and data"), END };
S(args_chardev_change_schema, T, "chardev-change", "a character device and its new back end");
#undef T

#define T struct args_chardev_update
static const struct field args_chardev_update_schema_fields[] = {
	STR(T, id, NULL, REQUIRED, "alias"), JSON(T, device, "any", REQUIRED, "the device with its new type and source"),
	LIST(T, names, NULL, device_fd_schema, 200, 0, "names of the descriptors that come along, in order"), END };
S(args_chardev_update_schema, T, "args_chardev_update", "a character device and its new back end");
#undef T

static const char *const ringbuf_format_names[RINGBUF_N] = { NULL, "utf8", "base64" };
#define T struct args_ringbuf_write
static const struct field args_ringbuf_write_schema_fields[] = {
	STR(T, device, NULL, REQUIRED, "its label"), STRN(T, data, NULL, 0, 1 << 20, REQUIRED, "what is put in, behind the guest's output"),
	ENUM(T, format, NULL, ringbuf_format_names, 0, "how that is written: utf8 (none: that)"), END };
S(args_ringbuf_write_schema, T, "ringbuf-write", "bytes for a ringbuf");
#undef T

#define T struct args_ringbuf_read
static const struct field args_ringbuf_read_schema_fields[] = {
	STR(T, device, NULL, REQUIRED, "its label"), U64(T, size, NULL, 0, INT64_MAX, REQUIRED, "bytes at most"),
	ENUM(T, format, NULL, ringbuf_format_names, 0, "how they come: utf8 (none: that; what is no UTF-8 is replaced), base64"), END };
S(args_ringbuf_read_schema, T, "ringbuf-read", "bytes of a ringbuf");
#undef T

const struct command chardev_commands[] = {
	{ "chardev-change", NULL, "put another back end behind a character device", IN_WORKER, CMD_VM | CMD_OPENS | CMD_ANY, &args_chardev_change_schema },
	{ "chardev-add", NULL, "make a character device for device_add of a virtserialport", IN_WORKER, CMD_VM | CMD_OPENS | CMD_ANY, &args_chardev_change_schema },
	{ "chardev-remove", NULL, "forget it", IN_WORKER, CMD_VM, &args_netdev_del_schema },
	{ "chardev-made", NULL, "chardev-add, with what kvmd has opened", IN_WORKER, CMD_INTERNAL | CMD_FDS, &args_chardev_update_schema },
	{ "chardev-update", NULL, "the same, with what kvmd has opened", IN_WORKER, CMD_INTERNAL | CMD_FDS, &args_chardev_update_schema },
	{ "ringbuf-write", NULL, "put bytes into a ringbuf, behind the guest's output", IN_WORKER, CMD_VM, &args_ringbuf_write_schema },
	{ "ringbuf-read", NULL, "take the oldest bytes out of a ringbuf", IN_WORKER, CMD_VM | CMD_ANY | CMD_PLUMBING, &args_ringbuf_read_schema },
	{ "chardev-reconnect", NULL, "give a character device a new connection", IN_WORKER, CMD_INTERNAL | CMD_FDS | CMD_PLUMBING, &args_netdev_del_schema },
	{ NULL },
};
