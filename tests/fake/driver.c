/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Plays the guest. */
#include "tests/fake/driver.h"

#include <string.h>

uint64_t drv_in(struct fake *f, uint16_t port, unsigned size)
{
	uint64_t value = 0;

	bus_read(f->vm.pio, port, &value, size);
	return value;
}

void drv_out(struct fake *f, uint16_t port, unsigned size, uint64_t value)
{
	bus_write(f->vm.pio, port, &value, size);
}

uint8_t drv_inb(struct fake *f, uint16_t port)
{
	return (uint8_t)drv_in(f, port, 1);
}

void drv_outb(struct fake *f, uint16_t port, uint8_t value)
{
	drv_out(f, port, 1, value);
}

uint64_t drv_mmio_read(struct fake *f, uint64_t addr, unsigned size)
{
	uint64_t value = 0;

	bus_read(f->vm.mmio, addr, &value, size);
	return value;
}

void drv_mmio_write(struct fake *f, uint64_t addr, unsigned size, uint64_t value)
{
	bus_write(f->vm.mmio, addr, &value, size);
}

/* --- 16550A --- */

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR };

void drv_serial_open(struct drv_serial *s, struct fake *f, uint16_t port, unsigned gsi, uint8_t fcr)
{
	*s = (struct drv_serial){ .f = f, .port = port, .gsi = gsi, .in = g_string_new(NULL), .out = "" };
	drv_outb(f, port + LCR, 0x80);
	drv_outb(f, port + DATA, 1);
	drv_outb(f, port + IER, 0);
	drv_outb(f, port + LCR, 0x03);
	drv_outb(f, port + IIR, fcr);
	drv_outb(f, port + MCR, 0x0b);
	drv_outb(f, port + IER, 0x05);
	fake_step(f);
}

void drv_serial_close(struct drv_serial *s)
{
	drv_outb(s->f, s->port + IER, 0);
	drv_outb(s->f, s->port + MCR, 0);
	g_string_free(s->in, TRUE);
}

void drv_serial_print(struct drv_serial *s, const char *text)
{
	for (; *text; text++) {
		while ((drv_inb(s->f, s->port + LSR) & 0x60) != 0x60)
			;
		drv_outb(s->f, s->port + DATA, (uint8_t)*text);
	}
}

static void receive(struct drv_serial *s)
{
	while (drv_inb(s->f, s->port + LSR) & 1)
		g_string_append_c(s->in, (char)drv_inb(s->f, s->port + DATA));
}

static void transmit(struct drv_serial *s)
{
	for (unsigned i = 0; i < 16 && *s->out; i++)
		drv_outb(s->f, s->port + DATA, (uint8_t)*s->out++);
	if (!*s->out)
		drv_outb(s->f, s->port + IER, drv_inb(s->f, s->port + IER) & ~2);
}

unsigned drv_serial_serve(struct drv_serial *s)
{
	unsigned n = 0;

	for (; s->f->level[s->gsi] && n < 10000; n++) {
		uint8_t iir = drv_inb(s->f, s->port + IIR);

		switch (iir & 0x0f) {
		case 0x04:
		case 0x0c:
			receive(s);
			break;
		case 0x02:
			transmit(s);
			break;
		case 0x06:
			drv_inb(s->f, s->port + LSR);
			break;
		case 0x00:
			drv_inb(s->f, s->port + MSR);
			break;
		}
		fake_step(s->f);
	}
	g_assert_cmpuint(n, <, 10000);
	s->interrupts += n;
	return n;
}

void drv_serial_send(struct drv_serial *s, const char *text)
{
	s->out = text;
	drv_outb(s->f, s->port + IER, drv_inb(s->f, s->port + IER) | 2);
	drv_serial_serve(s);
}
