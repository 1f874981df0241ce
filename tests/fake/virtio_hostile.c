/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Plays a hostile guest. Pure noise seldom gets past the first check, so now and then a driver sets the device up properly
 * and offers proper requests; between these, everything a guest can write is written at random: descriptors that loop,
 * overlap, lie at the edges of RAM or outside, with lengths of nothing and of gigabytes, indices that jump, registers, BARs,
 * MSI-X, resets in mid-request. Pauses, saving and loading and the passing of time are mixed in.
 */
#include "tests/fake/virtio_hostile.h"

#include <string.h>

#include "devices/pci.h"
#include "devices/virtio_pci.h"
#include "domain/error.h"
#include "tests/fake/driver.h"

struct hostile {
	struct fake *f;
	struct device *dev, *bystander;
	struct vdrv d;
	unsigned queues;
	GRand *r;
	bool open;
};

unsigned vhostile_rounds(void)
{
	return g_getenv("KVMD_LONG") ? 1000000 : 100000;
}

static uint32_t upto(struct hostile *h, uint32_t n)
{
	return g_rand_int(h->r) % n;
}

static uint64_t any_value(struct hostile *h)
{
	switch (upto(h, 6)) {
	case 0: return upto(h, 4);
	case 1: return UINT64_MAX;
	case 2: return 1ull << upto(h, 64);
	case 3: return upto(h, 0x400);
	case 4: return 0x80000 + upto(h, 0x1000);
	default: return (uint64_t)g_rand_int(h->r) << 32 | g_rand_int(h->r);
	}
}

static uint64_t any_address(struct hostile *h)
{
	switch (upto(h, 8)) {
	case 0: return FAKE_RAM - upto(h, 64);
	case 1: return UINT64_MAX - upto(h, 64);
	case 2: return upto(h, 64);
	case 3: return any_value(h);
	case 4: return h->open ? h->d.rings[upto(h, MIN(h->queues, VDRV_QUEUES))].desc : 0;
	default: return upto(h, FAKE_RAM);
	}
}

static uint32_t any_length(struct hostile *h)
{
	static const uint32_t some[] = { 0, 1, 8, 16, 32, 512, 4096, 65536, FAKE_RAM, 0x7fffffff, UINT32_MAX };

	return upto(h, 2) ? some[upto(h, G_N_ELEMENTS(some))] : upto(h, 3000);
}

static void open_up(struct hostile *h)
{
	uint64_t wanted = (uint64_t)g_rand_int(h->r) << 32 | g_rand_int(h->r) | 1 << 3;     /* 3: others of the echo need it */

	if (h->dev->state != DEVICE_REALIZED)
		return;
	/* where it is after a reset, in whatever state it was left */
	device_reset(h->dev);
	fake_step(h->f);
	if (!strcmp(h->dev->ops->name, "virtio-mem"))
		wanted |= 2;            /* the promise that it wants of every driver */
	vdrv_open(&h->d, h->f, h->dev, wanted, upto(h, 4));
	for (unsigned i = 0; i < MIN(h->queues, VDRV_QUEUES); i++)
		vdrv_queue(&h->d, i, 1u << upto(h, 5));
	vdrv_go(&h->d);
	h->open = true;
}

static void proper_request(struct hostile *h)
{
	static int token;
	struct vring *r = &h->d.rings[upto(h, MIN(h->queues, VDRV_QUEUES))];
	struct vseg s[VRING_SEGS];
	unsigned n = 1 + upto(h, MIN(VRING_SEGS, r->size)), out = upto(h, n + 1);

	for (unsigned i = 0; i < n; i++) {
		uint64_t noise = any_value(h);

		s[i] = (struct vseg){ any_address(h), any_length(h) };
		if (upto(h, 40))
			s[i] = (struct vseg){ 0x80000 + upto(h, 0x70000), upto(h, 4096) };
		if (i < out)
			(void)ram_write(r->ram, s[i].addr, &noise, 8);
	}
	if (r->n_free < n) {
		r->n_free = (uint16_t)r->size;  /* whatever became of what was there */
		memset(r->taken, 0, sizeof(r->taken));
		for (unsigned i = 0; i < r->size; i++)
			r->next[i] = (uint16_t)(i + 1);
		r->free_head = 0;
	}
	if (vring_add(r, s, out, n - out, &token))
		(void)vring_wants_kick(r);
}

static void scribble(struct hostile *h)
{
	struct vring *r = &h->d.rings[upto(h, MIN(h->queues, VDRV_QUEUES))];
	uint64_t len = r->tables - r->desc + 64, v = any_value(h);
	uint64_t addr = any_address(h);
	uint32_t n = any_length(h);

	if (upto(h, 2)) {
		(void)ram_write(r->ram, r->desc + upto(h, (uint32_t)len), &v, 1u << upto(h, 4));
	} else {
		uint64_t at = r->desc + 16 * upto(h, r->size);

		(void)ram_write(r->ram, at, &addr, 8);
		(void)ram_write(r->ram, at + 8, &n, 4);
		(void)ram_write(r->ram, at + 12, &v, 4);
	}
}

