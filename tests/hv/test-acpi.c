/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ACPI tables for a matrix of machines: structure and checksums here, meaning by the tools of
 * ACPICA where they are installed. iasl takes each table apart and puts it together again without a
 * warning and to the same bytes; acpiexec, a real interpreter, loads them and runs hot-plug's methods.
 */
#include "hv/x86/acpi.h"
#include "hv/x86/aml.h"
#include "hv/x86/blob.h"
#include "hv/x86/ports.h"
#include "domain/error.h"

#include <glib/gstdio.h>
#include <string.h>

#define BASE TABLES_BASE
#define LIMIT TABLES_END

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return GUINT32_FROM_LE(v);
}

static uint64_t le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return GUINT64_FROM_LE(v);
}

/* --- AML encodings --- */

static void expect(GByteArray *b, const char *hex)
{
	g_autoptr(GString) got = g_string_new(NULL);

	for (guint i = 0; i < b->len; i++)
		g_string_append_printf(got, "%02x", b->data[i]);
	g_assert_cmpstr(got->str, ==, hex);
	g_byte_array_set_size(b, 0);
}

static void test_aml_terms(void)
{
	g_autoptr(GByteArray) b = g_byte_array_new();
	struct aml a;

	aml_init(&a, b);
	for (uint64_t v = 0; v <= 2; v++)
		aml_int(&a, v);
	expect(b, "00010a02");
	aml_int(&a, 0xff);
	aml_int(&a, 0x100);
	aml_int(&a, 0x10000);
	aml_int(&a, 0x100000000);
	expect(b, "0aff0b00010c000001000e0000000001000000");
	aml_eisaid(&a, "PNP0501");
	aml_eisaid(&a, "PNP0A08");
	expect(b, "0c41d005010c41d00a08");
	aml_path(&a, "A");
	aml_path(&a, "\\_SB.PCI0");
	aml_path(&a, "^^X.Y.Z0");
	aml_path(&a, "\\");
	expect(b, "415f5f5f" "5c2e5f53425f50434930" "5e5e2f03585f5f5f595f5f5f5a305f5f" "5c00");
	aml_string(&a, "hi");
	aml_buffer(&a, "\1\2", 2);
	expect(b, "0d686900" "11050a020102");
	aml_resources(&a);
	aml_res_io(&a, 0x3f8, 8);
	aml_res_irq(&a, 4);
	aml_close(&a);
	expect(b, "11100a0d" "4701f803f8030108" "221000" "7900");
	aml_finish(&a);
}

/* the length of a block is right on both sides of each encoding's limit */
static void test_aml_lengths(void)
{
	static const struct { size_t body; unsigned bytes; } rows[] = {
		{ 0, 1 }, { 62, 1 }, { 63, 2 }, { 4093, 2 }, { 4094, 3 }, { 0xffffc, 3 }, { 0xffffd, 4 },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GByteArray) b = g_byte_array_new();
		struct aml a;
		size_t len;

		aml_init(&a, b);
		aml_if(&a);
		blob_zero(b, rows[i].body);
		aml_close(&a);
		g_assert_cmpuint(b->len, ==, 1 + rows[i].bytes + rows[i].body);
		g_assert_cmpuint(b->data[1] >> 6, ==, rows[i].bytes - 1);
		len = b->data[1] & (rows[i].bytes == 1 ? 0x3f : 0x0f);
		for (unsigned k = 1; k < rows[i].bytes; k++)
			len |= (size_t)b->data[1 + k] << (8 * k - 4);
		g_assert_cmpuint(len, ==, b->len - 1);
	}
}

/* --- the matrix --- */

struct machine_case {
	const char *name;
	struct acpi_params p;
};

