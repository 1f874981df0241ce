/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A serial port between a vCPU's thread, the I/O loop's and main: for ThreadSanitizer, and for what gets lost. */
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/serial.h"
#include "tests/fake/driver.h"

#define OUTPUT 300000
#define WINDOW 30000    /* the guest waits when the reader is so far behind, or it would be cut off */
#define INPUT 5000

struct test {
	struct fake *f;
	struct device *d;
	int console;
	int seen;       /* atomic: bytes main has read */
	int stop;       /* atomic */
	int echoed;     /* the vCPU's: bytes of input it got */
};

static uint8_t pattern(int i)
{
	return (uint8_t)('!' + i % 90);
}

/* Prints, and takes what comes in between, as a polling guest with FIFOs. */
static void *vcpu(void *arg)
{
	struct test *t = arg;

	drv_outb(t->f, 0x3fa, 0x07);
	drv_outb(t->f, 0x3fc, 0x0b);
	for (int i = 0; i < OUTPUT || t->echoed < INPUT;) {
		if (i < OUTPUT && i - g_atomic_int_get(&t->seen) < WINDOW)
			drv_outb(t->f, 0x3f8, pattern(i++));
		if (i % 16 && i < OUTPUT)
			continue;
		while (drv_inb(t->f, 0x3fd) & 1)
			g_assert_cmpint(drv_inb(t->f, 0x3f8), ==, pattern(t->echoed++));
		if (i == OUTPUT || i - g_atomic_int_get(&t->seen) >= WINDOW)
			g_thread_yield();
	}
	return NULL;
}

static void *typist(void *arg)
{
	struct test *t = arg;

	for (int i = 0; i < INPUT;) {
		uint8_t c = pattern(i);
		struct pollfd p = { .fd = t->console, .events = POLLOUT };

		poll(&p, 1, 100);
		if (write(t->console, &c, 1) == 1)
			i++;
	}
	return NULL;
}

/* Comes and goes, asks and resets timers, while the others work. */
static void *visitor(void *arg)
{
	struct test *t = arg;

	while (!g_atomic_int_get(&t->stop)) {
		clock_step(t->f->clock, 300000);
		g_usleep(200);
	}
	return NULL;
}

static void test_busy(void)
{
	struct test t = { .f = fake_vm() };
	GThread *threads[3];
	struct chr_info info;
	int pair[2], got = 0, round = 0;
	unsigned id;

	t.d = fake_add(t.f, "serial", NULL);
	g_assert_true(loop_start(t.f->loop, NULL));
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
	g_assert_true(chr_attach(serial_chr(t.d), pair[1], CHR_WRITER, "main", &id, NULL));
	t.console = pair[0];
	threads[0] = g_thread_new("vcpu", vcpu, &t);
	threads[1] = g_thread_new("typist", typist, &t);
	threads[2] = g_thread_new("visitor", visitor, &t);
	while (got < OUTPUT) {
		struct pollfd p = { .fd = t.console, .events = POLLIN };
		uint8_t buf[4096];
		ssize_t n;

		poll(&p, 1, 10000);
		n = read(t.console, buf, sizeof(buf));
		g_assert_cmpint(n, >, 0);
		for (ssize_t i = 0; i < n; i++)
			g_assert_cmpint(buf[i], ==, pattern(got++));
		g_atomic_int_set(&t.seen, got);
		if (++round % 16 == 0) {
			int extra[2];

			g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, extra), ==, 0);
			g_assert_true(chr_attach(serial_chr(t.d), extra[1], 0, "visitor", &id, NULL));
			chr_info(serial_chr(t.d), &info);
			close(extra[0]);
			chr_detach(serial_chr(t.d), id, NULL);  /* may have gone by itself */
		}
	}
	g_thread_join(threads[0]);
	g_thread_join(threads[1]);
	g_atomic_int_set(&t.stop, 1);
	g_thread_join(threads[2]);
	chr_info(serial_chr(t.d), &info);
	g_assert_cmpuint(info.out, ==, OUTPUT);
	g_assert_cmpuint(info.in, ==, INPUT);
	g_assert_cmpuint(info.cut, ==, 0);
	close(t.console);
	while (t.f->vm.devices->len)            /* with the loop running */
		device_free(t.f->vm.devices->pdata[0]);
	loop_stop(t.f->loop);
	fake_free(t.f);
}

static void paused(struct done *d, int result)
{
	*(bool *)d->arg = true;
}

/* Pause while input pours in: after done, nothing changes any more. */
static void test_pause(void)
{
	struct test t = { .f = fake_vm() };
	int pair[2];
	unsigned id;

	t.d = fake_add(t.f, "serial", NULL);
	g_assert_true(loop_start(t.f->loop, NULL));
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
	g_assert_true(chr_attach(serial_chr(t.d), pair[1], CHR_WRITER, "main", &id, NULL));
	drv_outb(t.f, 0x3fa, 0x07);
	drv_outb(t.f, 0x3fc, 0x0b);
	for (int i = 0; i < 50; i++) {
		bool is_paused = false;
		struct done done = { .fn = paused, .arg = &is_paused };
		g_autofree char *a = NULL, *b = NULL;

		g_assert_cmpint(write(pair[0], "abc", 3), ==, 3);
		devices_pause(&t.f->vm, &done);
		while (!is_paused)
			g_main_context_iteration(NULL, TRUE);
		a = fake_state_text(t.d, NULL);
		g_assert_cmpint(write(pair[0], "def", 3), ==, 3);
		g_usleep(300);
		b = fake_state_text(t.d, NULL);
		g_assert_cmpstr(a, ==, b);
		devices_resume(&t.f->vm);
		for (int n = 0; n < 6;)
			if (drv_inb(t.f, 0x3fd) & 1)
				g_assert_cmpint(drv_inb(t.f, 0x3f8), ==, "abcdef"[n++]);
	}
	close(pair[0]);
	loop_stop(t.f->loop);
	fake_free(t.f);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/chr-threads/busy", test_busy);
	g_test_add_func("/chr-threads/pause", test_pause);
	return g_test_run();
}
