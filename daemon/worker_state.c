/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state driver: the only writer of vm->state.
 *
 *            run                pause, reset, panic
 *   PAUSED ───────► RUNNING ──────────────────────► PAUSING ──► PAUSED, or again RUNNING (reset),
 *     ▲                                                         or CRASHED/SHUTDOWN (preserve)
 *     └───────────────────────────────────────────────┘
 *
 * Guests and threads ask by vm_request(), which becomes a post to the main thread; clients ask by commands. Pausing asks
 * every vCPU to leave and looks for it without blocking: a vCPU that is stuck in the host delays its own machine only.
 * The process ends by state_exit(), whose last act is the exit record that kvmd, or its successor, reads.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/worker.h"
#include "daemon/worker_chardev.h"
#include "daemon/worker_clock.h"
#include "daemon/worker_disks.h"
#include "daemon/worker_plug.h"
#include "daemon/worker_vcpus.h"
#include "hv/accel.h"
#include "hv/vcpu.h"
#include "hv/x86/boot.h"

#define PARK_QUICK_MS 20        /* waited for at once: the usual case takes less than one */
#define PARK_POLL_MS 5
#define PARK_LIMIT_MS 30000     /* then the waiting clients are told */
#define QUIET_MS 500            /* for the last words of the consoles */

#define SHORT_LIFE_MS 1000      /* a guest that resets itself sooner … */
#define SHORT_LIVES 10          /* … so many times in a row … */
#define RESET_DELAY_MAX_MS 5000 /* … waits, up to this long */

enum after { AFTER_NOTHING, AFTER_PAUSE, AFTER_RESET, AFTER_KEEP };

static const char *const exit_names[EXIT_REASONS] = {
	[EXIT_SHUTDOWN] = "shutdown", [EXIT_RESET] = "reset", [EXIT_PANICKED] = "panicked", [EXIT_CRASHED] = "crashed",
	[EXIT_KILLED] = "killed", [EXIT_ERROR] = "error", [EXIT_TEST] = "test-exit",
};

struct request {
	struct worker *worker;
	enum vm_request what;
	unsigned value;
	char *detail;
};

/* --- waiting clients --- */

static void wait_for(struct worker *w, struct client *c)
{
	if (!c)
		return;
	if (!w->waiters)
		w->waiters = g_ptr_array_new();
	g_ptr_array_add(w->waiters, waiter_new(c));
}

static void answer(struct worker *w, const GError *err)
{
	g_autoptr(GPtrArray) all = g_steal_pointer(&w->waiters);        /* an answer may let the next command of a client run */

	for (guint i = 0; all && i < all->len; i++)
		waiter_answer(all->pdata[i], NULL, err);
}

/* --- the end --- */

void state_exit(struct worker *w, enum exit_reason reason, bool guest, unsigned value, const char *detail)
{
	json_object *o = json_object_new_object();
	const char *s;

	w->ending = true;
	if (w->created)
		worker_machine_quiet(w, QUIET_MS);
	json_object_object_add(o, "reason", json_object_new_string(exit_names[reason]));
	json_object_object_add(o, "guest", json_object_new_boolean(guest));
	json_object_object_add(o, "value", json_object_new_int64(value));
	json_object_object_add(o, "detail", json_object_new_string(detail ? detail : ""));
	json_object_object_add(o, "seq", json_object_new_uint64(w->seq));
	s = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
	if (w->exit_fd >= 0) {
		g_autofree char *line = g_strdup_printf("%s\n", s);

		if (write(w->exit_fd, line, strlen(line)) < 0)
			g_printerr("exit record: %s\n", g_strerror(errno));
	}
	for (guint i = 0; i < w->clients->len; i++)     /* what fits into the sockets still goes out */
		wire_close(((struct client *)w->clients->pdata[i])->wire, true, NULL);
	_exit(reason == EXIT_ERROR ? 1 : 0);
}

/* --- pause, resume, reset --- */

static void vcpus_each(struct worker *w, void (*fn)(struct vcpu *))
{
	for (guint i = 0; i < w->vm.vcpus->len; i++)
		fn(w->vm.vcpus->pdata[i]);
}

static void vcpu_go_plugged(struct vcpu *v)
{
	if (!v->unplugged)
		vcpu_go(v);
}

static void go(struct worker *w)
{
	devices_resume(&w->vm);
	clock_go(w->vm.clock);
	w->vm.state = VM_RUNNING;
	w->run_state = RUN_STATE_RUNNING;
	w->went = g_get_monotonic_time();
	vcpus_each(w, vcpu_go_plugged);
}

