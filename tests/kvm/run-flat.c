/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Runs a kernel on /dev/kvm without daemon, XML or fence: to try guests while developing, and for benchmarks. Not
 * installed. Console on stdin and stdout; the guest's end and the vCPUs' counters on stderr.
 *
 *	run-flat [-m MIB] [-c CPUS] [-a CMDLINE] [-i INITRD] [-t SECONDS] [-r RESETS] [-S] [-v] KERNEL
 *	-S: no input, -v: time at each line, -r: leave at that reset (default 1)
 */
#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/list.h"
#include "devices/serial.h"
#include "domain/machine.h"
#include "hv/accel.h"
#include "hv/vcpu.h"
#include "hv/vm.h"
#include "hv/x86/boot.h"

struct run {
	struct vm vm;
	GMainLoop *loop;
	int wake[2], console;
	unsigned resets_left, seconds;
	bool times, input, at_start;
	gint64 start;
	int status;
};
struct note { enum vm_request what; unsigned value; char text[1024]; };

static const char *const request_names[] = { "power off", "reset", "panic", "crash", "test exit" };
G_STATIC_ASSERT(G_N_ELEMENTS(request_names) == VM_REQ_N);

static double since(const struct run *r)
{
	return (double)(g_get_monotonic_time() - r->start) / 1e6;
}

static void on_request(struct vm *vm, enum vm_request what, unsigned value, const char *text)
{
	struct run *r = vm->owner;
	struct note n = { .what = what, .value = value };

	g_strlcpy(n.text, text ? text : "", sizeof(n.text));
	if (write(r->wake[1], &n, sizeof(n)) != sizeof(n))
		abort();
}

static void park_all(struct run *r)
{
	for (unsigned i = 0; i < r->vm.vcpus->len; i++)
		vcpu_park(g_ptr_array_index(r->vm.vcpus, i));
	if (!vcpus_wait_parked(&r->vm, 5000))
		fprintf(stderr, "run-flat: a vCPU does not park\n");
}

static void go_all(struct run *r)
{
	for (unsigned i = 0; i < r->vm.vcpus->len; i++)
		vcpu_go(g_ptr_array_index(r->vm.vcpus, i));
}

static gboolean on_note(gint fd, GIOCondition cond, gpointer arg)
{
	struct run *r = arg;
	g_autoptr(GError) err = NULL;
	struct note n;

	if (read(fd, &n, sizeof(n)) != sizeof(n))
		return G_SOURCE_CONTINUE;
	fprintf(stderr, "\n[%.3f %s %u %s]\n", since(r), request_names[n.what], n.value, n.text);
	if (n.what == VM_REQ_RESET && r->resets_left && --r->resets_left) {
		park_all(r);
		if (!vm_reset(&r->vm, &err)) {
			fprintf(stderr, "run-flat: %s\n", err->message);
			r->status = 1;
			g_main_loop_quit(r->loop);
		}
		go_all(r);
		return G_SOURCE_CONTINUE;
	}
	if (n.what == VM_REQ_PANIC)
		return G_SOURCE_CONTINUE;
	r->status = n.what == VM_REQ_CRASH ? 3 : n.what == VM_REQ_TEST_EXIT ? (int)n.value : 0;
	g_main_loop_quit(r->loop);
	return G_SOURCE_CONTINUE;
}

static void show(struct run *r, const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (r->times && r->at_start)
			printf("{%.2f} ", since(r));
		r->at_start = data[i] == '\n';
		putchar(data[i]);
	}
	fflush(stdout);
}

static gboolean on_console(gint fd, GIOCondition cond, gpointer arg)
{
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n <= 0)
		return G_SOURCE_REMOVE;
	show(arg, buf, (size_t)n);
	return G_SOURCE_CONTINUE;
}

static gboolean on_stdin(gint fd, GIOCondition cond, gpointer arg)
{
	struct run *r = arg;
	char buf[256];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n <= 0)
		return G_SOURCE_REMOVE;
	return write(r->console, buf, (size_t)n) == n ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

static gboolean on_alarm(gpointer arg)
{
	struct run *r = arg;

	fprintf(stderr, "\n[%.3f time is over]\n", since(r));
	park_all(r);
	for (unsigned i = 0; i < r->vm.vcpus->len; i++) {
		struct vcpu *v = g_ptr_array_index(r->vm.vcpus, i);
		g_autofree char *state = r->vm.accel->describe(v);

		fprintf(stderr, "vcpu %u: %s\n", v->id, state);
	}
	r->status = 4;
	g_main_loop_quit(r->loop);
	return G_SOURCE_REMOVE;
}

static gboolean on_signal(gpointer arg)
{
	((struct run *)arg)->seconds = 0;
	on_alarm(arg);
	return G_SOURCE_REMOVE;
}

static bool add_fd(struct fdset *fds, const char *name, const char *path, int flags, GError **err)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return kerr_errno(err, errno, "open '%s'", path);
	return fdset_add(fds, name, fd, err);
}

static bool add_device(struct run *r, const char *type, const char *id, void *config, struct fdset *fds, GError **err)
{
	const struct device_ops *ops = device_type(type);
	struct device *d;

	if (!ops)
		return kerr_set(err, KERR_NO_DEVICE, "no device type '%s'", type);
	d = device_new(&r->vm, ops, id, config);
	if (!device_realize(d, fds, err)) {
		device_free(d);
		return false;
	}
	return true;
}

