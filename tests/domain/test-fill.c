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

	g_assert_true(disk_runs(v) && disk_runs(s) && disk_runs(e));
	g_assert_cmpint(s->address.type, ==, ADDRESS_DRIVE);
	g_assert_cmpuint(s->address.unit, ==, 3);
	g_assert_cmpuint(s->address.controller, ==, 0);
	g_assert_cmpuint(address_slot(&s->address), ==, 18);
	g_assert_cmpuint(address_slot(&v->address), ==, 1);
	g_assert_cmpuint(address_slot(&e->address), ==, 19);
	g_assert_cmpstr(v->alias, ==, "virtio-disk0");
	g_assert_cmpstr(s->alias, ==, "sata-disk0");
	g_assert_true(e->readonly);
}

/* --- devices whose definition names another bus --- */
#define RNG_AT(bus, slot) \
	"<rng model='virtio'><backend model='builtin'/><address type='pci' bus='" bus "' slot='" slot "'/></rng>"
#define ROOT_PORT(i, f) "<controller type='pci' index='" i "' model='pcie-root-port'><address type='pci' slot='0x02' function='" f \
	"' multifunction='on'/></controller>"

static const struct address *rng_at(const struct machine *m, unsigned i)
{
	return &list_at(rng, m->devices.rngs, i)->address;
}

static void test_behind(void)
{
	AUTO(machine) m = read_machine(DEVICES(ROOT_PORT("1", "0") ROOT_PORT("2", "1") ROOT_PORT("3", "2")
		RNG_AT("3", "0") RNG_AT("1", "0") RNG RNG_AT("2", "0")));
	/* the one on bus 1 is gone, another has come: the others stay */
	AUTO(machine) less = read_machine(DEVICES(ROOT_PORT("1", "0") ROOT_PORT("2", "1") RNG RNG_AT("7", "0") RNG_AT("2", "0") RNG_AT("3", "0")));
	g_autofree char *xml = machine_to_xml(m, 0);

	g_assert_cmpuint(address_slot(rng_at(m, 0)), ==, 6);
	g_assert_cmpuint(address_slot(rng_at(m, 1)), ==, 4);
	g_assert_cmpuint(address_slot(rng_at(m, 2)), ==, 1);
	g_assert_cmpuint(address_slot(rng_at(m, 3)), ==, 5);
	g_assert_cmpuint(address_slot(rng_at(less, 1)), ==, 10);
	g_assert_cmpuint(address_slot(rng_at(less, 2)), ==, 5);
	g_assert_cmpuint(address_slot(rng_at(less, 3)), ==, 6);
	/* what the definition says stays as it is */
	g_assert_cmpuint(rng_at(m, 0)->bus, ==, 3);
	g_assert_cmpuint(rng_at(m, 0)->slot, ==, 0);
	g_assert_nonnull(strstr(xml, "bus='0x03' slot='0x00' function='0x0'/>"));
	g_assert_null(strstr(xml, "flat"));
}

/* The same definition gives the same places, in whatever order its devices stand. */
static void test_behind_order(void)
{
	AUTO(machine) a = read_machine(DEVICES(RNG_AT("1", "1") RNG_AT("2", "0") RNG_AT("1", "3") RNG_AT("3", "0")));
	AUTO(machine) b = read_machine(DEVICES(RNG_AT("3", "0") RNG_AT("1", "3") RNG_AT("2", "0") RNG_AT("1", "1")));

	for (unsigned i = 0; i < 4; i++)
		g_assert_cmpuint(address_slot(rng_at(a, i)), ==, address_slot(rng_at(b, 3 - i)));
	/* 1.1 and 2.0 prefer the same */
	g_assert_cmpuint(address_slot(rng_at(a, 0)), ==, 5);
	g_assert_cmpuint(address_slot(rng_at(a, 1)), ==, 6);
}

static struct machine *many_behind(unsigned n, const char *more, struct report *r)
{
	g_autoptr(GString) xml = g_string_new(HEAD "<devices>");
	g_autoptr(GError) err = NULL;

	for (unsigned i = 0; i < n; i++)
		g_string_append_printf(xml, "<rng model='virtio'><backend model='builtin'/><address type='pci' bus='%u' slot='0'/></rng>", i + 1);
	g_string_append_printf(xml, "%s</devices></domain>", more);
	return machine_from_xml(xml->str, xml->len, r, &err);
}

/* More than there are slots: functions; more than there are functions: refused. */
static void test_behind_many(void)
{
	AUTO(report) r = report_new(NULL, false, false);
	AUTO(report) full = report_new(NULL, false, false);
	AUTO(report) over = report_new(NULL, false, false);
	AUTO(machine) m = many_behind(40, "", r);
	AUTO(machine) most = many_behind(31 * 8, "", full);
	bool taken[32][8] = { { false } };
	const struct finding *f;

	g_assert_nonnull(m);
	list_each(rng, g, m->devices.rngs) {
		const struct address *a = &g->address;

		g_assert_false(taken[address_slot(a)][address_function(a)]);
		taken[address_slot(a)][address_function(a)] = true;
	}
	list_each(rng, g, m->devices.rngs)
		g_assert_true(!address_function(&g->address) ? taken[address_slot(&g->address)][1] == address_multifunction(&g->address) :
			taken[address_slot(&g->address)][0]);
	g_assert_nonnull(most);
	g_assert_null(many_behind(31 * 8 + 1, "", over));
	f = over->findings->pdata[0];
	g_assert_cmpstr(f->text, ==, "there is no PCI slot left for it");
	/* a place that only a kept device holds is the last resort: slot 1 */
	{
		AUTO(report) kept = report_new(NULL, false, false);
		AUTO(machine) k = many_behind(31, "<video><model type='vga'/><address type='pci' slot='1'/></video>", kept);

		g_assert_nonnull(k);
		g_assert_cmpuint(kept->errors, ==, 0);
		list_each(rng, g, k->devices.rngs)
			g_assert_cmpuint(address_function(&g->address), ==, 0);
	}
}

