/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest's CPUID says: the definition's <cpu> (mode, model, features, topology) against what this host can give.
 * Pure but for the CPUID instruction; any thread.
 */
#pragma once
#include <glib.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct machine;

/* What the host offers. */
struct cpuid_env {
	const struct kvm_cpuid2 *supported;     /* KVM_GET_SUPPORTED_CPUID */
	const struct kvm_cpuid2 *host;          /* the processor's own, for emulated hosts; NULL: executed here */
	bool emulated;                          /* KVM emulates guest kernel code: see cpuid_make */
	bool tsc_deadline;                      /* KVM_CAP_TSC_DEADLINE_TIMER: KVM does not list that feature by itself */
};

#define CPUID_ENTRIES_MAX 256u

/*
 * The table for KVM_SET_CPUID2 of the processor with this APIC id. Caller frees (g_free). *err: KERR_HOST names each
 * feature that the host lacks and what to write instead; KERR_ARGS for an unknown model or feature.
 *
 * On a host that emulates guest kernel code, guest programs see the processor's own CPUID and guest kernels see its leaf 7
 * and 0xd and parts of leaf 1, whatever is set here. So what counts as offered there is what the processor has; features
 * whose use needs a hypercall are not offered; and hiding a feature is an attempt: cpuid_hidden() tells.
 */
struct kvm_cpuid2 *cpuid_make(const struct machine *, const struct cpuid_env *, uint32_t apic_id, GError **err);
/* Can this bit be kept from a guest of this host? */
bool cpuid_hidden(const struct cpuid_env *, uint32_t leaf, unsigned reg, unsigned bit);

/* Sockets, dies, cores, threads: as given, or one socket of as many cores as the machine has vCPUs at most. */
struct cpu_layout {
	unsigned sockets, dies, cores, threads;
	unsigned thread_bits, core_bits, die_bits;      /* widths in the APIC id, lowest first */
};
void cpu_layout_init(struct cpu_layout *, const struct machine *);
/* APIC id of vCPU number `index`. */
uint32_t cpu_layout_apic_id(const struct cpu_layout *, unsigned index);

/* --- between cpuid.c and cpuid_model.c --- */
/* The entry, or NULL. */
struct kvm_cpuid_entry2 *cpuid_find(const struct kvm_cpuid2 *, uint32_t leaf, uint32_t subleaf);
uint32_t *cpuid_reg(struct kvm_cpuid_entry2 *, unsigned reg);      /* enum cpuid_reg */
/* Turns a copy of what the host offers into what the definition wants: mode, model, features. */
bool cpuid_model(const struct machine *, const struct cpuid_env *, struct kvm_cpuid2 *, GError **err);
