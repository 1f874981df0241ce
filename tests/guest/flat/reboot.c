/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Resets the machine times=N (2) times by way= reset (ACPI's register), i8042 or triple, then powers off. It counts in
 * memory that a reset keeps and that no loader touches.
 */
#include "flat.h"

#define MAGIC 0x6b766d6474736574ull

static const struct { uint16_t limit; uint64_t base; } __attribute__((packed)) no_idt = { 0, 0 };

void flat_main(void)
{
	volatile uint64_t *kept = (volatile uint64_t *)0x90000;
	uint64_t times = param("times", 2);

	if (kept[0] != MAGIC) {
		kept[0] = MAGIC;
		kept[1] = 0;
	}
	kept[1]++;
	print("start %lu\n", kept[1]);
	if (kept[1] > times) {
		kept[0] = 0;
		poweroff();
	}
	interrupts_init();
	if (param_is("way", "i8042")) {
		outb(0x64, 0xfe);
	} else if (param_is("way", "triple")) {
		at_level0(k_load_idt, (uint64_t)&no_idt, 0, 0);
		__asm__ volatile("ud2");
	}
	reset();
}
