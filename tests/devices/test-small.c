/* SPDX-License-Identifier: GPL-2.0-or-later */
/* i8042, pvpanic and the exit port. */
#include "domain/error.h"
#include "domain/machine.h"
#include "tests/fake/driver.h"

static uint8_t kbc(struct fake *f, uint8_t cmd)
{
	drv_outb(f, 0x64, cmd);
	g_assert_cmphex(drv_inb(f, 0x64) & 1, ==, 1);
	return drv_inb(f, 0x60);
}

static void test_i8042_probe(void)
{
	struct fake *f = fake_vm();

	fake_add(f, "i8042", NULL);
	g_assert_cmphex(drv_inb(f, 0x64), ==, 0x10);
	g_assert_cmphex(kbc(f, 0xaa), ==, 0x55);
	g_assert_cmphex(drv_inb(f, 0x64), ==, 0x1c);
	g_assert_cmphex(kbc(f, 0x20), ==, 0x34);
	drv_outb(f, 0x64, 0x60);
	drv_outb(f, 0x60, 0x75);
	g_assert_cmphex(kbc(f, 0x20), ==, 0x75);
	g_assert_cmpint(f->level[1], ==, 0);
	g_assert_cmphex(kbc(f, 0xab), ==, 0);
	g_assert_cmphex(kbc(f, 0xd0), ==, 3);
	/* no keyboard: a time-out at once, with its interrupt */
	drv_outb(f, 0x60, 0xf2);
	g_assert_cmpint(f->level[1], ==, 1);
	g_assert_cmphex(drv_inb(f, 0x64) & 0x61, ==, 0x41);
	g_assert_cmphex(drv_inb(f, 0x60), ==, 0xfe);
	g_assert_cmpint(f->level[1], ==, 0);
	g_assert_cmphex(drv_inb(f, 0x64) & 0x61, ==, 0);
	/* no mouse */
	g_assert_cmphex(kbc(f, 0xa9), !=, 0);
	drv_outb(f, 0x64, 0xd4);
	drv_outb(f, 0x60, 0xf2);
	g_assert_cmphex(drv_inb(f, 0x64) & 0x61, ==, 0x61);
	g_assert_cmphex(drv_inb(f, 0x60), ==, 0xfe);
	drv_outb(f, 0x64, 0xd3);
	drv_outb(f, 0x60, 0xa5);
	g_assert_cmphex(drv_inb(f, 0x64) & 0x21, ==, 0x21);
	g_assert_cmphex(drv_inb(f, 0x60), ==, 0xa5);
	g_assert_cmpuint(f->requests_n, ==, 0);
	fake_free(f);
}

static void test_i8042_resets(void)
{
	struct fake *f = fake_vm();

	fake_add(f, "i8042", NULL);
	drv_outb(f, 0x64, 0xff);                /* pulses nothing */
	drv_outb(f, 0x64, 0xd1);
	drv_outb(f, 0x60, 0xdf);                /* A20 only */
	drv_outb(f, 0x92, 0x02);
	g_assert_cmpuint(f->requests_n, ==, 0);
	g_assert_cmphex(drv_inb(f, 0x92), ==, 0x02);
	drv_outb(f, 0x64, 0xfe);
	drv_outb(f, 0x64, 0xd1);
	drv_outb(f, 0x60, 0xfe);
	drv_outb(f, 0x92, 0x01);
	g_assert_cmpuint(f->requests_n, ==, 3);
	for (int i = 0; i < 3; i++)
		g_assert_cmpint(f->requests[i].what, ==, VM_REQ_RESET);
	fake_free(f);
}

/* Between a command and its parameter. */
static void test_i8042_move(void)
{
	struct fake *a = fake_vm(), *b = fake_vm();
	struct device *from = fake_add(a, "i8042", NULL), *to = fake_add(b, "i8042", NULL);
	GByteArray *state;

	drv_outb(a, 0x64, 0xd2);
	fake_pause(a);
	state = fake_save(from);
	g_assert_true(fake_load(to, state, NULL));
	drv_outb(b, 0x60, 0x99);
	g_assert_cmphex(drv_inb(b, 0x64) & 1, ==, 1);
	g_assert_cmphex(drv_inb(b, 0x60), ==, 0x99);
	g_byte_array_unref(state);
	fake_free(a);
	fake_free(b);
}

static void test_pvpanic(void)
{
	struct fake *f = fake_vm();
	struct panic config = { .address = { .type = ADDRESS_ISA, .iobase = 0x510, .irq = ADDRESS_UNSET } };
	struct device *d = fake_add(f, "pvpanic", NULL);
	GError *err = NULL;

	g_assert_cmphex(drv_inb(f, 0x505), ==, 7);
	drv_outb(f, 0x505, 1);
	drv_outb(f, 0x505, 2);
	drv_outb(f, 0x505, 0x80);
	g_assert_cmpuint(f->requests_n, ==, 2);
	g_assert_cmpint(f->requests[1].what, ==, VM_REQ_PANIC);
	g_assert_cmpuint(f->requests[1].value, ==, 2);
	g_assert_cmpuint(d->guest_errors, ==, 1);
	g_assert_nonnull(fake_try(f, "pvpanic", &config, NULL));
	g_assert_cmphex(drv_inb(f, 0x510), ==, 7);
	config.address.iobase = 0x10000;
	g_assert_null(fake_try(f, "pvpanic", &config, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_error_free(err);
	fake_free(f);
}

static void test_exit_port(void)
{
	struct fake *f = fake_vm();
	struct machine_test config = { .exit_port = 0xf4 }, off = { 0 };
	GError *err = NULL;

	g_assert_null(fake_try(f, "test-exit", &off, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_error_free(err);
	g_assert_nonnull(fake_try(f, "test-exit", &config, NULL));
	drv_outb(f, 0xf4, 42);
	g_assert_cmpuint(f->requests_n, ==, 1);
	g_assert_cmpint(f->requests[0].what, ==, VM_REQ_TEST_EXIT);
	g_assert_cmpuint(f->requests[0].value, ==, 42);
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/i8042/probe", test_i8042_probe);
	g_test_add_func("/i8042/resets", test_i8042_resets);
	g_test_add_func("/i8042/move", test_i8042_move);
	g_test_add_func("/pvpanic/events", test_pvpanic);
	g_test_add_func("/test-exit/port", test_exit_port);
	return g_test_run();
}
