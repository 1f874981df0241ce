/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tells the host of a panic through pvpanic (event=1: panicked), then stands still. */
#include "flat.h"

void flat_main(void)
{
	interrupts_init();
	puts_("panicking\n");
	outb(0x505, (uint8_t)param("event", 1));
	for (;;)
		idle();
}
