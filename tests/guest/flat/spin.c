/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counts for ever without an exit, all processors: pausing, kicking and stopping must work nevertheless. */
#include "flat.h"

static volatile uint64_t counts[FLAT_CPUS];

void flat_ap(void)
{
	for (unsigned n = __atomic_add_fetch(&aps_up, 1, __ATOMIC_SEQ_CST);;)
		counts[n % FLAT_CPUS]++;
}

void flat_main(void)
{
	interrupts_init();
	if (cpus() > 1)
		start_aps();
	puts_("spinning\n");
	for (;;)
		counts[0]++;
}
