/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Arguments and replies of the commands by which the guest's agent is asked. Each struct has its schema `NAME_schema`. */
#pragma once
#include "domain/command.h"

struct ask_agent_command { char *command; uint32_t timeout; };
struct ask_guestvcpus { char *cpulist; bool enable, disable; uint32_t timeout; };
struct ask_guest_count { uint32_t count, timeout; };
struct tell_guestvcpus { char *vcpus, *online, *offlinable; uint32_t online_n; };

/* shutdown, reboot */
enum powerdown_mode { POWERDOWN_ACPI, POWERDOWN_AGENT, POWERDOWN_N };
struct ask_powerdown { char *mode; uint32_t timeout; };
struct tell_powerdown { int mode; };
/* The ways of a list ("acpi,agent"), in its order; of none: the agent if it is connected, then the power button. */
bool powerdown_order(const char *list, bool agent_connected, enum powerdown_mode modes[POWERDOWN_N], unsigned *n, GError **err);

extern const struct schema ask_agent_command_schema, ask_guestvcpus_schema, ask_guest_count_schema, tell_guestvcpus_schema, ask_powerdown_schema, tell_powerdown_schema;
