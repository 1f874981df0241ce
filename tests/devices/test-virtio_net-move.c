/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The network card paused, saved and loaded, with traffic on both sides; state that does not fit. */
#include <string.h>

#include "domain/error.h"
#include "tests/devices/net_rig.h"
#include "tests/fake/driver.h"

/* State and memory into a machine of its own, which goes on with the same driver. */
static void move(struct rig *from, struct rig *to, const char *more)
{
	GByteArray *state;
	g_autoptr(GError) err = NULL;

	fake_pause(from->f);
	state = fake_save(from->dev);
	rig_open(to, more);
	memcpy(to->f->vm.ram.pieces[0].host, from->f->vm.ram.pieces[0].host, FAKE_RAM);
	memcpy(to->f->vm.ram.dirty, from->f->vm.ram.dirty, FAKE_RAM / 4096 / 8);
	fake_pause(to->f);
	(void)fake_load(to->dev, state, &err);
	g_assert_no_error(err);
	g_byte_array_unref(state);
	to->d = from->d;
	vdrv_move(&to->d, to->f);
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
		assert_rarp(&b, other);
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
	g_assert_false(fake_load(b.dev, state, &err));
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

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/virtio-net/pause", test_pause);
	g_test_add_func("/virtio-net/move", test_move);
	g_test_add_func("/virtio-net/bad-state", test_bad_state);
	return g_test_run();
}
