/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between devices_commands.c, devices_args.c and devices_prepare.c: a device that is attached or detached. */
#pragma once
#include "daemon/control.h"
#include "daemon/dom.h"
#include "daemon/launch.h"

enum device_verb { DEVICE_ATTACH, DEVICE_DETACH, DEVICE_UPDATE };

struct device_change {
	enum device_verb verb;
	bool force;
	uint32_t timeout;               /* s */
	/* What is meant: XML, or an alias, or a disk's image (a path). */
	char *xml, *alias, *image;
	/* The thread's, in: */
	struct machine *machine;        /* copy of what runs; NULL: not live */
	struct launch *launch;          /* live attach: what it needs is opened into it */
	/* and out: */
	const char *kind;               /* the device's element */
	char *found, *mac;              /* live: its alias; what a new card got */
	json_object *device;            /* live attach, update: the device as the machine will have it */
};

/* struct change_ops' prepare and edit; arg: a struct device_change, whose `out` members they fill. */
bool device_change_prepare(void *arg, GError **err);
bool device_change_edit(struct machine *definition, void *arg, GError **err);

/* devices_args.c: the XML that the short commands mean. New; NULL and *err. */
struct ask_attach_disk;
struct ask_attach_interface;
char *device_disk_xml(const struct ask_attach_disk *, GError **err);
char *device_interface_xml(const struct ask_attach_interface *, GError **err);
