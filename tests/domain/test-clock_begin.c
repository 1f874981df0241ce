/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a guest's clock begins with, by each form of <clock>. */
#include <stdlib.h>

#include "domain/clock.h"
#include "domain/error.h"

#define WINTER 1768000000ll     /* 2026-01-09 */
#define SUMMER 1783600000ll     /* 2026-07-09 */

static void test_offsets(void)
{
	static const struct { struct clock_config c; int64_t now, ahead, adjusted; } rows[] = {
		{ { .offset = CLOCK_UTC }, WINTER, 0, 0 },
		{ { .offset = CLOCK_UTC, .adjustment = "reset" }, WINTER, 0, 0 },
		{ { .offset = CLOCK_UTC, .adjustment = "-60" }, WINTER, -60, -60 },
		{ { .offset = CLOCK_LOCALTIME }, WINTER, 3600, 0 },
		{ { .offset = CLOCK_LOCALTIME }, SUMMER, 7200, 0 },
		{ { .offset = CLOCK_VARIABLE, .adjustment = "86400" }, SUMMER, 86400, 86400 },
		{ { .offset = CLOCK_VARIABLE, .adjustment = "-10", .basis = BASIS_LOCALTIME }, SUMMER, 7190, -10 },
		{ { .offset = CLOCK_TIMEZONE, .timezone = "Asia/Kolkata" }, SUMMER, 19800, 0 },
		{ { .offset = CLOCK_TIMEZONE, .timezone = "America/New_York" }, WINTER, -18000, 0 },
		{ { .offset = CLOCK_ABSOLUTE, .start = 1000000000 }, WINTER, 1000000000 - WINTER, 0 },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct clock_config c = rows[i].c;
		g_autoptr(GError) err = NULL;

		g_assert_true(clock_begin(&c, rows[i].now, &err));
		g_assert_no_error(err);
		g_assert_cmpint(c.ahead, ==, rows[i].ahead);
		g_assert_cmpint(c.adjusted, ==, rows[i].adjusted);
	}
}

static void test_refused(void)
{
	static const struct { struct clock_config c; int code; } rows[] = {
		{ { .offset = CLOCK_TIMEZONE, .timezone = "Europe/Atlantis" }, KERR_ARGS },
		{ { .offset = CLOCK_TIMEZONE, .timezone = "../../../etc/passwd" }, KERR_ARGS },
		{ { .offset = CLOCK_TIMEZONE, .timezone = "/etc/localtime" }, KERR_ARGS },
		{ { .offset = CLOCK_VARIABLE, .adjustment = "9223372036854775807" }, KERR_LIMIT },
		{ { .offset = CLOCK_VARIABLE, .adjustment = "-9223372036854775808" }, KERR_LIMIT },
		{ { .offset = CLOCK_ABSOLUTE, .start = INT64_MAX }, KERR_LIMIT },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct clock_config c = rows[i].c;
		g_autoptr(GError) err = NULL;

		g_assert_false(clock_begin(&c, WINTER, &err));
		g_assert_error(err, kerr_quark(), rows[i].code);
	}
}

int main(int argc, char **argv)
{
	g_setenv("TZ", "Europe/Berlin", TRUE);
	g_test_init(&argc, &argv, NULL);
	if (!g_file_test("/usr/share/zoneinfo/Europe/Berlin", G_FILE_TEST_EXISTS)) {
		g_print("1..0 # SKIP no time zones here: install tzdata\n");
		return 0;
	}
	g_test_add_func("/clock/offsets", test_offsets);
	g_test_add_func("/clock/refused", test_refused);
	return g_test_run();
}
