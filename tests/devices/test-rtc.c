/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The real-time clock as drivers see it. */
#include "devices/rtc.h"
#include "domain/error.h"
#include "tests/fake/driver.h"

#define SECOND 1000000000ll
#define GSI 8
/* 2024-02-29 23:59:58 UTC, a Thursday */
#define LEAP 1709251198ll

struct test {
	struct fake *f;
	struct device *d;
};

static uint8_t get(struct test *t, uint8_t reg)
{
	drv_outb(t->f, 0x70, reg);
	return drv_inb(t->f, 0x71);
}

static void set(struct test *t, uint8_t reg, uint8_t value)
{
	drv_outb(t->f, 0x70, reg);
	drv_outb(t->f, 0x71, value);
}

static void set_up(struct test *t)
{
	t->f = fake_vm();
	clock_set_wall_offset(t->f->clock, LEAP * SECOND);
	t->d = fake_add(t->f, "rtc", NULL);
}

static void tear_down(struct test *t)
{
	fake_free(t->f);
}

static void expect_time(struct test *t, const char *want)
{
	g_autofree char *got = g_strdup_printf("%02x%02x-%02x-%02x %02x:%02x:%02x day %x", get(t, 0x32), get(t, 9), get(t, 8),
		get(t, 7), get(t, 4), get(t, 2), get(t, 0), get(t, 6));

	g_assert_cmpstr(got, ==, want);
}

/* It begins as <clock> has it, and what the guest sets is told. */
static void test_begin(void)
{
	struct test t = { .f = fake_vm() };

	clock_set_wall_offset(t.f->clock, LEAP * SECOND);
	t.d = fake_add(t.f, "rtc", "{\"ahead\":-172800}");
	expect_time(&t, "2024-02-27 23:59:58 day 3");
	g_assert_cmpint(rtc_moved(t.d), ==, 0);
	g_assert_cmpuint(t.f->clock_sets, ==, 0);
	set(&t, 0x0b, 0x82);
	set(&t, 4, 0x22);       /* an hour and a minute back */
	set(&t, 2, 0x58);
	g_assert_cmpuint(t.f->clock_sets, ==, 0);
	set(&t, 0x0b, 0x02);
	g_assert_cmpuint(t.f->clock_sets, ==, 1);
	g_assert_cmpint(rtc_moved(t.d), ==, -3660);
	expect_time(&t, "2024-02-27 22:58:58 day 3");
	tear_down(&t);
}

static void test_time(void)
{
	struct test t;

	set_up(&t);
	expect_time(&t, "2024-02-29 23:59:58 day 5");
	g_assert_cmphex(get(&t, 0x0a), ==, 0x26);
	g_assert_cmphex(get(&t, 0x0b), ==, 0x02);
	g_assert_cmphex(get(&t, 0x0d), ==, 0x80);
	fake_pass(t.f, 2 * SECOND);
	expect_time(&t, "2024-03-01 00:00:00 day 6");
	/* the machine is paused, the clock is not */
	fake_pause(t.f);
	clock_step(t.f->clock, 3600 * SECOND);
	fake_resume(t.f);
	expect_time(&t, "2024-03-01 01:00:00 day 6");
	/* binary, 12 hours */
	fake_pass(t.f, 12 * 3600 * SECOND + 45 * SECOND);
	set(&t, 0x0b, 0x06);
	g_assert_cmpuint(get(&t, 4), ==, 13);
	g_assert_cmpuint(get(&t, 0), ==, 45);
	set(&t, 0x0b, 0x04);
	g_assert_cmphex(get(&t, 4), ==, 0x81);
	set(&t, 0x0b, 0x00);
	g_assert_cmphex(get(&t, 0), ==, 0x45);
	fake_pass(t.f, 11 * 3600 * SECOND);
	g_assert_cmphex(get(&t, 4), ==, 0x12);          /* midnight */
	tear_down(&t);
}

static void test_calendar(void)
{
	static const struct { int64_t secs; const char *want; } rows[] = {
		{ 0, "1970-01-01 00:00:00 day 5" },
		{ 951782400, "2000-02-29 00:00:00 day 3" },
		{ 4102444799, "2099-12-31 23:59:59 day 5" },
		{ 4107542400, "2100-03-01 00:00:00 day 2" },
		{ -1, "1969-12-31 23:59:59 day 4" },
		{ -2208988800, "1900-01-01 00:00:00 day 2" },
	};
	struct test t;

	set_up(&t);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		clock_set_wall_offset(t.f->clock, rows[i].secs * SECOND);
		expect_time(&t, rows[i].want);
	}
	tear_down(&t);
}

