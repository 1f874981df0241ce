/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The XSAVE family against the processor: memory images, restored state, XSTATE_BV and XCOMP_BV,
 * each #GP. XSAVES and XRSTORS, which a test process cannot run, against XSAVEC and XRSTOR; XGETBV
 * and x87/MXCSR control instructions.
 */
#include "test-assist-native.h"
#include <stdlib.h>
#include <string.h>

#define AREA 0x4000u                /* offset of the XSAVE area in the arena */

/* reg: modrm /digit; rdi points to the area */
static unsigned instruction(unsigned opcode, unsigned reg, bool is64, uint8_t *code)
{
	unsigned n = 0;

	if (is64)
		code[n++] = 0x48;
	code[n++] = 0x0f;
	code[n++] = (uint8_t)opcode;
	code[n++] = (uint8_t)(reg << 3 | 7);
	return n;
}

/* A state in which some components have their initial values, as KVM gives it. */
static void partial_state(struct bench *b)
{
	const struct assist_layout *l = &b->layout;
	uint64_t bv = b->xcr0 & (g_rand_int(b->rand) | (g_rand_int(b->rand) & 1 ? 0xff : 0));
	const uint16_t fcw = 0x37f;
	const uint32_t mxcsr = 0x1f80;

	bench_random_xstate(b);
	if (!(bv & 1)) {
		memset(b->xsave, 0, 24);
		memset(b->xsave + XS_ST, 0, 128);
		memcpy(b->xsave, &fcw, 2);
	}
	if (!(bv & 2))
		memset(b->xsave + XS_XMM, 0, 256);
	if (!(bv & 6))
		memcpy(b->xsave + XS_MXCSR, &mxcsr, 4);
	for (unsigned i = 2; i < 8; i++) {
		if ((b->xcr0 & BIT(i)) && !(bv & BIT(i)))
			memset(b->xsave + l->offset[i], 0, l->size[i]);
	}
	/* MXCSR with only AVX in use counts as SSE */
	if ((bv & 6) == 4)
		bv |= 2;
	memcpy(b->xsave + XS_BV, &bv, 8);
}

static void set_masks(struct bench *b)
{
	uint32_t r = g_rand_int(b->rand);

	b->regs.rax = r & 1 ? ~0u : g_rand_int(b->rand) & 0xff;
	b->regs.rdx = r & 2 ? ~0u : 0;
	b->regs.rdi = (uint64_t)(uintptr_t)b->arena + AREA;
	if ((r & 0xf00) == 0)
		b->regs.rdi += 1u << (r >> 16 & 7);
}

/* Lets the processor decide what is in use of the state. It may decide otherwise when the kernel
 * switches tasks between two looks, hence the second chances below. */
static void settle(struct bench *b)
{
	static const uint8_t xgetbv[] = { 0x0f, 0x01, 0xd0 };
	g_autofree struct outcome *r = g_new0(struct outcome, 1);

	bench_execute(b, xgetbv, 3, r);
	memcpy(b->xsave, r->xsave, XSAVE_BYTES);
}

static void save(gconstpointer data)
{
	unsigned opcode = GPOINTER_TO_UINT(data) >> 8, reg = GPOINTER_TO_UINT(data) & 7;
	struct bench *b = bench_new();
	g_autofree struct outcome *e = g_new0(struct outcome, 1), *r = g_new0(struct outcome, 1);
	unsigned faults = 0;

	for (unsigned n = 0; n < 3000; n++) {
		uint8_t code[16];
		char why[200];
		unsigned len = instruction(opcode, reg, n & 1, code);
		bool differs = false;
		uint64_t in_use;

		bench_random_regs(b);
		partial_state(b);
		set_masks(b);
		b->regs.rcx = 0;
		if ((n & 3) == 0)           /* old contents of the header */
			memset(b->arena + AREA + XS_BV, 0, 64);
		for (unsigned again = 0; again < 5; again++) {
			settle(b);
			memcpy(&in_use, b->xsave + XS_BV, 8);
			bench_emulate(b, code, len, e);
			bench_execute(b, code, len, r);
			differs = bench_differs(b, e, r, RF_ARITH, why, sizeof why);
			if (!differs)
				break;
		}
		if (differs)
			g_error("%02x /%u 64:%u rfbm %x bv %x: %s", opcode, reg, n & 1,
				(unsigned)b->regs.rax, (unsigned)in_use, why);
		faults += e->result == ASSIST_FAULT;
	}
	g_assert_cmpuint(faults, >, 10);
	bench_free(b);
}

