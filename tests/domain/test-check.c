/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules that no golden shows, and the CPU tables: names and bits are unique, every model's parent and
 * features exist, and where libvirt's own map is installed (libvirt0), it says the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "domain/cpu_features.h"
#include "domain/cpu_models.h"
#include "domain/machine.h"

#define MAP "/usr/share/libvirt/cpu_map"

static void test_iotune(void)
{
	static const struct { struct iotune t; bool ok; } cases[] = {
		{ { 0 }, true },
		{ { .total_bytes_sec = 1000, .read_iops_sec = 5 }, true },
		{ { .total_bytes_sec = 1000, .total_bytes_sec_max = 2000, .total_bytes_sec_max_length = 3, .group_name = (char *)"g" }, true },
		{ { .total_bytes_sec = 1, .read_bytes_sec = 1 }, false },
		{ { .total_iops_sec = 1, .write_iops_sec = 1 }, false },
		{ { .total_bytes_sec = 5, .total_bytes_sec_max = 4 }, false },
		{ { .write_iops_sec_max = 4 }, false },
		{ { .read_bytes_sec = 4, .read_bytes_sec_max_length = 1 }, false },
		{ { .total_bytes_sec = UINT64_MAX }, false },
		{ { .total_bytes_sec = 4, .total_bytes_sec_max = 5, .total_bytes_sec_max_length = 86401 }, false },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GError) err = NULL;

		g_assert_cmpint(iotune_check(&cases[i].t, &err), ==, cases[i].ok);
		g_assert_cmpint(!err, ==, cases[i].ok);
		if (err)
			g_assert_error(err, kerr_quark(), KERR_ARGS);
	}
}

static void test_features(void)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
	g_autoptr(GHashTable) bits = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

	g_assert_cmpuint(cpu_feature_rows_n, >, 300);
	for (unsigned i = 0; i < cpu_feature_rows_n; i++) {
		const struct cpu_feature_row *f = &cpu_feature_rows[i];

		g_assert_true(g_hash_table_add(names, (gpointer)(uintptr_t)f->name));
		g_assert_true(!f->alias || g_hash_table_add(names, (gpointer)(uintptr_t)f->alias));
		g_assert_true(g_hash_table_add(bits, g_strdup_printf("%d.%x.%x.%d.%d", f->msr,
			f->leaf, f->subleaf, f->reg, f->bit)));
		g_assert_cmpuint(f->bit, <, 32);
		g_assert_true(cpu_feature_find(f->name) == f);
		g_assert_true(!f->alias || cpu_feature_find(f->alias) == f);
	}
	g_assert_null(cpu_feature_find("nothing"));
	g_assert_cmpstr(cpu_feature_near("avx51f"), ==, "avx512f");
	g_assert_null(cpu_feature_near("something-else-entirely"));
}

static void exists(const char *feature, void *arg)
{
	GHashTable *seen = arg;

	if (!cpu_feature_find(feature))
		g_test_message("%s", feature);
	g_assert_nonnull(cpu_feature_find(feature));
	g_assert_true(g_hash_table_add(seen, g_strdup(feature)));
}

static void test_models(void)
{
	for (unsigned i = 0; i < cpu_model_rows_n; i++) {
		const struct cpu_model_row *m = &cpu_model_rows[i];
		g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
			NULL);

		g_assert_true(cpu_model_find(m->name) == m);
		g_assert_true(!m->parent || (cpu_model_find(m->parent) &&
			cpu_model_find(m->parent) < m));
		g_assert_true(!m->vendor || cpu_vendor_string(m->vendor));
		g_assert_cmpuint(m->family, >=, 4);
		cpu_model_features(m, exists, seen);
		g_assert_cmpuint(g_hash_table_size(seen), >, 2);
	}
	g_assert_true(cpu_model_has(cpu_model_find("Haswell"), "hle"));
	g_assert_false(cpu_model_has(cpu_model_find("Haswell-noTSX"), "hle"));
	g_assert_false(cpu_model_has(cpu_model_find("Skylake-Client-noTSX-IBRS"), "hle"));
	g_assert_true(cpu_model_has(cpu_model_find("Skylake-Client-noTSX-IBRS"), "spec-ctrl"));
	g_assert_cmpstr(cpu_model_near("Skylake-Servr"), ==, "Skylake-Server");
}

