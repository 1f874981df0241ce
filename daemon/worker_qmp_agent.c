/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Commands by which the guest's agent is asked (domain/commands_agent.c has the rows). */
#include "daemon/worker_qmp_agent.h"

#include <string.h>

#include "daemon/worker_agent_vcpus.h"
#include "domain/check.h"
#include "domain/json.h"

/* --- any command --- */

static void passed_on(struct worker *w, json_object *answer, const GError *err, void *waiter)
{
	waiter_answer(waiter, answer ? json_object_get(answer) : NULL, err);
}

/* Those that do not answer when they work: the guest is off or asleep then. */
static unsigned flags_of(const char *execute)
{
	return !strcmp(execute, "guest-shutdown") || g_str_has_prefix(execute, "guest-suspend-") ? AGENT_SILENT : 0;
}

/* {"execute": …, "arguments": …} and nothing else. New, or NULL and *err. */
static json_object *parse_command(const char *text, const char **execute, json_object **arguments, GError **err)
{
	struct json_tokener *tok = json_tokener_new_ex(AGENT_DEPTH);
	json_object *o, *name = NULL;
	bool ok;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, text, (int)strlen(text) + 1);
	ok = json_tokener_get_error(tok) == json_tokener_success && json_object_is_type(o, json_type_object);
	json_tokener_free(tok);
	*arguments = NULL;
	if (ok) {
		json_object_object_foreach(o, key, v) {
			if (!strcmp(key, "execute"))
				name = v;
			else if (!strcmp(key, "arguments"))
				*arguments = v;
			else
				ok = kerr_set(err, KERR_ARGS, "the guest agent's command has 'execute' and 'arguments', not '%s'", key);
			if (!ok)
				break;
		}
		if (ok && (!json_object_is_type(name, json_type_string) || !*json_object_get_string(name)))
			ok = kerr_set(err, KERR_ARGS, "the guest agent's command has no 'execute'");
		else if (ok && *arguments && !json_object_is_type(*arguments, json_type_object))
			ok = kerr_set(err, KERR_ARGS, "'arguments' of the guest agent's command is not an object");
	} else {
		kerr_set(err, KERR_ARGS, "the guest agent's command is not a JSON object: write '{\"execute\":\"guest-info\"}'");
	}
	if (ok)
		*execute = json_object_get_string(name);
	else
		g_clear_pointer(&o, json_object_put);
	return o;
}

static QMP(qemu_agent_command)
{
	const struct ask_agent_command *a = args;
	json_object *o, *arguments;
	const char *execute;
	struct waiter *x;

	o = parse_command(a->command, &execute, &arguments, err);
	if (!o)
		return RUN_FAILED;
	x = waiter_new(c);
	if (!agent_call(c->worker->agent, execute, arguments ? json_object_get(arguments) : NULL, a->timeout * 1000, flags_of(execute), passed_on, x, err)) {
		waiter_drop(x);
		json_object_put(o);
		return RUN_FAILED;
	}
	json_object_put(o);
	return RUN_LATER;
}

/* --- CPUs --- */

enum which { ALL, ONLINE, OFFLINABLE };

static bool is_of(const struct guest_vcpu *v, enum which which)
{
	return which == ALL || (which == ONLINE ? v->online : v->can_offline);
}

/* "0-2,5" of those; the guest may number them in any order, and say one twice. New. */
static char *numbers(const GPtrArray *list, enum which which)
{
	g_autofree uint64_t *set = g_new0(uint64_t, 65536 / 64);
	GString *s = g_string_new(NULL);

	for (guint i = 0; i < list->len; i++) {
		const struct guest_vcpu *v = list->pdata[i];

		if (is_of(v, which))
			set[v->id / 64] |= 1ull << v->id % 64;
	}
	for (unsigned from = 0, to; from < 65536; from = to + 1) {
		for (to = from; to < 65536 && set[to / 64] >> to % 64 & 1; to++)
			;
		if (to > from + 1)
			g_string_append_printf(s, "%s%u-%u", s->len ? "," : "", from, to - 1);
		else if (to > from)
			g_string_append_printf(s, "%s%u", s->len ? "," : "", from);
	}
	return g_string_free(s, FALSE);
}

static void vcpus_told(struct worker *w, const GPtrArray *list, const GError *err, void *waiter)
{
	g_autofree char *all = err ? NULL : numbers(list, ALL), *online = err ? NULL : numbers(list, ONLINE), *offlinable = err ? NULL : numbers(list, OFFLINABLE);
	struct tell_guestvcpus t = { .vcpus = all, .online = online, .offlinable = offlinable, .online_n = guest_vcpus_online(list) };

	waiter_answer(waiter, err ? NULL : json_from_struct(&tell_guestvcpus_schema, &t, JSON_ALL), err);
}

static void vcpus_shown(struct worker *w, const struct agent_told *t, const GError *err, void *waiter)
{
	vcpus_told(w, t->list, err, waiter);
}

static GArray *ids_of(const char *cpulist)
{
	g_autofree struct cpu_bits *bits = g_new0(struct cpu_bits, 1);
	GArray *ids = g_array_new(FALSE, FALSE, sizeof(uint32_t));

	cpu_bits_parse(cpulist, bits);
	for (uint32_t i = 0; i < CPU_BITS_MAX; i++)
		if (cpu_bit(bits, i))
			g_array_append_val(ids, i);
	return ids;
}

static enum run_result later(struct waiter *x, bool begun)
{
	if (begun)
		return RUN_LATER;
	waiter_drop(x);
	return RUN_FAILED;
}

static QMP(guestvcpus)
{
	const struct ask_guestvcpus *a = args;
	struct waiter *x;

	if (a->enable && a->disable)
		return kerr_set(err, KERR_ARGS, "--enable or --disable, not both"), RUN_FAILED;
	if (!a->cpulist != !(a->enable || a->disable))
		return kerr_set(err, KERR_ARGS, "a list of CPUs goes with --enable or --disable"), RUN_FAILED;
	x = waiter_new(c);
	if (!a->cpulist)
		return later(x, agent_ask(c->worker, AGENT_GET_VCPUS, NULL, a->timeout * 1000, vcpus_shown, x, err));
	return later(x, guest_vcpus_switch(c->worker, ids_of(a->cpulist), a->enable, a->timeout * 1000, vcpus_told, x, err));
}

static QMP(guest_vcpus_set)
{
	const struct ask_guest_count *a = args;
	struct waiter *x = waiter_new(c);

	return later(x, guest_vcpus_count(c->worker, a->count, a->timeout * 1000, vcpus_told, x, err));
}

const struct worker_binding qmp_agent_bindings[] = {
	{ "qemu-agent-command", qmp_qemu_agent_command },
	{ "guestvcpus", qmp_guestvcpus },
	{ "guest-vcpus-set", qmp_guest_vcpus_set },
	{ NULL },
};
