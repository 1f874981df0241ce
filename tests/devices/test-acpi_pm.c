/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ACPI fixed hardware as an OS sees it. */
#include "devices/acpi_pm.h"
#include "domain/error.h"
#include "hv/x86/ports.h"
#include "tests/fake/driver.h"

#define STS PORT_PM1_EVT
#define EN (PORT_PM1_EVT + 2)
#define CNT PORT_PM1_CNT
#define SCI IRQ_SCI
#define SECOND 1000000000ll

struct test {
	struct fake *f;
	struct device *d;
};

static void set_up(struct test *t)
{
	t->f = fake_vm();
	t->d = fake_add(t->f, "acpi-pm", NULL);
}

static void test_button(void)
{
	struct test t;

	set_up(&t);
	acpi_pm_button(t.d);                            /* not enabled: remembered, no SCI */
	g_assert_cmpint(t.f->level[SCI], ==, 0);
	g_assert_cmphex(drv_in(t.f, STS, 2), ==, 0x0100);
	g_assert_false(acpi_pm_hears_button(t.d));
	drv_out(t.f, EN, 2, 0x0120);
	g_assert_true(acpi_pm_hears_button(t.d));
	g_assert_cmpint(t.f->level[SCI], ==, 1);
	drv_out(t.f, STS, 2, 0x0001);                   /* clears only what is written as 1 */
	g_assert_cmpint(t.f->level[SCI], ==, 1);
	drv_out(t.f, STS, 2, 0x0100);
	g_assert_cmpint(t.f->level[SCI], ==, 0);
	acpi_pm_button(t.d);
	g_assert_cmpint(t.f->level[SCI], ==, 1);
	drv_outb(t.f, STS + 1, 0x01);                   /* by bytes */
	g_assert_cmpint(t.f->level[SCI], ==, 0);
	drv_outb(t.f, EN, 0xff);
	g_assert_cmphex(drv_in(t.f, EN, 2), ==, 0x0121);
	g_assert_cmphex(drv_in(t.f, STS, 4), ==, 0x01210000);
	fake_free(t.f);
}

static void test_sleep(void)
{
	struct test t;

	set_up(&t);
	g_assert_cmphex(drv_in(t.f, CNT, 2), ==, 1);
	drv_out(t.f, CNT, 2, 5 << 10);                  /* the type first, as Linux does */
	g_assert_cmpuint(t.f->requests_n, ==, 0);
	g_assert_cmphex(drv_in(t.f, CNT, 2), ==, 5 << 10 | 1);
	drv_out(t.f, CNT, 2, 5 << 10 | 1 << 13);
	g_assert_cmpuint(t.f->requests_n, ==, 1);
	g_assert_cmpint(t.f->requests[0].what, ==, VM_REQ_POWEROFF);
	drv_outb(t.f, CNT + 1, 0x34);                   /* by bytes */
	g_assert_cmpuint(t.f->requests_n, ==, 2);
	drv_out(t.f, CNT, 2, 3 << 10 | 1 << 13);        /* S3: there is none */
	g_assert_cmpuint(t.f->requests_n, ==, 2);
	g_assert_cmpuint(t.d->guest_errors, ==, 1);
	g_assert_cmphex(drv_in(t.f, CNT, 2) & 1 << 13, ==, 0);
	drv_outb(t.f, PORT_RESET, 0);
	g_assert_cmpuint(t.f->requests_n, ==, 2);
	drv_outb(t.f, PORT_RESET, RESET_VALUE);
	g_assert_cmpint(t.f->requests[2].what, ==, VM_REQ_RESET);
	fake_free(t.f);
}

