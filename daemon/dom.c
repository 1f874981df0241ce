/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of domains. */
#include "daemon/dom.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/chardev_open.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/net.h"

struct doms {
	struct kvmd *kvmd;
	GHashTable *by_uuid, *by_name;  /* the first owns a reference, the second none */
	uint32_t last_id, last_uid;
};

struct dom_waiter {
	void (*fn)(void *, struct dom *);
	void *arg;
};

/* --- one domain --- */

struct dom *dom_ref(struct dom *d)
{
	d->refs++;
	return d;
}

static void summary_clear(struct dom_summary *s)
{
	g_free(s->title);
	*s = (struct dom_summary){ 0 };
}

void dom_unref(struct dom *d)
{
	if (!d || --d->refs)
		return;
	g_assert(!d->link && !d->gone && !d->restart_timer && !d->kill_timer);
	if (d->pidfd >= 0)
		close(d->pidfd);
	if (d->seen_fd >= 0)
		close(d->seen_fd);
	machine_free(d->live);
	summary_clear(&d->def);
	g_ptr_array_unref(d->waiters);
	g_free(d->name);
	g_free(d->uuid);
	g_free(d->text);
	g_free(d->trouble);
	g_free(d->reason);
	g_free(d->detail);
	g_free(d->remembered.reason);
	g_free(d->remembered.detail);
	g_free(d);
}

void dom_set_definition(struct dom *d, const char *text, const struct machine *m, const char *trouble)
{
	g_free(d->text);
	d->text = g_strdup(text);
	g_free(d->trouble);
	d->trouble = g_strdup(trouble);
	summary_clear(&d->def);
	if (!m)
		return;
	d->def = (struct dom_summary){ .title = g_strdup(m->title), .memory = m->memory.current ? m->memory.current : m->memory.size,
		.memory_max = MAX(m->memory.max, m->memory.size), .vcpus = machine_vcpus(m), .vcpus_max = m->vcpu.max };
}

void dom_set_state(struct dom *d, enum dom_state state, const char *reason)
{
	dom_set_state_told(d, state, reason, NULL);
}

void dom_set_state_told(struct dom *d, enum dom_state state, const char *reason, const char *detail)
{
	char *copy = g_strdup(reason), *more = detail && *detail ? g_strdup(detail) : NULL;
	g_autoptr(GPtrArray) told = g_ptr_array_new();

	d->state = state;
	g_free(d->reason);
	d->reason = copy;
	g_free(d->detail);
	d->detail = more;
	d->since = g_get_real_time();
	if (state != DOM_UNKNOWN && state != DOM_ADOPTING && state != DOM_STARTING) {
		g_free(d->remembered.reason);
		g_free(d->remembered.detail);
		d->remembered.state = state;
		d->remembered.reason = g_strdup(copy);
		d->remembered.detail = g_strdup(more);
		d->remembered.since = d->since;
	}
	dom_ref(d);                             /* a waiter may drop what holds it */
	for (unsigned i = 0; i < d->waiters->len; i++)
		g_ptr_array_add(told, d->waiters->pdata[i]);
	for (unsigned i = 0; i < told->len; i++) {
		struct dom_waiter *w = g_ptr_array_index(told, i);

		if (g_ptr_array_find(d->waiters, w, NULL))
			w->fn(w->arg, d);
	}
	dom_unref(d);
}

void dom_wait(struct dom *d, void (*fn)(void *, struct dom *), void *arg)
{
	struct dom_waiter *w = g_new(struct dom_waiter, 1);

	*w = (struct dom_waiter){ fn, arg };
	g_ptr_array_add(d->waiters, w);
}

void dom_unwait(struct dom *d, void *arg)
{
	for (unsigned i = d->waiters->len; i-- > 0;)
		if (((struct dom_waiter *)g_ptr_array_index(d->waiters, i))->arg == arg)
			g_ptr_array_remove_index(d->waiters, i);
}

bool dom_is_active(const struct dom *d)
{
	return d->state != DOM_SHUTOFF;
}

void dom_event(struct dom *d, const char *name, json_object *data)
{
	events_emit(d->kvmd->events, name, d->name, d->uuid, data);
}

char *dom_run_dir(const struct dom *d)
{
	return g_build_filename(d->kvmd->paths->vms, d->uuid, NULL);
}

/* --- the table --- */

struct doms *doms_new(struct kvmd *k)
{
	struct doms *t = g_new0(struct doms, 1);

	t->kvmd = k;
	t->by_uuid = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)dom_unref);
	t->by_name = g_hash_table_new(g_str_hash, g_str_equal);
	return t;
}

void doms_finish(struct doms *t)
{
	g_autoptr(GPtrArray) all = t ? doms_sorted(t) : g_ptr_array_new();

	for (unsigned i = 0; i < all->len; i++) {
		struct dom *d = g_ptr_array_index(all, i);
		guint *timers[] = { &d->gone, &d->kill_timer, &d->lost_timer, &d->restart_timer };

		for (size_t n = 0; n < G_N_ELEMENTS(timers); n++) {
			if (*timers[n])
				g_source_remove(*timers[n]);
			*timers[n] = 0;
		}
		g_clear_pointer(&d->link, link_free);
		net_forget(d);
		chardev_redial_stop(d);
	}
}

void doms_free(struct doms *t)
{
	if (!t)
		return;
	g_hash_table_unref(t->by_name);
	g_hash_table_unref(t->by_uuid);
	g_free(t);
}

unsigned doms_count(const struct doms *t)
{
	return g_hash_table_size(t->by_uuid);
}

static gint by_name(gconstpointer a, gconstpointer b)
{
	return strcmp((*(struct dom *const *)a)->name, (*(struct dom *const *)b)->name);
}

