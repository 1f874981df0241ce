/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plays the guest: port and memory accesses, and drivers as Linux and BSD have them. */
#pragma once
#include "tests/fake/fake.h"

uint64_t drv_in(struct fake *, uint16_t port, unsigned size);
void drv_out(struct fake *, uint16_t port, unsigned size, uint64_t value);
uint8_t drv_inb(struct fake *, uint16_t port);
void drv_outb(struct fake *, uint16_t port, uint8_t value);
uint64_t drv_mmio_read(struct fake *, uint64_t addr, unsigned size);
void drv_mmio_write(struct fake *, uint64_t addr, unsigned size, uint64_t value);

/* An interrupt-driven driver of a 16550A. */
struct drv_serial {
	struct fake *f;
	uint16_t port;
	unsigned gsi;
	GString *in;            /* received */
	const char *out;        /* still to send */
	unsigned interrupts;    /* served */
};
void drv_serial_open(struct drv_serial *, struct fake *, uint16_t port, unsigned gsi, uint8_t fcr);
void drv_serial_close(struct drv_serial *);
void drv_serial_send(struct drv_serial *, const char *text);    /* by interrupts */
void drv_serial_print(struct drv_serial *, const char *text);   /* polled, as a kernel's early console */
/* Serves interrupts as long as the line is high; how many. */
unsigned drv_serial_serve(struct drv_serial *);
