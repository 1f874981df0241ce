/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The names of events, for people who look for one. */
#include "domain/event_names.h"

#include "domain/field.h"

const struct event_row kvmd_events[] = {
	{ "DEFINED", "a definition was stored; created: it is a new domain's" },
	{ "UNDEFINED", "a domain is forgotten" },
	{ "AUTOSTART", "a domain starts with the host, or no longer" },
	{ "STARTED", "a machine has begun; reason: by request, or by policy" },
	{ "START_FAILED", "a machine could not begin; reason: why" },
	{ "STOPPED", "a machine has ended; reason: shutdown, reset, destroyed, ended by request" },
	{ "CRASHED", "a machine has ended as it should not; reason: crashed, panicked, error" },
	{ "RESTARTING", "a machine begins again by its on_… policy after delay-ms" },
	{ "ADOPTED", "a kvmd that was started anew has found a running machine" },
	{ "LOST", "a machine's process does not answer; reason: why" },
	{ "DISK_DROPPED", "a machine has begun without a disk that startupPolicy makes optional" },
	{ "DISK_SPACE_LOW", "a file system with images has less room than disks may still take" },
	{ "DISK_SPACE_OK", "it has enough again" },
	{ "NETDEV_STREAM_CONNECTED", "the helper of a network card is there" },
	{ "NETDEV_STREAM_DISCONNECTED", "the helper of a network card has ended; reason: why" },
	{ NULL },
};

const struct event_row *event_next(const struct event_row *e)
{
	if (!e)
		return worker_events;
	if (e[1].name)
		return e + 1;
	for (const struct event_row *k = kvmd_events; k->name; k++)
		if (k == e)
			return NULL;
	return kvmd_events;
}

const char *event_meant(const char *name)
{
	struct nearest near = { .word = name };

	for (const struct event_row *e = event_next(NULL); e; e = event_next(e)) {
		if (!g_strcmp0(e->name, name))
			return NULL;
		if (!g_ascii_strcasecmp(e->name, name))
			return e->name;
		nearest_try(&near, e->name);
	}
	return near.best;
}