static bool is_dumped(const struct worker *w, GError **err)
{
	return w->dump && !kerr_set(err, KERR_BUSY, "its memory is being dumped: it goes on when that is done");
}

bool state_run(struct worker *w, GError **err)
{
	if (is_dumped(w, err))
		return false;
	switch (w->vm.state) {
	case VM_RUNNING:
		return true;
	case VM_PAUSED:
		go(w);
		worker_event(w, "RESUME", NULL);
		return true;
	case VM_CRASHED:
	case VM_SHUTDOWN:
		return kerr_set(err, KERR_STATE, "the guest has ended: reset or destroy the machine");
	default:
		return kerr_set(err, KERR_STATE, "the machine is just changing its state: try again");
	}
}

static bool machine_reset(struct worker *w, GError **err)
{
	struct vm *vm = &w->vm;
	int rc;

	vcpus_reset(w);
	plugs_reset(w);
	devices_reset(vm);
	rc = vm->accel->reset(vm);
	for (guint i = 0; !rc && i < vm->vcpus->len; i++)
		rc = vm->accel->vcpu_reset(vm->vcpus->pdata[i]);
	if (rc)
		return kerr_errno(err, -rc, "reset the machine");
	irqs_sync(vm);
	return vm_boot(vm, w->fds, err);
}

/*
 * A guest that does nothing but reset itself (a triple fault in a boot loader) waits between its lives, longer each time,
 * rather than take a processor of the host for itself. 0: it goes at once.
 */
static unsigned reset_delay(struct worker *w)
{
	if (g_get_monotonic_time() - w->went >= (gint64)SHORT_LIFE_MS * 1000)
		w->short_lives = 0;
	else
		w->short_lives++;
	if (w->short_lives <= SHORT_LIVES)
		return 0;
	return RESET_DELAY_MAX_MS >> (8 - MIN(w->short_lives - SHORT_LIVES, 8u));
}

static void parked(struct worker *w);

static gboolean delay_over(gpointer data)
{
	struct worker *w = data;

	w->delay = 0;
	parked(w);
	return G_SOURCE_REMOVE;
}

static void parked(struct worker *w)
{
	enum after after = (enum after)w->after;
	GError *err = NULL;

	if (w->delay)
		return;
	if (after == AFTER_RESET && w->reset_delay) {
		w->delay = g_timeout_add(w->reset_delay, delay_over, w);
		w->reset_delay = 0;
		return;
	}

	w->after = AFTER_NOTHING;
	clock_stop(w->vm.clock);
	switch (after) {
	case AFTER_RESET:
		if (!machine_reset(w, &err)) {
			answer(w, err);
			state_exit(w, EXIT_ERROR, false, 0, err->message);
		}
		w->vm.state = VM_PAUSED;
		if (w->stay)
			w->run_state = RUN_STATE_PRELAUNCH;
		else
			go(w);
		answer(w, NULL);
		return;
	case AFTER_PAUSE:
		w->vm.state = VM_PAUSED;
		w->run_state = w->io_error ? RUN_STATE_IO_ERROR : RUN_STATE_PAUSED;
		w->io_error = false;
		worker_event(w, "STOP", NULL);
		dump_on_pause(w);
		answer(w, NULL);
		return;
	case AFTER_KEEP:
		w->vm.state = w->run_state == RUN_STATE_SHUTDOWN ? VM_SHUTDOWN : VM_CRASHED;
		worker_event(w, "STOP", NULL);
		dump_on_pause(w);
		answer(w, NULL);
		return;
	case AFTER_NOTHING:
		return;
	}
}

/* Devices are told after the vCPUs are out; theirs is the asynchronous part. */
static void devices_paused(struct done *d, int result)
{
	struct worker *w = d->arg;

	g_free(d);
	if (!w->ending)
		parked(w);
}

static void vcpus_out(struct worker *w)
{
	struct done *d = g_new0(struct done, 1);

	d->fn = devices_paused;
	d->arg = w;
	devices_pause(&w->vm, d);
}

