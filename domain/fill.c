/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the operator left out and other members imply. All of it ends up in the definition, so that
 * a machine keeps its uuid, MACs and addresses. Filling twice changes nothing. place.c gives the
 * devices' places and names.
 */
#include "domain/machine.h"

#include <inttypes.h>
#include <string.h>

static void set(char **member, const char *text)
{
	if (!*member)
		*member = g_strdup(text);
}

static void set_enum(int *member, int value)
{
	if (!*member)
		*member = value;
}

static void set_num(uint32_t *member, uint32_t unset, uint32_t value)
{
	if (*member == unset)
		*member = value;
}

#define PAGE UINT64_C(4096)

static bool round_up(uint64_t *size)
{
	bool uneven = *size % PAGE;

	if (uneven && *size < UINT64_MAX - PAGE)
		*size += PAGE - *size % PAGE;
	return uneven;
}

/* What the cells and memory devices make together; 0: no cells, or too much. */
static uint64_t memory_of_cells(const struct machine *m)
{
	uint64_t sum = 0;

	list_each(numa_cell, c, m->cpu.cells)
		if (__builtin_add_overflow(sum, c->memory, &sum))
			return 0;
	list_each(memdev, d, m->devices.memdevs)
		if (sum && __builtin_add_overflow(sum, d->target.size, &sum))
			return 0;
	return sum;
}

/* Like libvirt: whole pages, and where there are NUMA cells, their sum counts. */
static void fill_memory(struct machine *m, struct report *r)
{
	struct memory *mem = &m->memory;
	uint64_t before = mem->size, sum;

	list_each(numa_cell, c, m->cpu.cells)
		if (round_up(&c->memory))
			report_warn(r, c, "memory", "write a multiple of 4 KiB", "rounded up to whole pages of 4 KiB");
	list_each(memdev, d, m->devices.memdevs)
		if (round_up(&d->target.size))
			report_warn(r, &d->target, "size", "write a multiple of 4 KiB", "rounded up to whole pages of 4 KiB");
	if (round_up(&mem->size))
		report_warn(r, m, "memory.size", "write a multiple of 4 KiB", "rounded up to whole pages of 4 KiB");
	sum = memory_of_cells(m);
	if (sum && sum != mem->size) {
		if (mem->size)
			report_warn(r, m, "memory.size", "write the sum of all cells and memory devices",
				"the NUMA cells and memory devices make %" PRIu64 " KiB: that counts, not %" PRIu64 " KiB",
				sum / 1024, mem->size / 1024);
		mem->size = sum;
	}
	if (!mem->current || mem->current == before || (before != mem->size && mem->current > mem->size))
		mem->current = mem->size;
}

static void fill_cpu(struct machine *m)
{
	struct cpu *c = &m->cpu;
	struct cpu_topology *t = &c->topology;

	if (!m->vcpu.max)
		m->vcpu.max = 1;
	if (m->vcpu.current == m->vcpu.max)
		m->vcpu.current = 0;
	if (c->model)
		set_enum(&c->mode, CPU_MODE_CUSTOM);
	if (c->mode == CPU_MODE_CUSTOM)
		set_enum(&c->match, CPU_MATCH_EXACT);
	if (t->sockets || t->cores || t->threads)
		set_num(&t->dies, 0, 1);
	list_each(cpu_feature, f, c->features)
		set_enum(&f->policy, CPU_POLICY_REQUIRE);
	list_each(numa_cell, cell, c->cells)
		set_num(&cell->id, UINT32_MAX,
			(uint32_t)(cell_p - (struct numa_cell **)c->cells->pdata));
}

static void fill_features(struct features *f)
{
	struct feature_state *bare[] = { f->pvspinlock, f->pmu, f->vmport, f->vmcoreinfo, f->hap };

	for (size_t i = 0; i < G_N_ELEMENTS(bare); i++)
		if (bare[i])
			set_enum(&bare[i]->state, ONOFF_ON);
	if (f->smm)
		set_enum(&f->smm->state, ONOFF_ON);
	if (f->hyperv)
		set_enum(&f->hyperv->mode, HYPERV_CUSTOM);
}

