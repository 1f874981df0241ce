/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared by the files of the assist module only: decoded instruction, table row, operand access.
 */
#pragma once
#include "hv/x86/assist.h"

#define BIT(n) (1ull << (n))

enum { MODE_16 = 2, MODE_32 = 4, MODE_64 = 8 };                 /* default address size, bytes */
enum { ENC_LEGACY = 1, ENC_VEX = 2, ENC_EVEX = 4 };             /* a row may allow several */
enum { PP_NONE = 1, PP_66 = 2, PP_F3 = 4, PP_F2 = 8, PP_ANY = 15 };

enum { GPR_RAX, GPR_RCX, GPR_RDX, GPR_RBX, GPR_RSP, GPR_RBP, GPR_RSI, GPR_RDI };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_N };

#define RF_CF 0x1u
#define RF_PF 0x4u
#define RF_AF 0x10u
#define RF_ZF 0x40u
#define RF_SF 0x80u
#define RF_TF 0x100u
#define RF_IF 0x200u
#define RF_OF 0x800u
#define RF_NT 0x4000u
#define RF_RF 0x10000u
#define RF_VM 0x20000u
#define RF_AC 0x40000u
#define RF_ARITH (RF_CF | RF_PF | RF_AF | RF_ZF | RF_SF | RF_OF)

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_NE BIT(5)
#define CR4_TSD BIT(2)
#define CR4_OSFXSR BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_LA57 BIT(12)
#define CR4_PCIDE BIT(17)
#define CR4_OSXSAVE BIT(18)
#define CR4_PKE BIT(22)
#define EFER_SCE BIT(0)
#define EFER_LMA BIT(10)

struct assist_row;

struct insn {
	const struct assist_row *row;
	unsigned len;               /* of the whole instruction, bytes */
	uint8_t mode, osize, asize; /* MODE_*; operand and address size in bytes */
	uint8_t enc, map, opcode, pp;       /* one ENC_* and one PP_* bit */
	bool lock, has66, rex, w, has_modrm, mem;
	uint8_t mod, reg, rm;       /* reg and rm with their extension bits; rm for registers only */
	uint8_t vvvv, vlen;         /* vlen: log2 of the vector length / 16, 3 = reserved */
	bool zeroing, broadcast;
	uint8_t mask;               /* EVEX.aaa */
	uint8_t seg;                /* SEG_* of the memory operand */
	bool rip_relative;
	uint64_t ea;                /* offset of the memory operand in its segment */
	uint32_t imm;
	bool jumped;                /* the handler has set rip */
};

/* How many bytes a vector instruction's memory operand has (and the scale of EVEX disp8). */
enum size_rule {
	SIZE_NONE, SIZE_1, SIZE_2, SIZE_4, SIZE_8, SIZE_10, SIZE_16, SIZE_32, SIZE_64,
	SIZE_VL, SIZE_VL2, SIZE_VL4, SIZE_VL8,      /* vector length, its half, quarter, eighth */
	SIZE_FP,                    /* by prefix: none, 66: vector length; F3: 4; F2: 8 */
	SIZE_W, SIZE_W2, SIZE_W4,   /* W ? 8 : 4, twice, four times that */
	SIZE_BW,                    /* W ? 2 : 1 */
	SIZE_DUP,                   /* 8 for 128 bits, else vector length */
	SIZE_N
};

enum {
	/* shape */
	F_NO_MODRM = 1 << 0,
	F_IMM8 = 1 << 1,
	F_IMM16 = 1 << 2,
	F_OSZ = 1 << 3,             /* legacy: 66 sets the operand size, it is no part of the opcode */
	F_MEM = 1 << 4,             /* modrm must name memory … */
	F_REG = 1 << 5,             /* … a register */
	F_LOCK = 1 << 6,            /* LOCK allowed */
	F_NO_VVVV = 1 << 7,         /* VEX: vvvv must be 1111 */
	F_L0 = 1 << 8,              /* VEX: L must be 0 */
	F_W0 = 1 << 9,              /* matches only with W clear … */
	F_W1 = 1 << 10,             /* … set */
	F_64 = 1 << 11,             /* only in 64-bit mode */
	/* native rows */
	F_STORE = 1 << 12,          /* the memory operand is written, not read */
	F_GPR_REG = 1 << 13,        /* modrm.reg is a general register */
	F_GPR_RM = 1 << 14,         /* so is modrm.rm, where it is no memory */
	F_MMX = 1 << 15,            /* legacy without prefix: MMX registers, 8 bytes */
	F_X87 = 1 << 16,
	F_E1 = 1 << 17,             /* masked elements have 1 byte … */
	F_E2 = 1 << 18,             /* … 2; both: W ? 2 : 1; neither: W ? 8 : 4 */
	F_PACK = 1 << 19,           /* expand/compress: memory holds only the unmasked elements */
	F_SUPPRESS = 1 << 20,       /* faults of masked-out elements are suppressed on loads */
	F_OPMASK = 1 << 21,         /* VEX, but of AVX-512 */
	F_CPL0 = 1 << 22,           /* #UD outside CPL 0 */
};
#define F_EBW (F_E1 | F_E2)

#define ANY 0xff

struct assist_row {
	const char *name;
	uint8_t enc, map, opcode, pp;       /* ENC_* and PP_* sets; map 0: one byte, 1: 0f, 2, 3 */
	uint8_t reg;                /* modrm.reg & 7, or ANY */
	uint8_t rm;                 /* modrm.rm & 7, or ANY */
	uint8_t size;               /* enum size_rule */
	uint32_t flags;
	enum assist_result (*run)(struct assist_cpu *, struct insn *);
};

