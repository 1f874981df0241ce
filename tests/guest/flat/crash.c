/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ends badly, by kind=: triple (no IDT, then a fault), hole (executes where no memory is: KVM gives up), ud2 (an exception
 * that the guest reports itself).
 */
#include "flat.h"

static const struct { uint16_t limit; uint64_t base; } __attribute__((packed)) no_idt = { 0, 0 };

void flat_main(void)
{
	interrupts_init();
	print("crashing\n");
	if (param_is("kind", "ud2")) {
		at_level0(k_ud, 0, 0, 0);
	} else if (param_is("kind", "hole")) {
		((void (*)(void))0xd0000000ull)();
	} else {
		at_level0(k_load_idt, (uint64_t)&no_idt, 0, 0);
		__asm__ volatile("ud2");
	}
	puts_("still here\n");
	poweroff();
}
