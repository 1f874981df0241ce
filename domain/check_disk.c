/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules on disks. */
#include <string.h>

#include "domain/check.h"

#define QUEUE_SIZE_MIN 4                /* header, data and status of a request */
#define BLOCK_MAX 65536u                 /* bytes the guest may address at once */
#define BY_BLOCK "connect it on the host (qemu-nbd, iscsiadm, mount) and write type='block' or type='file'"

/* Runs from part 6 on: daemon/supported.c refuses the start until then. */
static void check_nbd(const void *obj, const struct disk_source *s, struct report *r)
{
	if (!list_len(s->hosts))
		BAD(obj, "source", "write <host name='server' port='10809'/> inside <source>, or transport='unix' and socket='/…'",
			"the NBD server is missing");
	list_each(disk_host, h, s->hosts)
		if (h->transport == TRANSPORT_UNIX ? !h->socket.path : !h->name)
			BAD(h, h->transport == TRANSPORT_UNIX ? "socket" : "name",
				"write name='server', or transport='unix' and socket='/…'", "the NBD server's address is missing");
}

static void check_type(const struct disk *d, struct report *r)
{
	const struct disk_source *s = &d->source;

	switch (d->type) {
	case DISK_FILE:
	case DISK_BLOCK:
		if (disk_source_resource(d->type, (struct disk_source *)(uintptr_t)s))
			break;
		if (disk_has_source(d))
			BAD(d, "source", d->type == DISK_FILE ?
				"write <source file='/…'/>" : "write <source dev='/dev/…'/>",
				"the source does not go with type='%s'", disk_type_names[d->type]);
		else if (d->device != DISK_DEVICE_CDROM && d->device != DISK_DEVICE_FLOPPY)
			BAD(d, "source", "write <source file='/…'/>", "the disk has no source");
		break;
	case DISK_NETWORK:
		if (s->protocol == PROTOCOL_NBD) {
			check_nbd(d, s, r);
			break;
		}
		report_refuse(r, d, "type", BY_BLOCK, "network storage (%s) can't be used",
			s->protocol ? disk_protocol_names[s->protocol] : "no protocol given");
		break;
	case DISK_DIR:
		report_refuse(r, d, "type",
			"make an image of the folder, for instance with mkfs.ext4 -d or genisoimage", "a folder can't be a disk");
		break;
	case DISK_VOLUME:
		if ((!s->pool || !s->volume) && (disk_has_source(d) ||
		    (d->device != DISK_DEVICE_CDROM && d->device != DISK_DEVICE_FLOPPY)))
			BAD(d, "source", "write <source pool='default' volume='vm.qcow2'/>", "pool or volume is missing");
		break;
	default:
		report_refuse(r, d, "type", "write type='file' or type='block'",
			"sources of type '%s' can't be used", disk_type_names[d->type]);
	}
}

static void check_format(const void *obj, const char *field, int format, struct report *r)
{
	if (format > FORMAT_QCOW2)
		HAS_NOT(obj, field, "convert it: qemu-img convert -O qcow2 OLD NEW",
			"images of format '%s' can't be used", disk_format_names[format]);
}

static void check_chain(const struct disk *d, struct report *r)
{
	const struct disk_backing *b = d->backing;

	if (b && b->type && d->driver.format == FORMAT_RAW)
		report_warn(r, b, NULL, "leave <backingStore> out",
			"a raw image has nothing behind it");
	for (; b && b->type; b = b->backing) {
		check_format(b, "format", b->format, r);
		if (!b->format)         /* raw by default would show a qcow2 image's own tables to the guest */
			BAD(b, "format", "write <format type='qcow2'/> or <format type='raw'/>", "the format of the image behind is missing");
		if (b->type == DISK_NETWORK && b->source.protocol == PROTOCOL_NBD)
			check_nbd(b, &b->source, r);
		else if (b->type > DISK_BLOCK)
			report_refuse(r, b, "type", BY_BLOCK,
				"an image of type '%s' can't be behind a disk",
				disk_type_names[b->type]);
		else if (!disk_source_resource(b->type,
		    (struct disk_source *)(uintptr_t)&b->source))
			BAD(b, "source", "write <source file='/…'/>",
				"the image behind has no source");
	}
}

