/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Serial port: a 16550A at COM1 to COM4.
 *
 * Transmission takes no time: what is written to THR is in the character device's ring at once, so
 * the transmitter is always empty, and writing only makes its interrupt pending again. That one is
 * cleared by reading it from IIR, and comes back when the guest enables it, as drivers test for.
 *
 * Received bytes are taken from the host only when the guest has room and is ready for them, that is
 * after it enabled the receive interrupt, raised DTR, or read LSR twice without sending (a driver
 * that polls); until then they wait on the host. So nothing typed during boot is lost, and there are
 * no overruns but in loopback.
 *
 * The interrupt leaves the chip only with OUT2 set, which is off the pin in loopback: as on PCs.
 *
 * Registers are guarded by the device's lock; input and the receive time-out come on the I/O loop.
 */
#include "devices/serial.h"

#include <string.h>

#include "devices/chr.h"
#include "devices/list.h"
#include "domain/error.h"
#include "hv/vm.h"
#include "hv/x86/ports.h"

enum { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR, REG_N };

#define IER_RDI 0x01
#define IER_THRI 0x02
#define IER_RLSI 0x04
#define IER_MSI 0x08
#define IIR_MSI 0x00
#define IIR_NONE 0x01
#define IIR_THRI 0x02
#define IIR_RDI 0x04
#define IIR_RLSI 0x06
#define IIR_CTI 0x0c
#define IIR_FIFO 0xc0
#define FCR_ENABLE 0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define FCR_STORED 0xc9
#define LCR_DLAB 0x80
#define MCR_DTR 0x01
#define MCR_RTS 0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define LSR_DR 0x01
#define LSR_OE 0x02
#define LSR_ERRORS 0x1e /* overrun, parity, framing, break */
#define LSR_THRE 0x20
#define LSR_TEMT 0x40
#define MSR_DELTAS 0x0f
#define MSR_TERI 0x04
#define MSR_CTS 0x10
#define MSR_DSR 0x20
#define MSR_RI 0x40
#define MSR_DCD 0x80
#define MSR_ALIVE (MSR_CTS | MSR_DSR | MSR_DCD)

#define FIFO_BYTES 16
#define DIVISOR_RESET 12        /* 9600 baud */
#define CLOCK_DIVIDED 115200    /* baud with divisor 1 */

struct serial {
	struct device dev;
	struct region region;
	struct irq irq;
	struct chr *chr;
	struct loop_timer cti;  /* receive time-out, guest time; cti_at says when, 0: not armed */

	/* state */
	uint8_t ier, fcr, lcr, mcr, lsr, msr, scr;
	uint16_t divisor;
	bool thr_pending;       /* the transmitter's interrupt */
	bool cti_pending;       /* the receive time-out's */
	bool polls;             /* the guest was seen polling for input */
	uint8_t idle_looks;     /* reads of LSR since the last byte sent, up to 2 */
	uint64_t cti_left;      /* ns, while saved */
	GByteArray *rx_saved;   /* while saved */

	int64_t cti_at;
	uint8_t rx[FIFO_BYTES];
	unsigned rx_head, rx_n;
};

static struct serial *serial_of(struct device *d)
{
	return (struct serial *)d;
}

/* --- interrupts --- */

static bool has_fifo(const struct serial *s)
{
	return s->fcr & FCR_ENABLE;
}

static unsigned trigger(const struct serial *s)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return has_fifo(s) ? levels[s->fcr >> 6] : 1;
}

/* The most urgent pending interrupt. */
static uint8_t pending(const struct serial *s)
{
	if (s->ier & IER_RLSI && s->lsr & LSR_ERRORS)
		return IIR_RLSI;
	if (s->ier & IER_RDI && s->rx_n >= trigger(s))
		return IIR_RDI;
	if (s->ier & IER_RDI && s->cti_pending)
		return IIR_CTI;
	if (s->ier & IER_THRI && s->thr_pending)
		return IIR_THRI;
	if (s->ier & IER_MSI && s->msr & MSR_DELTAS)
		return IIR_MSI;
	return IIR_NONE;
}

static void update_irq(struct serial *s)
{
	irq_set(&s->irq, (s->mcr & (MCR_OUT2 | MCR_LOOP)) == MCR_OUT2 && pending(s) != IIR_NONE);
}

/* --- receiver --- */

static int64_t four_chars_ns(const struct serial *s)
{
	return 40ll * 1000000000 * MAX(s->divisor, 1) / CLOCK_DIVIDED;
}

/* Starts the time-out anew after the FIFO was filled or read; stops it when there is nothing to time out. */
static void restart_cti(struct serial *s)
{
	s->cti_pending = false;
	if (has_fifo(s) && s->rx_n) {
		s->cti_at = clock_now(s->dev.vm->clock, CLOCK_GUEST) + four_chars_ns(s);
		loop_timer_set(&s->cti, s->cti_at);
	} else if (s->cti_at) {
		s->cti_at = 0;
		loop_timer_cancel(&s->cti);
	}
}

