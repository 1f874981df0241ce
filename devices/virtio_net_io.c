/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Network cards: frames.
 *
 * Send: the guest's segments go to the back end as they are. A frame that finds no room there is held, and nothing behind it
 * moves until there is.
 *
 * Receive: chains are taken from the queue beforehand, as many as a frame may need, and the back end puts frames straight
 * into them. The last piece that it is given is a buffer of our own (bounce), for frames are known by length only when they
 * are there: small ones, the usual case, end in the first chains; of a large one the rest is copied, and the next time more
 * chains are given at once. A frame for which the guest has too little room just now waits in the bounce buffer.
 * All that was taken and not used is saved by the queues themselves and comes again after a load.
 */
#include "devices/virtio_net_card.h"

#include <errno.h>
#include <string.h>

#define BATCH 256               /* frames before others on the loop have their turn */
#define SHOW_RX 8               /* the driver sees frames together, so many, */
#define SHOW_TX 16              /* and of those it may forget so many or so many bytes */
#define SHOW_TX_BYTES 32768
#define ONE 1u                  /* p->expect: the first chain will do; */
#define FEW 4096u               /* a page; anything else: NET_FRAME_MAX */
#define IOV_MOST 512u
#define HEAD 18u                /* two addresses, a tag, a type */

static struct virtio *virtio(struct pair *p)
{
	return &p->card->virtio;
}

static struct chain *ahead(struct pair *p, unsigned i)
{
	return &p->ahead[(p->ahead_at + i) % CARD_AHEAD];
}

static void drop_first(struct pair *p)
{
	p->room -= ahead(p, 0)->in_len;
	p->ahead_at = (p->ahead_at + 1) % CARD_AHEAD;
	p->ahead_n--;
}

/* Chains of a queue that was stopped meanwhile are nobody's. */
static void forget_received(struct pair *p)
{
	while (p->ahead_n && !ahead(p, 0)->q) {
		struct chain *c = ahead(p, 0);

		drop_first(p);
		virtq_push(p->rx, c, 0);
		p->pending = 0;
	}
}

static void forget_held(struct pair *p)
{
	if (p->holding && !p->held.q) {
		virtq_push(p->tx, &p->held, 0);
		p->holding = false;
	}
}

void card_forget(struct pair *p)
{
	forget_received(p);
	forget_held(p);
}

/* --- receive --- */

/* Takes chains until there is room for that many bytes; false: there are not enough. */
static bool take_ahead(struct pair *p, uint64_t bytes)
{
	while (p->room < bytes && p->ahead_n < CARD_AHEAD) {
		struct chain *c = ahead(p, p->ahead_n);

		if (!virtq_pop(p->rx, c))
			return false;
		if (c->in_len < NET_HEADER) {
			guest_error(&virtio(p)->head.dev, "a receive buffer is smaller than the header");
			virtq_push(p->rx, c, 0);
			continue;
		}
		p->ahead_n++;
		p->room += c->in_len;
	}
	return p->room >= bytes;
}

/* Copies n bytes to (or from) place `at` of the pieces. */
static void copy_all(const struct iovec *v, unsigned n, size_t at, void *bytes, size_t len, bool to)
{
	for (unsigned i = 0; i < n && len; i++) {
		size_t part;
		uint8_t *piece;

		if (at >= v[i].iov_len) {
			at -= v[i].iov_len;
			continue;
		}
		part = MIN(len, v[i].iov_len - at);
		piece = (uint8_t *)v[i].iov_base + at;
		memcpy(to ? (void *)piece : bytes, to ? bytes : (const void *)piece, part);
		bytes = (uint8_t *)bytes + part;
		len -= part;
		at = 0;
	}
}

/* Most often it is all in the first. */
static inline void pieces_copy(const struct iovec *v, unsigned n, size_t at, void *bytes, size_t len, bool to)
{
	if (!n || v->iov_len < at + len)
		copy_all(v, n, at, bytes, len, to);
	else if (to)
		memcpy((uint8_t *)v->iov_base + at, bytes, len);
	else
		memcpy(bytes, (const uint8_t *)v->iov_base + at, len);
}

/* The same pieces without the header's bytes at their start, for back ends that know none; how many. */
static unsigned pieces_after_header(const struct iovec *v, unsigned n, struct iovec *to)
{
	size_t skip = NET_HEADER;
	unsigned m = 0;

	for (unsigned i = 0; i < n; i++) {
		size_t off = MIN(skip, v[i].iov_len);

		skip -= off;
		if (v[i].iov_len > off)
			to[m++] = (struct iovec){ (uint8_t *)v[i].iov_base + off, v[i].iov_len - off };
	}
	return m;
}