static void check_bus(const struct disk *d, struct report *r)
{
	int bus = d->target.bus;

	if (disk_target_index(d->target.dev) < 0)
		BAD(&d->target, "dev", "write <target dev='vda' bus='virtio'/>",
			"'%s' is no name of a disk", d->target.dev ? d->target.dev : "");
	if (d->device == DISK_DEVICE_FLOPPY || bus == DISK_BUS_FDC)
		report_warn(r, d, "device", "write a disk: <target dev='vda' bus='virtio'/>",
			"there is no floppy drive: kept, the guest will not find it");
	else if (d->device == DISK_DEVICE_LUN)
		report_refuse(r, d, "device", "write device='disk'",
			"SCSI commands aren't passed to the host's device");
	else if (disk_stands_in(d) && (disk_has_source(d) || disk_removable(d)))
		report_warn(r, &d->target, "bus", "write bus='virtio'",
			"%s disks are shown to the guest as virtio until SCSI is here",
			disk_bus_names[bus]);
	else if (!disk_stands_in(d) && bus != DISK_BUS_VIRTIO && bus != DISK_BUS_ABSENT)
		report_refuse(r, &d->target, "bus", "write <target dev='vda' bus='virtio'/>",
			"there is no bus '%s'", disk_bus_names[bus]);
	if (bus == DISK_BUS_VIRTIO && d->model > VIRTIO_MODEL_VIRTIO &&
	    d->model != VIRTIO_MODEL_NON_TRANSITIONAL)
		report_warn(r, d, "model", "write model='virtio'",
			"there are no transitional devices: the guest sees a modern one");
}

static void check_driver(const struct machine *m, const struct disk *d, struct report *r)
{
	const struct disk_driver *v = &d->driver;

	check_format(v, "format", v->format, r);
	if (v->io == DISK_IO_NATIVE && v->cache && v->cache != CACHE_NONE &&
	    v->cache != CACHE_DIRECTSYNC)
		BAD(v, "io", "write cache='none', or io='io_uring'",
			"native I/O needs cache='none' or 'directsync'");
	if (v->copy_on_read == ONOFF_ON && d->readonly)
		BAD(v, "copy_on_read", "leave it out", "a read-only disk can't keep what it reads");
	else if (v->copy_on_read == ONOFF_ON)
		report_warn(r, v, "copy_on_read", "leave it out",
			"what is read from behind is not kept yet");
	if (v->iothread && !machine_has_iothread(m, v->iothread))
		BAD(v, "iothread", "add <iothreads>1</iothreads>, or name an id of <iothreadids>",
			"there is no I/O thread %u", v->iothread);
	if (v->queues > VIRTIO_QUEUES_MAX)
		BAD(v, "queues", "write as many as there are vCPUs", "a disk has 1 to %d queues, not %u", VIRTIO_QUEUES_MAX, v->queues);
	if (v->queue_size && (!power_of_two(v->queue_size) || v->queue_size < QUEUE_SIZE_MIN || v->queue_size > VIRTQ_SIZE_MAX))
		BAD(v, "queue_size", "write 64, 128, 256, …", "%u is no power of two from %d to %d",
			v->queue_size, QUEUE_SIZE_MIN, VIRTQ_SIZE_MAX);
	if (d->shareable && !d->readonly && v->format == FORMAT_QCOW2)
		HAS_NOT(d, "shareable", "take <shareable/> out, or convert it to a raw image",
			"a qcow2 image can't be written by several machines");
}

static void check_words(const struct disk *d, struct report *r)
{
	if (d->serial && strlen(d->serial) > 20)
		report_warn(r, d, "serial", "write at most 20 characters",
			"the guest sees the first 20 characters only");
	if (d->vendor && strlen(d->vendor) > 8)
		BAD(d, "vendor", "write at most 8 characters", "the vendor is too long");
	if (d->product && strlen(d->product) > 16)
		BAD(d, "product", "write at most 16 characters", "the product is too long");
	if (d->wwn) {
		const char *s = g_str_has_prefix(d->wwn, "0x") ? d->wwn + 2 : d->wwn;

		if (strlen(s) != 16 || strspn(s, "0123456789abcdefABCDEF") != 16)
			BAD(d, "wwn", "write 16 hexadecimal digits", "'%s' is no world wide name",
				d->wwn);
	}
	for (int n = 0; n < 2; n++) {
		uint32_t v = n ? d->physical_block_size : d->logical_block_size;

		if (v && (!power_of_two(v) || v < 512 || (!n && v > BLOCK_MAX)))
			BAD(d, n ? "physical_block_size" : "logical_block_size",
				"write 512 or 4096", "blocks of %u bytes are not possible", v);
	}
	if (d->physical_block_size && d->physical_block_size < d->logical_block_size)
		BAD(d, "physical_block_size", "write at least the logical size",
			"the physical block is smaller than the logical one");
}

