/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vcpus-set: a number of vCPUs, as one change. The lowest free slots are filled, the highest that may go are emptied. The
 * answer goes to whoever asked, if it is still there; COMMAND_BEGUN and COMMAND_DONE tell everybody.
 *
 * A guest whose agent answers is asked before which CPUs it has, and afterwards until those that came are online; it is told to
 * switch on what it leaves off. When it does not, all that came are asked for again, as by an unplug: the change has failed and
 * the guest has what it had, or the error says what it keeps. Without an agent what ACPI says has to do.
 */
#include "daemon/worker_agent_vcpus.h"
#include "daemon/worker_vcpus_priv.h"
#include "devices/cpuhp.h"
#include "domain/check.h"
#include "domain/json.h"

#define AGENT_LOOK_MS 5000u     /* for the agent's first answer: one that gives none must not keep anybody from plugging */

struct set {
	struct waiter *waiter;
	unsigned wanted, timeout;
	char *id;
	GArray *slots;
	struct confirm *confirm;
	GArray *before;         /* uint32_t: the guest's CPUs before any came; NULL: there is no agent that would say */
	unsigned online;        /* that the guest uses, by its agent; 0: nobody has said */
	GError *failed;         /* why those that came are asked for again; NULL: they are not */
};

static void set_free(struct set *s)
{
	if (s->before)
		g_array_unref(s->before);
	g_clear_error(&s->failed);
	if (s->slots)
		g_array_unref(s->slots);
	g_free(s->id);
	g_free(s);
}

static json_object *counts(const struct worker *w, unsigned online)
{
	struct tell_vcpus t = { .vcpus = vm_vcpus(&w->vm), .maximum = w->machine->vcpu.max, .online = online };

	return json_from_struct(&tell_vcpus_schema, &t, JSON_ALL);
}

static void command_event(struct worker *w, const char *event, const struct set *s, unsigned vcpus, bool done, const GError *err)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "command", json_object_new_string("setvcpus"));
	if (s->id)
		json_object_object_add(o, "id", json_object_new_string(s->id));
	if (done)
		json_object_object_add(o, "ok", json_object_new_boolean(!err));
	json_object_object_add(o, "vcpus", json_object_new_int64(vcpus));
	if (s->online && done)
		json_object_object_add(o, "online", json_object_new_int64(s->online));
	if (err) {
		json_object_object_add(o, "code", json_object_new_string(kerr_of(err)->code));
		json_object_object_add(o, "desc", json_object_new_string(err->message));
	}
	worker_event(w, event, o);
}

static void set_done(struct worker *w, struct set *s, const GError *err)
{
	unsigned now = vm_vcpus(&w->vm);
	g_autoptr(GError) told = NULL;

	w->hotplug->set = NULL;
	if (err) {
		told = g_error_copy(err);
		g_prefix_error(&told, "%u vCPUs were asked for, there are %u: ", s->wanted, now);
	}
	command_event(w, "COMMAND_DONE", s, now, true, told);
	waiter_answer(s->waiter, told ? NULL : counts(w, s->online), told);
	set_free(s);
}

/* --- what came and is not online goes again --- */

static void gave_back(struct worker *w, const GError *err, void *arg)
{
	struct set *s = arg;
	g_autoptr(GError) told = NULL;

	kerr_set(&told, (enum kerr)s->failed->code, "%s; %s%s", s->failed->message,
		err ? "they were asked for again, but the guest keeps them: " : "it has given them back", err ? err->message : "");
	set_done(w, s, told);
}

static const struct confirm_ops give_back_ops = { vcpu_undo_remove, gave_back };

static void give_back(struct worker *w, struct set *s)
{
	char key[KEY_SIZE];

	s->confirm = confirm_new(w, s->timeout, &give_back_ops, s);
	for (guint i = s->slots->len; i-- > 0;) {
		unsigned slot = g_array_index(s->slots, unsigned, i);

		/* one that is part of another change is just being unplugged by somebody else */
		if (vm_has_vcpu(&w->vm, slot) && confirm_part(s->confirm, vcpu_key(slot, key), NULL))
			vcpu_ask_for(w, slot);
	}
	vcpus_tell_guest(w);
	confirm_start(s->confirm);
}

/* An agent that goes away between is none. */
static void are_online(struct worker *w, const GPtrArray *list, const GError *err, void *arg)
{
	struct set *s = arg;

	s->online = guest_vcpus_online(list);
	if (!err || err->code == KERR_STATE) {
		set_done(w, s, NULL);
		return;
	}
	s->failed = g_error_copy(err);
	g_prefix_error(&s->failed, "the guest has taken them, but they are not online: ");
	give_back(w, s);
}

static void set_ended(struct worker *w, const GError *err, void *arg)
{
	struct set *s = arg;

	if (err || !s->before || !guest_vcpus_new(w, g_steal_pointer(&s->before), s->slots->len, s->timeout, are_online, s, NULL))
		set_done(w, s, err);
}

static const struct confirm_ops grow_ops = { vcpu_undo_insert, set_ended };
static const struct confirm_ops shrink_ops = { vcpu_undo_remove, set_ended };

/* Slots to fill, lowest first; to empty, highest first. */
static GArray *choose(const struct worker *w, unsigned wanted, GError **err)
{
	GArray *slots = g_array_new(FALSE, FALSE, sizeof(unsigned));
	unsigned now = vm_vcpus(&w->vm), max = w->machine->vcpu.max, n = wanted > now ? wanted - now : now - wanted;
	bool grow = wanted > now;

	for (unsigned i = 0; i < max && slots->len < n; i++) {
		unsigned slot = grow ? i : max - 1 - i;

		if (vm_has_vcpu(&w->vm, slot) != grow && machine_vcpu_hotpluggable(w->machine, slot))
			g_array_append_val(slots, slot);
	}
	if (slots->len == n)
		return slots;
	kerr_set(err, KERR_UNSUPPORTED, "of its %u vCPUs only %u can be unplugged: <vcpus> keeps the others", now, slots->len);
	g_array_unref(slots);
	return NULL;
}

