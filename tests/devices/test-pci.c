/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI: config space by ports and ECAM, BARs, MSI-X, INTx, function level reset, saving; on a device of our own and virtio-rng. */
#include <string.h>

#include "devices/list.h"
#include "devices/pci.h"
#include "domain/error.h"
#include "domain/rng.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_driver.h"

#define ECAM 0xe0000000ull
#define WINDOW 0xc0000000ull

/* --- a device with two BARs --- */

struct card {
	struct pci_device head;
	unsigned flrs, moves, masters;
	uint32_t reg;
};

static uint64_t card_read(struct device *d, uint64_t offset, unsigned size)
{
	return offset ? 0x1000 + offset : ((struct card *)d)->reg;
}

static void card_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	if (!offset)
		((struct card *)d)->reg = (uint32_t)value;
}

static const struct region_ops card_regs = { .read = card_read, .write = card_write };

static void card_flr(struct pci *p)
{
	((struct card *)p->dev)->flrs++;
}

static void card_moved(struct pci *p, unsigned bar)
{
	((struct card *)p->dev)->moves++;
}

static void card_master(struct pci *p, bool on)
{
	((struct card *)p->dev)->masters++;
}

static const struct pci_ops card_pci = { .flr = card_flr, .moved = card_moved, .master = card_master };
static const struct pci_ids card_ids = { .vendor = 0x1234, .device = 0x5678, .subvendor = 0x9abc, .subdevice = 0xdef0,
	.class = 0x058000, .revision = 7 };

static bool card_realize(struct device *d, struct fdset *fds, GError **err)
{
	struct pci_device *p = (struct pci_device *)d;

	if (!pci_init(p, &card_pci, &card_ids, d->config, err) || !pci_add_bar(&p->pci, 0, 0x4000, true, &card_regs, err) ||
	    !pci_add_bar(&p->pci, 2, 0x1000, false, &card_regs, err))
		return false;
	pci_add_msix(&p->pci, 3, 0, 0x2000);
	pci_add_express(&p->pci);
	return pci_add_intx(&p->pci, 1, err) && pci_map(&p->pci, err);
}

static void card_unrealize(struct device *d)
{
	pci_finish(pci_of(d));
}

static void card_reset(struct device *d)
{
	pci_reset(pci_of(d));
}

static void card_pre_save(void *obj)
{
	pci_pre_save(&((struct card *)obj)->head.pci);
}

static bool card_post_load(void *obj, GError **err)
{
	return pci_post_load(&((struct card *)obj)->head.pci, err);
}

static const struct field card_fields[] = { PCI_STATE_ROWS(struct card, head.pci), END };
static const struct schema card_state = { .name = "card", .doc = "a card", .version = 1, .size = sizeof(struct card),
	.fields = card_fields, .pre_save = card_pre_save, .post_load = card_post_load };
static const struct device_ops card_ops = { .name = "card", .doc = "a card of the test", .size = sizeof(struct card),
	.state = &card_state, .realize = card_realize, .unrealize = card_unrealize, .reset = card_reset };

static struct card *add_card(struct fake *f, const char *id, struct address *a, GError **err)
{
	struct device *d = device_new(&f->vm, &card_ops, id, a);

	if (device_realize(d, f->fds, err))
		return (struct card *)d;
	device_free(d);
	return NULL;
}

static struct fake *machine(struct card **c)
{
	struct fake *f = fake_vm();

	fake_add(f, "pci-host", NULL);
	*c = add_card(f, "card", &(struct address){ .type = ADDRESS_PCI, .slot = 5, .function = 0 }, NULL);
	g_assert_nonnull(*c);
	return f;
}

static void cf8(struct fake *f, unsigned slot, unsigned fn, unsigned reg)
{
	drv_out(f, 0xcf8, 4, 0x80000000u | slot << 11 | fn << 8 | (reg & 0xfc));
}

static uint32_t rd(struct fake *f, unsigned slot, unsigned reg, unsigned size)
{
	cf8(f, slot, 0, reg);
	return (uint32_t)drv_in(f, (uint16_t)(0xcfc + (reg & 3)), size);
}

