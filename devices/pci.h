/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI functions (PCI Local Bus 3.0, PCI Express Base 5.0 chapter 7): config space, BARs, capabilities, MSI-X, INTx.
 *
 * A function is part of a device; its config space is a region of that device in the ECAM window, so the bus calls it under
 * the device's lock like any register, and the config ports of the root complex (pci_host.c) only relay there. All of a
 * function's registers are rows {offset, size, value after reset, bits that can be written, bits that writing 1 clears}.
 *
 * Threads: pci_init … pci_add_*, pci_map and pci_finish from main; pci_reset, pci_pre_save, pci_post_load, pci_intx with
 * the device's lock held; pci_msix_signal and pci_msix_on from any thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "domain/address.h"
#include "hv/bus.h"
#include "hv/device.h"
#include "hv/intx.h"
#include "hv/msi.h"

#define PCI_SLOTS 32
#define PCI_FUNCTIONS 8
#define PCI_BARS 6
#define PCI_CONFIG 256                  /* bytes with registers; the rest of a function's 4 KiB reads as zero */
#define PCI_EXT_CONFIG 4096
#define PCI_VECTORS_MAX 128

/* registers of the header, and their bits */
enum {
	PCI_VENDOR = 0x00, PCI_DEVICE = 0x02, PCI_COMMAND = 0x04, PCI_STATUS = 0x06, PCI_REVISION = 0x08, PCI_CLASS = 0x09,
	PCI_CACHE_LINE = 0x0c, PCI_LATENCY = 0x0d, PCI_HEADER = 0x0e, PCI_BAR = 0x10, PCI_SUBVENDOR = 0x2c, PCI_SUBDEVICE = 0x2e,
	PCI_CAPS = 0x34, PCI_INT_LINE = 0x3c, PCI_INT_PIN = 0x3d, PCI_FIRST_CAP = 0x40,
};
#define PCI_COMMAND_MEMORY 0x0002
#define PCI_COMMAND_MASTER 0x0004
#define PCI_COMMAND_INTX_OFF 0x0400
#define PCI_STATUS_INTX 0x0008
#define PCI_STATUS_CAPS 0x0010
#define PCI_HEADER_MULTI 0x80
#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_EXPRESS 0x10
#define PCI_CAP_MSIX 0x11

struct pci;
struct pci_bus;

struct pci_reg { uint16_t offset; uint8_t size; uint32_t value, write, clear; };

struct pci_ids { uint16_t vendor, device, subvendor, subdevice; uint32_t class; uint8_t revision; };

/* What a function may want to hear. All with the device's lock held; each may be NULL. */
struct pci_ops {
	void (*read)(struct pci *, unsigned offset, unsigned size);     /* before a config read: to bring `config` up to date */
	void (*written)(struct pci *, unsigned offset, unsigned size);  /* after a config write */
	void (*moved)(struct pci *, unsigned bar);      /* a BAR is somewhere else now, or nowhere: see its region */
	void (*flr)(struct pci *);                      /* function level reset; the config space is reset already */
	void (*master)(struct pci *, bool on);          /* may (not) reach memory and send messages any more */
};

struct pci_bar {
	uint64_t size;          /* power of two; 0: there is none */
	bool wide;              /* 64 bits: takes the next register too */
	bool given;             /* home is taken from the bus' window */
	uint64_t home;          /* where it is after reset */
	const struct region_ops *ops;
	struct region region;
};

struct pci_vector {
	struct msi msi;
	uint32_t addr_lo, addr_hi, data, control;       /* lock */
	int silent;             /* atomic: must not be sent now, becomes pending instead */
};
struct pci_msix {
	unsigned n;             /* vectors; 0: no MSI-X */
	unsigned cap, bar;      /* config offset; number */
	uint32_t table, pba;    /* offsets in the BAR */
	int on;                 /* atomic: enabled by the guest */
	struct pci_vector *vectors;
	int *pending;           /* atomic, one per vector */
};

struct pci {
	struct device *dev;
	const struct pci_ops *ops;
	struct pci_bus *bus;    /* NULL: not (any more) on it */
	unsigned slot, function;
	uint8_t config[PCI_CONFIG], first[PCI_CONFIG], write[PCI_CONFIG], clear[PCI_CONFIG];
	unsigned next_cap, last_cap, express;
	struct region ecam;
	struct pci_bar bars[PCI_BARS];
	struct pci_msix msix;
	struct intx intx;       /* .vm NULL: no pin */
	bool intx_level;
	/* while saved */
	GByteArray *saved_config, *saved_msix;
};

