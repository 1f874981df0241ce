/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AML byte-code builder. A block's PkgLength takes one to four bytes and counts itself, so it is
 * only known when the block is closed: it is then inserted where the block's body began. Tables are
 * small (tens of KiB), so moving the body is cheaper than planning ahead.
 */
#include "hv/x86/aml.h"

#include "hv/x86/blob.h"

#include <string.h>

/* opcodes that only this file writes, because a length or a fixed operand follows */
enum {
	OP_ONE = 0x01,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_IF = 0xa0,
	OP_WHILE = 0xa2,
	OP_DUAL_NAME = 0x2e,
	OP_MULTI_NAME = 0x2f,
	OP_MUTEX = 0x5b01,
	OP_ACQUIRE = 0x5b23,
	OP_REGION = 0x5b80,
	OP_FIELD = 0x5b81,
	OP_DEVICE = 0x5b82,
};

/* resource descriptor tags; the large ones carry a 16-bit length */
enum {
	RES_IRQ = 0x22,
	RES_IO = 0x47,
	RES_END = 0x79,
	RES_MEM32 = 0x86,
	RES_WINDOW32 = 0x87,
	RES_WINDOW16 = 0x88,
	RES_WINDOW64 = 0x8a,
};

void aml_init(struct aml *a, GByteArray *out)
{
	memset(a, 0, sizeof(*a));
	a->out = out;
}

void aml_finish(struct aml *a)
{
	g_assert_cmpuint(a->depth, ==, 0);
}

static void put_op(struct aml *a, unsigned op)
{
	if (op > 0xff)
		blob_u8(a->out, op >> 8);
	blob_u8(a->out, op & 0xff);
}

void aml_op(struct aml *a, enum aml_opcode op)
{
	put_op(a, op);
}

void aml_local(struct aml *a, unsigned n)
{
	g_assert_cmpuint(n, <, 8);
	put_op(a, AML_LOCAL0 + n);
}

void aml_arg(struct aml *a, unsigned n)
{
	g_assert_cmpuint(n, <, 7);
	put_op(a, AML_ARG0 + n);
}

static bool is_lead_char(char c)
{
	return g_ascii_isupper(c) || c == '_';
}

/* One name segment of @len characters, padded with '_' to four. */
static void put_segment(struct aml *a, const char *s, size_t len)
{
	g_assert(len >= 1 && len <= 4 && is_lead_char(s[0]));
	for (size_t i = 1; i < len; i++)
		g_assert(is_lead_char(s[i]) || g_ascii_isdigit(s[i]));
	blob_put(a->out, s, len);
	blob_put(a->out, "___", 4 - len);
}

void aml_path(struct aml *a, const char *path)
{
	unsigned segments = 1;

	if (*path == '\\')
		blob_u8(a->out, (uint8_t)*path++);
	else
		while (*path == '^')
			blob_u8(a->out, (uint8_t)*path++);
	if (!*path) {
		blob_u8(a->out, AML_ZERO);	/* the NullName: the prefix alone */
		return;
	}
	for (const char *p = path; *p; p++)
		segments += *p == '.';
	g_assert_cmpuint(segments, <=, 255);
	if (segments == 2) {
		blob_u8(a->out, OP_DUAL_NAME);
	} else if (segments > 2) {
		blob_u8(a->out, OP_MULTI_NAME);
		blob_u8(a->out, segments);
	}
	for (; segments; segments--) {
		size_t len = strcspn(path, ".");

		put_segment(a, path, len);
		path += len + (segments > 1);
	}
}

void aml_int(struct aml *a, uint64_t v)
{
	if (v <= 1) {
		blob_u8(a->out, v ? OP_ONE : AML_ZERO);
	} else if (v <= UINT8_MAX) {
		blob_u8(a->out, OP_BYTE);
		blob_u8(a->out, (unsigned)v);
	} else if (v <= UINT16_MAX) {
		blob_u8(a->out, OP_WORD);
		blob_u16(a->out, (unsigned)v);
	} else if (v <= UINT32_MAX) {
		blob_u8(a->out, OP_DWORD);
		blob_u32(a->out, (uint32_t)v);
	} else {
		blob_u8(a->out, OP_QWORD);
		blob_u64(a->out, v);
	}
}

