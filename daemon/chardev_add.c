/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP's chardev-add for those who ask kvmd: the back end is opened here, the machine gets it as chardev-made. */
#include <string.h>

#include "daemon/change.h"
#include "daemon/commands.h"
#include "daemon/given.h"
#include "daemon/kvmd.h"
#include "daemon/launch.h"
#include "daemon/resources.h"
#include "daemon/sockets.h"
#include "daemon/wire.h"
#include "domain/chardev_backend.h"
#include "domain/commands_chardev.h"
#include "domain/json.h"

struct adding {
	char *id;
	struct machine *alone;          /* a machine that has nothing but this, as a channel */
	struct chardev *made;           /* it; alone's */
	struct launch *launch;
	char *dir;                      /* the machine's run folder */
	bool done;
};

static void adding_free(void *arg)
{
	struct adding *a = arg;

	for (unsigned i = 0; !a->done && i < a->launch->sockets->len; i++)
		socket_drop(a->dir, g_ptr_array_index(a->launch->sockets, i));  /* the machine does not have it */
	launch_free(a->launch);
	machine_free(a->alone);
	g_free(a->id);
	g_free(a->dir);
	g_free(a);
}

static bool prepare(void *arg, GError **err)
{
	struct adding *a = arg;

	return resources_open(a->alone, a->dir, a->launch->fds, a->launch->sockets, a->launch->machines, err) &&
		given_add(a->dir, a->alone, err);
}

static void apply(struct change *change, struct dom *d, void *arg)
{
	struct adding *a = arg;
	json_object *args = json_object_new_object();

	json_object_object_add(args, "id", json_object_new_string(a->id));
	json_object_object_add(args, "device", json_from_struct(&channel_schema, a->made, JSON_SECRETS));
	change_ask_opened(change, "chardev-made", args, a->launch->fds);
	launch_close_fds(a->launch);
}

static void applied(struct dom *d, bool done, void *arg)
{
	((struct adding *)arg)->done = done;
}

static void answer(struct request *r, bool live, void *arg)
{
	const struct chardev *c = ((const struct adding *)arg)->made;
	json_object *o = json_object_new_object();

	if (c->type == CHARDEV_PTY)
		json_object_object_add(o, "pty", json_object_new_string(c->source.path.path));
	request_reply_json(r, o, NULL, 0);
}

static void qmp_chardev_add(struct request *r)
{
	static const struct change_ops ops = { .prepare = prepare, .apply = apply, .applied = applied, .answer = answer, .free = adding_free };
	static const struct ask_scope live = { .live = true };
	const struct args_chardev_change *args = r->args;
	struct chardev *made = schema_new(&channel_schema);
	g_autoptr(GError) err = NULL;
	struct adding *a;
	const char *path;

	if (!chardev_of_backend(args->backend, made, &err)) {
		request_fail(r, err);
		schema_free(&channel_schema, made);
		return;
	}
	path = made->source.path.path;
	if (path && (g_str_has_prefix(path, "/dev/fdset/") || g_str_has_prefix(path, "fd:"))) {
		request_forward(r, NULL, 0);
		schema_free(&channel_schema, made);
		return;
	}
	a = g_new0(struct adding, 1);
	*a = (struct adding){ .id = g_strdup(args->id), .alone = machine_new(), .made = made, .launch = launch_new(), .dir = dom_run_dir(r->dom) };
	a->alone->devices.channels = g_ptr_array_new();
	g_ptr_array_add(a->alone->devices.channels, made);
	a->launch->machines = doms_by_pid(r->kvmd->doms);
	change(r, &live, &ops, a);
}

const struct command_binding chardev_adding[] = {
	{ "chardev-add", qmp_chardev_add },
	{ NULL },
};
