/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a worker may ask of the kernel, by role of the thread, and why. M: main, V: vCPU, L: I/O loop. Main's filter is the
 * union (threads inherit it, then narrow themselves). Included by lock_gen.c only.
 */
#define M (1u << LOCK_MAIN)
#define V (1u << LOCK_VCPU)
#define L (1u << LOCK_LOOP)
#define ALL (M | V | L)
#define LOCK_PID_PLACEHOLDER 0x5eed0001u        /* replaced by our pid when the filter is loaded */

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)
#define NEW_FLAGS (CLONE_NEWNS | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

static const struct row {
	int nr;
	unsigned roles;
	unsigned args_n;
	struct scmp_arg_cmp args[2];
	const char *why;
} rows[] = {
	/* memory and threads of the C library */
	{ SCMP_SYS(mmap), ALL, 1, { SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) }, "malloc, stacks, RAM, KVM's run page; never executable" },
	{ SCMP_SYS(mprotect), ALL, 1, { SCMP_A2_64(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) }, "malloc's arenas, stack guards; never executable" },
	{ SCMP_SYS(munmap), ALL, 0, {}, "malloc, stacks" },
	{ SCMP_SYS(mremap), ALL, 0, {}, "realloc of large blocks" },
	{ SCMP_SYS(madvise), ALL, 0, {}, "malloc, stacks, huge pages and balloon of guest RAM" },
	{ SCMP_SYS(brk), ALL, 0, {}, "malloc" },
	{ SCMP_SYS(futex), ALL, 0, {}, "locks" },
	{ SCMP_SYS(sched_yield), ALL, 0, {}, "locks" },
	{ SCMP_SYS(set_robust_list), ALL, 0, {}, "a thread's first line" },
	{ SCMP_SYS(rseq), ALL, 0, {}, "a thread's first line" },
	{ SCMP_SYS(exit), ALL, 0, {}, "a thread ends" },
	{ SCMP_SYS(exit_group), ALL, 0, {}, "the worker ends" },
	{ SCMP_SYS(gettid), ALL, 0, {}, "abort, thread names" },
	{ SCMP_SYS(getpid), ALL, 0, {}, "abort" },
	{ SCMP_SYS(tgkill), ALL, 1, { SCMP_A0_64(SCMP_CMP_EQ, LOCK_PID_PLACEHOLDER) }, "kick a vCPU, abort: only ourselves" },
	{ SCMP_SYS(rt_sigreturn), ALL, 0, {}, "kick, fence violation" },
	{ SCMP_SYS(rt_sigprocmask), ALL, 0, {}, "thread start, abort" },
	{ SCMP_SYS(sigaltstack), ALL, 0, {}, "sanitizers' and C library's thread end" },
	{ SCMP_SYS(restart_syscall), ALL, 0, {}, "interrupted waits" },
	{ SCMP_SYS(clock_gettime), ALL, 0, {}, "when the vDSO cannot answer" },
	{ SCMP_SYS(getrandom), ALL, 0, {}, "hash seeds, malloc tags" },
	{ SCMP_SYS(prctl), ALL, 1, { SCMP_A0_64(SCMP_CMP_EQ, PR_SET_NAME) }, "thread names" },
	{ SCMP_SYS(prctl), ALL, 1, { SCMP_A0_64(SCMP_CMP_EQ, PR_SET_SECCOMP) }, "a thread narrows itself" },
	{ SCMP_SYS(rt_sigaction), M, 0, {}, "abort restores the default action" },
	{ SCMP_SYS(clone), M, 2, { SCMP_A0_64(SCMP_CMP_MASKED_EQ, THREAD_FLAGS | NEW_FLAGS, THREAD_FLAGS) }, "threads: vCPUs can be plugged later; never a process or a namespace" },
	{ SCMP_SYS(sched_getaffinity), M, 0, {}, "GLib asks how many processors there are" },

	/* descriptors: what we were handed */
	{ SCMP_SYS(read), ALL, 0, {}, "eventfds, sockets, ptys, images" },
	{ SCMP_SYS(write), ALL, 0, {}, "eventfds, sockets, ptys, logs" },
	{ SCMP_SYS(readv), M | L, 0, {}, "images, taps" },
	{ SCMP_SYS(writev), ALL, 0, {}, "images, taps, messages of assert" },
	{ SCMP_SYS(pread64), M | L, 0, {}, "images, kernels" },
	{ SCMP_SYS(pwrite64), M | L, 0, {}, "images, exit record" },
	{ SCMP_SYS(preadv), M | L, 0, {}, "images" },
	{ SCMP_SYS(pwritev), M | L, 0, {}, "images" },
	{ SCMP_SYS(fsync), M | L, 0, {}, "images, exit record" },
	{ SCMP_SYS(fdatasync), M | L, 0, {}, "images" },
	{ SCMP_SYS(fallocate), M | L, 0, {}, "discard, balloon of shared memory" },
	{ SCMP_SYS(ftruncate), M | L, 0, {}, "console log rotation, growing images" },
	{ SCMP_SYS(copy_file_range), L, 0, {}, "console log rotation" },
	{ SCMP_SYS(sendfile), L, 0, {}, "console log rotation on file systems without copy_file_range" },
	{ SCMP_SYS(lseek), M | L, 0, {}, "sizes, holes" },
	{ SCMP_SYS(newfstatat), M | L, 0, {}, "fstat; the root is empty, so a path leads nowhere" },
	{ SCMP_SYS(fstat), M | L, 0, {}, "sizes and kinds of descriptors" },
	{ SCMP_SYS(fstatfs), M, 0, {}, "which images lie in memory" },
	{ SCMP_SYS(fadvise64), M, 0, {}, "an image opened past the page cache leaves it" },
	{ SCMP_SYS(close), ALL, 0, {}, "descriptors" },
	{ SCMP_SYS(close_range), M, 0, {}, "surplus descriptors" },
	{ SCMP_SYS(fcntl), M | L, 1, { SCMP_A1_64(SCMP_CMP_EQ, F_GETFL) }, "non-blocking descriptors" },
	{ SCMP_SYS(fcntl), M | L, 1, { SCMP_A1_64(SCMP_CMP_EQ, F_SETFL) }, "non-blocking descriptors" },
	{ SCMP_SYS(fcntl), M | L, 1, { SCMP_A1_64(SCMP_CMP_EQ, F_GETFD) }, "close-on-exec" },
	{ SCMP_SYS(fcntl), M | L, 1, { SCMP_A1_64(SCMP_CMP_EQ, F_SETFD) }, "close-on-exec" },
	{ SCMP_SYS(fcntl), M | L, 1, { SCMP_A1_64(SCMP_CMP_EQ, F_DUPFD_CLOEXEC) }, "descriptors in messages" },
	{ SCMP_SYS(eventfd2), M | L, 0, {}, "wake-ups, ioeventfd, irqfd" },
	{ SCMP_SYS(timerfd_create), M | L, 0, {}, "timers" },
	{ SCMP_SYS(timerfd_settime), ALL, 0, {}, "timers; a vCPU may arm one" },
	{ SCMP_SYS(epoll_create1), M, 0, {}, "loops of I/O threads" },
	{ SCMP_SYS(epoll_ctl), M | L, 0, {}, "loops" },
	{ SCMP_SYS(epoll_wait), M | L, 0, {}, "loops" },
	{ SCMP_SYS(epoll_pwait), M | L, 0, {}, "loops" },
	{ SCMP_SYS(epoll_pwait2), M | L, 0, {}, "loops" },
	{ SCMP_SYS(poll), M | L, 0, {}, "GLib's loop" },
	{ SCMP_SYS(ppoll), M | L, 0, {}, "GLib's loop" },
	{ SCMP_SYS(recvmsg), M | L, 0, {}, "control messages and descriptors" },
	{ SCMP_SYS(sendmsg), M | L, 0, {}, "control messages" },
	{ SCMP_SYS(recvfrom), M | L, 0, {}, "consoles" },
	{ SCMP_SYS(sendto), M | L, 0, {}, "consoles" },
	{ SCMP_SYS(accept4), M | L, 0, {}, "listening sockets we were handed" },
	{ SCMP_SYS(shutdown), M | L, 0, {}, "ending a connection" },
	{ SCMP_SYS(getsockopt), M | L, 0, {}, "pending error of a connection" },
	{ SCMP_SYS(io_uring_enter), M | L, 0, {}, "disk I/O on the restricted rings made before the fence" },
	{ SCMP_SYS(io_uring_register), M | L, 0, {}, "new disks into fixed slots; the ring's restrictions allow nothing else" },
	{ SCMP_SYS(ioctl), ALL, 1, { SCMP_A1_64(SCMP_CMP_MASKED_EQ, 0xff00u, 0xae00u) }, "KVM, and nothing but KVM" },
	{ SCMP_SYS(ioctl), M | L, 1, { SCMP_A1_64(SCMP_CMP_EQ, TUNSETOFFLOAD) }, "taps: the guest's driver says which offloads it takes" },
	{ SCMP_SYS(ioctl), M | L, 1, { SCMP_A1_64(SCMP_CMP_EQ, TUNSETQUEUE) }, "taps: queues that the guest does not use must not be given frames" },
};