static const struct acpi_mem two_mems[] = {
	{ 0, 0xa0000, 0, false },
	{ 0x100000, 0xbff00000, 0, false },
	{ 0x100000000, 0x40000000, 1, false },
	{ 0x200000000, 0x100000000, 1, true },
};
static const uint8_t two_distances[] = { 10, 21, 21, 10 };
static uint32_t two_nodes[ACPI_CPUS_MAX];		/* filled by main() */
static uint32_t sparse_ids[ACPI_CPUS_MAX];
static const uint8_t mixed_flags[] = {
	ACPI_CPU_PRESENT, ACPI_CPU_PRESENT | ACPI_CPU_HOTPLUG, ACPI_CPU_HOTPLUG, ACPI_CPU_PRESENT,
};

#define PCI .pci = true, .mmio32_base = 0xc0000000, .mmio32_size = 0x3e000000, \
	.mmio64_base = 0x800000000, .mmio64_size = 0x800000000
#define DEVICES .com = { true }, .rtc = true, .pm_timer = true, .pvpanic = true

static const struct machine_case cases[] = {
	{ "bare-1", { .cpus = 1, .max_cpus = 1 } },
	{ "pci-hotplug", { .cpus = 1, .max_cpus = 1, PCI, .plug_slots = PCIHP_ALL } },
	{ "usual-2", { .cpus = 2, .max_cpus = 2, PCI, .plug_slots = 0x80000022, .ecam_base = 0xb0000000, .ecam_buses = 1, DEVICES } },
	{ "all-4", { .cpus = 2, .max_cpus = 4, .cpu_hotplug = true, PCI, .ecam_base = 0xb0000000,
		.ecam_buses = 256, .com = { true, true, true, true }, .rtc = true, .i8042 = true,
		.pm_timer = true, .pvpanic = true, .pvpanic_port = 0x510, .irq0_override = true,
		.nodes = 2, .cpu_node = two_nodes, .mems = two_mems, .n_mems = 4,
		.distances = two_distances, .oem_id = "ABCDEF", .oem_table_id = "ABCDEFGH" } },
	{ "mixed-4", { .cpus = 3, .max_cpus = 4, .cpu_flags = mixed_flags, .cpu_hotplug = true, DEVICES } },
	{ "hotplug-full-4", { .cpus = 4, .max_cpus = 4, .cpu_hotplug = true, DEVICES } },
	{ "com2", { .cpus = 1, .max_cpus = 1, .com = { false, true } } },
	{ "rtc", { .cpus = 1, .max_cpus = 1, .rtc = true } },
	{ "i8042", { .cpus = 1, .max_cpus = 1, .i8042 = true } },
	{ "pm-timer", { .cpus = 1, .max_cpus = 1, .pm_timer = true } },
	{ "pvpanic", { .cpus = 1, .max_cpus = 1, .pvpanic = true } },
	{ "irq0", { .cpus = 1, .max_cpus = 1, .irq0_override = true } },
	{ "pci-cf8", { .cpus = 1, .max_cpus = 1, .pci = true } },
	{ "pci-high-ecam", { .cpus = 1, .max_cpus = 1, PCI, .ecam_base = 0x4000000000, .ecam_buses = 256 } },
	{ "pci-ecam-across", { .cpus = 1, .max_cpus = 1, .pci = true, .ecam_base = 0xfff00000, .ecam_buses = 2 } },
	{ "numa-64", { .cpus = 64, .max_cpus = 64, PCI, DEVICES, .nodes = 2, .cpu_node = two_nodes,
		.mems = two_mems, .n_mems = 4, .distances = two_distances } },
	{ "numa-no-slit", { .cpus = 2, .max_cpus = 2, .nodes = 2, .cpu_node = two_nodes,
		.mems = two_mems, .n_mems = 4 } },
	{ "static-255", { .cpus = 255, .max_cpus = 255, PCI, DEVICES } },
	{ "hotplug-255", { .cpus = 1, .max_cpus = 255, .cpu_hotplug = true, PCI, DEVICES } },
	{ "hotplug-288", { .cpus = 1, .max_cpus = 288, .cpu_hotplug = true, PCI, DEVICES,
		.nodes = 2, .cpu_node = two_nodes, .mems = two_mems, .n_mems = 4 } },
	{ "sparse-288", { .cpus = 288, .max_cpus = 288, .apic_ids = sparse_ids, PCI, DEVICES } },
	{ "static-1024", { .cpus = 1024, .max_cpus = 1024, PCI, DEVICES } },
};