static void wr(struct fake *f, unsigned slot, unsigned reg, unsigned size, uint32_t v)
{
	cf8(f, slot, 0, reg);
	drv_out(f, (uint16_t)(0xcfc + (reg & 3)), size, v);
}

/* --- config space --- */

static void test_config(void)
{
	struct card *c;
	struct fake *f = machine(&c);

	g_assert_cmphex(rd(f, 0, 0, 4), ==, 0x00081b36);
	g_assert_cmphex(rd(f, 0, 8, 4), ==, 0x06000000);
	g_assert_cmphex(rd(f, 0, 14, 1), ==, 0);
	g_assert_cmphex(rd(f, 5, 0, 4), ==, 0x56781234);
	g_assert_cmphex(rd(f, 5, 2, 2), ==, 0x5678);
	g_assert_cmphex(rd(f, 5, 1, 1), ==, 0x12);
	g_assert_cmphex(rd(f, 5, 8, 4), ==, 0x05800007);
	g_assert_cmphex(rd(f, 5, 0x2c, 4), ==, 0xdef09abc);
	g_assert_cmphex(rd(f, 5, 0x3d, 1), ==, 2);
	/* nobody there: all ones */
	g_assert_cmphex(rd(f, 6, 0, 4), ==, 0xffffffff);
	cf8(f, 5, 1, 0);
	g_assert_cmphex(drv_in(f, 0xcfc, 4), ==, 0xffffffff);
	/* another bus, or the enable bit off */
	drv_out(f, 0xcf8, 4, 0x80010000u | 5 << 11);
	g_assert_cmphex(drv_in(f, 0xcfc, 4), ==, 0xffffffff);
	drv_out(f, 0xcf8, 4, 5 << 11);
	g_assert_cmphex(drv_in(f, 0xcfc, 4), ==, 0xffffffff);
	/* narrow accesses to the address port are not for us */
	cf8(f, 5, 0, 0x10);
	drv_out(f, 0xcf9, 1, 0x06);
	g_assert_cmphex(drv_in(f, 0xcf8, 4), ==, 0x80000000u | 5 << 11 | 0x10);
	/* ECAM shows the same, and zero behind it */
	for (unsigned reg = 0; reg < 256; reg += 4)
		g_assert_cmphex(drv_mmio_read(f, ECAM + (5 << 15) + reg, 4), ==, rd(f, 5, reg, 4));
	g_assert_cmphex(drv_mmio_read(f, ECAM + (5 << 15) + 0x100, 4), ==, 0);
	g_assert_cmphex(drv_mmio_read(f, ECAM + (5 << 15), 8), ==, 0x0010000056781234ull);
	g_assert_cmphex(drv_mmio_read(f, ECAM + (7 << 15), 4), ==, 0xffffffff);
	/* read-only stays so; by any width */
	for (unsigned i = 0; i < 3; i++) {
		wr(f, 5, 0, 1u << i, 0xffffffff);
		wr(f, 5, 8, 1u << i, 0xffffffff);
		wr(f, 5, 0x34, 1u << i, 0xffffffff);
	}
	g_assert_cmphex(rd(f, 5, 0, 4), ==, 0x56781234);
	g_assert_cmphex(rd(f, 5, 0x34, 1), ==, 0x40);
	wr(f, 5, 0x3c, 1, 0x5a);
	g_assert_cmphex(rd(f, 5, 0x3c, 4), ==, 0x0000025a);
	fake_free(f);
}

/* Each capability once, none reaching into another. */
static void test_caps(void)
{
	struct card *c;
	struct fake *f = machine(&c);
	unsigned at = rd(f, 5, 0x34, 1), seen = 0;

	g_assert_true(rd(f, 5, 6, 2) & 0x10);
	for (; at; at = rd(f, 5, at + 1, 1)) {
		unsigned id = rd(f, 5, at, 1);

		g_assert_cmpuint(at & 3, ==, 0);
		g_assert_cmpuint(at, >=, 0x40);
		g_assert_cmpuint(++seen, <, 10);
		g_assert_true(id == 0x10 || id == 0x11);
	}
	g_assert_cmpuint(seen, ==, 2);
	fake_free(f);
}

