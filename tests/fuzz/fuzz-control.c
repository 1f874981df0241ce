/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket: any bytes through the wire, and each message's arguments through its command's schema. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/wire.h"
#include "domain/command.h"
#include "domain/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool closed;

static void on_message(struct wire *w, json_object *msg, int *fds, unsigned n)
{
	json_object *name, *args;
	const struct command *c;
	void *obj;

	for (unsigned i = 0; i < n; i++)
		close(fds[i]);
	if (!json_object_object_get_ex(msg, "execute", &name) || !json_object_is_type(name, json_type_string))
		return;
	c = command_by_name(json_object_get_string(name));
	if (!c || !c->args || !json_object_object_get_ex(msg, "arguments", &args))
		return;
	obj = schema_new(c->args);
	if (json_to_struct(c->args, obj, args, NULL)) {
		json_object *back = json_from_struct(c->args, obj, JSON_SECRETS);

		wire_send(w, back, NULL, 0);
		json_object_put(back);
	}
	schema_free(c->args, obj);
}

static void on_garbage(struct wire *w, const char *why)
{
	g_autoptr(GError) err = NULL;
	json_object *o;

	kerr_set(&err, KERR_JSON, "%s", why);
	o = wire_error(NULL, err);
	wire_send(w, o, NULL, 0);
	json_object_put(o);
}

static void on_closed(struct wire *w, const char *why)
{
	closed = true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct wire_ops ops = { on_message, on_garbage, on_closed };
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv))
		abort();
	closed = false;
	wire_limits(wire_new(sv[0], NULL, &ops, NULL), 64 << 10, 1 << 20);
	/* in two parts, so that messages are cut somewhere */
	for (size_t at = 0, part = size ? data[0] * size / 256 : 0; at < size; at += part, part = size - at) {
		if (part && send(sv[1], data + at, part, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
			break;
		while (g_main_context_iteration(NULL, FALSE))
			;
	}
	close(sv[1]);
	while (!closed)
		g_main_context_iteration(NULL, TRUE);
	return 0;
}