static GByteArray *build(const struct acpi_params *p)
{
	g_autoptr(GError) err = NULL;
	uint64_t rsdp = 0;
	GByteArray *b = acpi_build(p, BASE, LIMIT, &rsdp, &err);

	g_assert_no_error(err);
	g_assert_nonnull(b);
	g_assert_cmpuint(rsdp, ==, BASE);
	return b;
}

/* The table at a guest address: inside the blob, as long as it says. */
static const uint8_t *table_at(GByteArray *b, uint64_t gpa, uint32_t *len)
{
	g_assert_cmpuint(gpa, >=, BASE);
	g_assert_cmpuint(gpa - BASE, <=, b->len - 8);
	*len = le32(b->data + (gpa - BASE) + 4);
	g_assert_cmpuint(*len, <=, b->len - (gpa - BASE));
	return b->data + (gpa - BASE);
}

static const uint8_t *find(GByteArray *b, const char *signature, uint32_t *len)
{
	const uint8_t *xsdt = table_at(b, le64(b->data + 24), len);
	uint32_t n = (*len - 36) / 8;

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *t = table_at(b, le64(xsdt + 36 + 8 * i), len);

		if (!memcmp(t, signature, 4))
			return t;
		if (!memcmp(t, "FACP", 4) && !strcmp(signature, "DSDT"))
			return table_at(b, le64(t + 140), len);
		if (!memcmp(t, "FACP", 4) && !strcmp(signature, "FACS"))
			return table_at(b, le32(t + 36), len);
	}
	return NULL;
}

static const char *const signatures[] = { "FACP", "FACS", "DSDT", "APIC", "MCFG", "SRAT", "SLIT" };

static unsigned count_entries(const uint8_t *t, uint32_t len, uint32_t from, uint8_t type)
{
	unsigned n = 0;

	for (uint32_t at = from; at < len; at += t[at + 1]) {
		g_assert_cmpuint(t[at + 1], >=, 6);
		g_assert_cmpuint(t[at + 1], <=, len - at);
		n += t[at] == type;
	}
	return n;
}

static void test_structure(gconstpointer data)
{
	const struct machine_case *c = data;
	const struct acpi_params *p = &c->p;
	g_autoptr(GByteArray) b = build(p);
	const uint8_t *t;
	uint32_t len;

	g_assert_cmpuint(b->len, <=, LIMIT - BASE);
	g_assert_cmpmem(b->data, 8, "RSD PTR ", 8);
	g_assert_cmpuint(sum(b->data, 20), ==, 0);
	g_assert_cmpuint(sum(b->data, 36), ==, 0);
	t = table_at(b, le64(b->data + 24), &len);
	g_assert_cmpmem(t, 4, "XSDT", 4);
	g_assert_cmpuint(sum(t, len), ==, 0);
	for (unsigned i = 0; i < G_N_ELEMENTS(signatures); i++) {
		t = find(b, signatures[i], &len);
		if (!t)
			continue;
		if (strcmp(signatures[i], "FACS"))
			g_assert_cmpuint(sum(t, len), ==, 0);
		else
			g_assert_cmpuint((BASE + (t - b->data)) % 64, ==, 0);
	}
	g_assert_true(!find(b, "MCFG", &len) == !p->ecam_buses);
	g_assert_true(!find(b, "SRAT", &len) == !p->nodes);
	g_assert_true(!find(b, "SLIT", &len) == !p->distances);

	t = find(b, "APIC", &len);
	g_assert_cmpuint(count_entries(t, len, 44, 0) + count_entries(t, len, 44, 9), ==, p->max_cpus);
	g_assert_cmpuint(count_entries(t, len, 44, 9), ==, p->apic_ids ? p->max_cpus - 128 :
			 p->max_cpus > 255 ? p->max_cpus - 255 : 0);
	g_assert_cmpuint(count_entries(t, len, 44, 2), ==, p->irq0_override ? 2 : 1);
	t = find(b, "FACP", &len);
	g_assert_cmpuint(len, ==, 276);
	g_assert_cmpuint(t[91], ==, p->pm_timer ? 4 : 0);
	g_assert_cmpuint(t[109] & 0x22, ==, (p->i8042 ? 2 : 0) | (p->rtc ? 0 : 0x20));
	g_assert_cmpuint(le32(t + 112) & 1 << 4, ==, 0);	/* fixed power button */
	g_assert_cmpuint(le64(t + 120), ==, PORT_RESET);
	g_test_message("%s: %u bytes, DSDT %u", c->name, b->len, (find(b, "DSDT", &len), len));
}

