/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Network back ends: memory, stream (passt's frames over a socketpair), throttle, and taps where root may make them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net.h"
#include "devices/net_mem.h"
#include "domain/error.h"

#define SECOND 1000000000ll

/* A card without a guest: counts what it is told. */
struct rig {
	struct clock *clock;
	struct loop *loop;
	struct fdset *fds;
	struct net *net;
	unsigned readable, writable, ups, downs;
	/* takes frames by itself when it is told of them */
	bool greedy;
	uint64_t got, got_frames;
};

static void on_readable(void *arg, unsigned q)
{
	struct rig *r = arg;
	static uint8_t buf[NET_FRAME_MAX];
	struct iovec v = { buf, sizeof buf };
	ssize_t n;

	r->readable++;
	while (r->greedy && (n = net_recv(r->net, q, &v, 1)) >= 0) {
		r->got += (uint64_t)n;
		r->got_frames++;
	}
}

static void on_writable(void *arg, unsigned q)
{
	((struct rig *)arg)->writable++;
}

static void on_linked(void *arg, bool up)
{
	struct rig *r = arg;

	if (up)
		r->ups++;
	else
		r->downs++;
}

static const struct net_front front = { on_readable, on_writable, on_linked };

static void rig_init(struct rig *r)
{
	*r = (struct rig){ .clock = clock_new_manual(), .fds = fdset_new() };
	r->loop = loop_new("test", r->clock);
}

static bool rig_open(struct rig *r, unsigned queues, const struct net_row *rows, unsigned n, GError **err)
{
	struct net_plan plan = { queues, &r->loop, 1, r->clock };

	r->net = net_open(&plan, rows, n, &front, r, r->fds, err);
	return r->net;
}

static void rig_finish(struct rig *r)
{
	net_close(r->net);
	fdset_free(r->fds);
	loop_free(r->loop);
	clock_free(r->clock);
}

static void step(struct rig *r)
{
	for (unsigned i = 0; i < 1000 && loop_step(r->loop, 0); i++)
		;
}

static void fill(uint8_t *to, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

/* --- memory --- */

static void test_mem(void)
{
	struct net_mem_config config = { .header = true, .keep = true, .can = NET_CSUM | NET_TSO4 };
	struct net_row row = { &net_mem_ops, &config };
	uint8_t frame[100], to[100] = { 0 };
	struct iovec v[2] = { { to, 30 }, { to + 30, 70 } };
	struct net_stats stats;
	GByteArray *sent;
	struct rig r;

	rig_init(&r);
	g_assert_true(rig_open(&r, 2, &row, 1, NULL));
	g_assert_cmpuint(net_header(r.net), ==, NET_HEADER);
	g_assert_cmpuint(net_can(r.net), ==, NET_CSUM | NET_TSO4);
	fill(frame, sizeof frame, 1);
	g_assert_true(net_mem_put(r.net, 1, frame, sizeof frame));
	g_assert_cmpuint(r.readable, ==, 0);
	g_assert_cmpint(net_recv(r.net, 0, v, 2), ==, -EAGAIN);
	g_assert_cmpint(net_recv(r.net, 1, v, 2), ==, 100);
	g_assert_cmpmem(to, 100, frame, 100);
	net_want(r.net, 1, NET_RX);
	g_assert_true(net_mem_put(r.net, 1, frame, sizeof frame));
	g_assert_cmpuint(r.readable, ==, 1);
	g_assert_cmpint(net_recv(r.net, 1, v, 1), ==, -EMSGSIZE);
	for (unsigned i = 0; i < NET_MEM_FRAMES; i++)
		g_assert_cmpint(net_send(r.net, 0, v, 2), ==, 100);
	g_assert_cmpint(net_send(r.net, 0, v, 2), ==, -EAGAIN);
	net_want(r.net, 0, NET_TX);
	sent = net_mem_take(r.net, 0);
	g_assert_cmpmem(sent->data, sent->len, frame, 100);
	g_byte_array_unref(sent);
	g_assert_cmpuint(r.writable, ==, 1);
	net_mem_fail(r.net, -EIO);
	g_assert_cmpint(net_send(r.net, 0, v, 2), ==, -EIO);
	net_stats(r.net, &stats);
	g_assert_cmpuint(stats.rx_frames, ==, 1);
	g_assert_cmpuint(stats.rx_bytes, ==, 88);
	g_assert_cmpuint(stats.rx_dropped, ==, 1);
	g_assert_cmpuint(stats.tx_frames, ==, NET_MEM_FRAMES);
	g_assert_cmpuint(stats.tx_dropped, ==, 1);
	g_assert_cmpint(net_offload(r.net, NET_UFO), ==, -EINVAL);
	g_assert_cmpint(net_offload(r.net, NET_CSUM), ==, 0);
	g_assert_cmpuint(net_mem_offloads(r.net), ==, NET_CSUM);
	g_assert_cmpint(net_use(r.net, 3), ==, -EINVAL);
	g_assert_cmpint(net_use(r.net, 0), ==, -EINVAL);
	g_assert_cmpint(net_use(r.net, 1), ==, 0);
	g_assert_cmpuint(net_mem_used(r.net), ==, 1);
	net_mem_link(r.net, false);
	g_assert_false(net_is_linked(r.net));
	g_assert_cmpuint(r.downs, ==, 1);
	rig_finish(&r);
}

static void test_bad_plan(void)
{
	struct net_row row = { &net_mem_ops };
	g_autoptr(GError) err = NULL;
	struct rig r;

	rig_init(&r);
	g_assert_false(rig_open(&r, NET_QUEUES_MAX + 1, &row, 1, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	rig_finish(&r);
}

/* --- stream --- */

static int open_stream(struct rig *r)
{
	struct net_fd_config config = { "net0" };
	struct net_row row = { &net_stream_ops, &config };
	g_autoptr(GError) err = NULL;
	int pair[2];

	rig_init(r);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	g_assert_true(fdset_add(r->fds, "net/net0/0", pair[0], NULL));
	rig_open(r, 1, &row, 1, &err);
	g_assert_no_error(err);
	g_assert_cmpuint(net_header(r->net), ==, 0);
	g_assert_cmpuint(net_can(r->net), ==, 0);
	return pair[1];
}

static void put_frame(int fd, const uint8_t *frame, uint32_t n)
{
	uint32_t prefix = htonl(n);

	g_assert_cmpint(send(fd, &prefix, 4, 0), ==, 4);
	g_assert_cmpint(send(fd, frame, n, 0), ==, n);
}

static void test_stream_in(void)
{
	static uint8_t frame[NET_FRAME_MAX], to[NET_FRAME_MAX];
	struct iovec v = { to, sizeof to }, small = { to, 20 };
	uint32_t prefix = htonl(1000);
	struct rig r;
	int fd = open_stream(&r);

	fill(frame, sizeof frame, 3);
	net_want(r.net, 0, NET_RX);
	step(&r);
	g_assert_cmpuint(r.readable, ==, 0);
	put_frame(fd, frame, 60);
	put_frame(fd, frame, 1514);
	step(&r);
	g_assert_cmpuint(r.readable, >, 0);
	g_assert_cmpint(net_recv(r.net, 0, &v, 1), ==, 60);
	g_assert_cmpmem(to, 60, frame, 60);
	/* the rest is in the buffer: nothing on the socket tells of it */
	r.readable = 0;
	net_want(r.net, 0, 0);
	net_want(r.net, 0, NET_RX);
	step(&r);
	g_assert_cmpuint(r.readable, >, 0);
	g_assert_cmpint(net_recv(r.net, 0, &v, 1), ==, 1514);
	g_assert_cmpmem(to, 1514, frame, 1514);
	g_assert_cmpint(net_recv(r.net, 0, &v, 1), ==, -EAGAIN);
	/* byte by byte */
	for (unsigned i = 0; i < 4; i++) {
		g_assert_cmpint(send(fd, (uint8_t *)&prefix + i, 1, 0), ==, 1);
		g_assert_cmpint(net_recv(r.net, 0, &v, 1), ==, -EAGAIN);
	}
	g_assert_cmpint(send(fd, frame, 999, 0), ==, 999);
	g_assert_cmpint(net_recv(r.net, 0, &v, 1), ==, -EAGAIN);
	g_assert_cmpint(send(fd, frame + 999, 1, 0), ==, 1);
	g_assert_cmpint(net_recv(r.net, 0, &v, 1), ==, 1000);
	g_assert_cmpmem(to, 1000, frame, 1000);
	/* too large for the buffers: lost, the next is not */
	put_frame(fd, frame, 100);
	put_frame(fd, frame + 1, 18);
	g_assert_cmpint(net_recv(r.net, 0, &small, 1), ==, -EMSGSIZE);
	g_assert_cmpint(net_recv(r.net, 0, &small, 1), ==, 18);
	g_assert_cmpmem(to, 18, frame + 1, 18);
	close(fd);
	rig_finish(&r);
}

/* Frames of all lengths, cut by the socket wherever it likes. */
static void test_stream_many(void)
{
	static uint8_t frame[65550], to[65550];
	struct iovec v[3] = { { to, 14 }, { to + 14, 1500 }, { to + 1514, sizeof to - 1514 } };
	unsigned sent = 0, got = 0;
	GByteArray *wire = g_byte_array_new();
	size_t at = 0;
	struct rig r;
	int fd = open_stream(&r);

	for (; sent < 300; sent++) {
		uint32_t n = sent % 10 ? 14 + sent * 7 % 1500 : sizeof frame - sent, prefix = htonl(n);

		fill(frame, n, sent);
		g_byte_array_append(wire, (uint8_t *)&prefix, 4);
		g_byte_array_append(wire, frame, n);
	}
	for (unsigned turn = 0; got < sent; turn++) {
		ssize_t n;

		g_assert_cmpuint(turn, <, 1000000);
		if (at < wire->len) {
			n = send(fd, wire->data + at, MIN(wire->len - at, 1 + turn * 7919 % 9000), MSG_DONTWAIT);
			at += n > 0 ? (size_t)n : 0;
		}
		while ((n = net_recv(r.net, 0, v, 3)) != -EAGAIN) {
			uint32_t want = got % 10 ? 14 + got * 7 % 1500 : sizeof frame - got;

			g_assert_cmpint(n, ==, want);
			fill(frame, want, got++);
			g_assert_cmpmem(to, (size_t)n, frame, want);
		}
	}
	g_byte_array_unref(wire);
	close(fd);
	rig_finish(&r);
}

static void take_exactly(int fd, uint8_t *to, size_t n, struct rig *r)
{
	while (n) {
		ssize_t got = recv(fd, to, n, MSG_DONTWAIT);

		if (got > 0) {
			to += got;
			n -= (size_t)got;
		} else {
			g_assert_cmpint(errno, ==, EAGAIN);
			step(r);
		}
	}
}

static void test_stream_out(void)
{
	static uint8_t frame[65550], got[65550];
	struct iovec v[2] = { { frame, 10 } };
	unsigned sent = 0, full = 0;
	int small = 1;
	uint32_t n;
	struct rig r;
	int fd = open_stream(&r);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	for (unsigned round = 0; round < 20; round++) {
		unsigned first = sent;

		for (;; sent++) {               /* until there is no room */
			uint32_t len = sent % 3 ? 60 + sent % 1000 : 60000 + sent % 5000;

			fill(frame, len, sent);
			v[1] = (struct iovec){ frame + 10, len - 10 };
			if (net_send(r.net, 0, v, 2) == -EAGAIN)
				break;
		}
		full++;
		net_flush(r.net, 0);
		net_want(r.net, 0, NET_TX);
		step(&r);
		r.writable = 0;
		for (unsigned i = first; i < sent; i++) {
			uint32_t len = i % 3 ? 60 + i % 1000 : 60000 + i % 5000;

			take_exactly(fd, (uint8_t *)&n, 4, &r);
			g_assert_cmpuint(ntohl(n), ==, len);
			take_exactly(fd, got, len, &r);
			fill(frame, len, i);
			g_assert_cmpmem(got, len, frame, len);
		}
		step(&r);
		g_assert_cmpuint(r.writable, >, 0);
		net_want(r.net, 0, 0);
	}
	g_assert_cmpuint(full, ==, 20);
	v[1].iov_len = 1;
	g_assert_cmpint(net_send(r.net, 0, v, 2), ==, -EMSGSIZE);
	close(fd);
	rig_finish(&r);
}

static void test_stream_gone(void)
{
	uint8_t frame[64] = { 0 };
	struct iovec v = { frame, sizeof frame };
	uint32_t nonsense = htonl(NET_FRAME_MAX + 1);
	g_autoptr(GError) err = NULL;
	struct rig r;
	int pair[2], fd = open_stream(&r);

	g_assert_true(net_is_linked(r.net));
	/* what came before the end is still read */
	put_frame(fd, frame, 60);
	close(fd);
	net_want(r.net, 0, NET_RX);
	r.greedy = true;
	step(&r);
	g_assert_cmpuint(r.got_frames, ==, 1);
	g_assert_cmpuint(r.downs, ==, 1);
	g_assert_false(net_is_linked(r.net));
	g_assert_cmpint(net_send(r.net, 0, &v, 1), ==, -ENOTCONN);
	g_assert_cmpint(net_recv(r.net, 0, &v, 1), ==, -EAGAIN);
	/* a new connection */
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	g_assert_true(net_reconnect(r.net, pair[0], &err));
	g_assert_true(net_is_linked(r.net));
	g_assert_cmpuint(r.ups, ==, 1);
	put_frame(pair[1], frame, 60);
	step(&r);
	g_assert_cmpuint(r.got_frames, ==, 2);
	/* which talks nonsense */
	g_assert_cmpint(send(pair[1], &nonsense, 4, 0), ==, 4);
	step(&r);
	g_assert_cmpuint(r.downs, ==, 2);
	close(pair[1]);
	/* not wanted: the end is seen all the same */
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	net_want(r.net, 0, 0);
	g_assert_true(net_reconnect(r.net, pair[0], &err));
	close(pair[1]);
	step(&r);
	g_assert_cmpuint(r.downs, ==, 3);
	/* a socket of another kind */
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	g_assert_false(net_reconnect(r.net, pair[0], &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	close(pair[1]);
	rig_finish(&r);
}

static void test_stream_bad(void)
{
	struct net_fd_config config = { "net0" };
	struct net_row row = { &net_stream_ops, &config };
	g_autoptr(GError) err = NULL;
	struct rig r;

	rig_init(&r);
	g_assert_false(rig_open(&r, 1, &row, 1, &err));
	g_assert_nonnull(err);
	g_clear_error(&err);
	g_assert_false(rig_open(&r, 2, &row, 1, &err));
	g_assert_error(err, kerr_quark(), KERR_UNSUPPORTED);
	rig_finish(&r);
}

/* --- throttle --- */

static void open_throttle(struct rig *r, struct bandwidth *b)
{
	struct net_throttle_config throttle = { b };
	struct net_mem_config mem = { .header = false };
	struct net_row rows[] = { { &net_throttle_ops, &throttle }, { &net_mem_ops, &mem } };

	rig_init(r);
	g_assert_true(rig_open(r, 1, rows, 2, NULL));
	r->greedy = true;
	net_want(r->net, 0, NET_RX);
}

/* Offers all that fits for so many seconds; KiB per second that came through. */
static double rate_in(struct rig *r, unsigned seconds, size_t frame)
{
	static const uint8_t data[65550];
	struct net *mem = net_mem_leaf(r->net);
	uint64_t before = r->got;

	for (unsigned ms = 0; ms < seconds * 1000; ms++) {
		for (unsigned n = 0; n < 300 && net_mem_put(mem, 0, data, frame); n++)
			;
		clock_step(r->clock, SECOND / 1000);
		step(r);
	}
	return (double)(r->got - before) / 1024 / seconds;
}

static double rate_out(struct rig *r, unsigned seconds, size_t frame)
{
	static uint8_t data[65550];
	struct iovec v = { data, frame };
	uint64_t sent = 0;

	for (unsigned ms = 0; ms < seconds * 1000; ms++) {
		while (net_send(r->net, 0, &v, 1) > 0)
			sent += frame;
		net_want(r->net, 0, NET_RX | NET_TX);
		clock_step(r->clock, SECOND / 1000);
		step(r);
	}
	return (double)sent / 1024 / seconds;
}

static void assert_near(double have, double want)
{
	if (have < want * 0.95 || have > want * 1.05)
		g_error("%.1f KiB/s, not %.1f", have, want);
}

static void test_throttle(void)
{
	struct bandwidth b = { .inbound = { .average = 2000 }, .outbound = { .average = 500 } };
	struct iface i = { 0 };
	struct rig r;

	open_throttle(&r, &b);
	(void)rate_in(&r, 1, 1514);     /* the burst that a full bucket holds */
	assert_near(rate_in(&r, 10, 1514), 2000);
	assert_near(rate_in(&r, 10, 60), 2000);
	assert_near(rate_in(&r, 20, 65000), 2000);
	(void)rate_out(&r, 1, 1514);
	assert_near(rate_out(&r, 10, 1514), 500);
	assert_near(rate_out(&r, 40, 65000), 500);
	/* another rate while it runs, and none */
	i.bandwidth = b;
	i.bandwidth.inbound.average = 8000;
	g_assert_true(net_update(r.net, &i, NULL));
	(void)rate_in(&r, 1, 1514);
	assert_near(rate_in(&r, 5, 1514), 8000);
	g_assert_cmpfloat(rate_out(&r, 1, 1514), >, 0);
	(void)rate_in(&r, 1, 1514);
	i.bandwidth.inbound.average = 0;
	r.readable = 0;
	g_assert_true(net_update(r.net, &i, NULL));
	g_assert_cmpuint(r.readable, >, 0);     /* what waited goes at once */
	g_assert_cmpfloat(rate_in(&r, 1, 1514), >, 200000);
	rig_finish(&r);
}

static void test_throttle_burst(void)
{
	struct bandwidth b = { .inbound = { .average = 1000, .peak = 4000, .burst = 6000 } };
	struct rig r;

	open_throttle(&r, &b);
	(void)rate_in(&r, 10, 1514);            /* empties it */
	assert_near(rate_in(&r, 5, 1514), 1000);
	r.greedy = false;
	clock_step(r.clock, 20 * SECOND);       /* nothing goes: it fills */
	r.greedy = true;
	/* 6000 KiB at 4000 KiB/s while 1000 KiB/s flow in: two seconds */
	assert_near(rate_in(&r, 2, 1514), 4000 + 4000 / 20.0 / 2);
	assert_near(rate_in(&r, 5, 1514), 1000);
	rig_finish(&r);
}

/* --- taps --- */

static int make_tap(const char *name, unsigned flags)
{
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags) };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), size = NET_HEADER;

	g_strlcpy(ifr.ifr_name, name, IFNAMSIZ);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		return -1;
	g_assert_cmpint(ioctl(fd, TUNSETVNETHDRSZ, &size), ==, 0);
	return fd;
}

static bool may_tap(void)
{
	int fd;

	if (geteuid() || unshare(CLONE_NEWNET)) {
		g_test_skip("taps need root and a network namespace");
		return false;
	}
	fd = make_tap("probe", 0);
	if (fd < 0) {
		g_test_skip("this host makes no taps");
		return false;
	}
	close(fd);
	return true;
}

static int packet_socket(const char *name, int *index)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(0x0003));
	struct ifreq ifr = { 0 };

	g_assert_cmpint(fd, >=, 0);
	g_strlcpy(ifr.ifr_name, name, IFNAMSIZ);
	g_assert_cmpint(ioctl(fd, SIOCGIFINDEX, &ifr), ==, 0);
	*index = ifr.ifr_ifindex;
	g_assert_cmpint(ioctl(fd, SIOCGIFFLAGS, &ifr), ==, 0);
	ifr.ifr_flags |= IFF_UP;
	g_assert_cmpint(ioctl(fd, SIOCSIFFLAGS, &ifr), ==, 0);
	return fd;
}

/* struct sockaddr_ll, whose header does not go with net/if.h's */
struct link_addr { unsigned short family; uint16_t protocol; int index; unsigned short hatype; uint8_t type, len, addr[8]; };

static void test_tap(void)
{
	struct net_fd_config config = { "net0" };
	struct net_row row = { &net_tap_ops, &config };
	g_autoptr(GError) err = NULL;
	uint8_t frame[1514], to[4096] = { 0 }, header[NET_HEADER] = { 0 };
	struct iovec in[2] = { { to, 100 }, { to + 100, sizeof to - 100 } }, out[2] = { { header, NET_HEADER }, { frame, sizeof frame } };
	struct link_addr at = { .family = AF_PACKET, .len = 6 };
	struct rig r;
	int fd[2], sock;
	bool found = false;

	if (!may_tap())
		return;
	rig_init(&r);
	for (unsigned i = 0; i < 2; i++) {
		g_autofree char *name = g_strdup_printf(IFACE_FD_NAME, "net0", i);

		fd[i] = make_tap("vnet0", IFF_MULTI_QUEUE);
		g_assert_cmpint(fd[i], >=, 0);
		g_assert_true(fdset_add(r.fds, name, fd[i], NULL));
	}
	rig_open(&r, 2, &row, 1, &err);
	g_assert_no_error(err);
	g_assert_cmpuint(net_header(r.net), ==, NET_HEADER);
	g_assert_cmpuint(net_can(r.net) & (NET_CSUM | NET_TSO4 | NET_TSO6), ==, NET_CSUM | NET_TSO4 | NET_TSO6);
	/* while it is down */
	g_assert_cmpint(net_send(r.net, 0, out, 2), <, 0);
	sock = packet_socket("vnet0", &at.index);
	/* one queue in use: everything comes there */
	g_assert_cmpint(net_use(r.net, 1), ==, 0);
	net_want(r.net, 0, NET_RX);
	fill(frame, sizeof frame, 5);
	memset(frame, 0xff, 6);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	for (unsigned i = 0; i < 8; i++) {
		frame[14] = (uint8_t)i;
		g_assert_cmpint(sendto(sock, frame, sizeof frame, 0, (struct sockaddr *)&at, sizeof at), ==, sizeof frame);
	}
	step(&r);
	g_assert_cmpuint(r.readable, >, 0);
	for (unsigned i = 0, n = 0; i < 8; n++) {
		ssize_t got = net_recv(r.net, 0, in, 2);

		g_assert_cmpuint(n, <, 100);
		g_assert_cmpint(got, >, 0);
		if (to[24] != 0x88 || to[25] != 0xb5)
			continue;       /* the host's own, IPv6 neighbours */
		g_assert_cmpint(got, ==, sizeof frame + NET_HEADER);
		g_assert_cmpuint(to[26], ==, i++);
	}
	g_assert_cmpint(net_offload(r.net, NET_CSUM | NET_TSO4 | NET_ECN), ==, 0);
	g_assert_cmpint(net_offload(r.net, NET_CSUM | NET_ECN), ==, 0);
	g_assert_cmpint(net_offload(r.net, 0), ==, 0);
	g_assert_cmpint(net_use(r.net, 2), ==, 0);
	/* and the other way */
	frame[14] = 77;
	g_assert_cmpint(net_send(r.net, 1, out, 2), ==, sizeof frame + NET_HEADER);
	for (unsigned n = 0; !found && n < 100; n++) {
		ssize_t got = recv(sock, to, sizeof to, 0);

		g_assert_cmpint(got, >, 0);
		found = got == sizeof frame && to[14] == 77 && !memcmp(to, frame, sizeof frame);
	}
	g_assert_true(found);
	close(sock);
	rig_finish(&r);
	/* gone with its descriptors */
	g_assert_cmpuint(if_nametoindex("vnet0"), ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/net/mem", test_mem);
	g_test_add_func("/net/bad-plan", test_bad_plan);
	g_test_add_func("/net/stream/in", test_stream_in);
	g_test_add_func("/net/stream/many", test_stream_many);
	g_test_add_func("/net/stream/out", test_stream_out);
	g_test_add_func("/net/stream/gone", test_stream_gone);
	g_test_add_func("/net/stream/bad", test_stream_bad);
	g_test_add_func("/net/throttle/rates", test_throttle);
	g_test_add_func("/net/throttle/burst", test_throttle_burst);
	g_test_add_func("/net/tap", test_tap);
	return g_test_run();
}