GPtrArray *doms_sorted(const struct doms *t)
{
	GPtrArray *all = g_ptr_array_sized_new(doms_count(t));
	GHashTableIter it;
	gpointer d;

	g_hash_table_iter_init(&it, t->by_uuid);
	while (g_hash_table_iter_next(&it, NULL, &d))
		if (!((struct dom *)d)->placeholder)
			g_ptr_array_add(all, d);
	g_ptr_array_sort(all, by_name);
	return all;
}

GHashTable *doms_by_pid(const struct doms *t)
{
	GHashTable *pids = g_hash_table_new_full(NULL, NULL, NULL, g_free);
	GHashTableIter it;
	gpointer v;

	g_hash_table_iter_init(&it, t->by_uuid);
	while (g_hash_table_iter_next(&it, NULL, &v)) {
		const struct dom *d = v;

		if (d->pid > 0)
			g_hash_table_insert(pids, GINT_TO_POINTER(d->pid), g_strdup(d->name));
	}
	return pids;
}

uint64_t doms_memory(const struct doms *t)
{
	uint64_t sum = 0;
	GHashTableIter it;
	gpointer v;

	g_hash_table_iter_init(&it, t->by_uuid);
	while (g_hash_table_iter_next(&it, NULL, &v)) {
		const struct dom *d = v;

		sum += d->live ? d->live->memory.size : d->state == DOM_STARTING ? d->def.memory_max : 0;
	}
	return sum;
}

struct dom *doms_by_uuid(const struct doms *t, const char *uuid)
{
	g_autofree char *lower = g_ascii_strdown(uuid, -1);

	return g_hash_table_lookup(t->by_uuid, lower);
}

struct dom *doms_by_name(const struct doms *t, const char *name)
{
	return g_hash_table_lookup(t->by_name, name);
}

static struct dom *by_id(const struct doms *t, uint64_t id)
{
	GHashTableIter it;
	gpointer d;

	g_hash_table_iter_init(&it, t->by_uuid);
	while (id && g_hash_table_iter_next(&it, NULL, &d))
		if (((struct dom *)d)->id == id)
			return d;
	return NULL;
}

struct dom *doms_find(const struct doms *t, const char *what, GError **err)
{
	struct dom *d = doms_by_name(t, what);
	const char *near = NULL;
	guint64 id;
	GHashTableIter it;
	gpointer v;

	if (!d)
		d = doms_by_uuid(t, what);
	if (!d && g_ascii_string_to_unsigned(what, 10, 1, UINT32_MAX, &id, NULL))
		d = by_id(t, id);
	if (d && !d->placeholder)
		return d;
	g_hash_table_iter_init(&it, t->by_name);
	while (!near && g_hash_table_iter_next(&it, &v, NULL))
		if (!g_ascii_strcasecmp(v, what) || (strlen(what) > 2 && g_str_has_prefix(v, what)))
			near = v;
	kerr_set(err, KERR_NO_VM, near ? "there is no domain '%s'; there is '%s'" : "there is no domain '%s'", what, near);
	return NULL;
}

struct dom *doms_add(struct doms *t, const char *name, const char *uuid)
{
	struct dom *d = g_new0(struct dom, 1);

	g_assert(!doms_by_name(t, name) && !doms_by_uuid(t, uuid));
	*d = (struct dom){ .kvmd = t->kvmd, .refs = 1, .listed = true, .name = g_strdup(name), .uuid = g_ascii_strdown(uuid, -1),
		.state = DOM_SHUTOFF, .since = g_get_real_time(), .pid = -1, .pidfd = -1, .seen_fd = -1 };
	d->waiters = g_ptr_array_new_with_free_func(g_free);
	g_hash_table_insert(t->by_uuid, d->uuid, d);
	g_hash_table_insert(t->by_name, d->name, d);
	return d;
}

void doms_remove(struct dom *d)
{
	struct doms *t = d->kvmd->doms;

	if (!d->listed)
		return;
	d->listed = false;
	g_hash_table_remove(t->by_name, d->name);
	g_hash_table_remove(t->by_uuid, d->uuid);
}

void doms_rename(struct dom *d, const char *name)
{
	struct doms *t = d->kvmd->doms;

	g_assert(!doms_by_name(t, name));
	g_hash_table_remove(t->by_name, d->name);
	g_free(d->name);
	d->name = g_strdup(name);
	g_hash_table_insert(t->by_name, d->name, d);
}

uint32_t doms_new_id(struct doms *t)
{
	do {
		if (!++t->last_id)
			t->last_id = 1;
	} while (by_id(t, t->last_id));
	return t->last_id;
}

void doms_saw_id(struct doms *t, uint32_t id)
{
	t->last_id = MAX(t->last_id, id);
}

uint32_t doms_new_uid(struct doms *t, GError **err)
{
	const struct config *c = t->kvmd->config;
	g_autoptr(GHashTable) taken = g_hash_table_new(NULL, NULL);
	GHashTableIter it;
	gpointer d;

	g_hash_table_iter_init(&it, t->by_uuid);
	while (g_hash_table_iter_next(&it, NULL, &d))
		if (((struct dom *)d)->uid)
			g_hash_table_add(taken, GUINT_TO_POINTER(((struct dom *)d)->uid));
	for (uint32_t i = 0; i < c->worker_uid_count; i++) {            /* the one used longest ago first */
		uint32_t uid = c->worker_uid_base + t->last_uid++ % c->worker_uid_count;

		if (!g_hash_table_contains(taken, GUINT_TO_POINTER(uid)))
			return uid;
	}
	kerr_set(err, KERR_LIMIT, "all %u user ids for machines are in use: raise worker_uid_count in kvmd.conf", c->worker_uid_count);
	return 0;
}
