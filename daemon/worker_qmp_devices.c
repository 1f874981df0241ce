/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's way to plug devices: nodes and network back ends are made first, then device_add names them. The worker opens nothing:
 * a node's file is a set of add-fd ("/dev/fdset/N") or what kvmd has opened (blockdev-made), a tap is a descriptor of getfd or
 * kvmd's. A tap that a device has taken is gone with
 * it; nodes stay until blockdev-del, and another device may have them then.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/worker_disks.h"
#include "daemon/worker_plug.h"
#include "daemon/worker_qmp.h"
#include "daemon/worker_qmp_net.h"
#include "daemon/worker_serve.h"
#include "domain/commands_devices.h"
#include "domain/commands_qmp_block.h"
#include "domain/image.h"
#include "domain/json.h"
#include "hv/fdset.h"

#define MADE_MAX 256                    /* nodes and back ends */

struct behind { char *name; int fd; };

static void behind_free(gpointer data)
{
	struct behind *b = data;

	close(b->fd);
	g_free(b->name);
	g_free(b);
}

/* A block node or a network back end. */
struct made {
	char *name;
	bool net;
	int format;                     /* node: enum disk_format; ABSENT: the bare file */
	bool readonly;
	struct node_options options;    /* of a node, with those of one made along with it */
	int fd;                         /* -1: a device has taken it (a tap), or it is `file`'s */
	char *user;                     /* alias of the device that has taken it; NULL: none */
	struct made *file;              /* node on another one */
	char *filename;                 /* node with a descriptor: as it was named */
	bool device;                    /* that is a block device */
	struct disk *like;              /* what kvmd has opened: with what it stands on, by descriptors of `behind`; NULL: nothing */
	GPtrArray *behind;              /* struct behind */
	char *below;                    /* node of a format with a descriptor: name of the node under it, made here */
};

static struct made *made_find(const struct worker *w, bool net, const char *name)
{
	for (unsigned i = 0; name && w->made && i < w->made->len; i++) {
		struct made *m = w->made->pdata[i];

		if (m->net == net && !strcmp(m->name, name))
			return m;
	}
	return NULL;
}

static bool is_used(struct worker *w, const struct made *m)
{
	const struct plug_kind *k;

	return m->user && plug_find(w, m->user, &k);
}

/* Does a node of a format stand on it? */
static bool has_above(const struct worker *w, const struct made *m)
{
	for (unsigned i = 0; i < w->made->len; i++)
		if (((const struct made *)w->made->pdata[i])->file == m)
			return true;
	return false;
}

static void made_free(gpointer data)
{
	struct made *m = data;

	if (m->fd >= 0)
		close(m->fd);
	g_free(m->name);
	g_free(m->user);
	g_free(m->filename);
	g_free(m->below);
	schema_free(&disk_schema, m->like);
	if (m->behind)
		g_ptr_array_unref(m->behind);
	g_free(m);
}

/* Is it a name of a disk's chain, or of a node that was made along with another? */
static bool node_taken(struct worker *w, const char *name)
{
	for (unsigned i = 0; w->made && i < w->made->len; i++)
		if (!g_strcmp0(((const struct made *)w->made->pdata[i])->below, name))
			return true;
	for (unsigned i = 0; i < w->vm.devices->len; i++) {
		const struct device *d = w->vm.devices->pdata[i];
		g_autofree char *top = NULL, *storage = NULL;

		if (!disk_of_device(d))
			continue;
		top = disk_node_name(d, 0, false);
		storage = disk_node_name(d, 0, true);
		if (!strcmp(top, name) || !strcmp(storage, name))
			return true;
	}
	return false;
}

static struct made *made_new(struct worker *w, bool net, const char *name, GError **err)
{
	struct made *m;

	if (!w->made)
		w->made = g_ptr_array_new_with_free_func(made_free);
	if (!name || !*name)
		return kerr_set(err, KERR_ARGS, net ? "the back end needs an 'id'" : "the node needs a 'node-name'"), NULL;
	if (made_find(w, net, name) || (!net && node_taken(w, name)))
		return kerr_set(err, KERR_EXISTS, "the name '%s' is taken", name), NULL;
	if (w->made->len >= MADE_MAX)
		return kerr_set(err, KERR_LIMIT, "there are %u nodes and back ends already", MADE_MAX), NULL;
	m = g_new0(struct made, 1);
	*m = (struct made){ .name = g_strdup(name), .net = net, .fd = -1 };
	g_ptr_array_add(w->made, m);
	return m;
}

