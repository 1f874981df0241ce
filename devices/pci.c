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

static struct pci_bar *bar_at(struct pci *p, unsigned n)
{
	return &p->bars[n];
}

/* The region's device is the function's, whose ops we do not know the rest of: the BAR is found by the region's place. */
static uint64_t bar_read(struct pci *p, unsigned n, uint64_t offset, unsigned size)
{
	if (pci_msix_hit(p, n, offset))
		return pci_msix_read(p, offset, size);
	return bar_at(p, n)->ops->read(p->dev, offset, size);
}

static void bar_write(struct pci *p, unsigned n, uint64_t offset, unsigned size, uint64_t value)
{
	if (pci_msix_hit(p, n, offset))
		pci_msix_write(p, offset, size, value);
	else
		bar_at(p, n)->ops->write(p->dev, offset, size, value);
}
