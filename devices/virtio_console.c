/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-console with ports (virtio 1.2, 5.3): a <controller type='virtio-serial'> with the consoles and channels that name
 * it. What goes over a port is chr.h's business.
 *
 * Messages to the guest about ports are not queued but follow from what each port still has to say (.todo), in a fixed
 * order, so they are bounded and can be saved. The data of a channel waits in the guest while the host does not take it; a
 * console never blocks its guest, which loses the oldest output instead.
 *
 * A port may be added and taken away while the machine runs, within the number that the controller has from the start: its
 * queues cannot become more.
 *
 * All of it runs on one loop. The ports' devices are children that exist for chr.h only: they are not in the machine's list.
 */
#include "devices/virtio_console_port.h"

#include <string.h>

#include "devices/list.h"
#include "devices/virtio.h"
#include "domain/controller.h"
#include "domain/error.h"
#include "domain/machine.h"

#define F_EMERG_WRITE (1ull << 2)
#define Q_CONTROL_OUT 3u
#define CHUNK 4096u
#define SPACE_MIN CHUNK                 /* a channel's output waits while there is less */
#define RUN_MAX (256u << 10)            /* bytes of output before others on the loop get their turn */
#define CONTROLS_MAX 1024               /* messages of the guest taken in one go */
#define NAME_LEN 256u
#define PORTS_SPARE 3u                  /* of a controller that does not say how many it has: for channels that come later */

enum { DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };

static struct console_device *console_of(struct virtio *v)
{
	return (struct console_device *)v;
}

static struct port *port_of(struct device *d)
{
	return (struct port *)d;
}

static unsigned in_queue(unsigned id)
{
	return id ? 2 * id + 2 : 0;
}

static struct virtq *queue(struct console_device *c, unsigned i)
{
	return &c->virtio.queues[i].q;
}

/* --- messages to the guest --- */

static void message(struct port *p, unsigned bit, struct chain *to)
{
	struct control m = { .id = p->id, .value = 1 };

	switch (bit) {
	case TODO_ADD: m.event = PORT_ADD; break;
	case TODO_CONSOLE: m.event = CONSOLE_PORT; break;
	case TODO_NAME: m.event = PORT_NAME; break;
	default:
		m.event = PORT_OPEN;
		m.value = p->chr && chr_is_open(p->chr);
		break;
	}
	(void)chain_write(to, &m, sizeof(m));
	if (bit == TODO_NAME)
		(void)chain_write(to, p->config->target.name, MIN(strlen(p->config->target.name), NAME_LEN));
}

/* Before anything else: its number may have a new port already. */
static bool send_removed(struct console_device *c, struct virtq *q)
{
	while (c->removed) {
		struct control m = { .id = (uint32_t)__builtin_ctzll(c->removed), .event = PORT_REMOVE, .value = 1 };
		struct chain ch;

		if (!virtq_pop(q, &ch))
			return false;
		(void)chain_write(&ch, &m, sizeof(m));
		virtq_push(q, &ch, ch.written);
		c->removed &= c->removed - 1;
	}
	return true;
}

void console_send_controls(struct console_device *c)
{
	struct virtq *q = queue(c, Q_CONTROL_IN);
	struct chain ch;

	if (!virtio_runs(&c->virtio, q))
		return;
	if (!send_removed(c, q))
		goto out;
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		struct port *p = c->ports[i];

		while (p && p->todo) {
			unsigned bit = p->todo & -p->todo;

			if (!virtq_pop(q, &ch))
				goto out;
			message(p, bit, &ch);
			virtq_push(q, &ch, ch.written);
			p->todo &= (uint8_t)~bit;
		}
	}
out:
	virtq_signal(q);
}

/* --- messages of the guest --- */

static void port_ready(struct port *p)
{
	p->ready = true;
	if (p->is_console)
		p->todo |= TODO_CONSOLE;
	if (p->config->target.name)
		p->todo |= TODO_NAME;
	p->todo |= TODO_OPEN;
	device_has_driver(&p->dev);
}

