/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Machines that an earlier kvmd started.
 *
 * Each folder in run/vm is one. Its lock is held by the worker and by nobody else, so a lock that can be taken means that
 * the worker has ended: its exit record says how, and policy follows. A held lock means a living machine: its process is
 * known from the lock file (pid with start time, so that a reused pid is not taken for it), the rest is asked of the
 * process itself: who are you, what machine, which events since the last we took. One that does not answer is «unknown»,
 * asked again now and then, and never harmed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/kvmd.h"
#include "daemon/chardev_open.h"
#include "daemon/given.h"
#include "daemon/launch.h"
#include "daemon/refresh.h"
#include "daemon/unix.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/net.h"
#include "daemon/sockets.h"
#include "daemon/supervise.h"
#include "domain/json.h"

#define ASK_AGAIN_MS 1000

struct adoption {
	struct kvmd *kvmd;
	unsigned pending;
	guint patience;
	void (*done)(void *);
	void *arg;
};

struct adopting {
	struct dom *dom;
	struct adoption *all;   /* NULL: it has been counted as answered */
	enum dom_state state;   /* what it says, until it has said all */
	const char *reason;
};

/* --- cleaning --- */

void dom_clean(struct dom *d)
{
	static const char *const files[] = { "qmp.sock", "kvmd.sock", "exit", "seen", "stats", "lock" };
	g_autofree char *dir = dom_run_dir(d);
	g_autofree char *link = g_strdup_printf("%s/%s.qmp", d->kvmd->paths->vms, d->name);

	sockets_tidy(dir, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
		g_autofree char *path = g_build_filename(dir, files[i], NULL);

		(void)unlink(path);
	}
	net_clean(dir, NULL);
	given_clean(dir);
	(void)unlink(link);
	if (rmdir(dir) < 0 && errno != ENOENT)
		log_warning("folder '%s': %s", dir, g_strerror(errno));
}

/* --- what the lock file says --- */

struct sign {
	int pid;
	unsigned uid;
	uint64_t start;
	char boot[64], name[512];
};

static bool sign_read(const char *dir, struct sign *s)
{
	g_autofree char *path = g_build_filename(dir, "lock", NULL);
	g_autofree char *text = NULL;

	*s = (struct sign){ .pid = -1 };
	return g_file_get_contents(path, &text, NULL, NULL) &&
		sscanf(text, "pid %d start %" G_GUINT64_FORMAT " uid %u boot %63s machine %511[^\n]", &s->pid, &s->start, &s->uid, s->boot, s->name) == 5;
}