/* A valid image of random format, then sometimes spoilt. */
static void make_image(struct bench *b, bool compacted)
{
	g_autofree struct outcome *r = g_new0(struct outcome, 1);
	uint8_t *area = b->arena + AREA, code[16];
	uint32_t how = g_rand_int(b->rand), bad = 0;
	uint64_t v;

	partial_state(b);
	memset(area, 0, 4096);
	b->regs.rax = how & 1 ? ~0u : g_rand_int(b->rand) & 0xff;
	b->regs.rdx = 0;
	b->regs.rdi = (uint64_t)(uintptr_t)area;
	bench_execute(b, code, instruction(compacted ? 0xc7 : 0xae, 4, how & 2, code), r);
	memcpy(b->arena, r->arena, ARENA_SIZE);
	if (how & 0x30)
		return;
	memcpy(&v, area + XS_BV, 8);
	switch (how >> 8 & 15) {
	case 0: v |= BIT(how >> 16 & 63); break;
	case 1: v &= ~BIT(how >> 16 & 7); break;
	case 2: bad = 0x10000; break;
	case 3: area[XS_BV + 16 + (how >> 16) % 48] ^= 1; break;
	case 4: area[XS_XCOMP + (how >> 16 & 7)] ^= (uint8_t)(1 << (how >> 24 & 7)); break;
	case 5: area[XS_XCOMP + 7] ^= 0x80; break;
	case 6: v ^= 0x7; break;
	default: v = b->xcr0 & (how >> 16);
	}
	memcpy(area + XS_BV, &v, 8);
	memcpy(&v, area + XS_MXCSR, 4);
	v |= bad;
	memcpy(area + XS_MXCSR, &v, 4);
}

static void restore(gconstpointer data)
{
	bool compacted = GPOINTER_TO_UINT(data);
	struct bench *b = bench_new();
	g_autofree struct outcome *e = g_new0(struct outcome, 1), *r = g_new0(struct outcome, 1);
	unsigned faults = 0;

	for (unsigned n = 0; n < 6000; n++) {
		uint8_t code[16];
		unsigned len = instruction(0xae, 5, n & 1, code);
		uint64_t rbv, rax;
		char why[200];

		bench_random_regs(b);
		make_image(b, compacted);
		partial_state(b);
		set_masks(b);
		rax = b->regs.rax;
		bench_emulate(b, code, len, e);
		bench_execute(b, code, len, r);
		/* components restored to their initial values may count as in use or not */
		memcpy(&rbv, r->xsave + XS_BV, 8);
		if (e->result == ASSIST_DONE)
			memcpy(e->xsave + XS_BV, &rbv, 8);
		if (bench_differs(b, e, r, RF_ARITH, why, sizeof why))
			g_error("xrstor 64:%u rfbm %x bv %x xcomp %x: %s", n & 1, (unsigned)rax,
				*(unsigned *)(b->arena + AREA + XS_BV),
				*(unsigned *)(b->arena + AREA + XS_XCOMP), why);
		faults += e->result == ASSIST_FAULT;
	}
	g_assert_cmpuint(faults, >, 100);
	bench_free(b);
}

static void assert_same(struct bench *b, const struct outcome *x, struct outcome *y)
{
	char why[200];

	g_assert_cmpint(x->result, ==, y->result);
	if (x->result == ASSIST_FAULT)
		g_assert_cmpuint(x->vector, ==, y->vector);
	else if (bench_differs(b, x, y, ~0ull, why, sizeof why))
		g_error("%s", why);
}

