/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * force-syscall PID NR [A B C]: makes a process that waits in a system call make another one, prints what it returned, and
 * lets it go on waiting. For tests of the fence: the process itself would never ask. Needs root.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#define STEPS 100000

static int stop(pid_t pid)
{
	int st;

	if (waitpid(pid, &st, __WALL) < 0 || !WIFSTOPPED(st)) {
		if (WIFSIGNALED(st))
			printf("killed by signal %d\n", WTERMSIG(st));
		exit(WIFSIGNALED(st) ? 0 : 1);
	}
	return WSTOPSIG(st);
}

int main(int argc, char **argv)
{
	struct user_regs_struct was, r;
	pid_t pid;
	int sig = 0;

	if (argc < 3)
		errx(2, "usage: force-syscall PID NR [A B C]");
	pid = atoi(argv[1]);
	if (ptrace(PTRACE_ATTACH, pid, NULL, NULL))
		err(1, "attach %d", pid);
	stop(pid);
	if (ptrace(PTRACE_GETREGS, pid, NULL, &was))
		err(1, "registers");
	if ((ptrace(PTRACE_PEEKTEXT, pid, (void *)(was.rip - 2), NULL) & 0xffff) != 0x050f)
		errx(1, "the process does not wait in a system call");
	r = was;
	r.rip -= 2;
	r.orig_rax = (unsigned long long)-1;    /* not to be restarted */
	r.rax = strtoull(argv[2], NULL, 0);
	r.rdi = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;
	r.rsi = argc > 4 ? strtoull(argv[4], NULL, 0) : 0;
	r.rdx = argc > 5 ? strtoull(argv[5], NULL, 0) : 0;
	if (ptrace(PTRACE_SETREGS, pid, NULL, &r))
		err(1, "registers");
	/* through the refusal's signal handler, until we stand behind the call on the same stack */
	for (int i = 0; i < STEPS; i++) {
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, (void *)(long)sig))
			err(1, "step");
		sig = stop(pid);
		if (sig == SIGTRAP)
			sig = 0;
		if (ptrace(PTRACE_GETREGS, pid, NULL, &r))
			err(1, "registers");
		if (!sig && r.rip == was.rip && r.rsp == was.rsp)
			break;
	}
	printf("%lld\n", (long long)r.rax);
	if (ptrace(PTRACE_SETREGS, pid, NULL, &was) || ptrace(PTRACE_DETACH, pid, NULL, NULL))
		err(1, "let go");
	return 0;
}
