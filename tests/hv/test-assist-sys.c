/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System rows of the assist tables by the rules of the manuals, since a test process may not run
 * them; and the redirected SYSCALL.
 */
#include "test-assist-native.h"
#include "hv/x86/assist_syscall.h"
#include <string.h>

#define RUN(b, ...) \
	({ static const uint8_t code_[] = { __VA_ARGS__ }; \
	   assist_run(&(b)->cpu, code_, sizeof code_); })

static void assert_fault(struct bench *b, enum assist_result result, unsigned vector, int error)
{
	g_assert_cmpint(result, ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, vector);
	g_assert_cmpint(b->cpu.fault.has_error, ==, error >= 0);
	if (error >= 0)
		g_assert_cmpuint(b->cpu.fault.error, ==, (unsigned)error);
}

static void smap(void)
{
	struct bench *b = bench_new();

	b->regs.rip = 0x1000;
	b->regs.rflags = 2;
	g_assert_cmpint(RUN(b, 0x0f, 0x01, 0xcb), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.rflags, ==, 2 | RF_AC);
	g_assert_cmpstr(assist_name((unsigned)b->cpu.row), ==, "stac");
	g_assert_cmpint(RUN(b, 0x0f, 0x01, 0xca), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.rflags, ==, 2);
	g_assert_cmphex(b->regs.rip, ==, 0x1006);
	b->sregs.ss.dpl = 3;
	assert_fault(b, RUN(b, 0x0f, 0x01, 0xcb), 6, -1);
	bench_free(b);
}

static void invpcid(void)
{
	struct bench *b = bench_new();
	uint64_t *d = (uint64_t *)(void *)(b->arena + 0x4000);

	b->regs.rdi = (uint64_t)(uintptr_t)d;
	d[0] = 0;
	d[1] = 0x1234000;
	for (b->regs.rcx = 0; b->regs.rcx < 4; b->regs.rcx++)
		g_assert_cmpint(RUN(b, 0x66, 0x0f, 0x38, 0x82, 0x0f), ==, ASSIST_DONE);
	g_assert_cmpuint(b->flushes, ==, 4);
	assert_fault(b, RUN(b, 0x66, 0x0f, 0x38, 0x82, 0x0f), 13, 0);       /* type 4 */
	b->regs.rcx = 1;
	d[0] = 5;
	assert_fault(b, RUN(b, 0x66, 0x0f, 0x38, 0x82, 0x0f), 13, 0);       /* no CR4.PCIDE */
	b->sregs.cr4 |= CR4_PCIDE;
	g_assert_cmpint(RUN(b, 0x66, 0x0f, 0x38, 0x82, 0x0f), ==, ASSIST_DONE);
	d[0] = 0x1000;
	assert_fault(b, RUN(b, 0x66, 0x0f, 0x38, 0x82, 0x0f), 13, 0);
	b->regs.rcx = 0;
	d[0] = 0;
	d[1] = 0x800000000000;
	assert_fault(b, RUN(b, 0x66, 0x0f, 0x38, 0x82, 0x0f), 13, 0);
	b->sregs.ss.dpl = 3;
	assert_fault(b, RUN(b, 0x66, 0x0f, 0x38, 0x82, 0x0f), 6, -1);
	g_assert_cmpuint(b->flushes, ==, 5);
	bench_free(b);
}

static void clocks(void)
{
	struct bench *b = bench_new();

	g_assert_cmpint(RUN(b, 0x0f, 0x01, 0xf9), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.rax, ==, 0x55667788);
	g_assert_cmphex(b->regs.rdx, ==, 0x11223344);
	g_assert_cmphex(b->regs.rcx, ==, 0x8000002a);
	g_assert_cmpint(RUN(b, 0xf3, 0x41, 0x0f, 0xc7, 0xf9), ==, ASSIST_DONE);     /* rdpid r9 */
	g_assert_cmphex(b->regs.r9, ==, 0x8000002a);
	b->sregs.cr4 |= CR4_TSD;
	g_assert_cmpint(RUN(b, 0x0f, 0x01, 0xf9), ==, ASSIST_DONE);
	b->sregs.ss.dpl = 3;
	assert_fault(b, RUN(b, 0x0f, 0x01, 0xf9), 13, 0);
	bench_free(b);
}

