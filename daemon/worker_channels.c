/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Channels as the guest uses them.
 *
 * The guest opens and closes as fast as it likes, on the loop's thread: main hears of it by one post at a time. The agent is told
 * at once; the description and events follow at most once in EVERY_MS, for all channels together.
 */
#include "daemon/worker_channels.h"

#include "daemon/worker.h"
#include "daemon/worker_agent.h"
#include "devices/virtio_console.h"

#define EVERY_MS 1000

static struct device *controller_of(struct worker *w, const struct chardev *c)
{
	for (unsigned i = 0; i < w->vm.devices->len; i++)
		if (virtio_console_serves(w->vm.devices->pdata[i], c))
			return w->vm.devices->pdata[i];
	return NULL;
}

bool channel_is_open(struct worker *w, const struct chardev *c)
{
	struct device *d = controller_of(w, c);

	return d && virtio_console_in_use(d, c);
}

static void tell(struct worker *w, struct chardev *c, bool open)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "id", json_object_new_string(c->alias ? c->alias : ""));
	json_object_object_add(o, "open", json_object_new_boolean(open));
	worker_event(w, "VSERPORT_CHANGE", o);
	if (!chardev_is_agent(c))
		return;
	o = json_object_new_object();
	json_object_object_add(o, "device", json_object_new_string(c->alias ? c->alias : ""));
	json_object_object_add(o, "state", json_object_new_string(open ? "connected" : "disconnected"));
	worker_event(w, "KVMD_AGENT", o);
}

static void update(struct worker *w)
{
	list_each(chardev, c, w->machine->devices.channels) {
		bool open;

		if (g_strcmp0(c->target.type, "virtio"))
			continue;
		open = channel_is_open(w, c);
		if (open == (c->target.state == CHARDEV_CONNECTED))
			continue;
		c->target.state = open ? CHARDEV_CONNECTED : CHARDEV_DISCONNECTED;
		tell(w, c, open);
	}
}

static gboolean update_late(gpointer data)
{
	struct worker *w = data;

	w->channels_timer = 0;
	w->channels_told = g_get_monotonic_time();
	update(w);
	return G_SOURCE_REMOVE;
}

static void look(struct worker *w)
{
	gint64 since = (g_get_monotonic_time() - w->channels_told) / 1000;

	__atomic_store_n(&w->channels_posted, false, __ATOMIC_SEQ_CST);
	list_each(chardev, c, w->machine->devices.channels)
		if (w->agent && chardev_is_agent(c))
			agent_set_connected(w->agent, channel_is_open(w, c));
	if (w->channels_timer)
		return;
	if (w->channels_told && since < EVERY_MS)
		w->channels_timer = g_timeout_add((guint)(EVERY_MS - since), update_late, w);
	else
		update_late(w);
}

/* On any thread. */
static void changed(void *arg)
{
	struct worker *w = arg;

	if (!__atomic_exchange_n(&w->channels_posted, true, __ATOMIC_SEQ_CST))
		worker_post(w, look);
}

static bool open_agent(struct worker *w, const struct chardev *c, struct fdset *fds, GError **err)
{
	g_autofree char *peer = c->source.path.fd ? g_strconcat(c->source.path.fd, ".peer", NULL) : NULL;
	int fd;

	if (!chardev_is_agent(c) || w->agent || !fdset_has(fds, peer))
		return true;
	fd = fdset_take(fds, peer, err);
	if (fd < 0)
		return false;
	w->agent = agent_new(w, fd, w->machine->name);
	agent_set_connected(w->agent, channel_is_open(w, c));
	return true;
}

bool channel_came(struct worker *w, struct device *controller, struct chardev *c, struct fdset *fds, GError **err)
{
	virtio_console_listen(controller, changed, w);
	c->target.state = CHARDEV_DISCONNECTED;
	if (!open_agent(w, c, fds, err))
		return false;
	changed(w);
	return true;
}

void channel_leaves(struct worker *w, const struct chardev *c)
{
	if (chardev_is_agent(c))
		g_clear_pointer(&w->agent, agent_free);
}

void channels_listen(struct worker *w)
{
	list_each(chardev, c, w->machine->devices.channels) {
		struct device *d = controller_of(w, c);
		g_autoptr(GError) err = NULL;

		if (!d)
			continue;
		virtio_console_listen(d, changed, w);
		c->target.state = CHARDEV_DISCONNECTED;
		if (!open_agent(w, c, w->fds, &err))
			g_printerr("no guest agent: %s\n", err->message);
	}
}
