/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-rng: what it gives and how fast, sources that have nothing, moving in the middle of a period, hostile guests. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "devices/virtio.h"
#include "domain/error.h"
#include "domain/rng.h"
#include "tests/fake/driver.h"
#include "tests/fake/virtio_driver.h"
#include "tests/fake/virtio_hostile.h"

static int token;

static struct fake *machine(const char *json, struct device **d)
{
	struct fake *f = fake_vm();

	fake_add(f, "pci-host", NULL);
	*d = fake_add(f, "virtio-rng", json ? json : "{'model':'virtio','backend':{'model':'builtin'}}");
	return f;
}

static void ask(struct vdrv *d, uint64_t at, uint32_t len)
{
	struct vseg s = { at, len };

	g_assert_true(vring_add(&d->rings[0], &s, 0, 1, &token));
	vdrv_kick(d, 0);
}

/* Bytes of the next finished request; -1: none. */
static int got(struct vdrv *d)
{
	uint32_t len = 0;

	return vring_take(&d->rings[0], &len) ? (int)len : -1;
}

static void open_it(struct vdrv *d, struct fake *f, struct device *dev)
{
	vdrv_open(d, f, dev, VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC, true);
	vdrv_queue(d, 0, 16);
	vdrv_go(d);
}

static void test_bytes(void)
{
	struct device *dev;
	struct fake *f = machine(NULL, &dev);
	struct vdrv d;
	uint8_t a[4096], b[4096];

	open_it(&d, f, dev);
	ask(&d, 0x80000, 4096);
	g_assert_cmpint(got(&d), ==, 4096);
	g_assert_cmpuint(vdrv_interrupts(&d, 0), ==, 1);
	g_assert_true(ram_read(&f->vm.ram, 0x80000, a, sizeof(a)));
	g_assert_true(fake_dirty(f, 0x80000));
	ask(&d, 0x80000, 10000);
	g_assert_cmpint(got(&d), ==, 4096);     /* as much as it cares to give at once */
	g_assert_true(ram_read(&f->vm.ram, 0x80000, b, sizeof(b)));
	g_assert_true(memcmp(a, b, sizeof(a)) != 0);
	ask(&d, 0x80000, 1);
	g_assert_cmpint(got(&d), ==, 1);
	g_assert_cmpint(got(&d), ==, -1);
	fake_free(f);
}

#define SECOND 1000000000ll

static void test_rate(void)
{
	struct device *dev;
	struct fake *f = machine("{'model':'virtio','rate_bytes':100,'rate_period':2000,'backend':{'model':'builtin'}}", &dev);
	struct vdrv d;
	struct rng faster = { .rate_bytes = 1000, .rate_period = 1000 };
	GError *err = NULL;

	open_it(&d, f, dev);
	for (unsigned i = 0; i < 4; i++)
		ask(&d, 0x80000, 64);
	g_assert_cmpint(got(&d), ==, 64);
	g_assert_cmpint(got(&d), ==, 36);
	g_assert_cmpint(got(&d), ==, -1);
	fake_pass(f, SECOND);
	g_assert_cmpint(got(&d), ==, -1);
	fake_pass(f, SECOND);
	g_assert_cmpint(got(&d), ==, 64);
	g_assert_cmpint(got(&d), ==, 36);
	/* over ten periods ten times as much */
	for (unsigned i = 0, sum = 0; i < 10; i++) {
		int n;

		for (unsigned k = 0; k < 5; k++)
			ask(&d, 0x80000, 50);
		fake_pass(f, 2 * SECOND);
		while ((n = got(&d)) > 0)
			sum += (unsigned)n;
		g_assert_cmpuint(sum, <=, 100 * (i + 1));
		g_assert_cmpuint(sum, >=, 100 * i);
		if (d.rings[0].n_free < 6)
			break;
	}
	/* changed live */
	while (got(&d) >= 0)
		;
	g_assert_true(dev->ops->update(dev, &faster, &err));
	g_assert_no_error(err);
	fake_step(f);
	g_assert_cmpint(got(&d), ==, 50);
	fake_free(f);
}

/* A pause does not give what the period did not. */
static void test_move(void)
{
	struct device *a, *b;
	const char *json = "{'model':'virtio','rate_bytes':100,'rate_period':1000,'backend':{'model':'builtin'}}";
	struct fake *f = machine(json, &a), *g = machine(json, &b);
	struct vdrv d;

	open_it(&d, f, a);
	ask(&d, 0x80000, 100);
	g_assert_cmpint(got(&d), ==, 100);
	ask(&d, 0x80000, 30);
	ask(&d, 0x80000, 30);
	fake_pass(f, SECOND / 2);
	fake_pause(f);
	fake_pause(g);
	fake_move(f, g);
	vdrv_move(&d, g);
	fake_free(f);
	fake_resume(g);
	g_assert_cmpint(got(&d), ==, -1);
	fake_pass(g, SECOND / 2);
	g_assert_cmpint(got(&d), ==, 30);
	g_assert_cmpint(got(&d), ==, 30);
	fake_free(g);
}

#define LINE 17         /* of slot 1 */

/* An interrupt of the function's line: is it for it? The line must be up. */
static bool take_interrupt(struct vdrv *d)
{
	g_assert_true(fake_line(d->f, LINE));
	return vdrv_interrupts(d, 0);
}

static void end_interrupt(struct vdrv *d)
{
	fake_eoi(d->f, LINE);
	fake_step(d->f);
}

