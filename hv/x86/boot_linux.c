/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux' 64-bit boot protocol. From a bzImage only the part after the real-mode setup is loaded, at the address it prefers
 * or, when that is not free and it is relocatable, at the lowest aligned one where init_size fits. The zero page is the
 * image's own setup header with our fields set; an ELF vmlinux gets a made-up header. Entropy for the guest's generator
 * goes along as setup_data.
 */
#include "hv/x86/boot_linux.h"

#include <asm/bootparam.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "domain/error.h"

#define HEADER_AT 0x1f1u
#define HEADER_MAGIC 0x53726448u        /* "HdrS" */
#define BOOT_FLAG 0xaa55
#define VERSION_64 0x020cu              /* xloadflags, ext_ramdisk_* */
#define ENTRY_64 0x200u                 /* from the start of the protected-mode part */
#define LOADER_OTHER 0xff
#define SEED_BYTES 32
#ifndef SETUP_RNG_SEED
#define SETUP_RNG_SEED 9
#endif

G_STATIC_ASSERT(sizeof(struct boot_params) == 4096);
G_STATIC_ASSERT(offsetof(struct boot_params, hdr) == HEADER_AT);
G_STATIC_ASSERT(HEADER_AT + sizeof(struct setup_header) <= BOOT_LINUX_HEAD);
G_STATIC_ASSERT(BOOT_RANGES_MAX <= E820_MAX_ENTRIES_ZEROPAGE);

bool boot_is_linux(const uint8_t *head, size_t len)
{
	struct setup_header h;

	if (len < BOOT_LINUX_HEAD)
		return false;
	memcpy(&h, head + HEADER_AT, sizeof(h));
	return h.boot_flag == BOOT_FLAG && h.header == HEADER_MAGIC;
}

/* Is [base, base + size) all RAM that a kernel may have? */
static bool is_free(const struct boot_plan *plan, uint64_t base, uint64_t size)
{
	return base >= BOOT_HIGH && base < RAM_HOLE_START && ram_host(plan->ram, base, size);
}

static bool place_kernel(const struct boot_plan *plan, const struct setup_header *h, uint64_t need, uint64_t *at,
	GError **err)
{
	uint64_t align = h->kernel_alignment;

	*at = h->pref_address;
	if (is_free(plan, *at, need))
		return true;
	if (h->relocatable_kernel && align && !(align & (align - 1)) && align <= RAM_HOLE_START) {
		*at = MAX(align, (BOOT_HIGH + align - 1) & ~(align - 1));
		if (is_free(plan, *at, need))
			return true;
	}
	return kerr_set(err, KERR_NO_MEMORY, "kernel: needs %" G_GUINT64_FORMAT " MiB at %#" G_GINT64_MODIFIER
		"x while it starts; the machine has %" G_GUINT64_FORMAT " MiB of memory", (need + (1 << 20) - 1) >> 20,
		(guint64)h->pref_address, plan->ram->size >> 20);
}

/* Fields and lists that both forms of image share; then the zero page goes to RAM. */
static bool finish(const struct boot_plan *plan, struct boot_params *bp, uint64_t initrd_max, bool initrd_high,
	uint64_t from, uint64_t to, GError **err)
{
	struct { struct setup_data head; uint8_t seed[SEED_BYTES]; } data = { { 0, SETUP_RNG_SEED, SEED_BYTES }, { 0 } };
	uint64_t base, size;

	if (!boot_place_initrd(plan, initrd_max, from, to, initrd_high, &base, &size, err))
		return false;
	bp->hdr.type_of_loader = LOADER_OTHER;
	bp->hdr.loadflags |= LOADED_HIGH;
	bp->hdr.cmd_line_ptr = BOOT_CMDLINE;
	bp->hdr.ramdisk_image = (uint32_t)base;
	bp->hdr.ramdisk_size = (uint32_t)size;
	bp->ext_ramdisk_image = (uint32_t)(base >> 32);
	bp->ext_ramdisk_size = (uint32_t)(size >> 32);
	bp->acpi_rsdp_addr = plan->rsdp;
	for (unsigned i = 0; i < plan->map_n; i++)
		bp->e820_table[i] = (struct boot_e820_entry){ plan->map[i].base, plan->map[i].size, plan->map[i].type };
	bp->e820_entries = (uint8_t)plan->map_n;
	if (getrandom(data.seed, sizeof(data.seed), GRND_NONBLOCK) == (ssize_t)sizeof(data.seed)) {
		if (!ram_write(plan->ram, BOOT_SETUP_DATA, &data, offsetof(typeof(data), seed) + SEED_BYTES))
			return kerr_set(err, KERR_NO_MEMORY, "the machine has no memory for its start information");
		bp->hdr.setup_data = BOOT_SETUP_DATA;
		explicit_bzero(&data, sizeof(data));
	}
	if (!ram_write(plan->ram, BOOT_ZERO_PAGE, bp, sizeof(*bp)))
		return kerr_set(err, KERR_NO_MEMORY, "the machine has no memory for its start information");
	return true;
}