/* As Linux sets it: SET, divider held, registers, SET off, divider on. */
static void test_set(void)
{
	struct test t;

	set_up(&t);
	set(&t, 0x0b, 0x82);
	set(&t, 0x0a, 0x76);
	set(&t, 9, 0x31);
	set(&t, 8, 0x12);
	set(&t, 7, 0x31);
	set(&t, 4, 0x23);
	set(&t, 2, 0x59);
	set(&t, 0, 0x50);
	set(&t, 0x32, 0x20);
	fake_pass(t.f, 100 * SECOND);                   /* stands */
	g_assert_cmphex(get(&t, 0), ==, 0x50);
	set(&t, 0x0b, 0x02);
	g_assert_cmphex(get(&t, 0), ==, 0x50);
	set(&t, 0x0a, 0x26);
	expect_time(&t, "2031-12-31 23:59:50 day 4");
	fake_pass(t.f, SECOND / 2);                     /* the first second is half as long */
	expect_time(&t, "2031-12-31 23:59:51 day 4");
	fake_pass(t.f, 9 * SECOND);
	expect_time(&t, "2032-01-01 00:00:00 day 5");
	/* a reset keeps it */
	devices_reset(&t.f->vm);
	expect_time(&t, "2032-01-01 00:00:00 day 5");
	/* without SET one register at a time */
	set(&t, 2, 0x30);
	expect_time(&t, "2032-01-01 00:30:00 day 5");
	/* no date at all */
	set(&t, 0x0b, 0x82);
	for (uint8_t reg = 0; reg < 10; reg++)
		set(&t, reg, 0xff);
	set(&t, 0x32, 0xff);
	set(&t, 0x0b, 0x02);
	fake_pass(t.f, 3 * SECOND);
	get(&t, 0);
	tear_down(&t);
}

static void test_update(void)
{
	struct test t;

	set_up(&t);
	set(&t, 0x0a, 0x20);                            /* no periodic flag in between, and no alarm */
	set(&t, 5, 0x25);
	g_assert_cmphex(get(&t, 0x0c), ==, 0);
	fake_pass(t.f, SECOND - 300000);
	g_assert_cmphex(get(&t, 0x0a), ==, 0x20);
	fake_pass(t.f, 100000);
	g_assert_cmphex(get(&t, 0x0a), ==, 0xa0);       /* update in progress */
	g_assert_cmphex(get(&t, 0x0c), ==, 0);
	fake_pass(t.f, 200000);
	g_assert_cmphex(get(&t, 0x0a), ==, 0x20);
	g_assert_cmphex(get(&t, 0x0c), ==, 0x10);       /* without interrupt */
	g_assert_cmphex(get(&t, 0x0c), ==, 0);
	set(&t, 0x0b, 0x12);
	fake_pass(t.f, SECOND - 1);
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	fake_pass(t.f, 1);
	g_assert_cmpint(t.f->level[GSI], ==, 1);
	g_assert_cmphex(get(&t, 0x0c), ==, 0x90);
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	fake_pass(t.f, 5 * SECOND);
	g_assert_cmpuint(t.f->rises[GSI], ==, 2);       /* not seen yet: one */
	g_assert_cmphex(get(&t, 0x0c), ==, 0x90);
	set(&t, 0x0b, 0x92);                            /* SET clears UIE */
	g_assert_cmphex(get(&t, 0x0b), ==, 0x82);
	tear_down(&t);
}

static void test_alarm(void)
{
	struct test t;

	set_up(&t);
	set(&t, 0x0a, 0x20);
	set(&t, 1, 0x00);
	set(&t, 3, 0x00);
	set(&t, 5, 0x06);
	set(&t, 0x0b, 0x22);
	fake_pass(t.f, 2 * SECOND + 6 * 3600 * SECOND - 1);
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	fake_pass(t.f, 1);
	g_assert_cmpint(t.f->level[GSI], ==, 1);
	g_assert_cmphex(get(&t, 0x0c), ==, 0xb0);
	/* the same time tomorrow */
	fake_pass(t.f, 86399 * SECOND);
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	fake_pass(t.f, SECOND);
	g_assert_cmpint(t.f->level[GSI], ==, 1);
	get(&t, 0x0c);
	/* every minute at :30 */
	set(&t, 1, 0x30);
	set(&t, 3, 0xff);
	set(&t, 5, 0xc0);
	for (int i = 0; i < 3; i++) {
		fake_pass(t.f, (i ? 60 : 30) * SECOND);
		g_assert_cmpint(t.f->level[GSI], ==, 1);
		get(&t, 0x0c);
	}
	/* never: 25 o'clock */
	set(&t, 5, 0x25);
	fake_pass(t.f, 3 * 86400 * SECOND);
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	/* afternoon of a 12 hour clock */
	set(&t, 0x0b, 0x20);
	set(&t, 1, 0x00);
	set(&t, 3, 0x00);
	set(&t, 5, 0x83);
	get(&t, 0x0c);
	fake_pass(t.f, 86400 * SECOND);
	g_assert_cmphex(get(&t, 0x0c) & 0xa0, ==, 0xa0);
	g_assert_cmpuint(get(&t, 4), <, 0x90);
	tear_down(&t);
}

