/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of the commands about devices that come, go and change. */
#include "domain/commands_devices.h"

#include "domain/disk.h"
#include "domain/rows.h"

#define S(T, text) static const struct schema T##_schema_of = { .name = #T, .doc = text, .size = sizeof(struct T), .fields = T##_fields }
#define ASK(T, text) const struct schema T##_schema = { .name = #T, .doc = text, .size = sizeof(struct T), .fields = T##_fields }
#define WHERE(T) ASK_SCOPE(T), FLAG(T, persistent, NULL, 0, "of the definition, and of the machine if it runs")
#define TIMEOUT(T) U32(T, timeout, NULL, 1, 3600, 0, "seconds for the guest to answer; signs of progress prolong it", .def = 10)
#define FORCE(T) FLAG(T, force, NULL, 0, "also the disk the guest runs from")
#define WORD(m, text, ...) STR(T, m, NULL, 0, text, ##__VA_ARGS__)
#define XML_FILE(text) F_NUM(T, xml, char *, NULL, kind_str, 1, 16u << 20, REQUIRED | POSITIONAL | FILE_TEXT, text)

#define T struct device_note
static const struct field device_note_fields[] = { WORD(text, "a sentence"), END };
S(device_note, "something to know");
#undef T

#define T struct tell_device
static const struct field tell_device_fields[] = { WORD(alias, "the device's alias"),
	LIST(T, notes, NULL, device_note_schema_of, 100, 0, "what is kept of it and has no effect yet"), END };
ASK(tell_device, "a device");
#undef T

#define T struct ask_attach_device
static const struct field ask_attach_device_fields[] = { XML_FILE("file with the device's XML, - for standard input"), WHERE(T), TIMEOUT(T), END };
ASK(ask_attach_device, "a device to attach");
#undef T

#define T struct ask_update_device
static const struct field ask_update_device_fields[] = { XML_FILE("file with the device's XML as it is to be, - for standard input"), WHERE(T), END };
ASK(ask_update_device, "a device that changes");
#undef T

#define T struct ask_detach_device
static const struct field ask_detach_device_fields[] = {
	XML_FILE("file with the device's XML, or what tells it from others; - for standard input"), WHERE(T), TIMEOUT(T), FORCE(T), END };
ASK(ask_detach_device, "a device to detach");
#undef T

#define T struct ask_detach_alias
static const struct field ask_detach_alias_fields[] = {
	STR(T, alias, NULL, REQUIRED | POSITIONAL, "alias of the device, as dumpxml shows it"), WHERE(T), TIMEOUT(T), FORCE(T), END };
ASK(ask_detach_alias, "a device to detach");
#undef T

#define T struct ask_attach_disk
static const struct field ask_attach_disk_fields[] = {
	STR(T, source, NULL, REQUIRED | POSITIONAL, "image file or block device"),
	STR(T, target, NULL, REQUIRED | POSITIONAL, "the disk's name: vdb"),
	WORD(targetbus, "bus; none: by the name"), WORD(driver, "name of the driver: kept"), WORD(subdriver, "format of the image: raw, qcow2"),
	WORD(type, "disk or cdrom"), WORD(cache, "cache mode"), WORD(io, "native, threads or io_uring"),
	WORD(mode, "readonly or shareable"), WORD(sourcetype, "file or block; none: block for what is under /dev"),
	WORD(serial, "serial number the guest sees"), WORD(alias, "a name of your own, ua-…"),
	WORD(address, "where on the PCI bus: pci:0000.00.0a.0; none: the next free slot"),
	U32(T, iothread, NULL, 0, UINT32_MAX, 0, "I/O thread"), WHERE(T), TIMEOUT(T), END };
ASK(ask_attach_disk, "a disk to attach");
#undef T

#define T struct ask_detach_disk
static const struct field ask_detach_disk_fields[] = {
	STR(T, target, NULL, REQUIRED | POSITIONAL, "the disk's name (vdb), or its image"), WHERE(T), TIMEOUT(T), FORCE(T), END };
ASK(ask_detach_disk, "a disk to detach");
#undef T

