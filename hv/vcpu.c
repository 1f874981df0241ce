/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vCPU thread. It runs the guest until something asks it to stop (ask), handles exits in between, and parks on a
 * condition. Rules:
 *  - ask is raised first, then accel->kick() sets run->immediate_exit and sends the signal. The thread clears
 *    immediate_exit first, then reads ask. So whichever comes first, the request is seen before guest code runs on.
 *  - Before it parks, the thread enters KVM once more with immediate_exit set: KVM finishes the instruction whose port or
 *    MMIO access has just been answered, so that a parked vCPU's registers are whole.
 *  - A guest's request that ends its life parks the thread by itself; only vcpu_go() after vm_reset() lets it run again.
 */
#include "hv/vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "domain/error.h"
#include "hv/accel.h"
#include "hv/lock.h"
#include "hv/stats.h"
#include "hv/vm.h"
#include "hv/x86/cpuid.h"

enum { VCPU_ASK_PARK = 1 << 0, VCPU_ASK_QUIT = 1 << 1, VCPU_ASK_NMI = 1 << 2 };

#define SETTLE_MAX 4096         /* exits that one half-done instruction may still make */

#ifndef KVM_SYSTEM_EVENT_CRASH
#define KVM_SYSTEM_EVENT_CRASH 3
#endif

G_STATIC_ASSERT(VCPU_STATS == (int)STAT_VCPU_INDEX && STAT_VCPU_COUNTS == 0);

static void count(struct vcpu *v, enum vcpu_stat what)
{
	__atomic_store_n(&v->stats[what], v->stats[what] + 1, __ATOMIC_RELAXED);
}

static int asked(struct vcpu *v)
{
	return __atomic_load_n(&v->ask, __ATOMIC_SEQ_CST);
}

/* Hands a request on with the processor's state in its detail. */
static void report(struct vcpu *v, enum vm_request req, const char *why)
{
	g_autofree char *state = v->vm->accel->describe ? v->vm->accel->describe(v) : NULL;
	g_autofree char *text = g_strdup_printf("vcpu %u: %s%s%s", v->index, why, state ? ": " : "", state ? state : "");

	vm_request(v->vm, req, v->index, text);
}

static void crash(struct vcpu *v, const char *why)
{
	report(v, VM_REQ_CRASH, why);
}

static void do_pio(struct vcpu *v, struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned size = run->io.size;

	count(v, VCPU_PIO);
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(v->vm->pio, run->io.port, data, size);
		else
			bus_read(v->vm->pio, run->io.port, data, size);
	}
}

static void do_mmio(struct vcpu *v, struct kvm_run *run)
{
	unsigned len = MIN(run->mmio.len, (unsigned)sizeof(run->mmio.data));

	count(v, VCPU_MMIO);
	if (run->mmio.is_write)
		bus_write(v->vm->mmio, run->mmio.phys_addr, run->mmio.data, len);
	else
		bus_read(v->vm->mmio, run->mmio.phys_addr, run->mmio.data, len);
}

static void do_system_event(struct vcpu *v, struct kvm_run *run)
{
	switch (run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_request(v->vm, VM_REQ_POWEROFF, 0, NULL);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		vm_request(v->vm, VM_REQ_RESET, 0, NULL);
		break;
	case KVM_SYSTEM_EVENT_CRASH:
		vm_request(v->vm, VM_REQ_PANIC, 0, "reported through KVM");
		break;
	default:
		crash(v, "unknown system event");
	}
}

