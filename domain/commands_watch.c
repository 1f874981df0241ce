/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The commands that watch machines: names, arguments, replies. */
#include "domain/commands_watch.h"

#define ASK(T, text) \
	const struct schema ask_##T##_schema = { .name = #T, .doc = text, .size = sizeof(struct ask_##T), .fields = ask_##T##_fields }
#define TELL(T, text) \
	const struct schema tell_##T##_schema = { .name = #T, .doc = text, .size = sizeof(struct tell_##T), .fields = tell_##T##_fields }

#define T struct watch_name
static const struct field watch_name_fields[] = { STR(T, name, NULL, REQUIRED, "name, uuid or number of a domain"), END };
#undef T
static const struct schema watch_name_schema = { .name = "name", .doc = "a domain", .size = sizeof(struct watch_name), .fields = watch_name_fields };

#define T struct ask_domstats
static const struct field ask_domstats_fields[] = {
	LIST(T, domains, NULL, watch_name_schema, 100000, POSITIONAL, "only these; none given: all"),
	FLAG(T, state, NULL, 0, "state and why"),
	FLAG(T, cpu_total, NULL, 0, "CPU time of the machine's process"),
	FLAG(T, balloon, NULL, 0, "memory, and what the guest says of it"),
	FLAG(T, vcpu, NULL, 0, "vCPUs: time, delay (steal), exits, assists"),
	FLAG(T, interface, NULL, 0, "network cards"),
	FLAG(T, block, NULL, 0, "disks"),
	FLAG(T, dirtyrate, NULL, 0, "the last measured dirty rate"),
	FLAG(T, vm, NULL, 0, "guest errors, fence violations"),
	FLAG(T, latency, NULL, 0, "with --block: histograms of latencies too"),
	FLAG(T, list_active, NULL, 0, "only domains that have a process"),
	FLAG(T, list_inactive, NULL, 0, "only domains that are off"),
	FLAG(T, list_running, NULL, 0, "only running domains"),
	FLAG(T, list_paused, NULL, 0, "only paused domains"),
	FLAG(T, list_shutoff, NULL, 0, "only domains that are shut off"),
	FLAG(T, nowait, NULL, 0, "for scripts made for virsh: nothing ever waits"),
	FLAG(T, raw, NULL, 0, "the same: keys are printed as they are"),
	FLAG(T, enforce, NULL, 0, "the same: a group that there is not is an error in any case"),
	END,
};
#undef T
ASK(domstats, "which statistics");

#define T struct tell_domstats_row
static const struct field tell_domstats_row_fields[] = {
	STR(T, name, NULL, 0, "name"),
	UUID(T, uuid, NULL, 0, "uuid"),
	JSON(T, stats, "any", 0, "numbers and names by key: \"cpu.time\", \"block.0.rd.reqs\" …; the reference lists them"),
	END,
};
#undef T
static TELL(domstats_row, "one domain's statistics");

#define T struct tell_domstats
static const struct field tell_domstats_fields[] = { LIST(T, domains, NULL, tell_domstats_row_schema, 1000000, 0, "the domains, by name"), END };
#undef T
TELL(domstats, "statistics of domains");

/* --- the machine's --- */

static const char *const dirty_modes[DIRTY_MODES] = { "dirty-bitmap", "page-sampling", "dirty-ring" };
static const char *const dirty_states[] = { "unstarted", "measuring", "measured" };

#define T struct ask_dirty_rate
static const struct field ask_dirty_rate_fields[] = {
	U32(T, calc_time, NULL, 1, 60, REQUIRED, "seconds to measure", .key = "calc-time"),
	U32(T, sample_pages, NULL, 0, UINT32_MAX, 0, "for QEMU's clients: kvmd counts all pages", .key = "sample-pages"),
	ENUM(T, mode, NULL, dirty_modes, 0, "how; only dirty-bitmap, the default"),
	END,
};
#undef T
static const struct schema ask_dirty_rate_schema = { .name = "calc-dirty-rate", .doc = "how to measure", .size = sizeof(struct ask_dirty_rate),
	.fields = ask_dirty_rate_fields };

#define T struct tell_dirty_rate
static const struct field tell_dirty_rate_fields[] = {
	U64(T, dirty_rate, NULL, 0, UINT64_MAX, 0, "MiB per second; only when it is measured", .key = "dirty-rate"),
	ENUM(T, status, NULL, dirty_states, 0, "unstarted, measuring or measured"),
	U64(T, start_time, NULL, 0, UINT64_MAX, 0, "begin, in seconds since the host was started", .key = "start-time"),
	U64(T, calc_time, NULL, 0, UINT64_MAX, 0, "seconds", .key = "calc-time"),
	U64(T, sample_pages, NULL, 0, UINT64_MAX, 0, "always 0: all pages are counted", .key = "sample-pages"),
	ENUM(T, mode, NULL, dirty_modes, 0, "always dirty-bitmap"),
	END,
};
#undef T
const struct schema tell_dirty_rate_schema = { .name = "DirtyRateInfo", .doc = "how fast memory changes", .size = sizeof(struct tell_dirty_rate),
	.fields = tell_dirty_rate_fields };

