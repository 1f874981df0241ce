/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * chardev-add, chardev-remove, and device_add of a virtserialport on what they made. As with block nodes: what a device has
 * taken is gone with it. What kvmd has opened for a client comes as chardev-made.
 */
#include "daemon/worker_chardev.h"

#include <string.h>

#include "daemon/worker_plug.h"
#include "devices/virtio_console.h"
#include "domain/chardev_backend.h"
#include "domain/commands_chardev.h"
#include "domain/controller.h"
#include "domain/json.h"
#include "domain/machine.h"

#define CHARDEVS_MAX 64

struct made_chardev {
	char *id, *user;                /* user: alias of the channel that has taken it; NULL: none */
	struct chardev *like;           /* type and source */
	struct fdset *fds;              /* NULL: taken */
};

static void made_free(gpointer data)
{
	struct made_chardev *m = data;

	schema_free(&channel_schema, m->like);
	fdset_free(m->fds);
	g_free(m->id);
	g_free(m->user);
	g_free(m);
}

static struct made_chardev *made_find(const struct worker *w, const char *id)
{
	for (unsigned i = 0; w->chardevs && i < w->chardevs->len; i++)
		if (!strcmp(((const struct made_chardev *)w->chardevs->pdata[i])->id, id))
			return w->chardevs->pdata[i];
	return NULL;
}

/* Its channel may have gone meanwhile. */
static bool in_use(struct worker *w, const struct made_chardev *m)
{
	const struct plug_kind *k;

	return m->user && plug_find(w, m->user, &k);
}

const char *chardev_made_user(struct worker *w, const char *id, const struct chardev **like)
{
	const struct made_chardev *m = made_find(w, id);

	*like = m && (!m->user || in_use(w, m)) ? m->like : NULL;
	return *like ? m->user : NULL;
}

void chardevs_made(struct worker *w, void (*fn)(const char *id, const struct chardev *, void *arg), void *arg)
{
	for (unsigned i = 0; w->chardevs && i < w->chardevs->len; i++) {
		const struct made_chardev *m = w->chardevs->pdata[i];

		if (!m->user)
			fn(m->id, m->like, arg);
	}
}

static bool may_make(struct worker *w, const char *id, GError **err)
{
	struct made_chardev *m = made_find(w, id);

	if (m && m->user && !in_use(w, m))      /* it went with its channel */
		g_ptr_array_remove(w->chardevs, m);
	else if (m)
		return kerr_set(err, KERR_EXISTS, "Chardev with id '%s' already exists", id);
	return !w->chardevs || w->chardevs->len < CHARDEVS_MAX || kerr_set(err, KERR_LIMIT, "there are %u chardevs already", CHARDEVS_MAX);
}

/* like and fds are taken. */
static void make(struct worker *w, const char *id, struct chardev *like, struct fdset *fds)
{
	struct made_chardev *m = g_new0(struct made_chardev, 1);

	if (!w->chardevs)
		w->chardevs = g_ptr_array_new_with_free_func(made_free);
	*m = (struct made_chardev){ .id = g_strdup(id), .like = like, .fds = fds };
	g_ptr_array_add(w->chardevs, m);
}

static enum run_result cmd_made(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_chardev_update *a = args;
	struct chardev *like;
	struct fdset *fds;
	json_object *o = NULL;

	if (!may_make(c->worker, a->id, err))
		return RUN_FAILED;
	(void)json_object_object_get_ex(raw, "device", &o);
	like = schema_new(&channel_schema);
	fds = json_to_struct(&channel_schema, like, o, err) ? plug_take_fds(c, a->names, err) : NULL;
	if (!fds) {
		schema_free(&channel_schema, like);
		return RUN_FAILED;
	}
	make(c->worker, a->id, like, fds);
	return RUN_DONE;
}

static enum run_result qmp_chardev_add(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_chardev_change *a = args;
	struct chardev *like;
	struct fdset *fds;

	if (!may_make(c->worker, a->id, err))
		return RUN_FAILED;
	like = schema_new(&channel_schema);
	fds = fdset_new();
	if (!chardev_of_backend(a->backend, like, err) || !chardev_take_named(c, like, fds, err)) {
		schema_free(&channel_schema, like);
		fdset_free(fds);
		return RUN_FAILED;
	}
	make(c->worker, a->id, like, fds);
	*reply = json_object_new_object();
	return RUN_DONE;
}

/* Its socket is closed: kvmd removes the file. */
static void tell_gone(struct worker *w, const char *id, const char *path)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "changed", json_object_new_string("chardevs"));
	json_object_object_add(o, "device", json_object_new_string(id));
	json_object_object_add(o, "path", json_object_new_string(path));
	worker_event(w, "KVMD_MACHINE", o);
}

static enum run_result qmp_chardev_remove(struct client *c, json_object *raw, const void *args, json_object **reply, GError **err)
{
	const struct args_netdev_del *a = args;
	struct made_chardev *m = made_find(c->worker, a->id);
	g_autofree char *listened = NULL;

	if (!m)
		return kerr_set(err, KERR_ARGS, "Chardev '%s' not found", a->id), RUN_FAILED;
	if (in_use(c->worker, m))
		return kerr_set(err, KERR_BUSY, "Chardev '%s' is busy", a->id), RUN_FAILED;
	if (!m->user && chardev_use(m->like->type, m->like->source.mode) == RES_SOCKET_LISTEN && m->like->source.path.path)
		listened = g_strdup(m->like->source.path.path);
	g_ptr_array_remove(c->worker->chardevs, m);
	if (listened)
		tell_gone(c->worker, a->id, listened);
	return RUN_DONE;
}

