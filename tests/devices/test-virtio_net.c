/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network card, by a driver in plain memory on one side and a network in memory on the other. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/net_mem.h"
#include "devices/virtio_net.h"
#include "devices/virtio_net_card.h"
#include "domain/error.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_driver.h"
#include "tests/fake/virtio_hostile.h"

#define ALL (~0ull)
#define PACKED (1ull << 34)
#define INDIRECT (1ull << 28)
#define EVENT_IDX (1ull << 29)
#define CAN (NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_UFO | NET_USO4 | NET_USO6)
#define RX_BUFFERS 64

static const uint8_t own[6] = { 0x52, 0x54, 0, 1, 2, 3 };
#define CARD_MAC "'mac':'52:54:00:01:02:03'"

/* The back end of type='null' is a net_mem. */
struct rig {
	struct fake *f;
	struct device *dev;
	struct net *net, *leaf;
	struct vdrv d;
	unsigned pairs, rx_size;
	uint64_t rx_at[VDRV_QUEUES], tx_at, control_at;
	uint64_t buffers[VDRV_QUEUES][RX_BUFFERS];
};

static void rig_open(struct rig *r, const char *more)
{
	g_autofree char *json = g_strdup_printf("{'type':'null'," CARD_MAC ",'alias':'net0'%s%s}", *more ? "," : "", more);

	*r = (struct rig){ .f = fake_vm(), .pairs = 1, .rx_size = 2048 };
	fake_add(r->f, "pci-host", NULL);
	r->dev = fake_add(r->f, "virtio-net", json);
	r->net = virtio_net_backend(r->dev);
	r->leaf = net_mem_leaf(r->net);
	net_mem_keep(r->leaf, true);
}

static void give_buffer(struct rig *r, unsigned pair, unsigned i)
{
	struct vseg s = { r->buffers[pair][i], r->rx_size };

	g_assert_true(vring_add(&r->d.rings[2 * pair], &s, 0, 1, &r->buffers[pair][i]));
}

static void setup(struct rig *r, unsigned buffers)
{
	unsigned n = 2 * r->pairs + 1;

	for (unsigned q = 0; q < n; q++)
		vdrv_queue(&r->d, q, 64);
	r->tx_at = vdrv_alloc(&r->d, 70000);
	r->control_at = vdrv_alloc(&r->d, 2048);
	for (unsigned p = 0; p < r->pairs; p++)
		for (unsigned i = 0; i < buffers; i++) {
			r->buffers[p][i] = vdrv_alloc(&r->d, r->rx_size);
			give_buffer(r, p, i);
		}
	vdrv_go(&r->d);
	for (unsigned p = 0; p < r->pairs; p++)
		vdrv_kick(&r->d, 2 * p);
}

static void drive(struct rig *r, uint64_t features, unsigned buffers)
{
	vdrv_open(&r->d, r->f, r->dev, features, true);
	setup(r, buffers);
}

static void rig_close(struct rig *r)
{
	fake_free(r->f);
}

/* --- what the guest does --- */

static void guest_send(struct rig *r, unsigned pair, const void *frame, size_t n, unsigned cut)
{
	struct net_header h = { 0 };
	struct vring *ring = &r->d.rings[2 * pair + 1];
	struct vseg s[3] = { { r->tx_at, NET_HEADER }, { r->tx_at + NET_HEADER, (uint32_t)n } };
	unsigned parts = 2;
	uint32_t len;

	ram_write(&r->f->vm.ram, r->tx_at, &h, sizeof h);
	ram_write(&r->f->vm.ram, r->tx_at + NET_HEADER, frame, n);
	if (cut == 0) {                 /* all in one piece */
		s[0].len += (uint32_t)n;
		parts = 1;
	} else if (cut > 1) {           /* a piece that begins in the header */
		s[0].len = 7;
		s[1] = (struct vseg){ r->tx_at + 7, cut };
		s[2] = (struct vseg){ r->tx_at + 7 + cut, (uint32_t)n + 5 - cut };
		parts = 3;
	}
	g_assert_true(vring_add(ring, s, parts, 0, ring));
	vdrv_kick(&r->d, 2 * pair + 1);
	g_assert_true(vring_take(ring, &len) == ring);
}

static void assert_sent(struct rig *r, unsigned pair, const void *frame, size_t n)
{
	GByteArray *got = net_mem_take(r->leaf, pair);
	size_t header = net_header(r->net);

	g_assert_nonnull(got);
	g_assert_cmpmem(got->data + header, got->len - header, frame, n);
	g_byte_array_unref(got);
}

/* One frame from the guest's buffers, which are given again. Its bytes without header; -1: there is none. */
static ssize_t guest_take(struct rig *r, unsigned pair, uint8_t *to, struct net_header *h)
{
	struct vring *ring = &r->d.rings[2 * pair];
	unsigned left = 1;
	ssize_t n = 0;
	bool first = true;

	while (left--) {
		uint8_t buf[70000];
		uint32_t len;
		uint64_t *at = vring_take(ring, &len);

		if (!at)
			return -1;
		g_assert_cmpuint(len, <=, r->rx_size);
		g_assert_true(ram_read(&r->f->vm.ram, *at, buf, len));
		g_assert_true(fake_dirty(r->f, *at));
		if (first) {
			g_assert_cmpuint(len, >=, NET_HEADER);
			memcpy(h, buf, NET_HEADER);
			left = h->num_buffers - 1u;
			g_assert_cmpuint(h->num_buffers, >=, 1);
			memcpy(to, buf + NET_HEADER, len - NET_HEADER);
			n = len - (ssize_t)NET_HEADER;
		} else {
			memcpy(to + n, buf, len);
			n += len;
		}
		first = false;
		give_buffer(r, pair, (unsigned)(at - r->buffers[pair]));
	}
	vdrv_kick(&r->d, 2 * pair);
	return n;
}

