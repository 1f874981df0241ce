/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vCPU threads without KVM: an accelerator that plays a script of exits, or spins until it is kicked as KVM_RUN does.
 * Parking, letting go and ending from every state; no lost wake-up; no half-done exit when parked.
 */
#include <errno.h>
#include <glib.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "hv/accel.h"
#include "hv/vcpu.h"
#include "hv/vm.h"

struct sim {
	struct kvm_run *run;
	const struct kvm_run *script;   /* exits in order; NULL: spins */
	unsigned script_n, at;
	int pending;                    /* atomic: an exit was handed out and not completed */
	int runs, settles;              /* atomic */
	int fail;                       /* what run returns, once */
	int nmis, nmis_elsewhere;       /* atomic: those from other threads while it may run */
};
static struct { enum vm_request what; char text[256]; } requests[16];
static unsigned requests_n;
static GMutex lock;

static bool sim_open(struct vcpu *v, GError **err)
{
	struct sim *s = v->vm->owner;

	v->run = g_malloc0(8192);
	v->accel = s;
	return true;
}

static void sim_close(struct vcpu *v)
{
	g_free(v->run);
}

static int sim_run(struct vcpu *v)
{
	struct sim *s = v->accel;

	g_atomic_int_inc(&s->runs);
	if (__atomic_load_n(&v->run->immediate_exit, __ATOMIC_SEQ_CST)) {
		g_atomic_int_set(&s->pending, 0);
		g_atomic_int_inc(&s->settles);
		return -EINTR;
	}
	if (s->fail)
		return s->fail;
	if (s->at < s->script_n) {
		size_t from = offsetof(struct kvm_run, exit_reason);    /* what lies before is the kicker's too */

		memcpy((uint8_t *)v->run + from, (const uint8_t *)&s->script[s->at++] + from, sizeof(*v->run) - from);
		g_atomic_int_set(&s->pending, 1);
		return 0;
	}
	while (!__atomic_load_n(&v->run->immediate_exit, __ATOMIC_SEQ_CST))
		g_thread_yield();
	return -EINTR;
}

