/* SPDX-License-Identifier: GPL-2.0-or-later */
/* setvcpus, vcpucount, vcpuinfo. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/change.h"
#include "daemon/commands.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/supervise.h"
#include "daemon/vcpus.h"
#include "domain/commands_agent.h"
#include "domain/commands_qmp.h"
#include "domain/json.h"

#define GUEST_MS 10000          /* for the guest's agent, as its command has it by default */
#define PATIENCE 18             /* times the time-out that a guest may take per vCPU, with signs of progress, to take it and to give it back */

struct setting {
	const struct ask_setvcpus *ask; /* the request's */
	uint32_t online;                /* by the guest's agent; 0: nobody has said */
};

/* --- the definition --- */

/* Which vCPUs are on: the lowest are switched on first, the highest off first, as libvirt does. */
static void choose(struct machine *m, unsigned wanted)
{
	struct vcpu_config *c = &m->vcpu;
	g_autofree bool *on = g_new0(bool, c->max);
	unsigned n = 0;

	for (unsigned i = 0; i < c->max; i++)
		n += on[i] = machine_vcpu_enabled(m, i);
	for (unsigned i = 0; i < c->max && n < wanted; i++)
		if (!on[i])
			n += on[i] = true;
	for (unsigned i = c->max; i-- > 1 && n > wanted;)
		if (on[i]) {
			on[i] = false;
			n--;
		}
	list_each(vcpu_entry, e, c->list)
		if (e->id < c->max)
			on[e->id] ? (e->enabled = YESNO_YES) : (e->enabled = YESNO_NO, e->hotpluggable = YESNO_YES);
	c->current = wanted == c->max ? 0 : wanted;
}

void vcpus_mention(struct machine *m)
{
	struct vcpu_config *c = &m->vcpu;
	g_autofree bool *seen = g_new0(bool, c->max), *on = g_new0(bool, c->max);

	for (unsigned i = 0; i < c->max; i++)
		on[i] = machine_vcpu_enabled(m, i);
	if (!c->list)
		c->list = g_ptr_array_new();
	list_each(vcpu_entry, e, c->list)
		if (e->id < c->max)
			seen[e->id] = true;
	for (unsigned i = 0; i < c->max; i++) {
		struct vcpu_entry *e;

		if (seen[i])
			continue;
		e = schema_new(&vcpu_entry_schema);
		e->id = i;
		e->enabled = on[i] ? YESNO_YES : YESNO_NO;
		g_ptr_array_add(c->list, e);
	}
}

/* A part that <vcpus> does not mention follows the number: so all are mentioned, once some are. */
static void mention_all(struct machine *m)
{
	if (list_len(m->vcpu.list))
		vcpus_mention(m);
}

static void set_maximum(struct machine *m, unsigned max)
{
	struct vcpu_config *c = &m->vcpu;
	unsigned now = machine_vcpus(m);

	for (unsigned i = c->list ? c->list->len : 0; i-- > 0;)
		if (((struct vcpu_entry *)c->list->pdata[i])->id >= max) {
			schema_free(&vcpu_entry_schema, c->list->pdata[i]);
			g_ptr_array_remove_index(c->list, i);
		}
	c->max = max;
	c->current = now < max ? now : 0;
	mention_all(m);
	choose(m, MIN(now, max));
}

static bool edit(struct machine *m, void *arg, GError **err)
{
	const struct ask_setvcpus *a = ((const struct setting *)arg)->ask;

	if (!a->maximum && a->count > m->vcpu.max)
		return kerr_set(err, KERR_ARGS, "%u vCPUs are more than the definition's maximum of %u", a->count, m->vcpu.max);
	mention_all(m);
	if (a->maximum)
		set_maximum(m, a->count);
	else
		choose(m, a->count);
	return true;
}

/* --- setvcpus --- */

