/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stream back end under load: much data both ways against a peer that reads and writes as it likes, and against one that
 * cuts the stream into frames as passt does. Two ends of a socketpair on one thread: whoever can't go on leaves the turn to
 * the other, and when neither goes on a wakeup was lost.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net.h"

#define MOST (100u << 20)       /* bytes of payload each way */
#define WHOLE 32768u            /* frames up to this must never be seen in part */
#define IDLE_MOST 10000u        /* turns without progress */
#define PREFIX 4u

enum sizes { MIXED, LARGE, SMALL };
struct sums { uint64_t bytes, frames, sum; };

struct rig {
	struct clock *clock;
	struct loop *loop;
	struct fdset *fds;
	struct net *net;
	int peer;
	uint64_t progress;              /* anything that moved */
	struct sums card_out, peer_in, peer_out, card_in;
	uint64_t seed;
	enum sizes sizes;
	/* card */
	uint8_t frame[NET_FRAME_MAX], got[NET_FRAME_MAX];
	uint32_t frame_len;             /* 0: the next is to be made */
	/* peer: unsent and unread parts of the stream */
	uint8_t out[NET_FRAME_MAX + PREFIX], in[1 << 20];
	size_t out_at, out_end, in_end;
};

static uint32_t random32(struct rig *r)
{
	r->seed ^= r->seed << 13;
	r->seed ^= r->seed >> 7;
	r->seed ^= r->seed << 17;
	return (uint32_t)(r->seed >> 16);
}

/* Depends on order and on where frames end. */
static void add(struct sums *s, const uint8_t *frame, uint32_t n)
{
	uint64_t h = s->sum ^ n, word;
	uint32_t i = 0;

	for (; i + 8 <= n; i += 8) {
		memcpy(&word, frame + i, 8);
		h = (h ^ word) * 0x100000001b3ull;
		h ^= h >> 29;
	}
	for (; i < n; i++)
		h = (h ^ frame[i]) * 0x100000001b3ull;
	s->sum = h;
	s->bytes += n;
	s->frames++;
}

/* As an acknowledgement, as Ethernet, as what Linux sends at an MTU of 65520. */
static uint32_t make(struct rig *r, uint8_t *to)
{
	uint32_t kind = r->sizes == LARGE ? 9 : random32(r) % (r->sizes == SMALL ? 7 : 10), n, word = 0;

	n = kind < 4 ? 54 + random32(r) % 20 : kind < 7 ? 14 + random32(r) % 5000 : 30000 + random32(r) % 35535;
	for (uint32_t i = 0; i + 4 <= n; i += 4) {
		word = i % 256 ? word * 1664525 + 1013904223 : random32(r);
		memcpy(to + i, &word, 4);
	}
	memset(to + n / 4 * 4, (int)n, n % 4);
	return n;
}

/* --- the card's side, as devices/virtio_net_io.c does it --- */

static void card_send(struct rig *r)
{
	bool full = false;

	for (unsigned i = 0; i < 256 && !full; i++) {
		struct iovec v[2];

		if (!r->frame_len) {
			if (r->card_out.bytes >= MOST)
				break;
			r->frame_len = make(r, r->frame);
			add(&r->card_out, r->frame, r->frame_len);
		}
		v[0] = (struct iovec){ r->frame, 14 };
		v[1] = (struct iovec){ r->frame + 14, r->frame_len - 14 };
		full = net_send(r->net, 0, v, 2) == -EAGAIN;
		if (!full) {
			r->frame_len = 0;
			r->progress++;
		}
	}
	net_flush(r->net, 0);
	net_want(r->net, 0, full ? NET_RX | NET_TX : NET_RX);
}

static void on_readable(void *arg, unsigned q)
{
	struct rig *r = arg;
	struct iovec v[2] = { { r->got, 100 }, { r->got + 100, sizeof r->got - 100 } };
	ssize_t n;

	while ((n = net_recv(r->net, q, v, 2)) != -EAGAIN) {
		g_assert_cmpint(n, >=, NET_FRAME_MIN);
		add(&r->card_in, r->got, (uint32_t)n);
		r->progress++;
	}
}

static void on_writable(void *arg, unsigned q)
{
	card_send(arg);
}

static const struct net_front front = { on_readable, on_writable };

/* --- the peer --- */

static void peer_send(struct rig *r, bool random)
{
	ssize_t n, part = 1 + random32(r) % (random32(r) % 4 ? 9000 : 7);

	if (r->out_at == r->out_end) {
		uint32_t len, prefix;

		if (r->peer_out.bytes >= MOST)
			return;
		len = make(r, r->out + PREFIX);
		prefix = htonl(len);
		memcpy(r->out, &prefix, PREFIX);
		add(&r->peer_out, r->out + PREFIX, len);
		r->out_at = 0;
		r->out_end = len + PREFIX;
	}
	n = (ssize_t)(r->out_end - r->out_at);
	if (random && n > part)
		n = part;
	n = send(r->peer, r->out + r->out_at, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n > 0) {
		r->out_at += (size_t)n;
		r->progress++;
	} else {
		g_assert_cmpint(errno, ==, EAGAIN);
	}
}

static bool peer_recv(struct rig *r, size_t most)
{
	ssize_t n = recv(r->peer, r->in + r->in_end, MIN(most, sizeof r->in - r->in_end), MSG_DONTWAIT);

	if (n <= 0) {
		g_assert_cmpint(errno, ==, EAGAIN);
		return false;
	}
	r->in_end += (size_t)n;
	r->progress++;
	return true;
}

