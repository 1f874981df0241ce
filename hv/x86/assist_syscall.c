/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Redirected SYSCALL: assist_syscall.h has the theory.
 */
#include "hv/x86/assist_syscall.h"
#include "hv/x86/assist_priv.h"
#include <string.h>

#define PTE_PRESENT 0x1ull
#define PTE_USER_TABLE 0x67ull              /* present, writable, user, accessed, dirty */
#define PTE_ADDR 0x000ffffffffff000ull
#define USER_END 0x0000800000000000ull
#define RF_USER 0x244dd5ull                 /* what a program can set: arithmetic, TF DF NT AC ID */

/*
 * PML4 slots for the trap, in order of preference: in what a kernel copies into each new PML4 (Linux:
 * from slot 273 on, so not its guard hole at 256 to 271), and not used. 509 is a hole in every Linux
 * since 4.14, with or without randomised layout; the others are holes of the fixed layout.
 */
static const uint16_t slots[] = { 509, 471, 470, 467, 401 };

void assist_syscall_tables(uint64_t *tables, uint64_t gpa)
{
	memset(tables, 0, ASSIST_SYSCALL_TABLES * 4096);
	for (unsigned i = 0; i < ASSIST_SYSCALL_TABLES; i++)
		tables[i * 512] = (gpa + (i + 1) * 4096) | PTE_USER_TABLE;
}

uint64_t assist_syscall_entry(uint64_t gpa)
{
	return gpa | PTE_USER_TABLE;
}

static uint64_t slot_va(unsigned slot)
{
	return 0xffff000000000000ull | (uint64_t)slot << 39;
}

uint64_t assist_syscall_find(const uint64_t *pml4, uint64_t gpa, unsigned *slot)
{
	unsigned free_slot = 0;

	for (unsigned n = 0; n < sizeof(slots) / sizeof(slots[0]); n++) {
		unsigned i = slots[n];

		if ((pml4[i] & PTE_PRESENT) && (pml4[i] & PTE_ADDR) == gpa) {
			*slot = i;
			return slot_va(i);
		}
		if (!pml4[i] && !free_slot)
			free_slot = i;
	}
	if (!free_slot)
		return 0;
	*slot = free_slot;
	return slot_va(free_slot);
}

static struct kvm_segment kernel_segment(uint64_t selector, unsigned type, bool code)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = (uint16_t)selector, .type = (uint8_t)type,
		.present = 1, .s = 1, .g = 1, .l = code, .db = !code,
	};
}

enum assist_result assist_syscall_enter(struct assist_cpu *cpu, uint64_t star, uint64_t lstar,
					uint64_t fmask)
{
	struct kvm_regs *r = cpu->regs;
	uint64_t cs = star >> 32 & 0xfffc;

	cpu->sregs_changed = false;
	if (r->rcx >= USER_END) {                   /* a jump: the page looks like the kernel's */
		uint64_t va = r->rip;

		raise_error(cpu, ASSIST_PF, 0x15);  /* present, user, fetch */
		cpu->fault.cr2 = va;
		return ASSIST_FAULT;
	}
	if (!(cpu->sregs->efer & EFER_SCE)) {
		r->rip = r->rcx - 2;
		r->rflags = (r->r11 & RF_USER) | RF_IF | 2;
		return raise_fault(cpu, ASSIST_UD);
	}
	r->r11 = (r->r11 & RF_USER) | RF_IF | 2;
	r->rflags = (r->rflags & ~(fmask | RF_RF | RF_VM)) | 2;
	r->rip = lstar;
	cpu->sregs->cs = kernel_segment(cs, 11, true);
	cpu->sregs->ss = kernel_segment(cs + 8, 3, false);
	cpu->sregs_changed = true;
	return ASSIST_DONE;
}
