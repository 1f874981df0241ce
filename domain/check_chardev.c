/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rules on serial ports, consoles, channels. */
#include <string.h>

#include "domain/check.h"

#define RECONNECT_MOST 86400            /* s */
#define SERIAL_PORTS 4                  /* COM1 to COM4 */

static void check_sources(const struct chardev *c, struct report *r)
{
	const struct chardev_source *s = &c->source, *other = list_len(c->others) ? c->others->pdata[0] : NULL;

	if (other && (c->type != CHARDEV_UDP || (s->mode == CHARDEV_BIND) == (other->mode == CHARDEV_BIND)))
		BAD(c, "source", c->type == CHARDEV_UDP ? "write one with mode='bind' and one with mode='connect'" : "write it once",
			"<source> is given twice");
	if (s->reconnect == YESNO_YES && !chardev_reconnects(c))
		BAD(s, "reconnect", "leave it out, or write mode='connect' with type='tcp' or type='unix'", "there is no connection that could be made again");
	else if (s->reconnect == YESNO_YES && !s->reconnect_timeout)
		BAD(s, "reconnect_timeout", "write <reconnect enabled='yes' timeout='10'/>", "the seconds between tries are missing");
	else if (s->reconnect == YESNO_YES && s->reconnect_timeout > RECONNECT_MOST)
		BAD(s, "reconnect_timeout", "write <reconnect enabled='yes' timeout='10'/>", "%u seconds between tries: at most %u", s->reconnect_timeout, RECONNECT_MOST);
}

static void check_source(const struct chardev *c, bool channel, struct report *r)
{
	const struct chardev_source *s = &c->source;

	check_sources(c, r);
	switch (c->type) {
	case CHARDEV_NULL:
	case CHARDEV_PTY:
		break;
	case CHARDEV_FILE:
	case CHARDEV_DEV:
	case CHARDEV_PIPE:
		if (!s->path.path)
			BAD(c, "source", "write <source path='/…'/>", "the path is missing");
		break;
	case CHARDEV_UNIX:
		if (!s->path.path && (s->mode == CHARDEV_CONNECT || !channel))  /* a channel's own is made */
			BAD(c, "source", s->mode == CHARDEV_CONNECT ? "write <source mode='connect' path='/…'/>" :
				"write <source mode='bind' path='/…'/>", "the path is missing");
		break;
	case CHARDEV_TCP:
		if (!s->service || (!s->host && s->mode != CHARDEV_BIND))
			BAD(c, "source",
				"write <source mode='bind' host='127.0.0.1' service='4555'/>",
				"host or port is missing");
		break;
	case CHARDEV_UDP:
		if (!chardev_udp(c, CHARDEV_CONNECT) || !chardev_udp(c, CHARDEV_CONNECT)->service)
			BAD(c, "source", "write <source mode='connect' host='127.0.0.1' service='4556'/>",
				"where the datagrams are to be sent to is missing");
		break;
	case CHARDEV_SPICEVMC:
	case CHARDEV_SPICEPORT:
	case CHARDEV_QEMU_VDAGENT:
	case CHARDEV_DBUS:
		if (channel)
			report_warn(r, c, "type", "leave the channel out",
				"there is no screen (%s): kept, the guest finds nobody there", chardev_type_names[c->type]);
		break;
	default:
		break;          /* supported.c */
	}
}

static void check_serials(const struct devices *d, struct report *r)
{
	bool seen[SERIAL_PORTS] = { false };

	list_each(chardev, c, d->serials) {
		const struct chardev_target *t = &c->target;

		check_source(c, false, r);
		if (g_strcmp0(t->type, "isa-serial"))
			report_refuse(r, t, "type", "write <target type='isa-serial'/>",
				"there is no port of type '%s'", t->type);
		else if (t->model && strcmp(t->model, "isa-serial") && strcmp(t->model, "16550a"))
			report_refuse(r, t, "model", "write <model name='isa-serial'/>",
				"there is no port of model '%s'", t->model);
		else if (t->port >= SERIAL_PORTS)
			BAD(t, "port",
				"write a port from 0 to 3; more consoles by <console> with <target type='virtio'/>",
				"serial port %u: there are 4", t->port);
		else if (seen[t->port])
			BAD(t, "port", "write a port from 0 to 3", "serial port %u is given twice",
				t->port);
		else
			seen[t->port] = true;
	}
}

static void check_consoles(const struct devices *d, struct report *r)
{
	list_each(chardev, c, d->consoles) {
		const struct chardev_target *t = &c->target;

		if (chardev_is_serial_console(d, c))
			continue;
		check_source(c, false, r);
		if (!g_strcmp0(t->type, "serial"))
			BAD(t, "type", "write <target type='virtio'/>, or a <serial>",
				"only the first console can be a serial port");
		else if (g_strcmp0(t->type, "virtio"))
			report_refuse(r, t, "type", "write <target type='virtio'/>",
				"there is no console of type '%s'", t->type);
	}
}

/* Who wrote the path may expect to connect there. */
static void check_agent(const struct chardev *c, struct report *r)
{
	if (chardev_is_agent(c) && c->source.path.path)
		report_warn(r, &c->source, "path", "leave the path out; or mode='connect' for a program of yours that listens there and speaks with the agent",
			"the machine speaks with its guest's agent itself: nobody listens at '%s'", c->source.path.path);
}

static void check_channels(const struct devices *d, struct report *r)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);

	list_each(chardev, c, d->channels) {
		const struct chardev_target *t = &c->target;

		check_source(c, true, r);
		check_agent(c, r);
		if (g_strcmp0(t->type, "virtio"))
			report_refuse(r, t, "type",
				"write <target type='virtio' name='org.example.0'/>",
				"there is no channel of type '%s'", t->type);
		else if (t->name && !g_hash_table_add(names, t->name))
			BAD(t, "name", "give each channel a name of its own",
				"channel '%s' is given twice", t->name);
	}
}

void check_chardevs(const struct machine *m, struct report *r)
{
	check_serials(&m->devices, r);
	check_consoles(&m->devices, r);
	check_channels(&m->devices, r);
}