/* --- virtserialport --- */

/* The first one, where there is none: it comes along, as with libvirt. */
static const struct controller *new_controller(struct worker *w, GError **err)
{
	const struct plug_kind *kind = plug_kind_of(&controller_schema), *k;
	struct controller *c = schema_new(&controller_schema);

	c->type = CONTROLLER_VIRTIO_SERIAL;
	c->index = 0;
	for (unsigned n = 0; !c->alias; n++) {
		g_autofree char *name = g_strdup_printf("virtio-serial%u", n);

		if (!device_find(&w->vm, name) && !plug_find(w, name, &k))
			c->alias = g_steal_pointer(&name);
	}
	return plug_in(w, kind, c, NULL, err) ? c : NULL;
}

/* "virtio-serial0.0": the controller's alias and .0; NULL: the first one. */
static const struct controller *find_controller(struct worker *w, const char *bus, GError **err)
{
	list_each(controller, c, w->machine->devices.controllers) {
		g_autofree char *name = g_strdup_printf("%s.0", c->alias ? c->alias : "");

		if (c->type == CONTROLLER_VIRTIO_SERIAL && (!bus || !strcmp(bus, name) || !g_strcmp0(bus, c->alias)))
			return c;
	}
	return bus ? (kerr_set(err, KERR_ARGS, "Bus '%s' not found", bus), NULL) : new_controller(w, err);
}

/* From 1, as 0 is a console's; the controller says how far. */
static uint32_t free_port(struct worker *w, uint32_t controller)
{
	GPtrArray *lists[] = { w->machine->devices.consoles, w->machine->devices.channels };

	for (uint32_t n = 1;; n++) {
		bool taken = false;

		for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
			list_each(chardev, c, lists[i])
				taken |= c->address.type == ADDRESS_VIRTIO_SERIAL && c->address.controller == controller && address_port(&c->address) == n;
		if (!taken)
			return n;
	}
}

static char *free_alias(struct worker *w)
{
	const struct plug_kind *k;

	for (unsigned n = 0;; n++) {
		char *name = g_strdup_printf("channel%u", n);

		if (!plug_find(w, name, &k))
			return name;
		g_free(name);
	}
}

static struct chardev *port_config(struct worker *w, const struct args_device_add *a, const struct controller *ctl, const struct made_chardev *m)
{
	struct chardev *c = schema_new(&channel_schema);
	uint32_t index = ctl->index == CONTROLLER_INDEX_NONE ? 0 : ctl->index;

	c->type = CHARDEV_NULL;
	if (m)
		chardev_copy_host(c, m->like);
	c->target.type = g_strdup("virtio");
	c->target.name = g_strdup(a->name);
	c->made = g_strdup(a->chardev);
	c->alias = a->id ? g_strdup(a->id) : free_alias(w);
	c->address.type = ADDRESS_VIRTIO_SERIAL;
	c->address.controller = index;
	c->address.bus = 0;
	c->address.port = g_strdup_printf("%u", a->nr == QMP_NO_ID ? free_port(w, index) : a->nr);
	return c;
}

/* A controller that came for a port which then did not; NULL: none did. */
static void take_back(struct worker *w, const char *controller)
{
	g_autoptr(GError) err = NULL;

	if (controller && !plug_out(w, controller, true, &err))
		g_debug("controller '%s' stays: %s", controller, err->message);
}

bool chardev_add_port(struct worker *w, const struct args_device_add *a, GError **err)
{
	struct made_chardev *m = a->chardev ? made_find(w, a->chardev) : NULL;
	const struct controller *ctl;
	g_autofree char *came = NULL;
	struct chardev *config;
	struct fdset *none = NULL;
	unsigned had;
	bool ok;

	if (a->chardev && !m)
		return kerr_set(err, KERR_ARGS, "Property 'virtserialport.chardev' can't find value '%s'", a->chardev);
	if (m && !m->fds)
		return kerr_set(err, KERR_ARGS, "Property 'virtserialport.chardev' can't take value '%s', it's in use", a->chardev);
	had = list_len(w->machine->devices.controllers);
	ctl = find_controller(w, a->bus, err);
	if (!ctl)
		return false;
	if (list_len(w->machine->devices.controllers) > had)
		came = g_strdup(ctl->alias);
	config = port_config(w, a, ctl, m);
	if (!schema_check(&channel_schema, config, err)) {
		schema_free(&channel_schema, config);
		take_back(w, came);
		return false;
	}
	none = m ? NULL : fdset_new();
	if (m)
		m->user = g_strdup(config->alias);
	ok = plug_in(w, plug_kind_of(&channel_schema), config, m ? m->fds : none, err);
	fdset_free(none);
	if (ok && m)
		g_clear_pointer(&m->fds, fdset_free);
	else if (m)
		g_clear_pointer(&m->user, g_free);
	if (!ok)
		take_back(w, came);
	return ok;
}

const struct worker_binding chardev_add_bindings[] = {
	{ "chardev-add", qmp_chardev_add },
	{ "chardev-remove", qmp_chardev_remove },
	{ "chardev-made", cmd_made },
	{ NULL },
};
