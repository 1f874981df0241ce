/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One device as XML: which it is, what is forgotten and inherited, and which of a machine's is meant. */
#include "domain/device_xml.h"

#include <string.h>


static void *read_device(const char *text, const struct field **row, GError **err)
{
	AUTO(report) r = report_new(NULL, false, false);

	return device_from_xml(text, strlen(text), r, row, err);
}

static void test_root(void)
{
	static const struct { const char *text, *want; } bad[] = {
		{ "", "no element" }, { "   ", "no element" }, { "<!-- only", "no element" }, { "<?xml version='1.0'?>", "no element" },
		{ "disk", "no element" }, { "<", "no element" }, { "<dsk/>", "did you mean <disk>" }, { "<zzzzzzzz/>", "is no device" },
		{ "<sound model='ich6'/>", "sound" }, { "<lease/>", "lease" }, { "<disk", "" }, { "<disk></rng>", "" }, { "<rng model='nonsense'/>", "model" },
		{ "<disk/><disk/>", "" }, { "<disk nonsense='1'/>", "nonsense" },
	};
	const struct field *row = NULL;
	void *dev;

	for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) err = NULL;

		g_test_message("%s", bad[i].text);
		g_assert_null(read_device(bad[i].text, &row, &err));
		g_assert_nonnull(err);
		if (!strstr(err->message, bad[i].want))
			g_error("'%s' is not in: %s", bad[i].want, err->message);
	}
	dev = read_device("<?xml version='1.0'?>\n<!-- a --><!-- b -->\n <rng model='virtio'><backend model='random'>/dev/random</backend></rng>", &row, NULL);
	g_assert_nonnull(dev);
	g_assert_cmpstr(row->path, ==, "rng");
	g_assert_cmpstr(((struct rng *)dev)->backend.path.path, ==, "/dev/random");
	schema_free(row->sub, dev);
}

static void add(struct machine *m, const char *text)
{
	const struct field *row;
	void *dev = read_device(text, &row, NULL);

	g_assert_nonnull(dev);
	g_assert_true(device_put(&m->devices, row, dev, NULL));
}

/* The alias of what is meant, or the error. New. */
static char *meant(const struct machine *m, const char *text)
{
	const struct field *row;
	g_autoptr(GError) err = NULL;
	void *like = read_device(text, &row, &err), *dev;

	g_assert_no_error(err);
	dev = device_match(&m->devices, row, like, &err);
	schema_free(row->sub, like);
	return dev ? g_strdup(*device_alias(row, dev)) : g_strdup_printf("%s", kerr_of(err)->code);
}

static void test_match(void)
{
	static const struct { const char *text, *want; } rows[] = {
		{ "<disk><target dev='vdb'/></disk>", "virtio-disk1" }, { "<disk><target dev='vdc'/></disk>", "DeviceNotFound" },
				{ "<disk><target dev='vda'/><alias name='virtio-disk1'/></disk>", "virtio-disk1" },
		{ "<interface type='user'/>", "net0" }, { "<interface type='ethernet'/>", "InvalidArgument" },
		{ "<interface type='ethernet'><mac address='52:54:00:00:00:02'/></interface>", "net2" },
		{ "<interface type='bridge'><source bridge='b'/><mac address='52:54:00:00:00:02'/></interface>", "DeviceNotFound" },
		{ "<rng model='virtio'><backend model='random'/></rng>", "rng0" },
		{ "<rng model='virtio'><backend model='random'/><address type='pci' domain='0' bus='0' slot='0x1e' function='0'/></rng>", "DeviceNotFound" },
		{ "<memballoon model='virtio'/>", "DeviceNotFound" }, { "<controller type='virtio-serial' index='7'/>", "DeviceNotFound" },
	};
	AUTO(machine) m = machine_new();
	const struct field *row = NULL;
	void *dev;

	add(m, "<disk type='file'><source file='/a.img'/><target dev='vda' bus='virtio'/><alias name='virtio-disk0'/></disk>");
	add(m, "<disk type='file'><source file='/b.img'/><target dev='vdb' bus='virtio'/><alias name='virtio-disk1'/></disk>");
	add(m, "<interface type='user'><mac address='52:54:00:00:00:01'/><alias name='net0'/></interface>");
	add(m, "<interface type='ethernet'><mac address='52:54:00:00:00:03'/><alias name='net1'/></interface>");
	add(m, "<interface type='ethernet'><mac address='52:54:00:00:00:02'/><alias name='net2'/></interface>");
	add(m, "<rng model='virtio'><backend model='random'/><alias name='rng0'/></rng>");
	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *got = meant(m, rows[i].text);

		g_test_message("%s: %s", rows[i].text, got);
		if (!g_str_has_prefix(rows[i].want, "I"))
			g_assert_cmpstr(got, ==, rows[i].want);
		else
			g_assert_false(g_str_has_prefix(got, "net"));
	}
	dev = device_by_alias(&m->devices, "net2", &row);
	g_assert_cmpstr(row->path, ==, "interface");
	device_take(&m->devices, row, dev);
	g_assert_null(device_by_alias(&m->devices, "net2", &row));
	schema_free(row->sub, dev);
}

static void test_inherit(void)
{
	const struct field *row;
	struct iface *old = read_device("<interface type='ethernet'><mac address='52:54:00:00:00:02'/><target dev='vnet3'/><alias name='net2'/>"
		"<address type='pci' domain='0' bus='0' slot='5' function='0'/></interface>", &row, NULL);
	struct iface *new = read_device("<interface type='ethernet'><link state='down'/><target dev='vnet9'/><alias name='net7'/></interface>", &row, NULL);

	device_forget(row, new);
	g_assert_null(new->target);
	g_assert_null(new->alias);
	device_inherit(row, new, old);
	g_assert_cmpstr(new->target, ==, "vnet3");
	g_assert_cmpstr(new->alias, ==, "net2");
	g_assert_cmpstr(new->mac, ==, "52:54:00:00:00:02");
	g_assert_cmpuint(new->address.slot, ==, 5);
	g_assert_cmpint(new->link, ==, LINK_DOWN);
	schema_free(row->sub, old);
	schema_free(row->sub, new);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/device-xml/root", test_root);
	g_test_add_func("/device-xml/match", test_match);
	g_test_add_func("/device-xml/inherit", test_inherit);
	return g_test_run();
}
