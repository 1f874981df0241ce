/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP about disks: what there is, its counters, its size and its limits.
 *
 * Each image of a chain is two nodes, as with QEMU: TARGET-N-format and, below it, TARGET-N-storage; N counts from the top. What
 * a client made by blockdev-add keeps its name.
 * What kvmd puts above (throttle, zero detection) is no node for clients.
 */
#include <errno.h>
#include <string.h>

#include "daemon/worker_disks.h"
#include "daemon/worker_qmp.h"
#include "devices/virtio_blk.h"
#include "domain/commands_qmp_block.h"
#include "domain/json.h"

#define IMAGES_MAX 65

/* --- names --- */

const struct disk *disk_of_device(const struct device *d)
{
	return virtio_blk_chain((struct device *)d) ? d->config : NULL;
}

char *disk_drive_name(const struct device *d)
{
	return g_strdup_printf("drive-%s", worker_name_of(d));
}

char *disk_qdev(const struct device *d)
{
	return g_strdup_printf("/machine/peripheral/%s/virtio-backend", d->id);
}

char *disk_node_name(const struct device *d, unsigned i, bool storage)
{
	const struct disk *disk = d->config;
	const char *made = i || disk->source.index ? NULL : made_node_name(d, storage);
	g_autofree char *nth = NULL;

	if (made)
		return g_strdup(made);
	nth = disk->source.index ? g_strdup_printf(".%u", disk->source.index) : g_strdup("");  /* which medium */
	return g_strdup_printf("%s%s-%u-%s", disk->target.dev, nth, i, storage ? "storage" : "format");
}

static bool has_name(const struct device *d, const char *name)
{
	static const char path[] = "/machine/peripheral/", end[] = "/virtio-backend";
	const struct disk *disk = d->config;
	g_autofree char *drive = disk_drive_name(d), *top = disk_node_name(d, 0, false), *bare = NULL;

	if (g_str_has_prefix(name, path))
		name += strlen(path);
	bare = g_str_has_suffix(name, end) ? g_strndup(name, strlen(name) - strlen(end)) : g_strdup(name);
	return !strcmp(bare, d->id) || !g_strcmp0(bare, disk->alias) || !g_strcmp0(bare, disk->target.dev) || !strcmp(bare, drive) || !strcmp(bare, top);
}

struct device *disk_by_name(struct worker *w, const char *name)
{
	for (unsigned i = 0; i < w->vm.devices->len; i++) {
		struct device *d = w->vm.devices->pdata[i];

		if (disk_of_device(d) && has_name(d, name))
			return d;
	}
	return NULL;
}

/* --- what there is --- */

/* One image of a chain, from both sides: the definition knows paths, the chain what is in them. */
struct image {
	struct block_info info;
	const char *path;
	bool device;
	char *nodes[2];         /* format, storage */
	struct qmp_specific specific;
	struct qmp_image told;
};

struct chain_told {
	struct image images[IMAGES_MAX];
	unsigned n;
};

static void chain_told_free(struct chain_told *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		g_free(t->images[i].nodes[0]);
		g_free(t->images[i].nodes[1]);
	}
	g_free(t);
}

static void set_path(struct image *m, int type, const struct disk_source *source)
{
	const struct resource *r = disk_source_resource(type, (struct disk_source *)source);

	m->path = r ? r->path : "";
	m->device = type == DISK_BLOCK;
}

static struct chain_told *look_at(struct device *dev)
{
	struct chain_told *t = g_new0(struct chain_told, 1);
	const struct disk *d = dev->config;
	const struct disk_backing *b = d->backing;
	struct block_info info[IMAGES_MAX];