static bool host_send(struct rig *r, unsigned pair, const void *frame, size_t n, const struct net_header *h)
{
	uint8_t buf[70000];
	size_t header = net_header(r->net);
	static const struct net_header none;
	bool ok;

	memcpy(buf, h ? h : &none, header);
	memcpy(buf + header, frame, n);
	ok = net_mem_put(r->leaf, pair, buf, header + n);
	fake_step(r->f);
	return ok;
}

static void frame_fill(uint8_t *f, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		f[i] = (uint8_t)(seed * 17 + i * 5 + (i >> 8));
	memcpy(f, own, 6);
	f[12] = 8;
	f[13] = 0;
}

static void assert_taken(struct rig *r, unsigned pair, const uint8_t *frame, size_t n)
{
	static uint8_t got[70000];
	struct net_header h;

	g_assert_cmpint(guest_take(r, pair, got, &h), ==, n);
	g_assert_cmpmem(got, n, frame, n);
	g_assert_cmpuint(h.gso_type, ==, 0);
}

static void assert_none(struct rig *r, unsigned pair)
{
	static uint8_t got[70000];
	struct net_header h;

	g_assert_cmpint(guest_take(r, pair, got, &h), ==, -1);
}

/* Class, command, data; the acknowledgement. */
static uint8_t control(struct rig *r, uint8_t class, uint8_t cmd, const void *data, size_t n)
{
	unsigned q = r->d.accepted & NET_F_MQ ? 2 * r->pairs : 2;
	struct vring *ring = &r->d.rings[q];
	uint8_t head[2] = { class, cmd }, ack = 0xee;
	struct vseg s[3] = { { r->control_at, 2 }, { r->control_at + 16, (uint32_t)n }, { r->control_at + 2000, 1 } };
	uint32_t len;

	ram_write(&r->f->vm.ram, r->control_at, head, 2);
	ram_write(&r->f->vm.ram, r->control_at + 16, data, n);
	if (!n)
		s[1] = s[2];
	g_assert_true(vring_add(ring, s, n ? 2 : 1, 1, ring));
	vdrv_kick(&r->d, q);
	fake_step(r->f);
	g_assert_true(vring_take(ring, &len) == ring);
	g_assert_cmpuint(len, ==, 1);
	ram_read(&r->f->vm.ram, r->control_at + 2000, &ack, 1);
	return ack;
}

static uint64_t space(struct rig *r, unsigned offset, unsigned size)
{
	return drv_mmio_read(r->f, r->d.space + offset, size);
}

/* --- tests --- */

static void test_config(void)
{
	struct rig r;

	rig_open(&r, "'mtu':9000,'driver':{'queues':3}");
	r.pairs = 3;
	drive(&r, ALL & ~PACKED, 2);
	for (unsigned i = 0; i < 6; i++)
		g_assert_cmpuint(space(&r, i, 1), ==, own[i]);
	g_assert_cmpuint(space(&r, 6, 2), ==, NET_STATUS_LINK_UP);
	g_assert_cmpuint(space(&r, 8, 2), ==, 3);
	g_assert_cmpuint(space(&r, 10, 2), ==, 9000);
	g_assert_cmpuint(space(&r, 12, 4), ==, 10000);
	g_assert_cmpuint(space(&r, 16, 1), ==, 1);
	g_assert_cmphex(r.d.offered & (NET_F_MQ | NET_F_MTU | NET_F_CSUM | NET_F_HOST_USO | NET_F_GUEST_USO4), ==,
		NET_F_MQ | NET_F_MTU | NET_F_CSUM | NET_F_HOST_USO | NET_F_GUEST_USO4);
	g_assert_cmphex(net_mem_offloads(r.leaf), ==, CAN);
	g_assert_cmpuint(net_mem_used(r.leaf), ==, 1);
	rig_close(&r);

	/* what the definition turns off */
	rig_open(&r, "'driver':{'event_idx':'off','host':{'csum':'off','mrg_rxbuf':'off'},'guest':{'tso4':'off','ufo':'off'}}");
	vdrv_open(&r.d, r.f, r.dev, 0, true);
	g_assert_cmphex(r.d.offered & (NET_F_CSUM | NET_F_HOST_TSO4 | NET_F_HOST_UFO | NET_F_MRG_RXBUF | EVENT_IDX | NET_F_GUEST_TSO4 |
		NET_F_GUEST_UFO | NET_F_GUEST_USO4 | NET_F_MQ | NET_F_MTU), ==, 0);
	g_assert_cmphex(r.d.offered & (NET_F_GUEST_CSUM | NET_F_GUEST_TSO6), ==, NET_F_GUEST_CSUM | NET_F_GUEST_TSO6);
	rig_close(&r);
}

static void traffic(struct rig *r)
{
	static const size_t sizes[] = { 14, 60, 61, 1500, 1514, 2000 };
	static uint8_t frame[70000];

	for (unsigned i = 0; i < 200; i++) {
		size_t n = sizes[i % G_N_ELEMENTS(sizes)];

		frame_fill(frame, n, i);
		guest_send(r, 0, frame, n, i % 3 == 2 ? MIN(9u, (unsigned)n - 3) : i % 3);
		assert_sent(r, 0, frame, n);
		g_assert_true(host_send(r, 0, frame, n, NULL));
		assert_taken(r, 0, frame, n);
	}
	assert_none(r, 0);
}

static void test_traffic(void)
{
	static const uint64_t kinds[] = { 0, INDIRECT, EVENT_IDX, INDIRECT | EVENT_IDX, PACKED, PACKED | INDIRECT | EVENT_IDX };

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
		for (unsigned merge = 0; merge < 2; merge++) {
			struct rig r;

			rig_open(&r, "'driver':{'packed':'on'}");
			drive(&r, kinds[i] | NET_F_CTRL_VQ | (merge ? NET_F_MRG_RXBUF : 0), 16);
			g_assert_cmphex(r.d.accepted & PACKED, ==, kinds[i] & PACKED);
			traffic(&r);
			g_assert_cmpuint(r.dev->guest_errors, ==, 0);
			rig_close(&r);
		}
}

