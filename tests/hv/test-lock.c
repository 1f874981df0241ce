/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each fence proved from inside. Every case forks, fences itself as a worker does, then tries what must not work. The
 * child reports by its exit status; fork, not threads: a fence cannot be taken off again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#include "hv/lock.h"
#include "hv/ring.h"

static struct lock_options options(enum fence fence)
{
	struct lock_options o = { .fence = fence };

	if (geteuid() == 0) {
		o.uid = 710099;
		o.gid = 710099;
	}
	return o;
}

/* May this host make the namespaces at all? Asked in a child. */
static bool can_fence(void)
{
	int st;
	pid_t pid = fork();

	if (!pid) {
		struct lock_options o = options(FENCE_ERRNO);
		GError *err = NULL;

		_exit(lock_self(&o, &err) ? 0 : 1);
	}
	waitpid(pid, &st, 0);
	return WIFEXITED(st) && WEXITSTATUS(st) == 0;
}

#define NEED_FENCE() do { if (!can_fence()) { g_test_skip("this host does not let us make namespaces"); return; } } while (0)

/* Runs fn behind the fence; returns the wait status. */
static int inside(enum fence fence, int (*fn)(void))
{
	int st;
	pid_t pid = fork();

	if (!pid) {
		struct lock_options o = options(fence);
		GError *err = NULL;

		if (!lock_self(&o, &err)) {
			g_printerr("# %s\n", err->message);
			_exit(99);
		}
		_exit(fn());
	}
	waitpid(pid, &st, 0);
	return st;
}

static bool refused(long rc)
{
	return rc == -1 && errno == EPERM;
}

static int try_open(void)
{
	return refused(open("/etc/passwd", O_RDONLY)) && refused(openat(AT_FDCWD, ".", O_RDONLY)) && refused(creat("/x", 0600)) ? 0 : 1;
}
static int try_socket(void)
{
	int pair[2];

	return refused(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) && refused(socket(AF_INET, SOCK_STREAM, 0)) && refused(socket(AF_UNIX, SOCK_STREAM, 0)) && refused(socket(AF_NETLINK, SOCK_RAW, 0)) ? 0 : 1;
}
static int try_connect(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "/run/x" };

	return refused(connect(0, (struct sockaddr *)&a, sizeof a)) && refused(bind(0, (struct sockaddr *)&a, sizeof a)) && refused(listen(0, 1)) ? 0 : 1;
}
static int try_execve(void)
{
	char *argv[] = { (char *)"/bin/true", NULL };

	return refused(execve("/bin/true", argv, argv)) && refused(syscall(SYS_execveat, AT_FDCWD, "/bin/true", argv, argv, 0)) ? 0 : 1;
}
static int try_ptrace(void)
{
	return refused(ptrace(PTRACE_TRACEME, 0, NULL, NULL)) && refused(syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0)) ? 0 : 1;
}
static int try_mount(void)
{
	return refused(mount("none", "/", "tmpfs", 0, NULL)) && refused(umount2("/", 0)) && refused(unshare(CLONE_NEWUSER)) && refused(chroot("/")) ? 0 : 1;
}
static int try_ring(void)
{
	struct io_uring_params p = { 0 };

	return refused(syscall(SYS_io_uring_setup, 8, &p)) ? 0 : 1;
}
static int try_fork(void)
{
	/* glibc's fork is clone without CLONE_THREAD; clone3 is said not to exist */
	long c3 = syscall(SYS_clone3, NULL, 0);

	return c3 == -1 && errno == ENOSYS && refused(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) && refused(syscall(SYS_vfork)) ? 0 : 1;
}
static int try_kill(void)
{
	return refused(kill(getppid(), 0)) && refused(syscall(SYS_tgkill, 1, 1, 0)) && !syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), 0) ? 0 : 1;
}
static int try_exec_memory(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return refused((long)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) &&
		p != MAP_FAILED && refused(mprotect(p, 4096, PROT_READ | PROT_EXEC)) ? 0 : 1;
}
static int try_ioctl(void)
{
	int n;

	return refused(syscall(SYS_ioctl, 0, 0x541b /* FIONREAD */, &n)) && refused(syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x")) ? 0 : 1;
}
static int try_prctl(void)
{
	return refused(prctl(PR_SET_DUMPABLE, 1)) && refused(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 0, 0, 0)) &&
		!prctl(PR_SET_NAME, "ok") ? 0 : 1;
}
static int try_user(void)
{
	return refused(syscall(SYS_setresuid, 0, 0, 0)) && refused(syscall(SYS_setgroups, 0, NULL)) ? 0 : 1;
}