static void cti_due(void *arg)
{
	struct serial *s = arg;

	g_mutex_lock(&s->dev.lock);
	if (s->cti_at && s->cti_at <= clock_now(s->dev.vm->clock, CLOCK_GUEST)) {
		s->cti_at = 0;
		s->cti_pending = s->rx_n > 0;
		update_irq(s);
	}
	g_mutex_unlock(&s->dev.lock);
}

static void rx_clear(struct serial *s)
{
	s->rx_n = s->rx_head = 0;
	s->lsr &= (uint8_t)~LSR_DR;
	restart_cti(s);
}

static void rx_put(struct serial *s, uint8_t byte)
{
	if (s->rx_n == (has_fifo(s) ? FIFO_BYTES : 1u)) {
		s->lsr |= LSR_OE;
		if (has_fifo(s))
			return;         /* the FIFO keeps what it has; without it the new byte replaces the old */
		s->rx_n = 0;
	}
	s->rx[(s->rx_head + s->rx_n++) % FIFO_BYTES] = byte;
	s->lsr |= LSR_DR;
}

static uint8_t rx_get(struct serial *s)
{
	uint8_t byte = s->rx[s->rx_head];       /* an empty one gives the last byte once more */

	if (!s->rx_n)
		return byte;
	if (--s->rx_n)
		s->rx_head = (s->rx_head + 1) % FIFO_BYTES;
	else
		s->lsr &= (uint8_t)~LSR_DR;
	restart_cti(s);
	return byte;
}

static bool is_ready(const struct serial *s)
{
	return !(s->mcr & MCR_LOOP) && (s->polls || s->mcr & MCR_DTR || s->ier & IER_RDI);
}

/* Something that input waits for may have changed. */
static void offer_room(struct serial *s)
{
	if (s->chr && is_ready(s) && s->rx_n < (has_fifo(s) ? FIFO_BYTES : 1u))
		chr_ready(s->chr);
}

static size_t serial_room(struct device *d)
{
	struct serial *s = serial_of(d);
	size_t room = 0;

	g_mutex_lock(&d->lock);
	if (is_ready(s))
		room = (has_fifo(s) ? FIFO_BYTES : 1u) - s->rx_n;
	g_mutex_unlock(&d->lock);
	return room;
}

static void serial_input(struct device *d, const uint8_t *data, size_t n)
{
	struct serial *s = serial_of(d);

	g_mutex_lock(&d->lock);
	while (n--)
		rx_put(s, *data++);
	restart_cti(s);
	update_irq(s);
	g_mutex_unlock(&d->lock);
}

/* --- registers --- */

static void send(struct serial *s, uint8_t byte)
{
	s->idle_looks = 0;
	if (s->mcr & MCR_LOOP) {
		rx_put(s, byte);
		restart_cti(s);
	} else {
		chr_write(s->chr, &byte, 1);
	}
	s->thr_pending = true;
}

static void set_ier(struct serial *s, uint8_t value)
{
	uint8_t raised = (uint8_t)(value & ~s->ier);

	s->ier = value & 0x0f;
	if (raised & IER_THRI)
		s->thr_pending = true;  /* the transmitter is empty, as always */
	if (raised & IER_RDI)
		offer_room(s);
}

static void set_fcr(struct serial *s, uint8_t value)
{
	bool changed = (value ^ s->fcr) & FCR_ENABLE;

	if (!(value & FCR_ENABLE))
		value = changed ? FCR_CLEAR_RX | FCR_CLEAR_TX : 0;      /* other bits count only together with it */
	else if (changed)
		value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
	s->fcr = value & FCR_STORED;
	if (value & FCR_CLEAR_RX) {
		rx_clear(s);
		offer_room(s);
	}
	if (value & FCR_CLEAR_TX)
		s->thr_pending = true;
}

