/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The code behind the rows of domain/commands_kvmd.c: asking about domains and telling them what to do. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/commands.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/launch.h"
#include "daemon/link.h"
#include "daemon/supervise.h"
#include "daemon/wire.h"
#include "domain/event_names.h"
#include "domain/json.h"
#include "domain/xml.h"

/* Fails the request when a definition is just being written. */
static bool definition_free(struct request *r, const struct dom *d)
{
	g_autoptr(GError) err = NULL;

	if (!d->writing)
		return true;
	kerr_set(&err, KERR_BUSY, "another change of this definition is being written: try again");
	request_fail(r, err);
	return false;
}

/* --- start, destroy --- */

static void started(void *arg, const GPtrArray *notes, const GError *err)
{
	struct request *r = arg;
	struct tell_start *t;

	if (err) {
		request_fail(r, err);
		return;
	}
	t = schema_new(&tell_start_schema);
	t->id = r->dom->id;
	t->pid = (uint32_t)r->dom->pid;
	t->notes = g_ptr_array_new();
	for (unsigned i = 0; notes && i < notes->len; i++) {
		struct tell_note *n = g_new0(struct tell_note, 1);

		n->text = g_strdup(notes->pdata[i]);
		g_ptr_array_add(t->notes, n);
	}
	request_reply(r, t);
	schema_free(&tell_start_schema, t);
}

static void cmd_start(struct request *r)
{
	const struct ask_start *a = r->args;

	dom_start(r->dom, a->paused, started, r);
}

static void destroyed(void *arg, const GPtrArray *notes, const GError *err)
{
	struct request *r = arg;

	if (err)
		request_fail(r, err);
	else
		request_reply(r, NULL);
}

static void cmd_destroy(struct request *r)
{
	dom_destroy(r->dom, destroyed, r);
}

/* --- undefine, autostart --- */

static void undefined(void *arg, const GError *err)
{
	struct request *r = arg;
	struct dom *d = r->dom;

	d->writing = false;
	if (err) {
		request_fail(r, err);
		return;
	}
	d->autostart = false;
	dom_set_definition(d, NULL, NULL, NULL);
	if (!dom_is_active(d) && !d->restart_timer) {
		dom_event(d, "UNDEFINED", NULL);
		doms_remove(d);
	}
	request_reply(r, NULL);
}

static void undefine_now(struct request *r)
{
	r->dom->writing = true;
	store_remove(r->kvmd->store, r->dom->uuid, undefined, r);
}

static void destroyed_first(void *arg, const GPtrArray *notes, const GError *err)
{
	struct request *r = arg;

	if (err)
		request_fail(r, err);
	else if (definition_free(r, r->dom))
		undefine_now(r);
}

static void cmd_undefine(struct request *r)
{
	const struct ask_undefine *a = r->args;
	g_autoptr(GError) err = NULL;

	if (!definition_free(r, r->dom))
		return;
	if (!r->dom->text) {
		kerr_set(&err, KERR_STATE, "it has no definition: it is gone when it ends");
		request_fail(r, err);
		return;
	}
	if (r->dom->restart_timer || (a->destroy && dom_is_active(r->dom)))
		dom_destroy(r->dom, destroyed_first, r);
	else
		undefine_now(r);
}

static void autostart_set(void *arg, const GError *err)
{
	struct request *r = arg;
	struct dom *d = r->dom;
	const struct ask_autostart *a = r->args;
	struct tell_autostart t = { .autostart = !a->disable };

	d->writing = false;
	if (err) {
		request_fail(r, err);
		return;
	}
	if (d->autostart != t.autostart) {
		json_object *data = json_object_new_object();

		json_object_object_add(data, "autostart", json_object_new_boolean(t.autostart));
		dom_event(d, "AUTOSTART", data);
	}
	d->autostart = t.autostart;
	request_reply(r, &t);
}

static void cmd_autostart(struct request *r)
{
	const struct ask_autostart *a = r->args;
	g_autoptr(GError) err = NULL;

	if (!definition_free(r, r->dom))
		return;
	if (!r->dom->text) {
		kerr_set(&err, KERR_STATE, "it has no definition that could be started");
		request_fail(r, err);
		return;
	}
	r->dom->writing = true;
	store_autostart(r->kvmd->store, r->dom->uuid, !a->disable, autostart_set, r);
}

/* --- looking --- */

