/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions: config space and BARs.
 *
 * The kernel is started without firmware, so we do what firmware would have done: each BAR has a home in the window below
 * 4 GiB, which it gets at reset. Memory decoding is off then, as on hardware. A BAR that a guest puts over RAM or over
 * another region is not mapped: a mistake of the guest that harms nobody. All ones are no address but the guest asking for
 * the size.
 */
#include "devices/pci.h"

#include <string.h>

#include "domain/error.h"
#include "hv/vm.h"
#include "hv/x86/ports.h"

#define EXPRESS_FLAGS 0x0092            /* version 2, root complex integrated endpoint */
#define EXPRESS_DEVCAP 0x10008000u      /* function level reset, role based errors */
#define EXPRESS_DEVCTL 8                /* offset in the capability */
#define EXPRESS_DEVCTL_WRITE 0x7fffu
#define EXPRESS_FLR 0x8000u
#define EXPRESS_LEN 0x3c
#define NOWHERE UINT64_MAX

static const struct pci_reg header[] = {
	{ PCI_COMMAND, 2, 0, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | 0x0140 | PCI_COMMAND_INTX_OFF, 0 },
	{ PCI_STATUS, 2, PCI_STATUS_CAPS, 0, 0xf900 },
	{ PCI_CACHE_LINE, 1, 0, 0xff, 0 },
	{ PCI_INT_LINE, 1, 0, 0xff, 0 },
};

static void put(uint8_t *at, uint32_t v, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		at[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t fetch(const uint8_t *at, unsigned size)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint32_t)at[i] << 8 * i;
	return v;
}

void pci_add_regs(struct pci *p, const struct pci_reg *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		g_assert(r[i].size <= 4 && r[i].offset + r[i].size <= PCI_CONFIG);
		put(p->first + r[i].offset, r[i].value, r[i].size);
		put(p->config + r[i].offset, r[i].value, r[i].size);
		put(p->write + r[i].offset, r[i].write, r[i].size);
		put(p->clear + r[i].offset, r[i].clear, r[i].size);
	}
}

static void add_reg(struct pci *p, unsigned offset, unsigned size, uint32_t value, uint32_t write)
{
	pci_add_regs(p, &(struct pci_reg){ (uint16_t)offset, (uint8_t)size, value, write, 0 }, 1);
}

unsigned pci_add_cap(struct pci *p, uint8_t id, const void *body, unsigned size)
{
	unsigned at = p->next_cap;
	const uint8_t *bytes = body;

	g_assert(at + 2 + size <= PCI_CONFIG);
	add_reg(p, p->last_cap ? p->last_cap + 1 : PCI_CAPS, 1, at, 0);
	add_reg(p, at, 2, id, 0);
	for (unsigned i = 0; i < size; i++)
		add_reg(p, at + 2 + i, 1, bytes[i], 0);
	p->last_cap = at;
	p->next_cap = (at + 2 + size + 3) & ~3u;
	return at;
}

void pci_add_express(struct pci *p)
{
	static const uint8_t body[EXPRESS_LEN - 2];

	p->express = pci_add_cap(p, PCI_CAP_EXPRESS, body, sizeof(body));
	add_reg(p, p->express + 2, 2, EXPRESS_FLAGS, 0);
	add_reg(p, p->express + 4, 4, EXPRESS_DEVCAP, 0);
	add_reg(p, p->express + EXPRESS_DEVCTL, 2, 0x2010, EXPRESS_DEVCTL_WRITE);
}

/* --- BARs --- */

static unsigned bar_reg(unsigned n)
{
	return PCI_BAR + 4 * n;
}

static void put_bar(struct pci *p, unsigned n, uint64_t base)
{
	const struct pci_bar *b = &p->bars[n];

	put(p->config + bar_reg(n), (uint32_t)base | (b->wide ? 4 : 0), 4);
	if (b->wide)
		put(p->config + bar_reg(n + 1), (uint32_t)(base >> 32), 4);
}

