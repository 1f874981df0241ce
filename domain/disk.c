/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <disk>. */
#include "domain/disk.h"

#include <string.h>

#include "domain/rows.h"

NAMES_SHARED(disk_type_names, DISK_TYPE_N, "file", "block", "dir", "network", "volume", "nvme", "vhostuser");
NAMES_SHARED(disk_device_names, DISK_DEVICE_N, "disk", "cdrom", "floppy", "lun");
NAMES_SHARED(disk_bus_names, DISK_BUS_N, "ide", "fdc", "scsi", "virtio", "xen", "usb", "uml", "sata", "sd");
NAMES_SHARED(disk_format_names, FORMAT_N, "raw", "qcow2", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd",
	"ploop", "luks", "cow", "qcow", "qed", "vmdk", "aio");
NAMES(cache_names, CACHE_N, "default", "none", "writethrough", "writeback", "directsync", "unsafe");
NAMES(error_policy_names, DISK_ERROR_N, "stop", "report", "ignore", "enospace");
static const char *const rerror_policy_names[] = { "", "stop", "report", "ignore" };
NAMES(io_names, DISK_IO_N, "native", "threads", "io_uring");
NAMES(discard_names, DISCARD_N, "unmap", "ignore");
NAMES(detect_zeroes_names, ZEROES_N, "off", "on", "unmap");
NAMES(startup_names, STARTUP_N, "mandatory", "requisite", "optional");
NAMES(snapshot_names, SNAPSHOT_N, "no", "internal", "external", "manual");
NAMES(tray_names, TRAY_N, "closed", "open");
NAMES(sgio_names, SGIO_N, "filtered", "unfiltered");
NAMES_SHARED(disk_protocol_names, PROTOCOL_N, "nbd", "rbd", "sheepdog", "gluster", "iscsi", "http", "https", "ftp", "ftps",
	"tftp", "ssh", "vxhs", "nfs");
NAMES(transport_names, TRANSPORT_N, "tcp", "unix", "rdma");
NAMES(trans_names, TRANS_N, "auto", "none", "lba");
static const char *const secret_type_names[] = { "", "ceph", "iscsi" };
static const char *const slice_type_names[] = { "", "storage" };
static const char *const volume_mode_names[] = { "", "host", "direct" };

#define ENCRYPTED "encrypted images can't be opened: decrypt it with 'qemu-img convert', or encrypt inside the guest"

static const struct field disk_host_schema_fields[] = {
	ENUM(struct disk_host, transport, "@transport", transport_names, 0, "how it is reached"),
	STR(struct disk_host, name, "@name", 0, "host name or address"),
	U32(struct disk_host, port, "@port", 0, 65535, 0, "port; none: the protocol's own"),
	RESOURCE(struct disk_host, socket, "@socket", RES_SOCKET_CONNECT, 0, "unix socket of the server"),
	EXTRAS(struct disk_host, extras), END
};
static SCHEMA(disk_host_schema, struct disk_host, "host", "a server of network storage");

static const struct field disk_auth_schema_fields[] = {
	STR(struct disk_auth, username, "@username", REQUIRED, "name to log in with"),
	ENUM(struct disk_auth, secret_type, "secret/@type", secret_type_names, 0, "kind of secret"),
	UUID(struct disk_auth, secret_uuid, "secret/@uuid", 0, "the secret, by uuid"),
	STR(struct disk_auth, secret_usage, "secret/@usage", 0, "the secret, by use"),
	EXTRAS(struct disk_auth, extras), END
};
static SCHEMA(disk_auth_schema, struct disk_auth, "auth", "who asks for network storage");

static const struct field disk_slice_schema_fields[] = {
	ENUM(struct disk_slice, type, "@type", slice_type_names, REQUIRED, "storage: a part of the file"),
	U64(struct disk_slice, offset, "@offset", 0, INT64_MAX, REQUIRED, "first byte"),
	U64(struct disk_slice, size, "@size", 0, INT64_MAX, REQUIRED, "number of bytes"),
	EXTRAS(struct disk_slice, extras), END
};
static SCHEMA(disk_slice_schema, struct disk_slice, "slice", "the part of the file that is the disk");

