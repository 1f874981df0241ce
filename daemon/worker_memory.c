/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory the guest has.
 *
 * BALLOON_CHANGE comes at most once a second, as from QEMU: the first change is told at once, what follows within the second
 * is told at its end. The machine's description (memory.current) is brought up to date with each.
 *
 * memory-set waits until the guest has what it is to have. It is given up when within the time-out the guest came less than
 * a 64th of the way nearer: so it ends after 64 time-outs at the latest, and a large guest is not given up while it works. The
 * target is then what was reached: a guest that has no more to give is not squeezed any further when nobody looks, and
 * does not begin to kill its processes an hour later. A suspended machine's time does not count.
 */
#include "daemon/worker_memory.h"

#include "devices/virtio_balloon.h"
#include "domain/json.h"

#define STEPS 64
#define TELL_MS 1000

struct memory_set {
	struct waiter *waiter;
	char *id;
	uint64_t step;          /* bytes that count as progress */
	uint64_t best;          /* the least distance so far */
	unsigned timeout_ms, left_ms;   /* until it is given up */
	uint64_t told;          /* by COMMAND_PROGRESS */
	guint timer;
	gint64 ticked;          /* monotonic, µs */
	gint64 progress_at;
};

struct worker_memory {
	struct worker *worker;
	guint throttle;         /* source: no BALLOON_CHANGE before it fires */
	bool pending;
	struct memory_set *set; /* under way; NULL: none */
};

/* --- events --- */

static void look(struct worker_memory *m);

static gboolean may_tell_again(gpointer arg);

static void tell(struct worker_memory *m)
{
	struct device *d = device_by_type(m->worker, "virtio-balloon");
	struct balloon_info info;
	json_object *o;

	if (!d)
		return;
	balloon_info(d, &info);
	o = json_object_new_object();
	m->worker->machine->memory.current = info.actual;
	json_object_object_add(o, "actual", json_object_new_uint64(info.actual));
	worker_event(m->worker, "BALLOON_CHANGE", o);
	m->pending = false;
	m->throttle = g_timeout_add(TELL_MS, may_tell_again, m);
}

static gboolean may_tell_again(gpointer arg)
{
	struct worker_memory *m = arg;

	m->throttle = 0;
	if (m->pending)
		tell(m);
	return G_SOURCE_REMOVE;
}

static void changed(void *arg, uint64_t actual)
{
	struct worker_memory *m = arg;

	if (m->worker->ending)
		return;
	if (m->throttle)
		m->pending = true;
	else
		tell(m);
	look(m);
}

static json_object *command_data(const struct memory_set *s, const struct balloon_info *info)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "command", json_object_new_string("setmem"));
	if (s->id)
		json_object_object_add(o, "id", json_object_new_string(s->id));
	json_object_object_add(o, "actual", json_object_new_uint64(info->actual));
	json_object_object_add(o, "wanted", json_object_new_uint64(info->target));
	return o;
}

/* --- a size that is waited for --- */

static uint64_t distance(const struct balloon_info *i)
{
	return i->actual > i->target ? i->actual - i->target : i->target - i->actual;
}

static void set_free(struct memory_set *s)
{
	if (s->timer)
		g_source_remove(s->timer);
	g_free(s->id);
	g_free(s);
}

static void finish(struct worker_memory *m, const struct balloon_info *info, const GError *err)
{
	struct memory_set *s = m->set;
	struct tell_memory t = { .actual = info->actual, .wanted = info->target };
	json_object *o = command_data(s, info);

	m->set = NULL;
	m->worker->machine->memory.current = info->actual;
	json_object_object_add(o, "ok", json_object_new_boolean(!err));
	if (err) {
		json_object_object_add(o, "code", json_object_new_string(kerr_of(err)->code));
		json_object_object_add(o, "desc", json_object_new_string(err->message));
	}
	worker_event(m->worker, "COMMAND_DONE", o);
	waiter_answer(s->waiter, err ? NULL : json_from_struct(&tell_memory_schema, &t, JSON_ALL), err);
	set_free(s);
}

static void give_up(struct worker_memory *m, struct device *d, struct balloon_info *info)
{
	g_autoptr(GError) err = NULL;
	uint64_t wanted = info->target;

	kerr_set(&err, KERR_GUEST, "the guest has %" G_GUINT64_FORMAT " KiB and was to have %" G_GUINT64_FORMAT " KiB: %s "
		"within %u s; it stays at what it has now", info->actual >> 10, wanted >> 10, !info->driver ? "its balloon driver has gone, and said nothing" :
		info->actual > wanted ? "it can spare no more, or did not" : "it took no more", m->set->timeout_ms / 1000);
	if (balloon_set_target(d, MAX(info->actual, 1u << 20), NULL))
		balloon_info(d, info);
	finish(m, info, err);
}

