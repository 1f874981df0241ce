/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <clock>. */
#include "domain/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "domain/devices.h"
#include "domain/error.h"
#include "domain/rows.h"

#define CLOCK_AHEAD_MAX 8000000000ll     /* s: 250 years, within what the device can show */

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
	ENUM(struct clock_config, offset, "@offset", clock_offset_names, 0, "what the guest's clock starts from"),
	STR(struct clock_config, adjustment, "@adjustment", 0, "seconds added to it, or 'reset'"),
	ENUM(struct clock_config, basis, "@basis", clock_basis_names, 0, "what a variable offset counts from"),
	STR(struct clock_config, timezone, "@timezone", 0, "name of the time zone"),
	U64(struct clock_config, start, "@start", 0, INT64_MAX, 0, "seconds since 1970 (absolute)"),
	I64(struct clock_config, ahead, NULL, -CLOCK_AHEAD_MAX, CLOCK_AHEAD_MAX, RUNTIME, "seconds before UTC that it began with"),
	I64(struct clock_config, adjusted, NULL, -CLOCK_AHEAD_MAX, CLOCK_AHEAD_MAX, RUNTIME, "those of them that were asked for as adjustment"),
	LIST(struct clock_config, timers, "timer", timer_schema, 16, GUEST, "the machine's timers"),
	EXTRAS(struct clock_config, extras), END
};
SCHEMA(clock_schema, struct clock_config, "clock", "what time it is inside");

/* Seconds that a zone's clocks are ahead of UTC at this time. name NULL: the host's own zone. */
static bool zone_ahead(const char *name, int64_t now, int64_t *ahead, GError **err)
{
	g_autoptr(GTimeZone) zone = NULL;

	if (name && (*name == '/' || strstr(name, "..")))
		return kerr_set(err, KERR_ARGS, "<clock timezone='%s'>: write a name like 'Europe/Berlin'", name);
	zone = name ? g_time_zone_new_identifier(name) : g_time_zone_new_local();
	if (!zone)
		return kerr_set(err, KERR_ARGS, "<clock timezone='%s'>: this host knows no such zone; /usr/share/zoneinfo has the names (package tzdata)", name);
	*ahead = g_time_zone_get_offset(zone, g_time_zone_find_interval(zone, G_TIME_TYPE_UNIVERSAL, now));
	return true;
}

bool clock_begin(struct clock_config *c, int64_t now, GError **err)
{
	bool local = c->offset == CLOCK_LOCALTIME || (c->offset == CLOCK_VARIABLE && c->basis == BASIS_LOCALTIME);
	int64_t adjusted = 0, ahead = 0, sum;

	if (c->offset == CLOCK_ABSOLUTE)
		ahead = (int64_t)c->start - now;
	else if ((local || c->offset == CLOCK_TIMEZONE) && !zone_ahead(local ? NULL : c->timezone, now, &ahead, err))
		return false;
	if (c->offset != CLOCK_ABSOLUTE && c->offset != CLOCK_TIMEZONE)
		(void)clock_adjustment(c, &adjusted);   /* checked at define */
	if (__builtin_add_overflow(ahead, adjusted, &sum) || sum > CLOCK_AHEAD_MAX || sum < -CLOCK_AHEAD_MAX || ABS(adjusted) > CLOCK_AHEAD_MAX)
		return kerr_set(err, KERR_LIMIT, "<clock>: the guest's clock can be at most %lld seconds from this one's", CLOCK_AHEAD_MAX);
	c->ahead = sum;
	c->adjusted = adjusted;
	return true;
}

void clock_moved(struct clock_config *c, int64_t seconds)
{
	int64_t sum;

	if (c->offset != CLOCK_VARIABLE || __builtin_add_overflow(c->adjusted, seconds, &sum))
		return;
	g_free(c->adjustment);
	c->adjustment = g_strdup_printf("%" G_GINT64_FORMAT, sum);
}

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
