/* SPDX-License-Identifier: GPL-2.0-or-later */
/* KVM's counters: the kernel's own file where there is KVM, made-up ones, and any bytes. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "domain/kvmstat.h"
#include "domain/statpage.h"

#define NAME 32

struct made { struct kvm_stats_header h; struct { struct kvm_stats_desc d; char name[NAME]; } rows[3]; uint64_t data[3]; };

static struct made make(void)
{
	struct made m = { .h = { .name_size = NAME, .num_desc = 3, .desc_offset = offsetof(struct made, rows), .data_offset = offsetof(struct made, data) },
		.data = { 7, 8, 9 } };
	static const char *const names[] = { "halt_exits", "halt_wait_ns", "something_else" };

	for (unsigned i = 0; i < 3; i++) {
		m.rows[i].d.size = 1;
		m.rows[i].d.offset = i * 8;
		memcpy((uint8_t *)&m.rows[i] + sizeof(struct kvm_stats_desc), names[i], strlen(names[i]) + 1);
	}
	return m;
}

static void test_made(void)
{
	struct made m = make();
	uint64_t out[KVMSTAT_N];

	g_assert_true(kvmstat_parse((const uint8_t *)&m, sizeof(m), out));
	g_assert_cmpuint(out[KVMSTAT_HALT], ==, 7);
	g_assert_cmpuint(out[KVMSTAT_HALT_WAIT], ==, 8);
	g_assert_true(out[KVMSTAT_EXITS] == STAT_UNKNOWN);
	/* cut: what is not there is unknown */
	for (size_t len = 0; len < sizeof(m); len++) {
		g_autofree uint8_t *copy = g_memdup2(&m, len);

		if (kvmstat_parse(copy, len, out))
			g_assert_true(out[KVMSTAT_HALT_WAIT] == STAT_UNKNOWN || len >= sizeof(m) - 8);
	}
	/* a histogram or a level of that name is not what is meant */
	m.rows[0].d.size = 2;
	m.rows[1].d.flags = KVM_STATS_TYPE_INSTANT;
	g_assert_true(kvmstat_parse((const uint8_t *)&m, sizeof(m), out));
	g_assert_true(out[KVMSTAT_HALT] == STAT_UNKNOWN && out[KVMSTAT_HALT_WAIT] == STAT_UNKNOWN);
	m.h.name_size = 0;
	g_assert_false(kvmstat_parse((const uint8_t *)&m, sizeof(m), out));
	m.h.name_size = UINT32_MAX;
	g_assert_false(kvmstat_parse((const uint8_t *)&m, sizeof(m), out));
}

static void test_any(void)
{
	uint64_t out[KVMSTAT_N];

	for (unsigned i = 0; i < 200000; i++) {
		struct made m = make();
		g_autofree uint8_t *copy = NULL;
		size_t len = (size_t)g_test_rand_int_range(0, sizeof(m) + 1);

		for (int n = g_test_rand_int_range(0, 4); n > 0; n--)
			((uint8_t *)&m)[g_test_rand_int_range(0, sizeof(m))] = (uint8_t)g_test_rand_int();
		copy = g_memdup2(&m, len);
		(void)kvmstat_parse(copy, len, out);
	}
}

static void test_kernel(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);
	int vcpu = vm < 0 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0), fd = vcpu < 0 ? -1 : ioctl(vcpu, KVM_GET_STATS_FD, NULL);
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd), *link = g_file_read_link(path, NULL);
	uint8_t buf[KVMSTAT_BYTES];
	uint64_t out[KVMSTAT_N];
	ssize_t n;

	if (fd < 0) {
		g_test_skip("no KVM with statistics");
		return;
	}
	n = pread(fd, buf, sizeof(buf), 0);
	g_assert_true(n > 0 && g_str_has_prefix(link, KVMSTAT_LINK));
	g_assert_true(kvmstat_parse(buf, (size_t)n, out));
	for (unsigned i = 0; i < KVMSTAT_N; i++)
		if (out[i] == STAT_UNKNOWN)
			g_test_message("this kernel lacks %s", kvmstat_rows[i].name);
	g_assert_cmpuint(out[KVMSTAT_HALT_WAIT], ==, 0);
	g_assert_cmpuint(out[KVMSTAT_EXITS], ==, 0);
	close(fd);
	close(vcpu);
	close(vm);
	close(kvm);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/kvmstat/made", test_made);
	g_test_add_func("/kvmstat/any", test_any);
	g_test_add_func("/kvmstat/kernel", test_kernel);
	return g_test_run();
}
