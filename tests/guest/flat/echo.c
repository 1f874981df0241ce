/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sends back each byte that comes, by the serial port's interrupt; ends at Ctrl-D. */
#include "flat.h"

void flat_main(void)
{
	interrupts_init();
	console_input();
	puts_("ready\n");
	for (;;) {
		int c = getc_(0);

		if (c == 4)
			poweroff();
		outb(FLAT_COM1, (uint8_t)c);
	}
}
