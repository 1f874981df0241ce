/* SPDX-License-Identifier: GPL-2.0-or-later */
/* QMP's messages: what is said on a wire, made and read. */
#include "daemon/wire.h"
#include "domain/error.h"

json_object *wire_return(json_object *id, json_object *value)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "return", value ? value : json_object_new_object());
	if (id)
		json_object_object_add(o, "id", json_object_get(id));
	return o;
}

json_object *wire_error(json_object *id, const GError *err)
{
	const struct kerr_row *row = kerr_of(err);
	json_object *o = json_object_new_object(), *e = json_object_new_object();

	json_object_object_add(e, "class", json_object_new_string(row->qmp_class));
	json_object_object_add(e, "desc", json_object_new_string(err ? err->message : "unknown"));
	json_object_object_add(e, "code", json_object_new_string(row->code));
	json_object_object_add(o, "error", e);
	if (id)
		json_object_object_add(o, "id", json_object_get(id));
	return o;
}

json_object *wire_event(const char *name, json_object *data, uint64_t seq)
{
	json_object *o = json_object_new_object(), *t = json_object_new_object();
	gint64 now = g_get_real_time();

	json_object_object_add(t, "seconds", json_object_new_int64(now / G_USEC_PER_SEC));
	json_object_object_add(t, "microseconds", json_object_new_int64(now % G_USEC_PER_SEC));
	json_object_object_add(o, "timestamp", t);
	json_object_object_add(o, "event", json_object_new_string(name));
	if (data)
		json_object_object_add(o, "data", data);
	json_object_object_add(o, "seq", json_object_new_uint64(seq));
	return o;
}

bool wire_check(json_object *msg, GError **err)
{
	json_object *e, *code = NULL, *desc = NULL;

	if (!json_object_object_get_ex(msg, "error", &e))
		return true;
	json_object_object_get_ex(e, "code", &code);
	json_object_object_get_ex(e, "desc", &desc);
	return kerr_set(err, kerr_from_wire(code ? json_object_get_string(code) : NULL), "%s",
		desc ? json_object_get_string(desc) : "unknown error");
}