#define T struct ask_attach_interface
static const struct field ask_attach_interface_fields[] = {
	STR(T, type, NULL, REQUIRED | POSITIONAL, "bridge, ethernet, user"),
	STR(T, source, NULL, POSITIONAL, "the bridge; none for other types"),
	WORD(target, "name of the tap; none: one is made"), WORD(mac, "address; none: one is made"), WORD(model, "virtio"),
	WORD(alias, "a name of your own, ua-…"), WORD(inbound, "limit towards the guest: average[,peak[,burst]] in KiB a second"),
	WORD(outbound, "limit from the guest: average[,peak[,burst]] in KiB a second"), WHERE(T), TIMEOUT(T), END };
ASK(ask_attach_interface, "a network card to attach");
#undef T

#define T struct ask_detach_interface
static const struct field ask_detach_interface_fields[] = {
	STR(T, type, NULL, REQUIRED | POSITIONAL, "bridge, ethernet, user"),
	WORD(mac, "its address: needed where there are several of the type"), WHERE(T), TIMEOUT(T), FORCE(T), END };
ASK(ask_detach_interface, "a network card to detach");
#undef T

#define T struct device_fd
static const struct field device_fd_fields[] = { STR(T, name, NULL, REQUIRED, "name of a descriptor"), END };
ASK(device_fd, "a name");
#undef T

#define ANSWER_MS(T) U32(T, timeout, NULL, 100, 3600000, 0, "ms for the guest to answer", .def = 10000)
#define T struct args_device_attach
static const struct field args_device_attach_fields[] = {
	STR(T, kind, NULL, REQUIRED, "its element: disk, interface"), JSON(T, device, "any", REQUIRED, "the device, as in the machine's description"),
	JSON(T, controller, "any", 0, "the virtio-serial controller that it needs and that comes first"),
	LIST(T, names, NULL, device_fd_schema, 200, 0, "names of the descriptors that come along, in order"), ANSWER_MS(T),
	WORD(id, "comes back in COMMAND_BEGUN and COMMAND_DONE"), END };
static ASK(args_device_attach, "a device to plug, and to wait for");
#undef T

#define T struct args_device_update
static const struct field args_device_update_fields[] = {
	STR(T, kind, NULL, REQUIRED, "its element: disk, interface"), JSON(T, device, "any", REQUIRED, "the device as it is to be"),
	LIST(T, names, NULL, device_fd_schema, 200, 0, "names of the descriptors that come along, in order"), END };
static ASK(args_device_update, "a device that changes");
#undef T

#define T struct args_device_detach
static const struct field args_device_detach_fields[] = {
	STR(T, alias, NULL, REQUIRED, "the device's alias"), ANSWER_MS(T), FORCE(T), WORD(id, "comes back in COMMAND_BEGUN and COMMAND_DONE"), END };
static ASK(args_device_detach, "a device to unplug, and to wait for");
#undef T

NAMES(node_discard_names, 3, "ignore", "unmap");
NAMES(node_zeroes_names, 4, "off", "on", "unmap");
NAMES(node_aio_names, 4, "threads", "native", "io_uring");
NAMES(node_locking_names, 3, "auto", "on");
#define T struct node_cache
static const struct field node_cache_fields[] = { FLAG(T, direct, NULL, 0, "past the host's cache"),
	FLAG(T, no_flush, NULL, 0, "flushes do not count", .name = "no-flush"), END };
static const struct schema node_cache_schema = { .name = "node_cache", .doc = "how the host's cache is used", .size = sizeof(T), .fields = node_cache_fields };
#undef T

#define T struct args_blockdev_add
#define NODE_ROWS \
	STR(T, driver, NULL, REQUIRED, "raw or qcow2 on file or host_device"), WORD(filename, "file, host_device: its path, or /dev/fdset/N"), \
	FLAG(T, readonly, NULL, 0, "it is only read", .name = "read-only"), \
	FLAG(T, auto_readonly, NULL, 0, "without effect: what a device may write must be writable", .name = "auto-read-only"), \
	STRUCT(T, cache, NULL, node_cache_schema, 0, "how the host's cache is used"), \
	ENUM(T, discard, NULL, node_discard_names, 0, "whether discards reach the file"), \
	ENUM(T, detect_zeroes, NULL, node_zeroes_names, 0, "what a write of zeroes becomes", .name = "detect-zeroes"), \
	ENUM(T, aio, NULL, node_aio_names, 0, "how requests reach the host's kernel"), \
	ENUM(T, locking, NULL, node_locking_names, 0, "images are always locked")
