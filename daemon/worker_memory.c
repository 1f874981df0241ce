/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How much memory the guest has: what it was started with less the balloon, and the blocks it uses of virtio-mem devices.
 *
 * BALLOON_CHANGE and MEMORY_DEVICE_SIZE_CHANGE come at most once a second per device, as from QEMU: the first change is told at
 * once, what follows within the second is told at its end. The machine's description (memory.current, each device's current)
 * is brought up to date with each.
 *
 * memory-set and memory-device-set wait until the guest has what it is to have. It is given up when within the time-out the guest came less than
 * a 64th of the way nearer: so it ends after 64 time-outs at the latest, and a large guest is not given up while it works. The
 * target is then what was reached: a guest that has no more to give is not squeezed any further when nobody looks, and
 * does not begin to kill its processes an hour later. A suspended machine's time does not count.
 */
#include "daemon/worker_memory.h"

#include <string.h>

#include "devices/virtio_balloon.h"
#include "devices/virtio_mem.h"
#include "domain/memdev.h"
#include "domain/json.h"

#define STEPS 64
#define TELL_MS 1000

struct memory_set {
	struct waiter *waiter;  /* NULL: done gets the end, and nobody is told */
	void (*done)(void *arg, const GError *err);
	void *arg;
	char *id;
	uint64_t step;          /* bytes that count as progress */
	uint64_t best;          /* the least distance so far */
	unsigned timeout_ms, left_ms;   /* until it is given up */
	uint64_t told;          /* by COMMAND_PROGRESS */
	guint timer;
	gint64 ticked;          /* monotonic, µs */
	gint64 progress_at;
};

/* The balloon, or a virtio-mem device. */
struct source {
	struct worker *worker;
	struct device *device;
	guint throttle;         /* no event before it fires */
	bool pending;
	struct memory_set *set; /* under way; NULL: none */
	bool leaving;           /* it is to be empty */
};

struct worker_memory {
	GPtrArray *sources;     /* of struct source */
};

struct level { uint64_t actual, target; bool driver; };

static bool is_balloon(const struct device *d)
{
	return !strcmp(d->ops->name, "virtio-balloon");
}

static struct level level(struct device *d)
{
	struct virtio_mem_info v;
	struct balloon_info b;

	if (is_balloon(d)) {
		balloon_info(d, &b);
		return (struct level){ b.actual, b.target, b.driver };
	}
	virtio_mem_info(d, &v);
	return (struct level){ v.plugged, v.requested, v.driver };
}

static bool ask(struct device *d, uint64_t bytes, GError **err)
{
	return is_balloon(d) ? balloon_set_target(d, bytes, err) : virtio_mem_request(d, bytes, err);
}

static struct source *source_of(const struct worker *w, const struct device *d)
{
	for (unsigned i = 0; i < w->memory->sources->len; i++)
		if (((struct source *)w->memory->sources->pdata[i])->device == d)
			return w->memory->sources->pdata[i];
	return NULL;
}

static struct device *device_at(const struct worker *w, unsigned i)
{
	return ((const struct source *)w->memory->sources->pdata[i])->device;
}

struct device *memory_device(struct worker *w, const char *name)
{
	for (unsigned i = 0; i < w->memory->sources->len; i++) {
		struct device *d = device_at(w, i);

		if (!is_balloon(d) && (!g_strcmp0(((const struct memdev *)d->config)->alias, name) || !strcmp(d->id, name)))
			return d;
	}
	return NULL;
}

uint64_t memory_plugged(struct worker *w)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < w->memory->sources->len; i++)
		if (!is_balloon(device_at(w, i)))
			sum += level(device_at(w, i)).actual;
	return sum;
}

/* The machine's description follows. */
static void describe(struct worker *w)
{
	struct device *balloon = device_by_type(w, "virtio-balloon");

	w->machine->memory.current = (balloon ? level(balloon).actual : w->vm.ram.size) + memory_plugged(w);
	for (unsigned i = 0; i < w->memory->sources->len; i++) {
		struct device *d = device_at(w, i);
		struct virtio_mem_info v;
		struct memdev *m = d->config;

		if (is_balloon(d))
			continue;
		virtio_mem_info(d, &v);
		m->target.current = v.plugged;          /* only main reads these */
		m->target.requested = v.requested;
	}
}

/* --- events --- */

static void look(struct source *s);

static gboolean may_tell_again(gpointer arg);

static void tell(struct source *s)
{
	struct worker *w = s->worker;
	json_object *o;

	if (w->ending)
		return;
	describe(w);
	o = json_object_new_object();
	if (is_balloon(s->device)) {
		json_object_object_add(o, "actual", json_object_new_uint64(level(s->device).actual));
		worker_event(w, "BALLOON_CHANGE", o);
	} else {
		const char *id = ((const struct memdev *)s->device->config)->alias;
		g_autofree char *path = g_strdup_printf("/machine/peripheral/%s", id ? id : s->device->id);

		if (id)
			json_object_object_add(o, "id", json_object_new_string(id));
		json_object_object_add(o, "size", json_object_new_uint64(level(s->device).actual));
		json_object_object_add(o, "qom-path", json_object_new_string(path));
		worker_event(w, "MEMORY_DEVICE_SIZE_CHANGE", o);
	}
	s->pending = false;
	s->throttle = g_timeout_add(TELL_MS, may_tell_again, s);
}