static void idle_and_keys(void)
{
	struct bench *b = bench_new();

	b->regs.rax = (uint64_t)(uintptr_t)b->arena;
	b->regs.rcx = b->regs.rdx = 0;
	g_assert_cmpint(RUN(b, 0x0f, 0x01, 0xc8), ==, ASSIST_DONE);         /* monitor */
	g_assert_cmpint(RUN(b, 0x0f, 0x01, 0xc9), ==, ASSIST_DONE);         /* mwait */
	b->regs.rax = 16;
	assert_fault(b, RUN(b, 0x0f, 0x01, 0xc8), 14, 0);
	b->regs.rcx = 1;
	assert_fault(b, RUN(b, 0x0f, 0x01, 0xc8), 13, 0);
	b->regs.rcx = 0;

	assert_fault(b, RUN(b, 0x0f, 0x01, 0xee), 6, -1);                   /* rdpkru, CR4.PKE off */
	b->sregs.cr4 |= CR4_PKE;
	b->layout.user |= BIT(9);
	b->layout.offset[9] = 2688;
	b->layout.size[9] = 8;
	memset((uint8_t *)b->cpu.xsave, 0, XSAVE_BYTES);
	b->regs.rax = 0x55555554;
	g_assert_cmpint(RUN(b, 0x0f, 0x01, 0xef), ==, ASSIST_DONE);         /* wrpkru */
	g_assert_cmpuint(b->stores, ==, 1);
	b->regs.rax = ~0ull;
	b->regs.rdx = ~0ull;
	g_assert_cmpint(RUN(b, 0x0f, 0x01, 0xee), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.rax, ==, 0x55555554);
	g_assert_cmphex(b->regs.rdx, ==, 0);
	b->regs.rdx = 1;
	assert_fault(b, RUN(b, 0x0f, 0x01, 0xef), 13, 0);
	bench_free(b);
}

/* ---- descriptor tables ---- */

enum { NULL_SEL, CODE0 = 8, DATA0 = 0x10, DATA3 = 0x18 + 3, CODE3 = 0x20 + 3, CODE32_3 = 0x28 + 3,
       RODATA = 0x30, XONLY = 0x38, ABSENT = 0x40, TSS = 0x48, GDT_BYTES = 0x60 };

static uint64_t descriptor(unsigned type, unsigned s, unsigned dpl, unsigned p, unsigned l,
			   unsigned db)
{
	return 0xffffull | (uint64_t)type << 40 | (uint64_t)s << 44 | (uint64_t)dpl << 45 |
	       (uint64_t)p << 47 | 0xfull << 48 | (uint64_t)l << 53 | (uint64_t)db << 54 |
	       1ull << 55;
}

static struct bench *with_tables(void)
{
	struct bench *b = bench_new();
	uint64_t *gdt = (uint64_t *)(void *)(b->arena + 0x3000);

	memset(gdt, 0, GDT_BYTES);
	gdt[CODE0 / 8] = descriptor(11, 1, 0, 1, 1, 0);
	gdt[DATA0 / 8] = descriptor(3, 1, 0, 1, 0, 1);
	gdt[DATA3 / 8] = descriptor(2, 1, 3, 1, 0, 1);
	gdt[CODE3 / 8] = descriptor(10, 1, 3, 1, 1, 0);
	gdt[CODE32_3 / 8] = descriptor(11, 1, 3, 1, 0, 1);
	gdt[RODATA / 8] = descriptor(1, 1, 0, 1, 0, 1);
	gdt[XONLY / 8] = descriptor(9, 1, 0, 1, 1, 0);
	gdt[ABSENT / 8] = descriptor(11, 1, 3, 0, 1, 0);
	gdt[TSS / 8] = descriptor(11, 0, 0, 1, 0, 0);
	b->sregs.gdt.base = (uint64_t)(uintptr_t)gdt;
	b->sregs.gdt.limit = GDT_BYTES - 1;
	b->regs.rsp = (uint64_t)(uintptr_t)b->arena + 0x9000;
	b->regs.rip = 0x1000;
	return b;
}