/* XSAVES = XSAVEC and XRSTORS = compacted XRSTOR, as long as XSS is 0; but only at CPL 0. */
static void supervisor(void)
{
	struct bench *b = bench_new();
	g_autofree struct outcome *s = g_new0(struct outcome, 1), *c = g_new0(struct outcome, 1);
	uint8_t code[16], *area = b->arena + AREA;

	for (unsigned n = 0; n < 500; n++) {
		bench_random_regs(b);
		partial_state(b);
		set_masks(b);
		bench_emulate(b, code, instruction(0xc7, 5, n & 1, code), s);
		bench_emulate(b, code, instruction(0xc7, 4, n & 1, code), c);
		assert_same(b, s, c);

		make_image(b, true);
		partial_state(b);
		set_masks(b);
		bench_emulate(b, code, instruction(0xc7, 3, n & 1, code), s);
		bench_emulate(b, code, instruction(0xae, 5, n & 1, code), c);
		if (((uint8_t *)(uintptr_t)b->regs.rdi)[XS_XCOMP + 7] & 0x80)
			assert_same(b, s, c);
		else
			g_assert_cmpint(s->result, ==, ASSIST_FAULT);
	}
	b->sregs.ss.dpl = 3;
	b->regs.rdi = (uint64_t)(uintptr_t)area;
	bench_emulate(b, code, instruction(0xc7, 5, true, code), s);
	g_assert_cmpint(s->result, ==, ASSIST_FAULT);
	g_assert_cmpuint(s->vector, ==, 13);
	bench_free(b);
}

static void rules(void)
{
	struct bench *b = bench_new();
	g_autofree struct outcome *o = g_new0(struct outcome, 1);
	uint8_t code[16], xgetbv[] = { 0x0f, 0x01, 0xd0 };
	unsigned len = instruction(0xae, 4, true, code);

	bench_random_xstate(b);
	b->regs.rdi = (uint64_t)(uintptr_t)b->arena + AREA;
	b->sregs.cr0 |= CR0_TS;
	bench_emulate(b, code, len, o);
	g_assert_cmpuint(o->vector, ==, 7);
	b->sregs.cr4 &= ~CR4_OSXSAVE;
	bench_emulate(b, code, len, o);
	g_assert_cmpuint(o->vector, ==, 6);
	bench_emulate(b, xgetbv, 3, o);
	g_assert_cmpuint(o->vector, ==, 6);
	b->sregs.cr4 |= CR4_OSXSAVE;
	b->sregs.cr0 &= ~CR0_TS;

	/* only what XCR0 enables is saved, whatever the state holds */
	b->xcr0 = 3;
	b->regs.rax = b->regs.rdx = ~0ull;
	memset(b->arena + AREA, 0xee, 4096);
	memset(b->arena + AREA + XS_BV, 0, 64);
	bench_emulate(b, code, len, o);
	g_assert_cmpint(o->result, ==, ASSIST_DONE);
	g_assert_cmphex(o->arena[AREA + XS_BV], ==, 3);
	g_assert_cmphex(o->arena[AREA + XS_EXT], ==, 0xee);
	b->regs.rcx = 0;
	bench_emulate(b, xgetbv, 3, o);
	g_assert_cmphex(o->gpr[0], ==, 3);
	g_assert_cmphex(o->gpr[2], ==, 0);
	b->regs.rcx = 1;
	bench_emulate(b, xgetbv, 3, o);
	g_assert_cmphex(o->gpr[0] & ~3ull, ==, 0);
	b->regs.rcx = 2;
	bench_emulate(b, xgetbv, 3, o);
	g_assert_cmpuint(o->vector, ==, 13);

	/* a component the layout does not know: refused, not guessed */
	b->xcr0 = b->layout.user | BIT(62);
	bench_emulate(b, code, len, o);
	g_assert_cmpint(o->result, ==, ASSIST_UNKNOWN);

	/* a fault half way through XRSTOR leaves the state alone and is not stored */
	b->xcr0 = b->layout.user & 0xe7;
	b->regs.rdi = (uint64_t)(uintptr_t)b->arena + ARENA_SIZE - 640;
	memset(b->arena + ARENA_SIZE - 640, 0, 640);
	b->arena[ARENA_SIZE - 640 + XS_BV] = 0xe7;
	b->stores = 0;
	len = instruction(0xae, 5, true, code);
	bench_emulate(b, code, len, o);
	g_assert_cmpuint(o->vector, ==, 14);
	g_assert_cmpmem(o->xsave, XSAVE_BYTES, b->xsave, XSAVE_BYTES);
	g_assert_cmpuint(b->stores, ==, 0);
	bench_free(b);
}

