/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM: one vCPU. The kick is a real-time signal whose handler does nothing: its arrival ends KVM_RUN, and where it comes
 * too early for that, the immediate_exit that was stored before it does. The thread's id is stored before KVM_RUN and read
 * after immediate_exit is set, so that one of the two works also for the first run.
 */
#include "hv/kvm_priv.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "domain/error.h"
#include "hv/x86/assist.h"
#include "hv/x86/cpuid.h"
#include "hv/x86/paging.h"

#define KICK_SIGNAL (SIGRTMIN + 1)
#define INSN_MAX 15
/* a local APIC's page: where the NMI button's line is wired, and how */
#define LAPIC_LINT1 0x360
#define LAPIC_MASKED (1u << 16)
#define LAPIC_MODE (7u << 8)
#define LAPIC_MODE_NMI (4u << 8)

#ifndef KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES
#define KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES 1
#endif

static void on_kick(int sig)
{
	(void)sig;
}

static bool install_kick(GError **err)
{
	struct sigaction sa = { .sa_handler = on_kick, .sa_flags = SA_RESTART };
	sigset_t set;

	sigemptyset(&sa.sa_mask);
	sigemptyset(&set);
	sigaddset(&set, KICK_SIGNAL);
	if (sigaction(KICK_SIGNAL, &sa, NULL) < 0 || pthread_sigmask(SIG_UNBLOCK, &set, NULL))
		return kerr_errno(err, errno, "install the vCPUs' signal");
	return true;
}

static bool set_cpuid(struct vcpu *v, GError **err)
{
	struct kvm_vm *k = kvm_vm(v->vm);
	struct cpuid_env env = { .supported = k->supported, .emulated = v->vm->emulated, .tsc_deadline = k->tsc_deadline };
	struct kvm_cpuid2 *table = cpuid_make(v->vm->def, &env, v->id, err);
	int r;

	v->cpuid = table;
	if (!table)
		return false;
	r = kvm_ioctl(kvm_vcpu(v)->fd, KVM_SET_CPUID2, table);
	return r >= 0 || kerr_errno(err, -r, "set the processor's features");
}

/* <timer name='tsc' frequency='…'/> */
static bool set_tsc(struct vcpu *v, GError **err)
{
	const struct timer *t = v->vm->def ? clock_timer(&v->vm->def->clock, TIMER_TSC) : NULL;
	uint64_t khz = t ? t->frequency / 1000 : 0;
	int fd = kvm_vcpu(v)->fd, now;

	if (!khz)
		return true;
	now = kvm_ioctl_num(fd, KVM_GET_TSC_KHZ, 0);
	if (khz <= G_MAXINT && (now == (int)khz || kvm_ioctl_num(fd, KVM_SET_TSC_KHZ, khz) >= 0))
		return true;
	return kerr_set(err, KERR_HOST, "this host's time stamp counter runs at %d kHz and cannot be made to show %" G_GUINT64_FORMAT
		" kHz; leave frequency= out", now, khz);
}

bool kvm_vcpu_open(struct vcpu *v, GError **err)
{
	struct kvm_vm *k = kvm_vm(v->vm);
	struct kvm_vcpu *kv = g_new0(struct kvm_vcpu, 1);
	int r = kvm_ioctl_num(k->fd, KVM_CREATE_VCPU, v->id);

	v->accel = kv;
	kv->fd = r;
	kv->stats = -1;
	if (r < 0) {
		kerr_errno(err, -r, "create it in KVM");
		goto fail;
	}
	v->run = mmap(NULL, k->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, kv->fd, 0);
	if (v->run == MAP_FAILED) {
		v->run = NULL;
		kerr_errno(err, errno, "map its shared page");
		goto fail;
	}
	if (!install_kick(err) || !set_cpuid(v, err) || !set_tsc(v, err) || !kvm_state_vcpu_open(v, err))
		goto fail;
	if (k->assist && !kvm_assist_vcpu_open(v, err))
		goto fail;
	r = kvm_ioctl_num(kv->fd, KVM_GET_STATS_FD, 0);
	kv->stats = MAX(r, -1);         /* a kernel before 5.14 counts all the same, and shows it to nobody */
	return true;
fail:
	kvm_vcpu_close(v);
	return false;
}

void kvm_vcpu_close(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu(v);

	if (!kv)
		return;
	kvm_assist_vcpu_close(v);
	kvm_state_vcpu_close(v);
	if (v->run)
		munmap(v->run, kvm_vm(v->vm)->run_size);
	if (kv->stats >= 0)
		close(kv->stats);
	if (kv->fd >= 0)
		close(kv->fd);
	g_free(kv);
	g_free((void *)(uintptr_t)v->cpuid);
	v->cpuid = NULL;
	v->run = NULL;
	v->accel = NULL;
}