/* Pieces of the first chains, up to the bytes; how many. */
static unsigned pieces_of(struct pair *p, struct iovec *v, size_t bytes, size_t *total)
{
	unsigned n = 0;

	*total = 0;
	for (unsigned i = 0; i < p->ahead_n && *total < bytes; i++) {
		struct chain *c = ahead(p, i);

		if (n + c->in_n > IOV_MOST)
			break;
		memcpy(v + n, chain_in(c), c->in_n * sizeof(*v));
		n += c->in_n;
		*total += c->in_len;
	}
	return n;
}

/* The frame lies in the first chains up to `direct`, the rest in the bounce buffer: gives it to the guest. */
static void deliver(struct pair *p, struct net_header *h, size_t len)
{
	size_t done = 0;

	h->num_buffers = 0;
	for (size_t left = len, i = 0; left; i++) {
		left -= MIN(left, ahead(p, (unsigned)i)->in_len);
		h->num_buffers++;
	}
	pieces_copy(chain_in(ahead(p, 0)), ahead(p, 0)->in_n, 0, h, NET_HEADER, true);
	while (done < len) {
		struct chain *c = ahead(p, 0);
		size_t part = MIN(len - done, c->in_len), have = p->direct > done ? MIN(part, p->direct - done) : 0;

		if (have < part)
			pieces_copy(chain_in(c), c->in_n, have, p->bounce + (done + have - p->direct), part - have, true);
		drop_first(p);
		virtq_push_hidden(p->rx, c, part);
		done += part;
	}
	p->pending = 0;
}

/* May the guest see such a frame? Frames that waited in a tap may be older than the driver's wishes. */
static bool is_welcome(const struct card *c, struct net_header *h)
{
	static const struct { uint8_t type; unsigned need; } kinds[] = {
		{ NET_GSO_TCPV4, NET_TSO4 }, { NET_GSO_TCPV6, NET_TSO6 }, { NET_GSO_UDP, NET_UFO }, { NET_GSO_UDP_L4, NET_USO4 | NET_USO6 },
	};
	unsigned offloads = __atomic_load_n(&c->offloads, __ATOMIC_RELAXED);

	if (!(offloads & NET_CSUM)) {
		if (h->flags & NET_HDR_NEEDS_CSUM)
			return false;
		h->flags = 0;
	}
	for (size_t i = 0; h->gso_type && i < G_N_ELEMENTS(kinds); i++)
		if (kinds[i].type == (h->gso_type & ~NET_GSO_ECN))
			return offloads & kinds[i].need;
	return !h->gso_type;
}

/* The frame that waited for chains. 1: done with it; 0: still too few. */
static int receive_pending(struct pair *p, bool merge)
{
	struct net_header h = { 0 };
	struct iovec v[IOV_MOST];
	size_t shown;
	unsigned n;

	if (merge && p->ahead_n < CARD_AHEAD && !take_ahead(p, p->pending))
		return 0;
	if (!merge || p->room < p->pending) {
		net_drop(p->card->net, p->index, true);
		p->pending = 0;
		return 1;
	}
	n = pieces_of(p, v, NET_HEADER, &shown);
	pieces_copy(v, n, 0, &h, NET_HEADER, false);    /* the guest may have changed it since: its own loss */
	deliver(p, &h, p->pending);
	return 1;
}

/* From the back end into the pieces; with a header in any case. As net_recv. */
static ssize_t take_frame(struct pair *p, const struct iovec *v, unsigned n)
{
	struct net *net = p->card->net;
	static const struct net_header none;
	struct iovec w[IOV_MOST + 2];
	ssize_t got;

	if (net_header(net))
		return net_recv(net, p->index, v, n);
	pieces_copy(v, n, 0, (void *)&none, NET_HEADER, true);
	got = net_recv(net, p->index, w, pieces_after_header(v, n, w));
	return got < 0 ? got : got + (ssize_t)NET_HEADER;
}

