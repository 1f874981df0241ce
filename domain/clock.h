/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What time it is inside: libvirt's <clock> and its timers. */
#pragma once
#include "domain/field.h"

enum clock_offset { CLOCK_ABSENT, CLOCK_UTC, CLOCK_LOCALTIME, CLOCK_TIMEZONE, CLOCK_VARIABLE, CLOCK_ABSOLUTE, CLOCK_N };
enum clock_basis { BASIS_ABSENT, BASIS_UTC, BASIS_LOCALTIME, BASIS_N };
enum timer_name { TIMER_ABSENT, TIMER_PLATFORM, TIMER_HPET, TIMER_KVMCLOCK, TIMER_PIT, TIMER_RTC, TIMER_TSC,
	TIMER_HYPERVCLOCK, TIMER_ARMVTIMER, TIMER_N };
enum timer_track { TRACK_ABSENT, TRACK_BOOT, TRACK_GUEST, TRACK_WALL, TRACK_REALTIME, TRACK_N };
enum timer_tickpolicy { TICK_ABSENT, TICK_DELAY, TICK_CATCHUP, TICK_MERGE, TICK_DISCARD, TICK_N };
enum timer_mode { TIMER_MODE_ABSENT, TIMER_MODE_AUTO, TIMER_MODE_NATIVE, TIMER_MODE_EMULATE, TIMER_MODE_PARAVIRT,
	TIMER_MODE_SMPSAFE, TIMER_MODE_N };

struct timer_catchup {
	uint32_t threshold, slew, limit;
	struct extras extras;
};
struct timer {
	int name, present;              /* enum timer_name; YESNO */
	int track, tickpolicy;
	struct timer_catchup catchup;
	uint64_t frequency;             /* tsc, Hz */
	int mode;                       /* tsc */
	struct extras extras;
};
struct clock_config {
	int offset;                     /* enum clock_offset; ABSENT: utc (fill sets it) */
	char *adjustment;               /* seconds, or "reset" */
	int basis;
	char *timezone;
	uint64_t start;                 /* absolute: seconds since 1970 */
	int64_t ahead, adjusted;        /* clock_begin: s before UTC that the guest's clock begins with; those of them that were asked for as adjustment */
	GPtrArray *timers;              /* struct timer */
	struct extras extras;
};

extern const struct schema clock_schema;
/* The named timer, or NULL. */
const struct timer *clock_timer(const struct clock_config *, enum timer_name);
/* May the guest have it? Its present attribute, `def` when not given. */
bool clock_timer_present(const struct clock_config *, enum timer_name, bool def);
/* What the clock of a machine that begins at `now` (s since 1970) is to show: sets ahead and adjusted. The time zones are this
 * host's. *err: ARGS, there is no such zone here. */
bool clock_begin(struct clock_config *, int64_t now, GError **err);
/* The guest has set it to so many seconds ahead of what it began with: a variable offset's adjustment follows. */
void clock_moved(struct clock_config *, int64_t seconds);
/* Seconds of `adjustment` (0 when absent or "reset"); false when it is no number. */
bool clock_adjustment(const struct clock_config *, int64_t *seconds);
