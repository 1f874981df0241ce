/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * avx [PROCESSES [ROUNDS]]: do vector registers survive page faults and context switches?
 *
 * Each child fills every vector register with a pattern of its own (16 ymm, or 32 zmm and 7 opmasks where AVX-512 is
 * usable; MXCSR and the x87 control word too), then touches fresh memory and makes system calls so that the kernel
 * gives the CPU to its brothers, and at the end stores the registers and compares. All of it from the first load to the
 * last store is one asm block: the compiler can neither save nor reload a register in between.
 *
 * A kernel run with `noxsave` on a host where user space still sees the CPU's own CPUID fails this at once; so does a
 * VMM that completes xsave or xrstor wrongly.
 */
#include <cpuid.h>

#include "sys.h"

enum { PROCESSES_MAX = 64, ROUNDS_MAX = 1000000, PAGES = 16, PAGE = 4096, REGS_MAX = 32, MASKS = 7, REG_BYTES = 64 };
enum { PROT_RW = 3, MAP_SHARED_ANON = 0x21, MAP_PRIVATE_ANON = 0x22, SIGCHLD_NR = 17 };

struct regs {
	uint64_t v[REGS_MAX][REG_BYTES / 8];
	uint64_t k[MASKS + 1];		/* k[1]…k[7]: k0 is not special to the kernel, but gcc may use it */
	uint32_t mxcsr;
	uint16_t fcw;
} __attribute__((aligned(64)));

struct result {				/* one per child, in memory shared with the parent */
	uint64_t checked, bad, first;	/* registers; first: 1 + number of the first bad one */
};

#define LOAD_YMM(n)	"vmovdqa 64*" #n "(%[in]), %%ymm" #n "\n\t"
#define STORE_YMM(n)	"vmovdqa %%ymm" #n ", 64*" #n "(%[out])\n\t"
#define LOAD_ZMM(n)	"vmovdqa64 64*" #n "(%[in]), %%zmm" #n "\n\t"
#define STORE_ZMM(n)	"vmovdqa64 %%zmm" #n ", 64*" #n "(%[out])\n\t"
#define LOAD_MASK(n)	"kmovq 2048+8*" #n "(%[in]), %%k" #n "\n\t"
#define STORE_MASK(n)	"kmovq %%k" #n ", 2048+8*" #n "(%[out])\n\t"
#define R16(M)	M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
#define R32(M)	R16(M) M(16) M(17) M(18) M(19) M(20) M(21) M(22) M(23) \
		M(24) M(25) M(26) M(27) M(28) M(29) M(30) M(31)
#define K7(M)	M(1) M(2) M(3) M(4) M(5) M(6) M(7)

/*
 * Between load and store: a page fault per page (the store is from a general register, so it says nothing about the
 * vector ones), getppid for each, sched_yield for every second.
 */
#define DISTURB \
	"ldmxcsr 2112(%[in])\n\t" \
	"fldcw 2116(%[in])\n\t" \
	"1:\n\t" \
	"movq %[page], (%[page])\n\t" \
	"mov $110, %%eax\n\t"		/* getppid */ \
	"syscall\n\t" \
	"test $4096, %[page]\n\t" \
	"jz 2f\n\t" \
	"mov $24, %%eax\n\t"		/* sched_yield */ \
	"syscall\n\t" \
	"2:\n\t" \
	"add $4096, %[page]\n\t" \
	"cmp %[end], %[page]\n\t" \
	"jb 1b\n\t" \
	"fnstcw 2116(%[out])\n\t" \
	"stmxcsr 2112(%[out])\n\t"

_Static_assert(offsetof(struct regs, k) == 2048 && offsetof(struct regs, mxcsr) == 2112 &&
	       offsetof(struct regs, fcw) == 2116, "the offsets in the asm");

__attribute__((target("avx2"), noinline))
static void run_ymm(const struct regs *in, struct regs *out, char *page, const char *end)
{
	__asm__ volatile(R16(LOAD_YMM) DISTURB R16(STORE_YMM) "vzeroupper\n\t"
			 : [page] "+r"(page)
			 : [in] "r"(in), [out] "r"(out), [end] "r"(end)
			 : "rax", "rcx", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
			   "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

__attribute__((target("avx512f,avx512bw"), noinline))
static void run_zmm(const struct regs *in, struct regs *out, char *page, const char *end)
{
	__asm__ volatile(R32(LOAD_ZMM) K7(LOAD_MASK) DISTURB R32(STORE_ZMM) K7(STORE_MASK) "vzeroupper\n\t"
			 : [page] "+r"(page)
			 : [in] "r"(in), [out] "r"(out), [end] "r"(end)
			 : "rax", "rcx", "r11", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
			   "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
			   "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",
			   "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6",
			   "k7");
}

/* What user space may use here: 0 nothing, 1 AVX, 2 AVX-512 with byte and word masks. */
static int level(void)
{
	unsigned int a, b, c, d, xcr0;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (bit_OSXSAVE | bit_AVX)) != (bit_OSXSAVE | bit_AVX))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(xcr0), "=d"(d) : "c"(0));
	if ((xcr0 & 0x6) != 0x6)
		return 0;
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (xcr0 & 0xe0) == 0xe0 && (b & bit_AVX512F) && (b & bit_AVX512BW))
		return 2;
	return 1;
}

