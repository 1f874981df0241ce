/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "box.h"

#include <errno.h>
#include <fcntl.h>
#include <glib-unix.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/list.h"
#include "devices/serial.h"
#include "hv/accel.h"
#include "hv/vcpu.h"
#include "hv/x86/boot.h"

static void on_request(struct vm *vm, enum vm_request what, unsigned value, const char *text)
{
	struct box *b = vm->owner;
	struct box_note n = { .what = what, .value = value };

	g_strlcpy(n.text, text ? text : "", sizeof(n.text));
	if (write(b->wake[1], &n, sizeof(n)) != sizeof(n))
		abort();
}

static gboolean on_note(gint fd, GIOCondition cond, gpointer arg)
{
	struct box *b = arg;
	struct box_note n;

	if (read(fd, &n, sizeof(n)) == sizeof(n))
		g_array_append_val(b->notes, n);
	return G_SOURCE_CONTINUE;
}

static gboolean on_console(gint fd, GIOCondition cond, gpointer arg)
{
	struct box *b = arg;
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n <= 0)
		return G_SOURCE_CONTINUE;
	g_string_append_len(b->out, buf, n);
	if (b->on_output)
		b->on_output(b, buf, (size_t)n);
	return G_SOURCE_CONTINUE;
}

static bool add_fd(struct fdset *fds, const char *name, const char *path, int flags, GError **err)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		return kerr_errno(err, errno, "open '%s'", path);
	return fdset_add(fds, name, fd, err);
}

bool box_add(struct box *b, const char *type, const char *id, void *config, GError **err)
{
	const struct device_ops *ops = device_type(type);
	struct device *d;

	if (!ops)
		return kerr_set(err, KERR_NO_DEVICE, "no device type '%s'", type);
	d = device_new(&b->vm, ops, id, config);
	if (device_realize(d, b->fds, err))
		return true;
	device_free(d);
	return false;
}

static bool add_console(struct box *b, GError **err)
{
	struct device *serial = g_ptr_array_index(b->vm.devices, 0);
	int pair[2];
	unsigned id;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return kerr_errno(err, errno, "socketpair");
	b->console = pair[0];
	b->sources[0] = g_unix_fd_add(b->console, G_IO_IN, on_console, b);
	return chr_attach(serial_chr(serial), pair[1], CHR_WRITER, "box", &id, err);
}

static bool make(struct box *b, const struct box_config *c, GError **err)
{
	static const char *const devices[] = { "acpi-pm", "rtc", "i8042", "pvpanic" };
	int mem = memfd_create("guest", MFD_CLOEXEC);

	if (mem < 0 || ftruncate(mem, (off_t)b->def.memory.size) < 0)
		return kerr_errno(err, errno, "guest memory");
	b->vm.loops = g_new0(struct loop *, 1);
	b->vm.loops_n = 1;
	b->vm.loops[0] = loop_new("io", b->vm.clock);
	if (!loop_start(b->vm.loops[0], err) || !ram_init(&b->vm.ram, mem, b->def.memory.size, err) ||
	    !b->vm.accel->open(&b->vm, b->fds, err) || !vm_add_vcpus(&b->vm, err) || !box_add(b, "serial", "serial", &b->serial, err))
		return false;
	for (unsigned i = 0; i < G_N_ELEMENTS(devices); i++)
		if (!box_add(b, devices[i], devices[i], NULL, err))
			return false;
	if (c->more && !c->more(b, err))
		return false;
	if (!add_console(b, err) || (!c->no_boot && !vm_boot(&b->vm, b->fds, err)))
		return false;
	for (unsigned i = 0; i < b->vm.vcpus->len; i++)
		if (!vcpu_start(g_ptr_array_index(b->vm.vcpus, i), err))
			return false;
	return true;
}

const char *box_skip(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? "no /dev/kvm" : "no permission for /dev/kvm";
	close(fd);
	return NULL;
}

struct box *box_new(const struct box_config *c, GError **err)
{
	struct box *b = g_new0(struct box, 1);

	b->config = *c;
	b->config.kernel = g_strdup(c->kernel);
	b->config.initrd = g_strdup(c->initrd);
	b->config.cmdline = g_strdup(c->cmdline);
	b->out = g_string_new(NULL);
	b->notes = g_array_new(false, false, sizeof(struct box_note));
	b->fds = fdset_new();
	b->console = -1;
	b->serial.type = CHARDEV_NULL;
	b->def.features.acpi = true;
	b->def.memory.size = c->memory ? c->memory : 64ull << 20;
	b->def.vcpu.max = c->cpus ? c->cpus : 1;
	b->def.os.kernel.fd = c->kernel ? "kernel" : NULL;
	b->def.os.initrd.fd = c->initrd ? "initrd" : NULL;
	b->def.os.cmdline = (char *)b->config.cmdline;
	if (c->cpu)
		b->def.cpu = *c->cpu;
	vm_init(&b->vm, c->accel ? c->accel : &accel_kvm, clock_new());
	b->vm.def = &b->def;
	b->vm.owner = b;
	b->vm.on_request = on_request;
	if (!g_unix_open_pipe(b->wake, FD_CLOEXEC, err))
		g_error("pipe");
	b->sources[1] = g_unix_fd_add(b->wake[0], G_IO_IN, on_note, b);
	if (add_fd(b->fds, "kvm", "/dev/kvm", O_RDWR, err) && (!c->kernel || add_fd(b->fds, "kernel", c->kernel, O_RDONLY, err)) &&
	    (!c->initrd || add_fd(b->fds, "initrd", c->initrd, O_RDONLY, err)) && make(b, c, err))
		return b;
	box_free(b);
	return NULL;
}

