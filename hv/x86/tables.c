/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From struct vm to the plain descriptions that acpi.c and smbios.c build tables from. */
#include "hv/x86/tables.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

#include "domain/error.h"
#include "hv/vcpu.h"
#include "hv/vm.h"
#include "hv/x86/acpi.h"
#include "hv/x86/cpuid.h"
#include "hv/x86/ports.h"
#include "hv/x86/smbios.h"

#define COM_PORTS 4
#define REGION_ALIGN (1ull << 30)
#define REGION_END (1ull << 46)
#define DISTANCE_LOCAL 10
#define DISTANCE_REMOTE 20

/* --- ACPI --- */

/* All that the NUMA tables point to. */
struct numa {
	uint32_t *cpu_node;
	uint8_t *distances;
	struct acpi_mem *mems;
	unsigned n_mems;
};

static void numa_free(struct numa *n)
{
	g_free(n->cpu_node);
	g_free(n->distances);
	g_free(n->mems);
}

/* Is number n in a canonical cpuset ("0-3,8")? */
static bool in_set(const char *set, unsigned n)
{
	while (set && *set) {
		char *end;
		unsigned long first = strtoul(set, &end, 10), last = *end == '-' ? strtoul(end + 1, &end, 10) : first;

		if (n >= first && n <= last)
			return true;
		set = *end == ',' ? end + 1 : NULL;
	}
	return false;
}

/*
 * Where regions may come to that are not there yet: behind those that are, as much as <maxMemory> allows, with each at a whole
 * GiB. Linux learns from it how far memory may ever reach.
 */
static void add_room(const struct vm *vm, struct numa *n, uint32_t node)
{
	const struct memory *m = &vm->def->memory;
	uint64_t base = RAM_HOLE_END, room;

	if (m->max <= m->size)
		return;
	for (unsigned i = 1; i < RAM_PIECES; i++)
		base = MAX(base, vm->ram.pieces[i].gpa + MAX(vm->ram.pieces[i].size, vm->ram.pieces[i].room));
	base = (base + REGION_ALIGN - 1) & ~(REGION_ALIGN - 1);
	room = m->max - m->size + MIN(m->slots, RAM_PIECES) * REGION_ALIGN;
	room = (room + REGION_ALIGN - 1) & ~(REGION_ALIGN - 1);
	if (base < REGION_END && room <= REGION_END - base)
		n->mems[n->n_mems++] = (struct acpi_mem){ .base = base, .size = room, .node = node, .hotplug = true };
}

/* Cells take their memory from the pieces of RAM in order; what cells leave over goes to the last. */
static void share_memory(const struct vm *vm, struct numa *n)
{
	const GPtrArray *cells = vm->def->cpu.cells;
	unsigned cell = 0;
	uint64_t left = ((const struct numa_cell *)g_ptr_array_index(cells, 0))->memory;

	n->mems = g_new0(struct acpi_mem, cells->len + RAM_PIECES + 1);
	for (unsigned i = 0; i < RAM_BOOT_PIECES; i++) {
		const struct ram_piece *p = &vm->ram.pieces[i];

		for (uint64_t at = 0; at < p->size;) {
			uint64_t take = p->size - at;

			if (cell + 1 < cells->len)
				take = MIN(take, left);
			if (take)
				n->mems[n->n_mems++] = (struct acpi_mem){ .base = p->gpa + at, .size = take, .node = cell };
			at += take;
			left -= MIN(left, take);
			if (!left && cell + 1 < cells->len)
				left = ((const struct numa_cell *)g_ptr_array_index(cells, ++cell))->memory;
		}
	}
	for (unsigned i = RAM_BOOT_PIECES; i < RAM_PIECES; i++) {
		const struct ram_piece *p = &vm->ram.pieces[i];

		if (p->host)
			n->mems[n->n_mems++] = (struct acpi_mem){ .base = p->gpa, .size = p->size, .node = p->node < cells->len ? p->node : 0, .hotplug = true };
	}
	add_room(vm, n, cells->len - 1);
}

