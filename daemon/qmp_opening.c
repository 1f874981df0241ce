/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Commands of QMP for which kvmd opens one thing and gives it along with the same command: dump-guest-memory into a file, netdev_add
 * of a tap by name.
 */
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "daemon/commands.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/net.h"
#include "daemon/resources.h"
#include "daemon/supervise.h"
#include "domain/commands_devices.h"
#include "domain/commands_qmp.h"

#define GIVEN "kvmd"            /* what the machine is told as the descriptor's name */

struct opening {
	struct request *request;
	int (*open)(const char *name, GError **err);    /* work thread, may block */
	char *name;
	json_object *args;              /* of the command for the machine */
	unsigned timeout;               /* ms for its answer; 0: as long as it takes */
	int fd;
	GError *err;
};

static void end(struct opening *o, json_object *reply, const GError *err)
{
	if (err)
		request_fail(o->request, err);
	else
		request_reply_json(o->request, json_object_get(reply), NULL, 0);
	if (o->fd >= 0)
		close(o->fd);
	json_object_put(o->args);
	g_clear_error(&o->err);
	g_free(o->name);
	g_free(o);
}

static void answered(void *arg, json_object *reply, const GError *err)
{
	end(arg, reply, err);
}

static void open_it(void *arg)
{
	struct opening *o = arg;

	o->fd = o->open(o->name, &o->err);
}

static void opened(void *arg)
{
	struct opening *o = arg;
	struct request *r = o->request;
	int fd = o->fd;

	if (!o->err)
		(void)dom_can_ask(r->dom, &o->err);     /* time has passed */
	if (o->err) {
		g_autoptr(GError) err = g_error_copy(o->err);

		end(o, NULL, err);
		return;
	}
	o->fd = -1;
	link_call(r->dom->link, r->command->name, json_object_get(o->args), &fd, 1, o->timeout, answered, o);
	close(fd);
}

/* args: for the machine, taken. */
static void start(struct request *r, int (*open)(const char *, GError **), const char *name, json_object *args, unsigned timeout)
{
	g_autoptr(GError) err = NULL;
	struct opening *o;

	if (!dom_can_ask(r->dom, &err)) {
		json_object_put(args);
		request_fail(r, err);
		return;
	}
	o = g_new0(struct opening, 1);
	*o = (struct opening){ .request = r, .open = open, .name = g_strdup(name), .args = args, .timeout = timeout, .fd = -1 };
	work_run(r->kvmd->work, open_it, opened, o);
}

/* --- dump-guest-memory --- */

/* What it holds stays until the machine has taken it. */
static int open_dump(const char *path, GError **err)
{
	return resource_open_file(path, O_WRONLY | O_CREAT, 0600, err);
}

static void qmp_dump(struct request *r)
{
	const struct args_dump *a = r->args;
	g_autoptr(GError) err = NULL;
	json_object *args = NULL;
	const char *path;

	if (!g_str_has_prefix(a->protocol, "file:")) {
		request_forward(r, NULL, 0);
		return;
	}
	path = a->protocol + strlen("file:");
	if (*path != '/') {
		kerr_set(&err, KERR_ARGS, "'%s' is no path from the root", path);
		request_fail(r, err);
		return;
	}
	(void)json_object_deep_copy(r->raw, &args, NULL);
	json_object_object_add(args, "protocol", json_object_new_string("fd:" GIVEN));
	start(r, open_dump, path, args, 0);
}

/* --- netdev_add --- */

static int open_tap(const char *name, GError **err)
{
	struct net_tap t = { .name = name, .queues = 1, .existing = name && if_nametoindex(name) };
	char made[IFNAMSIZ];
	int fd = -1;

	return net_tap_open(&t, &fd, made, err) ? fd : -1;
}

static void qmp_netdev_add(struct request *r)
{
	const struct args_netdev_add *a = r->args;
	g_autoptr(GError) err = NULL;
	json_object *args;

	if (a->fd || strcmp(a->type, "tap")) {
		request_forward(r, NULL, 0);
		return;
	}
	if ((a->script && strcmp(a->script, "no")) || (a->downscript && strcmp(a->downscript, "no"))) {
		kerr_set(&err, KERR_UNSUPPORTED, "kvmd runs no scripts for taps: write script=no, downscript=no, and set the tap up yourself or use 'kvmctl attach-interface'");
		request_fail(r, err);
		return;
	}
	args = json_object_new_object();
	json_object_object_add(args, "type", json_object_new_string("tap"));
	json_object_object_add(args, "id", json_object_new_string(a->id));
	json_object_object_add(args, "fd", json_object_new_string(GIVEN));
	start(r, open_tap, a->ifname, args, r->kvmd->config->answer_timeout);
}

const struct command_binding qmp_opening[] = {
	{ "dump-guest-memory", qmp_dump },
	{ "netdev_add", qmp_netdev_add },
	{ NULL },
};