static bool zf(struct bench *b)
{
	return b->regs.rflags & RF_ZF;
}

static void verr_verw(void)
{
	static const struct { uint16_t selector; bool r, w; } cases[] = {
		{ NULL_SEL, false, false }, { CODE0, true, false },  { DATA0, true, true },
		{ DATA3, true, true },      { RODATA, true, false }, { XONLY, false, false },
		{ TSS, false, false },      { GDT_BYTES, false, false }, { 0x14, false, false },
		{ DATA0 + 3, false, false },
	};
	struct bench *b = with_tables();

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		b->regs.rbx = 0xffffffffffff0000 | cases[i].selector;
		g_assert_cmpint(RUN(b, 0x0f, 0x00, 0xe3), ==, ASSIST_DONE);
		g_assert_cmpint(zf(b), ==, cases[i].r);
		g_assert_cmpint(RUN(b, 0x0f, 0x00, 0xeb), ==, ASSIST_DONE);
		g_assert_cmpint(zf(b), ==, cases[i].w);
	}
	/* as Linux does it: verw of a memory word */
	memcpy(b->arena + 0x5000, &(uint16_t){ DATA0 }, 2);
	b->regs.rax = (uint64_t)(uintptr_t)b->arena + 0x5000;
	g_assert_cmpint(RUN(b, 0x0f, 0x00, 0x28), ==, ASSIST_DONE);
	g_assert_true(zf(b));
	b->sregs.cr0 &= ~CR0_PE;
	b->sregs.efer = 0;
	b->sregs.cs.l = 0;
	assert_fault(b, RUN(b, 0x0f, 0x00, 0xeb), 6, -1);
	bench_free(b);
}

static void lar_lsl(void)
{
	struct bench *b = with_tables();

	b->regs.rbx = CODE3;
	b->regs.rcx = 0x7777777777777777;
	g_assert_cmpint(RUN(b, 0x0f, 0x02, 0xcb), ==, ASSIST_DONE);         /* lar ebx, ecx */
	g_assert_true(zf(b));
	g_assert_cmphex(b->regs.rcx, ==, 0x00affa00);
	g_assert_cmpint(RUN(b, 0x0f, 0x03, 0xcb), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.rcx, ==, 0xffffffff);
	b->regs.rbx = TSS;
	g_assert_cmpint(RUN(b, 0x0f, 0x02, 0xcb), ==, ASSIST_DONE);
	g_assert_true(zf(b));
	b->regs.rbx = 0x50;
	b->regs.rcx = 42;
	g_assert_cmpint(RUN(b, 0x0f, 0x02, 0xcb), ==, ASSIST_DONE);
	g_assert_false(zf(b));
	g_assert_cmpuint(b->regs.rcx, ==, 42);
	bench_free(b);
}

static void push_frame(struct bench *b, uint64_t rip, uint64_t cs, uint64_t rsp, uint64_t ss)
{
	uint64_t frame[] = { rip, cs, rsp, ss };

	memcpy((void *)(uintptr_t)b->regs.rsp, frame, sizeof frame);
}

