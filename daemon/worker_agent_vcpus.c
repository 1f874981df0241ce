/* SPDX-License-Identifier: GPL-2.0-or-later */
/* CPUs switched on and off inside the guest: look, switch, look again. */
#include "daemon/worker_agent_vcpus.h"

#include "daemon/worker.h"
#include "domain/error.h"

#define SWITCHES_MAX 8          /* a guest that says yes and does not do it */
#define AGAIN_MS 100            /* between two looks at a guest that has not got so far */

struct change;
/* What is to be switched now goes to todo; *wait: the guest has yet to find some. false and *err: it cannot become so. */
typedef bool choose_fn(const struct change *, const GPtrArray *list, GPtrArray *todo, bool *wait, GError **err);

struct change {
	struct worker *worker;
	choose_fn *choose;
	unsigned count;
	GArray *ids;                    /* uint32_t; NULL: none */
	bool online;                    /* what todo is switched to; by choose of a count */
	gint64 until;                   /* monotonic, µs */
	unsigned switches;
	guest_vcpus_done *done;
	void *arg;
};

unsigned guest_vcpus_online(const GPtrArray *list)
{
	unsigned n = 0;

	for (guint i = 0; list && i < list->len; i++)
		n += ((const struct guest_vcpu *)list->pdata[i])->online;
	return n;
}

static bool has_id(const GArray *ids, uint32_t id)
{
	for (guint i = 0; i < ids->len; i++)
		if (g_array_index(ids, uint32_t, i) == id)
			return true;
	return false;
}

/* --- what is to be switched --- */

