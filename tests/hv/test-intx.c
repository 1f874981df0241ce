/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Level triggered interrupts by resampled irqfds: levels, sharers, EOIs at every moment, resets, threads; and without irqfds. */
#include "hv/intx.h"

#include "domain/error.h"
#include "tests/fake/fake.h"

#define GSI 17

static struct fake *machine(struct intx *x, unsigned n)
{
	struct fake *f = fake_vm();

	f->resamples = true;
	for (unsigned i = 0; i < n; i++) {
		g_assert_true(intx_init(&x[i], &f->vm, GSI, NULL));
		g_assert_cmpint(x[i].fd, >=, 0);
	}
	return f;
}

static void test_one(void)
{
	struct intx x;
	struct fake *f = machine(&x, 1);

	g_assert_false(fake_line(f, GSI));
	intx_set(&x, true);
	g_assert_true(fake_line(f, GSI));
	intx_set(&x, false);
	g_assert_true(fake_line(f, GSI));       /* until the EOI */
	fake_eoi(f, GSI);
	fake_step(f);
	g_assert_false(fake_line(f, GSI));
	/* raised again while the guest is still in its handler: between its look at the device and the EOI */
	intx_set(&x, true);
	g_assert_true(fake_line(f, GSI));
	intx_set(&x, false);
	intx_set(&x, true);
	(void)fake_line(f, GSI);                /* KVM has seen it before the EOI */
	fake_eoi(f, GSI);
	g_assert_false(fake_line(f, GSI));
	fake_step(f);
	g_assert_true(fake_line(f, GSI));
	/* the same, and KVM sees the second one only after the EOI */
	intx_set(&x, false);
	fake_eoi(f, GSI);
	intx_set(&x, true);
	g_assert_true(fake_line(f, GSI));
	fake_step(f);
	g_assert_true(fake_line(f, GSI));
	/* a guest that does not care: the line comes back for ever, and other lines are not touched */
	for (unsigned i = 0; i < 100; i++) {
		fake_eoi(f, GSI);
		fake_step(f);
		g_assert_true(fake_line(f, GSI));
		g_assert_false(fake_line(f, GSI + 1));
	}
	g_assert_cmpuint(f->irqs, ==, 0);
	g_assert_cmpuint(f->irqfd_changes, ==, 1);
	intx_finish(&x);
	g_assert_false(fake_line(f, GSI));
	g_assert_cmpuint(f->irqfds_n, ==, 0);
	intx_finish(&x);
	fake_free(f);
}

static void test_shared(void)
{
	struct intx x[3];
	struct fake *f = machine(x, 3);

	intx_set(&x[0], true);
	intx_set(&x[1], true);
	g_assert_true(fake_line(f, GSI));
	intx_set(&x[0], false);                 /* the guest has served the first only */
	fake_eoi(f, GSI);
	g_assert_false(fake_line(f, GSI));
	fake_step(f);
	g_assert_true(fake_line(f, GSI));
	intx_set(&x[1], false);
	fake_eoi(f, GSI);
	fake_step(f);
	g_assert_false(fake_line(f, GSI));
	/* one goes with the line up: the line waits for its EOI, then it is low */
	intx_set(&x[2], true);
	g_assert_true(fake_line(f, GSI));
	intx_finish(&x[2]);
	g_assert_true(fake_line(f, GSI));
	fake_eoi(f, GSI);
	fake_step(f);
	g_assert_false(fake_line(f, GSI));
	/* one goes, and the other has it up: it stays */
	intx_set(&x[0], true);
	intx_set(&x[1], true);
	intx_finish(&x[0]);
	g_assert_true(fake_line(f, GSI));
	fake_eoi(f, GSI);
	fake_step(f);
	g_assert_true(fake_line(f, GSI));
	intx_finish(&x[1]);
	g_assert_false(fake_line(f, GSI));
	fake_free(f);
}

/* A reset gets rid of what was raised, also of what is on its way; a load finds what the devices want. */
static void test_sync(void)
{
	struct intx x[2];
	struct fake *f = machine(x, 2);

	irqs_sync(&f->vm);
	g_assert_cmpuint(f->irqfd_changes, ==, 2);      /* nobody has raised anything: nothing to do */
	intx_set(&x[0], true);
	g_assert_true(fake_line(f, GSI));
	intx_set(&x[0], false);
	intx_set(&x[1], true);                  /* not seen by KVM yet */
	intx_set(&x[1], false);
	irqs_sync(&f->vm);
	g_assert_false(fake_line(f, GSI));
	fake_step(f);
	g_assert_false(fake_line(f, GSI));
	g_assert_cmpuint(f->irqfds_n, ==, 2);
	intx_set(&x[1], true);
	irqs_sync(&f->vm);
	g_assert_true(fake_line(f, GSI));
	intx_set(&x[1], false);
	fake_eoi(f, GSI);
	fake_step(f);
	g_assert_false(fake_line(f, GSI));
	/* an EOI that nobody has heard of yet */
	intx_set(&x[0], true);
	g_assert_true(fake_line(f, GSI));
	fake_eoi(f, GSI);
	intx_set(&x[0], false);
	irqs_sync(&f->vm);
	fake_step(f);
	g_assert_false(fake_line(f, GSI));
	/* the accelerator does not take one again: by the line from now on */
	intx_set(&x[0], true);
	intx_set(&x[1], true);
	f->irqfds_most = 1;
	irqs_sync(&f->vm);
	g_assert_cmpint((x[0].fd < 0) + (x[1].fd < 0), ==, 1);
	g_assert_true(fake_line(f, GSI));
	for (unsigned i = 0; i < 2; i++) {
		intx_set(&x[i], false);
		fake_eoi(f, GSI);
		fake_step(f);
		g_assert_cmpint(fake_line(f, GSI), ==, !i);
	}
	intx_set(&x[0], true);
	g_assert_true(fake_line(f, GSI));
	intx_finish(&x[0]);
	intx_finish(&x[1]);
	fake_free(f);
}