static const struct field disk_source_schema_fields[] = {
	RESOURCE(struct disk_source, file, "@file", RES_DISK, LIVE, "image file"),
	STR(struct disk_source, fdgroup, "@fdgroup", NOT_YET, "descriptors handed over by the client"),
	RESOURCE(struct disk_source, dev, "@dev", RES_DISK, LIVE, "block device of the host"),
	STR(struct disk_source, dir, "@dir", 0, "folder shown as a FAT disk"),
	ENUM(struct disk_source, protocol, "@protocol", disk_protocol_names, LIVE, "protocol of network storage"),
	STR(struct disk_source, name, "@name", LIVE, "export or volume on the server"),
	STR(struct disk_source, query, "@query", 0, "query of the URL"),
	ENUM(struct disk_source, tls, "@tls", yesno_names, 0, "encrypt the connection"),
	STR(struct disk_source, tls_hostname, "@tlsHostname", 0, "name in the server's certificate"),
	STR(struct disk_source, pool, "@pool", 0, "storage pool"),
	STR(struct disk_source, volume, "@volume", 0, "volume in the pool"),
	ENUM(struct disk_source, volume_mode, "@mode", volume_mode_names, 0, "how an iSCSI volume is reached"),
	STR(struct disk_source, type, "@type", 0, "nvme: pci; vhostuser: unix"),
	RESOURCE(struct disk_source, path, "@path", RES_SOCKET_CONNECT, 0, "socket of a vhost-user server"),
	U32(struct disk_source, nvme_namespace, "@namespace", 0, UINT32_MAX, 0, "NVMe namespace"),
	ENUM(struct disk_source, managed, "@managed", yesno_names, 0, "detach the NVMe device from the host by itself"),
	ENUM(struct disk_source, startup_policy, "@startupPolicy", startup_names, NOT_YET, "what to do when it is missing", .lacks = 1 << STARTUP_REQUISITE),
	U32(struct disk_source, index, "@index", 0, UINT32_MAX, RUNTIME, "number of the image in the chain"),
	FLAG(struct disk_source, writable, NULL, RUNTIME, "a drive's medium is open for writing, although the guest only reads"),
	LIST(struct disk_source, hosts, "host", disk_host_schema, 16, 0, "servers"),
	STR(struct disk_source, snapshot, "snapshot/@name", 0, "snapshot of the volume"),
	STR(struct disk_source, config, "config/@file", 0, "configuration of the client library"),
	OPT(struct disk_source, auth, "auth", disk_auth_schema, 0, "who asks"),
	OPT(struct disk_source, slice, "slices/slice", disk_slice_schema, 0, "the part of the file that is the disk"),
	STRUCT(struct disk_source, address, "address", address_schema, 0, "the NVMe device's place on the host"),
	REFUSE("encryption", ENCRYPTED),
	REFUSE("dataStore", "images with a data file of their own can't be opened: convert it with 'qemu-img convert -O qcow2 OLD NEW'"),
	REFUSE("reservations", "persistent reservations aren't handed on: leave the element out"),
	KEEP_SILENT("initiator"),
	KEEP_SILENT("ssl"),
	KEEP_SILENT("cookies"),
	KEEP_SILENT("readahead"),
	KEEP_SILENT("timeout"),
	KEEP_SILENT("identity"),
	KEEP_SILENT("reconnect"),
	KEEP_SILENT("privateData"),
	KEEP("seclabel", "kvmd hands the machine an open file: there is nothing to label"),
	EXTRAS(struct disk_source, extras), END
};
SCHEMA(disk_source_schema, struct disk_source, "source", "what holds the data");

static const struct field disk_backing_schema_fields[] = {
	ENUM(struct disk_backing, type, "@type", disk_type_names, 0, "what kind of source; none: the chain ends"),
	U32(struct disk_backing, index, "@index", 0, UINT32_MAX, RUNTIME, "number of the image in the chain"),
	ENUM(struct disk_backing, format, "format/@type", disk_format_names, 0, "format of the image"),
	KEEP_SILENT("format/metadata_cache"),
	STRUCT(struct disk_backing, source, "source", disk_source_schema, 0, "what holds the data"),
	OPT(struct disk_backing, backing, "backingStore", disk_backing_schema, 0, "the image behind this one"),
	EXTRAS(struct disk_backing, extras), END
};
SCHEMA(disk_backing_schema, struct disk_backing, "backingStore", "the image behind, read where this one has nothing");