/* Large frames over many small buffers; too few buffers; and a guest that cannot merge. */
static void test_merge(void)
{
	static uint8_t frame[65550];
	struct net_header tso = { .flags = NET_HDR_NEEDS_CSUM, .gso_type = NET_GSO_TCPV4, .gso_size = 1448, .csum_start = 34, .csum_offset = 16 }, h;
	static uint8_t got[70000];
	struct net_stats stats;
	struct rig r;

	rig_open(&r, "");
	r.rx_size = 1536;
	drive(&r, ALL & ~PACKED, 60);
	for (unsigned i = 0; i < 20; i++) {
		size_t n = i % 4 ? 3000 * i + 100 : sizeof frame;

		frame_fill(frame, n, i);
		g_assert_true(host_send(&r, 0, frame, n, &tso));
		g_assert_cmpint(guest_take(&r, 0, got, &h), ==, n);
		g_assert_cmpmem(got, n, frame, n);
		g_assert_cmpuint(h.num_buffers, ==, (n + NET_HEADER + 1535) / 1536);
		h.num_buffers = 0;
		g_assert_cmpmem(&h, sizeof h, &tso, sizeof tso);
	}
	rig_close(&r);

	/* 10 buffers do not hold it: it waits until there are more */
	rig_open(&r, "");
	r.rx_size = 1536;
	drive(&r, ALL & ~PACKED, 10);
	frame_fill(frame, 20000, 7);
	g_assert_true(host_send(&r, 0, frame, 20000, &tso));
	assert_none(&r, 0);
	for (unsigned i = 10; i < 20; i++) {
		r.buffers[0][i] = vdrv_alloc(&r.d, r.rx_size);
		give_buffer(&r, 0, i);
	}
	vdrv_kick(&r.d, 0);
	g_assert_cmpint(guest_take(&r, 0, got, &h), ==, 20000);
	g_assert_cmpmem(got, 20000, frame, 20000);
	rig_close(&r);

	/* no merging: a frame that is longer than the buffer is lost, the next is not */
	rig_open(&r, "");
	drive(&r, ALL & ~PACKED & ~NET_F_MRG_RXBUF, 10);
	frame_fill(frame, 4000, 7);
	g_assert_true(host_send(&r, 0, frame, 4000, &tso));
	g_assert_true(host_send(&r, 0, frame, 1000, NULL));
	assert_taken(&r, 0, frame, 1000);
	net_stats(r.net, &stats);
	g_assert_cmpuint(stats.rx_dropped, ==, 1);
	rig_close(&r);
}

/* Frames that the driver did not agree to never reach it. */
static void test_offloads(void)
{
	static uint8_t frame[2000];
	struct net_header tso = { .flags = NET_HDR_NEEDS_CSUM, .gso_type = NET_GSO_TCPV4 }, csum = { .flags = NET_HDR_NEEDS_CSUM },
		valid = { .flags = NET_HDR_DATA_VALID }, h;
	uint64_t on;
	struct rig r;

	rig_open(&r, "");
	drive(&r, NET_F_MRG_RXBUF | NET_F_CTRL_VQ | NET_F_GUEST_TSO4, 10);     /* TSO4 without CSUM is nothing */
	g_assert_cmphex(net_mem_offloads(r.leaf), ==, 0);
	frame_fill(frame, sizeof frame, 1);
	host_send(&r, 0, frame, 1000, &tso);
	host_send(&r, 0, frame, 1001, &csum);
	host_send(&r, 0, frame, 1002, &valid);
	g_assert_cmpint(guest_take(&r, 0, frame, &h), ==, 1002);
	g_assert_cmpuint(h.flags, ==, 0);
	rig_close(&r);

	rig_open(&r, "");
	drive(&r, ALL & ~PACKED & ~NET_F_GUEST_TSO6, 10);
	g_assert_cmphex(net_mem_offloads(r.leaf), ==, CAN & ~NET_TSO6);
	on = NET_F_GUEST_CSUM;
	g_assert_cmpuint(control(&r, 5, 0, &on, 8), ==, 0);
	g_assert_cmphex(net_mem_offloads(r.leaf), ==, NET_CSUM);
	host_send(&r, 0, frame, 1000, &tso);
	assert_none(&r, 0);
	on = NET_F_GUEST_CSUM | NET_F_GUEST_TSO4;
	g_assert_cmpuint(control(&r, 5, 0, &on, 8), ==, 0);
	host_send(&r, 0, frame, 1000, &tso);
	g_assert_cmpint(guest_take(&r, 0, frame, &h), ==, 1000);
	on = NET_F_GUEST_CSUM | NET_F_GUEST_TSO6;       /* was not accepted */
	g_assert_cmpuint(control(&r, 5, 0, &on, 8), ==, 1);
	on = 0;
	g_assert_cmpuint(control(&r, 5, 0, &on, 7), ==, 1);
	g_assert_cmphex(net_mem_offloads(r.leaf), ==, NET_CSUM | NET_TSO4);
	rig_close(&r);
}

static bool passes(struct rig *r, const uint8_t to[6], int vlan)
{
	static uint8_t frame[100], got[70000];
	struct net_header h;

	frame_fill(frame, sizeof frame, 3);
	memcpy(frame, to, 6);
	if (vlan >= 0) {
		frame[12] = 0x81;
		frame[14] = (uint8_t)(vlan >> 8 | 0xe0);
		frame[15] = (uint8_t)vlan;
	}
	g_assert_true(host_send(r, 0, frame, sizeof frame, NULL));
	return guest_take(r, 0, got, &h) == sizeof frame;
}