/* ldmxcsr, stmxcsr, x87 control: real instructions on (%rdi) or registers. */
static const struct {
	const char *name;
	uint8_t code[6], len;
} control[] = {
	{ "ldmxcsr", { 0x0f, 0xae, 0x17 }, 3 },
	{ "stmxcsr", { 0x0f, 0xae, 0x1f }, 3 },
	{ "vldmxcsr", { 0xc5, 0xf8, 0xae, 0x17 }, 4 },
	{ "vstmxcsr", { 0xc5, 0xf8, 0xae, 0x1f }, 4 },
	{ "vzeroupper", { 0xc5, 0xf8, 0x77 }, 3 },
	{ "vzeroall", { 0xc5, 0xfc, 0x77 }, 3 },
	{ "fwait", { 0x9b }, 1 },
	{ "fnclex", { 0xdb, 0xe2 }, 2 },
	{ "fninit", { 0xdb, 0xe3 }, 2 },
	{ "feni", { 0xdb, 0xe0 }, 2 },
	{ "fnstsw ax", { 0xdf, 0xe0 }, 2 },
	{ "fnstsw m", { 0xdd, 0x3f }, 2 },
	{ "fnstcw", { 0xd9, 0x3f }, 2 },
	{ "fldcw", { 0xd9, 0x2f }, 2 },
	{ "emms", { 0x0f, 0x77 }, 2 },
	{ "fnstenv", { 0xd9, 0x37 }, 2 },
	{ "fnstenv 16", { 0x66, 0xd9, 0x37 }, 3 },
	{ "fldenv", { 0xd9, 0x27 }, 2 },
	{ "fldenv 16", { 0x66, 0xd9, 0x27 }, 3 },
	{ "fnsave", { 0xdd, 0x37 }, 2 },
	{ "fnsave 16", { 0x66, 0xdd, 0x37 }, 3 },
	{ "frstor", { 0xdd, 0x27 }, 2 },
	{ "frstor 16", { 0x66, 0xdd, 0x27 }, 3 },
};

static void control_instructions(void)
{
	struct bench *b = bench_new();
	g_autofree struct outcome *e = g_new0(struct outcome, 1), *r = g_new0(struct outcome, 1);

	for (unsigned i = 0; i < G_N_ELEMENTS(control); i++) {
		for (unsigned n = 0; n < 1500; n++) {
			uint64_t rbv;
			char why[200];

			bench_random_regs(b);
			bench_random_xstate(b);
			if (n & 1) {                /* unmasked x87 exceptions, pending or not */
				b->xsave[XS_FCW] = (uint8_t)(0x40 | g_rand_int(b->rand));
				b->xsave[XS_FCW] &= 0x7f;
			}
			if ((n & 2) && i < 4) {     /* mostly valid MXCSR values */
				b->arena[AREA + 2] = b->arena[AREA + 3] = 0;
			}
			b->regs.rdi = (uint64_t)(uintptr_t)b->arena + AREA;
			settle(b);                  /* lets the processor fill in ES and B */
			bench_emulate(b, control[i].code, control[i].len, e);
			bench_execute(b, control[i].code, control[i].len, r);
			memcpy(&rbv, r->xsave + XS_BV, 8);
			memcpy(e->xsave + XS_BV, &rbv, 8);
			/* some processors keep last opcode and pointers only with an exception */
			memcpy(e->xsave + XS_FOP, r->xsave + XS_FOP, 18);
			if (bench_differs(b, e, r, RF_ARITH, why, sizeof why))
				g_error("%s: %s", control[i].name, why);
		}
	}
	bench_free(b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/assist/xsave/xsave", GUINT_TO_POINTER(0xae04), save);
	g_test_add_data_func("/assist/xsave/xsaveopt", GUINT_TO_POINTER(0xae06), save);
	g_test_add_data_func("/assist/xsave/xsavec", GUINT_TO_POINTER(0xc704), save);
	g_test_add_data_func("/assist/xsave/xrstor", GUINT_TO_POINTER(0), restore);
	g_test_add_data_func("/assist/xsave/xrstor-compacted", GUINT_TO_POINTER(1), restore);
	g_test_add_func("/assist/xsave/supervisor", supervisor);
	g_test_add_func("/assist/xsave/rules", rules);
	g_test_add_func("/assist/xsave/control", control_instructions);
	return g_test_run();
}
