/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Differences between machines: by meaning, and whether they may be made while it runs. */
#include <string.h>

#include "domain/machine.h"

static const char base[] =
	"<domain type='kvm'><name>a</name><uuid>6ba7b810-9dad-41d1-80b4-000000000001</uuid><memory unit='MiB'>64</memory>"
	"<vcpu>2</vcpu><cputune><vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='1' cpuset='1'/></cputune>"
	"<os><type>hvm</type><kernel>/k</kernel><boot dev='hd'/><boot dev='cdrom'/></os><devices>"
	"<disk><source file='/a'/><target dev='vda'/></disk><disk><source file='/b'/><target dev='vdb'/>"
	"<iotune><total_iops_sec>5</total_iops_sec></iotune></disk>"
	"<interface type='user'><mac address='52:54:00:00:00:01'/></interface></devices></domain>";

static struct machine *read_machine(const char *xml)
{
	AUTO(report) r = report_new(NULL, false, true);
	g_autoptr(GError) err = NULL;
	struct machine *m = machine_from_xml(xml, strlen(xml), r, &err);

	g_assert_no_error(err);
	return m;
}

/* base with `from` replaced by `to` differs by exactly these lines. */
static void differs(const char *from, const char *to, const char *want)
{
	g_auto(GStrv) parts = g_strsplit(base, from, 2);
	g_autofree char *changed = g_strjoinv(to, parts);
	g_autoptr(GString) text = g_string_new(NULL);
	g_autoptr(GPtrArray) diff = NULL;
	AUTO(machine) a = read_machine(base);
	AUTO(machine) b = read_machine(changed);

	g_assert_cmpuint(g_strv_length(parts), ==, 2);
	diff = machine_diff(a, b);
	for (unsigned i = 0; i < diff->len; i++) {
		const struct difference *d = g_ptr_array_index(diff, i);

		g_string_append_printf(text, "%s%s: %s -> %s\n", d->live ? "live " : "", d->path,
			d->before ? d->before : "-",
			d->after ? d->after : "-");
	}
	g_assert_cmpstr(text->str, ==, want);
}

static void test_same(void)
{
	differs("<vcpu>2</vcpu>", "<vcpu current='2'>2</vcpu>", "");
	differs("<memory unit='MiB'>64</memory>",
		"<memory unit='KiB'>65536</memory><currentMemory unit='MiB'>64</currentMemory>",
		"");
	differs("<vcpupin vcpu='0' cpuset='0'/><vcpupin vcpu='1' cpuset='1'/>",
		"<vcpupin vcpu='1' cpuset='1'/><vcpupin vcpu='0' cpuset='0'/>", "");
}

static void test_values(void)
{
	differs("<name>a</name>", "<name>b</name>", "name: a -> b\n");
	differs("<vcpu>2</vcpu>", "<vcpu current='1'>2</vcpu>", "live vcpu.current: - -> 1\n");
	differs("<total_iops_sec>5</total_iops_sec>", "<total_iops_sec>6</total_iops_sec>",
		"live devices/disks[vdb]/iotune/total_iops_sec: 5 -> 6\n");
	differs("<interface type='user'>", "<interface type='user'><link state='down'/>",
		"live devices/interfaces[52:54:00:00:00:01]/link: - -> down\n");
	differs("vcpu='1' cpuset='1'", "vcpu='1' cpuset='0-3'",
		"live cputune/vcpupins[1]/cpuset: 1 -> 0-3\n");
	differs("<os>", "<genid>6ba7b810-9dad-41d1-80b4-000000000002</genid><os>",
		"genid: - -> genid\n");
	differs("</name>", "</name><metadata><x xmlns='urn:x'/></metadata>",
		"live extras: - -> <metadata><x xmlns='urn:x'/></metadata>\n");
}

static void test_lists(void)
{
	differs("<disk><source file='/a'/><target dev='vda'/></disk>", "",
		"devices/disks[vda]: disk -> -\n"
		"devices/disks[vdb]/address/slot: 0x02 -> 0x01\ndevices/interfaces[52:54:00:00:00:01]/address/slot: 0x03 -> 0x02\n");
	differs("</interface>",
		"</interface><disk><source file='/c'/><target dev='vdc'/><address type='pci' slot='9'/></disk>"
		"<disk><source file='/d'/><target dev='vdd'/><address type='pci' slot='10'/></disk>",
		"devices/disks[vdc]: - -> disk\ndevices/disks[vdd]: - -> disk\n");
	/* where the order means something, it counts */
	differs("<boot dev='hd'/><boot dev='cdrom'/>", "<boot dev='cdrom'/><boot dev='hd'/>",
		"os/boot[0]/dev: hd -> cdrom\nos/boot[1]/dev: cdrom -> hd\n");
}

static void test_alias(void)
{
	differs("<target dev='vda'/>", "<target dev='vda'/><alias name='ua-root'/>",
		"devices/disks[vda]/alias: virtio-disk0 -> ua-root\n");
	differs("<target dev='vda'/>", "<target dev='vda'/><alias name='other'/>", "");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/diff/same", test_same);
	g_test_add_func("/diff/values", test_values);
	g_test_add_func("/diff/lists", test_lists);
	g_test_add_func("/diff/alias", test_alias);
	return g_test_run();
}
