/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A change of devices, up to where the guest comes in. The device is put into a copy of the machine, which is then filled and
 * checked like a definition: so all rules hold for it, and it gets its place and name as it would at a start. What it needs of
 * the host is opened as for a machine that has nothing else.
 */
#include "daemon/devices.h"
#include "daemon/disk_open.h"

#include <string.h>

#include "daemon/given.h"
#include "daemon/net.h"
#include "daemon/resources.h"
#include "domain/device_xml.h"
#include "domain/json.h"

static void *parse(const struct device_change *c, const struct field **row, GError **err)
{
	AUTO(report) r = report_new(NULL, false, false);

	return device_from_xml(c->xml, strlen(c->xml), r, row, err);
}

/* The same of a device that will be part of the machine: what it says in vain is noted, once for machine and definition. */
static void *parse_new(struct device_change *c, const struct field **row, GError **err)
{
	AUTO(report) r = report_new(NULL, false, false);
	void *dev = device_from_xml(c->xml, strlen(c->xml), r, row, err);

	if (!dev || c->notes)
		return dev;
	c->notes = g_ptr_array_new_with_free_func(g_free);
	schema_unused((*row)->sub, dev, r);
	for (unsigned i = 0; i < r->findings->len; i++)
		g_ptr_array_add(c->notes, finding_text(r, r->findings->pdata[i]));
	return dev;
}

/* Memory devices are in a machine's <memory>, as with libvirt. */
static bool count_memory(struct machine *m, const struct memdev *d, GError **err)
{
	struct memory *mem = &m->memory;
	uint64_t size;

	if (!mem->max)
		return kerr_set(err, KERR_UNSUPPORTED, "memory devices need <maxMemory slots='…'> in the definition, since the machine's start");
	if (list_len(m->devices.memdevs) > mem->slots)          /* this one among them */
		return kerr_set(err, KERR_LIMIT, "all %u slots of <maxMemory> are in use", mem->slots);
	if (__builtin_add_overflow(mem->size, d->target.size, &size) || size > mem->max)
		return kerr_set(err, KERR_LIMIT, "with %" G_GUINT64_FORMAT " KiB more than its %" G_GUINT64_FORMAT " KiB the machine would have more than its "
			"<maxMemory> of %" G_GUINT64_FORMAT " KiB", d->target.size >> 10, mem->size >> 10, mem->max >> 10);
	if (mem->current == mem->size)
		mem->current = size;
	mem->size = size;
	return true;
}

static void uncount_memory(struct machine *m, const struct memdev *d)
{
	struct memory *mem = &m->memory;

	mem->size -= MIN(d->target.size, mem->size);
	mem->current = MIN(mem->current, mem->size);
}

/* The machine with one device more, as it would start. dev is taken. */
static bool add(struct machine *m, const struct field *row, void *dev, GError **err)
{
	AUTO(report) r = report_new(NULL, false, true);

	if (!device_put(&m->devices, row, dev, err)) {
		schema_free(row->sub, dev);
		return false;
	}
	if (row->sub == &memdev_schema && !count_memory(m, dev, err))
		return false;
	if (machine_fill(m, r))
		machine_check(m, r);
	return report_ok(r, err) && launch_supported(m, NULL, err);
}

static bool open_memory(struct launch *l, const struct machine *m, const struct memdev *d, GError **err)
{
	g_autofree char *name = g_strdup_printf("memory:%s", d->alias);

	if (launch_memory(l, m, name, d->target.size))
		return true;
	g_propagate_error(err, g_steal_pointer(&l->err));
	return false;
}

/* Opens what the device needs, into l. */
static bool open_for(struct launch *l, struct machine *m, const struct field *row, void *dev, GError **err)
{
	AUTO(machine) alone = machine_new();
	g_autofree char *dir = g_build_filename(l->paths->vms, m->uuid, NULL);
	bool ok;

	if (row->sub == &memdev_schema)
		return open_memory(l, m, dev, err);
	alone->name = g_strdup(m->name);
	alone->uuid = g_strdup(m->uuid);
	alone->id = m->id;
	if (!device_put(&alone->devices, row, dev, err))
		return false;
	l->machine = alone;
	resources_place_sockets(alone, dir);
	ok = resources_open(alone, dir, l->fds, l->sockets, l->machines, err) && net_launch(l, err);
	l->machine = NULL;
	device_take(&alone->devices, row, dev);         /* it is m's */
	return ok;
}

