/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Little-endian appending to a GByteArray: what the table builders (AML, ACPI, SMBIOS) share. */
#pragma once

#include <glib.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void blob_put(GByteArray *b, const void *p, size_t len)
{
	g_assert(len <= G_MAXUINT - b->len);
	g_byte_array_append(b, p, (guint)len);
}

static inline void blob_u8(GByteArray *b, unsigned v)
{
	uint8_t le = (uint8_t)v;

	blob_put(b, &le, sizeof(le));
}

static inline void blob_u16(GByteArray *b, unsigned v)
{
	uint16_t le = GUINT16_TO_LE((uint16_t)v);

	blob_put(b, &le, sizeof(le));
}

static inline void blob_u32(GByteArray *b, uint32_t v)
{
	uint32_t le = GUINT32_TO_LE(v);

	blob_put(b, &le, sizeof(le));
}

static inline void blob_u64(GByteArray *b, uint64_t v)
{
	uint64_t le = GUINT64_TO_LE(v);

	blob_put(b, &le, sizeof(le));
}

static inline void blob_zero(GByteArray *b, size_t n)
{
	static const uint8_t zero[64];

	for (; n > sizeof(zero); n -= sizeof(zero))
		blob_put(b, zero, sizeof(zero));
	blob_put(b, zero, n);
}

/* Zeros up to the next multiple of @to, a power of two, counted from the start of @b. */
static inline void blob_align(GByteArray *b, size_t to)
{
	blob_zero(b, -(size_t)b->len & (to - 1));
}

/* @s cut or padded with @pad to @n bytes, no NUL. */
static inline void blob_text(GByteArray *b, const char *s, size_t n, char pad)
{
	size_t len = strnlen(s, n);

	blob_put(b, s, len);
	for (; len < n; len++)
		blob_put(b, &pad, 1);
}

/* Overwrite @len bytes at @at, which must exist. */
static inline void blob_set(GByteArray *b, size_t at, const void *p, size_t len)
{
	g_assert(at <= b->len && len <= b->len - at);
	memcpy(b->data + at, p, len);
}

static inline void blob_set_u32(GByteArray *b, size_t at, uint32_t v)
{
	uint32_t le = GUINT32_TO_LE(v);

	blob_set(b, at, &le, sizeof(le));
}

static inline void blob_set_u64(GByteArray *b, size_t at, uint64_t v)
{
	uint64_t le = GUINT64_TO_LE(v);

	blob_set(b, at, &le, sizeof(le));
}

/* Set the byte at @at so that the @len bytes from @from add up to 0 modulo 256. */
static inline void blob_checksum(GByteArray *b, size_t from, size_t len, size_t at)
{
	uint8_t sum = 0;

	g_assert(from <= b->len && len <= b->len - from && at < b->len);
	b->data[at] = 0;
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + b->data[from + i]);
	b->data[at] = (uint8_t)-sum;
}