/* The value of name='…' (or of another attribute) in a line; NULL when it has none. Caller frees. */
static char *attr(const char *line, const char *name)
{
	g_autofree char *open = g_strdup_printf(" %s='", name);
	const char *s = strstr(line, open);

	s = s ? s + strlen(open) : NULL;
	return s ? g_strndup(s, strcspn(s, "'")) : NULL;
}

static char **map_lines(const char *file)
{
	g_autofree char *path = g_build_filename(MAP, file, NULL), *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) ? g_strsplit(text, "\n", -1) : NULL;
}

static void compare_feature(const char *name, const char *line)
{
	static const char *const regs[] = { "eax", "ebx", "ecx", "edx" };
	bool msr = strstr(line, "<msr") != NULL;
	g_autofree char *leaf = attr(line, msr ? "index" : "eax_in"), *sub = attr(line, "ecx_in");
	const struct cpu_feature_row *f = cpu_feature_find(name);

	if (!f)
		g_test_message("%s", name);
	g_assert_nonnull(f);
	g_assert_cmpstr(f->name, ==, name);
	g_assert_cmpint(f->msr, ==, msr);
	g_assert_cmpuint(f->leaf, ==, strtoul(leaf, NULL, 16));
	g_assert_cmpuint(f->subleaf, ==, sub ? strtoul(sub, NULL, 16) : 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(regs); i++) {
		g_autofree char *bits = attr(line, regs[i]);
		unsigned long v = bits ? strtoul(bits, NULL, 16) : 0;

		g_assert_cmpuint(v, ==, f->reg == i ? 1ul << f->bit : 0);
	}
}

static void test_libvirt_features(void)
{
	g_auto(GStrv) lines = map_lines("x86_features.xml");
	g_autofree char *name = NULL;
	unsigned n = 0;

	if (!lines) {
		g_test_skip("libvirt's CPU map (libvirt0) is not installed");
		return;
	}
	for (char **l = lines; *l; l++) {
		if (strstr(*l, "<feature ")) {
			g_free(name);
			name = attr(*l, "name");
		} else if (strstr(*l, "<cpuid ") || strstr(*l, "<msr ")) {
			compare_feature(name, *l);
			n++;
		}
	}
	g_assert_cmpuint(n, >, 200);
}

static void take_off(const char *feature, void *arg)
{
	if (!g_hash_table_remove(arg, feature))
		g_test_message("one too many: %s", feature);
}

static void test_libvirt_models(void)
{
	g_autoptr(GDir) dir = g_dir_open(MAP, 0, NULL);
	const char *file;
	unsigned n = 0;

	if (!dir) {
		g_test_skip("libvirt's CPU map (libvirt0) is not installed");
		return;
	}
	while ((file = g_dir_read_name(dir))) {
		g_auto(GStrv) lines = g_str_has_prefix(file, "x86_") ? map_lines(file) : NULL;
		g_autoptr(GHashTable) want = g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
			NULL);
		const struct cpu_model_row *m = NULL;
		unsigned features = 0;
		bool comment = false;

		for (char **l = lines; l && *l; l++) {
			g_autofree char *name = attr(*l, "name");

			comment |= strstr(*l, "<!--") && !strstr(*l, "/>");
			if (comment) {
				comment = !strstr(*l, "-->");
				continue;
			}

			if (strstr(*l, "<model "))
				m = cpu_model_find(name);
			if (m && strstr(*l, "<feature ") && !strstr(*l, "removed='yes'")) {
				g_hash_table_add(want, g_strdup(name));
				features++;
				if (!cpu_model_has(m, name))
					g_test_message("%s lacks %s", m->name, name);
				g_assert_true(cpu_model_has(m, name));
			}
		}
		if (!m)
			continue;
		n++;
		g_assert_cmpuint(g_hash_table_size(want), ==, features);
		cpu_model_features(m, take_off, want);
		g_assert_cmpuint(g_hash_table_size(want), ==, 0);
	}
	g_assert_cmpuint(n, ==, cpu_model_rows_n);
}