void box_free(struct box *b)
{
	struct clock *clock;
	struct loop **loops;

	if (!b)
		return;
	clock = b->vm.clock;
	loops = b->vm.loops;
	for (unsigned i = 0; i < G_N_ELEMENTS(b->sources); i++)
		if (b->sources[i])
			g_source_remove(b->sources[i]);
	vm_finish(&b->vm);
	if (loops) {
		loop_stop(loops[0]);
		loop_free(loops[0]);
		g_free(loops);
	}
	clock_free(clock);
	fdset_free(b->fds);
	if (b->console >= 0)
		close(b->console);
	close(b->wake[0]);
	close(b->wake[1]);
	g_free((char *)b->config.kernel);
	g_free((char *)b->config.initrd);
	g_free((char *)b->config.cmdline);
	g_string_free(b->out, true);
	g_array_free(b->notes, true);
	g_free(b);
}

void box_go(struct box *b)
{
	if (b->vm.state == VM_PAUSED)
		devices_resume(&b->vm);
	b->vm.state = VM_RUNNING;
	clock_go(b->vm.clock);
	for (unsigned i = 0; i < b->vm.vcpus->len; i++)
		vcpu_go(g_ptr_array_index(b->vm.vcpus, i));
}

static void on_paused(struct done *d, int result)
{
	*(bool *)d->arg = true;
}

bool box_park(struct box *b)
{
	bool paused = false;
	struct done done = { .fn = on_paused, .arg = &paused };

	for (unsigned i = 0; i < b->vm.vcpus->len; i++)
		vcpu_park(g_ptr_array_index(b->vm.vcpus, i));
	if (!vcpus_wait_parked(&b->vm, 5000))
		return false;
	if (b->vm.state == VM_RUNNING) {
		devices_pause(&b->vm, &done);
		while (!paused)
			g_main_context_iteration(NULL, true);
		clock_stop(b->vm.clock);
		b->vm.state = VM_PAUSED;
	}
	return true;
}

static gboolean on_time(gpointer arg)
{
	*(bool *)arg = true;
	return G_SOURCE_REMOVE;
}

void box_pump(struct box *b, unsigned ms)
{
	bool over = false;

	g_timeout_add(ms, on_time, &over);
	while (!over)
		g_main_context_iteration(NULL, true);
}

bool box_wait_text(struct box *b, const char *text, unsigned ms)
{
	gint64 end = g_get_monotonic_time() + (gint64)ms * 1000;

	while (!strstr(b->out->str, text)) {
		if (g_get_monotonic_time() > end)
			return false;
		if (!g_main_context_iteration(NULL, false))
			g_usleep(500);
	}
	return true;
}

bool box_wait_note(struct box *b, struct box_note *note, unsigned ms)
{
	gint64 end = g_get_monotonic_time() + (gint64)ms * 1000;

	while (b->taken >= b->notes->len) {
		if (g_get_monotonic_time() > end)
			return false;
		if (!g_main_context_iteration(NULL, false))
			g_usleep(500);
	}
	*note = g_array_index(b->notes, struct box_note, b->taken++);
	return true;
}

void box_type(struct box *b, const char *text)
{
	if (write(b->console, text, strlen(text)) < 0)
		g_error("console: %s", g_strerror(errno));
}

static bool save(struct box *b, GByteArray *state, GError **err)
{
	if (!b->vm.accel->save(&b->vm, state, err))
		return false;
	for (unsigned i = 0; i < b->vm.vcpus->len; i++)
		if (!b->vm.accel->vcpu_save(g_ptr_array_index(b->vm.vcpus, i), state, err))
			return false;
	devices_save(&b->vm, state);
	return true;
}

static bool load(struct box *b, const GByteArray *state, GError **err)
{
	const uint8_t *data = state->data;
	size_t len = state->len;

	if (!b->vm.accel->load(&b->vm, &data, &len, err))
		return false;
	for (unsigned i = 0; i < b->vm.vcpus->len; i++)
		if (!b->vm.accel->vcpu_load(g_ptr_array_index(b->vm.vcpus, i), &data, &len, err))
			return false;
	if (!devices_load(&b->vm, &data, &len, err))
		return false;
	irqs_sync(&b->vm);
	return !len || kerr_set(err, KERR_STATE_DATA, "%zu bytes are left over", len);
}

struct box *box_move(struct box *old, GError **err)
{
	g_autoptr(GByteArray) state = g_byte_array_new();
	struct box_config c = old->config;
	struct box *b;

	c.no_boot = true;
	if (!box_park(old)) {
		kerr_set(err, KERR_TIMEOUT, "a vCPU does not park");
		return NULL;
	}
	box_pump(old, 20);      /* what it has said is here */
	if (!save(old, state, err) || !(b = box_new(&c, err)))
		return NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(b->vm.ram.pieces); i++)
		if (b->vm.ram.pieces[i].size)
			memcpy(b->vm.ram.pieces[i].host, old->vm.ram.pieces[i].host, b->vm.ram.pieces[i].size);
	b->vm.state = VM_RUNNING;       /* so that parking pauses the devices */
	clock_set_guest(b->vm.clock, clock_now(old->vm.clock, CLOCK_GUEST));
	if (!box_park(b) || !load(b, state, err)) {
		box_free(b);
		return NULL;
	}
	b->config.no_boot = old->config.no_boot;
	b->on_output = old->on_output;
	g_string_append_len(b->out, old->out->str, (gssize)old->out->len);
	box_free(old);
	return b;
}
