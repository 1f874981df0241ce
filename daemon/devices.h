/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between devices_commands.c, devices_args.c and devices_prepare.c: a device that is attached or detached. */
#pragma once
#include "daemon/control.h"
#include "daemon/dom.h"
#include "daemon/launch.h"

enum device_verb { DEVICE_ATTACH, DEVICE_DETACH, DEVICE_UPDATE };

/* What is to be in a drive. */
enum medium_verb { MEDIUM_UPDATE, MEDIUM_EJECT, MEDIUM_INSERT };
struct medium_ask {
	enum medium_verb verb;
	char *drive;                    /* its target, or the path in it; qmp: target, alias, drive-ALIAS, path of its device */
	char *source, *format;          /* NULL: none; as it was */
	bool block, qmp;
	int mode;                       /* enum medium_mode; ABSENT: it is only read */
	bool found;                     /* out: .drive is its target now, so that the definition's is the machine's */
};

/* What is to stand behind a character device. */
struct chardev_ask {
	char *label;
	struct chardev *like;           /* its type and source, of channel_schema */
};

struct device_change {
	enum device_verb verb;
	bool force;
	uint32_t timeout;               /* s */
	/* What is meant: XML, or an alias, or a disk's image (a path), or a drive and its medium (an update). */
	char *xml, *alias, *image;
	struct medium_ask *medium;
	struct chardev_ask *chardev;    /* or a character device and its back end */
	char *dir;                      /* the machine's run folder */
	/* The thread's, in: */
	struct machine *machine;        /* copy of what runs; NULL: not live */
	struct launch *launch;          /* live attach: what it needs is opened into it */
	/* and out: */
	const char *kind;               /* the device's element */
	char *found, *mac;              /* live: its alias; what a new card got */
	GPtrArray *notes;               /* char *: what it says in vain */
	json_object *device;            /* live attach, update: the device as the machine will have it */
	json_object *controller;        /* live attach: what comes first, as it hangs on that; NULL: nothing */
	bool opens;                     /* live: what it needs is opened */
	bool is_chardev;                /* its host side is what changes */
	char *pty;                      /* what it got */
};

/* struct change_ops' prepare and edit; arg: a struct device_change, whose `out` members they fill. */
bool device_change_prepare(void *arg, GError **err);
bool device_change_edit(struct machine *definition, void *arg, GError **err);

/* devices_commands.c: another medium; m is taken. Answers the request. */
void device_change_medium(struct request *, const struct ask_scope *, struct medium_ask *m);
/* devices_medium.c: the drive with its new medium (new), and the one it is to replace; NULL and *err: there is none, it is no
 * drive, it holds nothing or something. */
void *medium_device(struct medium_ask *, struct machine *, const struct field **row, void **old, GError **err);
void medium_ask_free(struct medium_ask *);      /* NULL is fine */

/* devices_commands.c: another back end; a is taken. Answers the request as chardev-change does. */
void device_change_chardev(struct request *, struct chardev_ask *a);
/* devices_chardev.c: serial port, console or channel? */
bool chardev_is(const struct field *row);
/* As medium_device. */
void *chardev_device(const struct chardev_ask *, struct machine *, const struct field **row, void **old, GError **err);
/* The one that `new` is to replace, and what then replaces it, which is new or (new is freed) another one of *row; NULL and *err,
 * also when more than the host side of a running machine's differs. */
void *chardev_match(struct machine *, const struct field **row, void *new, bool live, void **replacement, GError **err);
bool chardev_opens(const struct chardev *old, const struct chardev *new);       /* is its host side another one? */
void chardev_ask_free(struct chardev_ask *);    /* NULL is fine */

/* devices_args.c: the XML that the short commands mean. New; NULL and *err. */
struct ask_attach_disk;
struct ask_attach_interface;
char *device_disk_xml(const struct ask_attach_disk *, GError **err);
char *device_interface_xml(const struct ask_attach_interface *, GError **err);