/* <iothreads>n and <iothreadids> say the same: as many ids as the number says, the lowest free ones. */
static void fill_iothreads(struct iothreads *t)
{
	g_autofree bool *taken = g_new0(bool, 1026);
	unsigned next = 1;

	list_each(iothread, i, t->list)
		if (i->id <= 1024)
			taken[i->id] = true;
	if (list_len(t->list) > t->count)
		t->count = list_len(t->list);
	while (list_len(t->list) < t->count) {
		struct iothread *i = schema_new(&iothread_schema);

		while (next < 1025 && taken[next])
			next++;
		i->id = next++;
		if (!t->list)
			t->list = g_ptr_array_new();
		g_ptr_array_add(t->list, i);
	}
}

static void fill_disk(struct disk *d)
{
	set_enum(&d->type, DISK_FILE);
	set_enum(&d->device, DISK_DEVICE_DISK);
	set_enum(&d->target.bus, disk_bus_of_target(d->target.dev));
	if (d->type == DISK_FILE || d->type == DISK_BLOCK)
		set_enum(&d->driver.format, FORMAT_RAW);
	if (d->device == DISK_DEVICE_CDROM)
		d->readonly = true;
}

static void fill_mac(struct iface *i)
{
	guint32 r;

	if (i->mac)
		return;
	r = g_random_int();
	i->mac = g_strdup_printf("52:54:00:%02x:%02x:%02x", r & 0xff, r >> 8 & 0xff,
		r >> 16 & 0xff);
}

/* Ports that were not given get the lowest free number of their list. */
static void fill_ports(GPtrArray *list, unsigned from)
{
	unsigned next = from;
	g_autoptr(GHashTable) taken = g_hash_table_new(NULL, NULL);

	list_each(chardev, c, list)
		if (c->target.port != CHARDEV_PORT_NONE)
			g_hash_table_add(taken, GUINT_TO_POINTER(c->target.port));
	list_each(chardev, c, list) {
		if (c->target.port != CHARDEV_PORT_NONE)
			continue;
		while (g_hash_table_contains(taken, GUINT_TO_POINTER(next)))
			next++;
		c->target.port = next++;
	}
}

/* libvirt connects to what has a path; where none is given, the launcher makes one and listens. */
static void fill_mode(struct chardev *c)
{
	if (c->type == CHARDEV_UNIX)
		set_enum(&c->source.mode, c->source.path.path ? CHARDEV_CONNECT : CHARDEV_BIND);
	if (c->type == CHARDEV_TCP)
		set_enum(&c->source.mode, CHARDEV_CONNECT);
}

static void fill_serials(GPtrArray *serials)
{
	list_each(chardev, c, serials) {
		set_enum(&c->type, CHARDEV_PTY);
		fill_mode(c);
		set(&c->target.type, "isa-serial");
		if (!g_str_has_suffix(c->target.type, "-serial"))
			continue;
		set(&c->target.model, c->target.type);
	}
	fill_ports(serials, 0);
}

/* The same host side as the serial port it repeats. */
static void repeat(const struct chardev *serial, struct chardev *console)
{
	console->type = serial->type;
	console->protocol = serial->protocol;
	schema_copy(&chardev_source_schema, &console->source, &serial->source);
	schema_copy(&chardev_log_schema, &console->log, &serial->log);
	g_free(console->tty);
	console->tty = g_strdup(serial->tty);
	console->target.port = serial->target.port;
	g_clear_pointer(&console->target.type, g_free);
	console->target.type = g_strdup("serial");
}

static bool same_source(const struct chardev *a, const struct chardev *b)
{
	return !b->type || (a->type == b->type && (!b->source.path.path ||
		schema_equal(&chardev_source_schema, &a->source, &b->source)));
}