static const struct field disk_driver_schema_fields[] = {
	STR(struct disk_driver, name, "@name", 0, "name of QEMU's block layer: kept"),
	ENUM(struct disk_driver, format, "@type", disk_format_names, GUEST, "format of the image"),
	ENUM(struct disk_driver, cache, "@cache", cache_names, 0, "whose caches hold writes, and whether flushes count"),
	ENUM(struct disk_driver, error_policy, "@error_policy", error_policy_names, 0, "what a failed write does"),
	ENUM(struct disk_driver, rerror_policy, "@rerror_policy", rerror_policy_names, 0, "what a failed read does"),
	ENUM(struct disk_driver, io, "@io", io_names, 0, "how requests reach the host's kernel"),
	ENUM(struct disk_driver, ioeventfd, "@ioeventfd", onoff_names, NOT_YET, "kicks without a trip through the vCPU's thread", .lacks = 1 << ONOFF_OFF),
	ENUM(struct disk_driver, event_idx, "@event_idx", onoff_names, GUEST, "offer fewer notifications"),
	ENUM(struct disk_driver, copy_on_read, "@copy_on_read", onoff_names, 0, "keep what was read from behind"),
	ENUM(struct disk_driver, discard, "@discard", discard_names, 0, "pass the guest's discards on"),
	U32(struct disk_driver, iothread, "@iothread", 0, 1024, 0, "thread that serves it"),
	ENUM(struct disk_driver, detect_zeroes, "@detect_zeroes", detect_zeroes_names, 0, "what a write of zeroes becomes"),
	U32(struct disk_driver, queues, "@queues", 0, 1024, GUEST, "number of queues; none: one"),
	U32(struct disk_driver, queue_size, "@queue_size", 0, 32768, GUEST, "entries of a queue"),
	KEEP("@discard_no_unref", "what the guest discards is given back"),
	KEEP("iothreads", "a disk has one thread, its iothread='…'"),
	KEEP("statistics", "latencies are counted in ranges of their own: kvmctl domstats --block --latency"),
	VIRTIO_ROWS(struct disk_driver),
	SIZE(struct disk_driver, metadata_cache, "metadata_cache/max_size", 0, UINT64_C(1) << 40, 0, "memory for a qcow2 image's tables", .unit = 1),
	EXTRAS(struct disk_driver, extras), END
};
static SCHEMA(disk_driver_schema, struct disk_driver, "driver", "how the disk is served");

static const struct field disk_target_schema_fields[] = {
	STR(struct disk_target, dev, "@dev", REQUIRED, "the disk's name: vda, sdb, hdc"),
	ENUM(struct disk_target, bus, "@bus", disk_bus_names, GUEST, "what it is attached to"),
	ENUM(struct disk_target, tray, "@tray", tray_names, LIVE | NOT_YET, "the CD drive's tray", .lacks = 1 << TRAY_OPEN),
	ENUM(struct disk_target, removable, "@removable", onoff_names, GUEST | NOT_YET, "the guest sees it as removable", .lacks = 1 << ONOFF_ON),
	U32(struct disk_target, rotation_rate, "@rotation_rate", 0, 65535, GUEST | NOT_YET, "turns per minute; 1: solid state"),
	KEEP("@dpofua", "there are no SCSI disks yet"),
	EXTRAS(struct disk_target, extras), END
};
static SCHEMA(disk_target_schema, struct disk_target, "target", "the disk as the guest sees it");