static void kick(struct hostile *h)
{
	drv_mmio_write(h->f, h->d.notify + upto(h, h->queues + 2) * h->d.notify_step + !upto(h, 20), 1u << upto(h, 3), any_value(h));
	if (upto(h, 3))
		fake_step(h->f);
}

static void write_common(struct hostile *h)
{
	static const uint8_t status[] = { 0, 1, 3, 11, 15, 0x4f, 0x8f, 4, 0xff };

	if (!upto(h, 4))
		drv_mmio_write(h->f, h->d.common + COMMON_STATUS, 1, status[upto(h, G_N_ELEMENTS(status))]);
	else if (!upto(h, 4))
		drv_mmio_write(h->f, h->d.common + COMMON_QUEUE_SELECT, 2, upto(h, h->queues + 1));
	else if (!upto(h, 4))
		drv_mmio_write(h->f, h->d.common + COMMON_QUEUE_RESET, 2, 1);
	else
		drv_mmio_write(h->f, h->d.common + upto(h, COMMON_LEN + 4), 1u << upto(h, 4), any_value(h));
}

static void write_config(struct hostile *h)
{
	static const uint8_t regs[] = { 4, 5, 6, 0x10, 0x14, 0x34, 0x3c };
	unsigned offset = upto(h, 2) ? regs[upto(h, G_N_ELEMENTS(regs))] : upto(h, 256);
	uint64_t v = any_value(h);

	if (!upto(h, 3))
		v = any_address(h);
	vdrv_config_write(&h->d, offset, 1u << upto(h, 3), (uint32_t)v);
	if (upto(h, 4))         /* mostly it goes on answering */
		vdrv_config_write(&h->d, 4, 2, 6);
}

static void save_and_load(struct hostile *h)
{
	GByteArray *state;
	GError *err = NULL;

	fake_pause(h->f);
	state = fake_save(h->dev);
	if (!fake_load(h->dev, state, &err)) {
		g_assert_error(err, kerr_quark(), KERR_STATE_DATA);
		g_clear_error(&err);
		h->open = false;
	}
	g_byte_array_unref(state);
	fake_resume(h->f);
}

static void act(struct hostile *h)
{
	switch (upto(h, 16)) {
	case 0: case 1: case 2: case 3:
		proper_request(h);
		break;
	case 4: case 5:
		scribble(h);
		break;
	case 6: case 7: case 8: case 9:
		kick(h);
		break;
	case 10:
		write_common(h);
		break;
	case 11:
		if (!upto(h, 8))
			write_config(h);
		break;
	case 12:
		if (h->d.space)
			drv_mmio_write(h->f, h->d.space + upto(h, h->d.space_len + 8), 1u << upto(h, 4), any_value(h));
		break;
	case 13:
		(void)drv_mmio_read(h->f, h->d.common + upto(h, 0x3800), 1u << upto(h, 4));
		if (!upto(h, 10))
			drv_mmio_write(h->f, h->d.common + VIRTIO_BAR_MSIX + upto(h, 0x900), 4, any_value(h));
		break;
	case 14:
		fake_pass(h->f, upto(h, 2000000000));
		break;
	default:
		if (!upto(h, 20))
			save_and_load(h);
		else
			(void)drv_mmio_read(h->f, h->d.isr, 1);
		break;
	}
}

/* Another device of the machine, on the same loop, answers its driver, whatever was done to the first. (That one is reset first, for it
 * may write into any memory that a guest gave it.) */
static void check_bystander(struct hostile *h)
{
	static int token;
	const struct vseg s = { 0x80000, 64 };
	uint32_t len = 0;
	struct vdrv d;

	if (h->dev->state != DEVICE_REALIZED)
		return;
	device_reset(h->dev);
	fake_step(h->f);
	h->open = false;
	vdrv_open(&d, h->f, h->bystander, 0, true);
	vdrv_queue(&d, 0, 16);
	vdrv_go(&d);
	g_assert_true(vring_add(&d.rings[0], &s, 0, 1, &token));
	(void)vdrv_interrupts(&d, 0);
	vdrv_kick(&d, 0);
	g_assert_true(vring_take(&d.rings[0], &len) == &token);
	g_assert_cmpuint(len, ==, 64);
	g_assert_cmpuint(vdrv_interrupts(&d, 0), ==, 1);
	g_assert_cmpuint(vdrv_status(&d), ==, 15);
}

void vhostile(struct fake *f, struct device *dev, unsigned queues, unsigned rounds, uint32_t seed, void (*between)(struct fake *, GRand *))
{
	struct hostile h = { .f = f, .dev = dev, .queues = queues, .r = g_rand_new_with_seed(seed) };

	h.bystander = fake_add(f, "virtio-rng", "{'model':'virtio','backend':{'model':'builtin'}}");
	for (unsigned i = 0; i < rounds; i++) {
		if (!upto(&h, 500))
			check_bystander(&h);
		if (!h.open || !upto(&h, 60))
			open_up(&h);
		act(&h);
		if (between && !upto(&h, 30))
			between(f, h.r);
		f->requests_n = 0;
	}
	fake_step(f);
	check_bystander(&h);
	/* a driver that behaves finds it as if nothing had been */
	open_up(&h);
	g_assert_cmpuint(vdrv_status(&h.d), ==, 15);
	g_rand_free(h.r);
}
