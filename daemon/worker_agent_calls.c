/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of what kvmd asks of the guest's agent. Another call is a row, with a schema for what is used of its answer. */
#include "daemon/worker_agent_calls.h"

#include "daemon/worker.h"
#include "domain/json.h"

#define LIST_MAX 4096           /* entries of an answer */

#define T struct guest_vcpu
static const struct field guest_vcpu_fields[] = {
	U32(T, id, NULL, 0, 65535, REQUIRED, "the guest's number of it", .name = "logical-id"),
	FLAG(T, online, NULL, REQUIRED, "the guest uses it"),
	FLAG(T, can_offline, NULL, 0, "it may be switched off", .name = "can-offline"),
	END,
};
#undef T
const struct schema guest_vcpu_schema = { .name = "guest-vcpu", .doc = "a CPU as the guest sees it", .size = sizeof(struct guest_vcpu), .fields = guest_vcpu_fields };

enum answers { ANSWERS_NOTHING, ANSWERS_NUMBER, ANSWERS_LIST };

static const struct agent_row {
	const char *name;
	enum answers answers;
	const struct schema *schema;    /* of a list's entries */
	unsigned flags;                 /* enum agent_flags */
} rows[] = {
	[AGENT_GET_VCPUS] = { "guest-get-vcpus", ANSWERS_LIST, &guest_vcpu_schema },
	[AGENT_SET_VCPUS] = { "guest-set-vcpus", ANSWERS_NUMBER },
	[AGENT_SHUTDOWN] = { "guest-shutdown", ANSWERS_NOTHING, .flags = AGENT_SILENT },
};
G_STATIC_ASSERT(G_N_ELEMENTS(rows) == AGENT_ASK_N);

struct ask {
	const struct agent_row *row;
	agent_told_fn *fn;
	void *arg;
};

/* Only what the schema knows; a new object. */
static json_object *known(const struct schema *s, json_object *o)
{
	json_object *out = json_object_new_object();

	json_object_object_foreach(o, key, v)
		if (schema_field(s, key))
			json_object_object_add(out, key, json_object_get(v));
	return out;
}

static bool read_list(const struct agent_row *row, json_object *v, GPtrArray *list, GError **err)
{
	size_t n = json_object_array_length(v);

	if (n > LIST_MAX)
		return kerr_set(err, KERR_GUEST, "%s: the guest agent tells of %zu, more than %u", row->name, n, LIST_MAX);
	for (size_t i = 0; i < n; i++) {
		json_object *entry = json_object_array_get_idx(v, i), *o;
		g_autoptr(GError) bad = NULL;
		bool ok;

		if (!json_object_is_type(entry, json_type_object))
			return kerr_set(err, KERR_GUEST, "%s: the guest agent answers with what is no answer", row->name);
		o = known(row->schema, entry);
		g_ptr_array_add(list, schema_new(row->schema));
		ok = json_to_struct(row->schema, list->pdata[i], o, &bad);
		json_object_put(o);
		if (!ok)
			return kerr_set(err, KERR_GUEST, "%s: the guest agent answers with what is no answer: %s", row->name, bad->message);
	}
	return true;
}

static bool read_answer(const struct agent_row *row, json_object *answer, struct agent_told *t, GError **err)
{
	json_object *v = NULL;

	if (answer)
		json_object_object_get_ex(answer, "return", &v);
	switch (row->answers) {
	case ANSWERS_LIST:
		if (json_object_is_type(v, json_type_array))
			return read_list(row, v, t->list, err);
		break;
	case ANSWERS_NUMBER:
		t->number = json_object_get_int64(v);
		if (json_object_is_type(v, json_type_int))
			return true;
		break;
	default:
		return true;
	}
	return kerr_set(err, KERR_GUEST, "%s: the guest agent answers with what is no answer", row->name);
}

static void answered(struct worker *w, json_object *answer, const GError *failed, void *arg)
{
	struct ask *x = arg;
	struct agent_told t = { .list = x->row->answers == ANSWERS_LIST ? g_ptr_array_new() : NULL };
	g_autoptr(GError) err = NULL;

	if (!failed)
		(void)read_answer(x->row, answer, &t, &err);    /* err says it */
	x->fn(w, &t, failed ? failed : err, x->arg);
	for (guint i = 0; t.list && i < t.list->len; i++)
		schema_free(x->row->schema, t.list->pdata[i]);
	if (t.list)
		g_ptr_array_unref(t.list);
	g_free(x);
}

bool agent_ask(struct worker *w, enum agent_ask what, json_object *args, unsigned timeout_ms, agent_told_fn *fn, void *arg, GError **err)
{
	struct ask *x = g_new(struct ask, 1);

	*x = (struct ask){ &rows[what], fn, arg };
	if (agent_call(w->agent, x->row->name, args, timeout_ms, x->row->flags, answered, x, err))
		return true;
	g_free(x);
	return false;
}
