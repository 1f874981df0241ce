/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One device as XML, and finding it among a machine's. A device is a struct of its row's schema (rows of devices_schema). Pure. */
#pragma once
#include <glib.h>

#include "domain/machine.h"
#include "domain/report.h"

/* Reads <disk>…</disk>, <interface>…: the element says which. New struct, *row: its row; NULL and *err. */
void *device_from_xml(const char *text, size_t len, struct report *, const struct field **row, GError **err);
char *device_to_xml(const struct field *row, const void *dev, unsigned flags);
const struct field *device_row(const struct schema *);
/* Without what only a running machine has: aliases kvmd gave, paths of ptys, names of taps. */
void device_forget(const struct field *row, void *dev);
/* Adds it (taken) to its list; false and *err where there can be one only, and it is there. */
bool device_put(struct devices *, const struct field *row, void *dev, GError **err);
/* The machine's own that `like` means: by alias, else by what names such a device (a disk's target, a card's MAC, a channel's
 * name or port), else by being the only one that fits. NULL and *err: NO_DEVICE, or ARGS when several fit. */
void *device_match(const struct devices *, const struct field *row, const void *like, GError **err);
void *device_by_alias(const struct devices *, const char *alias, const struct field **row);
/* What `new` does not say and the machine gave `old`, both of one row: alias, place, MAC, tap, pty, chain of images. */
void device_inherit(const struct field *row, void *new, const void *old);
/* new (taken) in old's place; old is the caller's. */
void device_swap(struct devices *, const struct field *row, void *old, void *new);
/* Takes it out of its list: the caller's. */
void device_take(struct devices *, const struct field *row, void *dev);