void aml_string(struct aml *a, const char *s)
{
	blob_u8(a->out, OP_STRING);
	blob_put(a->out, s, strlen(s) + 1);
}

/* ACPI 6.5 section 19.3.4: three letters of 5 bits and four hex digits, most significant first */
void aml_eisaid(struct aml *a, const char *id)
{
	unsigned letters = 0, hex = 0;

	g_assert_cmpuint(strlen(id), ==, 7);
	for (unsigned i = 0; i < 3; i++) {
		g_assert(g_ascii_isupper(id[i]));
		letters = letters << 5 | (unsigned)(id[i] - 0x40);
	}
	for (unsigned i = 3; i < 7; i++) {
		g_assert(g_ascii_isxdigit(id[i]));
		hex = hex << 4 | (unsigned)g_ascii_xdigit_value(id[i]);
	}
	/* always a DWord: iasl does not shorten these */
	blob_u8(a->out, OP_DWORD);
	blob_u32(a->out, GUINT32_SWAP_LE_BE((uint32_t)(letters << 16 | hex)));
}

static void open_block(struct aml *a, unsigned op)
{
	g_assert_cmpuint(a->depth, <, AML_DEPTH_MAX);
	put_op(a, op);
	a->open[a->depth].at = a->out->len;
	a->open[a->depth].resource = false;
	a->depth++;
}

static void insert(GByteArray *b, guint at, const void *p, guint len)
{
	guint old = b->len;

	g_byte_array_set_size(b, old + len);
	memmove(b->data + at + len, b->data + at, old - at);
	memcpy(b->data + at, p, len);
}

/* PkgLength (ACPI 6.5 section 20.2.4) of @len, which counts itself when @self. Returns its bytes. */
static unsigned package_length(uint8_t out[4], size_t len, bool self)
{
	unsigned n;

	for (n = 1; n < 4; n++)
		if (len + (self ? n : 0) < (n == 1 ? (size_t)1 << 6 : (size_t)1 << (8 * n - 4)))
			break;
	if (self)
		len += n;
	g_assert_cmpuint(len, <, 1u << 28);
	if (n == 1) {
		out[0] = (uint8_t)len;
		return 1;
	}
	out[0] = (uint8_t)((n - 1) << 6 | (len & 0x0f));
	for (unsigned i = 1; i < n; i++)
		out[i] = (uint8_t)(len >> (8 * i - 4));
	return n;
}

void aml_close(struct aml *a)
{
	uint8_t pkg[4];
	guint at;

	g_assert_cmpuint(a->depth, >, 0);
	a->depth--;
	at = a->open[a->depth].at;
	if (a->open[a->depth].resource) {
		/* the end tag (checksum 0: not used), then the Buffer's size in front of it all */
		g_autoptr(GByteArray) size = g_byte_array_new();
		struct aml s;

		blob_u8(a->out, RES_END);
		blob_u8(a->out, 0);
		aml_init(&s, size);
		aml_int(&s, a->out->len - at);
		insert(a->out, at, size->data, size->len);
	}
	insert(a->out, at, pkg, package_length(pkg, a->out->len - at, true));
}

void aml_buffer(struct aml *a, const void *p, size_t len)
{
	open_block(a, OP_BUFFER);
	aml_int(a, len);
	blob_put(a->out, p, len);
	aml_close(a);
}

void aml_name(struct aml *a, const char *path)
{
	put_op(a, AML_NAME);
	aml_path(a, path);
}

void aml_name_int(struct aml *a, const char *path, uint64_t v)
{
	aml_name(a, path);
	aml_int(a, v);
}

void aml_name_string(struct aml *a, const char *path, const char *s)
{
	aml_name(a, path);
	aml_string(a, s);
}

void aml_name_eisaid(struct aml *a, const char *path, const char *id)
{
	aml_name(a, path);
	aml_eisaid(a, id);
}

void aml_mutex(struct aml *a, const char *path)
{
	put_op(a, OP_MUTEX);
	aml_path(a, path);
	blob_u8(a->out, 0);		/* sync level */
}

void aml_acquire(struct aml *a, const char *path)
{
	put_op(a, OP_ACQUIRE);
	aml_path(a, path);
	blob_u16(a->out, 0xffff);	/* no time-out */
}

void aml_release(struct aml *a, const char *path)
{
	put_op(a, AML_RELEASE);
	aml_path(a, path);
}

