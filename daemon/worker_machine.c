/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * machine-create: from a description and descriptors to a machine that is ready to run. The order is the hardware's: RAM,
 * accelerator, vCPUs, devices, tables and kernel.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/worker.h"
#include "daemon/worker_channels.h"
#include "daemon/worker_memory.h"
#include "daemon/worker_plug.h"
#include "daemon/worker_vcpus.h"
#include "devices/block.h"
#include "devices/chr.h"
#include "devices/serial.h"
#include "devices/virtio_console.h"
#include "domain/json.h"
#include "domain/report.h"
#include "hv/accel.h"
#include "hv/lock.h"
#include "hv/stats.h"
#include "hv/vcpu.h"
#include "hv/x86/boot.h"

/* --- which devices a machine has --- */

typedef unsigned (*count_fn)(const struct machine *);

static unsigned always(const struct machine *m)
{
	return 1;
}

static unsigned serials(const struct machine *m)
{
	return list_len(m->devices.serials);
}

static void *serial_config(const struct machine *m, unsigned i)
{
	return m->devices.serials->pdata[i];
}

static bool is_isa_panic(const struct panic *p)
{
	return p->model == PANIC_ISA || p->model == PANIC_ABSENT;
}

static unsigned isa_panics(const struct machine *m)
{
	list_each(panic, p, m->devices.panics)
		if (is_isa_panic(p))
			return 1;
	return 0;
}

static void *isa_panic_config(const struct machine *m, unsigned i)
{
	list_each(panic, p, m->devices.panics)
		if (is_isa_panic(p))
			return p;
	return NULL;
}

static bool is_virtio_serial(const struct controller *c)
{
	return c->type == CONTROLLER_VIRTIO_SERIAL;
}

static unsigned virtio_serials(const struct machine *m)
{
	unsigned n = 0;

	list_each(controller, c, m->devices.controllers)
		n += is_virtio_serial(c);
	return n;
}

static void *virtio_serial_config(const struct machine *m, unsigned i)
{
	list_each(controller, c, m->devices.controllers)
		if (is_virtio_serial(c) && !i--)
			return c;
	return NULL;
}

static unsigned cards(const struct machine *m)
{
	return list_len(m->devices.interfaces);
}

static void *card_config(const struct machine *m, unsigned i)
{
	return m->devices.interfaces->pdata[i];
}

static unsigned disks(const struct machine *m)
{
	unsigned n = 0;

	list_each(disk, d, m->devices.disks)
		n += disk_runs(d);
	return n;
}

static void *disk_config(const struct machine *m, unsigned i)
{
	list_each(disk, d, m->devices.disks)
		if (disk_runs(d) && !i--)
			return d;
	return NULL;
}

static void *clock_part(const struct machine *m, unsigned i)
{
	return (void *)&m->clock;
}

static unsigned rngs(const struct machine *m)
{
	return list_len(m->devices.rngs);
}

static void *rng_config(const struct machine *m, unsigned i)
{
	return m->devices.rngs->pdata[i];
}

static unsigned balloons(const struct machine *m)
{
	const struct balloon *b = m->devices.memballoon;

	return b && b->model != BALLOON_NONE && b->model != BALLOON_XEN;
}

static void *balloon_config(const struct machine *m, unsigned i)
{
	return m->devices.memballoon;
}

static unsigned memdevs(const struct machine *m)
{
	return list_len(m->devices.memdevs);
}

static void *memdev_config(const struct machine *m, unsigned i)
{
	return m->devices.memdevs->pdata[i];
}

static unsigned test_exits(const struct machine *m)
{
	return m->test.exit_port ? 1 : 0;
}

static void *test_config(const struct machine *m, unsigned i)
{
	return (void *)&m->test;
}

static unsigned pci_hotplugs(const struct machine *m)
{
	return m->features.acpi ? 1 : 0;
}

static unsigned vcpu_hotplugs(const struct machine *m)
{
	return machine_has_vcpu_hotplug(m) && m->features.acpi ? 1 : 0;
}

/* In the order they are made, reset and saved. */
static const struct {
	const char *type;
	count_fn count;
	void *(*config)(const struct machine *, unsigned i);    /* NULL: none */
} parts[] = {
	{ "acpi-pm", always, NULL },
	{ "cpuhp", vcpu_hotplugs, NULL },
	{ "pcihp", pci_hotplugs, NULL },
	{ "rtc", always, clock_part },
	{ "i8042", always, NULL },
	{ "serial", serials, serial_config },
	{ "pvpanic", isa_panics, isa_panic_config },
	{ "test-exit", test_exits, test_config },
	{ "pci-host", always, NULL },
	{ "virtio-console", virtio_serials, virtio_serial_config },
	{ "virtio-blk", disks, disk_config },
	{ "virtio-net", cards, card_config },
	{ "virtio-rng", rngs, rng_config },
	{ "virtio-balloon", balloons, balloon_config },
	{ "virtio-mem", memdevs, memdev_config },
};