static void apply(struct change *c, struct dom *d, void *arg)
{
	const struct ask_setvcpus *a = ((const struct setting *)arg)->ask;
	int64_t more = (int64_t)machine_vcpus(d->live) - (int64_t)a->count;
	json_object *args = json_object_new_object();

	json_object_object_add(args, "count", json_object_new_int64(a->count));
	change_ask_guest(c, "vcpus-set", args, a->timeout, PATIENCE * (1 + (uint64_t)ABS(more)), NULL, 0);
}

static void answer(struct request *r, bool live, void *arg)
{
	const struct dom *d = r->dom;
	struct tell_setvcpus t = { .vcpus = d->def.vcpus, .maximum = d->def.vcpus_max };

	if (live && d->live)
		t = (struct tell_setvcpus){ .vcpus = machine_vcpus(d->live), .maximum = d->live->vcpu.max, .online = ((const struct setting *)arg)->online };
	request_reply(r, &t);
}

static void told(json_object *reply, void *arg)
{
	json_object *v;

	if (json_object_object_get_ex(reply, "online", &v))
		((struct setting *)arg)->online = (uint32_t)json_object_get_int64(v);
}

/* What the guest's agent says of its CPUs. */
static bool read_guest(json_object *reply, struct tell_guestvcpus *t, GError **err)
{
	return json_to_struct(&tell_guestvcpus_schema, t, reply, err);
}

/* May the guest's agent be asked? other: options that are not about the guest. */
static bool may_ask_guest(const struct request *r, bool other, GError **err)
{
	if (other)
		return kerr_set(err, KERR_ARGS, "--guest is about CPUs that the running guest uses: leave out --config and --maximum");
	return dom_can_ask(r->dom, err);
}

static void guest_set(void *arg, json_object *reply, const GError *failed)
{
	struct request *r = arg;
	struct tell_guestvcpus *t = schema_new(&tell_guestvcpus_schema);
	g_autoptr(GError) err = NULL;

	if (failed || !read_guest(reply, t, &err))
		request_fail(r, failed ? failed : err);
	else
		request_reply(r, &(struct tell_setvcpus){ .vcpus = r->dom->live ? machine_vcpus(r->dom->live) : t->online_n,
			.maximum = r->dom->live ? r->dom->live->vcpu.max : t->online_n, .online = t->online_n });
	schema_free(&tell_guestvcpus_schema, t);
}

static void set_in_guest(struct request *r)
{
	const struct ask_setvcpus *a = r->args;
	json_object *args;
	g_autoptr(GError) err = NULL;

	if (!may_ask_guest(r, a->scope.config || a->maximum, &err)) {
		request_fail(r, err);
		return;
	}
	args = json_object_new_object();
	json_object_object_add(args, "count", json_object_new_int64(a->count));
	json_object_object_add(args, "timeout", json_object_new_int64(a->timeout));
	link_call(r->dom->link, "guest-vcpus-set", args, NULL, 0, a->timeout * 1000 + r->kvmd->config->answer_timeout, guest_set, r);
}

static void cmd_setvcpus(struct request *r)
{
	static const struct change_ops ops = { .edit = edit, .apply = apply, .told = told, .answer = answer, .free = g_free };
	const struct ask_setvcpus *a = r->args;
	g_autoptr(GError) err = NULL;
	struct setting *s;

	if (a->guest) {
		set_in_guest(r);
		return;
	}
	if (a->maximum && (!a->scope.config || a->scope.live)) {
		kerr_set(&err, KERR_ARGS, "the maximum is fixed while the machine runs: --maximum needs --config, and no --live");
		request_fail(r, err);
		return;
	}
	s = g_new(struct setting, 1);
	*s = (struct setting){ .ask = a };
	change(r, &a->scope, &ops, s);
}

/* --- looking --- */

static void guest_counted(void *arg, json_object *reply, const GError *failed)
{
	struct request *r = arg;
	struct tell_guestvcpus *t = schema_new(&tell_guestvcpus_schema);
	g_autoptr(GError) err = NULL;

	if (failed || !read_guest(reply, t, &err))
		request_fail(r, failed ? failed : err);
	else
		request_reply(r, &(struct tell_vcpucount){ .guest = t->online_n });
	schema_free(&tell_guestvcpus_schema, t);
}