static enum run_result made_remove(struct worker *w, bool net, const char *name, GError **err)
{
	struct made *m = made_find(w, net, name);

	if (!m)
		return kerr_set(err, KERR_NO_DEVICE, net ? "there is no network back end '%s'" : "there is no block node '%s' of blockdev-add", name), RUN_FAILED;
	if (is_used(w, m) || has_above(w, m))
		return kerr_set(err, KERR_BUSY, "'%s' is in use%s%s", name, is_used(w, m) ? " by device " : "", is_used(w, m) ? m->user : ""), RUN_FAILED;
	g_ptr_array_remove(w->made, m);
	return RUN_DONE;
}

/* --- nodes --- */

static bool file_node(struct worker *w, struct made *m, const struct args_blockdev_add *a, GError **err)
{
	if (strcmp(a->driver, "file") && strcmp(a->driver, "host_device"))
		return kerr_set(err, KERR_UNSUPPORTED, "'%s' nodes are not there: raw or qcow2 on file or host_device", a->driver);
	if (a->file)
		return kerr_set(err, KERR_ARGS, "a '%s' node has a 'filename', no 'file'", a->driver);
	m->options = node_options_both(m->options, node_options(a));
	m->fd = qmp_fd_of_set(w, a->filename, a->readonly, err);
	m->filename = g_strdup(a->filename);
	m->device = !strcmp(a->driver, "host_device");
	return m->fd >= 0;
}

/* What "file" says: a node's name, or one made here. */
static bool below(struct worker *w, struct made *m, const struct args_blockdev_add *a, json_object *raw, GError **err)
{
	struct args_blockdev_add *inner;
	json_object *o = NULL;
	bool ok;

	if (raw)
		(void)json_object_object_get_ex(raw, "file", &o);
	if (json_object_is_type(o, json_type_string)) {
		struct made *file = made_find(w, false, json_object_get_string(o));

		if (!file || file == m || file->format)
			return kerr_set(err, KERR_NO_DEVICE, "'file' names no node of a file: '%s'", json_object_get_string(o));
		if (is_used(w, file) || has_above(w, file))
			return kerr_set(err, KERR_BUSY, "'%s' is in use", file->name);
		m->file = file;
		return true;
	}
	if (!json_object_is_type(o, json_type_object))
		return kerr_set(err, KERR_ARGS, "a '%s' node needs 'file'", a->driver);
	inner = schema_new(&args_blockdev_file_schema);
	ok = json_to_struct(&args_blockdev_file_schema, inner, o, err);
	inner->readonly |= a->readonly;
	ok = ok && file_node(w, m, inner, err);
	if (ok)                 /* as QEMU names them */
		m->below = inner->node ? g_strdup(inner->node) : g_strdup_printf("#block%03u", w->nodes_made++);
	schema_free(&args_blockdev_file_schema, inner);
	return ok;
}

static enum run_result blockdev_add(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	static const struct { const char *driver; int format; } formats[] = { { "raw", FORMAT_RAW }, { "qcow2", FORMAT_QCOW2 } };
	const struct args_blockdev_add *a = args;
	struct worker *w = c->worker;
	struct made *m = made_new(w, false, a->node, err);
	bool ok;

	if (!m)
		return RUN_FAILED;
	m->readonly = a->readonly;
	m->options = node_options(a);
	for (size_t i = 0; i < G_N_ELEMENTS(formats); i++)
		if (!strcmp(a->driver, formats[i].driver))
			m->format = formats[i].format;
	ok = m->format ? below(w, m, a, raw, err) : file_node(w, m, a, err);
	if (ok)
		return RUN_DONE;
	g_ptr_array_remove(w->made, m);
	return RUN_FAILED;
}

/* The descriptors of the images that it stands on. */
static bool take_behind(struct made *m, struct fdset *fds, GError **err)
{
	m->behind = g_ptr_array_new_with_free_func(behind_free);
	for (struct disk_backing *b = m->like->backing; b && b->type; b = b->backing) {
		const struct resource *r = disk_source_resource(b->type, &b->source);
		int fd = fdset_take(fds, r && r->fd ? r->fd : "", err);
		struct behind *it;

		if (fd < 0)
			return false;
		it = g_new(struct behind, 1);
		*it = (struct behind){ g_strdup(r->fd), fd };
		g_ptr_array_add(m->behind, it);
	}
	return true;
}