static void set_guest_open(struct port *p, bool on)
{
	void (*changed)(void *) = __atomic_load_n(&p->c->changed, __ATOMIC_SEQ_CST);
	bool was = p->guest_open;

	__atomic_store_n(&p->guest_open, on, __ATOMIC_SEQ_CST);
	if (was != on && changed)
		changed(p->c->changed_arg);
}

static void take_control(struct console_device *c, const struct control *m)
{
	struct port *p = m->id < PORTS_MAX ? c->ports[m->id] : NULL;

	if (m->event == DEVICE_READY) {
		for (unsigned i = 0; i < PORTS_MAX && m->value; i++)
			if (c->ports[i])
				c->ports[i]->todo |= TODO_ADD;
		return;
	}
	if (!p || (m->event != PORT_READY && m->event != PORT_OPEN)) {
		guest_error(&c->virtio.head.dev, "message %u about port %u", m->event, m->id);
		return;
	}
	if (m->event == PORT_READY) {
		if (m->value)
			port_ready(p);
		return;
	}
	set_guest_open(p, m->value);
	if (p->guest_open && p->chr)
		chr_ready(p->chr);
}

static void control_ready(struct console_device *c, struct virtq *q)
{
	struct chain ch;

	for (unsigned n = 0; virtq_has(q); n++) {
		struct control m;

		if (n == CONTROLS_MAX) {
			virtio_kick(&c->virtio, q->index);
			break;
		}
		if (!virtq_pop(q, &ch))
			break;
		if (chain_read(&ch, &m, sizeof(m)) == sizeof(m))
			take_control(c, &m);
		virtq_push(q, &ch, 0);
	}
	console_send_controls(c);
}

/* --- the guest's output --- */

/* Puts out what it can of the present buffer; false: it has to wait. */
static bool put_out(struct port *p, size_t *left)
{
	uint8_t buf[CHUNK];

	while (chain_left(&p->out)) {
		size_t n = sizeof(buf);

		if (!p->chr)
			return true;
		if (!p->is_console && chr_space(p->chr) < SPACE_MIN)
			return false;
		if (!*left) {
			virtio_kick(&p->c->virtio, in_queue(p->id) + 1);
			return false;
		}
		n = chain_read(&p->out, buf, MIN(n, *left));
		chr_write(p->chr, buf, n);
		*left -= n;
		p->out_done += n;
	}
	return true;
}

/* After a load part of a buffer may be out already. */
static void skip(struct chain *c, uint64_t n)
{
	uint8_t buf[CHUNK];

	while (n && chain_left(c))
		n -= MIN(n, chain_read(c, buf, (size_t)MIN(n, sizeof(buf))));
}

static void out_ready(struct port *p, struct virtq *q)
{
	size_t left = RUN_MAX;

	for (;;) {
		if (!p->out.q) {
			g_clear_pointer(&p->out.more, g_free);  /* of an orphan */
			if (!virtq_pop(q, &p->out))
				return;
			skip(&p->out, p->out_done);
			left -= MIN(left, 64);
		}
		if (!put_out(p, &left))
			return;
		p->out_done = 0;
		virtq_push(q, &p->out, 0);
	}
}

/* --- the guest's input --- */

static size_t port_room(struct device *d)
{
	struct port *p = port_of(d);
	struct virtq *q = queue(p->c, in_queue(p->id));

	if (!virtio_runs(&p->c->virtio, q) || (is_multiport(p->c) && !p->guest_open))
		return 0;
	while (!p->in.q) {
		g_clear_pointer(&p->in.more, g_free);
		if (!virtq_pop(q, &p->in))
			return 0;
		if (!p->in.in_len)
			virtq_push(q, &p->in, 0);
	}
	return (size_t)chain_room(&p->in);
}

