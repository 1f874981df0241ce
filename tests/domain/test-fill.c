/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What machine_fill gives: values, places, names; and that it gives them once. */
#include <string.h>

#include "domain/check.h"
#include "domain/xml.h"

#define HEAD "<domain type='kvm'><name>a</name><memory>65536</memory><os><type>hvm</type></os>"
#define DEVICES(x) HEAD "<devices>" x "</devices></domain>"
#define RNG "<rng model='virtio'><backend model='builtin'/></rng>"

static struct machine *read_machine(const char *xml)
{
	AUTO(report) r = report_new(NULL, false, true);
	g_autoptr(GError) err = NULL;
	struct machine *m = machine_from_xml(xml, strlen(xml), r, &err);

	g_assert_no_error(err);
	return m;
}

static void refill(struct machine *m)
{
	AUTO(report) r = report_new(NULL, false, true);

	machine_fill(m, r);
	g_assert_cmpuint(r->errors, ==, 0);
}

static void test_values(void)
{
	AUTO(machine) m = read_machine("<domain type='kvm'><name>a</name><genid/><cpu><numa><cell memory='1024' cpus='0'/>"
		"<cell memory='1024'/></numa></cpu></domain>");
	AUTO(machine) other = read_machine(HEAD "</domain>");

	g_assert_true(g_uuid_string_is_valid(m->uuid));
	g_assert_true(g_uuid_string_is_valid(m->genid->uuid));
	g_assert_cmpstr(m->uuid, !=, other->uuid);
	g_assert_cmpstr(m->os.type, ==, "hvm");
	g_assert_cmpstr(m->os.arch, ==, "x86_64");
	g_assert_cmpstr(m->os.machine, ==, MACHINE_VERSION);
	g_assert_cmpuint(m->memory.size, ==, 2048 * 1024);
	g_assert_cmpuint(m->memory.current, ==, m->memory.size);
	g_assert_cmpuint(m->vcpu.max, ==, 1);
	g_assert_cmpuint(machine_vcpus(m), ==, 1);
	g_assert_cmpuint(list_at(numa_cell, m->cpu.cells, 1)->id, ==, 1);
	g_assert_cmpint(m->clock.offset, ==, CLOCK_UTC);
	g_assert_cmpuint(m->devices.controllers->len, ==, 1);
}

static void test_mac(void)
{
	AUTO(machine) m = read_machine(DEVICES("<interface type='user'/><interface type='user'/>"));
	const struct iface *a = list_at(iface, m->devices.interfaces, 0), *b = list_at(iface,
		m->devices.interfaces, 1);

	g_assert_true(g_str_has_prefix(a->mac, "52:54:00:"));
	g_assert_cmpuint(strlen(a->mac), ==, 17);
	g_assert_cmpstr(a->mac, !=, b->mac);
	g_assert_cmpstr(a->model, ==, "virtio");
}

/* A machine keeps its addresses when devices come and go. */
static void test_stable(void)
{
	AUTO(machine) m = read_machine(DEVICES(RNG RNG "<memballoon model='virtio'/>" RNG));
	GPtrArray *rngs = m->devices.rngs;
	struct rng *fresh;

	g_assert_cmpuint(m->devices.memballoon->address.slot, ==, 1);
	for (unsigned i = 0; i < 3; i++)
		g_assert_cmpuint(list_at(rng, rngs, i)->address.slot, ==, i + 2);
	g_assert_cmpstr(list_at(rng, rngs, 2)->alias, ==, "rng2");
	schema_free(&rng_schema, g_ptr_array_remove_index(rngs, 0));
	fresh = schema_new(&rng_schema);
	fresh->model = VIRTIO_MODEL_VIRTIO;
	fresh->backend.model = RNG_BUILTIN;
	g_ptr_array_insert(rngs, 0, fresh);
	fresh = schema_dup(&rng_schema, fresh);
	g_ptr_array_add(rngs, fresh);
	refill(m);
	g_assert_cmpuint(list_at(rng, rngs, 0)->address.slot, ==, 2);
	g_assert_cmpstr(list_at(rng, rngs, 0)->alias, ==, "rng0");
	g_assert_cmpuint(list_at(rng, rngs, 1)->address.slot, ==, 3);
	g_assert_cmpstr(list_at(rng, rngs, 1)->alias, ==, "rng1");
	g_assert_cmpuint(list_at(rng, rngs, 2)->address.slot, ==, 4);
	g_assert_cmpuint(fresh->address.slot, ==, 5);
	g_assert_cmpstr(fresh->alias, ==, "rng3");
}

