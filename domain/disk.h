/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Disks, CD-ROMs and floppies: what holds the data, how it is cached, limited and shown to the guest. */
#pragma once
#include "domain/address.h"
#include "domain/field.h"

enum disk_type { DISK_TYPE_ABSENT, DISK_FILE, DISK_BLOCK, DISK_DIR, DISK_NETWORK, DISK_VOLUME, DISK_NVME, DISK_VHOSTUSER,
	DISK_TYPE_N };
enum disk_device { DISK_DEVICE_ABSENT, DISK_DEVICE_DISK, DISK_DEVICE_CDROM, DISK_DEVICE_FLOPPY, DISK_DEVICE_LUN, DISK_DEVICE_N };
enum disk_bus { DISK_BUS_ABSENT, DISK_BUS_IDE, DISK_BUS_FDC, DISK_BUS_SCSI, DISK_BUS_VIRTIO, DISK_BUS_XEN, DISK_BUS_USB,
	DISK_BUS_UML, DISK_BUS_SATA, DISK_BUS_SD, DISK_BUS_N };
enum disk_format { FORMAT_ABSENT, FORMAT_RAW, FORMAT_QCOW2, FORMAT_DIR, FORMAT_BOCHS, FORMAT_CLOOP, FORMAT_DMG, FORMAT_ISO,
	FORMAT_VPC, FORMAT_VDI, FORMAT_FAT, FORMAT_VHD, FORMAT_PLOOP, FORMAT_LUKS, FORMAT_COW, FORMAT_QCOW, FORMAT_QED,
	FORMAT_VMDK, FORMAT_AIO, FORMAT_N };
enum disk_cache { CACHE_ABSENT, CACHE_DEFAULT, CACHE_NONE, CACHE_WRITETHROUGH, CACHE_WRITEBACK, CACHE_DIRECTSYNC,
	CACHE_UNSAFE, CACHE_N };
enum disk_error_policy { DISK_ERROR_ABSENT, DISK_ERROR_STOP, DISK_ERROR_REPORT, DISK_ERROR_IGNORE, DISK_ERROR_ENOSPACE,
	DISK_ERROR_N };
enum disk_io { DISK_IO_ABSENT, DISK_IO_NATIVE, DISK_IO_THREADS, DISK_IO_IO_URING, DISK_IO_N };
enum disk_discard { DISCARD_ABSENT, DISCARD_UNMAP, DISCARD_IGNORE, DISCARD_N };
enum disk_detect_zeroes { ZEROES_ABSENT, ZEROES_OFF, ZEROES_ON, ZEROES_UNMAP, ZEROES_N };
enum disk_startup { STARTUP_ABSENT, STARTUP_MANDATORY, STARTUP_REQUISITE, STARTUP_OPTIONAL, STARTUP_N };
enum disk_snapshot { SNAPSHOT_ABSENT, SNAPSHOT_NO, SNAPSHOT_INTERNAL, SNAPSHOT_EXTERNAL, SNAPSHOT_MANUAL, SNAPSHOT_N };
enum disk_tray { TRAY_ABSENT, TRAY_CLOSED, TRAY_OPEN, TRAY_N };
enum disk_sgio { SGIO_ABSENT, SGIO_FILTERED, SGIO_UNFILTERED, SGIO_N };
enum disk_protocol { PROTOCOL_ABSENT, PROTOCOL_NBD, PROTOCOL_RBD, PROTOCOL_SHEEPDOG, PROTOCOL_GLUSTER, PROTOCOL_ISCSI,
	PROTOCOL_HTTP, PROTOCOL_HTTPS, PROTOCOL_FTP, PROTOCOL_FTPS, PROTOCOL_TFTP, PROTOCOL_SSH, PROTOCOL_VXHS, PROTOCOL_NFS,
	PROTOCOL_N };
enum disk_transport { TRANSPORT_ABSENT, TRANSPORT_TCP, TRANSPORT_UNIX, TRANSPORT_RDMA, TRANSPORT_N };
enum disk_geometry_trans { TRANS_ABSENT, TRANS_AUTO, TRANS_NONE, TRANS_LBA, TRANS_N };