/* --- kvmctl's own --- */

const char *const top_columns[TOP_COLUMNS] = { "name", "state", "cpu", "steal", "vcpus", "rss", "memory", "read", "write", "ops", "rx", "tx", "exits" };

#define T struct ask_top
static const struct field ask_top_fields[] = {
	FLAG(T, batch, NULL, 0, "print tables one after the other, for scripts; no keys", .letter = 'b'),
	U32(T, count, NULL, 0, UINT32_MAX, 0, "end after so many tables; 0: no limit, but one where the output is not a terminal", .letter = 'n'),
	U32(T, delay, NULL, 1, 3600, 0, "seconds between tables", .def = 2, .letter = 'd'),
	ENUM(T, sort, NULL, top_columns, 0, "column to sort by", .def = TOP_CPU, .letter = 's'),
	END,
};
#undef T
static ASK(top, "how to show");

#define T struct qmp_word
static const struct field qmp_word_fields[] = { STRN(T, text, NULL, 0, 1u << 20, REQUIRED, "a JSON object, or key=value"), END };
#undef T
static const struct schema qmp_word_schema = { .name = "word", .doc = "an argument", .size = sizeof(struct qmp_word), .fields = qmp_word_fields };

#define T struct ask_qmp
static const struct field ask_qmp_fields[] = {
	STRN(T, command, NULL, 1, 1u << 20, POSITIONAL | REQUIRED, "name of the command, or a whole QMP message as JSON"),
	LIST(T, arguments, NULL, qmp_word_schema, 1000, POSITIONAL, "its arguments: a JSON object, or key=value, where the value is JSON or a word"),
	END,
};
#undef T
static ASK(qmp, "what to send");

const struct command watch_commands[] = {
	{ "calc-dirty-rate", "domdirtyrate-calc", "measure how fast a running domain changes its memory", IN_WORKER, CMD_VM, &ask_dirty_rate_schema, NULL,
	  "kvmctl domdirtyrate-calc web --calc-time 5; sleep 5; kvmctl domstats web --dirtyrate",
	  "Returns at once. KVM notes the pages that vCPUs write meanwhile, which slows the guest a little." },
	{ "query-dirty-rate", NULL, "tell the last measured dirty rate", IN_WORKER, CMD_VM | CMD_READ, NULL, &tell_dirty_rate_schema },
	{ "top", "top", "watch domains in a terminal", IN_CLIENT, CMD_READ, &ask_top_schema, NULL,
	  "kvmctl top\nkvmctl top --sort=read\nkvmctl top -b -n 3 -o jsonl",
	  "Keys: q ends; c s m r w o x t e n sort by CPU, steal, memory, reads, writes, operations, received, sent, exits, name; R turns the "
	  "order round; space refreshes. Rates are per second between two looks. CPU and steal are percent of one host CPU; "
	  "sizes are in bytes with K, M, G for powers of 1024." },
	{ "edit", "edit", "change a domain's definition in an editor", IN_CLIENT, CMD_VM, NULL, NULL,
	  "kvmctl edit web\nEDITOR='sed -i s/vda/vdb/' kvmctl edit web",
	  "$VISUAL or $EDITOR gets the stored definition as a file. When it is not accepted, you may edit it again; the text is kept "
	  "in a file otherwise. Nothing is stored when nothing was changed, or when someone else changed it meanwhile." },
	{ "qmp", "qmp", "send a QMP command to a running domain", IN_CLIENT, CMD_VM, &ask_qmp_schema, NULL,
	  "kvmctl qmp web query-status\nkvmctl qmp web block_resize device=vda size=2147483648\n"
	  "kvmctl qmp web '{\"execute\":\"query-stats\",\"arguments\":{\"target\":\"vm\"}}'",
	  "Prints what comes back as JSON, over several lines; -o jsonl prints it in one." },
	{ "domstats", "domstats", "print statistics of domains", IN_KVMD, CMD_READ, &ask_domstats_schema, &tell_domstats_schema,
	  "kvmctl domstats\nkvmctl domstats web --block --latency -o json\nkvmctl domstats --list-running --vcpu -o jsonl",
	  "Keys are those of virsh domstats. kvmd reads them from a page that the machine's process counts in, and from /proc; the "
	  "process is never asked, so this answers at once also when it hangs. Without options all groups are printed." },
	{ NULL },
};