static void cmd_list(struct request *r)
{
	const struct ask_list *a = r->args;
	g_autoptr(GPtrArray) all = doms_sorted(r->kvmd->doms);
	struct tell_list t = { .domains = g_ptr_array_new_with_free_func(g_free) };

	for (unsigned i = 0; i < all->len; i++) {
		struct dom *d = all->pdata[i];
		struct tell_list_row *row;

		if (!a->all && dom_is_active(d) == a->inactive)
			continue;
		row = g_new(struct tell_list_row, 1);   /* borrows all its strings */
		*row = (struct tell_list_row){ .id = d->id, .name = d->name, .uuid = d->uuid, .state = (int)d->state, .reason = d->reason,
			.title = d->def.title, .persistent = d->text != NULL, .autostart = d->autostart };
		g_ptr_array_add(t.domains, row);
	}
	request_reply(r, &t);
	g_ptr_array_unref(t.domains);
}

static void cmd_domstate(struct request *r)
{
	struct dom *d = r->dom;

	request_reply(r, &(struct tell_state){ .state = (int)d->state, .reason = d->reason, .since = (uint64_t)(d->since / G_USEC_PER_SEC) });
}

static void cmd_domname(struct request *r)
{
	request_reply(r, &(struct tell_name){ r->dom->name });
}

static void cmd_domuuid(struct request *r)
{
	request_reply(r, &(struct tell_uuid){ r->dom->uuid });
}

static void cmd_domid(struct request *r)
{
	request_reply(r, &(struct tell_id){ r->dom->id });
}

/* CPU time in ns and resident bytes of a process, from /proc. */
static void usage_of(int pid, uint64_t *cpu, uint64_t *rss)
{
	g_autofree char *stat = g_strdup_printf("/proc/%d/stat", pid), *text = NULL;
	unsigned long long user, sys, pages;
	char *at;

	if (pid <= 0 || !g_file_get_contents(stat, &text, NULL, NULL) || !(at = strrchr(text, ')')))
		return;
	if (sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %*u %*u %llu", &user, &sys, &pages) != 3)
		return;
	*cpu = (user + sys) * (1000000000ull / (unsigned long long)sysconf(_SC_CLK_TCK));
	*rss = pages * (unsigned long long)sysconf(_SC_PAGESIZE);
}

static void cmd_dominfo(struct request *r)
{
	struct dom *d = r->dom;
	const struct paths *p = r->kvmd->paths;
	const struct machine *m = d->live;
	g_autofree char *qmp = g_strdup_printf("%s/%s/qmp.sock", p->vms, d->uuid);
	g_autofree char *console = g_strdup_printf("%s/%s.console.log", p->log, d->name);
	g_autofree char *log = g_strdup_printf("%s/%s.log", p->log, d->name);
	struct tell_dominfo t = { .id = d->id, .pid = d->pid > 0 ? (uint32_t)d->pid : 0, .uid = d->uid || d->pid <= 0 ? d->uid : geteuid(), .restarts = d->restarts, .name = d->name,
		.uuid = d->uuid, .title = d->def.title, .state = (int)d->state, .reason = d->reason, .detail = d->detail, .since = (uint64_t)(d->since / G_USEC_PER_SEC),
		.vcpus = d->def.vcpus, .vcpus_max = d->def.vcpus_max, .memory = d->def.memory, .memory_max = d->def.memory_max,
		.persistent = d->text != NULL, .autostart = d->autostart, .trouble = d->trouble, .console_log = console, .log = log };

	if (m) {
		t.title = m->title;
		t.vcpus = machine_vcpus(m);
		t.vcpus_max = m->vcpu.max;
		t.memory = m->memory.current ? m->memory.current : m->memory.size;
		t.memory_max = MAX(m->memory.max, m->memory.size);
		t.qmp = qmp;
	}
	usage_of(d->pid, &t.cpu_time, &t.rss);
	request_reply(r, &t);
}

/* The stored text is without secrets' redaction: parsed again only when they must go. */
static char *stored_xml(const struct dom *d, bool secrets, GError **err)
{
	AUTO(report) report = report_new(NULL, false, true);
	AUTO(machine) m = NULL;

	if (!d->text) {
		kerr_set(err, KERR_STATE, "it has no definition: it is gone when it ends");
		return NULL;
	}
	if (d->trouble)
		return g_strdup(d->text);               /* as it is: it must be possible to mend it */
	m = machine_from_xml(d->text, strlen(d->text), report, err);
	return m ? machine_to_xml(m, XML_INACTIVE | (secrets ? XML_SECRETS : 0)) : NULL;
}

static void cmd_dumpxml(struct request *r)
{
	const struct ask_dumpxml *a = r->args;
	struct dom *d = r->dom;
	g_autoptr(GError) err = NULL;
	g_autofree char *xml = NULL;

	if (!a->inactive && d->live)
		xml = machine_to_xml(d->live, a->security_info ? XML_SECRETS : 0);
	else
		xml = stored_xml(d, a->security_info, &err);
	if (xml)
		request_reply(r, &(struct tell_xml){ xml });
	else
		request_fail(r, err);
}

static void cmd_log(struct request *r)
{
	const struct ask_log *a = r->args;
	g_autofree char *path = g_strdup_printf("%s/%s.console.log", r->kvmd->paths->log, r->dom->name);
	g_autofree char *buf = g_malloc(a->bytes + 1), *text = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	ssize_t n = 0;

	if (fd >= 0 && !fstat(fd, &st))
		n = pread(fd, buf, a->bytes, MAX(0, st.st_size - (off_t)a->bytes));
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i < n; i++)
		if (!buf[i])
			buf[i] = ' ';
	text = g_utf8_make_valid(buf, MAX(n, 0));
	request_reply(r, &(struct tell_log){ path, text });
}

