/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine that runs: one per worker. Main thread unless said otherwise. */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "domain/machine.h"
#include "hv/bus.h"
#include "hv/clock.h"
#include "hv/device.h"
#include "hv/fdset.h"
#include "hv/irq.h"
#include "hv/loop.h"
#include "hv/ram.h"

struct accel_ops;
struct block_host;
struct boot;
struct intx;
struct vcpu;

enum vm_state { VM_NEW, VM_PAUSED, VM_RUNNING, VM_PAUSING, VM_SHUTDOWN, VM_CRASHED, VM_STATES };
/* What the guest or a thread asks of the state driver (daemon/worker_state.c). */
enum vm_request { VM_REQ_POWEROFF, VM_REQ_RESET, VM_REQ_PANIC, VM_REQ_CRASH /* report in detail */, VM_REQ_TEST_EXIT /* value */,
	VM_REQ_IO_ERROR /* value: enum vm_io_error; detail: the disk */, VM_REQ_DRIVER /* detail: the device whose driver has come */,
	VM_REQ_CHARDEV /* a character device has lost its connection */, VM_REQ_CLOCK /* the guest has set its clock */, VM_REQ_N };
enum vm_io_error { VM_IO_WRITE = 1, VM_IO_STOP = 2 /* the machine is to pause */, VM_IO_NO_SPACE = 4,
	VM_IO_IGNORE = 8 /* the guest is told that all is well */ };

#define VM_IRQ_SOURCES 64
struct vm {
	const struct machine *def;      /* what it is now; its lists are edited by main, which alone walks them */
	const struct accel_ops *accel;  /* hv/kvm.c or tests/fake/accel.c */
	void *accel_data;
	struct ram ram;
	struct bus *pio, *mmio;
	struct clock *clock;
	struct loop **loops;            /* I/O threads any device may use; loops[0] always exists */
	unsigned loops_n;
	/* What serves disks (devices/block.h): the first is on loops[0], others have an <iothread>'s loop. NULL: no disks. */
	struct block_host **block_hosts;
	unsigned block_hosts_n;
	GPtrArray *vcpus, *devices;     /* changed by the main thread only; vCPUs by index, unplugged ones included, the first is index 0 */
	enum vm_state state;            /* written by the state driver only */
	struct { GMutex lock; uint64_t sources[IRQ_LINES], held[IRQ_LINES]; } irqs;   /* hv/irq.c */
	struct intx *intxs;             /* hv/intx.c */
	uint32_t plug_slots;            /* PCI slots that the guest is told devices may come to and go from (devices/pcihp.h); 0: none */
	struct msis *msis;              /* hv/msi.c; NULL: none yet */
	/* Runs on any thread; must only post. detail is copied by the receiver, may be NULL. */
	void (*on_request)(struct vm *, enum vm_request, unsigned value, const char *detail);
	void *owner;
	struct assist_native **native;  /* shared by the vCPUs; made before the fence where the host emulates (hv/x86/assist_native.h) */
	unsigned native_n;
	bool emulated;                  /* the host emulates guest kernel code (hv/x86/host.h) */
	bool reset_pending;             /* atomic: set by a request that ends the guest's life; vCPUs park. vm_boot clears it */
	void *stats;                    /* hv/stats.h: the statistics page; NULL: none */
	size_t stats_len;
	struct boot *boot;              /* hv/x86/boot.c: kernel and initrd, kept for the next reset */
};

/* From devices and vCPUs, any thread: hands the request on. */
void vm_request(struct vm *, enum vm_request, unsigned value, const char *detail);
/* The clock and the loops stay the caller's and outlive the machine. */
void vm_init(struct vm *, const struct accel_ops *, struct clock *);
/* Ends vCPU threads, frees devices (last first), closes the accelerator, unmaps RAM. */
void vm_finish(struct vm *);
/* After accel->open: creates the vCPUs that the definition enables (not their threads). */
bool vm_add_vcpus(struct vm *, GError **err);
/* One more, at any time, without its thread. NULL and *err when it cannot be had. It is the vm's. */
struct vcpu *vm_add_vcpu(struct vm *, unsigned index, GError **err);
/* The vCPU of this index, also an unplugged one, or NULL; whether the machine has it now; how many it has now. */
struct vcpu *vm_vcpu(const struct vm *, unsigned index);
bool vm_has_vcpu(const struct vm *, unsigned index);
unsigned vm_vcpus(const struct vm *);
/* All vCPUs parked: everything as after power-on, and booted anew; then vcpu_go() lets it run. */
bool vm_reset(struct vm *, struct fdset *, GError **err);
