/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bench of test-assist-native.h.
 */
#include "test-assist-native.h"
#include <asm/prctl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* ---- the processor's side ---- */

struct real {                       /* offsets are known to the assembly */
	uint64_t gpr[16];           /* 0 */
	uint64_t rflags, code, rsp; /* 128 136 144 */
	uint64_t guest, host, components;   /* 152 160 168 */
};
struct real test_real;
extern const char test_real_back[], test_real_fault[];
void test_real_enter(void);
static volatile int real_signal;
static volatile bool real_running;
static _Alignas(64) uint8_t real_host[ASSIST_XSAVE_MAX], real_guest[ASSIST_XSAVE_MAX];

__asm__(".text\n"
	".global test_real_enter, test_real_back, test_real_fault\n"
	".hidden test_real\n"
	"test_real_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov test_real+168(%rip), %eax; mov test_real+172(%rip), %edx\n"
	"	mov test_real+160(%rip), %rsi; xsave64 (%rsi)\n"
	"	mov test_real+152(%rip), %rsi; xrstor64 (%rsi)\n"
	"	mov %rsp, test_real+144(%rip)\n"
	"	push test_real+128(%rip); popfq\n"
	"	mov test_real+0(%rip), %rax; mov test_real+8(%rip), %rcx\n"
	"	mov test_real+16(%rip), %rdx; mov test_real+24(%rip), %rbx\n"
	"	mov test_real+40(%rip), %rbp; mov test_real+48(%rip), %rsi\n"
	"	mov test_real+56(%rip), %rdi; mov test_real+64(%rip), %r8\n"
	"	mov test_real+72(%rip), %r9; mov test_real+80(%rip), %r10\n"
	"	mov test_real+88(%rip), %r11; mov test_real+96(%rip), %r12\n"
	"	mov test_real+104(%rip), %r13; mov test_real+112(%rip), %r14\n"
	"	mov test_real+120(%rip), %r15\n"
	"	jmp *test_real+136(%rip)\n"
	"test_real_back:\n"
	"	mov %rax, test_real+0(%rip); mov %rcx, test_real+8(%rip)\n"
	"	mov %rdx, test_real+16(%rip); mov %rbx, test_real+24(%rip)\n"
	"	mov %rbp, test_real+40(%rip); mov %rsi, test_real+48(%rip)\n"
	"	mov %rdi, test_real+56(%rip); mov %r8, test_real+64(%rip)\n"
	"	mov %r9, test_real+72(%rip); mov %r10, test_real+80(%rip)\n"
	"	mov %r11, test_real+88(%rip); mov %r12, test_real+96(%rip)\n"
	"	mov %r13, test_real+104(%rip); mov %r14, test_real+112(%rip)\n"
	"	mov %r15, test_real+120(%rip)\n"
	"	pushfq; pop test_real+128(%rip)\n"
	"test_real_fault:\n"
	"	cld\n"
	"	mov test_real+168(%rip), %eax; mov test_real+172(%rip), %edx\n"
	"	mov test_real+152(%rip), %rsi; xsave64 (%rsi)\n"
	"	mov test_real+160(%rip), %rsi; xrstor64 (%rsi)\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

static struct sigaction older[64];

static void on_signal(int sig, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

	if (!real_running) {
		if (older[sig].sa_flags & SA_SIGINFO)
			older[sig].sa_sigaction(sig, info, context);
		else
			abort();
		return;
	}
	real_signal = sig;
	regs[REG_RIP] = (greg_t)(uintptr_t)test_real_fault;
	regs[REG_RSP] = (greg_t)test_real.rsp;
	regs[REG_EFL] &= ~0x40100;          /* AC, TF */
}

void bench_execute(struct bench *b, const uint8_t *code, unsigned len, struct outcome *out)
{
	static const uint8_t jump[6] = { 0xff, 0x25, 0, 0, 0, 0 };
	uint64_t back = (uint64_t)(uintptr_t)test_real_back;
	g_autofree uint8_t *saved = g_memdup2(b->arena, ARENA_SIZE);
	uint8_t *p = b->arena + ARENA_CODE, around[64];

	memcpy(around, p, sizeof around);
	memcpy(p, code, len);
	memcpy(p + len, jump, sizeof jump);
	memcpy(p + len + sizeof jump, &back, sizeof back);
	memset(&test_real, 0, sizeof test_real);
	for (unsigned i = 0; i < 16; i++)
		test_real.gpr[i] = *bench_reg(b, i);
	test_real.rflags = 0x202 | (b->regs.rflags & RF_ARITH);
	test_real.code = (uint64_t)(uintptr_t)p;
	memcpy(real_guest, b->xsave, XSAVE_BYTES);
	test_real.guest = (uint64_t)(uintptr_t)real_guest;
	test_real.host = (uint64_t)(uintptr_t)real_host;
	test_real.components = b->layout.user & 0xe7;
	real_signal = 0;
	real_running = true;
	__asm__ volatile("mfence" ::: "memory");
	test_real_enter();
	real_running = false;
	out->result = real_signal ? ASSIST_FAULT : ASSIST_DONE;
	out->vector = real_signal == SIGILL ? 6 : real_signal == SIGFPE ? 16 : 13;
	memcpy(out->gpr, test_real.gpr, sizeof out->gpr);
	out->gpr[GPR_RSP] = b->regs.rsp;
	out->rflags = test_real.rflags;
	memcpy(out->xsave, real_guest, XSAVE_BYTES);
	memcpy(p, around, sizeof around);
	memcpy(out->arena, b->arena, ARENA_SIZE);
	memcpy(b->arena, saved, ARENA_SIZE);
}

/* ---- the emulated side ---- */

static bool in_arena(struct assist_cpu *cpu, uint64_t va, size_t len, bool write,
		     struct assist_fault *fault)
{
	struct bench *b = cpu->opaque;
	uint64_t base = (uint64_t)(uintptr_t)b->arena, end = base + ARENA_SIZE;

	g_assert_cmpuint(len, >=, 1);
	g_assert_cmpuint(len, <=, 4096);
	if (va >= base && va < end && len <= end - va)
		return true;
	*fault = (struct assist_fault){ .vector = 14, .has_error = true, .error = write ? 2 : 0,
					.cr2 = va < base || va >= end ? va : end };
	return false;
}

static bool op_read(struct assist_cpu *cpu, uint64_t va, void *dst, size_t len,
		    struct assist_fault *fault)
{
	if (!in_arena(cpu, va, len, false, fault))
		return false;
	memcpy(dst, (void *)(uintptr_t)va, len);
	return true;
}

static bool op_write(struct assist_cpu *cpu, uint64_t va, const void *src, size_t len,
		     struct assist_fault *fault)
{
	if (!in_arena(cpu, va, len, true, fault))
		return false;
	memcpy((void *)(uintptr_t)va, src, len);
	return true;
}

static void *op_map(struct assist_cpu *cpu, uint64_t va, size_t len, struct assist_fault *fault)
{
	return in_arena(cpu, va, len, true, fault) ? (void *)(uintptr_t)va : NULL;
}

static bool op_xstate(struct assist_cpu *cpu, bool write)
{
	struct bench *b = cpu->opaque;

	if (write)
		b->stores++;
	else
		b->loads++;
	return true;
}

static bool op_xcr0(struct assist_cpu *cpu, uint64_t *value)
{
	*value = ((struct bench *)cpu->opaque)->xcr0;
	return true;
}

static bool op_msr(struct assist_cpu *cpu, uint32_t index, uint64_t *value)
{
	g_assert_cmphex(index, ==, 0xc0000081);
	*value = 0x0023001000000000;
	return true;
}

static uint64_t op_tsc(struct assist_cpu *cpu)
{
	return 0x1122334455667788;
}

static uint32_t op_tsc_aux(struct assist_cpu *cpu)
{
	return 0x8000002a;
}

static void op_flush(struct assist_cpu *cpu, unsigned type, uint16_t pcid, uint64_t va)
{
	((struct bench *)cpu->opaque)->flushes++;
}

static const struct assist_ops ops = {
	.read = op_read, .write = op_write, .map = op_map, .xstate = op_xstate, .xcr0 = op_xcr0,
	.msr = op_msr, .tsc = op_tsc, .tsc_aux = op_tsc_aux, .flush_tlb = op_flush,
};

void bench_emulate(struct bench *b, const uint8_t *code, unsigned len, struct outcome *out)
{
	g_autofree uint8_t *saved = g_memdup2(b->arena, ARENA_SIZE);
	/* exactly len bytes on the heap, so that ASan sees a read behind them */
	g_autofree uint8_t *exact = g_memdup2(code, len);
	struct kvm_regs regs = b->regs;
	struct kvm_sregs sregs = b->sregs;

	b->regs.rip = (uint64_t)(uintptr_t)b->arena + ARENA_CODE;
	memcpy(b->cpu.xsave, b->xsave, XSAVE_BYTES);
	out->result = assist_run(&b->cpu, exact, len);
	out->vector = b->cpu.fault.vector;
	if (out->result == ASSIST_DONE && b->sregs.cs.l)
		g_assert_true(b->cpu.sregs_changed || b->regs.rip == regs.rip ||
			      b->regs.rip == (uint64_t)(uintptr_t)b->arena + ARENA_CODE + len);
	for (unsigned i = 0; i < 16; i++)
		out->gpr[i] = *bench_reg(b, i);
	out->rflags = b->regs.rflags;
	memcpy(out->xsave, b->cpu.xsave, XSAVE_BYTES);
	memcpy(out->arena, b->arena, ARENA_SIZE);
	memcpy(b->arena, saved, ARENA_SIZE);
	b->regs = regs;
	b->sregs = sregs;
}

/* ---- set-up ---- */

uint64_t *bench_reg(struct bench *b, unsigned reg)
{
	__u64 *r[16] = { &b->regs.rax, &b->regs.rcx, &b->regs.rdx, &b->regs.rbx,
			 &b->regs.rsp, &b->regs.rbp, &b->regs.rsi, &b->regs.rdi,
			 &b->regs.r8,  &b->regs.r9,  &b->regs.r10, &b->regs.r11,
			 &b->regs.r12, &b->regs.r13, &b->regs.r14, &b->regs.r15 };

	return (uint64_t *)r[reg & 15];
}

struct bench *bench_new(void)
{
	struct bench *b = g_new0(struct bench, 1);
	struct kvm_segment data = { .limit = 0xffffffff, .type = 3, .present = 1, .s = 1, .g = 1,
				    .db = 1, .selector = 0x18 };
	struct sigaction action = { .sa_flags = SA_SIGINFO };

	if (!assist_layout_init(&b->layout)) {
		g_print("SKIP: this host has no XSAVE\n");
		exit(77);
	}
	b->arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	g_assert_true(b->arena != MAP_FAILED);
	b->rand = g_rand_new_with_seed(42);
	b->xsave = aligned_alloc(64, XSAVE_BYTES);
	b->cpu.xsave = aligned_alloc(64, XSAVE_BYTES);
	memset(b->xsave, 0, XSAVE_BYTES);
	memset(b->cpu.xsave, 0, XSAVE_BYTES);
	b->cpu.xsave_size = XSAVE_BYTES;
	b->cpu.regs = &b->regs;
	b->cpu.sregs = &b->sregs;
	b->cpu.layout = &b->layout;
	b->cpu.ops = &ops;
	b->cpu.opaque = b;
	b->xcr0 = b->layout.user & 0xe7;
	b->sregs.cr0 = 0x80050033 & ~CR0_TS;
	b->sregs.cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	b->sregs.efer = EFER_LMA | EFER_SCE | 0x100;
	b->sregs.cs = data;
	b->sregs.cs.type = 11;
	b->sregs.cs.l = 1;
	b->sregs.cs.db = 0;
	b->sregs.cs.selector = 0x10;
	b->sregs.ss = b->sregs.ds = b->sregs.es = b->sregs.fs = b->sregs.gs = data;
	b->sregs.gs.base = (uint64_t)(uintptr_t)b->arena + ARENA_SIZE / 2;
	syscall(SYS_arch_prctl, ARCH_SET_GS, b->sregs.gs.base);
	g_assert_cmpint(assist_native_new(&b->native), ==, 0);
	g_assert_cmpint(assist_native_signals(), ==, 0);
	b->cpu.native = b->native;
	action.sa_sigaction = on_signal;
	sigaction(SIGILL, &action, &older[SIGILL]);
	sigaction(SIGFPE, &action, &older[SIGFPE]);
	sigaction(SIGSEGV, &action, &older[SIGSEGV]);
	sigaction(SIGBUS, &action, &older[SIGBUS]);
	bench_random_regs(b);
	return b;
}

void bench_free(struct bench *b)
{
	munmap(b->arena, ARENA_SIZE);
	assist_native_free(b->native);
	g_rand_free(b->rand);
	free(b->xsave);
	free(b->cpu.xsave);
	g_free(b);
}

static uint64_t random64(struct bench *b)
{
	static const uint64_t special[] = { 0, 1, ~0ull, 1ull << 63, 0x80000000, 0xffffffff, 64,
					    0x0101010101010101 };
	uint64_t r = (uint64_t)g_rand_int(b->rand) << 32 | g_rand_int(b->rand);
	unsigned pick = r & 7;

	if (pick == 0)
		return special[r >> 8 & 7];
	return pick == 1 ? r >> (r >> 8 & 63) : r;
}

void bench_random_regs(struct bench *b)
{
	for (unsigned i = 0; i < 16; i++)
		*bench_reg(b, i) = random64(b);
	b->regs.rflags = 2 | RF_IF | (random64(b) & RF_ARITH);
	for (unsigned i = ARENA_SIZE / 4; i < ARENA_SIZE; i += 8) {
		uint64_t v = random64(b);

		memcpy(b->arena + i, &v, 8);
	}
}

/* Numbers that make floating point interesting too. */
static void random_lane(struct bench *b, uint8_t *p, size_t n)
{
	for (size_t i = 0; i + 8 <= n; i += 8) {
		double d = g_rand_double_range(b->rand, -1e6, 1e6);
		float f[2] = { (float)d, (float)g_rand_double_range(b->rand, -3, 3) };
		uint64_t v = random64(b);

		switch (v >> 60 & 3) {
		case 0: memcpy(p + i, &d, 8); break;
		case 1: memcpy(p + i, f, 8); break;
		default: memcpy(p + i, &v, 8);
		}
	}
}

void bench_random_xstate(struct bench *b)
{
	const struct assist_layout *l = &b->layout;
	uint64_t bv = b->xcr0;
	uint32_t mxcsr = 0x1f80 | (g_rand_int(b->rand) & 0xe07f);
	uint16_t fcw = 0x37f, fsw = (uint16_t)(g_rand_int(b->rand) & 0x7f7f);

	memset(b->xsave, 0, XSAVE_BYTES);
	if ((g_rand_int(b->rand) & 7) == 0)
		mxcsr &= g_rand_int(b->rand);
	if ((g_rand_int(b->rand) & 3) == 0)
		mxcsr = 0x1f80;
	if ((g_rand_int(b->rand) & 3) == 0)
		fsw &= 0x3800;
	memcpy(b->xsave + XS_FCW, &fcw, 2);
	memcpy(b->xsave + XS_FSW, &fsw, 2);
	b->xsave[XS_FTW] = (uint8_t)g_rand_int(b->rand);
	memcpy(b->xsave + XS_MXCSR, &mxcsr, 4);
	memcpy(b->xsave + XS_MXCSR_MASK, &l->mxcsr_mask, 4);
	for (unsigned i = 0; i < 8; i++) {
		long double v = (long double)g_rand_double_range(b->rand, -1e5, 1e5);

		memcpy(b->xsave + XS_ST + 16 * i, &v, 10);
		if ((g_rand_int(b->rand) & 3) == 0)
			random_lane(b, b->xsave + XS_ST + 16 * i, 8);
	}
	random_lane(b, b->xsave + XS_XMM, 256);
	for (unsigned i = 2; i < 8; i++) {
		if (bv & BIT(i))
			random_lane(b, b->xsave + l->offset[i], l->size[i]);
	}
	memcpy(b->xsave + XS_BV, &bv, 8);
}

/* ---- instructions ---- */

struct writer {
	uint8_t *p;
};

static void put(struct writer *w, unsigned byte)
{
	*w->p++ = (uint8_t)byte;
}

static unsigned pick_pp(struct bench *b, unsigned set)
{
	unsigned pp;

	do {
		pp = 1u << (g_rand_int(b->rand) & 3);
	} while (!(set & pp));
	return pp;
}

static unsigned not_rsp(struct bench *b, bool high)
{
	unsigned reg;

	do {
		reg = g_rand_int(b->rand) & (high ? 15 : 7);
	} while (reg == GPR_RSP);
	return reg;
}

/* ModRM, SIB, displacement (disp8 scaled by scale8). A rip-relative displacement is left relative
 * to the instruction's start. Sets registers so that the operand lies in the arena. */
static void put_modrm(struct bench *b, struct writer *w, unsigned reg, unsigned rm, bool mem,
		      unsigned rexx, unsigned rexb, unsigned scale8, bool gs, bool addr32,
		      unsigned align)
{
	uint64_t base = (uint64_t)(uintptr_t)b->arena;
	uint64_t target = base + ARENA_SIZE / 4 + (g_rand_int(b->rand) & 0x7fff & ~(align - 1));
	unsigned form = g_rand_int_range(b->rand, 0, 3), kind = g_rand_int(b->rand) & 7;
	unsigned index, breg = (g_rand_int(b->rand) & 7) | rexb;
	bool sib = kind < 4;
	int64_t disp;

	if (!mem) {
		put(w, 0xc0 | (reg & 7) << 3 | (rm & 7));
		return;
	}
	if (kind == 0 && !gs && !addr32) {
		int32_t relative = (int32_t)(target - (base + ARENA_CODE));

		put(w, (reg & 7) << 3 | 5);
		memcpy(w->p, &relative, 4);
		w->p += 4;
		return;
	}
	if (gs)
		target -= b->sregs.gs.base;
	if (gs && addr32)
		target = (uint32_t)target & 0x7f00;
	while (breg == GPR_RSP || (form == 0 && (breg & 7) == 5) || (!sib && (breg & 7) == 4))
		breg = (g_rand_int(b->rand) & 7) | rexb;
	disp = form == 1 ? (int8_t)g_rand_int(b->rand) : form == 2 ? (int16_t)target : 0;
	put(w, form << 6 | (reg & 7) << 3 | (sib ? 4 : breg & 7));
	target -= (uint64_t)(disp * (form == 1 ? (int)scale8 : 1));
	if (sib) {
		unsigned shift = g_rand_int(b->rand) & 3;

		do {
			index = (g_rand_int(b->rand) & 7) | rexx;
		} while (index == breg);
		put(w, shift << 6 | (index & 7) << 3 | (breg & 7));
		if (index != GPR_RSP) {
			*bench_reg(b, index) &= 0xfff;
			target -= *bench_reg(b, index) << shift;
		}
	}
	*bench_reg(b, breg) = target;
	if (addr32)                                 /* the upper half must not matter */
		*bench_reg(b, breg) = (uint32_t)target | 0x1234567800000000;
	if (form == 1) {
		put(w, (uint8_t)disp);
	} else if (form == 2) {
		memcpy(w->p, &(int32_t){ (int32_t)disp }, 4);
		w->p += 4;
	}
}

unsigned bench_instance(struct bench *b, const struct assist_row *row, unsigned enc, uint8_t *code)
{
	static const uint8_t pp_byte[9] = { [PP_66] = 0x66, [PP_F3] = 0xf3, [PP_F2] = 0xf2 };
	static const uint8_t pp_bits[9] = { [PP_66] = 1, [PP_F3] = 2, [PP_F2] = 3 };
	uint32_t r = g_rand_int(b->rand);
	bool mem = row->flags & F_MEM ? true : row->flags & F_REG ? false : r & 1;
	bool w1 = row->flags & F_W1 ? true : row->flags & F_W0 ? false : r & 2;
	bool gs = mem && (r & 0x70) == 0, addr32 = mem && (r & 0x700) == 0;
	unsigned pp = pick_pp(b, row->pp), vlen = r >> 12 & 3, reg = r >> 16 & 31, rm, vvvv;
	unsigned imm = row->flags & F_IMM8 ? 1 : row->flags & F_IMM16 ? 2 : 0;
	unsigned rexx = r & 0x4000 ? 8 : 0, rexb = r & 0x8000 ? 8 : 0, align = 1, len;
	unsigned mask = g_rand_int(b->rand) & 7;
	bool z = (g_rand_int(b->rand) & 3) == 0, bc = (g_rand_int(b->rand) & 3) == 0;
	struct writer w = { code };
	struct insn in = { .row = row, .enc = (uint8_t)enc, .pp = (uint8_t)pp, .w = w1 };

	/* rsp is no operand here, the processor's side needs it */
	while ((reg & 15) == GPR_RSP)
		reg = g_rand_int(b->rand) & 31;
	rm = not_rsp(b, true) | (g_rand_int(b->rand) & 16);
	vvvv = not_rsp(b, true) | (g_rand_int(b->rand) & 16);
	if (enc != ENC_EVEX) {
		reg &= 15;
		rm &= 15;
		vvvv &= 15;
	}
	if (row->reg != ANY)
		reg = row->reg;
	if (row->rm != ANY)
		rm = row->rm;
	if ((g_rand_int(b->rand) & 1) || (row->flags & F_NO_VVVV))
		vvvv = 0;
	if ((row->flags & F_L0) || (enc == ENC_VEX && vlen > 1))
		vlen = 0;
	if (g_rand_int(b->rand) & 1)
		mask = 0;
	if (g_rand_int(b->rand) & 1)
		align = 64;
	if (g_rand_int(b->rand) & 1) {              /* what every EVEX instruction allows */
		bc = z = false;
		mask = 0;
		vlen = enc == ENC_VEX ? vlen : vlen % 3;
	}
	if (!mem)
		rexb = rm & 8, rexx = enc == ENC_EVEX ? (rm & 16) >> 1 : 0;
	in.vlen = (uint8_t)vlen;
	in.broadcast = bc && enc == ENC_EVEX;
	if (gs)
		put(&w, 0x65);
	if (addr32)
		put(&w, 0x67);
	if (enc == ENC_LEGACY) {
		unsigned rex = (w1 ? 8u : 0) | (reg & 8 ? 4 : 0) | (rexx ? 2 : 0) | (rexb ? 1 : 0);

		if ((row->flags & F_OSZ) && (g_rand_int(b->rand) & 1))
			put(&w, 0x66);
		if (pp_byte[pp])
			put(&w, pp_byte[pp]);
		if (rex || (g_rand_int(b->rand) & 1))
			put(&w, 0x40 | rex);
		if (row->map)
			put(&w, 0x0f);
		if (row->map > 1)
			put(&w, row->map == 2 ? 0x38 : 0x3a);
	} else if (enc == ENC_VEX) {
		put(&w, 0xc4);
		put(&w, (reg & 8 ? 0 : 0x80) | (rexx ? 0 : 0x40) | (rexb ? 0 : 0x20) | row->map);
		put(&w, (w1 ? 0x80 : 0) | (~vvvv & 15) << 3 | vlen << 2 | pp_bits[pp]);
	} else {
		put(&w, 0x62);
		put(&w, (reg & 8 ? 0 : 0x80) | (rexx ? 0 : 0x40) | (rexb ? 0 : 0x20) |
				(reg & 16 ? 0 : 0x10) | row->map);
		put(&w, (w1 ? 0x80 : 0) | (~vvvv & 15) << 3 | 4 | pp_bits[pp]);
		put(&w, (z ? 0x80 : 0) | vlen << 5 | (bc ? 0x10 : 0) | (vvvv & 16 ? 0 : 8) | mask);
	}
	put(&w, row->opcode);
	if (!(row->flags & F_NO_MODRM)) {
		uint8_t *modrm = w.p;

		put_modrm(b, &w, reg, rm, mem, rexx, rexb,
			  enc == ENC_EVEX ? insn_vector_size(&in) : 1, gs, addr32, align);
		if ((*modrm & 0xc7) == 5) {         /* rip-relative counts from the end */
			int32_t disp;

			memcpy(&disp, modrm + 1, 4);
			disp -= (int32_t)(modrm + 5 + imm - code);
			memcpy(modrm + 1, &disp, 4);
		}
	}
	for (unsigned i = 0; i < imm; i++)
		put(&w, g_rand_int(b->rand));
	len = (unsigned)(w.p - code);
	g_assert_cmpuint(len, <=, 15);
	return len;
}

bool bench_differs(struct bench *b, const struct outcome *e, const struct outcome *r, uint64_t flags,
		   char *buf, size_t size)
{
	unsigned ev = e->vector;

	if (e->result != r->result) {
		snprintf(buf, size, "result %d (vector %u), processor %d (%u)", e->result,
			 e->vector, r->result, r->vector);
		return true;
	}
	if (e->result == ASSIST_FAULT) {
		ev = ev == 12 || ev == 14 ? 13 : ev == 19 ? 16 : ev;
		if (ev != r->vector) {
			snprintf(buf, size, "vector %u, processor %u", e->vector, r->vector);
			return true;
		}
		return false;
	}
	for (unsigned i = 0; i < 16; i++) {
		if (e->gpr[i] != r->gpr[i]) {
			snprintf(buf, size, "register %u: %" G_GINT64_MODIFIER "x, processor %"
				 G_GINT64_MODIFIER "x", i, e->gpr[i], r->gpr[i]);
			return true;
		}
	}
	if ((e->rflags ^ r->rflags) & flags) {
		snprintf(buf, size, "flags %" G_GINT64_MODIFIER "x, processor %" G_GINT64_MODIFIER
			 "x", e->rflags & RF_ARITH, r->rflags & RF_ARITH);
		return true;
	}
	for (unsigned i = 0; i < XSAVE_BYTES; i++) {
		if (e->xsave[i] != r->xsave[i]) {
			snprintf(buf, size, "state byte %u: %02x, processor %02x", i, e->xsave[i],
				 r->xsave[i]);
			return true;
		}
	}
	for (unsigned i = 0; i < ARENA_SIZE; i++) {
		if (e->arena[i] != r->arena[i]) {
			snprintf(buf, size, "memory %u: %02x, processor %02x", i, e->arena[i],
				 r->arena[i]);
			return true;
		}
	}
	return false;
}
