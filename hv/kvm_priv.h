/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the files hv/kvm*.c only. */
#pragma once
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "hv/accel.h"
#include "hv/vm.h"
#include "hv/vcpu.h"
#include "hv/x86/host.h"

/* Newer than the headers of Linux 6.1. */
#ifndef KVM_CAP_DISABLE_QUIRKS2
#define KVM_CAP_DISABLE_QUIRKS2 213
#endif
#ifndef KVM_X86_QUIRK_FIX_HYPERCALL_INSN
#define KVM_X86_QUIRK_FIX_HYPERCALL_INSN (1 << 5)
#endif
#ifndef KVM_CAP_PMU_CAPABILITY
#define KVM_CAP_PMU_CAPABILITY 212
#endif
#ifndef KVM_PMU_CAP_DISABLE
#define KVM_PMU_CAP_DISABLE 1
#endif
#ifndef KVM_CAP_XSAVE2
#define KVM_CAP_XSAVE2 208
#endif
#ifndef KVM_GET_XSAVE2
#define KVM_GET_XSAVE2 _IOR(KVMIO, 0xcf, struct kvm_xsave)
#endif

/*
 * Fixed places in the guest's address space that are nobody else's: below the 16 MiB under 4 GiB that firmware may want,
 * above the windows for PCI. They are not in the memory map either.
 */
#define KVM_IDENTITY_GPA 0xfeffc000ull  /* 1 page, VMX without unrestricted guest */
#define KVM_TSS_GPA 0xfeffd000ull       /* 3 pages, likewise */
#define KVM_SYSCALL_GPA 0xfeff8000ull   /* 3 pages of page tables, then a hole of one: hv/kvm_assist.c */

#define KVM_XSAVE_MAX 65536u            /* bytes; KVM_CAP_XSAVE2 beyond it is refused */
#define KVM_MSRS_MAX 512u

struct kvm_assist_vm;
struct kvm_assist_vcpu;

struct kvm_state_vcpu;                  /* kvm_state.c: all of a vCPU's state */

struct kvm_vm {
	int kvm, fd;                    /* /dev/kvm, the VM; -1 when closed */
	size_t run_size, xsave_size;    /* bytes */
	bool has_xsave2, has_pit, tsc_deadline;
	bool ignore_msrs;               /* unknown MSRs read as 0 and take any value */
	unsigned slots;                 /* how many there may be */
	struct kvm_cpuid2 *supported;   /* what this host can give a guest */
	uint32_t *msrs;                 /* the MSRs that state has */
	unsigned msrs_n;
	void *fresh;                    /* kvm_state.c: irqchips and PIT as after power-on */
	struct clock_watch watch;       /* kvm_state.c: kvmclock stands while guest time does */
	bool stands;                    /* main */
	uint64_t clock, realtime;       /* of kvmclock when it was stopped, ns */
	struct kvm_assist_vm *assist;   /* NULL: native host */
};

struct kvm_vcpu {
	int fd;
	int stats;                      /* of KVM's counters; -1: none */
	int tid;                        /* atomic: kernel's id of the thread that runs it; 0: none yet */
	void *fresh;                    /* kvm_state.c: power-on state */
	bool ran;                       /* since the last reset */
	struct kvm_assist_vcpu *assist;
};

static inline struct kvm_vm *kvm_vm(const struct vm *vm) { return vm->accel_data; }
static inline struct kvm_vcpu *kvm_vcpu(const struct vcpu *v) { return v->accel; }

/* ioctl that is tried again at EINTR; result, or -errno. */
int kvm_ioctl(int fd, unsigned long request, void *arg);
int kvm_ioctl_num(int fd, unsigned long request, unsigned long arg);
int kvm_enable(int fd, uint32_t cap, uint64_t arg);

/* kvm_vcpu.c */
bool kvm_vcpu_open(struct vcpu *, GError **err);
void kvm_vcpu_close(struct vcpu *);
int kvm_vcpu_run(struct vcpu *);
int kvm_vcpu_stats_fd(const struct vcpu *);
void kvm_vcpu_kick(struct vcpu *);
int kvm_vcpu_nmi(struct vcpu *);
int kvm_vcpu_regs(struct vcpu *, struct kvm_regs *, struct kvm_sregs *, bool set);
char *kvm_vcpu_describe(struct vcpu *);

/* kvm_state.c */
bool kvm_state_open(struct vm *, GError **err);         /* remembers the chips' power-on state */
void kvm_state_close(struct vm *);
bool kvm_state_vcpu_open(struct vcpu *, GError **err);
void kvm_state_vcpu_close(struct vcpu *);
int kvm_state_reset(struct vm *);
int kvm_state_vcpu_reset(struct vcpu *);
bool kvm_state_save(struct vm *, GByteArray *out, GError **err);
bool kvm_state_load(struct vm *, const uint8_t **data, size_t *len, GError **err);
bool kvm_state_vcpu_save(struct vcpu *, GByteArray *out, GError **err);
bool kvm_state_vcpu_load(struct vcpu *, const uint8_t **data, size_t *len, GError **err);

/* kvm_assist.c; only on hosts that emulate guest kernel code */
bool kvm_assist_open(struct vm *, GError **err);
void kvm_assist_close(struct vm *);
bool kvm_assist_vcpu_open(struct vcpu *, GError **err);
void kvm_assist_vcpu_close(struct vcpu *);
void kvm_assist_vcpu_reset(struct vcpu *);
/* Before KVM_RUN: asks for registers with the exit where one is likely to need them. */
void kvm_assist_enter(struct vcpu *);
/* After an exit: true when it has been dealt with and the guest can go on. */
bool kvm_assist_exit(struct vcpu *);
/* An MSR whose value for the guest is kept here rather than in KVM. */
bool kvm_assist_kept(struct vcpu *, uint32_t index, uint64_t *value);
/* Each MSR of loaded state, when all have been set in KVM. 0 or -errno. */
int kvm_assist_load(struct vcpu *, uint32_t index, uint64_t value);
