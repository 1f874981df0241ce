/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First touch of memory: stores into each 4 KiB page of mib=N (64) from from=MIB (32) on, and tells how long a page took. */
#include "flat.h"

void flat_main(void)
{
	uint64_t from = param("from", 32) << 20, to = from + (param("mib", 64) << 20), start;

	if (to > memory_size()) {
		puts_("failed: not enough memory\n");
		poweroff();
	}
	puts_("go\n");
	start = rdtsc();
	for (uint64_t at = from; at < to; at += 4096)
		*(volatile uint64_t *)at = at;
	print("pages %lu cycles %lu\ndone\n", (to - from) / 4096, rdtsc() - start);
	for (;;)
		idle();
}
