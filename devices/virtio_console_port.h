/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between virtio_console.c and virtio_console_port.c. */
#pragma once
#include "devices/virtio.h"
#include "devices/virtio_console.h"
#include "domain/controller.h"
#include "domain/error.h"
#include "domain/machine.h"

#define F_MULTIPORT (1ull << 1)
#define PORTS_MAX (VIRTIO_QUEUES_MAX / 2 - 1)
#define Q_CONTROL_IN 2u
enum { TODO_ADD = 1, TODO_CONSOLE = 2, TODO_NAME = 4, TODO_OPEN = 8, TODO_ALL = 15 };

struct control { uint32_t id; uint16_t event, value; };
G_STATIC_ASSERT(sizeof(struct control) == 8);

struct console_device;
struct port {
	struct device dev;              /* chr.h's front end; .parent: the controller */
	struct console_device *c;
	unsigned id;
	const struct chardev *config;
	bool is_console;
	struct chr *chr;                /* NULL: nothing on the host */
	struct chain in, out;           /* being filled, being put out. Loop */
	/* state; loop */
	bool ready;                     /* the guest knows it */
	bool guest_open;                /* main reads it too */
	uint8_t todo;
	uint64_t out_done;              /* bytes of the oldest output buffer that are out already */
};

struct console_space { uint16_t cols, rows; uint32_t max_ports, emergency; };

struct port_state {
	uint32_t id;
	bool ready, guest_open;
	uint8_t todo;
	uint64_t out_done;
};

struct console_device {
	struct virtio virtio;
	struct console_space space;
	struct port *ports[PORTS_MAX];  /* by number; NULL: none */
	/* state */
	uint64_t removed;               /* ports the guest has yet to be told to forget: a bit each. Loop */
	GPtrArray *saved;               /* of struct port_state, while saved */
	void (*changed)(void *);        /* virtio_console_listen; NULL: nobody does */
	void *changed_arg;
};
G_STATIC_ASSERT(PORTS_MAX <= 64);

static inline bool is_multiport(const struct console_device *c)
{
	return virtio_has(&c->virtio, F_MULTIPORT);
}

/* Loop: what ports still have to say goes to the guest, as far as it has room for it. */
void console_send_controls(struct console_device *);
/* Main: a port with a free number, not yet among the controller's. NULL and *err. */
struct port *console_port_new(struct console_device *, const struct chardev *, bool is_console, GError **err);
/* Gives back what it holds of queues. The loop, or nobody runs it any more. */
void console_port_let_go(struct port *);
void console_port_free(struct port *);          /* after chr_free */
bool console_has_port(const struct chardev *, uint32_t index);  /* is it one of controller `index`? */