static void far_return(void)
{
	struct bench *b = with_tables();
	struct kvm_regs before;

	push_frame(b, 0x401000, CODE3, 0x7ffff000, DATA3);
	g_assert_cmpint(RUN(b, 0x48, 0xcb), ==, ASSIST_DONE);
	g_assert_true(b->cpu.sregs_changed);
	g_assert_cmphex(b->regs.rip, ==, 0x401000);
	g_assert_cmphex(b->regs.rsp, ==, 0x7ffff000);
	g_assert_cmphex(b->sregs.cs.selector, ==, CODE3);
	g_assert_cmpuint(b->sregs.cs.l, ==, 1);
	g_assert_cmpuint(b->sregs.cs.dpl, ==, 3);
	g_assert_cmpuint(b->sregs.cs.type, ==, 11);
	g_assert_cmphex(b->sregs.ss.selector, ==, DATA3);
	g_assert_cmpuint(b->sregs.ss.dpl, ==, 3);
	g_assert_cmpuint(b->sregs.ds.unusable, ==, 1);      /* was DPL 0 */
	g_assert_cmpuint(b->arena[0x3000 + 0x18 + 5] & 1, ==, 1);   /* accessed */
	g_assert_cmpuint(b->arena[0x3000 + 0x20 + 5] & 1, ==, 1);
	bench_free(b);

	b = with_tables();
	push_frame(b, 0x8000, CODE32_3, 0x123456789, DATA3);
	g_assert_cmpint(RUN(b, 0x48, 0xcb), ==, ASSIST_DONE);
	g_assert_cmpuint(b->sregs.cs.l, ==, 0);
	g_assert_cmpuint(b->sregs.cs.db, ==, 1);
	bench_free(b);

	b = with_tables();
	before = b->regs;
	push_frame(b, 0x401000, CODE0, 0, 0);               /* same ring: KVM's own */
	g_assert_cmpint(RUN(b, 0x48, 0xcb), ==, ASSIST_UNKNOWN);
	push_frame(b, 0x800000000000, CODE3, 0, DATA3);
	assert_fault(b, RUN(b, 0x48, 0xcb), 13, 0);
	push_frame(b, 0x401000, ABSENT + 3, 0, DATA3);
	assert_fault(b, RUN(b, 0x48, 0xcb), 11, ABSENT);
	push_frame(b, 0x401000, DATA3, 0, DATA3);
	assert_fault(b, RUN(b, 0x48, 0xcb), 13, DATA3 & ~3);
	push_frame(b, 0x401000, CODE3, 0, NULL_SEL);
	assert_fault(b, RUN(b, 0x48, 0xcb), 13, 0);
	push_frame(b, 0x401000, CODE3, 0, DATA0 + 3);
	assert_fault(b, RUN(b, 0x48, 0xcb), 13, DATA0);
	push_frame(b, 0x401000, GDT_BYTES + 3, 0, DATA3);
	assert_fault(b, RUN(b, 0x48, 0xcb), 13, GDT_BYTES);
	g_assert_cmpmem(&before, sizeof before, &b->regs, sizeof b->regs);
	b->regs.rsp = 0x8000;
	assert_fault(b, RUN(b, 0x48, 0xcb), 14, 0);
	bench_free(b);
}