/* The modem's lines: what MCR drives in loopback, else a modem that is always there. */
static uint8_t lines(const struct serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_ALIVE;
	return (uint8_t)((s->mcr & MCR_RTS ? MSR_CTS : 0) | (s->mcr & MCR_DTR ? MSR_DSR : 0) |
		(s->mcr & MCR_OUT1 ? MSR_RI : 0) | (s->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static void set_mcr(struct serial *s, uint8_t value)
{
	uint8_t before = s->msr & 0xf0, after, deltas;

	s->mcr = value & 0x1f;
	after = lines(s);
	deltas = (uint8_t)((before ^ after) >> 4);
	if (after & MSR_RI)
		deltas &= (uint8_t)~MSR_TERI;   /* only its end is reported */
	s->msr = (uint8_t)(after | (s->msr & MSR_DELTAS) | deltas);
	offer_room(s);
}

static uint8_t read_iir(struct serial *s)
{
	uint8_t id = pending(s);

	if (id == IIR_THRI)
		s->thr_pending = false;
	return (uint8_t)(id | (has_fifo(s) ? IIR_FIFO : 0));
}

static uint8_t read_lsr(struct serial *s)
{
	uint8_t value = s->lsr;

	s->lsr &= (uint8_t)~LSR_ERRORS;
	if (!s->polls && ++s->idle_looks == 2) {
		s->polls = true;
		offer_room(s);
	}
	return value;
}

static uint8_t read_reg(struct serial *s, unsigned reg)
{
	uint8_t value;

	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			return s->divisor & 0xff;
		value = rx_get(s);
		offer_room(s);
		return value;
	case REG_IER:
		return s->lcr & LCR_DLAB ? (uint8_t)(s->divisor >> 8) : s->ier;
	case REG_IIR_FCR:
		return read_iir(s);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		return read_lsr(s);
	case REG_MSR:
		value = s->msr;
		s->msr &= (uint8_t)~MSR_DELTAS;
		return value;
	default:
		return s->scr;
	}
}

static uint64_t serial_read(struct device *d, uint64_t offset, unsigned size)
{
	struct serial *s = serial_of(d);
	uint8_t value = read_reg(s, (unsigned)offset);

	update_irq(s);
	return value;
}

static void serial_write(struct device *d, uint64_t offset, unsigned size, uint64_t wide)
{
	struct serial *s = serial_of(d);
	uint8_t value = (uint8_t)wide;

	switch (offset) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			s->divisor = (uint16_t)((s->divisor & 0xff00) | value);
		else
			send(s, value);
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB)
			s->divisor = (uint16_t)((s->divisor & 0xff) | value << 8);
		else
			set_ier(s, value);
		break;
	case REG_IIR_FCR:
		set_fcr(s, value);
		break;
	case REG_LCR:
		s->lcr = value;
		break;
	case REG_MCR:
		set_mcr(s, value);
		break;
	case REG_SCR:
		s->scr = value;
		break;
	default:        /* LSR and MSR cannot be written */
		break;
	}
	update_irq(s);
}

static const struct region_ops serial_regs = { .read = serial_read, .write = serial_write, .min = 1, .max = 1 };

/* --- lifecycle --- */

static const struct chr_front front = { .room = serial_room, .input = serial_input };

static void serial_reset(struct device *d)
{
	struct serial *s = serial_of(d);

	s->ier = s->fcr = s->lcr = s->mcr = s->scr = 0;
	s->lsr = LSR_THRE | LSR_TEMT;
	s->msr = MSR_ALIVE;
	s->divisor = DIVISOR_RESET;
	s->thr_pending = s->polls = false;
	s->idle_looks = 0;
	memset(s->rx, 0, sizeof(s->rx));
	rx_clear(s);
	update_irq(s);
}

static const struct { uint16_t port; uint8_t irq; } places[] = {
	{ PORT_COM1, IRQ_COM1 }, { PORT_COM2, IRQ_COM2 }, { PORT_COM3, IRQ_COM1 }, { PORT_COM4, IRQ_COM2 },
};

static bool serial_realize(struct device *d, struct fdset *fds, GError **err)
{
	struct serial *s = serial_of(d);
	const struct chardev *config = d->config;
	uint32_t n = config->target.port == CHARDEV_PORT_NONE ? 0 : config->target.port;
	uint32_t base, irq;

	if (n >= G_N_ELEMENTS(places))
		return kerr_set(err, KERR_UNSUPPORTED, "serial port %u: there are only %zu", n, G_N_ELEMENTS(places));
	base = places[n].port;
	irq = places[n].irq;
	if (config->address.type == ADDRESS_ISA) {
		base = config->address.iobase != ADDRESS_UNSET ? config->address.iobase : base;
		irq = config->address.irq != ADDRESS_UNSET ? config->address.irq : irq;
	}
	if (base > 0x10000 - PORT_COM_LEN)
		return kerr_set(err, KERR_ARGS, "port 0x%x is outside 0..0xffff", base);
	s->rx_saved = NULL;
	loop_timer_init(&s->cti, d->vm->loops[0], CLOCK_GUEST, cti_due, s);
	if (!irq_init(&s->irq, d->vm, irq, err))
		return false;
	s->chr = chr_new(d->vm->loops[0], &front, d);
	return chr_open(s->chr, config, fds, err) &&
		device_map_pio(d, &s->region, &serial_regs, "serial", (uint16_t)base, PORT_COM_LEN, err);
}

static void cancel_cti(void *arg)
{
	struct serial *s = arg;

	loop_timer_cancel(&s->cti);
}