/* --- console --- */

struct console {
	int mine;
	bool readonly;
	char *device;
};

static void console_attached(void *arg, json_object *reply, const GError *err)
{
	struct request *r = arg;
	struct console *c = r->data;

	if (err)
		request_fail(r, err);
	else
		request_reply_json(r, json_from_struct(&tell_console_schema, &(struct tell_console){ c->device, c->readonly }, JSON_ALL), &c->mine, 1);
	close(c->mine);
	g_free(c->device);
	g_free(c);
}

static char *first_console(const struct dom *d)
{
	const struct devices *devs = d->live ? &d->live->devices : NULL;

	list_each(chardev, s, devs ? devs->serials : NULL)
		return g_strdup(s->alias);
	list_each(chardev, s, devs ? devs->consoles : NULL)
		return g_strdup(s->alias);
	return NULL;
}

static void cmd_console(struct request *r)
{
	const struct ask_console *a = r->args;
	json_object *args = json_object_new_object();
	g_autoptr(GError) err = NULL;
	struct console *c;
	int pair[2];

	if (!dom_can_ask(r->dom, &err) || (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 && !kerr_errno(&err, errno, "socketpair"))) {
		json_object_put(args);
		request_fail(r, err);
		return;
	}
	c = g_new0(struct console, 1);
	*c = (struct console){ pair[0], a->readonly, a->device ? g_strdup(a->device) : first_console(r->dom) };
	r->data = c;
	if (a->device)
		json_object_object_add(args, "device", json_object_new_string(a->device));
	json_object_object_add(args, "writer", json_object_new_boolean(!a->readonly));
	json_object_object_add(args, "force", json_object_new_boolean(a->force));
	link_call(r->dom->link, "console-attach", args, &pair[1], 1, r->kvmd->config->answer_timeout, console_attached, r);
	close(pair[1]);
}

/* --- wait --- */

struct wait {
	struct request *request;
	guint timer;
};

static void wait_end(struct wait *w, const GError *err)
{
	struct request *r = w->request;

	dom_unwait(r->dom, w);
	if (w->timer)
		g_source_remove(w->timer);
	g_free(w);
	r->gone = NULL;
	if (err)
		request_fail(r, err);
	else
		cmd_domstate(r);
}

static bool is_there(const struct dom *d, int state)
{
	switch (state) {
	case WAIT_OFF:
		return !dom_is_active(d) && !d->restart_timer;
	case WAIT_RUNNING:
		return d->state == DOM_RUNNING;
	default:
		return d->state == DOM_PAUSED;
	}
}

static void wait_look(void *arg, struct dom *d)
{
	struct wait *w = arg;

	if (is_there(d, ((const struct ask_wait *)w->request->args)->state))
		wait_end(w, NULL);
}

static gboolean wait_over(gpointer data)
{
	struct wait *w = data;
	g_autoptr(GError) err = NULL;

	w->timer = 0;
	kerr_set(&err, KERR_TIMEOUT, "it is still %s", dom_state_names[w->request->dom->state]);
	wait_end(w, err);
	return G_SOURCE_REMOVE;
}

static void wait_gone(struct request *r)
{
	wait_end(r->data, NULL);
}

static void cmd_wait(struct request *r)
{
	const struct ask_wait *a = r->args;
	struct wait *w;

	if (is_there(r->dom, a->state)) {
		cmd_domstate(r);
		return;
	}
	w = g_new0(struct wait, 1);
	w->request = r;
	r->data = w;
	r->gone = wait_gone;
	if (a->timeout)
		w->timer = g_timeout_add_seconds(a->timeout, wait_over, w);
	dom_wait(r->dom, wait_look, w);
}

