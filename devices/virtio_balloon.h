/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The balloon, for those who drive it (policy, commands). Main thread unless said otherwise. */
#pragma once
#include "hv/device.h"

enum balloon_stat { BALLOON_SWAP_IN, BALLOON_SWAP_OUT, BALLOON_MAJOR_FAULTS, BALLOON_MINOR_FAULTS, BALLOON_FREE, BALLOON_TOTAL,
	BALLOON_AVAILABLE, BALLOON_CACHES, BALLOON_HUGE_ALLOC, BALLOON_HUGE_FAIL, BALLOON_STATS };
extern const char *const balloon_stat_names[BALLOON_STATS];     /* as QMP has them: "stat-swap-in", … */
#define BALLOON_NO_STAT UINT64_MAX

struct balloon_info {
	uint64_t target;        /* bytes of memory the guest is to have */
	uint64_t actual;        /* that it has, as it says */
	bool driver;            /* a driver works with it */
	uint64_t stats[BALLOON_STATS];  /* the guest's last words: bytes and counts; BALLOON_NO_STAT: it did not say */
	int64_t stats_at;       /* wall clock, ns; 0: never */
	uint32_t period;        /* s between questions for statistics; 0: none */
	uint64_t reported;      /* bytes named by free page reporting so far */
};
void balloon_info(struct device *, struct balloon_info *out);
/* The memory the guest is to have, bytes: asks it to give back the rest. *err: ARGS when it is not 1 MiB … all of it. */
bool balloon_set_target(struct device *, uint64_t bytes, GError **err);
/* Seconds between questions for statistics; 0: none. */
void balloon_set_period(struct device *, uint32_t seconds);
/* Runs on main when the guest changed what it has (BALLOON_CHANGE), at most once per change; NULL: nobody. */
void balloon_set_watch(struct device *, void (*fn)(void *arg, uint64_t actual), void *arg);
