/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine may not have (yet): one row per element of <devices> whose device the worker lacks. A row goes when its
 * device comes; nothing else of kvmd knows which devices there are.
 */
#include <string.h>

#include "daemon/launch.h"

/* NULL: it can be had. Else its name in the message, new. */
typedef char *lacking(void *device);

static char *disk_name(void *device)
{
	const struct disk *d = device;

	return g_strdup(d->target.dev ? d->target.dev : "?");
}

static char *iface_name(void *device)
{
	const struct iface *i = device;

	return g_strdup(i->mac ? i->mac : "?");
}

static char *any(void *device)
{
	return g_strdup("");
}

static char *serial_backend(void *device)
{
	const struct chardev *c = device;
	static const bool have[CHARDEV_N] = { [CHARDEV_ABSENT] = true, [CHARDEV_NULL] = true, [CHARDEV_PTY] = true, [CHARDEV_FILE] = true,
		[CHARDEV_UNIX] = true, [CHARDEV_DEV] = true };

	return c->type < CHARDEV_N && have[c->type] ? NULL : g_strdup(chardev_type_names[c->type]);
}

static char *virtio_console(void *device)
{
	const struct chardev *c = device;

	return g_strcmp0(c->target.type, "virtio") ? NULL : g_strdup(c->alias ? c->alias : "");
}

static char *panic_model(void *device)
{
	const struct panic *p = device;

	return p->model == PANIC_ABSENT || p->model == PANIC_ISA ? NULL : g_strdup("");
}

static char *balloon_model(void *device)
{
	const struct balloon *b = device;

	return b->model ? g_strdup("") : NULL;
}

#define NEXT "come with the next part of the release: take the element out until then"
static const struct {
	const char *row;        /* name in devices_schema */
	const char *what;       /* before the device's name */
	lacking *lacks;
	bool harmless;          /* the guest does without: a note, not a refusal */
	const char *why;
} launch_lacks[] = {
	{ "disks", "disk", disk_name, false, "disks " NEXT },
	{ "interfaces", "interface", iface_name, false, "network interfaces " NEXT },
	{ "channels", "channel", any, false, "virtio channels " NEXT },
	{ "rngs", "rng", any, false, "virtio devices " NEXT },
	{ "memdevs", "memory device", any, false, "memory devices " NEXT },
	{ "parallels", "parallel port", any, false, "there are no parallel ports: use <serial>" },
	{ "serials", "serial port of type", serial_backend, false, "use pty, unix, file, dev or null" },
	{ "consoles", "console", virtio_console, false, "virtio consoles " NEXT ", or use <target type='serial'/>" },
	{ "panics", "panic device", panic_model, true, "only model='isa' is there" },
	{ "memballoon", "memballoon", balloon_model, true, "the balloon comes with the next part of the release: the guest will not find it" },
	{ "inputs", "input", any, true, "there is no screen to point at: the guest will not find it" },
	{ "videos", "video", any, true, "there is no screen yet: use the serial console" },
	{ "graphics", "graphics", any, true, "there is no screen yet: use the serial console" },
};

struct look {
	GError **err;
	GPtrArray *notes;
};

static bool look_at(const struct field *row, void *device, void *arg)
{
	struct look *l = arg;

	for (size_t i = 0; i < G_N_ELEMENTS(launch_lacks); i++) {
		g_autofree char *name = NULL;

		if (strcmp(launch_lacks[i].row, row->name))
			continue;
		name = launch_lacks[i].lacks(device);
		if (!name)
			return true;
		g_autofree char *quoted = *name ? g_strdup_printf(" '%s'", name) : g_strdup("");

		if (!launch_lacks[i].harmless)
			return kerr_set(l->err, KERR_UNSUPPORTED, "%s%s: %s", launch_lacks[i].what, quoted, launch_lacks[i].why);
		if (l->notes)
			g_ptr_array_add(l->notes, g_strdup_printf("%s%s: %s", launch_lacks[i].what, quoted, launch_lacks[i].why));
		return true;
	}
	return true;
}

bool launch_supported(const struct machine *m, GPtrArray *notes, GError **err)
{
	struct look l = { err, notes };

	if (!os_has_kernel(&m->os))
		return kerr_set(err, KERR_UNSUPPORTED, "it has no kernel of its own: firmware and disks to boot from come with a later part of the release; "
			"give <os><kernel> and, where needed, <initrd> and <cmdline>");
	return devices_each(&m->devices, look_at, &l);
}