static void test_filter(void)
{
	static const uint8_t all[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff }, other[6] = { 0x52, 0x54, 0, 9, 9, 9 }, multi[6] = { 1, 0, 0x5e, 1, 2, 3 },
		multi2[6] = { 1, 0, 0x5e, 1, 2, 4 };
	struct { uint32_t n; uint8_t mac[1][6]; uint32_t m; uint8_t mac2[1][6]; } __attribute__((packed)) tables = { 1, { { 0 } }, 1, { { 0 } } };
	struct { uint32_t n; uint8_t mac[100][6]; uint32_t m; } __attribute__((packed)) many = { .n = 100 };
	uint8_t yes = 1, no = 0;
	uint16_t vlan = 77;
	struct rig r;

	rig_open(&r, "");
	drive(&r, ALL & ~PACKED, 10);
	/* before the driver speaks, everything passes */
	g_assert_true(passes(&r, own, -1) && passes(&r, other, -1) && passes(&r, multi, -1) && passes(&r, all, -1) && passes(&r, own, 5));
	g_assert_cmpuint(control(&r, 0, 0, &no, 1), ==, 0);
	g_assert_true(passes(&r, own, -1) && passes(&r, all, -1));
	g_assert_false(passes(&r, other, -1) || passes(&r, multi, -1) || passes(&r, own, 5));
	g_assert_cmpuint(control(&r, 0, 1, &yes, 1), ==, 0);            /* allmulti */
	g_assert_true(passes(&r, multi, -1));
	g_assert_cmpuint(control(&r, 0, 1, &no, 1), ==, 0);
	g_assert_cmpuint(control(&r, 0, 2, &yes, 1), ==, 0);            /* alluni */
	g_assert_true(passes(&r, other, -1) && !passes(&r, multi, -1));
	g_assert_cmpuint(control(&r, 0, 4, &yes, 1), ==, 0);            /* nouni */
	g_assert_false(passes(&r, own, -1));
	g_assert_cmpuint(control(&r, 0, 4, &no, 1), ==, 0);
	g_assert_cmpuint(control(&r, 0, 2, &no, 1), ==, 0);
	g_assert_cmpuint(control(&r, 0, 5, &yes, 1), ==, 0);            /* nobcast */
	g_assert_false(passes(&r, all, -1));
	g_assert_cmpuint(control(&r, 0, 5, &no, 1), ==, 0);
	memcpy(tables.mac[0], other, 6);
	memcpy(tables.mac2[0], multi, 6);
	g_assert_cmpuint(control(&r, 1, 0, &tables, sizeof tables), ==, 0);
	g_assert_true(passes(&r, own, -1) && passes(&r, other, -1) && passes(&r, multi, -1) && !passes(&r, multi2, -1));
	g_assert_cmpuint(control(&r, 0, 3, &yes, 1), ==, 0);            /* nomulti */
	g_assert_false(passes(&r, multi, -1));
	g_assert_cmpuint(control(&r, 0, 3, &no, 1), ==, 0);
	/* a table that is too large lets all pass */
	g_assert_cmpuint(control(&r, 1, 0, &many, sizeof many), ==, 0);
	g_assert_true(passes(&r, other, -1) && !passes(&r, multi, -1));
	/* nonsense changes nothing */
	many.n = 101;
	g_assert_cmpuint(control(&r, 1, 0, &many, sizeof many), ==, 1);
	g_assert_cmpuint(control(&r, 1, 0, &many, 3), ==, 1);
	g_assert_cmpuint(control(&r, 0, 6, &yes, 1), ==, 1);
	g_assert_cmpuint(control(&r, 0, 0, NULL, 0), ==, 1);
	g_assert_cmpuint(control(&r, 9, 0, &yes, 1), ==, 1);
	g_assert_true(passes(&r, other, -1));
	/* VLANs */
	g_assert_false(passes(&r, own, 77));
	g_assert_cmpuint(control(&r, 2, 0, &vlan, 2), ==, 0);
	g_assert_true(passes(&r, own, 77) && !passes(&r, own, 78));
	g_assert_cmpuint(control(&r, 2, 1, &vlan, 2), ==, 0);
	g_assert_false(passes(&r, own, 77));
	vlan = 4096;
	g_assert_cmpuint(control(&r, 2, 0, &vlan, 2), ==, 1);
	/* another address */
	g_assert_cmpuint(control(&r, 1, 0, &(struct { uint32_t a, b; }){ 0, 0 }, 8), ==, 0);
	g_assert_false(passes(&r, other, -1));
	g_assert_cmpuint(control(&r, 1, 1, other, 6), ==, 0);
	g_assert_true(passes(&r, other, -1) && !passes(&r, own, -1));
	g_assert_cmpuint(space(&r, 5, 1), ==, 9);
	g_assert_cmpuint(control(&r, 1, 1, other, 5), ==, 1);
	/* a reset forgets all of it */
	vdrv_reset(&r.d);
	drive(&r, ALL & ~PACKED, 10);
	g_assert_true(passes(&r, own, -1) && passes(&r, multi, -1));
	g_assert_cmpuint(space(&r, 5, 1), ==, 3);
	rig_close(&r);
}

