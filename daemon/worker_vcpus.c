/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPUs that come and go.
 *
 * A slot that was never filled gets a vCPU of KVM and a thread; one that was given up keeps both, parked, and begins anew
 * from power-on state when it is plugged again (KVM cannot take a vCPU away). The guest sees the slot in the hot-plug block
 * (devices/cpuhp.c) and a general purpose event, and answers by _OST or by ejecting.
 *
 * An insertion that the guest does not confirm is taken back, unless the vCPU has left the state it was made in: then the
 * guest does run it, whatever it says. A removal it does not confirm is called off.
 */
#include "daemon/worker_vcpus_priv.h"

#include <stdio.h>
#include <string.h>

#include "daemon/worker_confirm.h"
#include "daemon/worker_ost.h"
#include "devices/acpi_pm.h"
#include "devices/cpuhp.h"
#include "domain/json.h"
#include "hv/accel.h"
#include "hv/vcpu.h"
#include "hv/x86/cpuid.h"
#include "hv/x86/ports.h"

#define PARK_MS 200             /* a vCPU that halts leaves KVM at once */
#define AP_RIP 0xfff0u          /* where a vCPU stands that was never started */
#define AP_CS 0xf000u

/* --- names --- */

const char *vcpu_key(unsigned slot, char key[KEY_SIZE])
{
	snprintf(key, KEY_SIZE, "vcpu%u", slot);
	return key;
}

const char *vcpu_qid(const struct worker *w, unsigned slot)
{
	return w->hotplug && slot < w->hotplug->n ? w->hotplug->slots[slot].id : NULL;
}

char *vcpu_path(const struct worker *w, unsigned slot)
{
	const char *id = vcpu_qid(w, slot);

	return id ? g_strdup_printf("/machine/peripheral/%s", id) : g_strdup_printf("/machine/unattached/device[%u]", slot);
}

char *vcpu_type(const struct worker *w)
{
	const struct cpu *c = &w->machine->cpu;
	const char *name = c->model && *c->model ? c->model : c->mode == CPU_MODE_HOST_PASSTHROUGH ? "host" :
		c->mode == CPU_MODE_MAXIMUM ? "max" : c->mode == CPU_MODE_HOST_MODEL ? "host" : "qemu64";

	return g_strdup_printf("%s-x86_64-cpu", name);
}

void vcpu_props(const struct worker *w, unsigned slot, struct cpu_props *p)
{
	struct cpu_layout l;

	cpu_layout_init(&l, w->machine);
	*p = (struct cpu_props){ .thread = slot % l.threads, .core = slot / l.threads % l.cores,
		.die = slot / l.threads / l.cores % l.dies, .socket = slot / l.threads / l.cores / l.dies };
}

int vcpu_by_name(const struct worker *w, const char *name)
{
	for (unsigned i = 0; i < w->vm.vcpus->len; i++) {
		const struct vcpu *v = w->vm.vcpus->pdata[i];
		g_autofree char *path = NULL;

		if (v->unplugged)
			continue;
		path = vcpu_path(w, v->index);
		if (!strcmp(path, name) || !g_strcmp0(vcpu_qid(w, v->index), name))
			return (int)v->index;
	}
	return -1;
}

bool vcpu_ost(const struct worker *w, unsigned slot, uint32_t *event, uint32_t *status)
{
	if (!w->hotplug || slot >= w->hotplug->n || !w->hotplug->slots[slot].told)
		return false;
	*event = w->hotplug->slots[slot].event;
	*status = w->hotplug->slots[slot].status;
	return true;
}

/* --- the description --- */

static struct vcpu_entry *entry_of(struct worker *w, unsigned slot)
{
	list_each(vcpu_entry, e, w->machine->vcpu.list)
		if (e->id == slot)
			return e;
	return NULL;
}

static gint by_id(gconstpointer a, gconstpointer b)
{
	const struct vcpu_entry *x = *(struct vcpu_entry *const *)a, *y = *(struct vcpu_entry *const *)b;

	return x->id < y->id ? -1 : x->id > y->id;
}

void vcpus_describe(struct worker *w)
{
	struct vcpu_config *c = &w->machine->vcpu;
	unsigned now = machine_vcpus(w->machine);
	g_autofree bool *pluggable = g_new0(bool, MAX(c->max, 1)), *on = g_new0(bool, MAX(c->max, 1));

	if (!machine_has_vcpu_hotplug(w->machine))
		return;
	for (unsigned i = 0; i < c->max; i++) {
		pluggable[i] = machine_vcpu_hotpluggable(w->machine, i);
		on[i] = machine_vcpu_enabled(w->machine, i);
	}
	if (!c->list)
		c->list = g_ptr_array_new();
	for (unsigned i = 0; i < c->max; i++) {
		struct vcpu_entry *e = entry_of(w, i);

		if (!e) {
			e = schema_new(&vcpu_entry_schema);
			e->id = i;
			g_ptr_array_add(c->list, e);
		}
		e->enabled = on[i] ? YESNO_YES : YESNO_NO;
		e->hotpluggable = pluggable[i] ? YESNO_YES : YESNO_NO;
	}
	g_ptr_array_sort(c->list, by_id);
	c->current = now == c->max ? 0 : now;
}