/* --- BARs --- */

static bool answers(struct fake *f, uint64_t at)
{
	return drv_mmio_read(f, at + 4, 4) == 0x1004;
}

static void test_bars(void)
{
	struct card *c;
	struct fake *f = machine(&c);

	g_assert_cmphex(rd(f, 5, 0x10, 4), ==, WINDOW | 4);
	g_assert_cmphex(rd(f, 5, 0x14, 4), ==, 0);
	g_assert_cmphex(rd(f, 5, 0x18, 4), ==, WINDOW + 0x4000);
	g_assert_cmphex(rd(f, 5, 0x1c, 4), ==, 0);
	g_assert_false(answers(f, WINDOW));
	/* sizing, with decoding on, as guests do it all the same */
	wr(f, 5, 4, 2, 2);
	g_assert_true(answers(f, WINDOW));
	g_assert_true(answers(f, WINDOW + 0x4000));
	wr(f, 5, 0x10, 4, 0xffffffff);
	g_assert_cmphex(rd(f, 5, 0x10, 4), ==, 0xffffc004);
	wr(f, 5, 0x14, 4, 0xffffffff);
	g_assert_cmphex(rd(f, 5, 0x14, 4), ==, 0xffffffff);
	g_assert_false(answers(f, WINDOW));
	g_assert_cmpuint(c->head.dev.guest_errors, ==, 0);
	wr(f, 5, 0x18, 4, 0xffffffff);
	g_assert_cmphex(rd(f, 5, 0x18, 4), ==, 0xfffff000);
	wr(f, 5, 0x1c, 4, 0xffffffff);
	g_assert_cmphex(rd(f, 5, 0x1c, 4), ==, 0);
	/* above 4 GiB */
	wr(f, 5, 0x10, 4, 0x40000000);
	wr(f, 5, 0x14, 4, 0x12);
	g_assert_true(answers(f, 0x1240000000ull));
	wr(f, 5, 0x18, 4, 0xd0000000);
	g_assert_true(answers(f, 0xd0000000));
	/* moved byte by byte */
	wr(f, 5, 0x1b, 1, 0xd1);
	g_assert_true(answers(f, 0xd1000000));
	g_assert_false(answers(f, 0xd0000000));
	/* off and on */
	wr(f, 5, 4, 2, 0);
	g_assert_false(answers(f, 0xd1000000));
	wr(f, 5, 4, 4, 2);
	g_assert_true(answers(f, 0xd1000000));
	g_assert_true(answers(f, 0x1240000000ull));
	drv_mmio_write(f, 0xd1000000, 4, 0xcafe);
	g_assert_cmphex(drv_mmio_read(f, 0x1240000000ull, 2), ==, 0xcafe);
	/* a machine's reset brings them home */
	devices_reset(&f->vm);
	g_assert_cmphex(rd(f, 5, 0x10, 4), ==, WINDOW | 4);
	g_assert_cmphex(rd(f, 5, 0x14, 4), ==, 0);
	g_assert_cmphex(rd(f, 5, 4, 2), ==, 0);
	fake_free(f);
}

static void test_bad_bars(void)
{
	struct card *c, *d;
	struct fake *f = machine(&c);
	static const uint64_t bad[] = { 0, 0x1000, 0x80000, FAKE_RAM - 0x1000, ECAM, ECAM + (5 << 15), UINT64_MAX & ~0x3fffull,
		1ull << 52, 0xfffffffffff00000ull };

	d = add_card(f, "other", NULL, NULL);
	g_assert_cmpuint(d->head.pci.slot, ==, 1);
	wr(f, 1, 4, 2, 2);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		wr(f, 5, 4, 2, 0);
		wr(f, 5, 0x10, 4, (uint32_t)bad[i]);
		wr(f, 5, 0x14, 4, (uint32_t)(bad[i] >> 32));
		wr(f, 5, 4, 2, 2);
		g_assert_null(c->head.pci.bars[0].region.bus);
		g_assert_nonnull(c->head.pci.bars[2].region.bus);
	}
	g_assert_cmpuint(c->head.dev.guest_errors, >, 0);
	/* over another device: that one stays where it is */
	wr(f, 5, 0x10, 4, (uint32_t)d->head.pci.bars[0].home);
	wr(f, 5, 0x14, 4, 0);
	g_assert_null(c->head.pci.bars[0].region.bus);
	g_assert_true(answers(f, d->head.pci.bars[0].home));
	/* the other goes away: next time it fits */
	wr(f, 1, 4, 2, 0);
	g_assert_false(answers(f, d->head.pci.bars[0].home));
	wr(f, 5, 4, 2, 2);
	g_assert_true(answers(f, d->head.pci.bars[0].home));
	fake_free(f);
}