/* The controller that filling has added for the device, if it has. Kinds without hardware are not added by filling. */
static bool take_controller(struct device_change *c, GHashTable *before, const void *dev, GError **err)
{
	list_each(controller, ctl, c->machine->devices.controllers) {
		if (ctl == dev || g_hash_table_contains(before, ctl))
			continue;
		if (c->controller || ctl->type != CONTROLLER_VIRTIO_SERIAL)
			return kerr_set(err, KERR_UNSUPPORTED, "it needs a %s controller that the machine does not have: attach that first "
				"(<controller type='%s' index='%u'/>)", controller_type_names[ctl->type], controller_type_names[ctl->type], ctl->index);
		c->controller = json_from_struct(&controller_schema, ctl, JSON_SECRETS);
	}
	return true;
}

static bool attach_live(struct device_change *c, GError **err)
{
	const struct field *row = NULL;
	void *dev = parse_new(c, &row, err);
	g_autoptr(GHashTable) before = g_hash_table_new(NULL, NULL);

	list_each(controller, ctl, c->machine->devices.controllers)
		g_hash_table_add(before, ctl);
	if (!dev)
		return false;
	device_forget(row, dev);
	c->kind = row->path;
	if (!add(c->machine, row, dev, err) || !take_controller(c, before, dev, err))
		return false;
	if (!open_for(c->launch, c->machine, row, dev, err))
		return false;
	if (row->sub == &disk_schema)
		disk_doubt(dev, c->notes);
	if (row->sub == &iface_schema)
		c->mac = g_strdup(((const struct iface *)dev)->mac);
	c->found = g_strdup(*device_alias(row, dev));
	c->device = json_from_struct(row->sub, dev, JSON_SECRETS);
	return true;
}

static bool attach_config(struct device_change *c, struct machine *m, GError **err)
{
	const struct field *row = NULL;
	void *dev = parse_new(c, &row, err);

	if (!dev)
		return false;
	device_forget(row, dev);
	if (row->sub == &iface_schema && c->mac && !((struct iface *)dev)->mac)    /* the one it has from now on */
		((struct iface *)dev)->mac = g_strdup(c->mac);
	return add(m, row, dev, err);
}

static void *disk_by_image(struct machine *m, const char *image, const struct field **row, GError **err)
{
	list_each(disk, d, m->devices.disks) {
		const struct resource *r = disk_source_resource(d->type, &d->source);

		if (!r || g_strcmp0(r->path, image))
			continue;
		*row = device_row(&disk_schema);
		return d;
	}
	kerr_set(err, KERR_NO_DEVICE, "no disk of it has the image '%s'", image);
	return NULL;
}

/* The device that is meant, among m's. */
static void *find(const struct device_change *c, struct machine *m, const struct field **row, GError **err)
{
	void *like, *dev;

	if (c->image)
		return disk_by_image(m, c->image, row, err);
	if (c->alias) {
		dev = device_by_alias(&m->devices, c->alias, row);
		if (!dev)
			kerr_set(err, KERR_NO_DEVICE, "there is no device '%s'", c->alias);
		return dev;
	}
	like = parse(c, row, err);
	if (!like)
		return NULL;
	dev = device_match(&m->devices, *row, like, err);
	schema_free((*row)->sub, like);
	return dev;
}

static bool detach_live(struct device_change *c, GError **err)
{
	const struct field *row = NULL;
	void *dev = find(c, c->machine, &row, err);
	char **alias;

	if (!dev)
		return false;
	alias = device_alias(row, dev);
	if (!alias || !*alias)
		return kerr_set(err, KERR_UNSUPPORTED, "a <%s> stays as long as the machine runs: use --config", row->path);
	c->kind = row->path;
	c->found = g_strdup(*alias);
	return true;
}

