/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rows of <serial>, <parallel>, <console> and <channel>: one struct, one table, four names.
 * A <console> of target type serial that stands first says again what the first <serial> says
 * (libvirt has it so for old clients); it is written, but has no host side of its own.
 */
#include "domain/chardev.h"

#include <string.h>

#include "domain/devices.h"
#include "domain/rows.h"

NAMES_SHARED(chardev_type_names, CHARDEV_N, "null", "vc", "pty", "dev", "file", "pipe", "stdio", "udp", "tcp", "unix",
	"spicevmc", "spiceport", "nmdm", "qemu-vdagent", "dbus");
NAMES(chardev_mode_names, CHARDEV_MODE_N, "connect", "bind");
NAMES_SHARED(chardev_protocol_names, CHARDEV_PROTOCOL_N, "raw", "telnet", "telnets", "tls");
NAMES(chardev_state_names, CHARDEV_STATE_N, "connected", "disconnected");

static const struct field chardev_source_schema_fields[] = {
	STR(struct chardev_source, channel, "@channel", 0, "name of a SPICE or D-Bus channel"),
	ENUM(struct chardev_source, mode, "@mode", chardev_mode_names, 0, "listen, or connect to a listener"),
	RESOURCE(struct chardev_source, path, "@path", RES_NONE, 0, "file, socket or device; a pty's is known while running"),
	STR(struct chardev_source, host, "@host", 0, "host name or address"),
	STR(struct chardev_source, service, "@service", 0, "port"),
	ENUM(struct chardev_source, tls, "@tls", yesno_names, 0, "encrypt the connection"),
	ENUM(struct chardev_source, append, "@append", onoff_names, 0, "keep what the file holds"),
	ENUM(struct chardev_source, reconnect, "reconnect/@enabled", yesno_names, 0, "connect again when the other side went away"),
	U32(struct chardev_source, reconnect_timeout, "reconnect/@timeout", 0, UINT32_MAX, 0, "seconds between tries"),
	FLAG(struct chardev_source, lost, NULL, RUNTIME, "not connected just now, and to be connected again"),
	U32(struct chardev_source, ring, NULL, 0, CHARDEV_RING_MAX, RUNTIME, "null: bytes of output that ringbuf-read finds"),
	KEEP_SILENT("@master"),
	KEEP_SILENT("@slave"),
	KEEP_SILENT("clipboard"),
	KEEP_SILENT("mouse"),
	KEEP("seclabel", "kvmd hands the machine an open file: there is nothing to label"),
	EXTRAS(struct chardev_source, extras), END
};
SCHEMA(chardev_source_schema, struct chardev_source, "source", "where the bytes go on the host");

static const struct field chardev_log_schema_fields[] = {
	RESOURCE(struct chardev_log, file, "@file", RES_LOG, REQUIRED, "file that gets a copy of all output"),
	ENUM(struct chardev_log, append, "@append", onoff_names, 0, "keep what the file holds"),
	EXTRAS(struct chardev_log, extras), END
};
SCHEMA(chardev_log_schema, struct chardev_log, "log", "a copy of all output");

static const struct field chardev_target_schema_fields[] = {
	STR(struct chardev_target, type, "@type", GUEST, "kind of port that the guest sees"),
	STR(struct chardev_target, host, "@address", 0, "guestfwd: address inside"),
	STR(struct chardev_target, name, "@name", GUEST, "channel's name inside"),
	U32(struct chardev_target, port, "@port", 0, 65535, GUEST, "number of the port", .def = CHARDEV_PORT_NONE),
	ENUM(struct chardev_target, state, "@state", chardev_state_names, RUNTIME, "whether the guest has opened it"),
	STR(struct chardev_target, model, "model/@name", GUEST, "device behind the port"),
	EXTRAS(struct chardev_target, extras), END
};
static SCHEMA(chardev_target_schema, struct chardev_target, "target", "what the guest sees");

static const struct field chardev_fields[] = {
	ENUM(struct chardev, type, "@type", chardev_type_names, 0, "what the bytes go to on the host"),
	STR(struct chardev, tty, "@tty", RUNTIME, "old spelling of a pty's path"),
	STRUCT(struct chardev, source, "source", chardev_source_schema, 0, "where the bytes go on the host"),
	LIST(struct chardev, others, "source", chardev_source_schema, 1, 0, "udp: the other one of where it sends to and where it listens"),
	ENUM(struct chardev, protocol, "protocol/@type", chardev_protocol_names, 0, "what is spoken on a TCP connection"),
	STR(struct chardev, made, NULL, RUNTIME, "what chardev-add called it"),
	STRUCT(struct chardev, log, "log", chardev_log_schema, 0, "a copy of all output"),
	STRUCT(struct chardev, target, "target", chardev_target_schema, 0, "what the guest sees"),
	DEVICE_ROWS(struct chardev)
};
#define CHARDEV_SCHEMA(id, element, text) \
	const struct schema id = { .name = element, .doc = text, .version = 1, .size = sizeof(struct chardev), \
		.fields = chardev_fields }
CHARDEV_SCHEMA(serial_schema, "serial", "a serial port");
CHARDEV_SCHEMA(parallel_schema, "parallel", "a parallel port");
CHARDEV_SCHEMA(console_schema, "console", "the machine's console");
CHARDEV_SCHEMA(channel_schema, "channel", "a named channel between host and guest");

