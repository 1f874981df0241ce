/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The backlog of a character device: a ring of the last bytes it put out. */
#include "devices/chr_ring.h"

#include <string.h>

void chr_ring_init(struct chr_ring *r)
{
	*r = (struct chr_ring){ .data = g_malloc(CHR_RING_BYTES) };
}

void chr_ring_finish(struct chr_ring *r)
{
	g_free(r->data);
	*r = (struct chr_ring){ 0 };
}

void chr_ring_put(struct chr_ring *r, const void *data, size_t n)
{
	const uint8_t *from = data;

	if (n > CHR_RING_BYTES) {
		r->head += n - CHR_RING_BYTES;
		from += n - CHR_RING_BYTES;
		n = CHR_RING_BYTES;
	}
	while (n) {
		size_t at = r->head % CHR_RING_BYTES, part = MIN(n, CHR_RING_BYTES - at);

		memcpy(r->data + at, from, part);
		r->head += part;
		from += part;
		n -= part;
	}
}

uint64_t chr_ring_tail(const struct chr_ring *r)
{
	return r->head > CHR_RING_BYTES ? r->head - CHR_RING_BYTES : 0;
}

uint64_t chr_ring_backlog(const struct chr_ring *r)
{
	return r->head > CHR_BACKLOG_BYTES ? r->head - CHR_BACKLOG_BYTES : 0;
}

size_t chr_ring_copy(const struct chr_ring *r, uint64_t at, void *to, size_t n)
{
	uint8_t *out = to;
	size_t done = 0;

	g_assert(at >= chr_ring_tail(r) && at <= r->head);
	n = MIN(n, r->head - at);
	while (done < n) {
		size_t from = (at + done) % CHR_RING_BYTES, part = MIN(n - done, CHR_RING_BYTES - from);

		memcpy(out + done, r->data + from, part);
		done += part;
	}
	return done;
}
