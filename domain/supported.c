/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine may not have (yet): one row per element of <devices> whose device the worker lacks. A row goes when its
 * device comes; nothing else knows which devices there are. Checks warn of what a start refuses, by the same rows.
 */
#include "domain/check.h"

#include <string.h>

/* NULL: it can be had. Else its name in the message, new. */
typedef char *lacking(void *device);

static char *disk_name(void *device)
{
	const struct disk *d = device;

	return g_strdup(d->target.dev ? d->target.dev : "?");
}

static char *disk_kept(void *device)
{
	return disk_runs(device) ? NULL : disk_name(device);
}

static char *disk_source(void *device)
{
	const struct disk *d = device;

	for (const struct disk_backing *b = d->backing; b && b->type; b = b->backing)
		if (b->type > DISK_BLOCK)
			return disk_name(device);
	return d->type == DISK_FILE || d->type == DISK_BLOCK || (disk_removable(d) && !disk_has_source(d)) ? NULL : disk_name(device);
}

static char *disk_transient(void *device)
{
	return ((const struct disk *)device)->transient ? disk_name(device) : NULL;
}

static char *iface_name(void *device)
{
	const struct iface *i = device;

	return g_strdup(i->mac ? i->mac : "?");
}

static char *iface_type(void *device)
{
	const struct iface *i = device;

	return i->type == IFACE_USER || i->type == IFACE_ETHERNET || i->type == IFACE_BRIDGE ? NULL : iface_name(device);
}

static char *memdev_model(void *device)
{
	return ((const struct memdev *)device)->model == MEMDEV_VIRTIO_MEM ? NULL : g_strdup("");
}

static char *memdev_source(void *device)
{
	const struct memdev *m = device;

	return m->source.pagesize > 4096 || m->source.nodemask ? g_strdup(m->alias ? m->alias : "") : NULL;
}

static char *any(void *device)
{
	return g_strdup("");
}

static char *serial_backend(void *device)
{
	const struct chardev *c = device;
	static const bool have[CHARDEV_N] = { [CHARDEV_ABSENT] = true, [CHARDEV_NULL] = true, [CHARDEV_PTY] = true, [CHARDEV_FILE] = true,
		[CHARDEV_UNIX] = true, [CHARDEV_DEV] = true, [CHARDEV_PIPE] = true, [CHARDEV_TCP] = true, [CHARDEV_UDP] = true };

	return c->type < CHARDEV_N && have[c->type] ? NULL : g_strdup(chardev_type_names[c->type]);
}

/* What is spoken on its connection, if that isn't there. */
static char *chardev_speaks(void *device)
{
	const struct chardev *c = device;

	if (c->type != CHARDEV_TCP)
		return NULL;
	if (c->source.tls == YESNO_YES)
		return g_strdup("tls");
	return c->protocol > CHARDEV_TELNET ? g_strdup(chardev_protocol_names[c->protocol]) : NULL;
}

static char *console_speaks(void *device)
{
	const struct chardev *c = device;

	return g_strcmp0(c->target.type, "virtio") ? NULL : chardev_speaks(device);
}

/* Consoles that only repeat a serial port have no host side of their own. */
static char *console_backend(void *device)
{
	const struct chardev *c = device;

	return g_strcmp0(c->target.type, "virtio") ? NULL : serial_backend(device);
}

/* Spice's channels are kept: the guest finds a port at which nobody is. */
static char *channel_backend(void *device)
{
	const struct chardev *c = device;

	if (g_strcmp0(c->target.type, "virtio"))
		return g_strdup(c->target.type ? c->target.type : "");
	if (c->type == CHARDEV_SPICEVMC || c->type == CHARDEV_SPICEPORT || c->type == CHARDEV_QEMU_VDAGENT || c->type == CHARDEV_DBUS)
		return NULL;
	return serial_backend(device);
}

static char *rng_backend(void *device)
{
	const struct rng *r = device;

	return r->backend.model == RNG_EGD ? g_strdup("egd") : NULL;
}

static char *panic_model(void *device)
{
	const struct panic *p = device;

	return p->model == PANIC_ABSENT || p->model == PANIC_ISA ? NULL : g_strdup("");
}

#define BACKENDS "pty, unix, tcp, udp, pipe, file, dev or null"
#define NO_TLS "connections can't be encrypted yet: write tls='no' and <protocol type='raw'/>, and bind to 127.0.0.1 behind a tunnel"

