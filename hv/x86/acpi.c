/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables: checks the description, then lays the tables out one after another:
 *
 *	base      RSDP -> XSDT
 *	base+64   FACS (64 bytes, aligned to its size)
 *	          DSDT, then each table of tables[], aligned to 16; the FADT names FACS and DSDT
 *	          XSDT, last, when all addresses are known
 *
 * Offsets in comments are those of ACPI 6.5 chapter 5.
 */
#include "hv/x86/acpi.h"

#include "domain/error.h"
#include "hv/x86/blob.h"
#include "hv/x86/ports.h"

#include <inttypes.h>
#include <string.h>

#define HEADER_LEN 36
#define RSDP_LEN 36
#define FACS_LEN 64
#define FADT_LEN 276
#define ALIGN_FACS 64
#define ALIGN_TABLE 16
#define CREATOR "KVMD"
#define PAGE_MASK 0xfffu

/* where the blob stands and what later tables need of earlier ones */
struct layout {
	const struct acpi_params *p;
	uint64_t base, facs, dsdt;
	GByteArray *out;
};

/* --- CPU slots --- */

unsigned acpi_cpu_flags(const struct acpi_params *p, unsigned slot)
{
	if (p->cpu_flags)
		return p->cpu_flags[slot];
	return slot < p->cpus ? ACPI_CPU_PRESENT : ACPI_CPU_HOTPLUG;
}

uint32_t acpi_apic_id(const struct acpi_params *p, unsigned slot)
{
	return p->apic_ids ? p->apic_ids[slot] : slot;
}

/* 255 is the broadcast id, and the short entries have 8 bits for both ids */
static bool wants_x2apic(const struct acpi_params *p, unsigned slot)
{
	return acpi_apic_id(p, slot) >= 255 || slot >= 255;
}

void acpi_madt_cpu(GByteArray *out, const struct acpi_params *p, unsigned slot, uint32_t flags)
{
	if (wants_x2apic(p, slot)) {
		blob_u8(out, 9);
		blob_u8(out, 16);
		blob_u16(out, 0);
		blob_u32(out, acpi_apic_id(p, slot));
		blob_u32(out, flags);
		blob_u32(out, slot);
	} else {
		blob_u8(out, 0);
		blob_u8(out, 8);
		blob_u8(out, slot);
		blob_u8(out, acpi_apic_id(p, slot));
		blob_u32(out, flags);
	}
}

/* --- tables: each appends its body after the header --- */

static void generic_address(GByteArray *b, unsigned space, unsigned bits, unsigned access,
			    uint64_t address)
{
	blob_u8(b, space);
	blob_u8(b, bits);
	blob_u8(b, 0);
	blob_u8(b, access);		/* 1 byte, 2 word, 3 dword */
	blob_u64(b, address);
}

static void io_address(GByteArray *b, unsigned port, unsigned len, unsigned access)
{
	generic_address(b, 1, len * 8, access, port);
}

static void no_address(GByteArray *b)
{
	blob_zero(b, 12);
}

enum {
	/* IAPC_BOOT_ARCH, 5.2.9.3 */
	BOOT_LEGACY_DEVICES = 1 << 0,
	BOOT_8042 = 1 << 1,
	BOOT_NO_VGA = 1 << 2,
	BOOT_NO_CMOS_RTC = 1 << 5,
	/* fixed feature flags, table 5.10; PWR_BUTTON clear: the power button is fixed hardware */
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_NO_SLEEP_BUTTON = 1 << 5,
	FADT_NO_FIXED_RTC = 1 << 6,
	FADT_TMR_32BIT = 1 << 8,
	FADT_RESET_REG = 1 << 10,
};