static const struct field args_blockdev_add_fields[] = {
	STR(T, node, NULL, REQUIRED, "its name", .name = "node-name"), JSON(T, file, "any", 0, "raw, qcow2: the node below, or its name"), NODE_ROWS, END };
static ASK(args_blockdev_add, "a part of a disk's chain");
static const struct field args_blockdev_file_fields[] = { WORD(node, "its name: not used", .name = "node-name"), NODE_ROWS, END };
const struct schema args_blockdev_file_schema = { .name = "args_blockdev_file", .doc = "the file below a node", .size = sizeof(T),
	.fields = args_blockdev_file_fields };
#undef T

struct node_options node_options(const struct args_blockdev_add *a)
{
	static const int discard[] = { DISCARD_ABSENT, DISCARD_IGNORE, DISCARD_UNMAP };
	static const int io[] = { DISK_IO_ABSENT, DISK_IO_THREADS, DISK_IO_NATIVE, DISK_IO_IO_URING };

	return (struct node_options){ .cache = a->cache.no_flush ? CACHE_UNSAFE : a->cache.direct ? CACHE_NONE : CACHE_ABSENT,
		.discard = discard[a->discard], .detect_zeroes = a->detect_zeroes, .io = io[a->aio] };
}

/* A discard must pass both; the rest is done where it is asked for. */
struct node_options node_options_both(struct node_options a, struct node_options b)
{
	if (a.cache != CACHE_UNSAFE && b.cache)
		a.cache = b.cache;
	if (a.discard != DISCARD_IGNORE && b.discard)
		a.discard = b.discard;
	a.detect_zeroes = MAX(a.detect_zeroes, b.detect_zeroes);
	a.io = b.io ? b.io : a.io;
	return a;
}

void node_options_set(struct node_options o, struct disk *d)
{
	d->driver.cache = o.cache;
	d->driver.discard = o.discard;
	d->driver.detect_zeroes = o.detect_zeroes;
	d->driver.io = o.io;
}

struct node_options node_options_of(const struct disk *d)
{
	return (struct node_options){ d->driver.cache, d->driver.discard, d->driver.detect_zeroes, d->driver.io };
}

#define T struct args_blockdev_made
static const struct field args_blockdev_made_fields[] = {
	STR(T, node, NULL, REQUIRED, "its name", .name = "node-name"), WORD(below, "name of the node of its file"), FLAG(T, bare, NULL, 0, "it is the file's"),
	JSON(T, device, "any", REQUIRED, "a disk of it"), LIST(T, names, NULL, device_fd_schema, 200, 0, "names of the descriptors that come along, in order"), END };
static ASK(args_blockdev_made, "a part of a disk's chain that is open");
#undef T

#define T struct args_node
static const struct field args_node_fields[] = { STR(T, node, NULL, REQUIRED, "its name", .name = "node-name"), END };
static ASK(args_node, "a part of a disk's chain");
#undef T

#define T struct args_netdev_add
static const struct field args_netdev_add_fields[] = {
	STR(T, type, NULL, REQUIRED, "tap"), STR(T, id, NULL, REQUIRED, "its name"), WORD(fd, "the tap's descriptor: a name of getfd"),
	WORD(ifname, "the tap, made when there is none"), WORD(script, "no: none is run"), WORD(downscript, "no: none is run"), END };
static ASK(args_netdev_add, "where a card's frames go");
#undef T

#define T struct args_netdev_del
static const struct field args_netdev_del_fields[] = { STR(T, id, NULL, REQUIRED, "its name"), END };
ASK(args_netdev_del, "a back end");
#undef T