/* -1 unless the process of that pid is the one that was meant. */
static int sign_pidfd(const struct sign *s)
{
	int fd = s->pid > 0 ? (int)syscall(SYS_pidfd_open, s->pid, 0) : -1;

	if (fd >= 0 && process_start(s->pid) != s->start) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* --- asking --- */

static void try_again(struct dom *d);

static void answered(struct adopting *a)
{
	struct adoption *all = a->all;

	a->all = NULL;
	if (!all || --all->pending)
		return;
	if (all->done && !all->kvmd->stopping)
		all->done(all->arg);
	if (all->patience)
		g_source_remove(all->patience);
	g_free(all);
}

static void adopting_end(struct adopting *a)
{
	answered(a);
	dom_unref(a->dom);
	g_free(a);
}

static void not_reached(struct adopting *a, const char *why)
{
	struct dom *d = a->dom;
	bool told = d->state == DOM_UNKNOWN;

	d->replaying = false;
	if (dom_is_active(d) && !d->kvmd->stopping) {   /* else it is we who do not listen */
		if (!told) {
			json_object *data = json_object_new_object();

			log_warning("vm '%s': process %d does not answer: %s", d->name, d->pid, why);
			json_object_object_add(data, "reason", json_object_new_string(why));
			dom_event(d, "LOST", data);
			dom_set_state(d, DOM_UNKNOWN, why);
		}
		try_again(d);
	}
	adopting_end(a);
}

static void have_events(void *arg, json_object *reply, const GError *err)
{
	struct adopting *a = arg;
	struct dom *d = a->dom;

	if (err) {
		not_reached(a, err->message);
		return;
	}
	for (size_t i = 0; json_object_is_type(reply, json_type_array) && i < json_object_array_length(reply); i++) {
		json_object *e = json_object_array_get_idx(reply, i), *v, *data = NULL;
		const char *name = json_object_object_get_ex(e, "event", &v) ? json_object_get_string(v) : NULL;
		uint64_t seq = json_object_object_get_ex(e, "seq", &v) ? json_object_get_uint64(v) : 0;

		(void)json_object_object_get_ex(e, "data", &data);
		if (name && seq > d->seen)
			dom_take_event(d, name, data, seq);
	}
	d->replaying = false;
	json_object *data = json_object_new_object();

	json_object_object_add(data, "state", json_object_new_string(dom_state_names[d->state]));
	dom_event(d, "ADOPTED", data);
	log_info("vm '%s': adopted, process %d, %s", d->name, d->pid, dom_state_names[d->state]);
	if (d->stale)
		dom_refresh(d, NULL, NULL);
	d->started = g_get_monotonic_time();
	adopting_end(a);
}

static void know_state(struct dom *d, enum dom_state state, const char *reason)
{
	g_autofree char *known = NULL;
	gint64 since = 0;

	if (state == d->remembered.state && d->remembered.reason) {
		since = d->remembered.since;
		reason = known = g_strdup(d->remembered.reason);
	}
	dom_set_state(d, state, reason);
	if (since)
		d->since = d->remembered.since = since;
}

static void have_machine(void *arg, json_object *reply, const GError *err)
{
	struct adopting *a = arg;
	struct dom *d = a->dom;
	struct machine *m = err ? NULL : machine_new();
	g_autofree char *dir = dom_run_dir(d);
	g_autoptr(GError) bad = NULL;
	json_object *args;

	if (!err && !json_to_struct(&machine_schema, m, reply, &bad)) {
		machine_free(m);
		m = NULL;
	}
	/* kvmd of before there were notes: what it says first is what counts */
	if (m && !(given_is_known(dir) ? given_holds(dir, m, &bad) : given_begin(dir, m, &bad))) {
		machine_free(m);
		m = NULL;
	}
	if (!m) {
		not_reached(a, err ? err->message : bad->message);
		return;
	}
	know_state(d, a->state, a->reason);
	net_forget(d);
	chardev_redial_stop(d);
	machine_free(d->live);
	d->live = m;
	sockets_tidy(dir, m);
	net_clean(dir, m);
	net_watch(d);
	chardev_redial(d);
	d->id = m->id;
	doms_saw_id(d->kvmd->doms, m->id);
	if (!d->text && m->name && strcmp(m->name, d->name) && !doms_by_name(d->kvmd->doms, m->name))
		doms_rename(d, m->name);
	args = json_object_new_object();
	json_object_object_add(args, "since", json_object_new_uint64(d->seen));
	link_call(d->link, "replay-events", args, NULL, 0, d->kvmd->config->answer_timeout, have_events, a);
}

static void have_hello(void *arg, json_object *reply, const GError *err)
{
	struct adopting *a = arg;
	struct dom *d = a->dom;
	const char *reason;
	enum dom_state state;
	json_object *v;

	if (err) {
		not_reached(a, err->message);
		return;
	}
	state = dom_state_of_run_state(json_object_object_get_ex(reply, "status", &v) ? json_object_get_string(v) : NULL, &reason);
	if (state == DOM_UNKNOWN) {
		not_reached(a, reason);
		return;
	}
	a->state = state;
	a->reason = reason;
	link_call(d->link, "query-machine", NULL, NULL, 0, d->kvmd->config->answer_timeout, have_machine, a);
}

static void ask(struct dom *d, struct adoption *all)
{
	struct adopting *a = g_new0(struct adopting, 1);
	g_autofree char *dir = dom_run_dir(d);
	g_autofree char *path = g_build_filename(dir, "kvmd.sock", NULL);
	g_autoptr(GError) err = NULL;

	*a = (struct adopting){ .dom = dom_ref(d), .all = all };
	d->replaying = true;
	d->stale = false;
	if (!d->link) {
		int fd = connect_unix(path, &err);

		if (fd < 0) {
			not_reached(a, err->message);
			return;
		}
		dom_link(d, fd);
	}
	link_call(d->link, "hello", NULL, NULL, 0, d->kvmd->config->answer_timeout, have_hello, a);
}

static gboolean ask_again(gpointer data)
{
	struct dom *d = data;

	if (d->listed && d->state == DOM_UNKNOWN && !d->kvmd->stopping)
		ask(d, NULL);
	dom_unref(d);
	return G_SOURCE_REMOVE;
}

void dom_reconnect(struct dom *d)
{
	try_again(d);
}

static void try_again(struct dom *d)
{
	g_timeout_add(ASK_AGAIN_MS, ask_again, dom_ref(d));
}

/* --- looking --- */

static struct dom *dom_for(struct kvmd *k, const char *uuid, const struct sign *s)
{
	struct dom *d = doms_by_uuid(k->doms, uuid);

	if (d)
		return d;
	/* its definition is gone: it runs until it ends */
	return doms_add(k->doms, *s->name && !doms_by_name(k->doms, s->name) ? s->name : uuid, uuid);
}

/* The number of the worker's last event that is in the journal: kvmd may have died before it could write the last one there. */
static uint64_t last_taken(const struct kvmd *k, int fd)
{
	struct dom_seen s = { 0 };

	if (fd < 0 || pread(fd, &s, sizeof s, 0) < (ssize_t)sizeof s.seq)
		return 0;
	return s.seq && s.number > events_found(k->events) ? s.seq - 1 : s.seq;
}

static void found_alive(struct kvmd *k, const char *uuid, const char *dir, struct adoption *all)
{
	g_autofree char *seen = g_build_filename(dir, "seen", NULL);
	struct dom *d;
	struct sign s;

	(void)sign_read(dir, &s);
	d = dom_for(k, uuid, &s);
	d->pid = s.pid;
	d->uid = s.uid;
	d->pidfd = sign_pidfd(&s);
	d->seen_fd = open(seen, O_RDWR | O_CLOEXEC);
	d->seen = last_taken(k, d->seen_fd);
	dom_set_state(d, DOM_ADOPTING, "kvmd has begun anew");
	if (d->pidfd >= 0)
		dom_watch(d);
	else
		log_warning("vm '%s': its lock is held, but not by the process that took it", d->name);
	all->pending++;
	ask(d, all);
}

static void found_dead(struct kvmd *k, const char *uuid, const char *dir)
{
	g_autofree char *record = end_record(dir), *boot = boot_id();
	struct dom *d = doms_by_uuid(k->doms, uuid);
	g_autoptr(GError) err = NULL;
	struct sign s;

	bool signed_ = sign_read(dir, &s);

	if (!d)
		d = dom_for(k, uuid, &s);
	if (d->text) {                  /* policy is the definition's: what ran is not known any more */
		AUTO(report) r = report_new(NULL, false, true);

		d->live = machine_from_xml(d->text, strlen(d->text), r, &err);
	}
	dom_ended_unseen(d, record, signed_ && !strcmp(s.boot, boot));
}

static void look(struct kvmd *k, const char *uuid, struct adoption *all)
{
	g_autofree char *dir = g_build_filename(k->paths->vms, uuid, NULL);
	g_autofree char *path = g_build_filename(dir, "lock", NULL);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	bool held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	if (held)
		found_alive(k, uuid, dir, all);
	else
		found_dead(k, uuid, dir);
	if (fd >= 0)
		close(fd);
}

static gboolean patience_over(gpointer data)
{
	struct adoption *all = data;

	all->patience = 0;
	if (all->done && !all->kvmd->stopping)
		all->done(all->arg);
	all->done = NULL;               /* the rest comes when it comes; `all` stays for them */
	return G_SOURCE_REMOVE;
}

void adopt_all(struct kvmd *k, unsigned patience_ms, void (*done)(void *), void *arg)
{
	struct adoption *all = g_new0(struct adoption, 1);
	struct adopting *self = g_new0(struct adopting, 1);
	GDir *dir = g_dir_open(k->paths->vms, 0, NULL);
	const char *name;

	*all = (struct adoption){ .kvmd = k, .pending = 1, .done = done, .arg = arg };
	all->patience = g_timeout_add(patience_ms, patience_over, all);
	while (dir && (name = g_dir_read_name(dir)))
		if (g_uuid_string_is_valid(name))
			look(k, name, all);
	if (dir)
		g_dir_close(dir);
	self->all = all;
	answered(self);                 /* the look itself */
	g_free(self);
}
