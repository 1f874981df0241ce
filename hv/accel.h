/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The seam to KVM: hv/kvm.c is the only file with KVM ioctls; tests put tests/fake/accel.c here. Functions return 0 or
 * -errno unless they take a GError.
 */
#pragma once
#include <glib.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;
struct vcpu;
struct fdset;

struct slot { unsigned id; uint64_t gpa, size; void *host; bool readonly, log_dirty; };        /* size 0: remove */
struct kick { uint64_t addr; unsigned size; bool pio, match; uint64_t value; int fd; };        /* ioeventfd */

struct accel_ops {
	const char *name;
	/* Machine: from main, before any vCPU. open takes "kvm" from the fdset and maps vm->ram. */
	bool (*open)(struct vm *, struct fdset *, GError **err);
	void (*close)(struct vm *);
	int (*map)(struct vm *, const struct slot *);
	int (*irq)(struct vm *, unsigned gsi, int level);                       /* any thread */
	int (*msi)(struct vm *, uint64_t addr, uint32_t data);                  /* any thread */
	/* Watches fd: a write raises gsi. resample -1: as an edge (a message where gsi has a route of that kind). Else the line stays
	 * up until the guest's EOI, which lowers it and writes resample. -ENOTSUP: signal by irq or msi. Off: what was on its way is
	 * over, and a line that no other such fd holds is low. Main thread. */
	int (*irq_fd)(struct vm *, unsigned gsi, int fd, int resample, bool on);
	int (*routes)(struct vm *, const struct kvm_irq_routing_entry *, unsigned n);
	int (*kick_fd)(struct vm *, const struct kick *, bool on);      /* -ENOTSUP: the bus calls the device instead */
	int (*dirty)(struct vm *, const struct slot *, unsigned long *bits);
	/* irqchips, PIT, clock: state blobs by the tables of hv/x86/regs.c, machine paused */
	bool (*save)(struct vm *, GByteArray *out, GError **err);
	bool (*load)(struct vm *, const uint8_t **data, size_t *len, GError **err);
	int (*reset)(struct vm *);                                              /* irqchip, PIT, clock as new */
	/* vCPU: create from main; the rest only from the vCPU's own thread, or from main while that thread is parked */
	bool (*vcpu_open)(struct vcpu *, GError **err);
	void (*vcpu_close)(struct vcpu *);
	int (*vcpu_reset)(struct vcpu *);                                       /* power-on state; boot state is set after it */
	int (*run)(struct vcpu *);      /* 0: exit reason in vcpu->run; -EINTR: kicked; other: broken */
	void (*kick)(struct vcpu *);    /* any thread: makes run return soon, also when it is just about to enter */
	bool (*vcpu_save)(struct vcpu *, GByteArray *out, GError **err);
	bool (*vcpu_load)(struct vcpu *, const uint8_t **data, size_t *len, GError **err);
	int (*nmi)(struct vcpu *);      /* the NMI button: goes to vCPUs whose LINT1 the guest has set up for it */
	/* General and system registers, read or (set) written; the same threads as above. May be NULL in a fake. */
	int (*regs)(struct vcpu *, struct kvm_regs *, struct kvm_sregs *, bool set);
	/* Descriptor of KVM's counters (domain/kvmstat.h), which stays its own; -1: this kernel has none. May be NULL in a fake. */
	int (*stats_fd)(const struct vcpu *);
	/* For reports, from the vCPU's thread: rip, the instruction there, registers, on one line. NULL: cannot. Caller frees. */
	char *(*describe)(struct vcpu *);
};
extern const struct accel_ops accel_kvm;
