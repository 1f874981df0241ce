/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-mem: blocks come and go by the rules, their memory goes back to the host; resets, saving; hostile guests. */
#include <string.h>

#include "devices/virtio.h"
#include "devices/virtio_mem.h"
#include "domain/error.h"
#include "domain/memdev.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_driver.h"
#include "tests/fake/virtio_hostile.h"

#define F_UNPLUGGED_INACCESSIBLE 2ull
#define MIB (1ull << 20)
#define BASE RAM_HOLE_END
#define BLOCKS 16
#define CONFIG "{'model':'virtio-mem','target':{'size':16777216,'block':1048576,'requested':4194304}}"

enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum { ACK, NACK, BUSY, ERROR_, NONE };
enum { PLUGGED, UNPLUGGED, MIXED };

static int token;

static struct fake *machine(struct device **d, struct vdrv *v)
{
	struct fake *f = fake_vm();

	fake_add(f, "pci-host", NULL);
	*d = fake_add(f, "virtio-mem", CONFIG);
	if (v) {
		vdrv_open(v, f, *d, F_UNPLUGGED_INACCESSIBLE, true);
		vdrv_queue(v, 0, 16);
		vdrv_go(v);
	}
	return f;
}

static unsigned ask(struct vdrv *d, uint16_t type, uint64_t addr, uint16_t n, unsigned *state)
{
	struct { uint16_t type, pad[3]; uint64_t addr; uint16_t n, pad2[3]; } r = { .type = type, .addr = addr, .n = n };
	struct { uint16_t type, pad[3], state; } a = { .type = 0xffff };
	struct vseg s[] = { { 0x70000, sizeof(r) }, { 0x71000, sizeof(a) } };
	uint32_t len;

	g_assert_true(ram_write(&d->f->vm.ram, 0x70000, &r, sizeof(r)) && ram_write(&d->f->vm.ram, 0x71000, &a, sizeof(a)));
	g_assert_true(vring_add(&d->rings[0], s, 1, 1, &token));
	vdrv_kick(d, 0);
	g_assert_true(vring_take(&d->rings[0], &len) == &token);
	g_assert_cmpuint(len, ==, sizeof(a));
	g_assert_true(ram_read(&d->f->vm.ram, 0x71000, &a, sizeof(a)));
	if (state)
		*state = a.state;
	return a.type;
}

static struct virtio_mem_info info(struct device *d)
{
	struct virtio_mem_info i;

	virtio_mem_info(d, &i);
	return i;
}

static unsigned changes;

static void on_change(void *arg, struct device *d)
{
	changes++;
}

