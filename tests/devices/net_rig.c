/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network card with a network in memory behind it and a driver in plain memory before it. */
#include "tests/devices/net_rig.h"

#include <string.h>

#include "tests/fake/driver.h"

void rig_open(struct rig *r, const char *more)
{
	g_autofree char *json = g_strdup_printf("{'type':'null'," CARD_MAC ",'alias':'net0'%s%s}", *more ? "," : "", more);

	*r = (struct rig){ .f = fake_vm(), .pairs = 1, .rx_size = 2048 };
	fake_add(r->f, "pci-host", NULL);
	r->dev = fake_add(r->f, "virtio-net", json);
	r->net = virtio_net_backend(r->dev);
	r->leaf = net_mem_leaf(r->net);
	net_mem_keep(r->leaf, true);
}

void give_buffer(struct rig *r, unsigned pair, unsigned i)
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

void drive(struct rig *r, uint64_t features, unsigned buffers)
{
	vdrv_open(&r->d, r->f, r->dev, features, true);
	setup(r, buffers);
}

void rig_close(struct rig *r)
{
	fake_free(r->f);
}

void guest_send(struct rig *r, unsigned pair, const void *frame, size_t n, unsigned cut)
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

void assert_sent(struct rig *r, unsigned pair, const void *frame, size_t n)
{
	GByteArray *got = net_mem_take(r->leaf, pair);
	size_t header = net_header(r->net);

	g_assert_nonnull(got);
	g_assert_cmpmem(got->data + header, got->len - header, frame, n);
	g_byte_array_unref(got);
}

ssize_t guest_take(struct rig *r, unsigned pair, uint8_t *to, struct net_header *h)
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

bool host_send(struct rig *r, unsigned pair, const void *frame, size_t n, const struct net_header *h)
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

void frame_fill(uint8_t *f, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		f[i] = (uint8_t)(seed * 17 + i * 5 + (i >> 8));
	memcpy(f, own, 6);
	f[12] = 8;
	f[13] = 0;
}

void assert_taken(struct rig *r, unsigned pair, const uint8_t *frame, size_t n)
{
	static uint8_t got[70000];
	struct net_header h;

	g_assert_cmpint(guest_take(r, pair, got, &h), ==, n);
	g_assert_cmpmem(got, n, frame, n);
	g_assert_cmpuint(h.gso_type, ==, 0);
}

void assert_none(struct rig *r, unsigned pair)
{
	static uint8_t got[70000];
	struct net_header h;

	g_assert_cmpint(guest_take(r, pair, got, &h), ==, -1);
}

uint8_t control(struct rig *r, uint8_t class, uint8_t cmd, const void *data, size_t n)
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

uint64_t space(struct rig *r, unsigned offset, unsigned size)
{
	return drv_mmio_read(r->f, r->d.space + offset, size);
}

bool passes(struct rig *r, const uint8_t to[6], int vlan)
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

void assert_rarp(struct rig *r, const uint8_t mac[6])
{
	uint8_t want[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3 };

	memcpy(want + 6, mac, 6);
	memcpy(want + 22, mac, 6);
	memcpy(want + 32, mac, 6);
	assert_sent(r, 0, want, sizeof want);
}