/* How the struct of a device with a PCI function begins. */
struct pci_device {
	struct device dev;
	struct pci pci;
};
static inline struct pci *pci_of(struct device *d) { return &((struct pci_device *)d)->pci; }

/*
 * Joins the machine's bus at the address (function of bus 0), or in the first free slot when it has none. *err: BUSY when
 * the place is taken, ARGS when it cannot be, UNSUPPORTED when the machine has no PCI bus.
 */
bool pci_init(struct pci_device *, const struct pci_ops *, const struct pci_ids *, const struct address *, GError **err);
void pci_add_regs(struct pci *, const struct pci_reg *, unsigned n);
/* Body: what follows id and next pointer. Returns the capability's offset. */
unsigned pci_add_cap(struct pci *, uint8_t id, const void *body, unsigned size);
void pci_add_express(struct pci *);             /* root complex integrated endpoint with function level reset */
/* Memory BAR n (with n + 1 when wide); ops get accesses of 1, 2 or 4 bytes. size: power of two, 4 KiB to 1 GiB. */
bool pci_add_bar(struct pci *, unsigned n, uint64_t size, bool wide, const struct region_ops *, GError **err);
/* The table lies at offset, the pending bits 2 KiB behind it; the BAR's own ops do not see them. */
void pci_add_msix(struct pci *, unsigned vectors, unsigned bar, uint32_t offset);
bool pci_add_intx(struct pci *, unsigned pin /* 0: INTA */, GError **err);
bool pci_map(struct pci *, GError **err);       /* last: the guest sees it from now on */
void pci_unmap(struct pci *);                   /* no vCPU is inside afterwards; not with the lock held */
void pci_finish(struct pci *);                  /* fine after a failed or no pci_init (zeroed memory) */

/* Another function in its slot; NULL: it is alone. Main. */
struct pci *pci_neighbour(const struct pci *);

void pci_reset(struct pci *);
uint32_t pci_config_read(struct pci *, unsigned offset, unsigned size);
void pci_config_write(struct pci *, unsigned offset, unsigned size, uint32_t value);
bool pci_is_master(const struct pci *);
void pci_intx(struct pci *, bool level);
bool pci_msix_on(const struct pci *);
void pci_msix_signal(struct pci *, unsigned vector);    /* a vector that is not there is ignored */

void pci_pre_save(struct pci *);
bool pci_post_load(struct pci *, GError **err);
void pci_free_saved(struct pci *);
#define PCI_SAVED_MSIX (PCI_VECTORS_MAX * 17)
/* Rows of a device's state; m: the struct pci in T. */
#define PCI_STATE_ROWS(T, m) \
	BYTES(T, m.saved_config, NULL, PCI_CONFIG, 0, "PCI configuration space: what the guest may write counts", .name = "pci"), \
	BYTES(T, m.saved_msix, NULL, PCI_SAVED_MSIX, 0, "MSI-X vectors: four words and the pending bit each", .name = "msix")

/* --- between pci.c, pci_msix.c and pci_host.c --- */
struct pci_bus *pci_bus_of(struct vm *);        /* NULL: the machine has none */
bool pci_bus_slot_free(const struct pci_bus *, unsigned slot);
bool pci_bus_join(struct pci_bus *, struct pci *, const struct address *, GError **err);
void pci_bus_leave(struct pci *);
bool pci_bus_place(struct pci_bus *, uint64_t size, uint64_t *base, GError **err);
void pci_bus_unplace(struct pci_bus *, uint64_t base);
bool pci_msix_hit(const struct pci *, unsigned bar, uint64_t offset);
uint64_t pci_msix_read(struct pci *, uint64_t offset, unsigned size);
void pci_msix_write(struct pci *, uint64_t offset, unsigned size, uint64_t value);
void pci_msix_update(struct pci *);             /* the control register or bus mastering may have changed */
void pci_msix_reset(struct pci *);
void pci_msix_finish(struct pci *);
void pci_msix_pre_save(struct pci *);
bool pci_msix_post_load(struct pci *, GError **err);
