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
 * A long file: coming, going and the undoing of either use each other, and share struct plug.
 */
#include "daemon/worker_plug.h"

#include <string.h>
#include <unistd.h>

#include "daemon/worker_confirm.h"
#include "daemon/worker_ost.h"
#include "devices/acpi_pm.h"
#include "devices/pci.h"
#include "devices/pcihp.h"
#include "domain/json.h"
#include "hv/x86/ports.h"

/* A change under way. */
struct plug {
	struct worker *worker;
	const struct plug_kind *kind;
	char *alias, *id;               /* id: of the command; NULL: none */
	unsigned slot;
	bool leaving;
	bool over;                      /* the guest has answered, or never did */
	uint64_t held;                  /* what it had to give back before it leaves */
	bool begun, empty;              /* the command has; there was nothing to give back */
	unsigned timeout_ms;
	GError *err;                    /* what it came to */
	struct waiter *waiter;          /* NULL: nobody waits */
	plug_then *then;                /* instead; NULL: nobody */
	void *then_arg;
};

/* A device that is being taken apart. */
struct retiring {
	struct done done;
	struct worker *worker;
	const struct plug_kind *kind;
	struct device *device;
	void *config;
	bool quiet;                     /* it never was there, for anybody */
};

struct plugs {
	struct device *block;
	GPtrArray *changes;             /* of struct plug */
	GPtrArray *retiring;            /* of struct retiring */
	struct ost_limit told;
};

/* --- looking --- */

static struct plug *change_of(const struct worker *w, const char *alias)
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

static bool is_retiring(const struct worker *w, const struct device *d)
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

/* --- telling --- */

static void tell_guest(struct worker *w)
{
	gpe_raise(device_by_type(w, "acpi-pm"), GPE_PCI_HOTPLUG);
}

void plug_changed(struct worker *w)
{
	worker_changed(w, "devices", NULL);
}

static void device_event(struct worker *w, const char *event, const char *alias)
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

static void command_event(const struct plug *p, bool done)
{
	plug_command_event(p->worker, p->leaving ? "detach-device" : "attach-device", p->id, p->alias, done, p->err);
}

/* --- the end of a change --- */

static void plug_free(struct plug *p)
{
	g_ptr_array_remove(p->worker->plugs->changes, p);
	g_clear_error(&p->err);
	g_free(p->alias);
	g_free(p->id);
	g_free(p);
}

static void plug_end(struct plug *p)
{
	g_autoptr(GError) err = NULL;
	struct worker *w = p->worker;
	plug_then *then = p->then;
	void *arg = p->then_arg;

	if (p->waiter) {
		struct tell_device t = { .alias = p->alias };

		command_event(p, true);
		waiter_answer(p->waiter, p->err ? NULL : json_from_struct(&tell_device_schema, &t, JSON_ALL), p->err);
	}
	if (then)
		err = g_steal_pointer(&p->err);
	plug_free(p);
	if (then)
		then(w, err, arg);
}

/* --- taking apart --- */

static void forget(struct worker *w, const struct plug_kind *k, void *config)
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
	p = change_of(w, alias);
	device_free(r->device);
	forget(w, r->kind, r->config);
	g_ptr_array_remove(w->plugs->retiring, r);
	if (!r->quiet)
		device_event(w, "DEVICE_DELETED", alias);
	plug_changed(w);
	g_free(r);
	if (p && p->over)
		plug_end(p);
	else if (p)
		confirm_told(w, alias, CONFIRM_DONE, NULL);
}

static void retire(struct worker *w, const struct plug_kind *k, struct device *d, bool quiet)
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

		if (!k || !pci_of(d)->bus || pci_of(d)->slot != slot || is_retiring(w, d))
			continue;
		retire(w, k, d, false);
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
	if (w->plugs && change_of(w, id))
		confirm_told(w, id, CONFIRM_DONE, NULL);
}

/* --- taking back --- */

