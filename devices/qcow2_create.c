/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New qcow2 images: header, table of reference blocks, reference blocks, L1; all else comes as it is written. */
#include "devices/qcow2_create.h"

#include <errno.h>
#include <string.h>

#include "devices/qcow2.h"
#include "domain/error.h"

#define MAGIC 0x514649fbu
#define EXT_BACKING_FORMAT 0xe2792acau
#define HEADER_V2 72u
#define HEADER_V3 112u          /* up to the compression type, padded */

struct image {
	unsigned bits, order, ref_bits;
	uint64_t cluster, reft, blocks, l1, l1_n;       /* clusters, entries */
};

static void put(uint8_t *head, unsigned at, unsigned n, uint64_t v)
{
	for (unsigned i = n; i-- > 0; v >>= 8)
		head[at + i] = (uint8_t)v;
}

static bool plan(const struct qcow2_create *c, struct image *m, GError **err)
{
	uint64_t span, before;
	unsigned bits = c->refcount_bits ? c->refcount_bits : 16;

	m->cluster = c->cluster ? c->cluster : 65536;
	if (m->cluster < 512 || m->cluster > 2u << 20 || m->cluster & (m->cluster - 1))
		return kerr_set(err, KERR_ARGS,
			"clusters of %" G_GUINT64_FORMAT
			" bytes: powers of two from 512 to 2 MiB are",
			m->cluster);
	if (!bits || bits > 64 || bits & (bits - 1) || (c->version == 2 && bits != 16))
		return kerr_set(err, KERR_ARGS, "reference counts of %u bits", bits);
	if (c->version == 2 && (c->lazy_refcounts || c->zstd))
		return kerr_set(
			err, KERR_ARGS, "lazy reference counts and zstd need qcow2 version 3");
	if (c->size % 512 || c->size > BLOCK_SIZE_MAX)
		return kerr_set(err, KERR_ARGS, "a disk of %" G_GUINT64_FORMAT " bytes", c->size);
	m->bits = (unsigned)__builtin_ctzll(m->cluster);
	m->order = (unsigned)__builtin_ctz(bits);
	m->ref_bits = m->bits + 3 - m->order;
	span = 1ull << (2 * m->bits - 3);
	m->l1_n = MAX(c->size / span + (c->size % span != 0), 1);
	if (m->l1_n > (32u << 20) / 8)
		return kerr_set(err, KERR_ARGS,
			"a disk of that size needs larger clusters than %" G_GUINT64_FORMAT
			" bytes",
			m->cluster);
	m->l1 = (m->l1_n * 8 + m->cluster - 1) >> m->bits;
	do {
		before = m->reft + m->blocks;
		m->blocks = (1 + m->l1 + m->reft + m->blocks + (1ull << m->ref_bits) - 1) >>
			    m->ref_bits;
		m->reft = (m->blocks * 8 + m->cluster - 1) >> m->bits;
	} while (m->reft + m->blocks != before);
	return true;
}

static bool make_header(
	const struct qcow2_create *c, const struct image *m, uint8_t *head, GError **err)
{
	unsigned v = c->version ? c->version : 3, at = v == 3 ? HEADER_V3 : HEADER_V2;
	size_t name = c->backing ? strlen(c->backing) : 0, format;
	const char *backing_format = c->backing_format ? disk_format_names[c->backing_format] : "";

	format = strlen(backing_format);
	if (name > IMAGE_NAME_MAX || at + 16 + ((format + 7) & ~7ul) + name > m->cluster)
		return kerr_set(err, KERR_ARGS,
			"the backing file's name is too long for a cluster of %" G_GUINT64_FORMAT
			" bytes",
			m->cluster);
	put(head, 0, 4, MAGIC);
	put(head, 4, 4, v);
	put(head, 20, 4, m->bits);
	put(head, 24, 8, c->size);
	put(head, 36, 4, m->l1_n);
	put(head, 40, 8, (1 + m->reft + m->blocks) << m->bits);
	put(head, 48, 8, m->cluster);
	put(head, 56, 4, m->reft);
	if (v == 3) {
		put(head, 72, 8, c->zstd ? IMAGE_COMPRESSION : 0);
		put(head, 80, 8, c->lazy_refcounts ? IMAGE_LAZY_REFCOUNTS : 0);
		put(head, 96, 4, m->order);
		put(head, 100, 4, HEADER_V3);
		head[104] = c->zstd ? IMAGE_ZSTD : IMAGE_ZLIB;
	}
	if (name && format) {
		put(head, at, 4, EXT_BACKING_FORMAT);
		put(head, at + 4, 4, format);
		memcpy(head + at + 8, backing_format, format);
		at += 8 + (((unsigned)format + 7) & ~7u);
	}
	at += 8;                /* end of the extensions */
	if (name) {
		put(head, 8, 8, at);
		put(head, 16, 4, name);
		memcpy(head + at, c->backing, name);
	}
	return true;
}

bool qcow2_create(struct block *file, const struct qcow2_create *c, GError **err)
{
	struct image m = { 0 };
	g_autofree uint8_t *bytes = NULL;
	uint64_t all, n;
	uint8_t *reft, *blocks;
	int rc;

	if (!plan(c, &m, err))
		return false;
	all = 1 + m.reft + m.blocks + m.l1;
	n = all << m.bits;
	bytes = g_try_malloc0(n);
	if (!bytes)
		return kerr_set(err, KERR_NO_MEMORY, "no memory for a new image's tables");
	if (!make_header(c, &m, bytes, err))
		return false;
	reft = bytes + m.cluster;
	blocks = reft + (m.reft << m.bits);
	for (uint64_t i = 0; i < m.blocks; i++)
		put(reft + i * 8, 0, 8, (1 + m.reft + i) << m.bits);
	for (uint64_t i = 0; i < all; i++)
		q2_count_put(blocks + (i >> m.ref_bits << m.bits), m.order,
			i & ((1ull << m.ref_bits) - 1), 1);
	/* the header last: what is half made is no image */
	rc = block_sync(file, BLOCK_WRITE, m.cluster, bytes + m.cluster, n - m.cluster);
	if (rc >= 0)
		rc = block_sync(file, BLOCK_FLUSH, 0, NULL, 0);
	if (rc >= 0)
		rc = block_sync(file, BLOCK_WRITE, 0, bytes, m.cluster);
	if (rc >= 0)
		rc = block_sync(file, BLOCK_FLUSH, 0, NULL, 0);
	return rc < 0 ? kerr_errno(err, -rc, "write a new image") : true;
}