enum resource_use chardev_use(int type, int mode)
{
	switch (type) {
	case CHARDEV_PTY:
		return RES_PTY;
	case CHARDEV_DEV:
		return RES_DEVICE;
	case CHARDEV_FILE:
		return RES_LOG;
	case CHARDEV_PIPE:
		return RES_PIPE;
	case CHARDEV_TCP:
		return mode == CHARDEV_BIND ? RES_TCP_LISTEN : RES_TCP_CONNECT;
	case CHARDEV_UDP:
		return RES_UDP;
	case CHARDEV_UNIX:
		return mode == CHARDEV_CONNECT ? RES_SOCKET_CONNECT : RES_SOCKET_LISTEN;
	default:
		return RES_NONE;
	}
}

const struct chardev_source *chardev_udp(const struct chardev *c, int mode)
{
	if ((c->source.mode == CHARDEV_BIND) == (mode == CHARDEV_BIND))
		return &c->source;
	list_each(chardev_source, s, c->others)
		if ((s->mode == CHARDEV_BIND) == (mode == CHARDEV_BIND))
			return s;
	return NULL;
}

bool chardev_reconnects(const struct chardev *c)
{
	enum resource_use use = chardev_use(c->type, c->source.mode);

	return c->source.reconnect == YESNO_YES && (use == RES_SOCKET_CONNECT || use == RES_TCP_CONNECT);
}

void chardev_copy_host(struct chardev *to, const struct chardev *from)
{
	schema_clear(&chardev_source_schema, &to->source);
	schema_copy(&chardev_source_schema, &to->source, &from->source);
	list_each(chardev_source, old, to->others)
		schema_free(&chardev_source_schema, old);
	g_clear_pointer(&to->others, g_ptr_array_unref);
	if (from->others)
		to->others = g_ptr_array_new();
	list_each(chardev_source, s, from->others)
		g_ptr_array_add(to->others, schema_dup(&chardev_source_schema, s));
	to->type = from->type;
	to->protocol = from->protocol;
	g_free(to->tty);
	to->tty = g_strdup(from->tty);
}

void chardev_swap_host(struct chardev *a, struct chardev *b)
{
	struct chardev was = *a;

	a->type = b->type;
	a->protocol = b->protocol;
	a->source = b->source;
	a->others = b->others;
	a->tty = b->tty;
	b->type = was.type;
	b->protocol = was.protocol;
	b->source = was.source;
	b->others = was.others;
	b->tty = was.tty;
}

static bool same_source(const struct chardev_source *a, const struct chardev_source *b)
{
	return !g_strcmp0(a->path.path, b->path.path) && a->mode == b->mode && a->append == b->append && !g_strcmp0(a->host, b->host) &&
		!g_strcmp0(a->service, b->service) && a->tls == b->tls && a->reconnect == b->reconnect &&
		a->reconnect_timeout == b->reconnect_timeout && a->ring == b->ring;
}

bool chardev_same_host(const struct chardev *a, const struct chardev *b)
{
	if (a->type != b->type || a->protocol != b->protocol || list_len(a->others) != list_len(b->others))
		return false;
	for (unsigned i = 0; i < list_len(a->others); i++)
		if (!same_source(a->others->pdata[i], b->others->pdata[i]))
			return false;
	return a->type == CHARDEV_PTY || same_source(&a->source, &b->source);
}

char *chardev_filename(const struct chardev *c)
{
	static const char *const kinds[CHARDEV_N] = { [CHARDEV_PTY] = "pty", [CHARDEV_FILE] = "file", [CHARDEV_UNIX] = "unix",
		[CHARDEV_DEV] = "serial", [CHARDEV_PIPE] = "pipe", [CHARDEV_TCP] = "tcp", [CHARDEV_UDP] = "udp" };
	const char *kind = c->type < CHARDEV_N && kinds[c->type] ? kinds[c->type] : c->source.ring ? "ringbuf" : "null";
	const char *lost = c->source.lost ? "disconnected:" : "", *server = c->source.mode == CHARDEV_BIND ? ",server=on" : "";
	const struct chardev_source *to = c->type == CHARDEV_UDP ? chardev_udp(c, CHARDEV_CONNECT) : &c->source;

	if (c->type == CHARDEV_TCP)
		return g_strdup_printf("%s%s:%s:%s%s", lost, c->protocol == CHARDEV_TELNET ? "telnet" : kind, to->host ? to->host : "localhost", to->service, server);
	if (c->type == CHARDEV_UDP && to)
		return g_strdup_printf("%s:%s:%s", kind, to->host ? to->host : "localhost", to->service);
	return c->source.path.path ? g_strdup_printf("%s%s:%s", lost, kind, c->source.path.path) : g_strdup(kind);
}

bool chardev_is_agent(const struct chardev *c)
{
	return c->type == CHARDEV_UNIX && c->source.mode != CHARDEV_CONNECT && !g_strcmp0(c->target.type, "virtio") &&
		!g_strcmp0(c->target.name, CHARDEV_AGENT);
}

bool chardev_is_serial_console(const struct devices *d, const struct chardev *console)
{
	return list_len(d->serials) && list_len(d->consoles) && d->consoles->pdata[0] == console &&
		!g_strcmp0(console->target.type, "serial");
}
