/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vCPU: its thread, exits, kick and pause. The thread parks on a condition while the machine is paused; a kick is a
 * signal plus run->immediate_exit, so none is lost before the ioctl.
 */
#pragma once
#include <glib.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;
enum vcpu_stat { VCPU_EXITS, VCPU_PIO, VCPU_MMIO, VCPU_HLT, VCPU_INTR, VCPU_ASSISTS, VCPU_SYSCALLS, VCPU_MSR, VCPU_OTHER, VCPU_STATS };

struct vcpu {
	struct vm *vm;
	unsigned index;                 /* 0 … n - 1: what users call it */
	unsigned id;                    /* APIC id: follows from the topology */
	bool unplugged;                 /* main thread: the machine is without it; it stays parked until it is plugged again */
	int tid;                        /* atomic: of its thread, 0 before that has begun */
	GThread *thread;
	struct kvm_run *run;            /* the fake accelerator gives plain memory */
	void *accel;                    /* accelerator's own */
	const struct kvm_cpuid2 *cpuid; /* what its CPUID says; the accelerator's, NULL: not known */
	int ask;                        /* atomic: VCPU_ASK_* */
	bool parked;                    /* under lock */
	GMutex lock;
	GCond changed;
	uint64_t *stats;                /* [VCPU_STATS], in the statistics page or `counted`: written by its thread, read by anyone (relaxed) */
	uint64_t counted[VCPU_STATS];
};

bool vcpu_init(struct vcpu *, struct vm *, unsigned index, GError **err);  /* and accel->vcpu_open */
bool vcpu_start(struct vcpu *, GError **err);   /* makes the thread; it parks at once */
void vcpu_finish(struct vcpu *);                /* ends and joins the thread */
void vcpu_go(struct vcpu *);                    /* main: leave the park */
void vcpu_park(struct vcpu *);                  /* main: ask and kick; does not wait */
bool vcpu_parked(struct vcpu *);
/* main: the NMI button, as far as the guest has wired it (accel.h); a running vCPU gets it soon, which is not waited for. 0 or -errno. */
int vcpu_nmi(struct vcpu *);
/* main: waits at most timeout_ms until it is parked and no exit is half done. */
bool vcpu_wait_parked(struct vcpu *, unsigned timeout_ms);
/* main: waits at most timeout_ms until all are parked and no exit is half done. */
bool vcpus_wait_parked(struct vm *, unsigned timeout_ms);