static gboolean may_tell_again(gpointer arg)
{
	struct source *s = arg;

	s->throttle = 0;
	if (s->pending)
		tell(s);
	return G_SOURCE_REMOVE;
}

static void source_changed(struct source *s)
{
	if (s->worker->ending)
		return;
	if (s->throttle)
		s->pending = true;
	else
		tell(s);
	look(s);
}

static void balloon_changed(void *arg, uint64_t actual)
{
	source_changed(arg);
}

static void device_changed(void *arg, struct device *d)
{
	source_changed(arg);
}

/* Of s->set. */
static json_object *command_data(const struct source *s, struct level l)
{
	const char *alias = is_balloon(s->device) ? NULL : ((const struct memdev *)s->device->config)->alias;
	json_object *o = json_object_new_object();

	json_object_object_add(o, "command", json_object_new_string(is_balloon(s->device) ? "setmem" : "update-memory-device"));
	if (s->set->id)
		json_object_object_add(o, "id", json_object_new_string(s->set->id));
	if (alias)
		json_object_object_add(o, "device", json_object_new_string(alias));
	json_object_object_add(o, "actual", json_object_new_uint64(l.actual));
	json_object_object_add(o, "wanted", json_object_new_uint64(l.target));
	return o;
}

/* --- a size that is waited for --- */

static uint64_t distance(struct level l)
{
	return l.actual > l.target ? l.actual - l.target : l.target - l.actual;
}

static void set_free(struct memory_set *set)
{
	if (set->timer)
		g_source_remove(set->timer);
	g_free(set->id);
	g_free(set);
}

static void finish(struct source *s, const GError *err)
{
	struct level l = level(s->device);
	struct tell_memory t = { .actual = l.actual, .wanted = l.target };
	struct memory_set *set = s->set;
	json_object *o = command_data(s, l);

	s->set = NULL;
	describe(s->worker);
	if (!set->waiter) {
		json_object_put(o);
		set->done(set->arg, err);
		set_free(set);
		return;
	}
	json_object_object_add(o, "ok", json_object_new_boolean(!err));
	if (err) {
		json_object_object_add(o, "code", json_object_new_string(kerr_of(err)->code));
		json_object_object_add(o, "desc", json_object_new_string(err->message));
	}
	worker_event(s->worker, "COMMAND_DONE", o);
	waiter_answer(set->waiter, err ? NULL : json_from_struct(&tell_memory_schema, &t, JSON_ALL), err);
	set_free(set);
}

static void give_up(struct source *s)
{
	g_autoptr(GError) err = NULL;
	struct level l = level(s->device);
	const char *alias = is_balloon(s->device) ? NULL : ((const struct memdev *)s->device->config)->alias;

	kerr_set(&err, KERR_GUEST, "%s%sthe guest has %" G_GUINT64_FORMAT " KiB and was to have %" G_GUINT64_FORMAT " KiB: %s "
		"within %u s; %s", alias ? alias : "", alias ? ": " : "", l.actual >> 10, l.target >> 10,
		!l.driver ? "its driver has gone, and said nothing" : l.actual > l.target ? "it can spare no more, or did not" : "it took no more",
		s->set->timeout_ms / 1000, s->leaving ? "the device stays" : "it stays at what it has now");
	/* below what can be asked for it stays as it was asked */
	(void)ask(s->device, is_balloon(s->device) ? MAX(l.actual, 1u << 20) : l.actual, NULL);
	finish(s, err);
}

/* Something may have changed. */
static void look(struct source *s)
{
	struct memory_set *set = s->set;
	struct level l;

	if (!set)
		return;
	l = level(s->device);
	/* a device without memory needs no driver to be empty */
	if ((l.driver || (s->leaving && !l.target)) && l.actual == l.target) {
		finish(s, NULL);
		return;
	}
	if (distance(l) + set->step <= set->best) {
		set->best = distance(l);
		set->left_ms = set->timeout_ms;
	}
}

static gboolean tick(gpointer arg)
{
	struct source *s = arg;
	struct memory_set *set = s->set;
	gint64 now = g_get_monotonic_time();
	unsigned passed = (unsigned)MIN((now - set->ticked) / 1000, G_MAXINT);
	struct level l;

	if (s->worker->ending)
		return G_SOURCE_CONTINUE;
	set->ticked = now;
	if (s->worker->vm.state == VM_RUNNING)
		set->left_ms -= MIN(passed, set->left_ms);
	look(s);
	if (!s->set)
		return G_SOURCE_REMOVE;
	if (!set->left_ms) {
		set->timer = 0;
		give_up(s);
		return G_SOURCE_REMOVE;
	}
	l = level(s->device);
	if (set->waiter && now - set->progress_at >= TELL_MS * 1000 && l.actual != set->told) {
		set->told = l.actual;
		set->progress_at = now;
		worker_event(s->worker, "COMMAND_PROGRESS", command_data(s, l));
	}
	return G_SOURCE_CONTINUE;
}

