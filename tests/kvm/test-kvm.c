/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Flat guests on real KVM: starting, console, exits, the ways a guest ends, pause, reset, several processors, save and load. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "box.h"
#include "hv/accel.h"
#include "hv/vcpu.h"
#include "hv/x86/host.h"

#define SLOW 20000      /* ms: a loaded machine must not fail a test */

static char *guest_path(const char *name)
{
	return g_strdup_printf("%s/flat-%s", g_getenv("FLAT_GUESTS") ? g_getenv("FLAT_GUESTS") : ".", name);
}

static struct box *start(const char *name, const char *cmdline, unsigned cpus)
{
	g_autofree char *path = guest_path(name);
	struct box_config c = { .kernel = path, .cmdline = cmdline, .cpus = cpus };
	g_autoptr(GError) err = NULL;
	struct box *b = box_new(&c, &err);

	g_assert_no_error(err);
	box_go(b);
	return b;
}

static void wait_text(struct box *b, const char *text)
{
	if (!box_wait_text(b, text, SLOW))
		g_error("'%s' did not come; the guest said: %s", text, b->out->str);
}

static struct box_note wait_note(struct box *b, enum vm_request what)
{
	struct box_note n;

	if (!box_wait_note(b, &n, SLOW))
		g_error("the guest did not end; it said: %s", b->out->str);
	g_assert_cmpint(n.what, ==, what);
	return n;
}

static void end(struct box *b)
{
	g_assert_true(box_park(b));
	box_free(b);
}

static uint64_t stat(struct box *b, unsigned cpu, enum vcpu_stat s)
{
	return ((struct vcpu *)g_ptr_array_index(b->vm.vcpus, cpu))->stats[s];
}

static void test_hello(void)
{
	struct box *b = start("hello", "timeout=60", 2);

	wait_text(b, "Hello from kvmd's test guest: 63 MiB of memory, 2 processor(s).");
	wait_text(b, "> ");
	box_type(b, "good morning\n");
	wait_text(b, "\ngood morning\n");
	box_type(b, "quit\n");
	wait_note(b, VM_REQ_POWEROFF);
	end(b);
}

static void test_echo(void)
{
	g_autoptr(GString) long_text = g_string_new(NULL);
	struct box *b = start("echo", "", 1);

	for (unsigned i = 0; i < 500; i++)
		g_string_append_printf(long_text, "%03u ", i);
	wait_text(b, "ready\n");
	box_type(b, long_text->str);
	wait_text(b, long_text->str);
	box_type(b, "\004");
	wait_note(b, VM_REQ_POWEROFF);
	end(b);
}

static void test_exits(void)
{
	struct box *b = start("exits", "pio=1000 reads=1000 mmio=1000", 1);

	wait_note(b, VM_REQ_POWEROFF);
	wait_text(b, "done\n");
	g_assert_cmpuint(stat(b, 0, VCPU_PIO), >=, 2000);
	g_assert_cmpuint(stat(b, 0, VCPU_MMIO), ==, 1000);
	g_assert_cmpuint(stat(b, 0, VCPU_ASSISTS), ==, 0);
	end(b);
}

static void test_ticks(void)
{
	struct box *b = start("ticks", "ticks=50", 1);

	wait_text(b, "ticks 50 in ");
	wait_note(b, VM_REQ_POWEROFF);
	end(b);
}

static void test_smp(gconstpointer arg)
{
	unsigned n = GPOINTER_TO_UINT(arg);
	g_autofree char *up = g_strdup_printf("%u of %u processors up", n, n);
	struct box *b = start("smp", "rounds=20000", n);

	wait_text(b, up);
	wait_text(b, "right\n");
	wait_note(b, VM_REQ_POWEROFF);
	end(b);
}

static void test_reboot(gconstpointer way)
{
	g_autofree char *cmdline = g_strdup_printf("times=2 way=%s", (const char *)way);
	g_autoptr(GError) err = NULL;
	struct box *b = start("reboot", cmdline, 2);

	for (unsigned i = 0; i < 2; i++) {
		wait_note(b, VM_REQ_RESET);
		g_assert_true(box_park(b));
		vm_reset(&b->vm, b->fds, &err);
		g_assert_no_error(err);
		box_go(b);
	}
	wait_note(b, VM_REQ_POWEROFF);
	wait_text(b, "start 1\nstart 2\nstart 3\n");
	end(b);
}

