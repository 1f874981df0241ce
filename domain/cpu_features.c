/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The x86 features by register, in the order of their bits. Names are libvirt's where it has one,
 * else the kernel's or QEMU's; the second name is accepted too. HOST: describes the host's own
 * power management, monitoring or encryption, and is never offered to a guest by itself.
 */
#include "domain/cpu_features.h"

#include <string.h>

#include "domain/field.h"

#define BIT(leaf, subleaf, reg, bit, name, alias) { name, alias, false, false, leaf, subleaf, CPUID_##reg, bit }
#define HOST(leaf, subleaf, reg, bit, name, alias) { name, alias, false, true, leaf, subleaf, CPUID_##reg, bit }
#define MSR(index, bit, name, alias) { name, alias, true, false, index, 0, CPUID_EAX, bit }

const struct cpu_feature_row cpu_feature_rows[] = {
	/* 0x1.0 ecx */
	BIT(0x1, 0x0, ECX, 0, "pni", "sse3"), BIT(0x1, 0x0, ECX, 1, "pclmuldq", "pclmulqdq"),
	BIT(0x1, 0x0, ECX, 2, "dtes64", NULL), BIT(0x1, 0x0, ECX, 3, "monitor", NULL),
	BIT(0x1, 0x0, ECX, 4, "ds_cpl", "ds-cpl"), BIT(0x1, 0x0, ECX, 5, "vmx", NULL),
	BIT(0x1, 0x0, ECX, 6, "smx", NULL), BIT(0x1, 0x0, ECX, 7, "est", NULL), BIT(0x1, 0x0, ECX, 8, "tm2", NULL),
	BIT(0x1, 0x0, ECX, 9, "ssse3", NULL), BIT(0x1, 0x0, ECX, 10, "cid", "cntxt-id"),
	BIT(0x1, 0x0, ECX, 11, "sdbg", NULL), BIT(0x1, 0x0, ECX, 12, "fma", NULL),
	BIT(0x1, 0x0, ECX, 13, "cx16", "cmpxchg16b"), BIT(0x1, 0x0, ECX, 14, "xtpr", NULL),
	BIT(0x1, 0x0, ECX, 15, "pdcm", NULL), BIT(0x1, 0x0, ECX, 17, "pcid", NULL),
	BIT(0x1, 0x0, ECX, 18, "dca", NULL), BIT(0x1, 0x0, ECX, 19, "sse4.1", "sse4_1"),
	BIT(0x1, 0x0, ECX, 20, "sse4.2", "sse4_2"), BIT(0x1, 0x0, ECX, 21, "x2apic", NULL),
	BIT(0x1, 0x0, ECX, 22, "movbe", NULL), BIT(0x1, 0x0, ECX, 23, "popcnt", NULL),
	BIT(0x1, 0x0, ECX, 24, "tsc-deadline", "tsc_deadline_timer"), BIT(0x1, 0x0, ECX, 25, "aes", NULL),
	BIT(0x1, 0x0, ECX, 26, "xsave", NULL), HOST(0x1, 0x0, ECX, 27, "osxsave", NULL),
	BIT(0x1, 0x0, ECX, 28, "avx", NULL), BIT(0x1, 0x0, ECX, 29, "f16c", NULL),
	BIT(0x1, 0x0, ECX, 30, "rdrand", NULL), BIT(0x1, 0x0, ECX, 31, "hypervisor", NULL),
	/* 0x1.0 edx */
	BIT(0x1, 0x0, EDX, 0, "fpu", NULL), BIT(0x1, 0x0, EDX, 1, "vme", NULL), BIT(0x1, 0x0, EDX, 2, "de", NULL),
	BIT(0x1, 0x0, EDX, 3, "pse", NULL), BIT(0x1, 0x0, EDX, 4, "tsc", NULL), BIT(0x1, 0x0, EDX, 5, "msr", NULL),
	BIT(0x1, 0x0, EDX, 6, "pae", NULL), BIT(0x1, 0x0, EDX, 7, "mce", NULL),
	BIT(0x1, 0x0, EDX, 8, "cx8", "cmpxchg8b"), BIT(0x1, 0x0, EDX, 9, "apic", NULL),
	BIT(0x1, 0x0, EDX, 11, "sep", NULL), BIT(0x1, 0x0, EDX, 12, "mtrr", NULL),
	BIT(0x1, 0x0, EDX, 13, "pge", NULL), BIT(0x1, 0x0, EDX, 14, "mca", NULL),
	BIT(0x1, 0x0, EDX, 15, "cmov", NULL), BIT(0x1, 0x0, EDX, 16, "pat", NULL),
	BIT(0x1, 0x0, EDX, 17, "pse36", NULL), BIT(0x1, 0x0, EDX, 18, "pn", NULL),
	BIT(0x1, 0x0, EDX, 19, "clflush", "clfsh"), BIT(0x1, 0x0, EDX, 21, "ds", NULL),
	BIT(0x1, 0x0, EDX, 22, "acpi", NULL), BIT(0x1, 0x0, EDX, 23, "mmx", NULL),
	BIT(0x1, 0x0, EDX, 24, "fxsr", NULL), BIT(0x1, 0x0, EDX, 25, "sse", NULL),
	BIT(0x1, 0x0, EDX, 26, "sse2", NULL), BIT(0x1, 0x0, EDX, 27, "ss", NULL), BIT(0x1, 0x0, EDX, 28, "ht", NULL),
	BIT(0x1, 0x0, EDX, 29, "tm", NULL), BIT(0x1, 0x0, EDX, 30, "ia64", NULL), BIT(0x1, 0x0, EDX, 31, "pbe", NULL),
	/* 0x6.0 eax */
	HOST(0x6, 0x0, EAX, 0, "dtherm", NULL), HOST(0x6, 0x0, EAX, 1, "turbo-boost", NULL),
	BIT(0x6, 0x0, EAX, 2, "arat", NULL), HOST(0x6, 0x0, EAX, 4, "pln", NULL), HOST(0x6, 0x0, EAX, 6, "pts", NULL),
	HOST(0x6, 0x0, EAX, 7, "hwp", NULL),
	/* 0x6.0 ecx */
	HOST(0x6, 0x0, ECX, 0, "aperfmperf", NULL), HOST(0x6, 0x0, ECX, 3, "epb", NULL),
	/* 0x7.0 ebx */
	BIT(0x7, 0x0, EBX, 0, "fsgsbase", NULL), BIT(0x7, 0x0, EBX, 1, "tsc_adjust", "tsc-adjust"),
	BIT(0x7, 0x0, EBX, 2, "sgx", NULL), BIT(0x7, 0x0, EBX, 3, "bmi1", NULL), BIT(0x7, 0x0, EBX, 4, "hle", NULL),
	BIT(0x7, 0x0, EBX, 5, "avx2", NULL), BIT(0x7, 0x0, EBX, 6, "fdp-excptn-only", NULL),
	BIT(0x7, 0x0, EBX, 7, "smep", NULL), BIT(0x7, 0x0, EBX, 8, "bmi2", NULL), BIT(0x7, 0x0, EBX, 9, "erms", NULL),
	BIT(0x7, 0x0, EBX, 10, "invpcid", NULL), BIT(0x7, 0x0, EBX, 11, "rtm", NULL),
	HOST(0x7, 0x0, EBX, 12, "cmt", "cqm"), BIT(0x7, 0x0, EBX, 13, "zero-fcs-fds", NULL),
	BIT(0x7, 0x0, EBX, 14, "mpx", NULL), HOST(0x7, 0x0, EBX, 15, "rdt-a", NULL),
	BIT(0x7, 0x0, EBX, 16, "avx512f", NULL), BIT(0x7, 0x0, EBX, 17, "avx512dq", NULL),
	BIT(0x7, 0x0, EBX, 18, "rdseed", NULL), BIT(0x7, 0x0, EBX, 19, "adx", NULL),
	BIT(0x7, 0x0, EBX, 20, "smap", NULL), BIT(0x7, 0x0, EBX, 21, "avx512ifma", NULL),
	BIT(0x7, 0x0, EBX, 22, "pcommit", NULL), BIT(0x7, 0x0, EBX, 23, "clflushopt", NULL),
	BIT(0x7, 0x0, EBX, 24, "clwb", NULL), BIT(0x7, 0x0, EBX, 25, "intel-pt", "intel_pt"),
	BIT(0x7, 0x0, EBX, 26, "avx512pf", NULL), BIT(0x7, 0x0, EBX, 27, "avx512er", NULL),
	BIT(0x7, 0x0, EBX, 28, "avx512cd", NULL), BIT(0x7, 0x0, EBX, 29, "sha-ni", "sha_ni"),
	BIT(0x7, 0x0, EBX, 30, "avx512bw", NULL), BIT(0x7, 0x0, EBX, 31, "avx512vl", NULL),
	/* 0x7.0 ecx */
	BIT(0x7, 0x0, ECX, 1, "avx512vbmi", NULL), BIT(0x7, 0x0, ECX, 2, "umip", NULL),
	BIT(0x7, 0x0, ECX, 3, "pku", NULL), HOST(0x7, 0x0, ECX, 4, "ospke", NULL),
	BIT(0x7, 0x0, ECX, 5, "waitpkg", NULL), BIT(0x7, 0x0, ECX, 6, "avx512vbmi2", "avx512_vbmi2"),
	BIT(0x7, 0x0, ECX, 7, "cet-ss", NULL), BIT(0x7, 0x0, ECX, 8, "gfni", NULL),
	BIT(0x7, 0x0, ECX, 9, "vaes", NULL), BIT(0x7, 0x0, ECX, 10, "vpclmulqdq", NULL),
	BIT(0x7, 0x0, ECX, 11, "avx512vnni", "avx512_vnni"), BIT(0x7, 0x0, ECX, 12, "avx512bitalg", "avx512_bitalg"),
	HOST(0x7, 0x0, ECX, 13, "tme", NULL), BIT(0x7, 0x0, ECX, 14, "avx512-vpopcntdq", "avx512_vpopcntdq"),
	BIT(0x7, 0x0, ECX, 16, "la57", NULL), BIT(0x7, 0x0, ECX, 22, "rdpid", NULL),
	BIT(0x7, 0x0, ECX, 23, "kl", NULL), BIT(0x7, 0x0, ECX, 24, "bus-lock-detect", "bus_lock_detect"),
	BIT(0x7, 0x0, ECX, 25, "cldemote", NULL), BIT(0x7, 0x0, ECX, 27, "movdiri", NULL),
	BIT(0x7, 0x0, ECX, 28, "movdir64b", NULL), BIT(0x7, 0x0, ECX, 29, "enqcmd", NULL),
	BIT(0x7, 0x0, ECX, 30, "sgxlc", NULL), BIT(0x7, 0x0, ECX, 31, "pks", NULL),
	/* 0x7.0 edx */
	BIT(0x7, 0x0, EDX, 2, "avx512-4vnniw", "avx512_4vnniw"),
	BIT(0x7, 0x0, EDX, 3, "avx512-4fmaps", "avx512_4fmaps"), BIT(0x7, 0x0, EDX, 4, "fsrm", NULL),
	BIT(0x7, 0x0, EDX, 5, "uintr", NULL), BIT(0x7, 0x0, EDX, 8, "avx512-vp2intersect", "avx512_vp2intersect"),
	BIT(0x7, 0x0, EDX, 9, "srbds-ctrl", NULL), BIT(0x7, 0x0, EDX, 10, "md-clear", "md_clear"),
	BIT(0x7, 0x0, EDX, 11, "rtm-always-abort", NULL), BIT(0x7, 0x0, EDX, 14, "serialize", NULL),
	BIT(0x7, 0x0, EDX, 15, "hybrid", NULL), BIT(0x7, 0x0, EDX, 16, "tsx-ldtrk", "tsxldtrk"),
	BIT(0x7, 0x0, EDX, 18, "pconfig", NULL), BIT(0x7, 0x0, EDX, 19, "arch-lbr", NULL),
	BIT(0x7, 0x0, EDX, 20, "cet-ibt", NULL), BIT(0x7, 0x0, EDX, 22, "amx-bf16", "amx_bf16"),
	BIT(0x7, 0x0, EDX, 23, "avx512-fp16", "avx512_fp16"), BIT(0x7, 0x0, EDX, 24, "amx-tile", "amx_tile"),
	BIT(0x7, 0x0, EDX, 25, "amx-int8", "amx_int8"), BIT(0x7, 0x0, EDX, 26, "spec-ctrl", "ibrs_ibpb"),
	BIT(0x7, 0x0, EDX, 27, "stibp", NULL), BIT(0x7, 0x0, EDX, 28, "flush-l1d", NULL),
	BIT(0x7, 0x0, EDX, 29, "arch-capabilities", "arch_capabilities"),
	BIT(0x7, 0x0, EDX, 30, "core-capability", "core_capabilities"), BIT(0x7, 0x0, EDX, 31, "ssbd", NULL),
	/* 0x7.1 eax */
	BIT(0x7, 0x1, EAX, 3, "rao-int", NULL), BIT(0x7, 0x1, EAX, 4, "avx-vnni", "avx_vnni"),
	BIT(0x7, 0x1, EAX, 5, "avx512-bf16", "avx512_bf16"), BIT(0x7, 0x1, EAX, 6, "lass", NULL),
	BIT(0x7, 0x1, EAX, 7, "cmpccxadd", NULL), BIT(0x7, 0x1, EAX, 10, "fzrm", NULL),
	BIT(0x7, 0x1, EAX, 11, "fsrs", NULL), BIT(0x7, 0x1, EAX, 12, "fsrc", NULL),
	BIT(0x7, 0x1, EAX, 17, "fred", NULL), BIT(0x7, 0x1, EAX, 18, "lkgs", NULL),
	BIT(0x7, 0x1, EAX, 19, "wrmsrns", NULL), BIT(0x7, 0x1, EAX, 21, "amx-fp16", NULL),
	BIT(0x7, 0x1, EAX, 22, "hreset", NULL), BIT(0x7, 0x1, EAX, 23, "avx-ifma", NULL),
	BIT(0x7, 0x1, EAX, 26, "lam", NULL),
	/* 0x7.1 edx */
	BIT(0x7, 0x1, EDX, 4, "avx-vnni-int8", NULL), BIT(0x7, 0x1, EDX, 5, "avx-ne-convert", NULL),
	BIT(0x7, 0x1, EDX, 8, "amx-complex", NULL), BIT(0x7, 0x1, EDX, 10, "avx-vnni-int16", NULL),
	BIT(0x7, 0x1, EDX, 14, "prefetchiti", NULL),
	/* 0x7.2 edx */
	BIT(0x7, 0x2, EDX, 0, "psfd-ctrl", NULL), BIT(0x7, 0x2, EDX, 1, "ipred-ctrl", NULL),
	BIT(0x7, 0x2, EDX, 2, "rrsba-ctrl", NULL), BIT(0x7, 0x2, EDX, 3, "ddpd-u", NULL),
	BIT(0x7, 0x2, EDX, 4, "bhi-ctrl", NULL), BIT(0x7, 0x2, EDX, 5, "mcdt-no", NULL),
	/* 0xd.1 eax */
	BIT(0xd, 0x1, EAX, 0, "xsaveopt", NULL), BIT(0xd, 0x1, EAX, 1, "xsavec", NULL),
	BIT(0xd, 0x1, EAX, 2, "xgetbv1", NULL), BIT(0xd, 0x1, EAX, 3, "xsaves", NULL),
	BIT(0xd, 0x1, EAX, 4, "xfd", NULL),
	/* 0xf.1 edx */
	HOST(0xf, 0x1, EDX, 1, "mbm_total", NULL), HOST(0xf, 0x1, EDX, 2, "mbm_local", NULL),
	/* 0x12.0 eax */
	BIT(0x12, 0x0, EAX, 0, "sgx1", NULL), BIT(0x12, 0x0, EAX, 1, "sgx2", NULL),
	/* 0x12.0 ebx */
	BIT(0x12, 0x0, EBX, 0, "sgx-exinfo", NULL),
	/* 0x12.1 eax */
	BIT(0x12, 0x1, EAX, 1, "sgx-debug", NULL), BIT(0x12, 0x1, EAX, 2, "sgx-mode64", NULL),
	BIT(0x12, 0x1, EAX, 4, "sgx-provisionkey", NULL), BIT(0x12, 0x1, EAX, 5, "sgx-tokenkey", NULL),
	BIT(0x12, 0x1, EAX, 7, "sgx-kss", NULL),
	/* 0x14.0 ebx */
	BIT(0x14, 0x0, EBX, 0, "intel-pt-cr3", NULL), BIT(0x14, 0x0, EBX, 1, "intel-pt-psb", NULL),
	BIT(0x14, 0x0, EBX, 2, "intel-pt-ip", NULL), BIT(0x14, 0x0, EBX, 3, "intel-pt-mtc", NULL),
	BIT(0x14, 0x0, EBX, 4, "intel-pt-ptwrite", NULL),
	/* 0x14.0 ecx */
	BIT(0x14, 0x0, ECX, 0, "intel-pt-topa", NULL), BIT(0x14, 0x0, ECX, 1, "intel-pt-topa-multi", NULL),
	BIT(0x14, 0x0, ECX, 2, "intel-pt-single-range", NULL), BIT(0x14, 0x0, ECX, 31, "intel-pt-lip", NULL),
	/* 0x19.0 ebx */
	BIT(0x19, 0x0, EBX, 0, "aeskle", NULL),
	/* 0x40000001.0 eax */
	BIT(0x40000001, 0x0, EAX, 0, "kvmclock-old", NULL), BIT(0x40000001, 0x0, EAX, 1, "kvm-nopiodelay", NULL),
	BIT(0x40000001, 0x0, EAX, 2, "kvm-mmu", NULL), BIT(0x40000001, 0x0, EAX, 3, "kvmclock", NULL),
	BIT(0x40000001, 0x0, EAX, 4, "kvm-asyncpf", NULL), BIT(0x40000001, 0x0, EAX, 5, "kvm-steal-time", NULL),
	BIT(0x40000001, 0x0, EAX, 6, "kvm-pv-eoi", NULL), BIT(0x40000001, 0x0, EAX, 7, "kvm-pv-unhalt", NULL),
	BIT(0x40000001, 0x0, EAX, 9, "kvm-pv-tlb-flush", NULL),
	BIT(0x40000001, 0x0, EAX, 10, "kvm-asyncpf-vmexit", NULL), BIT(0x40000001, 0x0, EAX, 11, "kvm-pv-ipi", NULL),
	BIT(0x40000001, 0x0, EAX, 12, "kvm-poll-control", NULL),
	BIT(0x40000001, 0x0, EAX, 13, "kvm-pv-sched-yield", NULL),
	BIT(0x40000001, 0x0, EAX, 14, "kvm-asyncpf-int", NULL),
	BIT(0x40000001, 0x0, EAX, 15, "kvm-msi-ext-dest-id", NULL),
	BIT(0x40000001, 0x0, EAX, 16, "kvm-hc-map-gpa-range", NULL),
	BIT(0x40000001, 0x0, EAX, 17, "kvm-migration-control", NULL),
	BIT(0x40000001, 0x0, EAX, 24, "kvmclock-stable-bit", NULL),
	/* 0x40000001.0 edx */
	BIT(0x40000001, 0x0, EDX, 0, "kvm-hint-dedicated", NULL),
	/* 0x80000001.0 ecx */
	BIT(0x80000001, 0x0, ECX, 0, "lahf_lm", "lahf-lm"), BIT(0x80000001, 0x0, ECX, 1, "cmp_legacy", "cmp-legacy"),
	BIT(0x80000001, 0x0, ECX, 2, "svm", NULL), BIT(0x80000001, 0x0, ECX, 3, "extapic", NULL),
	BIT(0x80000001, 0x0, ECX, 4, "cr8legacy", NULL), BIT(0x80000001, 0x0, ECX, 5, "abm", "lzcnt"),
	BIT(0x80000001, 0x0, ECX, 6, "sse4a", NULL), BIT(0x80000001, 0x0, ECX, 7, "misalignsse", NULL),
	BIT(0x80000001, 0x0, ECX, 8, "3dnowprefetch", NULL), BIT(0x80000001, 0x0, ECX, 9, "osvw", NULL),
	BIT(0x80000001, 0x0, ECX, 10, "ibs", NULL), BIT(0x80000001, 0x0, ECX, 11, "xop", NULL),
	BIT(0x80000001, 0x0, ECX, 12, "skinit", NULL), BIT(0x80000001, 0x0, ECX, 13, "wdt", NULL),
	BIT(0x80000001, 0x0, ECX, 15, "lwp", NULL), BIT(0x80000001, 0x0, ECX, 16, "fma4", NULL),
	BIT(0x80000001, 0x0, ECX, 17, "tce", NULL), BIT(0x80000001, 0x0, ECX, 18, "cvt16", NULL),
	BIT(0x80000001, 0x0, ECX, 19, "nodeid_msr", "nodeid-msr"), BIT(0x80000001, 0x0, ECX, 21, "tbm", NULL),
	BIT(0x80000001, 0x0, ECX, 22, "topoext", NULL), BIT(0x80000001, 0x0, ECX, 23, "perfctr_core", "perfctr-core"),
	BIT(0x80000001, 0x0, ECX, 24, "perfctr_nb", "perfctr-nb"), BIT(0x80000001, 0x0, ECX, 26, "data-bp-ext", NULL),
	BIT(0x80000001, 0x0, ECX, 27, "perftsc", NULL), BIT(0x80000001, 0x0, ECX, 28, "perfctr-llc", NULL),
	BIT(0x80000001, 0x0, ECX, 29, "mwaitx", NULL),
	/* 0x80000001.0 edx */
	BIT(0x80000001, 0x0, EDX, 11, "syscall", NULL), BIT(0x80000001, 0x0, EDX, 20, "nx", "xd"),
	BIT(0x80000001, 0x0, EDX, 22, "mmxext", NULL), BIT(0x80000001, 0x0, EDX, 25, "fxsr_opt", "fxsr-opt"),
	BIT(0x80000001, 0x0, EDX, 26, "pdpe1gb", NULL), BIT(0x80000001, 0x0, EDX, 27, "rdtscp", NULL),
	BIT(0x80000001, 0x0, EDX, 29, "lm", "i64"), BIT(0x80000001, 0x0, EDX, 30, "3dnowext", NULL),
	BIT(0x80000001, 0x0, EDX, 31, "3dnow", NULL),
	/* 0x80000007.0 ebx */
	HOST(0x80000007, 0x0, EBX, 0, "overflow-recov", NULL), HOST(0x80000007, 0x0, EBX, 1, "succor", NULL),
	/* 0x80000007.0 edx */
	BIT(0x80000007, 0x0, EDX, 8, "invtsc", "constant_tsc"),
	/* 0x80000008.0 ebx */
	BIT(0x80000008, 0x0, EBX, 0, "clzero", NULL), BIT(0x80000008, 0x0, EBX, 1, "irperf", NULL),
	BIT(0x80000008, 0x0, EBX, 2, "xsaveerptr", NULL), BIT(0x80000008, 0x0, EBX, 4, "rdpru", NULL),
	BIT(0x80000008, 0x0, EBX, 9, "wbnoinvd", NULL), BIT(0x80000008, 0x0, EBX, 12, "ibpb", NULL),
	BIT(0x80000008, 0x0, EBX, 14, "ibrs", NULL), BIT(0x80000008, 0x0, EBX, 15, "amd-stibp", NULL),
	BIT(0x80000008, 0x0, EBX, 16, "ibrs-always-on", NULL), BIT(0x80000008, 0x0, EBX, 17, "stibp-always-on", NULL),
	BIT(0x80000008, 0x0, EBX, 18, "ibrs-preferred", NULL), BIT(0x80000008, 0x0, EBX, 19, "ibrs-same-mode", NULL),
	HOST(0x80000008, 0x0, EBX, 23, "amd-ppin", NULL), BIT(0x80000008, 0x0, EBX, 24, "amd-ssbd", NULL),
	BIT(0x80000008, 0x0, EBX, 25, "virt-ssbd", "virt_ssbd"), BIT(0x80000008, 0x0, EBX, 26, "amd-no-ssb", NULL),
	HOST(0x80000008, 0x0, EBX, 27, "cppc", NULL), BIT(0x80000008, 0x0, EBX, 28, "amd-psfd", NULL),
	BIT(0x80000008, 0x0, EBX, 29, "btc-no", NULL), BIT(0x80000008, 0x0, EBX, 30, "ibpb-ret", NULL),
	/* 0x8000000a.0 edx */
	BIT(0x8000000a, 0x0, EDX, 0, "npt", "nested-paging"), BIT(0x8000000a, 0x0, EDX, 1, "lbrv", NULL),
	BIT(0x8000000a, 0x0, EDX, 2, "svm-lock", "svm_lock"), BIT(0x8000000a, 0x0, EDX, 3, "nrip-save", "nrip_save"),
	BIT(0x8000000a, 0x0, EDX, 4, "tsc-scale", "tsc_scale"),
	BIT(0x8000000a, 0x0, EDX, 5, "vmcb-clean", "vmcb_clean"), BIT(0x8000000a, 0x0, EDX, 6, "flushbyasid", NULL),
	BIT(0x8000000a, 0x0, EDX, 7, "decodeassists", NULL),
	BIT(0x8000000a, 0x0, EDX, 10, "pause-filter", "pause_filter"),
	BIT(0x8000000a, 0x0, EDX, 12, "pfthreshold", NULL), BIT(0x8000000a, 0x0, EDX, 13, "avic", NULL),
	BIT(0x8000000a, 0x0, EDX, 15, "v-vmsave-vmload", NULL), BIT(0x8000000a, 0x0, EDX, 16, "vgif", NULL),
	BIT(0x8000000a, 0x0, EDX, 18, "x2avic", NULL), BIT(0x8000000a, 0x0, EDX, 20, "v-spec-ctrl", NULL),
	BIT(0x8000000a, 0x0, EDX, 25, "vnmi", NULL), BIT(0x8000000a, 0x0, EDX, 28, "svme-addr-chk", "svme_addr_chk"),
	/* 0x8000001f.0 eax */
	HOST(0x8000001f, 0x0, EAX, 0, "sme", NULL), HOST(0x8000001f, 0x0, EAX, 1, "sev", NULL),
	HOST(0x8000001f, 0x0, EAX, 3, "sev-es", NULL), HOST(0x8000001f, 0x0, EAX, 4, "sev-snp", NULL),
	/* 0x80000021.0 eax */
	BIT(0x80000021, 0x0, EAX, 0, "no-nested-data-bp", NULL), BIT(0x80000021, 0x0, EAX, 1, "fs-gs-base-ns", NULL),
	BIT(0x80000021, 0x0, EAX, 2, "lfence-always-serializing", NULL),
	BIT(0x80000021, 0x0, EAX, 6, "null-sel-clr-base", NULL), BIT(0x80000021, 0x0, EAX, 8, "auto-ibrs", NULL),
	BIT(0x80000021, 0x0, EAX, 9, "no-smm-ctl-msr", NULL), BIT(0x80000021, 0x0, EAX, 20, "prefetchi", NULL),
	BIT(0x80000021, 0x0, EAX, 27, "sbpb", NULL), BIT(0x80000021, 0x0, EAX, 28, "ibpb-brtype", NULL),
	BIT(0x80000021, 0x0, EAX, 29, "srso-no", NULL),
	/* MSR 0xcf, low half */
	MSR(0xcf, 5, "split-lock-detect", NULL),
	/* MSR 0x10a, low half */
	MSR(0x10a, 0, "rdctl-no", NULL), MSR(0x10a, 1, "ibrs-all", NULL), MSR(0x10a, 2, "rsba", NULL),
	MSR(0x10a, 3, "skip-l1dfl-vmentry", NULL), MSR(0x10a, 4, "ssb-no", NULL), MSR(0x10a, 5, "mds-no", NULL),
	MSR(0x10a, 6, "pschange-mc-no", NULL), MSR(0x10a, 7, "tsx-ctrl", NULL), MSR(0x10a, 8, "taa-no", NULL),
	MSR(0x10a, 9, "misc-package-ctls", NULL), MSR(0x10a, 10, "energy-filtering-ctl", NULL),
	MSR(0x10a, 11, "doitm", NULL), MSR(0x10a, 13, "sbdr-ssdp-no", NULL), MSR(0x10a, 14, "fbsdp-no", NULL),
	MSR(0x10a, 15, "psdp-no", NULL), MSR(0x10a, 17, "fb-clear", NULL), MSR(0x10a, 19, "rrsba", NULL),
	MSR(0x10a, 20, "bhi-no", NULL), MSR(0x10a, 21, "xapic-disable-status", NULL),
	MSR(0x10a, 24, "pbrsb-no", NULL), MSR(0x10a, 25, "gds-ctrl", NULL), MSR(0x10a, 26, "gds-no", NULL),
	MSR(0x10a, 27, "rfds-no", NULL), MSR(0x10a, 28, "rfds-clear", NULL),
};
const unsigned cpu_feature_rows_n = G_N_ELEMENTS(cpu_feature_rows);

const struct cpu_feature_row *cpu_feature_find(const char *name)
{
	const struct cpu_feature_row *second = NULL;

	for (unsigned i = 0; i < cpu_feature_rows_n; i++) {
		const struct cpu_feature_row *row = &cpu_feature_rows[i];

		if (!strcmp(row->name, name))
			return row;
		if (row->alias && !second && !strcmp(row->alias, name))
			second = row;
	}
	return second;
}

const char *cpu_feature_near(const char *name)
{
	struct nearest near = { .word = name };

	for (unsigned i = 0; i < cpu_feature_rows_n; i++)
		nearest_try(&near, cpu_feature_rows[i].name);
	return near.best;
}