static gint by_id(gconstpointer a, gconstpointer b)
{
	const struct guest_vcpu *x = *(struct guest_vcpu *const *)a, *y = *(struct guest_vcpu *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static bool choose_count(const struct change *c, const GPtrArray *list, GPtrArray *todo, bool *wait, GError **err)
{
	unsigned now = guest_vcpus_online(list);
	g_autoptr(GPtrArray) sorted = g_ptr_array_new();

	for (guint i = 0; i < list->len; i++)
		g_ptr_array_add(sorted, list->pdata[i]);
	g_ptr_array_sort(sorted, by_id);
	if (c->count > list->len)
		return kerr_set(err, KERR_ARGS, "%u CPUs are more than the %u that the guest has: plug more first, by setvcpus --live", c->count, list->len);
	for (guint i = 0; i < sorted->len && now + todo->len < c->count; i++)
		if (!((struct guest_vcpu *)sorted->pdata[i])->online)
			g_ptr_array_add(todo, sorted->pdata[i]);
	for (guint i = sorted->len; i-- > 0 && now - todo->len > c->count && now > c->count;) {
		const struct guest_vcpu *v = sorted->pdata[i];

		if (v->online && v->can_offline)
			g_ptr_array_add(todo, sorted->pdata[i]);
	}
	if (now > c->count && now - todo->len > c->count)
		return kerr_set(err, KERR_GUEST, "the guest keeps %u of its CPUs online: the others are all that it can switch off", now - todo->len);
	return true;
}

static bool choose_ids(const struct change *c, const GPtrArray *list, GPtrArray *todo, bool *wait, GError **err)
{
	unsigned found = 0;

	for (guint i = 0; i < list->len; i++) {
		struct guest_vcpu *v = list->pdata[i];

		if (!has_id(c->ids, v->id))
			continue;
		found++;
		if (v->online == c->online)
			continue;
		if (!c->online && !v->can_offline)
			return kerr_set(err, KERR_GUEST, "the guest cannot switch its CPU %u off", v->id);
		g_ptr_array_add(todo, v);
	}
	return found >= c->ids->len || kerr_set(err, KERR_ARGS, "the guest has %u of the %u CPUs named", found, c->ids->len);
}

static bool choose_new(const struct change *c, const GPtrArray *list, GPtrArray *todo, bool *wait, GError **err)
{
	unsigned found = 0;

	for (guint i = 0; i < list->len; i++) {
		struct guest_vcpu *v = list->pdata[i];

		if (has_id(c->ids, v->id))
			continue;
		found++;
		if (!v->online)
			g_ptr_array_add(todo, v);
	}
	*wait = found < c->count;
	return true;
}

/* --- the steps --- */

static void change_free(struct change *c)
{
	if (c->ids)
		g_array_unref(c->ids);
	g_free(c);
}

static void change_end(struct change *c, const GPtrArray *list, const GError *err)
{
	c->done(c->worker, err ? NULL : list, err, c->arg);
	change_free(c);
}

static unsigned left_ms(const struct change *c)
{
	gint64 left = (c->until - g_get_monotonic_time()) / 1000;

	return (unsigned)MAX(left, 1);
}

static void looked(struct worker *w, const struct agent_told *t, const GError *err, void *arg);

static bool look(struct change *c, GError **err)
{
	return agent_ask(c->worker, AGENT_GET_VCPUS, NULL, left_ms(c), looked, c, err);
}

static void look_again(struct change *c)
{
	g_autoptr(GError) err = NULL;

	if (!look(c, &err))
		change_end(c, NULL, err);
}

static gboolean again(gpointer data)
{
	look_again(data);
	return G_SOURCE_REMOVE;
}

/* How many of them it has taken is of no interest: the next look tells. */
static void switched(struct worker *w, const struct agent_told *t, const GError *err, void *arg)
{
	if (err)
		change_end(arg, NULL, err);
	else
		look_again(arg);
}

static void switch_them(struct change *c, const GPtrArray *todo)
{
	json_object *args = json_object_new_object(), *list = json_object_new_array();
	g_autoptr(GError) err = NULL;

	for (guint i = 0; i < todo->len; i++) {
		const struct guest_vcpu *v = todo->pdata[i];
		json_object *o = json_object_new_object();

		json_object_object_add(o, "logical-id", json_object_new_int64(v->id));
		json_object_object_add(o, "online", json_object_new_boolean(!v->online));
		json_object_array_add(list, o);
	}
	json_object_object_add(args, "vcpus", list);
	c->switches++;
	if (!agent_ask(c->worker, AGENT_SET_VCPUS, args, left_ms(c), switched, c, &err))
		change_end(c, NULL, err);
}

static void looked(struct worker *w, const struct agent_told *t, const GError *failed, void *arg)
{
	struct change *c = arg;
	g_autoptr(GPtrArray) todo = g_ptr_array_new();
	g_autoptr(GError) err = NULL;
	bool wait = false;

	if (failed || !c->choose(c, t->list, todo, &wait, &err)) {
		change_end(c, NULL, failed ? failed : err);
	} else if (!todo->len && !wait) {
		change_end(c, t->list, NULL);
	} else if (todo->len && c->switches < SWITCHES_MAX) {
		switch_them(c, todo);
	} else if (todo->len) {
		kerr_set(&err, KERR_GUEST, "the guest says that it switches its CPUs, but %u of %u stay as they were", todo->len, t->list->len);
		change_end(c, NULL, err);
	} else if (g_get_monotonic_time() >= c->until) {
		kerr_set(&err, KERR_GUEST, "the guest agent knows of %u CPUs only", t->list->len);
		change_end(c, NULL, err);
	} else {
		g_timeout_add(AGAIN_MS, again, c);
	}
}

static bool begin(struct worker *w, const struct change *like, unsigned timeout_ms, GError **err)
{
	struct change *c = g_new(struct change, 1);

	*c = *like;
	c->worker = w;
	c->until = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
	if (look(c, err))
		return true;
	change_free(c);
	return false;
}

bool guest_vcpus_count(struct worker *w, unsigned count, unsigned timeout_ms, guest_vcpus_done *done, void *arg, GError **err)
{
	return begin(w, &(struct change){ .choose = choose_count, .count = count, .done = done, .arg = arg }, timeout_ms, err);
}

bool guest_vcpus_switch(struct worker *w, GArray *ids, bool online, unsigned timeout_ms, guest_vcpus_done *done, void *arg, GError **err)
{
	return begin(w, &(struct change){ .choose = choose_ids, .ids = ids, .online = online, .done = done, .arg = arg }, timeout_ms, err);
}

bool guest_vcpus_new(struct worker *w, GArray *ids, unsigned n, unsigned timeout_ms, guest_vcpus_done *done, void *arg, GError **err)
{
	return begin(w, &(struct change){ .choose = choose_new, .ids = ids, .count = n, .done = done, .arg = arg }, timeout_ms, err);
}