#define LIMIT(m, text) U64(struct iotune, m, #m, 0, INT64_MAX, LIVE, text)
#define LENGTH(m, text) U64(struct iotune, m, #m, 0, 86400, LIVE, text)
static const struct field iotune_schema_fields[] = {
	LIMIT(total_bytes_sec, "bytes per second, read and written"),
	LIMIT(read_bytes_sec, "bytes read per second"),
	LIMIT(write_bytes_sec, "bytes written per second"),
	LIMIT(total_iops_sec, "operations per second"),
	LIMIT(read_iops_sec, "reads per second"),
	LIMIT(write_iops_sec, "writes per second"),
	LIMIT(total_bytes_sec_max, "the same in a burst: bytes"),
	LIMIT(read_bytes_sec_max, "in a burst: bytes read"),
	LIMIT(write_bytes_sec_max, "in a burst: bytes written"),
	LIMIT(total_iops_sec_max, "in a burst: operations"),
	LIMIT(read_iops_sec_max, "in a burst: reads"),
	LIMIT(write_iops_sec_max, "in a burst: writes"),
	LIMIT(size_iops_sec, "bytes that count as one operation"),
	STR(struct iotune, group_name, "group_name", LIVE, "disks of one name share the limits"),
	LENGTH(total_bytes_sec_max_length, "seconds a burst may last: bytes"),
	LENGTH(read_bytes_sec_max_length, "seconds of a burst: bytes read"),
	LENGTH(write_bytes_sec_max_length, "seconds of a burst: bytes written"),
	LENGTH(total_iops_sec_max_length, "seconds of a burst: operations"),
	LENGTH(read_iops_sec_max_length, "seconds of a burst: reads"),
	LENGTH(write_iops_sec_max_length, "seconds of a burst: writes"),
	EXTRAS(struct iotune, extras), END
};
SCHEMA(iotune_schema, struct iotune, "iotune", "how much a disk may do; 0: no limit");

static const struct field disk_geometry_schema_fields[] = {
	U32(struct disk_geometry, cyls, "@cyls", 0, UINT32_MAX, GUEST, "cylinders"),
	U32(struct disk_geometry, heads, "@heads", 0, 65535, GUEST, "heads"),
	U32(struct disk_geometry, secs, "@secs", 0, 65535, GUEST, "sectors of a track"),
	ENUM(struct disk_geometry, trans, "@trans", trans_names, GUEST, "how the BIOS translates it"),
	EXTRAS(struct disk_geometry, extras), END
};
static SCHEMA(disk_geometry_schema, struct disk_geometry, "geometry", "the shape old software asks for");

static const struct field disk_schema_fields[] = {
	ENUM(struct disk, type, "@type", disk_type_names, LIVE, "what kind of source"),
	ENUM(struct disk, device, "@device", disk_device_names, GUEST, "disk, CD-ROM, floppy"),
	ENUM(struct disk, model, "@model", virtio_model_names, GUEST, "generation of the virtio device"),
	ENUM(struct disk, rawio, "@rawio", yesno_names, NOT_YET, "SCSI commands straight to the device", .lacks = 1 << YESNO_YES),
	ENUM(struct disk, sgio, "@sgio", sgio_names, NOT_YET, "filter such commands", .lacks = 1 << SGIO_UNFILTERED),
	ENUM(struct disk, snapshot, "@snapshot", snapshot_names, NOT_YET, "how a snapshot of the machine treats it", .lacks = 1 << SNAPSHOT_INTERNAL | 1 << SNAPSHOT_EXTERNAL | 1 << SNAPSHOT_MANUAL),
	STRUCT(struct disk, driver, "driver", disk_driver_schema, 0, "how the disk is served"),
	OPT(struct disk, auth, "auth", disk_auth_schema, 0, "who asks for network storage"),
	STRUCT(struct disk, source, "source", disk_source_schema, LIVE, "what holds the data"),
	OPT(struct disk, backing, "backingStore", disk_backing_schema, 0, "the image behind; empty: there is none"),
	KEEP("mirror", "it tells of a copy job that ran when the XML was written"),
	KEEP("backenddomain", "for Xen guests"),
	STRUCT(struct disk, geometry, "geometry", disk_geometry_schema, GUEST | NOT_YET, "the shape old software asks for"),
	U32(struct disk, logical_block_size, "blockio/@logical_block_size", 0, 2 << 20, GUEST, "bytes the guest may address"),
	U32(struct disk, physical_block_size, "blockio/@physical_block_size", 0, 2 << 20, GUEST, "bytes the disk writes at once"),
	KEEP("blockio/@discard_granularity", "it follows from the image"),
	STRUCT(struct disk, target, "target", disk_target_schema, REQUIRED, "the disk as the guest sees it"),
	STRUCT(struct disk, iotune, "iotune", iotune_schema, LIVE, "how much it may do"),
	KEEP("throttlefilters", "limits by group are <iotune> with a <group_name>"),
	FLAG(struct disk, readonly, "readonly", GUEST, "the guest cannot write to it"),
	FLAG(struct disk, shareable, "shareable", 0, "other machines use it at the same time"),
	FLAG(struct disk, transient, "transient", 0, "what is written is forgotten at the end"),
	ENUM(struct disk, transient_share, "transient/@shareBacking", yesno_names, 0, "other machines use the image behind"),
	STR(struct disk, serial, "serial", GUEST, "serial number that the guest reads"),
	STR(struct disk, wwn, "wwn", GUEST | NOT_YET, "world wide name that the guest reads"),
	STR(struct disk, vendor, "vendor", GUEST | NOT_YET, "vendor that the guest reads, at most 8 characters"),
	STR(struct disk, product, "product", GUEST | NOT_YET, "product that the guest reads, at most 16 characters"),
	REFUSE("encryption", ENCRYPTED),
	KEEP_SILENT("privateData"),
	U32(struct disk, boot_order, "boot/@order", 1, 65535, GUEST | NOT_YET, "place in the boot order, from 1"),
	KEEP_SILENT("boot/@loadparm"),
	DEVICE_ROWS(struct disk)
};
SCHEMA(disk_schema, struct disk, "disk", "a disk, CD-ROM or floppy");

