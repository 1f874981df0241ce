/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * QMP's blockdev-add of a path, for those who ask kvmd: the image, and all it stands on, is opened and locked here as for a disk of
 * the definition; the machine gets it as blockdev-made.
 */
#include <string.h>

#include "daemon/change.h"
#include "daemon/commands.h"
#include "daemon/disk_open.h"
#include "daemon/given.h"
#include "daemon/kvmd.h"
#include "daemon/launch.h"
#include "daemon/wire.h"
#include "domain/commands_devices.h"
#include "domain/json.h"

struct adding {
	char *node, *below;             /* below: name of the node of the file; NULL: it has none */
	bool bare;                      /* the file itself, without a format */
	struct machine *alone;          /* a machine that has nothing but this */
	struct disk *disk;              /* it; alone's */
	struct launch *launch;
	char *dir;                      /* the machine's run folder */
};

static void adding_free(void *arg)
{
	struct adding *a = arg;

	launch_free(a->launch);
	machine_free(a->alone);
	g_free(a->node);
	g_free(a->below);
	g_free(a->dir);
	g_free(a);
}

static bool prepare(void *arg, GError **err)
{
	struct adding *a = arg;

	return disks_open(a->alone, a->launch->fds, a->launch->machines, err) && given_add(a->dir, a->alone, err);
}

static void apply(struct change *change, struct dom *d, void *arg)
{
	struct adding *a = arg;
	json_object *args = json_object_new_object();

	json_object_object_add(args, "node-name", json_object_new_string(a->node));
	if (a->below)
		json_object_object_add(args, "below", json_object_new_string(a->below));
	json_object_object_add(args, "bare", json_object_new_boolean(a->bare));
	json_object_object_add(args, "device", json_from_struct(&disk_schema, a->disk, JSON_SECRETS));
	change_ask_opened(change, "blockdev-made", args, a->launch->fds);
	launch_close_fds(a->launch);
}

/* The node of the file. */
static bool set_file(struct adding *a, const struct args_blockdev_add *file, GError **err)
{
	bool device = !strcmp(file->driver, "host_device");

	if (!device && strcmp(file->driver, "file"))
		return kerr_set(err, KERR_UNSUPPORTED, "'%s' nodes are not there: raw or qcow2 on file or host_device", file->driver);
	if (file->file)
		return kerr_set(err, KERR_ARGS, "a '%s' node has a 'filename', no 'file'", file->driver);
	if (!file->filename || *file->filename != '/')
		return kerr_set(err, KERR_ARGS, "'%s' is no path from the root", file->filename ? file->filename : "");
	a->disk->type = device ? DISK_BLOCK : DISK_FILE;
	*(device ? &a->disk->source.dev.path : &a->disk->source.file.path) = g_strdup(file->filename);
	a->disk->readonly |= file->readonly;
	node_options_set(node_options_both(node_options_of(a->disk), node_options(file)), a->disk);
	return true;
}

static bool describe(struct adding *a, const struct args_blockdev_add *args, json_object *raw, GError **err)
{
	struct args_blockdev_add *file;
	json_object *o = NULL;
	bool ok;

	a->disk->readonly = args->readonly;
	a->bare = strcmp(args->driver, "raw") && strcmp(args->driver, "qcow2");
	a->disk->driver.format = strcmp(args->driver, "qcow2") ? FORMAT_RAW : FORMAT_QCOW2;
	if (a->bare)
		return set_file(a, args, err);
	if (args->filename)
		return kerr_set(err, KERR_ARGS, "a '%s' node has a 'file', no 'filename'", args->driver);
	json_object_object_get_ex(raw, "file", &o);
	node_options_set(node_options(args), a->disk);
	file = schema_new(&args_blockdev_file_schema);
	ok = json_to_struct(&args_blockdev_file_schema, file, o, err) && set_file(a, file, err);
	if (ok)
		a->below = g_strdup(file->node);
	schema_free(&args_blockdev_file_schema, file);
	return ok;
}

/* Is nothing there to open: the file is a node, or a set of add-fd? */
static bool is_there(const struct args_blockdev_add *args, json_object *raw)
{
	json_object *file, *name;

	if (args->filename)
		return g_str_has_prefix(args->filename, "/dev/fdset/");
	if (!args->file || !json_object_object_get_ex(raw, "file", &file) || !json_object_is_type(file, json_type_object))
		return true;
	return !json_object_object_get_ex(file, "filename", &name) || g_str_has_prefix(json_object_get_string(name) ? json_object_get_string(name) : "", "/dev/fdset/");
}

static void qmp_blockdev_add(struct request *r)
{
	static const struct change_ops ops = { .prepare = prepare, .apply = apply, .free = adding_free };
	static const struct ask_scope live = { .live = true };
	const struct args_blockdev_add *args = r->args;
	g_autoptr(GError) err = NULL;
	struct adding *a;

	if (is_there(args, r->raw)) {
		request_forward(r, NULL, 0);
		return;
	}
	a = g_new0(struct adding, 1);
	*a = (struct adding){ .node = g_strdup(args->node), .alone = machine_new(), .disk = schema_new(&disk_schema), .launch = launch_new(),
		.dir = dom_run_dir(r->dom) };
	a->disk->device = DISK_DEVICE_DISK;
	a->disk->target.dev = g_strdup(args->node);
	a->disk->target.bus = DISK_BUS_VIRTIO;
	a->alone->devices.disks = g_ptr_array_new();
	g_ptr_array_add(a->alone->devices.disks, a->disk);
	a->launch->machines = doms_by_pid(r->kvmd->doms);
	if (!describe(a, args, r->raw, &err)) {
		request_fail(r, err);
		adding_free(a);
		return;
	}
	change(r, &live, &ops, a);
}

const struct command_binding blockdev_opening[] = {
	{ "blockdev-add", qmp_blockdev_add },
	{ NULL },
};
