/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fixed addresses of kvmd's x86 machine: I/O ports, interrupt lines and the windows below 1 MiB
 * that hold tables. Devices that answer at these places and the tables that describe them (FADT,
 * MADT, DSDT) take both from here, so they cannot disagree. Part of the guest's ABI: a change needs
 * a new machine version.
 */
#pragma once

/* interrupt lines (GSIs; the same numbers on the PIC and the I/O APIC) */
#define IRQ_KEYBOARD		1
#define IRQ_COM2		3	/* and COM4 */
#define IRQ_COM1		4	/* and COM3 */
#define IRQ_RTC			8
#define IRQ_SCI			9	/* level triggered, active high: see the MADT's override */
#define INTX_GSI_BASE		16	/* four lines shared by all INTx pins of bus 0 */
#define INTX_GSI_N		4

/* the GSI of a bus 0 device's pin: slot 0..31, pin 0 (INTA) .. 3 (INTD) */
#define INTX_GSI(slot, pin)	(INTX_GSI_BASE + ((slot) + (pin)) % INTX_GSI_N)

/* legacy devices */
#define PORT_I8042_DATA		0x060
#define PORT_I8042_CMD		0x064
#define PORT_RTC		0x070	/* index; 0x071 data */
#define PORT_RTC_LEN		2
#define PORT_DEBUG_EXIT		0x0f4	/* test guests only */
#define PORT_COM1		0x3f8
#define PORT_COM2		0x2f8
#define PORT_COM3		0x3e8
#define PORT_COM4		0x2e8
#define PORT_COM_LEN		8
#define PORT_PVPANIC		0x505
#define PORT_PVPANIC_LEN	1

/* PCI configuration by ports, and the window that I/O BARs are given */
#define PORT_PCI_ADDR		0xcf8
#define PORT_PCI_DATA		0xcfc
#define PORT_PCI_LEN		8
#define PORT_PCI_IO_BASE	0xc000
#define PORT_PCI_IO_LEN		0x4000

/* PCI memory, all of it in the hole below 4 GiB */
#define PCI_MMIO32_BASE		0xc0000000u
#define PCI_MMIO32_LEN		0x20000000u
#define PCI_ECAM_BASE		0xe0000000u	/* 1 MiB per bus: 4 KiB per function */
#define PCI_ECAM_BUSES		1

/*
 * ACPI fixed hardware, ACPI 6.5 section 4.8. SCI_EN always reads as 1 and there is no SMI_CMD: the
 * machine is never in legacy mode. The power button is fixed hardware: PWRBTN_STS in PM1.
 */
#define PORT_PM1_EVT		0x600	/* status, enable: 16 bit each */
#define PORT_PM1_EVT_LEN	4
#define PORT_PM1_CNT		0x604
#define PORT_PM1_CNT_LEN	2
#define PORT_RESET		0x606	/* FADT reset register: kept apart from PM1 control */
#define RESET_VALUE		0x01
#define PORT_PM_TMR		0x608	/* 32 bit, PM_TMR_HZ */
#define PORT_PM_TMR_LEN		4
#define PM_TMR_HZ		3579545
#define PORT_GPE0		0x620	/* status, enable: 16 bit each, so 16 GPEs */
#define PORT_GPE0_LEN		4
#define PM1_SLP_TYP_S5		5	/* SLP_TYP that \_S5 names: power off */

/* general purpose events: _Exx methods of the DSDT */
#define GPE_PCI_HOTPLUG		1
#define GPE_CPU_HOTPLUG		2
#define GPE_MEM_HOTPLUG		3

/*
 * vCPU hot-plug block. The slot selected at offset 0 is a CPU's index (its ACPI _UID), from 0.
 *   0  dword W  select a slot; what follows acts on it. A slot that does not exist: reads give 0,
 *               writes are ignored
 *   4  byte  R  CPUHP_* state; W: acts on the bits that are set
 *   8  dword W  _OST source event (ACPI 6.5 section 6.3.5): 1 device check, 3 eject request, ...
 *  12  dword W  _OST status for it: writing this completes the report
 * The host sets CPUHP_INSERT or CPUHP_REMOVE and raises GPE_CPU_HOTPLUG; the guest clears the event
 * bit before it acts, ejects with CPUHP_EJECT (present becomes 0) and reports through 8 and 12.
 */
#define PORT_CPUHP		0xaf00
#define PORT_CPUHP_LEN		16
#define CPUHP_SELECT		0
#define CPUHP_STATE		4
#define CPUHP_OST_EVENT		8
#define CPUHP_OST_STATUS	12
#define CPUHP_PRESENT		0x01	/* R */
#define CPUHP_INSERT		0x02	/* R: insert event pending; W: clear it */
#define CPUHP_REMOVE		0x04	/* R: remove request pending; W: clear it */
#define CPUHP_EJECT		0x08	/* W */

/*
 * PCI hot-plug block: bit n is slot n of bus 0.
 *   0  dword R  slots that were filled since the guest looked; W: clears the bits that are set
 *   4  dword R  slots the guest is asked to give up; W: clears the bits that are set
 *   8  dword W  the slots whose bits are set are given up. Reads give 0
 *  12  dword W  _OST: slot, 16: source event, 20: status; writing the status completes the report
 * The host sets bits and raises GPE_PCI_HOTPLUG; the guest clears them before it acts.
 */
#define PORT_PCIHP		0xae00
#define PORT_PCIHP_LEN		24
#define PCIHP_UP		0
#define PCIHP_DOWN		4
#define PCIHP_EJECT		8
#define PCIHP_OST_SLOT		12
#define PCIHP_OST_EVENT		16
#define PCIHP_OST_STATUS	20
#define PCIHP_SLOTS		32
#define PCIHP_ALL		0xfffffffeu	/* all but the host bridge's */

/* memory-mapped, fixed by KVM's in-kernel chips */
#define LAPIC_BASE		0xfee00000u
#define IOAPIC_BASE		0xfec00000u

/* where tables go: reserved (type 2) in the guest's memory map */
#define TABLES_BASE		0x0e0000u	/* ACPI: RSDP first */
#define TABLES_SMBIOS		0x0f0000u	/* earliest place guests search for the SMBIOS entry points */
#define TABLES_END		0x100000u