/* Where the guest wants it; NOWHERE: decoding is off, or this is no address. */
static uint64_t wanted(const struct pci *p, unsigned n)
{
	const struct pci_bar *b = &p->bars[n];
	uint64_t all = b->wide ? UINT64_MAX : UINT32_MAX, base = fetch(p->config + bar_reg(n), 4) & ~0xfull, last;

	if (b->wide)
		base |= (uint64_t)fetch(p->config + bar_reg(n + 1), 4) << 32;
	if (!(fetch(p->config + PCI_COMMAND, 2) & PCI_COMMAND_MEMORY) || !base || base == (all & ~(b->size - 1)) ||
	    (uint32_t)base == (uint32_t)~(b->size - 1) || __builtin_add_overflow(base, b->size - 1, &last) || last >> 52)
		return NOWHERE;
	return base;
}

static bool over_ram(const struct ram *ram, uint64_t base, uint64_t size)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(ram->pieces); i++) {
		const struct ram_piece *r = &ram->pieces[i];

		if (r->size && base < r->gpa + r->size && r->gpa < base + size)
			return true;
	}
	return false;
}

static void update_bar(struct pci *p, unsigned n)
{
	struct pci_bar *b = &p->bars[n];
	uint64_t base = wanted(p, n);
	GError *err = NULL;

	if (b->region.bus ? b->region.base == base : base == NOWHERE)
		return;
	bus_hide(&b->region);
	if (base != NOWHERE && over_ram(&p->dev->vm->ram, base, b->size))
		guest_error(p->dev, "BAR %u at 0x%" G_GINT64_MODIFIER "x lies over RAM", n, base);
	else if (base != NOWHERE && !bus_map(p->dev->vm->mmio, &b->region, base, &err))
		guest_error(p->dev, "BAR %u: %s", n, err->message);
	g_clear_error(&err);
	if (p->ops && p->ops->moved)
		p->ops->moved(p, n);
}

static void update_bars(struct pci *p)
{
	for (unsigned n = 0; n < PCI_BARS; n++)
		if (p->bars[n].size)
			update_bar(p, n);
}

/* --- regions: their functions get no more than the device, so there is a set per BAR --- */

static uint64_t bar_read(struct pci *p, unsigned n, uint64_t offset, unsigned size)
{
	if (pci_msix_hit(p, n, offset))
		return pci_msix_read(p, offset, size);
	return p->bars[n].ops->read(p->dev, offset, size);
}

static void bar_write(struct pci *p, unsigned n, uint64_t offset, unsigned size, uint64_t value)
{
	if (pci_msix_hit(p, n, offset))
		pci_msix_write(p, offset, size, value);
	else
		p->bars[n].ops->write(p->dev, offset, size, value);
}

#define BAR(n) \
	static uint64_t bar##n##_read(struct device *d, uint64_t offset, unsigned size) \
	{ \
		return bar_read(pci_of(d), n, offset, size); \
	} \
	static void bar##n##_write(struct device *d, uint64_t offset, unsigned size, uint64_t value) \
	{ \
		bar_write(pci_of(d), n, offset, size, value); \
	}
BAR(0) BAR(1) BAR(2) BAR(3) BAR(4) BAR(5)
#define BAR_ROW(n) { .read = bar##n##_read, .write = bar##n##_write, .min = 1, .max = 4 }
static const struct region_ops bar_ops[PCI_BARS] = { BAR_ROW(0), BAR_ROW(1), BAR_ROW(2), BAR_ROW(3), BAR_ROW(4), BAR_ROW(5) };
static const char *const bar_names[PCI_BARS] = { "BAR 0", "BAR 1", "BAR 2", "BAR 3", "BAR 4", "BAR 5" };