static void port_input(struct device *d, const uint8_t *data, size_t n)
{
	struct port *p = port_of(d);
	struct virtq *q = queue(p->c, in_queue(p->id));

	(void)chain_write(&p->in, data, n);
	virtq_push(q, &p->in, p->in.written);
	virtq_signal(q);
}

static void port_opened(struct device *d, bool on)
{
	struct port *p = port_of(d);

	if (p->ready)
		p->todo |= TODO_OPEN;
	console_send_controls(p->c);
	virtio_kick(&p->c->virtio, in_queue(p->id) + 1);
}

static void port_drained(struct device *d)
{
	struct port *p = port_of(d);

	virtio_kick(&p->c->virtio, in_queue(p->id) + 1);
}

static const struct chr_front front = { .room = port_room, .input = port_input, .opened = port_opened, .drained = port_drained };

static void console_ready(struct virtio *v, struct virtq *q)
{
	struct console_device *c = console_of(v);
	struct port *p;

	if (q->index == Q_CONTROL_IN) {
		console_send_controls(c);
		return;
	}
	if (q->index == Q_CONTROL_OUT) {
		control_ready(c, q);
		return;
	}
	p = c->ports[q->index < Q_CONTROL_IN ? 0 : (q->index - 2) / 2];
	if (!p)
		return;
	if (q->index & 1)
		out_ready(p, q);
	else if (p->chr)
		chr_ready(p->chr);
}

/* --- registers --- */

static bool console_write(struct virtio *v, unsigned offset, unsigned size, uint32_t value)
{
	struct console_device *c = console_of(v);
	uint8_t byte = (uint8_t)value;

	if (offset != offsetof(struct console_space, emergency) || size != 4)
		return false;
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		if (!c->ports[i] || !c->ports[i]->is_console || !c->ports[i]->chr)
			continue;
		chr_write(c->ports[i]->chr, &byte, 1);
		break;
	}
	return true;
}

/* --- lifecycle --- */

static bool has_host_side(const struct chardev *config)
{
	return config->type != CHARDEV_SPICEVMC && config->type != CHARDEV_SPICEPORT && config->type != CHARDEV_QEMU_VDAGENT &&
		config->type != CHARDEV_DBUS;
}

/* A port with a free number; not yet among the controller's. NULL and *err. */
struct port *console_port_new(struct console_device *c, const struct chardev *config, bool is_console, GError **err)
{
	struct device *parent = &c->virtio.head.dev;
	uint32_t id = address_port(&config->address);
	struct port *p;

	if (id >= PORTS_MAX)
		return kerr_set(err, KERR_LIMIT, "port %s: a virtio-serial controller has ports 0 to %u", config->address.port ?
			config->address.port : "?", PORTS_MAX - 1), NULL;
	if (c->ports[id])
		return kerr_set(err, KERR_BUSY, "port %u is given twice", id), NULL;
	p = g_new0(struct port, 1);
	p->dev = (struct device){ .ops = parent->ops, .vm = parent->vm, .parent = parent,
		.id = config->alias ? g_strdup(config->alias) : g_strdup_printf("%s.port%u", parent->id, id) };
	g_mutex_init(&p->dev.lock);
	p->c = c;
	p->id = id;
	p->config = config;
	p->is_console = is_console;
	if (has_host_side(config))
		p->chr = chr_new(parent->vm->loops[0], &front, &p->dev);
	return p;
}

/* What it holds of queues is given back: loops do not run it any more, or this is the loop. */
void console_port_let_go(struct port *p)
{
	g_clear_pointer(&p->in.more, g_free);
	g_clear_pointer(&p->out.more, g_free);
	if (p->in.q)
		virtq_push(p->in.q, &p->in, 0);
	if (p->out.q)
		virtq_push(p->out.q, &p->out, 0);
}

void console_port_free(struct port *p)
{
	g_mutex_clear(&p->dev.lock);
	g_free(p->dev.id);
	g_free(p);
}

