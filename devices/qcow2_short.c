/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: the short way. A read or write whose clusters all hold data, lie in a row and may be written in place needs
 * nothing but another offset: it goes to the file below as one request and ends with it. What it shares with others is
 * its place in their order, for clusters that are freed meanwhile (qcow2_free.c). Everything else goes the long way
 * (qcow2_io.c), also what only would have to wait for a table.
 */
#include "devices/qcow2.h"

static void short_done(struct block_req *r, int64_t result)
{
	struct q2_short *s = r->arg;
	struct q2 *q = s->q;
	struct block_req *guest = s->guest;

	q2_turn_end(q, &s->turn);
	s->next = q->short_free;
	q->short_free = s;
	block_done(guest, result < 0 ? result : (int64_t)guest->bytes);
	if (q->durable) {
		q2_release(q);
		q2_run(q);
	}
}

static bool may_write(struct q2 *q, const struct block_req *guest, const struct q2_extent *x)
{
	return x->in_place && !q->corrupt &&
		!q2_alloc_at(q, guest->offset >> q->bits, (guest->offset + guest->bytes - 1) >> q->bits) &&
		q2_may_write(q, x->host, x->len, USE_DATA);
}

bool q2_short_submit(struct q2 *q, struct block_req *guest)
{
	struct q2_extent x;
	struct q2_short *s;

	if (!q2_map_now(q, guest->offset, guest->bytes, &x) || x.kind != KIND_DATA || x.len < guest->bytes)
		return false;
	if (guest->op == BLOCK_WRITE && !may_write(q, guest, &x))
		return false;
	s = q->short_free;
	if (s)
		q->short_free = s->next;
	else
		s = g_new(struct q2_short, 1);
	s->guest = guest;
	s->q = q;
	s->req = (struct block_req){ .op = guest->op, .offset = x.host, .bytes = guest->bytes, .iov = guest->iov, .iov_n = guest->iov_n,
		.done = short_done, .arg = s };
	q2_turn_begin(q, &s->turn);
	block_relay(q->block.lower, &s->req);
	return true;
}

void q2_short_finish(struct q2 *q)
{
	while (q->short_free) {
		struct q2_short *s = q->short_free;

		q->short_free = s->next;
		g_free(s);
	}
}