static const struct {
	const char *name;
	int (*fn)(void);
} refusals[] = {
	{ "open", try_open }, { "socket", try_socket }, { "connect", try_connect }, { "execve", try_execve },
	{ "ptrace", try_ptrace }, { "mount", try_mount }, { "ring", try_ring }, { "fork", try_fork }, { "kill", try_kill },
	{ "exec-memory", try_exec_memory }, { "ioctl", try_ioctl }, { "prctl", try_prctl }, { "user", try_user },
};

static void test_refused(gconstpointer data)
{
	int (*fn)(void) = refusals[GPOINTER_TO_UINT(data)].fn;
	int st;

	NEED_FENCE();
	st = inside(FENCE_ERRNO, fn);
	g_assert_true(WIFEXITED(st));
	g_assert_cmpint(WEXITSTATUS(st), ==, 0);
}

static void test_killed(gconstpointer data)
{
	int (*fn)(void) = refusals[GPOINTER_TO_UINT(data)].fn;
	int st;

	NEED_FENCE();
	st = inside(FENCE_KILL, fn);
	g_assert_true(WIFSIGNALED(st));
	g_assert_cmpint(WTERMSIG(st), ==, SIGSYS);
}

/* A refused call is counted, its number kept, and life goes on. */
static int count_and_go_on(void)
{
	int nr = 0;

	if (lock_violations(NULL) != 0)
		return 1;
	for (int i = 0; i < 3; i++)
		if (!refused(socket(AF_INET, SOCK_STREAM, 0)))
			return 2;
	if (lock_violations(&nr) != 3 || nr != SYS_socket || strcmp(lock_syscall_name(nr), "socket"))
		return 3;
	return write(STDERR_FILENO, "", 0) == 0 ? 0 : 4;
}

static void test_counted(void)
{
	int st;

	NEED_FENCE();
	st = inside(FENCE_ERRNO, count_and_go_on);
	g_assert_true(WIFEXITED(st));
	g_assert_cmpint(WEXITSTATUS(st), ==, 0);
}

/* What the kernel says of us from outside, while the child waits. */
static void test_seen_from_outside(void)
{
	int in[2], out[2];
	char path[64], c = 0;
	g_autofree char *status = NULL, *mine = NULL, *its = NULL, *root = NULL;
	pid_t pid;

	NEED_FENCE();
	g_assert_cmpint(pipe(in), ==, 0);
	g_assert_cmpint(pipe(out), ==, 0);
	pid = fork();
	if (!pid) {
		struct lock_options o = options(FENCE_ERRNO);

		close(in[1]);
		if (!lock_self(&o, NULL) || write(out[1], "x", 1) != 1 || read(in[0], &c, 1) < 0)
			_exit(1);
		_exit(0);
	}
	close(in[0]);
	g_assert_cmpint(read(out[0], &c, 1), ==, 1);
	g_snprintf(path, sizeof path, "/proc/%d/status", pid);
	g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
	g_assert_nonnull(strstr(status, "Seccomp:\t2"));
	g_assert_nonnull(strstr(status, "NoNewPrivs:\t1"));
	g_assert_nonnull(strstr(status, "CapEff:\t0000000000000000"));
	g_assert_nonnull(strstr(status, "CapPrm:\t0000000000000000"));
	g_assert_nonnull(strstr(status, "CapInh:\t0000000000000000"));
	if (geteuid() == 0) {
		static const char *const spaces[] = { "mnt", "net", "ipc", "uts" };
		GDir *d;

		g_assert_nonnull(strstr(status, "CapBnd:\t0000000000000000"));
		g_assert_nonnull(strstr(status, "Uid:\t710099\t710099\t710099\t710099"));
		for (unsigned i = 0; i < G_N_ELEMENTS(spaces); i++) {
			g_autofree char *a = g_strdup_printf("/proc/self/ns/%s", spaces[i]), *b = g_strdup_printf("/proc/%d/ns/%s", pid, spaces[i]);
			g_autofree char *la = g_file_read_link(a, NULL), *lb = g_file_read_link(b, NULL);

			g_assert_cmpstr(la, !=, lb);
		}
		g_snprintf(path, sizeof path, "/proc/%d/root/", pid);
		d = g_dir_open(path, 0, NULL);
		g_assert_nonnull(d);
		g_assert_null(g_dir_read_name(d));      /* empty */
		g_dir_close(d);
		g_assert_cmpint(creat("/nowhere/x", 0600), ==, -1);
	}
	close(in[1]);
	waitpid(pid, NULL, 0);
}