static bool add_port(struct console_device *c, const struct chardev *config, bool is_console, struct fdset *fds, GError **err)
{
	struct port *p = console_port_new(c, config, is_console, err);

	if (!p)
		return false;
	c->ports[p->id] = p;
	c->space.max_ports = MAX(c->space.max_ports, p->id + 1);
	return true;
}

bool console_has_port(const struct chardev *config, uint32_t index)
{
	return !g_strcmp0(config->target.type, "virtio") && config->address.type == ADDRESS_VIRTIO_SERIAL &&
		config->address.controller == index;
}

static bool add_ports(struct console_device *c, struct fdset *fds, GError **err)
{
	const struct controller *config = c->virtio.head.dev.config;
	const struct devices *all = &c->virtio.head.dev.vm->def->devices;
	uint32_t index = config->index == CONTROLLER_INDEX_NONE ? 0 : config->index;

	list_each(chardev, p, all->consoles)
		if (console_has_port(p, index) && !add_port(c, p, true, fds, err))
			return false;
	list_each(chardev, p, all->channels)
		if (console_has_port(p, index) && !add_port(c, p, false, fds, err))
			return false;
	return true;
}

static bool console_realize(struct virtio *v, struct fdset *fds, GError **err)
{
	struct console_device *c = console_of(v);
	struct controller *config = v->head.dev.config;

	v->offered |= F_MULTIPORT | F_EMERG_WRITE;
	if (!add_ports(c, fds, err))
		return false;
	if (!config->ports)             /* from now on it is so, wherever the machine goes */
		config->ports = MIN(c->space.max_ports + PORTS_SPARE, PORTS_MAX);
	c->space.max_ports = MAX(c->space.max_ports, MIN(config->ports, PORTS_MAX));
	c->space.max_ports = MAX(c->space.max_ports, 1);
	if (!virtio_set_queues(v, 2 * (c->space.max_ports + 1), 0, v->head.dev.vm->loops[0], err))
		return false;
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		struct port *p = c->ports[i];

		if (p && p->chr && !chr_open(p->chr, p->config, fds, err)) {
			g_prefix_error(err, "port %u: ", i);
			return false;
		}
	}
	return true;
}

static void console_unrealize(struct virtio *v)
{
	struct console_device *c = console_of(v);

	for (unsigned i = 0; i < PORTS_MAX; i++) {
		struct port *p = c->ports[i];

		if (!p)
			continue;
		chr_free(p->chr);
		console_port_let_go(p);
		g_clear_pointer(&c->ports[i], console_port_free);
	}
}

static void console_reset(struct virtio *v)
{
	struct console_device *c = console_of(v);

	for (unsigned i = 0; i < PORTS_MAX; i++) {
		struct port *p = c->ports[i];

		if (!p)
			continue;
		g_clear_pointer(&p->in.more, g_free);
		g_clear_pointer(&p->out.more, g_free);
		p->ready = false;
		set_guest_open(p, false);
		p->todo = 0;
		p->out_done = 0;
	}
	c->removed = 0;
	c->space.emergency = 0;
}

static void console_hold(struct virtio *v, bool on, struct done *done)
{
	struct console_device *c = console_of(v);

	for (unsigned i = 0; i < PORTS_MAX; i++)
		if (c->ports[i] && c->ports[i]->chr)
			chr_hold(c->ports[i]->chr, on, done);
}

struct chr *virtio_console_chr(struct device *d, const char *name)
{
	struct console_device *c = (struct console_device *)d;

	for (unsigned i = 0; i < PORTS_MAX; i++) {
		const struct port *p = c->ports[i];

		if (p && p->chr && (name ? !g_strcmp0(name, p->config->alias) || !g_strcmp0(name, p->config->target.name) : p->is_console))
			return p->chr;
	}
	return NULL;
}

void virtio_console_listen(struct device *d, void (*changed)(void *), void *arg)
{
	struct console_device *c = (struct console_device *)d;

	c->changed_arg = arg;
	__atomic_store_n(&c->changed, changed, __ATOMIC_SEQ_CST);
}