/* the slots of a machine that may grow: flags in the MADT, _UID and id everywhere the same */
static void test_madt_slots(void)
{
	static const uint8_t want[] = { 1, 1, 2, 1 };	/* mixed_flags: enabled or online capable */
	struct acpi_params p = { .cpus = 3, .max_cpus = 4, .cpu_flags = mixed_flags, .cpu_hotplug = true };
	g_autoptr(GByteArray) b = build(&p);
	uint32_t len;
	const uint8_t *t = find(b, "APIC", &len);

	for (unsigned i = 0; i < 4; i++) {
		const uint8_t entry[8] = { 0, 8, (uint8_t)i, (uint8_t)i, want[i] };

		g_assert_cmpmem(t + 44 + 8 * i, 8, entry, 8);
	}
}

/* --- hostile parameters --- */

static void refuse(const struct acpi_params *p, uint64_t base, uint64_t limit, int code)
{
	g_autoptr(GError) err = NULL;
	uint64_t rsdp = 42;

	g_assert_null(acpi_build(p, base, limit, &rsdp, &err));
	g_assert_error(err, kerr_quark(), code);
	g_assert_cmpuint(rsdp, ==, 42);
	g_assert_null(acpi_build(p, base, limit, NULL, NULL));
}

static void test_refused(void)
{
	static const uint32_t equal_ids[] = { 0, 1, 1 }, all_ones[] = { 0, UINT32_MAX };
	static const uint32_t far_nodes[] = { 0, 7 };
	static const uint8_t no_boot[] = { 2, 1 }, no_flag[] = { 1, 0 }, odd_flag[] = { 1, 4 };
	static const uint8_t near[] = { 10, 10, 21, 10 }, self[] = { 11, 20, 20, 10 };
	static const struct acpi_mem overlap[] = { { 0, 4096, 0, false }, { 4095, 1, 0, false } };
	static const struct acpi_mem empty[] = { { 0, 0, 0, false } }, wraps[] = { { 4096, UINT64_MAX, 0, false } };
	static const struct acpi_mem far_mem[] = { { 0, 4096, 2, false } };
	static const struct acpi_params bad[] = {
		{ .cpus = 0, .max_cpus = 0 },
		{ .cpus = 0, .max_cpus = 2 },
		{ .cpus = 3, .max_cpus = 2, .cpu_hotplug = true },
		{ .cpus = 1, .max_cpus = ACPI_CPUS_MAX + 1, .cpu_hotplug = true },
		{ .cpus = UINT32_MAX, .max_cpus = UINT32_MAX },
		{ .cpus = 1, .max_cpus = 2 },			/* slots without hot-plug */
		{ .cpus = 3, .max_cpus = 3, .apic_ids = equal_ids },
		{ .cpus = 2, .max_cpus = 2, .apic_ids = all_ones },
		{ .cpus = 1, .max_cpus = 2, .cpu_hotplug = true, .cpu_flags = no_boot },
		{ .cpus = 1, .max_cpus = 2, .cpu_hotplug = true, .cpu_flags = no_flag },
		{ .cpus = 1, .max_cpus = 2, .cpu_hotplug = true, .cpu_flags = odd_flag },
		{ .cpus = 1, .max_cpus = 4, .cpu_hotplug = true, .cpu_flags = mixed_flags },
		{ .cpus = 1, .max_cpus = 1, .pci = true, .ecam_base = 0xb0000000, .ecam_buses = 257 },
		{ .cpus = 1, .max_cpus = 1, .plug_slots = 2 },
		{ .cpus = 1, .max_cpus = 1, .plug_slots = 3, PCI },
		{ .cpus = 1, .max_cpus = 1, .pci = true, .ecam_base = 0xb0000001, .ecam_buses = 1 },
		{ .cpus = 1, .max_cpus = 1, .pci = true, .ecam_base = UINT64_MAX << 20, .ecam_buses = 2 },
		{ .cpus = 1, .max_cpus = 1, .pci = true, .mmio32_base = 0, .mmio32_size = 0x100000000 },
		{ .cpus = 1, .max_cpus = 1, .pci = true, .mmio32_base = 0xc0000000, .mmio32_size = 0x40001000 },
		{ .cpus = 1, .max_cpus = 1, .pci = true, .mmio32_base = 0x1c0000000, .mmio32_size = 0x1000 },
		{ .cpus = 1, .max_cpus = 1, .pci = true, .mmio64_base = UINT64_MAX << 12, .mmio64_size = 0x2000 },
		{ .cpus = 1, .max_cpus = 1, .pci = true, .mmio64_base = 0x800000000, .mmio64_size = 0x1001 },
		{ .cpus = 1, .max_cpus = 1, .oem_id = "ABCDEFG" },
		{ .cpus = 1, .max_cpus = 1, .oem_table_id = "ABCDEFGHI" },
		{ .cpus = 1, .max_cpus = 1, .oem_id = "A\n" },
		{ .cpus = 1, .max_cpus = 1, .nodes = 256, .cpu_node = two_nodes },
		{ .cpus = 1, .max_cpus = 1, .nodes = 1 },
		{ .cpus = 1, .max_cpus = 1, .nodes = 1, .cpu_node = two_nodes, .n_mems = 1 },
		{ .cpus = 1, .max_cpus = 1, .nodes = 1, .cpu_node = two_nodes, .mems = two_mems, .n_mems = 1025 },
		{ .cpus = 2, .max_cpus = 2, .nodes = 2, .cpu_node = far_nodes },
		{ .cpus = 1, .max_cpus = 1, .nodes = 2, .cpu_node = two_nodes, .mems = overlap, .n_mems = 2 },
		{ .cpus = 1, .max_cpus = 1, .nodes = 2, .cpu_node = two_nodes, .mems = empty, .n_mems = 1 },
		{ .cpus = 1, .max_cpus = 1, .nodes = 2, .cpu_node = two_nodes, .mems = wraps, .n_mems = 1 },
		{ .cpus = 1, .max_cpus = 1, .nodes = 2, .cpu_node = two_nodes, .mems = far_mem, .n_mems = 1 },
		{ .cpus = 1, .max_cpus = 1, .nodes = 2, .cpu_node = two_nodes, .distances = near },
		{ .cpus = 1, .max_cpus = 1, .nodes = 2, .cpu_node = two_nodes, .distances = self },
	};
	static const struct acpi_params good = { .cpus = 1, .max_cpus = 1 };
	static const struct acpi_params big = { .cpus = ACPI_CPUS_MAX, .max_cpus = ACPI_CPUS_MAX };
	g_autoptr(GByteArray) b = build(&good);
	GByteArray *fits;

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_test_message("row %u", i);
		refuse(&bad[i], BASE, LIMIT, KERR_ARGS);
	}
	refuse(&good, BASE + 4, LIMIT, KERR_ARGS);
	refuse(&good, BASE, BASE, KERR_ARGS);
	refuse(&good, 0xffffffc0, 0x200000000, KERR_ARGS);
	refuse(&big, BASE, LIMIT, KERR_LIMIT);
	refuse(&good, BASE, BASE + b->len - 1, KERR_LIMIT);
	fits = acpi_build(&good, BASE, BASE + b->len, NULL, NULL);
	g_assert_nonnull(fits);
	g_byte_array_unref(fits);
}