static gboolean poll_parked(gpointer data)
{
	struct worker *w = data;

	if (vcpus_wait_parked(&w->vm, 0)) {
		w->poll = 0;
		vcpus_out(w);
		return G_SOURCE_REMOVE;
	}
	if (w->poll_left && --w->poll_left == 0) {
		g_autoptr(GError) err = NULL;

		kerr_set(&err, KERR_TIMEOUT, "a vCPU does not leave the host's kernel within %u s; the machine pauses as soon as it does",
			PARK_LIMIT_MS / 1000);
		answer(w, err);
	}
	return G_SOURCE_CONTINUE;
}

static void park(struct worker *w, enum after after)
{
	/* a reset does not undo a pause that a client asked for */
	w->stay = w->vm.state == VM_PAUSED || (w->vm.state == VM_PAUSING && w->after == AFTER_PAUSE);
	w->after = after;
	if (w->vm.state == VM_PAUSING)
		return;
	w->vm.state = VM_PAUSING;
	vcpus_each(w, vcpu_park);
	if (vcpus_wait_parked(&w->vm, PARK_QUICK_MS)) {
		vcpus_out(w);
		return;
	}
	w->poll_left = PARK_LIMIT_MS / PARK_POLL_MS;
	w->poll = g_timeout_add(PARK_POLL_MS, poll_parked, w);
}

bool state_pause(struct worker *w, struct client *c, GError **err)
{
	if (c)
		dump_stays(w);
	if (w->vm.state == VM_PAUSED) {
		w->run_state = RUN_STATE_PAUSED;
		waiter_answer(waiter_new(c), NULL, NULL);
		return true;
	}
	if (w->vm.state != VM_RUNNING && !(w->vm.state == VM_PAUSING && w->after == AFTER_PAUSE))
		return kerr_set(err, KERR_STATE, "the machine does not run");
	wait_for(w, c);
	park(w, AFTER_PAUSE);
	return true;
}

static void reset_event(struct worker *w, bool guest)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "guest", json_object_new_boolean(guest));
	json_object_object_add(o, "reason", json_object_new_string(guest ? "guest-reset" : "host-qmp-system-reset"));
	worker_event(w, "RESET", o);
}

bool state_reset(struct worker *w, struct client *c, GError **err)
{
	if (w->vm.state == VM_PAUSING && w->after == AFTER_KEEP)
		return kerr_set(err, KERR_STATE, "the machine is just changing its state: try again");
	if (is_dumped(w, err))
		return false;
	reset_event(w, false);
	wait_for(w, c);
	w->reboot = false;
	w->reset_delay = w->short_lives = 0;
	park(w, AFTER_RESET);
	if (w->delay) {                 /* who asks for it gets it now */
		g_source_remove(w->delay);
		delay_over(w);
	}
	return true;
}

/* --- what the guest asks --- */

static void shutdown_event(struct worker *w, const char *reason)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "guest", json_object_new_boolean(true));
	json_object_object_add(o, "reason", json_object_new_string(reason));
	worker_event(w, "SHUTDOWN", o);
}

static void keep(struct worker *w, int run_state)
{
	w->run_state = run_state;
	park(w, AFTER_KEEP);
}

static void on_reset(struct worker *w)
{
	switch (w->machine->on_reboot) {
	case ACTION_ABSENT:
	case ACTION_RESTART:
	case ACTION_RENAME_RESTART:
		reset_event(w, true);
		w->reset_delay = reset_delay(w);
		park(w, AFTER_RESET);
		return;
	case ACTION_PRESERVE:
		shutdown_event(w, "guest-reset");
		keep(w, RUN_STATE_SHUTDOWN);
		return;
	default:
		shutdown_event(w, "guest-reset");
		state_exit(w, EXIT_RESET, true, 0, NULL);
	}
}

static void on_poweroff(struct worker *w)
{
	if (w->reboot) {
		w->reboot = false;
		reset_event(w, true);
		park(w, AFTER_RESET);
		return;
	}
	shutdown_event(w, "guest-shutdown");
	if (w->machine->on_poweroff == ACTION_PRESERVE)
		keep(w, RUN_STATE_SHUTDOWN);
	else
		state_exit(w, EXIT_SHUTDOWN, true, 0, NULL);
}

static bool crash_is_kept(const struct worker *w)
{
	return w->machine->on_crash == ACTION_PRESERVE;
}

#define PVPANIC_PANICKED 1
#define PVPANIC_CRASHLOADED 2
#define PVPANIC_SHUTDOWN 4