/* --- places on the bus --- */

static void test_places(void)
{
	struct card *c, *d;
	struct fake *f = machine(&c);
	GError *err = NULL;
	static const struct address bad[] = {
		{ .type = ADDRESS_PCI, .slot = 32 }, { .type = ADDRESS_PCI, .slot = 3, .function = 8 },
		{ .type = ADDRESS_PCI, .bus = 1, .slot = 3 }, { .type = ADDRESS_PCI, .domain = 1, .slot = 3 },
	};
	struct address fn1 = { .type = ADDRESS_PCI, .slot = 5, .function = 1 };

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_assert_null(add_card(f, "bad", (struct address *)&bad[i], &err));
		g_assert_error(err, kerr_quark(), KERR_ARGS);
		g_clear_error(&err);
	}
	g_assert_null(add_card(f, "bad", &(struct address){ .type = ADDRESS_PCI, .slot = 5 }, &err));
	g_assert_error(err, kerr_quark(), KERR_BUSY);
	g_assert_nonnull(strstr(err->message, "card"));
	g_clear_error(&err);
	g_assert_null(add_card(f, "bad", &(struct address){ .type = ADDRESS_PCI, .slot = 0 }, NULL));
	d = add_card(f, "fn1", &fn1, NULL);
	cf8(f, 5, 1, 0);
	g_assert_cmphex(drv_in(f, 0xcfc, 4), ==, 0x56781234);
	/* goes and comes: its addresses are free again */
	for (unsigned i = 0; i < 50; i++) {
		uint64_t home = d->head.pci.bars[0].home;

		device_free(&d->head.dev);
		cf8(f, 5, 1, 0);
		g_assert_cmphex(drv_in(f, 0xcfc, 4), ==, 0xffffffff);
		d = add_card(f, "fn1", &fn1, NULL);
		g_assert_cmphex(d->head.pci.bars[0].home, ==, home);
	}
	/* all slots */
	for (unsigned i = 1; i < 32; i++) {
		g_autofree char *id = g_strdup_printf("c%u", i);

		if (i != 5)
			g_assert_nonnull(add_card(f, id, NULL, NULL));
	}
	g_assert_null(add_card(f, "bad", NULL, &err));
	g_assert_error(err, kerr_quark(), KERR_LIMIT);
	g_clear_error(&err);
	fake_free(f);
}

static void test_no_bus(void)
{
	struct fake *f = fake_vm();
	GError *err = NULL;

	g_assert_null(add_card(f, "card", NULL, &err));
	g_assert_error(err, kerr_quark(), KERR_UNSUPPORTED);
	g_error_free(err);
	fake_free(f);
}

/* --- interrupts --- */