static void fill(struct regs *r, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u;
	uint64_t *word = &r->v[0][0];

	for (size_t i = 0; i < offsetof(struct regs, mxcsr) / 8; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		word[i] = x;
	}
	r->mxcsr = 0x1f80 | (uint32_t)(seed & 3) << 13;		/* rounding modes, all exceptions masked */
	r->fcw = (uint16_t)(0x037f | (seed >> 1 & 3) << 10);
}

static void compare(const struct regs *want, const struct regs *is, int lvl, struct result *res)
{
	size_t nregs = lvl == 2 ? 32 : 16, words = lvl == 2 ? 8 : 4, n = 0;

#define CHECK(same) do { n++; if (!(same)) { res->bad++; if (!res->first) res->first = n; } } while (0)
	for (size_t i = 0; i < nregs; i++) {
		int same = 1;

		for (size_t j = 0; j < words; j++)
			same &= want->v[i][j] == is->v[i][j];
		CHECK(same);
	}
	for (size_t i = 1; lvl == 2 && i <= MASKS; i++)
		CHECK(want->k[i] == is->k[i]);
	CHECK(want->mxcsr == (is->mxcsr & ~0x3fu));		/* sticky flags are not state we set */
	CHECK(want->fcw == is->fcw);
#undef CHECK
	res->checked += n;
}

static int child(unsigned long me, unsigned long rounds, int lvl, struct result *res)
{
	static struct regs want, is;

	for (unsigned long i = 0; i < rounds; i++) {
		long p = sys6(__NR_mmap, 0, PAGES * PAGE, PROT_RW, MAP_PRIVATE_ANON, -1, 0);

		if (p < 0 && p > -4096)
			return 1;
		fill(&want, (me + 1) * 1000003 + i);
		(lvl == 2 ? run_zmm : run_ymm)(&want, &is, (char *)p, (char *)p + PAGES * PAGE);
		compare(&want, &is, lvl, res);
		if (sys3(__NR_munmap, p, PAGES * PAGE, 0) < 0)
			return 1;
	}
	return 0;
}

static int report(const struct result *res, unsigned long processes, unsigned long rounds, unsigned long died, int lvl)
{
	struct line l = { .len = 0 };
	uint64_t checked = 0, bad = 0, first = 0;

	for (unsigned long i = 0; i < processes; i++) {
		checked += res[i].checked;
		bad += res[i].bad;
		if (!first)
			first = res[i].first;
	}
	line_add(&l, bad || died || !checked ? "TEST avx FAIL " : "TEST avx PASS ");
	line_add_number(&l, bad);
	line_add(&l, " of ");
	line_add_number(&l, checked);
	line_add(&l, lvl == 2 ? " registers (zmm, opmask) corrupt, " : " registers (ymm) corrupt, ");
	line_add_number(&l, processes);
	line_add(&l, " processes, ");
	line_add_number(&l, rounds);
	line_add(&l, " rounds");
	if (first) {
		line_add(&l, ", first bad: number ");
		line_add_number(&l, first - 1);
	}
	if (died) {
		line_add(&l, ", died: ");
		line_add_number(&l, died);
	}
	line_add(&l, "\n");
	line_write(&l, 1);
	return bad || died || !checked;
}

int sys_main(long argc, char **argv)
{
	unsigned long processes = number_or(argc > 1 ? argv[1] : NULL, PROCESSES_MAX, 4), died = 0, started = 0;
	unsigned long rounds = number_or(argc > 2 ? argv[2] : NULL, ROUNDS_MAX, 10);
	struct line l = { .len = 0 };
	struct result *res;
	int lvl = level();
	long p;

	if (!lvl) {
		line_add(&l, "TEST avx SKIP no AVX for user space here\n");
		line_write(&l, 1);
		return 0;
	}
	p = sys6(__NR_mmap, 0, sizeof(*res) * PROCESSES_MAX, PROT_RW, MAP_SHARED_ANON, -1, 0);
	if (p < 0 && p > -4096) {
		line_add(&l, "TEST avx FAIL no shared memory\n");
		line_write(&l, 1);
		return 1;
	}
	res = (struct result *)p;
	for (; started < processes; started++) {
		long pid = sys6(__NR_clone, SIGCHLD_NR, 0, 0, 0, 0, 0);

		if (!pid)
			(void)sys3(__NR_exit_group, child(started, rounds, lvl, &res[started]), 0, 0);
		if (pid < 0) {
			died += processes - started;
			break;
		}
	}
	for (unsigned long i = 0; i < started; i++) {
		int status = 0;

		if (sys6(__NR_wait4, -1, (long)&status, 0, 0, 0, 0) < 0 || status)
			died++;
	}
	return report(res, processes, rounds, died, lvl);
}
