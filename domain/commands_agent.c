/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands by which the guest's agent is asked. The machine's process runs them: it holds the channel. */
#include "domain/commands_agent.h"

#include <string.h>

#define S(id, T, what, text) const struct schema id = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }
#define TIMEOUT(T) U32(T, timeout, NULL, 1, 3600, 0, "seconds for the guest's agent to answer", .def = 10)

static const char *const powerdown_modes[POWERDOWN_N] = { "acpi", "agent" };

#define T struct ask_agent_command
static const struct field ask_agent_command_schema_fields[] = {
	F_NUM(T, command, char *, NULL, kind_str, 1, 1u << 20, REQUIRED | POSITIONAL, "what the agent is told: a JSON object with execute, and arguments if it takes any"),
	TIMEOUT(T), END };
S(ask_agent_command_schema, T, "agent-command", "a command of the guest's agent");
#undef T

#define T struct ask_guestvcpus
static const struct field ask_guestvcpus_schema_fields[] = {
	CPUSET(T, cpulist, NULL, POSITIONAL, "with --enable or --disable: which, by the guest's numbers (1-3,7)"),
	FLAG(T, enable, NULL, 0, "switch them on"), FLAG(T, disable, NULL, 0, "switch them off"), TIMEOUT(T), END };
S(ask_guestvcpus_schema, T, "guestvcpus", "CPUs as the guest numbers them");
#undef T

#define T struct ask_guest_count
static const struct field ask_guest_count_schema_fields[] = {
	U32(T, count, NULL, 1, 65535, REQUIRED, "how many are to be online"), TIMEOUT(T), END };
S(ask_guest_count_schema, T, "guest-count", "a number of CPUs");
#undef T

#define T struct tell_guestvcpus
static const struct field tell_guestvcpus_schema_fields[] = {
	STR(T, vcpus, NULL, 0, "all, by the guest's numbers"), STR(T, online, NULL, 0, "those it uses"), STR(T, offlinable, NULL, 0, "those it can switch off"),
	U32(T, online_n, NULL, 0, UINT32_MAX, 0, "how many it uses", .name = "online-count"), END };
S(tell_guestvcpus_schema, T, "guestvcpus", "the guest's CPUs");
#undef T

#define T struct ask_powerdown
static const struct field ask_powerdown_schema_fields[] = {
	STRN(T, mode, NULL, 0, 64, 0, "acpi: press the power button; agent: ask the guest's agent; both in the order of trying: agent,acpi (the default if the agent is connected, else acpi)"),
	TIMEOUT(T), END };
S(ask_powerdown_schema, T, "powerdown", "how the guest is asked");
#undef T

#define T struct tell_powerdown
static const struct field tell_powerdown_schema_fields[] = {
	ENUM(T, mode, NULL, powerdown_modes, 0, "how the guest was asked"), END };
S(tell_powerdown_schema, T, "powerdown", "how the guest was asked");
#undef T

bool powerdown_order(const char *list, bool agent_connected, enum powerdown_mode modes[POWERDOWN_N], unsigned *n, GError **err)
{
	enum powerdown_mode found[POWERDOWN_N];
	g_auto(GStrv) words = NULL;
	unsigned so_far = 0;

	if (!list || !*list)
		list = agent_connected ? "agent,acpi" : "acpi";
	words = g_strsplit(list, ",", -1);
	for (char **w = words; *w; w++) {
		unsigned m = 0;

		while (m < POWERDOWN_N && strcmp(*w, powerdown_modes[m]))
			m++;
		if (m == POWERDOWN_N)
			return kerr_set(err, KERR_ARGS, "there is no mode '%s': write acpi, agent, or both as acpi,agent or agent,acpi", *w);
		for (unsigned i = 0; i < so_far; i++)
			if (found[i] == m)
				return kerr_set(err, KERR_ARGS, "mode '%s' is given twice", *w);
		found[so_far++] = m;
	}
	memcpy(modes, found, so_far * sizeof(found[0]));
	*n = so_far;
	return true;
}

const struct command agent_commands[] = {
	{ "shutdown", "shutdown", "ask the guest to shut down: its agent if that is connected, else by the power button", IN_WORKER, CMD_VM, &ask_powerdown_schema,
	  &tell_powerdown_schema, "kvmctl shutdown web\nkvmctl shutdown web --mode acpi\nkvmctl shutdown web --mode agent,acpi --timeout 5",
	  "The modes are tried in their order until one has reached the guest: the agent when it takes the command, the power button when the guest listens to it "
	  "or nothing else is left. Returns when the guest is asked, not when it is down: watch `kvmctl event --follow`, or use destroy for a guest that ignores it." },
	{ "system_reboot", "reboot", "ask the guest to begin anew: its agent if that is connected, else the power button, and a start when it is down", IN_WORKER, CMD_VM,
	  &ask_powerdown_schema, &tell_powerdown_schema, "kvmctl reboot web\nkvmctl reboot web --mode agent", "The modes are those of shutdown." },
	{ "qemu-agent-command", "qemu-agent-command", "give the guest's agent a command", IN_WORKER, CMD_VM | CMD_ANY, &ask_agent_command_schema, NULL,
	  "kvmctl qemu-agent-command web '{\"execute\":\"guest-info\"}'\nkvmctl qemu-agent-command web '{\"execute\":\"guest-network-get-interfaces\"}' --timeout 30",
	  "Prints what the agent answers. The guest needs qemu-guest-agent, the domain <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/>"
	  "</channel>; dumpxml shows whether it is connected. The machine's process speaks with it, there is no socket that others could take; with "
	  "<source mode='connect' path='/…'/> the program that listens there does instead. An answer has at most 2 MiB. After a time-out the guest may still do it." },
	{ "guestvcpus", "guestvcpus", "show the CPUs that the guest has and uses, or switch some on or off in it", IN_WORKER, CMD_VM, &ask_guestvcpus_schema,
	  &tell_guestvcpus_schema, "kvmctl guestvcpus web\nkvmctl guestvcpus web 2-3 --disable",
	  "Asks the guest's agent. The machine keeps CPUs that are switched off so: setvcpus --live takes them away." },
	{ "guest-vcpus-set", NULL, "switch CPUs on or off in the guest until so many are online", IN_WORKER, CMD_INTERNAL, &ask_guest_count_schema, &tell_guestvcpus_schema },
	{ NULL },
};
