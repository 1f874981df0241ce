/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reasons of states, from the journal: the newest event of each domain that says one counts. */
#include "daemon/reasons.h"

#include <stdio.h>
#include <string.h>

#include "daemon/dom.h"
#include "daemon/kvmd.h"

#define LOOK_BACK (8l << 20)    /* bytes of each of the two files: kvmd begins in time also with a journal of terabytes */

/* reason NULL: the event's own */
static const struct { const char *event; enum dom_state state; const char *reason; } told[] = {
	{ "STARTED", DOM_RUNNING, "booted" },
	{ "RESUME", DOM_RUNNING, NULL },
	{ "STOP", DOM_PAUSED, NULL },
	{ "STOPPED", DOM_SHUTOFF, NULL },
	{ "CRASHED", DOM_SHUTOFF, NULL },
	{ "START_FAILED", DOM_SHUTOFF, "failed" },
	{ "UNDEFINED", DOM_SHUTOFF, NULL },     /* another of the same uuid has not run */
};

static const char *text_of(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) && json_object_is_type(v, json_type_string) ? json_object_get_string(v) : NULL;
}

static int64_t number_of(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : 0;
}

static void take(struct kvmd *k, json_object *o, enum dom_state state, const char *reason)
{
	json_object *data, *stamp;
	const char *uuid;
	struct dom *d;

	if (!json_object_object_get_ex(o, "data", &data) || !(uuid = text_of(data, "uuid")) || !(d = doms_by_uuid(k->doms, uuid)))
		return;
	if (!reason)
		reason = text_of(data, "reason");
	if (state == DOM_RUNNING && !g_strcmp0(text_of(data, "state"), dom_state_names[DOM_PAUSED])) {
		state = DOM_PAUSED;
		reason = "not yet run";
	}
	g_free(d->remembered.reason);
	g_free(d->remembered.detail);
	d->remembered.state = state;
	d->remembered.reason = g_strdup(reason);
	d->remembered.detail = g_strdup(text_of(data, strcmp(text_of(o, "event"), "START_FAILED") ? "detail" : "reason"));
	d->remembered.since = json_object_object_get_ex(o, "timestamp", &stamp) ? number_of(stamp, "seconds") * G_USEC_PER_SEC +
		number_of(stamp, "microseconds") : 0;
}

static void look(struct kvmd *k, const char *line)
{
	for (size_t i = 0; i < G_N_ELEMENTS(told); i++) {
		g_autofree char *quoted = g_strdup_printf("\"%s\"", told[i].event);
		json_object *o = strstr(line, quoted) ? json_tokener_parse(line) : NULL;

		if (json_object_is_type(o, json_type_object) && !g_strcmp0(text_of(o, "event"), told[i].event))
			take(k, o, told[i].state, told[i].reason);
		json_object_put(o);
	}
}

static void read_file(struct kvmd *k, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;

	if (!f)
		return;
	if (!fseek(f, 0, SEEK_END) && ftell(f) > LOOK_BACK)
		(void)fseek(f, -LOOK_BACK, SEEK_END);   /* half a line is no event */
	else
		rewind(f);
	while (getline(&line, &room, f) > 0)
		look(k, line);
	free(line);
	fclose(f);
}

void reasons_load(struct kvmd *k)
{
	g_autofree char *older = g_strconcat(k->paths->events, ".1", NULL);
	g_autoptr(GPtrArray) all = NULL;

	read_file(k, older);
	read_file(k, k->paths->events);
	all = doms_sorted(k->doms);
	for (unsigned i = 0; i < all->len; i++) {
		struct dom *d = all->pdata[i];
		gint64 since;

		if (d->state != DOM_SHUTOFF || d->remembered.state != DOM_SHUTOFF || !d->remembered.reason)
			continue;
		since = d->remembered.since;            /* a new state begins now, this one did not */
		dom_set_state_told(d, DOM_SHUTOFF, d->remembered.reason, d->remembered.detail);
		d->since = d->remembered.since = since;
	}
}
