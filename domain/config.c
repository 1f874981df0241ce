/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvmd.conf over a field table. */
#include "domain/config.h"

#include <string.h>

static const char *const log_names[] = { "error", "warning", "info", "debug" };
const char *const config_fence_names[3] = { "errno", "kill", "off" };

#define T struct config
static const struct field config_fields[] = {
	ENUM(T, log_level, NULL, log_names, 0, "what kvmd logs to the journal or stderr", .def = 2),
	STR(T, socket_group, NULL, 0, "group that may use control.sock; not given: the group kvmd runs as"),
	STR(T, socket_mode, NULL, 0, "octal mode of control.sock", .text_def = "0660"),
	U32(T, connections_max, NULL, 1, 100000, 0, "clients on control.sock at once; more are refused with an error line", .def = 4000),
	U32(T, followers_max, NULL, 1, 10000, 0, "clients that follow events at once", .def = 1000),
	U32(T, worker_uid_base, NULL, 0, 4294000000u, 0,
		"first user and group id of the range from which each machine's process gets its own (kvmd as root); 0: they stay root",
		.def = 710000),
	U32(T, worker_uid_count, NULL, 1, 1000000, 0, "size of that range, so the most machines at once", .def = 50000),
	STR(T, worker, NULL, 0, "the program that runs a machine; not given: kvmd-vm beside kvmd"),
	ENUM(T, fence, NULL, config_fence_names, 0,
		"a system call that a machine's process may not make: errno fails the call, logs and counts it; kill ends the process; off is for debugging"),
	ENUM(T, huge_pages, NULL, yesno_names, 0, "back guest memory by huge pages where the kernel has them", .def = YESNO_YES),
	ENUM(T, systemd_scopes, NULL, yesno_names, 0, "put machines into systemd scopes of their own where systemd runs", .def = YESNO_YES),
	U32(T, answer_timeout, NULL, 1, 3600000, 0, "ms that a machine's process has to answer a command", .def = 5000),
	U32(T, start_timeout, NULL, 1, 3600000, 0, "ms that a machine has to become ready", .def = 30000),
	U32(T, destroy_timeout, NULL, 0, 3600000, 0, "ms that destroy waits for the process to end by itself before it kills", .def = 1000),
	U32(T, restart_delay, NULL, 0, 3600000, 0, "ms before the first restart by on_crash, on_reboot or on_poweroff; doubles each time", .def = 1000),
	U32(T, restart_delay_max, NULL, 0, 3600000, 0, "ms: longest delay between restarts", .def = 60000),
	U32(T, restart_steady, NULL, 0, 86400000, 0, "ms of running after which the delay begins anew", .def = 60000),
	U32(T, disk_low_percent, NULL, 0, 100, 0,
		"a file system with disks of running machines is low when less than this part of it is free: event DISK_SPACE_LOW; 0: do not look", .def = 5),
	F_NUM(T, disk_low_bytes, uint64_t, NULL, kind_size, 0, UINT64_C(1) << 60, 0, "and less than this many bytes", .def = UINT64_C(2) << 30),
	U32(T, disk_low_interval, NULL, 100, 3600000, 0, "ms between looks at them", .def = 10000),
	U64(T, events_size, NULL, 65536, UINT64_C(1) << 40, 0, "bytes of one file of the event journal; two are kept", .def = 16u << 20),
	END,
};
#undef T

const struct schema config_schema = { .name = "kvmd.conf", .doc = "settings of kvmd", .size = sizeof(struct config), .fields = config_fields };

struct config *config_new(void)
{
	return schema_new(&config_schema);
}

void config_free(struct config *c)
{
	schema_free(&config_schema, c);
}

bool config_parse(struct config *c, const char *text, const char *name, GError **err)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (unsigned i = 0; lines[i]; i++) {
		char *line = g_strstrip(lines[i]), *eq;
		const struct field *f;

		if (!*line || *line == '#')
			continue;
		eq = strchr(line, '=');
		if (!eq)
			return kerr_set(err, KERR_ARGS, "%s:%u: '%s' is not 'key = value'", name, i + 1, line);
		*eq = '\0';
		g_strstrip(line);
		f = schema_field(&config_schema, line);
		if (!f)
			return kerr_set(err, KERR_ARGS, "%s:%u: there is no setting '%s' (see kvmd.conf(5))", name, i + 1, line);
		if (!field_set_text(f, c, g_strstrip(eq + 1), err)) {
			g_prefix_error(err, "%s:%u: ", name, i + 1);
			return false;
		}
	}
	return true;
}