/* Whether the guest has begun to use it, whatever it says. */
static bool is_used(struct device *d)
{
	bool used;

	g_mutex_lock(&d->lock);
	used = pci_of(d)->config[PCI_COMMAND] & (PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	g_mutex_unlock(&d->lock);
	return used;
}

static bool undo_attach(struct worker *w, const char *key, void *arg)
{
	struct plug *p = arg;
	struct device *d = device_find(&w->vm, p->alias);
	const struct plug_kind *k;
	void *config;

	if (!p->kind->type) {           /* a part of another device */
		config = plug_find(w, p->alias, &k);
		p->kind->remove(w, config);
		forget(w, p->kind, config);
		plug_changed(w);
		return false;
	}
	if (!d || is_retiring(w, d))
		return false;
	if (is_used(d))
		return true;
	retire(w, p->kind, d, true);
	if (!pcihp_withdraw(w->plugs->block, p->slot)) {
		/* it has looked: it is to forget the slot again */
		pcihp_remove(w->plugs->block, p->slot);
		tell_guest(w);
	}
	return false;
}

static bool undo_detach(struct worker *w, const char *key, void *arg)
{
	struct plug *p = arg;
	struct device *d = device_find(&w->vm, p->alias);

	if (!d || is_retiring(w, d))
		return true;
	if (p->kind->refill)
		p->kind->refill(w, d, p->held);
	pcihp_withdraw(w->plugs->block, p->slot);
	device_event(w, "DEVICE_UNPLUG_GUEST_ERROR", p->alias);
	return false;
}

static void ended(struct worker *w, const GError *err, void *arg)
{
	struct plug *p = arg;
	const struct device *d = device_find(&w->vm, p->alias);

	p->over = true;
	if (err)
		p->err = g_error_copy(err);
	if (!p->leaving && !err)
		plug_changed(w);
	if (!d || !is_retiring(w, d))   /* else afterwards */
		plug_end(p);
}

static const struct confirm_ops attach_ops = { undo_attach, ended };
static const struct confirm_ops detach_ops = { undo_detach, ended };

/* --- coming and going --- */

static bool can_change(const struct worker *w, GError **err)
{
	if (!w->plugs)
		return kerr_set(err, KERR_UNSUPPORTED, "the machine has no ACPI, by which guests are told of devices: write <features><acpi/></features> and start it again");
	if (w->vm.state == VM_RUNNING || w->vm.state == VM_PAUSED)
		return true;
	return kerr_set(err, KERR_STATE, w->vm.state == VM_PAUSING ? "the machine is just changing its state: try again" : "the guest has ended");
}

static void forget_done(struct done *done, int result)
{
	g_free(done);
}

static bool may_come(struct worker *w, const struct plug_kind *k, void *config, GError **err)
{
	struct device_base *b = plug_base(k, config);
	const struct plug_kind *other;

	if (!can_change(w, err))
		return false;
	if (!b->alias || !*b->alias)
		return kerr_set(err, KERR_ARGS, "the device has no alias");
	if (device_find(&w->vm, b->alias) || plug_find(w, b->alias, &other))
		return kerr_set(err, KERR_EXISTS, "the id '%s' is taken", b->alias);
	if (confirm_waits(w, b->alias))
		return kerr_set(err, KERR_BUSY, "%s: the guest has not yet answered to an earlier change of it", b->alias);
	if (list_len(*plug_list(w, k)) >= DEVICES_MAX)
		return kerr_set(err, KERR_LIMIT, "it has %u devices of this kind: more are not possible", DEVICES_MAX);
	return !k->may_come || k->may_come(w, config, err);
}

/* Makes the device; the guest has not been told. */
static struct device *make(struct worker *w, const struct plug_kind *k, void *config, struct fdset *fds, GError **err)
{
	struct device_base *b = plug_base(k, config);
	struct device *d = device_new(&w->vm, device_type(k->type), b->alias, config);

	if (plug_settle(w, &b->address, err) && device_realize(d, fds, err) && !plug_shares_slot(d, err)) {
		if (w->vm.state == VM_PAUSED) {         /* as all others */
			struct done *done = g_new0(struct done, 1);

			done->fn = forget_done;
			done_begin(done);
			if (d->ops->pause)
				d->ops->pause(d, done);
			d->state = DEVICE_PAUSED;
			done_end(done, 0);
		}
		return d;
	}
	device_free(d);
	return NULL;
}

static void put(struct worker *w, const struct plug_kind *k, void *config)
{
	GPtrArray **list = plug_list(w, k);

	if (!*list)
		*list = g_ptr_array_new();
	g_ptr_array_add(*list, config);
}

/* *slot: where it came to; *waits: what the guest's answer is known by, NULL: it has none to give. New. */
static bool insert(struct worker *w, const struct plug_kind *k, void *config, struct fdset *fds, unsigned *slot, bool *waits, GError **err)
{
	g_autofree char *id = NULL;
	struct device *d;

	*slot = 0;
	if (!may_come(w, k, config, err))
		goto fail;
	put(w, k, config);
	if (!k->type) {
		if (k->add(w, config, fds, &id, err)) {
			*waits = id;
			return true;
		}
	} else if ((d = make(w, k, config, fds, err))) {
		*slot = pci_of(d)->slot;
		*waits = true;
		if (k->came)
			k->came(w, d);
		__atomic_store_n(&d->awaited, 1, __ATOMIC_SEQ_CST);
		pcihp_insert(w->plugs->block, *slot);
		tell_guest(w);
		return true;
	}
	g_ptr_array_remove(*plug_list(w, k), config);
fail:
	schema_free(k->schema, config);
	return false;
}

bool plug_in(struct worker *w, const struct plug_kind *k, void *config, struct fdset *fds, GError **err)
{
	unsigned slot;
	bool waits;

	if (!insert(w, k, config, fds, &slot, &waits, err))
		return false;
	plug_changed(w);
	return true;
}

static struct plug *change_new(struct worker *w, const struct plug_kind *k, const char *alias, const char *id, bool leaving)
{
	struct plug *p = g_new0(struct plug, 1);

	*p = (struct plug){ .worker = w, .kind = k, .alias = g_strdup(alias), .id = g_strdup(id), .leaving = leaving };
	g_ptr_array_add(w->plugs->changes, p);
	return p;
}

/* The guest is asked for it. */
static void leave(struct plug *p)
{
	struct worker *w = p->worker;
	struct confirm *c = confirm_new(w, p->timeout_ms, &detach_ops, p);
	void *config;
	const struct plug_kind *k;

	if (!confirm_part(c, p->alias, &p->err)) {
		confirm_cancel(c);
		if (p->kind->refill)
			p->kind->refill(w, device_find(&w->vm, p->alias), p->held);
		plug_end(p);
		return;
	}
	if (p->kind->type) {
		p->slot = pci_of(device_find(&w->vm, p->alias))->slot;
		pcihp_remove(w->plugs->block, p->slot);
		tell_guest(w);
	} else {
		config = plug_find(w, p->alias, &k);
		k->remove(w, config);
		forget(w, k, config);
		device_event(w, "DEVICE_DELETED", p->alias);
		plug_changed(w);
		confirm_told(w, p->alias, CONFIRM_DONE, NULL);
	}
	confirm_start(c);
}

/* What is in it has been given back, or not. */
static void emptied(void *arg, const GError *err)
{
	struct plug *p = arg;
	struct worker *w = p->worker;
	struct device *d = device_find(&w->vm, p->alias);

	if (!p->begun) {
		p->empty = true;
		return;
	}
	if (is_retiring(w, d)) {        /* the guest has ejected it meanwhile */
		p->over = true;
		return;
	}
	if (err)
		p->err = g_error_copy(err);
	else if (can_change(w, &p->err)) {
		leave(p);
		return;
	}
	p->kind->refill(w, d, p->held);
	plug_end(p);
}

/* May it leave, for all we know? */
static bool may_leave(struct worker *w, const char *alias, bool force, const struct plug_kind **kind, GError **err)
{
	const struct plug_kind *k = NULL;
	void *config = plug_find(w, alias, &k);
	struct device *d = device_find(&w->vm, alias);

	if (!can_change(w, err))
		return false;
	if (!config)
		return d ? kerr_set(err, KERR_UNSUPPORTED, "'%s' cannot be unplugged while the machine runs", alias) :
			kerr_set(err, KERR_NO_DEVICE, "there is no device '%s'", alias);
	if (k->may_go && !k->may_go(w, config, force, err))
		return false;
	if (k->type && (!d || is_retiring(w, d)))
		return kerr_set(err, KERR_BUSY, "'%s' is on its way out", alias);
	if (k->type && plug_shares_slot(d, err))
		return false;
	if (change_of(w, alias) || confirm_waits(w, alias))
		return kerr_set(err, KERR_BUSY, "%s: the guest has not yet answered to an earlier change of it", alias);
	*kind = k;
	return true;
}

/* The client or `then` gets the answer; without both events tell. */
static bool begin_detach(struct worker *w, const char *alias, bool force, unsigned timeout, const char *id, struct client *client, plug_then *then,
	void *arg, GError **err)
{
	const struct plug_kind *k = NULL;
	struct device *d;
	struct plug *p;

	if (!may_leave(w, alias, force, &k, err))
		return false;
	d = device_find(&w->vm, alias);
	if (!client && !then && k->holds && k->holds(d))        /* as QEMU */
		return kerr_set(err, KERR_UNSUPPORTED, "'%s' is not empty: set its requested-size to 0 and wait until the guest has given it back", alias);
	p = change_new(w, k, alias, id, true);
	p->timeout_ms = timeout;
	p->then = then;
	p->then_arg = arg;
	p->held = k->holds ? k->holds(d) : 0;
	if (k->empty && !k->empty(w, d, timeout, emptied, p, err)) {
		plug_free(p);
		return false;
	}
	if (client) {
		p->waiter = waiter_new(client);
		command_event(p, false);
	}
	p->begun = true;
	if (!k->empty || p->empty)
		leave(p);
	return true;
}

bool plug_out(struct worker *w, const char *alias, bool force, GError **err)
{
	return begin_detach(w, alias, force, 0, NULL, NULL, NULL, NULL, err);
}

/* --- for the commands --- */

static bool begin_attach(struct worker *w, const struct plug_kind *k, void *config, struct fdset *fds, unsigned timeout, const char *id,
	struct client *client, plug_then *then, void *arg, GError **err)
{
	g_autofree char *alias = g_strdup(plug_base(k, config)->alias);
	struct confirm *c;
	struct plug *p;
	unsigned slot;
	bool waits = false;

	if (!insert(w, k, config, fds, &slot, &waits, err))
		return false;
	p = change_new(w, k, alias, id, false);
	p->slot = slot;
	p->then = then;
	p->then_arg = arg;
	c = confirm_new(w, timeout, &attach_ops, p);
	if (!confirm_part(c, alias, NULL))
		g_assert_not_reached();         /* the alias was free */
	if (client) {
		p->waiter = waiter_new(client);
		command_event(p, false);
	}
	if (!waits)
		confirm_told(w, alias, CONFIRM_DONE, NULL);
	confirm_start(c);
	return true;
}

bool plug_attach(struct client *client, const struct plug_kind *k, void *config, struct fdset *fds, unsigned timeout, const char *id, GError **err)
{
	return begin_attach(client->worker, k, config, fds, timeout, id, client, NULL, NULL, err);
}

bool plug_attach_then(struct worker *w, const struct plug_kind *k, void *config, struct fdset *fds, unsigned timeout, plug_then *then, void *arg, GError **err)
{
	return begin_attach(w, k, config, fds, timeout, NULL, NULL, then, arg, err);
}

bool plug_detach(struct client *client, const char *alias, bool force, unsigned timeout, const char *id, GError **err)
{
	return begin_detach(client->worker, alias, force, timeout, id, client, NULL, NULL, err);
}

bool plug_detach_then(struct worker *w, const char *alias, unsigned timeout, plug_then *then, void *arg, GError **err)
{
	return begin_detach(w, alias, true, timeout, NULL, NULL, then, arg, err);
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
		else if (d && !is_retiring(w, d))
			retire(w, p->kind, d, false);
	}
}
