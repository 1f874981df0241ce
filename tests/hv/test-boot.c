/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loaders: PVH ELF of both classes, vmlinux, bzImage; where things lie; images cut and corrupted at every byte. */
#include <asm/bootparam.h>
#include <elf.h>
#include <glib.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "domain/error.h"
#include "hv/x86/boot.h"

#define MIB (1ull << 20)

static int file_of(const void *data, size_t len)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(pwrite(fd, data, len, 0), ==, (ssize_t)len);
	return fd;
}

static struct boot_plan plan_for(struct ram *ram, int kernel, int initrd, const char *cmdline)
{
	struct boot_plan p = { .ram = ram, .kernel = kernel, .initrd = initrd, .cmdline = cmdline, .rsdp = 0xe0000 };

	boot_map(&p, ram, 0, 0);
	return p;
}

/* --- images --- */

struct elf64 {
	Elf64_Ehdr e;
	Elf64_Phdr p[2];
	struct { Elf64_Nhdr n; char name[4]; uint32_t entry; } note;
	uint8_t code[64];
};

static struct elf64 make_elf64(bool pvh)
{
	struct elf64 f = { .e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 }, .e_type = ET_EXEC,
		.e_machine = EM_X86_64, .e_entry = 0x200010, .e_phoff = offsetof(struct elf64, p), .e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = pvh ? 2 : 1 } };

	f.p[0] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_offset = offsetof(struct elf64, code), .p_vaddr = 0xffffffff80200000,
		.p_paddr = 0x200000, .p_filesz = sizeof(f.code), .p_memsz = 0x3000 };
	f.p[1] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = offsetof(struct elf64, note), .p_filesz = sizeof(f.note) };
	f.note.n = (Elf64_Nhdr){ 4, 4, 18 };
	memcpy(f.note.name, "Xen", 4);
	f.note.entry = 0x200020;
	memset(f.code, 0x90, sizeof(f.code));
	return f;
}

struct elf32 {
	Elf32_Ehdr e;
	Elf32_Phdr p[2];
	struct { Elf32_Nhdr n; char name[4]; uint32_t entry; } note;
	uint8_t code[64];
};

static struct elf32 make_elf32(void)
{
	struct elf32 f = { .e = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, 1 }, .e_type = ET_EXEC,
		.e_machine = EM_386, .e_phoff = offsetof(struct elf32, p), .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 2 } };

	f.p[0] = (Elf32_Phdr){ .p_type = PT_LOAD, .p_offset = offsetof(struct elf32, code), .p_paddr = 0x100000,
		.p_filesz = sizeof(f.code), .p_memsz = sizeof(f.code) };
	f.p[1] = (Elf32_Phdr){ .p_type = PT_NOTE, .p_offset = offsetof(struct elf32, note), .p_filesz = sizeof(f.note) };
	f.note.n = (Elf32_Nhdr){ 4, 4, 18 };
	memcpy(f.note.name, "Xen", 4);
	f.note.entry = 0x100000;
	return f;
}

#define BZ_SETUP (5 * 512)
struct bz { uint8_t setup[BZ_SETUP], kernel[8192]; };

static struct bz make_bz(void)
{
	struct bz f = { 0 };
	struct setup_header h = { .setup_sects = 4, .syssize = 8192 / 16, .boot_flag = 0xaa55, .header = 0x53726448, .version = 0x20f,
		.loadflags = 1, .kernel_alignment = 0x200000, .relocatable_kernel = 1, .min_alignment = 21,
		.xloadflags = XLF_KERNEL_64, .cmdline_size = 100, .pref_address = 0x1000000, .init_size = 0x100000,
		.initrd_addr_max = 0x7fffffff, .jump = 0x6aeb };

	memcpy(f.setup + 0x1f1, &h, sizeof(h));
	memset(f.kernel, 0xcc, sizeof(f.kernel));
	return f;
}

static bool load(const void *image, size_t len, const void *initrd, size_t initrd_len, const char *cmdline, uint64_t memory,
	struct ram *ram, struct boot_entry *entry, GError **err)
{
	int kernel = file_of(image, len), rd = initrd ? file_of(initrd, initrd_len) : -1;
	struct boot_plan plan;
	bool ok;

