/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a machine that does not migrate says of it. Clients set up parameters long before, so these are kept. */
#include <string.h>

#include "daemon/worker_qmp.h"
#include "domain/commands_qmp_migrate.h"
#include "domain/json.h"

/* QEMU's names of what a migration here may come to use. */
static const char *const capabilities[] = { "auto-converge", "events", "postcopy-ram", "return-path", "pause-before-switchover", "multifd",
	"validate-uuid", "background-snapshot" };

static QMP(query_migrate)
{
	return RUN_DONE;
}

static struct qmp_migrate_parameters *parameters(struct worker *w)
{
	if (!w->migrate)
		w->migrate = schema_new(&qmp_migrate_parameters_schema);
	return w->migrate;
}

static QMP(query_migrate_parameters)
{
	*reply = json_from_struct(&qmp_migrate_parameters_schema, parameters(c->worker), JSON_ALL);
	return RUN_DONE;
}

/* What is not given stays as it is. */
static QMP(migrate_set_parameters)
{
	const struct schema *s = &qmp_migrate_parameters_schema;
	struct worker *w = c->worker;
	json_object *all = json_from_struct(s, parameters(w), JSON_ALL);
	void *changed = schema_new(s);
	bool ok;

	json_object_object_foreach(raw, key, value)
		json_object_object_add(all, key, json_object_get(value));
	ok = json_to_struct(s, changed, all, err);
	json_object_put(all);
	schema_free(s, ok ? w->migrate : changed);
	if (!ok)
		return RUN_FAILED;
	w->migrate = changed;
	return RUN_DONE;
}

static QMP(query_migrate_capabilities)
{
	*reply = json_object_new_array();
	for (size_t i = 0; i < G_N_ELEMENTS(capabilities); i++)
		json_object_array_add(*reply, json_from_struct(&qmp_migrate_capability_schema,
			&(struct qmp_migrate_capability){ (char *)capabilities[i], false }, JSON_ALL));
	return RUN_DONE;
}

static bool is_capability(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(capabilities); i++)
		if (!strcmp(capabilities[i], name))
			return true;
	return false;
}

static QMP(migrate_set_capabilities)
{
	const struct args_migrate_capabilities *a = args;

	list_each(qmp_migrate_capability, k, a->capabilities) {
		if (!is_capability(k->capability))
			return kerr_set(err, KERR_ARGS, "there is no capability '%s'", k->capability), RUN_FAILED;
		if (k->state)
			return kerr_set(err, KERR_UNSUPPORTED, "'%s': there is no migration yet that could use it", k->capability), RUN_FAILED;
	}
	return RUN_DONE;
}

static QMP(migrate_continue)
{
	return kerr_set(err, KERR_STATE, "no migration is under way"), RUN_FAILED;
}

static QMP(migrate)
{
	return kerr_set(err, KERR_UNSUPPORTED, "there is no migration yet: shut the guest down, and start it on the other host"), RUN_FAILED;
}

const struct worker_binding qmp_migrate_bindings[] = {
	{ "query-migrate", qmp_query_migrate },
	{ "query-migrate-parameters", qmp_query_migrate_parameters },
	{ "migrate-set-parameters", qmp_migrate_set_parameters },
	{ "query-migrate-capabilities", qmp_query_migrate_capabilities },
	{ "migrate-set-capabilities", qmp_migrate_set_capabilities },
	{ "migrate_cancel", qmp_query_migrate },
	{ "migrate-continue", qmp_migrate_continue },
	{ "migrate-pause", qmp_migrate_continue },
	{ "migrate-recover", qmp_migrate_continue },
	{ "migrate-start-postcopy", qmp_migrate_continue },
	{ "migrate", qmp_migrate },
	{ "migrate-incoming", qmp_migrate },
	{ NULL },
};