/* A slot that a guest may have seen does not grow functions. */
static void test_functions(void)
{
	g_autoptr(GString) xml = g_string_new(HEAD "<devices>");
	AUTO(report) r = report_new(NULL, false, false);
	struct rng *extra = schema_new(&rng_schema);

	for (int i = 0; i < 40; i++)
		g_string_append(xml, RNG);
	g_string_append(xml, "</devices></domain>");
	{
		AUTO(machine) m = read_machine(xml->str);

		g_assert_cmpuint(list_at(rng, m->devices.rngs, 31)->address.slot, ==, 1);
		g_assert_cmpuint(list_at(rng, m->devices.rngs, 31)->address.function, ==, 1);
		g_assert_cmpint(list_at(rng, m->devices.rngs, 0)->address.multifunction, ==,
			ONOFF_ON);
		list_each(rng, g, m->devices.rngs)
			g->address.multifunction = ONOFF_ABSENT;
		extra->model = VIRTIO_MODEL_VIRTIO;
		g_ptr_array_add(m->devices.rngs, extra);
		g_assert_false(machine_fill(m, r));
		g_assert_cmpuint(r->errors, ==, 1);
	}
}

static void test_stand_in(void)
{
	AUTO(machine) m = read_machine(DEVICES("<disk><source file='/v'/><target dev='vda'/></disk>"
		"<disk><source file='/a'/><target dev='sda' bus='sata'/><address type='drive' unit='3'/></disk>"
		"<disk device='cdrom'><target dev='sdb' bus='sata'/></disk>"));
	struct disk *v = list_at(disk, m->devices.disks, 0), *s = list_at(disk, m->devices.disks,
		1), *e = list_at(disk, m->devices.disks, 2);

	g_assert_true(disk_runs(v) && disk_runs(s) && !disk_runs(e));
	g_assert_cmpint(s->address.type, ==, ADDRESS_DRIVE);
	g_assert_cmpuint(s->address.unit, ==, 3);
	g_assert_cmpuint(s->address.controller, ==, 0);
	g_assert_cmpuint(address_slot(&s->address), ==, 18);
	g_assert_cmpuint(address_slot(&v->address), ==, 1);
	g_assert_cmpuint(address_slot(&e->address), ==, ADDRESS_UNSET);
	g_assert_cmpstr(v->alias, ==, "virtio-disk0");
	g_assert_cmpstr(s->alias, ==, "sata-disk0");
	g_assert_true(e->readonly);
}

static void test_pairing(void)
{
	AUTO(machine) serial = read_machine(DEVICES("<serial type='file'><source path='/s'/></serial>"));
	AUTO(machine) console = read_machine(DEVICES("<console type='unix'><source mode='bind' path='/c'/></console>"));
	AUTO(machine) virtio = read_machine(DEVICES("<console type='pty'><target type='virtio'/></console>"));
	const struct chardev *c;

	c = list_at(chardev, serial->devices.consoles, 0);
	g_assert_true(chardev_is_serial_console(&serial->devices, c));
	g_assert_cmpint(c->type, ==, CHARDEV_FILE);
	g_assert_cmpstr(c->source.path.path, ==, "/s");
	g_assert_cmpstr(c->alias, ==, "serial0");
	c = list_at(chardev, console->devices.serials, 0);
	g_assert_cmpint(c->type, ==, CHARDEV_UNIX);
	g_assert_cmpstr(c->source.path.path, ==, "/c");
	g_assert_cmpstr(c->target.type, ==, "isa-serial");
	g_assert_cmpuint(c->target.port, ==, 0);
	g_assert_cmpuint(list_len(virtio->devices.serials), ==, 0);
	g_assert_false(chardev_is_serial_console(&virtio->devices, list_at(chardev,
		virtio->devices.consoles, 0)));
	g_assert_cmpuint(virtio->devices.controllers->len, ==, 2);
}