bool boot_linux(const struct boot_plan *plan, const uint8_t *head, struct boot_entry *entry, GError **err)
{
	struct boot_params bp = { 0 };
	struct setup_header *h = &bp.hdr;
	uint64_t file, setup, size, need, at, limit;
	size_t header;

	/* The header says itself how long it is: the jump at 0x200 goes over it. */
	header = (0x202u - HEADER_AT) + head[0x201];
	memcpy(h, head + HEADER_AT, MIN(header, sizeof(*h)));
	if (h->version < VERSION_64)
		return kerr_set(err, KERR_UNSUPPORTED, "kernel: boot protocol %u.%02u; 2.12 or later is needed (Linux 3.8)",
			h->version >> 8, h->version & 0xff);
	if (!(h->xloadflags & XLF_KERNEL_64))
		return kerr_set(err, KERR_UNSUPPORTED, "kernel: has no 64-bit entry; a 64-bit kernel is needed");
	if (!boot_file_size(plan->kernel, "kernel", &file, err))
		return false;
	setup = ((h->setup_sects ? h->setup_sects : 4) + 1u) * 512ull;
	if (file <= setup + ENTRY_64)
		return kerr_set(err, KERR_ARGS, "kernel: the file ends within its setup code");
	size = file - setup;
	if (h->syssize && (uint64_t)h->syssize * 16 < size)
		size = (uint64_t)h->syssize * 16;       /* what follows (a signature) is not kernel */
	else if ((uint64_t)h->syssize * 16 > ((size + 15) & ~15ull))
		return kerr_set(err, KERR_ARGS, "kernel: the file is cut short: %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes",
			size, (uint64_t)h->syssize * 16);
	need = MAX(h->init_size, size);
	if (!place_kernel(plan, h, need, &at, err))
		return false;
	if (!boot_place(plan, plan->kernel, setup, size, at, size, "kernel", err))
		return false;
	limit = h->cmdline_size ? h->cmdline_size : 255;
	if (!boot_place_cmdline(plan, MIN(limit, BOOT_CMDLINE_MAX - 1), err))
		return false;
	h->code32_start = (uint32_t)at;
	if (!finish(plan, &bp, h->initrd_addr_max ? h->initrd_addr_max : 0x37ffffff, h->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G,
		    at, at + need, err))
		return false;
	*entry = (struct boot_entry){ .mode = BOOT_MODE_LINUX64, .rip = at + ENTRY_64, .arg = BOOT_ZERO_PAGE };
	return true;
}

bool boot_linux_elf(const struct boot_plan *plan, const struct boot_elf *elf, struct boot_entry *entry, GError **err)
{
	struct boot_params bp = { .hdr = { .boot_flag = BOOT_FLAG, .header = HEADER_MAGIC, .version = 0x020f,
		.kernel_alignment = 0x1000000, .cmdline_size = 2047, .initrd_addr_max = 0x7fffffff } };

	if (!ram_host(plan->ram, elf->entry, 1) || elf->entry < BOOT_HIGH || elf->entry >= RAM_HOLE_START)
		return kerr_set(err, KERR_ARGS, "kernel: entry point %#" G_GINT64_MODIFIER "x is not a physical address in memory",
			elf->entry);
	if (!boot_place_cmdline(plan, bp.hdr.cmdline_size, err))
		return false;
	if (!finish(plan, &bp, bp.hdr.initrd_addr_max, true, elf->start, elf->end, err))
		return false;
	*entry = (struct boot_entry){ .mode = BOOT_MODE_LINUX64, .rip = elf->entry, .arg = BOOT_ZERO_PAGE };
	return true;
}
