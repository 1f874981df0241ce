/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Writes one byte as early as it can, then idles: what a start costs. exit=1 on the command line: powers off at once. */
#include "flat.h"

void flat_main(void)
{
	outb(FLAT_COM1, '!');
	if (param("exit", 0))
		poweroff();
	interrupts_init();
	for (;;)
		idle();
}