bool memory_ask(struct worker *w, struct device *d, uint64_t bytes, GError **err)
{
	struct source *s = source_of(w, d);

	if (s->set)
		return kerr_set(err, KERR_BUSY, "the guest is just giving or taking memory for an earlier command");
	if (s->leaving)
		return kerr_set(err, KERR_BUSY, "the device is on its way out");
	if (!ask(d, bytes, err))
		return false;
	describe(w);
	return true;
}

/* The guest is asked, and what comes of it is waited for. The set gets its waiter, or what it has instead. */
static struct memory_set *begin(struct worker *w, struct device *d, uint64_t bytes, unsigned timeout, GError **err)
{
	struct source *s = source_of(w, d);
	struct memory_set *set;
	struct level l = level(d);

	if (w->vm.state != VM_RUNNING)
		return kerr_set(err, KERR_STATE, "the guest does not run, so it cannot take or give memory"), NULL;
	if (!l.driver)
		return kerr_set(err, KERR_GUEST, "no driver in the guest works with the device (in Linux: %s); has it booted?",
			is_balloon(d) ? "virtio_balloon" : "virtio_mem"), NULL;
	if (!memory_ask(w, d, bytes, err))
		return NULL;
	l = level(d);
	set = g_new0(struct memory_set, 1);
	*set = (struct memory_set){ .best = distance(l), .step = MAX(distance(l) / STEPS, 4096), .timeout_ms = timeout, .left_ms = timeout,
		.told = l.actual, .ticked = g_get_monotonic_time() };
	set->progress_at = set->ticked;
	set->timer = g_timeout_add(MIN(timeout, TELL_MS) / 4, tick, s);
	s->set = set;
	return set;
}

enum run_result memory_wait(struct client *c, struct device *d, const struct args_memory_set *a, GError **err)
{
	struct worker *w = c->worker;
	struct memory_set *set = begin(w, d, a->size, a->timeout, err);
	struct source *s = source_of(w, d);

	if (!set)
		return RUN_FAILED;
	set->waiter = waiter_new(c);
	set->id = g_strdup(a->id);
	worker_event(w, "COMMAND_BEGUN", command_data(s, level(d)));
	look(s);
	return RUN_LATER;
}

/* --- devices that come and go --- */

bool memory_empty(struct worker *w, struct device *d, unsigned timeout, void (*done)(void *arg, const GError *err), void *arg, GError **err)
{
	struct source *s = source_of(w, d);
	struct memory_set *set;
	struct level l = level(d);

	if (!l.actual && !l.target && !s->set) {        /* no driver is needed for that */
		s->leaving = true;
		done(arg, NULL);
		return true;
	}
	set = begin(w, d, 0, timeout, err);
	if (!set)
		return false;
	set->done = done;
	set->arg = arg;
	s->leaving = true;
	look(s);
	return true;
}

void memory_refill(struct worker *w, struct device *d, uint64_t bytes)
{
	struct source *s = source_of(w, d);

	s->leaving = false;
	(void)ask(d, bytes, NULL);      /* it was so before */
	describe(w);
}

void memory_came(struct worker *w, struct device *d)
{
	struct source *s = g_new0(struct source, 1);

	*s = (struct source){ .worker = w, .device = d };
	if (is_balloon(d))
		balloon_set_watch(d, balloon_changed, s);
	else
		virtio_mem_set_watch(d, device_changed, s);
	g_ptr_array_add(w->memory->sources, s);
	if (!is_balloon(d))
		describe(w);
}

void memory_gone(struct worker *w, struct device *d)
{
	struct source *s = source_of(w, d);
	g_autoptr(GError) err = NULL;

	virtio_mem_set_watch(d, NULL, NULL);
	if (s->set) {                   /* the guest has ejected it unasked */
		kerr_set(&err, KERR_GUEST, "the guest has given the device away");
		finish(s, err);
	}
	if (s->throttle)
		g_source_remove(s->throttle);
	g_ptr_array_remove(w->memory->sources, s);
	g_free(s);
	describe(w);
}

void memory_listen(struct worker *w)
{
	struct worker_memory *m = w->memory = g_new0(struct worker_memory, 1);  /* lives as long as the process */

	m->sources = g_ptr_array_new();
	for (unsigned i = 0; i < w->vm.devices->len; i++) {
		struct device *d = w->vm.devices->pdata[i];

		if (is_balloon(d) || !strcmp(d->ops->name, "virtio-mem"))
			memory_came(w, d);
	}
	if (list_len(w->machine->devices.memdevs))
		worker_changed(w, "memory", NULL);
}