static void sim_kick(struct vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

static int sim_nmi(struct vcpu *v)
{
	struct sim *s = v->accel;

	if (g_thread_self() != v->thread && !vcpu_parked(v))
		g_atomic_int_inc(&s->nmis_elsewhere);
	g_atomic_int_inc(&s->nmis);
	return 0;
}

static void sim_vm_close(struct vm *vm)
{
}

static const struct accel_ops sim_ops = { .name = "sim", .close = sim_vm_close, .vcpu_open = sim_open, .vcpu_close = sim_close,
	.run = sim_run, .kick = sim_kick, .nmi = sim_nmi };

static void on_request(struct vm *vm, enum vm_request what, unsigned value, const char *text)
{
	g_mutex_lock(&lock);
	requests[requests_n].what = what;
	g_strlcpy(requests[requests_n++ % 16].text, text ? text : "", sizeof(requests[0].text));
	g_mutex_unlock(&lock);
}

static void set_up(struct vm *vm, struct sim *s)
{
	struct vcpu *v = g_new0(struct vcpu, 1);

	requests_n = 0;
	vm_init(vm, &sim_ops, NULL);
	vm->owner = s;
	vm->on_request = on_request;
	g_assert_true(vcpu_init(v, vm, 0, NULL));
	g_ptr_array_add(vm->vcpus, v);
	g_assert_true(vcpu_start(v, NULL));
}

static struct vcpu *vcpu(struct vm *vm)
{
	return g_ptr_array_index(vm->vcpus, 0);
}

static void wait_for(unsigned n)
{
	for (unsigned i = 0; i < 10000; i++) {
		bool there;

		g_mutex_lock(&lock);
		there = requests_n >= n;
		g_mutex_unlock(&lock);
		if (there)
			return;
		g_usleep(1000);
	}
	g_assert_not_reached();
}

static void test_park(void)
{
	struct sim s = { 0 };
	struct vm vm;

	set_up(&vm, &s);
	g_assert_true(vcpus_wait_parked(&vm, 10000));
	g_assert_cmpint(g_atomic_int_get(&s.runs), ==, 0);
	for (unsigned i = 0; i < 2000; i++) {
		vcpu_go(vcpu(&vm));
		if (i % 5 == 0)
			g_usleep(50);
		vcpu_park(vcpu(&vm));
		g_assert_true(vcpus_wait_parked(&vm, 10000));
		g_assert_true(vcpu_parked(vcpu(&vm)));
	}
	vcpu_go(vcpu(&vm));
	g_assert_false(vcpu_parked(vcpu(&vm)));
	vm_finish(&vm);         /* while it runs */
}

/* Parked right after an exit was answered: KVM must have been entered once more to complete it. */
static void test_settle(void)
{
	struct kvm_run exits[64];
	struct sim s = { .script = exits, .script_n = 64 };
	struct vm vm;

	for (unsigned i = 0; i < 64; i++) {
		memset(&exits[i], 0, sizeof(exits[i]));
		exits[i].exit_reason = KVM_EXIT_MMIO;
		exits[i].mmio.len = 4;
	}
	set_up(&vm, &s);
	for (unsigned i = 0; i < 64 && s.at < 64; i++) {
		vcpu_go(vcpu(&vm));
		vcpu_park(vcpu(&vm));
		g_assert_true(vcpus_wait_parked(&vm, 10000));
		g_assert_cmpint(g_atomic_int_get(&s.pending), ==, 0);
	}
	vm_finish(&vm);
}

static void exit_to(const struct kvm_run *run, enum vm_request what, const char *text)
{
	struct sim s = { .script = run, .script_n = 1 };
	struct vm vm;

	set_up(&vm, &s);
	vcpu_go(vcpu(&vm));
	wait_for(1);
	g_assert_cmpint(requests[0].what, ==, what);
	g_assert_nonnull(strstr(requests[0].text, text));
	if (what != VM_REQ_PANIC) {     /* it parks by itself and stays so until the next life */
		g_assert_true(vcpus_wait_parked(&vm, 10000));
		vcpu_go(vcpu(&vm));
		g_assert_true(vcpus_wait_parked(&vm, 10000));
		__atomic_store_n(&vm.reset_pending, false, __ATOMIC_SEQ_CST);
		vcpu_go(vcpu(&vm));
		g_usleep(1000);
		g_assert_false(vcpu_parked(vcpu(&vm)));
	}
	g_assert_cmpuint(requests_n, ==, 1);
	vm_finish(&vm);
}

/* What only tells of something does not stop the guest. */
static void test_told(void)
{
	static const enum vm_request kinds[] = { VM_REQ_PANIC, VM_REQ_IO_ERROR };

	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		struct kvm_run r = { .exit_reason = KVM_EXIT_INTR };
		struct sim s = { .script = &r, .script_n = 1 };
		struct vm vm;

		set_up(&vm, &s);
		vcpu_go(vcpu(&vm));
		vm_request(&vm, kinds[i], 0, "vda");
		g_assert_false(__atomic_load_n(&vm.reset_pending, __ATOMIC_SEQ_CST));
		vcpu_park(vcpu(&vm));
		g_assert_true(vcpus_wait_parked(&vm, 10000));
		vcpu_go(vcpu(&vm));
		g_usleep(1000);
		g_assert_false(vcpu_parked(vcpu(&vm)));
		vm_finish(&vm);
	}
}

static void test_ends(void)
{
	struct kvm_run r = { .exit_reason = KVM_EXIT_SHUTDOWN };

	exit_to(&r, VM_REQ_RESET, "triple fault");
	r = (struct kvm_run){ .exit_reason = KVM_EXIT_INTERNAL_ERROR, .internal.suberror = 3 };
	exit_to(&r, VM_REQ_CRASH, "suberror 3");
	r = (struct kvm_run){ .exit_reason = KVM_EXIT_FAIL_ENTRY, .fail_entry.hardware_entry_failure_reason = 0x80000021 };
	exit_to(&r, VM_REQ_CRASH, "0x80000021");
	r = (struct kvm_run){ .exit_reason = 4711 };
	exit_to(&r, VM_REQ_CRASH, "4711");
	r = (struct kvm_run){ .exit_reason = KVM_EXIT_SYSTEM_EVENT, .system_event.type = KVM_SYSTEM_EVENT_SHUTDOWN };
	exit_to(&r, VM_REQ_POWEROFF, "");
	r.system_event.type = KVM_SYSTEM_EVENT_RESET;
	exit_to(&r, VM_REQ_RESET, "");
	r.system_event.type = 3;
	exit_to(&r, VM_REQ_PANIC, "");
}