/* Limits of bytes and of operations, for both directions and each; then their bursts, and how long these last. */
enum { LIMIT, BURST, LENGTH, LIMITS_N };
#define MEMBER(m) { #m, offsetof(struct iotune, m) }
#define DIRECTION(d, unit) { MEMBER(d##_##unit##_sec), MEMBER(d##_##unit##_sec_max), MEMBER(d##_##unit##_sec_max_length) }
static const struct limit {
	const char *name;
	size_t off;
} limits[2][3][LIMITS_N] = {
	{ DIRECTION(total, bytes), DIRECTION(read, bytes), DIRECTION(write, bytes) },
	{ DIRECTION(total, iops), DIRECTION(read, iops), DIRECTION(write, iops) },
};

static uint64_t value(const struct iotune *t, const struct limit *l)
{
	return *(const uint64_t *)((const char *)t + l->off);
}

/* What is said for both directions excludes what is said for one; bursts need limits, lengths need bursts. */
static void check_rate(const struct iotune *t, const struct limit dirs[3][LIMITS_N],
	struct report *r)
{
	for (int k = LIMIT; k <= BURST; k++) {
		const struct limit *total = &dirs[0][k], *one = value(t, &dirs[1][k]) ?
			&dirs[1][k] : &dirs[2][k];

		if (value(t, total) && value(t, one))
			BAD(t, total->name, "write the total, or reads and writes",
				"%s excludes %s", total->name, one->name);
	}
	for (int d = 0; d < 3; d++) {
		const struct limit *l = dirs[d];
		uint64_t limit = value(t, &l[LIMIT]), burst = value(t, &l[BURST]);

		if (burst && burst < limit)
			BAD(t, l[BURST].name, "write a burst above the limit",
				"the burst of %" PRIu64 " is below the limit of %" PRIu64, burst,
				limit);
		if (burst && !limit)
			BAD(t, l[BURST].name, "add a limit", "a burst needs a limit: %s",
				l[LIMIT].name);
		if (value(t, &l[LENGTH]) && !burst)
			BAD(t, l[LENGTH].name, "add a burst", "a length needs a burst: %s",
				l[BURST].name);
	}
}

bool iotune_check(const struct iotune *t, GError **err)
{
	AUTO(report) r = report_new(NULL, false, false);

	schema_check_report(&iotune_schema, t, r);
	check_rate(t, limits[0], r);
	check_rate(t, limits[1], r);
	for (unsigned i = 0; i < r->findings->len; i++) {
		const struct finding *f = r->findings->pdata[i];

		if (f->level == FINDING_ERROR)
			return kerr_set(err, KERR_ARGS, "%s%s%s", f->text, f->cure ? ": " : "", f->cure ? f->cure : "");
	}
	return true;
}

/* Disks of one group share one set of limits, so it must be one. */
static void check_group(const struct disk *d, GHashTable *groups, struct report *r)
{
	const struct iotune *t = &d->iotune;
	const struct disk *other;

	if (!t->group_name)
		return;
	other = g_hash_table_lookup(groups, t->group_name);
	if (!other)
		g_hash_table_insert(groups, t->group_name, (gpointer)(uintptr_t)d);
	else if (other->driver.iothread != d->driver.iothread)
		report_warn(r, t, "group_name", "give all disks of the group the same iothread",
			"disks of group '%s' are served by several I/O threads: its limits hold for each of these alone", t->group_name);
	if (other && !schema_equal(&iotune_schema, t, &other->iotune))
		BAD(t, "group_name", "write the same limits for all disks of the group",
			"disks of group '%s' have other limits", t->group_name);
}

void check_disks(const struct machine *m, struct report *r)
{
	g_autoptr(GHashTable) targets = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GHashTable) sources = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GHashTable) groups = g_hash_table_new(g_str_hash, g_str_equal);

	list_each(disk, d, m->devices.disks) {
		const struct resource *res = disk_source_resource(d->type, &d->source);

		if (d->target.dev && !g_hash_table_add(targets, d->target.dev))
			BAD(&d->target, "dev", "give each disk a name of its own",
				"target '%s' is given twice", d->target.dev);
		if (res && !d->readonly && !d->shareable && !g_hash_table_add(sources, res->path))
			report_warn(r, &d->source, NULL, "add <shareable/> to both",
				"'%s' is used by two disks: the second will find it locked",
				res->path);
		check_type(d, r);
		check_bus(d, r);
		check_driver(m, d, r);
		check_chain(d, r);
		check_words(d, r);
		if (iotune_any(&d->iotune)) {
			check_rate(&d->iotune, limits[0], r);
			check_rate(&d->iotune, limits[1], r);
			check_group(d, groups, r);
		}
	}
}