struct resource *disk_source_resource(int type, struct disk_source *s)
{
	struct resource *r = type == DISK_FILE ? &s->file : type == DISK_BLOCK ? &s->dev : NULL;

	return r && r->path ? r : NULL;
}

bool disk_has_source(const struct disk *d)
{
	const struct disk_source *s = &d->source;

	return s->file.path || s->dev.path || s->dir || s->protocol || s->volume || s->path.path || s->nvme_namespace;
}

bool disk_removable(const struct disk *d)
{
	return d->device == DISK_DEVICE_CDROM;
}

bool disk_media_differ(const struct disk *a, const struct disk *b)
{
	const struct resource *in = disk_source_resource(a->type, (struct disk_source *)(uintptr_t)&a->source);
	const struct resource *out = disk_source_resource(b->type, (struct disk_source *)(uintptr_t)&b->source);

	if (g_strcmp0(in ? in->path : NULL, out ? out->path : NULL))
		return true;
	return in && (a->type != b->type || a->driver.format != b->driver.format || a->source.writable != b->source.writable);
}

bool disk_stands_in(const struct disk *d)
{
	switch (d->target.bus) {
	case DISK_BUS_IDE:
	case DISK_BUS_SATA:
	case DISK_BUS_SCSI:
	case DISK_BUS_USB:
		return d->device != DISK_DEVICE_FLOPPY;
	default:
		return false;
	}
}

bool disk_runs(const struct disk *d)
{
	return (d->target.bus == DISK_BUS_VIRTIO || disk_stands_in(d)) && (disk_has_source(d) || disk_removable(d));
}

int disk_bus_of_target(const char *dev)
{
	static const struct {
		const char *prefix;
		int bus;
	} rows[] = {
		{ "vd", DISK_BUS_VIRTIO }, { "sd", DISK_BUS_SCSI }, { "hd", DISK_BUS_IDE }, { "fd", DISK_BUS_FDC },
		{ "xvd", DISK_BUS_XEN }, { "ubd", DISK_BUS_UML },
	};

	for (size_t i = 0; dev && i < G_N_ELEMENTS(rows); i++)
		if (g_str_has_prefix(dev, rows[i].prefix))
			return rows[i].bus;
	return DISK_BUS_ABSENT;
}

int disk_target_index(const char *dev)
{
	const char *s = dev;
	int n = 0;

	if (!dev || disk_bus_of_target(dev) == DISK_BUS_ABSENT)
		return -1;
	s += *dev == 'x' || *dev == 'u' ? 3 : 2;
	if (!*s)
		return -1;
	for (; *s; s++) {
		if (*s < 'a' || *s > 'z' || n > 1 << 20)
			return -1;
		n = n * 26 + (*s - 'a') + 1;
	}
	return n - 1;
}

bool iotune_any(const struct iotune *t)
{
	for (const struct field *f = iotune_schema.fields; f->name; f++)
		if ((f->flags & LIVE) && !field_is_default(f, t))
			return true;
	return false;
}