static void test_pairs(void)
{
	static uint8_t frame[1000];
	uint16_t n = 3;
	struct rig r;

	rig_open(&r, "'driver':{'queues':4}");
	r.pairs = 4;
	drive(&r, ALL & ~PACKED, 4);
	frame_fill(frame, sizeof frame, 1);
	g_assert_cmpuint(net_mem_used(r.leaf), ==, 1);
	host_send(&r, 2, frame, 100, NULL);
	assert_none(&r, 2);                     /* not yet in use */
	g_assert_cmpuint(control(&r, 4, 0, &n, 2), ==, 0);
	g_assert_cmpuint(net_mem_used(r.leaf), ==, 3);
	assert_taken(&r, 2, frame, 100);        /* what had waited */
	for (unsigned p = 0; p < 3; p++) {
		host_send(&r, p, frame, 200 + p, NULL);
		assert_taken(&r, p, frame, 200 + p);
		guest_send(&r, p, frame, 300 + p, 1);
		assert_sent(&r, p, frame, 300 + p);
		g_assert_cmpuint(vdrv_interrupts(&r.d, 2 * p), >, 0);
	}
	n = 1;
	g_assert_cmpuint(control(&r, 4, 0, &n, 2), ==, 0);
	host_send(&r, 2, frame, 100, NULL);
	assert_none(&r, 2);
	n = 5;
	g_assert_cmpuint(control(&r, 4, 0, &n, 2), ==, 1);
	n = 0;
	g_assert_cmpuint(control(&r, 4, 0, &n, 2), ==, 1);
	g_assert_cmpuint(net_mem_used(r.leaf), ==, 1);
	rig_close(&r);

	/* a driver that knows one pair only finds its control queue at 2 */
	rig_open(&r, "'driver':{'queues':4}");
	drive(&r, ALL & ~PACKED & ~NET_F_MQ, 4);
	g_assert_cmpuint(control(&r, 0, 0, &(uint8_t){ 1 }, 1), ==, 0);
	rig_close(&r);
}

static void test_link(void)
{
	static uint8_t frame[100];
	struct iface down = { .type = IFACE_NULL, .link = LINK_DOWN }, up = { .type = IFACE_NULL };
	unsigned before;
	struct rig r;

	rig_open(&r, "");
	drive(&r, ALL & ~PACKED, 4);
	frame_fill(frame, sizeof frame, 1);
	before = r.f->msis;
	g_assert_true(r.dev->ops->update(r.dev, &down, NULL));
	fake_step(r.f);
	g_assert_cmpuint(r.f->msis, ==, before + 1);
	g_assert_cmpuint(space(&r, 6, 2), ==, 0);
	host_send(&r, 0, frame, 100, NULL);
	assert_none(&r, 0);
	guest_send(&r, 0, frame, 100, 1);
	g_assert_null(net_mem_take(r.leaf, 0));
	g_assert_true(r.dev->ops->update(r.dev, &up, NULL));
	g_assert_cmpuint(space(&r, 6, 2), ==, NET_STATUS_LINK_UP);
	assert_none(&r, 0);                     /* nothing of what came meanwhile */
	host_send(&r, 0, frame, 100, NULL);
	assert_taken(&r, 0, frame, 100);
	/* the other end goes and comes */
	net_mem_link(r.leaf, false);
	g_assert_cmpuint(space(&r, 6, 2), ==, 0);
	net_mem_link(r.leaf, true);
	g_assert_cmpuint(space(&r, 6, 2), ==, NET_STATUS_LINK_UP);
	/* announce */
	virtio_net_announce(r.dev);
	g_assert_cmpuint(space(&r, 6, 2), ==, NET_STATUS_LINK_UP | NET_STATUS_ANNOUNCE);
	g_assert_cmpuint(control(&r, 3, 0, NULL, 0), ==, 0);
	g_assert_cmpuint(space(&r, 6, 2), ==, NET_STATUS_LINK_UP);
	rig_close(&r);
}

/* A back end that is full holds the guest's frames, in order, and lets them go. */
static void test_full(void)
{
	static uint8_t frame[64];
	struct vring *ring;
	unsigned taken = 0;
	uint32_t len;
	struct rig r;

	rig_open(&r, "");
	drive(&r, ALL & ~PACKED, 4);
	ring = &r.d.rings[1];
	frame_fill(frame, sizeof frame, 1);
	for (unsigned i = 0; i < NET_MEM_FRAMES; i++)
		guest_send(&r, 0, frame, sizeof frame, 1);
	for (unsigned i = 0; i < 10; i++) {
		struct vseg s = { r.tx_at + 1000 + 100 * i, NET_HEADER + 60 };

		ram_fill(&r.f->vm.ram, s.addr, (uint8_t)i, s.len);
		g_assert_true(vring_add(ring, &s, 1, 0, ring));
	}
	vdrv_kick(&r.d, 1);
	g_assert_null(vring_take(ring, &len));
	/* saved and loaded meanwhile: the frame that was held is not lost and not sent twice */
	for (unsigned i = 0; i < NET_MEM_FRAMES + 10; i++) {
		GByteArray *got = net_mem_take(r.leaf, 0);

		fake_step(r.f);
		g_assert_nonnull(got);
		if (i >= NET_MEM_FRAMES)
			g_assert_cmpuint(got->data[40], ==, i - NET_MEM_FRAMES);
		g_byte_array_unref(got);
	}
	while (vring_take(ring, &len))
		taken++;
	g_assert_cmpuint(taken, ==, 10);
	g_assert_null(net_mem_take(r.leaf, 0));
	rig_close(&r);
}

/* --- pause, save, load --- */

/* State and memory into a machine of its own, which goes on with the same driver. */
static void move(struct rig *from, struct rig *to, const char *more)
{
	GByteArray *state;
	const uint8_t *data;
	size_t len;
	g_autoptr(GError) err = NULL;

	fake_pause(from->f);
	state = fake_save(from->dev);
	rig_open(to, more);
	memcpy(to->f->vm.ram.pieces[0].host, from->f->vm.ram.pieces[0].host, FAKE_RAM);
	memcpy(to->f->vm.ram.dirty, from->f->vm.ram.dirty, FAKE_RAM / 4096 / 8);
	fake_pause(to->f);
	data = state->data;
	len = state->len;
	device_load(to->dev, &data, &len, &err);
	g_assert_no_error(err);
	g_byte_array_unref(state);
	to->d = from->d;
	to->d.f = to->f;
	to->d.dev = to->dev;
	for (unsigned i = 0; i < VDRV_QUEUES; i++)
		if (to->d.rings[i].ram)
			to->d.rings[i].ram = &to->f->vm.ram;
	to->pairs = from->pairs;
	to->rx_size = from->rx_size;
	to->tx_at = from->tx_at;
	to->control_at = from->control_at;
	memcpy(to->buffers, from->buffers, sizeof to->buffers);
	/* tokens are places in the first rig */
	for (unsigned q = 0; q < VDRV_QUEUES; q++)
		for (unsigned i = 0; i < VRING_MAX; i++) {
			char *t = to->d.rings[q].tokens[i];

			if (t >= (char *)from && t < (char *)(from + 1))
				to->d.rings[q].tokens[i] = (char *)to + (t - (char *)from);
		}
	fake_resume(to->f);
	rig_close(from);
}

