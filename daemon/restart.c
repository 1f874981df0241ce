/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Restarts by on_* policies, with back-off: the delay doubles with each restart until the machine has run for a while, also
 * when the restart itself fails.
 *
 * Theory of operation: a restart that is due is noted in run/restart-UUID from before its old run is cleaned away until the
 * new one holds its lock. So a kvmd that ends meanwhile, in whatever way, leaves it to the next. A note of an earlier boot
 * counts no more: what starts with the host is autostart's.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/kvmd.h"
#include "daemon/launch.h"
#include "daemon/log.h"
#include "daemon/supervise.h"

#define PREFIX "restart-"

static char *note_path(const struct dom *d)
{
	return g_strdup_printf("%s/" PREFIX "%s", d->kvmd->paths->run, d->uuid);
}

void dom_restart_note(struct dom *d)
{
	g_autofree char *path = note_path(d), *boot = boot_id();
	g_autofree char *text = g_strdup_printf("boot %s restarts %u delay %u\n", boot, d->restarts, d->delay);
	g_autoptr(GError) err = NULL;

	if (!g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0600, &err))
		log_warning("vm '%s': a kvmd that begins anew will not know of its restart: %s", d->name, err->message);
}

void dom_restart_forget(struct dom *d)
{
	g_autofree char *path = note_path(d);

	(void)unlink(path);
}

bool dom_restart_call_off(struct dom *d)
{
	bool was = d->restart_timer;

	if (was)
		g_source_remove(d->restart_timer);
	d->restart_timer = 0;
	dom_restart_forget(d);
	return was;
}

static gboolean due(gpointer data)
{
	struct dom *d = data;

	d->restart_timer = 0;
	d->restarts++;
	dom_start_again(d);
	return G_SOURCE_REMOVE;
}

static void wait_for_it(struct dom *d, uint32_t ms)
{
	json_object *data = json_object_new_object();
	g_autofree char *why = NULL;

	dom_restart_note(d);
	json_object_object_add(data, "delay-ms", json_object_new_int64(ms));
	json_object_object_add(data, "restarts", json_object_new_int64(d->restarts + 1));
	dom_event(d, "RESTARTING", data);
	why = g_strdup_printf("%s; starts again in %u ms", d->reason, ms);
	dom_set_state(d, DOM_SHUTOFF, why);
	d->restart_timer = g_timeout_add(ms, due, d);
}

void dom_restart_later(struct dom *d, bool at_once)
{
	const struct config *c = d->kvmd->config;

	if (d->started && g_get_monotonic_time() - d->started >= (gint64)c->restart_steady * 1000)
		d->delay = 0;
	d->delay = d->delay ? MIN(d->delay * 2, c->restart_delay_max) : c->restart_delay;
	wait_for_it(d, at_once && d->delay == c->restart_delay ? 0 : d->delay);
}

static void resume(struct kvmd *k, const char *uuid, const char *text, const char *boot)
{
	struct dom *d = doms_by_uuid(k->doms, uuid);
	unsigned restarts, delay;
	char then[64];

	if (sscanf(text, "boot %63s restarts %u delay %u", then, &restarts, &delay) != 3 || strcmp(then, boot) || !d || !d->text || d->trouble ||
	    dom_is_active(d))
		return;
	d->restarts = restarts;
	d->delay = MIN(delay, k->config->restart_delay_max);
	dom_set_state(d, DOM_SHUTOFF, "ended, and kvmd has begun anew since");
	wait_for_it(d, d->delay);
}

void restarts_resume(struct kvmd *k)
{
	g_autofree char *boot = boot_id();
	GDir *dir = g_dir_open(k->paths->run, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(k->paths->run, name, NULL), *text = NULL;
		const struct dom *d;

		if (!g_str_has_prefix(name, PREFIX) || !g_uuid_string_is_valid(name + strlen(PREFIX)))
			continue;
		d = doms_by_uuid(k->doms, name + strlen(PREFIX));
		if (d && d->restart_timer)
			continue;               /* its end was found only now */
		if (g_file_get_contents(path, &text, NULL, NULL))
			resume(k, name + strlen(PREFIX), text, boot);
		if (!d || !d->restart_timer)
			(void)unlink(path);
	}
	if (dir)
		g_dir_close(dir);
}
