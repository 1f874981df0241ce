/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPU models by name, spelt out; QEMU's words where one is unknown. */
#include "daemon/worker_models.h"

#include <string.h>

#include "domain/cpu_features.h"
#include "domain/cpu_models.h"
#include "domain/error.h"

json_object *model_expand(const char *name, GError **err)
{
	const struct cpu_model_row *m = cpu_model_find(name);
	json_object *o;

	if (!m && strcmp(name, "base")) {
		kerr_set(err, KERR_ARGS, "CPU model '%s' not found", name);
		return NULL;
	}
	o = json_object_new_object();
	for (unsigned i = 0; i < cpu_feature_rows_n; i++) {
		const struct cpu_feature_row *f = &cpu_feature_rows[i];

		if (!f->msr)
			json_object_object_add(o, f->name, json_object_new_boolean(m && cpu_model_has(m, f->name)));
	}
	return o;
}

bool model_change(json_object *features, const char *model, const char *props, GError **err)
{
	json_object *o = props ? json_tokener_parse(props) : NULL;
	bool ok = true;

	if (!o)
		return true;
	if (!json_object_is_type(o, json_type_object)) {
		json_object_put(o);
		return kerr_set(err, KERR_ARGS, "Invalid parameter type for 'model.props', expected: object");
	}
	json_object_object_foreach(o, key, v) {
		const struct cpu_feature_row *f = cpu_feature_find(key);

		if (!f || f->msr)
			ok = kerr_set(err, KERR_ARGS, "Property '%s-x86_64-cpu.%s' not found", model, key);
		else if (!json_object_is_type(v, json_type_boolean))
			ok = kerr_set(err, KERR_ARGS, "Invalid parameter type for '%s', expected: boolean", key);
		else
			json_object_object_add(features, f->name, json_object_get(v));
		if (!ok)
			break;
	}
	json_object_put(o);
	return ok;
}