	t->n = disk_has_source(d) ? MIN(block_images(virtio_blk_chain(dev), info, IMAGES_MAX), IMAGES_MAX) : 0;
	for (unsigned i = 0; i < t->n; i++) {
		struct image *m = &t->images[i];

		m->info = info[i];
		m->path = "";
		if (!i) {
			set_path(m, d->type, &d->source);
		} else if (b && b->type) {
			set_path(m, b->type, &b->source);
			b = b->backing;
		}
		m->nodes[0] = disk_node_name(dev, i, false);
		m->nodes[1] = disk_node_name(dev, i, true);
	}
	for (unsigned i = t->n; i-- > 0;) {
		struct image *m = &t->images[i], *behind = i + 1 < t->n ? &t->images[i + 1] : NULL;
		const struct block_info *in = &m->info;

		m->told = (struct qmp_image){ .filename = (char *)m->path, .format = (char *)in->format, .size = in->size, .actual = in->allocated,
			.cluster = in->cluster_size, .dirty = in->dirty };
		if (in->version) {
			m->specific = (struct qmp_specific){ (char *)"qcow2", { .compat = (char *)(in->version > 2 ? "1.1" : "0.10"),
				.compression = (char *)(in->zstd ? "zstd" : "zlib"), .lazy = in->lazy_refcounts, .corrupt = in->corrupt,
				.refcount_bits = in->refcount_bits } };
			m->told.specific = &m->specific;
		}
		if (behind) {
			m->told.backing_name = (char *)(in->backing ? in->backing : behind->path);
			m->told.backing_full = (char *)behind->path;
			m->told.backing_format = (char *)behind->info.format;
			m->told.backing = &behind->told;
		}
	}
	return t;
}

static void node_of(struct qmp_node *n, const struct disk *d, const struct chain_told *t, unsigned i, bool storage)
{
	const struct image *m = &t->images[i], *behind = i + 1 < t->n ? &t->images[i + 1] : NULL;

	*n = (struct qmp_node){ .file = (char *)m->path, .node = m->nodes[storage], .ro = m->info.readonly, .detect = ZEROES_OFF, .image = m->told,
		.drv = (char *)(storage ? m->device ? "host_device" : "file" : m->info.format), .depth = storage ? 0 : t->n - 1 - i,
		.backing = (char *)(behind && !storage ? behind->path : NULL),
		.cache = { d->driver.cache != CACHE_WRITETHROUGH && d->driver.cache != CACHE_DIRECTSYNC,
			d->driver.cache == CACHE_NONE || d->driver.cache == CACHE_DIRECTSYNC, d->driver.cache == CACHE_UNSAFE } };
	if (storage)
		n->image = (struct qmp_image){ .filename = (char *)m->path, .format = n->drv, .size = m->info.file_size, .actual = m->info.allocated };
}

static QMP(query_block)
{
	*reply = json_object_new_array();
	for (unsigned i = 0; i < c->worker->vm.devices->len; i++) {
		struct device *dev = c->worker->vm.devices->pdata[i];
		const struct disk *d = disk_of_device(dev);
		json_object *told;
		int bad;

		if (!d)
			continue;
		struct chain_told *t = look_at(dev);
		g_autofree char *name = disk_drive_name(dev), *qdev = disk_qdev(dev);
		struct qmp_node node = { 0 };

		bad = virtio_blk_trouble(dev);
		if (t->n)
			node_of(&node, d, t, 0, made_node_bare(dev));
		node.tune = d->iotune;
		if (iotune_any(&d->iotune) && !node.tune.group_name)
			node.tune.group_name = name;
		if (d->driver.detect_zeroes)
			node.detect = d->driver.detect_zeroes;
		told = json_from_struct(&qmp_block_schema, &(struct qmp_block){ .device = name, .qdev = qdev,
			.type = (char *)"unknown", .inserted = t->n ? &node : NULL, .removable = disk_removable(d), .tray = d->target.tray == TRAY_OPEN,
			.status = (char *)(bad == -ENOSPC ? "nospace" : bad ? "failed" : "ok") }, JSON_ALL);
		if (!disk_removable(d))
			json_object_object_del(told, "tray_open");
		json_object_array_add(*reply, told);
		chain_told_free(t);
	}
	return RUN_DONE;
}

static QMP(query_named_block_nodes)
{
	*reply = json_object_new_array();
	for (unsigned i = 0; i < c->worker->vm.devices->len; i++) {
		struct device *dev = c->worker->vm.devices->pdata[i];
		const struct disk *d = disk_of_device(dev);

		if (!d)
			continue;
		struct chain_told *t = look_at(dev);

		for (unsigned k = made_node_bare(dev); k < 2 * t->n; k++) {
			struct qmp_node node;

			node_of(&node, d, t, k / 2, k % 2);
			json_object_array_add(*reply, json_from_struct(&qmp_node_schema, &node, JSON_ALL));
		}
		chain_told_free(t);
	}
	made_nodes(c->worker, *reply);
	return RUN_DONE;
}