static void test_msix(void)
{
	struct card *c;
	struct fake *f = machine(&c);
	struct pci *p = &c->head.pci;
	unsigned cap = p->msix.cap;
	uint64_t table = WINDOW + 0x2000, pba = table + 0x800;

	g_assert_cmphex(rd(f, 5, cap + 2, 2), ==, 2);
	g_assert_cmphex(rd(f, 5, cap + 4, 4), ==, 0x2000);
	wr(f, 5, 4, 2, 6);
	g_assert_cmphex(drv_mmio_read(f, table + 12, 4), ==, 1);
	for (unsigned i = 0; i < 3; i++) {
		drv_mmio_write(f, table + 16 * i, 4, 0xfee00003u);
		drv_mmio_write(f, table + 16 * i + 8, 4, 0x40 + i);
	}
	g_assert_cmphex(drv_mmio_read(f, table, 8), ==, 0xfee00000u);
	/* off: neither sent nor remembered as anything but pending until it is switched on */
	pci_msix_signal(p, 0);
	g_assert_cmpuint(f->msis, ==, 0);
	wr(f, 5, cap + 2, 2, 0x8000);
	g_assert_true(pci_msix_on(p));
	pci_msix_signal(p, 1);
	g_assert_cmpuint(f->msis, ==, 0);
	g_assert_cmphex(drv_mmio_read(f, pba, 4), ==, 2 | 1);
	drv_mmio_write(f, table + 16 + 12, 4, 0);
	g_assert_cmpuint(f->msis, ==, 1);
	g_assert_cmphex(f->msi_data, ==, 0x41);
	g_assert_cmphex(f->msi_addr, ==, 0xfee00000u);
	g_assert_cmphex(drv_mmio_read(f, pba, 4), ==, 1);
	pci_msix_signal(p, 1);
	g_assert_cmpuint(f->msis, ==, 2);
	/* all of the function masked */
	wr(f, 5, cap + 2, 2, 0xc000);
	pci_msix_signal(p, 1);
	pci_msix_signal(p, 1);
	g_assert_cmpuint(f->msis, ==, 2);
	wr(f, 5, cap + 3, 1, 0x80);
	g_assert_cmpuint(f->msis, ==, 3);
	/* no bus master: messages are writes to memory */
	wr(f, 5, 4, 2, 2);
	pci_msix_signal(p, 1);
	g_assert_cmpuint(f->msis, ==, 3);
	wr(f, 5, 4, 2, 6);
	g_assert_cmpuint(f->msis, ==, 4);
	/* bad accesses, and vectors that are not there */
	drv_mmio_write(f, table + 16, 2, 0xffff);
	drv_mmio_write(f, table + 3 * 16, 4, 0xffff);
	drv_mmio_write(f, pba, 4, 0xffff);
	g_assert_cmphex(drv_mmio_read(f, table + 3 * 16, 4), ==, 0);
	pci_msix_signal(p, 3);
	pci_msix_signal(p, 0xffff);
	g_assert_cmpuint(f->msis, ==, 4);
	g_assert_cmphex(drv_mmio_read(f, table + 2 * 16 + 8, 4), ==, 0x42);
	devices_reset(&f->vm);
	g_assert_false(pci_msix_on(p));
	fake_free(f);
}

static void test_intx(void)
{
	struct card *c;
	struct fake *f = machine(&c);
	struct pci *p = &c->head.pci;
	unsigned gsi = 16 + (5 + 1) % 4;

	pci_intx(p, true);
	g_assert_cmpint(f->level[gsi], ==, 1);
	g_assert_true(rd(f, 5, 6, 2) & 8);
	wr(f, 5, 4, 2, 0x400);
	g_assert_cmpint(f->level[gsi], ==, 0);
	g_assert_true(rd(f, 5, 6, 2) & 8);
	wr(f, 5, 4, 2, 0);
	g_assert_cmpint(f->level[gsi], ==, 1);
	pci_intx(p, false);
	g_assert_cmpint(f->level[gsi], ==, 0);
	g_assert_false(rd(f, 5, 6, 2) & 8);
	pci_intx(p, true);
	devices_reset(&f->vm);
	g_assert_cmpint(f->level[gsi], ==, 0);
	fake_free(f);
}

