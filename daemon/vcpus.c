/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * setvcpus, vcpucount, vcpuinfo.
 *
 * setvcpus: the new definition is made and checked first (beside the main loop), then the machine's process asks the guest,
 * then the definition goes to disk: a guest that refuses changes nothing. When kvmd dies meanwhile the process goes on, and
 * its events COMMAND_BEGUN and COMMAND_DONE tell the result to the next kvmd's journal.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/commands.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/refresh.h"
#include "daemon/supervise.h"
#include "domain/commands_qmp.h"
#include "domain/json.h"
#include "domain/xml.h"

#define PATIENCE 9              /* times the time-out that a guest may take per vCPU, with signs of progress */

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

/* A part that <vcpus> does not mention follows the number: so all are mentioned, once some are. */
static void mention_all(struct machine *m)
{
	struct vcpu_config *c = &m->vcpu;
	g_autofree bool *seen = g_new0(bool, c->max);

	if (!list_len(c->list))
		return;
	list_each(vcpu_entry, e, c->list)
		if (e->id < c->max)
			seen[e->id] = true;
	for (unsigned i = 0; i < c->max; i++) {
		struct vcpu_entry *e;

		if (seen[i])
			continue;
		e = schema_new(&vcpu_entry_schema);
		e->id = i;
		e->enabled = machine_vcpu_enabled(m, i) ? YESNO_YES : YESNO_NO;
		g_ptr_array_add(c->list, e);
	}
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

struct setting {
	struct request *request;
	bool live, config;
	/* the thread's: from the definition's text to the new one */
	char *text, *xml;
	unsigned count;
	bool maximum;
	struct machine *machine;
	GError *err;
};

static void setting_free(struct setting *s)
{
	machine_free(s->machine);
	g_clear_error(&s->err);
	g_free(s->text);
	g_free(s->xml);
	g_free(s);
}

static void fail(struct setting *s, const GError *err)
{
	if (s->config)
		s->request->dom->writing = false;
	request_fail(s->request, err);
	setting_free(s);
}

static void make_definition(void *arg)
{
	struct setting *s = arg;
	AUTO(report) r = report_new(NULL, false, true);
	AUTO(report) again = report_new(NULL, false, true);

	s->machine = machine_from_xml(s->text, strlen(s->text), r, &s->err);
	if (!s->machine)
		return;
	if (!s->maximum && s->count > s->machine->vcpu.max) {
		kerr_set(&s->err, KERR_ARGS, "%u vCPUs are more than the definition's maximum of %u", s->count, s->machine->vcpu.max);
		return;
	}
	mention_all(s->machine);
	if (s->maximum)
		set_maximum(s->machine, s->count);
	else
		choose(s->machine, s->count);
	machine_check(s->machine, again);
	if (report_ok(again, &s->err))
		s->xml = machine_to_xml(s->machine, XML_INACTIVE | XML_SECRETS);
}

/* --- the steps --- */

static void answer(struct setting *s)
{
	struct dom *d = s->request->dom;
	struct tell_setvcpus t = { .vcpus = d->live ? machine_vcpus(d->live) : d->def.vcpus,
		.maximum = d->live ? d->live->vcpu.max : d->def.vcpus_max };

	if (s->config && !s->live) {
		t.vcpus = d->def.vcpus;
		t.maximum = d->def.vcpus_max;
	}
	request_reply(s->request, &t);
	setting_free(s);
}

static void stored(void *arg, const GError *err)
{
	struct setting *s = arg;
	struct dom *d = s->request->dom;
	json_object *data;

	if (err) {
		fail(s, err);
		return;
	}
	d->writing = false;
	dom_set_definition(d, s->xml, s->machine, NULL);
	data = json_object_new_object();
	json_object_object_add(data, "created", json_object_new_boolean(false));
	dom_event(d, "DEFINED", data);
	answer(s);
}

static void store_definition(struct setting *s)
{
	if (s->config)
		store_put(s->request->kvmd->store, s->request->dom->uuid, s->xml, stored, s);
	else
		answer(s);
}

/* Whoever asks next is told what is. */
static void refreshed(void *arg, const GError *unused)
{
	struct setting *s = arg;
	g_autoptr(GError) err = g_steal_pointer(&s->err);

	if (err)
		fail(s, err);
	else
		store_definition(s);    /* the guest has done it, whatever else went wrong */
}

static void guest_done(void *arg, json_object *reply, const GError *err)
{
	struct setting *s = arg;

	s->err = err ? g_error_copy(err) : NULL;
	if (s->request->dom->link)
		dom_refresh(s->request->dom, refreshed, s);
	else
		refreshed(s, NULL);
}

static void ask_guest(struct setting *s)
{
	struct request *r = s->request;
	const struct ask_setvcpus *a = r->args;
	g_autoptr(GError) err = NULL;
	g_autofree char *id = NULL;
	json_object *args;
	unsigned now;
	uint64_t limit;

	if (!dom_can_ask(r->dom, &err)) {
		fail(s, err);
		return;
	}
	now = r->dom->live ? machine_vcpus(r->dom->live) : 0;
	limit = (uint64_t)a->timeout * 1000 * PATIENCE * (1 + (uint64_t)ABS((int64_t)now - (int64_t)a->count));
	id = g_strdup_printf("%08x%08x", g_random_int(), g_random_int());
	args = json_object_new_object();
	json_object_object_add(args, "count", json_object_new_int64(a->count));
	json_object_object_add(args, "timeout", json_object_new_int64((int64_t)a->timeout * 1000));
	json_object_object_add(args, "id", json_object_new_string(id));
	link_call(r->dom->link, "vcpus-set", args, NULL, 0, (unsigned)MIN(limit + r->kvmd->config->answer_timeout, G_MAXINT), guest_done, s);
}

static void made(void *arg)
{
	struct setting *s = arg;

	if (s->err) {
		g_autoptr(GError) err = g_error_copy(s->err);

		fail(s, err);
	} else if (s->live) {
		ask_guest(s);
	} else {
		store_definition(s);
	}
}

/* What is meant: the machine, its definition, or both. */
static bool scope(const struct request *r, const struct ask_setvcpus *a, bool *live, bool *config, GError **err)
{
	bool active = dom_is_active(r->dom);

	if (a->guest)
		return kerr_set(err, KERR_UNSUPPORTED, "--guest asks an agent inside the guest, and there is no channel to one yet: use --live");
	if (a->current && (a->live || a->config))
		return kerr_set(err, KERR_ARGS, "--current is either the machine or its definition: leave out --live and --config");
	if (a->maximum && (!a->config || a->live))
		return kerr_set(err, KERR_ARGS, "the maximum is fixed while the machine runs: --maximum needs --config, and no --live");
	*live = a->live || (!a->config && active);
	*config = a->config || (!a->live && !active);
	if (*live && !active)
		return kerr_set(err, KERR_STATE, "the domain is not running: leave out --live");
	if (*config && (!r->dom->text || r->dom->trouble))
		return kerr_set(err, KERR_STATE, "it has no definition that could be changed");
	if (*config && r->dom->writing)
		return kerr_set(err, KERR_BUSY, "another change of this definition is being written: try again");
	return true;
}

void cmd_setvcpus(struct request *r)
{
	const struct ask_setvcpus *a = r->args;
	g_autoptr(GError) err = NULL;
	bool live = false, config = false;
	struct setting *s;

	if (!scope(r, a, &live, &config, &err)) {
		request_fail(r, err);
		return;
	}
	s = g_new0(struct setting, 1);
	*s = (struct setting){ .request = r, .live = live, .config = config, .count = a->count, .maximum = a->maximum };
	if (!config) {
		ask_guest(s);
		return;
	}
	r->dom->writing = true;
	s->text = g_strdup(r->dom->text);
	work_run(r->kvmd->work, make_definition, made, s);
}

/* --- looking --- */

void cmd_vcpucount(struct request *r)
{
	const struct dom *d = r->dom;
	struct tell_vcpucount t = { 0 };

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
	for (size_t i = 0; json_object_is_type(reply, json_type_array) && i < json_object_array_length(reply); i++) {
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

void cmd_vcpuinfo(struct request *r)
{
	g_autoptr(GError) err = NULL;

	if (dom_can_ask(r->dom, &err))
		link_call(r->dom->link, "vcpus-list", NULL, NULL, 0, r->kvmd->config->answer_timeout, have_list, r);
	else
		request_fail(r, err);
}
