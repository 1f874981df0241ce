/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The 16550A as drivers see it. */
#include <sys/socket.h>
#include <unistd.h>

#include "devices/serial.h"
#include "tests/fake/driver.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR };
#define COM1 0x3f8
#define GSI 4

struct test {
	struct fake *f;
	struct device *d;
	int host;               /* the other end of a console that may write */
};

static void set_up(struct test *t)
{
	int pair[2];
	unsigned id;

	t->f = fake_vm();
	t->d = fake_add(t->f, "serial", "{'type':'null'}");
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
	t->host = pair[0];
	g_assert_true(chr_attach(serial_chr(t->d), pair[1], CHR_WRITER, "test", &id, NULL));
}

static void tear_down(struct test *t)
{
	close(t->host);
	fake_free(t->f);
}

static void type(struct test *t, const char *text)
{
	g_assert_cmpint(write(t->host, text, strlen(text)), ==, (ssize_t)strlen(text));
	fake_step(t->f);
}

static void expect(struct test *t, const char *text)
{
	char buf[70000];
	ssize_t n;

	fake_pass(t->f, 2000000);
	n = read(t->host, buf, sizeof(buf) - 1);
	buf[MAX(n, 0)] = 0;
	g_assert_cmpstr(buf, ==, text);
}

static uint8_t in(struct test *t, unsigned reg)
{
	return drv_inb(t->f, (uint16_t)(COM1 + reg));
}

static void out(struct test *t, unsigned reg, uint8_t value)
{
	drv_outb(t->f, (uint16_t)(COM1 + reg), value);
}

static void test_fresh(void)
{
	static const uint8_t want[] = { 0x00, 0x00, 0x01, 0x00, 0x00, 0x60, 0xb0, 0x00 };
	struct test t;

	set_up(&t);
	for (unsigned i = 0; i < G_N_ELEMENTS(want); i++)
		g_assert_cmphex(in(&t, i), ==, want[i]);
	out(&t, LCR, 0x83);
	g_assert_cmphex(in(&t, DATA), ==, 12);
	g_assert_cmphex(in(&t, IER), ==, 0);
	out(&t, DATA, 0x34);
	out(&t, IER, 0x12);
	g_assert_cmphex(drv_in(t.f, COM1, 2), ==, 0x1234);
	out(&t, LCR, 0x03);
	g_assert_cmphex(in(&t, LCR), ==, 0x03);
	out(&t, SCR, 0xa5);
	g_assert_cmphex(in(&t, SCR), ==, 0xa5);
	out(&t, IER, 0xff);
	g_assert_cmphex(in(&t, IER), ==, 0x0f);
	out(&t, MCR, 0xff);
	g_assert_cmphex(in(&t, MCR), ==, 0x1f);
	tear_down(&t);
}

/* As Linux tells a 16550A from its ancestors and finds its bugs. */
static void test_probe(void)
{
	struct test t;

	set_up(&t);
	/* loopback shows MCR's lines in MSR */
	out(&t, MCR, 0x10 | 0x0a);
	g_assert_cmphex(in(&t, MSR) & 0xf0, ==, 0x90);
	out(&t, MCR, 0);
	/* FIFO bits come and go */
	out(&t, IIR, 0x01);
	g_assert_cmphex(in(&t, IIR) >> 6, ==, 3);
	out(&t, IIR, 0);
	g_assert_cmphex(in(&t, IIR) >> 6, ==, 0);
	/* THRE comes back each time it is enabled: no UART_BUG_THRE, no UART_BUG_TXEN */
	for (int i = 0; i < 2; i++) {
		out(&t, IER, 2);
		g_assert_cmphex(in(&t, LSR) & 0x60, ==, 0x60);
		g_assert_cmphex(in(&t, IIR), ==, 0x02);
		g_assert_cmphex(in(&t, IIR), ==, 0x01);
		out(&t, IER, 0);
		g_assert_cmphex(in(&t, IIR), ==, 0x01);
	}
	tear_down(&t);
}

