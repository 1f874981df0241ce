/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct kernel boot: tables, kernel, initrd and command line into RAM, and the state in which the first processor starts.
 *
 * Images are untrusted: they come as descriptors of regular files, are read with pread into bounded places, and every
 * number in their headers is checked against the file's size and the machine's RAM. Three forms are known:
 *   PVH ELF      (Xen's boot ABI, "HVM direct boot": note XEN_ELFNOTE_PHYS32_ENTRY), boot_pvh.c
 *   bzImage      64-bit entry of Linux' boot protocol (Documentation/x86/boot.rst), version 2.12 or later, boot_linux.c
 *   vmlinux ELF  without that note: entered at e_entry by the same 64-bit protocol, boot_linux.c
 *
 * Low memory while it boots (part of the map's RAM: the guest may reuse it once it has read it):
 *   0x0500 GDT   0x5000 setup_data   0x6000 hvm_start_info and its lists   0x7000 zero page   0x9000 page tables
 *   0x20000 command line   0xe0000 ACPI, 0xf0000 SMBIOS (reserved in the map)
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "hv/ram.h"

struct vm;
struct fdset;
struct boot;
struct kvm_regs;
struct kvm_sregs;

#define BOOT_GDT 0x500ull
#define BOOT_SETUP_DATA 0x5000ull
#define BOOT_PVH_INFO 0x6000ull
#define BOOT_ZERO_PAGE 0x7000ull
#define BOOT_PAGE_TABLES 0x9000ull      /* PML4, PDPT, 4 page directories */
#define BOOT_CMDLINE 0x20000ull
#define BOOT_CMDLINE_MAX 0x10000ull     /* bytes with the NUL; a kernel's own limit may be lower */
#define BOOT_LOW_END 0x9fc00ull         /* RAM below 1 MiB that the guest may use */
#define BOOT_HIGH 0x100000ull           /* kernels lie at or above */
#define BOOT_RANGES_MAX 16

enum boot_range_type { RANGE_RAM = 1, RANGE_RESERVED = 2 };     /* as in e820 and hvm_memmap */
struct boot_range { uint64_t base, size; uint32_t type; };

/* What the loaders get. Descriptors stay the caller's. */
struct boot_plan {
	struct ram *ram;
	int kernel, initrd;             /* regular files; initrd -1: none */
	const char *kernel_name, *initrd_name;  /* for messages: where the definition has them from; NULL: unnamed */
	const char *cmdline;            /* not NULL */
	uint64_t rsdp;                  /* 0: no ACPI */
	struct boot_range map[BOOT_RANGES_MAX];
	unsigned map_n;
	bool fresh;                     /* RAM is known to read as zero */
};

enum boot_mode { BOOT_MODE_PVH, BOOT_MODE_LINUX64 };
/* How the first processor starts. */
struct boot_entry {
	enum boot_mode mode;
	uint64_t rip, arg;              /* arg: ebx for PVH, rsi for Linux */
};

/* Reads the images into RAM by the plan. *err: KERR_ARGS, KERR_UNSUPPORTED for the image's form, KERR_NO_MEMORY when the
 * machine is too small, KERR_IO. Pure but for RAM and pread; any thread. */
bool boot_load(const struct boot_plan *, struct boot_entry *, GError **err);
/* The memory map of a machine with this RAM; ecam_size 0: none. */
void boot_map(struct boot_plan *, const struct ram *, uint64_t ecam_base, uint64_t ecam_size);
/* The entry's registers, over a processor's power-on state. */
void boot_regs(const struct boot_entry *, struct kvm_regs *, struct kvm_sregs *);

/*
 * Main thread, all vCPUs parked or not yet started. Builds the tables, loads the images that the definition's <os> names
 * and sets the BSP's state; the others wait for INIT and SIPI. The first call takes the descriptors from the fdset; later
 * calls (after a reset) need none. A machine without a kernel is refused: firmware support comes later.
 */
bool vm_boot(struct vm *, struct fdset *, GError **err);
void boot_free(struct boot *);          /* closes the descriptors; NULL is fine */

/* --- between boot.c and the loaders --- */
/* pread of exactly len bytes; *err names what and says when the file is too short. */
bool boot_pread(int fd, void *to, uint64_t len, uint64_t offset, const char *what, GError **err);
bool boot_file_size(int fd, const char *what, uint64_t *size, GError **err);
/* Copies [offset, offset + filesz) of the file to gpa and zeroes up to memsz (unless fresh). The range must be RAM at or
 * above 1 MiB. */
bool boot_place(const struct boot_plan *, int fd, uint64_t offset, uint64_t filesz, uint64_t gpa, uint64_t memsz,
	const char *what, GError **err);
/* Puts the initrd as high as possible at or below `max` (an inclusive address), clear of [from, to); with `high` also above
 * 4 GiB when it fits nowhere else. *base and *size are 0 when there is none. */
bool boot_place_initrd(const struct boot_plan *, uint64_t max, uint64_t from, uint64_t to, bool high, uint64_t *base,
	uint64_t *size, GError **err);
/* The command line at BOOT_CMDLINE; limit: longest the kernel takes, without the NUL. */
bool boot_place_cmdline(const struct boot_plan *, uint64_t limit, GError **err);
