/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that come and go.
 *
 * A device that comes is made, put into the description, and the guest is told by the hot-plug block (devices/pcihp.c) and a
 * general purpose event. It has come when its driver is ready, or when the guest says by _OST that it has taken it. What the
 * guest neither takes nor touches within the time-out is taken away again.
 *
 * A device that goes has been ejected by the guest, asked or not. It leaves the bus at once, then ends what it has in flight
 * (which may take long, and holds up nobody), and only then is freed: its descriptors are closed and its locks are gone.
 *
 * worker_plug_in.c has the coming and worker_plug_out.c the going, each with its undoing; here is what they share (struct plug,
 * worker_plug_private.h): what the guest says, how a change ends, and how a device is taken apart.
 */
#include "daemon/worker_plug.h"

#include <string.h>

#include "daemon/worker_plug_private.h"
#include "devices/acpi_pm.h"
#include "devices/pci.h"
#include "devices/pcihp.h"
#include "domain/json.h"
#include "hv/x86/ports.h"

/* A device that is being taken apart. */
struct retiring {
	struct done done;
	struct worker *worker;
	const struct plug_kind *kind;
	struct device *device;
	void *config;
	bool quiet;                     /* it never was there, for anybody */
};

/* --- looking --- */

struct plug *plug_change_of(const struct worker *w, const char *alias)
{
	for (unsigned i = 0; i < w->plugs->changes->len; i++) {
		struct plug *p = w->plugs->changes->pdata[i];

		if (!strcmp(p->alias, alias))
			return p;
	}
	return NULL;
}

static struct plug *change_at(const struct worker *w, unsigned slot)
{
	for (unsigned i = 0; i < w->plugs->changes->len; i++) {
		struct plug *p = w->plugs->changes->pdata[i];

		if (p->kind->type && p->slot == slot)
			return p;
	}
	return NULL;
}

bool plug_is_retiring(const struct worker *w, const struct device *d)
{
	for (unsigned i = 0; i < w->plugs->retiring->len; i++)
		if (((const struct retiring *)w->plugs->retiring->pdata[i])->device == d)
			return true;
	return false;
}

/* The kind of a device that may come and go; NULL: it stays. */
static const struct plug_kind *kind_of_device(const struct device *d)
{
	for (const struct plug_kind *k = plug_kinds; k->schema; k++)
		if (k->type && !strcmp(k->type, d->ops->name))
			return k;
	return NULL;
}

bool plug_can_change(const struct worker *w, GError **err)
{
	if (!w->plugs)
		return kerr_set(err, KERR_UNSUPPORTED, "the machine has no ACPI, by which guests are told of devices: write <features><acpi/></features> and start it again");
	if (w->vm.state == VM_RUNNING || w->vm.state == VM_PAUSED)
		return true;
	return kerr_set(err, KERR_STATE, w->vm.state == VM_PAUSING ? "the machine is just changing its state: try again" : "the guest has ended");
}

/* --- telling --- */

void plug_tell_guest(struct worker *w)
{
	gpe_raise(device_by_type(w, "acpi-pm"), GPE_PCI_HOTPLUG);
}

void plug_changed(struct worker *w)
{
	worker_changed(w, "devices", NULL);
}

void plug_device_event(struct worker *w, const char *event, const char *alias)
{
	json_object *o = json_object_new_object();
	g_autofree char *path = g_strdup_printf("/machine/peripheral/%s", alias);

	json_object_object_add(o, "device", json_object_new_string(alias));
	json_object_object_add(o, "path", json_object_new_string(path));
	worker_event(w, event, o);
}

void plug_command_event(struct worker *w, const char *command, const char *id, const char *alias, bool done, const GError *err)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "command", json_object_new_string(command));
	if (id)
		json_object_object_add(o, "id", json_object_new_string(id));
	json_object_object_add(o, "device", json_object_new_string(alias));
	if (done)
		json_object_object_add(o, "ok", json_object_new_boolean(!err));
	if (err) {
		json_object_object_add(o, "code", json_object_new_string(kerr_of(err)->code));
		json_object_object_add(o, "desc", json_object_new_string(err->message));
	}
	worker_event(w, done ? "COMMAND_DONE" : "COMMAND_BEGUN", o);
}

void plug_tell_command(const struct plug *p, bool done)
{
	plug_command_event(p->worker, p->leaving ? "detach-device" : "attach-device", p->id, p->alias, done, p->err);
}

/* --- a change --- */

struct plug *plug_change_new(struct worker *w, const struct plug_kind *k, const char *alias, const char *id, bool leaving)
{
	struct plug *p = g_new0(struct plug, 1);

	*p = (struct plug){ .worker = w, .kind = k, .alias = g_strdup(alias), .id = g_strdup(id), .leaving = leaving };
	g_ptr_array_add(w->plugs->changes, p);
	return p;
}

void plug_free(struct plug *p)
{
	g_ptr_array_remove(p->worker->plugs->changes, p);
	g_clear_error(&p->err);
	g_free(p->alias);
	g_free(p->id);
	g_free(p);
}

void plug_end(struct plug *p)
{
	g_autoptr(GError) err = NULL;
	struct worker *w = p->worker;
	plug_then *then = p->then;
	void *arg = p->then_arg;

	if (p->waiter) {
		struct tell_device t = { .alias = p->alias };

		plug_tell_command(p, true);
		waiter_answer(p->waiter, p->err ? NULL : json_from_struct(&tell_device_schema, &t, JSON_ALL), p->err);
	}
	if (then)
		err = g_steal_pointer(&p->err);
	plug_free(p);
	if (then)
		then(w, err, arg);
}

