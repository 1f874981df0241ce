/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Integer rows of the assist tables against the processor; decoding; traps; naming.
 */
#include "test-assist-native.h"
#include <string.h>

/* Rows the processor judges, and the flags it leaves undefined. */
static const struct {
	const char *name;
	uint32_t undefined;
} integer[] = {
	{ "popcnt", 0 },
	{ "tzcnt", RF_OF | RF_SF | RF_AF | RF_PF },
	{ "lzcnt", RF_OF | RF_SF | RF_AF | RF_PF },
	{ "crc32", 0 },
	{ "movbe", 0 },
	{ "adcx", 0 },
	{ "adox", 0 },
	{ "movdiri", 0 },
	{ "movdir64b", 0 },
	{ "andn", RF_AF | RF_PF },
	{ "blsr", RF_AF | RF_PF },
	{ "blsmsk", RF_AF | RF_PF },
	{ "blsi", RF_AF | RF_PF },
	{ "bzhi", RF_AF | RF_PF },
	{ "pext", 0 },
	{ "pdep", 0 },
	{ "mulx", 0 },
	{ "bextr", RF_SF | RF_AF | RF_PF },
	{ "shlx", 0 },
	{ "sarx", 0 },
	{ "shrx", 0 },
	{ "rorx", 0 },
	{ "cmpxchg16b", 0 },
	{ "clwb", 0 },
	{ "clflushopt", 0 },
	{ "clzero", 0 },
	{ "ud1", 0 },
	{ "ud2", 0 },
};

static void against_processor(gconstpointer data)
{
	const char *name = integer[GPOINTER_TO_UINT(data)].name;
	uint64_t flags = RF_ARITH & ~(uint64_t)integer[GPOINTER_TO_UINT(data)].undefined;
	struct bench *b = bench_new();
	g_autofree struct outcome *e = g_new0(struct outcome, 1), *r = g_new0(struct outcome, 1);
	unsigned ran = 0, absent = 0, done = 0, rounds = 1500;

	bench_random_xstate(b);
	for (unsigned i = 0; i < assist_rows_n; i++) {
		const struct assist_row *row = &assist_rows[i];

		for (unsigned n = 0; strcmp(row->name, name) == 0 && n < rounds; n++) {
			uint8_t code[32];
			char why[200], text[ASSIST_DESCRIBE_SIZE];
			unsigned len;

			bench_random_regs(b);
			len = bench_instance(b, row, row->enc, code);
			if (!strcmp(name, "clzero"))
				b->regs.rax = (uint64_t)(uintptr_t)b->arena + 0x8000 + (n & 255);
			if (!strcmp(name, "movdir64b")) {       /* its register is an address */
				struct insn in;

				g_assert_cmpint(insn_decode(&in, &b->cpu, MODE_64, code, len), ==,
						DECODE_OK);
				*bench_reg(b, in.reg) = (uint64_t)(uintptr_t)b->arena + 0x8000 +
							(n & 3 ? n & 0x7c0 : n & 0x7ff);
			}
			if (!strcmp(name, "cmpxchg16b") && (n & 1)) {
				/* equal: take the operand's value */
				bench_emulate(b, code, len, e);
				b->regs.rax = e->gpr[GPR_RAX];
				b->regs.rdx = e->gpr[GPR_RDX];
			}
			bench_emulate(b, code, len, e);
			if (e->vector == ASSIST_PF)
				continue;           /* a register set here was its base, too */
			bench_execute(b, code, len, r);
			ran++;
			done += e->result == ASSIST_DONE;
			if (e->result == ASSIST_DONE && r->result == ASSIST_FAULT && r->vector == 6) {
				absent++;
				continue;
			}
			if (bench_differs(b, e, r, flags, why, sizeof why))
				g_error("%s: %s", assist_describe(code, len, text), why);
			if (e->result == ASSIST_DONE && row->name[0] != 'u')
				g_assert_cmpint(b->cpu.row, ==, (int)i);
		}
	}
	g_assert_cmpuint(ran, >, 0);
	if (name[0] != 'u')
		g_assert_cmpuint(done, >, ran / 100);
	if (absent) {                               /* all or none */
		if (absent != done)
			g_error("%s: %u of %u refused by the processor", name, absent, done);
		g_test_skip("this processor lacks the instruction");
	}
	bench_free(b);
}

/* Each prefix of each instruction: never read behind it (the bench gives exact heap copies), and a
 * cut instruction is never taken for another one. */
static void truncated(void)
{
	struct bench *b = bench_new();
	g_autofree struct outcome *e = g_new0(struct outcome, 1);

	bench_random_xstate(b);
	for (unsigned i = 0; i < assist_count(); i++) {
		const struct assist_row *row = i < assist_rows_n ?
			&assist_rows[i] : &assist_simd_rows[i - assist_rows_n];

		for (unsigned enc = ENC_LEGACY; enc <= ENC_EVEX; enc <<= 1) {
			uint8_t code[32];
			unsigned len;

			if (!(row->enc & enc))
				continue;
			bench_random_regs(b);
			len = bench_instance(b, row, enc, code);
			for (unsigned cut = 0; cut < len; cut++) {
				bench_emulate(b, code, cut, e);
				g_assert_cmpint(e->result, ==, ASSIST_UNKNOWN);
			}
		}
	}
	bench_free(b);
}