static void add_numa(const struct vm *vm, struct acpi_params *p, struct numa *n)
{
	const GPtrArray *cells = vm->def->cpu.cells;

	if (!cells || !cells->len || cells->len > ACPI_NODES_MAX)
		return;
	p->nodes = cells->len;
	n->cpu_node = g_new0(uint32_t, p->max_cpus);
	n->distances = g_new(uint8_t, cells->len * cells->len);
	memset(n->distances, DISTANCE_REMOTE, cells->len * cells->len);
	for (unsigned i = 0; i < cells->len; i++) {
		const struct numa_cell *cell = g_ptr_array_index(cells, i);

		n->distances[i * cells->len + i] = DISTANCE_LOCAL;
		for (unsigned c = 0; c < p->max_cpus; c++)
			if (in_set(cell->cpus, c))
				n->cpu_node[c] = i;
		for (unsigned d = 0; cell->distances && d < cell->distances->len; d++) {
			const struct numa_distance *to = g_ptr_array_index(cell->distances, d);

			if (to->id < cells->len && to->id != i && to->value > DISTANCE_LOCAL && to->value < 256)
				n->distances[i * cells->len + to->id] = (uint8_t)to->value;
		}
	}
	share_memory(vm, n);
	p->cpu_node = n->cpu_node;
	p->distances = n->distances;
	p->mems = n->mems;
	p->n_mems = n->n_mems;
}

static void add_device(const struct vm *vm, struct acpi_params *p, const struct device *d)
{
	const char *type = d->ops->name;

	if (!strcmp(type, "serial")) {
		const struct chardev *c = d->config;
		uint32_t n = c->target.port == CHARDEV_PORT_NONE ? 0 : c->target.port;

		if (n < COM_PORTS)
			p->com[n] = true;
	} else if (!strcmp(type, "rtc")) {
		p->rtc = true;
	} else if (!strcmp(type, "acpi-pm")) {
		p->pm_timer = true;
	} else if (!strcmp(type, "pvpanic")) {
		p->pvpanic = true;
	} else if (!strcmp(type, "pci-host")) {
		p->pci = true;
		p->ecam_base = PCI_ECAM_BASE;
		p->ecam_buses = PCI_ECAM_BUSES;
		p->mmio32_base = PCI_MMIO32_BASE;
		p->mmio32_size = PCI_MMIO32_LEN;
	} else if (!strcmp(type, "cpuhp")) {
		p->cpu_hotplug = true;
	} else if (!strcmp(type, "pcihp")) {
		p->plug_slots = vm->plug_slots;
	}
}

/* Without the hot-plug block only what is there; with it every slot, and what may come and go. */
static void add_cpus(const struct vm *vm, struct acpi_params *p, unsigned n, uint32_t *ids, uint8_t *flags)
{
	struct cpu_layout layout;

	cpu_layout_init(&layout, vm->def);
	for (unsigned i = 0; i < n; i++) {
		unsigned has = (vm_has_vcpu(vm, i) ? ACPI_CPU_PRESENT : 0) |
			(p->cpu_hotplug && machine_vcpu_hotpluggable(vm->def, i) ? ACPI_CPU_HOTPLUG : 0);

		if (!has)
			continue;
		ids[p->max_cpus] = cpu_layout_apic_id(&layout, i);
		flags[p->max_cpus++] = (uint8_t)has;
		p->cpus += has & ACPI_CPU_PRESENT;
	}
}

static bool place_acpi(struct vm *vm, uint64_t *rsdp, GError **err)
{
	unsigned n = MAX(vm->vcpus->len, vm->def->vcpu.max);
	g_autofree uint32_t *ids = g_new(uint32_t, n);
	g_autofree uint8_t *flags = g_new0(uint8_t, n);
	g_autoptr(GByteArray) blob = NULL;
	struct acpi_params p = { .apic_ids = ids, .cpu_flags = flags };
	struct numa numa = { 0 };

	for (unsigned i = 0; i < vm->devices->len; i++)
		add_device(vm, &p, g_ptr_array_index(vm->devices, i));
	add_cpus(vm, &p, n, ids, flags);
	add_numa(vm, &p, &numa);
	blob = acpi_build(&p, TABLES_BASE, TABLES_SMBIOS, rsdp, err);
	numa_free(&numa);
	if (!blob)
		return false;
	return ram_write(&vm->ram, TABLES_BASE, blob->data, blob->len) ||
		kerr_set(err, KERR_NO_MEMORY, "the machine has no memory for its ACPI tables");
}

/* --- SMBIOS --- */

/* A word of <sysinfo>, or NULL. */
static const char *said(const struct sysinfo_block *block, const char *name)
{
	for (unsigned i = 0; block && block->entries && i < block->entries->len; i++) {
		const struct sysinfo_entry *e = g_ptr_array_index(block->entries, i);

		if (e->name && !strcmp(e->name, name))
			return e->value;
	}
	return NULL;
}

