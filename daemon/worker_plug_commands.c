/* SPDX-License-Identifier: GPL-2.0-or-later */
/* device-attach and device-detach: their arguments and descriptors. */
#include <string.h>

#include "daemon/worker_plug.h"
#include "domain/json.h"

static bool runs(const struct worker *w, GError **err)
{
	return w->vm.state == VM_RUNNING || kerr_set(err, KERR_STATE, "the guest does not run, so it cannot take or give devices");
}

struct fdset *plug_take_fds(struct client *c, const GPtrArray *names, GError **err)
{
	struct fdset *set;

	if (list_len(names) != c->fds_n)
		return kerr_set(err, KERR_ARGS, "%u names, but %u descriptors", list_len(names), c->fds_n), NULL;
	set = fdset_new();
	for (unsigned i = 0; i < c->fds_n; i++) {
		int fd = c->fds[i];

		c->fds[i] = -1;         /* fdset_add closes it when it fails */
		if (!fdset_add(set, ((const struct device_fd *)names->pdata[i])->name, fd, err)) {
			fdset_free(set);
			return NULL;
		}
	}
	return set;
}

static void *parse(const struct plug_kind *k, json_object *raw, const char *key, GError **err)
{
	void *config = schema_new(k->schema);
	json_object *o = NULL;

	(void)json_object_object_get_ex(raw, key, &o);
	if (json_to_struct(k->schema, config, o, err) && schema_check(k->schema, config, err))
		return config;
	schema_free(k->schema, config);
	return NULL;
}

void *plug_parse(const struct plug_kind *k, json_object *raw, GError **err)
{
	return parse(k, raw, "device", err);
}

static enum run_result cmd_attach(struct client *client, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_device_attach *a = args;
	const struct plug_kind *k = plug_kind_named(a->kind);
	struct fdset *fds;
	void *config, *controller = NULL;
	bool ok;

	if (!k)
		return kerr_set(err, KERR_UNSUPPORTED, "a <%s> cannot be plugged while the machine runs: add it to the definition", a->kind), RUN_FAILED;
	if (!runs(client->worker, err) || !(config = plug_parse(k, raw, err)))
		return RUN_FAILED;
	fds = plug_take_fds(client, a->names, err);
	if (fds && a->controller)
		controller = parse(plug_kind_of(&controller_schema), raw, "controller", err);
	if (!fds || (a->controller && !controller)) {
		fdset_free(fds);
		schema_free(k->schema, config);
		return RUN_FAILED;
	}
	if (controller)
		return plug_attach_with(client, controller, k, config, fds, a->timeout, a->id, err) ? RUN_LATER : RUN_FAILED;
	ok = plug_attach(client, k, config, fds, a->timeout, a->id, err);
	fdset_free(fds);
	return ok ? RUN_LATER : RUN_FAILED;
}

static enum run_result cmd_detach(struct client *client, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_device_detach *a = args;

	return runs(client->worker, err) && plug_detach(client, a->alias, a->force, a->timeout, a->id, err) ? RUN_LATER : RUN_FAILED;
}

const struct worker_binding plug_bindings[] = {
	{ "device-attach", cmd_attach },
	{ "device-detach", cmd_detach },
	{ NULL },
};