static void on_panic(struct worker *w, unsigned value)
{
	json_object *o;

	if (!(value & PVPANIC_PANICKED)) {
		if (value & PVPANIC_CRASHLOADED)
			worker_event(w, "GUEST_CRASHLOADED", NULL);
		else if (value & PVPANIC_SHUTDOWN)
			on_poweroff(w);
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "action", json_object_new_string(crash_is_kept(w) ? "pause" : "poweroff"));
	worker_event(w, "GUEST_PANICKED", o);
	if (crash_is_kept(w))
		keep(w, RUN_STATE_GUEST_PANICKED);
	else
		state_exit(w, EXIT_PANICKED, true, value, "the guest's kernel panicked");
}

static void on_crash(struct worker *w, const char *detail)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "report", json_object_new_string(detail ? detail : ""));
	worker_event(w, "KVMD_CRASH", o);
	if (crash_is_kept(w))
		keep(w, RUN_STATE_INTERNAL_ERROR);
	else
		state_exit(w, EXIT_CRASHED, true, 0, detail);
}

/* A disk failed. As QEMU says it, and when its policy is to stop, the machine pauses until somebody lets it go on. */
static void on_io_error(struct worker *w, unsigned value, const char *disk)
{
	bool write = value & VM_IO_WRITE, stop = value & VM_IO_STOP, space = value & VM_IO_NO_SPACE;
	const char *action = stop ? "stop" : value & VM_IO_IGNORE ? "ignore" : "report";
	struct device *d = disk ? disk_by_name(w, disk) : NULL;
	json_object *o = json_object_new_object();

	if (d) {
		g_autofree char *name = disk_drive_name(d), *qdev = disk_qdev(d), *node = disk_node_name(d, 0, false);

		json_object_object_add(o, "device", json_object_new_string(name));
		json_object_object_add(o, "qom-path", json_object_new_string(qdev));
		json_object_object_add(o, "node-name", json_object_new_string(node));
	}
	json_object_object_add(o, "target", json_object_new_string(disk ? disk : ""));
	json_object_object_add(o, "operation", json_object_new_string(write ? "write" : "read"));
	json_object_object_add(o, "action", json_object_new_string(action));
	json_object_object_add(o, "nospace", json_object_new_boolean(space));
	json_object_object_add(o, "reason", json_object_new_string(space ? "no space left on the host" : "input/output error of the host"));
	worker_event(w, "BLOCK_IO_ERROR", o);
	if (!stop)
		return;
	if (w->vm.state == VM_PAUSED) {
		w->run_state = RUN_STATE_IO_ERROR;
		return;
	}
	w->io_error = w->vm.state == VM_RUNNING || w->after == AFTER_PAUSE;
	if (w->vm.state == VM_RUNNING)
		park(w, AFTER_PAUSE);
}

static gboolean handle(gpointer data)
{
	struct request *r = data;
	struct worker *w = r->worker;

	/* a request from before a reset is void: the guest's next life has nothing to do with it */
	if (w->ending || w->after == AFTER_RESET || w->vm.state == VM_CRASHED || w->vm.state == VM_SHUTDOWN)
		return G_SOURCE_REMOVE;
	switch (r->what) {
	case VM_REQ_POWEROFF:
		on_poweroff(w);
		break;
	case VM_REQ_RESET:
		on_reset(w);
		break;
	case VM_REQ_PANIC:
		on_panic(w, r->value);
		break;
	case VM_REQ_CRASH:
		on_crash(w, r->detail);
		break;
	case VM_REQ_IO_ERROR:
		on_io_error(w, r->value, r->detail);
		break;
	case VM_REQ_DRIVER:
		plug_driver(w, r->detail);
		break;
	case VM_REQ_CHARDEV:
		chardevs_look(w);
		break;
	case VM_REQ_CLOCK:
		clock_was_set(w);
		break;
	case VM_REQ_TEST_EXIT:
		state_exit(w, EXIT_TEST, true, r->value, NULL);
	default:
		g_assert_not_reached();
	}
	return G_SOURCE_REMOVE;
}

static void request_free(gpointer data)
{
	struct request *r = data;

	g_free(r->detail);
	g_free(r);
}

void state_on_request(struct vm *vm, enum vm_request what, unsigned value, const char *detail)
{
	struct request *r = g_new0(struct request, 1);
	GSource *s = g_idle_source_new();

	*r = (struct request){ vm->owner, what, value, g_strdup(detail) };
	g_source_set_priority(s, G_PRIORITY_HIGH);
	g_source_set_callback(s, handle, r, request_free);
	g_source_attach(s, NULL);
	g_source_unref(s);
}
