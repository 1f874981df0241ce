/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starts the other processors and lets all count in shared memory with locked instructions: rounds=N (100000) each. Says
 * how many came and whether the sum is right. timeout=SECONDS (20).
 */
#include "flat.h"

static volatile uint64_t sum, go, finished;

static void count(void)
{
	uint64_t rounds = param("rounds", 100000);

	while (!go)
		__asm__ volatile("pause");
	for (uint64_t i = 0; i < rounds; i++)
		__atomic_add_fetch(&sum, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
}

void flat_ap(void)
{
	__atomic_add_fetch(&aps_up, 1, __ATOMIC_SEQ_CST);
	count();
}

void flat_main(void)
{
	uint64_t rounds = param("rounds", 100000), n = cpus(), until;

	interrupts_init();
	until = rdtsc() + param("timeout", 20) * tsc_hz();
	start_aps();
	while (aps_up < n - 1 && rdtsc() < until)
		__asm__ volatile("pause");
	print("%u of %lu processors up\n", aps_up + 1, n);
	go = 1;
	count();
	while (finished < aps_up + 1 && rdtsc() < until)
		__asm__ volatile("pause");
	print("sum %lu %s\n", sum, sum == rounds * n ? "right" : "WRONG");
	poweroff();
}