static void count_in_guest(struct request *r)
{
	const struct ask_vcpucount *a = r->args;
	g_autoptr(GError) err = NULL;

	if (!may_ask_guest(r, a->maximum || a->config, &err))
		request_fail(r, err);
	else
		link_call(r->dom->link, "guestvcpus", NULL, NULL, 0, GUEST_MS + r->kvmd->config->answer_timeout, guest_counted, r);
}

static void cmd_vcpucount(struct request *r)
{
	const struct ask_vcpucount *a = r->args;
	const struct dom *d = r->dom;
	struct tell_vcpucount t = { 0 };
	g_autoptr(GError) err = NULL;

	if (a->guest) {
		count_in_guest(r);
		return;
	}
	if (!change_may_look(d, &(struct ask_scope){ a->live, a->config, a->current }, &err)) {
		request_fail(r, err);
		return;
	}
	if (d->text && !d->trouble) {
		t.maximum_config = d->def.vcpus_max;
		t.current_config = d->def.vcpus;
	}
	if (d->live) {
		t.maximum_live = d->live->vcpu.max;
		t.current_live = machine_vcpus(d->live);
	}
	request_reply(r, &t);
}

/* CPU time in ns, and the host CPU it ran on last. */
static void thread_usage(int pid, uint32_t tid, struct tell_vcpuinfo_row *row)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/task/%u/stat", pid, tid), *text = NULL;
	unsigned long long user, sys;
	char *at;
	int cpu;

	if (!tid || pid <= 0 || !g_file_get_contents(path, &text, NULL, NULL) || !(at = strrchr(text, ')')))
		return;
	/* fields 14, 15 and 39 of proc(5) */
	if (sscanf(at, ") %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
	    "%*s %*s %*s %*s %*s %*s %*s %*s %d", &user, &sys, &cpu) != 3)
		return;
	row->cpu_time = (user + sys) * (1000000000ull / (unsigned long long)sysconf(_SC_CLK_TCK));
	row->cpu = cpu;
}

static void have_list(void *arg, json_object *reply, const GError *err)
{
	struct request *r = arg;
	struct tell_vcpuinfo t = { .vcpus = NULL };

	if (err) {
		request_fail(r, err);
		return;
	}
	t.vcpus = g_ptr_array_new_with_free_func(g_free);
	for (size_t i = 0; json_object_is_type(reply, json_type_array) && i < MIN(json_object_array_length(reply), VCPUS_MAX); i++) {
		struct tell_vcpuinfo_row *row = g_new0(struct tell_vcpuinfo_row, 1);
		struct vcpu_row *v = schema_new(&vcpu_row_schema);

		row->cpu = -1;
		if (json_to_struct(&vcpu_row_schema, v, json_object_array_get_idx(reply, i), NULL)) {
			row->vcpu = v->id;
			row->state = v->enabled ? VCPU_STATE_RUNNING : VCPU_STATE_OFFLINE;
			row->hotpluggable = v->hotpluggable;
			if (v->enabled)
				thread_usage(r->dom->pid, v->tid, row);
		}
		schema_free(&vcpu_row_schema, v);
		g_ptr_array_add(t.vcpus, row);
	}
	request_reply(r, &t);
	g_ptr_array_unref(t.vcpus);
}

static void cmd_vcpuinfo(struct request *r)
{
	g_autoptr(GError) err = NULL;

	if (dom_can_ask(r->dom, &err))
		link_call(r->dom->link, "vcpus-list", NULL, NULL, 0, r->kvmd->config->answer_timeout, have_list, r);
	else
		request_fail(r, err);
}

const struct command_binding vcpus_bindings[] = {
	{ "setvcpus", cmd_setvcpus },
	{ "vcpucount", cmd_vcpucount },
	{ "vcpuinfo", cmd_vcpuinfo },
	{ NULL },
};