/* Without irqfds, or without room for more of them: the line follows the level. Both kinds share one. */
static void test_line(void)
{
	struct intx x[2], more[20];
	struct fake *f = fake_vm();
	GError *err = NULL;

	g_assert_false(intx_init(&x[0], &f->vm, IRQ_LINES, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	intx_finish(&x[0]);
	g_assert_true(intx_init(&x[0], &f->vm, GSI, NULL));
	g_assert_cmpint(x[0].fd, ==, -1);
	f->resamples = true;
	g_assert_true(intx_init(&x[1], &f->vm, GSI, NULL));
	g_assert_cmpint(x[1].fd, >=, 0);
	intx_set(&x[0], true);
	g_assert_cmpint(f->level[GSI], ==, 1);
	intx_set(&x[1], true);
	intx_set(&x[1], false);
	(void)fake_line(f, GSI);
	fake_eoi(f, GSI);
	fake_step(f);
	g_assert_true(fake_line(f, GSI));
	intx_set(&x[0], false);
	g_assert_false(fake_line(f, GSI));
	intx_set(&x[0], true);
	f->level[GSI] = 0;                      /* a load: the accelerator has forgotten */
	irqs_sync(&f->vm);
	g_assert_true(fake_line(f, GSI));
	intx_finish(&x[0]);
	g_assert_false(fake_line(f, GSI));
	intx_finish(&x[1]);
	for (unsigned i = 0; i < G_N_ELEMENTS(more); i++) {
		g_assert_true(intx_init(&more[i], &f->vm, GSI, NULL));
		g_assert_cmpint(more[i].fd >= 0, ==, i < G_N_ELEMENTS(f->irqfds));
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(more); i++)
		intx_finish(&more[i]);
	g_assert_null(f->vm.intxs);
	fake_free(f);
}

/* --- threads: devices that raise, the loop that hears of EOIs, a guest --- */

#define SHARERS 3
#define EVENTS 20000
#define PATIENCE (60 * G_USEC_PER_SEC)

struct sharer {
	struct intx x;
	GMutex lock;
	bool isr;               /* lock */
	int served;             /* atomic */
};

static void *raiser(void *arg)
{
	struct sharer *s = arg;

	for (int i = 0; i < EVENTS; i++) {
		gint64 end = g_get_monotonic_time() + PATIENCE;

		g_mutex_lock(&s->lock);
		s->isr = true;
		intx_set(&s->x, true);
		g_mutex_unlock(&s->lock);
		while (g_atomic_int_get(&s->served) <= i) {
			g_assert_cmpint(g_get_monotonic_time(), <, end);        /* lost */
			g_thread_yield();
		}
	}
	return NULL;
}

/* early: an interrupt controller that ends an interrupt when it delivers it, as some hosts' does. */
static void test_threads(gconstpointer early)
{
	struct sharer s[SHARERS] = { 0 };
	GThread *threads[SHARERS];
	struct fake *f = fake_vm();
	unsigned left = SHARERS * EVENTS, taken = 0, nothing = 0;

	f->resamples = true;
	g_assert_true(loop_start(f->loop, NULL));
	for (unsigned i = 0; i < SHARERS; i++) {
		g_mutex_init(&s[i].lock);
		g_assert_true(intx_init(&s[i].x, &f->vm, GSI, NULL));
	}
	for (unsigned i = 0; i < SHARERS; i++)
		threads[i] = g_thread_new("raiser", raiser, &s[i]);
	while (left) {
		bool any = false;

		if (!fake_line(f, GSI)) {
			g_thread_yield();
			continue;
		}
		taken++;
		if (early)
			fake_eoi(f, GSI);
		for (unsigned i = 0; i < SHARERS; i++) {
			bool isr;

			g_mutex_lock(&s[i].lock);
			isr = s[i].isr;
			s[i].isr = false;
			intx_set(&s[i].x, false);
			g_mutex_unlock(&s[i].lock);
			if (!isr)
				continue;
			any = true;
			left--;
			g_atomic_int_inc(&s[i].served);
		}
		nothing += !any;
		if (!early)
			fake_eoi(f, GSI);
	}
	for (unsigned i = 0; i < SHARERS; i++)
		g_thread_join(threads[i]);
	g_test_message("%u interrupts, %u for nothing", taken, nothing);
	g_assert_cmpuint(taken, <=, (1 + SHARERS) * SHARERS * EVENTS);  /* what each may raise: one by itself, one after each EOI */
	for (unsigned i = 0; i < SHARERS; i++) {
		intx_finish(&s[i].x);
		g_mutex_clear(&s[i].lock);
	}
	loop_stop(f->loop);
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/intx/one", test_one);
	g_test_add_func("/intx/shared", test_shared);
	g_test_add_func("/intx/sync", test_sync);
	g_test_add_func("/intx/line", test_line);
	g_test_add_data_func("/intx/threads/late", NULL, test_threads);
	g_test_add_data_func("/intx/threads/early", "early", test_threads);
	return g_test_run();
}
