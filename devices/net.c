/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network back ends: building chains, passing calls down, counting. */
#include "devices/net.h"

#include <errno.h>
#include <unistd.h>

#include "devices/net_mem.h"
#include "domain/error.h"
#include "domain/statpage.h"

/* --- building --- */

static void node_free(struct net *n)
{
	g_free(n->queue);
	g_free(n);
}

static struct net *node_open(const struct net_plan *plan, const struct net_row *row, struct net *lower, struct fdset *fds, GError **err)
{
	struct net *n = g_malloc0(row->ops->size);

	n->ops = row->ops;
	n->lower = lower;
	n->clock = plan->clock;
	n->queues = plan->queues;
	n->queue = g_new0(struct net_queue, plan->queues);
	for (unsigned q = 0; q < plan->queues; q++) {
		n->queue[q].loop = plan->loops[q % plan->loops_n];
		n->queue[q].stats = &n->queue[q].counted;
	}
	n->linked = 1;
	if (lower) {
		n->header = lower->header;
		n->can = lower->can;
		n->linked = net_is_linked(lower);
		lower->front = row->ops->front;
		lower->front_arg = n;
	}
	if (row->ops->open(n, row->config, fds, err))
		return n;
	if (row->ops->close)
		row->ops->close(n);
	node_free(n);
	return NULL;
}

struct net *net_open(const struct net_plan *plan, const struct net_row *rows, unsigned n, const struct net_front *front, void *arg,
	struct fdset *fds, GError **err)
{
	struct net *top = NULL;

	g_assert(n && rows[n - 1].ops->leaf && plan->loops_n);
	if (!plan->queues || plan->queues > NET_QUEUES_MAX) {
		kerr_set(err, KERR_ARGS, "a card has 1 to %u pairs of queues, not %u", NET_QUEUES_MAX, plan->queues);
		return NULL;
	}
	for (unsigned i = n; i-- > 0;) {
		struct net *node = node_open(plan, &rows[i], top, fds, err);

		if (!node) {
			net_close(top);
			return NULL;
		}
		top = node;
	}
	top->front = front;
	top->front_arg = arg;
	return top;
}

struct net *net_open_iface(const struct net_plan *plan, const struct iface *i, const struct net_front *front, void *arg,
	struct fdset *fds, GError **err)
{
	static const struct net_mem_config nowhere = { .header = true, .can = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_UFO | NET_USO4 | NET_USO6 };
	struct net_fd_config fd = { i->alias };
	struct net_throttle_config throttle = { &i->bandwidth };
	struct net_row rows[2] = { { &net_throttle_ops, &throttle } };

	switch (i->type) {
	case IFACE_ETHERNET:
	case IFACE_BRIDGE:
		rows[1] = (struct net_row){ &net_tap_ops, &fd };
		break;
	case IFACE_USER:
		rows[1] = (struct net_row){ &net_stream_ops, &fd };
		break;
	case IFACE_NULL:                /* takes everything, so also what is unfinished */
		rows[1] = (struct net_row){ &net_mem_ops, &nowhere };
		break;
	default:
		kerr_set(err, KERR_UNSUPPORTED, "a network of type '%s' can't be used", iface_type_names[i->type]);
		return NULL;
	}
	return net_open(plan, rows, 2, front, arg, fds, err);
}

/* From the leaf up: when it is closed nobody calls those above any more. */
void net_close(struct net *n)
{
	if (!n)
		return;
	net_close(n->lower);
	if (n->ops->close)
		n->ops->close(n);
	node_free(n);
}

/* --- passing down --- */

unsigned net_header(const struct net *n)
{
	return n->header;
}

unsigned net_can(const struct net *n)
{
	return n->can;
}

bool net_is_linked(const struct net *n)
{
	return g_atomic_int_get(&net_leaf(n)->linked);
}

const struct net *net_leaf(const struct net *n)
{
	while (n->lower)
		n = n->lower;
	return n;
}

static void count(uint64_t *n, uint64_t more)
{
	__atomic_store_n(n, *n + more, __ATOMIC_RELAXED);
}

static struct net *able(struct net *n, size_t op)
{
	while (n && !*(void *const *)((const char *)n->ops + op))
		n = n->lower;
	return n;
}
#define ABLE(n, op) able(n, offsetof(struct net_ops, op))

