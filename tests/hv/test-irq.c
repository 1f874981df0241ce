/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupt lines and those who share them. */
#include "domain/error.h"
#include "tests/fake/fake.h"

static void test_shared(void)
{
	struct fake *f = fake_vm();
	struct irq a, b;

	g_assert_true(irq_init(&a, &f->vm, 5, NULL));
	g_assert_true(irq_init(&b, &f->vm, 5, NULL));
	irq_set(&a, true);
	irq_set(&a, true);
	irq_set(&b, true);
	g_assert_cmpuint(f->irqs, ==, 1);
	irq_set(&a, false);
	g_assert_cmpint(f->level[5], ==, 1);
	irq_set(&b, false);
	g_assert_cmpint(f->level[5], ==, 0);
	irq_pulse(&a);
	g_assert_cmpuint(f->irqs, ==, 2);
	g_assert_cmpint(f->level[5], ==, 0);
	irq_set(&b, true);
	irq_pulse(&a);                          /* does not let b's level fall */
	g_assert_cmpint(f->level[5], ==, 1);
	/* after a load the accelerator has forgotten */
	f->level[5] = 0;
	irqs_sync(&f->vm);
	g_assert_cmpint(f->level[5], ==, 1);
	irq_finish(&b);
	g_assert_cmpint(f->level[5], ==, 0);
	irq_finish(&b);
	irq_finish(&a);
	fake_free(f);
}

static void test_limits(void)
{
	struct fake *f = fake_vm();
	struct irq irqs[VM_IRQ_SOURCES + 1];
	GError *err = NULL;

	g_assert_false(irq_init(&irqs[0], &f->vm, IRQ_LINES, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	for (int i = 0; i < VM_IRQ_SOURCES; i++)
		g_assert_true(irq_init(&irqs[i], &f->vm, 3, &err));
	g_assert_false(irq_init(&irqs[VM_IRQ_SOURCES], &f->vm, 3, &err));
	g_assert_error(err, kerr_quark(), KERR_LIMIT);
	g_clear_error(&err);
	irq_finish(&irqs[17]);
	g_assert_true(irq_init(&irqs[17], &f->vm, 3, &err));
	for (int i = 0; i < VM_IRQ_SOURCES; i++)
		irq_finish(&irqs[i]);
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/irq/shared", test_shared);
	g_test_add_func("/irq/limits", test_limits);
	return g_test_run();
}