#define WAITS "Returns when the guest has taken the device (in Linux: its driver runs it), or fails with what the guest said; then nothing of it is left. " \
	"With --config too, the definition is changed when the guest has done it. The journal's COMMAND_DONE tells the result also when kvmd went away meanwhile."
#define GOES "Returns when the guest has given the device up and its files are closed, or fails with what the guest said. The disk the guest runs from " \
	"stays unless --force is given. The journal's COMMAND_DONE tells the result also when kvmd went away meanwhile."

const struct command devices_commands[] = {
	{ "attach-device", "attach-device", "attach a device", IN_KVMD, CMD_VM, &ask_attach_device_schema, &tell_device_schema,
	  "kvmctl attach-device web disk.xml\nkvmctl attach-device web nic.xml --persistent", WAITS },
	{ "detach-device", "detach-device", "detach a device", IN_KVMD, CMD_VM, &ask_detach_device_schema, &tell_device_schema,
	  "kvmctl detach-device web disk.xml --persistent", GOES },
	{ "detach-device-alias", "detach-device-alias", "detach a device by its alias", IN_KVMD, CMD_VM, &ask_detach_alias_schema, &tell_device_schema,
	  "kvmctl detach-device-alias web rng1", GOES },
	{ "update-device", "update-device", "change a device", IN_KVMD, CMD_VM, &ask_update_device_schema, &tell_device_schema,
	  "kvmctl update-device web nic.xml --live\nkvmctl dumpxml web > web.xml",
	  "The XML is the whole device as it is to be; which one is meant, its target, MAC, name or alias tells. While the machine runs: limits of disks and "
	  "cards, the medium of a CD-ROM drive, a card's link, the rate of entropy; all else is refused by name, and needs --config." },
	{ "attach-disk", "attach-disk", "attach a disk", IN_KVMD, CMD_VM, &ask_attach_disk_schema, &tell_device_schema,
	  "kvmctl attach-disk web /srv/data.qcow2 vdb --subdriver qcow2 --persistent", WAITS },
	{ "detach-disk", "detach-disk", "detach a disk", IN_KVMD, CMD_VM, &ask_detach_disk_schema, &tell_device_schema,
	  "kvmctl detach-disk web vdb --persistent", GOES },
	{ "attach-interface", "attach-interface", "attach a network card", IN_KVMD, CMD_VM, &ask_attach_interface_schema, &tell_device_schema,
	  "kvmctl attach-interface web bridge br0 --persistent\nkvmctl attach-interface web user", WAITS },
	{ "detach-interface", "detach-interface", "detach a network card", IN_KVMD, CMD_VM, &ask_detach_interface_schema, &tell_device_schema,
	  "kvmctl detach-interface web bridge --mac 52:54:00:12:34:56", GOES },
	{ "device-attach", NULL, "plug a device, and wait for the guest", IN_WORKER, CMD_INTERNAL | CMD_FDS | CMD_TELLS, &args_device_attach_schema, &tell_device_schema },
	{ "device-detach", NULL, "unplug a device, and wait for the guest", IN_WORKER, CMD_INTERNAL | CMD_TELLS, &args_device_detach_schema, &tell_device_schema },
	{ "device-update", NULL, "change a device while the guest uses it", IN_WORKER, CMD_INTERNAL | CMD_FDS, &args_device_update_schema, &tell_device_schema },
	{ "blockdev-add", NULL, "make a part of a disk's chain", IN_WORKER, CMD_VM | CMD_OPENS, &args_blockdev_add_schema },
	{ "blockdev-made", NULL, "the same, with what kvmd has opened", IN_WORKER, CMD_INTERNAL | CMD_FDS, &args_blockdev_made_schema },
	{ "blockdev-del", NULL, "forget it", IN_WORKER, CMD_VM, &args_node_schema },
	{ "netdev_add", NULL, "make a network back end of a tap", IN_WORKER, CMD_VM | CMD_OPENS, &args_netdev_add_schema },
	{ "netdev_del", NULL, "forget it", IN_WORKER, CMD_VM, &args_netdev_del_schema },
	{ NULL },
};
