/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine's frame: who owns what, the order in which it is taken apart, and the way from any thread to the state
 * driver. A request that ends the guest's present life (power-off, reset, crash) also raises reset_pending, so that the
 * vCPU that made it, and every other at its next exit, parks instead of running on.
 */
#include "hv/vm.h"

#include "hv/accel.h"
#include "hv/msi.h"
#include "hv/stats.h"
#include "hv/vcpu.h"
#include "hv/x86/boot.h"

#define PIO_SIZE 0x10000ull
#define MMIO_SIZE (1ull << 52)

void vm_init(struct vm *vm, const struct accel_ops *accel, struct clock *clock)
{
	*vm = (struct vm){ .accel = accel, .clock = clock, .state = VM_NEW };
	vm->ram.fd = -1;
	vm->pio = bus_new("pio", PIO_SIZE);
	vm->mmio = bus_new("mmio", MMIO_SIZE);
	vm->vcpus = g_ptr_array_new();
	vm->devices = g_ptr_array_new();
	g_mutex_init(&vm->irqs.lock);
}

void vm_finish(struct vm *vm)
{
	/* Threads first: they use everything below. */
	for (unsigned i = 0; i < vm->vcpus->len; i++)
		vcpu_finish(g_ptr_array_index(vm->vcpus, i));
	while (vm->devices->len)
		device_free(g_ptr_array_index(vm->devices, vm->devices->len - 1));
	for (unsigned i = 0; i < vm->vcpus->len; i++)
		g_free(g_ptr_array_index(vm->vcpus, i));
	g_ptr_array_free(vm->vcpus, true);
	g_ptr_array_free(vm->devices, true);
	if (vm->accel)
		vm->accel->close(vm);
	boot_free(vm->boot);
	msis_free(vm);
	ram_finish(&vm->ram);
	stats_close(vm);
	bus_free(vm->pio);
	bus_free(vm->mmio);
	g_mutex_clear(&vm->irqs.lock);
	*vm = (struct vm){ .ram.fd = -1 };
}

static bool ends_life(enum vm_request req)
{
	return req != VM_REQ_PANIC && req != VM_REQ_IO_ERROR && req != VM_REQ_DRIVER && req != VM_REQ_CHARDEV;
}

void vm_request(struct vm *vm, enum vm_request req, unsigned value, const char *detail)
{
	if (ends_life(req))
		__atomic_store_n(&vm->reset_pending, true, __ATOMIC_SEQ_CST);
	if (vm->on_request)
		vm->on_request(vm, req, value, detail);
}

struct vcpu *vm_add_vcpu(struct vm *vm, unsigned index, GError **err)
{
	struct vcpu *v = g_new0(struct vcpu, 1);
	unsigned at = 0;

	if (!vcpu_init(v, vm, index, err)) {
		g_free(v);
		return NULL;
	}
	while (at < vm->vcpus->len && ((struct vcpu *)g_ptr_array_index(vm->vcpus, at))->index < index)
		at++;
	g_ptr_array_insert(vm->vcpus, (gint)at, v);
	return v;
}

bool vm_add_vcpus(struct vm *vm, GError **err)
{
	for (unsigned i = 0; i < MAX(vm->def->vcpu.max, 1); i++)
		if ((!i || machine_vcpu_enabled(vm->def, i)) && !vm_add_vcpu(vm, i, err))
			return false;
	return true;
}

struct vcpu *vm_vcpu(const struct vm *vm, unsigned index)
{
	for (unsigned i = 0; i < vm->vcpus->len; i++) {
		struct vcpu *v = g_ptr_array_index(vm->vcpus, i);

		if (v->index == index)
			return v;
	}
	return NULL;
}

bool vm_has_vcpu(const struct vm *vm, unsigned index)
{
	const struct vcpu *v = vm_vcpu(vm, index);

	return v && !v->unplugged;
}

unsigned vm_vcpus(const struct vm *vm)
{
	unsigned n = 0;

	for (unsigned i = 0; i < vm->vcpus->len; i++)
		n += !((const struct vcpu *)g_ptr_array_index(vm->vcpus, i))->unplugged;
	return n;
}

bool vm_reset(struct vm *vm, struct fdset *fds, GError **err)
{
	int r = vm->accel->reset(vm);

	for (unsigned i = 0; !r && i < vm->vcpus->len; i++)
		r = vm->accel->vcpu_reset(g_ptr_array_index(vm->vcpus, i));
	if (r)
		return kerr_errno(err, -r, "reset the machine");
	devices_reset(vm);
	irqs_sync(vm);
	return vm_boot(vm, fds, err);
}