bool pci_add_bar(struct pci *p, unsigned n, uint64_t size, bool wide, const struct region_ops *ops, GError **err)
{
	struct pci_bar *b = &p->bars[n];

	g_assert(n + wide < PCI_BARS && !b->size && size >= 4096 && size <= 1u << 30 && !(size & (size - 1)));
	if (!pci_bus_place(p->bus, size, &b->home, err))
		return false;
	b->given = true;
	b->size = size;
	b->wide = wide;
	b->ops = ops;
	b->region = (struct region){ .ops = &bar_ops[n], .dev = p->dev, .name = bar_names[n], .size = size };
	add_reg(p, bar_reg(n), 4, (uint32_t)b->home | (wide ? 4 : 0), (uint32_t)~(size - 1));
	if (wide)
		add_reg(p, bar_reg(n + 1), 4, (uint32_t)(b->home >> 32), UINT32_MAX);
	return true;
}

/* --- config space --- */

static bool touches(unsigned offset, unsigned size, unsigned reg, unsigned reg_size)
{
	return offset < reg + reg_size && reg < offset + size;
}

bool pci_is_master(const struct pci *p)
{
	return p->config[PCI_COMMAND] & PCI_COMMAND_MASTER;
}

static void update_intx(struct pci *p)
{
	bool on = p->intx_level && !(fetch(p->config + PCI_COMMAND, 2) & PCI_COMMAND_INTX_OFF) && !pci_msix_on(p);

	if (p->intx_level)
		p->config[PCI_STATUS] |= PCI_STATUS_INTX;
	else
		p->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
	if (p->intx.vm)
		intx_set(&p->intx, on);
}

void pci_intx(struct pci *p, bool level)
{
	p->intx_level = level;
	update_intx(p);
}

static void flr(struct pci *p)
{
	pci_reset(p);
	if (p->ops && p->ops->flr)
		p->ops->flr(p);
}

static void command_changed(struct pci *p, bool was_master)
{
	update_bars(p);
	update_intx(p);
	if (pci_is_master(p) == was_master)
		return;
	pci_msix_update(p);
	if (p->ops && p->ops->master)
		p->ops->master(p, !was_master);
}

uint32_t pci_config_read(struct pci *p, unsigned offset, unsigned size)
{
	if (offset + size > PCI_CONFIG)
		return 0;
	if (p->ops && p->ops->read)
		p->ops->read(p, offset, size);
	return fetch(p->config + offset, size);
}

void pci_config_write(struct pci *p, unsigned offset, unsigned size, uint32_t value)
{
	bool was_master = pci_is_master(p);

	if (offset + size > PCI_CONFIG)
		return;
	for (unsigned i = 0; i < size; i++) {
		uint8_t byte = (uint8_t)(value >> 8 * i), *at = &p->config[offset + i];

		*at = (uint8_t)((*at & ~p->write[offset + i]) | (byte & p->write[offset + i]));
		*at &= (uint8_t)~(byte & p->clear[offset + i]);
	}
	if (p->express && touches(offset, size, p->express + EXPRESS_DEVCTL, 2) &&
	    p->express + EXPRESS_DEVCTL + 1 >= offset && p->express + EXPRESS_DEVCTL + 1 < offset + size &&
	    value >> 8 * (p->express + EXPRESS_DEVCTL + 1 - offset) & EXPRESS_FLR >> 8) {
		flr(p);
		return;
	}
	if (touches(offset, size, PCI_COMMAND, 2))
		command_changed(p, was_master);
	else if (touches(offset, size, PCI_BAR, 4 * PCI_BARS))
		update_bars(p);
	if (p->msix.n && touches(offset, size, p->msix.cap + 2, 2)) {
		pci_msix_update(p);
		update_intx(p);         /* who sends messages must not hold the line (6.8.2.3) */
	}
	if (p->ops && p->ops->written)
		p->ops->written(p, offset, size);
}

static uint64_t ecam_read(struct device *d, uint64_t offset, unsigned size)
{
	return pci_config_read(pci_of(d), (unsigned)offset, size);
}

static void ecam_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
	pci_config_write(pci_of(d), (unsigned)offset, size, (uint32_t)value);
}

static const struct region_ops ecam_ops = { .read = ecam_read, .write = ecam_write, .min = 1, .max = 4 };

