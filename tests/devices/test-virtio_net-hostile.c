/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network card and a hostile guest: 100,000 actions, 1,000,000 with KVMD_LONG. KVMD_SEED repeats a run. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/devices/net_rig.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_hostile.h"

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
	g_test_add_func("/virtio-net/hostile/card", test_hostile);
	g_test_add_func("/virtio-net/hostile/virtio", test_hostile_virtio);
	return g_test_run();
}
