/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of <features>. */
#include "domain/features.h"

#include "domain/rows.h"

NAMES(hyperv_mode_names, HYPERV_N, "custom", "passthrough");
NAMES(ioapic_names, IOAPIC_N, "qemu", "kvm");
NAMES(msrs_names, MSRS_N, "ignore", "fault");

static const struct field feature_state_schema_fields[] = {
	ENUM(struct feature_state, state, "@state", onoff_names, GUEST, "on or off; neither: on"),
	EXTRAS(struct feature_state, extras), END
};
static SCHEMA(feature_state_schema, struct feature_state, "feature", "a feature that is on or off");

static const struct field feature_smm_schema_fields[] = {
	ENUM(struct feature_smm, state, "@state", onoff_names, GUEST, "on or off"),
	SIZE(struct feature_smm, tseg, "tseg", 0, UINT64_C(1) << 40, GUEST | NOT_YET, "memory that only this mode sees", .unit = 1 << 20),
	EXTRAS(struct feature_smm, extras), END
};
static SCHEMA(feature_smm_schema, struct feature_smm, "smm", "system management mode");

#define HV(m, xml, text) ENUM(struct hyperv, m, xml "/@state", onoff_names, GUEST, text)
static const struct field hyperv_schema_fields[] = {
	ENUM(struct hyperv, mode, "@mode", hyperv_mode_names, GUEST, "these, or all that the host has"),
	HV(relaxed, "relaxed", "no watchdog in the guest's kernel"),
	HV(vapic, "vapic", "virtual APIC page"),
	HV(spinlocks, "spinlocks", "tell the host of long waits"),
	U32(struct hyperv, spinlocks_retries, "spinlocks/@retries", 0, UINT32_MAX, GUEST, "turns before it is told"),
	HV(vpindex, "vpindex", "number of the vCPU by MSR"),
	HV(runtime, "runtime", "time the vCPU ran"),
	HV(synic, "synic", "synthetic interrupts"),
	HV(stimer, "stimer", "synthetic timers"),
	HV(stimer_direct, "stimer/direct", "timers that interrupt directly"),
	HV(reset, "reset", "reset by MSR"),
	HV(vendor_id, "vendor_id", "another vendor name"),
	STR(struct hyperv, vendor_id_value, "vendor_id/@value", GUEST, "that name, at most 12 characters"),
	HV(frequencies, "frequencies", "TSC and APIC frequency by MSR"),
	HV(reenlightenment, "reenlightenment", "be told of a new TSC frequency"),
	HV(tlbflush, "tlbflush", "flush other vCPUs' TLBs by call"),
	HV(ipi, "ipi", "interrupt other vCPUs by call"),
	HV(evmcs, "evmcs", "enlightened VMCS for nested guests"),
	HV(avic, "avic", "no EOI by MSR"),
	KEEP_SILENT("emsr_bitmap"),
	KEEP_SILENT("xmm_input"),
	KEEP_SILENT("tlbflush/direct"),
	KEEP_SILENT("tlbflush/extended"),
	EXTRAS(struct hyperv, extras), END
};
static SCHEMA(hyperv_schema, struct hyperv, "hyperv", "Microsoft's paravirtual interfaces");

static const struct field features_schema_fields[] = {
	FLAG(struct features, pae, "pae", GUEST, "physical address extension"),
	FLAG(struct features, apic, "apic", GUEST, "interrupt controllers"),
	ENUM(struct features, apic_eoi, "apic/@eoi", onoff_names, GUEST | NOT_YET, "end of interrupt without an exit", .lacks = 1 << ONOFF_ON),
	FLAG(struct features, acpi, "acpi", GUEST, "ACPI tables and the power button"),
	OPT(struct features, hap, "hap", feature_state_schema, 0, "hardware-assisted paging"),
	REFUSE("viridian", "for Xen guests: write <hyperv>"),
	REFUSE("privnet", "for container guests: leave the element out"),
	OPT(struct features, hyperv, "hyperv", hyperv_schema, GUEST, "Microsoft's paravirtual interfaces"),
	ENUM(struct features, kvm_hidden, "kvm/hidden/@state", onoff_names, GUEST, "do not show the guest that it runs on KVM"),
	ENUM(struct features, kvm_hint_dedicated, "kvm/hint-dedicated/@state", onoff_names, GUEST, "tell the guest that its CPUs are its own"),
	ENUM(struct features, kvm_poll_control, "kvm/poll-control/@state", onoff_names, GUEST, "let the guest stop the host's polling"),
	ENUM(struct features, kvm_pv_ipi, "kvm/pv-ipi/@state", onoff_names, GUEST, "interrupt other vCPUs by call"),
	ENUM(struct features, kvm_dirty_ring, "kvm/dirty-ring/@state", onoff_names, NOT_YET, "log written pages in a ring per vCPU", .lacks = 1 << ONOFF_ON),
	U32(struct features, kvm_dirty_ring_size, "kvm/dirty-ring/@size", 0, 65536, 0, "entries of the ring"),
	REFUSE("xen", "for Xen guests: leave the element out"),
	OPT(struct features, pvspinlock, "pvspinlock", feature_state_schema, GUEST, "sleep instead of spinning on a lock"),
	REFUSE("capabilities", "for container guests: leave the element out"),
	OPT(struct features, pmu, "pmu", feature_state_schema, GUEST, "performance counters"),
	OPT(struct features, vmport, "vmport", feature_state_schema, GUEST, "VMware's I/O port"),
	REFUSE("gic", "for ARM guests: leave the element out"),
	OPT(struct features, smm, "smm", feature_smm_schema, GUEST, "system management mode"),
	ENUM(struct features, ioapic, "ioapic/@driver", ioapic_names, 0, "who emulates the I/O APIC"),
	REFUSE("hpt", "for POWER guests: leave the element out"),
	OPT(struct features, vmcoreinfo, "vmcoreinfo", feature_state_schema, GUEST, "the guest tells where its crash notes are"),
	REFUSE("htm", "for POWER guests: leave the element out"),
	REFUSE("nested-hv", "for POWER guests: leave the element out"),
	ENUM(struct features, msrs_unknown, "msrs/@unknown", msrs_names, GUEST, "unknown MSRs: read as 0, or fault"),
	REFUSE("ccf-assist", "for POWER guests: leave the element out"),
	REFUSE("cfpc", "for POWER guests: leave the element out"),
	REFUSE("sbbc", "for POWER guests: leave the element out"),
	REFUSE("ibs", "for POWER guests: leave the element out"),
	KEEP("tcg", "kvmd runs guests on KVM only: there is no translator to tune"),
	KEEP("ps2", "the keyboard controller is always there, for its reset line"),
	KEEP_SILENT("async-teardown"),
	EXTRAS(struct features, extras), END
};
SCHEMA(features_schema, struct features, "features", "what the machine offers besides its processors");