void plug_ended(struct worker *w, const GError *err, void *arg)
{
	struct plug *p = arg;
	const struct device *d = device_find(&w->vm, p->alias);

	p->over = true;
	if (err)
		p->err = g_error_copy(err);
	if (!p->leaving && !err)
		plug_changed(w);
	if (!d || !plug_is_retiring(w, d))   /* else afterwards */
		plug_end(p);
}

/* --- taking apart --- */

void plug_forget(struct worker *w, const struct plug_kind *k, void *config)
{
	g_ptr_array_remove(*plug_list(w, k), config);
	schema_free(k->schema, config);
}

static void retired(struct done *done, int result)
{
	struct retiring *r = done->arg;
	struct worker *w = r->worker;
	g_autofree char *alias = g_strdup(r->device->id);
	struct plug *p;

	if (r->kind->gone)
		r->kind->gone(w, r->device);
	p = plug_change_of(w, alias);
	device_free(r->device);
	plug_forget(w, r->kind, r->config);
	g_ptr_array_remove(w->plugs->retiring, r);
	if (!r->quiet)
		plug_device_event(w, "DEVICE_DELETED", alias);
	plug_changed(w);
	g_free(r);
	if (p && p->over)
		plug_end(p);
	else if (p)
		confirm_told(w, alias, CONFIRM_DONE, NULL);
}

void plug_retire(struct worker *w, const struct plug_kind *k, struct device *d, bool quiet)
{
	struct retiring *r = g_new0(struct retiring, 1);

	*r = (struct retiring){ .done = { .fn = retired, .arg = r }, .worker = w, .kind = k, .device = d, .config = d->config, .quiet = quiet };
	g_ptr_array_add(w->plugs->retiring, r);
	pci_unmap(pci_of(d));
	done_begin(&r->done);
	if (d->state == DEVICE_REALIZED) {
		if (d->ops->pause)
			d->ops->pause(d, &r->done);
		d->state = DEVICE_PAUSED;
	}
	done_end(&r->done, 0);
}

/* --- what the guest says --- */

static void ejected(struct worker *w, unsigned slot)
{
	for (unsigned i = 0; i < w->vm.devices->len; i++) {
		struct device *d = w->vm.devices->pdata[i];
		const struct plug_kind *k = kind_of_device(d);

		if (!k || !pci_of(d)->bus || pci_of(d)->slot != slot || plug_is_retiring(w, d))
			continue;
		plug_retire(w, k, d, false);
	}
}

static void take_report(struct worker *w, const struct pcihp_report *r)
{
	struct plug *p = change_at(w, r->slot);
	g_autofree char *said = NULL;

	if (r->told)
		ost_event(w, &w->plugs->told, NULL, r->slot, "PCI", r->event, r->status);
	if (r->ejected) {
		ejected(w, r->slot);
		if (p && !p->leaving)
			confirm_told(w, p->alias, CONFIRM_REFUSED, "it has ejected the device again");
		return;
	}
	if (p && r->seen)
		confirm_told(w, p->alias, CONFIRM_PROGRESS, NULL);
	if (!p || !r->told || ost_is_leave(r->event) != p->leaving)
		return;
	said = ost_text(r->event, r->status);
	if (ost_goes_on(r->event, r->status))
		confirm_told(w, p->alias, CONFIRM_PROGRESS, said);
	else if (r->status)
		confirm_told(w, p->alias, CONFIRM_REFUSED, said);
	else if (!p->leaving)
		confirm_told(w, p->alias, CONFIRM_DONE, NULL);
}

static void drain(struct worker *w)
{
	struct pcihp_report r;

	while (pcihp_take(w->plugs->block, &r))
		take_report(w, &r);
}

/* On a vCPU's thread. */
static void posted(void *arg)
{
	worker_post(arg, drain);
}

void plug_driver(struct worker *w, const char *id)
{
	if (w->plugs && plug_change_of(w, id))
		confirm_told(w, id, CONFIRM_DONE, NULL);
}

/* --- lifecycle --- */

void plugs_listen(struct worker *w)
{
	struct device *block = device_by_type(w, "pcihp");

	if (!block)
		return;
	w->plugs = g_new0(struct plugs, 1);
	*w->plugs = (struct plugs){ .block = block, .changes = g_ptr_array_new(), .retiring = g_ptr_array_new() };
	pcihp_listen(block, posted, w);
}

void plugs_reset(struct worker *w)
{
	g_autoptr(GPtrArray) now = NULL;

	if (!w->plugs)
		return;
	drain(w);
	now = g_ptr_array_copy(w->plugs->changes, NULL, NULL);
	for (unsigned i = 0; i < now->len; i++) {
		struct plug *p = now->pdata[i];
		struct device *d = device_find(&w->vm, p->alias);

		if (p->over || !confirm_waits(w, p->alias))
			continue;
		/* what is being plugged is there from the start; what was asked for is not */
		if (!p->leaving)
			confirm_told(w, p->alias, CONFIRM_DONE, NULL);
		else if (d && !plug_is_retiring(w, d))
			plug_retire(w, p->kind, d, false);
	}
}