static bool set_up(struct run *r, struct machine *m, struct chardev *serial, struct fdset *fds, GError **err)
{
	struct device *d;
	int pair[2], mem = memfd_create("guest", MFD_CLOEXEC);
	unsigned id;

	if (mem < 0 || ftruncate(mem, (off_t)m->memory.size) < 0)
		return kerr_errno(err, errno, "guest memory");
	r->vm.def = m;
	r->vm.owner = r;
	r->vm.on_request = on_request;
	r->vm.loops = g_new0(struct loop *, 1);
	r->vm.loops_n = 1;
	r->vm.loops[0] = loop_new("io", r->vm.clock);
	if (!loop_start(r->vm.loops[0], err) || !ram_init(&r->vm.ram, mem, m->memory.size, err) ||
	    !r->vm.accel->open(&r->vm, fds, err) || !vm_add_vcpus(&r->vm, err))
		return false;
	if (!add_device(r, "serial", "serial0", serial, fds, err) || !add_device(r, "acpi-pm", "acpi-pm", NULL, fds, err) ||
	    !add_device(r, "rtc", "rtc", NULL, fds, err) ||
	    !add_device(r, "i8042", "i8042", NULL, fds, err) || !add_device(r, "pvpanic", "pvpanic", NULL, fds, err))
		return false;
	d = g_ptr_array_index(r->vm.devices, 0);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return kerr_errno(err, errno, "socketpair");
	r->console = pair[0];
	if (!chr_attach(serial_chr(d), pair[1], CHR_WRITER, "run-flat", &id, err))
		return false;
	if (!vm_boot(&r->vm, fds, err))
		return false;
	for (unsigned i = 0; i < r->vm.vcpus->len; i++)
		if (!vcpu_start(g_ptr_array_index(r->vm.vcpus, i), err))
			return false;
	return true;
}

static void stats(struct run *r)
{
	for (unsigned i = 0; i < r->vm.vcpus->len; i++) {
		const struct vcpu *v = g_ptr_array_index(r->vm.vcpus, i);
		const uint64_t *s = v->stats;

		fprintf(stderr, "vcpu %u: exits %lu pio %lu mmio %lu hlt %lu intr %lu assists %lu syscalls %lu msr %lu other %lu\n",
			v->id, s[VCPU_EXITS], s[VCPU_PIO], s[VCPU_MMIO], s[VCPU_HLT], s[VCPU_INTR], s[VCPU_ASSISTS],
			s[VCPU_SYSCALLS], s[VCPU_MSR], s[VCPU_OTHER]);
	}
}

int main(int argc, char **argv)
{
	struct run r = { .resets_left = 1, .input = true, .at_start = true, .start = g_get_monotonic_time() };
	struct machine m = { .features.acpi = true, .features.apic = true };
	struct chardev serial = { .type = CHARDEV_NULL };
	struct fdset *fds = fdset_new();
	g_autoptr(GError) err = NULL;
	const char *initrd = NULL;
	int opt;

	m.memory.size = 64ull << 20;
	m.vcpu.max = 1;
	while ((opt = getopt(argc, argv, "m:c:a:i:t:r:Sv")) != -1) {
		switch (opt) {
		case 'm': m.memory.size = strtoull(optarg, NULL, 0) << 20; break;
		case 'c': m.vcpu.max = (uint32_t)atoi(optarg); break;
		case 'a': m.os.cmdline = optarg; break;
		case 'i': initrd = optarg; break;
		case 't': r.seconds = (unsigned)atoi(optarg); break;
		case 'r': r.resets_left = (unsigned)atoi(optarg); break;
		case 'S': r.input = false; break;
		case 'v': r.times = true; break;
		default: return 2;
		}
	}
	if (optind + 1 != argc) {
		fprintf(stderr, "usage: see the top of run-flat.c\n");
		return 2;
	}
	m.os.kernel.fd = "kernel";
	m.os.initrd.fd = initrd ? "initrd" : NULL;
	r.loop = g_main_loop_new(NULL, false);
	if (!g_unix_open_pipe(r.wake, FD_CLOEXEC, &err))
		goto fail;
	vm_init(&r.vm, &accel_kvm, clock_new());
	if (!add_fd(fds, "kvm", "/dev/kvm", O_RDWR, &err) || !add_fd(fds, "kernel", argv[optind], O_RDONLY, &err) ||
	    (initrd && !add_fd(fds, "initrd", initrd, O_RDONLY, &err)) || !set_up(&r, &m, &serial, fds, &err))
		goto fail;
	g_unix_fd_add(r.wake[0], G_IO_IN, on_note, &r);
	g_unix_fd_add(r.console, G_IO_IN, on_console, &r);
	if (r.input)
		g_unix_fd_add(0, G_IO_IN, on_stdin, &r);
	if (r.seconds)
		g_timeout_add_seconds(r.seconds, on_alarm, &r);
	g_unix_signal_add(SIGINT, on_signal, &r);
	fprintf(stderr, "[%.3f set up, %s]\n", since(&r), r.vm.emulated ? "emulated" : "native");
	clock_go(r.vm.clock);
	go_all(&r);
	g_main_loop_run(r.loop);
	usleep(50000);
	g_main_context_iteration(NULL, false);
	park_all(&r);
	stats(&r);
	vm_finish(&r.vm);
	fdset_free(fds);
	return r.status;
fail:
	fprintf(stderr, "run-flat: %s\n", err->message);
	return 1;
}