static void test_move(void)
{
	static const uint8_t other[6] = { 0x52, 0x54, 0, 9, 9, 9 };
	static const char more[] = "'driver':{'queues':2,'packed':'on'}";
	static struct rig a, b;
	static uint8_t frame[3000];
	uint16_t n = 2, vlan = 9;
	uint8_t no = 0;

	for (unsigned packed = 0; packed < 2; packed++) {
		rig_open(&a, more);
		a.pairs = 2;
		drive(&a, packed ? ALL : ALL & ~PACKED, 6);
		frame_fill(frame, sizeof frame, 1);
		g_assert_cmpuint(control(&a, 4, 0, &n, 2), ==, 0);
		g_assert_cmpuint(control(&a, 0, 0, &no, 1), ==, 0);
		g_assert_cmpuint(control(&a, 2, 0, &vlan, 2), ==, 0);
		g_assert_cmpuint(control(&a, 1, 1, other, 6), ==, 0);
		memcpy(frame, other, 6);
		for (unsigned i = 0; i < 9; i++) {      /* with chains taken beforehand */
			host_send(&a, i % 2, frame, 500 + i, NULL);
			assert_taken(&a, i % 2, frame, 500 + i);
		}
		host_send(&a, 0, frame, 2900, NULL);    /* received, not yet seen by the driver */
		move(&a, &b, more);
		g_assert_cmpuint(net_mem_used(b.leaf), ==, 2);
		g_assert_cmphex(net_mem_offloads(b.leaf), ==, CAN);
		g_assert_cmpuint(space(&b, 5, 1), ==, 9);
		g_assert_cmpuint(space(&b, 6, 2), ==, NET_STATUS_LINK_UP | NET_STATUS_ANNOUNCE);
		g_assert_cmpuint(control(&b, 3, 0, NULL, 0), ==, 0);
		assert_taken(&b, 0, frame, 2900);
		g_assert_true(passes(&b, other, -1) && !passes(&b, own, -1) && passes(&b, other, 9) && !passes(&b, other, 10));
		for (unsigned i = 0; i < 30; i++) {
			host_send(&b, i % 2, frame, 700 + i, NULL);
			assert_taken(&b, i % 2, frame, 700 + i);
			guest_send(&b, i % 2, frame, 800 + i, i % 2);
			assert_sent(&b, i % 2, frame, 800 + i);
		}
		g_assert_cmpuint(b.dev->guest_errors, ==, 0);
		rig_close(&b);
	}
}

/* Nothing moves while it is paused; what waits moves afterwards. */
static void test_pause(void)
{
	static uint8_t frame[100];
	struct vring *ring;
	uint32_t len;
	struct rig r;

	rig_open(&r, "");
	drive(&r, ALL & ~PACKED, 4);
	ring = &r.d.rings[1];
	frame_fill(frame, sizeof frame, 1);
	fake_pause(r.f);
	host_send(&r, 0, frame, sizeof frame, NULL);
	assert_none(&r, 0);
	g_assert_true(vring_add(ring, &(struct vseg){ r.tx_at, 100 }, 1, 0, ring));
	vdrv_kick(&r.d, 1);
	g_assert_null(vring_take(ring, &len));
	fake_resume(r.f);
	assert_taken(&r, 0, frame, sizeof frame);
	g_assert_true(vring_take(ring, &len) == ring);
	rig_close(&r);
}

static void test_bad_state(void)
{
	static struct rig a, b;
	g_autoptr(GError) err = NULL;
	GByteArray *state;
	const uint8_t *data;
	size_t len;

	/* fewer pairs than the state has */
	rig_open(&a, "'driver':{'queues':4}");
	a.pairs = 4;
	drive(&a, ALL & ~PACKED, 2);
	g_assert_cmpuint(control(&a, 4, 0, &(uint16_t){ 4 }, 2), ==, 0);
	fake_pause(a.f);
	state = fake_save(a.dev);
	rig_open(&b, "");
	data = state->data;
	len = state->len;
	g_assert_false(device_load(b.dev, &data, &len, &err));
	g_assert_error(err, kerr_quark(), KERR_STATE_DATA);
	/* and bytes that were changed: an error or a device that still works, never more */
	for (unsigned i = 0; i < state->len; i += 3) {
		g_autoptr(GError) bad = NULL;

		state->data[i] ^= 0x5a;
		data = state->data;
		len = state->len;
		(void)device_load(a.dev, &data, &len, &bad);
		state->data[i] ^= 0x5a;
	}
	g_byte_array_unref(state);
	rig_close(&a);
	rig_close(&b);
}

/* --- a stream behind it: passt's kind --- */