static struct qmp_op_stats op_stats(const struct block_stats *s, enum block_op op)
{
	const struct block_op_stats *o = &s->op[op];

	return (struct qmp_op_stats){ .bytes = o->bytes, .ops = o->ops, .ns = o->ns, .failed = o->errors, .invalid = o->refused };
}

static QMP(query_blockstats)
{
	*reply = json_object_new_array();
	for (unsigned i = 0; i < c->worker->vm.devices->len; i++) {
		struct device *dev = c->worker->vm.devices->pdata[i];
		struct block_stats s;
		struct qmp_op_stats zero;

		if (!disk_of_device(dev))
			continue;
		g_autofree char *name = disk_drive_name(dev), *qdev = disk_qdev(dev), *node = NULL;

		if (disk_has_source(dev->config))
			node = disk_node_name(dev, 0, false);
		block_stats(virtio_blk_chain(dev), &s);
		struct qmp_blockstats t = { .device = name, .qdev = qdev, .node = node, .stats = { .rd = op_stats(&s, BLOCK_READ),
			.wr = op_stats(&s, BLOCK_WRITE), .flush = op_stats(&s, BLOCK_FLUSH), .unmap = op_stats(&s, BLOCK_DISCARD), .highest = s.highest,
			.invalid = true, .failed = true, .timed = (char *)"[]" } };

		zero = op_stats(&s, BLOCK_ZERO);        /* zeroes are writes, as QEMU counts them */
		t.stats.wr.ops += zero.ops;
		t.stats.wr.ns += zero.ns;
		t.stats.wr.bytes += zero.bytes;
		t.stats.wr.failed += zero.failed;
		t.stats.wr.invalid += zero.invalid;
		json_object_array_add(*reply, json_from_struct(&qmp_blockstats_schema, &t, JSON_ALL));
	}
	return RUN_DONE;
}

/* --- size --- */

struct resizing {
	struct done done;
	struct worker *worker;
	struct waiter *waiter;
	char *name;
	uint64_t size;
};

static void resized(struct done *done, int result)
{
	struct resizing *r = done->arg;
	g_autoptr(GError) err = NULL;

	if (result == -ENOTSUP)
		kerr_set(&err, KERR_UNSUPPORTED, "disk '%s' is read-only, or a part of a file: it can't become larger", r->name);
	else if (result == -EFBIG)
		kerr_set(&err, KERR_ARGS, "disk '%s': %" G_GUINT64_FORMAT " bytes are more than its format can hold or its device has: a device of the host "
			"is made larger first", r->name, r->size);
	else if (result < 0)
		kerr_errno(&err, -result, "disk '%s': make it %" G_GUINT64_FORMAT " bytes", r->name, r->size);
	if (!err)
		worker_changed(r->worker, "disks", r->name);
	waiter_answer(r->waiter, NULL, err);
	g_free(r->name);
	g_free(r);
}

static struct device *resize_target(struct client *c, const struct args_block_resize *a, GError **err)
{
	const char *name = a->device && *a->device ? a->device : a->node;
	struct device *d;

	if (!name || !*name || (a->device && *a->device && a->node && *a->node)) {
		kerr_set(err, KERR_ARGS, "which disk? 'device' or 'node-name' says it");
		return NULL;
	}
	d = disk_by_name(c->worker, name);
	/* QEMU's class for it is the general one here */
	if (!d)
		kerr_set(err, KERR_ARGS, "there is no disk '%s'", name);
	return d;
}

static QMP(block_resize)
{
	const struct args_block_resize *a = args;
	struct device *d = resize_target(c, a, err);
	const struct disk *config;
	struct resizing *r;
	struct block_info info;
	uint64_t unit, size, now;

	if (!d)
		return RUN_FAILED;
	config = d->config;
	unit = config->logical_block_size ? config->logical_block_size : 512;
	size = (a->size + unit - 1) / unit * unit;
	block_info(virtio_blk_chain(d), &info);
	now = info.size;
	if (size < now)
		return kerr_set(err, KERR_ARGS, "disk '%s' has %" G_GUINT64_FORMAT " bytes, and what is cut off would be lost: shut the guest down and use "
			"'qemu-img resize --shrink'", config->target.dev, now), RUN_FAILED;
	r = g_new0(struct resizing, 1);
	*r = (struct resizing){ .worker = c->worker, .done = { .fn = resized, .arg = r }, .waiter = waiter_new(c), .name = g_strdup(config->target.dev), .size = size };
	virtio_blk_resize(d, size, &r->done);
	return RUN_LATER;
}

