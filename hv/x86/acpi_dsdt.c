/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DSDT: devices that a guest can't find by itself, and the methods of hot-plug. Each part is a
 * function or two and a row of parts[]; rows don't depend on each other.
 *
 * AML is slow where guest kernel code is emulated, so values are static names wherever they can be.
 * vCPU hot-plug keeps to that: a slot's _STA is a name, not a method. It starts as "absent"; _INI
 * of the container, which runs before any slot is looked at, sets it where the hot-plug block says
 * present (so a kexec'ed kernel sees what was plugged since), an insert event sets it before the
 * guest is told, _EJ0 clears it. _MAT is the slot's MADT entry as it is once present. CPUs that can't
 * be unplugged have no methods at all.
 *
 * PCI slots have no _STA: the guest looks into configuration space. All that are told of can be
 * ejected, empty ones too; what follows is the host's decision.
 */
#include "hv/x86/acpi.h"
#include "hv/x86/aml.h"
#include "hv/x86/blob.h"
#include "hv/x86/ports.h"

#define STA_ALL 0x0f	/* present, enabled, shown, working */

enum { EVENT_NONE = 0, EVENT_DEVICE_CHECK = 1, EVENT_EJECT = 3 };	/* ACPI 6.5 section 5.6.6 */

/* --- devices on legacy ports --- */

struct legacy {
	const char *name, *hid, *cid;
	unsigned uid;
	uint16_t port, port2;		/* port2 0: none */
	uint8_t len;
	int irq;
};

static void legacy_device(struct aml *a, const struct legacy *l)
{
	aml_device(a, l->name);
	aml_name_eisaid(a, "_HID", l->hid);
	if (l->cid)
		aml_name_eisaid(a, "_CID", l->cid);
	aml_name_int(a, "_UID", l->uid);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_io(a, l->port, l->len);
	if (l->port2)
		aml_res_io(a, l->port2, l->len);
	aml_res_irq(a, (unsigned)l->irq);
	aml_close(a);
	aml_close(a);
}

static void part_legacy(struct aml *a, const struct acpi_params *p)
{
	static const struct legacy com[G_N_ELEMENTS(p->com)] = {
		{ "COM1", "PNP0501", NULL, 1, PORT_COM1, 0, PORT_COM_LEN, IRQ_COM1 },
		{ "COM2", "PNP0501", NULL, 2, PORT_COM2, 0, PORT_COM_LEN, IRQ_COM2 },
		{ "COM3", "PNP0501", NULL, 3, PORT_COM3, 0, PORT_COM_LEN, IRQ_COM1 },
		{ "COM4", "PNP0501", NULL, 4, PORT_COM4, 0, PORT_COM_LEN, IRQ_COM2 },
	};
	static const struct legacy rtc = {
		"RTC", "PNP0B00", NULL, 0, PORT_RTC, 0, PORT_RTC_LEN, IRQ_RTC
	};
	static const struct legacy keyboard = {
		"KBD", "PNP0303", NULL, 0, PORT_I8042_DATA, PORT_I8042_CMD, 1, IRQ_KEYBOARD
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(com); i++)
		if (p->com[i])
			legacy_device(a, &com[i]);
	if (p->rtc)
		legacy_device(a, &rtc);
	if (p->i8042)
		legacy_device(a, &keyboard);
}

static void part_pvpanic(struct aml *a, const struct acpi_params *p)
{
	if (!p->pvpanic)
		return;
	/* Linux' driver takes the port from _CRS and wants _STA to say present and working */
	aml_device(a, "PVPN");
	aml_name_string(a, "_HID", "QEMU0001");
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_io(a, p->pvpanic_port ? p->pvpanic_port : PORT_PVPANIC, PORT_PVPANIC_LEN);
	aml_close(a);
	aml_name_int(a, "_STA", STA_ALL);
	aml_close(a);
}

static void store_int(struct aml *a, uint64_t v, const char *target)
{
	aml_op(a, AML_STORE);
	aml_int(a, v);
	aml_path(a, target);
}

static void store_arg(struct aml *a, unsigned arg, const char *target)
{
	aml_op(a, AML_STORE);
	aml_arg(a, arg);
	aml_path(a, target);
}

/* --- PCI --- */

/* INTx pins are wired straight to I/O APIC lines: no link devices to program */
static void pci_routes(struct aml *a, uint32_t slots)
{
	const unsigned pins = 4;

	aml_name(a, "_PRT");
	aml_package(a, (unsigned)__builtin_popcount(slots) * pins);
	for (unsigned slot = 0; slot < PCIHP_SLOTS; slot++) {
		if (!(slots & 1u << slot))
			continue;
		for (unsigned pin = 0; pin < pins; pin++) {
			aml_package(a, 4);
			aml_int(a, slot << 16 | 0xffff);	/* any function */
			aml_int(a, pin);
			aml_int(a, 0);				/* no link device: a GSI follows */
			aml_int(a, INTX_GSI(slot, pin));
			aml_close(a);
		}
	}
	aml_close(a);
}

static const char *pci_slot_name(char name[5], unsigned slot)
{
	g_snprintf(name, 5, "S%02X", slot & 0xff);
	return name;
}

/* The walk of one register's bits: cleared first, so that what comes meanwhile raises the event again; then told. */
static void pci_walk(struct aml *a, uint32_t slots, const char *bits, unsigned event)
{
	char name[5];

	aml_op(a, AML_STORE);
	aml_path(a, bits);
	aml_local(a, 0);
	aml_op(a, AML_STORE);
	aml_local(a, 0);
	aml_path(a, bits);
	for (unsigned slot = 0; slot < PCIHP_SLOTS; slot++) {
		if (!(slots & 1u << slot))
			continue;
		aml_if(a);
		aml_op(a, AML_AND);
		aml_local(a, 0);
		aml_int(a, 1u << slot);
		aml_op(a, AML_ZERO);
		aml_op(a, AML_NOTIFY);
		aml_path(a, pci_slot_name(name, slot));
		aml_int(a, event);
		aml_close(a);
	}
}

static void pci_slots(struct aml *a, uint32_t slots)
{
	char name[5];

	for (unsigned slot = 0; slot < PCIHP_SLOTS; slot++) {
		if (!(slots & 1u << slot))
			continue;
		aml_device(a, pci_slot_name(name, slot));
		aml_name_int(a, "_ADR", slot << 16);
		aml_name_int(a, "_SUN", slot);
		aml_method(a, "_EJ0", 1, false);
		store_int(a, 1u << slot, "PEJT");
		aml_close(a);
		aml_method(a, "_OST", 3, false);
		aml_path(a, "PRPT");
		aml_int(a, slot);
		aml_arg(a, 0);
		aml_arg(a, 1);
		aml_close(a);
		aml_close(a);
	}
}

static void pci_hotplug(struct aml *a, uint32_t slots)
{
	aml_io_region(a, "PHPR", PORT_PCIHP, PORT_PCIHP_LEN);
	aml_field(a, "PHPR", AML_ACC_DWORD, AML_WRITE_ZEROS);
	aml_field_bits(a, "PUP", 32);
	aml_field_bits(a, "PDWN", 32);
	aml_field_bits(a, "PEJT", 32);
	aml_field_bits(a, "POSL", 32);
	aml_field_bits(a, "POEV", 32);
	aml_field_bits(a, "POST", 32);
	aml_close(a);
	pci_slots(a, slots);
	aml_method(a, "PSCN", 0, true);
	pci_walk(a, slots, "PUP", EVENT_DEVICE_CHECK);
	pci_walk(a, slots, "PDWN", EVENT_EJECT);
	aml_close(a);
	aml_method(a, "PRPT", 3, true);		/* slot, event, status: one report at a time */
	store_arg(a, 0, "POSL");
	store_arg(a, 1, "POEV");
	store_arg(a, 2, "POST");
	aml_close(a);
}

static void events_pci(struct aml *a, const struct acpi_params *p)
{
	char method[5];

	if (!p->plug_slots)
		return;
	g_snprintf(method, sizeof(method), "_E%02X", GPE_PCI_HOTPLUG);
	aml_method(a, method, 0, false);
	aml_path(a, "\\_SB.PCI0.PSCN");
	aml_close(a);
}

static void part_pci(struct aml *a, const struct acpi_params *p)
{
	if (!p->pci)
		return;
	aml_device(a, "PCI0");
	aml_name_eisaid(a, "_HID", "PNP0A08");
	aml_name_eisaid(a, "_CID", "PNP0A03");
	aml_name_int(a, "_UID", 0);
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_BBN", 0);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_window(a, AML_BUS, 2, true, 0, p->ecam_buses ? p->ecam_buses : 256);
	aml_res_io(a, PORT_PCI_ADDR, PORT_PCI_LEN);
	/* nothing between: there live the fixed ports above 0xcff, which BARs must not get */
	aml_res_window(a, AML_IO, 2, true, 0, PORT_PCI_ADDR);
	aml_res_window(a, AML_IO, 2, true, PORT_PCI_IO_BASE, PORT_PCI_IO_LEN);
	if (p->mmio32_size)
		aml_res_window(a, AML_MEM, 4, true, p->mmio32_base, p->mmio32_size);
	if (p->mmio64_size)
		aml_res_window(a, AML_MEM, 8, true, p->mmio64_base, p->mmio64_size);
	aml_close(a);
	pci_routes(a, p->plug_slots ? p->plug_slots : UINT32_MAX);
	if (p->plug_slots)
		pci_hotplug(a, p->plug_slots);
	aml_close(a);

	if (p->ecam_buses) {
		/* guests use ECAM only where it is reserved as a board resource as well */
		aml_device(a, "ECAM");
		aml_name_eisaid(a, "_HID", "PNP0C02");
		aml_name_int(a, "_UID", 0);
		aml_name(a, "_CRS");
		aml_resources(a);
		if ((p->ecam_base + ((uint64_t)p->ecam_buses << 20) - 1) >> 32)
			aml_res_window(a, AML_MEM, 8, false, p->ecam_base, (uint64_t)p->ecam_buses << 20);
		else
			aml_res_mem32(a, (uint32_t)p->ecam_base, (uint32_t)p->ecam_buses << 20);
		aml_close(a);
		aml_close(a);
	}
}

/* --- CPUs --- */

static const char *slot_name(char name[5], unsigned slot)
{
	g_snprintf(name, 5, "C%03X", slot & 0xfff);
	return name;
}

static bool slot_hotplug(const struct acpi_params *p, unsigned slot)
{
	return acpi_cpu_flags(p, slot) & ACPI_CPU_HOTPLUG;
}

static bool hotplug_slots(const struct acpi_params *p)
{
	for (unsigned i = 0; i < p->max_cpus; i++)
		if (slot_hotplug(p, i))
			return true;
	return false;
}

/* Under the lock: the slot in @op (a local or an argument) is the one the block's registers mean. */
static void select_slot(struct aml *a, unsigned op)
{
	aml_op(a, AML_STORE);
	aml_op(a, op);
	aml_path(a, "CSEL");
}

static void if_equal_int(struct aml *a, unsigned op, uint64_t v)
{
	aml_if(a);
	aml_op(a, AML_LEQUAL);
	aml_op(a, op);
	aml_int(a, v);
}

static void hotplug_registers(struct aml *a)
{
	aml_io_region(a, "PRST", PORT_CPUHP, PORT_CPUHP_LEN);
	aml_field(a, "PRST", AML_ACC_DWORD, AML_WRITE_ZEROS);
	aml_field_bits(a, "CSEL", 32);
	aml_field_bits(a, NULL, 32);
	aml_field_bits(a, "COEV", 32);
	aml_field_bits(a, "COST", 32);
	aml_close(a);
	aml_field(a, "PRST", AML_ACC_BYTE, AML_WRITE_ZEROS);
	aml_field_bits(a, NULL, CPUHP_STATE * 8);
	aml_field_bits(a, "CPEN", 1);
	aml_field_bits(a, "CINS", 1);
	aml_field_bits(a, "CRMV", 1);
	aml_field_bits(a, "CEJT", 1);
	aml_close(a);
	aml_mutex(a, "CPLK");
}

/* CTFY (slot, event): unless it is an eject request the slot is present; tell the OS of an event. */
static void hotplug_notify(struct aml *a, const struct acpi_params *p)
{
	char name[5], sta[16];

	aml_method(a, "CTFY", 2, true);
	for (unsigned i = 0; i < p->max_cpus; i++) {
		if (!slot_hotplug(p, i))
			continue;
		/* only names of one segment are searched for upwards */
		g_snprintf(sta, sizeof(sta), "^%s._STA", slot_name(name, i));
		if_equal_int(a, AML_ARG0, i);
		aml_if(a);
		aml_op(a, AML_LNOT);
		aml_op(a, AML_LEQUAL);
		aml_arg(a, 1);
		aml_int(a, EVENT_EJECT);
		store_int(a, STA_ALL, sta);
		aml_close(a);
		aml_if(a);
		aml_arg(a, 1);
		aml_op(a, AML_NOTIFY);
		aml_path(a, name);
		aml_arg(a, 1);
		aml_close(a);
		aml_close(a);
	}
	aml_close(a);
}

static void call_notify(struct aml *a, unsigned event)
{
	aml_path(a, "CTFY");
	aml_local(a, 0);
	aml_int(a, event);
}

/* If the selected slot's @flag is set: clear it when it is an event, then CTFY (Local0, event). */
static void if_flag_notify(struct aml *a, const char *flag, unsigned event)
{
	aml_if(a);
	aml_path(a, flag);
	if (event != EVENT_NONE)
		store_int(a, 1, flag);
	call_notify(a, event);
	aml_close(a);
}

/* A method that walks all slots that may change: at boot for what is present, else for events. */
static void hotplug_walk(struct aml *a, const struct acpi_params *p, const char *method, bool boot)
{
	unsigned first = 0;

	while (!slot_hotplug(p, first))
		first++;
	aml_method(a, method, 0, true);
	aml_acquire(a, "CPLK");
	aml_op(a, AML_STORE);
	aml_int(a, first);
	aml_local(a, 0);
	aml_while(a);
	aml_op(a, AML_LLESS);
	aml_local(a, 0);
	aml_int(a, p->max_cpus);
	select_slot(a, AML_LOCAL0);
	if (boot) {
		if_flag_notify(a, "CPEN", EVENT_NONE);
	} else {
		if_flag_notify(a, "CINS", EVENT_DEVICE_CHECK);
		if_flag_notify(a, "CRMV", EVENT_EJECT);
	}
	aml_op(a, AML_INCREMENT);
	aml_local(a, 0);
	aml_close(a);
	aml_release(a, "CPLK");
	aml_close(a);
}

static void hotplug_methods(struct aml *a)
{
	aml_method(a, "CEJ0", 1, true);
	aml_acquire(a, "CPLK");
	select_slot(a, AML_ARG0);
	store_int(a, 1, "CEJT");
	aml_release(a, "CPLK");
	aml_close(a);

	aml_method(a, "CRPT", 3, true);		/* slot, event, status */
	aml_acquire(a, "CPLK");
	select_slot(a, AML_ARG0);
	aml_op(a, AML_STORE);
	aml_arg(a, 1);
	aml_path(a, "COEV");
	aml_op(a, AML_STORE);
	aml_arg(a, 2);
	aml_path(a, "COST");
	aml_release(a, "CPLK");
	aml_close(a);
}

static void slot_methods(struct aml *a, const struct acpi_params *p, unsigned slot)
{
	g_autoptr(GByteArray) mat = g_byte_array_new();

	aml_name_int(a, "_STA", 0);
	acpi_madt_cpu(mat, p, slot, ACPI_MADT_ENABLED);
	aml_name(a, "_MAT");
	aml_buffer(a, mat->data, mat->len);

	aml_method(a, "_EJ0", 1, true);
	aml_path(a, "CEJ0");
	aml_int(a, slot);
	store_int(a, 0, "_STA");
	aml_close(a);

	aml_method(a, "_OST", 3, true);
	aml_path(a, "CRPT");
	aml_int(a, slot);
	aml_arg(a, 0);
	aml_arg(a, 1);
	aml_close(a);
}

static void part_cpus(struct aml *a, const struct acpi_params *p)
{
	char name[5];

	aml_device(a, "CPUS");
	aml_name_string(a, "_HID", "ACPI0010");
	aml_name_eisaid(a, "_CID", "PNP0A05");
	if (hotplug_slots(p)) {
		hotplug_registers(a);
		hotplug_notify(a, p);
		hotplug_walk(a, p, "_INI", true);
		hotplug_walk(a, p, "CSCN", false);
		hotplug_methods(a);
	}
	for (unsigned i = 0; i < p->max_cpus; i++) {
		aml_device(a, slot_name(name, i));
		aml_name_string(a, "_HID", "ACPI0007");
		aml_name_int(a, "_UID", i);
		if (p->nodes)
			aml_name_int(a, "_PXM", p->cpu_node[i]);
		if (slot_hotplug(p, i))
			slot_methods(a, p, i);
		aml_close(a);
	}
	aml_close(a);
}

static void events_cpus(struct aml *a, const struct acpi_params *p)
{
	char method[5];

	if (!hotplug_slots(p))
		return;
	g_snprintf(method, sizeof(method), "_E%02X", GPE_CPU_HOTPLUG);
	aml_method(a, method, 0, false);
	aml_path(a, "\\_SB.CPUS.CSCN");
	aml_close(a);
}

struct part {
	void (*devices)(struct aml *, const struct acpi_params *);	/* in scope \_SB */
	void (*events)(struct aml *, const struct acpi_params *);	/* in scope \_GPE, or NULL */
};

static const struct part parts[] = {
	{ part_cpus, events_cpus },
	{ part_pci, events_pci },
	{ part_legacy, NULL },
	{ part_pvpanic, NULL },
};

void acpi_dsdt(GByteArray *out, const struct acpi_params *p)
{
	struct aml a;

	aml_init(&a, out);
	aml_name(&a, "_S5");
	aml_package(&a, 4);
	aml_int(&a, PM1_SLP_TYP_S5);
	aml_int(&a, PM1_SLP_TYP_S5);
	aml_int(&a, 0);
	aml_int(&a, 0);
	aml_close(&a);
	aml_scope(&a, "_SB");
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++)
		parts[i].devices(&a, p);
	aml_close(&a);
	aml_scope(&a, "_GPE");
	for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++)
		if (parts[i].events)
			parts[i].events(&a, p);
	aml_close(&a);
	aml_finish(&a);
}