static void test_blocks(void)
{
	struct device *dev;
	struct vdrv d;
	struct fake *f = machine(&dev, &d);
	unsigned state;
	uint32_t there;

	virtio_mem_set_watch(dev, on_change, NULL);
	g_assert_cmpuint(drv_mmio_read(f, d.space, 4), ==, MIB);
	g_assert_cmpuint(drv_mmio_read(f, d.space + 20, 4), ==, BASE >> 32);
	g_assert_cmpuint(drv_mmio_read(f, d.space + 24, 4), ==, 16 * MIB);
	g_assert_cmpuint(drv_mmio_read(f, d.space + 48, 4), ==, 4 * MIB);
	g_assert_cmpuint(ask(&d, STATE, BASE, 16, &state), ==, ACK);
	g_assert_cmpuint(state, ==, UNPLUGGED);
	g_assert_cmpuint(ask(&d, PLUG, BASE + 2 * MIB, 3, NULL), ==, ACK);
	g_assert_cmpuint(ask(&d, PLUG, BASE + 8 * MIB, 2, NULL), ==, NACK);
	g_assert_cmpuint(ask(&d, PLUG, BASE + 4 * MIB, 1, NULL), ==, ERROR_);
	g_assert_cmpuint(ask(&d, STATE, BASE + 2 * MIB, 3, &state), ==, ACK);
	g_assert_cmpuint(state, ==, PLUGGED);
	g_assert_cmpuint(ask(&d, STATE, BASE, 16, &state), ==, ACK);
	g_assert_cmpuint(state, ==, MIXED);
	g_assert_cmpuint(info(dev).plugged, ==, 3 * MIB);
	g_assert_cmpuint(drv_mmio_read(f, d.space + 40, 4), ==, 3 * MIB);
	g_assert_cmpuint(changes, ==, 1);
	/* what is not possible */
	g_assert_cmpuint(ask(&d, PLUG, BASE - MIB, 1, NULL), ==, ERROR_);
	g_assert_cmpuint(ask(&d, PLUG, BASE + 16 * MIB, 1, NULL), ==, ERROR_);
	g_assert_cmpuint(ask(&d, PLUG, BASE + 15 * MIB, 2, NULL), ==, ERROR_);
	g_assert_cmpuint(ask(&d, PLUG, BASE + 4096, 1, NULL), ==, ERROR_);
	g_assert_cmpuint(ask(&d, PLUG, BASE, 0, NULL), ==, ERROR_);
	g_assert_cmpuint(ask(&d, STATE, UINT64_MAX, 65535, NULL), ==, ERROR_);
	g_assert_cmpuint(ask(&d, UNPLUG, BASE + MIB, 2, NULL), ==, ERROR_);
	g_assert_cmpuint(ask(&d, 77, BASE, 1, NULL), ==, ERROR_);
	g_assert_cmpuint(info(dev).plugged, ==, 3 * MIB);
	/* the host gets it back */
	g_assert_true(ram_fill(&f->vm.ram, BASE + 2 * MIB, 0x55, 3 * MIB));
	g_assert_true(fake_resident(f, BASE + 3 * MIB));
	g_assert_cmpuint(ask(&d, UNPLUG, BASE + 3 * MIB, 1, NULL), ==, ACK);
	g_assert_false(fake_resident(f, BASE + 3 * MIB));
	g_assert_true(fake_resident(f, BASE + 2 * MIB));
	g_assert_true(ram_read(&f->vm.ram, BASE + 3 * MIB, &there, 4));
	g_assert_cmpuint(there, ==, 0);
	g_assert_cmpuint(info(dev).plugged, ==, 2 * MIB);
	g_assert_cmpuint(ask(&d, UNPLUG_ALL, 0, 0, NULL), ==, ACK);
	g_assert_cmpuint(info(dev).plugged, ==, 0);
	g_assert_false(fake_resident(f, BASE + 2 * MIB));
	g_assert_cmpuint(changes, >=, 3);
	fake_free(f);
}