/* The line by resampled irqfds, which only an EOI lowers. */
static void test_intx_resampled(void)
{
	struct card *c, *neighbour, *gone;
	struct fake *f = fake_vm(), *g = fake_vm();
	unsigned gsi = 16 + (5 + 1) % 4, cap;
	struct pci *p;
	GByteArray *state = g_byte_array_new();
	const uint8_t *at;
	size_t n;
	GError *err = NULL;

	f->resamples = g->resamples = true;
	fake_add(f, "pci-host", NULL);
	fake_add(g, "pci-host", NULL);
	c = add_card(f, "card", &(struct address){ .type = ADDRESS_PCI, .slot = 5 }, NULL);
	neighbour = add_card(f, "neighbour", &(struct address){ .type = ADDRESS_PCI, .slot = 9 }, NULL);
	p = &c->head.pci;
	cap = p->msix.cap;
	pci_intx(p, true);
	g_assert_true(fake_line(f, gsi));
	g_assert_true(rd(f, 5, 6, 2) & 8);
	/* the driver forbids it: the interrupt on its way finds nothing, and none comes after it */
	wr(f, 5, 4, 2, 0x400);
	fake_eoi(f, gsi);
	fake_step(f);
	g_assert_false(fake_line(f, gsi));
	g_assert_true(rd(f, 5, 6, 2) & 8);
	wr(f, 5, 4, 2, 0);
	g_assert_true(fake_line(f, gsi));
	/* messages instead: the line must not be held beside them, and comes back without them */
	wr(f, 5, cap + 2, 2, 0x8000);
	fake_eoi(f, gsi);
	fake_step(f);
	g_assert_false(fake_line(f, gsi));
	wr(f, 5, cap + 2, 2, 0);
	g_assert_true(fake_line(f, gsi));
	/* with the line up: saved and loaded elsewhere; the EOI comes there */
	pci_intx(&neighbour->head.pci, true);
	gone = add_card(f, "gone", &(struct address){ .type = ADDRESS_PCI, .slot = 13 }, NULL);
	pci_intx(&gone->head.pci, true);
	device_free(&gone->head.dev);
	devices_save(&f->vm, state);
	add_card(g, "card", &(struct address){ .type = ADDRESS_PCI, .slot = 5 }, NULL);
	add_card(g, "neighbour", &(struct address){ .type = ADDRESS_PCI, .slot = 9 }, NULL);
	at = state->data;
	n = state->len;
	g_assert_true(devices_load(&g->vm, &at, &n, &err));
	g_assert_no_error(err);
	irqs_sync(&g->vm);
	g_assert_false(fake_line(g, gsi));      /* a card's level is its own state: it says so */
	pci_intx(pci_of(device_find(&g->vm, "neighbour")), true);
	g_assert_true(fake_line(g, gsi));
	pci_intx(pci_of(device_find(&g->vm, "neighbour")), false);
	fake_eoi(g, gsi);
	fake_step(g);
	g_assert_false(fake_line(g, gsi));
	/* hot-unplug with the line up: it stays up for the other one only */
	device_free(&c->head.dev);
	fake_eoi(f, gsi);
	fake_step(f);
	g_assert_true(fake_line(f, gsi));
	/* reset with the line up */
	devices_reset(&f->vm);
	irqs_sync(&f->vm);
	g_assert_false(fake_line(f, gsi));
	g_byte_array_unref(state);
	fake_free(f);
	fake_free(g);
}

static void test_flr(void)
{
	struct card *c;
	struct fake *f = machine(&c);
	unsigned cap = c->head.pci.express;

	g_assert_true(rd(f, 5, cap + 4, 4) & 1u << 28);
	wr(f, 5, 4, 2, 6);
	wr(f, 5, 0x3c, 1, 11);
	wr(f, 5, cap + 8, 2, 0x0010);
	g_assert_cmpuint(c->flrs, ==, 0);
	wr(f, 5, cap + 8, 2, 0x8010);
	g_assert_cmpuint(c->flrs, ==, 1);
	g_assert_cmphex(rd(f, 5, 4, 2), ==, 0);
	g_assert_cmphex(rd(f, 5, 0x3c, 1), ==, 0);
	g_assert_cmphex(rd(f, 5, cap + 8, 2) & 0x8000, ==, 0);
	wr(f, 5, cap + 9, 1, 0x80);
	g_assert_cmpuint(c->flrs, ==, 2);
	wr(f, 5, cap + 8, 4, 0x00008000);
	g_assert_cmpuint(c->flrs, ==, 3);
	fake_free(f);
}

/* --- saving --- */

