/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What exits cost, seen from inside: pio=N writes to port=P (0x80), then mmio=N writes to addr=A (0xd0000000), each timed
 * in TSC cycles. Ends with test exit or power off, so that a benchmark can run it to its end.
 */
#include "flat.h"

static void result(const char *what, uint64_t n, uint64_t cycles)
{
	if (n)
		print("%s %lu in %lu cycles, %lu each\n", what, n, cycles, cycles / n);
}

void flat_main(void)
{
	uint64_t pio = param("pio", 10000), mmio = param("mmio", 10000), reads = param("reads", 0), start;
	uint16_t port = (uint16_t)param("port", 0x80);
	volatile uint32_t *addr = (volatile uint32_t *)param("addr", 0xd0000000);

	start = rdtsc();
	for (uint64_t i = 0; i < pio; i++)
		outb(port, (uint8_t)i);
	result("pio writes", pio, rdtsc() - start);
	start = rdtsc();
	for (uint64_t i = 0; i < reads; i++)
		(void)inb(port);
	result("pio reads", reads, rdtsc() - start);
	start = rdtsc();
	for (uint64_t i = 0; i < mmio; i++)
		*addr = (uint32_t)i;
	result("mmio writes", mmio, rdtsc() - start);
	puts_("done\n");
	poweroff();
}
