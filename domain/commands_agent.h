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
struct ask_powerdown { int mode; uint32_t timeout; };

extern const struct schema ask_agent_command_schema, ask_guestvcpus_schema, ask_guest_count_schema, tell_guestvcpus_schema, ask_powerdown_schema;