/* What KVM handed back; the accelerator has already dealt with what is its own. */
static void do_exit(struct vcpu *v)
{
	struct kvm_run *run = v->run;
	char why[96];

	count(v, VCPU_EXITS);
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		do_pio(v, run);
		return;
	case KVM_EXIT_MMIO:
		do_mmio(v, run);
		return;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		count(v, VCPU_INTR);
		return;
	case KVM_EXIT_HLT:
		count(v, VCPU_HLT);
		return;
	case KVM_EXIT_SHUTDOWN:         /* triple fault: real machines reset */
		count(v, VCPU_OTHER);
		report(v, VM_REQ_RESET, "triple fault");
		return;
	case KVM_EXIT_SYSTEM_EVENT:
		count(v, VCPU_OTHER);
		do_system_event(v, run);
		return;
	case KVM_EXIT_INTERNAL_ERROR:
		snprintf(why, sizeof(why), "KVM internal error, suberror %u", run->internal.suberror);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(why, sizeof(why), "entry into the guest failed, hardware reason %#llx",
			(unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		break;
	case KVM_EXIT_UNKNOWN:
		snprintf(why, sizeof(why), "unknown hardware exit %#llx", (unsigned long long)run->hw.hardware_exit_reason);
		break;
	default:
		snprintf(why, sizeof(why), "unexpected exit %u", run->exit_reason);
	}
	count(v, VCPU_OTHER);
	crash(v, why);
}

static void run_failed(struct vcpu *v, int error)
{
	char why[96];

	snprintf(why, sizeof(why), "KVM_RUN: %s", g_strerror(-error));
	crash(v, why);
}

/* Finishes the instruction that the last exit interrupted. */
static void settle(struct vcpu *v)
{
	for (unsigned i = 0; i < SETTLE_MAX; i++) {
		int r;

		__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		r = v->vm->accel->run(v);
		if (r)
			return;         /* -EINTR as it should be; else broken: the next go will tell */
		do_exit(v);
	}
}

/* KVM's own lock of a vCPU is held while it runs, also while it halts: so only its thread may do this. */
static void take_nmi(struct vcpu *v)
{
	__atomic_fetch_and(&v->ask, ~VCPU_ASK_NMI, __ATOMIC_SEQ_CST);
	(void)v->vm->accel->nmi(v);     /* main has had its answer: nobody is left to tell */
}

/* Parks until vcpu_go; false when the thread has to end. */
static bool park(struct vcpu *v)
{
	bool quit;

	g_mutex_lock(&v->lock);
	while ((asked(v) & (VCPU_ASK_PARK | VCPU_ASK_QUIT)) == VCPU_ASK_PARK) {
		v->parked = true;
		g_cond_broadcast(&v->changed);
		g_cond_wait(&v->changed, &v->lock);
	}
	quit = asked(v) & VCPU_ASK_QUIT;
	v->parked = quit;
	g_mutex_unlock(&v->lock);
	return !quit;
}

static gpointer vcpu_thread(gpointer arg)
{
	struct vcpu *v = arg;
	const struct accel_ops *accel = v->vm->accel;
	bool entered = false;           /* KVM may hold something half done */

	lock_thread(LOCK_VCPU);
	__atomic_store_n(&v->tid, (int)syscall(SYS_gettid), __ATOMIC_RELAXED);
	if (v->stats != v->counted)
		__atomic_store_n(&v->stats[STAT_VCPU_TID], (uint64_t)v->tid, __ATOMIC_RELAXED);
	for (;;) {
		int r;

		__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
		if (G_UNLIKELY(__atomic_load_n(&v->vm->reset_pending, __ATOMIC_SEQ_CST)))
			__atomic_fetch_or(&v->ask, VCPU_ASK_PARK, __ATOMIC_SEQ_CST);
		if (G_UNLIKELY(asked(v))) {
			if (asked(v) & VCPU_ASK_NMI)
				take_nmi(v);
			if (!(asked(v) & (VCPU_ASK_PARK | VCPU_ASK_QUIT)))
				continue;
			if (entered)
				settle(v);
			entered = false;
			if (!park(v))
				return NULL;
			continue;
		}
		entered = true;
		r = accel->run(v);
		if (G_LIKELY(!r)) {
			do_exit(v);
		} else if (r == -EINTR) {
			count(v, VCPU_INTR);
		} else {
			entered = false;
			run_failed(v, r);
		}
	}
}

static void leave_page(struct vcpu *v)
{
	if (v->stats != v->counted)
		stats_give(v->vm, v->stats);
	v->stats = v->counted;
}

bool vcpu_init(struct vcpu *v, struct vm *vm, unsigned index, GError **err)
{
	*v = (struct vcpu){ .vm = vm, .index = index, .id = index, .ask = VCPU_ASK_PARK };
	if (vm->def) {
		struct cpu_layout layout;

		cpu_layout_init(&layout, vm->def);
		v->id = cpu_layout_apic_id(&layout, index);
	}
	v->stats = stats_take(vm, STAT_VCPU, NULL, NULL);
	if (v->stats)
		__atomic_store_n(&v->stats[STAT_VCPU_INDEX], index, __ATOMIC_RELAXED);
	else
		v->stats = v->counted;
	g_mutex_init(&v->lock);
	g_cond_init(&v->changed);
	if (vm->accel->vcpu_open(v, err)) {
		if (v->stats != v->counted && vm->accel->stats_fd)
			__atomic_store_n(&v->stats[STAT_VCPU_KVM], (uint64_t)(vm->accel->stats_fd(v) + 1), __ATOMIC_RELAXED);
		return true;
	}
	leave_page(v);
	g_prefix_error(err, "vcpu %u: ", index);
	g_mutex_clear(&v->lock);
	g_cond_clear(&v->changed);
	return false;
}

bool vcpu_start(struct vcpu *v, GError **err)
{
	g_autoptr(GError) why = NULL;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", v->index);
	v->thread = g_thread_try_new(name, vcpu_thread, v, &why);
	return v->thread || kerr_set(err, KERR_LIMIT, "thread of vcpu %u: %s", v->index, why->message);
}

static void ask(struct vcpu *v, int what)
{
	g_mutex_lock(&v->lock);
	__atomic_fetch_or(&v->ask, what, __ATOMIC_SEQ_CST);
	g_cond_broadcast(&v->changed);
	g_mutex_unlock(&v->lock);
	v->vm->accel->kick(v);
}

void vcpu_finish(struct vcpu *v)
{
	if (v->thread) {
		ask(v, VCPU_ASK_QUIT);
		g_thread_join(v->thread);
	}
	v->vm->accel->vcpu_close(v);
	leave_page(v);
	g_mutex_clear(&v->lock);
	g_cond_clear(&v->changed);
}

void vcpu_go(struct vcpu *v)
{
	g_mutex_lock(&v->lock);
	__atomic_fetch_and(&v->ask, ~VCPU_ASK_PARK, __ATOMIC_SEQ_CST);
	v->parked = false;
	g_cond_broadcast(&v->changed);
	g_mutex_unlock(&v->lock);
}

void vcpu_park(struct vcpu *v)
{
	ask(v, VCPU_ASK_PARK);
}

bool vcpu_parked(struct vcpu *v)
{
	bool parked;

	if (!v->thread)
		return true;
	g_mutex_lock(&v->lock);
	parked = v->parked;
	g_mutex_unlock(&v->lock);
	return parked;
}

int vcpu_nmi(struct vcpu *v)
{
	if (vcpu_parked(v))
		return v->vm->accel->nmi(v);
	ask(v, VCPU_ASK_NMI);
	return 0;
}

static bool wait_until(struct vcpu *v, gint64 end)
{
	bool parked;

	if (!v->thread)
		return true;
	g_mutex_lock(&v->lock);
	while (!v->parked && g_cond_wait_until(&v->changed, &v->lock, end))
		;
	parked = v->parked;
	g_mutex_unlock(&v->lock);
	return parked;
}

bool vcpu_wait_parked(struct vcpu *v, unsigned timeout_ms)
{
	return wait_until(v, g_get_monotonic_time() + (gint64)timeout_ms * 1000);
}

bool vcpus_wait_parked(struct vm *vm, unsigned timeout_ms)
{
	gint64 end = g_get_monotonic_time() + (gint64)timeout_ms * 1000;

	for (unsigned i = 0; i < vm->vcpus->len; i++)
		if (!wait_until(g_ptr_array_index(vm->vcpus, i), end))
			return false;
	return true;
}