static void test_move(void)
{
	struct card *a, *b;
	struct fake *f = machine(&a), *g = machine(&b);
	GByteArray *state;
	const uint8_t *p;
	size_t n;
	GError *err = NULL;

	wr(f, 5, 0x10, 4, 0xd0000000);
	wr(f, 5, 4, 2, 0x406);
	drv_mmio_write(f, 0xd0002000, 4, 0xfee01000u);
	drv_mmio_write(f, 0xd0002008, 4, 0x55);
	wr(f, 5, a->head.pci.msix.cap + 2, 2, 0x8000);
	pci_msix_signal(&a->head.pci, 0);
	state = g_byte_array_new();
	devices_save(&f->vm, state);
	p = state->data;
	n = state->len;
	g_assert_true(devices_load(&g->vm, &p, &n, &err));
	g_assert_no_error(err);
	g_assert_true(answers(g, 0xd0000000));
	for (unsigned reg = 0; reg < 256; reg += 4)
		g_assert_cmphex(rd(g, 5, reg, 4), ==, rd(f, 5, reg, 4));
	g_assert_cmphex(drv_mmio_read(g, 0xd0002800, 4), ==, 1);
	drv_mmio_write(g, 0xd000200c, 4, 0);
	g_assert_cmpuint(g->msis, ==, 1);
	g_assert_cmphex(g->msi_data, ==, 0x55);
	g_byte_array_unref(state);
	fake_free(f);
	fake_free(g);
}

/* Any access anywhere: no harm, and the neighbours keep working. */
static void test_hostile(void)
{
	struct card *c, *other;
	struct fake *f = machine(&c);
	GRand *r = g_rand_new_with_seed(4);
	unsigned rounds = g_getenv("KVMD_LONG") ? 1000000 : 100000;

	other = add_card(f, "other", NULL, NULL);
	for (unsigned i = 0; i < rounds; i++) {
		unsigned size = 1u << g_rand_int_range(r, 0, 4), slot = g_rand_boolean(r) ? 5 : (unsigned)g_rand_int_range(r, 0, 32);
		uint32_t v = g_rand_boolean(r) ? g_rand_int(r) : g_rand_boolean(r) ? 0xffffffff : (uint32_t)g_rand_int_range(r, 0, 8);

		switch (g_rand_int_range(r, 0, 5)) {
		case 0:
			drv_out(f, (uint16_t)(0xcf8 + g_rand_int_range(r, 0, 8)), size, v);
			break;
		case 1:
			drv_mmio_write(f, ECAM + slot * 0x8000ull + (unsigned)g_rand_int_range(r, 0, 0x108), size, v);
			break;
		case 2:
			(void)drv_mmio_read(f, ECAM + slot * 0x8000ull + (unsigned)g_rand_int_range(r, 0, 0x1010), size);
			break;
		case 3:
			if (c->head.pci.bars[0].region.bus)
				drv_mmio_write(f, c->head.pci.bars[0].region.base + (unsigned)g_rand_int_range(r, 0x1ff0, 0x2820), size, v);
			break;
		default:
			pci_msix_signal(&c->head.pci, (unsigned)g_rand_int_range(r, 0, 5));
			break;
		}
	}
	g_assert_cmpuint(other->head.dev.state, ==, DEVICE_REALIZED);
	devices_reset(&f->vm);
	wr(f, 1, 4, 2, 2);
	g_assert_true(answers(f, other->head.pci.bars[0].home));
	g_rand_free(r);
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pci/config", test_config);
	g_test_add_func("/pci/caps", test_caps);
	g_test_add_func("/pci/bars", test_bars);
	g_test_add_func("/pci/bad-bars", test_bad_bars);
	g_test_add_func("/pci/places", test_places);
	g_test_add_func("/pci/no-bus", test_no_bus);
	g_test_add_func("/pci/msix", test_msix);
	g_test_add_func("/pci/intx", test_intx);
	g_test_add_func("/pci/intx-resampled", test_intx_resampled);
	g_test_add_func("/pci/flr", test_flr);
	g_test_add_func("/pci/move", test_move);
	g_test_add_func("/pci/hostile", test_hostile);
	return g_test_run();
}
