/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading KVM's counters of a machine's vCPU through a descriptor that the machine's process holds. */
#include "daemon/kvm_stats.h"

#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

/* A pipe or a file server's file would hold kvmd up. */
static bool is_kvms(int fd)
{
	char path[32], link[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link));
	return n >= (ssize_t)strlen(KVMSTAT_LINK) && !memcmp(link, KVMSTAT_LINK, strlen(KVMSTAT_LINK));
}

bool kvm_stats_read(int pidfd, int fd, uint64_t out[KVMSTAT_N])
{
	uint8_t buf[KVMSTAT_BYTES];
	int own = pidfd >= 0 && fd >= 0 ? (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0) : -1;
	ssize_t n = -1;

	if (own < 0)
		return false;
	if (is_kvms(own))
		n = pread(own, buf, sizeof(buf), 0);
	close(own);
	return n > 0 && kvmstat_parse(buf, (size_t)n, out);
}