static void fuzz(void)
{
	struct bench *b = bench_new();
	unsigned results[ASSIST_RESULT_N] = { 0 };
	uint64_t base = (uint64_t)(uintptr_t)b->arena;
	char text[ASSIST_DESCRIBE_SIZE];

	bench_random_xstate(b);
	memcpy(b->cpu.xsave, b->xsave, XSAVE_BYTES);
	for (unsigned n = 0; n < 1000000; n++) {
		unsigned len = g_rand_int(b->rand) % 16, mode = g_rand_int(b->rand) & 7;
		uint8_t *code = g_malloc(len);

		for (unsigned i = 0; i < len; i++)
			code[i] = (uint8_t)g_rand_int(b->rand);
		if (len > 3 && (n & 3))             /* more than luck would find */
			code[0] = (uint8_t[]){ 0x0f, 0x66, 0xf3, 0xf2, 0xc4, 0xc5, 0x62, 0xf0,
					       0x48, 0x67, 0x9b, 0xd9 }[n / 4 % 12];
		if (len > 3 && (n & 7) > 4)
			code[1] = 0x0f;
		*bench_reg(b, n & 15) = base + 0x4000 + (g_rand_int(b->rand) & 0x3fff);
		b->sregs.cs.l = mode < 5;
		b->sregs.cs.db = mode == 5;
		b->sregs.cr0 = mode == 7 ? 0x10 : 0x80050033;
		b->regs.rip = base + ARENA_CODE;
		results[assist_run(&b->cpu, code, len)]++;
		assist_describe(code, len, text);
		g_assert_cmpuint(strlen(text), <, ASSIST_DESCRIBE_SIZE);
		g_free(code);
	}
	g_test_message("done %u, fault %u, unknown %u", results[0], results[1], results[2]);
	g_assert_cmpuint(results[ASSIST_DONE], >, 1000);
	bench_free(b);
}

static void traps(void)
{
	static const uint8_t int3[] = { 0xcc }, int1[] = { 0xf1 }, ud0[] = { 0x0f, 0xff, 0xc0 };
	static const uint8_t popcnt[] = { 0xf3, 0x0f, 0xb8, 0xc1 };
	struct bench *b = bench_new();

	b->regs.rip = 0x1000;
	g_assert_cmpint(assist_run(&b->cpu, int3, 1), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 3);
	g_assert_false(b->cpu.fault.has_error);
	g_assert_cmphex(b->regs.rip, ==, 0x1001);
	g_assert_cmpint(assist_run(&b->cpu, int1, 1), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 1);
	g_assert_cmphex(b->regs.rip, ==, 0x1002);
	g_assert_cmpint(assist_run(&b->cpu, ud0, 3), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 6);
	g_assert_cmphex(b->regs.rip, ==, 0x1002);

	/* single step: a trap after the instruction; RF goes */
	b->regs.rflags = 2 | RF_TF | RF_RF;
	b->regs.rcx = 7;
	g_assert_cmpint(assist_run(&b->cpu, popcnt, 4), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 1);
	g_assert_cmphex(b->cpu.fault.dr6, ==, 0x4000);
	g_assert_cmphex(b->regs.rip, ==, 0x1006);
	g_assert_cmpuint(b->regs.rax, ==, 3);
	g_assert_cmphex(b->regs.rflags, ==, 2 | RF_TF);

	/* virtual-8086 mode is refused */
	b->regs.rflags = 2 | RF_VM;
	g_assert_cmpint(assist_run(&b->cpu, popcnt, 4), ==, ASSIST_UNKNOWN);
	bench_free(b);
}

/* Memory faults leave everything as it was, and say where. */
static void faults(void)
{
	static const uint8_t popcnt[] = { 0xf3, 0x48, 0x0f, 0xb8, 0x00 };   /* (%rax) */
	static const uint8_t popcnt_rsp[] = { 0xf3, 0x48, 0x0f, 0xb8, 0x04, 0x24 };
	static const uint8_t cx16[] = { 0x48, 0x0f, 0xc7, 0x08 };           /* (%rax) */
	static const uint8_t lock[] = { 0xf0, 0xf3, 0x48, 0x0f, 0xb8, 0x00 };
	static const uint8_t fs[] = { 0x64, 0xf3, 0x48, 0x0f, 0xb8, 0x00 };
	uint64_t base;
	struct bench *b = bench_new();
	struct kvm_regs before;

	base = (uint64_t)(uintptr_t)b->arena;
	b->regs.rip = 0x1000;
	b->regs.rax = base + ARENA_SIZE - 4;
	before = b->regs;
	g_assert_cmpint(assist_run(&b->cpu, popcnt, 5), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 14);
	g_assert_cmphex(b->cpu.fault.cr2, ==, base + ARENA_SIZE);
	g_assert_cmpmem(&before, sizeof before, &b->regs, sizeof b->regs);

	b->regs.rax = 0x8000000000000000;           /* not canonical */
	g_assert_cmpint(assist_run(&b->cpu, popcnt, 5), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 13);
	g_assert_true(b->cpu.fault.has_error);
	b->regs.rsp = 0x7ffffffffffc;               /* half of it */
	g_assert_cmpint(assist_run(&b->cpu, popcnt_rsp, 6), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 12);

	b->regs.rax = base + 0x4008;
	g_assert_cmpint(assist_run(&b->cpu, cx16, 4), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 13);
	g_assert_cmpint(assist_run(&b->cpu, lock, 6), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 6);

	b->sregs.fs.base = base + 0x5000;
	b->regs.rax = 0x10;
	memset(b->arena + 0x5010, 0xff, 8);
	g_assert_cmpint(assist_run(&b->cpu, fs, 6), ==, ASSIST_DONE);
	g_assert_cmpuint(b->regs.rax, ==, 64);
	bench_free(b);
}