static void fadt_body(GByteArray *b, const struct layout *l)
{
	const struct acpi_params *p = l->p;
	size_t start = b->len - HEADER_LEN;
	unsigned boot = BOOT_LEGACY_DEVICES | BOOT_NO_VGA;

	if (p->i8042)
		boot |= BOOT_8042;
	if (!p->rtc)
		boot |= BOOT_NO_CMOS_RTC;

	blob_u32(b, (uint32_t)l->facs);		/* 36; X_FIRMWARE_CTRL stays 0: one pointer only */
	blob_u32(b, (uint32_t)l->dsdt);		/* 40 */
	blob_u8(b, 0);
	blob_u8(b, 0);				/* 45 preferred profile: unspecified */
	blob_u16(b, IRQ_SCI);			/* 46 */
	blob_zero(b, 8);			/* 48 SMI_CMD 0: always in ACPI mode */
	blob_u32(b, PORT_PM1_EVT);		/* 56 */
	blob_u32(b, 0);
	blob_u32(b, PORT_PM1_CNT);		/* 64 */
	blob_u32(b, 0);
	blob_u32(b, 0);
	blob_u32(b, p->pm_timer ? PORT_PM_TMR : 0);	/* 76 */
	blob_u32(b, PORT_GPE0);			/* 80 */
	blob_u32(b, 0);
	blob_u8(b, PORT_PM1_EVT_LEN);		/* 88 */
	blob_u8(b, PORT_PM1_CNT_LEN);
	blob_u8(b, 0);
	blob_u8(b, p->pm_timer ? PORT_PM_TMR_LEN : 0);
	blob_u8(b, PORT_GPE0_LEN);		/* 92 */
	blob_zero(b, 3);
	blob_u16(b, 0xfff);			/* 96 P_LVL2_LAT, P_LVL3_LAT: no C2, C3 */
	blob_u16(b, 0xfff);
	blob_zero(b, 8);			/* 100 FLUSH_SIZE .. MON_ALRM */
	blob_u8(b, p->rtc ? 0x32 : 0);		/* 108 CENTURY: its place in the CMOS */
	blob_u16(b, boot);			/* 109 */
	blob_u8(b, 0);
	blob_u32(b, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_FIXED_RTC |
		 FADT_RESET_REG | (p->pm_timer ? FADT_TMR_32BIT : 0));	/* 112 */
	io_address(b, PORT_RESET, 1, 1);	/* 116 */
	blob_u8(b, RESET_VALUE);		/* 128 */
	blob_u16(b, 0);
	blob_u8(b, 3);				/* 131 minor version: 6.3 */
	blob_u64(b, 0);				/* 132 X_FIRMWARE_CTRL */
	blob_u64(b, l->dsdt);			/* 140 */
	io_address(b, PORT_PM1_EVT, PORT_PM1_EVT_LEN, 2);	/* 148 */
	no_address(b);
	io_address(b, PORT_PM1_CNT, PORT_PM1_CNT_LEN, 2);	/* 172 */
	no_address(b);
	no_address(b);
	if (p->pm_timer)
		io_address(b, PORT_PM_TMR, PORT_PM_TMR_LEN, 3);	/* 208 */
	else
		no_address(b);
	io_address(b, PORT_GPE0, PORT_GPE0_LEN, 1);		/* 220 */
	no_address(b);
	no_address(b);				/* 244 sleep control, sleep status: hardware-reduced only */
	no_address(b);
	blob_text(b, CREATOR, 8, 0);		/* 268 hypervisor vendor */
	g_assert_cmpuint(b->len - start, ==, FADT_LEN);
}

static void interrupt_override(GByteArray *b, unsigned irq, uint32_t gsi, unsigned flags)
{
	blob_u8(b, 2);
	blob_u8(b, 10);
	blob_u8(b, 0);				/* ISA */
	blob_u8(b, irq);
	blob_u32(b, gsi);
	blob_u16(b, flags);
}

static void madt_body(GByteArray *b, const struct layout *l)
{
	const struct acpi_params *p = l->p;
	bool x2apic = false;

	blob_u32(b, LAPIC_BASE);
	blob_u32(b, 1);				/* PCAT_COMPAT: there is a PIC too */
	for (unsigned i = 0; i < p->max_cpus; i++) {
		acpi_madt_cpu(b, p, i, acpi_cpu_flags(p, i) & ACPI_CPU_PRESENT ?
			      ACPI_MADT_ENABLED : ACPI_MADT_ONLINE_CAPABLE);
		x2apic |= wants_x2apic(p, i);
	}
	blob_u8(b, 1);				/* I/O APIC, id 0, GSIs from 0 */
	blob_u8(b, 12);
	blob_u16(b, 0);
	blob_u32(b, IOAPIC_BASE);
	blob_u32(b, 0);
	if (p->irq0_override)
		interrupt_override(b, 0, 2, 0);
	interrupt_override(b, IRQ_SCI, IRQ_SCI, 0x0d);	/* level, active high */
	blob_u8(b, 4);				/* NMI on LINT1 of every local APIC */
	blob_u8(b, 6);
	blob_u8(b, 0xff);
	blob_u16(b, 0);
	blob_u8(b, 1);
	if (x2apic) {
		blob_u8(b, 10);
		blob_u8(b, 12);
		blob_u16(b, 0);
		blob_u32(b, 0xffffffff);
		blob_u8(b, 1);
		blob_zero(b, 3);
	}
}