static void count(const struct report *r, const char *text, unsigned n)
{
	unsigned have = 0;

	for (unsigned i = 0; i < r->findings->len; i++)
		have += strstr(((const struct finding *)r->findings->pdata[i])->text, text) != NULL;
	g_assert_cmpuint(have, ==, n);
}

/* One word about all bridges; clashes behind them and with places that are in use are found. */
static void test_behind_findings(void)
{
	static const char twice[] = DEVICES(RNG_AT("1", "0") RNG_AT("1", "0"));
	AUTO(report) r = report_new(NULL, false, false);
	AUTO(report) bridges = report_new(NULL, false, false);
	AUTO(report) now = report_new(NULL, false, false);
	static const char many[] = DEVICES(ROOT_PORT("1", "0") ROOT_PORT("2", "1") RNG_AT("1", "0") RNG_AT("2", "0"));
	AUTO(machine) m = machine_from_xml(many, strlen(many), bridges, NULL);
	struct rng *fresh = schema_new(&rng_schema);

	g_assert_null(machine_from_xml(twice, strlen(twice), r, NULL));
	count(r, "PCI address 0000:01:00.0 is given twice", 1);
	g_assert_nonnull(m);
	g_assert_cmpuint(bridges->warnings, ==, 2);     /* and that it has no kernel */
	count(bridges, "2 bridges are kept", 1);
	/* plugged in while it runs */
	fresh->model = VIRTIO_MODEL_VIRTIO;
	fresh->backend.model = RNG_BUILTIN;
	fresh->address.type = ADDRESS_PCI;
	fresh->address.slot = address_slot(rng_at(m, 0));
	g_ptr_array_add(m->devices.rngs, fresh);
	g_assert_true(machine_fill(m, now));
	machine_check(m, now);
	g_assert_cmpuint(now->errors, ==, 1);
	count(now, "is taken by a device of another bus", 1);
}

/* libvirt's way to say "any": all zero. */
static void test_zero(void)
{
	AUTO(machine) m = read_machine(DEVICES("<rng model='virtio'><backend model='builtin'/>"
		"<address type='pci' domain='0x0000' bus='0x00' slot='0x00' function='0x0'/></rng>"));

	g_assert_cmpuint(address_slot(rng_at(m, 0)), ==, 1);
}

/* Pages and sums as libvirt has them. */
static void test_memory(void)
{
	AUTO(machine) odd = read_machine("<domain type='kvm'><name>a</name><memory unit='b'>1048577</memory></domain>");
	AUTO(machine) cells = read_machine("<domain type='kvm'><name>a</name><memory>1</memory><vcpu>2</vcpu><cpu><numa>"
		"<cell cpus='0' memory='4097'/><cell cpus='1' memory='4096'/></numa></cpu></domain>");

	g_assert_cmpuint(odd->memory.size, ==, 1048576 + 4096);
	g_assert_cmpuint(odd->memory.current, ==, odd->memory.size);
	g_assert_cmpuint(cells->memory.size, ==, (4096 + 4100) * 1024);
}

static void test_units(void)
{
	AUTO(machine) m = read_machine("<domain type='kvm'><name>a</name><memory>65536</memory><features><smm state='on'><tseg>8</tseg></smm></features>"
		"<devices><disk><driver type='qcow2'><metadata_cache><max_size>65536</max_size></metadata_cache></driver>"
		"<source file='/a'/><target dev='vda'/></disk></devices></domain>");

	g_assert_cmpuint(m->memory.size, ==, 65536 * 1024);
	g_assert_cmpuint(m->features.smm->tseg, ==, 8 << 20);
	g_assert_cmpuint(list_at(disk, m->devices.disks, 0)->driver.metadata_cache, ==, 65536);
}

static void test_root(void)
{
	AUTO(machine) pc = read_machine("<domain type='kvm'><name>a</name><memory>65536</memory><os><type machine='pc-i440fx-7.2'>hvm</type></os></domain>");
	AUTO(machine) ours = read_machine(HEAD "</domain>");

	g_assert_cmpstr(list_at(controller, pc->devices.controllers, 0)->model, ==, "pci-root");
	g_assert_cmpstr(list_at(controller, ours->devices.controllers, 0)->model, ==, "pcie-root");
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
	g_test_add_func("/fill/behind", test_behind);
	g_test_add_func("/fill/behind-order", test_behind_order);
	g_test_add_func("/fill/behind-many", test_behind_many);
	g_test_add_func("/fill/behind-findings", test_behind_findings);
	g_test_add_func("/fill/zero-address", test_zero);
	g_test_add_func("/fill/memory", test_memory);
	g_test_add_func("/fill/units", test_units);
	g_test_add_func("/fill/root", test_root);
	g_test_add_func("/fill/pairing", test_pairing);
	g_test_add_func("/fill/virtio-serial", test_virtio_serial);
	g_test_add_func("/fill/iothreads", test_iothreads);
	g_test_add_func("/fill/random", test_random);
	g_test_add_func("/fill/unfilled", test_unfilled);
	g_test_add_func("/fill/cpu-bits", test_cpu_bits);
	g_test_add_func("/fill/target-names", test_names);
	return g_test_run();
}
