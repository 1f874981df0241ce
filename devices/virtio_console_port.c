/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports of a running virtio-console controller that come and go. Its loop owns them; main changes them by calls on it. */
#include "devices/list.h"
#include "devices/virtio_console_port.h"

struct port_change {
	struct console_device *c;
	struct port *port;
	bool told;                      /* the guest's driver is there to hear of it */
};

static void link_port(void *arg)
{
	struct port_change *x = arg;
	struct console_device *c = x->c;

	x->told = virtio_flag(&c->virtio.active) && is_multiport(c);
	if (x->told) {
		x->port->todo |= TODO_ADD;
		__atomic_store_n(&x->port->dev.awaited, 1, __ATOMIC_SEQ_CST);
	}
	g_mutex_lock(&c->virtio.head.dev.lock);         /* the emergency port looks at them too */
	c->ports[x->port->id] = x->port;
	g_mutex_unlock(&c->virtio.head.dev.lock);
	console_send_controls(c);
}

static void unlink_port(void *arg)
{
	struct port_change *x = arg;
	struct console_device *c = x->c;

	g_mutex_lock(&c->virtio.head.dev.lock);
	c->ports[x->port->id] = NULL;
	g_mutex_unlock(&c->virtio.head.dev.lock);
	x->port->guest_open = false;            /* no more input, until its host side is closed */
	console_port_let_go(x->port);
	/* one it has not heard of needs no farewell */
	if (virtio_flag(&c->virtio.active) && is_multiport(c) && !(x->port->todo & TODO_ADD))
		c->removed |= 1ull << x->port->id;
	console_send_controls(c);
}

bool virtio_console_serves(struct device *d, const struct chardev *config)
{
	const struct controller *own = d->config;

	return d->ops == &virtio_console_ops && console_has_port(config, own->index == CONTROLLER_INDEX_NONE ? 0 : own->index);
}

bool virtio_console_add(struct device *d, const struct chardev *config, struct fdset *fds, char **id, GError **err)
{
	struct console_device *c = (struct console_device *)d;
	struct port_change x = { .c = c, .port = console_port_new(c, config, false, err) };

	if (!x.port)
		return false;
	if (x.port->id >= c->space.max_ports) {
		kerr_set(err, KERR_LIMIT, "controller '%s' has ports 0 to %u: attach another one first (<controller type='virtio-serial'/>)",
			d->id, c->space.max_ports - 1);
		goto fail;
	}
	if (x.port->chr && !chr_open(x.port->chr, config, fds, err))
		goto fail;
	loop_call(c->virtio.queues[Q_CONTROL_IN].loop, link_port, &x);
	*id = x.told ? g_strdup(x.port->dev.id) : NULL;
	return true;
fail:
	chr_free(x.port->chr);
	console_port_free(x.port);
	return false;
}

void virtio_console_remove(struct device *d, const struct chardev *config)
{
	struct console_device *c = (struct console_device *)d;

	for (unsigned i = 0; i < PORTS_MAX; i++) {
		struct port_change x = { .c = c, .port = c->ports[i] };

		if (!x.port || x.port->config != config)
			continue;
		loop_call(c->virtio.queues[Q_CONTROL_IN].loop, unlink_port, &x);
		chr_free(x.port->chr);
		console_port_free(x.port);
	}
}
