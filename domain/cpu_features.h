/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The x86 features that libvirt has names for, and where each stands in CPUID (or in an MSR). Pure data. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum cpuid_reg { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX };

struct cpu_feature_row {
	const char *name;               /* libvirt's */
	const char *alias;              /* what the Linux kernel or QEMU calls it, where that differs; NULL */
	bool msr;                       /* a bit of an MSR, else of CPUID */
	bool host_only;                 /* describes the host's virtualisation or monitoring: not offered to guests by itself */
	uint32_t leaf;                  /* CPUID leaf, or the MSR's number */
	uint32_t subleaf;
	uint8_t reg;                    /* enum cpuid_reg (msr: CPUID_EAX low, CPUID_EDX high half) */
	uint8_t bit;                    /* 0..31 within that half */
};

extern const struct cpu_feature_row cpu_feature_rows[];
extern const unsigned cpu_feature_rows_n;

/* By name or alias; NULL when there is none. */
const struct cpu_feature_row *cpu_feature_find(const char *name);
/* The nearest name, for "did you mean"; NULL when nothing is near. */
const char *cpu_feature_near(const char *name);
