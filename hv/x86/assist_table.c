/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The instructions finished in C: one row per form. Vector and x87 arithmetic is in
 * assist_simd_table.c. The first row that matches counts, so narrower rows come first.
 */
#include "hv/x86/assist_priv.h"

#define LEGACY ENC_LEGACY
#define VEX ENC_VEX
#define ROW(name, enc, map, op, pp, reg, rm, flags, run) \
	{ name, enc, map, op, pp, reg, rm, SIZE_NONE, flags, run }
#define PP_NP66 (PP_NONE | PP_66)
#define VEX_GPR (F_NO_VVVV | F_L0)

const struct assist_row assist_rows[] = {
	/*  name          enc     map op    prefix   reg  rm   flags */
	ROW("int3",       LEGACY, 0, 0xcc, PP_ANY,  ANY, ANY, F_NO_MODRM, sys_int3),
	ROW("int1",       LEGACY, 0, 0xf1, PP_ANY,  ANY, ANY, F_NO_MODRM, sys_int1),
	ROW("int",        LEGACY, 0, 0xcd, PP_ANY,  ANY, ANY, F_NO_MODRM | F_IMM8, seg_int),
	ROW("lret",       LEGACY, 0, 0xcb, PP_ANY,  ANY, ANY, F_NO_MODRM | F_OSZ | F_64, seg_lret),
	ROW("lret imm16", LEGACY, 0, 0xca, PP_ANY,  ANY, ANY, F_NO_MODRM | F_OSZ | F_64 | F_IMM16,
	    seg_lret),
	ROW("sysret",     LEGACY, 1, 0x07, PP_ANY,  ANY, ANY, F_NO_MODRM | F_CPL0, sys_sysret),
	ROW("ud0",        LEGACY, 1, 0xff, PP_ANY,  ANY, ANY, 0, sys_ud),
	ROW("ud1",        LEGACY, 1, 0xb9, PP_ANY,  ANY, ANY, 0, sys_ud),
	ROW("ud2",        LEGACY, 1, 0x0b, PP_ANY,  ANY, ANY, F_NO_MODRM, sys_ud),

	ROW("verr",       LEGACY, 1, 0x00, PP_ANY,  4,   ANY, 0, seg_verr),
	ROW("verw",       LEGACY, 1, 0x00, PP_ANY,  5,   ANY, 0, seg_verr),
	ROW("lar",        LEGACY, 1, 0x02, PP_ANY,  ANY, ANY, F_OSZ, seg_lar),
	ROW("lsl",        LEGACY, 1, 0x03, PP_ANY,  ANY, ANY, F_OSZ, seg_lar),

	ROW("monitor",    LEGACY, 1, 0x01, PP_NONE, 1,   0,   F_REG | F_CPL0, sys_monitor),
	ROW("mwait",      LEGACY, 1, 0x01, PP_NONE, 1,   1,   F_REG | F_CPL0, sys_mwait),
	ROW("clac",       LEGACY, 1, 0x01, PP_NONE, 1,   2,   F_REG | F_CPL0, sys_clac),
	ROW("stac",       LEGACY, 1, 0x01, PP_NONE, 1,   3,   F_REG | F_CPL0, sys_stac),
	ROW("xgetbv",     LEGACY, 1, 0x01, PP_NONE, 2,   0,   F_REG, xs_xgetbv),
	ROW("rdpkru",     LEGACY, 1, 0x01, PP_NONE, 5,   6,   F_REG, sys_rdpkru),
	ROW("wrpkru",     LEGACY, 1, 0x01, PP_NONE, 5,   7,   F_REG, sys_wrpkru),
	ROW("rdtscp",     LEGACY, 1, 0x01, PP_NP66, 7,   1,   F_REG, sys_rdtscp),
	ROW("monitorx",   LEGACY, 1, 0x01, PP_NONE, 7,   2,   F_REG, sys_monitor),
	ROW("mwaitx",     LEGACY, 1, 0x01, PP_NONE, 7,   3,   F_REG, sys_mwait),
	ROW("clzero",     LEGACY, 1, 0x01, PP_NP66, 7,   4,   F_REG, sys_clzero),

	ROW("ldmxcsr",    LEGACY, 1, 0xae, PP_NONE, 2,   ANY, F_MEM, sse_ldmxcsr),
	ROW("stmxcsr",    LEGACY, 1, 0xae, PP_NONE, 3,   ANY, F_MEM, sse_stmxcsr),
	ROW("vldmxcsr",   VEX,    1, 0xae, PP_NONE, 2,   ANY, F_MEM | VEX_GPR, sse_ldmxcsr),
	ROW("vstmxcsr",   VEX,    1, 0xae, PP_NONE, 3,   ANY, F_MEM | VEX_GPR, sse_stmxcsr),
	ROW("vzeroupper/vzeroall", VEX, 1, 0x77, PP_NONE, ANY, ANY, F_NO_MODRM | F_NO_VVVV,
	    sse_vzero),
	ROW("xsave",      LEGACY, 1, 0xae, PP_NONE, 4,   ANY, F_MEM, xs_xsave),
	ROW("xrstor",     LEGACY, 1, 0xae, PP_NONE, 5,   ANY, F_MEM, xs_xrstor),
	ROW("xsaveopt",   LEGACY, 1, 0xae, PP_NONE, 6,   ANY, F_MEM, xs_xsave),
	ROW("clwb",       LEGACY, 1, 0xae, PP_66,   6,   ANY, F_MEM, sys_clwb),
	ROW("clflushopt", LEGACY, 1, 0xae, PP_66,   7,   ANY, F_MEM, sys_clwb),
	ROW("xsavec",     LEGACY, 1, 0xc7, PP_NONE, 4,   ANY, F_MEM, xs_xsave),
	ROW("xsaves",     LEGACY, 1, 0xc7, PP_NONE, 5,   ANY, F_MEM, xs_xsave),
	ROW("xrstors",    LEGACY, 1, 0xc7, PP_NONE, 3,   ANY, F_MEM, xs_xrstor),

	ROW("cmpxchg16b", LEGACY, 1, 0xc7, PP_ANY,  1,   ANY, F_MEM | F_W1 | F_LOCK | F_64,
	    int_cmpxchg16b),
	ROW("rdpid",      LEGACY, 1, 0xc7, PP_F3,   7,   ANY, F_REG, sys_rdpid),
	ROW("popcnt",     LEGACY, 1, 0xb8, PP_F3,   ANY, ANY, F_OSZ, int_popcnt),
	ROW("tzcnt",      LEGACY, 1, 0xbc, PP_F3,   ANY, ANY, F_OSZ, int_tzcnt),
	ROW("lzcnt",      LEGACY, 1, 0xbd, PP_F3,   ANY, ANY, F_OSZ, int_lzcnt),
	ROW("crc32",      LEGACY, 2, 0xf0, PP_F2,   ANY, ANY, F_OSZ, int_crc32),
	ROW("crc32",      LEGACY, 2, 0xf1, PP_F2,   ANY, ANY, F_OSZ, int_crc32),
	ROW("movbe",      LEGACY, 2, 0xf0, PP_NONE, ANY, ANY, F_OSZ | F_MEM, int_movbe),
	ROW("movbe",      LEGACY, 2, 0xf1, PP_NONE, ANY, ANY, F_OSZ | F_MEM, int_movbe),
	ROW("adcx",       LEGACY, 2, 0xf6, PP_66,   ANY, ANY, 0, int_adx),
	ROW("adox",       LEGACY, 2, 0xf6, PP_F3,   ANY, ANY, 0, int_adx),
	ROW("invpcid",    LEGACY, 2, 0x82, PP_66,   ANY, ANY, F_MEM | F_CPL0, sys_invpcid),
	ROW("movdir64b",  LEGACY, 2, 0xf8, PP_66,   ANY, ANY, F_MEM, int_movdir64b),
	ROW("movdiri",    LEGACY, 2, 0xf9, PP_NONE, ANY, ANY, F_MEM, int_movdiri),

	ROW("andn",       VEX,    2, 0xf2, PP_NONE, ANY, ANY, F_L0, int_andn),
	ROW("blsr",       VEX,    2, 0xf3, PP_NONE, 1,   ANY, F_L0, int_bls),
	ROW("blsmsk",     VEX,    2, 0xf3, PP_NONE, 2,   ANY, F_L0, int_bls),
	ROW("blsi",       VEX,    2, 0xf3, PP_NONE, 3,   ANY, F_L0, int_bls),
	ROW("bzhi",       VEX,    2, 0xf5, PP_NONE, ANY, ANY, F_L0, int_bzhi),
	ROW("pext",       VEX,    2, 0xf5, PP_F3,   ANY, ANY, F_L0, int_pext),
	ROW("pdep",       VEX,    2, 0xf5, PP_F2,   ANY, ANY, F_L0, int_pdep),
	ROW("mulx",       VEX,    2, 0xf6, PP_F2,   ANY, ANY, F_L0, int_mulx),
	ROW("bextr",      VEX,    2, 0xf7, PP_NONE, ANY, ANY, F_L0, int_bextr),
	ROW("shlx",       VEX,    2, 0xf7, PP_66,   ANY, ANY, F_L0, int_shiftx),
	ROW("sarx",       VEX,    2, 0xf7, PP_F3,   ANY, ANY, F_L0, int_shiftx),
	ROW("shrx",       VEX,    2, 0xf7, PP_F2,   ANY, ANY, F_L0, int_shiftx),
	ROW("rorx",       VEX,    3, 0xf0, PP_F2,   ANY, ANY, VEX_GPR | F_IMM8, int_rorx),

	ROW("fwait",      LEGACY, 0, 0x9b, PP_ANY,  ANY, ANY, F_NO_MODRM, x87_fwait),
	ROW("fldenv",     LEGACY, 0, 0xd9, PP_ANY,  4,   ANY, F_MEM, x87_fldenv),
	ROW("fldcw",      LEGACY, 0, 0xd9, PP_ANY,  5,   ANY, F_MEM, x87_fldcw),
	ROW("fnstenv",    LEGACY, 0, 0xd9, PP_ANY,  6,   ANY, F_MEM, x87_fnstenv),
	ROW("fnstcw",     LEGACY, 0, 0xd9, PP_ANY,  7,   ANY, F_MEM, x87_fnstcw),
	ROW("feni",       LEGACY, 0, 0xdb, PP_ANY,  4,   0,   F_REG, x87_nop),
	ROW("fdisi",      LEGACY, 0, 0xdb, PP_ANY,  4,   1,   F_REG, x87_nop),
	ROW("fnclex",     LEGACY, 0, 0xdb, PP_ANY,  4,   2,   F_REG, x87_fnclex),
	ROW("fninit",     LEGACY, 0, 0xdb, PP_ANY,  4,   3,   F_REG, x87_fninit),
	ROW("fsetpm",     LEGACY, 0, 0xdb, PP_ANY,  4,   4,   F_REG, x87_nop),
	ROW("frstor",     LEGACY, 0, 0xdd, PP_ANY,  4,   ANY, F_MEM, x87_frstor),
	ROW("fnsave",     LEGACY, 0, 0xdd, PP_ANY,  6,   ANY, F_MEM, x87_fnsave),
	ROW("fnstsw",     LEGACY, 0, 0xdd, PP_ANY,  7,   ANY, F_MEM, x87_fnstsw),
	ROW("fnstsw ax",  LEGACY, 0, 0xdf, PP_ANY,  4,   0,   F_REG, x87_fnstsw),
	ROW("emms",       LEGACY, 1, 0x77, PP_NONE, ANY, ANY, F_NO_MODRM, x87_emms),
};
const unsigned assist_rows_n = sizeof assist_rows / sizeof assist_rows[0];
