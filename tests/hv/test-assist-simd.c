/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Vector, opmask, MMX and x87 rows against the processor: each row in each encoding, prefix, length
 * and W it may have, with random operands and state; whole extended state and memory are compared.
 */
#include "test-assist-native.h"
#include <stdio.h>
#include <string.h>

/* A SIGFPE leaves the destination alone but not always the same exception flags as a second run;
 * bench_differs() compares vectors only then. */
static void rows(gconstpointer data)
{
	unsigned first = GPOINTER_TO_UINT(data), last = first + 32;
	struct bench *b = bench_new();
	g_autofree struct outcome *e = g_new0(struct outcome, 1), *r = g_new0(struct outcome, 1);

	for (unsigned i = first; i < last && i < assist_simd_rows_n; i++) {
		const struct assist_row *row = &assist_simd_rows[i];

		for (unsigned enc = ENC_LEGACY; enc <= ENC_EVEX; enc <<= 1) {
			unsigned done = 0, fpe = 0;

			for (unsigned n = 0; (row->enc & enc) && n < 120; n++) {
				char why[200], text[ASSIST_DESCRIBE_SIZE];
				uint8_t code[32];
				unsigned len;

				bench_random_regs(b);
				bench_random_xstate(b);
				len = bench_instance(b, row, enc, code);
				bench_emulate(b, code, len, e);
				g_assert_cmpint(e->result, !=, ASSIST_UNKNOWN);
				g_assert_cmpint(e->vector, !=, ASSIST_PF);
				bench_execute(b, code, len, r);
				if (bench_differs(b, e, r, RF_ARITH, why, sizeof why))
					g_error("%s: %s", assist_describe(code, len, text), why);
				done += e->result == ASSIST_DONE;
				fpe += e->vector == ASSIST_MF || e->vector == ASSIST_XM;
			}
			if ((row->enc & enc) && !done)
				g_test_message("%s, encoding %u: refused by this processor (%u FP)",
					       row->name, enc, fpe);
		}
	}
	bench_free(b);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < assist_simd_rows_n; i += 32) {
		g_autofree char *path = g_strdup_printf("/assist/simd/%s",
							assist_simd_rows[i].name);

		for (char *p = path + 13; *p; p++)
			*p = *p == '/' ? '-' : *p;
		g_test_add_data_func(path, GUINT_TO_POINTER(i), rows);
	}
	return g_test_run();
}