/* <msrs unknown='ignore'/>: an MSR that KVM does not know reads as 0 and takes anything. */
static bool ignore_msr(struct vcpu *v)
{
	struct kvm_run *run = v->run;

	if (run->exit_reason != KVM_EXIT_X86_RDMSR && run->exit_reason != KVM_EXIT_X86_WRMSR)
		return false;
	run->msr.error = 0;
	if (run->exit_reason == KVM_EXIT_X86_RDMSR)
		run->msr.data = 0;
	v->stats[VCPU_MSR]++;
	return true;
}

static bool handled(struct vcpu *v)
{
	if (kvm_vcpu(v)->assist)
		return kvm_assist_exit(v);
	return kvm_vm(v->vm)->ignore_msrs && ignore_msr(v);
}

int kvm_vcpu_run(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu(v);

	if (G_UNLIKELY(!kv->tid))
		__atomic_store_n(&kv->tid, (int)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
	kv->ran = true;
	do {
		if (kv->assist)
			kvm_assist_enter(v);
		if (ioctl(kv->fd, KVM_RUN, 0) < 0)
			return errno == EAGAIN ? -EINTR : -errno;
	} while (handled(v));
	return 0;
}

void kvm_vcpu_kick(struct vcpu *v)
{
	struct kvm_vcpu *kv = kvm_vcpu(v);
	int tid;

	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	tid = __atomic_load_n(&kv->tid, __ATOMIC_SEQ_CST);
	if (tid)        /* it can only fail when the thread has just ended: then there is nothing to kick */
		(void)syscall(SYS_tgkill, getpid(), tid, KICK_SIGNAL);
}

int kvm_vcpu_stats_fd(const struct vcpu *v)
{
	return kvm_vcpu(v)->stats;
}

int kvm_vcpu_nmi(struct vcpu *v)
{
	struct kvm_lapic_state apic;
	uint32_t lint1;
	int r = kvm_ioctl(kvm_vcpu(v)->fd, KVM_GET_LAPIC, &apic);

	if (r < 0)
		return r;
	memcpy(&lint1, apic.regs + LAPIC_LINT1, sizeof lint1);
	if (lint1 & LAPIC_MASKED || (lint1 & LAPIC_MODE) != LAPIC_MODE_NMI)
		return 0;
	return kvm_ioctl_num(kvm_vcpu(v)->fd, KVM_NMI, 0);
}

int kvm_vcpu_regs(struct vcpu *v, struct kvm_regs *regs, struct kvm_sregs *sregs, bool set)
{
	int fd = kvm_vcpu(v)->fd, r;

	if (set) {
		kvm_vcpu(v)->ran = true;
		r = kvm_ioctl(fd, KVM_SET_SREGS, sregs);
		return r < 0 ? r : kvm_ioctl(fd, KVM_SET_REGS, regs);
	}
	r = kvm_ioctl(fd, KVM_GET_REGS, regs);
	return r < 0 ? r : kvm_ioctl(fd, KVM_GET_SREGS, sregs);
}

/* The instruction's bytes: as KVM delivered them, else read through the guest's page tables. */
static unsigned insn_bytes(struct vcpu *v, const struct kvm_regs *regs, const struct kvm_sregs *sregs, uint8_t *bytes)
{
	const struct kvm_run *run = v->run;
	unsigned n = 0;

	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR && run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION &&
	    run->emulation_failure.ndata >= 4 &&
	    run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) {
		n = MIN(run->emulation_failure.insn_size, (unsigned)INSN_MAX);
		memcpy(bytes, run->emulation_failure.insn_bytes, n);
		return n;
	}
	for (; n < INSN_MAX; n++) {
		uint64_t gpa;
		uint32_t error;

		if (!paging_walk(&v->vm->ram, sregs, sregs->cs.base + regs->rip + n, 0, &gpa, &error) ||
		    !ram_read(&v->vm->ram, gpa, bytes + n, 1))
			break;
	}
	return n;
}

char *kvm_vcpu_describe(struct vcpu *v)
{
	struct kvm_regs r;
	struct kvm_sregs s;
	uint8_t bytes[INSN_MAX];
	char insn[ASSIST_DESCRIBE_SIZE];
	unsigned n;

	if (kvm_vcpu_regs(v, &r, &s, false) < 0)
		return NULL;
	n = insn_bytes(v, &r, &s, bytes);
	return g_strdup_printf("rip %#llx, instruction %s, cpl %u, rax %#llx rbx %#llx rcx %#llx rdx %#llx rsi %#llx rdi %#llx "
		"rbp %#llx rsp %#llx r8 %#llx r9 %#llx r10 %#llx r11 %#llx r12 %#llx r13 %#llx r14 %#llx r15 %#llx rflags %#llx "
		"cr0 %#llx cr2 %#llx cr3 %#llx cr4 %#llx efer %#llx cs %#x ss %#x fs %#llx gs %#llx", r.rip,
		n ? assist_describe(bytes, n, insn) : "unreadable", s.ss.dpl, r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.rsp,
		r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rflags, s.cr0, s.cr2, s.cr3, s.cr4, s.efer, s.cs.selector,
		s.ss.selector, s.fs.base, s.gs.base);
}