/* Counts the whole frames in the buffer; what is left at its start is part of one. Bytes that are missing of it; 0: unknown. */
static size_t peer_parse(struct rig *r)
{
	size_t at = 0, missing = 0;
	uint32_t n;

	while (r->in_end - at >= PREFIX) {
		memcpy(&n, r->in + at, PREFIX);
		n = ntohl(n);
		g_assert_cmpuint(n, >=, NET_FRAME_MIN);
		g_assert_cmpuint(n, <=, NET_FRAME_MAX);
		if (r->in_end - at - PREFIX < n) {
			missing = n - (r->in_end - at - PREFIX);
			break;
		}
		add(&r->peer_in, r->in + at + PREFIX, n);
		at += PREFIX + n;
	}
	memmove(r->in, r->in + at, r->in_end - at);
	r->in_end -= at;
	return missing;
}

/* Short reads and writes at random; now and then it does not read for a while. */
static void peer_random(struct rig *r)
{
	if (random32(r) % 8)
		peer_send(r, true);
	if (random32(r) % 64 == 0 || r->peer_out.bytes >= MOST)
		for (unsigned i = 1 + random32(r) % 100; i && peer_recv(r, 1 + random32(r) % 9000); i--)
			(void)peer_parse(r);
}

/*
 * As passt of Debian 12: one read of what is there; of a frame that is cut, the rest must come with exactly one more, which
 * may wait; if the cut is in the length itself, it is lost. So only a frame that one buffer of the socket can't hold may be
 * cut, once, and the rest must come by itself.
 */
static void peer_passt(struct rig *r)
{
	size_t missing;

	peer_send(r, false);
	if (random32(r) % 16 && r->peer_out.bytes < MOST)
		return;
	while (peer_recv(r, sizeof r->in)) {
		missing = peer_parse(r);
		if (!missing) {
			g_assert_cmpuint(r->in_end, ==, 0);
			continue;
		}
		g_assert_cmpuint(r->in_end + missing, >, WHOLE);
		for (unsigned i = 0; !peer_recv(r, missing); i++) {
			g_assert_cmpuint(i, <, IDLE_MOST);
			(void)loop_step(r->loop, 0);
		}
		g_assert_cmpuint(peer_parse(r), ==, 0);
		g_assert_cmpuint(r->in_end, ==, 0);
	}
}

/* --- both --- */

static void rig_open(struct rig *r, int buffer)
{
	struct net_fd_config config = { "net0" };
	struct net_throttle_config none = { NULL };
	struct net_row rows[] = { { &net_throttle_ops, &none }, { &net_stream_ops, &config } };
	struct net_plan plan = { 1, &r->loop, 1, NULL };
	g_autoptr(GError) err = NULL;
	int pair[2];

	r->seed = 0x9e3779b97f4a7c15ull;
	r->clock = plan.clock = clock_new_manual();
	r->loop = loop_new("test", r->clock);
	r->fds = fdset_new();
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	for (unsigned i = 0; buffer && i < 2; i++)
		g_assert_cmpint(setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer), ==, 0);
	r->peer = pair[1];
	g_assert_true(fdset_add(r->fds, "net/net0/0", pair[0], NULL));
	r->net = net_open(&plan, rows, 2, &front, r, r->fds, &err);
	g_assert_no_error(err);
}

static void exchange(int buffer, enum sizes sizes, void (*peer)(struct rig *))
{
	struct rig *r = g_new0(struct rig, 1);
	uint64_t before = 0;
	unsigned idle = 0;

	r->sizes = sizes;
	rig_open(r, buffer);
	card_send(r);
	for (unsigned turn = 0; r->peer_in.bytes < MOST || r->card_in.bytes < MOST; turn++) {
		peer(r);
		for (unsigned i = 0; i < 4 && loop_step(r->loop, 0); i++)
			;
		/* the guest's doorbell: only when all that it had was taken; while a frame waits it has nothing to tell */
		if (!r->frame_len && turn % 3 == 0)
			card_send(r);
		idle = r->progress == before ? idle + 1 : 0;
		before = r->progress;
		if (idle > IDLE_MOST)
			g_error("nothing moves: out %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT ", in %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT,
				r->peer_in.bytes, r->card_out.bytes, r->card_in.bytes, r->peer_out.bytes);
	}
	g_assert_cmpuint(r->peer_in.frames, ==, r->card_out.frames);
	g_assert_cmphex(r->peer_in.sum, ==, r->card_out.sum);
	g_assert_cmpuint(r->card_in.frames, ==, r->peer_out.frames);
	g_assert_cmphex(r->card_in.sum, ==, r->peer_out.sum);
	net_close(r->net);
	close(r->peer);
	fdset_free(r->fds);
	loop_free(r->loop);
	clock_free(r->clock);
	g_free(r);
}

static void test_random(void)
{
	exchange(4608, MIXED, peer_random);
	exchange(0, MIXED, peer_random);
}

/* A frame that goes straight from the card and finds no room at all: nothing is kept, and still somebody must be told. */
static void test_large(void)
{
	exchange(0, LARGE, peer_random);
}

static void test_passt(void)
{
	exchange(0, MIXED, peer_passt);
	exchange(0, LARGE, peer_passt);
	exchange(0, SMALL, peer_passt);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/net-stream/large", test_large);
	g_test_add_func("/net-stream/random", test_random);
	g_test_add_func("/net-stream/passt", test_passt);
	return g_test_run();
}
