/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Answers to vCPU hot-plug without ACPI, at the registers, each slot in its own way:
 *   1  is taken; refuses to go: busy
 *   2  is refused
 *   3  is looked at, and that is all
 *   4  is taken after a long while, with signs of progress; goes the same way
 */
#include "flat.h"

enum { SELECT = 0xaf00, STATE = 0xaf04, OST_EVENT = 0xaf08, OST_STATUS = 0xaf0c };
enum { INSERT = 2, REMOVE = 4, EJECT = 8 };
enum { PROGRESS_INSERT = 0x80, PROGRESS_EJECT = 0x84, BUSY = 0x82, REFUSED = 1 };

static void say(unsigned slot, uint32_t event, uint32_t status)
{
	outl(SELECT, slot);
	outl(OST_EVENT, event);
	outl(OST_STATUS, status);
}

static void take_time(unsigned slot, uint32_t event, uint32_t status)
{
	uint64_t second = param("tsc", 2600000000);

	for (unsigned i = 0; i < 6; i++) {
		say(slot, event, status);
		for (uint64_t end = rdtsc() + second / 2; rdtsc() < end;)
			;
	}
}

static void inserted(unsigned slot)
{
	if (slot == 4)
		take_time(slot, 0x200, PROGRESS_INSERT);
	if (slot != 3)
		say(slot, 1, slot == 2 ? REFUSED : 0);
}

static void wanted(unsigned slot)
{
	if (slot == 1)
		say(slot, 3, BUSY);
	if (slot == 2 || slot == 3)
		outb(STATE, EJECT);
	if (slot != 4)
		return;
	take_time(slot, 3, PROGRESS_EJECT);
	outb(STATE, EJECT);
	say(slot, 3, 0);
}

void flat_main(void)
{
	puts_("ready\n");
	for (;;)
		for (unsigned slot = 1; slot < 5; slot++) {
			uint8_t s;

			outl(SELECT, slot);
			s = inb(STATE);
			outb(STATE, s & (INSERT | REMOVE));
			if (s & INSERT)
				inserted(slot);
			if (s & REMOVE)
				wanted(slot);
		}
}