struct disk_host {
	int transport;
	char *name;
	uint32_t port;                  /* 0: the protocol's */
	struct resource socket;         /* unix */
	struct extras extras;
};
struct disk_auth {
	char *username;
	int secret_type;                /* 1 ceph, 2 iscsi */
	char *secret_uuid, *secret_usage;
	struct extras extras;
};
struct disk_slice {                     /* the part of the file that is the disk */
	int type;                       /* 1 = storage */
	uint64_t offset, size;          /* bytes */
	struct extras extras;
};
struct disk_source {
	struct resource file, dev;      /* disk_source_resource() says which counts */
	char *fdgroup;
	char *dir;
	int protocol;
	char *name, *query;             /* network: export, volume, URL path */
	int tls;                        /* YESNO */
	char *tls_hostname;
	char *pool, *volume;
	int volume_mode;                /* 1 host, 2 direct */
	char *type;                     /* nvme: "pci"; vhostuser: "unix" */
	struct resource path;           /* vhostuser */
	uint32_t nvme_namespace;
	int managed;                    /* YESNO */
	struct address address;         /* nvme, of the host */
	int startup_policy;
	uint32_t index;                 /* node number while running; 0: none */
	bool writable;                  /* a drive's medium: open for writing, although the guest only reads */
	struct disk_slice *slice;
	GPtrArray *hosts;               /* struct disk_host */
	struct disk_auth *auth;
	char *snapshot, *config;        /* rbd */
	struct extras extras;
};
struct disk_backing {                   /* <backingStore>; type ABSENT: the chain ends here */
	int type;
	uint32_t index;
	int format;
	struct disk_source source;
	struct disk_backing *backing;
	struct extras extras;
};
struct disk_driver {
	char *name;                     /* "qemu": kept */
	int format;                     /* enum disk_format: attribute type */
	int cache, error_policy, rerror_policy, io;
	int ioeventfd, event_idx, copy_on_read; /* ONOFF */
	int discard;
	uint32_t iothread;              /* 0: none of its own */
	int detect_zeroes;
	uint32_t queues, queue_size;    /* 0: default */
	VIRTIO_MEMBERS;
	uint64_t metadata_cache;        /* qcow2: bytes of tables kept; 0: default */
	struct extras extras;
};
struct disk_target {
	char *dev;                      /* "vda": the disk's name and key */
	int bus, tray;
	int removable;                  /* ONOFF */
	uint32_t rotation_rate;         /* 1: SSD; 0: not given */
	struct extras extras;
};
struct iotune {                         /* 0: no limit; per second; _max: burst; _max_length: s */
	uint64_t total_bytes_sec, read_bytes_sec, write_bytes_sec;
	uint64_t total_iops_sec, read_iops_sec, write_iops_sec;
	uint64_t total_bytes_sec_max, read_bytes_sec_max, write_bytes_sec_max;
	uint64_t total_iops_sec_max, read_iops_sec_max, write_iops_sec_max;
	uint64_t size_iops_sec;
	char *group_name;
	uint64_t total_bytes_sec_max_length, read_bytes_sec_max_length, write_bytes_sec_max_length;
	uint64_t total_iops_sec_max_length, read_iops_sec_max_length, write_iops_sec_max_length;
	struct extras extras;
};
struct disk_geometry {
	uint32_t cyls, heads, secs;
	int trans;
	struct extras extras;
};
struct disk {
	int type, device, model;        /* model: enum virtio_model */
	int rawio;                      /* YESNO */
	int sgio, snapshot;
	struct disk_driver driver;
	struct disk_auth *auth;         /* old place of source.auth */
	struct disk_source source;
	struct disk_backing *backing;   /* NULL: found in the image itself */
	struct disk_geometry geometry;
	uint32_t logical_block_size, physical_block_size;       /* 0: 512 */
	struct disk_target target;
	struct iotune iotune;
	bool readonly, shareable, transient;
	int transient_share;            /* YESNO */
	char *serial, *wwn, *vendor, *product;
	uint32_t boot_order;            /* from 1; 0: none */
	DEVICE_MEMBERS;
};

extern const struct schema disk_schema, iotune_schema, disk_source_schema, disk_backing_schema;
extern const char *const disk_type_names[DISK_TYPE_N], *const disk_bus_names[DISK_BUS_N], *const disk_format_names[FORMAT_N],
	*const disk_device_names[DISK_DEVICE_N], *const disk_protocol_names[PROTOCOL_N];

/* The file or block device that holds the data for this disk type; NULL when it is neither (or no medium is in). */
struct resource *disk_source_resource(int type, struct disk_source *);
/* Is there anything behind the disk (a CD-ROM may be empty)? */
bool disk_has_source(const struct disk *);
/* May its medium be changed while it runs, and be missing? A CD-ROM drive. */
bool disk_removable(const struct disk *);
/* Is another medium in the one than in the other, by path, type and format? */
bool disk_media_differ(const struct disk *, const struct disk *);
/* Does kvmd make a device of it: virtio, or virtio in place of IDE, SATA, SCSI or USB? An empty drive too. */
bool disk_runs(const struct disk *);
/* Is it shown as virtio although the XML names another bus? (address_slot() says where.) */
bool disk_stands_in(const struct disk *);
/* The bus that goes with a target name: "vda" virtio, "sda" scsi, "hda" ide, "fda" fdc; ABSENT when unknown. */
int disk_bus_of_target(const char *dev);
/* Number of a target name ("vdb" 1, "vdaa" 26); -1 when it is none. */
int disk_target_index(const char *dev);
/* Do the limits make sense together (check_disk.c)? *err: ARGS, what is wrong and what to write. */
bool iotune_check(const struct iotune *, GError **err);
/* Is any limit set? */
bool iotune_any(const struct iotune *);
