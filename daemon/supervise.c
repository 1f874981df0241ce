/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The life of a machine: its events, its end and what follows from it. start.c begins it. */
#include "daemon/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/cgroup.h"
#include "daemon/chardev_open.h"
#include "daemon/client_serve.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/net.h"
#include "daemon/refresh.h"
#include "daemon/sockets.h"

#define LOST_MS 3000            /* between the end of a machine's connection and that of its process */
#define AFTER_KILL_MS 10000
#define TELL_BURST 1000         /* events of one machine, told at once */
#define TELL_PER_SECOND 1
#define TELL_BYTES 1024         /* of one event that count as another */
#define NAME_MAX_EVENT 64
#define RECORD_MAX 65536        /* bytes of an exit record that are read: its end */
#define DETAIL_MAX 2000         /* bytes of it that people are told */

static json_object *data_str(json_object *o, const char *key, const char *value)
{
	if (!o)
		o = json_object_new_object();
	if (value)
		json_object_object_add(o, key, json_object_new_string(value));
	return o;
}

void dom_kill(struct dom *d)
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

char *end_record(const char *dir)
{
	g_autofree char *path = g_build_filename(dir, "exit", NULL);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
	char *text = g_malloc0(RECORD_MAX + 1);

	if (fd >= 0) {
		(void)!pread(fd, text, RECORD_MAX, MAX(0, size - RECORD_MAX));
		close(fd);
	}
	return text;
}

