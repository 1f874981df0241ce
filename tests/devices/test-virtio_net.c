/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network card: every feature, by a driver in plain memory on one side and a network in memory on the other. */
#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/virtio_pci.h"
#include "domain/error.h"
#include "tests/devices/net_rig.h"
#include "tests/fake/driver.h"

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

	/* no feature without the one it needs */
	rig_open(&r, "'driver':{'host':{'tso4':'off'},'guest':{'tso4':'off','tso6':'off'}}");
	vdrv_open(&r.d, r.f, r.dev, 0, true);
	g_assert_cmphex(r.d.offered & (NET_F_HOST_ECN | NET_F_GUEST_ECN), ==, NET_F_HOST_ECN);
	rig_close(&r);
	rig_open(&r, "'driver':{'host':{'tso4':'off','tso6':'off'}}");
	vdrv_open(&r.d, r.f, r.dev, 0, true);
	g_assert_cmphex(r.d.offered & (NET_F_HOST_ECN | NET_F_GUEST_ECN), ==, NET_F_GUEST_ECN);
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

	/* sizes of either direction; the control queue has none of its own */
	rig_open(&r, "'driver':{'queues':2,'rx_queue_size':1024,'tx_queue_size':512}");
	drive(&r, ALL & ~PACKED, 2);
	vdrv_reset(&r.d);
	for (unsigned q = 0; q < 5; q++) {
		vdrv_common_write(&r.d, COMMON_QUEUE_SELECT, 2, q);
		g_assert_cmpuint(vdrv_common(&r.d, COMMON_QUEUE_SIZE, 2), ==, q == 4 ? 256 : q & 1 ? 512 : 1024);
	}
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
	/* announce: the guest is asked, and need not be awake for the switches to know */
	for (unsigned i = 0; i < 3; i++) {
		g_assert_true(virtio_net_announce(r.dev));
		assert_rarp(&r, own);
		g_assert_cmpuint(space(&r, 6, 2), ==, NET_STATUS_LINK_UP | NET_STATUS_ANNOUNCE);
	}
	g_assert_cmpuint(control(&r, 3, 0, NULL, 0), ==, 0);
	g_assert_cmpuint(space(&r, 6, 2), ==, NET_STATUS_LINK_UP);
	/* by command */
	virtio_net_set_link(r.dev, false);
	g_assert_false(virtio_net_is_linked(r.dev));
	g_assert_cmpuint(space(&r, 6, 2), ==, 0);
	g_assert_false(virtio_net_announce(r.dev));
	virtio_net_set_link(r.dev, true);
	g_assert_true(virtio_net_is_linked(r.dev));
	g_assert_cmpuint(space(&r, 6, 2), ==, NET_STATUS_LINK_UP);
	rig_close(&r);
}

/* A guest that cannot announce itself: only a RARP frame goes out in its name, with the address it has set. */
static void test_rarp(void)
{
	static const uint8_t mac[6] = { 2, 9, 8, 7, 6, 5 };
	struct rig r;

	rig_open(&r, "");
	drive(&r, ALL & ~PACKED & ~NET_F_GUEST_ANNOUNCE, 4);
	g_assert_cmpuint(control(&r, 1, 1, mac, 6), ==, 0);
	g_assert_true(virtio_net_announce(r.dev));
	assert_rarp(&r, mac);
	g_assert_cmpuint(space(&r, 6, 2), ==, NET_STATUS_LINK_UP);
	net_mem_link(r.leaf, false);
	g_assert_false(virtio_net_announce(r.dev));
	g_assert_null(net_mem_take(r.leaf, 0));
	rig_close(&r);
}

/* What the guest set is told. */
static void test_filter_told(void)
{
	static const uint8_t tables[] = { 1, 0, 0, 0, 2, 0, 0, 0, 0, 9, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 7 };
	uint8_t off = 0, on = 1;
	uint16_t vlan = 300;
	struct virtio_net_filter f;
	struct rig r;

	rig_open(&r, "");
	drive(&r, ALL & ~PACKED, 4);
	virtio_net_filter(r.dev, &f);
	g_assert_true(f.promisc && f.broadcast && f.multicast == VIRTIO_NET_RX_NORMAL);
	g_assert_cmpint(memcmp(f.mac, own, 6), ==, 0);
	g_assert_cmpuint(control(&r, 0, 0, &off, 1), ==, 0);
	g_assert_cmpuint(control(&r, 0, 1, &on, 1), ==, 0);
	g_assert_cmpuint(control(&r, 0, 4, &on, 1), ==, 0);
	g_assert_cmpuint(control(&r, 1, 0, tables, sizeof tables), ==, 0);
	g_assert_cmpuint(control(&r, 2, 0, &vlan, 2), ==, 0);
	virtio_net_filter(r.dev, &f);
	g_assert_true(!f.promisc && f.multicast == VIRTIO_NET_RX_ALL && f.unicast == VIRTIO_NET_RX_NONE && f.vlan == VIRTIO_NET_RX_NORMAL);
	g_assert_cmpuint(f.uni_n, ==, 1);
	g_assert_cmpuint(f.multi_n, ==, 1);
	g_assert_cmpuint(f.uni[0][5], ==, 9);
	g_assert_cmpuint(f.multi[0][5], ==, 7);
	g_assert_cmpuint(f.vlans[300 / 8], ==, 1u << 300 % 8);
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
	g_test_add_func("/virtio-net/rarp", test_rarp);
	g_test_add_func("/virtio-net/filter-told", test_filter_told);
	g_test_add_func("/virtio-net/full", test_full);
	g_test_add_func("/virtio-net/stream", test_stream);
	return g_test_run();
}