/*
 * libvirt's pairing: the first console and the first serial port are one thing. Whichever is given
 * makes the other; if both are, the serial port counts.
 */
static void fill_consoles(struct devices *d, struct report *r)
{
	struct chardev *first = list_len(d->consoles) ? list_at(chardev, d->consoles, 0) : NULL;
	bool serial = first && (!first->target.type || !strcmp(first->target.type, "serial"));

	if (serial && !list_len(d->serials)) {
		struct chardev *s = schema_new(&serial_schema);

		set_enum(&first->type, CHARDEV_PTY);
		repeat(first, s);
		g_clear_pointer(&s->target.type, g_free);
		s->target.port = CHARDEV_PORT_NONE;
		if (!d->serials)
			d->serials = g_ptr_array_new();
		g_ptr_array_add(d->serials, s);
	}
	fill_serials(d->serials);
	if (!first && list_len(d->serials) && !g_strcmp0(list_at(chardev, d->serials,
	    0)->target.type, "isa-serial")) {
		first = schema_new(&console_schema);
		serial = true;
		if (!d->consoles)
			d->consoles = g_ptr_array_new();
		g_ptr_array_add(d->consoles, first);
	}
	if (serial && list_len(d->serials)) {
		const struct chardev *s = list_at(chardev, d->serials, 0);

		if (!same_source(s, first))
			report_warn(r, first, NULL,
				"write the same as for the serial port, or <target type='virtio'/>",
				"the first console is the first serial port: what it says of its own is not used");
		repeat(s, first);
	}
	list_each(chardev, c, d->consoles) {
		set_enum(&c->type, CHARDEV_PTY);
		set(&c->target.type, "virtio");
	}
	fill_ports(d->consoles, 0);
}

static void fill_devices(struct devices *d, struct report *r)
{
	list_each(disk, disk, d->disks)
		fill_disk(disk);
	list_each(iface, i, d->interfaces) {
		fill_mac(i);
		if (i->type != IFACE_HOSTDEV)
			set(&i->model, "virtio");
	}
	fill_consoles(d, r);
	list_each(chardev, c, d->parallels)
		set_enum(&c->type, CHARDEV_PTY);
	fill_ports(d->parallels, 0);
	list_each(chardev, c, d->channels) {
		set_enum(&c->type, CHARDEV_PTY);
		set(&c->target.type, "virtio");
	}
	for (size_t n = 0; n < 4; n++) {
		GPtrArray *lists[] = { d->serials, d->parallels, d->consoles, d->channels };

		list_each(chardev, c, lists[n])
			fill_mode(c);
	}
	list_each(rng, g, d->rngs)
		if (g->backend.model == RNG_RANDOM)
			set(&g->backend.path.path, "/dev/urandom");
	list_each(panic, p, d->panics)
		set_enum(&p->model, PANIC_ISA);
	list_each(memdev, mem, d->memdevs)
		if (mem->model == MEMDEV_VIRTIO_MEM && !mem->target.block)
			mem->target.block = UINT64_C(2) << 20;
	list_each(watchdog, w, d->watchdogs)
		set_enum(&w->action, WATCHDOG_RESET);
}

bool machine_fill(struct machine *m, struct report *r)
{
	unsigned errors = r->errors;

	if (!m->uuid)
		m->uuid = g_uuid_string_random();
	if (m->genid && !m->genid->uuid)
		m->genid->uuid = g_uuid_string_random();
	set(&m->os.type, "hvm");
	set(&m->os.arch, "x86_64");
	set(&m->os.machine, MACHINE_VERSION);
	set_enum(&m->clock.offset, CLOCK_UTC);
	fill_memory(m, r);
	fill_cpu(m);
	fill_features(&m->features);
	fill_iothreads(&m->iothreads);
	fill_devices(&m->devices, r);
	machine_place(m, r);
	return r->errors == errors;
}
