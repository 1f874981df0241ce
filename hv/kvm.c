/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The accelerator that is KVM: the machine. vCPUs are in kvm_vcpu.c, state that travels in kvm_state.c, what hosts need
 * whose KVM emulates guest kernel code in kvm_assist.c, the look at a host in kvm_host.c. No other file makes KVM ioctls.
 *
 * The worker gets an open /dev/kvm, never a VM: KVM lets only the process that made a VM use it.
 */
#include "hv/kvm_priv.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "domain/error.h"
#include "hv/x86/cpuid.h"
#include "hv/x86/msr.h"

#define CPUID_MAX 256u

int kvm_ioctl(int fd, unsigned long request, void *arg)
{
	int r;

	do {
		r = ioctl(fd, request, arg);
	} while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

int kvm_ioctl_num(int fd, unsigned long request, unsigned long arg)
{
	return kvm_ioctl(fd, request, (void *)arg);
}

int kvm_enable(int fd, uint32_t cap, uint64_t arg)
{
	struct kvm_enable_cap c = { .cap = cap, .args = { arg } };

	return kvm_ioctl(fd, KVM_ENABLE_CAP, &c);
}

static bool make_vm(struct kvm_vm *k, GError **err)
{
	int r = kvm_ioctl_num(k->kvm, KVM_CREATE_VM, 0);

	if (r < 0)
		return kerr_errno(err, -r, "create a virtual machine");
	k->fd = r;
	r = kvm_ioctl_num(k->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (r < (int)sizeof(struct kvm_run))
		return kerr_set(err, KERR_HOST, "this host's KVM shares %d bytes per vCPU, which cannot be", r);
	k->run_size = (size_t)r;
	r = kvm_ioctl_num(k->fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
	k->slots = r > 0 ? (unsigned)r : 32;
	r = kvm_ioctl_num(k->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	k->has_xsave2 = r > 0;
	k->xsave_size = MAX(r > 0 ? (size_t)r : 0, sizeof(struct kvm_xsave));
	if (k->xsave_size > KVM_XSAVE_MAX)
		return kerr_set(err, KERR_HOST, "this host's processors have %zu bytes of XSAVE state; kvmd knows up to %u",
			k->xsave_size, KVM_XSAVE_MAX);
	return true;
}

/* As many vCPUs as the definition may come to have, and APIC ids beyond 8 bits where they are needed. */
static bool fit_vcpus(struct vm *vm, struct kvm_vm *k, GError **err)
{
	unsigned n = vm->def ? MAX(vm->def->vcpu.max, 1) : 1;
	int most = kvm_ioctl_num(k->fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	struct cpu_layout layout;
	int r;

	if (most > 0 && n > (unsigned)most)
		return kerr_set(err, KERR_HOST, "this host's KVM allows %d vCPUs in a machine, the definition has %u", most, n);
	if (!vm->def)
		return true;
	cpu_layout_init(&layout, vm->def);
	if (cpu_layout_apic_id(&layout, n - 1) < 255)
		return true;
	r = kvm_enable(k->fd, KVM_CAP_X2APIC_API, KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
	return r >= 0 || kerr_set(err, KERR_HOST, "this host's KVM has no APIC ids above 254, which %u vCPUs need", n);
}

static bool make_chips(struct vm *vm, struct kvm_vm *k, GError **err)
{
	const struct timer *timer = vm->def ? clock_timer(&vm->def->clock, TIMER_PIT) : NULL;
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };
	struct kvm_reinject_control discard = { .pit_reinject = 0 };
	uint64_t identity = KVM_IDENTITY_GPA;
	int r;

	r = kvm_ioctl(k->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (r < 0)
		return kerr_errno(err, -r, "set the identity map's address");
	r = kvm_ioctl_num(k->fd, KVM_SET_TSS_ADDR, KVM_TSS_GPA);
	if (r < 0)
		return kerr_errno(err, -r, "set the task segment's address");
	r = kvm_ioctl_num(k->fd, KVM_CREATE_IRQCHIP, 0);
	if (r < 0)
		return kerr_errno(err, -r, "create the interrupt controllers");
	k->has_pit = !timer || timer->present != YESNO_NO;
	if (!k->has_pit)
		return true;
	r = kvm_ioctl(k->fd, KVM_CREATE_PIT2, &pit);
	if (r < 0)
		return kerr_errno(err, -r, "create the interval timer");
	if (timer && timer->tickpolicy == TICK_DISCARD)
		r = kvm_ioctl(k->fd, KVM_REINJECT_CONTROL, &discard);
	return r >= 0 || kerr_errno(err, -r, "let the interval timer's missed ticks go");
}

/* What <features> turns on or off in KVM. */
static bool set_features(struct vm *vm, struct kvm_vm *k, GError **err)
{
	const struct features *f = vm->def ? &vm->def->features : NULL;
	int r = 0;

	k->tsc_deadline = kvm_ioctl_num(k->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	if (!f)
		return true;
	if (f->pmu && !feature_on(f->pmu))      /* where KVM cannot, not showing it has to do */
		(void)kvm_enable(k->fd, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE);
	k->ignore_msrs = f->msrs_unknown == MSRS_IGNORE;
	if (k->ignore_msrs)
		r = kvm_enable(k->fd, KVM_CAP_X86_USER_SPACE_MSR, KVM_MSR_EXIT_REASON_UNKNOWN);
	return r >= 0 || kerr_set(err, KERR_HOST, "this host's KVM cannot ignore unknown MSRs; leave <msrs unknown='ignore'/> out");
}

static bool read_supported(struct kvm_vm *k, GError **err)
{
	int r;

	k->supported = g_malloc0(sizeof(*k->supported) + CPUID_MAX * sizeof(struct kvm_cpuid_entry2));
	k->supported->nent = CPUID_MAX;
	r = kvm_ioctl(k->kvm, KVM_GET_SUPPORTED_CPUID, k->supported);
	return r >= 0 || kerr_errno(err, -r, "ask KVM which processor features it has");
}

/* KVM's list of MSRs that make up a vCPU's state. */
static bool read_msr_list(struct kvm_vm *k, GError **err)
{
	struct { struct kvm_msr_list head; uint32_t index[KVM_MSRS_MAX]; } list = { .head.nmsrs = KVM_MSRS_MAX };
	int r = kvm_ioctl(k->kvm, KVM_GET_MSR_INDEX_LIST, &list);

	if (r < 0)
		return kerr_errno(err, -r, "ask KVM for its list of MSRs");
	k->msrs = msr_list(list.head.indices, list.head.nmsrs, &k->msrs_n);
	return true;
}

static int kvm_map(struct vm *vm, const struct slot *s)
{
	struct kvm_userspace_memory_region r = { .slot = s->id, .guest_phys_addr = s->gpa, .memory_size = s->size,
		.userspace_addr = (uintptr_t)s->host, .flags = (s->log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0) |
		(s->readonly ? KVM_MEM_READONLY : 0) };

	return kvm_ioctl(kvm_vm(vm)->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

static bool map_ram(struct vm *vm, GError **err)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(vm->ram.pieces); i++) {
		const struct ram_piece *p = &vm->ram.pieces[i];
		struct slot s = { .id = i, .gpa = p->gpa, .size = p->size, .host = p->host };
		int r = p->host ? kvm_map(vm, &s) : 0;

		if (r < 0)
			return kerr_errno(err, -r, "give the guest its memory at %#" G_GINT64_MODIFIER "x", p->gpa);
	}
	return true;
}

static void kvm_close(struct vm *vm)
{
	struct kvm_vm *k = kvm_vm(vm);

	if (!k)
		return;
	kvm_assist_close(vm);
	kvm_state_close(vm);
	g_free(k->supported);
	g_free(k->msrs);
	if (k->fd >= 0)
		close(k->fd);
	if (k->kvm >= 0)
		close(k->kvm);
	g_free(k);
	vm->accel_data = NULL;
}

static bool kvm_open(struct vm *vm, struct fdset *fds, GError **err)
{
	struct kvm_vm *k = g_new0(struct kvm_vm, 1);

	vm->accel_data = k;
	k->fd = -1;
	k->kvm = fdset_take(fds, "kvm", err);
	if (k->kvm < 0 || !host_require(k->kvm, err) || !make_vm(k, err) || !fit_vcpus(vm, k, err) ||
	    !read_supported(k, err) || !read_msr_list(k, err) || !set_features(vm, k, err))
		goto fail;
	vm->emulated = host_emulates(k->kvm, k->supported);
	if (vm->emulated && !kvm_assist_open(vm, err))
		goto fail;
	/* memory before interrupt chips: once they are there, each change of the slots and filters waits for a grace period
	 * of the kernel's, 4 to 20 ms */
	if (!map_ram(vm, err) || !make_chips(vm, k, err) || !kvm_state_open(vm, err))
		goto fail;
	return true;
fail:
	kvm_close(vm);
	return false;
}

static int kvm_irq(struct vm *vm, unsigned gsi, int level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = (uint32_t)level };

	return kvm_ioctl(kvm_vm(vm)->fd, KVM_IRQ_LINE, &l);
}

static int kvm_msi(struct vm *vm, uint64_t addr, uint32_t data)
{
	struct kvm_msi msi = { .address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data };
	int r = kvm_ioctl(kvm_vm(vm)->fd, KVM_SIGNAL_MSI, &msi);

	return MIN(r, 0);       /* positive: delivered; 0: blocked by the guest */
}

static int kvm_irq_fd(struct vm *vm, unsigned gsi, int fd, int resample, bool on)
{
	struct kvm_irqfd q = { .fd = (uint32_t)fd, .gsi = gsi, .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

	if (on && resample >= 0) {
		if (kvm_ioctl_num(kvm_vm(vm)->fd, KVM_CHECK_EXTENSION, KVM_CAP_IRQFD_RESAMPLE) <= 0)
			return -ENOTSUP;
		q.flags |= KVM_IRQFD_FLAG_RESAMPLE;
		q.resamplefd = (uint32_t)resample;
	}
	return kvm_ioctl(kvm_vm(vm)->fd, KVM_IRQFD, &q);
}

static int kvm_routes(struct vm *vm, const struct kvm_irq_routing_entry *entries, unsigned n)
{
	g_autofree struct kvm_irq_routing *table = g_malloc0(sizeof(*table) + n * sizeof(*entries));

	table->nr = n;
	if (n)
		memcpy(table->entries, entries, n * sizeof(*entries));
	return kvm_ioctl(kvm_vm(vm)->fd, KVM_SET_GSI_ROUTING, table);
}

static int kvm_kick_fd(struct vm *vm, const struct kick *kick, bool on)
{
	struct kvm_ioeventfd q = { .addr = kick->addr, .len = kick->size, .fd = kick->fd,
		.datamatch = kick->match ? kick->value : 0, .flags = (kick->pio ? KVM_IOEVENTFD_FLAG_PIO : 0) |
		(kick->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) | (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN) };

	return kvm_ioctl(kvm_vm(vm)->fd, KVM_IOEVENTFD, &q);
}

static int kvm_dirty(struct vm *vm, const struct slot *s, unsigned long *bits)
{
	struct kvm_dirty_log q = { .slot = s->id, .dirty_bitmap = bits };

	return kvm_ioctl(kvm_vm(vm)->fd, KVM_GET_DIRTY_LOG, &q);
}

const struct accel_ops accel_kvm = {
	.name = "kvm",
	.open = kvm_open,
	.close = kvm_close,
	.map = kvm_map,
	.irq = kvm_irq,
	.msi = kvm_msi,
	.irq_fd = kvm_irq_fd,
	.routes = kvm_routes,
	.kick_fd = kvm_kick_fd,
	.dirty = kvm_dirty,
	.save = kvm_state_save,
	.load = kvm_state_load,
	.reset = kvm_state_reset,
	.vcpu_open = kvm_vcpu_open,
	.vcpu_close = kvm_vcpu_close,
	.vcpu_reset = kvm_state_vcpu_reset,
	.run = kvm_vcpu_run,
	.kick = kvm_vcpu_kick,
	.vcpu_save = kvm_state_vcpu_save,
	.vcpu_load = kvm_state_vcpu_load,
	.nmi = kvm_vcpu_nmi,
	.regs = kvm_vcpu_regs,
	.describe = kvm_vcpu_describe,
	.stats_fd = kvm_vcpu_stats_fd,
};
