/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can be plugged: the table, and what is special about some rows. */
#include <string.h>

#include "daemon/worker_memory.h"
#include "daemon/worker_plug.h"
#include "daemon/worker_channels.h"
#include "devices/virtio_console.h"

/* --- disks --- */

/*
 * The device that the kernel is told to find its root on: "vda" of root=/dev/vda1. "": one that its name does not tell from
 * here (root=UUID=…, /dev/mapper/…). NULL: none, the guest lives in its initramfs. New.
 */
static char *root_of(const char *cmdline)
{
	g_auto(GStrv) words = g_strsplit_set(cmdline ? cmdline : "", " \t\n", -1);
	const char *root = NULL;

	for (char **w = words; *w; w++)
		if (g_str_has_prefix(*w, "root="))
			root = *w + strlen("root=");
	if (!root || g_str_has_prefix(root, "/dev/ram") || g_str_has_prefix(root, "/dev/nfs"))
		return NULL;
	root += g_str_has_prefix(root, "/dev/") ? strlen("/dev/") : 0;
	return g_strndup(root, g_str_has_prefix(root, "vd") || g_str_has_prefix(root, "sd") || g_str_has_prefix(root, "hd") ?
		strspn(root, "abcdefghijklmnopqrstuvwxyz") : 0);
}

/* Is it what the guest was started from? Where nothing tells, the first disk is. */
static bool is_root(const struct machine *m, const struct disk *disk)
{
	g_autofree char *named = root_of(m->os.cmdline);
	const struct disk *first = NULL;

	if (m->os.kernel.path && (!named || *named))
		return named && !strcmp(named, disk->target.dev);
	list_each(disk, d, m->devices.disks)
		if (disk_runs(d) && disk_has_source(d) && (!first || (d->boot_order && (!first->boot_order || d->boot_order < first->boot_order))))
			first = d;
	return first == disk;
}

static bool disk_may_go(struct worker *w, const void *config, bool force, GError **err)
{
	const struct disk *d = config;

	return force || !is_root(w->machine, d) ||
		kerr_set(err, KERR_UNSUPPORTED, "disk '%s' is what the guest runs from: it would not live without it; 'kvmctl detach-disk --force' takes it all the same",
			d->target.dev);
}

/* --- virtio-serial --- */

static bool controller_may_come(struct worker *w, const void *config, GError **err)
{
	const struct controller *c = config;

	return c->type == CONTROLLER_VIRTIO_SERIAL ||
		kerr_set(err, KERR_UNSUPPORTED, "only virtio-serial controllers can be plugged: others have no hardware of their own here");
}

static bool controller_may_go(struct worker *w, const void *config, bool force, GError **err)
{
	const struct controller *c = config;
	GPtrArray *lists[] = { w->machine->devices.consoles, w->machine->devices.channels };

	for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
		list_each(chardev, p, lists[i])
			if (p->address.type == ADDRESS_VIRTIO_SERIAL && p->address.controller == c->index)
				return kerr_set(err, KERR_BUSY, "'%s' is a port of it: detach that first", p->alias);
	return true;
}

static struct device *controller_of(struct worker *w, const struct chardev *c)
{
	for (unsigned i = 0; i < w->vm.devices->len; i++)
		if (virtio_console_serves(w->vm.devices->pdata[i], c))
			return w->vm.devices->pdata[i];
	return NULL;
}

static bool channel_may_come(struct worker *w, const void *config, GError **err)
{
	const struct chardev *c = config;

	return !g_strcmp0(c->target.type, "virtio") ||
		kerr_set(err, KERR_UNSUPPORTED, "only channels with <target type='virtio'/> can be plugged");
}

static bool channel_add(struct worker *w, void *config, struct fdset *fds, char **id, GError **err)
{
	struct device *d = controller_of(w, config);

	if (!d)
		return kerr_set(err, KERR_NO_DEVICE, "there is no such virtio-serial controller: attach it first (<controller type='virtio-serial'/>)");
	if (!virtio_console_add(d, config, fds, id, err))
		return false;
	if (channel_came(w, d, config, fds, err))
		return true;
	virtio_console_remove(d, config);
	g_clear_pointer(id, g_free);
	return false;
}

static void channel_remove(struct worker *w, const void *config)
{
	struct device *d = controller_of(w, config);

	channel_leaves(w, config);
	if (d)
		virtio_console_remove(d, config);
}

/* --- the table --- */

static const char *const disk_live[] = { "iotune", "boot_order", "source/startup_policy", NULL };
static const char *const disk_own[] = { "source/index", "target/tray", NULL };
static const char *const iface_live[] = { "link", "bandwidth", "boot_order", NULL };
static const char *const rng_live[] = { "rate_bytes", "rate_period", NULL };

const struct plug_kind plug_kinds[] = {
	{ &disk_schema, "virtio-blk", .may_go = disk_may_go, .live = disk_live, .own = disk_own },
	{ &iface_schema, "virtio-net", .live = iface_live },
	{ &rng_schema, "virtio-rng", .live = rng_live },
	{ &controller_schema, "virtio-console", .may_come = controller_may_come, .may_go = controller_may_go },
	PLUG_MEMORY,
	{ &channel_schema, NULL, channel_add, channel_remove, .may_come = channel_may_come },
	{ NULL },
};

static const struct field *row_of(const struct plug_kind *k)
{
	const struct field *f = devices_schema.fields;

	while (f->sub != k->schema)
		f++;            /* a kind without a list would be a bug that each test finds */
	return f;
}

const struct plug_kind *plug_kind_of(const struct schema *s)
{
	for (const struct plug_kind *k = plug_kinds; k->schema; k++)
		if (k->schema == s)
			return k;
	return NULL;
}

const char *plug_kind_name(const struct plug_kind *k)
{
	return row_of(k)->path;
}

const struct plug_kind *plug_kind_named(const char *element)
{
	for (const struct plug_kind *k = plug_kinds; k->schema; k++)
		if (!strcmp(plug_kind_name(k), element))
			return k;
	return NULL;
}

struct device_base *plug_base(const struct plug_kind *k, void *config)
{
	return device_base(row_of(k), config);
}

GPtrArray **plug_list(struct worker *w, const struct plug_kind *k)
{
	return field_at(row_of(k), &w->machine->devices);
}

void *plug_find(struct worker *w, const char *alias, const struct plug_kind **kind)
{
	for (const struct plug_kind *k = plug_kinds; k->schema; k++) {
		GPtrArray *list = *plug_list(w, k);

		for (unsigned i = 0; i < list_len(list); i++) {
			if (g_strcmp0(plug_base(k, list->pdata[i])->alias, alias))
				continue;
			*kind = k;
			return list->pdata[i];
		}
	}
	return NULL;
}
