/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a kernel on /dev/kvm without daemon, XML or fence: to try guests while developing, and for benchmarks. Not
 * installed. Console on stdin and stdout; the guest's end and the vCPUs' counters on stderr.
 */
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "box.h"
#include "hv/accel.h"
#include "hv/vcpu.h"

static const char usage[] = "usage: run-flat [-m MIB] [-c CPUS] [-a CMDLINE] [-i INITRD] [-t SECONDS] [-r RESETS] [-x SECONDS] [-S] [-v] KERNEL\n"
	"  -t  give up after SECONDS (3600)   -r  leave at that reset (1)   -S  no input   -v  time at each line\n"
	"  -x  every SECONDS carry the guest over into a new machine\n";

static gint64 start;
static bool times, at_start = true, interrupted;
static const char *const request_names[] = { "power off", "reset", "panic", "crash", "test exit", "disk error", "driver", "connection lost", "clock" };
G_STATIC_ASSERT(G_N_ELEMENTS(request_names) == VM_REQ_N);

static double since(void)
{
	return (double)(g_get_monotonic_time() - start) / 1e6;
}

static void show(struct box *b, const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (times && at_start)
			printf("{%.2f} ", since());
		at_start = data[i] == '\n';
		putchar(data[i]);
	}
	fflush(stdout);
}

static gboolean on_stdin(gint fd, GIOCondition cond, gpointer arg)
{
	struct box **b = arg;
	char buf[256];
	ssize_t n = read(fd, buf, sizeof(buf) - 1);

	if (n <= 0)
		return G_SOURCE_REMOVE;
	buf[n] = 0;
	box_type(*b, buf);
	return G_SOURCE_CONTINUE;
}

static gboolean on_signal(gpointer arg)
{
	interrupted = true;
	return G_SOURCE_CONTINUE;
}

static void tell_vcpus(struct box *b, bool state)
{
	for (unsigned i = 0; i < b->vm.vcpus->len; i++) {
		struct vcpu *v = g_ptr_array_index(b->vm.vcpus, i);
		g_autofree char *text = state ? b->vm.accel->describe(v) : NULL;
		const uint64_t *s = v->stats;

		if (text)
			fprintf(stderr, "vcpu %u: %s\n", v->index, text);
		fprintf(stderr, "vcpu %u: exits %lu pio %lu mmio %lu hlt %lu intr %lu assists %lu syscalls %lu msr %lu other %lu\n",
			v->index, s[VCPU_EXITS], s[VCPU_PIO], s[VCPU_MMIO], s[VCPU_HLT], s[VCPU_INTR], s[VCPU_ASSISTS],
			s[VCPU_SYSCALLS], s[VCPU_MSR], s[VCPU_OTHER]);
	}
}

/* Until the guest ends, time is over or the user has had enough; the exit status. */
static int run(struct box **box, unsigned resets, double seconds, unsigned move)
{
	g_autoptr(GError) err = NULL;
	double next = move;
	struct box *b = *box;
	struct box_note n;

	while (!interrupted && since() < seconds) {
		if (!box_wait_note(b, &n, 200)) {
			if (!move || since() < next)
				continue;
			next += move;
			b = box_move(b, &err);
			if (!b) {
				fprintf(stderr, "run-flat: %s\n", err->message);
				return 1;
			}
			*box = b;
			fprintf(stderr, "[%.3f moved]\n", since());
			box_go(b);
			continue;
		}
		fprintf(stderr, "\n[%.3f %s %u %s]\n", since(), request_names[n.what], n.value, n.text);
		if (n.what == VM_REQ_PANIC || n.what == VM_REQ_CLOCK)
			continue;
		if (n.what != VM_REQ_RESET || !resets || !--resets) {
			box_park(b);
			tell_vcpus(b, false);
			return n.what == VM_REQ_CRASH ? 3 : n.what == VM_REQ_TEST_EXIT ? (int)n.value : 0;
		}
		box_park(b);
		if (!vm_reset(&b->vm, b->fds, &err)) {
			fprintf(stderr, "run-flat: %s\n", err->message);
			return 1;
		}
		box_go(b);
	}
	fprintf(stderr, "\n[%.3f stopped]\n", since());
	box_park(b);
	tell_vcpus(b, true);
	return 4;
}

int main(int argc, char **argv)
{
	struct box_config c = { 0 };
	g_autoptr(GError) err = NULL;
	unsigned resets = 1, seconds = 3600, move = 0;
	bool input = true;
	struct box *b;
	int opt, status;

	start = g_get_monotonic_time();
	while ((opt = getopt(argc, argv, "m:c:a:i:t:r:x:Sv")) != -1) {
		switch (opt) {
		case 'm': c.memory = strtoull(optarg, NULL, 0) << 20; break;
		case 'c': c.cpus = (unsigned)atoi(optarg); break;
		case 'a': c.cmdline = optarg; break;
		case 'i': c.initrd = optarg; break;
		case 't': seconds = (unsigned)atoi(optarg); break;
		case 'r': resets = (unsigned)atoi(optarg); break;
		case 'x': move = (unsigned)atoi(optarg); break;
		case 'S': input = false; break;
		case 'v': times = true; break;
		default: optind = argc; break;
		}
	}
	if (optind + 1 != argc) {
		fputs(usage, stderr);
		return 2;
	}
	c.kernel = argv[optind];
	b = box_new(&c, &err);
	if (!b) {
		fprintf(stderr, "run-flat: %s\n", err->message);
		return 1;
	}
	b->on_output = show;
	if (input)
		g_unix_fd_add(0, G_IO_IN | G_IO_HUP, on_stdin, &b);
	g_unix_signal_add(SIGINT, on_signal, NULL);
	fprintf(stderr, "[%.3f set up, %s]\n", since(), b->vm.emulated ? "emulated" : "native");
	box_go(b);
	status = run(&b, resets, seconds, move);
	box_pump(b, 20);
	box_free(b);
	return status;
}