static void test_timer(void)
{
	struct test t;
	uint64_t a;

	set_up(&t);
	g_assert_cmpuint(drv_in(t.f, PORT_PM_TMR, 4), ==, 0);
	fake_pass(t.f, SECOND);
	g_assert_cmpuint(drv_in(t.f, PORT_PM_TMR, 4), ==, 3579545);
	g_assert_cmpuint(drv_in(t.f, PORT_PM_TMR + 1, 2), ==, 3579545 >> 8 & 0xffff);
	fake_pause(t.f);
	clock_step(t.f->clock, SECOND);
	g_assert_cmpuint(drv_in(t.f, PORT_PM_TMR, 4), ==, 3579545);
	fake_resume(t.f);
	drv_out(t.f, PORT_PM_TMR, 4, 5);
	g_assert_cmpuint(t.d->guest_errors, ==, 1);
	/* the top bit changes after 599.9 s: reported, by interrupt when wanted; and 32 bits wrap after 1199.8 s */
	fake_pass(t.f, 598 * SECOND);
	g_assert_cmphex(drv_in(t.f, STS, 2), ==, 0);
	drv_out(t.f, EN, 2, 1);
	fake_pass(t.f, SECOND);
	g_assert_cmpint(t.f->level[SCI], ==, 1);
	g_assert_cmphex(drv_in(t.f, STS, 2), ==, 1);
	drv_out(t.f, STS, 2, 1);
	g_assert_cmpint(t.f->level[SCI], ==, 0);
	a = drv_in(t.f, PORT_PM_TMR, 4);
	g_assert_cmphex(a, >, 0x80000000);
	fake_pass(t.f, 600 * SECOND);
	g_assert_cmpint(t.f->level[SCI], ==, 1);
	g_assert_cmphex(drv_in(t.f, PORT_PM_TMR, 4), ==, (3579545ull * 1200) & UINT32_MAX);
	/* years */
	fake_pass(t.f, 10ll * 365 * 86400 * SECOND);
	drv_in(t.f, STS, 2);
	fake_free(t.f);
}

static void test_gpe(void)
{
	struct test t;

	set_up(&t);
	drv_out(t.f, PORT_GPE0 + 2, 2, 1 << GPE_CPU_HOTPLUG);
	gpe_raise(t.d, GPE_PCI_HOTPLUG);
	g_assert_cmpint(t.f->level[SCI], ==, 0);
	gpe_raise(t.d, GPE_CPU_HOTPLUG);
	g_assert_cmpint(t.f->level[SCI], ==, 1);
	g_assert_cmphex(drv_in(t.f, PORT_GPE0, 2), ==, 6);
	drv_out(t.f, EN, 2, 0x100);
	acpi_pm_button(t.d);                            /* two reasons at once */
	drv_outb(t.f, PORT_GPE0, 1 << GPE_CPU_HOTPLUG);
	g_assert_cmpint(t.f->level[SCI], ==, 1);
	drv_out(t.f, STS, 2, 0x100);
	g_assert_cmpint(t.f->level[SCI], ==, 0);
	gpe_raise(t.d, 15);
	g_assert_cmphex(drv_in(t.f, PORT_GPE0, 4), ==, 0x00048002);
	fake_free(t.f);
}

/* The button was pressed, the guest has not looked yet: it still sees it after the move. */
static void test_move(void)
{
	struct test a, b;
	GByteArray *state;
	GError *err = NULL;

	set_up(&a);
	drv_out(a.f, EN, 2, 0x120);
	drv_out(a.f, PORT_GPE0 + 2, 2, 4);
	acpi_pm_button(a.d);
	fake_pause(a.f);
	state = fake_save(a.d);
	set_up(&b);
	(void)fake_load(b.d, state, &err);
	g_assert_no_error(err);
	g_assert_cmpint(b.f->level[SCI], ==, 1);
	drv_out(b.f, STS, 2, 0x100);
	g_assert_cmpint(b.f->level[SCI], ==, 0);
	gpe_raise(b.d, 2);
	g_assert_cmpint(b.f->level[SCI], ==, 1);
	devices_reset(&b.f->vm);
	g_assert_cmpint(b.f->level[SCI], ==, 0);
	g_byte_array_unref(state);
	fake_free(a.f);
	fake_free(b.f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/acpi-pm/button", test_button);
	g_test_add_func("/acpi-pm/sleep", test_sleep);
	g_test_add_func("/acpi-pm/timer", test_timer);
	g_test_add_func("/acpi-pm/gpe", test_gpe);
	g_test_add_func("/acpi-pm/move", test_move);
	return g_test_run();
}