static void changed(struct worker *w, unsigned slot)
{
	struct vcpu_config *c = &w->machine->vcpu;
	struct vcpu_entry *e = entry_of(w, slot);
	json_object *o = json_object_new_object();
	unsigned now = vm_vcpus(&w->vm);

	/* only main reads these members */
	if (e)
		e->enabled = vm_has_vcpu(&w->vm, slot) ? YESNO_YES : YESNO_NO;
	c->current = now == c->max ? 0 : now;
	json_object_object_add(o, "changed", json_object_new_string("vcpu"));
	json_object_object_add(o, "vcpus", json_object_new_int64(now));
	worker_event(w, "KVMD_MACHINE", o);
}

/* --- plugging --- */

static bool is_changing(const struct worker *w, GError **err)
{
	if (w->vm.state == VM_RUNNING || w->vm.state == VM_PAUSED)
		return false;
	kerr_set(err, KERR_STATE, w->vm.state == VM_PAUSING ? "the machine is just changing its state: try again" : "the guest has ended");
	return true;
}

bool vcpus_can_change(const struct worker *w, GError **err)
{
	return w->hotplug || kerr_set(err, KERR_UNSUPPORTED,
		"its %u vCPUs were there at start and stay: to change that, write <vcpu current='N'>MAXIMUM</vcpu> and start it again", w->machine->vcpu.max);
}

void vcpus_tell_guest(struct worker *w)
{
	gpe_raise(device_by_type(w, "acpi-pm"), GPE_CPU_HOTPLUG);
}

/* The vCPU of a free slot, as after power-on, its thread parked. */
static struct vcpu *vcpu_fresh(struct worker *w, unsigned slot, GError **err)
{
	struct vcpu *v = vm_vcpu(&w->vm, slot);
	int rc;

	if (!v) {
		v = vm_add_vcpu(&w->vm, slot, err);
		if (!v)
			return NULL;
		v->unplugged = true;
	}
	if (!v->thread)         /* also one whose thread could not be had the last time */
		return vcpu_start(v, err) ? v : NULL;
	if (!vcpu_wait_parked(v, PARK_MS)) {
		kerr_set(err, KERR_BUSY, "vcpu %u: it has not left the host's kernel since it was unplugged: try again", slot);
		return NULL;
	}
	rc = w->vm.accel->vcpu_reset(v);
	if (rc) {
		kerr_errno(err, -rc, "vcpu %u: make it as new", slot);
		return NULL;
	}
	return v;
}

bool vcpu_plug(struct worker *w, unsigned slot, const char *id, GError **err)
{
	struct vcpu *v;
	struct cpu_slot *s;

	if (!vcpus_can_change(w, err) || is_changing(w, err))
		return false;
	v = vcpu_fresh(w, slot, err);
	if (!v)
		return false;
	s = &w->hotplug->slots[slot];
	g_free(s->id);
	*s = (struct cpu_slot){ .id = g_strdup(id) };
	v->unplugged = false;
	if (w->vm.state == VM_RUNNING)
		vcpu_go(v);
	cpuhp_insert(w->hotplug->block, slot, true);
	vcpus_tell_guest(w);
	changed(w, slot);
	return true;
}

/* The slot is empty, for the guest and for us. */
static void vcpu_gone(struct worker *w, unsigned slot)
{
	struct vcpu *v = vm_vcpu(&w->vm, slot);

	v->unplugged = true;
	vcpu_park(v);
	g_clear_pointer(&w->hotplug->slots[slot].id, g_free);
	w->hotplug->slots[slot].told = w->hotplug->slots[slot].leaving = false;
	changed(w, slot);
}

static void device_event(struct worker *w, const char *event, unsigned slot)
{
	json_object *o = json_object_new_object();
	g_autofree char *path = vcpu_path(w, slot);

	if (vcpu_qid(w, slot))
		json_object_object_add(o, "device", json_object_new_string(vcpu_qid(w, slot)));
	json_object_object_add(o, "path", json_object_new_string(path));
	worker_event(w, event, o);
}

/* --- what the guest says --- */