ssize_t net_recv(struct net *n, unsigned queue, const struct iovec *iov, unsigned iov_n)
{
	struct net *to = ABLE(n, recv);
	struct net_stats *s = n->queue[queue].stats;
	ssize_t got = to->ops->recv(to, queue, iov, iov_n);

	if (got >= 0) {
		count(&s->rx_frames, 1);
		count(&s->rx_bytes, (uint64_t)got - MIN((uint64_t)got, n->header));
	} else if (got == -EMSGSIZE) {
		count(&s->rx_dropped, 1);
	} else if (got != -EAGAIN) {
		count(&s->rx_errors, 1);
	}
	return got;
}

ssize_t net_send(struct net *n, unsigned queue, const struct iovec *iov, unsigned iov_n)
{
	struct net *to = ABLE(n, send);
	struct net_stats *s = n->queue[queue].stats;
	ssize_t put = to->ops->send(to, queue, iov, iov_n);

	if (put >= 0) {
		count(&s->tx_frames, 1);
		count(&s->tx_bytes, (uint64_t)put - MIN((uint64_t)put, n->header));
	} else if (put != -EAGAIN) {
		count(&s->tx_dropped, 1);
		count(&s->tx_errors, put != -ENETDOWN && put != -ENOTCONN);
	}
	return put;
}

void net_flush(struct net *n, unsigned queue)
{
	struct net *to = ABLE(n, flush);

	if (to)
		to->ops->flush(to, queue);
}

void net_want(struct net *n, unsigned queue, unsigned wishes)
{
	struct net *to = ABLE(n, want);

	if (to->queue[queue].wishes == wishes)
		return;
	to->queue[queue].wishes = wishes;
	to->ops->want(to, queue, wishes);
}

void net_drop(struct net *n, unsigned queue, bool rx)
{
	struct net_stats *s = n->queue[queue].stats;

	count(rx ? &s->rx_dropped : &s->tx_dropped, 1);
}

bool net_reconnect(struct net *n, int fd, GError **err)
{
	struct net *to = ABLE(n, reconnect);

	if (to)
		return to->ops->reconnect(to, fd, err);
	close(fd);
	return kerr_set(err, KERR_UNSUPPORTED, "its network is '%s', which has no connection to replace", net_leaf(n)->ops->name);
}

int net_offload(struct net *n, unsigned offloads)
{
	struct net *to = ABLE(n, offload);

	if (offloads & ~n->can)
		return -EINVAL;
	return to ? to->ops->offload(to, offloads) : 0;
}

int net_use(struct net *n, unsigned queues)
{
	struct net *to = ABLE(n, use);

	if (!queues || queues > n->queues)
		return -EINVAL;
	return to ? to->ops->use(to, queues) : 0;
}

bool net_update(struct net *n, const struct iface *i, GError **err)
{
	for (; n; n = n->lower)
		if (n->ops->update && !n->ops->update(n, i, err))
			return false;
	return true;
}

/* --- the leaf's word --- */

void net_set_linked(struct net *leaf, bool up)
{
	if (g_atomic_int_get(&leaf->linked) == up)
		return;
	g_atomic_int_set(&leaf->linked, up);
	if (leaf->front && leaf->front->linked)
		leaf->front->linked(leaf->front_arg, up);
}

void net_stats(const struct net *n, struct net_stats *out)
{
	*out = (struct net_stats){ 0 };
	for (unsigned q = 0; q < n->queues; q++) {
		const struct net_stats *s = n->queue[q].stats;

#define ADD(m) out->m += __atomic_load_n(&s->m, __ATOMIC_RELAXED)
		ADD(rx_frames);
		ADD(rx_bytes);
		ADD(rx_dropped);
		ADD(tx_frames);
		ADD(tx_bytes);
		ADD(tx_dropped);
		ADD(rx_errors);
		ADD(tx_errors);
#undef ADD
	}
}

G_STATIC_ASSERT(sizeof(struct net_stats) == STAT_NET_WORDS * sizeof(uint64_t));
G_STATIC_ASSERT(offsetof(struct net_stats, rx_errors) == STAT_NET_RX_ERRS * sizeof(uint64_t));

void net_count_in(struct net *n, unsigned queue, struct net_stats *s)
{
	n->queue[queue].stats = s ? s : &n->queue[queue].counted;
}
