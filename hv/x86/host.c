/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The host's processor by CPUID, and the table of what is reported. What KVM says is asked in hv/kvm_host.c. */
#include "hv/x86/host.h"

#include <cpuid.h>
#include <linux/kvm.h>
#include <string.h>

const char *const host_class_names[] = { "unknown", "native", "emulated" };
G_STATIC_ASSERT(G_N_ELEMENTS(host_class_names) == HOST_CLASSES);

static const struct field host_info_fields[] = {
	ENUM(struct host_info, class, NULL, host_class_names, 0,
		"how guest kernel code runs: native (on the processor) or emulated (interpreted by KVM: correct, but slow)"),
	U32(struct host_info, api, NULL, 0, UINT32_MAX, 0, "version of KVM's interface"),
	FLAG(struct host_info, vmx, NULL, 0, "the processor shows Intel's virtualisation"),
	FLAG(struct host_info, svm, NULL, 0, "the processor shows AMD's virtualisation"),
	STR(struct host_info, vendor, NULL, 0, "the processor's maker, as CPUID has it"),
	STR(struct host_info, cpu, NULL, 0, "the processor's name"),
	U32(struct host_info, family, NULL, 0, UINT32_MAX, 0, "the processor's family"),
	U32(struct host_info, model, NULL, 0, UINT32_MAX, 0, "the processor's model"),
	U32(struct host_info, stepping, NULL, 0, UINT32_MAX, 0, "the processor's stepping"),
	U32(struct host_info, tsc_khz, NULL, 0, UINT32_MAX, 0, "frequency of the time stamp counter in kHz"),
	U32(struct host_info, phys_bits, NULL, 0, UINT32_MAX, 0, "width of physical addresses in bits"),
	U32(struct host_info, test_us, NULL, 0, UINT32_MAX, 0, "duration of the test that told the class, in µs"),
#define C(member, cap, least, text) U32(struct host_info, member, NULL, 0, UINT32_MAX, 0, text),
	HOST_CAPS(C)
#undef C
	END
};

const struct schema host_info_schema = {
	.name = "host", .doc = "what this host's KVM can do", .version = 1, .size = sizeof(struct host_info), .fields = host_info_fields,
};

static uint32_t max_leaf(uint32_t base)
{
	uint32_t a = 0, b, c, d;

	__cpuid(base, a, b, c, d);
	return a >= base ? a : base;
}

void host_cpu(struct host_info *info)
{
	char vendor[13] = "", name[49] = "";
	uint32_t a, b, c, d, ext = max_leaf(0x80000000);

	__cpuid(0, a, b, c, d);
	memcpy(vendor, &b, 4);
	memcpy(vendor + 4, &d, 4);
	memcpy(vendor + 8, &c, 4);
	__cpuid(1, a, b, c, d);
	info->vmx = c >> 5 & 1;
	info->stepping = a & 15;
	info->family = a >> 8 & 15;
	info->model = a >> 4 & 15;
	if (info->family == 6 || info->family == 15)
		info->model |= a >> 12 & 0xf0;
	if (info->family == 15)
		info->family += a >> 20 & 0xff;
	if (ext >= 0x80000001) {
		__cpuid(0x80000001, a, b, c, d);
		info->svm = c >> 2 & 1;
	}
	for (unsigned i = 0; ext >= 0x80000004 && i < 3; i++) {
		__cpuid(0x80000002 + i, a, b, c, d);
		memcpy(name + 16 * i, (uint32_t[]){ a, b, c, d }, 16);
	}
	if (ext >= 0x80000008) {
		__cpuid(0x80000008, a, b, c, d);
		info->phys_bits = a & 0xff;
	}
	g_free(info->vendor);
	info->vendor = g_strdup(vendor);
	g_free(info->cpu);
	info->cpu = g_strstrip(g_strdup(name));
}
