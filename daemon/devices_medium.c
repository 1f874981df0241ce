/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A drive with another medium, or none: which one is meant, and what becomes of its description. */
#include <string.h>

#include "daemon/devices.h"
#include "domain/commands_media.h"
#include "domain/device_xml.h"

static bool is_named(const struct disk *d, const struct medium_ask *a)
{
	static const char path[] = "/machine/peripheral/", end[] = "/virtio-backend";
	const struct resource *r = disk_source_resource(d->type, (struct disk_source *)(uintptr_t)&d->source);
	g_autofree char *alias = NULL;
	const char *name = a->drive;

	if (!g_strcmp0(d->target.dev, name))
		return true;
	if (!a->qmp)
		return r && !strcmp(r->path, name);
	if (g_str_has_prefix(name, path))
		name += strlen(path);
	else if (g_str_has_prefix(name, "drive-"))
		name += strlen("drive-");
	alias = g_str_has_suffix(name, end) ? g_strndup(name, strlen(name) - strlen(end)) : g_strdup(name);
	return !g_strcmp0(d->alias, alias);
}

static struct disk *find_drive(struct machine *m, const struct medium_ask *a, GError **err)
{
	list_each(disk, d, m->devices.disks) {
		if (!is_named(d, a))
			continue;
		if (disk_removable(d))
			return d;
		return kerr_set(err, KERR_UNSUPPORTED, "Device '%s' is not removable: only a <disk device='cdrom'> has a medium that can be changed", a->drive), NULL;
	}
	return kerr_set(err, KERR_NO_DEVICE, a->qmp ? "Device '%s' not found" : "there is no drive '%s'", a->drive), NULL;
}

static bool set_format(struct disk *d, const char *format, GError **err)
{
	if (!format)
		return true;
	if (strcmp(format, "raw") && strcmp(format, "qcow2"))
		return kerr_set(err, KERR_ARGS, "Unknown driver '%s': media are raw or qcow2", format);
	d->driver.format = strcmp(format, "raw") ? FORMAT_QCOW2 : FORMAT_RAW;
	return true;
}

static void set_source(struct disk *d, const struct medium_ask *a)
{
	int policy = d->source.startup_policy;
	bool writable = a->mode == MEDIUM_READ_WRITE || (d->source.writable && (a->verb == MEDIUM_EJECT || a->mode == MEDIUM_RETAIN));

	schema_clear(&disk_source_schema, &d->source);
	schema_free(&disk_backing_schema, d->backing);
	d->backing = NULL;
	d->source.writable = writable;
	d->target.tray = TRAY_ABSENT;
	if (a->verb == MEDIUM_EJECT)
		return;
	d->type = a->block ? DISK_BLOCK : DISK_FILE;
	*(a->block ? &d->source.dev.path : &d->source.file.path) = g_strdup(a->source);
	d->source.startup_policy = policy;
}

void *medium_device(struct medium_ask *a, struct machine *m, const struct field **row, void **old, GError **err)
{
	struct disk *was = find_drive(m, a, err), *d;

	if (!was)
		return NULL;
	if (!a->found && a->verb == MEDIUM_EJECT && !disk_has_source(was))
		return kerr_set(err, KERR_STATE, "Device '%s' has no medium", a->drive), NULL;
	if (!a->found && a->verb == MEDIUM_INSERT && disk_has_source(was))
		return kerr_set(err, KERR_STATE, "drive '%s' has a medium: use --update, or --eject it first", a->drive), NULL;
	d = schema_dup(&disk_schema, was);
	set_source(d, a);
	if (!set_format(d, a->format, err)) {
		schema_free(&disk_schema, d);
		return NULL;
	}
	if (!a->found) {
		a->found = true;
		g_free(a->drive);
		a->drive = g_strdup(was->target.dev);
	}
	*row = device_row(&disk_schema);
	*old = was;
	return d;
}

void medium_ask_free(struct medium_ask *a)
{
	if (!a)
		return;
	g_free(a->drive);
	g_free(a->source);
	g_free(a->format);
	g_free(a);
}
