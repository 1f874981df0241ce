/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Look-up in the command tables. */
#include "domain/command.h"

#include <string.h>

static const struct command *const tables[] = {
	kvmd_commands,
	disk_commands,
	net_commands,
	memory_commands,
	qmp_memory_commands,
	worker_commands,
	qmp_commands,
	qmp_block_commands,
	watch_commands,
	qmp_net_commands,
	qmp_migrate_commands,
	devices_commands,
	agent_commands,
	media_commands,
	chardev_commands,
	vcpus_commands,
};

const struct command *command_next(const struct command *at)
{
	size_t t = 0;

	if (!at)
		return tables[0]->name ? tables[0] : NULL;
	for (t = 0; t + 1 < G_N_ELEMENTS(tables); t++)
		for (const struct command *c = tables[t]; c->name; c++)
			if (c == at)
				return c[1].name ? &c[1] : tables[t + 1]->name ? tables[t + 1] : NULL;
	return at[1].name ? &at[1] : NULL;
}

const struct command *command_by_name(const char *name)
{
	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

const struct command *command_by_verb(const char *verb)
{
	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		if (c->verb && !strcmp(c->verb, verb))
			return c;
	return NULL;
}

bool command_blame(const struct command *c, GError **err)
{
	size_t n = strlen(c->args->name);

	if (err && *err && !strncmp((*err)->message, c->args->name, n) && (*err)->message[n] == '.') {
		char *text = g_strconcat(c->name, (*err)->message + n, NULL);

		g_free((*err)->message);
		(*err)->message = text;
	}
	return false;
}