static bool mcfg_wanted(const struct acpi_params *p)
{
	return p->pci && p->ecam_buses;
}

static void mcfg_body(GByteArray *b, const struct layout *l)
{
	blob_u64(b, 0);
	blob_u64(b, l->p->ecam_base);
	blob_u16(b, 0);				/* segment */
	blob_u8(b, 0);
	blob_u8(b, l->p->ecam_buses - 1);
	blob_u32(b, 0);
}

static bool srat_wanted(const struct acpi_params *p)
{
	return p->nodes;
}

static void srat_body(GByteArray *b, const struct layout *l)
{
	const struct acpi_params *p = l->p;

	blob_u32(b, 1);
	blob_u64(b, 0);
	for (unsigned i = 0; i < p->max_cpus; i++) {
		uint32_t node = p->cpu_node[i];

		if (wants_x2apic(p, i)) {
			blob_u8(b, 2);
			blob_u8(b, 24);
			blob_u16(b, 0);
			blob_u32(b, node);
			blob_u32(b, acpi_apic_id(p, i));
			blob_u32(b, 1);		/* enabled */
			blob_zero(b, 8);
		} else {
			blob_u8(b, 0);
			blob_u8(b, 16);
			blob_u8(b, node & 0xff);
			blob_u8(b, acpi_apic_id(p, i));
			blob_u32(b, 1);
			blob_u8(b, 0);
			blob_u8(b, node >> 8 & 0xff);
			blob_u16(b, node >> 16);
			blob_u32(b, 0);
		}
	}
	for (unsigned i = 0; i < p->n_mems; i++) {
		blob_u8(b, 1);
		blob_u8(b, 40);
		blob_u32(b, p->mems[i].node);
		blob_u16(b, 0);
		blob_u64(b, p->mems[i].base);
		blob_u64(b, p->mems[i].size);
		blob_u32(b, 0);
		blob_u32(b, 1 | (p->mems[i].hotplug ? 2 : 0));
		blob_u64(b, 0);
	}
}

static bool slit_wanted(const struct acpi_params *p)
{
	return p->nodes && p->distances;
}

static void slit_body(GByteArray *b, const struct layout *l)
{
	blob_u64(b, l->p->nodes);
	blob_put(b, l->p->distances, (size_t)l->p->nodes * l->p->nodes);
}

static void dsdt_body(GByteArray *b, const struct layout *l)
{
	acpi_dsdt(b, l->p);
}

struct table {
	const char *signature;
	uint8_t revision;
	bool (*wanted)(const struct acpi_params *p);	/* NULL: always */
	void (*body)(GByteArray *b, const struct layout *l);
};

static const struct table dsdt_table = { "DSDT", 2, NULL, dsdt_body };

/* what the XSDT lists, in its order; the FADT comes first */
static const struct table tables[] = {
	{ "FACP", 6, NULL, fadt_body },
	{ "APIC", 5, NULL, madt_body },
	{ "MCFG", 1, mcfg_wanted, mcfg_body },
	{ "SRAT", 3, srat_wanted, srat_body },
	{ "SLIT", 1, slit_wanted, slit_body },
};

static size_t begin_table(struct layout *l, const char *signature, unsigned revision)
{
	const struct acpi_params *p = l->p;
	GByteArray *b = l->out;
	size_t start;

	blob_align(b, ALIGN_TABLE);
	start = b->len;
	blob_text(b, signature, 4, 0);
	blob_u32(b, 0);				/* length: end_table() */
	blob_u8(b, revision);
	blob_u8(b, 0);				/* checksum: end_table() */
	blob_text(b, p->oem_id ? p->oem_id : "KVMD", 6, ' ');
	blob_text(b, p->oem_table_id ? p->oem_table_id : "KVMD", 8, ' ');
	blob_u32(b, 1);
	blob_text(b, CREATOR, 4, ' ');
	blob_u32(b, 1);
	return start;
}

static void end_table(struct layout *l, size_t start)
{
	size_t len = l->out->len - start;

	blob_set_u32(l->out, start + 4, (uint32_t)len);
	blob_checksum(l->out, start, len, start + 9);
}

static uint64_t add_table(struct layout *l, const struct table *t)
{
	size_t start = begin_table(l, t->signature, t->revision);

	t->body(l->out, l);
	end_table(l, start);
	return l->base + start;
}