static bool detach_config(struct device_change *c, struct machine *m, GError **err)
{
	const struct field *row = NULL;
	void *dev = find(c, m, &row, err);

	if (!dev)
		return false;
	device_take(&m->devices, row, dev);
	if (row->sub == &memdev_schema)
		uncount_memory(m, dev);
	schema_free(row->sub, dev);
	return true;
}

static void note_chardev(struct device_change *c, const struct field *row, const struct chardev *old, const struct chardev *new)
{
	c->is_chardev = chardev_is(row);
	if (!c->is_chardev)
		return;
	c->opens = c->chardev || chardev_opens(old, new);
}

/* Its log stays as it is: it is open already. */
static bool open_chardev(struct device_change *c, const struct field *row, struct chardev *dev, GError **err)
{
	char *log = g_steal_pointer(&dev->log.file.path);
	bool ok = open_for(c->launch, c->machine, row, dev, err);

	dev->log.file.path = log;
	if (ok && dev->type == CHARDEV_PTY)
		c->pty = g_strdup(dev->source.path.path);
	return ok;
}

/* The device as it is to be, in the place of the one that is meant. */
static bool replace(struct device_change *c, struct machine *m, const struct field **row, void **dev, GError **err)
{
	AUTO(report) r = report_new(NULL, false, true);
	void *old = NULL, *new = c->medium ? medium_device(c->medium, m, row, &old, err) :
		c->chardev ? chardev_device(c->chardev, m, row, &old, err) : parse_new(c, row, err);
	bool live = m == c->machine;

	if (new && !old && chardev_is(*row))
		old = chardev_match(m, row, new, live, &new, err);
	else if (new && !old)
		old = device_match(&m->devices, *row, new, err);
	if (!old) {
		if (new)
			schema_free((*row)->sub, new);
		return false;
	}
	if (!c->medium && !chardev_is(*row)) {
		device_forget(*row, new);
		device_inherit(*row, new, old);
	} else if (chardev_is(*row) && !live) {
		device_forget(*row, new);
		device_inherit(*row, new, old);
	}
	if (live)
		note_chardev(c, *row, old, new);
	c->opens |= (*row)->sub == &disk_schema && disk_removable(old) && disk_has_source(new) && disk_media_differ(old, new);
	device_swap(&m->devices, *row, old, new);
	if ((*row)->sub == &memdev_schema) {
		uncount_memory(m, old);
		if (!count_memory(m, new, err)) {
			schema_free((*row)->sub, old);
			return false;
		}
	}
	schema_free((*row)->sub, old);
	*dev = new;
	if (machine_fill(m, r))
		machine_check(m, r);
	return report_ok(r, err) && launch_supported(m, NULL, err);
}

static bool update_live(struct device_change *c, GError **err)
{
	const struct field *row = NULL;
	void *dev = NULL;

	if (!replace(c, c->machine, &row, &dev, err))
		return false;
	if (c->opens && !(c->is_chardev ? open_chardev(c, row, dev, err) : open_for(c->launch, c->machine, row, dev, err)))
		return false;
	c->kind = row->path;
	c->found = g_strdup(*device_alias(row, dev));
	c->device = json_from_struct(row->sub, dev, JSON_SECRETS);
	return true;
}

static bool update_config(struct device_change *c, struct machine *m, GError **err)
{
	const struct field *row = NULL;
	void *dev = NULL;

	return replace(c, m, &row, &dev, err);
}

static const struct {
	bool (*live)(struct device_change *, GError **err);
	bool (*config)(struct device_change *, struct machine *, GError **err);
} verbs[] = {
	[DEVICE_ATTACH] = { attach_live, attach_config },
	[DEVICE_DETACH] = { detach_live, detach_config },
	[DEVICE_UPDATE] = { update_live, update_config },
};

bool device_change_prepare(void *arg, GError **err)
{
	struct device_change *c = arg;

	/* what it runs with was given already */
	return verbs[c->verb].live(c, err) && (c->verb == DEVICE_DETACH || given_add(c->dir, c->machine, err));
}

bool device_change_edit(struct machine *definition, void *arg, GError **err)
{
	struct device_change *c = arg;

	return verbs[c->verb].config(c, definition, err);
}
