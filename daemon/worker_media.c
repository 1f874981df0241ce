/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Media of drives: QMP's eject and blockdev-change-medium, and what update-device needs of them.
 *
 * As with blockdev-add, a file that is named here is a set of add-fd: a machine's process that could have kvmd open what it
 * names would have no fence. A path is kvmd's (worker_serve.c), and what kvmd opened comes as device-update. Each medium has its own node names: the source's index counts them.
 */
#include "daemon/worker_media.h"

#include <string.h>

#include "daemon/worker_disks.h"
#include "daemon/worker_plug.h"
#include "daemon/worker_qmp.h"
#include "devices/virtio_blk.h"
#include "domain/commands_media.h"
#include "domain/json.h"

struct medium {
	struct done done;
	struct worker *worker;
	struct waiter *waiter;
	json_object *answer;
	char *id;               /* of the drive's device */
};

static void tray_event(struct worker *w, struct device *d, bool open)
{
	g_autofree char *drive = disk_drive_name(d);

	worker_event(w, "DEVICE_TRAY_MOVED", json_from_struct(&event_tray_schema, &(struct event_tray){ drive, d->id, open }, JSON_ALL));
}

static bool tray_is_open(const struct disk *d)
{
	return d->target.tray == TRAY_OPEN;
}

static void medium_changed(struct done *done, int result)
{
	struct medium *m = done->arg;
	struct device *d = device_find(&m->worker->vm, m->id);
	g_autoptr(GError) err = NULL;

	if (result < 0 || !d) {
		kerr_set(&err, KERR_STATE, "drive '%s' went away meanwhile", m->id);
		json_object_put(m->answer);
	} else {
		if (!tray_is_open(d->config))
			tray_event(m->worker, d, false);
		plug_changed(m->worker);
	}
	waiter_answer(m->waiter, err ? NULL : m->answer, err);
	g_free(m->id);
	g_free(m);
}

/* The drive as it is, with the medium of the other. New. */
static struct disk *with_medium(const struct disk *drive, const struct disk *like)
{
	struct disk *d = schema_dup(&disk_schema, drive);

	schema_clear(&disk_source_schema, &d->source);
	schema_copy(&disk_source_schema, &d->source, &like->source);
	schema_free(&disk_backing_schema, d->backing);
	d->backing = like->backing ? schema_dup(&disk_backing_schema, like->backing) : NULL;
	schema_clear(&iotune_schema, &d->iotune);
	schema_copy(&iotune_schema, &d->iotune, &like->iotune);
	d->type = like->type;
	d->driver.format = like->driver.format;
	d->target.tray = tray_is_open(like) ? TRAY_OPEN : TRAY_ABSENT;
	d->source.index = 0;
	return d;
}

bool media_change(struct client *c, struct device *dev, const struct disk *like, struct fdset *fds, json_object *answer, GError **err)
{
	struct worker *w = c->worker;
	bool was_open = tray_is_open(dev->config);
	struct disk *now = with_medium(dev->config, like);
	struct medium *m = g_new0(struct medium, 1);
	bool ok;

	if (disk_has_source(now))
		now->source.index = ++w->media;
	*m = (struct medium){ .done = { .fn = medium_changed, .arg = m }, .worker = w, .id = g_strdup(dev->id) };
	ok = virtio_blk_change(dev, now, fds, &m->done, err);
	schema_free(&disk_schema, now);
	if (!ok) {
		g_free(m->id);
		g_free(m);
		return false;
	}
	m->answer = answer;
	m->waiter = waiter_new(c);
	if (!was_open)
		tray_event(w, dev, true);
	return true;
}

/* --- QMP --- */

static struct device *find_drive(struct worker *w, const char *id, const char *device, GError **err)
{
	const char *name = id ? id : device;
	struct device *d;

	if (!id == !device)
		return kerr_set(err, KERR_ARGS, "Need exactly one of 'device' and 'id'"), NULL;
	d = disk_by_name(w, name);
	if (!d)
		return kerr_set(err, KERR_NO_DEVICE, "Device '%s' not found", name), NULL;
	if (!disk_removable(d->config))
		return kerr_set(err, KERR_UNSUPPORTED, "Device '%s' is not removable: only a <disk device='cdrom'> has a medium that can be changed", name), NULL;
	return d;
}

static enum run_result qmp_eject(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_eject *a = args;
	struct device *dev = find_drive(c->worker, a->id, a->device, err);
	struct disk *d, *none;
	bool ok;

	if (!dev)
		return RUN_FAILED;
	d = dev->config;
	if (!disk_has_source(d)) {
		if (!tray_is_open(d)) {
			d->target.tray = TRAY_OPEN;
			tray_event(c->worker, dev, true);
			plug_changed(c->worker);
		}
		return RUN_DONE;
	}
	none = schema_dup(&disk_schema, d);
	schema_clear(&disk_source_schema, &none->source);
	none->source.writable = d->source.writable;     /* the next one's, unless somebody says otherwise */
	schema_free(&disk_backing_schema, none->backing);
	none->backing = NULL;
	none->target.tray = TRAY_OPEN;
	ok = media_change(c, dev, none, NULL, NULL, err);
	schema_free(&disk_schema, none);
	return ok ? RUN_LATER : RUN_FAILED;
}

/* The medium of a set of add-fd: what is behind it is not looked for. */
static struct disk *medium_of_set(struct client *c, const struct disk *drive, const struct args_change_medium *a, struct fdset *fds, GError **err)
{
	bool writable = a->mode == MEDIUM_READ_WRITE || (a->mode != MEDIUM_READ_ONLY && drive->source.writable);
	struct disk *d;
	int fd;

	if (a->format && strcmp(a->format, "raw") && strcmp(a->format, "qcow2"))
		return kerr_set(err, KERR_ARGS, "Unknown driver '%s': media are raw or qcow2", a->format), NULL;
	fd = qmp_fd_of_set(c->worker, a->filename, !writable, err);
	if (fd < 0 || !fdset_add(fds, "medium", fd, err))
		return NULL;
	d = schema_dup(&disk_schema, drive);
	schema_clear(&disk_source_schema, &d->source);
	schema_free(&disk_backing_schema, d->backing);
	d->type = DISK_FILE;
	d->source.writable = writable;
	d->source.file.path = g_strdup(a->filename);
	d->source.file.fd = g_strdup("medium");
	d->backing = schema_new(&disk_backing_schema);
	if (a->format)
		d->driver.format = strcmp(a->format, "raw") ? FORMAT_QCOW2 : FORMAT_RAW;
	d->target.tray = TRAY_ABSENT;
	return d;
}

static enum run_result qmp_change_medium(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_change_medium *a = args;
	struct device *dev = find_drive(c->worker, a->id, a->device, err);
	struct fdset *fds;
	struct disk *like;
	bool ok;

	if (!dev)
		return RUN_FAILED;
	fds = fdset_new();
	like = medium_of_set(c, dev->config, a, fds, err);
	ok = like && media_change(c, dev, like, fds, NULL, err);
	schema_free(&disk_schema, like);
	fdset_free(fds);
	return ok ? RUN_LATER : RUN_FAILED;
}

const struct worker_binding qmp_media_bindings[] = {
	{ "eject", qmp_eject },
	{ "blockdev-change-medium", qmp_change_medium },
	{ NULL },
};
