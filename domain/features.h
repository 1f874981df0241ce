/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the machine offers besides its processors: libvirt's <features>. */
#pragma once
#include "domain/field.h"

enum hyperv_mode { HYPERV_ABSENT, HYPERV_CUSTOM, HYPERV_PASSTHROUGH, HYPERV_N };
enum ioapic_driver { IOAPIC_ABSENT, IOAPIC_QEMU, IOAPIC_KVM, IOAPIC_N };
enum msrs_unknown { MSRS_ABSENT, MSRS_IGNORE, MSRS_FAULT, MSRS_N };

/* <pmu/>, <pmu state='on'/>: the bare element means on (fill writes it). */
struct feature_state {
	int state;                      /* ONOFF */
	struct extras extras;
};
struct feature_smm {
	int state;
	uint64_t tseg;                  /* bytes; 0: default */
	struct extras extras;
};
struct hyperv {
	int mode;
	int relaxed, vapic, spinlocks;          /* ONOFF, like the rest */
	uint32_t spinlocks_retries;
	int vpindex, runtime, synic, stimer, stimer_direct, reset, vendor_id;
	char *vendor_id_value;
	int frequencies, reenlightenment, tlbflush, ipi, evmcs, avic;
	struct extras extras;
};

struct features {
	bool acpi, apic, pae;
	int apic_eoi;                   /* ONOFF */
	struct hyperv *hyperv;          /* NULL: none */
	int kvm_hidden, kvm_hint_dedicated, kvm_poll_control, kvm_pv_ipi, kvm_dirty_ring;   /* ONOFF */
	uint32_t kvm_dirty_ring_size;
	struct feature_state *pvspinlock, *pmu, *vmport, *vmcoreinfo, *hap;
	struct feature_smm *smm;
	int ioapic;
	int msrs_unknown;
	struct extras extras;
};

extern const struct schema features_schema;
/* true when given and not off. */
static inline bool feature_on(const struct feature_state *f) { return f && f->state != ONOFF_OFF; }