static void test_request(void)
{
	struct device *dev;
	struct vdrv d;
	struct fake *f = machine(&dev, &d);
	unsigned told = f->msis_of[d.devfn][0];
	GError *err = NULL;

	g_assert_false(virtio_mem_request(dev, 17 * MIB, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	g_assert_false(virtio_mem_request(dev, MIB / 2, NULL));
	g_assert_true(virtio_mem_request(dev, 8 * MIB, NULL));
	g_assert_cmpuint(f->msis_of[d.devfn][0], ==, told + 1);
	g_assert_true(virtio_mem_request(dev, 8 * MIB, NULL));
	g_assert_cmpuint(f->msis_of[d.devfn][0], ==, told + 1);
	g_assert_cmpuint(ask(&d, PLUG, BASE, 8, NULL), ==, ACK);
	/* less than it has: it may only give */
	g_assert_true(virtio_mem_request(dev, 2 * MIB, NULL));
	g_assert_cmpuint(ask(&d, PLUG, BASE + 9 * MIB, 1, NULL), ==, NACK);
	g_assert_cmpuint(info(dev).plugged, ==, 8 * MIB);
	g_assert_true(virtio_mem_request(dev, 0, NULL));
	g_assert_cmpuint(ask(&d, UNPLUG_ALL, 0, 0, NULL), ==, ACK);
	/* nothing is usable any more */
	g_assert_cmpuint(drv_mmio_read(f, d.space + 32, 4), ==, 0);
	g_assert_cmpuint(ask(&d, STATE, BASE, 1, NULL), ==, ERROR_);
	fake_free(f);
}

/* A driver's reset keeps what is plugged, the machine's does not. */
static void test_resets(void)
{
	struct device *dev;
	struct vdrv d;
	struct fake *f = machine(&dev, &d);

	g_assert_cmpuint(ask(&d, PLUG, BASE, 4, NULL), ==, ACK);
	g_assert_true(ram_fill(&f->vm.ram, BASE, 0x55, 4 * MIB));
	vdrv_open(&d, f, dev, F_UNPLUGGED_INACCESSIBLE, true);
	g_assert_cmpuint(info(dev).plugged, ==, 4 * MIB);
	g_assert_true(fake_resident(f, BASE + MIB));
	devices_reset(&f->vm);
	g_assert_cmpuint(info(dev).plugged, ==, 0);
	g_assert_cmpuint(info(dev).requested, ==, 4 * MIB);
	g_assert_false(fake_resident(f, BASE + MIB));
	fake_free(f);
}

static void test_move(void)
{
	struct device *a, *b;
	struct vdrv d;
	struct fake *f = machine(&a, &d), *g = machine(&b, NULL);
	uint64_t to;

	g_assert_true(virtio_mem_request(a, 6 * MIB, NULL));
	g_assert_cmpuint(ask(&d, PLUG, BASE + MIB, 1, NULL), ==, ACK);
	g_assert_cmpuint(ask(&d, PLUG, BASE + 14 * MIB, 2, NULL), ==, ACK);
	fake_pause(f);
	fake_pause(g);
	fake_move(f, g);
	g_assert_cmpuint(info(b).plugged, ==, 3 * MIB);
	g_assert_cmpuint(info(b).requested, ==, 6 * MIB);
	g_assert_true(virtio_mem_is_hole(b, BASE, BASE + 16 * MIB, &to) && to == BASE + MIB);
	g_assert_false(virtio_mem_is_hole(b, BASE + MIB, BASE + 16 * MIB, &to) || to != BASE + 2 * MIB);
	g_assert_true(virtio_mem_is_hole(b, BASE + 2 * MIB, BASE + 5 * MIB, &to) && to == BASE + 5 * MIB);
	g_assert_false(virtio_mem_is_hole(b, 0, MIB, &to) || to != MIB);
	vdrv_move(&d, g);
	fake_free(f);
	fake_resume(g);
	g_assert_cmpuint(ask(&d, PLUG, BASE + 15 * MIB, 1, NULL), ==, ERROR_);
	g_assert_cmpuint(ask(&d, UNPLUG, BASE + 15 * MIB, 1, NULL), ==, ACK);
	fake_free(g);
}

static void test_refused(void)
{
	static const struct { uint64_t size, block, requested; } bad[] = {
		{ 0, MIB, 0 }, { 16 * MIB, MIB / 2, 0 }, { 16 * MIB, 3 * MIB, 0 }, { 16 * MIB + 4096, MIB, 0 }, { 16 * MIB, MIB, 17 * MIB },
		{ 16 * MIB, 2 * MIB, MIB }, { 1ull << 42, MIB, 0 }, { 1ull << 49, 1ull << 40, 0 },
	};
	struct fake *f = fake_vm();

	fake_add(f, "pci-host", NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct memdev *m = schema_new(&memdev_schema);
		GError *err = NULL;

		m->model = MEMDEV_VIRTIO_MEM;
		m->target.size = bad[i].size;
		m->target.block = bad[i].block;
		m->target.requested = bad[i].requested;
		if (fake_try(f, "virtio-mem", m, &err))
			g_error("row %u is taken", i);
		g_assert_nonnull(err);
		g_clear_error(&err);
		schema_free(&memdev_schema, m);
	}
	fake_free(f);
}

/* A driver that does not promise to leave unplugged memory alone is not taken. */
static void test_features(void)
{
	struct device *dev;
	struct fake *f = machine(&dev, NULL);
	struct vdrv d;

	vdrv_open(&d, f, dev, F_UNPLUGGED_INACCESSIBLE, true);
	g_assert_cmpuint(vdrv_status(&d) & VIRTIO_FEATURES_OK, ==, VIRTIO_FEATURES_OK);
	vdrv_common_write(&d, 0x14, 1, 0);
	fake_step(f);
	vdrv_common_write(&d, 0x14, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	vdrv_common_write(&d, 0x08, 4, 1);
	vdrv_common_write(&d, 0x0c, 4, 1);      /* VERSION_1 alone */
	vdrv_common_write(&d, 0x08, 4, 0);
	vdrv_common_write(&d, 0x0c, 4, 0);
	vdrv_common_write(&d, 0x14, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	g_assert_cmpuint(vdrv_status(&d) & VIRTIO_FEATURES_OK, ==, 0);
	fake_free(f);
}

/* Requests at random beside a model of what they should do. */
static void test_random(void)
{
	unsigned rounds = g_getenv("KVMD_LONG") ? 1000000 : 20000, blocks = 0;
	GRand *r = g_rand_new_with_seed(5);
	bool plugged[BLOCKS] = { false };
	struct device *dev;
	struct vdrv d;
	struct fake *f = machine(&dev, &d);
	uint64_t requested = 4 * MIB;

	for (unsigned i = 0; i < rounds; i++) {
		uint16_t type = (uint16_t)g_rand_int_range(r, 0, g_rand_int_range(r, 0, 50) ? 4 : 7), n = (uint16_t)g_rand_int_range(r, 0, 8);
		uint64_t block = (uint64_t)g_rand_int_range(r, 0, BLOCKS + 1), addr = BASE + block * MIB;
		unsigned want = ACK, on = 0, got, state = 0;
		bool ok = n && block + n <= BLOCKS;

		if (type == UNPLUG_ALL && g_rand_int_range(r, 0, 8))
			continue;
		if (!g_rand_int_range(r, 0, 40)) {
			addr = (uint64_t)g_rand_int(r) << 32 | g_rand_int(r);
			n = (uint16_t)g_rand_int(r);
			ok = false;
		}
		if (!g_rand_int_range(r, 0, 20)) {
			requested = (uint64_t)g_rand_int_range(r, 1, BLOCKS + 1) * MIB;
			g_assert_true(virtio_mem_request(dev, requested, NULL));
		}
		for (unsigned b = 0; ok && b < n; b++)
			on += plugged[block + b];
		if (type == UNPLUG_ALL) {
			memset(plugged, 0, sizeof(plugged));
			blocks = 0;
		} else if (!ok || type > STATE || (type == PLUG && on) || (type == UNPLUG && on != n)) {
			want = ERROR_;
		} else if (type == PLUG && (blocks + n) * MIB > requested) {
			want = NACK;
		} else if (type != STATE) {
			memset(plugged + block, type == PLUG, n);
			blocks = type == PLUG ? blocks + n : blocks - n;
		}
		got = ask(&d, type, addr, n, &state);
		if (got != want)
			g_error("round %u: request %u, block %u, %u blocks: answer %u, not %u", i, type, (unsigned)block, n, got, want);
		if (type == STATE && want == ACK)
			g_assert_cmpuint(state, ==, on == n ? PLUGGED : on ? MIXED : UNPLUGGED);
		g_assert_cmpuint(info(dev).plugged, ==, blocks * MIB);
	}
	g_rand_free(r);
	fake_free(f);
}

/* The machine's side, meanwhile. */
static void between(struct fake *f, GRand *r)
{
	(void)virtio_mem_request(device_find(&f->vm, "virtio-mem0"), (uint64_t)g_rand_int_range(r, 0, BLOCKS + 2) * MIB, NULL);
}

static void test_hostile(void)
{
	struct device *dev;
	struct fake *f = machine(&dev, NULL);

	vhostile(f, dev, 1, vhostile_rounds() / 2, 7, between);
	g_assert_cmpuint(info(device_find(&f->vm, "virtio-mem0")).plugged, <=, 16 * MIB);
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/mem/blocks", test_blocks);
	g_test_add_func("/mem/request", test_request);
	g_test_add_func("/mem/resets", test_resets);
	g_test_add_func("/mem/move", test_move);
	g_test_add_func("/mem/refused", test_refused);
	g_test_add_func("/mem/features", test_features);
	g_test_add_func("/mem/random", test_random);
	g_test_add_func("/mem/hostile", test_hostile);
	return g_test_run();
}
