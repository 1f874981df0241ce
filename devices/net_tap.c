/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Taps: the launcher has made them, with one descriptor per pair of queues, IFF_VNET_HDR and a header of 12 bytes. A frame is
 * one read straight into the guest's buffers or one write straight from them.
 *
 * The kernel spreads flows over the descriptors that are attached, so those of queues that the guest does not use are
 * detached, or their frames would wait for ever. Both ioctls (TUNSETQUEUE, TUNSETOFFLOAD) are rows of hv/lock_rows.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices/net.h"
#include "domain/error.h"

#define CAN (NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN)
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20                 /* Linux 6.2 */
#define TUN_F_USO6 0x40
#endif
G_STATIC_ASSERT(NET_CSUM == TUN_F_CSUM && NET_TSO4 == TUN_F_TSO4 && NET_TSO6 == TUN_F_TSO6 && NET_ECN == TUN_F_TSO_ECN &&
	NET_UFO == TUN_F_UFO && NET_USO4 == TUN_F_USO4 && NET_USO6 == TUN_F_USO6);

struct tap {
	struct net net;
	struct tap_queue {
		struct tap *tap;
		unsigned index;
		struct loop_fd watch;   /* .fd -1: none */
	} queue[NET_QUEUES_MAX];
	unsigned used;                  /* queues attached */
};

static void on_event(void *arg, uint32_t events)
{
	struct tap_queue *t = arg;
	struct net *n = &t->tap->net;

	if (events & (EPOLLERR | EPOLLHUP)) {
		/* detached, or the interface was removed from under us: no event but this will come */
		loop_fd_remove(&t->watch);
		if (!t->index)
			net_set_linked(n, false);
		return;
	}
	if (events & EPOLLIN)
		n->front->readable(n->front_arg, t->index);
	if (events & EPOLLOUT && n->queue[t->index].wishes & NET_TX)
		n->front->writable(n->front_arg, t->index);
}

static void tap_want(struct net *n, unsigned q, unsigned wishes)
{
	struct tap_queue *t = &((struct tap *)n)->queue[q];
	uint32_t events = (wishes & NET_RX ? EPOLLIN : 0) | (wishes & NET_TX ? EPOLLOUT : 0);
	g_autoptr(GError) err = NULL;

	if (!events) {
		loop_fd_remove(&t->watch);
		return;
	}
	if (t->watch.loop) {
		loop_fd_set(&t->watch, events);
		return;
	}
	t->watch.events = events;
	if (!loop_fd_add(n->queue[q].loop, &t->watch, &err))
		g_debug("tap: %s", err->message);
}

/* Frames of one piece, the usual case, need no list of pieces to be copied and checked; and the calls themselves, for libc's
 * are cancellation points, which takes as long as entering the kernel. */
static ssize_t get(int fd, const struct iovec *iov, unsigned n)
{
	if (n == 1)
		return syscall(SYS_read, fd, iov->iov_base, iov->iov_len);
	return syscall(SYS_readv, fd, iov, (int)n);
}

static ssize_t put(int fd, const struct iovec *iov, unsigned n)
{
	if (n == 1)
		return syscall(SYS_write, fd, iov->iov_base, iov->iov_len);
	return syscall(SYS_writev, fd, iov, (int)n);
}

/* The whole frame must fit: the kernel cuts without a word, but tells the length that it had. */
static ssize_t tap_recv(struct net *n, unsigned q, const struct iovec *iov, unsigned iov_n)
{
	const struct tap_queue *t = &((struct tap *)n)->queue[q];
	ssize_t got;

	do
		got = get(t->watch.fd, iov, iov_n);
	while (got < 0 && errno == EINTR);
	if (got >= 0)
		return got;
	return errno == EBADFD || errno == EIO ? -EAGAIN : -errno;      /* down for now */
}

static ssize_t tap_send(struct net *n, unsigned q, const struct iovec *iov, unsigned iov_n)
{
	const struct tap_queue *t = &((struct tap *)n)->queue[q];
	ssize_t done;

	do
		done = put(t->watch.fd, iov, iov_n);
	while (done < 0 && errno == EINTR);
	return done < 0 ? -errno : done;
}

/* The kernel takes some only together. */
static int tap_offload(struct net *n, unsigned offloads)
{
	const struct tap *t = (const struct tap *)n;
	const unsigned uso = NET_USO4 | NET_USO6;

	if (!(offloads & (NET_TSO4 | NET_TSO6)))
		offloads &= ~(unsigned)NET_ECN;
	if ((offloads & uso) != uso)
		offloads &= ~uso;
	return ioctl(t->queue[0].watch.fd, TUNSETOFFLOAD, (unsigned long)offloads) < 0 ? -errno : 0;
}

static int attach(const struct tap *t, unsigned q, bool on)
{
	struct ifreq ifr = { .ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };

	return ioctl(t->queue[q].watch.fd, TUNSETQUEUE, &ifr) < 0 ? -errno : 0;
}

static int tap_use(struct net *n, unsigned queues)
{
	struct tap *t = (struct tap *)n;
	int rc = 0;

	while (t->used < queues && !(rc = attach(t, t->used, true)))
		t->used++;
	while (t->used > queues && !(rc = attach(t, t->used - 1, false)))
		t->used--;
	return rc;
}

static unsigned offloads_of(int fd)
{
	static const unsigned more[] = { NET_USO4 | NET_USO6, NET_UFO };
	unsigned can = CAN;

	if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)can) < 0)
		return 0;
	for (size_t i = 0; i < G_N_ELEMENTS(more); i++)
		if (!ioctl(fd, TUNSETOFFLOAD, (unsigned long)(can | more[i])))
			can |= more[i];
	(void)ioctl(fd, TUNSETOFFLOAD, 0ul);
	return can;
}

static bool tap_open(struct net *n, const void *config, struct fdset *fds, GError **err)
{
	const struct net_fd_config *c = config;
	struct tap *t = (struct tap *)n;

	for (unsigned q = 0; q < n->queues; q++)
		t->queue[q] = (struct tap_queue){ t, q, { .fd = -1, .fn = on_event, .arg = &t->queue[q] } };
	for (unsigned q = 0; q < n->queues; q++) {
		g_autofree char *name = g_strdup_printf(IFACE_FD_NAME, c->alias ? c->alias : "", q);
		int fd = fdset_take(fds, name, err), flags;

		if (fd < 0)
			return false;
		t->queue[q].watch.fd = fd;
		flags = fcntl(fd, F_GETFL);
		if (flags < 0 || (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
			return kerr_errno(err, errno, "descriptor '%s'", name);
	}
	t->used = n->queues;
	n->header = NET_HEADER;
	n->can = offloads_of(t->queue[0].watch.fd);
	return true;
}

static void unwatch(void *arg)
{
	loop_fd_remove(&((struct tap_queue *)arg)->watch);
}

static void tap_close(struct net *n)
{
	struct tap *t = (struct tap *)n;

	for (unsigned q = 0; q < n->queues; q++) {
		if (t->queue[q].watch.fd < 0)
			continue;
		loop_call(n->queue[q].loop, unwatch, &t->queue[q]);
		close(t->queue[q].watch.fd);
	}
}

const struct net_ops net_tap_ops = {
	.name = "tap", .size = sizeof(struct tap), .leaf = true, .open = tap_open, .close = tap_close, .recv = tap_recv,
	.send = tap_send, .want = tap_want, .offload = tap_offload, .use = tap_use,
};
