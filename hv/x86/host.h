/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What this host's KVM can do, and whether guest kernel code runs on the processor or in KVM's emulator.
 *
 * Two questions, two answers. host_emulates() decides for a machine that starts and costs nothing: a processor that shows
 * neither VMX nor SVM cannot run guest kernels itself, so KVM interprets them; one that shows them may still have a KVM that
 * does not use them, which gives itself away by not offering XSAVE although the host has it, and then a test decides.
 * host_probe() always makes that test (a machine of one page that runs POPCNT at CPL 0, which no such emulator knows) and
 * collects all else for `kvmctl host`.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "domain/field.h"

struct kvm_cpuid2;

enum host_class { HOST_UNKNOWN, HOST_NATIVE, HOST_EMULATED, HOST_CLASSES };
extern const char *const host_class_names[HOST_CLASSES];

/*   member            capability                  least  what it is for */
#define HOST_CAPS(C) \
	C(irqchip,           KVM_CAP_IRQCHIP,              1, "interrupt controllers in the kernel") \
	C(user_memory,       KVM_CAP_USER_MEMORY,          1, "guest memory from user space") \
	C(set_tss_addr,      KVM_CAP_SET_TSS_ADDR,         1, "a place for the task segment") \
	C(identity_map,      KVM_CAP_SET_IDENTITY_MAP_ADDR, 1, "a place for the identity map") \
	C(ext_cpuid,         KVM_CAP_EXT_CPUID,            1, "a list of supported processor features") \
	C(mp_state,          KVM_CAP_MP_STATE,             1, "processors that wait for INIT and SIPI") \
	C(irq_routing,       KVM_CAP_IRQ_ROUTING,          1, "interrupt routes") \
	C(pit2,              KVM_CAP_PIT2,                 1, "interval timer in the kernel") \
	C(pit_state2,        KVM_CAP_PIT_STATE2,           1, "saving the interval timer") \
	C(irqfd,             KVM_CAP_IRQFD,                1, "interrupts by eventfd") \
	C(ioeventfd,         KVM_CAP_IOEVENTFD,            1, "doorbells by eventfd") \
	C(vcpu_events,       KVM_CAP_VCPU_EVENTS,          1, "saving pending exceptions") \
	C(debugregs,         KVM_CAP_DEBUGREGS,            1, "saving debug registers") \
	C(adjust_clock,      KVM_CAP_ADJUST_CLOCK,         1, "saving the guest's clock") \
	C(xsave,             KVM_CAP_XSAVE,                1, "saving vector registers") \
	C(xcrs,              KVM_CAP_XCRS,                 1, "saving XCR0") \
	C(signal_msi,        KVM_CAP_SIGNAL_MSI,           1, "message-signalled interrupts") \
	C(immediate_exit,    KVM_CAP_IMMEDIATE_EXIT,       1, "stopping a vCPU without losing a request") \
	C(readonly_memory,   KVM_CAP_READONLY_MEM,         0, "read-only memory (firmware)") \
	C(irqfd_resample,    KVM_CAP_IRQFD_RESAMPLE,       0, "level interrupts by eventfd") \
	C(tsc_deadline,      KVM_CAP_TSC_DEADLINE_TIMER,   0, "TSC-deadline timer") \
	C(x2apic_api,        KVM_CAP_X2APIC_API,           0, "more than 255 vCPUs") \
	C(split_irqchip,     KVM_CAP_SPLIT_IRQCHIP,        0, "interrupt controllers in user space") \
	C(sync_regs,         KVM_CAP_SYNC_REGS,            0, "registers along with an exit") \
	C(xsave2,            KVM_CAP_XSAVE2,               0, "size of the vector registers' state") \
	C(user_space_msr,    KVM_CAP_X86_USER_SPACE_MSR,   0, "MSR accesses handed to user space") \
	C(msr_filter,        KVM_CAP_X86_MSR_FILTER,       0, "MSR filter") \
	C(disable_quirks2,   KVM_CAP_DISABLE_QUIRKS2,      0, "quirks that can be turned off") \
	C(dirty_protect2,    KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, 0, "dirty log with separate clearing (migration)") \
	C(dirty_ring,        KVM_CAP_DIRTY_LOG_RING_ACQ_REL, 0, "dirty ring, bytes (migration)") \
	C(tsc_control,       KVM_CAP_TSC_CONTROL,          0, "TSC scaling") \
	C(get_tsc_khz,       KVM_CAP_GET_TSC_KHZ,          0, "TSC frequency") \
	C(smm,               KVM_CAP_X86_SMM,              0, "system management mode") \
	C(nr_vcpus,          KVM_CAP_NR_VCPUS,             0, "vCPUs recommended at most") \
	C(max_vcpus,         KVM_CAP_MAX_VCPUS,            0, "vCPUs at most") \
	C(max_vcpu_id,       KVM_CAP_MAX_VCPU_ID,          0, "highest APIC id, plus one") \
	C(nr_memslots,       KVM_CAP_NR_MEMSLOTS,          0, "memory slots at most")

struct host_info {
	int class;                      /* enum host_class */
	uint32_t api;                   /* KVM_GET_API_VERSION */
	bool vmx, svm;                  /* the processor shows it */
	char *vendor, *cpu;             /* "AuthenticAMD", "AMD EPYC" */
	uint32_t family, model, stepping;
	uint32_t tsc_khz;               /* 0: unknown */
	uint32_t phys_bits;             /* width of physical addresses */
	uint32_t test_us;               /* duration of the test */
#define C(member, cap, least, text) uint32_t member;
	HOST_CAPS(C)
#undef C
};
extern const struct schema host_info_schema;

/* kvm: open /dev/kvm, stays the caller's. info is initialised by schema_init. *err: KERR_HOST with the cure. */
bool host_probe(int kvm, struct host_info *info, GError **err);
/* Only: is everything there without which no machine can run? */
bool host_require(int kvm, GError **err);
/* For a machine that starts: see above. supported: KVM_GET_SUPPORTED_CPUID. */
bool host_emulates(int kvm, const struct kvm_cpuid2 *supported);
/* "host's", from CPUID; pure */
void host_cpu(struct host_info *info);