static void test_out2_gates(void)
{
	struct test t;

	set_up(&t);
	out(&t, IER, 2);
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	out(&t, MCR, 0x08);
	g_assert_cmpint(t.f->level[GSI], ==, 1);
	out(&t, MCR, 0x18);
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	out(&t, MCR, 0x08);
	g_assert_cmphex(in(&t, IIR), ==, 0x02);
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	g_assert_cmpuint(t.f->irqs, ==, 2);
	tear_down(&t);
}

static void test_loopback(void)
{
	struct test t;

	set_up(&t);
	out(&t, IIR, 0x07);
	in(&t, MSR);
	out(&t, MCR, 0x10);
	g_assert_cmphex(in(&t, MSR), ==, 0x0b);         /* CTS, DSR, DCD fell */
	out(&t, MCR, 0x14);
	g_assert_cmphex(in(&t, MSR), ==, 0x40);         /* RI rose: not reported */
	out(&t, MCR, 0x10);
	g_assert_cmphex(in(&t, MSR), ==, 0x04);         /* its end is */
	for (int i = 0; i < 17; i++)
		out(&t, DATA, (uint8_t)(0x40 + i));
	g_assert_cmphex(in(&t, LSR), ==, 0x63);         /* the 17th overran */
	g_assert_cmphex(in(&t, LSR), ==, 0x61);
	for (int i = 0; i < 16; i++)
		g_assert_cmphex(in(&t, DATA), ==, 0x40 + i);
	g_assert_cmphex(in(&t, LSR), ==, 0x60);
	out(&t, MCR, 0);
	expect(&t, "");
	tear_down(&t);
}

/* Line status before received data before transmitter before modem. */
static void test_priority(void)
{
	struct test t;

	set_up(&t);
	out(&t, MCR, 0x10);
	out(&t, IER, 0x0f);
	out(&t, DATA, 'a');
	out(&t, DATA, 'b');             /* no FIFO: overrun */
	g_assert_cmphex(in(&t, IIR), ==, 0x06);
	in(&t, LSR);
	g_assert_cmphex(in(&t, IIR), ==, 0x04);
	g_assert_cmphex(in(&t, DATA), ==, 'b');
	g_assert_cmphex(in(&t, IIR), ==, 0x02);
	g_assert_cmphex(in(&t, IIR), ==, 0x00);
	in(&t, MSR);
	g_assert_cmphex(in(&t, IIR), ==, 0x01);
	tear_down(&t);
}

static void test_output(void)
{
	struct drv_serial s;
	struct test t;

	set_up(&t);
	drv_serial_open(&s, t.f, COM1, GSI, 0xc7);
	drv_serial_print(&s, "polled\r\n");
	expect(&t, "polled\r\n");
	drv_serial_send(&s, "by interrupts, rather more than one FIFO full of text\r\n");
	expect(&t, "by interrupts, rather more than one FIFO full of text\r\n");
	g_assert_cmpuint(s.interrupts, >=, 3);
	g_assert_cmpuint(s.interrupts, <=, 5);
	drv_serial_close(&s);
	tear_down(&t);
}

/* The first byte is put out at once, the rest after a millisecond. */
static void test_prompt(void)
{
	struct test t;
	char buf[16];

	set_up(&t);
	out(&t, DATA, 'a');
	fake_step(t.f);
	g_assert_cmpint(read(t.host, buf, sizeof(buf)), ==, 1);
	out(&t, DATA, 'b');
	out(&t, DATA, 'c');
	fake_step(t.f);
	g_assert_cmpint(read(t.host, buf, sizeof(buf)), ==, -1);
	fake_pass(t.f, 1000000);
	g_assert_cmpint(read(t.host, buf, sizeof(buf)), ==, 2);
	fake_pass(t.f, 1000000);
	out(&t, DATA, 'd');
	fake_step(t.f);
	g_assert_cmpint(read(t.host, buf, sizeof(buf)), ==, 1);
	tear_down(&t);
}

