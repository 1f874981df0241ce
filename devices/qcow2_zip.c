/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: reading compressed clusters. One load serves all requests that want the cluster while it is read; the last few
 * clusters stay unpacked. Loads under way are bounded by the memory they hold; the rest queue.
 */
#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "devices/block_iov.h"
#include "devices/qcow2.h"

#define KEPT 4u
#define HELD_MAX (8u << 20)     /* bytes of loads under way, but for one load at least */

struct piece { struct q2_req *req; uint64_t at, len; struct piece *next; };
struct load {
	struct block_req req;
	struct iovec iov;
	struct q2 *q;
	uint64_t entry, host, packed;
	bool started;
	struct piece *pieces;
	struct load *next;
};
struct q2_zip {
	struct { uint64_t entry; uint8_t *data; } kept[KEPT];
	unsigned turn;
	struct load *loads;     /* all, newest first */
	uint64_t held;
	ZSTD_DCtx *zstd;
};

struct q2_zip *q2_zip_new(struct q2 *q)
{
	return g_new0(struct q2_zip, 1);
}

void q2_zip_forget(struct q2_zip *z)
{
	for (unsigned i = 0; i < KEPT; i++)
		z->kept[i].entry = 0;
}

void q2_zip_free(struct q2_zip *z)
{
	if (!z)
		return;
	g_assert(!z->loads);
	for (unsigned i = 0; i < KEPT; i++)
		g_free(z->kept[i].data);
	ZSTD_freeDCtx(z->zstd);
	g_free(z);
}

/* --- unpacking: n hostile bytes into exactly one cluster --- */

static int unpack_zlib(const uint8_t *from, size_t n, uint8_t *to, size_t size)
{
	z_stream s = { .next_in = (Bytef *)from,
		.avail_in = (uInt)n,
		.next_out = to,
		.avail_out = (uInt)size };
	int rc;

	if (inflateInit2(&s, -12) != Z_OK)
		return -ENOMEM;
	rc = inflate(&s, Z_FINISH);
	inflateEnd(&s);
	return (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && !s.avail_out ? 0 : -EIO;
}

static int unpack_zstd(struct q2_zip *z, const uint8_t *from, size_t n, uint8_t *to, size_t size)
{
	ZSTD_inBuffer in = { from, n, 0 };
	ZSTD_outBuffer out = { to, size, 0 };

	if (!z->zstd)
		z->zstd = ZSTD_createDCtx();
	if (!z->zstd)
		return -ENOMEM;
	ZSTD_DCtx_reset(z->zstd, ZSTD_reset_session_only);
	ZSTD_DCtx_setParameter(z->zstd, ZSTD_d_windowLogMax, 27);
	while (out.pos < out.size) {
		size_t before = in.pos, made = out.pos,
		       rc = ZSTD_decompressStream(z->zstd, &out, &in);

		if (ZSTD_isError(rc) || (in.pos == before && out.pos == made))
			return -EIO;
		if (!rc)
			break;
	}
	return out.pos == out.size ? 0 : -EIO;
}

/* --- loads --- */

static void serve(struct q2_req *r, uint64_t at, uint64_t len, const uint8_t *cluster)
{
	iov_from_buf(r->iov, r->iov_n, at - r->off, cluster + (at & (r->q->cluster - 1)), len);
}

static uint8_t *keep(struct q2 *q, uint64_t entry)
{
	struct q2_zip *z = q->zip;
	unsigned i = z->turn++ % KEPT;

	if (!z->kept[i].data)
		z->kept[i].data = g_malloc(q->cluster);
	z->kept[i].entry = entry;
	return z->kept[i].data;
}

static void start_loads(struct q2 *q);

static void load_done(struct block_req *req, int64_t result)
{
	struct load *l = req->arg, **at;
	struct q2 *q = l->q;
	struct q2_zip *z = q->zip;
	int rc = result < 0 ? (int)result : 0;
	uint8_t *data = NULL;

	for (at = &z->loads; *at != l; at = &(*at)->next)
		;
	*at = l->next;
	z->held -= l->packed;
	if (!rc) {
		data = keep(q, l->entry);
		rc = q->info.compression == IMAGE_ZSTD
			     ? unpack_zstd(z, l->iov.iov_base, l->packed, data, q->cluster)
			     : unpack_zlib(l->iov.iov_base, l->packed, data, q->cluster);
		if (rc < 0)
			z->kept[(z->turn - 1) % KEPT].entry = 0;
	}
	while (l->pieces) {
		struct piece *p = l->pieces;

		l->pieces = p->next;
		if (!rc)
			serve(p->req, p->at, p->len, data);
		q2_req_end(p->req, rc);
		g_free(p);
	}
	g_free(l->iov.iov_base);
	g_free(l);
	start_loads(q);
	q2_run(q);
}

static void start_loads(struct q2 *q)
{
	struct q2_zip *z = q->zip;

	for (struct load *l = z->loads; l; l = l->next) {
		if (l->started)
			continue;
		if (z->held && z->held + l->packed > HELD_MAX)
			return;
		l->started = true;
		z->held += l->packed;
		l->iov = (struct iovec){ g_malloc(l->packed), l->packed };      /* at most 4 MiB */
		l->req = (struct block_req){ .op = BLOCK_READ,
			.offset = l->host,
			.bytes = l->packed,
			.iov = &l->iov,
			.iov_n = 1,
			.done = load_done,
			.arg = l };
		block_submit(q->block.lower, &l->req);
	}
}

void q2_zip_read(struct q2_req *r, uint64_t entry, uint64_t at, uint64_t len)
{
	struct q2 *q = r->q;
	struct q2_zip *z = q->zip;
	struct piece *p;
	struct load *l;

	for (unsigned i = 0; i < KEPT; i++)
		if (z->kept[i].entry == entry) {
			serve(r, at, len, z->kept[i].data);
			return;
		}
	for (l = z->loads; l && l->entry != entry; l = l->next)
		;
	if (!l) {
		l = g_new0(struct load, 1);
		l->q = q;
		l->entry = entry;
		l->host = q2_zip_range(q, entry, &l->packed);
		l->next = z->loads;
		z->loads = l;
	}
	p = g_new(struct piece, 1);
	*p = (struct piece){ r, at, len, l->pieces };
	l->pieces = p;
	r->pending++;
	start_loads(q);
}
