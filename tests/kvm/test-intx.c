/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * INTx on real KVM: two functions on one line (guest/flat/intx.c), by resampled irqfds and by a line that follows the devices'
 * levels. The guest stops for ever when one interrupt is lost, so that each case's end is the proof.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "box.h"
#include "domain/rng.h"
#include "hv/accel.h"
#include "hv/intx.h"
#include "hv/vcpu.h"

#define SLOW 120000     /* ms */
#define PIN 16          /* of slots 4 and 8, INTA */

static struct rng rngs[2];
static struct accel_ops line_only;

static int no_irq_fd(struct vm *vm, unsigned gsi, int fd, int resample, bool on)
{
	return -ENOTSUP;
}

static bool two_rngs(struct box *b, GError **err)
{
	if (!box_add(b, "pci-host", "pci-host", NULL, err))
		return false;
	for (unsigned i = 0; i < 2; i++) {
		struct rng *r = &rngs[i];

		r->backend.model = RNG_BUILTIN;         /* the same for every machine: they may overlap */
		r->address.type = ADDRESS_PCI;
		r->address.domain = r->address.bus = r->address.function = 0;
		r->address.slot = 4 + 4 * i;
		if (!box_add(b, "virtio-rng", i ? "rng1" : "rng0", r, err))
			return false;
	}
	return true;
}

static const char *const ways[] = { "irqfd", "line" };

static struct box *start(const struct accel_ops *accel, const char *cmdline)
{
	g_autofree char *path = g_strdup_printf("%s/flat-intx", g_getenv("FLAT_GUESTS") ? g_getenv("FLAT_GUESTS") : ".");
	g_autofree char *all = g_strconcat("event_idx=0 ", cmdline, NULL);
	struct box_config c = { .kernel = path, .cmdline = all, .accel = accel, .more = two_rngs };
	g_autoptr(GError) err = NULL;
	struct box *b = box_new(&c, &err);
	bool by_fd;

	g_assert_no_error(err);
	by_fd = b->vm.intxs && b->vm.intxs->fd >= 0;
	g_assert_cmpint(by_fd, ==, accel != &line_only);
	box_go(b);
	return b;
}

/* What the guest told last about its requests. */
static void look(struct box *b, unsigned n, const char *how)
{
	unsigned long a, other, taken, nothing, cycles;
	const char *line;

	if (!box_wait_text(b, "done\n", SLOW))
		g_error("%s: an interrupt was lost, or the host is very slow; the guest said: %s", how, b->out->str);
	g_assert_nonnull(strstr(b->out->str, "interrupts at the start 0\n"));
	line = strstr(b->out->str, "requests ");
	g_assert_nonnull(line);
	g_assert_cmpint(sscanf(line, "requests %lu + %lu interrupts %lu for nothing %lu cycles %lu", &a, &other, &taken, &nothing, &cycles), ==, 5);
	g_assert_cmpuint(a + other, >=, n);
	/* Linux gives a line up when 99,900 of 100,000 interrupts found nobody; each sharer can cause one beside a good one */
	g_assert_cmpuint(nothing, <=, taken / 4 * 3 + 10);
	g_test_message("%s: %lu requests, %lu interrupts, %lu for nothing, %lu cycles a request", how, a + other, taken, nothing, cycles / (a + other));
}

static void test_shared(gconstpointer cmdline)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
		struct box *b = start(i ? &line_only : NULL, cmdline);

		look(b, 10000, ways[i]);
		g_assert_true(box_park(b));
		box_free(b);
	}
}

/* Into other machines in the middle of it, at any moment: what was raised, in service or on its way is not lost. */
static void test_move(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
		struct box *b = start(i ? &line_only : NULL, "n=20000 qd=1");
		unsigned moves = 0;

		g_assert_true(box_wait_text(b, "go\n", SLOW));
		for (; moves < 10 && !strstr(b->out->str, "done\n"); moves++) {
			g_autoptr(GError) err = NULL;

			box_pump(b, 5 + 7 * moves % 20);
			b = box_move(b, &err);
			g_assert_no_error(err);
			box_go(b);
		}
		g_assert_cmpuint(moves, >, 3);
		look(b, 20000, ways[i]);
		g_assert_true(box_park(b));
		box_free(b);
	}
}

/* Paused and let go again and again. */
static void test_pause(void)
{
	struct box *b = start(NULL, "n=20000 qd=2");

	while (!strstr(b->out->str, "done\n")) {
		g_assert_true(box_park(b));
		box_pump(b, 1);
		box_go(b);
		box_pump(b, 5);
	}
	look(b, 20000, "paused");
	g_assert_true(box_park(b));
	box_free(b);
}

/* A machine is reset with its line up: the next life sees nothing of it. */
static void test_reset(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
		struct box *b = start(i ? &line_only : NULL, "n=100 qd=1 again=1");

		for (unsigned life = 0; life < 3; life++) {
			g_autoptr(GError) err = NULL;
			struct box_note n;

			g_assert_true(box_wait_note(b, &n, SLOW));
			g_assert_cmpint(n.what, ==, VM_REQ_RESET);
			look(b, 100, ways[i]);
			for (const struct intx *x = b->vm.intxs; x; x = x->next)
				g_assert_cmpint(x->level, ==, 1);
			g_assert_true(box_park(b));
			g_string_truncate(b->out, 0);
			g_assert_true(vm_reset(&b->vm, b->fds, &err));
			g_assert_no_error(err);
			box_go(b);
		}
		g_assert_true(box_park(b));
		box_free(b);
	}
}

int main(int argc, char **argv)
{
	const char *why = box_skip();

	if (why) {
		printf("1..0 # SKIP %s\n", why);
		return 77;
	}
	line_only = accel_kvm;
	line_only.irq_fd = no_irq_fd;
	for (unsigned i = 0; i < G_N_ELEMENTS(rngs); i++)
		schema_init(&rng_schema, &rngs[i]);
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/intx/one", "n=10000 qd=1", test_shared);
	g_test_add_data_func("/intx/four", "n=10000 qd=4", test_shared);
	g_test_add_data_func("/intx/paced", "n=10000 qd=2 pace=200000", test_shared);
	g_test_add_func("/intx/move", test_move);
	g_test_add_func("/intx/pause", test_pause);
	g_test_add_func("/intx/reset", test_reset);
	return g_test_run();
}
