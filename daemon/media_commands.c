/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * change-media, and QMP's blockdev-change-medium for those who ask kvmd: a path is opened here, the machine gets descriptors.
 * The steps are those of update-device.
 */
#include <string.h>

#include "daemon/commands.h"
#include "daemon/devices.h"
#include "domain/commands_media.h"

static bool read_mode(const struct ask_change_media *a, enum medium_verb *verb, GError **err)
{
	if (a->eject + a->insert + a->update > 1)
		return kerr_set(err, KERR_ARGS, "one of --eject, --insert and --update can be done at a time");
	if (a->eject && a->source)
		return kerr_set(err, KERR_ARGS, "what is ejected is in the drive: leave '%s' out", a->source);
	if (!a->eject && !a->source)
		return kerr_set(err, KERR_ARGS, "which medium? name an image, or use --eject");
	*verb = a->eject ? MEDIUM_EJECT : a->insert ? MEDIUM_INSERT : MEDIUM_UPDATE;
	return true;
}

static void cmd_change_media(struct request *r)
{
	const struct ask_change_media *a = r->args;
	g_autoptr(GError) err = NULL;
	struct medium_ask *m;
	enum medium_verb verb = MEDIUM_UPDATE;

	if (!read_mode(a, &verb, &err)) {
		request_fail(r, err);
		return;
	}
	m = g_new0(struct medium_ask, 1);
	*m = (struct medium_ask){ .verb = verb, .drive = g_strdup(a->target), .source = g_strdup(a->source), .format = g_strdup(a->format),
		.block = a->block || (a->source && g_str_has_prefix(a->source, "/dev/")) };
	device_change_medium(r, &a->scope, m);
}

static void qmp_change_medium(struct request *r)
{
	static const struct ask_scope live = { .live = true };
	const struct args_change_medium *a = r->args;
	g_autoptr(GError) err = NULL;
	struct medium_ask *m;

	if (g_str_has_prefix(a->filename, "/dev/fdset/")) {
		request_forward(r, NULL, 0);
		return;
	}
	if (!a->id == !a->device)
		kerr_set(&err, KERR_ARGS, "Need exactly one of 'device' and 'id'");
	if (err) {
		request_fail(r, err);
		return;
	}
	m = g_new0(struct medium_ask, 1);
	*m = (struct medium_ask){ .verb = MEDIUM_UPDATE, .qmp = true, .drive = g_strdup(a->id ? a->id : a->device), .source = g_strdup(a->filename),
		.format = g_strdup(a->format), .block = g_str_has_prefix(a->filename, "/dev/"), .mode = a->mode ? a->mode : MEDIUM_RETAIN };
	device_change_medium(r, &live, m);
}

const struct command_binding media_bindings[] = {
	{ "change-media", cmd_change_media },
	{ NULL },
};

const struct command_binding media_opening[] = {
	{ "blockdev-change-medium", qmp_change_medium },
	{ NULL },
};