static void test_triple(void)
{
	struct box *b = start("crash", "kind=triple", 1);
	struct box_note n = wait_note(b, VM_REQ_RESET);

	g_assert_nonnull(strstr(n.text, "triple fault"));
	end(b);
}

static void test_hole(void)
{
	struct box *b = start("crash", "kind=hole", 1);
	struct box_note n = wait_note(b, VM_REQ_CRASH);

	g_assert_nonnull(strstr(n.text, "rip 0xd0000000"));
	end(b);
}

static void test_exception(void)
{
	struct box *b = start("crash", "kind=ud2", 1);

	wait_text(b, "exception 6,");
	wait_note(b, VM_REQ_POWEROFF);
	end(b);
}

static void test_panic(void)
{
	struct box *b = start("panic", "", 1);

	wait_note(b, VM_REQ_PANIC);
	end(b);
}

static void test_syscall(void)
{
	struct box *b = start("syscall", "n=2000 jump=1", 1);

	wait_text(b, "lstar right\n");
	wait_text(b, "syscalls 2000 of 2000,");
	wait_text(b, "exception 14,");
	wait_text(b, "cr2 fffffe8000000000");
	wait_note(b, VM_REQ_POWEROFF);
	g_assert_cmpuint(stat(b, 0, VCPU_SYSCALLS), ==, b->vm.emulated ? 2000 : 0);
	end(b);
}

/* A guest that makes no exits is stopped and let go many times; none may be lost, at any moment. */
static void test_pause(void)
{
	struct box *b = start("spin", "", 2);

	wait_text(b, "spinning\n");
	for (unsigned i = 0; i < 300; i++) {
		g_assert_true(box_park(b));
		box_go(b);
		if (i % 3)
			g_usleep(i % 7 * 100);
	}
	end(b);
}

/* Parked vCPUs must not have half an instruction in them: their registers are stable and the guest goes on rightly. */
static void test_pause_in_exit(void)
{
	struct box *b = start("exits", "pio=20000 reads=20000 mmio=20000", 1);
	struct box_note n;

	for (unsigned i = 0; i < 100; i++) {
		struct kvm_regs regs, again;
		struct kvm_sregs sregs;
		struct vcpu *v = g_ptr_array_index(b->vm.vcpus, 0);

		g_assert_true(box_park(b));
		g_assert_cmpint(b->vm.accel->regs(v, &regs, &sregs, false), ==, 0);
		g_assert_cmpint(b->vm.accel->regs(v, &regs, &sregs, true), ==, 0);
		g_assert_cmpint(b->vm.accel->regs(v, &again, &sregs, false), ==, 0);
		g_assert_cmpmem(&regs, sizeof(regs), &again, sizeof(again));
		box_go(b);
		g_usleep(200);
	}
	g_assert_true(box_wait_note(b, &n, SLOW));
	g_assert_cmpint(n.what, ==, VM_REQ_POWEROFF);
	g_assert_cmpuint(stat(b, 0, VCPU_MMIO), ==, 20000);
	end(b);
}

static unsigned last_line(const struct box *b)
{
	const char *p = g_strrstr(b->out->str, "line ");

	return p ? (unsigned)atoi(p + 5) : 0;
}

/* State of a running guest into another machine, several times over. */
static void test_move(gconstpointer cpus)
{
	struct box *b = start("count", "ticks=20", GPOINTER_TO_UINT(cpus));
	unsigned line = 0;

	for (unsigned round = 0; round < 4; round++) {
		g_autoptr(GError) err = NULL;

		while (last_line(b) < line + 2)
			box_pump(b, 5);
		b = box_move(b, &err);
		g_assert_no_error(err);
		line = last_line(b);
		box_go(b);
	}
	while (last_line(b) < line + 2)
		box_pump(b, 5);
	g_assert_null(strstr(b->out->str, "lost"));
	end(b);
}