/* --- events --- */

static void stream_over(void *wire)
{
	/* the follower is freed with the connection, or when the client asks for another */
	request_stream_over(wire);
}

static void cmd_event(struct request *r)
{
	const struct ask_event *a = r->args;
	struct events *e = r->kvmd->events;
	g_autoptr(GError) err = NULL;
	g_autofree char *uuid = NULL;
	struct follow_ask ask = { .since = a->since, .count = a->count, .follow = a->follow, .event = a->event };
	struct follower *f;

	if (a->event && event_meant(a->event)) {
		kerr_set(&err, KERR_ARGS, "there is no event '%s'; did you mean '%s'?", a->event, event_meant(a->event));
		request_fail(r, err);
		return;
	}
	if (a->domain) {
		struct dom *d = doms_find(r->kvmd->doms, a->domain, NULL);

		if (d)
			uuid = g_strdup(d->uuid);
		else if (g_uuid_string_is_valid(a->domain))     /* of one that is gone: its events may still be there */
			uuid = g_ascii_strdown(a->domain, -1);
		else if (!doms_find(r->kvmd->doms, a->domain, &err)) {
			request_fail(r, err);
			return;
		}
		ask.uuid = uuid;
	}
	if (!a->follow && ask.since == UINT64_MAX)
		ask.since = 0;
	f = events_follow(e, request_wire(r), &ask, stream_over, request_wire(r), &err);
	if (!f) {
		request_fail(r, err);
		return;
	}
	request_stream(r, f, (void (*)(void *))follower_free);
	request_reply(r, &(struct tell_events){ events_first(e), events_last(e) });
}

/* --- version, schema --- */

static void cmd_version(struct request *r)
{
	request_reply(r, &(struct tell_version){ .kvmd = (char *)KVMD_VERSION, .machine = (char *)MACHINE_VERSION, .protocol = (char *)"1" });
}

static void cmd_query_schema(struct request *r)
{
	static const struct { unsigned flag; const char *name; } flags[] = {
		{ CMD_READ, "read-only" }, { CMD_VM, "vm" }, { CMD_FDS, "descriptors" }, { CMD_STREAM, "stream" },
	};
	static const char *const where[] = { "kvmd", "machine", "client" };
	json_object *list = json_object_new_array();

	for (const struct command *c = command_next(NULL); c; c = command_next(c)) {
		json_object *o, *f;

		if (c->flags & CMD_INTERNAL)
			continue;
		o = json_object_new_object();
		f = json_object_new_array();
		json_object_object_add(o, "name", json_object_new_string(c->name));
		if (c->verb)
			json_object_object_add(o, "verb", json_object_new_string(c->verb));
		json_object_object_add(o, "doc", json_object_new_string(c->doc));
		json_object_object_add(o, "where", json_object_new_string(where[c->where]));
		for (size_t i = 0; i < G_N_ELEMENTS(flags); i++)
			if (c->flags & flags[i].flag)
				json_object_array_add(f, json_object_new_string(flags[i].name));
		json_object_object_add(o, "flags", f);
		if (c->args)
			json_object_object_add(o, "arguments", json_describe(c->args));
		if (c->reply)
			json_object_object_add(o, "return", json_describe(c->reply));
		json_object_array_add(list, o);
	}
	request_reply_json(r, list, NULL, 0);
}

static const struct command_binding bindings[] = {
	{ "define", cmd_define },
	{ "undefine", cmd_undefine },
	{ "list", cmd_list },
	{ "start", cmd_start },
	{ "destroy", cmd_destroy },
	{ "dumpxml", cmd_dumpxml },
	{ "dominfo", cmd_dominfo },
	{ "domstate", cmd_domstate },
	{ "console", cmd_console },
	{ "autostart", cmd_autostart },
	{ "event", cmd_event },
	{ "host", cmd_host },
	{ "version", cmd_version },
	{ "domuuid", cmd_domuuid },
	{ "domname", cmd_domname },
	{ "domid", cmd_domid },
	{ "wait", cmd_wait },
	{ "console-log", cmd_log },
	{ "query-schema", cmd_query_schema },
	{ NULL },
};

const struct command_binding *const kvmd_bindings[] = {
	bindings,
	vcpus_bindings,
	vcpus_each_bindings,
	memory_bindings,
	watch_bindings,
	disk_bindings,
	net_bindings,
	devices_bindings,
	media_bindings,
	NULL,
};

const struct command_binding *const kvmd_opening[] = {
	media_opening,
	chardev_opening,
	chardev_adding,
	blockdev_opening,
	qmp_opening,
	NULL,
};
