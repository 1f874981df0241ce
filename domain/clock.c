/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <clock>. */
#include "domain/clock.h"

#include <errno.h>
#include <stdlib.h>

#include "domain/devices.h"
#include "domain/rows.h"

NAMES(clock_offset_names, CLOCK_N, "utc", "localtime", "timezone", "variable", "absolute");
NAMES(clock_basis_names, BASIS_N, "utc", "localtime");
NAMES(timer_name_names, TIMER_N, "platform", "hpet", "kvmclock", "pit", "rtc", "tsc", "hypervclock", "armvtimer");
NAMES(timer_track_names, TRACK_N, "boot", "guest", "wall", "realtime");
NAMES(timer_tickpolicy_names, TICK_N, "delay", "catchup", "merge", "discard");
NAMES(timer_mode_names, TIMER_MODE_N, "auto", "native", "emulate", "paravirt", "smpsafe");

static const struct field timer_catchup_schema_fields[] = {
	U32(struct timer_catchup, threshold, "@threshold", 0, UINT32_MAX, GUEST, "ns behind at which it begins"),
	U32(struct timer_catchup, slew, "@slew", 0, UINT32_MAX, GUEST, "how fast it catches up"),
	U32(struct timer_catchup, limit, "@limit", 0, UINT32_MAX, GUEST, "ns behind at which it gives up"),
	EXTRAS(struct timer_catchup, extras), END
};
static SCHEMA(timer_catchup_schema, struct timer_catchup, "catchup", "how missed ticks are made up for");

static const struct field timer_schema_fields[] = {
	ENUM(struct timer, name, "@name", timer_name_names, GUEST | REQUIRED, "which timer"),
	ENUM(struct timer, present, "@present", yesno_names, GUEST, "whether the guest has it"),
	ENUM(struct timer, tickpolicy, "@tickpolicy", timer_tickpolicy_names, GUEST, "what becomes of missed ticks"),
	ENUM(struct timer, track, "@track", timer_track_names, GUEST, "what it follows"),
	U64(struct timer, frequency, "@frequency", 0, INT64_MAX, GUEST, "Hz (tsc)"),
	ENUM(struct timer, mode, "@mode", timer_mode_names, GUEST, "how the tsc is read"),
	STRUCT(struct timer, catchup, "catchup", timer_catchup_schema, GUEST, "how missed ticks are made up for"),
	EXTRAS(struct timer, extras), END
};
static SCHEMA(timer_schema, struct timer, "timer", "one timer of the machine");

static const struct field clock_schema_fields[] = {
	ENUM(struct clock_config, offset, "@offset", clock_offset_names, NOT_YET, "what the guest's clock starts from",
		.lacks = 1 << CLOCK_LOCALTIME | 1 << CLOCK_TIMEZONE | 1 << CLOCK_VARIABLE | 1 << CLOCK_ABSOLUTE),
	STR(struct clock_config, adjustment, "@adjustment", NOT_YET, "seconds added to it, or 'reset'"),
	ENUM(struct clock_config, basis, "@basis", clock_basis_names, NOT_YET, "what a variable offset counts from", .lacks = 1 << BASIS_LOCALTIME),
	STR(struct clock_config, timezone, "@timezone", NOT_YET, "name of the time zone"),
	U64(struct clock_config, start, "@start", 0, INT64_MAX, NOT_YET, "seconds since 1970 (absolute)"),
	LIST(struct clock_config, timers, "timer", timer_schema, 16, GUEST, "the machine's timers"),
	EXTRAS(struct clock_config, extras), END
};
SCHEMA(clock_schema, struct clock_config, "clock", "what time it is inside");

const struct timer *clock_timer(const struct clock_config *c, enum timer_name name)
{
	list_each(timer, t, c->timers)
		if (t->name == (int)name)
			return t;
	return NULL;
}

bool clock_timer_present(const struct clock_config *c, enum timer_name name, bool def)
{
	const struct timer *t = clock_timer(c, name);

	return !t || t->present == YESNO_ABSENT ? def : t->present == YESNO_YES;
}

bool clock_adjustment(const struct clock_config *c, int64_t *seconds)
{
	const char *s = c->adjustment;
	char *end;
	long long v;

	if (!s || !g_strcmp0(s, "reset")) {
		*seconds = 0;
		return true;
	}
	errno = 0;
	v = strtoll(s, &end, 10);
	if (errno || end == s || *end || g_ascii_isspace(*s))
		return false;
	*seconds = v;
	return true;
}