/* What the machine wrote, for logs and people: no control characters, not endless. New. */
static char *plain(const char *text)
{
	char *s = g_utf8_make_valid(text, (gssize)strnlen(text, DETAIL_MAX));

	for (char *c = s; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = ' ';
	return s;
}

/* The last line of the exit record; a worker that wrote none was killed, or crashed. */
static void end_read(struct end *e, const char *record, const char *status)
{
	g_autofree char *text = g_strdup(record ? record : "");
	char *line = strrchr(g_strchomp(text), '\n');
	json_object *o = json_tokener_parse(line ? line + 1 : text), *v;

	*e = (struct end){ 0 };
	if (json_object_is_type(o, json_type_object) && json_object_object_get_ex(o, "reason", &v)) {
		for (size_t i = 0; i < G_N_ELEMENTS(end_reasons); i++)
			if (!g_strcmp0(end_reasons[i], json_object_get_string(v)))
				e->reason = g_strdup(end_reasons[i]);
		if (json_object_object_get_ex(o, "detail", &v) && json_object_is_type(v, json_type_string) && json_object_get_string_len(v))
			e->detail = plain(json_object_get_string(v));
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
	net_forget(d);
	chardev_redial_stop(d);
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
	bool restart = policy && !d->destroyed && d->text && wants_restart(d->live, e->reason);
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
	if (restart)
		dom_restart_note(d);
	dom_clean(d);
	g_clear_pointer(&d->live, machine_free);
	d->destroyed = false;
	dom_ref(d);
	if (failed)
		json_object_put(data);
	else
		dom_event(d, crash ? "CRASHED" : "STOPPED", data);
	dom_set_state_told(d, DOM_SHUTOFF, reason, failed ? NULL : e->detail);
	if (!d->text && d->listed && !dom_is_active(d)) {
		dom_event(d, "UNDEFINED", NULL);
		doms_remove(d);
	} else if (restart && !dom_is_active(d) && !d->kvmd->stopping) {
		dom_restart_later(d, !strcmp(e->reason, "reset"));
	}
	dom_unref(d);
}

char *pidfd_status(int pidfd, bool ours)
{
	siginfo_t si = { 0 };

	/* not our child when an earlier kvmd started it: its exit record is all there is */
	if (waitid(P_PIDFD, (id_t)pidfd, &si, WEXITED | WNOHANG) < 0 || !si.si_pid)
		return NULL;
	if (si.si_code == CLD_EXITED)
		return g_strdup_printf("its process ended with status %d", si.si_status);
	return g_strdup_printf("its process was killed by signal %d (%s)%s", si.si_status, strsignal(si.si_status),
		si.si_status == SIGKILL && !ours ? "; look for the out-of-memory killer in the kernel's log" : "");
}

static gboolean process_gone(gint fd, GIOCondition cond, gpointer data)
{
	struct dom *d = data;
	g_autofree char *status = pidfd_status(d->pidfd, d->destroyed);
	g_autofree char *dir = dom_run_dir(d);
	g_autofree char *record = end_record(dir);
	struct end e;

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
		{ "io-error", DOM_PAUSED, "I/O error" },
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

/* A disk of the machine failed: is that why it pauses now? */
static void follow_disk(struct dom *d, json_object *data)
{
	json_object *v;

	if (!data || !json_object_object_get_ex(data, "action", &v) || g_strcmp0(json_object_get_string(v), "stop"))
		return;
	d->stops = json_object_object_get_ex(data, "nospace", &v) && json_object_get_boolean(v) ? "no space left for a disk" : "I/O error";
	if (d->state == DOM_PAUSED)
		dom_set_state(d, DOM_PAUSED, d->stops);
}

static void follow_state(struct dom *d, const char *name, json_object *data)
{
	json_object *v;

	if (!strcmp(name, "BLOCK_IO_ERROR")) {
		follow_disk(d, data);
	} else if (!strcmp(name, "STOP")) {
		if (d->state == DOM_RUNNING)
			dom_set_state(d, DOM_PAUSED, d->stops ? d->stops : "by request");
		d->stops = NULL;
	} else if (!strcmp(name, "RESUME")) {
		d->stops = NULL;
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

/* What the machine's own event does not say: who or what made it stop or go on. */
static const char *why_of(const struct dom *d, const char *name)
{
	if (strcmp(name, "STOP") && strcmp(name, "RESUME"))
		return NULL;
	if (d->state == DOM_STARTING)
		return "booted";
	return d->state == DOM_ADOPTING ? NULL : d->reason;
}

static bool is_event_name(const char *name)
{
	size_t n = strlen(name);

	return n && n <= NAME_MAX_EVENT && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == n;
}

/* A guest that resets itself in a loop must not push everyone's history out of the journal, nor a process that has much to say. */
static bool may_tell(struct dom *d, json_object *data)
{
	size_t bytes = data ? strlen(json_object_to_json_string_ext(data, JSON_C_TO_STRING_PLAIN)) : 0;
	double cost = 1 + (double)(bytes / TELL_BYTES);
	gint64 now = g_get_monotonic_time();

	if (!d->told_at)
		d->tell = TELL_BURST;
	else
		d->tell = MIN(TELL_BURST, d->tell + (double)(now - d->told_at) * TELL_PER_SECOND / G_USEC_PER_SEC);
	d->told_at = now;
	if (d->tell < cost) {
		d->untold++;
		if (!d->flooded)
			log_warning("vm '%s': more than %d events at once, or of %d KiB: not all are told from now on", d->name, TELL_BURST, TELL_BURST);
		d->flooded = true;
		return false;
	}
	if (d->tell >= TELL_BURST / 2)
		d->flooded = false;
	d->tell -= cost;
	return true;
}

/* The machine is not what it was when it was asked. */
static bool tells_of_change(const struct dom *d, const char *name)
{
	if (!strcmp(name, "KVMD_MACHINE") || !strcmp(name, "VSERPORT_CHANGE"))
		return true;
	return d->live && list_len(d->live->devices.memdevs) && (!strcmp(name, "BALLOON_CHANGE") || !strcmp(name, "MEMORY_DEVICE_SIZE_CHANGE"));
}

/* Before the journal is written: whoever finds this without that number in the journal takes the event again (adopt.c). */
static void note_seen(struct dom *d, uint64_t seq, uint64_t number)
{
	struct dom_seen s = { seq, number };

	if (seq && d->seen_fd >= 0)
		(void)!pwrite(d->seen_fd, &s, sizeof s, 0);     /* worst case: an event is told twice */
}

void dom_take_event(struct dom *d, const char *name, json_object *data, uint64_t seq)
{
	json_object *copy = NULL, *v;
	const char *why;

	if ((seq && seq <= d->seen) || !is_event_name(name))
		return;
	if (seq)
		d->seen = seq;
	if (!json_object_is_type(data, json_type_object))
		data = NULL;
	if (d->state != DOM_STARTING && d->state != DOM_ADOPTING)
		follow_state(d, name, data);
	if (!strcmp(name, "KVMD_MACHINE") && data && json_object_object_get_ex(data, "path", &v) && json_object_is_type(v, json_type_string)) {
		g_autofree char *dir = dom_run_dir(d);

		sockets_gone(dir, d->live, json_object_get_string(v));
	}
	if (tells_of_change(d, name) && d->link) {
		if (d->replaying)
			d->stale = true;
		else
			dom_refresh_soon(d);
	} else if (!strcmp(name, "RTC_CHANGE") && d->live && json_object_object_get_ex(data, "offset", &v)) {
		clock_moved(&d->live->clock, json_object_get_int64(v));
	} else if (!strcmp(name, "BALLOON_CHANGE") && d->live && json_object_object_get_ex(data, "actual", &v))
		d->live->memory.current = MIN(json_object_get_uint64(v), d->live->memory.size);
	if (!may_tell(d, data)) {
		note_seen(d, seq, 0);
		return;
	}
	note_seen(d, seq, events_last(d->kvmd->events) + 1);
	if (data)
		(void)json_object_deep_copy(data, &copy, NULL);
	if (!copy)
		copy = json_object_new_object();
	why = why_of(d, name);
	if (why)
		json_object_object_add(copy, "reason", json_object_new_string(why));
	json_object_object_add(copy, "worker-seq", json_object_new_uint64(seq));
	if (d->untold)
		json_object_object_add(copy, "left-out", json_object_new_uint64(d->untold));
	d->untold = 0;
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

static void link_serve(void *owner, uint64_t id, int fd)
{
	client_serve(owner, id, fd);
}

static const struct link_ops link_ops = { link_event, link_serve, link_closed };

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

	if (dom_restart_call_off(d)) {
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
