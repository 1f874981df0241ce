/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that go: the guest is asked for them, emptied first of what it must give back; and stay when it does not give them. */
#include "daemon/worker_plug_private.h"
#include "devices/pci.h"
#include "devices/pcihp.h"

/* --- taking back --- */

static bool undo_detach(struct worker *w, const char *key, void *arg)
{
	struct plug *p = arg;
	struct device *d = device_find(&w->vm, p->alias);

	if (!d || plug_is_retiring(w, d))
		return true;
	if (p->kind->refill)
		p->kind->refill(w, d, p->held);
	pcihp_withdraw(w->plugs->block, p->slot);
	plug_device_event(w, "DEVICE_UNPLUG_GUEST_ERROR", p->alias);
	return false;
}

static const struct confirm_ops detach_ops = { undo_detach, plug_ended };

/* --- going --- */

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
		plug_tell_guest(w);
	} else {
		config = plug_find(w, p->alias, &k);
		k->remove(w, config);
		plug_forget(w, k, config);
		plug_device_event(w, "DEVICE_DELETED", p->alias);
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
	if (plug_is_retiring(w, d)) {        /* the guest has ejected it meanwhile */
		p->over = true;
		return;
	}
	if (err)
		p->err = g_error_copy(err);
	else if (plug_can_change(w, &p->err)) {
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

	if (!plug_can_change(w, err))
		return false;
	if (!config)
		return d ? kerr_set(err, KERR_UNSUPPORTED, "'%s' cannot be unplugged while the machine runs", alias) :
			kerr_set(err, KERR_NO_DEVICE, "there is no device '%s'", alias);
	if (k->may_go && !k->may_go(w, config, force, err))
		return false;
	if (k->type && (!d || plug_is_retiring(w, d)))
		return kerr_set(err, KERR_BUSY, "'%s' is on its way out", alias);
	if (k->type && plug_shares_slot(d, err))
		return false;
	if (plug_change_of(w, alias) || confirm_waits(w, alias))
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
	p = plug_change_new(w, k, alias, id, true);
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
		plug_tell_command(p, false);
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

bool plug_detach(struct client *client, const char *alias, bool force, unsigned timeout, const char *id, GError **err)
{
	return begin_detach(client->worker, alias, force, timeout, id, client, NULL, NULL, err);
}

bool plug_detach_then(struct worker *w, const char *alias, unsigned timeout, plug_then *then, void *arg, GError **err)
{
	return begin_detach(w, alias, true, timeout, NULL, NULL, then, arg, err);
}
