/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/devices/virtio_blk_rig.h"

#include "devices/block_driver.h"
#include "devices/block_mem.h"
#include "tests/fake/driver.h"

void pattern(uint8_t *p, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (uint8_t)((i >> 9) * 7 + i + seed);
}

struct place *place_new(const struct disk *config, const struct block_options *options, bool can_grow)
{
	struct place *p = g_new0(struct place, 1);
	GError *err = NULL;

	p->f = fake_vm();
	p->host = p->hosts[0] = block_host_new(p->f->loop, NULL, p->f->clock, NULL);
	p->f->vm.block_hosts = p->hosts;
	fake_add(p->f, "pci-host", NULL);
	p->config = *config;
	p->config.target.dev = (char *)"vda";
	pattern(p->image, DISK, 3);

	struct block_mem_config mem = { .size = DISK, .max = can_grow ? 2 * DISK : 0, .data = p->image, .data_n = DISK };
	struct block_fault_config fault = { &p->fault };
	struct block_throttle_config { const struct iotune *limits; } throttle = { &p->config.iotune };
	struct block_row rows[] = { { "throttle", &throttle }, { "fault", &fault }, { "mem", &mem } };

	p->chain = block_open(p->host, rows, G_N_ELEMENTS(rows), options, p->f->fds, &err);
	g_assert_no_error(err);
	p->dev = device_new(&p->f->vm, device_type("virtio-blk"), "disk0", &p->config);
	virtio_blk_give(p->dev, p->chain);
	g_assert_true(virtio_blk_chain(p->dev) == p->chain);
	g_assert_true(device_realize(p->dev, p->f->fds, &err));
	g_assert_no_error(err);
	return p;
}

void open_driver(struct place *p, uint64_t features)
{
	unsigned n = MAX(p->config.driver.queues, 1u);

	vdrv_open(&p->d, p->f, p->dev, features, true);
	for (unsigned i = 0; i < n; i++)
		vdrv_queue(&p->d, i, 16);
	vdrv_go(&p->d);
}

struct place *simple(void)
{
	struct place *p = place_new(&(struct disk){ .serial = (char *)"a serial number that is too long" },
		&(struct block_options){ .align = 512 }, false);

	open_driver(p, ALL);
	return p;
}

void place_free(struct place *p)
{
	fake_free(p->f);
	block_host_free(p->host);
	g_free(p);
}

void put(struct place *p, uint64_t at, const void *data, size_t n)
{
	g_assert_true(ram_write(&p->f->vm.ram, at, data, n));
}

uint8_t status(struct place *p, unsigned slot)
{
	uint8_t s;

	g_assert_true(ram_read(&p->f->vm.ram, STATUS + slot, &s, 1));
	return s;
}

void header(struct place *p, unsigned slot, uint32_t type, uint64_t sector)
{
	struct { uint32_t type, zero; uint64_t sector; } h = { type, 0, sector };

	put(p, HEADER + 16 * slot, &h, 16);
	put(p, STATUS + slot, &(uint8_t){ UNTOUCHED }, 1);
}

void begin(struct place *p, unsigned queue, unsigned slot, uint32_t type, uint64_t sector, uint64_t at, uint32_t n)
{
	bool out = type == OUT || type == DISCARD || type == ZEROES;
	struct vseg s[3] = { { HEADER + 16 * slot, 16 }, { at, n }, { STATUS + slot, 1 } };

	header(p, slot, type, sector);
	if (!n)
		s[1] = s[2];
	g_assert_true(vring_add(&p->d.rings[queue], s, out && n ? 2 : 1, n ? (out ? 1 : 2) : 1, GUINT_TO_POINTER(slot + 1)));
	vdrv_kick(&p->d, queue);
}

bool ended(struct place *p, unsigned queue, uint32_t *len)
{
	uint32_t dummy;

	return vring_take(&p->d.rings[queue], len ? len : &dummy);
}

uint8_t ask(struct place *p, uint32_t type, uint64_t sector, uint64_t at, uint32_t n)
{
	begin(p, 0, 0, type, sector, at, n);
	g_assert_true(ended(p, 0, NULL));
	return status(p, 0);
}

const uint8_t *disk(struct place *p)
{
	struct block *b = p->chain;
	uint64_t n;

	while (b->lower)
		b = b->lower;
	return block_mem_data(b, &n);
}

void range(struct place *p, unsigned i, uint64_t sector, uint32_t n, uint32_t flags)
{
	struct { uint64_t sector; uint32_t n, flags; } r = { sector, n, flags };

	put(p, DATA + 16 * i, &r, 16);
}

void fail(struct place *p, enum block_op op, int error, uint64_t times)
{
	p->fault.fail_ops = 1u << op;
	p->fault.nth = 1;
	p->fault.times = times;
	p->fault.error = error;
}
