/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of the commands about media of drives. */
#include "domain/commands_media.h"

#include "domain/commands_devices.h"

#define S(id, T, what, text) const struct schema id = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }
#define TEXT(m, text, ...) STR(T, m, NULL, 0, text, ##__VA_ARGS__)
#define BOOL(m, text, ...) FLAG(T, m, NULL, 0, text, ##__VA_ARGS__)
#define DRIVE TEXT(id, "the drive: id or path of its device"), TEXT(device, "the drive: drive-ALIAS, the target (sda), the alias")
#define FORCE BOOL(force, "also when the guest holds it: no guest can")

#define T struct ask_change_media
static const struct field ask_change_media_schema_fields[] = {
	STR(T, target, NULL, REQUIRED | POSITIONAL, "the drive's name (sda), or the path of the medium in it"),
	STR(T, source, NULL, POSITIONAL, "the new medium: image file or block device"),
	BOOL(eject, "take the medium out"), BOOL(insert, "put one into an empty drive"),
	BOOL(update, "put one in, whether the drive is empty or not; what happens without these three"),
	BOOL(block, "the source is a block device; also without it, when it is under /dev"), TEXT(format, "raw or qcow2; none: as before"), FORCE, ASK_SCOPE(T), END };
S(ask_change_media_schema, T, "change-media", "a drive and its medium");
#undef T

#define T struct args_eject
static const struct field args_eject_schema_fields[] = { DRIVE, FORCE, END };
static S(args_eject_schema, T, "eject", "a drive");
#undef T

static const char *const medium_mode_names[MEDIUM_MODE_N] = { NULL, "retain", "read-only", "read-write" };
#define T struct args_change_medium
static const struct field args_change_medium_schema_fields[] = {
	DRIVE, STR(T, filename, NULL, REQUIRED, "the medium: its path, or /dev/fdset/N"), TEXT(format, "raw or qcow2; none: as the drive's last"), FORCE,
	ENUM(T, mode, NULL, medium_mode_names, 0, "how the medium is opened: as the last one (without it too), for reading, or for writing; the guest of a CD-ROM drive only reads in any case", .name = "read-only-mode"), END };
static S(args_change_medium_schema, T, "blockdev-change-medium", "a drive and its new medium");
#undef T

#define T struct event_tray
static const struct field event_tray_schema_fields[] = {
	TEXT(device, "the drive: drive-ALIAS"), TEXT(id, "its device"), BOOL(open, "as it is now", .name = "tray-open"), END };
S(event_tray_schema, T, "DEVICE_TRAY_MOVED", "a drive's tray");
#undef T

const struct command media_commands[] = {
	{ "change-media", "change-media", "change the medium of a CD-ROM drive", IN_KVMD, CMD_VM, &ask_change_media_schema, &tell_device_schema,
	  "kvmctl change-media web sda /srv/next.iso\nkvmctl change-media web sda --eject --live --config",
	  "Requests of the guest end first, then the old medium is closed and unlocked; the guest is told of the new size. An empty drive is a disk of no "
	  "size, which answers with errors. DEVICE_TRAY_MOVED tells it to clients. update-device with another <source> does the same." },
	{ "eject", NULL, "take the medium out of a drive", IN_WORKER, CMD_VM, &args_eject_schema },
	{ "blockdev-change-medium", NULL, "put another medium into a drive", IN_WORKER, CMD_VM | CMD_OPENS, &args_change_medium_schema },
	{ NULL },
};