static void serial_unrealize(struct device *d)
{
	struct serial *s = serial_of(d);

	bus_unmap(&s->region);
	chr_free(s->chr);
	s->chr = NULL;
	if (s->cti.loop)
		loop_call(s->cti.loop, cancel_cti, s);
	irq_finish(&s->irq);
	g_clear_pointer(&s->rx_saved, g_byte_array_unref);
}

static void serial_pause(struct device *d, struct done *done)
{
	chr_hold(serial_of(d)->chr, true, done);
}

static void serial_resume(struct device *d)
{
	chr_hold(serial_of(d)->chr, false, NULL);
}

struct chr *serial_chr(struct device *d)
{
	return serial_of(d)->chr;
}

/* --- state --- */

static void serial_pre_save(void *obj)
{
	struct serial *s = obj;

	g_clear_pointer(&s->rx_saved, g_byte_array_unref);
	if (s->rx_n)
		s->rx_saved = g_byte_array_sized_new(s->rx_n);
	for (unsigned i = 0; i < s->rx_n; i++)
		g_byte_array_append(s->rx_saved, &s->rx[(s->rx_head + i) % FIFO_BYTES], 1);
	s->cti_left = 0;
	if (s->cti_at)
		s->cti_left = (uint64_t)MAX(s->cti_at - clock_now(s->dev.vm->clock, CLOCK_GUEST), 1);
}

static bool serial_post_load(void *obj, GError **err)
{
	struct serial *s = obj;
	unsigned n = s->rx_saved ? s->rx_saved->len : 0;

	if (n > (has_fifo(s) ? FIFO_BYTES : 1u))
		return kerr_set(err, KERR_STATE_DATA, "%u received bytes do not fit", n);
	s->fcr &= has_fifo(s) ? FCR_STORED : 0;
	s->msr = (uint8_t)(lines(s) | (s->msr & MSR_DELTAS));
	s->lsr = (uint8_t)((s->lsr & LSR_ERRORS) | LSR_THRE | LSR_TEMT | (n ? LSR_DR : 0));
	s->rx_head = 0;
	s->rx_n = n;
	if (n)
		memcpy(s->rx, s->rx_saved->data, n);
	g_clear_pointer(&s->rx_saved, g_byte_array_unref);
	s->cti_pending = s->cti_pending && n && has_fifo(s);
	s->cti_at = 0;
	if (s->cti_left && n && has_fifo(s)) {
		s->cti_at = clock_now(s->dev.vm->clock, CLOCK_GUEST) + (int64_t)s->cti_left;
		loop_timer_set(&s->cti, s->cti_at);
	}
	update_irq(s);
	return true;
}

static const struct field state_fields[] = {
	U8(struct serial, ier, NULL, 0, 0x0f, 0, "interrupt enable"),
	U8(struct serial, fcr, NULL, 0, 0xff, 0, "FIFO control"),
	U8(struct serial, lcr, NULL, 0, 0xff, 0, "line control"),
	U8(struct serial, mcr, NULL, 0, 0x1f, 0, "modem control"),
	U8(struct serial, lsr, NULL, 0, 0xff, 0, "line status", .def = LSR_THRE | LSR_TEMT),
	U8(struct serial, msr, NULL, 0, 0xff, 0, "modem status", .def = MSR_ALIVE),
	U8(struct serial, scr, NULL, 0, 0xff, 0, "scratch"),
	U16(struct serial, divisor, NULL, 0, 0xffff, 0, "baud rate divisor", .def = DIVISOR_RESET),
	FLAG(struct serial, thr_pending, NULL, 0, "the transmitter's interrupt is pending"),
	FLAG(struct serial, cti_pending, NULL, 0, "the receive time-out's interrupt is pending"),
	FLAG(struct serial, polls, NULL, 0, "the guest was seen polling for input"),
	U8(struct serial, idle_looks, NULL, 0, 2, 0, "reads of LSR since the last byte sent"),
	U64(struct serial, cti_left, NULL, 0, 3600000000000, 0, "until the receive time-out, ns; 0: not armed"),
	BYTES(struct serial, rx_saved, NULL, FIFO_BYTES, 0, "received, not yet read"),
	END
};
static const struct schema state_schema = { .name = "serial", .doc = "16550A registers", .version = 1,
	.size = sizeof(struct serial), .fields = state_fields, .pre_save = serial_pre_save,
	.post_load = serial_post_load };

const struct device_ops serial_ops = {
	.name = "serial",
	.doc = "serial port: 16550A at COM1 to COM4",
	.size = sizeof(struct serial),
	.config = &serial_schema,
	.state = &state_schema,
	.realize = serial_realize,
	.unrealize = serial_unrealize,
	.reset = serial_reset,
	.pause = serial_pause,
	.resume = serial_resume,
};