static void interrupt(void)
{
	struct bench *b = with_tables();
	uint64_t *idt = (uint64_t *)(void *)(b->arena + 0x6000), frame[5];
	uint64_t handler = 0xffffffff81234567, base = (uint64_t)(uintptr_t)b->arena;
	uint64_t stack = base + 0xa000;

	memset(idt, 0, 0x1000);
	b->sregs.idt.base = (uint64_t)(uintptr_t)idt;
	b->sregs.idt.limit = 0x2ff;
	idt[0x20 * 2] = (handler & 0xffff) | CODE0 << 16 | 0x8eull << 40 |
			(handler & 0xffff0000) << 32;
	idt[0x20 * 2 + 1] = handler >> 32;
	idt[0x21 * 2] = idt[0x20 * 2] | 1ull << 40 | 2ull << 32;    /* trap gate, IST 2 */
	idt[0x21 * 2 + 1] = handler >> 32;
	b->sregs.tr.base = base + 0x7000;
	b->sregs.tr.limit = 0x67;
	memcpy(b->arena + 0x7000 + 44, &stack, 8);
	b->regs.rsp -= 4;                           /* gets aligned */
	b->regs.rflags = 2 | RF_IF | RF_CF;
	g_assert_cmpint(RUN(b, 0xcd, 0x20), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.rip, ==, handler);
	g_assert_cmphex(b->regs.rflags, ==, 2 | RF_CF);
	g_assert_cmphex(b->regs.rsp, ==, base + 0x9000 - 16 - 40);
	memcpy(frame, (void *)(uintptr_t)b->regs.rsp, sizeof frame);
	g_assert_cmphex(frame[0], ==, 0x1002);
	g_assert_cmphex(frame[1], ==, 0x10);
	g_assert_cmphex(frame[2], ==, 2 | RF_IF | RF_CF);
	g_assert_cmphex(frame[3], ==, base + 0x8ffc);
	g_assert_cmphex(frame[4], ==, 0x18);

	b->regs.rflags |= RF_IF;
	g_assert_cmpint(RUN(b, 0xcd, 0x21), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.rsp, ==, stack - 40);
	g_assert_true(b->regs.rflags & RF_IF);
	assert_fault(b, RUN(b, 0xcd, 0x22), 13, 0x22 * 8 + 2);
	assert_fault(b, RUN(b, 0xcd, 0x80), 13, 0x80 * 8 + 2);
	bench_free(b);
}

static void sysret(void)
{
	struct bench *b = bench_new();

	b->regs.rcx = 0x401000;
	b->regs.r11 = 0xffffffff;
	g_assert_cmpint(RUN(b, 0x48, 0x0f, 0x07), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.rip, ==, 0x401000);
	g_assert_cmphex(b->regs.rflags, ==, 0x3c7fd7);
	g_assert_cmphex(b->sregs.cs.selector, ==, 0x33);
	g_assert_cmphex(b->sregs.ss.selector, ==, 0x2b);
	g_assert_cmpuint(b->sregs.ss.dpl, ==, 3);
	assert_fault(b, RUN(b, 0x48, 0x0f, 0x07), 6, -1);   /* now at CPL 3 */
	bench_free(b);
}

/* ---- SYSCALL ---- */

static void syscall_tables(void)
{
	static const uint64_t gpa = 0xfeff8000;
	g_autofree uint64_t *tables = g_new(uint64_t, 3 * 512), *pml4 = g_new0(uint64_t, 512);
	uint64_t va, entry;
	unsigned slot = 0;

	assist_syscall_tables(tables, gpa);
	va = assist_syscall_find(pml4, gpa, &slot);
	g_assert_cmpuint(slot, >=, 273);            /* Linux copies what is above, no less */
	g_assert_cmpuint(slot, <, 512);
	g_assert_cmphex(va >> 47, ==, 0x1ffff);     /* canonical, the kernel's half */
	g_assert_cmpuint(va >> 39 & 511, ==, slot);

	/* walk it: user-executable at every level, ending in the hole */
	pml4[slot] = entry = assist_syscall_entry(gpa);
	for (unsigned level = 3; level > 0; level--) {
		g_assert_cmphex(entry & 0x8000000000000085, ==, 5);         /* P, U, no NX, no PS */
		g_assert_cmphex(entry & 0x20, ==, 0x20);
		g_assert_cmphex((entry & ~0xfffull) - gpa, <, 3 * 4096);
		entry = tables[((entry & ~0xfffull) - gpa) / 8 + (va >> (12 + 9 * (level - 1)) & 511)];
	}
	g_assert_cmphex(entry & ~0xfffull, ==, gpa + 3 * 4096);
	for (unsigned i = 0, n = 0; i < 3 * 512; i++) {
		n += tables[i] != 0;
		g_assert_cmpuint(n, <=, 3);
	}

	/* found again, wherever it is; others are taken as slots get used; then there is none */
	g_assert_cmphex(assist_syscall_find(pml4, gpa, &slot), ==, va);
	for (unsigned found = 0; (va = assist_syscall_find(pml4, 0x1000, &slot)); found++) {
		g_assert_cmphex(pml4[slot], ==, 0);
		g_assert_cmpuint(found, <, 16);
		pml4[slot] = 0x8067;
	}
	g_assert_cmphex(assist_syscall_find(pml4, gpa, &slot), !=, 0);
}