static void add_rsdp(struct layout *l)
{
	GByteArray *b = l->out;

	blob_text(b, "RSD PTR ", 8, ' ');
	blob_u8(b, 0);
	blob_text(b, l->p->oem_id ? l->p->oem_id : "KVMD", 6, ' ');
	blob_u8(b, 2);
	blob_u32(b, 0);				/* no RSDT */
	blob_u32(b, RSDP_LEN);
	blob_u64(b, 0);				/* 24 XSDT: finish_rsdp() */
	blob_u32(b, 0);
}

static void finish_rsdp(struct layout *l, uint64_t xsdt)
{
	blob_set_u64(l->out, 24, xsdt);
	blob_checksum(l->out, 0, 20, 8);
	blob_checksum(l->out, 0, RSDP_LEN, 32);
}

static uint64_t add_facs(struct layout *l)
{
	size_t start;

	blob_align(l->out, ALIGN_FACS);
	start = l->out->len;
	blob_text(l->out, "FACS", 4, 0);
	blob_u32(l->out, FACS_LEN);
	blob_zero(l->out, 24);
	blob_u8(l->out, 2);			/* 32 version */
	blob_zero(l->out, FACS_LEN - 33);
	return l->base + start;
}

/* --- checks --- */

static bool check_text(const char *what, const char *s, size_t max, GError **err)
{
	if (!s)
		return true;
	if (strnlen(s, max + 1) > max)
		return kerr_set(err, KERR_ARGS, "%s '%s' is longer than %zu characters", what, s, max);
	for (; *s; s++)
		if (!g_ascii_isprint(*s))
			return kerr_set(err, KERR_ARGS, "%s has a character that is not printable", what);
	return true;
}

static bool check_range(const char *what, uint64_t base, uint64_t size, uint64_t end, uint64_t align,
			GError **err)
{
	if (!size || (base | size) & (align - 1) || base > end || size - 1 > end - base)
		return kerr_set(err, KERR_ARGS, "%s at 0x%" PRIx64 ", size 0x%" PRIx64
				" is not aligned to 0x%" PRIx64 " or ends above 0x%" PRIx64,
				what, base, size, align, end);
	return true;
}

static bool check_cpus(const struct acpi_params *p, GError **err)
{
	unsigned present = 0;

	if (p->max_cpus < 1 || p->max_cpus > ACPI_CPUS_MAX)
		return kerr_set(err, KERR_ARGS, "%u possible CPUs is outside 1..%u", p->max_cpus,
				ACPI_CPUS_MAX);
	if (p->cpus < 1 || p->cpus > p->max_cpus)
		return kerr_set(err, KERR_ARGS, "%u CPUs is outside 1..%u", p->cpus, p->max_cpus);
	for (unsigned i = 0; i < p->max_cpus; i++) {
		unsigned flags = acpi_cpu_flags(p, i);

		if (!flags || flags & ~(unsigned)(ACPI_CPU_PRESENT | ACPI_CPU_HOTPLUG))
			return kerr_set(err, KERR_ARGS, "CPU %u has bad flags 0x%x", i, flags);
		if (flags & ACPI_CPU_HOTPLUG && !p->cpu_hotplug)
			return kerr_set(err, KERR_ARGS,
					"CPU %u is for hot-plug in a machine without it", i);
		if (i && acpi_apic_id(p, i) <= acpi_apic_id(p, i - 1))
			return kerr_set(err, KERR_ARGS, "APIC id %u of CPU %u does not rise",
					acpi_apic_id(p, i), i);
		present += flags & ACPI_CPU_PRESENT;
	}
	if (acpi_apic_id(p, p->max_cpus - 1) == UINT32_MAX)
		return kerr_set(err, KERR_ARGS, "APIC id 0x%x means all CPUs", UINT32_MAX);
	if (!(acpi_cpu_flags(p, 0) & ACPI_CPU_PRESENT) || present != p->cpus)
		return kerr_set(err, KERR_ARGS, "%u CPUs are flagged present instead of %u, or CPU 0 is not",
				present, p->cpus);
	return true;
}

