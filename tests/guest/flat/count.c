/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For save and load: keeps values in registers of all kinds (general, MMX and SSE by hand, x87), counts timer ticks, and
 * every ticks=N (50) says a line; exits when a register is not what it was. lines=N (0: for ever).
 */
#include "flat.h"

static void load(const uint64_t *p)
{
	__asm__ volatile("movdqu (%0), %%xmm3\n movdqu 16(%0), %%xmm9\n fninit\n fldpi\n" :: "r"(p) : "memory");
}

static bool same(const uint64_t *p)
{
	uint64_t now[4];
	double pi;

	__asm__ volatile("movdqu %%xmm3, %0\n movdqu %%xmm9, %1\n fstl %2" : "=m"(now[0]), "=m"(now[2]), "=m"(pi) :: "memory");
	return !memcmp(now, p, sizeof(now)) && !memcmp(&pi, &(double){ 3.141592653589793 }, sizeof(pi));
}

void flat_main(void)
{
	static const uint64_t values[4] = { 0x0123456789abcdef, 0xfedcba9876543210, 0x5555aaaa5555aaaa, 0x1111222233334444 };
	uint64_t per_line = param("ticks", 50), lines = param("lines", 0), said = 0;
	volatile uint64_t *count = &irq_counts[1];

	interrupts_init();
	load(values);
	lapic_timer(FLAT_VECTOR(1), 1000000, true);
	for (;;) {
		idle();
		if (!same(values)) {
			puts_("registers lost\n");
			poweroff();
		}
		if (*count / per_line <= said)
			continue;
		said++;
		print("line %lu\n", said);
		if (lines && said == lines)
			poweroff();
	}
}