static void syscall_enter(void)
{
	static const uint64_t star = 0x0023001000000000, lstar = 0xffffffff81a00000;
	static const uint64_t fmask = 0x257fd5;
	struct bench *b = bench_new();

	b->sregs.cs.dpl = b->sregs.ss.dpl = 3;
	b->sregs.cs.selector = 0x33;
	b->sregs.ss.selector = 0x2b;
	b->regs.rip = 0xffff840000000000;
	b->regs.rcx = 0x401002;
	b->regs.r11 = 0x40246;
	b->regs.rflags = RF_RF | 0x42 | RF_TF;      /* TF: as if jumped to */
	g_assert_cmpint(assist_syscall_enter(&b->cpu, star, lstar, fmask), ==, ASSIST_DONE);
	g_assert_true(b->cpu.sregs_changed);
	g_assert_cmphex(b->regs.rip, ==, lstar);
	g_assert_cmphex(b->regs.rflags, ==, 2);
	g_assert_cmphex(b->regs.rcx, ==, 0x401002);
	g_assert_cmphex(b->regs.r11, ==, 0x40246);
	g_assert_cmphex(b->sregs.cs.selector, ==, 0x10);
	g_assert_cmphex(b->sregs.ss.selector, ==, 0x18);
	g_assert_cmpuint(b->sregs.cs.dpl + b->sregs.ss.dpl, ==, 0);
	g_assert_cmpuint(b->sregs.cs.l, ==, 1);
	g_assert_cmpuint(b->sregs.cs.db, ==, 0);
	g_assert_cmpuint(b->sregs.ss.present, ==, 1);

	/* forged by a jump: not a user address; privileged flags in R11 */
	b->sregs.cs.dpl = b->sregs.ss.dpl = 3;
	b->regs.rip = 0xffff840000000000;
	b->regs.rcx = 0xffffffff81000000;
	g_assert_cmpint(assist_syscall_enter(&b->cpu, star, lstar, fmask), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 14);
	g_assert_cmphex(b->cpu.fault.error, ==, 0x15);
	g_assert_cmphex(b->cpu.fault.cr2, ==, 0xffff840000000000);
	g_assert_false(b->cpu.sregs_changed);
	b->regs.rcx = 0x401002;
	b->regs.r11 = ~0ull;
	g_assert_cmpint(assist_syscall_enter(&b->cpu, star, lstar, fmask), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.r11, ==, 0x244fd7);

	b->sregs.efer &= ~EFER_SCE;
	g_assert_cmpint(assist_syscall_enter(&b->cpu, star, lstar, fmask), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 6);
	g_assert_cmphex(b->regs.rip, ==, 0x401000);
	bench_free(b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/assist/sys/smap", smap);
	g_test_add_func("/assist/sys/invpcid", invpcid);
	g_test_add_func("/assist/sys/clocks", clocks);
	g_test_add_func("/assist/sys/idle-and-keys", idle_and_keys);
	g_test_add_func("/assist/sys/verr-verw", verr_verw);
	g_test_add_func("/assist/sys/lar-lsl", lar_lsl);
	g_test_add_func("/assist/sys/far-return", far_return);
	g_test_add_func("/assist/sys/interrupt", interrupt);
	g_test_add_func("/assist/sys/sysret", sysret);
	g_test_add_func("/assist/syscall/tables", syscall_tables);
	g_test_add_func("/assist/syscall/enter", syscall_enter);
	return g_test_run();
}