/* Something may have changed. */
static void look(struct worker_memory *m)
{
	struct memory_set *s = m->set;
	struct balloon_info info;
	uint64_t far;

	if (!s)
		return;
	balloon_info(device_by_type(m->worker, "virtio-balloon"), &info);
	far = distance(&info);
	if (!far && info.driver) {
		finish(m, &info, NULL);
		return;
	}
	if (far + s->step <= s->best) {
		s->best = far;
		s->left_ms = s->timeout_ms;
	}
}

static gboolean tick(gpointer arg)
{
	struct worker_memory *m = arg;
	struct memory_set *s = m->set;
	struct device *d = device_by_type(m->worker, "virtio-balloon");
	struct balloon_info info;
	gint64 now = g_get_monotonic_time();
	unsigned passed = (unsigned)MIN((now - s->ticked) / 1000, G_MAXINT);

	if (!d)
		return G_SOURCE_CONTINUE;       /* the end is near */
	s->ticked = now;
	if (m->worker->vm.state == VM_RUNNING)
		s->left_ms -= MIN(passed, s->left_ms);
	look(m);
	if (!m->set)
		return G_SOURCE_REMOVE;
	balloon_info(d, &info);
	if (!s->left_ms) {
		s->timer = 0;
		give_up(m, d, &info);
		return G_SOURCE_REMOVE;
	}
	if (now - s->progress_at >= TELL_MS * 1000 && info.actual != s->told) {
		s->told = info.actual;
		s->progress_at = now;
		worker_event(m->worker, "COMMAND_PROGRESS", command_data(s, &info));
	}
	return G_SOURCE_CONTINUE;
}

static struct device *balloon(struct worker *w, GError **err)
{
	struct device *d = device_by_type(w, "virtio-balloon");

	if (!d)
		kerr_set(err, KERR_INACTIVE, "the machine has no balloon: its definition says <memballoon model='none'/>");
	return d;
}

bool memory_target(struct worker *w, uint64_t bytes, GError **err)
{
	struct device *d = balloon(w, err);

	if (!d)
		return false;
	if (w->memory->set)
		return kerr_set(err, KERR_BUSY, "the guest is just giving or taking memory for an earlier command");
	return balloon_set_target(d, MIN(bytes, w->vm.ram.size), err);
}

enum run_result memory_set(struct client *c, const struct args_memory_set *a, GError **err)
{
	struct worker *w = c->worker;
	struct device *d = balloon(w, err);
	struct memory_set *s;
	struct balloon_info info;

	if (!d)
		return RUN_FAILED;
	balloon_info(d, &info);
	if (a->size > w->vm.ram.size)
		return kerr_set(err, KERR_ARGS, "%" G_GUINT64_FORMAT " KiB are more than the %" G_GUINT64_FORMAT " KiB it was started with",
			a->size >> 10, w->vm.ram.size >> 10), RUN_FAILED;
	if (w->vm.state != VM_RUNNING)
		return kerr_set(err, KERR_STATE, "the guest does not run, so it cannot take or give memory"), RUN_FAILED;
	if (!info.driver)
		return kerr_set(err, KERR_GUEST, "no driver in the guest works with the balloon (in Linux: virtio_balloon); has it booted?"), RUN_FAILED;
	if (!memory_target(w, a->size, err))
		return RUN_FAILED;
	balloon_info(d, &info);
	s = g_new0(struct memory_set, 1);
	*s = (struct memory_set){ .waiter = waiter_new(c), .id = g_strdup(a->id), .best = distance(&info), .step = MAX(distance(&info) / STEPS, 4096),
		.timeout_ms = a->timeout, .left_ms = a->timeout, .told = info.actual, .ticked = g_get_monotonic_time() };
	s->progress_at = s->ticked;
	s->timer = g_timeout_add(MIN(a->timeout, TELL_MS) / 4, tick, w->memory);
	w->memory->set = s;
	worker_event(w, "COMMAND_BEGUN", command_data(s, &info));
	look(w->memory);
	return RUN_LATER;
}

void memory_listen(struct worker *w)
{
	struct device *d = device_by_type(w, "virtio-balloon");

	w->memory = g_new0(struct worker_memory, 1);    /* lives as long as the process */
	w->memory->worker = w;
	if (d)
		balloon_set_watch(d, changed, w->memory);
}