static void test_periodic(void)
{
	struct test t;

	set_up(&t);
	get(&t, 0x0c);
	set(&t, 0x0b, 0x42);                            /* 1024 Hz */
	for (int i = 1; i <= 100; i++) {
		fake_pass(t.f, 976563);
		g_assert_cmpint(t.f->level[GSI], ==, 1);
		g_assert_cmphex(get(&t, 0x0c) & 0xc0, ==, 0xc0);
		g_assert_cmpint(t.f->level[GSI], ==, 0);
	}
	/* guest time stands, and so does it */
	fake_pause(t.f);
	clock_step(t.f->clock, 10 * SECOND);
	fake_step(t.f);
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	fake_resume(t.f);
	g_assert_cmpint(t.f->level[GSI], ==, 0);
	fake_pass(t.f, 976563);
	g_assert_cmpint(t.f->level[GSI], ==, 1);
	/* off */
	set(&t, 0x0a, 0x20);
	get(&t, 0x0c);
	fake_pass(t.f, SECOND);
	g_assert_cmphex(get(&t, 0x0c) & 0x40, ==, 0);
	tear_down(&t);
}

static void test_ram(void)
{
	struct test t;

	set_up(&t);
	g_assert_cmphex(get(&t, 0x15), ==, 0x80);       /* 640 KiB */
	g_assert_cmphex(get(&t, 0x16), ==, 0x02);
	g_assert_cmphex(get(&t, 0x17), ==, 0);          /* nothing above 1 MiB here */
	set(&t, 0x40, 0x5a);
	drv_outb(t.f, 0x70, 0x80 | 0x40);               /* NMI masked: the same register */
	g_assert_cmphex(drv_inb(t.f, 0x71), ==, 0x5a);
	g_assert_cmphex(drv_inb(t.f, 0x70), ==, 0xff);
	tear_down(&t);
}

static void test_memory_size(void)
{
	struct test t;

	set_up(&t);
	t.f->vm.ram.pieces[0].size = RAM_HOLE_START;
	t.f->vm.ram.pieces[1].size = 5ull << 30;
	devices_reset(&t.f->vm);
	g_assert_cmphex(get(&t, 0x17) | get(&t, 0x18) << 8, ==, 0xffff);
	g_assert_cmphex(get(&t, 0x34) | get(&t, 0x35) << 8, ==, (RAM_HOLE_START >> 16) - 256);
	g_assert_cmphex(get(&t, 0x5b) | get(&t, 0x5c) << 8 | get(&t, 0x5d) << 16, ==, 5 << 14);
	t.f->vm.ram.pieces[0].size = FAKE_RAM;
	t.f->vm.ram.pieces[1].size = 0;
	tear_down(&t);
}

/* An alarm and a set clock, moved to a host whose clock is elsewhere. */
static void test_move(void)
{
	struct test a, b;
	GByteArray *state;
	GError *err = NULL;

	set_up(&a);
	set(&a, 4, 0x12);                               /* the guest keeps noon */
	set(&a, 1, 0x03);
	set(&a, 3, 0x00);
	set(&a, 5, 0x13);
	set(&a, 0x0b, 0x22);
	set(&a, 0x40, 0x77);
	expect_time(&a, "2024-02-29 12:59:58 day 5");
	fake_pause(a.f);
	state = fake_save(a.d);
	set_up(&b);
	clock_set_wall_offset(b.f->clock, (LEAP + 1) * SECOND);
	(void)fake_load(b.d, state, &err);
	g_assert_no_error(err);
	expect_time(&b, "2024-02-29 12:59:59 day 5");
	fake_pass(b.f, 3 * SECOND);
	g_assert_cmpint(b.f->level[GSI], ==, 0);
	fake_pass(b.f, SECOND);
	g_assert_cmpint(b.f->level[GSI], ==, 1);
	g_assert_cmphex(get(&b, 0x40), ==, 0x77);
	g_byte_array_unref(state);
	tear_down(&a);
	tear_down(&b);
}

/* The host's clock is set back and far forward. */
static void test_host_clock(void)
{
	struct test t;

	set_up(&t);
	set(&t, 0x0a, 0x20);
	set(&t, 1, 0xff);
	set(&t, 3, 0xff);
	set(&t, 5, 0xff);
	set(&t, 0x0b, 0x32);
	for (int i = 0; i < 50; i++) {
		clock_set_wall_offset(t.f->clock, (LEAP + (i % 2 ? -1000000000ll : 3000000000ll)) * SECOND);
		fake_step(t.f);
		get(&t, 0x0c);
		fake_pass(t.f, SECOND);
		g_assert_cmphex(get(&t, 0x0c), ==, 0xb0);
	}
	tear_down(&t);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/rtc/begin", test_begin);
	g_test_add_func("/rtc/time", test_time);
	g_test_add_func("/rtc/calendar", test_calendar);
	g_test_add_func("/rtc/set", test_set);
	g_test_add_func("/rtc/update", test_update);
	g_test_add_func("/rtc/alarm", test_alarm);
	g_test_add_func("/rtc/periodic", test_periodic);
	g_test_add_func("/rtc/ram", test_ram);
	g_test_add_func("/rtc/memory-size", test_memory_size);
	g_test_add_func("/rtc/move", test_move);
	g_test_add_func("/rtc/host-clock", test_host_clock);
	return g_test_run();
}