/* --- the judges --- */

/* Run and return what was printed, or fail; stdin is /dev/null. */
static char *run(const char *dir, const char *const argv[])
{
	g_autoptr(GError) err = NULL;
	g_autofree char *errors = NULL;
	char *out = NULL;
	int status = 0;

	g_assert_true(g_spawn_sync(dir, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &errors,
				   &status, &err));
	g_assert_no_error(err);
	if (!g_spawn_check_wait_status(status, NULL))
		g_error("%s: %s%s", argv[0], out, errors);
	return out;
}

static bool have(const char *tool)
{
	g_autofree char *path = g_find_program_in_path(tool);

	if (!path)
		g_test_skip("no iasl or acpiexec (package acpica-tools): tables not judged");
	return path;
}

static char *make_dir(void)
{
	g_autoptr(GError) err = NULL;
	char *dir = g_dir_make_tmp("kvmd-acpi-XXXXXX", &err);

	g_assert_no_error(err);
	return dir;
}

static void remove_dir(const char *path)
{
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;

	while ((name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		g_unlink(file);
	}
	g_dir_close(dir);
	g_rmdir(path);
}

static void save(const char *dir, const char *name, const uint8_t *t, uint32_t len)
{
	g_autofree char *file = g_strdup_printf("%s/%s.dat", dir, name);

	g_assert_true(g_file_set_contents(file, (const char *)t, len, NULL));
}

static void judge_table(const char *dir, const char *name, const uint8_t *t, uint32_t len)
{
	g_autofree char *dat = g_strdup_printf("%s.dat", name), *dsl = g_strdup_printf("%s.dsl", name);
	g_autofree char *aml = g_strdup_printf("%s/%s-again.aml", dir, name);
	g_autofree char *again = g_strdup_printf("%s-again", name);
	const char *const apart[] = { "iasl", "-d", dat, NULL };
	const char *const together[] = { "iasl", "-we", "-p", again, dsl, NULL };
	g_autofree char *bytes = NULL, *out = NULL;
	gsize n;

	save(dir, name, t, len);
	g_free(run(dir, apart));
	out = run(dir, together);
	if (!strstr(out, " 0 Errors, 0 Warnings") && !strstr(out, "Table Input"))
		g_error("iasl on %s: %s", name, out);
	if (strstr(out, "Warning ") || strstr(out, "Error "))
		g_error("iasl on %s: %s", name, out);
	g_assert_true(g_file_get_contents(aml, &bytes, &n, NULL));
	g_assert_cmpuint(n, ==, len);
	/* iasl of 2020 loses the online-capable flag of x2APIC entries */
	for (gsize at = 44; !strcmp(name, "APIC") && at < n; at += (uint8_t)bytes[at + 1])
		if (t[at] == 9 && t[at + 8] == ACPI_MADT_ONLINE_CAPABLE)
			bytes[at + 8] = ACPI_MADT_ONLINE_CAPABLE;
	/* it puts its own checksum and compiler id in the header */
	g_assert_cmpmem(bytes, 9, t, 9);
	g_assert_cmpmem(bytes + 36, n - 36, t + 36, len - 36);
}

static void test_iasl(gconstpointer data)
{
	const struct machine_case *c = data;
	g_autoptr(GByteArray) b = NULL;
	g_autofree char *dir = NULL;

	if (!have("iasl"))
		return;
	b = build(&c->p);
	dir = make_dir();
	for (unsigned i = 0; i < G_N_ELEMENTS(signatures); i++) {
		uint32_t len;
		const uint8_t *t = find(b, signatures[i], &len);

		if (t && strcmp(signatures[i], "FACS"))
			judge_table(dir, signatures[i], t, len);
	}
	remove_dir(dir);
}

/*
 * What acpiexec prints when it has loaded the DSDT and run the commands. Its I/O ports are memory
 * full of @fill at first: the hot-plug block's state reads as that for every slot, until written.
 */
static char *interpret(const struct acpi_params *p, const char *fill, const char *commands)
{
	g_autoptr(GByteArray) b = build(p);
	g_autofree char *dir = make_dir();
	const char *const argv[] = { "acpiexec", "-fv", fill, "-b", commands, "DSDT.dat", NULL };
	uint32_t len;
	const uint8_t *t = find(b, "DSDT", &len);
	char *out;

	save(dir, "DSDT", t, len);
	out = run(dir, argv);
	remove_dir(dir);
	if (strstr(out, "AE_"))
		g_error("acpiexec: %s", out);
	return out;
}

static void expect_in_order(const char *out, const char *const want[])
{
	const char *at = out;

	for (; *want; want++) {
		at = strstr(at, *want);
		if (!at)
			g_error("no '%s' at its place in: %s", *want, out);
		at += strlen(*want);
	}
}

#define PAUSE "execute \\_S5;execute \\_S5;execute \\_S5;execute \\_S5;execute \\_S5;execute \\_S5"
#define PATIENCE 10

/* Is there a line about that device with that event? */
static bool tells(const char *out, const char *device, const char *event)
{
	g_auto(GStrv) lines = g_strsplit(out, "\n", -1);
	g_autofree char *from = g_strdup_printf("Notify on [%s]", device);

	for (char **l = lines; *l; l++)
		if (strstr(*l, from) && strstr(*l, event))
			return true;
	return false;
}

/*
 * As interpret(), until every device from first to last has told of each event. acpiexec prints notifications from threads, in
 * any order, gives them 10 ms per command, and ends without those that are late.
 */
static char *interpret_notifies(const struct acpi_params *p, const char *fill, const char *commands, const char *format, unsigned first,
	unsigned last, const char *const events[])
{
	for (unsigned patience = 1;; patience++) {
		g_autofree char *out = interpret(p, fill, commands), *missing = NULL;

		for (unsigned i = first; i <= last && !missing; i++) {
			g_autofree char *device = g_strdup_printf(format, i);

			for (unsigned e = 0; events[e] && !missing; e++)
				if (!tells(out, device, events[e]))
					missing = g_strdup_printf("%s on %s", events[e], device);
		}
		if (!missing)
			return g_steal_pointer(&out);
		if (patience == PATIENCE)
			g_error("no '%s' in: %s", missing, out);
	}
}

static void test_interpreter(void)
{
	struct acpi_params p = { .cpus = 1, .max_cpus = 4, .cpu_hotplug = true, PCI, DEVICES };
	g_autofree char *present = NULL, *absent = NULL, *inserted = NULL, *removed = NULL;

	if (!have("acpiexec"))
		return;
	/* _INI takes the block's word, ejecting clears it */
	present = interpret(&p, "1", "execute \\_SB.CPUS.C003._STA;execute \\_SB.CPUS.C003._EJ0 1;"
			    "execute \\_SB.CPUS.C003._STA;execute \\_SB.CPUS.C003._MAT;"
			    "execute \\_SB.PCI0._PRT;execute \\_S5");
	expect_in_order(present, (const char *const[]){ "Executed 1 _INI", "C003._STA returned",
			"000F\n", "C003._STA returned", "0000\n", "00 08 03 03 01 00 00 00",
			"Contains 128 Elements", "Contains 4 Elements", NULL });
	absent = interpret(&p, "0", "execute \\_GPE._E02;execute \\_SB.CPUS.C001._STA");
	expect_in_order(absent, (const char *const[]){ "C001._STA returned", "0000\n", NULL });
	g_assert_null(strstr(absent, "Notify"));
	/* writing the event bit makes it stay set in this memory: each slot has an event */
	inserted = interpret_notifies(&p, "2", "execute \\_GPE._E02;execute \\_SB.CPUS.C003._STA;" PAUSE, "C%03u", 1, 3,
		(const char *const[]){ "Device Check", NULL });
	expect_in_order(inserted, (const char *const[]){ "C003._STA returned", "000F\n", NULL });
	g_assert_null(strstr(inserted, "Notify on [C000]"));
	removed = interpret_notifies(&p, "4", "execute \\_GPE._E02;execute \\_SB.CPUS.C003._STA;" PAUSE, "C%03u", 1, 3,
		(const char *const[]){ "Eject Request", NULL });
	expect_in_order(removed, (const char *const[]){ "C003._STA returned", "0000\n", NULL });
	g_assert_null(strstr(removed, "Notify on [C000]"));
}

/* The ports are memory full of ones: each slot has both events; an ejection leaves its bit there. */
static void test_pci_hotplug(void)
{
	struct acpi_params p = { .cpus = 1, .max_cpus = 1, .plug_slots = PCIHP_ALL, PCI };
	g_autofree char *out = NULL, *none = NULL, *some = NULL;

	if (!have("acpiexec"))
		return;
	out = interpret_notifies(&p, "255", "execute \\_GPE._E01;" PAUSE ";execute \\_SB.PCI0.S05._EJ0 1;execute \\_SB.PCI0.PEJT;"
			"execute \\_SB.PCI0.PRPT 9 3 8;execute \\_SB.PCI0.POSL;execute \\_SB.PCI0.POEV", "S%02X_", 1, 31,
			(const char *const[]){ "Device Check", "Eject Request", NULL });
	g_assert_null(strstr(out, "[S00_]"));
	expect_in_order(out, (const char *const[]){ "PEJT returned", "0000000000000020\n", "POSL returned", "9\n", "POEV returned", "3\n", NULL });
	none = interpret(&p, "0", "execute \\_GPE._E01;" PAUSE);
	g_assert_null(strstr(none, "Notify"));
	p.plug_slots = 1u << 2 | 1u << 31;      /* the others are neither told of nor wired */
	some = interpret_notifies(&p, "255", "execute \\_GPE._E01;" PAUSE ";execute \\_SB.PCI0._PRT", "S%02X_", 31, 31,
			(const char *const[]){ "Device Check", "Eject Request", NULL });
	g_assert_true(tells(some, "S02_", "Device Check"));
	expect_in_order(some, (const char *const[]){ "Contains 8 Elements", NULL });
	g_assert_null(strstr(some, "[S03_]"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (unsigned i = 0; i < ACPI_CPUS_MAX; i++) {
		two_nodes[i] = i & 1;
		sparse_ids[i] = i < 128 ? i : i + 128;
	}
	g_test_add_func("/aml/terms", test_aml_terms);
	g_test_add_func("/aml/lengths", test_aml_lengths);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *a = g_strdup_printf("/acpi/structure/%s", cases[i].name);
		g_autofree char *z = g_strdup_printf("/acpi/iasl/%s", cases[i].name);

		g_test_add_data_func(a, &cases[i], test_structure);
		g_test_add_data_func(z, &cases[i], test_iasl);
	}
	g_test_add_func("/acpi/madt-slots", test_madt_slots);
	g_test_add_func("/acpi/refused", test_refused);
	g_test_add_func("/acpi/interpreter", test_interpreter);
	g_test_add_func("/acpi/pci-hotplug", test_pci_hotplug);
	return g_test_run();
}