/* The first error for a whole definition with these pieces; NULL: none. */
static char *refusal(const char *head, const char *devices)
{
	g_autofree char *xml = g_strdup_printf("<domain type='kvm'><name>a</name>%s<devices>%s</devices></domain>", head, devices);
	AUTO(report) r = report_new(NULL, false, false);
	g_autoptr(GError) err = NULL;
	AUTO(machine) m = machine_from_xml(xml, strlen(xml), r, &err);

	g_assert_true(!m == (err != NULL));
	return err ? g_strdup(err->message) : NULL;
}

static void refused(const char *head, const char *devices, const char *what)
{
	g_autofree char *text = refusal(head, devices);

	if (!text || !strstr(text, what))
		g_test_message("want '%s', have '%s'", what, text ? text : "no error");
	g_assert_true(text && strstr(text, what));
}

static void accepted(const char *head, const char *devices)
{
	g_autofree char *text = refusal(head, devices);

	g_assert_cmpstr(text, ==, NULL);
}

static void test_limits(void)
{
	accepted("<memory unit='MiB'>1</memory><vcpu>1024</vcpu>", "");
	refused("<memory unit='bytes'>1044480</memory>", "", "less than 1 MiB");
	refused("<memory unit='PiB'>2</memory>", "", "outside");
	accepted("<memory>65536</memory><iothreads>1024</iothreads>", "");
	refused("<memory>65536</memory><iothreads>1025</iothreads>", "", "outside");
	/* sums that do not fit 64 bits */
	refused("<maxMemory slots='9' unit='PiB'>1</maxMemory><memory>65536</memory>",
		"<memory model='virtio-mem'><target><size unit='PiB'>1</size>"
		"</target></memory>", "leave nothing of <memory>");
	refused("<memory>65536</memory><cpu><topology sockets='1024' dies='1024' cores='1024' threads='1024'/></cpu>", "", "or more vCPUs");
}

#define MEM "<memory>65536</memory>"
static void test_addresses(void)
{
	accepted(MEM,
		"<rng model='virtio'><backend model='builtin'/><address type='pci' slot='31' function='7'/></rng>");
	refused(MEM, "<rng model='virtio'><backend model='builtin'/><address slot='3'/></rng>",
		"the kind of address is missing");
	refused(MEM, "<video><model type='vga'/><address type='pci' slot='3'/></video>"
		"<rng model='virtio'><backend model='builtin'/><address type='pci' slot='3'/></rng>", "is given twice");
	accepted(MEM, "<video><model type='vga'/><address type='pci' bus='3' slot='0'/></video>");
	refused(MEM,
		"<channel type='pty'><target type='virtio' name='a'/><address type='virtio-serial' controller='0' bus='0' port='1'/></channel>"
		"<channel type='pty'><target type='virtio' name='b'/><address type='virtio-serial' controller='0' bus='0' port='1'/></channel>", "is given twice");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/check/features", test_features);
	g_test_add_func("/check/models", test_models);
	g_test_add_func("/check/libvirt-features", test_libvirt_features);
	g_test_add_func("/check/libvirt-models", test_libvirt_models);
	g_test_add_func("/check/iotune", test_iotune);
	g_test_add_func("/check/limits", test_limits);
	g_test_add_func("/check/addresses", test_addresses);
	return g_test_run();
}
