/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The result of each command that changes the machine, as an event. */
#include "daemon/worker_journal.h"

#include <string.h>

/* People look for the command they gave: kvmd asks a machine by another name for some. */
static const struct { const char *row, *known_as; } names[] = {
	{ "block_resize", "blockresize" },
	{ "blockdev-made", "blockdev-add" },
	{ "block_set_io_throttle", "blkdeviotune" },
	{ "chardev-made", "chardev-add" },
	{ "chardev-update", "chardev-change" },
	{ "device-attach", "attach-device" },
	{ "device-detach", "detach-device" },
	{ "device-update", "update-device" },
	{ "guest-vcpus-set", "setvcpus" },
	{ "memory-device-set", "update-memory-device" },
	{ "memory-set", "setmem" },
	{ "memory-stats-period", "dommemstat" },
	{ "net-tune", "domiftune" },
	{ "set_link", "domif-setlink" },
	{ "vcpus-set", "setvcpus" },
};

bool journal_wants(const struct command *row)
{
	return row && row->where == IN_WORKER && !(row->flags & (CMD_READ | CMD_PREADOPT | CMD_PLUMBING));
}

static const char *text_of(json_object *args, const char *key)
{
	json_object *v;

	return args && json_object_object_get_ex(args, key, &v) && json_object_is_type(v, json_type_string) ? json_object_get_string(v) : NULL;
}

static const char *device_of(const struct command *row, json_object *args)
{
	static const char *const keys[] = { "alias", "device", "name", "id" };   /* where rows have it */
	unsigned n = row->flags & CMD_TELLS ? 1 : G_N_ELEMENTS(keys);
	json_object *device;

	/* a device's whole description has its alias */
	if (args && json_object_object_get_ex(args, "device", &device) && json_object_is_type(device, json_type_object))
		return text_of(device, "alias");
	for (unsigned i = 0; i < n; i++)
		if (text_of(args, keys[i]))
			return text_of(args, keys[i]);
	return NULL;
}

json_object *journal_data(const struct command *row, json_object *args)
{
	json_object *o = json_object_new_object();
	const char *name = row->verb ? row->verb : row->name, *device, *id = row->flags & CMD_TELLS ? text_of(args, "id") : NULL;

	if (!json_object_is_type(args, json_type_object))
		args = NULL;
	for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
		if (!strcmp(names[i].row, row->name))
			name = names[i].known_as;
	json_object_object_add(o, "command", json_object_new_string(name));
	device = device_of(row, args);
	if (device)
		json_object_object_add(o, "device", json_object_new_string(device));
	if (id)
		json_object_object_add(o, "id", json_object_new_string(id));
	return o;
}

void journal_result(json_object *data, const GError *err)
{
	json_object_object_add(data, "ok", json_object_new_boolean(!err));
	if (!err)
		return;
	json_object_object_add(data, "code", json_object_new_string(kerr_of(err)->code));
	json_object_object_add(data, "desc", json_object_new_string(err->message));
}
