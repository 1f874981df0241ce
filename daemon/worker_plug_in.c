/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Devices that come: made, told of, and taken back when the guest does not want them. */
#include "daemon/worker_plug_private.h"
#include "devices/pci.h"
#include "devices/pcihp.h"

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
		plug_forget(w, p->kind, config);
		plug_changed(w);
		return false;
	}
	if (!d || plug_is_retiring(w, d))
		return false;
	if (is_used(d))
		return true;
	plug_retire(w, p->kind, d, true);
	if (!pcihp_withdraw(w->plugs->block, p->slot)) {
		/* it has looked: it is to forget the slot again */
		pcihp_remove(w->plugs->block, p->slot);
		plug_tell_guest(w);
	}
	return false;
}

static const struct confirm_ops attach_ops = { undo_attach, plug_ended };

/* --- coming --- */

static void forget_done(struct done *done, int result)
{
	g_free(done);
}

static bool may_come(struct worker *w, const struct plug_kind *k, void *config, GError **err)
{
	struct device_base *b = plug_base(k, config);
	const struct plug_kind *other;

	if (!plug_can_change(w, err))
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
		plug_tell_guest(w);
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
	p = plug_change_new(w, k, alias, id, false);
	p->slot = slot;
	p->then = then;
	p->then_arg = arg;
	c = confirm_new(w, timeout, &attach_ops, p);
	if (!confirm_part(c, alias, NULL))
		g_assert_not_reached();         /* the alias was free */
	if (client) {
		p->waiter = waiter_new(client);
		plug_tell_command(p, false);
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