	g_assert_true(ram_init_anon(ram, memory, NULL));
	plan = plan_for(ram, kernel, rd, cmdline);
	ok = boot_load(&plan, entry, err);
	close(kernel);
	if (rd >= 0)
		close(rd);
	return ok;
}

/* --- tests --- */

static void test_pvh64(void)
{
	struct elf64 f = make_elf64(true);
	g_autofree uint8_t *initrd = g_malloc0(10000);
	struct { uint32_t magic, version, flags, nr; uint64_t mods, cmdline, rsdp, map; uint32_t map_n, pad; } info;
	struct { uint64_t at, size, cmdline, pad; } mod;
	struct { uint64_t at, size; uint32_t type, pad; } range;
	g_autoptr(GError) err = NULL;
	struct boot_entry entry;
	struct kvm_regs regs;
	struct kvm_sregs sregs = { 0 };
	struct ram ram;
	char text[32] = "";

	memset(initrd, 'r', 10000);
	g_assert_true(load(&f, sizeof(f), initrd, 10000, "console=ttyS0", 16 * MIB, &ram, &entry, &err));
	g_assert_cmpint(entry.mode, ==, BOOT_MODE_PVH);
	g_assert_cmphex(entry.rip, ==, 0x200020);
	g_assert_true(ram_read(&ram, entry.arg, &info, sizeof(info)));
	g_assert_cmphex(info.magic, ==, 0x336ec578);
	g_assert_cmphex(info.rsdp, ==, 0xe0000);
	g_assert_true(ram_read(&ram, info.cmdline, text, 14));
	g_assert_cmpstr(text, ==, "console=ttyS0");
	g_assert_cmpuint(info.nr, ==, 1);
	g_assert_true(ram_read(&ram, info.mods, &mod, sizeof(mod)));
	g_assert_cmpuint(mod.size, ==, 10000);
	g_assert_cmpuint(mod.at % 4096, ==, 0);
	g_assert_cmpuint(mod.at + 10000, >, 16 * MIB - 4096);
	g_assert_cmpint(*(char *)ram_host(&ram, mod.at + 9999, 1), ==, 'r');
	g_assert_true(ram_read(&ram, info.map + 3 * sizeof(range), &range, sizeof(range)));
	g_assert_cmphex(range.at, ==, MIB);
	g_assert_cmphex(range.size, ==, 15 * MIB);
	g_assert_cmphex(range.type, ==, RANGE_RAM);
	boot_regs(&entry, &regs, &sregs);
	g_assert_cmphex(regs.rbx, ==, entry.arg);
	g_assert_cmphex(sregs.cr0 & 0x80000001, ==, 1);
	g_assert_cmpuint(sregs.cs.db, ==, 1);
	ram_finish(&ram);
}

static void test_pvh32(void)
{
	struct elf32 f = make_elf32();
	struct boot_entry entry;
	struct ram ram;

	g_assert_true(load(&f, sizeof(f), NULL, 0, "", 2 * MIB, &ram, &entry, NULL));
	g_assert_cmphex(entry.rip, ==, 0x100000);
	ram_finish(&ram);
}

static void test_vmlinux(void)
{
	struct elf64 f = make_elf64(false);
	struct boot_params bp;
	struct boot_entry entry;
	struct kvm_regs regs;
	struct kvm_sregs sregs = { 0 };
	struct ram ram;

	g_assert_true(load(&f, sizeof(f), "initrd", 6, "quiet", 16 * MIB, &ram, &entry, NULL));
	g_assert_cmpint(entry.mode, ==, BOOT_MODE_LINUX64);
	g_assert_cmphex(entry.rip, ==, 0x200010);
	g_assert_true(ram_read(&ram, entry.arg, &bp, sizeof(bp)));
	g_assert_cmphex(bp.hdr.header, ==, 0x53726448);
	g_assert_cmphex(bp.hdr.ramdisk_image, ==, 16 * MIB - 4096);
	g_assert_cmpuint(bp.hdr.ramdisk_size, ==, 6);
	g_assert_cmphex(bp.acpi_rsdp_addr, ==, 0xe0000);
	g_assert_cmpuint(bp.e820_entries, ==, 4);
	g_assert_cmphex(bp.hdr.setup_data, ==, BOOT_SETUP_DATA);
	boot_regs(&entry, &regs, &sregs);
	g_assert_cmphex(regs.rsi, ==, entry.arg);
	g_assert_cmpuint(sregs.cs.l, ==, 1);
	g_assert_cmphex(sregs.cr0 >> 31, ==, 1);
	ram_finish(&ram);
}

