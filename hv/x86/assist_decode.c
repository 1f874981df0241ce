/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From bytes to a row of the tables: prefixes, opcode, ModRM, SIB, displacement, immediate.
 *
 * A cursor never passes the given length; when bytes run out the instruction is not ours
 * (DECODE_UNKNOWN), whatever the processor would have found behind them.
 */
#include "hv/x86/assist_priv.h"

struct cursor {
	const uint8_t *p, *end;
};

static bool take(struct cursor *c, uint8_t *byte)
{
	if (c->p == c->end)
		return false;
	*byte = *c->p++;
	return true;
}

static bool take_le(struct cursor *c, unsigned n, uint64_t *value)
{
	uint64_t v = 0;
	uint8_t byte;

	for (unsigned i = 0; i < n; i++) {
		if (!take(c, &byte))
			return false;
		v |= (uint64_t)byte << (8 * i);
	}
	*value = v;
	return true;
}

struct prefixes {
	bool has66, has67, lock, has_rex;
	uint8_t rep, rex;           /* rep: 0, 0xf2, 0xf3 */
	int seg;                    /* SEG_*, -1: none */
};

static bool take_prefixes(struct cursor *c, unsigned mode, struct prefixes *p, uint8_t *next)
{
	*p = (struct prefixes){ .seg = -1 };
	while (take(c, next)) {
		if (mode == MODE_64 && (*next & 0xf0) == 0x40) {
			p->has_rex = true;
			p->rex = *next;
			continue;
		}
		switch (*next) {
		case 0x66: p->has66 = true; break;
		case 0x67: p->has67 = true; break;
		case 0xf0: p->lock = true; break;
		case 0xf2:
		case 0xf3: p->rep = *next; break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			if (mode != MODE_64)
				p->seg = (*next >> 3) & 3;
			break;
		case 0x64: p->seg = SEG_FS; break;
		case 0x65: p->seg = SEG_GS; break;
		default: return true;
		}
		p->has_rex = false;         /* REX counts only right before the opcode */
		p->rex = 0;
	}
	return false;
}

/* C4, C5 and 62 are VEX and EVEX in 64-bit mode; elsewhere LDS, LES and BOUND, which need memory. */
static bool is_vex(const struct cursor *c, unsigned mode, bool protected, uint8_t byte)
{
	if (byte != 0xc4 && byte != 0xc5 && byte != 0x62)
		return false;
	if (mode == MODE_64)
		return true;
	return protected && c->p != c->end && *c->p >= 0xc0;
}

static uint8_t pp_of(unsigned pp)
{
	static const uint8_t set[] = { PP_NONE, PP_66, PP_F3, PP_F2 };

	return set[pp & 3];
}

/* Registers of VEX and EVEX are stored inverted. x4 and the like are the 8s and 16s of a number. */
struct extension {
	uint8_t r, x, b, r2;        /* 8s of reg, index, base; 16s of reg */
};

static bool take_vex(struct cursor *c, struct insn *in, uint8_t first, struct extension *e)
{
	uint8_t p0, p1 = 0, p2 = 0;

	if (!take(c, &p0))
		return false;
	if (first == 0xc5) {
		p1 = p0 & 0x7f;
		p0 = (p0 & 0x80) | 0x61;
	} else if (!take(c, &p1)) {
		return false;
	}
	if (first == 0x62 && !take(c, &p2))
		return false;
	if (!take(c, &in->opcode))
		return false;
	e->r = p0 & 0x80 ? 0 : 8;
	e->x = p0 & 0x40 ? 0 : 8;
	e->b = p0 & 0x20 ? 0 : 8;
	in->w = p1 & 0x80;
	in->vvvv = (~p1 >> 3) & 15;
	in->pp = pp_of(p1);
	in->enc = ENC_VEX;
	if (first != 0x62) {
		in->map = p0 & 0x1f;
		in->vlen = (p1 >> 2) & 1;
		return true;
	}
	in->enc = ENC_EVEX;
	in->map = p0 & 0x0f;                /* bit 3 is reserved: no row has such a map */
	if (!(p1 & 4))
		in->map = ANY;
	e->r2 = p0 & 0x10 ? 0 : 16;
	in->vvvv |= p2 & 8 ? 0 : 16;
	in->vlen = (p2 >> 5) & 3;
	in->zeroing = p2 & 0x80;
	in->broadcast = p2 & 0x10;
	in->mask = p2 & 7;
	return true;
}

static bool take_opcode(struct cursor *c, struct insn *in, uint8_t first)
{
	in->enc = ENC_LEGACY;
	in->opcode = first;
	if (first != 0x0f)
		return true;
	in->map = 1;
	if (!take(c, &in->opcode))
		return false;
	if (in->opcode != 0x38 && in->opcode != 0x3a)
		return true;
	in->map = in->opcode == 0x38 ? 2 : 3;
	return take(c, &in->opcode);
}

