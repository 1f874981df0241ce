/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kill-at PID N|TEXT: watches a process from now on and kills it (SIGKILL) when it is about to take its N-th step (0: never), or
 * the first one that has TEXT in its line.
 *
 * A step is a system call that somebody else may see, or by which it learns something: it writes, sends, receives, makes,
 * renames and removes files, opens sockets, locks, asks a driver, makes a process. Between two steps nothing happens that
 * outlives it, so killing it before each of them one after the other is killing it at all instants there are.
 *
 * Prints a line "ready" when it watches all threads, "N NAME WHAT" before each step, "N done" behind it, "killed" in the
 * end. When it is ended itself the process goes on unwatched. Needs root. Threads are counted together, and new processes
 * are not followed.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>
#include <linux/sched.h>

enum what {
	IS_FD,          /* WHAT is the file behind the first argument */
	IS_MESSAGE,     /* the same, and the text in a struct msghdr */
	IS_BYTES,       /* the same, and a buffer's */
	IS_PATH,        /* the first argument */
	IS_PATH_AT,     /* the second */
	IS_OPEN,        /* IS_PATH_AT, if the file may be made */
	IS_LOCK,        /* IS_FD, if it locks */
	IS_CLONE,       /* not a thread */
	IS_ELSE,
};

static const struct { long nr; const char *name; enum what what; } steps[] = {
	{ SYS_sendmsg, "sendmsg", IS_MESSAGE }, { SYS_recvmsg, "recvmsg", IS_FD }, { SYS_recvfrom, "recvfrom", IS_FD },
	{ SYS_sendto, "sendto", IS_BYTES }, { SYS_write, "write", IS_BYTES }, { SYS_pwrite64, "pwrite64", IS_FD },
	{ SYS_writev, "writev", IS_FD }, { SYS_openat, "openat", IS_OPEN }, { SYS_rename, "rename", IS_PATH },
	{ SYS_renameat, "renameat", IS_PATH_AT }, { SYS_renameat2, "renameat2", IS_PATH_AT }, { SYS_unlink, "unlink", IS_PATH },
	{ SYS_unlinkat, "unlinkat", IS_PATH_AT }, { SYS_rmdir, "rmdir", IS_PATH }, { SYS_mkdir, "mkdir", IS_PATH },
	{ SYS_mkdirat, "mkdirat", IS_PATH_AT }, { SYS_symlink, "symlink", IS_PATH }, { SYS_symlinkat, "symlinkat", IS_PATH },
	{ SYS_link, "link", IS_PATH }, { SYS_chmod, "chmod", IS_PATH }, { SYS_chown, "chown", IS_PATH }, { SYS_fchmod, "fchmod", IS_FD },
	{ SYS_fchmodat, "fchmodat", IS_PATH_AT }, { SYS_fchown, "fchown", IS_FD }, { SYS_fchownat, "fchownat", IS_PATH_AT },
	{ SYS_fsync, "fsync", IS_FD }, { SYS_fdatasync, "fdatasync", IS_FD }, { SYS_ftruncate, "ftruncate", IS_FD },
	{ SYS_fallocate, "fallocate", IS_FD }, { SYS_flock, "flock", IS_FD }, { SYS_fcntl, "fcntl", IS_LOCK },
	{ SYS_ioctl, "ioctl", IS_FD }, { SYS_bind, "bind", IS_FD }, { SYS_listen, "listen", IS_FD }, { SYS_connect, "connect", IS_FD },
	{ SYS_shutdown, "shutdown", IS_FD }, { SYS_kill, "kill", IS_ELSE }, { SYS_pidfd_send_signal, "pidfd_send_signal", IS_FD },
	{ SYS_mount, "mount", IS_ELSE }, { SYS_move_mount, "move_mount", IS_ELSE }, { SYS_fsmount, "fsmount", IS_ELSE },
	{ SYS_clone, "clone", IS_CLONE }, { SYS_clone3, "clone3", IS_CLONE }, { SYS_fork, "fork", IS_ELSE }, { SYS_vfork, "vfork", IS_ELSE },
};

static int the_pid;

static size_t peek(uint64_t at, void *to, size_t n)
{
	ssize_t got = process_vm_readv(the_pid, &(struct iovec){ to, n }, 1, &(struct iovec){ (void *)at, n }, 1, 0);

	return got > 0 ? (size_t)got : 0;
}