static bool check_pci(const struct acpi_params *p, GError **err)
{
	if (!p->pci)
		return !p->plug_slots || kerr_set(err, KERR_ARGS, "PCI hot-plug in a machine without PCI");
	if (p->plug_slots & 1)
		return kerr_set(err, KERR_ARGS, "the host bridge's slot can't be for hot-plug");
	if (p->ecam_buses > 256)
		return kerr_set(err, KERR_ARGS, "%u PCI buses are more than 256", p->ecam_buses);
	if (p->mmio32_size && !p->mmio32_base)
		return kerr_set(err, KERR_ARGS, "the 32-bit PCI window can't start at 0");
	return (!p->ecam_buses ||
		check_range("the ECAM window", p->ecam_base, (uint64_t)p->ecam_buses << 20,
			    UINT64_MAX, 1 << 20, err)) &&
	       (!p->mmio32_size ||
		check_range("the 32-bit PCI window", p->mmio32_base, p->mmio32_size, UINT32_MAX,
			    PAGE_MASK + 1, err)) &&
	       (!p->mmio64_size ||
		check_range("the 64-bit PCI window", p->mmio64_base, p->mmio64_size, UINT64_MAX,
			    PAGE_MASK + 1, err));
}

static bool check_numa(const struct acpi_params *p, GError **err)
{
	uint64_t end = 0;

	if (!p->nodes)
		return true;
	if (p->nodes > ACPI_NODES_MAX || p->n_mems > ACPI_MEMS_MAX)
		return kerr_set(err, KERR_ARGS, "%u NUMA nodes, %u memory ranges are more than %u, %u",
				p->nodes, p->n_mems, ACPI_NODES_MAX, ACPI_MEMS_MAX);
	if (!p->cpu_node || (p->n_mems && !p->mems))
		return kerr_set(err, KERR_ARGS, "NUMA nodes without their CPUs or memory");
	for (unsigned i = 0; i < p->max_cpus; i++)
		if (p->cpu_node[i] >= p->nodes)
			return kerr_set(err, KERR_ARGS, "CPU %u is in node %u of %u", i, p->cpu_node[i],
					p->nodes);
	for (unsigned i = 0; i < p->n_mems; i++) {
		const struct acpi_mem *m = &p->mems[i];

		if (!check_range("a memory range", m->base, m->size, UINT64_MAX - 1, 1, err))
			return false;
		if (m->node >= p->nodes || m->base < end)
			return kerr_set(err, KERR_ARGS, "memory at 0x%" PRIx64
					" is in node %u of %u, or overlaps the one before", m->base,
					m->node, p->nodes);
		end = m->base + m->size;
	}
	for (unsigned i = 0; p->distances && i < p->nodes * p->nodes; i++) {
		bool own = i / p->nodes == i % p->nodes;

		if (own ? p->distances[i] != 10 : p->distances[i] < 11)
			return kerr_set(err, KERR_ARGS, "NUMA distance %u from node %u to %u",
					p->distances[i], i / p->nodes, i % p->nodes);
	}
	return true;
}

static bool check_params(const struct acpi_params *p, uint64_t base, uint64_t limit, GError **err)
{
	/* FADT.FIRMWARE_CTRL, FADT.DSDT have 32 bits */
	if (base % ALIGN_FACS || base >= limit || limit - 1 > UINT32_MAX)
		return kerr_set(err, KERR_ARGS, "tables can't lie at 0x%" PRIx64 "..0x%" PRIx64, base,
				limit);
	return check_text("oem_id", p->oem_id, 6, err) &&
	       check_text("oem_table_id", p->oem_table_id, 8, err) && check_cpus(p, err) &&
	       check_pci(p, err) && check_numa(p, err);
}

GByteArray *acpi_build(const struct acpi_params *p, uint64_t base, uint64_t limit, uint64_t *rsdp,
		       GError **err)
{
	g_autoptr(GByteArray) out = NULL;
	struct layout l = { .p = p, .base = base };
	uint64_t at[G_N_ELEMENTS(tables)];
	unsigned n = 0;
	size_t xsdt;

	if (!check_params(p, base, limit, err))
		return NULL;
	l.out = out = g_byte_array_new();
	add_rsdp(&l);
	l.facs = add_facs(&l);
	l.dsdt = add_table(&l, &dsdt_table);
	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++)
		if (!tables[i].wanted || tables[i].wanted(p))
			at[n++] = add_table(&l, &tables[i]);
	xsdt = begin_table(&l, "XSDT", 1);
	for (unsigned i = 0; i < n; i++)
		blob_u64(out, at[i]);
	end_table(&l, xsdt);
	finish_rsdp(&l, base + xsdt);

	if (out->len > limit - base) {
		kerr_set(err, KERR_LIMIT, "ACPI tables of %u bytes do not fit in %" PRIu64
			 " (%u possible CPUs)", out->len, limit - base, p->max_cpus);
		return NULL;
	}
	if (rsdp)
		*rsdp = base;
	return g_steal_pointer(&out);
}