extern const struct assist_row assist_rows[], assist_simd_rows[];
extern const unsigned assist_rows_n, assist_simd_rows_n;

/* ---- assist_decode.c ---- */

enum decode_result { DECODE_OK, DECODE_UD, DECODE_UNKNOWN };

/* Registers may be NULL (describe): addresses are then not computed. mode: MODE_*. On
 * DECODE_UNKNOWN *in holds what was understood. */
enum decode_result insn_decode(struct insn *in, const struct assist_cpu *cpu, unsigned mode,
			       const uint8_t *bytes, unsigned len);
/* Bytes of the vector memory operand, 0 for encodings the processor refuses. */
unsigned insn_vector_size(const struct insn *in);

/* ---- operand access (assist_operand.c) ---- */

unsigned cpu_mode(const struct assist_cpu *cpu);                /* MODE_* */
unsigned cpu_cpl(const struct assist_cpu *cpu);
uint64_t reg_read(const struct assist_cpu *cpu, unsigned reg, unsigned size);
void reg_write(struct assist_cpu *cpu, unsigned reg, unsigned size, uint64_t value);
bool is_canonical(const struct assist_cpu *cpu, uint64_t va);

/* Record an exception and return ASSIST_FAULT. */
enum assist_result raise_fault(struct assist_cpu *cpu, unsigned vector);
enum assist_result raise_error(struct assist_cpu *cpu, unsigned vector, uint32_t error);
/* The result for an ops function that failed. */
enum assist_result access_failed(struct assist_cpu *cpu);

/* Linear address of [seg:off, off + len), checked as an access of that kind; false: fault set. */
bool linear(struct assist_cpu *cpu, const struct insn *in, unsigned seg, uint64_t off, size_t len,
	    bool write, uint64_t *va);
/* The memory operand; false: fault set. offset is added to the operand's address. */
bool mem_read(struct assist_cpu *cpu, const struct insn *in, uint64_t offset, void *dst,
	      size_t len);
bool mem_write(struct assist_cpu *cpu, const struct insn *in, uint64_t offset, const void *src,
	       size_t len);
/* A modrm.rm operand of size bytes (1, 2, 4, 8), register or memory. */
bool rm_read(struct assist_cpu *cpu, const struct insn *in, unsigned size, uint64_t *value);

/* ---- extended state (assist_xsave.c) ---- */

/* Load cpu->xsave if it is not yet; false: the instruction is ASSIST_UNKNOWN. */
bool xstate_load(struct assist_cpu *cpu);
/* The component was changed: mark it in use and the whole to be stored. */
void xstate_touch(struct assist_cpu *cpu, uint64_t components);
uint16_t xstate_u16(const struct assist_cpu *cpu, unsigned offset);
uint32_t xstate_u32(const struct assist_cpu *cpu, unsigned offset);
/* What the processor makes of control and status words that get loaded: reserved bits of the first
 * have fixed values, ES and B of the second follow from the exception flags and masks. */
void x87_normalize(uint16_t *fcw, uint16_t *fsw);
/* Tell whether an SSE (or AVX: components 0x6, AVX-512: 0xe6) instruction may run now. */
enum assist_result xstate_usable(struct assist_cpu *cpu, uint64_t components);

enum { XS_FCW = 0, XS_FSW = 2, XS_FTW = 4, XS_FOP = 6, XS_FIP = 8, XS_FDP = 16, XS_MXCSR = 24,
       XS_MXCSR_MASK = 28, XS_ST = 32, XS_XMM = 160, XS_BV = 512, XS_XCOMP = 520, XS_EXT = 576 };

/* ---- handlers, named in the tables ---- */

#define HANDLER(f) enum assist_result f(struct assist_cpu *cpu, struct insn *in)
HANDLER(int_popcnt); HANDLER(int_lzcnt); HANDLER(int_tzcnt); HANDLER(int_crc32); HANDLER(int_adx);
HANDLER(int_movbe); HANDLER(int_mulx); HANDLER(int_rorx); HANDLER(int_shiftx); HANDLER(int_andn);
HANDLER(int_bextr); HANDLER(int_bls); HANDLER(int_bzhi); HANDLER(int_pdep); HANDLER(int_pext);
HANDLER(int_cmpxchg16b); HANDLER(int_movdiri); HANDLER(int_movdir64b);
HANDLER(sys_int3); HANDLER(sys_int1); HANDLER(sys_ud); HANDLER(sys_stac); HANDLER(sys_clac);
HANDLER(sys_invpcid); HANDLER(sys_rdtscp); HANDLER(sys_rdpid); HANDLER(sys_rdpkru);
HANDLER(sys_wrpkru); HANDLER(sys_monitor); HANDLER(sys_mwait); HANDLER(sys_clwb);
HANDLER(sys_clzero); HANDLER(sys_sysret); HANDLER(seg_verr); HANDLER(seg_lar); HANDLER(seg_lret);
HANDLER(seg_int);
HANDLER(xs_xgetbv); HANDLER(xs_xsave); HANDLER(xs_xrstor);
HANDLER(sse_ldmxcsr); HANDLER(sse_stmxcsr); HANDLER(sse_vzero);
HANDLER(x87_fwait); HANDLER(x87_fnclex); HANDLER(x87_fninit); HANDLER(x87_fnstsw);
HANDLER(x87_fnstcw); HANDLER(x87_fldcw); HANDLER(x87_emms); HANDLER(x87_fnstenv);
HANDLER(x87_fldenv); HANDLER(x87_fnsave); HANDLER(x87_frstor); HANDLER(x87_nop);
HANDLER(simd_run);
#undef HANDLER
