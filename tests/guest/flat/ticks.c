/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APIC timer: ticks=N (100) interrupts of period=CYCLES (1000000) bus cycles, idle in between; tells how long. */
#include "flat.h"

void flat_main(void)
{
	uint64_t n = param("ticks", 100), start, end;
	volatile uint64_t *count = &irq_counts[1];

	interrupts_init();
	puts_("ticking\n");
	start = rdtsc();
	lapic_timer(FLAT_VECTOR(1), (uint32_t)param("period", 1000000), true);
	while (*count < n)
		idle();
	end = rdtsc();
	lapic_timer(FLAT_VECTOR(1), 0, false);
	print("ticks %lu in %lu cycles\n", *count, end - start);
	poweroff();
}
