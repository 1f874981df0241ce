/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fence. Order matters: namespaces and root while we still may, then the user, then capabilities, then seccomp, which
 * also closes the way back to each of the former.
 */
#include "hv/lock.h"

#include <cap-ng.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include <grp.h>

#include "domain/error.h"
#include "lock_bpf.h"

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)
#define NOFILE_MAX 4096         /* descriptors of the largest machine: 1,024 vCPUs, their run pages, disks with 64 queues */
#define FILTER_MAX 1024
#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1          /* si_code of a filter trap; older C libraries lack it */
#endif

static struct {
	enum fence fence;
	char done[80];
	int last;
	uint64_t violations;
	void (*on_violation)(int);
} lock = { .fence = FENCE_OFF };

static void did(const char *what)
{
	if (*lock.done)
		g_strlcat(lock.done, ",", sizeof lock.done);
	g_strlcat(lock.done, what, sizeof lock.done);
}

const char *lock_state(void)
{
	return lock.done;
}

uint64_t lock_violations(int *last_syscall)
{
	if (last_syscall)
		*last_syscall = __atomic_load_n(&lock.last, __ATOMIC_RELAXED);
	return __atomic_load_n(&lock.violations, __ATOMIC_RELAXED);
}

void lock_on_violation(void (*fn)(int))
{
	lock.on_violation = fn;
}

const char *lock_syscall_name(int nr)
{
	if (nr < 0 || nr >= (int)G_N_ELEMENTS(syscall_names) || !syscall_names[nr])
		return "?";
	return syscall_names[nr];
}

/* SECCOMP_RET_TRAP: the call was not made; give it EPERM and go on. */
static void on_sigsys(int sig, siginfo_t *info, void *ucontext)
{
	ucontext_t *u = ucontext;
	int saved = errno;

	if (info->si_code == SYS_SECCOMP) {
		__atomic_store_n(&lock.last, info->si_syscall, __ATOMIC_RELAXED);
		__atomic_fetch_add(&lock.violations, 1, __ATOMIC_RELAXED);
		u->uc_mcontext.gregs[REG_RAX] = -EPERM;
		if (lock.on_violation)
			lock.on_violation(info->si_syscall);
	}
	errno = saved;
}

static bool load_filter(enum lock_role role)
{
	unsigned n = filters[role][lock.fence].n;
	struct sock_filter f[FILTER_MAX];
	struct sock_fprog prog = { .len = (unsigned short)n, .filter = f };

	g_assert(n <= FILTER_MAX);
	memcpy(f, filters[role][lock.fence].f, n * sizeof f[0]);
	for (unsigned i = 0; i < n; i++)
		if (BPF_CLASS(f[i].code) == BPF_JMP && f[i].k == LOCK_PID_PLACEHOLDER)
			f[i].k = (uint32_t)getpid();
	return !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog);
}

void lock_thread(enum lock_role role)
{
	if (lock.fence != FENCE_OFF)
		g_assert(load_filter(role));
}

static bool write_proc(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	bool ok;

	if (!f)
		return false;
	ok = fputs(text, f) >= 0;
	return !fclose(f) && ok;
}

/* An unprivileged caller becomes root of a user namespace in which it owns nothing of the host. */
static bool enter_user_namespace(GError **err)
{
	g_autofree char *uids = g_strdup_printf("0 %u 1\n", getuid()), *gids = g_strdup_printf("0 %u 1\n", getgid());

	if (unshare(CLONE_NEWUSER))
		return kerr_errno(err, errno, "fence: new user namespace (allow user namespaces, or start kvmd as root)");
	if (!write_proc("/proc/self/setgroups", "deny") || !write_proc("/proc/self/uid_map", uids) || !write_proc("/proc/self/gid_map", gids))
		return kerr_errno(err, errno, "fence: map the user into its namespace");
	did("user");
	return true;
}

/* The new root is an empty read-only tmpfs; the old one is gone from this namespace. */
static bool empty_root(const char *dir, GError **err)
{
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return kerr_errno(err, errno, "fence: make mounts private");
	if (mount("kvmd-vm", dir, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=4k,mode=555"))
		return kerr_errno(err, errno, "fence: mount an empty root on '%s'", dir);
	if (chdir(dir) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
		return kerr_errno(err, errno, "fence: move to the empty root");
	did("root");
	return true;
}

static bool set_user(uid_t uid, gid_t gid, GError **err)
{
	if (!uid)
		return true;
	if (setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		return kerr_errno(err, errno, "fence: become user %u, group %u", uid, gid);
	did("uid");
	return true;
}

/* The bounding set needs a capability to be dropped, so it goes before the user. */
static bool drop_bounds(GError **err)
{
	capng_get_caps_process();
	capng_clear(CAPNG_SELECT_BOUNDS);
	if (capng_apply(CAPNG_SELECT_BOUNDS))
		return kerr_set(err, KERR_HOST, "fence: the capability bounding set cannot be dropped");
	return true;
}

static bool drop_capabilities(GError **err)
{
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return kerr_set(err, KERR_HOST, "fence: capabilities cannot be dropped");
	did("caps");
	return true;
}

static bool set_limits(GError **err)
{
	struct rlimit files = { NOFILE_MAX, NOFILE_MAX }, core = { 0, 0 }, old;

	getrlimit(RLIMIT_NOFILE, &old);
	files.rlim_cur = files.rlim_max = MIN(NOFILE_MAX, old.rlim_max);
	if (setrlimit(RLIMIT_NOFILE, &files) || setrlimit(RLIMIT_CORE, &core))
		return kerr_errno(err, errno, "fence: set limits");
	return true;
}

bool lock_self(const struct lock_options *o, GError **err)
{
	struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_RESTART };

	lock.fence = o->fence;
	if (o->fence == FENCE_OFF)
		return true;
	sigaction(SIGSYS, &sa, NULL);
	if (!set_limits(err))
		return false;
	if (geteuid() != 0 && !enter_user_namespace(err))
		return false;
	if (unshare(NAMESPACES))
		return kerr_errno(err, errno, "fence: new namespaces");
	did("mount,net,ipc,uts");
	if (!empty_root(o->empty ? o->empty : "/proc", err))
		return false;
	if (!drop_bounds(err) || !set_user(o->uid, o->gid, err) || !drop_capabilities(err))
		return false;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return kerr_errno(err, errno, "fence: no new privileges");
	if (!load_filter(LOCK_MAIN))
		return kerr_errno(err, errno, "fence: load the system call filter");
	did("seccomp");
	return true;
}
