/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waits for the ACPI power button and asks init for a power-off: SIGUSR2 to process 1, as busybox's poweroff does.
 *
 * busybox acpid does the same with three files of configuration and a fork and exec per press; this sleeps in one
 * poll() and costs nothing until then. Ends by itself where there is no event device.
 */
#include <linux/input-event-codes.h>
#include <poll.h>

#include "sys.h"

enum { EVENTS_MAX = 8, INIT = 1, SIGUSR2_NR = 12, O_RDONLY_CLOEXEC = 02000000 };

/* struct input_event as the kernel writes it; <linux/input.h> would bring in libc's time types */
struct event {
	uint64_t sec, usec;
	uint16_t type, code;
	int32_t value;
};

static int devices_open(struct pollfd *fds)
{
	char path[] = "/dev/input/event0";
	int n = 0;

	for (int i = 0; i < EVENTS_MAX; i++) {
		long fd;

		path[sizeof(path) - 2] = (char)('0' + i);
		fd = sys3(__NR_open, (long)path, O_RDONLY_CLOEXEC, 0);
		if (fd >= 0)
			fds[n++] = (struct pollfd){ .fd = (int)fd, .events = POLLIN };
	}
	return n;
}

static int pressed(int fd)
{
	struct event ev[16];
	long got = sys3(__NR_read, fd, (long)ev, sizeof(ev));

	for (long i = 0; i < got / (long)sizeof(ev[0]); i++)
		if (ev[i].type == EV_KEY && ev[i].code == KEY_POWER && ev[i].value == 1)
			return 1;
	return 0;
}

int sys_main(long argc, char **argv)
{
	struct pollfd fds[EVENTS_MAX];
	struct line l = { .len = 0 };
	int n = devices_open(fds);

	(void)argc;
	(void)argv;
	while (n > 0 && sys3(__NR_poll, (long)fds, n, -1) > 0) {
		for (int i = 0; i < n; i++) {
			if (fds[i].revents & (POLLERR | POLLHUP | POLLNVAL))
				fds[i].fd = -1;		/* the device was unplugged */
			else if (fds[i].revents && pressed(fds[i].fd)) {
				line_add(&l, "\r\nkvmd: power button\r\n");
				line_write(&l, 1);
				l.len = 0;
				(void)sys3(__NR_kill, INIT, SIGUSR2_NR, 0);	/* process 1 is always there */
			}
		}
	}
	return 0;
}
