/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of MSRs: see the header. */
#include "hv/x86/msr.h"

static const struct msr_row rows[] = {
	{ MSR_TSC, MSR_TSC, MSR_KEEP | MSR_LOOSE, "time stamp counter" },
	{ MSR_TSC_ADJUST, MSR_TSC_ADJUST, MSR_KEEP | MSR_LOOSE, "TSC_ADJUST" },
	{ 0x11, 0x12, MSR_ZERO, "kvmclock, old numbers" },
	{ 0x200, 0x20f, MSR_STATE, "MTRR, variable ranges" },
	{ 0x250, 0x250, MSR_STATE, "MTRR, 64 KiB" },
	{ 0x258, 0x259, MSR_STATE, "MTRR, 16 KiB" },
	{ 0x268, 0x26f, MSR_STATE, "MTRR, 4 KiB" },
	{ 0x277, 0x277, MSR_STATE, "PAT" },
	{ 0x2ff, 0x2ff, MSR_STATE, "MTRR, default type" },
	{ 0x10a, 0x10a, MSR_SKIP, "ARCH_CAPABILITIES" },
	{ 0xce, 0xcf, MSR_SKIP, "PLATFORM_INFO, CORE_CAPABILITIES" },
	{ 0x345, 0x345, MSR_SKIP, "PERF_CAPABILITIES" },
	{ 0x480, 0x493, MSR_SKIP, "VMX capabilities" },
	{ 0x140, 0x140, MSR_LOOSE, "MISC_FEATURES_ENABLES" },
	{ 0x9e, 0x9e, MSR_LOOSE, "SMBASE" },
	{ 0x34, 0x34, MSR_SKIP, "SMI count" },
	{ MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, MSR_LATE, "TSC_DEADLINE: after the local APIC" },
	{ MSR_TSC_AUX, MSR_TSC_AUX, MSR_LOOSE, "TSC_AUX" },
	{ 0x40000000, 0x400000ff, MSR_ZERO | MSR_LOOSE, "Hyper-V's" },
	{ 0x4b564d00, 0x4b564dff, MSR_ZERO, "KVM's paravirtual features" },
};

unsigned msr_flags(uint32_t index)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		if (index >= rows[i].first && index <= rows[i].last)
			return rows[i].flags;
	return 0;
}

static bool has(const GArray *list, uint32_t index)
{
	for (unsigned i = 0; i < list->len; i++)
		if (g_array_index(list, uint32_t, i) == index)
			return true;
	return false;
}

static void add(GArray *list, uint32_t index)
{
	if (!has(list, index))
		g_array_append_val(list, index);
}

uint32_t *msr_list(const uint32_t *kvm, unsigned n, unsigned *count)
{
	GArray *list = g_array_new(false, false, sizeof(uint32_t));

	for (unsigned i = 0; i < n; i++)
		if (!(msr_flags(kvm[i]) & (MSR_SKIP | MSR_LATE)))
			add(list, kvm[i]);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
		for (uint32_t m = rows[i].first; rows[i].flags & MSR_STATE && m <= rows[i].last; m++)
			add(list, m);
	for (unsigned i = 0; i < n; i++)
		if ((msr_flags(kvm[i]) & (MSR_SKIP | MSR_LATE)) == MSR_LATE)
			add(list, kvm[i]);
	*count = list->len;
	return (uint32_t *)(void *)g_array_free(list, false);
}