static const struct sysinfo *sysinfo_of(const struct machine *m)
{
	for (unsigned i = 0; m->os.smbios == SMBIOS_SYSINFO && m->sysinfo && i < m->sysinfo->len; i++) {
		const struct sysinfo *s = g_ptr_array_index(m->sysinfo, i);

		if (s->type == 1)
			return s;
	}
	return NULL;
}

static bool parse_uuid(const char *text, uint8_t *out)
{
	unsigned n = 0;

	for (; text && *text && n < 32; text++) {
		int v = g_ascii_xdigit_value(*text);

		if (*text == '-')
			continue;
		if (v < 0)
			return false;
		out[n / 2] = (uint8_t)(n & 1 ? out[n / 2] | v : v << 4);
		n++;
	}
	return n == 32;
}

static void add_words(const struct sysinfo *s, struct smbios_params *p, struct smbios_board *boards, const char **strings)
{
	const struct sysinfo_block *b = &s->bios, *y = &s->system, *c = &s->chassis;

	p->bios.vendor = said(b, "vendor"), p->bios.version = said(b, "version");
	p->bios.date = said(b, "date"), p->bios.release = said(b, "release");
	p->system.manufacturer = said(y, "manufacturer"), p->system.product = said(y, "product");
	p->system.version = said(y, "version"), p->system.serial = said(y, "serial");
	p->system.sku = said(y, "sku"), p->system.family = said(y, "family");
	p->chassis.manufacturer = said(c, "manufacturer"), p->chassis.version = said(c, "version");
	p->chassis.serial = said(c, "serial"), p->chassis.asset = said(c, "asset"), p->chassis.sku = said(c, "sku");
	for (unsigned i = 0; s->base_boards && i < s->base_boards->len && i < SMBIOS_BOARDS_MAX; i++) {
		const struct sysinfo_block *board = g_ptr_array_index(s->base_boards, i);

		boards[p->n_boards++] = (struct smbios_board){ said(board, "manufacturer"), said(board, "product"),
			said(board, "version"), said(board, "serial"), said(board, "asset"), said(board, "location") };
	}
	for (unsigned i = 0; s->oem_strings.entries && i < s->oem_strings.entries->len && i < SMBIOS_OEM_STRINGS_MAX; i++)
		strings[p->n_oem_strings++] = ((const struct sysinfo_entry *)g_ptr_array_index(s->oem_strings.entries, i))->value;
	p->boards = boards;
	p->oem_strings = strings;
}

static bool place_smbios(struct vm *vm, GError **err)
{
	const struct sysinfo *words = sysinfo_of(vm->def);
	struct smbios_params p = { .memory = vm->ram.size };
	struct smbios_range ranges[RAM_BOOT_PIECES];
	struct smbios_board boards[SMBIOS_BOARDS_MAX];
	const char *strings[SMBIOS_OEM_STRINGS_MAX];
	g_autoptr(GByteArray) blob = NULL;
	struct cpu_layout layout;
	uint8_t uuid[16];
	uint32_t a, b, c, d;

	if (words)
		add_words(words, &p, boards, strings);
	if (parse_uuid(vm->def->uuid, uuid))
		p.system.uuid = uuid;
	for (unsigned i = 0; i < RAM_BOOT_PIECES; i++)
		if (vm->ram.pieces[i].size)
			ranges[p.n_ranges++] = (struct smbios_range){ vm->ram.pieces[i].gpa, vm->ram.pieces[i].size };
	p.ranges = ranges;
	cpu_layout_init(&layout, vm->def);
	p.sockets = layout.sockets;
	p.cores = layout.cores * layout.dies;
	p.threads = layout.threads;
	__cpuid(1, a, b, c, d);
	p.cpu_id = a | (uint64_t)d << 32;
	blob = smbios_build(&p, TABLES_SMBIOS, TABLES_END, err);
	if (!blob)
		return false;
	return ram_write(&vm->ram, TABLES_SMBIOS, blob->data, blob->len) ||
		kerr_set(err, KERR_NO_MEMORY, "the machine has no memory for its SMBIOS tables");
}

bool tables_place(struct vm *vm, uint64_t *rsdp, GError **err)
{
	*rsdp = 0;
	return place_smbios(vm, err) && (!vm->def->features.acpi || place_acpi(vm, rsdp, err));
}