/* 32- and 16-bit code: sizes, segment bases and limits. */
static void protected_mode(void)
{
	static const uint8_t popcnt[] = { 0xf3, 0x0f, 0xb8, 0x03 };         /* (%ebx) / (%bp,%di) */
	static const uint8_t popcnt16[] = { 0x66, 0xf3, 0x0f, 0xb8, 0x03 };
	static const uint8_t lds[] = { 0xc5, 0x03 };
	uint64_t base;
	struct bench *b = bench_new();

	base = (uint64_t)(uintptr_t)b->arena;
	b->sregs.efer = 0;
	b->sregs.cs.l = 0;
	b->sregs.cs.db = 1;
	b->sregs.ds.base = b->sregs.ss.base = base;
	b->sregs.ds.limit = 0x8003;
	memset(b->arena + 0x8000, 0xff, 8);
	b->regs.rip = 0x1000;
	b->regs.rax = 0xaaaaaaaaaaaaaaaa;
	b->regs.rbx = 0x8000;
	g_assert_cmpint(assist_run(&b->cpu, popcnt, 4), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.rax, ==, 32);
	b->regs.rax = 0xaaaaaaaa;
	g_assert_cmpint(assist_run(&b->cpu, popcnt16, 5), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.rax, ==, 0xaaaa0010);
	b->regs.rbx = 0x8001;
	g_assert_cmpint(assist_run(&b->cpu, popcnt, 4), ==, ASSIST_FAULT);
	g_assert_cmpuint(b->cpu.fault.vector, ==, 13);
	b->sregs.ds.unusable = 1;
	g_assert_cmpint(assist_run(&b->cpu, popcnt16, 5), ==, ASSIST_FAULT);
	g_assert_cmpint(assist_run(&b->cpu, lds, 2), ==, ASSIST_UNKNOWN);

	b->sregs.cr0 = 0x10;                        /* real mode */
	b->sregs.cs.db = 0;
	b->regs.rbp = 0x7ff0;
	b->regs.rdi = 0x10010;
	b->sregs.ss.limit = 0xffff;
	b->regs.rip = 0xfffe;
	g_assert_cmpint(assist_run(&b->cpu, popcnt, 4), ==, ASSIST_DONE);
	g_assert_cmphex(b->regs.rax, ==, 0xaaaa0010);
	g_assert_cmphex(b->regs.rip, ==, 2);
	bench_free(b);
}

static void names(void)
{
	static const uint8_t rorx[] = { 0xc4, 0xe3, 0xfb, 0xf0, 0xc0, 0x07, 0x90, 0x90 };
	static const uint8_t evex[] = { 0x62, 0xf2, 0x7d, 0x48, 0x92, 0xc0 };
	char text[ASSIST_DESCRIBE_SIZE];

	g_assert_cmpstr(assist_describe(rorx, sizeof rorx, text), ==, "rorx (c4 e3 fb f0 c0 07)");
	g_assert_cmpstr(assist_describe(evex, sizeof evex, text), ==,
			"unknown EVEX map 2 opcode 92 (62 f2 7d 48 92 c0)");
	g_assert_cmpstr(assist_describe(rorx, 2, text), ==, "unknown (c4 e3)");
	g_assert_cmpstr(assist_describe(rorx, 0, text), ==, "no instruction bytes");
	for (unsigned i = 0; i < assist_count(); i++) {
		g_assert_nonnull(assist_name(i));
		g_assert_cmpuint(strlen(assist_name(i)), <, 50);
	}
	g_assert_cmpstr(assist_name(assist_count()), ==, "unknown");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(integer); i++) {
		g_autofree char *path = g_strdup_printf("/assist/processor/%s", integer[i].name);

		g_test_add_data_func(path, GUINT_TO_POINTER(i), against_processor);
	}
	g_test_add_func("/assist/truncated", truncated);
	g_test_add_func("/assist/fuzz", fuzz);
	g_test_add_func("/assist/traps", traps);
	g_test_add_func("/assist/faults", faults);
	g_test_add_func("/assist/protected-mode", protected_mode);
	g_test_add_func("/assist/names", names);
	return g_test_run();
}