static bool row_matches(const struct assist_row *r, const struct insn *in, const struct cursor *c)
{
	uint8_t pp = in->pp;

	if (r->opcode != in->opcode || r->map != in->map || !(r->enc & in->enc))
		return false;
	if (pp == PP_66 && in->enc == ENC_LEGACY && (r->flags & F_OSZ))
		pp = PP_NONE;
	if (!(r->pp & pp))
		return false;
	if (((r->flags & F_W0) && in->w) || ((r->flags & F_W1) && !in->w))
		return false;
	if ((r->flags & F_64) && in->mode != MODE_64)
		return false;
	if (r->flags & F_NO_MODRM)
		return true;
	if (c->p == c->end)
		return false;
	if (r->reg != ANY && ((*c->p >> 3) & 7) != r->reg)
		return false;
	if (r->rm != ANY && (*c->p & 7) != r->rm)
		return false;
	if ((r->flags & F_MEM) && *c->p >= 0xc0)
		return false;
	return !(r->flags & F_REG) || *c->p >= 0xc0;
}

static const struct assist_row *find_row(const struct insn *in, const struct cursor *c)
{
	for (unsigned i = 0; i < assist_rows_n; i++) {
		if (row_matches(&assist_rows[i], in, c))
			return &assist_rows[i];
	}
	for (unsigned i = 0; i < assist_simd_rows_n; i++) {
		if (row_matches(&assist_simd_rows[i], in, c))
			return &assist_simd_rows[i];
	}
	return NULL;
}

unsigned insn_vector_size(const struct insn *in)
{
	unsigned vl = in->enc == ENC_LEGACY ? 16 : 16u << in->vlen, w = in->w ? 8 : 4;

	if ((in->row->flags & F_MMX) && in->enc == ENC_LEGACY && in->pp == PP_NONE)
		vl = 8;
	if (vl > 64)                                /* reserved length; 0 is refused */
		vl = 0;
	if (!vl && (in->row->flags & F_PACK))
		return 0;
	if (in->broadcast)
		return w;
	switch ((enum size_rule)in->row->size) {
	case SIZE_1: return 1;
	case SIZE_2: return 2;
	case SIZE_4: return 4;
	case SIZE_8: return 8;
	case SIZE_10: return 10;
	case SIZE_16: return 16;
	case SIZE_32: return 32;
	case SIZE_64: return 64;
	case SIZE_VL: break;
	case SIZE_VL2: vl /= 2; break;
	case SIZE_VL4: vl /= 4; break;
	case SIZE_VL8: vl /= 8; break;
	case SIZE_FP:
		if (in->pp == PP_F3)
			return 4;
		if (in->pp == PP_F2)
			return 8;
		break;
	case SIZE_W: return w;
	case SIZE_W2: return 2 * w;
	case SIZE_W4: return 4 * w;
	case SIZE_BW: return in->w ? 2 : 1;
	case SIZE_DUP: return vl == 16 ? 8 : vl;
	case SIZE_NONE:
	case SIZE_N: return 0;
	}
	return vl;
}

static uint64_t address_reg(const struct assist_cpu *cpu, unsigned reg)
{
	return cpu ? reg_read(cpu, reg, 8) : 0;
}

static bool take_address16(struct cursor *c, struct insn *in, const struct assist_cpu *cpu)
{
	static const int8_t base[8] = { GPR_RBX, GPR_RBX, GPR_RBP, GPR_RBP, -1, -1, GPR_RBP,
					GPR_RBX };
	static const int8_t index[8] = { GPR_RSI, GPR_RDI, GPR_RSI, GPR_RDI, GPR_RSI, GPR_RDI, -1,
					 -1 };
	unsigned n = in->mod == 1 ? 1 : in->mod == 2 ? 2 : 0;
	int b = base[in->rm & 7], x = index[in->rm & 7];
	uint64_t disp = 0;

	if (in->mod == 0 && in->rm == 6) {
		b = -1;
		n = 2;
	}
	if (!take_le(c, n, &disp))
		return false;
	if (n == 1)
		disp = (uint64_t)(int8_t)disp;
	in->seg = b == GPR_RBP ? SEG_SS : SEG_DS;
	in->ea = disp + (b >= 0 ? address_reg(cpu, (unsigned)b) : 0) +
		 (x >= 0 ? address_reg(cpu, (unsigned)x) : 0);
	return true;
}

