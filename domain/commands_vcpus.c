/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The rows of the commands about single vCPUs. */
#include "domain/commands_vcpus.h"

#include "domain/commands_kvmd.h"

#define T struct ask_setvcpu
static const struct field ask_setvcpu_fields[] = {
	CPUSET(T, vcpulist, NULL, REQUIRED | POSITIONAL, "which vCPUs: 3, or 2-4,6"),
	FLAG(T, enable, NULL, 0, "they come"),
	FLAG(T, disable, NULL, 0, "they go"),
	ASK_SCOPE(T),
	U32(T, timeout, NULL, 1, 3600, 0, "seconds for the guest to answer; signs of progress prolong it", .def = 10),
	END,
};
#undef T
static const struct schema ask_setvcpu_schema = { .name = "setvcpu", .doc = "vCPUs, and what becomes of them", .size = sizeof(struct ask_setvcpu),
	.fields = ask_setvcpu_fields };

const struct command vcpus_commands[] = {
	{ "setvcpu", "setvcpu", "plug or unplug certain vCPUs of a domain", IN_KVMD, CMD_VM, &ask_setvcpu_schema, &tell_setvcpus_schema,
	  "kvmctl setvcpu web 3 --enable\nkvmctl setvcpu web 2-3 --disable --live --config",
	  "As setvcpus, for vCPUs by their numbers. In the definition it changes <vcpus>, which then mentions all of them; one that is switched off there "
	  "may come while the machine runs. The first one boots the guest and stays." },
	{ NULL },
};
