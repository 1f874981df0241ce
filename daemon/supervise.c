/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a machine: start, events, end, restarts. */
#include "daemon/supervise.h"

#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cgroup.h"
#include "daemon/kvmd.h"
#include "daemon/launch.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/probe.h"

#define FDS_A_MESSAGE 200
#define LOST_MS 3000            /* between the end of a machine's connection and that of its process */
#define AFTER_KILL_MS 10000

static void schedule_restart(struct dom *d, bool at_once);

static json_object *data_str(json_object *o, const char *key, const char *value)
{
	if (!o)
		o = json_object_new_object();
	if (value)
		json_object_object_add(o, key, json_object_new_string(value));
	return o;
}

static void dom_kill(struct dom *d)
{
	if (d->pidfd >= 0 && syscall(SYS_pidfd_send_signal, d->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		log_warning("vm '%s': kill process %d: %s", d->name, d->pid, g_strerror(errno));
}

/* --- the end --- */

static const char *const end_reasons[] = { "shutdown", "reset", "panicked", "crashed", "killed", "error", "test-exit" };

struct end {
	char *reason, *detail;
	bool guest;
	int64_t value;
};

static void end_clear(struct end *e)
{
	g_free(e->reason);
	g_free(e->detail);
}

/* The last line of the exit record; a worker that wrote none was killed, or crashed. */
static void end_read(struct end *e, const char *record, const char *status)
{
	g_auto(GStrv) lines = record ? g_strsplit(record, "\n", -1) : NULL;
	json_object *o = NULL, *v;

	for (unsigned i = 0; lines && lines[i]; i++)
		if (*lines[i]) {
			json_object_put(o);
			o = json_tokener_parse(lines[i]);
		}
	*e = (struct end){ 0 };
	if (json_object_is_type(o, json_type_object) && json_object_object_get_ex(o, "reason", &v)) {
		for (size_t i = 0; i < G_N_ELEMENTS(end_reasons); i++)
			if (!strcmp(end_reasons[i], json_object_get_string(v)))
				e->reason = g_strdup(end_reasons[i]);
		if (json_object_object_get_ex(o, "detail", &v) && json_object_get_string_len(v))
			e->detail = g_strdup(json_object_get_string(v));
		if (json_object_object_get_ex(o, "guest", &v))
			e->guest = json_object_get_boolean(v);
		if (json_object_object_get_ex(o, "value", &v))
			e->value = json_object_get_int64(v);
	}
	json_object_put(o);
	if (!e->reason) {
		e->reason = g_strdup("crashed");
		e->detail = g_strdup(status ? status : "its process ended without a word");
	}
}

static const struct {
	const char *reason;
	size_t action;          /* of struct machine */
	enum lifecycle_action otherwise;
} policies[] = {
	{ "shutdown", offsetof(struct machine, on_poweroff), ACTION_DESTROY },
	{ "reset", offsetof(struct machine, on_reboot), ACTION_RESTART },
	{ "panicked", offsetof(struct machine, on_crash), ACTION_DESTROY },
	{ "crashed", offsetof(struct machine, on_crash), ACTION_DESTROY },
	{ "error", offsetof(struct machine, on_crash), ACTION_DESTROY },
};

static bool wants_restart(const struct machine *m, const char *reason)
{
	for (size_t i = 0; m && i < G_N_ELEMENTS(policies); i++) {
		int action;

		if (strcmp(policies[i].reason, reason))
			continue;
		action = *(const int *)((const char *)m + policies[i].action);
		if (action == ACTION_ABSENT)
			action = policies[i].otherwise;
		return action == ACTION_RESTART || action == ACTION_RENAME_RESTART || action == ACTION_COREDUMP_RESTART;
	}
	return false;
}

static void forget_process(struct dom *d)
{
	if (d->gone)
		g_source_remove(d->gone);
	if (d->kill_timer)
		g_source_remove(d->kill_timer);
	if (d->lost_timer)
		g_source_remove(d->lost_timer);
	d->gone = d->kill_timer = d->lost_timer = 0;
	g_clear_pointer(&d->link, link_free);
	if (d->pidfd >= 0)
		close(d->pidfd);
	if (d->seen_fd >= 0)
		close(d->seen_fd);
	d->pid = d->pidfd = d->seen_fd = -1;
	d->seen = 0;
	d->uid = d->id = 0;
	d->replaying = false;
}

/* What an end means; d->live still says what ran. */
static void dom_ended(struct dom *d, struct end *e, bool policy)
{
	bool crash = !d->destroyed && d->state != DOM_STARTING && (!strcmp(e->reason, "crashed") || !strcmp(e->reason, "error") || !strcmp(e->reason, "panicked"));
	bool failed = d->state == DOM_STARTING;         /* START_FAILED has told why */
	const char *reason = failed ? "failed" : d->destroyed ? "destroyed" : !strcmp(e->reason, "killed") ? "ended by request" : e->reason;
	bool restart = policy && !d->destroyed && d->text && !d->kvmd->stopping && wants_restart(d->live, e->reason);
	json_object *data = data_str(NULL, "reason", reason);

	data_str(data, "detail", e->detail);
	json_object_object_add(data, "guest", json_object_new_boolean(e->guest));
	if (!strcmp(e->reason, "test-exit"))
		json_object_object_add(data, "value", json_object_new_int64(e->value));
	if (crash)
		log_warning("vm '%s': %s%s%s", d->name, e->reason, e->detail ? ": " : "", e->detail ? e->detail : "");
	else
		log_info("vm '%s': off (%s)", d->name, reason);
	cgroups_leave(d->kvmd->cgroups, d->kvmd->slow, d->uuid);
	dom_clean(d);
	g_clear_pointer(&d->live, machine_free);
	d->destroyed = false;
	dom_ref(d);
	if (failed)
		json_object_put(data);
	else
		dom_event(d, crash ? "CRASHED" : "STOPPED", data);
	dom_set_state(d, DOM_SHUTOFF, reason);
	if (!d->text && d->listed && !dom_is_active(d)) {
		dom_event(d, "UNDEFINED", NULL);
		doms_remove(d);
	} else if (restart && !dom_is_active(d)) {
		schedule_restart(d, !strcmp(e->reason, "reset"));
	}
	dom_unref(d);
}

static char *wait_status(int pidfd)
{
	siginfo_t si = { 0 };

	/* not our child when an earlier kvmd started it: its exit record is all there is */
	if (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | WNOHANG) < 0 || !si.si_pid)
		return NULL;
	if (si.si_code == CLD_EXITED)
		return g_strdup_printf("its process ended with status %d", si.si_status);
	return g_strdup_printf("its process was killed by signal %d (%s)%s", si.si_status, strsignal(si.si_status),
		si.si_status == SIGKILL ? "; look for the out-of-memory killer in the kernel's log" : "");
}

static gboolean process_gone(gint fd, GIOCondition cond, gpointer data)
{
	struct dom *d = data;
	g_autofree char *status = wait_status(d->pidfd);
	g_autofree char *dir = dom_run_dir(d);
	g_autofree char *path = g_build_filename(dir, "exit", NULL);
	g_autofree char *record = NULL;
	struct end e;

	(void)g_file_get_contents(path, &record, NULL, NULL);
	end_read(&e, record, status);
	d->gone = 0;
	dom_ref(d);
	forget_process(d);
	dom_ended(d, &e, true);
	end_clear(&e);
	dom_unref(d);
	return G_SOURCE_REMOVE;
}

void dom_watch(struct dom *d)
{
	/* lower than sockets: what the worker said before it ended is read first */
	d->gone = g_unix_fd_add_full(G_PRIORITY_DEFAULT + 10, d->pidfd, G_IO_IN, process_gone, d, NULL);
}

void dom_ended_unseen(struct dom *d, const char *record, bool same_boot)
{
	struct end e;

	end_read(&e, record, "its process ended while kvmd was away, without a word");
	if (!same_boot) {
		g_free(e.reason);
		g_free(e.detail);
		e.reason = g_strdup("killed");
		e.detail = g_strdup("the host went down");
	}
	dom_ended(d, &e, same_boot);
	end_clear(&e);
}

/* --- events of a worker --- */

enum dom_state dom_state_of_run_state(const char *run_state, const char **reason)
{
	static const struct { const char *name; enum dom_state state; const char *reason; } map[] = {
		{ "running", DOM_RUNNING, "adopted" },
		{ "paused", DOM_PAUSED, "by request" },
		{ "prelaunch", DOM_PAUSED, "not yet run" },
		{ "inmigrate", DOM_PAUSED, "migrating" },
		{ "shutdown", DOM_SHUTDOWN, "kept after power-off" },
		{ "guest-panicked", DOM_CRASHED, "panicked" },
		{ "internal-error", DOM_CRASHED, "crashed" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(map); i++)
		if (!g_strcmp0(map[i].name, run_state)) {
			*reason = map[i].reason;
			return map[i].state;
		}
	*reason = "its process said nothing of its state";
	return DOM_UNKNOWN;
}

static void follow_state(struct dom *d, const char *name, json_object *data)
{
	json_object *v;

	if (!strcmp(name, "STOP")) {
		if (d->state == DOM_RUNNING)
			dom_set_state(d, DOM_PAUSED, "by request");
	} else if (!strcmp(name, "RESUME")) {
		if (d->state != DOM_RUNNING)
			dom_set_state(d, DOM_RUNNING, "resumed");
	} else if (!strcmp(name, "RESET")) {
		if (d->state == DOM_SHUTDOWN || d->state == DOM_CRASHED)
			dom_set_state(d, DOM_RUNNING, "reset");
	} else if (!strcmp(name, "SHUTDOWN")) {
		dom_set_state(d, DOM_SHUTDOWN, "the guest is off");
	} else if (!strcmp(name, "KVMD_CRASH")) {
		dom_set_state(d, DOM_CRASHED, "crashed");
	} else if (!strcmp(name, "GUEST_PANICKED")) {
		if (data && json_object_object_get_ex(data, "action", &v) && !g_strcmp0(json_object_get_string(v), "pause"))
			dom_set_state(d, DOM_CRASHED, "panicked");
	}
}

void dom_take_event(struct dom *d, const char *name, json_object *data, uint64_t seq)
{
	json_object *copy = NULL;

	if (seq && seq <= d->seen)
		return;
	if (seq) {
		d->seen = seq;
		if (d->seen_fd >= 0)
			(void)!pwrite(d->seen_fd, &seq, sizeof seq, 0);         /* worst case: an event is told twice */
	}
	if (d->state != DOM_STARTING && d->state != DOM_ADOPTING)
		follow_state(d, name, data);
	if (data)
		(void)json_object_deep_copy(data, &copy, NULL);
	if (!copy)
		copy = json_object_new_object();
	json_object_object_add(copy, "worker-seq", json_object_new_uint64(seq));
	dom_event(d, name, copy);
}

static void link_event(void *owner, const char *name, json_object *data, uint64_t seq)
{
	struct dom *d = owner;

	if (!d->replaying)
		dom_take_event(d, name, data, seq);
}

/* It closed the connection, but lives on: out of our sight. */
static gboolean lost(gpointer data)
{
	struct dom *d = data;

	d->lost_timer = 0;
	if (!d->link && d->state != DOM_STARTING && d->state != DOM_ADOPTING && d->state != DOM_UNKNOWN) {
		dom_set_state(d, DOM_UNKNOWN, "its process closed the connection");
		dom_reconnect(d);
	}
	return G_SOURCE_REMOVE;
}

static void link_closed(void *owner, const char *why)
{
	struct dom *d = owner;

	g_clear_pointer(&d->link, link_free);
	if (why)
		log_warning("vm '%s': its process: %s", d->name, why);
	/* a process that ends closes this first, and its pidfd tells the rest when the kernel has taken its memory down */
	if (d->pidfd >= 0 && !d->lost_timer)
		d->lost_timer = g_timeout_add(LOST_MS, lost, d);
}

static const struct link_ops link_ops = { link_event, link_closed };

void dom_link(struct dom *d, int fd)
{
	d->link = link_new(fd, &link_ops, d);
}

bool dom_can_ask(const struct dom *d, GError **err)
{
	switch (d->state) {
	case DOM_SHUTOFF:
		return kerr_set(err, KERR_STATE, "the domain is not running");
	case DOM_STARTING:
		return kerr_set(err, KERR_STATE, "the domain is just starting: try again");
	case DOM_ADOPTING:
	case DOM_UNKNOWN:
		return kerr_set(err, KERR_CONNECT, "the domain's process (%d) does not answer: %s", d->pid, d->reason);
	default:
		if (!d->link)
			return kerr_set(err, KERR_CONNECT, "the domain's process (%d) cannot be reached", d->pid);
		return true;
	}
}

/* --- start --- */

struct starting {
	struct dom *dom;
	struct launch *launch;
	bool paused;
	gint64 begun;           /* monotonic, µs */
	GError *err;            /* its worker refused: told when that is gone */
	dom_done *done;
	void *arg;
};

static void starting_end(struct starting *s, const GError *err)
{
	if (s->done)
		s->done(s->arg, s->launch ? s->launch->notes : NULL, err);
	else if (err)
		log_error("vm '%s': start: %s", s->dom->name, err->message);
	launch_free(s->launch);
	g_clear_error(&s->err);
	dom_unref(s->dom);
	g_free(s);
}

/* Nothing of it runs. */
static void start_failed(struct starting *s, const GError *err)
{
	struct dom *d = s->dom;

	for (unsigned i = 0; s->launch && i < s->launch->sockets->len; i++)
		(void)unlink(g_ptr_array_index(s->launch->sockets, i));
	if (!g_error_matches(err, kerr_quark(), KERR_BUSY))     /* the lock's holder owns what is in the folder */
		dom_clean(d);
	g_clear_pointer(&d->live, machine_free);
	d->destroyed = false;
	d->id = d->uid = 0;
	dom_event(d, "START_FAILED", data_str(NULL, "reason", err->message));
	dom_set_state(d, DOM_SHUTOFF, "failed");
	if (!d->text && d->listed)
		doms_remove(d);
	starting_end(s, err);
}

/* So that whoever is told may start again at once. */
static void start_over(void *arg, struct dom *d)
{
	struct starting *s = arg;

	if (dom_is_active(d))
		return;
	dom_unwait(d, s);
	starting_end(s, s->err);
}

static void machine_created(void *arg, json_object *reply, const GError *err)
{
	struct starting *s = arg;
	struct dom *d = s->dom;

	if (err) {
		s->err = g_error_copy(err);
		if (g_error_matches(err, kerr_quark(), KERR_CONNECT))
			g_prefix_error(&s->err, "the machine's process ended before it was ready (see %s/%s.log): ", d->kvmd->paths->log, d->name);
		d->destroyed = true;            /* process_gone tells the rest, without a restart */
		dom_kill(d);
		dom_event(d, "START_FAILED", data_str(NULL, "reason", s->err->message));
		dom_wait(d, start_over, s);
		return;
	}
	d->started = g_get_monotonic_time();
	log_info("vm '%s': started in %.1f ms, process %d", d->name, (double)(d->started - s->begun) / 1000, d->pid);
	dom_event(d, "STARTED", data_str(NULL, "state", s->paused ? "paused" : "running"));
	dom_set_state(d, s->paused ? DOM_PAUSED : DOM_RUNNING, s->paused ? "not yet run" : "booted");
	starting_end(s, NULL);
}

static void send_fds(struct dom *d, GPtrArray *fds)
{
	for (unsigned at = 0; at < fds->len; at += FDS_A_MESSAGE) {
		json_object *names = json_object_new_array(), *args = json_object_new_object();
		int some[FDS_A_MESSAGE];
		unsigned n = MIN(fds->len - at, FDS_A_MESSAGE);

		for (unsigned i = 0; i < n; i++) {
			const struct launch_fd *f = g_ptr_array_index(fds, at + i);
			json_object *item = json_object_new_object();

			json_object_object_add(item, "name", json_object_new_string(f->name));
			json_object_array_add(names, item);
			some[i] = f->fd;
		}
		json_object_object_add(args, "names", names);
		link_call(d->link, "add-fds", args, some, n, 0, NULL, NULL);
	}
}

/* A worker that is not yet a machine: nobody will miss it, and it must not become a zombie. */
static gboolean stray_gone(gint fd, GIOCondition cond, gpointer data)
{
	g_free(wait_status(fd));
	close(fd);
	return G_SOURCE_REMOVE;
}

static void launched(void *arg)
{
	struct starting *s = arg;
	struct dom *d = s->dom;
	struct launch *l = s->launch;

	if (!l->err && d->destroyed)
		kerr_set(&l->err, KERR_STATE, "destroyed while it was starting");
	if (l->err) {
		g_autoptr(GError) err = g_error_copy(l->err);

		if (l->pidfd >= 0) {
			(void)syscall(SYS_pidfd_send_signal, l->pidfd, SIGKILL, NULL, 0);
			g_unix_fd_add(l->pidfd, G_IO_IN, stray_gone, NULL);
			l->pidfd = -1;
			cgroups_leave(d->kvmd->cgroups, d->kvmd->slow, d->uuid);
		}
		start_failed(s, err);
		return;
	}
	d->pid = l->pid;
	d->pidfd = l->pidfd;
	d->seen_fd = l->seen_fd;
	d->seen = 0;
	d->live = l->machine;
	l->machine = NULL;
	dom_link(d, l->sock);
	l->pidfd = l->seen_fd = l->sock = -1;
	dom_watch(d);
	send_fds(d, l->fds);
	launch_close_fds(l);
	link_call(d->link, "machine-create", json_object_get(l->create), NULL, 0, d->kvmd->config->start_timeout, machine_created, s);
	cgroups_join(d->kvmd->cgroups, d->kvmd->slow, d->uuid, d->name, d->pid);
	log_debug("vm '%s': launched in %" G_GINT64_FORMAT " us", d->name, g_get_monotonic_time() - s->begun);
}

static void run_launch(void *arg)
{
	launch_run(((struct starting *)arg)->launch);
}

static void launch_it(struct starting *s)
{
	struct dom *d = s->dom;
	struct kvmd *k = d->kvmd;
	struct launch *l;

	l = s->launch = launch_new();
	l->paths = k->paths;
	l->config = k->config;
	l->cgroups = k->cgroups;
	l->worker = k->worker;
	l->empty = k->empty;
	l->kvm = probe_device(k->probe);
	l->null_fd = k->null_fd;
	l->ram_fs = k->ram_fs;
	l->name = g_strdup(d->name);
	l->uuid = g_strdup(d->uuid);
	l->text = g_strdup(d->text);
	l->host = g_strdup(probe_text(k->probe));
	l->id = d->id;
	l->uid = d->uid;
	l->restarts = d->restarts;
	l->paused = s->paused;
	work_run(k->work, run_launch, launched, s);
}

static bool may_start(struct dom *d, GError **err)
{
	if (d->state == DOM_ADOPTING || d->state == DOM_UNKNOWN)
		return kerr_set(err, KERR_BUSY, "the domain's process (%d) holds its lock but does not answer: end it by 'kvmctl destroy %s'", d->pid, d->name);
	if (dom_is_active(d))
		return kerr_set(err, KERR_STATE, "the domain is already %s", dom_state_names[d->state]);
	if (d->kvmd->stopping)
		return kerr_set(err, KERR_STATE, "kvmd is ending");
	if (!d->text || d->trouble)
		return kerr_set(err, KERR_XML, "its definition cannot be used: %s", d->trouble ? d->trouble : "there is none");
	return true;
}

static void start(struct dom *d, bool paused, dom_done *done, void *arg)
{
	struct kvmd *k = d->kvmd;
	g_autoptr(GError) err = NULL;
	struct starting *s;

	if (d->restart_timer)
		g_source_remove(d->restart_timer);
	d->restart_timer = 0;
	if (may_start(d, &err) && k->privileged && k->config->worker_uid_base)
		d->uid = doms_new_uid(k->doms, &err);
	if (err) {
		if (done)
			done(arg, NULL, err);
		else
			log_error("vm '%s': start: %s", d->name, err->message);
		return;
	}
	d->id = doms_new_id(k->doms);
	d->destroyed = false;
	s = g_new0(struct starting, 1);
	*s = (struct starting){ .dom = dom_ref(d), .paused = paused, .begun = g_get_monotonic_time(), .done = done, .arg = arg };
	dom_set_state(d, DOM_STARTING, "by request");
	launch_it(s);
}

void dom_start(struct dom *d, bool paused, dom_done *done, void *arg)
{
	if (!d->restart_timer)
		d->restarts = d->delay = 0;
	start(d, paused, done, arg);
}

/* --- restarts --- */

static gboolean restart_due(gpointer data)
{
	struct dom *d = data;

	d->restart_timer = 0;
	d->restarts++;
	start(d, false, NULL, NULL);
	return G_SOURCE_REMOVE;
}

static void schedule_restart(struct dom *d, bool at_once)
{
	const struct config *c = d->kvmd->config;
	json_object *data = json_object_new_object();
	g_autofree char *why = NULL;

	if (d->started && g_get_monotonic_time() - d->started >= (gint64)c->restart_steady * 1000)
		d->delay = 0;
	d->delay = d->delay ? MIN(d->delay * 2, c->restart_delay_max) : c->restart_delay;
	uint32_t ms = at_once && d->delay == c->restart_delay ? 0 : d->delay;

	json_object_object_add(data, "delay-ms", json_object_new_int64(ms));
	json_object_object_add(data, "restarts", json_object_new_int64(d->restarts + 1));
	dom_event(d, "RESTARTING", data);
	why = g_strdup_printf("%s; starts again in %u ms", d->reason, ms);
	dom_set_state(d, DOM_SHUTOFF, why);
	d->restart_timer = g_timeout_add(ms, restart_due, d);
}

/* --- destroy --- */

struct destroying {
	struct dom *dom;
	dom_done *done;
	void *arg;
	guint timer;
};

static void destroying_end(struct destroying *x, const GError *err)
{
	struct dom *d = x->dom;

	dom_unwait(d, x);
	if (x->timer)
		g_source_remove(x->timer);
	x->done(x->arg, NULL, err);
	g_free(x);
	dom_unref(d);
}

static void destroy_progress(void *arg, struct dom *d)
{
	if (!dom_is_active(d))
		destroying_end(arg, NULL);
}

static gboolean destroy_stuck(gpointer data)
{
	struct destroying *x = data;
	g_autoptr(GError) err = NULL;

	x->timer = 0;
	kerr_set(&err, KERR_TIMEOUT, "process %d was killed but has not ended: it waits in the kernel, perhaps for a disk or a file server", x->dom->pid);
	destroying_end(x, err);
	return G_SOURCE_REMOVE;
}

static gboolean kill_now(gpointer data)
{
	struct dom *d = data;

	d->kill_timer = 0;
	log_warning("vm '%s': process %d did not end by itself: killed", d->name, d->pid);
	dom_kill(d);
	return G_SOURCE_REMOVE;
}

void dom_destroy(struct dom *d, dom_done *done, void *arg)
{
	g_autoptr(GError) err = NULL;
	struct destroying *x;

	if (d->restart_timer) {
		g_source_remove(d->restart_timer);
		d->restart_timer = 0;
		dom_set_state(d, DOM_SHUTOFF, "destroyed");
		done(arg, NULL, NULL);
		return;
	}
	if (!dom_is_active(d))
		kerr_set(&err, KERR_STATE, "the domain is not running");
	else if (d->pidfd < 0 && d->state != DOM_STARTING)
		kerr_set(&err, KERR_CONNECT, "which process runs it is not known: look for the holder of %s/%s/lock", d->kvmd->paths->vms, d->uuid);
	if (err) {
		done(arg, NULL, err);
		return;
	}
	x = g_new0(struct destroying, 1);
	*x = (struct destroying){ .dom = dom_ref(d), .done = done, .arg = arg };
	x->timer = g_timeout_add(d->kvmd->config->destroy_timeout + AFTER_KILL_MS, destroy_stuck, x);
	dom_wait(d, destroy_progress, x);
	d->destroyed = true;
	if (d->pidfd < 0)
		return;                         /* launched() sees to it */
	if (d->link && d->state != DOM_STARTING && d->state != DOM_ADOPTING && d->state != DOM_UNKNOWN) {
		link_call(d->link, "quit", NULL, NULL, 0, 0, NULL, NULL);
		if (!d->kill_timer)
			d->kill_timer = g_timeout_add(d->kvmd->config->destroy_timeout, kill_now, d);
	} else {
		dom_kill(d);
	}
}