bool virtio_console_in_use(struct device *d, const struct chardev *config)
{
	struct console_device *c = (struct console_device *)d;

	for (unsigned i = 0; i < PORTS_MAX; i++)
		if (c->ports[i] && c->ports[i]->config == config)
			return __atomic_load_n(&c->ports[i]->guest_open, __ATOMIC_SEQ_CST);
	return false;
}

/* --- state --- */

static const struct field port_fields[] = {
	U32(struct port_state, id, NULL, 0, PORTS_MAX - 1, 0, "its number"),
	FLAG(struct port_state, ready, NULL, 0, "the guest knows it"),
	FLAG(struct port_state, guest_open, NULL, 0, "somebody in the guest has it open"),
	U8(struct port_state, todo, NULL, 0, TODO_ALL, 0, "messages the guest has yet to get"),
	U64(struct port_state, out_done, NULL, 0, UINT32_MAX, 0, "bytes of the oldest output buffer that are out already"),
	END
};
static const struct schema port_schema = { .name = "port", .doc = "a port of a console controller", .version = 1,
	.size = sizeof(struct port_state), .fields = port_fields };

static void forget_saved(struct console_device *c)
{
	for (unsigned i = 0; c->saved && i < c->saved->len; i++)
		schema_free(&port_schema, c->saved->pdata[i]);
	if (c->saved)
		g_ptr_array_unref(c->saved);
	c->saved = NULL;
}

static void console_pre_save(struct virtio *v)
{
	struct console_device *c = console_of(v);

	forget_saved(c);
	for (unsigned i = 0; i < PORTS_MAX; i++) {
		const struct port *p = c->ports[i];
		struct port_state *s;

		if (!p || (!p->ready && !p->guest_open && !p->todo && !p->out_done))
			continue;
		s = schema_new(&port_schema);
		*s = (struct port_state){ .id = i, .ready = p->ready, .guest_open = p->guest_open, .todo = p->todo, .out_done = p->out.q ? p->out_done : 0 };
		if (!c->saved)
			c->saved = g_ptr_array_new();
		g_ptr_array_add(c->saved, s);
	}
}

static bool console_post_load(struct virtio *v, GError **err)
{
	struct console_device *c = console_of(v);
	bool ok = true;

	for (unsigned i = 0; ok && c->saved && i < c->saved->len; i++) {
		const struct port_state *s = c->saved->pdata[i];
		struct port *p = c->ports[s->id];

		if (!p) {
			ok = kerr_set(err, KERR_STATE_DATA, "port %u is not there", s->id);
			break;
		}
		p->ready = s->ready;
		p->guest_open = s->guest_open;
		p->todo = (uint8_t)(s->todo | (s->ready ? TODO_OPEN : 0));      /* who is at the host's side may be another now */
		p->out_done = s->out_done;
	}
	forget_saved(c);
	return ok;
}

static const struct virtio_ops ops = {
	.name = "console",
	.id = 3,
	.class = 0x078000,
	.address = offsetof(struct controller, address),
	.driver = offsetof(struct controller, driver.iommu),
	.space = offsetof(struct console_device, space),
	.space_len = sizeof(struct console_space),
	.realize = console_realize,
	.unrealize = console_unrealize,
	.ready = console_ready,
	.reset = console_reset,
	.write = console_write,
	.hold = console_hold,
	.pre_save = console_pre_save,
	.post_load = console_post_load,
};

VIRTIO_DEVICE(virtio_console, "virtio-console", struct console_device, &ops, &controller_schema, "consoles and channels",
	U64(struct console_device, removed, NULL, 0, UINT64_MAX, 0, "ports the guest has yet to be told to forget, a bit each"),
	LIST(struct console_device, saved, NULL, port_schema, PORTS_MAX, 0, "ports", .name = "ports"));
