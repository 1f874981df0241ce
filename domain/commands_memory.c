/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvmctl's commands about memory. */
#include "domain/commands_memory.h"

#include "domain/memory.h"

#define S(id, T, what, text) const struct schema id = { .name = what, .doc = text, .size = sizeof(T), .fields = id##_fields }

#define T struct ask_setmem
static const struct field ask_setmem_schema_fields[] = {
	SIZE(T, size, NULL, MEMORY_MIN, MEMORY_MAX, REQUIRED | POSITIONAL, "how much: KiB, or with a unit (512MiB, 2GiB)"), ASK_SCOPE(T),
	U32(T, timeout, NULL, 1, 3600, 0, "seconds without progress after which the guest is left alone", .def = 10), END };
S(ask_setmem_schema, T, "setmem", "an amount of memory");
#undef T

#define T struct ask_setmaxmem
static const struct field ask_setmaxmem_schema_fields[] = {
	SIZE(T, size, NULL, MEMORY_MIN, MEMORY_MAX, REQUIRED | POSITIONAL, "how much: KiB, or with a unit (512MiB, 2GiB)"), ASK_SCOPE(T), END };
S(ask_setmaxmem_schema, T, "setmaxmem", "an amount of memory");
#undef T

#define T struct ask_dommemstat
static const struct field ask_dommemstat_schema_fields[] = {
	U32(T, period, NULL, 0, INT32_MAX, 0, "ask the guest every so many seconds; 0: no longer", .def = PERIOD_ABSENT), ASK_SCOPE(T), END };
S(ask_dommemstat_schema, T, "dommemstat", "what to tell, or to change");
#undef T

#define T struct ask_memory_device
static const struct field ask_memory_device_schema_fields[] = {
	STR(T, alias, NULL, 0, "which device (virtiomem0); not given: the only one"),
	U32(T, node, NULL, 0, 127, 0, "instead: the one of this guest node", .def = UINT32_MAX),
	SIZE(T, requested_size, NULL, 0, MEMORY_MAX, 0, "what the guest is to use of it: KiB, or with a unit (512MiB, 2GiB)", .def = UINT64_MAX), ASK_SCOPE(T),
	U32(T, timeout, NULL, 1, 3600, 0, "seconds without progress after which the guest is left alone", .def = 10), END };
S(ask_memory_device_schema, T, "memory-device", "an amount of a device's memory");
#undef T

#define T struct tell_memory_device
static const struct field tell_memory_device_schema_fields[] = {
	STR(T, alias, NULL, 0, "the device"), U64(T, requested, NULL, 0, UINT64_MAX, 0, "bytes the guest is to use"),
	U64(T, size, NULL, 0, UINT64_MAX, 0, "bytes it uses"), U64(T, maximum, NULL, 0, UINT64_MAX, 0, "bytes it may use at most"), END };
S(tell_memory_device_schema, T, "memory-device", "a memory device");
#undef T

#define T struct tell_setmem
static const struct field tell_setmem_schema_fields[] = {
	U64(T, memory, NULL, 0, UINT64_MAX, 0, "bytes it has"), U64(T, memory_max, NULL, 0, UINT64_MAX, 0, "bytes it may have"), END };
S(tell_setmem_schema, T, "setmem", "how much memory");
#undef T

#define T struct tell_dommemstat
#define N(m, text) U64(T, m, NULL, 0, UINT64_MAX, 0, text, .def = UINT64_MAX)
static const struct field tell_dommemstat_schema_fields[] = {
	N(actual, "bytes the guest has, by the balloon"), N(swap_in, "bytes the guest has read from its swap"),
	N(swap_out, "bytes it has written to its swap"), N(major_fault, "page faults that needed I/O"), N(minor_fault, "those that did not"),
	N(unused, "bytes the guest uses for nothing"), N(available, "bytes the guest's kernel has to give out in all"),
	N(usable, "bytes its programs could have without swapping"), N(last_update, "seconds since 1970 when the guest said so"),
	N(disk_caches, "bytes of its caches that could be dropped"), N(hugetlb_pgalloc, "huge pages it got"), N(hugetlb_pgfail, "huge pages it did not get"),
	N(rss, "bytes of host memory its process has now"), N(target, "bytes the guest is to have"),
	N(reported, "bytes it named by free page reporting so far"), N(period, "seconds between the guest's statistics; 0: it is not asked"), END };
S(tell_dommemstat_schema, T, "dommemstat", "what is known of a guest's memory; what it does not say is not given");
#undef N
#undef T

const struct command memory_commands[] = {
	{ "setmem", "setmem", "change how much memory a domain has", IN_KVMD, CMD_VM, &ask_setmem_schema, &tell_setmem_schema,
	  "kvmctl setmem web 512MiB\nkvmctl setmem web 2GiB --live --config --timeout 30",
	  "Of a running machine, by its balloon: the guest is asked for the difference, and the command returns when the guest has given or taken it. A guest that "
	  "comes no nearer for --timeout seconds is left alone: the command fails, says what was reached, and that is the machine's size from then on, so "
	  "that nobody squeezes the guest further. The journal's COMMAND_PROGRESS tells each second how far it is, COMMAND_DONE the result, also when kvmd "
	  "went away meanwhile. With --config too, the definition is changed when the guest has done it. What the guest uses of memory devices comes on top: update-memory-device changes that." },
	{ "setmaxmem", "setmaxmem", "change how much memory a domain may have, from its next start", IN_KVMD, CMD_VM, &ask_setmaxmem_schema, &tell_setmem_schema,
	  "kvmctl setmaxmem web 4GiB --config",
	  "Changes <memory> of the definition. What a machine may have is fixed while it runs." },
	{ "update-memory-device", "update-memory-device", "change how much a domain's guest is to use of a virtio-mem device", IN_KVMD, CMD_VM,
	  &ask_memory_device_schema, &tell_memory_device_schema,
	  "kvmctl update-memory-device web --requested-size 2GiB\nkvmctl update-memory-device web --alias virtiomem1 --requested-size 512MiB --live --config",
	  "Returns when the guest has plugged or unplugged the blocks. A guest that comes no nearer for --timeout seconds is left alone: the command fails, says "
	  "what was reached, and that is asked for from then on. COMMAND_PROGRESS and COMMAND_DONE are as for setmem." },
	{ "dommemstat", "dommemstat", "tell what a running domain's guest says of its memory, or how often it is asked", IN_KVMD, CMD_VM, &ask_dommemstat_schema,
	  &tell_dommemstat_schema, "kvmctl dommemstat web\nkvmctl dommemstat web --period 10 --live --config",
	  "Sizes are KiB, as virsh prints them; bytes in JSON. The guest's own numbers are as old as last_update says: --period makes the guest tell them anew." },
	{ NULL },
};