/* The look at the host and the machines that start on it agree. */
static void test_host(void)
{
	g_autofree char *path = guest_path("first");
	struct box_config c = { .kernel = path };
	struct host_info *h = schema_new(&host_info_schema);
	g_autoptr(GError) err = NULL;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct box *b;

	host_probe(kvm, h, &err);
	g_assert_no_error(err);
	g_assert_cmpint(h->class, !=, HOST_UNKNOWN);
	g_assert_cmpuint(h->max_vcpus, >, 0);
	g_assert_cmpuint(h->tsc_khz, >, 100000);
	g_test_message("%s, %u us", host_class_names[h->class], h->test_us);
	b = box_new(&c, &err);
	g_assert_no_error(err);
	g_assert_cmpint(b->vm.emulated, ==, h->class == HOST_EMULATED);
	box_free(b);
	schema_free(&host_info_schema, h);
	g_assert_false(host_require(null, &err));
	g_assert_error(err, kerr_quark(), KERR_HOST);
	close(kvm);
	close(null);
}

/* Feature policies reach the processor: what the host lacks stops the start and is named. */
static void test_cpu(void)
{
	g_autofree char *path = guest_path("first");
	g_autoptr(GPtrArray) features = g_ptr_array_new();
	struct cpu_feature f = { .name = "amx-tile", .policy = CPU_POLICY_REQUIRE };
	struct cpu cpu = { .mode = CPU_MODE_HOST_MODEL, .features = features };
	struct box_config c = { .kernel = path, .cpu = &cpu, .cmdline = "exit=1" };
	g_autoptr(GError) err = NULL;
	struct box *b;

	b = box_new(&c, &err);
	g_assert_no_error(err);
	box_go(b);
	wait_note(b, VM_REQ_POWEROFF);
	end(b);
	cpu.mode = CPU_MODE_CUSTOM;
	cpu.model = (char *)"Skylake-Mobile";
	g_assert_null(box_new(&c, &err));
	g_assert_error(err, kerr_quark(), KERR_ARGS);
	g_clear_error(&err);
	cpu.mode = CPU_MODE_HOST_PASSTHROUGH;
	g_ptr_array_add(features, &f);
	b = box_new(&c, &err);
	if (b) {
		g_test_message("this host has AMX");
		box_free(b);
	} else {
		g_assert_error(err, kerr_quark(), KERR_HOST);
		g_assert_nonnull(strstr(err->message, "'amx-tile'"));
	}
}

static void test_no_memory(void)
{
	g_autofree char *path = guest_path("first");
	struct box_config c = { .kernel = path, .memory = 1 << 20 };
	g_autoptr(GError) err = NULL;

	g_assert_null(box_new(&c, &err));
	g_assert_error(err, kerr_quark(), KERR_NO_MEMORY);
}

int main(int argc, char **argv)
{
	const char *why = box_skip();

	if (why) {
		printf("1..0 # SKIP %s\n", why);
		return 77;
	}
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/kvm/hello", test_hello);
	g_test_add_func("/kvm/echo", test_echo);
	g_test_add_func("/kvm/exits", test_exits);
	g_test_add_func("/kvm/ticks", test_ticks);
	g_test_add_data_func("/kvm/smp/1", GUINT_TO_POINTER(1), test_smp);
	g_test_add_data_func("/kvm/smp/2", GUINT_TO_POINTER(2), test_smp);
	g_test_add_data_func("/kvm/smp/4", GUINT_TO_POINTER(4), test_smp);
	g_test_add_data_func("/kvm/reboot/acpi", "reset", test_reboot);
	g_test_add_data_func("/kvm/reboot/i8042", "i8042", test_reboot);
	g_test_add_data_func("/kvm/reboot/triple", "triple", test_reboot);
	g_test_add_func("/kvm/crash/triple", test_triple);
	g_test_add_func("/kvm/crash/hole", test_hole);
	g_test_add_func("/kvm/crash/exception", test_exception);
	g_test_add_func("/kvm/panic", test_panic);
	g_test_add_func("/kvm/syscall", test_syscall);
	g_test_add_func("/kvm/pause", test_pause);
	g_test_add_func("/kvm/pause-in-exit", test_pause_in_exit);
	g_test_add_data_func("/kvm/move/1", GUINT_TO_POINTER(1), test_move);
	g_test_add_data_func("/kvm/move/2", GUINT_TO_POINTER(2), test_move);
	g_test_add_func("/kvm/host", test_host);
	g_test_add_func("/kvm/cpu", test_cpu);
	g_test_add_func("/kvm/no-memory", test_no_memory);
	return g_test_run();
}
