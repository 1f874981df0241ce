/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Direct kernel boot: see the header. Everything is made anew at each boot of the guest from the descriptors kept since the
 * first, because the guest has overwritten the copy in its RAM.
 */
#include "hv/x86/boot.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "domain/error.h"
#include "hv/accel.h"
#include "hv/vcpu.h"
#include "hv/vm.h"
#include "hv/x86/boot_linux.h"
#include "hv/x86/boot_pvh.h"
#include "hv/x86/ports.h"
#include "hv/x86/tables.h"

#define PAGE 4096ull
#define FILE_MAX (4ull << 30)

#define CR0_PE (1ull << 0)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define PTE_PRESENT 1ull
#define PTE_WRITE 2ull
#define PTE_LARGE 0x80ull
#define STACK_TOP 0x8ff0ull             /* the entry states define none; a few kernels push before they set theirs */

struct boot {
	int kernel, initrd;     /* -1: none */
};

void boot_free(struct boot *b)
{
	if (!b)
		return;
	if (b->kernel >= 0)
		close(b->kernel);
	if (b->initrd >= 0)
		close(b->initrd);
	g_free(b);
}

bool boot_pread(int fd, void *to, uint64_t len, uint64_t offset, const char *what, GError **err)
{
	uint8_t *p = to;

	if (offset > INT64_MAX || len > INT64_MAX - offset)
		return kerr_set(err, KERR_ARGS, "%s: lies outside the file", what);
	while (len) {
		ssize_t n = pread(fd, p, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return kerr_errno(err, errno, "%s: read", what);
		if (!n)
			return kerr_set(err, KERR_ARGS, "%s: the file is too short", what);
		p += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return true;
}

bool boot_file_size(int fd, const char *what, uint64_t *size, GError **err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return kerr_errno(err, errno, "%s", what);
	if (!S_ISREG(st.st_mode))
		return kerr_set(err, KERR_ARGS, "%s: not a regular file", what);
	if (st.st_size <= 0)
		return kerr_set(err, KERR_ARGS, "%s: the file is empty", what);
	if ((uint64_t)st.st_size > FILE_MAX)
		return kerr_set(err, KERR_LIMIT, "%s: the file is larger than 4 GiB", what);
	*size = (uint64_t)st.st_size;
	return true;
}

bool boot_place(const struct boot_plan *plan, int fd, uint64_t offset, uint64_t filesz, uint64_t gpa, uint64_t memsz,
	const char *what, GError **err)
{
	uint64_t end;
	uint8_t *host = gpa < BOOT_HIGH ? NULL : ram_host(plan->ram, gpa, memsz);

	g_assert(filesz <= memsz);
	if (!host) {
		if (__builtin_add_overflow(gpa, memsz, &end))
			end = UINT64_MAX;
		return kerr_set(err, gpa < BOOT_HIGH ? KERR_ARGS : KERR_NO_MEMORY, "%s: wants %#" G_GINT64_MODIFIER "x to %#"
			G_GINT64_MODIFIER "x, which is not memory of this machine (1 MiB to %" G_GUINT64_FORMAT " MiB)", what, gpa, end,
			(guint64)MIN(plan->ram->size, RAM_HOLE_START) >> 20);
	}
	if (filesz && !boot_pread(fd, host, filesz, offset, what, err))
		return false;
	if (!plan->fresh)
		memset(host + filesz, 0, memsz - filesz);
	ram_mark(plan->ram, gpa, plan->fresh && filesz ? filesz : memsz);
	return true;
}

/* Highest page-aligned place of `size` bytes in [low, high) clear of [from, to); 0: none. */
static uint64_t highest(uint64_t low, uint64_t high, uint64_t size, uint64_t from, uint64_t to)
{
	uint64_t at;

	if (high < low || high - low < size)
		return 0;
	at = (high - size) & ~(PAGE - 1);
	if (at < to && at + size > from) {      /* over the kernel: below it then */
		if (from < size)
			return 0;
		at = (from - size) & ~(PAGE - 1);
	}
	return at >= low ? at : 0;
}

bool boot_place_initrd(const struct boot_plan *plan, uint64_t max, uint64_t from, uint64_t to, bool high, uint64_t *base,
	uint64_t *size, GError **err)
{
	const struct ram_piece *low = &plan->ram->pieces[0], *above = &plan->ram->pieces[1];
	uint64_t file, at;

	if (plan->initrd < 0) {
		*base = *size = 0;
		return true;
	}
	if (!boot_file_size(plan->initrd, "initrd", &file, err))
		return false;
	at = highest(BOOT_HIGH, MIN(low->size, max < UINT64_MAX ? max + 1 : max), file, from, to);
	if (!at && high && above->size)
		at = highest(above->gpa, above->gpa + above->size, file, from, to);
	if (!at)
		return kerr_set(err, KERR_NO_MEMORY, "initrd: %" G_GUINT64_FORMAT " MiB do not fit beside the kernel in %"
			G_GUINT64_FORMAT " MiB of memory", (file + (1 << 20) - 1) >> 20, plan->ram->size >> 20);
	if (!boot_place(plan, plan->initrd, 0, file, at, file, "initrd", err))
		return false;
	*base = at;
	*size = file;
	return true;
}

bool boot_place_cmdline(const struct boot_plan *plan, uint64_t limit, GError **err)
{
	size_t len = strlen(plan->cmdline);

	if (len > limit)
		return kerr_set(err, KERR_ARGS, "command line of %zu bytes; this kernel takes %" G_GUINT64_FORMAT, len, limit);
	if (!ram_write(plan->ram, BOOT_CMDLINE, plan->cmdline, len + 1))
		return kerr_set(err, KERR_NO_MEMORY, "the machine has no memory for the command line");
	return true;
}

static void add_range(struct boot_plan *plan, uint64_t base, uint64_t size, uint32_t type)
{
	if (!size)
		return;
	g_assert(plan->map_n < BOOT_RANGES_MAX);
	plan->map[plan->map_n++] = (struct boot_range){ base, size, type };
}

void boot_map(struct boot_plan *plan, const struct ram *ram, uint64_t ecam_base, uint64_t ecam_size)
{
	uint64_t low = ram->pieces[0].size;

	plan->map_n = 0;
	add_range(plan, 0, MIN(low, BOOT_LOW_END), RANGE_RAM);
	add_range(plan, BOOT_LOW_END, 0xa0000 - BOOT_LOW_END, RANGE_RESERVED);
	add_range(plan, TABLES_BASE, TABLES_END - TABLES_BASE, RANGE_RESERVED);
	add_range(plan, BOOT_HIGH, low > BOOT_HIGH ? low - BOOT_HIGH : 0, RANGE_RAM);
	add_range(plan, ecam_base, ecam_size, RANGE_RESERVED);
	add_range(plan, ram->pieces[1].gpa, ram->pieces[1].size, RANGE_RAM);
}

/* What users try that is no kernel for us, and the way out: a program that unpacks it, and how its files are named; or words. */
static const struct { const char *magic; unsigned len; const char *what, *program, *suffix, *cure; } foreign[] = {
	{ "\x1f\x8b", 2, "compressed with gzip", "gunzip", ".gz" },
	{ "\xfd" "7zXZ", 5, "compressed with xz", "xz -d", ".xz" },
	{ "\x28\xb5\x2f\xfd", 4, "compressed with zstd", "zstd -d", ".zst" },
	{ "BZh", 3, "compressed with bzip2", "bunzip2", ".bz2" },
	{ "\x5d\x00\x00", 3, "compressed with lzma", "unlzma", ".lzma" },
	{ "\x02\x21\x4c\x18", 4, "compressed with lz4", "lz4 -d", ".lz4" },
	{ "\x04\x22\x4d\x18", 4, "compressed with lz4", "lz4 -d", ".lz4" },
	{ "\x89LZO", 4, "compressed with lzo", "lzop -d", ".lzo" },
	{ "MZ", 2, "an EFI program", .cure = "give the kernel itself (bzImage or vmlinux)" },
	{ "QFI\xfb", 4, "a qcow2 disk image", .cure = "name it in a <disk>" },
};

static bool refuse(const struct boot_plan *plan, const uint8_t *head, size_t len, GError **err)
{
	const char *file = plan->kernel_name ? plan->kernel_name : "FILE";
	g_autofree char *from = g_shell_quote(file);

	for (unsigned i = 0; i < G_N_ELEMENTS(foreign); i++) {
		if (len < foreign[i].len || memcmp(head, foreign[i].magic, foreign[i].len))
			continue;
		if (foreign[i].cure)
			return kerr_set(err, KERR_UNSUPPORTED, "kernel: the file is %s; %s", foreign[i].what, foreign[i].cure);
		bool named = g_str_has_suffix(file, foreign[i].suffix);
		g_autofree char *out = named ? g_strndup(file, strlen(file) - strlen(foreign[i].suffix)) : g_strconcat(file, ".unpacked", NULL);
		g_autofree char *to = g_shell_quote(out);

		return kerr_set(err, KERR_UNSUPPORTED, "kernel: the file is %s; unpack it: %s < %s > %s, and write <kernel>%s</kernel>",
			foreign[i].what, foreign[i].program, from, to, out);
	}
	return kerr_set(err, KERR_UNSUPPORTED, "kernel: neither an ELF file nor a bzImage; look what it is: file %s, and take a kernel such as "
		"Debian's /boot/vmlinuz-*, or a vmlinux", from);
}

/* "kernel: …" becomes "os/kernel: '/path': …", as the definition has it. */
static bool name_file(const struct boot_plan *plan, GError *why, GError **err)
{
	const struct { const char *prefix, *name; } files[] = { { "kernel: ", plan->kernel_name }, { "initrd: ", plan->initrd_name } };

	for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
		if (why && files[i].name && g_str_has_prefix(why->message, files[i].prefix)) {
			char *text = g_strdup_printf("os/%.6s: '%s': %s", files[i].prefix, files[i].name, why->message + strlen(files[i].prefix));

			g_free(why->message);
			why->message = text;
			break;
		}
	g_propagate_error(err, why);
	return false;
}

static bool load_kernel(const struct boot_plan *plan, struct boot_entry *entry, GError **err)
{
	uint8_t head[BOOT_LINUX_HEAD] = { 0 };
	struct boot_elf elf;
	uint64_t size;

	if (!boot_file_size(plan->kernel, "kernel", &size, err))
		return false;
	size = MIN(size, sizeof(head));
	if (!boot_pread(plan->kernel, head, size, 0, "kernel", err))
		return false;
	if (boot_is_linux(head, size))
		return boot_linux(plan, head, entry, err);
	if (!boot_is_elf(head, size))
		return refuse(plan, head, size, err);
	if (!boot_elf_load(plan, &elf, err))
		return false;
	if (elf.pvh)
		return boot_pvh(plan, &elf, entry, err);
	if (!elf.is64)
		return kerr_set(err, KERR_UNSUPPORTED, "kernel: 32-bit ELF file without a PVH entry note");
	return boot_linux_elf(plan, &elf, entry, err);
}

bool boot_load(const struct boot_plan *plan, struct boot_entry *entry, GError **err)
{
	GError *why = NULL;

	return load_kernel(plan, entry, &why) || name_file(plan, why, err);
}

/* --- the processor --- */

static const uint64_t gdt[] = {
	0, 0x00cf9b000000ffff /* 0x08: 32-bit code */, 0x00af9b000000ffff /* 0x10: 64-bit code */,
	0x00cf93000000ffff /* 0x18: data */, 0x00008b0000000067 /* 0x20: task */, 0,
};

/* GDT and, for 64-bit entry, page tables that map the first 4 GiB one to one. */
static bool place_cpu(struct ram *ram, const struct boot_entry *entry, GError **err)
{
	uint64_t table[512] = { 0 };
	bool ok = ram_write(ram, BOOT_GDT, gdt, sizeof(gdt));

	if (ok && entry->mode == BOOT_MODE_LINUX64) {
		table[0] = (BOOT_PAGE_TABLES + PAGE) | PTE_PRESENT | PTE_WRITE;
		ok = ram_write(ram, BOOT_PAGE_TABLES, table, sizeof(table));
		for (unsigned i = 0; i < 4; i++)
			table[i] = (BOOT_PAGE_TABLES + (2 + i) * PAGE) | PTE_PRESENT | PTE_WRITE;
		ok = ok && ram_write(ram, BOOT_PAGE_TABLES + PAGE, table, sizeof(table));
		for (unsigned i = 0; ok && i < 4; i++) {
			for (uint64_t j = 0; j < 512; j++)
				table[j] = ((i * 512 + j) << 21) | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
			ok = ram_write(ram, BOOT_PAGE_TABLES + (2 + i) * PAGE, table, sizeof(table));
		}
	}
	return ok || kerr_set(err, KERR_NO_MEMORY, "the machine has no memory for the processor's tables");
}

void boot_regs(const struct boot_entry *entry, struct kvm_regs *regs, struct kvm_sregs *s)
{
	bool wide = entry->mode == BOOT_MODE_LINUX64;
	struct kvm_segment data = { .limit = 0xffffffff, .selector = 0x18, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };

	*regs = (struct kvm_regs){ .rip = entry->rip, .rflags = 2, .rsp = STACK_TOP };
	if (wide)
		regs->rsi = entry->arg;
	else
		regs->rbx = entry->arg;
	s->ds = s->es = s->fs = s->gs = s->ss = data;
	s->cs = (struct kvm_segment){ .limit = 0xffffffff, .selector = wide ? 0x10 : 0x08, .type = 11, .present = 1, .s = 1,
		.db = !wide, .l = wide, .g = 1 };
	s->tr = (struct kvm_segment){ .limit = 0x67, .selector = 0x20, .type = 11, .present = 1 };
	s->ldt = (struct kvm_segment){ .type = 2, .unusable = 1 };
	s->gdt = (struct kvm_dtable){ .base = BOOT_GDT, .limit = sizeof(gdt) - 1 };
	s->idt = (struct kvm_dtable){ .base = 0, .limit = 0 };
	s->cr0 = CR0_PE | CR0_ET | (wide ? CR0_PG | CR0_NE : 0);
	s->cr3 = wide ? BOOT_PAGE_TABLES : 0;
	s->cr4 = wide ? CR4_PAE : 0;
	s->efer = wide ? EFER_LME | EFER_LMA : 0;
}

/* --- the machine --- */

static int take(struct fdset *fds, const struct resource *res, const char *what, GError **err)
{
	g_autoptr(GError) why = NULL;
	int fd = fdset_take(fds, res->fd, &why);

	if (fd < 0)
		g_propagate_prefixed_error(err, g_steal_pointer(&why), "%s: ", what);
	return fd;
}

static struct boot *open_images(const struct os *os, struct fdset *fds, GError **err)
{
	struct boot *b = g_new(struct boot, 1);

	*b = (struct boot){ -1, -1 };
	if (!os->kernel.fd) {
		kerr_set(err, KERR_UNSUPPORTED, "the machine has no <kernel>: starting from firmware is not supported yet");
		goto fail;
	}
	b->kernel = take(fds, &os->kernel, "kernel", err);
	if (b->kernel < 0)
		goto fail;
	if (os->initrd.fd) {
		b->initrd = take(fds, &os->initrd, "initrd", err);
		if (b->initrd < 0)
			goto fail;
	}
	return b;
fail:
	boot_free(b);
	return NULL;
}

bool vm_boot(struct vm *vm, struct fdset *fds, GError **err)
{
	const struct os *os = &vm->def->os;
	struct boot_plan plan = { .ram = &vm->ram, .cmdline = os->cmdline ? os->cmdline : "",
		.kernel_name = os->kernel.path, .initrd_name = os->initrd.path, .fresh = vm->state == VM_NEW && !vm->boot };
	struct boot_entry entry;
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct vcpu *bsp;
	int r;

	if (!vm->boot && !fds)
		return kerr_set(err, KERR_STATE, "the machine has nothing to boot from");
	if (!vm->boot && !(vm->boot = open_images(os, fds, err)))
		return false;
	if (!vm->vcpus->len)
		return kerr_set(err, KERR_STATE, "the machine has no vCPU");
	plan.kernel = vm->boot->kernel;
	plan.initrd = vm->boot->initrd;
	boot_map(&plan, &vm->ram, PCI_ECAM_BASE, (uint64_t)PCI_ECAM_BUSES << 20);
	if (!tables_place(vm, &plan.rsdp, err) || !boot_load(&plan, &entry, err) || !place_cpu(&vm->ram, &entry, err))
		return false;
	bsp = g_ptr_array_index(vm->vcpus, 0);
	r = vm->accel->regs(bsp, &regs, &sregs, false);
	if (!r) {
		boot_regs(&entry, &regs, &sregs);
		r = vm->accel->regs(bsp, &regs, &sregs, true);
	}
	if (r)
		return kerr_errno(err, -r, "set the first processor's state");
	__atomic_store_n(&vm->reset_pending, false, __ATOMIC_SEQ_CST);  /* a new life begins */
	return true;
}
