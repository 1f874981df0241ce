/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What hv/x86/host.h promises, where KVM has to be asked. */
#include "hv/kvm_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "domain/error.h"

#define API_VERSION 12
#define TEST_PAGES 2
#define TEST_AT 0x1000

static const struct { const char *name, *text; uint32_t cap, least; size_t off; } caps[] = {
#define C(member, number, min, doc) { #number, doc, number, min, offsetof(struct host_info, member) },
	HOST_CAPS(C)
#undef C
};

static bool api_ok(int kvm, GError **err)
{
	int r = kvm_ioctl_num(kvm, KVM_GET_API_VERSION, 0);

	if (r == -ENOTTY)
		return kerr_set(err, KERR_HOST, "the descriptor given as 'kvm' is not /dev/kvm");
	if (r < 0)
		return kerr_errno(err, -r, "ask KVM for its version");
	return r == API_VERSION || kerr_set(err, KERR_HOST, "this host's KVM speaks version %d of its interface; %d is needed", r,
		API_VERSION);
}

bool host_require(int kvm, GError **err)
{
	if (!api_ok(kvm, err))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(caps); i++) {
		if (!caps[i].least || kvm_ioctl_num(kvm, KVM_CHECK_EXTENSION, caps[i].cap) >= (int)caps[i].least)
			continue;
		return kerr_set(err, KERR_HOST, "this host's KVM lacks %s (%s); a Linux kernel of 4.14 or later has it", caps[i].name,
			caps[i].text);
	}
	return true;
}

/* A machine of two pages: POPCNT, HLT in flat 32-bit protected mode at CPL 0. *tsc_khz is what KVM says of its clock. */
static enum host_class run_test(int kvm, uint32_t *tsc_khz)
{
	static const uint8_t code[] = { 0xf3, 0x0f, 0xb8, 0xc0, 0xf4 };
	struct kvm_segment seg = { .limit = 0xffffffff, .selector = 8, .present = 1, .type = 11, .s = 1, .db = 1, .g = 1 };
	struct kvm_userspace_memory_region mem = { .memory_size = TEST_PAGES * 4096 };
	struct kvm_regs regs = { .rip = TEST_AT, .rflags = 2 };
	enum host_class class = HOST_UNKNOWN;
	struct kvm_run *run = MAP_FAILED;
	uint8_t *page = MAP_FAILED;
	struct kvm_sregs sregs;
	int vm, vcpu = -1, size = kvm_ioctl_num(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), khz;

	vm = kvm_ioctl_num(kvm, KVM_CREATE_VM, 0);
	if (vm < 0 || size < (int)sizeof(*run))
		goto out;
	page = mmap(NULL, TEST_PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		goto out;
	memcpy(page + TEST_AT, code, sizeof(code));
	mem.userspace_addr = (uintptr_t)page;
	(void)kvm_ioctl_num(vm, KVM_SET_TSS_ADDR, KVM_TSS_GPA);         /* only old VMX needs it */
	if (kvm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &mem) < 0)
		goto out;
	vcpu = kvm_ioctl_num(vm, KVM_CREATE_VCPU, 0);
	if (vcpu < 0)
		goto out;
	khz = kvm_ioctl_num(vcpu, KVM_GET_TSC_KHZ, 0);
	*tsc_khz = khz > 0 ? (uint32_t)khz : 0;
	run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED || kvm_ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		goto out;
	sregs.cs = seg;
	seg.type = 3;
	seg.selector = 16;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = seg;
	sregs.cr0 = 0x31;
	if (kvm_ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || kvm_ioctl(vcpu, KVM_SET_REGS, &regs) < 0 ||
	    kvm_ioctl(vcpu, KVM_RUN, NULL) < 0)
		goto out;
	if (run->exit_reason == KVM_EXIT_HLT)
		class = HOST_NATIVE;
	else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR && run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		class = HOST_EMULATED;
out:
	if (run != MAP_FAILED)
		munmap(run, (size_t)size);
	if (vcpu >= 0)
		close(vcpu);
	if (vm >= 0)
		close(vm);
	if (page != MAP_FAILED)
		munmap(page, TEST_PAGES * 4096);
	return class;
}

static bool offers_xsave(const struct kvm_cpuid2 *supported)
{
	for (unsigned i = 0; i < supported->nent; i++)
		if (supported->entries[i].function == 1)
			return supported->entries[i].ecx >> 26 & 1;
	return false;
}

bool host_emulates(int kvm, const struct kvm_cpuid2 *supported)
{
	struct host_info cpu = { 0 };
	uint32_t khz;
	bool shown;

	host_cpu(&cpu);
	shown = cpu.vmx || cpu.svm;
	schema_clear(&host_info_schema, &cpu);
	if (!shown)
		return true;
	return !offers_xsave(supported) && __builtin_cpu_supports("avx") && run_test(kvm, &khz) == HOST_EMULATED;
}

bool host_probe(int kvm, struct host_info *info, GError **err)
{
	gint64 start;
	int r;

	if (!api_ok(kvm, err))
		return false;
	info->api = API_VERSION;
	host_cpu(info);
	for (unsigned i = 0; i < G_N_ELEMENTS(caps); i++) {
		r = kvm_ioctl_num(kvm, KVM_CHECK_EXTENSION, caps[i].cap);
		*(uint32_t *)((char *)info + caps[i].off) = r > 0 ? (uint32_t)r : 0;
	}
	start = g_get_monotonic_time();
	info->class = run_test(kvm, &info->tsc_khz);
	info->test_us = (uint32_t)MIN(g_get_monotonic_time() - start, G_MAXUINT32);
	return true;
}
