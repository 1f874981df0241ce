/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network in memory, for tests and <interface type='null'>. */
#include "devices/net_mem.h"

#include <errno.h>
#include <string.h>

struct mem {
	struct net net;
	GQueue *in, *out;               /* [queues] of GByteArray: to the guest, from the guest */
	bool keep, posted;
	unsigned offloads, used;
	int fail;
};

static bool mem_open(struct net *n, const void *config, struct fdset *fds, GError **err)
{
	static const struct net_mem_config plain;
	const struct net_mem_config *c = config ? config : &plain;
	struct mem *m = (struct mem *)n;

	n->header = c->header ? NET_HEADER : 0;
	n->can = c->header ? c->can : 0;
	m->keep = c->keep;
	m->used = n->queues;
	m->in = g_new0(GQueue, n->queues);
	m->out = g_new0(GQueue, n->queues);
	return true;
}

static void mem_close(struct net *n)
{
	struct mem *m = (struct mem *)n;

	for (unsigned q = 0; q < n->queues; q++) {
		g_queue_clear_full(&m->in[q], (GDestroyNotify)g_byte_array_unref);
		g_queue_clear_full(&m->out[q], (GDestroyNotify)g_byte_array_unref);
	}
	g_free(m->in);
	g_free(m->out);
}

/* Tells the front once; it has to take all there is. */
static void tell(struct net *n, unsigned q)
{
	struct mem *m = (struct mem *)n;

	if (!n->front)
		return;
	if (n->queue[q].wishes & NET_RX && m->in[q].length)
		n->front->readable(n->front_arg, q);
	if (n->queue[q].wishes & NET_TX && m->out[q].length < NET_MEM_FRAMES)
		n->front->writable(n->front_arg, q);
}

static void mem_want(struct net *n, unsigned q, unsigned wishes)
{
	/* what waits already is found by the card's own try or by net_mem_put and net_mem_take */
}

static ssize_t mem_recv(struct net *n, unsigned q, const struct iovec *iov, unsigned iov_n)
{
	struct mem *m = (struct mem *)n;
	GByteArray *frame = g_queue_pop_head(&m->in[q]);
	size_t at = 0;

	if (!frame)
		return -EAGAIN;
	for (unsigned i = 0; i < iov_n && at < frame->len; i++) {
		size_t part = MIN(iov[i].iov_len, frame->len - at);

		memcpy(iov[i].iov_base, frame->data + at, part);
		at += part;
	}
	if (at < frame->len) {
		g_byte_array_unref(frame);
		return -EMSGSIZE;
	}
	g_byte_array_unref(frame);
	return (ssize_t)at;
}

static ssize_t mem_send(struct net *n, unsigned q, const struct iovec *iov, unsigned iov_n)
{
	struct mem *m = (struct mem *)n;
	GByteArray *frame;
	size_t total = 0;
	int fail = m->fail;

	m->fail = 0;
	if (fail)
		return fail;
	if (m->keep && m->out[q].length >= NET_MEM_FRAMES)
		return -EAGAIN;
	frame = m->keep ? g_byte_array_new() : NULL;
	for (unsigned i = 0; i < iov_n; i++) {
		total += iov[i].iov_len;
		if (frame)
			g_byte_array_append(frame, iov[i].iov_base, (guint)iov[i].iov_len);
	}
	if (frame)
		g_queue_push_tail(&m->out[q], frame);
	return (ssize_t)total;
}

static int mem_offload(struct net *n, unsigned offloads)
{
	((struct mem *)n)->offloads = offloads;
	return 0;
}

static int mem_use(struct net *n, unsigned queues)
{
	((struct mem *)n)->used = queues;
	return 0;
}

struct net *net_mem_leaf(struct net *n)
{
	struct net *leaf = (struct net *)net_leaf(n);

	g_assert(leaf->ops == &net_mem_ops);
	return leaf;
}

bool net_mem_put(struct net *leaf, unsigned q, const void *frame, size_t n)
{
	struct mem *m = (struct mem *)leaf;
	GByteArray *copy;

	if (m->in[q].length >= NET_MEM_FRAMES)
		return false;
	copy = g_byte_array_sized_new((guint)n);
	g_byte_array_append(copy, frame, (guint)n);
	g_queue_push_tail(&m->in[q], copy);
	tell(leaf, q);
	return true;
}

GByteArray *net_mem_take(struct net *leaf, unsigned q)
{
	struct mem *m = (struct mem *)leaf;
	GByteArray *frame = g_queue_pop_head(&m->out[q]);

	if (frame)
		tell(leaf, q);
	return frame;
}

void net_mem_keep(struct net *leaf, bool on)
{
	((struct mem *)leaf)->keep = on;
}

void net_mem_link(struct net *leaf, bool up)
{
	net_set_linked(leaf, up);
}

unsigned net_mem_offloads(const struct net *leaf)
{
	return ((const struct mem *)leaf)->offloads;
}

unsigned net_mem_used(const struct net *leaf)
{
	return ((const struct mem *)leaf)->used;
}

void net_mem_fail(struct net *leaf, int error)
{
	((struct mem *)leaf)->fail = error;
}

const struct net_ops net_mem_ops = {
	.name = "mem", .size = sizeof(struct mem), .leaf = true, .open = mem_open, .close = mem_close, .recv = mem_recv,
	.send = mem_send, .want = mem_want, .offload = mem_offload, .use = mem_use,
};
