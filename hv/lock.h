/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The worker's fence. lock_self() runs before the worker reads a byte that anybody else wrote: new namespaces, an empty
 * read-only root, its own user, no capabilities, no new privileges, no core dumps, and a seccomp filter. From then on it
 * holds nothing but descriptors. Threads narrow themselves further with lock_thread() on their first line.
 *
 * The filters are rows {system call, roles, arguments, why} in lock_rows.h, turned into BPF at build time by lock_gen.c, so
 * that a start costs one prctl. A call outside the rows fails with EPERM, is counted and logged (FENCE_ERRNO), or ends
 * the process (FENCE_KILL).
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum lock_role { LOCK_MAIN, LOCK_VCPU, LOCK_LOOP, LOCK_ROLES };
enum fence { FENCE_ERRNO, FENCE_KILL, FENCE_OFF /* for debuggers: namespaces and user as well stay */ };

struct lock_options {
	enum fence fence;
	uid_t uid;              /* 0: keep */
	gid_t gid;
	const char *empty;      /* an empty folder to become the root; NULL: "/proc" serves as the mount point */
};

/* One thread, first thing in main. What cannot be had (an unprivileged caller without user namespaces) is an error:
 * nothing is skipped silently; lock_state() tells what was done. */
bool lock_self(const struct lock_options *, GError **err);
/* Narrows the calling thread to its role; aborts the process when the kernel refuses, for a thread must not run unfenced. */
void lock_thread(enum lock_role);
/* "user,mount,net,ipc,uts,root,uid,caps,seccomp": what lock_self did, for query-status and tests. */
const char *lock_state(void);

/* Violations so far: total, and the number of the last system call. Any thread. */
uint64_t lock_violations(int *last_syscall);
/* Called from the signal handler of a violation: must be async-signal-safe. Set before lock_self. */
void lock_on_violation(void (*fn)(int syscall));
/* Name of a system call number, for logs; "?" when it is not one of the table's. */
const char *lock_syscall_name(int nr);
