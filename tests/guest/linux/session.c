/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * session TTY PROGRAM [ARG…]: PROGRAM leads a session of its own with TTY as controlling terminal and as descriptors
 * 0, 1 and 2, and with no signal ignored.
 *
 * busybox setsid -c almost does it, but init starts its session in the background (so that it can act on signals
 * meanwhile), and a shell makes background jobs ignore SIGINT for good: Ctrl-C would never reach a command.
 */
#include "sys.h"

enum { O_RDWR_ = 2, TIOCSCTTY_ = 0x540e, SIGNALS = 64, SIGKILL_ = 9, SIGSTOP_ = 19, SIGSET_BYTES = 8 };

struct kernel_sigaction { void *handler; unsigned long flags; void *restorer; uint64_t mask; };

static int fail(const char *what)
{
	struct line l = { .len = 0 };

	line_add(&l, "session: ");
	line_add(&l, what);
	line_add(&l, " failed\n");
	line_write(&l, 2);
	return 1;
}

int sys_main(long argc, char **argv)
{
	struct kernel_sigaction dfl = { .handler = NULL };
	char **envp = argv + argc + 1;
	long tty;

	if (argc < 3)
		return fail("usage: session TTY PROGRAM [ARG...]; this");
	for (long sig = 1; sig <= SIGNALS; sig++)
		if (sig != SIGKILL_ && sig != SIGSTOP_)
			(void)sys6(__NR_rt_sigaction, sig, (long)&dfl, 0, SIGSET_BYTES, 0, 0);
	if (sys3(__NR_setsid, 0, 0, 0) < 0)
		return fail("setsid");
	tty = sys3(__NR_open, (long)argv[1], O_RDWR_, 0);
	if (tty < 0)
		return fail(argv[1]);
	/* the open may have done it already; without a terminal of its own the shell says so and goes on */
	(void)sys3(__NR_ioctl, tty, TIOCSCTTY_, 0);
	for (long fd = 0; fd < 3; fd++)
		(void)sys3(__NR_dup2, tty, fd, 0);
	if (tty > 2)
		(void)sys3(__NR_close, tty, 0, 0);
	(void)sys3(__NR_execve, (long)argv[2], (long)&argv[2], (long)envp);
	return fail(argv[2]);
}