static void test_stream(void)
{
	struct fake *f = fake_vm();
	static struct rig r;
	static uint8_t frame[1514], got[1514];
	struct net_stats stats;
	g_autoptr(GError) err = NULL;
	uint32_t prefix;
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	g_assert_true(fdset_add(f->fds, "net/net0/0", pair[0], NULL));
	fake_add(f, "pci-host", NULL);
	r = (struct rig){ .f = f, .pairs = 1, .rx_size = 2048 };
	r.dev = fake_add(f, "virtio-net", "{'type':'user'," CARD_MAC ",'alias':'net0'}");
	r.net = virtio_net_backend(r.dev);
	drive(&r, ALL & ~PACKED, 8);
	g_assert_cmphex(r.d.offered & (NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_HOST_TSO4 | NET_F_CTRL_GUEST_OFFLOADS), ==, 0);
	frame_fill(frame, sizeof frame, 1);
	for (unsigned i = 0; i < 50; i++) {
		size_t n = 60 + 29 * i;

		guest_send(&r, 0, frame, n, i % 2);
		g_assert_cmpint(recv(pair[1], &prefix, 4, MSG_DONTWAIT), ==, 4);
		g_assert_cmpuint(ntohl(prefix), ==, n);
		g_assert_cmpint(recv(pair[1], got, n, MSG_DONTWAIT), ==, n);
		g_assert_cmpmem(got, n, frame, n);
		g_assert_cmpint(send(pair[1], &prefix, 4, 0), ==, 4);
		g_assert_cmpint(send(pair[1], got, n, 0), ==, n);
		fake_step(f);
		assert_taken(&r, 0, frame, n);
	}
	close(pair[1]);
	fake_step(f);
	g_assert_cmpuint(space(&r, 6, 2), ==, 0);
	guest_send(&r, 0, frame, 100, 0);       /* lost, not stuck */
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	g_assert_true(virtio_net_reconnect(r.dev, pair[0], &err));
	fake_step(f);
	g_assert_cmpuint(space(&r, 6, 2), ==, NET_STATUS_LINK_UP);
	guest_send(&r, 0, frame, 100, 0);
	g_assert_cmpint(recv(pair[1], &prefix, 4, MSG_DONTWAIT), ==, 4);
	close(pair[1]);
	net_stats(r.net, &stats);
	g_assert_cmpuint(stats.rx_frames, ==, 50);
	g_assert_cmpuint(stats.tx_frames, ==, 51);
	g_assert_cmpuint(stats.tx_dropped, ==, 1);
	fake_free(f);
}

/* --- a hostile guest --- */

static uint64_t seed;
static uint32_t rnd(uint32_t below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % below;
}

static uint64_t wild_address(void)
{
	switch (rnd(8)) {
	case 0: return (uint64_t)rnd(UINT32_MAX >> 1) << 33;
	case 1: return FAKE_RAM - rnd(64);
	case 2: return UINT64_MAX - rnd(4096);
	default: return rnd(FAKE_RAM);
	}
}

/* Descriptors, rings and indices at random, often nearly right. */
static void scribble(struct rig *r)
{
	struct vring *ring = &r->d.rings[rnd(2 * r->pairs + 1)];
	struct ram *ram = &r->f->vm.ram;
	uint64_t desc = ring->desc + 16 * rnd(ring->size), addr = rnd(3) ? rnd(FAKE_RAM - 70000) : wild_address();
	uint32_t len = rnd(4) ? rnd(3000) : rnd(2) ? rnd(200000) : (uint32_t)seed;
	uint16_t flags = (uint16_t)(rnd(8) ? rnd(4) : rnd(65536)), next = (uint16_t)(rnd(8) ? rnd(ring->size) : rnd(65536)), idx;

	(void)ram_write(ram, desc, &addr, 8);
	(void)ram_write(ram, desc + 8, &len, 4);
	(void)ram_write(ram, desc + 12, &flags, 2);
	(void)ram_write(ram, desc + 14, &next, 2);
	next = (uint16_t)rnd(ring->size);
	(void)ram_read(ram, ring->driver + 2, &idx, 2);
	(void)ram_write(ram, ring->driver + 4 + 2 * (idx % ring->size), &next, 2);
	idx = (uint16_t)(idx + (rnd(50) ? rnd(3) : rnd(65536)));
	(void)ram_write(ram, ring->driver + 2, &idx, 2);
}

/* Chains that are right in form and strange in content. */
static void strange(struct rig *r)
{
	unsigned q = rnd(2 * r->pairs), n = 1 + rnd(5);
	struct vring *ring = &r->d.rings[q];
	struct vseg s[5];

	for (unsigned i = 0; i < n; i++)
		s[i] = (struct vseg){ rnd(FAKE_RAM - 70000), rnd(4) ? 1 + rnd(2000) : rnd(3) ? rnd(20) : rnd(70000) };
	if (rnd(20))
		(void)vring_add(ring, s, q & 1 ? n : 0, q & 1 ? 0 : n, ring);
	else
		(void)vring_add(ring, s, n / 2, n - n / 2, ring);
}

static void wild_control(struct rig *r)
{
	struct vring *ring = &r->d.rings[r->d.accepted & NET_F_MQ ? 2 * r->pairs : 2];
	uint8_t bytes[64];
	struct vseg s[3] = { { r->control_at, rnd(40) + 1 }, { r->control_at + 64, rnd(200) + 1 }, { r->control_at + 512, rnd(3) + 1 } };
	uint32_t len;

	for (unsigned i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)(rnd(3) ? rnd(7) : rnd(256));
	(void)ram_write(&r->f->vm.ram, r->control_at + rnd(80), bytes, sizeof bytes);
	(void)vring_add(ring, s, rnd(3), 1, ring);
	if (vring_wants_kick(ring) || rnd(2))
		drv_mmio_write(r->f, r->d.notify + (uint64_t)(2 * r->pairs) * r->d.notify_step, 2, 2 * r->pairs);
	fake_step(r->f);
	/* a driver's view of rings that were scribbled over is of no use: only a look */
	(void)ram_read(&r->f->vm.ram, ring->device + 2, &len, 2);
}

static void wild_registers(struct rig *r)
{
	static const struct { unsigned base, span; } places[] = { { 0, 0x3c }, { 0x800, 8 }, { 0x1000, 0x40 }, { 0x2000, 0x1000 }, { 0x3000, 0x1000 } };
	unsigned p = rnd(G_N_ELEMENTS(places)), size = 1u << rnd(4);
	uint64_t at = r->d.bar + places[p].base + rnd(places[p].span);

	if (rnd(3))
		drv_mmio_write(r->f, at, size, rnd(3) ? rnd(256) : wild_address());
	else
		(void)drv_mmio_read(r->f, at, size);
	if (!rnd(20))
		vdrv_config_write(&r->d, rnd(256), 1u << rnd(3), rnd(2) ? rnd(256) : (uint32_t)seed);
}