static bool fill_made(struct client *c, struct made *m, const struct args_blockdev_made *a, json_object *raw, GError **err)
{
	const struct resource *r;
	json_object *o = NULL;
	struct fdset *fds;
	bool ok;

	m->like = schema_new(&disk_schema);
	(void)json_object_object_get_ex(raw, "device", &o);
	fds = json_to_struct(&disk_schema, m->like, o, err) ? plug_take_fds(c, a->names, err) : NULL;
	if (!fds)
		return false;
	r = disk_source_resource(m->like->type, &m->like->source);
	m->fd = fdset_take(fds, r && r->fd ? r->fd : "", err);
	ok = m->fd >= 0 && take_behind(m, fds, err);
	fdset_free(fds);
	if (!ok)
		return false;
	m->filename = g_strdup(r->path);
	m->device = m->like->type == DISK_BLOCK;
	m->readonly = m->like->readonly;
	m->options = node_options_of(m->like);
	m->format = a->bare ? FORMAT_ABSENT : m->like->driver.format;
	if (!a->bare)           /* as QEMU names them */
		m->below = a->below ? g_strdup(a->below) : g_strdup_printf("#block%03u", c->worker->nodes_made++);
	return true;
}

static enum run_result blockdev_made(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_blockdev_made *a = args;
	struct made *m = made_new(c->worker, false, a->node, err);

	if (!m)
		return RUN_FAILED;
	if (fill_made(c, m, a, raw, err))
		return RUN_DONE;
	g_ptr_array_remove(c->worker->made, m);
	return RUN_FAILED;
}

static enum run_result blockdev_del(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	return made_remove(c->worker, false, ((const struct args_node *)args)->node, err);
}

/* --- what there is --- */

const char *made_card(const struct worker *w, const char *netdev)
{
	const struct made *m = made_find(w, true, netdev);

	return m ? m->user : NULL;
}

const char *made_node_name(const struct device *d, bool storage)
{
	const struct worker *w = d->vm->owner;

	for (unsigned i = 0; w->made && i < w->made->len; i++) {
		const struct made *m = w->made->pdata[i];

		if (m->net || g_strcmp0(m->user, d->id))
			continue;
		return !storage || !m->format ? m->name : m->file ? m->file->name : m->below;
	}
	return NULL;
}

bool made_node_bare(const struct device *d)
{
	const char *top = made_node_name(d, false);

	return top && top == made_node_name(d, true);
}

static void add_node(json_object *list, const struct made *m, const struct made *holder, bool storage, const struct stat *st)
{
	const char *driver = storage ? holder->device ? "host_device" : "file" : m->format == FORMAT_QCOW2 ? "qcow2" : "raw";
	struct image_info info = { .size = (uint64_t)st->st_size };
	struct qmp_node n = { .file = holder->filename, .node = storage && m->format ? m->below : m->name, .drv = (char *)driver, .ro = m->readonly,
		.detect = ZEROES_OFF, .cache = { .writeback = true } };
	g_autofree uint8_t *head = NULL;
	ssize_t got;

	if (!storage && m->format == FORMAT_QCOW2) {    /* what it says of itself; a damaged one is told of when a device gets it */
		head = g_malloc(IMAGE_PROBE_BYTES);
		got = pread(holder->fd, head, IMAGE_PROBE_BYTES, 0);
		if (got <= 0 || !image_probe(head, (size_t)got, (uint64_t)st->st_size, FORMAT_QCOW2, &info, NULL, NULL))
			info = (struct image_info){ .size = (uint64_t)st->st_size };
	}
	n.image = (struct qmp_image){ .filename = holder->filename, .format = (char *)driver, .size = info.size, .actual = (uint64_t)st->st_blocks * 512,
		.cluster = info.cluster_bits ? 1u << info.cluster_bits : 0, .dirty = info.incompatible & IMAGE_DIRTY, .backing_name = info.backing };
	json_object_array_add(list, json_from_struct(&qmp_node_schema, &n, JSON_ALL));
	image_info_clear(&info);
}

/* Does a device have it by the node above? */
static bool below_used(struct worker *w, const struct made *m)
{
	for (unsigned i = 0; i < w->made->len; i++) {
		const struct made *above = w->made->pdata[i];

		if (above->file == m && is_used(w, above))
			return true;
	}
	return false;
}