void aml_io_region(struct aml *a, const char *path, uint64_t port, uint64_t len)
{
	put_op(a, OP_REGION);
	aml_path(a, path);
	blob_u8(a->out, 1);		/* SystemIO */
	aml_int(a, port);
	aml_int(a, len);
}

void aml_scope(struct aml *a, const char *path)
{
	open_block(a, OP_SCOPE);
	aml_path(a, path);
}

void aml_device(struct aml *a, const char *path)
{
	open_block(a, OP_DEVICE);
	aml_path(a, path);
}

void aml_method(struct aml *a, const char *path, unsigned args, bool serialized)
{
	g_assert_cmpuint(args, <=, 7);
	open_block(a, OP_METHOD);
	aml_path(a, path);
	blob_u8(a->out, args | (serialized ? 1u << 3 : 0));
}

void aml_package(struct aml *a, unsigned elements)
{
	g_assert_cmpuint(elements, <=, UINT8_MAX);
	open_block(a, OP_PACKAGE);
	blob_u8(a->out, elements);
}

void aml_field(struct aml *a, const char *region, enum aml_access access, enum aml_update update)
{
	open_block(a, OP_FIELD);
	aml_path(a, region);
	blob_u8(a->out, (unsigned)access | (unsigned)update << 5);
}

void aml_field_bits(struct aml *a, const char *name, unsigned bits)
{
	uint8_t pkg[4];

	if (name)
		put_segment(a, name, strlen(name));
	else
		blob_u8(a->out, 0);
	blob_put(a->out, pkg, package_length(pkg, bits, false));
}

void aml_if(struct aml *a)
{
	open_block(a, OP_IF);
}

void aml_while(struct aml *a)
{
	open_block(a, OP_WHILE);
}

void aml_resources(struct aml *a)
{
	open_block(a, OP_BUFFER);
	a->open[a->depth - 1].resource = true;
}

void aml_res_io(struct aml *a, uint16_t port, uint8_t len)
{
	blob_u8(a->out, RES_IO);
	blob_u8(a->out, 1);		/* decodes 16 bits */
	blob_u16(a->out, port);		/* minimum and maximum: fixed */
	blob_u16(a->out, port);
	blob_u8(a->out, 1);		/* alignment */
	blob_u8(a->out, len);
}

void aml_res_irq(struct aml *a, unsigned irq)
{
	g_assert_cmpuint(irq, <, 16);
	blob_u8(a->out, RES_IRQ);	/* the form without flags: edge, active high, exclusive */
	blob_u16(a->out, 1u << irq);
}

void aml_res_mem32(struct aml *a, uint32_t base, uint32_t len)
{
	blob_u8(a->out, RES_MEM32);
	blob_u16(a->out, 9);
	blob_u8(a->out, 1);		/* writeable */
	blob_u32(a->out, base);
	blob_u32(a->out, len);
}

static void put_width(struct aml *a, unsigned width, uint64_t v)
{
	g_assert(width == 8 || v >> (8 * width) == 0);
	for (unsigned i = 0; i < width; i++)
		blob_u8(a->out, v >> (8 * i) & 0xff);
}

void aml_res_window(struct aml *a, enum aml_space space, unsigned width, bool producer,
		    uint64_t base, uint64_t len)
{
	static const uint8_t tags[] = { [2] = RES_WINDOW16, [4] = RES_WINDOW32, [8] = RES_WINDOW64 };
	static const uint8_t type_flags[] = {
		[AML_MEM] = 1,		/* read-write, not cacheable */
		[AML_IO] = 3,		/* the entire range */
		[AML_BUS] = 0,
	};

	g_assert(width < sizeof(tags) && tags[width] && len && len - 1 <= UINT64_MAX - base);
	blob_u8(a->out, tags[width]);
	blob_u16(a->out, 3 + 5 * width);
	blob_u8(a->out, space);
	blob_u8(a->out, 0x0c | (producer ? 0 : 1));	/* fixed minimum and maximum */
	blob_u8(a->out, type_flags[space]);
	put_width(a, width, 0);			/* granularity */
	put_width(a, width, base);
	put_width(a, width, base + (len - 1));
	put_width(a, width, 0);			/* translation */
	put_width(a, width, len);
}
