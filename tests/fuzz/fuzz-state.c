/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Any bytes as saved state. The checksums would stop a fuzzer at once, so each struct's is put right
 * first, innermost last to first; what loads is saved and loaded again to an equal struct.
 */
#include <string.h>

#include "domain/state.h"
#include "tests/domain/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
	uint32_t crc = UINT32_MAX;

	for (; n; n--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Bytes of the struct at p once its checksum and those inside are right, 0: none there. */
static size_t mend(uint8_t *p, size_t n, unsigned depth)
{
	size_t at, end;
	uint32_t crc;

	if (depth > 40 || n < 1 || n < 1u + p[0] + 12)
		return 0;
	at = 1u + p[0] + 8;
	if (n - at - 4 < be32(p + at - 4))
		return 0;
	end = at + be32(p + at - 4);
	while (at < end) {
		size_t head = 1u + p[at] + 5, value;

		if (end - at < head)
			break;
		value = be32(p + at + head - 4);
		if (end - at - head < value)
			break;
		if (p[at + head - 5] == 'S')
			mend(p + at + head, value, depth + 1);
		for (size_t i = 4, one; p[at + head - 5] == 'L' && i < value; i += one) {
			one = mend(p + at + head + i, value - i, depth + 1);
			if (!one)
				break;
		}
		at += head + value;
	}
	crc = GUINT32_TO_BE(crc32_of(p, end));
	memcpy(p + end, &crc, 4);
	return end + 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	g_autofree uint8_t *copy = n ? g_memdup2(data, n) : NULL;
	g_autoptr(GString) dump = g_string_new(NULL);
	g_autoptr(GByteArray) b = g_byte_array_new();
	struct sample *s = schema_new(&sample_schema), *again = schema_new(&sample_schema);
	const uint8_t *p = copy;
	size_t left = n;

	if (n && n < 1 << 20) {
		mend(copy, n, 0);
		state_dump(copy, n, dump, NULL);
		if (state_load(&sample_schema, s, &p, &left, NULL)) {
			state_save(&sample_schema, s, b);
			p = b->data;
			left = b->len;
			g_assert_true(state_load(&sample_schema, again, &p, &left, NULL));
			g_assert_true(schema_equal(&sample_schema, s, again));
		}
	}
	schema_free(&sample_schema, s);
	schema_free(&sample_schema, again);
	return 0;
}