/* --- lifecycle --- */

void pci_reset(struct pci *p)
{
	bool was_master = pci_is_master(p);

	memcpy(p->config, p->first, PCI_CONFIG);
	for (unsigned n = 0; n < PCI_BARS; n++)
		if (p->bars[n].size)
			put_bar(p, n, p->bars[n].home);
	p->intx_level = false;
	pci_msix_reset(p);
	command_changed(p, was_master);
}

bool pci_init(struct pci_device *d, const struct pci_ops *ops, const struct pci_ids *ids, const struct address *a, GError **err)
{
	struct pci *p = &d->pci;
	struct pci_bus *bus = pci_bus_of(d->dev.vm);

	*p = (struct pci){ .dev = &d->dev, .ops = ops, .next_cap = PCI_FIRST_CAP };
	if (!bus)
		return kerr_set(err, KERR_UNSUPPORTED, "the machine has no PCI bus");
	if (!pci_bus_join(bus, p, a, err))
		return false;
	add_reg(p, PCI_VENDOR, 2, ids->vendor, 0);
	add_reg(p, PCI_DEVICE, 2, ids->device, 0);
	add_reg(p, PCI_REVISION, 1, ids->revision, 0);
	add_reg(p, PCI_CLASS, 3, ids->class, 0);
	add_reg(p, PCI_SUBVENDOR, 2, ids->subvendor, 0);
	add_reg(p, PCI_SUBDEVICE, 2, ids->subdevice, 0);
	add_reg(p, PCI_HEADER, 1, a && address_multifunction(a) ? PCI_HEADER_MULTI : 0, 0);
	pci_add_regs(p, header, G_N_ELEMENTS(header));
	return true;
}

bool pci_add_intx(struct pci *p, unsigned pin, GError **err)
{
	add_reg(p, PCI_INT_PIN, 1, pin + 1, 0);
	return intx_init(&p->intx, p->dev->vm, INTX_GSI(p->slot, pin), err);
}

bool pci_map(struct pci *p, GError **err)
{
	uint64_t base = PCI_ECAM_BASE + ((uint64_t)p->slot << 15 | p->function << 12);

	return device_map_mmio(p->dev, &p->ecam, &ecam_ops, "PCI configuration", base, PCI_EXT_CONFIG, err);
}

void pci_unmap(struct pci *p)
{
	bus_unmap(&p->ecam);
	for (unsigned n = 0; n < PCI_BARS; n++)
		bus_unmap(&p->bars[n].region);
}

void pci_finish(struct pci *p)
{
	if (!p->dev)
		return;
	pci_unmap(p);
	for (unsigned n = 0; n < PCI_BARS; n++) {
		if (p->bars[n].given)
			pci_bus_unplace(p->bus, p->bars[n].home);
		p->bars[n].given = false;
	}
	pci_msix_finish(p);
	intx_finish(&p->intx);
	pci_bus_leave(p);
	pci_free_saved(p);
	p->dev = NULL;
}

/* --- state --- */

void pci_free_saved(struct pci *p)
{
	g_clear_pointer(&p->saved_config, g_byte_array_unref);
	g_clear_pointer(&p->saved_msix, g_byte_array_unref);
}

void pci_pre_save(struct pci *p)
{
	pci_free_saved(p);
	p->saved_config = g_byte_array_append(g_byte_array_new(), p->config, PCI_CONFIG);
	pci_msix_pre_save(p);
}

bool pci_post_load(struct pci *p, GError **err)
{
	bool ok = true;

	for (unsigned i = 0; p->saved_config && i < MIN(p->saved_config->len, PCI_CONFIG); i++) {
		uint8_t mask = p->write[i] | p->clear[i];

		p->config[i] = (uint8_t)((p->config[i] & ~mask) | (p->saved_config->data[i] & mask));
	}
	if (p->saved_msix)
		ok = pci_msix_post_load(p, err);
	pci_free_saved(p);
	pci_msix_update(p);
	update_bars(p);
	update_intx(p);
	return ok;
}
