/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Takes and gives up whatever is plugged, at the registers and at once: vCPUs and PCI devices; nothing else is done with
 * them. It wakes up by its timer, tick=NS (1000000), and counts aloud, "beat N", each beats=N (10) ticks: who reads
 * that sees whether it went on all the time.
 */
#include "flat.h"

enum { CPU_SELECT = 0xaf00, CPU_STATE = 0xaf04, CPU_OST_EVENT = 0xaf08, CPU_OST_STATUS = 0xaf0c };
enum { INSERT = 2, REMOVE = 4, EJECT = 8 };
enum { PCI_UP = 0xae00, PCI_DOWN = 0xae04, PCI_EJECT = 0xae08, PCI_OST_SLOT = 0xae0c, PCI_OST_EVENT = 0xae10, PCI_OST_STATUS = 0xae14 };
enum { INSERTED = 1, TAKEN = 0 };

static uint32_t inl(uint16_t port)
{
	uint32_t v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static void look_at_cpus(void)
{
	for (unsigned slot = 1; slot < FLAT_CPUS; slot++) {
		uint8_t s;

		outl(CPU_SELECT, slot);
		s = inb(CPU_STATE);
		if (!(s & (INSERT | REMOVE)))
			continue;
		outb(CPU_STATE, s & (INSERT | REMOVE));
		if (s & INSERT) {
			outl(CPU_OST_EVENT, INSERTED);
			outl(CPU_OST_STATUS, TAKEN);
		}
		if (s & REMOVE)
			outb(CPU_STATE, EJECT);
	}
}

static void look_at_slots(void)
{
	uint32_t up = inl(PCI_UP), down = inl(PCI_DOWN);

	outl(PCI_UP, up);
	outl(PCI_DOWN, down);
	for (unsigned slot = 0; slot < 32; slot++)
		if (up >> slot & 1) {
			outl(PCI_OST_SLOT, slot);
			outl(PCI_OST_EVENT, INSERTED);
			outl(PCI_OST_STATUS, TAKEN);
		}
	if (down)
		outl(PCI_EJECT, down);
}

void flat_main(void)
{
	unsigned long n = 0, beats = param("beats", 10);

	interrupts_init();
	lapic_timer(FLAT_VECTOR(1), (uint32_t)param("tick", 1000000), true);
	for (;;) {
		if (!(n % beats))
			print("beat %lu\n", n / beats);
		n++;
		idle();
		look_at_slots();
		look_at_cpus();
	}
}
