/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PVH start information: hvm_start_info version 1, one module (the initrd), the memory map. */
#include "hv/x86/boot_pvh.h"

#include "domain/error.h"

#define HVM_START_MAGIC 0x336ec578
#define MEMMAP_AT (BOOT_PVH_INFO + 0x100)
#define MODLIST_AT (BOOT_PVH_INFO + 0x80)

struct hvm_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};
struct hvm_modlist_entry { uint64_t paddr, size, cmdline, reserved; };
struct hvm_memmap_entry { uint64_t addr, size; uint32_t type, reserved; };

G_STATIC_ASSERT(sizeof(struct hvm_start_info) == 56);
G_STATIC_ASSERT(sizeof(struct hvm_memmap_entry) == 24);
G_STATIC_ASSERT(MEMMAP_AT + BOOT_RANGES_MAX * sizeof(struct hvm_memmap_entry) <= BOOT_ZERO_PAGE);

bool boot_pvh(const struct boot_plan *plan, const struct boot_elf *elf, struct boot_entry *entry, GError **err)
{
	struct hvm_start_info info = { .magic = HVM_START_MAGIC, .version = 1, .cmdline = BOOT_CMDLINE, .rsdp = plan->rsdp,
		.memmap = MEMMAP_AT, .memmap_entries = plan->map_n };
	struct hvm_modlist_entry module = { 0 };
	struct hvm_memmap_entry map[BOOT_RANGES_MAX] = { 0 };

	if (!ram_host(plan->ram, elf->pvh_entry, 1))
		return kerr_set(err, KERR_ARGS, "kernel: PVH entry point %#x is outside of memory", elf->pvh_entry);
	if (!boot_place_cmdline(plan, BOOT_CMDLINE_MAX - 1, err))
		return false;
	if (!boot_place_initrd(plan, UINT32_MAX, elf->start, elf->end, false, &module.paddr, &module.size, err))
		return false;
	if (module.size) {
		info.nr_modules = 1;
		info.modlist = MODLIST_AT;
	}
	for (unsigned i = 0; i < plan->map_n; i++)
		map[i] = (struct hvm_memmap_entry){ plan->map[i].base, plan->map[i].size, plan->map[i].type, 0 };
	if (!ram_write(plan->ram, BOOT_PVH_INFO, &info, sizeof(info)) ||
	    !ram_write(plan->ram, MODLIST_AT, &module, sizeof(module)) ||
	    !ram_write(plan->ram, MEMMAP_AT, map, plan->map_n * sizeof(map[0])))
		return kerr_set(err, KERR_NO_MEMORY, "the machine has no memory for its start information");
	*entry = (struct boot_entry){ .mode = BOOT_MODE_PVH, .rip = elf->pvh_entry, .arg = BOOT_PVH_INFO };
	return true;
}