static bool take_address(struct cursor *c, struct insn *in, const struct assist_cpu *cpu,
			 const struct extension *e)
{
	unsigned base = in->rm & 7, n = in->mod == 1 ? 1 : in->mod == 2 ? 4 : 0;
	bool has_base = true;
	uint64_t disp = 0, ea = 0;
	uint8_t sib;

	in->seg = SEG_DS;
	if (in->asize == MODE_16)
		return take_address16(c, in, cpu);
	if (base == 4) {
		unsigned index;

		if (!take(c, &sib))
			return false;
		index = ((sib >> 3) & 7) | e->x;
		base = sib & 7;
		if (index != GPR_RSP)
			ea = address_reg(cpu, index) << (sib >> 6);
		has_base = base != 5 || in->mod != 0;
	} else if (base == 5 && in->mod == 0) {
		has_base = false;
		in->rip_relative = in->mode == MODE_64;
	}
	if (!has_base)
		n = 4;
	if (!take_le(c, n, &disp))
		return false;
	if (n == 1) {
		disp = (uint64_t)(int8_t)disp;
		if (in->enc == ENC_EVEX)
			disp *= insn_vector_size(in);
	} else {
		disp = (uint64_t)(int32_t)disp;
	}
	if (has_base) {
		ea += address_reg(cpu, base | e->b);
		if ((base | e->b) == GPR_RSP || (base | e->b) == GPR_RBP)
			in->seg = SEG_SS;
	}
	in->ea = ea + disp;
	return true;
}

static bool take_modrm(struct cursor *c, struct insn *in, const struct assist_cpu *cpu,
		       const struct extension *e, int seg)
{
	uint8_t modrm;

	if (!take(c, &modrm))
		return false;
	in->has_modrm = true;
	in->mod = modrm >> 6;
	in->reg = ((modrm >> 3) & 7) | e->r | e->r2;
	in->rm = modrm & 7;
	in->mem = in->mod != 3;
	if (!in->mem) {
		in->rm |= e->b;
		if (in->enc == ENC_EVEX)
			in->rm |= (uint8_t)(e->x << 1);
		return true;
	}
	if (!take_address(c, in, cpu, e))
		return false;
	if (seg >= 0)
		in->seg = (uint8_t)seg;
	return true;
}

static bool encoding_allowed(const struct insn *in, const struct prefixes *p)
{
	const struct assist_row *r = in->row;

	if (p->lock && (!(r->flags & F_LOCK) || !in->mem))
		return false;
	if (in->enc == ENC_LEGACY)
		return true;
	if (p->has_rex || p->rep || p->has66)
		return false;
	if ((r->flags & F_NO_VVVV) && in->vvvv)
		return false;
	return !(r->flags & F_L0) || in->vlen == 0;
}

enum decode_result insn_decode(struct insn *in, const struct assist_cpu *cpu, unsigned mode,
			       const uint8_t *bytes, unsigned len)
{
	bool protected = !cpu || (cpu->sregs->cr0 & CR0_PE);
	struct cursor c = { bytes, bytes + (len > 15 ? 15 : len) };
	struct extension e = { 0 };
	struct prefixes p;
	uint8_t first;
	uint64_t imm;

	*in = (struct insn){ .mode = (uint8_t)mode, .asize = (uint8_t)mode };
	if (!take_prefixes(&c, mode, &p, &first))
		return DECODE_UNKNOWN;
	if (is_vex(&c, mode, protected, first)) {
		if (!take_vex(&c, in, first, &e))
			return DECODE_UNKNOWN;
		if (mode != MODE_64) {
			e = (struct extension){ 0 };
			in->vvvv &= 7;
		}
	} else {
		in->pp = p.rep == 0xf3 ? PP_F3 : p.rep == 0xf2 ? PP_F2 : p.has66 ? PP_66 : PP_NONE;
		in->rex = p.has_rex;
		in->w = p.rex & 8;
		e.r = p.rex & 4 ? 8 : 0;
		e.x = p.rex & 2 ? 8 : 0;
		e.b = p.rex & 1 ? 8 : 0;
		if (!take_opcode(&c, in, first))
			return DECODE_UNKNOWN;
	}
	in->lock = p.lock;
	in->has66 = p.has66;
	if (p.has67)
		in->asize = mode == MODE_32 ? MODE_16 : MODE_32;
	in->row = find_row(in, &c);
	if (!in->row)
		return DECODE_UNKNOWN;
	if (in->w && mode == MODE_64)
		in->osize = 8;
	else if ((in->row->flags & F_OSZ) && in->has66)
		in->osize = mode == MODE_16 ? 4 : 2;
	else
		in->osize = mode == MODE_16 && in->enc == ENC_LEGACY ? 2 : 4;
	if (!(in->row->flags & F_NO_MODRM) && !take_modrm(&c, in, cpu, &e, p.seg))
		return DECODE_UNKNOWN;
	imm = 0;
	if ((in->row->flags & (F_IMM8 | F_IMM16)) &&
	    !take_le(&c, in->row->flags & F_IMM8 ? 1 : 2, &imm))
		return DECODE_UNKNOWN;
	in->imm = (uint32_t)imm;
	in->len = (unsigned)(c.p - bytes);
	if (!encoding_allowed(in, &p))
		return DECODE_UD;
	if (in->mem && in->rip_relative && cpu)
		in->ea += cpu->regs->rip + in->len;
	if (in->asize == MODE_32)
		in->ea = (uint32_t)in->ea;
	else if (in->asize == MODE_16)
		in->ea = (uint16_t)in->ea;
	return DECODE_OK;
}
