/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Greets, then answers lines typed at it. timeout=SECONDS (120) without input powers off; timeout=0: never. */
#include "flat.h"

static const char help[] = "commands: quit, reboot, mem, cpus, help; anything else comes back\n";

static void answer(const char *line)
{
	if (!memcmp(line, "quit", 5)) {
		puts_("bye\n");
		poweroff();
	} else if (!memcmp(line, "reboot", 7)) {
		reset();
	} else if (!memcmp(line, "mem", 4)) {
		print("%lu KiB\n", memory_size() >> 10);
	} else if (!memcmp(line, "cpus", 5)) {
		print("%u\n", cpus());
	} else if (!memcmp(line, "help", 5)) {
		puts_(help);
	} else {
		print("%s\n", line);
	}
}

void flat_main(void)
{
	uint64_t seconds = param("timeout", 120), hz, until = 0;
	char line[80];
	unsigned n = 0;

	print("Hello from kvmd's test guest: %lu MiB of memory, %u processor(s).\n", memory_size() >> 20, cpus());
	interrupts_init();
	console_input();
	puts_(help);
	puts_("> ");
	hz = tsc_hz();
	lapic_timer(FLAT_VECTOR(0), 1000000000, true);  /* once a second or so, to look at the time */
	if (seconds)
		until = rdtsc() + seconds * hz;
	for (;;) {
		int c = getc_(until);

		if (c < 0) {
			print("\nno input for %lu s\n", seconds);
			poweroff();
		}
		if (seconds)
			until = rdtsc() + seconds * hz;
		if (c == '\r' || c == '\n') {
			puts_("\r\n");
			line[n] = 0;
			if (n)
				answer(line);
			n = 0;
			puts_("> ");
		} else if ((c == 8 || c == 127) && n) {
			n--;
			puts_("\b \b");
		} else if (c >= ' ' && c < 127 && n < sizeof(line) - 1) {
			char echo[2] = { (char)c, 0 };

			line[n++] = (char)c;
			puts_(echo);
		}
	}
}
