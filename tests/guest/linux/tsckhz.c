/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Prints this host's TSC frequency in kHz, for the guest's tsc_early_khz=. rdtsc is read against CLOCK_MONOTONIC over a
 * fifth of a second; each end is the tightest of many pairs, so that a preemption in between does not count.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct point { uint64_t tsc, ns; };

static struct point point_read(void)
{
	struct point best = { 0, 0 };
	uint64_t width = UINT64_MAX;

	for (int i = 0; i < 200; i++) {
		struct timespec t;
		uint64_t before = __rdtsc(), after;

		clock_gettime(CLOCK_MONOTONIC, &t);
		after = __rdtsc();
		if (after - before < width) {
			width = after - before;
			best.tsc = before + width / 2;
			best.ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
		}
	}
	return best;
}

int main(void)
{
	struct point a = point_read(), b;

	nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
	b = point_read();
	if (b.ns <= a.ns)
		return 1;
	printf("%.0f\n", (double)(b.tsc - a.tsc) * 1e6 / (double)(b.ns - a.ns));
	return 0;
}