void made_nodes(struct worker *w, json_object *list)
{
	for (unsigned i = 0; w->made && i < w->made->len; i++) {
		const struct made *m = w->made->pdata[i], *holder = m->file ? m->file : m;
		struct stat st;

		/* a device's are its own */
		if (m->net || is_used(w, m) || holder->fd < 0 || fstat(holder->fd, &st))
			continue;
		if (below_used(w, m))
			continue;
		if (m->format)
			add_node(list, m, holder, false, &st);
		if (!m->file)
			add_node(list, m, holder, true, &st);
	}
}

/* --- network back ends --- */

static enum run_result netdev_add(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_netdev_add *a = args;
	struct made *m;
	int fd;

	if (strcmp(a->type, "tap"))
		return kerr_set(err, KERR_UNSUPPORTED, "back ends of type '%s' are not there: tap with fd=, or use 'kvmctl attach-interface'", a->type), RUN_FAILED;
	if (!a->fd)
		return kerr_set(err, KERR_UNSUPPORTED, SERVE_NOT "start it, or hand the tap's descriptor over by getfd, and name it here by fd="), RUN_FAILED;
	if (a->ifname || a->script || a->downscript)
		return kerr_set(err, KERR_ARGS, "ifname=, script= and downscript= are invalid with fd="), RUN_FAILED;
	m = made_new(c->worker, true, a->id, err);
	if (!m)
		return RUN_FAILED;
	fd = client_take_fd(c, a->fd, err);
	if (fd < 0) {
		g_ptr_array_remove(c->worker->made, m);
		return RUN_FAILED;
	}
	m->fd = fd;
	return RUN_DONE;
}

static enum run_result netdev_del(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	return made_remove(c->worker, true, ((const struct args_id *)args)->id, err);
}

/* --- devices --- */

/* The node or back end that a device is to have; it must be free. */
static struct made *take(struct worker *w, bool net, const char *name, GError **err)
{
	struct made *m = made_find(w, net, name);

	if (!name)
		return kerr_set(err, KERR_ARGS, net ? "the card needs a 'netdev'" : "the disk needs a 'drive'"), NULL;
	if (!m)
		return kerr_set(err, KERR_NO_DEVICE, net ? "there is no network back end '%s'" : "there is no block node '%s'", name), NULL;
	if (is_used(w, m) || (!net && has_above(w, m)) || (m->fd < 0 && !m->file))
		return kerr_set(err, KERR_BUSY, "'%s' was given to a device already", name), NULL;
	return m;
}

/* "vdb": the first that no disk has. New. */
static char *free_target(const struct machine *m)
{
	for (char c = 'a'; c <= 'z'; c++) {
		char *name = g_strdup_printf("vd%c", c);
		bool taken = false;

		list_each(disk, d, m->devices.disks)
			taken |= !g_strcmp0(d->target.dev, name);
		if (!taken)
			return name;
		g_free(name);
	}
	return g_strdup("vdaa");
}

static void *make_disk(struct worker *w, const struct args_device_add *a, const struct made *m)
{
	struct disk *d = schema_new(&disk_schema);

	const struct made *holder = m->file ? m->file : m;
	struct resource *r;

	d->type = holder->like ? holder->like->type : DISK_FILE;
	d->device = DISK_DEVICE_DISK;
	d->driver.format = m->format ? m->format : FORMAT_RAW;
	r = d->type == DISK_BLOCK ? &d->source.dev : &d->source.file;
	r->path = g_strdup(holder->filename);
	r->fd = g_strdup("drive");
	d->backing = holder->like && holder->like->backing ? schema_dup(&disk_backing_schema, holder->like->backing) : schema_new(&disk_backing_schema);
	d->target.dev = free_target(w->machine);
	d->target.bus = DISK_BUS_VIRTIO;
	d->readonly = m->readonly;
	node_options_set(m->file ? node_options_both(m->options, m->file->options) : m->options, d);
	d->serial = g_strdup(a->serial);
	return d;
}

static void *make_card(const struct args_device_add *a)
{
	struct iface *i = schema_new(&iface_schema);
	guint32 n = g_random_int();

	i->type = IFACE_ETHERNET;
	i->target_managed = YESNO_NO;
	i->model = g_strdup("virtio");
	i->mac = a->mac ? g_ascii_strdown(a->mac, -1) : g_strdup_printf("52:54:00:%02x:%02x:%02x", n & 0xff, n >> 8 & 0xff, n >> 16 & 0xff);
	return i;
}

