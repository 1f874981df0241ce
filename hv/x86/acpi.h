/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables of kvmd's x86 machine, made from a plain description: nothing here knows KVM, struct
 * vm or the domain's XML. The machine is a full ACPI one (not hardware-reduced), always in ACPI
 * mode, with the fixed hardware of hv/x86/ports.h. ACPI 6.3, tables FACS, DSDT, FADT, MADT and, as
 * asked for, MCFG, SRAT, SLIT.
 *
 * A new device in the DSDT is a function and a row in acpi_dsdt.c; a new table is a function and a
 * row in acpi.c.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define ACPI_CPUS_MAX 4096		/* names of CPU devices have three hex digits */
#define ACPI_NODES_MAX 255
#define ACPI_MEMS_MAX 1024

enum acpi_cpu_flags {
	ACPI_CPU_PRESENT = 1,		/* there when the guest starts */
	ACPI_CPU_HOTPLUG = 2,		/* may come and go while it runs */
};

/* A range of guest memory, for SRAT. */
struct acpi_mem {
	uint64_t base, size;		/* bytes, size > 0 */
	uint32_t node;
	bool hotplug;			/* may be filled later: not usable at boot */
};

struct acpi_params {
	/*
	 * CPUs. Slot i has the ACPI _UID i and the APIC id apic_ids[i]; ids rise strictly (NULL:
	 * id = slot). cpu_flags[i] are the slot's ACPI_CPU_*; each slot has at least one of them
	 * and slot 0 is present. NULL: slots below `cpus` are present and stay, the others are
	 * for hot-plug. Without cpu_hotplug, cpus equals max_cpus and no slot may be HOTPLUG.
	 * Each possible CPU costs an emulated guest boot time: do not offer more than wanted.
	 */
	unsigned cpus, max_cpus;	/* 1 <= cpus <= max_cpus <= ACPI_CPUS_MAX */
	const uint32_t *apic_ids;	/* max_cpus of them */
	const uint8_t *cpu_flags;	/* max_cpus of them; `cpus` of them PRESENT */
	bool cpu_hotplug;		/* the machine has the block at PORT_CPUHP and GPE_CPU_HOTPLUG */

	/* PCI: bus 0 by PORT_PCI_ADDR, and by ECAM where ecam_buses > 0 */
	bool pci;
	uint64_t ecam_base;		/* 1 MiB per bus, aligned to it; reserve it in the memory map too */
	unsigned ecam_buses;		/* 0: none; up to 256 */
	uint64_t mmio32_base, mmio32_size;	/* for BARs; pages, below 4 GiB; size 0: no window */
	uint64_t mmio64_base, mmio64_size;	/* pages, anywhere */
	/*
	 * The slots (bits, not 0) that devices may come to and go from; others get no interrupt lines. 0: the machine has no
	 * block at PORT_PCIHP and GPE_PCI_HOTPLUG, all slots stay as they are. Needs pci. Each costs an emulated guest boot time.
	 */
	uint32_t plug_slots;

	/* devices; each describes itself in the DSDT and, where it has a bit there, in the FADT */
	bool com[4];			/* PORT_COM1.. */
	bool rtc;
	bool i8042;			/* a whole controller with a keyboard; false for a mere reset port */
	bool pm_timer;			/* PORT_PM_TMR */
	bool pvpanic;
	uint16_t pvpanic_port;		/* 0: PORT_PVPANIC */
	bool irq0_override;		/* the PIT is on GSI 2 rather than 0 */

	/* NUMA: SRAT, and SLIT where distances are given */
	unsigned nodes;			/* 0: none; up to ACPI_NODES_MAX */
	const uint32_t *cpu_node;	/* max_cpus of them */
	const struct acpi_mem *mems;	/* n_mems of them, rising, disjoint */
	unsigned n_mems;
	const uint8_t *distances;	/* nodes * nodes, [from * nodes + to]; own 10, others 11..255; or NULL */

	const char *oem_id;		/* up to 6 printable characters; NULL: "KVMD" */
	const char *oem_table_id;	/* up to 8; NULL: "KVMD" */
};

/*
 * Build all tables into one blob that lies at guest address @base (a multiple of 64) and ends at or
 * below @limit. The RSDP is its first bytes, so *rsdp, which may be NULL, is @base. The tables are
 * what the machine is at this moment: build them anew for each reset. Pure; any thread.
 * Returns the blob, the caller's; or NULL and @err: KERR_ARGS for parameters outside of what is
 * written above, KERR_LIMIT when the blob does not fit.
 */
GByteArray *acpi_build(const struct acpi_params *p, uint64_t base, uint64_t limit, uint64_t *rsdp,
		       GError **err);

/* --- between acpi.c and acpi_dsdt.c --- */
/* The ACPI_CPU_* of a slot. */
unsigned acpi_cpu_flags(const struct acpi_params *p, unsigned slot);
uint32_t acpi_apic_id(const struct acpi_params *p, unsigned slot);
/* Append the MADT entry of a slot: local APIC, or local x2APIC where an id has more than 8 bits. */
void acpi_madt_cpu(GByteArray *out, const struct acpi_params *p, unsigned slot, uint32_t flags);
#define ACPI_MADT_ENABLED 1u
#define ACPI_MADT_ONLINE_CAPABLE 2u
/* Append the DSDT's AML, all that follows the table's header. @p has been checked. */
void acpi_dsdt(GByteArray *out, const struct acpi_params *p);