static void revive(struct rig *r)
{
	uint64_t features = rnd(2) ? ALL : ALL & ~PACKED;

	fake_step(r->f);
	if (pci_of(r->dev)->bars[0].region.bus == NULL || rnd(200) == 0) {     /* its registers are nowhere: as a reset of the machine would */
		fake_pause(r->f);
		device_reset(r->dev);
		fake_resume(r->f);
	}
	if (!rnd(2))
		features &= ~(NET_F_MRG_RXBUF | INDIRECT);
	device_reset(r->dev);
	drive(r, features, 4);
}

static void test_hostile(void)
{
	unsigned actions = g_getenv("KVMD_LONG") ? 1000000 : 100000;
	static uint8_t frame[20000];
	struct net_stats stats;
	static struct rig r;
	struct device *rng;

	seed = g_getenv("KVMD_SEED") ? strtoull(g_getenv("KVMD_SEED"), NULL, 0) : 20240607;
	rig_open(&r, "'driver':{'queues':2,'packed':'on'}");
	net_mem_keep(r.leaf, false);
	r.pairs = 2;
	rng = fake_add(r.f, "virtio-rng", "{'model':'virtio','backend':{'model':'builtin'}}");
	g_assert_nonnull(rng);
	drive(&r, ALL & ~PACKED, 4);
	for (unsigned i = 0; i < actions; i++) {
		struct net_header h = { .gso_type = (uint8_t)(rnd(4) ? 0 : rnd(6)), .flags = (uint8_t)rnd(4) };
		unsigned q = rnd(5);

		switch (rnd(14)) {
		case 0: case 1: case 12: case 13:
			strange(&r);
			break;
		case 2: case 3:
			if (!rnd(1 + i / 64 % 4 * 20))  /* lives of all kinds, also of those in which the rings stay whole */
				scribble(&r);
			break;
		case 4: case 5: case 6:
			drv_mmio_write(r.f, r.d.notify + (uint64_t)q * r.d.notify_step, 2, q);
			fake_step(r.f);
			break;
		case 7: case 8:
			frame_fill(frame, 200, i);
			host_send(&r, rnd(2), frame, rnd(10) ? rnd(1600) : rnd(sizeof frame), &h);
			break;
		case 9:
			wild_control(&r);
			break;
		case 10:
			if (!rnd(1 + i / 256 % 4 * 20))
				wild_registers(&r);
			break;
		default:
			if (rnd(4)) {
				fake_pause(r.f);
				g_byte_array_unref(fake_save(r.dev));
				fake_resume(r.f);
			}
			break;
		}
		if (!rnd(60) || (!(r.dev->state == DEVICE_REALIZED)))
			revive(&r);
	}
	/* and after all that it works */
	revive(&r);
	device_reset(r.dev);
	net_mem_keep(r.leaf, true);
	for (unsigned q = 0; q < 2; q++)
		while (net_recv(r.leaf, q, &(struct iovec){ frame, sizeof frame }, 1) != -EAGAIN)
			;
	drive(&r, ALL & ~PACKED, 4);
	frame_fill(frame, 1000, 1);
	guest_send(&r, 0, frame, 1000, 1);
	assert_sent(&r, 0, frame, 1000);
	net_stats(r.net, &stats);
	g_test_message("%u actions, %" G_GUINT64_FORMAT " guest errors, %" G_GUINT64_FORMAT " frames in, %" G_GUINT64_FORMAT " out", actions,
		r.dev->guest_errors, stats.rx_frames, stats.tx_frames);
	g_assert_cmpuint(r.dev->guest_errors, >, 0);
	rig_close(&r);
}

/* The common one, for what all virtio devices have, with frames coming and going. */
static void come_and_go(struct fake *f, GRand *rand)
{
	struct device *dev = device_find(&f->vm, "virtio-net0");
	struct net *leaf = net_mem_leaf(virtio_net_backend(dev));
	static uint8_t frame[20000];
	GByteArray *sent;

	net_mem_put(leaf, (unsigned)g_rand_int_range(rand, 0, 2), frame, (size_t)g_rand_int_range(rand, 0, sizeof frame));
	for (unsigned q = 0; q < 2; q++)
		if ((sent = net_mem_take(leaf, q)))
			g_byte_array_unref(sent);
	if (!g_rand_int_range(rand, 0, 10))
		net_mem_link(leaf, g_rand_boolean(rand));
}

static void test_hostile_virtio(void)
{
	struct rig r;

	rig_open(&r, "'driver':{'queues':2,'packed':'on'}");
	vhostile(r.f, r.dev, 5, vhostile_rounds(), 11, come_and_go);
	rig_close(&r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtio-net/config", test_config);
	g_test_add_func("/virtio-net/traffic", test_traffic);
	g_test_add_func("/virtio-net/merge", test_merge);
	g_test_add_func("/virtio-net/offloads", test_offloads);
	g_test_add_func("/virtio-net/filter", test_filter);
	g_test_add_func("/virtio-net/pairs", test_pairs);
	g_test_add_func("/virtio-net/link", test_link);
	g_test_add_func("/virtio-net/full", test_full);
	g_test_add_func("/virtio-net/pause", test_pause);
	g_test_add_func("/virtio-net/move", test_move);
	g_test_add_func("/virtio-net/bad-state", test_bad_state);
	g_test_add_func("/virtio-net/stream", test_stream);
	g_test_add_func("/virtio-net/hostile", test_hostile);
	g_test_add_func("/virtio-net/hostile-virtio", test_hostile_virtio);
	return g_test_run();
}