/* Its alias, which stays when other devices come and go; what has none is numbered. */
static char *device_id(struct worker *w, const struct device_ops *ops, unsigned i, const void *config)
{
	const struct field *f = config && ops->config ? schema_field(ops->config, "alias") : NULL;
	const char *alias = f ? *(char **)field_at(f, config) : NULL;

	return alias && !device_find(&w->vm, alias) ? g_strdup(alias) : g_strdup_printf("%s%u", ops->name, i);
}

static bool devices_make(struct worker *w, GError **err)
{
	for (unsigned p = 0; p < G_N_ELEMENTS(parts); p++) {
		const struct device_ops *ops = device_type(parts[p].type);

		for (unsigned i = 0; i < parts[p].count(w->machine); i++) {
			void *config = parts[p].config ? parts[p].config(w->machine, i) : NULL;
			g_autofree char *id = device_id(w, ops, i, config);
			struct device *d = device_new(&w->vm, ops, id, config);

			if (!device_realize(d, w->fds, err))
				return false;
		}
	}
	return true;
}

static struct device *serial_by_name(struct worker *w, const char *name)
{
	for (guint i = 0; i < w->vm.devices->len; i++) {
		struct device *d = w->vm.devices->pdata[i];
		const struct chardev *c = d->config;

		if (strcmp(d->ops->name, "serial"))
			continue;
		if (!name || !strcmp(name, d->id) || (c->alias && !strcmp(name, c->alias)))
			return d;
	}
	return NULL;
}

struct chr *worker_chr(struct worker *w, const char *name)
{
	struct device *d = serial_by_name(w, name);
	struct chr *chr = d ? serial_chr(d) : NULL;

	for (guint i = 0; !chr && i < w->vm.devices->len; i++) {
		d = w->vm.devices->pdata[i];
		if (!strcmp(d->ops->name, "virtio-console"))
			chr = virtio_console_chr(d, name);
	}
	return chr;
}

bool worker_console_attach(struct worker *w, const struct args_console *a, int fd, GError **err)
{
	struct chr *chr = worker_chr(w, a->device);
	unsigned id;

	if (!chr) {
		close(fd);
		return kerr_set(err, KERR_NO_DEVICE, a->device ? "there is no serial port or console '%s'" : "the domain has no serial port or console%.0s", a->device);
	}
	return chr_attach(chr, fd, (a->writer ? CHR_WRITER : 0) | (a->force ? CHR_FORCE : 0), a->name ? a->name : "console", &id, err);
}

/* --- making it --- */

static bool ram_make(struct worker *w, GError **err)
{
	int fd = fdset_take(w->fds, "ram", err);

	return fd >= 0 && ram_init(&w->vm.ram, fd, machine_memory_initial(w->machine), err);
}

static void lock_loop(void *unused)
{
	lock_thread(LOCK_LOOP);
}

static void lock_disk_thread(void)
{
	lock_thread(LOCK_LOOP);
}

/* t: whose polling it has; NULL: the usual one. */
static struct loop *loop_make(struct worker *w, const char *name, const struct iothread *t, GError **err)
{
	struct loop *l = loop_new(name, w->vm.clock);

	if (!l) {
		kerr_set(err, KERR_LIMIT, "make an I/O loop: out of descriptors");
		return NULL;
	}
	loop_set_polling(l, t && t->poll_max >= 0 ? t->poll_max : LOOP_POLL_MAX_NS, t ? (unsigned)MAX(t->poll_grow, 0) : 0,
		t ? (unsigned)MAX(t->poll_shrink, 0) : 0);
	if (!loop_start(l, err)) {
		loop_free(l);
		return NULL;
	}
	loop_post(l, lock_loop, NULL);
	return l;
}

/* One more thread that serves disks, with a ring of its own while there are any. */
static void host_add(struct worker *w, struct loop *l, uint32_t iothread)
{
	unsigned n = w->vm.block_hosts_n++;

	w->vm.block_hosts[n] = block_host_new(l, n < w->rings_n ? &w->rings[n] : NULL, w->vm.clock, lock_disk_thread);
	block_host_set_iothread(w->vm.block_hosts[n], iothread);
}

