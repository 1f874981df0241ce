/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ELF kernels: see the header. 32-bit headers are widened first, so that one piece of code checks both. */
#include "hv/x86/boot_elf.h"

#include <elf.h>
#include <string.h>

#include "domain/error.h"

#define PHDRS_MAX 128
#define NOTES_MAX (256u << 10)          /* bytes of one PT_NOTE segment */
#define XEN_ELFNOTE_PHYS32_ENTRY 18

bool boot_is_elf(const uint8_t *head, size_t len)
{
	return len >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG);
}

static void widen_ehdr(const Elf32_Ehdr *e, Elf64_Ehdr *to)
{
	*to = (Elf64_Ehdr){ .e_type = e->e_type, .e_machine = e->e_machine, .e_entry = e->e_entry, .e_phoff = e->e_phoff,
		.e_phentsize = e->e_phentsize, .e_phnum = e->e_phnum };
}

static void widen_phdr(const Elf32_Phdr *p, Elf64_Phdr *to)
{
	*to = (Elf64_Phdr){ .p_type = p->p_type, .p_offset = p->p_offset, .p_paddr = p->p_paddr, .p_filesz = p->p_filesz,
		.p_memsz = p->p_memsz, .p_align = p->p_align };
}

static bool read_headers(int fd, struct boot_elf *elf, Elf64_Ehdr *eh, Elf64_Phdr *ph, GError **err)
{
	union { unsigned char ident[EI_NIDENT]; Elf32_Ehdr e32; Elf64_Ehdr e64; } u;
	size_t entsize;

	if (!boot_pread(fd, &u, sizeof(u.e32), 0, "ELF header", err))
		return false;
	if (u.ident[EI_DATA] != ELFDATA2LSB || (u.ident[EI_CLASS] != ELFCLASS32 && u.ident[EI_CLASS] != ELFCLASS64))
		return kerr_set(err, KERR_UNSUPPORTED, "kernel: ELF file of a foreign class or byte order");
	elf->is64 = u.ident[EI_CLASS] == ELFCLASS64;
	if (elf->is64) {
		if (!boot_pread(fd, &u, sizeof(u.e64), 0, "ELF header", err))
			return false;
		*eh = u.e64;
		entsize = sizeof(Elf64_Phdr);
	} else {
		widen_ehdr(&u.e32, eh);
		entsize = sizeof(Elf32_Phdr);
	}
	if (eh->e_machine != EM_X86_64 && eh->e_machine != EM_386)
		return kerr_set(err, KERR_UNSUPPORTED, "kernel: ELF file for another processor (machine %u)", eh->e_machine);
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return kerr_set(err, KERR_UNSUPPORTED, "kernel: ELF file is not an executable (type %u)", eh->e_type);
	if (eh->e_phentsize != entsize || !eh->e_phnum || eh->e_phnum > PHDRS_MAX)
		return kerr_set(err, KERR_ARGS, "kernel: ELF file with %u program headers of %u bytes", eh->e_phnum, eh->e_phentsize);
	for (unsigned i = 0; i < eh->e_phnum; i++) {
		uint64_t at;
		Elf32_Phdr p32;

		if (__builtin_add_overflow(eh->e_phoff, (uint64_t)i * entsize, &at))
			return kerr_set(err, KERR_ARGS, "kernel: ELF program headers lie outside the file");
		if (!boot_pread(fd, elf->is64 ? (void *)&ph[i] : (void *)&p32, entsize, at, "ELF program header", err))
			return false;
		if (!elf->is64)
			widen_phdr(&p32, &ph[i]);
	}
	return true;
}

static uint64_t note_pad(uint32_t n)
{
	return ((uint64_t)n + 3) & ~3ull;
}

/* Looks for the PVH entry in one note segment. Notes that do not fit end the search. */
static bool read_notes(int fd, const Elf64_Phdr *p, struct boot_elf *elf, GError **err)
{
	g_autofree uint8_t *notes = NULL;
	uint64_t size = p->p_filesz;

	if (!size)
		return true;
	if (size > NOTES_MAX)
		return kerr_set(err, KERR_ARGS, "kernel: ELF notes of %" G_GUINT64_FORMAT " bytes", size);
	notes = g_malloc(size);
	if (!boot_pread(fd, notes, size, p->p_offset, "ELF notes", err))
		return false;
	for (uint64_t at = 0; size - at >= sizeof(Elf64_Nhdr);) {
		Elf64_Nhdr n;
		uint64_t name = at + sizeof(n), desc, next;

		memcpy(&n, notes + at, sizeof(n));
		desc = name + note_pad(n.n_namesz);
		next = desc + note_pad(n.n_descsz);
		if (desc > size || desc + n.n_descsz > size)
			break;
		if (n.n_type == XEN_ELFNOTE_PHYS32_ENTRY && n.n_namesz == 4 && !memcmp(notes + name, "Xen", 4) &&
		    (n.n_descsz == 4 || n.n_descsz == 8)) {
			uint64_t entry = 0;

			memcpy(&entry, notes + desc, n.n_descsz);
			if (entry > UINT32_MAX)
				return kerr_set(err, KERR_ARGS, "kernel: PVH entry point %#" G_GINT64_MODIFIER "x above 4 GiB", entry);
			elf->pvh = true;
			elf->pvh_entry = (uint32_t)entry;
		}
		if (next > size)
			break;
		at = next;
	}
	return true;
}

bool boot_elf_load(const struct boot_plan *plan, struct boot_elf *elf, GError **err)
{
	Elf64_Ehdr eh = { 0 };
	Elf64_Phdr ph[PHDRS_MAX];

	*elf = (struct boot_elf){ .start = UINT64_MAX };
	if (!read_headers(plan->kernel, elf, &eh, ph, err))
		return false;
	elf->entry = eh.e_entry;
	for (unsigned i = 0; i < eh.e_phnum; i++) {
		if (ph[i].p_type == PT_NOTE && !read_notes(plan->kernel, &ph[i], elf, err))
			return false;
		if (ph[i].p_type != PT_LOAD || !ph[i].p_memsz)
			continue;
		if (ph[i].p_filesz > ph[i].p_memsz)
			return kerr_set(err, KERR_ARGS, "kernel: ELF segment %u is larger in the file than in memory", i);
		if (!boot_place(plan, plan->kernel, ph[i].p_offset, ph[i].p_filesz, ph[i].p_paddr, ph[i].p_memsz, "kernel", err))
			return false;
		elf->start = MIN(elf->start, ph[i].p_paddr);
		elf->end = MAX(elf->end, ph[i].p_paddr + ph[i].p_memsz);
	}
	if (!elf->end)
		return kerr_set(err, KERR_ARGS, "kernel: ELF file without anything to load");
	return true;
}