static void *make_rng(void)
{
	struct rng *r = schema_new(&rng_schema);

	r->model = VIRTIO_MODEL_VIRTIO;
	r->backend.model = RNG_BUILTIN;
	return r;
}

/* "0xa", "0a", "a.0": the slot of bus 0. */
static bool set_addr(struct address *at, const char *text, GError **err)
{
	unsigned slot, function = 0;
	int end = 0;

	if (!text)
		return true;
	if ((sscanf(text, "%x.%x%n", &slot, &function, &end) != 2 || text[end]) && (sscanf(text, "%x%n", &slot, &end) != 1 || text[end]))
		end = 0;
	if (!end || slot < 1 || slot > 31 || function)
		return kerr_set(err, KERR_ARGS, "addr '%s': write a slot of bus 0, 0x1 to 0x1f", text);
	at->type = ADDRESS_PCI;
	at->domain = at->bus = at->function = 0;
	at->slot = slot;
	return true;
}

static char *free_alias(struct worker *w, const char *stem)
{
	const struct plug_kind *k;

	for (unsigned n = 0;; n++) {
		char *name = g_strdup_printf("%s%u", stem, n);

		if (!device_find(&w->vm, name) && !plug_find(w, name, &k))
			return name;
		g_free(name);
	}
}

bool qmp_plugs(const char *driver)
{
	static const char *const drivers[] = { "virtio-blk-pci", "virtio-net-pci", "virtio-rng-pci" };

	for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++)
		if (!strcmp(drivers[i], driver))
			return true;
	return false;
}

bool qmp_device_plug(struct worker *w, const struct args_device_add *a, GError **err)
{
	bool blk = !strcmp(a->driver, "virtio-blk-pci"), net = !strcmp(a->driver, "virtio-net-pci");
	const struct plug_kind *k = plug_kind_of(blk ? &disk_schema : net ? &iface_schema : &rng_schema);
	struct made *m = blk || net ? take(w, net, net ? a->netdev : a->drive, err) : NULL, *holder;
	g_autofree char *alias = NULL, *name = NULL;
	struct device_base *base;
	struct fdset *fds;
	void *config;
	int fd = -1;
	bool ok;

	if ((blk || net) && !m)
		return false;
	config = blk ? make_disk(w, a, m) : net ? make_card(a) : make_rng();
	base = plug_base(k, config);
	alias = a->id ? g_strdup(a->id) : free_alias(w, blk ? "virtio-disk" : net ? "net" : "rng");
	base->alias = g_strdup(alias);
	if (!set_addr(&base->address, a->addr, err) || !schema_check(k->schema, config, err)) {
		schema_free(k->schema, config);
		return false;
	}
	fds = fdset_new();
	holder = m && m->fd < 0 ? m->file : m;
	name = net ? g_strdup_printf(IFACE_FD_NAME, alias, 0u) : g_strdup("drive");
	if (m)
		fd = fcntl(holder->fd, F_DUPFD_CLOEXEC, 0);
	ok = !m || (fd < 0 ? kerr_set(err, KERR_LIMIT, "no descriptors are left") : fdset_add(fds, name, fd, err));
	for (unsigned i = 0; ok && holder && holder->behind && i < holder->behind->len; i++) {
		const struct behind *b = holder->behind->pdata[i];

		fd = fcntl(b->fd, F_DUPFD_CLOEXEC, 0);
		ok = fd < 0 ? kerr_set(err, KERR_LIMIT, "no descriptors are left") : fdset_add(fds, b->name, fd, err);
	}
	ok = ok ? plug_in(w, k, config, fds, err) : (schema_free(k->schema, config), false);
	fdset_free(fds);
	if (ok && m) {
		g_free(m->user);
		m->user = g_strdup(alias);
	}
	if (ok && net) {        /* it is the device's, and goes with it */
		close(holder->fd);
		holder->fd = -1;
	}
	return ok;
}

const struct worker_binding qmp_device_bindings[] = {
	{ "blockdev-add", blockdev_add },
	{ "blockdev-made", blockdev_made },
	{ "blockdev-del", blockdev_del },
	{ "netdev_add", netdev_add },
	{ "netdev_del", netdev_del },
	{ NULL },
};