/* The slots of a list. */
static GArray *named(const struct worker *w, const struct args_vcpus_set *a, GError **err)
{
	GArray *slots = g_array_new(FALSE, FALSE, sizeof(unsigned));
	g_autofree struct cpu_bits *bits = g_new0(struct cpu_bits, 1);
	GError *bad = NULL;

	cpu_bits_parse(a->vcpus, bits);
	if (cpu_bits_highest(bits) >= (int)w->machine->vcpu.max)
		kerr_set(&bad, KERR_ARGS, "there is no vCPU %d: its maximum is %u", cpu_bits_highest(bits), w->machine->vcpu.max);
	for (unsigned i = 0; i < w->machine->vcpu.max && !bad; i++) {
		if (!cpu_bit(bits, i))
			continue;
		if (vm_has_vcpu(&w->vm, i) == a->enable)
			kerr_set(&bad, KERR_STATE, "vCPU %u is %s already", i, a->enable ? "there" : "away");
		else if (!machine_vcpu_hotpluggable(w->machine, i))
			kerr_set(&bad, KERR_UNSUPPORTED, "vCPU %u cannot be plugged or unplugged while the machine runs: %s", i,
				i ? "<vcpus> keeps it" : "it boots the guest");
		else
			g_array_append_val(slots, i);
	}
	if (slots->len && !bad)
		return slots;
	if (!bad)
		kerr_set(&bad, KERR_ARGS, "the list names no vCPU");
	g_propagate_error(err, bad);
	g_array_unref(slots);
	return NULL;
}

static bool may_set(struct worker *w, const struct args_vcpus_set *a, GError **err)
{
	if (!a->count == !a->vcpus)
		return kerr_set(err, KERR_ARGS, "either a number of vCPUs or their numbers are needed");
	if (a->count > w->machine->vcpu.max)
		return kerr_set(err, KERR_ARGS, "%u vCPUs are more than its maximum of %u", a->count, w->machine->vcpu.max);
	if (!vcpus_can_change(w, err))
		return false;
	if (w->vm.state != VM_RUNNING)
		return kerr_set(err, KERR_STATE, "the guest does not run, so it cannot take or give vCPUs");
	if (w->hotplug->set)
		return kerr_set(err, KERR_BUSY, "the guest has not yet answered to the change to %u vCPUs", w->hotplug->set->wanted);
	return true;
}

static void set_begin(struct worker *w, struct set *s, bool grow)
{
	unsigned begun = 0;
	GError *bad = NULL;
	char key[KEY_SIZE];

	for (; begun < s->slots->len && !bad; begun++) {
		unsigned slot = g_array_index(s->slots, unsigned, begun);

		if (!grow)
			vcpu_ask_for(w, slot);
		else if (!vcpu_plug(w, slot, vcpu_key(slot, key), &bad))
			break;
	}
	if (!grow && s->slots->len)
		vcpus_tell_guest(w);
	/* what the host could not give will not come: the guest is asked for the rest only */
	for (; begun < s->slots->len; begun++)
		confirm_told(w, vcpu_key(g_array_index(s->slots, unsigned, begun), key), CONFIRM_FAILED, bad->message);
	g_clear_error(&bad);
	confirm_start(s->confirm);
}

static void guest_looked(struct worker *w, const struct agent_told *t, const GError *err, void *arg)
{
	struct set *s = arg;

	if (!err) {
		s->before = g_array_new(FALSE, FALSE, sizeof(uint32_t));
		for (guint i = 0; i < t->list->len; i++)
			g_array_append_val(s->before, ((const struct guest_vcpu *)t->list->pdata[i])->id);
	}
	set_begin(w, s, true);
}

enum run_result vcpus_set(struct client *client, const struct args_vcpus_set *a, GError **err)
{
	struct worker *w = client->worker;
	unsigned now = vm_vcpus(&w->vm);
	bool grow = a->vcpus ? a->enable : a->count > now;
	struct set *s;
	char key[KEY_SIZE];

	if (!may_set(w, a, err))
		return RUN_FAILED;
	s = g_new0(struct set, 1);
	*s = (struct set){ .wanted = a->count, .timeout = a->timeout, .id = g_strdup(a->id), .slots = a->vcpus ? named(w, a, err) : choose(w, a->count, err) };
	if (!s->slots) {
		set_free(s);
		return RUN_FAILED;
	}
	if (a->vcpus)
		s->wanted = grow ? now + s->slots->len : now - s->slots->len;
	s->confirm = confirm_new(w, a->timeout, grow ? &grow_ops : &shrink_ops, s);
	for (unsigned i = 0; i < s->slots->len; i++)
		if (!confirm_part(s->confirm, vcpu_key(g_array_index(s->slots, unsigned, i), key), err)) {
			confirm_cancel(s->confirm);
			set_free(s);
			return RUN_FAILED;
		}
	w->hotplug->set = s;
	s->waiter = waiter_new(client);
	command_event(w, "COMMAND_BEGUN", s, s->wanted, false, NULL);
	if (!grow || !agent_ask(w, AGENT_GET_VCPUS, NULL, MIN(a->timeout, AGENT_LOOK_MS), guest_looked, s, NULL))
		set_begin(w, s, grow);
	return RUN_LATER;
}