static void take_report(struct worker *w, const struct cpuhp_report *r)
{
	struct cpu_slot *s = &w->hotplug->slots[r->slot];
	bool has = vm_has_vcpu(&w->vm, r->slot);
	g_autofree char *said = NULL;
	char key[KEY_SIZE];

	vcpu_key(r->slot, key);
	if (r->seen)
		confirm_told(w, key, CONFIRM_PROGRESS, NULL);
	if (r->told) {
		s->told = true;
		s->event = r->event;
		s->status = r->status;
		ost_event(w, &w->hotplug->told, vcpu_qid(w, r->slot), r->slot, "CPU", r->event, r->status);
	}
	if (r->ejected && has) {
		device_event(w, "DEVICE_DELETED", r->slot);
		vcpu_gone(w, r->slot);
		confirm_told(w, key, CONFIRM_DONE, NULL);
		return;
	}
	if (!r->told || ost_is_leave(r->event) != s->leaving)
		return;         /* not about what is under way: the answer to an insertion may come when the CPU is to go again */
	said = ost_text(r->event, r->status);
	if (ost_goes_on(r->event, r->status))
		confirm_told(w, key, CONFIRM_PROGRESS, said);
	else if (r->status)
		confirm_told(w, key, CONFIRM_REFUSED, said);
	else if (has && !s->leaving)
		confirm_told(w, key, CONFIRM_DONE, NULL);
}

static void drain(struct worker *w)
{
	struct cpuhp_report r;

	while (cpuhp_take(w->hotplug->block, &r))
		take_report(w, &r);
}

/* On a vCPU's thread. */
static void posted(void *arg)
{
	worker_post(arg, drain);
}

/* --- taking back --- */

static unsigned slot_of_key(const char *key)
{
	return (unsigned)g_ascii_strtoull(key + strlen("vcpu"), NULL, 10);
}

/* Whether the guest runs it; parks it. */
static bool was_started(struct worker *w, struct vcpu *v)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	vcpu_park(v);
	if (!vcpu_wait_parked(v, PARK_MS) || !w->vm.accel->regs || w->vm.accel->regs(v, &regs, &sregs, false))
		return true;
	return regs.rip != AP_RIP || sregs.cs.selector != AP_CS;
}

bool vcpu_undo_insert(struct worker *w, const char *key, void *arg)
{
	unsigned slot = slot_of_key(key);
	struct vcpu *v = vm_vcpu(&w->vm, slot);

	if (!vm_has_vcpu(&w->vm, slot))
		return false;
	if (was_started(w, v)) {
		if (w->vm.state == VM_RUNNING)
			vcpu_go(v);
		return true;
	}
	vcpu_gone(w, slot);
	if (!cpuhp_withdraw(w->hotplug->block, slot)) {
		/* it has looked: its own tables are to forget the slot again */
		cpuhp_remove(w->hotplug->block, slot);
		vcpus_tell_guest(w);
	}
	return false;
}

bool vcpu_undo_remove(struct worker *w, const char *key, void *arg)
{
	unsigned slot = slot_of_key(key);

	if (!vm_has_vcpu(&w->vm, slot))
		return true;
	w->hotplug->slots[slot].leaving = false;
	cpuhp_withdraw(w->hotplug->block, slot);
	device_event(w, "DEVICE_UNPLUG_GUEST_ERROR", slot);
	return false;
}

static void unplug_ended(struct worker *w, const GError *err, void *arg)
{
	/* the events have told */
}

static const struct confirm_ops unplug_ops = { vcpu_undo_remove, unplug_ended };

void vcpu_ask_for(struct worker *w, unsigned slot)
{
	w->hotplug->slots[slot].leaving = true;
	cpuhp_remove(w->hotplug->block, slot);
}

bool vcpu_unplug(struct worker *w, unsigned slot, GError **err)
{
	struct confirm *c;
	char key[KEY_SIZE];

	if (!vcpus_can_change(w, err) || is_changing(w, err))
		return false;
	if (!machine_vcpu_hotpluggable(w->machine, slot))
		return kerr_set(err, KERR_UNSUPPORTED, slot ? "vCPU %u is not hot-pluggable" : "vCPU %u boots the guest: it stays", slot);
	c = confirm_new(w, 0, &unplug_ops, NULL);
	if (!confirm_part(c, vcpu_key(slot, key), err)) {
		confirm_cancel(c);
		return false;
	}
	vcpu_ask_for(w, slot);
	vcpus_tell_guest(w);
	confirm_start(c);
	return true;
}

/* --- lifecycle --- */

void vcpus_listen(struct worker *w)
{
	struct device *block = device_by_type(w, "cpuhp");
	struct hotplug *h;

	if (!block)
		return;
	h = g_new0(struct hotplug, 1);
	*h = (struct hotplug){ .worker = w, .block = block, .n = w->machine->vcpu.max };
	h->slots = g_new0(struct cpu_slot, h->n);
	w->hotplug = h;
	cpuhp_listen(block, posted, w);
}

void vcpus_reset(struct worker *w)
{
	char key[KEY_SIZE];

	if (!w->hotplug)
		return;
	drain(w);
	for (unsigned i = 1; i < w->hotplug->n; i++) {
		struct cpuhp_report gone = { .slot = i, .ejected = true };

		if (!vm_has_vcpu(&w->vm, i) || !confirm_waits(w, vcpu_key(i, key)))
			continue;
		/* what is being plugged is there from the start; what was asked for is not */
		if (w->hotplug->slots[i].leaving)
			take_report(w, &gone);
		else
			confirm_told(w, key, CONFIRM_DONE, NULL);
	}
}
