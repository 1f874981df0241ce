/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Build tool: turns lock_rows.h into BPF, one program per role and fence, as C arrays on standard output. */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "hv/lock.h"
#include "hv/lock_rows.h"

static const char *const role_names[LOCK_ROLES] = { "main", "vcpu", "loop" };
static const char *const fence_names[] = { "errno", "kill" };

static void check(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "lock_gen: %s: error %d\n", what, rc);
	exit(1);
}

static void emit(unsigned role, unsigned fence)
{
	/* main's filter is the union: threads inherit it */
	unsigned mask = role == LOCK_MAIN ? ALL : 1u << role;
	scmp_filter_ctx ctx = seccomp_init(fence == FENCE_KILL ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_TRAP);
	char name[] = "/tmp/lock_gen.XXXXXX";
	int fd = mkstemp(name);
	struct sock_filter f;

	check(ctx ? 0 : -1, "seccomp_init");
	check(fd, "temporary file");
	unlink(name);
	check(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2), "binary tree");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].roles & mask)
			check(seccomp_rule_add_array(ctx, SCMP_ACT_ALLOW, rows[i].nr, rows[i].args_n ? 1 : 0, rows[i].args), rows[i].why);
	/* glibc asks clone3 first; told it does not exist it falls back to clone, whose flags can be checked */
	check(seccomp_rule_add(ctx, SCMP_ACT_ERRNO(38), SCMP_SYS(clone3), 0), "clone3");
	check(seccomp_export_bpf(ctx, fd), "export");
	seccomp_release(ctx);
	lseek(fd, 0, SEEK_SET);
	printf("static const struct sock_filter %s_%s[] = {\n", role_names[role], fence_names[fence]);
	while (read(fd, &f, sizeof f) == sizeof f)
		printf("\t{ 0x%04x, %u, %u, 0x%08x },\n", f.code, f.jt, f.jf, f.k);
	printf("};\n");
	close(fd);
}

int main(void)
{
	printf("/* made by hv/lock_gen.c from hv/lock_rows.h */\n#define LOCK_PID_PLACEHOLDER 0x%08xu\n", LOCK_PID_PLACEHOLDER);
	for (unsigned r = 0; r < LOCK_ROLES; r++)
		for (unsigned f = 0; f < 2; f++)
			emit(r, f);
	printf("static const struct { const struct sock_filter *f; unsigned short n; } filters[%u][2] = {\n", LOCK_ROLES);
	for (unsigned r = 0; r < LOCK_ROLES; r++) {
		printf("\t{");
		for (unsigned f = 0; f < 2; f++)
			printf(" { %s_%s, sizeof %s_%s / sizeof(struct sock_filter) },", role_names[r], fence_names[f], role_names[r], fence_names[f]);
		printf(" },\n");
	}
	printf("};\n");
	/* names for logs: every system call this architecture knows */
	printf("static const char *const syscall_names[] = {\n");
	for (int nr = 0; nr < 512; nr++) {
		char *n = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);

		if (n)
			printf("\t[%d] = \"%s\",\n", nr, n);
		free(n);
	}
	printf("};\n");
	return 0;
}
