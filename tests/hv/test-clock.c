/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest time stands and goes; the others do not care. */
#include <glib.h>

#include "hv/clock.h"

static void test_manual(void)
{
	struct clock *c = clock_new_manual();

	g_assert_cmpint(clock_now(c, CLOCK_GUEST), ==, 0);
	clock_step(c, 100);
	g_assert_cmpint(clock_now(c, CLOCK_GUEST), ==, 100);
	g_assert_cmpint(clock_now(c, CLOCK_HOST), ==, 100);
	clock_stop(c);
	clock_stop(c);
	clock_step(c, 50);
	g_assert_cmpint(clock_now(c, CLOCK_GUEST), ==, 100);
	g_assert_cmpint(clock_now(c, CLOCK_HOST), ==, 150);
	g_assert_false(clock_goes(c));
	clock_go(c);
	clock_go(c);
	clock_step(c, 7);
	g_assert_cmpint(clock_now(c, CLOCK_GUEST), ==, 107);
	clock_stop(c);
	clock_set_guest(c, 1000000);
	clock_go(c);
	clock_step(c, 1);
	g_assert_cmpint(clock_now(c, CLOCK_GUEST), ==, 1000001);
	clock_set_wall_offset(c, -58);
	g_assert_cmpint(clock_now(c, CLOCK_WALL), ==, 100);
	clock_free(c);
}

static void test_real(void)
{
	struct clock *c = clock_new();
	int64_t a, b;

	g_assert_cmpint(clock_now(c, CLOCK_GUEST), ==, 0);
	g_assert_false(clock_goes(c));
	clock_go(c);
	a = clock_now(c, CLOCK_GUEST);
	b = clock_now(c, CLOCK_GUEST);
	g_assert_cmpint(a, >=, 0);
	g_assert_cmpint(b, >=, a);
	g_assert_cmpint(ABS(clock_now(c, CLOCK_WALL) / 1000 - g_get_real_time()), <, 1000000);
	clock_stop(c);
	a = clock_now(c, CLOCK_GUEST);
	g_assert_cmpint(clock_now(c, CLOCK_GUEST), ==, a);
	clock_free(c);
	clock_free(NULL);
}

static void count(void *arg)
{
	++*(int *)arg;
}

static void test_watch(void)
{
	struct clock *c = clock_new_manual();
	int n = 0, m = 0;
	struct clock_watch a = { .fn = count, .arg = &n }, b = { .fn = count, .arg = &m };

	clock_watch_add(c, &a);
	clock_watch_add(c, &b);
	clock_stop(c);
	clock_set_guest(c, 5);
	clock_go(c);
	clock_step(c, 1);
	clock_set_wall_offset(c, 1);
	g_assert_cmpint(n, ==, 5);
	clock_watch_remove(c, &a);
	clock_step(c, 1);
	g_assert_cmpint(n, ==, 5);
	g_assert_cmpint(m, ==, 6);
	clock_watch_remove(c, &b);
	clock_free(c);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/clock/manual", test_manual);
	g_test_add_func("/clock/real", test_real);
	g_test_add_func("/clock/watch", test_watch);
	return g_test_run();
}
