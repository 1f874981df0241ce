/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Starts a worker. Without a v2 cgroup the child shares our memory until exec (CLONE_VM | CLONE_VFORK, own stack), which
 * takes 0.1 ms; it then makes system calls only. To be born in a v2 group takes clone3, which needs assembly for a shared
 * address space, so that child is a plain copy: 0.3 ms for a kvmd of 20 MiB.
 */
#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "domain/error.h"

#define STACK (64u << 10)
#ifdef __SANITIZE_THREAD__
#define SHARED 0        /* the sanitizer keeps its books in that memory */
#else
#define SHARED CLONE_VM
#endif

struct child {
	const struct spawn *spawn;
	volatile int failed;    /* errno; seen by the parent when memory is shared */
};

/* Only system calls from here: no locks, no allocation. */
static int child_run(void *arg)
{
	struct child *c = arg;
	const struct spawn *s = c->spawn;
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;
	int fd3 = s->fd3;

	for (int sig = 1; sig < NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP && sig != 32 && sig != 33)
			(void)sigaction(sig, &dfl, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
	(void)umask(077);
	if (fd3 < 3 || s->in == 3 || s->out == 3)
		fd3 = fcntl(fd3, F_DUPFD_CLOEXEC, 10);
	int in = s->in < 3 ? fcntl(s->in, F_DUPFD_CLOEXEC, 10) : s->in;
	int out = s->out < 3 ? fcntl(s->out, F_DUPFD_CLOEXEC, 10) : s->out;

	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || (fd3 != 3 && dup2(fd3, 3) < 0) || fcntl(3, F_SETFD, 0) < 0)
		goto fail;
	(void)syscall(SYS_close_range, 4u, ~0u, CLOSE_RANGE_CLOEXEC);   /* all are close-on-exec already: a second bolt */
	execv(s->argv[0], s->argv);
fail:
	c->failed = errno;
	_exit(127);
}

static pid_t born_in_group(struct child *c, int *pidfd)
{
	struct clone_args args = { .flags = CLONE_PIDFD | CLONE_INTO_CGROUP, .pidfd = (uintptr_t)pidfd, .exit_signal = SIGCHLD,
		.cgroup = (uint64_t)c->spawn->cgroup };
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);

	if (!pid)
		child_run(c);
	return pid;
}

bool spawn_process(const struct spawn *s, pid_t *pid, int *pidfd, GError **err)
{
	struct child c = { .spawn = s };
	sigset_t all, before;
	int fd = -1, bad;
	pid_t p = -1;

	if (access(s->argv[0], X_OK) < 0)
		return kerr_errno(err, errno, "run '%s'", s->argv[0]);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);    /* no handler of ours may run in the child */
	if (s->cgroup >= 0)
		p = born_in_group(&c, &fd);
	if (p < 0) {
		char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

		if (stack != MAP_FAILED) {
			p = clone(child_run, stack + STACK, SHARED | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, &c, &fd);
			bad = errno;
			munmap(stack, STACK);
			errno = bad;
		}
	}
	bad = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (p < 0)
		return kerr_errno(err, bad, "start a process");
	if (c.failed) {
		close(fd);
		(void)waitpid(p, NULL, 0);
		return kerr_errno(err, c.failed, "run '%s'", s->argv[0]);
	}
	*pid = p;
	*pidfd = fd;
	return true;
}
