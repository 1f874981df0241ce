/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * KVM on hosts that emulate guest kernel code: the glue between KVM's exits and hv/x86/assist.c. Nothing here is active
 * elsewhere.
 *
 * 1. Instructions. KVM ends KVM_RUN with an internal error and the instruction's bytes; assist_run() completes it on the
 *    registers in the shared page, which KVM takes back at the next entry (SYNC_REGS: no further ioctl). Having them copied
 *    out costs at each exit, so they are asked for only while such exits are frequent.
 * 2. SYSCALL at CPL 3 reaches LSTAR without changing the privilege level. So LSTAR holds an address of ours, TRAP_VA, and
 *    the guest's value is kept here (its reads and writes of the MSR come to us by KVM's filter). In the PML4 that is
 *    current when the guest writes LSTAR, a slot of the upper half that is free is pointed to page tables of
 *    ours, in a memory slot outside of all that is the guest's; they map TRAP_VA for user code to a page
 *    where nothing is. The fetch there ends KVM_RUN; we then do what the processor should have done. Kernels copy the
 *    upper half of their PML4 into each new one, so once is enough. (A kernel with page-table isolation has a second PML4
 *    for user mode: such guests need pti=off.)
 *    A program may also jump to TRAP_VA. It gets a system call with what it could have had by SYSCALL, no more: flags are
 *    masked again, R11's privileged flags are made harmless and RCX must be a user address.
 * 3. VMCALL hangs there: KVM is told not to patch hypercall instructions (they become #UD) and CPUID does not offer what
 *    makes them (hv/x86/cpuid.c).
 */
#include "hv/kvm_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <x86intrin.h>

#include "domain/error.h"
#include "hv/x86/assist_syscall.h"
#include "hv/x86/msr.h"
#include "hv/x86/paging.h"

#define PAGE 4096u
#define PTE_ADDR 0x000ffffffffff000ull
#define SYNC_HOT 32                     /* exits without an assist until registers are no longer asked for */

#define CR4_LA57 (1ull << 12)
#define RF_AC 0x40000ull
#define MSR_XSS 0xda0u

struct kvm_assist_vm {
	struct assist_layout layout;
	uint64_t *chain;                /* ASSIST_SYSCALL_TABLES pages: a PDPT, a directory, a table */
};

struct kvm_assist_vcpu {
	struct vcpu *vcpu;
	struct assist_cpu cpu;
	void *xsave;
	uint64_t star, lstar, mask;     /* the guest's MSRs of SYSCALL, kept because asking KVM costs 5 us each */
	uint64_t trap;                  /* address of ours in the real LSTAR; 0: the guest has not set LSTAR */
	uint64_t tsc_aux;
	int hot;                        /* > 0: ask for registers */
	uint64_t failed_rip;            /* where the last instruction failed */
	bool failed;
};

static struct kvm_assist_vcpu *assist_of(const struct vcpu *v)
{
	return kvm_vcpu(v)->assist;
}

/* --- guest memory, as the instruction sees it --- */

static unsigned access_bits(const struct assist_cpu *cpu, bool write)
{
	unsigned bits = PAGING_MARK | (write ? PAGING_WRITE : 0);

	if (!cpu->system && cpu->sregs->ss.dpl == 3)
		return bits | PAGING_USER;
	return bits | (cpu->regs->rflags & RF_AC && !cpu->system ? PAGING_AC : 0);
}

static struct ram *ram_of(const struct assist_cpu *cpu)
{
	struct kvm_assist_vcpu *a = cpu->opaque;

	return &a->vcpu->vm->ram;
}

/* Host address of len bytes inside one page; NULL with *fault. */
static uint8_t *resolve(struct assist_cpu *cpu, uint64_t va, size_t len, bool write, uint64_t *gpa,
	struct assist_fault *fault)
{
	uint32_t error;
	uint8_t *host;

	if (!paging_walk(ram_of(cpu), cpu->sregs, va, access_bits(cpu, write), gpa, &error)) {
		*fault = (struct assist_fault){ .vector = ASSIST_PF, .has_error = true, .error = error, .cr2 = va };
		return NULL;
	}
	host = ram_host(ram_of(cpu), *gpa, len);
	if (!host)
		*fault = (struct assist_fault){ .vector = ASSIST_NOT_RAM };
	return host;
}

struct span { uint8_t *host; uint64_t gpa; size_t len; };

/* An access of up to 4096 bytes is at most two spans. */
static bool spans(struct assist_cpu *cpu, uint64_t va, size_t len, bool write, struct span *s, struct assist_fault *fault)
{
	s[0].len = MIN(len, PAGE - (va & (PAGE - 1)));
	s[1].len = len - s[0].len;
	s[0].host = resolve(cpu, va, s[0].len, write, &s[0].gpa, fault);
	if (!s[0].host || !s[1].len)
		return s[0].host;
	s[1].host = resolve(cpu, va + s[0].len, s[1].len, write, &s[1].gpa, fault);
	return s[1].host;
}

static bool op_read(struct assist_cpu *cpu, uint64_t va, void *dst, size_t len, struct assist_fault *fault)
{
	struct span s[2];

	if (!spans(cpu, va, len, false, s, fault))
		return false;
	memcpy(dst, s[0].host, s[0].len);
	if (s[1].len)
		memcpy((uint8_t *)dst + s[0].len, s[1].host, s[1].len);
	return true;
}

static bool op_write(struct assist_cpu *cpu, uint64_t va, const void *src, size_t len, struct assist_fault *fault)
{
	struct span s[2];

	if (!spans(cpu, va, len, true, s, fault))
		return false;
	memcpy(s[0].host, src, s[0].len);
	ram_mark(ram_of(cpu), s[0].gpa, s[0].len);
	if (s[1].len) {
		memcpy(s[1].host, (const uint8_t *)src + s[0].len, s[1].len);
		ram_mark(ram_of(cpu), s[1].gpa, s[1].len);
	}
	return true;
}

static void *op_map(struct assist_cpu *cpu, uint64_t va, size_t len, struct assist_fault *fault)
{
	uint64_t gpa;
	uint8_t *host = resolve(cpu, va, len, true, &gpa, fault);

	if (host)
		ram_mark(ram_of(cpu), gpa, len);
	return host;
}

/* --- the rest of the processor --- */

static int fd_of(const struct assist_cpu *cpu)
{
	struct kvm_assist_vcpu *a = cpu->opaque;

	return kvm_vcpu(a->vcpu)->fd;
}

static bool op_xstate(struct assist_cpu *cpu, bool write)
{
	struct kvm_assist_vcpu *a = cpu->opaque;
	struct kvm_vm *k = kvm_vm(a->vcpu->vm);

	return kvm_ioctl(fd_of(cpu), write ? KVM_SET_XSAVE : k->has_xsave2 ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, cpu->xsave) >= 0;
}

static bool op_xcr0(struct assist_cpu *cpu, uint64_t *value)
{
	struct kvm_xcrs x;

	if (kvm_ioctl(fd_of(cpu), KVM_GET_XCRS, &x) < 0)
		return false;
	for (unsigned i = 0; i < x.nr_xcrs && i < G_N_ELEMENTS(x.xcrs); i++)
		if (x.xcrs[i].xcr == 0) {
			*value = x.xcrs[i].value;
			return true;
		}
	return false;
}

static int msr_io(int fd, unsigned long request, uint32_t index, uint64_t *value)
{
	struct { struct kvm_msrs head; struct kvm_msr_entry entry; } m = { .head.nmsrs = 1, .entry = { index, 0, *value } };
	int r = kvm_ioctl(fd, request, &m);

	if (r != 1)
		return r < 0 ? r : -EINVAL;
	*value = m.entry.data;
	return 0;
}

static bool op_msr(struct assist_cpu *cpu, uint32_t index, uint64_t *value)
{
	return msr_io(fd_of(cpu), KVM_GET_MSRS, index, value) == 0;
}

static uint64_t op_tsc(struct assist_cpu *cpu)
{
	return __rdtsc();       /* the guest's is the host's there: neither offset nor scaled */
}

static uint32_t op_tsc_aux(struct assist_cpu *cpu)
{
	struct kvm_assist_vcpu *a = cpu->opaque;

	return (uint32_t)a->tsc_aux;
}

/* KVM rebuilds its shadow of the page tables when CR3 changes: so it is changed, and back. */
static void op_flush(struct assist_cpu *cpu, unsigned type, uint16_t pcid, uint64_t va)
{
	struct kvm_sregs s = *cpu->sregs;

	s.cr3 ^= PAGE;
	if (kvm_ioctl(fd_of(cpu), KVM_SET_SREGS, &s) >= 0)
		(void)kvm_ioctl(fd_of(cpu), KVM_SET_SREGS, cpu->sregs);         /* as it was: cannot be refused */
}

static const struct assist_ops ops = {
	.read = op_read, .write = op_write, .map = op_map, .xstate = op_xstate, .xcr0 = op_xcr0, .msr = op_msr, .tsc = op_tsc,
	.tsc_aux = op_tsc_aux, .flush_tlb = op_flush,
};

/* --- registers in the shared page --- */

/* Makes run->s.regs valid after an exit for which they were not asked. */
static int fetch_regs(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	int fd = kvm_vcpu(v)->fd, r;

	if (run->kvm_valid_regs)
		return 0;
	r = kvm_ioctl(fd, KVM_GET_REGS, &run->s.regs.regs);
	return r < 0 ? r : kvm_ioctl(fd, KVM_GET_SREGS, &run->s.regs.sregs);
}

static bool inject(struct vcpu *v, const struct assist_fault *f)
{
	struct kvm_run *run = v->run;
	struct kvm_vcpu_events *e = &run->s.regs.events;
	struct kvm_debugregs d;
	int fd = kvm_vcpu(v)->fd;

	if (kvm_ioctl(fd, KVM_GET_VCPU_EVENTS, e) < 0)
		return false;
	memset(&e->exception, 0, sizeof(e->exception));
	e->exception_has_payload = 0;
	e->flags &= ~KVM_VCPUEVENT_VALID_PAYLOAD;
	e->exception.injected = 1;
	e->exception.nr = f->vector;
	e->exception.has_error_code = f->has_error;
	e->exception.error_code = f->error;
	if (f->vector == ASSIST_PF) {
		run->s.regs.sregs.cr2 = f->cr2;
		run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
	}
	if (f->vector == ASSIST_DB) {
		if (kvm_ioctl(fd, KVM_GET_DEBUGREGS, &d) < 0)
			return false;
		d.dr6 |= f->dr6;
		if (kvm_ioctl(fd, KVM_SET_DEBUGREGS, &d) < 0)
			return false;
	}
	run->kvm_dirty_regs |= KVM_SYNC_X86_EVENTS;
	return true;
}

/* --- SYSCALL --- */

/* Points a free slot of the current PML4 to our tables; the address there. 0: there is none. */
static uint64_t install_trap(struct vcpu *v, const struct kvm_sregs *s)
{
	uint64_t entry = assist_syscall_entry(KVM_SYSCALL_GPA), root = s->cr3 & PTE_ADDR, trap;
	const uint64_t *pml4 = ram_host(&v->vm->ram, root, PAGE);
	unsigned slot;

	if (!pml4 || s->cr4 & CR4_LA57)
		return 0;
	trap = assist_syscall_find(pml4, KVM_SYSCALL_GPA, &slot);
	return trap && ram_write(&v->vm->ram, root + 8 * slot, &entry, sizeof(entry)) ? trap : 0;
}

static bool canonical(uint64_t va)
{
	return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

/* The guest writes LSTAR. 0, or -errno: #GP for the guest. */
static int set_lstar(struct vcpu *v, uint64_t value)
{
	struct kvm_assist_vcpu *a = assist_of(v);
	struct kvm_sregs s;
	uint64_t trap;
	int r;

	if (!canonical(value))
		return -EINVAL;
	r = kvm_ioctl(kvm_vcpu(v)->fd, KVM_GET_SREGS, &s);
	if (r < 0)
		return r;
	/* Outside of 64-bit mode (a processor that starts, or value 0 at reset) nobody can make a system call yet. */
	trap = value && s.efer & (1ull << 10) ? install_trap(v, &s) : 0;
	r = msr_io(kvm_vcpu(v)->fd, KVM_SET_MSRS, MSR_LSTAR, trap ? &trap : &value);
	if (r < 0)
		return r;
	a->lstar = value;
	a->trap = trap;
	return 0;
}

static bool do_syscall(struct vcpu *v)
{
	struct kvm_assist_vcpu *a = assist_of(v);

	v->run->kvm_dirty_regs = KVM_SYNC_X86_REGS;
	if (assist_syscall_enter(&a->cpu, a->star, a->lstar, a->mask) != ASSIST_DONE)
		return inject(v, &a->cpu.fault);
	v->run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
	v->stats[VCPU_SYSCALLS]++;
	return true;
}

/* --- exits --- */

static unsigned take_bytes(struct vcpu *v, uint8_t *bytes)
{
	const struct kvm_run *run = v->run;
	const struct kvm_sregs *s = &run->s.regs.sregs;
	unsigned n = 0;

	if (run->emulation_failure.ndata >= 4 && run->emulation_failure.flags & 1) {
		n = MIN(run->emulation_failure.insn_size, 15u);
		memcpy(bytes, run->emulation_failure.insn_bytes, n);
		return n;
	}
	for (; n < 15; n++) {
		uint64_t gpa;
		uint32_t error;

		if (!paging_walk(&v->vm->ram, s, s->cs.base + run->s.regs.regs.rip + n, s->ss.dpl == 3 ? PAGING_USER : 0, &gpa, &error) ||
		    !ram_read(&v->vm->ram, gpa, bytes + n, 1))
			break;
	}
	return n;
}

static bool do_instruction(struct vcpu *v)
{
	struct kvm_assist_vcpu *a = assist_of(v);
	struct kvm_run *run = v->run;
	uint64_t rip;
	uint8_t bytes[15];
	unsigned n;

	if (fetch_regs(v) < 0)
		return false;
	rip = run->s.regs.regs.rip;
	if (a->trap && rip == a->trap && run->s.regs.sregs.ss.dpl == 3)
		return do_syscall(v);
	n = take_bytes(v, bytes);
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS;        /* also drops the #UD that KVM has queued */
	switch (n ? assist_run(&a->cpu, bytes, n) : ASSIST_UNKNOWN) {
	case ASSIST_DONE:
		break;
	case ASSIST_FAULT:
		if (!inject(v, &a->cpu.fault))
			return false;
		break;
	default:
		/* Once more: the guest may have changed its memory between KVM's look and ours. */
		if (a->failed && a->failed_rip == rip) {
			run->kvm_dirty_regs = 0;
			return false;
		}
		a->failed = true;
		a->failed_rip = rip;
		return true;
	}
	a->failed = false;
	if (a->cpu.sregs_changed)
		run->kvm_dirty_regs |= KVM_SYNC_X86_SREGS;
	v->stats[VCPU_ASSISTS]++;
	return true;
}

static void do_msr(struct vcpu *v, bool write)
{
	struct kvm_assist_vcpu *a = assist_of(v);
	struct kvm_run *run = v->run;

	v->stats[VCPU_MSR]++;
	run->msr.error = 0;
	switch (run->msr.index) {
	case MSR_STAR:
	case MSR_SYSCALL_MASK:          /* only writes come here */
		if (msr_io(kvm_vcpu(v)->fd, KVM_SET_MSRS, run->msr.index, &(uint64_t){ run->msr.data }) < 0)
			run->msr.error = 1;
		else
			*(run->msr.index == MSR_STAR ? &a->star : &a->mask) = run->msr.data;
		return;
	case MSR_LSTAR:
		if (!write)
			run->msr.data = a->lstar;
		else if (set_lstar(v, run->msr.data) < 0)
			run->msr.error = 1;
		return;
	case MSR_TSC_AUX:
		if (!write)
			run->msr.data = a->tsc_aux;
		else if (run->msr.data >> 32)
			run->msr.error = 1;
		else
			a->tsc_aux = run->msr.data;
		return;
	case MSR_XSS:           /* no supervisor state is offered */
		run->msr.error = write && run->msr.data;
		if (!write)
			run->msr.data = 0;
		return;
	default:
		run->msr.error = !kvm_vm(v->vm)->ignore_msrs;
		if (!write)
			run->msr.data = 0;
	}
}

void kvm_assist_enter(struct vcpu *v)
{
	v->run->kvm_valid_regs = assist_of(v)->hot > 0 ? KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS : 0;
}

bool kvm_assist_exit(struct vcpu *v)
{
	struct kvm_assist_vcpu *a = assist_of(v);

	switch (v->run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		if (v->run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION)
			return false;
		if (!do_instruction(v))
			return false;
		a->hot = SYNC_HOT;
		return true;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		do_msr(v, v->run->exit_reason == KVM_EXIT_X86_WRMSR);
		return true;
	default:
		a->hot -= a->hot > 0;
		return false;
	}
}

/* --- life --- */

bool kvm_assist_kept(struct vcpu *v, uint32_t index, uint64_t *value)
{
	const struct kvm_assist_vcpu *a = assist_of(v);

	if (index == MSR_LSTAR && a->trap)
		*value = a->lstar;
	else if (index == MSR_TSC_AUX)
		*value = a->tsc_aux;
	else
		return false;
	return true;
}

int kvm_assist_load(struct vcpu *v, uint32_t index, uint64_t value)
{
	struct kvm_assist_vcpu *a = assist_of(v);

	switch (index) {
	case MSR_STAR:
		a->star = value;
		return 0;
	case MSR_SYSCALL_MASK:
		a->mask = value;
		return 0;
	case MSR_TSC_AUX:
		a->tsc_aux = value;
		return 0;
	case MSR_LSTAR:
		return set_lstar(v, value);
	default:
		return 0;
	}
}

void kvm_assist_vcpu_reset(struct vcpu *v)
{
	struct kvm_assist_vcpu *a = assist_of(v);

	a->star = a->lstar = a->mask = a->trap = a->tsc_aux = 0;
	a->hot = 0;
	a->failed = false;
	v->run->kvm_dirty_regs = 0;
}

bool kvm_assist_vcpu_open(struct vcpu *v, GError **err)
{
	struct kvm_vm *k = kvm_vm(v->vm);
	struct kvm_assist_vcpu *a = g_new0(struct kvm_assist_vcpu, 1);
	size_t size = (k->xsave_size + 63) & ~63ull;

	a->vcpu = v;
	a->xsave = aligned_alloc(64, size);
	kvm_vcpu(v)->assist = a;
	if (!a->xsave)
		return kerr_set(err, KERR_NO_MEMORY, "%zu bytes for vector registers", size);
	memset(a->xsave, 0, size);
	a->cpu = (struct assist_cpu){ .native = v->vm->native_n ? v->vm->native[v->id % v->vm->native_n] : NULL, .regs = &v->run->s.regs.regs, .sregs = &v->run->s.regs.sregs, .xsave = a->xsave,
		.xsave_size = k->xsave_size, .layout = &k->assist->layout, .ops = &ops, .opaque = a };
	return true;
}

void kvm_assist_vcpu_close(struct vcpu *v)
{
	struct kvm_assist_vcpu *a = assist_of(v);

	if (!a)
		return;
	free(a->xsave);
	g_free(a);
	kvm_vcpu(v)->assist = NULL;
}

/* Writes of STAR, LSTAR, SYSCALL_MASK and reads of LSTAR come to us. */
static int filter_msrs(int fd)
{
	static uint8_t none = 0, cstar = 1 << 2;        /* bits: allowed, from the range's base on */
	struct kvm_msr_filter f = { .flags = KVM_MSR_FILTER_DEFAULT_ALLOW, .ranges = {
		{ .flags = KVM_MSR_FILTER_READ, .nmsrs = 1, .base = MSR_LSTAR, .bitmap = &none },
		{ .flags = KVM_MSR_FILTER_WRITE, .nmsrs = 4, .base = MSR_STAR, .bitmap = &cstar } } };

	return kvm_ioctl(fd, KVM_X86_SET_MSR_FILTER, &f);
}

static int map_chain(struct vm *vm, struct kvm_assist_vm *a)
{
	struct slot s = { .id = kvm_vm(vm)->slots - 1, .gpa = KVM_SYSCALL_GPA, .size = ASSIST_SYSCALL_TABLES * PAGE, .readonly = true };

	a->chain = mmap(NULL, ASSIST_SYSCALL_TABLES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (a->chain == MAP_FAILED) {
		a->chain = NULL;
		return -errno;
	}
	assist_syscall_tables(a->chain, KVM_SYSCALL_GPA);
	s.host = a->chain;
	return vm->accel->map(vm, &s);
}

bool kvm_assist_open(struct vm *vm, GError **err)
{
	struct kvm_vm *k = kvm_vm(vm);
	int r, quirks;

	k->assist = g_new0(struct kvm_assist_vm, 1);
	if (!assist_layout_init(&k->assist->layout))
		return kerr_set(err, KERR_HOST, "this host emulates guest kernel code and its processor's XSAVE state is unknown to kvmd");
	r = kvm_enable(k->fd, KVM_CAP_X86_USER_SPACE_MSR,
		KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL);
	if (r >= 0)
		r = filter_msrs(k->fd);
	if (r < 0)
		return kerr_set(err, KERR_HOST, "this host emulates guest kernel code, and its KVM cannot filter MSRs; "
			"a Linux kernel of 5.10 or later can");
	quirks = kvm_ioctl_num(k->fd, KVM_CHECK_EXTENSION, KVM_CAP_DISABLE_QUIRKS2);
	if (quirks > 0 && quirks & KVM_X86_QUIRK_FIX_HYPERCALL_INSN) {
		r = kvm_enable(k->fd, KVM_CAP_DISABLE_QUIRKS2, KVM_X86_QUIRK_FIX_HYPERCALL_INSN);
		if (r < 0)
			return kerr_errno(err, -r, "turn off the patching of hypercall instructions");
	}
	r = map_chain(vm, k->assist);
	return r >= 0 || kerr_errno(err, -r, "map the page tables for system calls");
}

void kvm_assist_close(struct vm *vm)
{
	struct kvm_vm *k = kvm_vm(vm);

	if (!k->assist)
		return;
	if (k->assist->chain)
		munmap(k->assist->chain, ASSIST_SYSCALL_TABLES * PAGE);
	g_free(k->assist);
	k->assist = NULL;
}