static void file_of(uint64_t fd, char *text, size_t size)
{
	char path[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", the_pid, (int)fd);
	n = readlink(path, text, size - 1);
	text[n > 0 ? n : 0] = '\0';
}

static void plain(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ')
			*text = ' ';
}

static void string_at(uint64_t at, char *text, size_t size)
{
	for (size_t n = 0; n + 1 < size; n++) {
		if (!peek(at + n, text + n, 1))
			text[n] = '\0';
		if (!text[n])
			return;
	}
	text[size - 1] = '\0';
}

static void message_at(uint64_t at, char *text, size_t size)
{
	struct msghdr m;
	struct iovec v;
	size_t n = 0;

	if (peek(at, &m, sizeof(m)) == sizeof(m) && m.msg_iovlen && peek((uint64_t)m.msg_iov, &v, sizeof(v)) == sizeof(v))
		n = peek((uint64_t)v.iov_base, text, v.iov_len < size - 1 ? v.iov_len : size - 1);
	text[n] = '\0';
}

static bool is_lock(uint64_t cmd)
{
	return cmd == F_OFD_SETLK || cmd == F_OFD_SETLKW || cmd == F_SETLK || cmd == F_SETLKW;
}

static bool is_process(unsigned long nr, uint64_t arg)
{
	uint64_t flags = arg;

	if (nr == SYS_clone3 && peek(arg, &flags, sizeof(flags)) != sizeof(flags))
		return true;
	return !(flags & CLONE_THREAD);
}

/* Whether it is a step; what it is about. */
static bool is_step(const struct ptrace_syscall_info *i, const char **name, char *text, size_t size)
{
	const __u64 *a = i->entry.args;
	char file[256], more[256] = "";

	for (size_t n = 0; n < sizeof(steps) / sizeof(*steps); n++) {
		if (steps[n].nr != (long)i->entry.nr)
			continue;
		*name = steps[n].name;
		*text = '\0';
		switch (steps[n].what) {
		case IS_PATH: string_at(a[0], text, size); break;
		case IS_PATH_AT: string_at(a[1], text, size); break;
		case IS_OPEN:
			if (!(a[2] & (O_CREAT | O_TMPFILE)))
				return false;
			string_at(a[1], text, size);
			break;
		case IS_CLONE:
			if (!is_process(i->entry.nr, a[0]))
				return false;
			break;
		case IS_ELSE: break;
		case IS_LOCK:
			if (!is_lock(a[1]))
				return false;
			/* fall through */
		case IS_FD: case IS_MESSAGE: case IS_BYTES:
			file_of(a[0], file, sizeof(file));
			if (strstr(file, "anon_inode:[event") || a[0] == 2)     /* a thread wakes another one; the log */
				return false;
			if (steps[n].what == IS_MESSAGE)
				message_at(a[1], more, sizeof(more));
			if (steps[n].what == IS_BYTES)
				more[peek(a[1], more, a[2] < sizeof(more) - 1 ? a[2] : sizeof(more) - 1)] = '\0';
			snprintf(text, size, "%s %s", file, more);
			break;
		}
		plain(text);
		return true;
	}
	return false;
}

/* The number of threads, each of which will stop once. */
static unsigned watch_all(void)
{
	unsigned n = 0;
	char path[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", the_pid);
	d = opendir(path);
	while (d && (e = readdir(d)))
		if (*e->d_name != '.') {
			int tid = atoi(e->d_name);

			if (ptrace(PTRACE_SEIZE, tid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)))
				err(1, "watch %d", tid);
			ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
			n++;
		}
	if (!d)
		err(1, "%s", path);
	closedir(d);
	return n;
}

struct thread { pid_t tid; unsigned long step; };
static struct thread threads[256];

static struct thread *thread_of(pid_t tid)
{
	for (size_t i = 0; i < sizeof(threads) / sizeof(*threads); i++)
		if (threads[i].tid == tid || !threads[i].tid) {
			threads[i].tid = tid;
			return &threads[i];
		}
	errx(1, "too many threads");
}

int main(int argc, char **argv)
{
	unsigned long at, n = 0;
	char *rest;
	unsigned coming;
	int st;
	pid_t tid;

	if (argc != 3)
		errx(2, "usage: kill-at PID N|TEXT");
	the_pid = atoi(argv[1]);
	at = strtoul(argv[2], &rest, 10);
	setlinebuf(stdout);
	coming = watch_all();
	while ((tid = waitpid(-1, &st, __WALL)) > 0 || errno == EINTR) {
		struct ptrace_syscall_info i = { 0 };
		char text[600];
		const char *name;
		struct thread *t;
		long sig = 0;

		if (tid < 0)
			continue;
		if (!WIFSTOPPED(st)) {
			if (tid == the_pid) {
				puts("killed");
				return 0;
			}
			thread_of(tid)->tid = -1;
			continue;
		}
		t = thread_of(tid);
		if (WSTOPSIG(st) == (SIGTRAP | 0x80)) {
			ptrace(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof(i), &i);
			if (i.op == PTRACE_SYSCALL_INFO_ENTRY && is_step(&i, &name, text, sizeof(text))) {
				t->step = ++n;
				printf("%lu %s %s\n", n, name, text);
				if (*rest ? strstr(text, argv[2]) != NULL : n == at)
					kill(the_pid, SIGKILL);
			} else if (i.op == PTRACE_SYSCALL_INFO_EXIT && t->step) {
				printf("%lu done\n", t->step);
				t->step = 0;
			}
		} else if (!(st >> 16)) {
			sig = WSTOPSIG(st);
		}
		ptrace(PTRACE_SYSCALL, tid, NULL, (void *)sig);
		if (coming && st >> 16 == PTRACE_EVENT_STOP && !--coming)
			puts("ready");
	}
	return 0;
}