/* Without MSI-X, by irqfds that only an EOI lowers: through a race, a pause, a move and a reset with the line up. */
static void test_intx(void)
{
	const char *json = "{'model':'virtio','backend':{'model':'builtin'}}";
	struct fake *f = fake_vm(), *g = fake_vm();
	struct device *dev;
	struct vdrv d;

	f->resamples = g->resamples = true;
	fake_add(f, "pci-host", NULL);
	fake_add(g, "pci-host", NULL);
	dev = fake_add(f, "virtio-rng", json);
	fake_add(g, "virtio-rng", json);
	vdrv_open(&d, f, dev, 0, false);
	vdrv_queue(&d, 0, 16);
	vdrv_go(&d);
	g_assert_false(fake_line(f, LINE));
	ask(&d, 0x80000, 8);
	g_assert_true(take_interrupt(&d));
	g_assert_cmpint(got(&d), ==, 8);
	ask(&d, 0x80000, 8);                    /* done while the guest is in its handler: seen by KVM before the EOI */
	g_assert_true(fake_line(f, LINE));
	end_interrupt(&d);
	g_assert_true(take_interrupt(&d));
	g_assert_cmpint(got(&d), ==, 8);
	end_interrupt(&d);
	g_assert_false(fake_line(f, LINE));
	/* it moves with an interrupt that nobody has seen yet, and with the requests after it */
	ask(&d, 0x80000, 8);
	fake_pause(f);
	g_assert_true(fake_line(f, LINE));
	fake_pause(g);
	fake_move(f, g);
	irqs_sync(&g->vm);
	fake_resume(f);                         /* the old one, as after a migration that failed */
	g_assert_true(take_interrupt(&d));
	g_assert_cmpint(got(&d), ==, 8);
	end_interrupt(&d);
	g_assert_false(fake_line(f, LINE));
	fake_resume(g);
	vdrv_move(&d, g);
	g_assert_true(take_interrupt(&d));
	end_interrupt(&d);
	g_assert_false(fake_line(g, LINE));
	ask(&d, 0x80000, 8);
	g_assert_true(fake_line(g, LINE));
	/* reset with the line up */
	fake_pause(g);
	devices_reset(&g->vm);
	irqs_sync(&g->vm);
	fake_resume(g);
	g_assert_false(fake_line(g, LINE));
	fake_free(f);
	fake_free(g);
}

/* From a descriptor: a pipe that is empty at first, and then at its end. */
static void test_source(void)
{
	struct fake *f = fake_vm();
	struct rng config = { .model = VIRTIO_MODEL_VIRTIO, .backend = { .model = RNG_RANDOM, .path.fd = (char *)"rng" } };
	struct device *dev;
	struct vdrv d;
	int pair[2];
	char text[8] = "";

	g_assert_cmpint(pipe2(pair, O_CLOEXEC | O_NONBLOCK), ==, 0);
	g_assert_true(fdset_add(f->fds, "rng", pair[0], NULL));
	fake_add(f, "pci-host", NULL);
	dev = fake_try(f, "virtio-rng", &config, NULL);
	g_assert_nonnull(dev);
	open_it(&d, f, dev);
	ask(&d, 0x80000, 64);
	g_assert_cmpint(got(&d), ==, -1);
	fake_pause(f);
	fake_resume(f);
	g_assert_cmpint(got(&d), ==, -1);
	g_assert_cmpint(write(pair[1], "entropy", 7), ==, 7);
	fake_step(f);
	g_assert_cmpint(got(&d), ==, 7);
	g_assert_true(ram_read(&f->vm.ram, 0x80000, text, 7));
	g_assert_cmpstr(text, ==, "entropy");
	close(pair[1]);
	ask(&d, 0x80000, 64);
	g_assert_cmpint(got(&d), ==, -1);
	fake_pass(f, 10 * SECOND);
	g_assert_cmpint(got(&d), ==, -1);
	vdrv_reset(&d);
	fake_free(f);
}

static void test_refused(void)
{
	struct fake *f = fake_vm();
	struct rng egd = { .model = VIRTIO_MODEL_VIRTIO, .backend.model = RNG_EGD };
	struct rng gone = { .model = VIRTIO_MODEL_VIRTIO, .backend = { .model = RNG_RANDOM, .path.fd = (char *)"rng" } };
	GError *err = NULL;

	fake_add(f, "pci-host", NULL);
	g_assert_null(fake_try(f, "virtio-rng", &egd, &err));
	g_assert_error(err, kerr_quark(), KERR_UNSUPPORTED);
	g_clear_error(&err);
	g_assert_null(fake_try(f, "virtio-rng", &gone, &err));
	g_assert_nonnull(err);
	g_clear_error(&err);
	fake_free(f);
}

static void test_hostile(void)
{
	struct device *dev;
	struct fake *f = machine("{'model':'virtio','rate_bytes':10000,'rate_period':10,'driver':{'packed':'on'},"
		"'backend':{'model':'builtin'}}", &dev);

	vhostile(f, dev, 1, vhostile_rounds(), 2, NULL);
	fake_free(f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/rng/bytes", test_bytes);
	g_test_add_func("/rng/rate", test_rate);
	g_test_add_func("/rng/move", test_move);
	g_test_add_func("/rng/intx", test_intx);
	g_test_add_func("/rng/source", test_source);
	g_test_add_func("/rng/refused", test_refused);
	g_test_add_func("/rng/hostile", test_hostile);
	return g_test_run();
}
