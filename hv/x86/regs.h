/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of a processor and of the chips in the kernel travels with a machine: structs and their field tables. How they get
 * into and out of KVM is hv/kvm_state.c.
 */
#pragma once
#include <glib.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "domain/field.h"

#define REGS_XSAVE_MAX 65536u           /* bytes */
#define REGS_MSRS_MAX 512u

struct msr_state {
	uint32_t index;
	uint64_t value;
};

/* One processor. */
struct cpu_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;         /* interrupt_bitmap is not used: the interrupt under way is in events */
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	uint64_t xcr0;
	uint32_t mp_state;              /* KVM_MP_STATE_* */
	uint32_t tsc_khz;               /* 0: unknown */
	GByteArray *xsave;              /* standard format */
	GByteArray *lapic;              /* the register page's first KiB */
	GPtrArray *msrs;                /* struct msr_state */
};

/* Interrupt controllers, interval timer, paravirtual clock. */
struct chips_state {
	struct kvm_pic_state pic[2];
	struct kvm_ioapic_state ioapic;
	struct kvm_pit_state2 pit;
	uint64_t clock;                 /* ns of the guest's kvmclock */
	uint64_t realtime;              /* wall clock at that moment, ns; 0: unknown */
};

extern const struct schema cpu_state_schema, chips_state_schema, msr_state_schema;