static void test_input(void)
{
	struct drv_serial s;
	struct test t;

	set_up(&t);
	type(&t, "before the driver");          /* waits on the host */
	g_assert_cmphex(in(&t, LSR), ==, 0x60);
	drv_serial_open(&s, t.f, COM1, GSI, 0xc7);
	g_assert_cmpint(t.f->level[GSI], ==, 1);
	drv_serial_serve(&s);
	fake_pass(t.f, 400000);
	drv_serial_serve(&s);
	g_assert_cmpstr(s.in->str, ==, "before the driver");
	/* one byte is below the trigger level: the time-out reports it */
	type(&t, "x");
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	fake_pass(t.f, 340000);
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	fake_pass(t.f, 10000);
	g_assert_cmpint(t.f->level[GSI], ==, 1);
	g_assert_cmphex(in(&t, IIR), ==, 0xcc);
	g_assert_cmphex(in(&t, DATA), ==, 'x');
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	/* much more than a FIFO: nothing is lost */
	g_string_truncate(s.in, 0);
	for (int i = 0; i < 100; i++)
		type(&t, "0123456789");
	drv_serial_serve(&s);
	fake_pass(t.f, 400000);
	drv_serial_serve(&s);
	g_assert_cmpuint(s.in->len, ==, 1000);
	g_assert_true(g_str_has_suffix(s.in->str, "789"));
	drv_serial_close(&s);
	tear_down(&t);
}

/* A guest that only looks at LSR.DR gets its input too. */
static void test_polling(void)
{
	struct test t;

	set_up(&t);
	type(&t, "ab");
	g_assert_cmphex(in(&t, LSR), ==, 0x60);
	out(&t, DATA, 'p');             /* sending is not polling */
	g_assert_cmphex(in(&t, LSR), ==, 0x60);
	fake_step(t.f);
	g_assert_cmphex(in(&t, LSR), ==, 0x60);
	fake_step(t.f);
	g_assert_cmphex(in(&t, LSR), ==, 0x61);
	g_assert_cmphex(in(&t, DATA), ==, 'a');
	fake_step(t.f);
	g_assert_cmphex(in(&t, LSR), ==, 0x61);
	g_assert_cmphex(in(&t, DATA), ==, 'b');
	g_assert_cmphex(in(&t, LSR), ==, 0x60);
	tear_down(&t);
}

static void test_pause_holds(void)
{
	struct drv_serial s;
	struct test t;

	set_up(&t);
	drv_serial_open(&s, t.f, COM1, GSI, 0x07);
	fake_pause(t.f);
	type(&t, "q");
	g_assert_cmphex(in(&t, LSR), ==, 0x60);
	fake_resume(t.f);
	g_assert_cmphex(in(&t, LSR), ==, 0x61);
	drv_serial_serve(&s);
	g_assert_cmpstr(s.in->str, ==, "q");
	drv_serial_close(&s);
	tear_down(&t);
}

/* FIFO half full, time-out armed, transmitter's interrupt pending: saved, loaded into another machine, goes on. */
static void test_move(void)
{
	struct drv_serial s;
	struct test a, b;
	GByteArray *state;
	GError *err = NULL;

	set_up(&a);
	drv_serial_open(&s, a.f, COM1, GSI, 0x87);      /* trigger at 8 */
	type(&a, "hello");
	out(&a, DATA, '!');
	out(&a, IER, 0x05);
	g_assert_cmpint(a.f->level[GSI], ==, 0);
	fake_pass(a.f, 100000);
	fake_pause(a.f);
	state = fake_save(a.d);

	set_up(&b);
	g_assert_true(fake_load(b.d, state, &err));
	g_assert_no_error(err);
	fake_pass(b.f, 200000);
	g_assert_cmpint(b.f->level[GSI], ==, 0);
	fake_pass(b.f, 50000);                          /* 350 us after the last byte came */
	g_assert_cmpint(b.f->level[GSI], ==, 1);
	s.f = b.f;
	drv_serial_serve(&s);
	g_assert_cmpstr(s.in->str, ==, "hello");
	out(&b, IER, 0x07);
	g_assert_cmphex(in(&b, IIR), ==, 0xc2);
	out(&b, IER, 0x05);
	type(&b, "12345678");
	drv_serial_serve(&s);
	g_assert_cmpstr(s.in->str, ==, "hello12345678");
	drv_serial_send(&s, "ok");
	expect(&b, "ok");
	drv_serial_close(&s);
	g_byte_array_unref(state);
	tear_down(&a);
	tear_down(&b);
}