/* One frame, or the one that waits. 1: there may be more; 0: no chains; -EAGAIN: no frame. */
static int receive_one(struct pair *p)
{
	struct card *c = p->card;
	bool merge = virtio_has(&c->virtio, NET_F_MRG_RXBUF);
	struct iovec v[IOV_MOST + 1];
	uint8_t head[HEAD] = { 0 };
	struct net_header h = { 0 };
	size_t len;
	unsigned n;
	ssize_t got;

	if (p->pending)
		return receive_pending(p, merge);
	(void)take_ahead(p, merge ? p->expect : ONE);
	if (!p->ahead_n)
		return 0;
	n = pieces_of(p, v, merge ? p->expect : ONE, &p->direct);
	if (!n)         /* one chain of more pieces than we take */
		p->direct = 0;
	if (merge || !n)        /* else what does not fit is lost anyway */
		v[n++] = (struct iovec){ p->bounce, NET_FRAME_MAX };
	got = take_frame(p, v, n);
	if (got == -EAGAIN)
		return -EAGAIN;
	len = (size_t)MAX(got, 0);
	if (len < NET_HEADER + NET_FRAME_MIN || len > p->direct + NET_FRAME_MAX) {
		if (got >= 0)
			net_drop(c->net, p->index, true);
		return 1;
	}
	p->expect = len <= ahead(p, 0)->in_len ? ONE : len <= FEW ? FEW : NET_FRAME_MAX;
	pieces_copy(v, n, 0, &h, NET_HEADER, false);
	pieces_copy(v, n, NET_HEADER, head, MIN(HEAD, len - NET_HEADER), false);
	if (!is_welcome(c, &h) || !card_filter_passes(c, head, len - NET_HEADER)) {
		net_drop(c->net, p->index, true);
		return 1;
	}
	if (merge ? take_ahead(p, len) : ahead(p, 0)->in_len >= len) {
		deliver(p, &h, len);
	} else if (merge && p->ahead_n < CARD_AHEAD) {
		p->pending = len;
		return 0;
	} else {
		net_drop(c->net, p->index, true);
	}
	return 1;
}

/* Without a link frames are taken and lost, so that none is there when it is up again. */
static int lose_one(struct pair *p)
{
	struct iovec v = { p->bounce, NET_FRAME_MAX };
	ssize_t got = net_recv(p->card->net, p->index, &v, 1);

	if (got >= 0)
		net_drop(p->card->net, p->index, true);
	return got == -EAGAIN ? -EAGAIN : 1;
}

static void want(struct pair *p, unsigned wish, bool on)
{
	struct net_queue *q = &p->card->net->queue[p->index];

	net_want(p->card->net, p->index, on ? q->wishes | wish : q->wishes & ~wish);
}

void card_receive(struct pair *p)
{
	struct card *c = p->card;
	int r = 1;

	/* while it does not run, its chains may be main's: look before anything is touched */
	if (!virtio_runs(virtio(p), p->rx) || p->index >= (unsigned)g_atomic_int_get(&c->used)) {
		want(p, NET_RX, false);
		return;
	}
	forget_received(p);
	for (unsigned i = 0; i < BATCH && r == 1; i++) {
		r = g_atomic_int_get(&c->link_wanted) ? receive_one(p) : lose_one(p);
		if (i % SHOW_RX == 0)   /* the first, which may be all, at once */
			virtq_show(p->rx);
	}
	virtq_signal(p->rx);
	want(p, NET_RX, r != 0);
	if (r == 1)
		virtio_kick(virtio(p), p->rx->index);
}

/* --- send --- */

/* 0, or -EAGAIN: no room. */
static int send_chain(struct pair *p, struct chain *c)
{
	struct card *card = p->card;
	struct iovec w[VIRTQ_SEGMENTS_MAX];
	const struct iovec *v = chain_iov(c);
	unsigned n = c->out_n;
	ssize_t put;

	if (c->out_len < NET_HEADER + NET_FRAME_MIN || c->out_len > NET_FRAME_MAX) {
		guest_error(&virtio(p)->head.dev, "a frame of %" G_GUINT64_FORMAT " bytes", c->out_len);
		net_drop(card->net, p->index, false);
		return 0;
	}
	if (!g_atomic_int_get(&card->link_wanted)) {
		net_drop(card->net, p->index, false);
		return 0;
	}
	if (!net_header(card->net)) {
		n = pieces_after_header(v, n, w);
		v = w;
	}
	put = net_send(card->net, p->index, v, n);
	return put == -EAGAIN ? -EAGAIN : 0;
}

void card_send(struct pair *p)
{
	struct card *c = p->card;
	bool full = false, more = true;
	uint64_t bytes = 0;

	if (!virtio_runs(virtio(p), p->tx)) {
		want(p, NET_TX, false);
		return;
	}
	forget_held(p);
	for (unsigned i = 0; i < BATCH; i++) {
		if (!p->holding)
			more = p->holding = virtq_pop(p->tx, &p->held);
		if (!more)
			break;
		full = send_chain(p, &p->held) == -EAGAIN;
		if (full)
			break;
		bytes += p->held.out_len;
		virtq_push_hidden(p->tx, &p->held, 0);
		p->holding = false;
		if (i % SHOW_TX == SHOW_TX - 1 || bytes >= SHOW_TX_BYTES) {
			virtq_show(p->tx);
			bytes = 0;
		}
	}
	net_flush(c->net, p->index);
	virtq_signal(p->tx);
	want(p, NET_TX, full);
	if (more && !full)
		virtio_kick(virtio(p), p->tx->index);
}