static void test_bzimage(void)
{
	struct bz f = make_bz();
	struct setup_header *h = (void *)(f.setup + 0x1f1);
	struct boot_params bp;
	struct boot_entry entry;
	g_autoptr(GError) err = NULL;
	g_autofree char *hundred = g_strnfill(100, 'x'), *more = g_strnfill(101, 'x');
	struct ram ram;

	/* where it prefers to be */
	g_assert_true(load(&f, sizeof(f), NULL, 0, hundred, 32 * MIB, &ram, &entry, &err));
	g_assert_cmphex(entry.rip, ==, 0x1000200);
	g_assert_cmphex(*(uint8_t *)ram_host(&ram, 0x1000000 + 8191, 1), ==, 0xcc);
	g_assert_true(ram_read(&ram, entry.arg, &bp, sizeof(bp)));
	g_assert_cmphex(bp.hdr.code32_start, ==, 0x1000000);
	g_assert_cmphex(bp.hdr.type_of_loader, ==, 0xff);
	ram_finish(&ram);
	/* its own limit of the command line */
	g_assert_false(load(&f, sizeof(f), NULL, 0, more, 32 * MIB, &ram, &entry, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	ram_finish(&ram);
	/* too little memory there: moved; not relocatable: refused */
	g_assert_true(load(&f, sizeof(f), NULL, 0, "", 8 * MIB, &ram, &entry, &err));
	g_assert_cmphex(entry.rip, ==, 0x200200);
	ram_finish(&ram);
	h->relocatable_kernel = 0;
	g_assert_false(load(&f, sizeof(f), NULL, 0, "", 8 * MIB, &ram, &entry, &err));
	g_assert_error(err, kerr_quark(), KERR_NO_MEMORY);
	g_clear_error(&err);
	ram_finish(&ram);
	/* the initrd stays at or below initrd_addr_max, and clear of the kernel while that unpacks itself */
	h->initrd_addr_max = 0x10fffff;
	g_assert_true(load(&f, sizeof(f), "0123456789", 10, "", 32 * MIB, &ram, &entry, &err));
	g_assert_true(ram_read(&ram, entry.arg, &bp, sizeof(bp)));
	g_assert_cmphex(bp.hdr.ramdisk_image, ==, 0xfff000);
	ram_finish(&ram);
	/* old, 32-bit, cut short */
	h->version = 0x20b;
	g_assert_false(load(&f, sizeof(f), NULL, 0, "", 32 * MIB, &ram, &entry, &err));
	g_assert_error(err, kerr_quark(), KERR_UNSUPPORTED);
	g_clear_error(&err);
	ram_finish(&ram);
	h->version = 0x20c;
	h->xloadflags = 0;
	g_assert_false(load(&f, sizeof(f), NULL, 0, "", 32 * MIB, &ram, &entry, &err));
	g_assert_error(err, kerr_quark(), KERR_UNSUPPORTED);
	g_clear_error(&err);
	ram_finish(&ram);
	h->xloadflags = XLF_KERNEL_64;
	g_assert_false(load(&f, sizeof(f) - 1000, NULL, 0, "", 32 * MIB, &ram, &entry, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	ram_finish(&ram);
}

static void refused(const void *image, size_t len, const char *word)
{
	g_autoptr(GError) err = NULL;
	struct boot_entry entry;
	struct ram ram;

	g_assert_false(load(image, len, NULL, 0, "", 16 * MIB, &ram, &entry, &err));
	if (!strstr(err->message, word))
		g_error("'%s' is not in: %s", word, err->message);
	ram_finish(&ram);
}

/* The message has the file as the definition names it, and commands that can be typed as they stand. */
static void test_refused_by_name(void)
{
	static const struct { const char *image; size_t len; const char *kernel, *initrd, *text; } rows[] = {
		{ "\x1f\x8b\x08\0\0\0\0\0", 8, "/boot/vm linux.gz", NULL, "os/kernel: '/boot/vm linux.gz': the file is compressed with gzip; unpack it: "
			"gunzip < '/boot/vm linux.gz' > '/boot/vm linux', and write <kernel>/boot/vm linux</kernel>" },
		{ "\xfd" "7zXZ\0\0\0", 8, "/boot/k", NULL, "xz -d < '/boot/k' > '/boot/k.unpacked'" },
		{ "hello, world", 12, "/boot/k", NULL, "os/kernel: '/boot/k': neither an ELF file nor a bzImage; look what it is: file '/boot/k'" },
		{ "x", 1, "/boot/k", NULL, "os/kernel: '/boot/k': " },
		{ NULL, 0, "/boot/k", "/boot/initrd", "os/initrd: '/boot/initrd': " },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct elf64 good = make_elf64(true);
		int kernel = rows[i].image ? file_of(rows[i].image, rows[i].len) : file_of(&good, sizeof good), rd = -1;
		g_autoptr(GError) err = NULL;
		struct boot_entry entry;
		struct boot_plan plan;
		struct ram ram;

		g_assert_true(ram_init_anon(&ram, 16 * MIB, NULL));
		if (rows[i].initrd) {
			rd = file_of("x", 1);
			g_assert_cmpint(ftruncate(rd, 64 * MIB), ==, 0);        /* more than the machine has */
		}
		plan = plan_for(&ram, kernel, rd, "");
		plan.kernel_name = rows[i].kernel;
		plan.initrd_name = rows[i].initrd;
		g_assert_false(boot_load(&plan, &entry, &err));
		if (!strstr(err->message, rows[i].text))
			g_error("'%s' is not in: %s", rows[i].text, err->message);
		ram_finish(&ram);
		close(kernel);
		if (rd >= 0)
			close(rd);
	}
}

static void test_refused(void)
{
	struct elf64 f = make_elf64(true);
	struct elf32 f32 = make_elf32();

	refused("\x1f\x8b\x08\0\0\0\0\0", 8, "gunzip");
	refused("\xfd" "7zXZ\0\0\0", 8, "xz -d");
	refused("\x28\xb5\x2f\xfd\0\0\0\0", 8, "zstd -d");
	refused("MZ\0\0\0\0\0\0", 8, "EFI");
	refused("hello, world", 12, "neither");
	refused("x", 1, "neither");
	f.e.e_machine = EM_AARCH64;
	refused(&f, sizeof(f), "another processor");
	f = make_elf64(true);
	f.e.e_phnum = 60000;
	refused(&f, sizeof(f), "program headers");
	f = make_elf64(true);
	f.p[0].p_paddr = 0x1000;
	refused(&f, sizeof(f), "not memory");
	f = make_elf64(true);
	f.p[0].p_paddr = UINT64_MAX - 100;
	refused(&f, sizeof(f), "not memory");
	f = make_elf64(true);
	f.p[0].p_memsz = UINT64_MAX;
	refused(&f, sizeof(f), "not memory");
	f = make_elf64(true);
	f.p[0].p_filesz = 0x3001;
	refused(&f, sizeof(f), "larger in the file");
	f = make_elf64(true);
	f.p[0].p_offset = UINT64_MAX - 10;
	refused(&f, sizeof(f), "outside the file");
	f = make_elf64(true);
	f.p[1].p_filesz = 1 << 30;
	refused(&f, sizeof(f), "notes");
	f = make_elf64(true);
	f.note.entry = 0xfffffff0;
	refused(&f, sizeof(f), "entry point");
	f = make_elf64(false);
	f.e.e_entry = 0xffffffff81000000;
	refused(&f, sizeof(f), "entry point");
	f32.e.e_phnum = 1;
	refused(&f32, sizeof(f32), "PVH");
}

/* No byte of a header and no length of the file may do worse than an error. */
static void corrupt(const void *image, size_t len, size_t header)
{
	g_autofree uint8_t *copy = g_memdup2(image, len);
	static const uint8_t values[] = { 0, 1, 0x7f, 0x80, 0xff };
	struct boot_entry entry;
	struct boot_plan plan;
	struct ram ram;
	int fd = file_of(image, len);

	g_assert_true(ram_init_anon(&ram, 32 * MIB, NULL));
	plan = plan_for(&ram, fd, -1, "");
	for (size_t at = 0; at < header; at++) {
		for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
			g_autoptr(GError) err = NULL;

			g_assert_cmpint(pwrite(fd, &values[i], 1, (off_t)at), ==, 1);
			if (!boot_load(&plan, &entry, &err))
				g_assert_nonnull(err);
		}
		g_assert_cmpint(pwrite(fd, copy + at, 1, (off_t)at), ==, 1);
	}
	for (size_t cut = MIN(len, 4096); cut; cut--) {
		g_autoptr(GError) err = NULL;

		g_assert_cmpint(ftruncate(fd, (off_t)(cut - 1)), ==, 0);
		if (!boot_load(&plan, &entry, &err))
			g_assert_nonnull(err);
	}
	close(fd);
	ram_finish(&ram);
}

static void test_corrupt(void)
{
	struct elf64 e64 = make_elf64(true), linux64 = make_elf64(false);
	struct elf32 e32 = make_elf32();
	struct bz bz = make_bz();

	corrupt(&e64, sizeof(e64), sizeof(e64));
	corrupt(&linux64, sizeof(linux64), sizeof(linux64));
	corrupt(&e32, sizeof(e32), sizeof(e32));
	corrupt(&bz, sizeof(bz), 1024);
}

/* At a reset what the guest left in its memory is gone where the kernel expects zeroes. */
static void test_again(void)
{
	struct elf64 f = make_elf64(true);
	int fd = file_of(&f, sizeof(f));
	struct boot_entry entry;
	struct boot_plan plan;
	struct ram ram;

	g_assert_true(ram_init_anon(&ram, 16 * MIB, NULL));
	g_assert_true(ram_fill(&ram, 0x200000, 0xee, 0x4000));
	plan = plan_for(&ram, fd, -1, "");
	g_assert_true(boot_load(&plan, &entry, NULL));
	g_assert_cmphex(*(uint8_t *)ram_host(&ram, 0x202fff, 1), ==, 0);
	g_assert_cmphex(*(uint8_t *)ram_host(&ram, 0x203000, 1), ==, 0xee);
	close(fd);
	ram_finish(&ram);
}

static void test_map(void)
{
	struct ram ram;
	struct boot_plan p;

	g_assert_true(ram_init_anon(&ram, 5ull << 30, NULL));
	boot_map(&p, &ram, 0xe0000000, 256 * MIB);
	g_assert_cmpuint(p.map_n, ==, 6);
	for (unsigned i = 1; i < p.map_n; i++)
		g_assert_cmphex(p.map[i].base, >=, p.map[i - 1].base + p.map[i - 1].size);
	g_assert_cmphex(p.map[4].type, ==, RANGE_RESERVED);
	g_assert_cmphex(p.map[5].base, ==, 1ull << 32);
	g_assert_cmphex(p.map[5].size, ==, 2ull << 30);
	ram_finish(&ram);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/boot/pvh64", test_pvh64);
	g_test_add_func("/boot/pvh32", test_pvh32);
	g_test_add_func("/boot/vmlinux", test_vmlinux);
	g_test_add_func("/boot/bzimage", test_bzimage);
	g_test_add_func("/boot/refused", test_refused);
	g_test_add_func("/boot/refused-by-name", test_refused_by_name);
	g_test_add_func("/boot/corrupt", test_corrupt);
	g_test_add_func("/boot/again", test_again);
	g_test_add_func("/boot/map", test_map);
	return g_test_run();
}