/* The ring that was made before: disk operations on registered files go, all else does not. */
static struct ring ring;
static int backing = -1;

static int ring_do(int op, unsigned flags, int fd, void *buf, unsigned len)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring.uring);
	struct io_uring_cqe *cqe;
	int res;

	if (!sqe)
		return -EBUSY;
	memset(sqe, 0, sizeof *sqe);
	sqe->opcode = (uint8_t)op;
	sqe->flags = (uint8_t)flags;
	sqe->fd = fd;
	sqe->addr = (unsigned long)buf;
	sqe->len = len;
	if (io_uring_submit_and_wait(&ring.uring, 1) < 0 || io_uring_peek_cqe(&ring.uring, &cqe) < 0)
		return -EIO;
	res = cqe->res;
	io_uring_cqe_seen(&ring.uring, cqe);
	return res;
}

static int use_ring(void)
{
	char b[4] = "abcd";

	if (ring_set_file(&ring, 0, backing))
		return 1;
	if (ring_do(IORING_OP_WRITE, IOSQE_FIXED_FILE, 0, b, 4) != 4)
		return 2;
	if (ring_do(IORING_OP_WRITE, 0, backing, b, 4) != -EACCES)
		return 3;
	if (ring_do(IORING_OP_OPENAT, IOSQE_FIXED_FILE, 0, b, 0) != -EACCES)
		return 4;
	if (ring_do(IORING_OP_SOCKET, IOSQE_FIXED_FILE, 0, NULL, 0) != -EACCES)
		return 5;
	if (io_uring_register_eventfd(&ring.uring, backing) != -EACCES)
		return 6;
	return 0;
}

static void test_ring(void)
{
	g_autoptr(GError) err = NULL;
	char b[4];
	int st;

	NEED_FENCE();
	if (!ring_init(&ring, 8, 4, &err)) {
		g_test_skip(err->message);
		return;
	}
	backing = memfd_create("disk", MFD_CLOEXEC);
	st = inside(FENCE_ERRNO, use_ring);
	g_assert_true(WIFEXITED(st));
	g_assert_cmpint(WEXITSTATUS(st), ==, 0);
	g_assert_cmpint(pread(backing, b, 4, 0), ==, 4);
	g_assert_cmpmem(b, 4, "abcd", 4);
	ring_finish(&ring);
	close(backing);
}

/* A vCPU's filter is narrower than main's. */
static void *as_vcpu(void *arg)
{
	lock_thread(LOCK_VCPU);
	return (void *)(long)(refused(syscall(SYS_recvmsg, 0, NULL, 0)) && refused(syscall(SYS_accept4, 0, NULL, NULL, 0)) &&
		refused(syscall(SYS_pwrite64, 0, "", 0, 0)) && refused(syscall(SYS_clone, 0, 0, 0, 0, 0)));
}

static int narrow(void)
{
	GThread *t = g_thread_new("vcpu", as_vcpu, NULL);
	bool thread_ok = g_thread_join(t) != NULL;

	/* main itself still may */
	return thread_ok && syscall(SYS_recvmsg, -1, NULL, 0) == -1 && errno == EBADF ? 0 : 1;
}

static void test_roles(void)
{
	int st;

	NEED_FENCE();
	st = inside(FENCE_ERRNO, narrow);
	g_assert_true(WIFEXITED(st));
	g_assert_cmpint(WEXITSTATUS(st), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(refusals); i++) {
		g_autofree char *a = g_strdup_printf("/lock/refused/%s", refusals[i].name), *b = g_strdup_printf("/lock/killed/%s", refusals[i].name);

		g_test_add_data_func(a, GUINT_TO_POINTER(i), test_refused);
		g_test_add_data_func(b, GUINT_TO_POINTER(i), test_killed);
	}
	g_test_add_func("/lock/counted", test_counted);
	g_test_add_func("/lock/seen-from-outside", test_seen_from_outside);
	g_test_add_func("/lock/ring", test_ring);
	g_test_add_func("/lock/roles", test_roles);
	return g_test_run();
}
