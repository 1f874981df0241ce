/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The begin of a machine's life: by request, and again by policy (restart.c).
 *
 * Theory of operation: the domain is taken (state starting), launch_run() does on a thread what may block, then descriptors and
 * machine-create are sent without waiting. machine_created() ends a start that went well. One that did not is told when its
 * process has gone, so that whoever is told may start again at once.
 */
#include <errno.h>
#include <glib-unix.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/cgroup.h"
#include "daemon/chardev_open.h"
#include "daemon/kvmd.h"
#include "daemon/launch.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/net.h"
#include "daemon/probe.h"
#include "daemon/supervise.h"

#define FDS_A_MESSAGE 200

static json_object *one(const char *key, const char *value)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, key, json_object_new_string(value));
	return o;
}

struct starting {
	struct dom *dom;
	struct launch *launch;
	bool paused;
	bool again;             /* by policy */
	gint64 begun;           /* monotonic, µs */
	GError *err;            /* its worker refused: told when that is gone */
	dom_done *done;
	void *arg;
};

static void starting_end(struct starting *s, const GError *err)
{
	if (err && s->done)                     /* whoever asked is told too; the log is for whoever comes later */
		log_warning("vm '%s': start: %s", s->dom->name, err->message);
	else if (err)
		log_error("vm '%s': start: %s", s->dom->name, err->message);
	if (s->done)
		s->done(s->arg, s->launch ? s->launch->notes : NULL, err);
	launch_free(s->launch);
	g_clear_error(&s->err);
	dom_unref(s->dom);
	g_free(s);
}

/* What policy began, policy goes on with: what was missing may come back. */
static void try_again(struct dom *d, bool again)
{
	if (!again || !d->text)
		dom_restart_forget(d);
	else if (d->kvmd->stopping)
		dom_restart_note(d);
	else
		dom_restart_later(d, false);
}

/* Nothing of it runs. */
static void start_failed(struct starting *s, const GError *err)
{
	struct dom *d = s->dom;
	bool again = s->again && !d->destroyed;

	for (unsigned i = 0; s->launch && i < s->launch->sockets->len; i++)
		(void)unlink(g_ptr_array_index(s->launch->sockets, i));
	if (s->launch && s->launch->locked)     /* else the lock's holder owns what is in the folder */
		dom_clean(d);
	g_clear_pointer(&d->live, machine_free);
	d->destroyed = false;
	d->id = d->uid = 0;
	dom_event(d, "START_FAILED", one("reason", err->message));
	dom_set_state_told(d, DOM_SHUTOFF, "failed", err->message);
	if (!d->text && d->listed)
		doms_remove(d);
	else
		try_again(d, again);
	starting_end(s, err);
}

/* So that whoever is told may start again at once. */
static void start_over(void *arg, struct dom *d)
{
	struct starting *s = arg;

	if (dom_is_active(d))
		return;
	dom_unwait(d, s);
	g_free(d->detail);
	d->detail = g_strdup(s->err->message);
	try_again(d, s->again);
	starting_end(s, s->err);
}

static void machine_created(void *arg, json_object *reply, const GError *err)
{
	struct starting *s = arg;
	struct dom *d = s->dom;
	json_object *data;

	if (err) {
		s->again &= !d->destroyed;
		if (d->destroyed)
			kerr_set(&s->err, KERR_STATE, "it was destroyed before it was ready");
		else
			s->err = g_error_copy(err);
		if (g_error_matches(s->err, kerr_quark(), KERR_CONNECT))
			g_prefix_error(&s->err, "the machine's process ended before it was ready (see %s/%s.log): ", d->kvmd->paths->log, d->name);
		d->destroyed = true;            /* process_gone tells the rest, without a restart */
		dom_kill(d);
		dom_event(d, "START_FAILED", one("reason", s->err->message));
		dom_wait(d, start_over, s);
		return;
	}
	dom_restart_forget(d);
	d->started = g_get_monotonic_time();
	log_info("vm '%s': started in %.1f ms, process %d", d->name, (double)(d->started - s->begun) / 1000, d->pid);
	for (unsigned i = 0; i < s->launch->dropped->len; i++) {
		json_object *o = s->launch->dropped->pdata[i], *reason = NULL;

		json_object_object_get_ex(o, "reason", &reason);
		log_warning("vm '%s': started without an optional disk: %s", d->name, json_object_get_string(reason));
		dom_event(d, "DISK_DROPPED", json_object_get(o));
	}
	data = one("state", s->paused ? "paused" : "running");
	json_object_object_add(data, "reason", json_object_new_string(d->reason));      /* of its start: by request, by policy, autostart */
	dom_event(d, "STARTED", data);
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
	g_free(pidfd_status(fd, true));
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
	net_watch(d);
	chardev_redial(d);
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
	l->machines = doms_by_pid(k->doms);
	l->promised = doms_memory(k->doms);
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

static void start(struct dom *d, bool paused, bool again, const char *why, dom_done *done, void *arg)
{
	struct kvmd *k = d->kvmd;
	g_autoptr(GError) err = NULL;
	struct starting *s;

	if (!again)
		(void)dom_restart_call_off(d);
	if (may_start(d, &err) && k->privileged && k->config->worker_uid_base)
		d->uid = doms_new_uid(k->doms, &err);
	if (err) {
		if (again && !k->stopping)
			dom_restart_forget(d);
		if (done)
			done(arg, NULL, err);
		else
			log_error("vm '%s': start: %s", d->name, err->message);
		return;
	}
	d->id = doms_new_id(k->doms);
	d->destroyed = false;
	s = g_new0(struct starting, 1);
	*s = (struct starting){ .dom = dom_ref(d), .paused = paused, .again = again, .begun = g_get_monotonic_time(), .done = done, .arg = arg };
	dom_set_state(d, DOM_STARTING, why);
	launch_it(s);
}

void dom_start(struct dom *d, bool paused, dom_done *done, void *arg)
{
	if (!d->restart_timer)
		d->restarts = d->delay = 0;
	start(d, paused, false, "by request", done, arg);
}

void dom_start_with_host(struct dom *d)
{
	d->restarts = d->delay = 0;
	start(d, false, false, "autostart", NULL, NULL);
}

void dom_start_again(struct dom *d)
{
	start(d, false, true, "by policy", NULL, NULL);
}