static bool loops_make(struct worker *w, GError **err)
{
	const GPtrArray *threads = w->machine->iothreads.list;

	w->vm.loops = g_new0(struct loop *, 1);
	w->vm.loops[0] = loop_make(w, "io0", NULL, err);
	if (!w->vm.loops[0])
		return false;
	w->vm.loops_n = 1;
	w->vm.block_hosts = g_new0(struct block_host *, list_len(threads) + 1);
	host_add(w, w->vm.loops[0], 0);
	list_each(iothread, t, threads) {
		g_autofree char *name = g_strdup_printf("io%u", t->id);
		struct loop *l = loop_make(w, name, t, err);

		if (!l)
			return false;
		host_add(w, l, t->id);
	}
	return true;
}

static bool vcpus_start(struct worker *w, GError **err)
{
	for (guint i = 0; i < w->vm.vcpus->len; i++)
		if (!vcpu_start(w->vm.vcpus->pdata[i], err))
			return false;
	return true;
}

static bool console_log(struct worker *w, GError **err)
{
	struct chr *chr = worker_chr(w, NULL);
	int fd, old = -1;

	if (!chr || !fdset_has(w->fds, "console-log"))
		return true;
	fd = fdset_take(w->fds, "console-log", err);
	if (fdset_has(w->fds, "console-log-old"))
		old = fdset_take(w->fds, "console-log-old", err);
	return chr_set_log(chr, fd, old, err);
}

static bool boot(struct worker *w, GError **err)
{
	plugs_limit(w);
	return vm_boot(&w->vm, w->fds, err);
}

static bool make(struct worker *w, GError **err)
{
	return ram_make(w, err) && w->vm.accel->open(&w->vm, w->fds, err) && vm_add_vcpus(&w->vm, err) && loops_make(w, err) &&
		devices_make(w, err) && console_log(w, err) && boot(w, err) && vcpus_start(w, err);
}

static bool parse(struct worker *w, json_object *args, bool *run, GError **err)
{
	json_object *o;

	if (!args || !json_object_object_get_ex(args, "machine", &o))
		return kerr_set(err, KERR_ARGS, "machine-create: no 'machine'");
	w->machine = machine_new();
	if (!json_to_struct(&machine_schema, w->machine, o, err) || !schema_check(&machine_schema, w->machine, err))
		return false;
	*run = json_object_object_get_ex(args, "run", &o) && json_object_get_boolean(o);
	return true;
}

/* A machine without statistics runs as well as any. */
static void open_stats(struct worker *w)
{
	g_autoptr(GError) err = NULL;
	int fd = fdset_has(w->fds, "stats") ? fdset_take(w->fds, "stats", &err) : -1;

	if (fd >= 0 && !stats_open(&w->vm, fd, &err))
		g_printerr("no statistics: %s\n", err->message);
	stats_vm_set(&w->vm, STAT_VM_FENCE, lock_violations(NULL));
}

bool worker_machine_create(struct worker *w, json_object *args, GError **err)
{
	bool run = false;

	if (!parse(w, args, &run, err))
		return false;
	if (fdset_has(w->fds, "exit"))
		w->exit_fd = fdset_take(w->fds, "exit", err);
	vm_init(&w->vm, &accel_kvm, clock_new());
	w->vm.owner = w;
	w->vm.on_request = state_on_request;
	w->vm.def = w->machine;
	w->vm.native = w->native;
	w->vm.native_n = w->native_n;
	open_stats(w);
	vcpus_describe(w);
	if (!make(w, err))
		return false;
	vcpus_listen(w);
	memory_listen(w);
	plugs_listen(w);
	channels_listen(w);
	w->created = true;
	w->vm.state = VM_PAUSED;
	w->run_state = RUN_STATE_PRELAUNCH;
	if (fdset_has(w->fds, "qmp") && !worker_listen(w, "qmp", false, err))
		return false;
	if (fdset_has(w->fds, "kvmd") && !worker_listen(w, "kvmd", true, err))
		return false;
	return !run || state_run(w, err);
}

void worker_machine_quiet(struct worker *w, unsigned timeout_ms)
{
	for (guint i = 0; i < w->vm.vcpus->len; i++)
		vcpu_park(w->vm.vcpus->pdata[i]);
	if (!vcpus_wait_parked(&w->vm, timeout_ms))
		return;
	while (w->vm.devices->len)
		device_free(w->vm.devices->pdata[w->vm.devices->len - 1]);
}

json_object *worker_machine_json(const struct worker *w)
{
	return json_from_struct(&machine_schema, w->machine, JSON_SECRETS);
}