static void test_run_fails(void)
{
	struct sim s = { .fail = -EFAULT };
	struct vm vm;

	set_up(&vm, &s);
	vcpu_go(vcpu(&vm));
	wait_for(1);
	g_assert_cmpint(requests[0].what, ==, VM_REQ_CRASH);
	g_assert_nonnull(strstr(requests[0].text, "Bad address"));
	vm_finish(&vm);
}

/* String I/O: one exit, several accesses; sizes 1, 2, 4. */
static uint64_t port_sum;
static uint64_t port_read(struct device *d, uint64_t off, unsigned size)
{
	return 0x11223344 + off;
}
static void port_write(struct device *d, uint64_t off, unsigned size, uint64_t v)
{
	port_sum += v;
}
static const struct region_ops port_ops = { .read = port_read, .write = port_write };

static void test_string_io(void)
{
	struct { struct kvm_run run; uint32_t data[8]; } *page;
	struct sim s = { 0 };
	struct device dev = { 0 };
	struct region region = { .ops = &port_ops, .dev = &dev, .name = "test", .size = 8 };
	struct kvm_run script = { .exit_reason = KVM_EXIT_IO };
	struct vm vm;

	g_mutex_init(&dev.lock);
	s.script = &script;
	s.script_n = 1;
	script.io.direction = KVM_EXIT_IO_IN;
	script.io.size = 4;
	script.io.port = 0x510;
	script.io.count = 8;
	script.io.data_offset = sizeof(struct kvm_run);
	set_up(&vm, &s);
	region.base = 0x510;
	g_assert_true(bus_map(vm.pio, &region, 0x510, NULL));
	vcpu_go(vcpu(&vm));
	while (g_atomic_int_get(&s.runs) < 2)
		g_usleep(100);
	vcpu_park(vcpu(&vm));
	g_assert_true(vcpus_wait_parked(&vm, 10000));
	page = (void *)vcpu(&vm)->run;
	for (unsigned i = 0; i < 8; i++)
		g_assert_cmphex(page->data[i], ==, 0x11223344);
	g_assert_cmpuint(vcpu(&vm)->stats[VCPU_PIO], ==, 1);
	bus_unmap(&region);
	vm_finish(&vm);
	g_mutex_clear(&dev.lock);
}

/* KVM holds a vCPU's lock while the guest halts: an NMI from another thread would wait for it for ever. */
static void test_nmi(void)
{
	struct sim s = { 0 };
	struct vm vm;

	set_up(&vm, &s);
	g_assert_true(vcpus_wait_parked(&vm, 10000));
	g_assert_cmpint(vcpu_nmi(vcpu(&vm)), ==, 0);
	g_assert_cmpint(g_atomic_int_get(&s.nmis), ==, 1);
	vcpu_go(vcpu(&vm));
	for (int i = 2; i < 200; i++) {
		g_assert_cmpint(vcpu_nmi(vcpu(&vm)), ==, 0);
		while (g_atomic_int_get(&s.nmis) < i)
			g_usleep(20);
		if (i % 10 == 0) {      /* it goes on, and parks as ever */
			vcpu_park(vcpu(&vm));
			g_assert_true(vcpus_wait_parked(&vm, 10000));
			vcpu_go(vcpu(&vm));
		}
	}
	g_assert_cmpint(s.nmis_elsewhere, ==, 0);
	g_assert_cmpint(vcpu(&vm)->ask, ==, 0);
	vm_finish(&vm);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/vcpu/park", test_park);
	g_test_add_func("/vcpu/settle", test_settle);
	g_test_add_func("/vcpu/told", test_told);
	g_test_add_func("/vcpu/ends", test_ends);
	g_test_add_func("/vcpu/run-fails", test_run_fails);
	g_test_add_func("/vcpu/nmi", test_nmi);
	g_test_add_func("/vcpu/string-io", test_string_io);
	return g_test_run();
}