static void test_places(void)
{
	static const struct { const char *json; uint16_t port; unsigned gsi; } rows[] = {
		{ "{'type':'null','target':{'port':1}}", 0x2f8, 3 },
		{ "{'type':'null','target':{'port':2}}", 0x3e8, 4 },
		{ "{'type':'null','target':{'port':3}}", 0x2e8, 3 },
	};
	struct test t;

	set_up(&t);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		fake_add(t.f, "serial", rows[i].json);
		g_assert_cmphex(drv_inb(t.f, rows[i].port + LSR), ==, 0x60);
	}
	/* COM1 and COM3 share a line: it falls when both have let go */
	out(&t, MCR, 8);
	out(&t, IER, 2);
	drv_outb(t.f, 0x3e8 + MCR, 8);
	drv_outb(t.f, 0x3e8 + IER, 2);
	g_assert_cmpint(t.f->level[4], ==, 1);
	in(&t, IIR);
	g_assert_cmpint(t.f->level[4], ==, 1);
	drv_inb(t.f, 0x3e8 + IIR);
	g_assert_cmpint(t.f->level[4], ==, 0);
	tear_down(&t);
}

static void test_refused(void)
{
	static const struct { struct chardev c; const char *why; } rows[] = {
		{ { .type = CHARDEV_NULL, .target.port = 4 }, "device 'serial0': serial port 4: there are only 4" },
		{ { .type = CHARDEV_SPICEVMC }, "device 'serial0': character devices of this type are not supported" },
		{ { .type = CHARDEV_PTY, .source.path.fd = (char *)"nope" },
			"device 'serial0': no descriptor 'nope' was handed over" },
		{ { .type = CHARDEV_NULL, .address = { .type = ADDRESS_ISA, .iobase = 0xfffff, .irq = ADDRESS_UNSET } },
			"device 'serial0': port 0xfffff is outside 0..0xffff" },
		{ { .type = CHARDEV_NULL, .address = { .type = ADDRESS_ISA, .iobase = 0x3f8, .irq = 99 } },
			"device 'serial0': interrupt line 99 is outside 0..23" },
	};
	struct fake *f = fake_vm();

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct chardev c = rows[i].c;
		GError *err = NULL;

		g_assert_null(fake_try(f, "serial", &c, &err));
		g_assert_nonnull(err);
		g_assert_cmpstr(err->message, ==, rows[i].why);
		g_error_free(err);
	}
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/serial/fresh", test_fresh);
	g_test_add_func("/serial/probe", test_probe);
	g_test_add_func("/serial/out2-gates", test_out2_gates);
	g_test_add_func("/serial/loopback", test_loopback);
	g_test_add_func("/serial/priority", test_priority);
	g_test_add_func("/serial/output", test_output);
	g_test_add_func("/serial/prompt", test_prompt);
	g_test_add_func("/serial/input", test_input);
	g_test_add_func("/serial/polling", test_polling);
	g_test_add_func("/serial/pause-holds", test_pause_holds);
	g_test_add_func("/serial/move", test_move);
	g_test_add_func("/serial/places", test_places);
	g_test_add_func("/serial/refused", test_refused);
	return g_test_run();
}
