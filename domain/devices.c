/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <devices>, in libvirt's order, and the visit of all devices. */
#include "domain/devices.h"

#include "domain/rows.h"

#define DEVICES(m, xml, s, fl, text) LIST(struct devices, m, xml, s, DEVICES_MAX, fl, text)
/*
 * OPTIONAL_DEVICE on a row: kvmd reads such a device but cannot run it yet: walk.c opens nothing for it, and
 * supported.c knows whether a machine starts without it.
 */
static const struct field devices_schema_fields[] = {
	KEEP("emulator", "kvmd runs machines itself, without QEMU"),
	DEVICES(disks, "disk", disk_schema, 0, "disks, CD-ROMs, floppies"),
	DEVICES(controllers, "controller", controller_schema, 0, "what other devices hang on"),
	REFUSE_DEVICE("lease", "there is no lock manager to take leases from: leave the element out; kvmd locks images itself"),
	DEVICES(filesystems, "filesystem", filesystem_schema, OPTIONAL_DEVICE, "folders of the host"),
	DEVICES(interfaces, "interface", iface_schema, 0, "network cards"),
	KEEP("smartcard", "smart cards aren't passed on: the guest will not find one"),
	DEVICES(serials, "serial", serial_schema, 0, "serial ports"),
	DEVICES(parallels, "parallel", parallel_schema, OPTIONAL_DEVICE, "parallel ports"),
	DEVICES(consoles, "console", console_schema, 0, "consoles"),
	DEVICES(channels, "channel", channel_schema, 0, "channels between host and guest"),
	DEVICES(inputs, "input", input_schema, 0, "keyboards, mice, tablets"),
	DEVICES(tpms, "tpm", tpm_schema, OPTIONAL_DEVICE, "trusted platform modules"),
	DEVICES(graphics, "graphics", graphics_schema, 0, "where the screen is shown"),
	KEEP("sound", "there is no sound card: the guest will not find one"),
	KEEP("audio", "there is no sound card: nothing is played"),
	DEVICES(videos, "video", video_schema, 0, "graphics cards"),
	DEVICES(hostdevs, "hostdev", hostdev_schema, OPTIONAL_DEVICE, "devices of the host"),
	KEEP("redirdev", "USB devices aren't redirected: there is no USB bus"),
	KEEP("redirfilter", "USB devices aren't redirected"),
	KEEP("hub", "there is no USB bus: the guest will not find the hub"),
	DEVICES(watchdogs, "watchdog", watchdog_schema, OPTIONAL_DEVICE, "watchdogs"),
	OPT(struct devices, memballoon, "memballoon", balloon_schema, 0, "through which the guest gives memory back"),
	DEVICES(rngs, "rng", rng_schema, 0, "entropy for the guest"),
	REFUSE_DEVICE("nvram", "for POWER guests: write <nvram> inside <os> for a firmware's variables"),
	DEVICES(panics, "panic", panic_schema, 0, "by which a guest says that it crashed"),
	KEEP("shmem", "memory shared between guests isn't offered: the guest will not find it"),
	DEVICES(memdevs, "memory", memdev_schema, 0, "memory that is a device"),
	KEEP("iommu", "there is no IOMMU: the guest reaches its devices without one"),
	OPT(struct devices, vsock, "vsock", vsock_schema, OPTIONAL_DEVICE, "sockets between host and guest"),
	KEEP("crypto", "there is no crypto device: the guest will not find one"),
	KEEP("pstore", "there is no place for crash notes: the guest will not find one"),
	EXTRAS(struct devices, extras), END
};
SCHEMA(devices_schema, struct devices, "devices", "the machine's devices");

bool devices_each(const struct devices *d, bool (*fn)(const struct field *row, void *dev, void *arg), void *arg)
{
	for (const struct field *f = devices_schema.fields; f->name; f++) {
		void *member = field_at(f, d);

		if (f->kind->shape == SHAPE_OPT && *(void **)member && !fn(f, *(void **)member, arg))
			return false;
		for (unsigned i = 0; f->kind->shape == SHAPE_LIST && i < list_len(*(GPtrArray **)member); i++)
			if (!fn(f, g_ptr_array_index(*(GPtrArray **)member, i), arg))
				return false;
	}
	return true;
}

/* Where DEVICE_MEMBERS begin, and the boot order, in each device's struct. */
static const struct {
	const struct schema *schema;
	size_t base, boot;              /* boot 0: none */
} places[] = {
#define PLACE(s, T) { &s, offsetof(T, alias), 0 }
#define BOOTABLE(s, T) { &s, offsetof(T, alias), offsetof(T, boot_order) }
	BOOTABLE(disk_schema, struct disk), BOOTABLE(iface_schema, struct iface), PLACE(channel_schema, struct chardev),
	PLACE(controller_schema, struct controller), PLACE(serial_schema, struct chardev), PLACE(console_schema, struct chardev),
	PLACE(rng_schema, struct rng), PLACE(balloon_schema, struct balloon), PLACE(panic_schema, struct panic),
	PLACE(input_schema, struct input), PLACE(video_schema, struct video), PLACE(memdev_schema, struct memdev),
	BOOTABLE(hostdev_schema, struct hostdev), BOOTABLE(filesystem_schema, struct filesystem), PLACE(tpm_schema, struct tpm),
	PLACE(watchdog_schema, struct watchdog), PLACE(vsock_schema, struct vsock), PLACE(parallel_schema, struct chardev),
};
G_STATIC_ASSERT(offsetof(struct disk, address) - offsetof(struct disk, alias) == offsetof(struct device_base, address));

struct device_base *device_base(const struct field *row, void *dev)
{
	for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
		if (places[i].schema == row->sub)
			return (void *)((char *)dev + places[i].base);
	return NULL;
}

uint32_t device_boot_order(const struct field *row, const void *dev)
{
	for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
		if (places[i].schema == row->sub && places[i].boot)
			return *(const uint32_t *)((const char *)dev + places[i].boot);
	return 0;
}