static const struct {
	const char *row;        /* name in devices_schema */
	const char *what;       /* before the device's name */
	lacking *lacks;
	bool harmless;          /* the guest does without: a note, not a refusal */
	const char *why;
} launch_lacks[] = {
	{ "disks", "disk", disk_kept, true, "a floppy drive: the guest will not find it" },
	{ "disks", "disk", disk_source, false, "network storage and volumes of pools can't be opened yet: connect it on the host and write type='block' or type='file'" },
	{ "disks", "disk", disk_transient, false, "writes can't be forgotten at the end yet: take <transient/> out, and make an overlay with qemu-img create -b" },
	{ "interfaces", "interface", iface_type, false, "networks of this type can't be used yet: write type='user' or type='bridge'" },
	{ "channels", "channel of type", channel_backend, false, "use <target type='virtio'/> and " BACKENDS },
	{ "channels", "channel that speaks", chardev_speaks, false, NO_TLS },
	{ "rngs", "rng with backend", rng_backend, false, "entropy daemons are not supported: use <backend model='random'>" },
	{ "memdevs", "memory device", memdev_model, false, "only model='virtio-mem' is there" },
	{ "memdevs", "memory device", memdev_source, true, "<source> has no effect yet: its pages come from where the machine's come from" },
	{ "parallels", "parallel port", any, false, "there are no parallel ports: use <serial>" },
	{ "serials", "serial port of type", serial_backend, false, "use " BACKENDS },
	{ "serials", "serial port that speaks", chardev_speaks, false, NO_TLS },
	{ "consoles", "console of type", console_backend, false, "use " BACKENDS },
	{ "consoles", "console that speaks", console_speaks, false, NO_TLS },
	{ "panics", "panic device", panic_model, true, "only model='isa' is there" },
	{ "filesystems", "filesystem", any, false, "folders of the host can't be given to the guest yet: take <filesystem> out" },
	{ "tpms", "tpm", any, false, "there is no TPM yet: take <tpm> out" },
	{ "hostdevs", "hostdev", any, false, "devices of the host can't be given to the guest yet: take <hostdev> out" },
	{ "vsock", "vsock", any, false, "there are no vsock connections yet: take <vsock> out" },
	{ "watchdogs", "watchdog", any, true, "there is no watchdog yet: the guest will not find it" },
	{ "inputs", "input", any, true, "there is no screen to point at: the guest will not find it" },
	{ "videos", "video", any, true, "there is no screen yet: use the serial console" },
	{ "graphics", "graphics", any, true, "there is no screen yet: use the serial console" },
};

struct look {
	lack_fn *fn;
	void *arg;
};

static bool look_at(const struct field *row, void *device, void *arg)
{
	const struct look *l = arg;

	for (size_t i = 0; i < G_N_ELEMENTS(launch_lacks); i++) {
		g_autofree char *name = NULL, *what = NULL;
		struct lack lack;

		if (strcmp(launch_lacks[i].row, row->name))
			continue;
		name = launch_lacks[i].lacks(device);
		if (!name)
			continue;
		what = *name ? g_strdup_printf("%s '%s'", launch_lacks[i].what, name) : g_strdup(launch_lacks[i].what);
		lack = (struct lack){ device, what, launch_lacks[i].why, launch_lacks[i].harmless };
		return l->fn(&lack, l->arg);
	}
	return true;
}

bool machine_lacks(const struct machine *m, lack_fn *fn, void *arg)
{
	struct look l = { fn, arg };

	if (!os_has_kernel(&m->os)) {
		struct lack lack = { &m->os, "it has no kernel of its own", "firmware and disks to boot from come with a later part of the release; "
			"give <os><kernel> and, where needed, <initrd> and <cmdline>" };

		if (!fn(&lack, arg))
			return false;
	}
	if (list_len(m->iothreads.list) > IOTHREADS_RUN) {
		g_autofree char *what = g_strdup_printf("%u I/O threads", list_len(m->iothreads.list)),
			*why = g_strdup_printf("at most %d, and each serves as many disks as one likes", IOTHREADS_RUN);
		struct lack lack = { m, what, why };

		if (!fn(&lack, arg))
			return false;
	}
	return devices_each(&m->devices, look_at, &l);
}

static bool warn(const struct lack *lack, void *arg)
{
	if (!lack->harmless)
		report_warn(arg, lack->obj, NULL, NULL, "kept, but start will refuse it: %s: %s", lack->what, lack->why);
	return true;
}

void check_start(const struct machine *m, struct report *r)
{
	(void)machine_lacks(m, warn, r);
}