static void test_virtio_serial(void)
{
	g_autoptr(GString) xml = g_string_new(HEAD "<devices><controller type='virtio-serial' ports='3'/>");

	for (int i = 0; i < 5; i++)
		g_string_append_printf(xml,
			"<channel type='pty'><target type='virtio' name='c%d'/></channel>", i);
	g_string_append(xml, "</devices></domain>");
	{
		AUTO(machine) m = read_machine(xml->str);
		const struct address *a = &list_at(chardev, m->devices.channels, 2)->address;

		g_assert_cmpuint(address_port(&list_at(chardev, m->devices.channels, 0)->address),
			==, 1);
		g_assert_cmpuint(a->controller, ==, 1);
		g_assert_cmpuint(address_port(a), ==, 1);
		g_assert_cmpuint(m->devices.controllers->len, ==, 3);
	}
}

static void test_iothreads(void)
{
	AUTO(machine) m = read_machine("<domain type='kvm'><name>a</name><memory>65536</memory><iothreads>3</iothreads>"
		"<iothreadids><iothread id='2'/></iothreadids></domain>");

	g_assert_cmpuint(list_len(m->iothreads.list), ==, 3);
	g_assert_cmpuint(list_at(iothread, m->iothreads.list, 1)->id, ==, 1);
	g_assert_cmpuint(list_at(iothread, m->iothreads.list, 2)->id, ==, 3);
}

/* Whatever the codecs let in: filling and checking it neither crashes nor goes on changing it. */
static void test_random(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(7);

	for (int i = 0; i < 300; i++) {
		AUTO(machine) m = machine_new();
		AUTO(machine) once = NULL;
		AUTO(report) r = report_new(NULL, false, i & 1);

		schema_random(&machine_schema, m, rand, 3);
		machine_fill(m, r);
		machine_check(m, r);
		once = machine_dup(m);
		machine_fill(m, r);
		g_assert_true(schema_equal(&machine_schema, m, once));
	}
}

/* … and of a machine that was not filled. */
static void test_unfilled(void)
{
	g_autoptr(GRand) rand = g_rand_new_with_seed(8);

	for (int i = 0; i < 300; i++) {
		AUTO(machine) m = machine_new();
		AUTO(report) r = report_new(NULL, false, i & 1);

		schema_random(&machine_schema, m, rand, 3);
		machine_check(m, r);
	}
}

static void test_cpu_bits(void)
{
	struct cpu_bits b;

	cpu_bits_parse("0-2,64,100-101", &b);
	g_assert_true(cpu_bit(&b, 0) && cpu_bit(&b, 2) && cpu_bit(&b, 64) && cpu_bit(&b, 101));
	g_assert_false(cpu_bit(&b, 3) || cpu_bit(&b, 102));
	g_assert_cmpint(cpu_bits_highest(&b), ==, 101);
	cpu_bits_parse(NULL, &b);
	g_assert_cmpint(cpu_bits_highest(&b), ==, -1);
}

static void test_names(void)
{
	g_assert_cmpint(disk_target_index("vda"), ==, 0);
	g_assert_cmpint(disk_target_index("vdz"), ==, 25);
	g_assert_cmpint(disk_target_index("vdaa"), ==, 26);
	g_assert_cmpint(disk_target_index("xvdb"), ==, 1);
	g_assert_cmpint(disk_target_index("vd"), ==, -1);
	g_assert_cmpint(disk_target_index("vda1"), ==, -1);
	g_assert_cmpint(disk_target_index("vdzzzzzzzzzzzzzzz"), ==, -1);
	g_assert_cmpint(disk_target_index(NULL), ==, -1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/fill/values", test_values);
	g_test_add_func("/fill/mac", test_mac);
	g_test_add_func("/fill/stable", test_stable);
	g_test_add_func("/fill/functions", test_functions);
	g_test_add_func("/fill/stand-in", test_stand_in);
	g_test_add_func("/fill/pairing", test_pairing);
	g_test_add_func("/fill/virtio-serial", test_virtio_serial);
	g_test_add_func("/fill/iothreads", test_iothreads);
	g_test_add_func("/fill/random", test_random);
	g_test_add_func("/fill/unfilled", test_unfilled);
	g_test_add_func("/fill/cpu-bits", test_cpu_bits);
	g_test_add_func("/fill/target-names", test_names);
	return g_test_run();
}