/* --- limits --- */

/* The description follows: it is what dumpxml, a restart of kvmd and query-block read. */
static void describe(struct disk *d, const struct iotune *tune)
{
	struct extras kept = d->iotune.extras;

	d->iotune.extras = (struct extras){ 0 };
	schema_clear(&iotune_schema, &d->iotune);
	schema_copy(&iotune_schema, &d->iotune, tune);
	d->iotune.extras = kept;
}

static bool limit(struct device *dev, const struct iotune *tune, GError **err)
{
	struct disk now = *(const struct disk *)dev->config;

	now.iotune = *tune;
	if (!dev->ops->update(dev, &now, err))
		return false;
	describe(dev->config, tune);
	return true;
}

/* What is shared is counted on one loop. */
static bool can_share(struct worker *w, struct device *dev, const char *group, GError **err)
{
	for (unsigned i = 0; group && i < w->vm.devices->len; i++) {
		struct device *other = w->vm.devices->pdata[i];
		const struct disk *d = disk_of_device(other);

		if (d && other != dev && !g_strcmp0(d->iotune.group_name, group) &&
			block_loop(virtio_blk_chain(other)) != block_loop(virtio_blk_chain(dev)))
			return kerr_set(err, KERR_UNSUPPORTED, "disks '%s' and '%s' are served by different I/O threads, so they can't share limits: give them the "
				"same <driver iothread=…>", ((const struct disk *)dev->config)->target.dev, d->target.dev);
	}
	return true;
}

static bool limit_group(struct worker *w, const struct device *but, const struct iotune *tune, GError **err)
{
	for (unsigned i = 0; tune->group_name && i < w->vm.devices->len; i++) {
		struct device *dev = w->vm.devices->pdata[i];
		const struct disk *d = disk_of_device(dev);

		if (d && dev != but && !g_strcmp0(d->iotune.group_name, tune->group_name) && !limit(dev, tune, err))
			return false;
	}
	return true;
}

static QMP(block_set_io_throttle)
{
	const struct args_io_throttle *a = args;
	const char *name = a->id ? a->id : a->device;
	struct iotune tune = a->tune;           /* borrows its text */
	struct worker *w = c->worker;
	g_autofree char *group = NULL;
	const struct disk *d;
	struct device *dev;

	if (!a->id == !a->device)
		return kerr_set(err, KERR_ARGS, "which disk? either 'device' or 'id' says it"), RUN_FAILED;
	dev = disk_by_name(w, name);
	if (!dev)
		return kerr_set(err, KERR_NO_DEVICE, "there is no disk '%s'", name), RUN_FAILED;
	d = dev->config;
	if (tune.size_iops_sec && !tune.total_iops_sec && !tune.read_iops_sec && !tune.write_iops_sec)
		return kerr_set(err, KERR_ARGS, "a size of operations needs a limit on operations: iops"), RUN_FAILED;
	/* QEMU: who leaves the group out stays in his; a disk without limits is in none */
	group = g_strdup(tune.group_name ? tune.group_name : d->iotune.group_name);
	tune.group_name = NULL;
	if (iotune_any(&tune) && group && *group)
		tune.group_name = group;
	if (!iotune_check(&tune, err) || (g_strcmp0(tune.group_name, d->iotune.group_name) && !can_share(w, dev, tune.group_name, err)) ||
		!limit(dev, &tune, err) || !limit_group(w, dev, &tune, err))
		return RUN_FAILED;
	worker_changed(w, "disks", d->target.dev);
	return RUN_DONE;
}

const struct worker_binding qmp_block_bindings[] = {
	{ "query-block", qmp_query_block },
	{ "query-blockstats", qmp_query_blockstats },
	{ "query-named-block-nodes", qmp_query_named_block_nodes },
	{ "block_resize", qmp_block_resize },
	{ "block_set_io_throttle", qmp_block_set_io_throttle },
	{ NULL },
};
