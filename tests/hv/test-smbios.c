/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SMBIOS tables: structure here; what the values mean to others by dmidecode where it is installed. */
#include "hv/x86/smbios.h"
#include "hv/x86/ports.h"
#include "domain/error.h"

#include <glib/gstdio.h>
#include <string.h>

#define BASE TABLES_SMBIOS
#define LIMIT TABLES_END
#define MIB(n) ((uint64_t)(n) << 20)

static const uint8_t uuid[16] = {
	0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
};
static const struct smbios_board boards[] = {
	{ "board maker", "board", "v2", "B-1", "asset-7", "rack 3" },
	{ .product = "second" },
};
static const char *const oem_strings[] = { "first words", "io.systemd.credential:a=b" };
static const struct smbios_range small_range[] = { { 0, MIB(128) } };
static const struct smbios_range big_ranges[] = {
	{ 0, MIB(3072) }, { MIB(4096), MIB(6144) << 10 },
};

static const struct smbios_params plain = {
	.system.uuid = uuid, .sockets = 1, .cores = 1, .threads = 1, .memory = MIB(128),
	.ranges = small_range, .n_ranges = 1,
};
static const struct smbios_params full = {
	.bios = { "bios maker", "1.2.3", "02/03/2004", "7.254" },
	.system = { "maker", "product", "version", "SN-1", "SKU-1", "family", uuid },
	.chassis = { "chassis maker", "cv", "CS-1", "CA-1", "CSKU" },
	.boards = boards, .n_boards = 2, .oem_strings = oem_strings, .n_oem_strings = 2,
	.sockets = 64, .cores = 300, .threads = 2, .cpu_manufacturer = "cpu maker",
	.cpu_model = "cpu model", .cpu_id = 0x178bfbff000306a9, .cpu_mhz = 2600,
	.memory = MIB(6144) << 10, .ranges = big_ranges, .n_ranges = 2,
};

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s = (uint8_t)(s + *p++);
	return s;
}

static uint32_t le(const uint8_t *p, unsigned n)
{
	return n ? p[0] | le(p + 1, n - 1) << 8 : 0;
}

static GByteArray *build(const struct smbios_params *p)
{
	g_autoptr(GError) err = NULL;
	GByteArray *b = smbios_build(p, BASE, LIMIT, &err);

	g_assert_no_error(err);
	return b;
}

/* Walk all structures: each type's count; both entry points agree with what is there. */
static void walk(GByteArray *b, unsigned counts[256])
{
	const uint8_t *t = b->data + 64;
	uint32_t len = le(b->data + 12, 4), at = 0, largest = 0, n = 0;
	unsigned type;

	g_assert_cmpmem(b->data, 5, "_SM3_", 5);
	g_assert_cmpuint(sum(b->data, 24), ==, 0);
	g_assert_cmpuint(le(b->data + 16, 4), ==, BASE + 64);
	g_assert_cmpuint(len, ==, b->len - 64);
	do {
		uint32_t start = at;

		g_assert_cmpuint(len - at, >=, 6);
		type = t[at];
		counts[type]++;
		g_assert_cmpuint(le(t + at + 2, 2), ==, n++);
		at += t[at + 1];
		while (t[at] || t[at + 1])
			g_assert_cmpuint(++at, <, len - 1);
		at += 2;
		largest = MAX(largest, at - start);
	} while (type != 127);
	g_assert_cmpuint(at, ==, len);

	g_assert_cmpmem(b->data + 32, 4, "_SM_", 4);
	g_assert_cmpuint(sum(b->data + 32, 31), ==, 0);
	g_assert_cmpuint(sum(b->data + 48, 15), ==, 0);
	g_assert_cmpuint(le(b->data + 40, 2), ==, largest);
	g_assert_cmpuint(le(b->data + 54, 2), ==, len);
	g_assert_cmpuint(le(b->data + 56, 4), ==, BASE + 64);
	g_assert_cmpuint(le(b->data + 60, 2), ==, n);
}

static void test_structure(void)
{
	g_autoptr(GByteArray) a = build(&plain), b = build(&full);
	unsigned of_plain[256] = { 0 }, of_full[256] = { 0 };

	walk(a, of_plain);
	walk(b, of_full);
	g_assert_cmpuint(of_plain[4], ==, 1);
	g_assert_cmpuint(of_plain[2] + of_plain[11], ==, 0);
	g_assert_cmpuint(of_full[2], ==, 2);
	g_assert_cmpuint(of_full[4], ==, 64);
	g_assert_cmpuint(of_full[11], ==, 1);
	g_assert_cmpuint(of_full[19], ==, 2);
	g_test_message("plain %u bytes, full %u", a->len, b->len);
}

static void refuse(const struct smbios_params *p, uint64_t base, uint64_t limit, int code)
{
	g_autoptr(GError) err = NULL;

	g_assert_null(smbios_build(p, base, limit, &err));
	g_assert_error(err, kerr_quark(), code);
	g_assert_null(smbios_build(p, base, limit, NULL));
}

#define REFUSE(...) do { \
	struct smbios_params p = plain; \
	__VA_ARGS__; \
	refuse(&p, BASE, LIMIT, KERR_ARGS); \
} while (0)

static void test_refused(void)
{
	static const struct smbios_range bad_ranges[] = { { 0, 0 }, { 1, 1024 }, { UINT64_MAX << 10, 2048 } };
	static const char *const no_strings[] = { "", NULL };
	static const struct smbios_board bad_board = { .location = "a\tb" };
	static const char *const releases[] = { "1", "1.", ".1", "1.255", "256.1", "1.2.3", "a.b", "-1.2",
						"99999999999999999999.1", "1 .2", "1. 2" };
	g_autoptr(GByteArray) b = build(&plain);
	g_autofree char *long_string = g_strnfill(SMBIOS_STRING_MAX + 1, 'x');
	GByteArray *fits;

	REFUSE(p.sockets = 0);
	REFUSE(p.cores = 0);
	REFUSE(p.threads = 0);
	REFUSE(p.sockets = SMBIOS_SOCKETS_MAX + 1);
	REFUSE(p.cores = 256, p.threads = 256);
	REFUSE(p.cores = UINT32_MAX, p.threads = UINT32_MAX);
	REFUSE(p.memory = 0);
	REFUSE(p.memory = UINT64_MAX);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad_ranges); i++)
		REFUSE(p.ranges = &bad_ranges[i]);
	REFUSE(p.n_ranges = SMBIOS_RANGES_MAX + 1);
	REFUSE(p.ranges = NULL);
	REFUSE(p.n_boards = 1);
	REFUSE(p.n_boards = 1, p.boards = &bad_board);
	REFUSE(p.n_boards = UINT32_MAX, p.boards = &bad_board);
	REFUSE(p.n_oem_strings = 1);
	REFUSE(p.n_oem_strings = 256, p.oem_strings = oem_strings);
	REFUSE(p.n_oem_strings = 1, p.oem_strings = no_strings);
	REFUSE(p.n_oem_strings = 1, p.oem_strings = no_strings + 1);
	REFUSE(p.system.serial = "a\nb");
	REFUSE(p.cpu_model = long_string);
	for (unsigned i = 0; i < G_N_ELEMENTS(releases); i++)
		REFUSE(p.bios.release = releases[i]);
	refuse(&plain, BASE + 8, LIMIT, KERR_ARGS);
	refuse(&plain, LIMIT, LIMIT, KERR_ARGS);
	refuse(&plain, BASE, BASE + b->len - 1, KERR_LIMIT);
	long_string[SMBIOS_STRING_MAX] = 0;
	{
		struct smbios_params p = plain;

		p.system.serial = long_string;
		refuse(&p, BASE, LIMIT, KERR_LIMIT);
	}
	fits = smbios_build(&plain, BASE, BASE + b->len, NULL);
	g_assert_nonnull(fits);
	g_byte_array_unref(fits);
}

/* --- the judge --- */

/* It is often not in the PATH of those who are not root. */
static char *find_dmidecode(void)
{
	char *tool = g_find_program_in_path("dmidecode");

	if (!tool && g_file_test("/usr/sbin/dmidecode", G_FILE_TEST_IS_EXECUTABLE))
		tool = g_strdup("/usr/sbin/dmidecode");
	return tool;
}

/* dmidecode's words on the tables as found by the entry point at @entry of the blob */
static char *decode(GByteArray *b, unsigned entry)
{
	g_autoptr(GByteArray) dump = g_byte_array_new();
	g_autoptr(GError) err = NULL;
	g_autofree char *path = NULL, *errors = NULL, *tool = find_dmidecode();
	const char *argv[] = { tool, "--from-dump", NULL, NULL };
	char *out = NULL;
	int fd, status;

	/* a dump has the entry point first and the table 32 bytes on, which it must point at */
	g_byte_array_append(dump, b->data + entry, 32);
	g_byte_array_append(dump, b->data + 64, b->len - 64);
	if (entry) {
		memcpy(dump->data + 0x18, "\x20\0\0", 4);
		dump->data[0x15] = (uint8_t)(dump->data[0x15] - sum(dump->data + 0x10, 15));
		dump->data[0x04] = (uint8_t)(dump->data[0x04] - sum(dump->data, 31));
	} else {
		memcpy(dump->data + 0x10, "\x20\0\0\0\0\0\0", 8);
		dump->data[0x05] = (uint8_t)(dump->data[0x05] - sum(dump->data, 24));
	}
	fd = g_file_open_tmp("kvmd-smbios-XXXXXX", &path, &err);
	g_assert_no_error(err);
	g_close(fd, NULL);
	g_assert_true(g_file_set_contents(path, (const char *)dump->data, dump->len, NULL));
	argv[2] = path;
	g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out, &errors,
				   &status, &err));
	g_unlink(path);
	if (status || strstr(out, "Wrong") || strstr(out, "<OUT OF SPEC>") || strstr(out, "<BAD INDEX>") ||
	    strstr(out, "TRUNCATED") || *errors)
		g_error("dmidecode: %s%s", out, errors);
	return out;
}

static void expect(const char *out, const char *const want[])
{
	for (; *want; want++)
		if (!strstr(out, *want))
			g_error("dmidecode does not say '%s': %s", *want, out);
}

static void test_dmidecode(void)
{
	static const char *const of_plain[] = {
		"SMBIOS 3.0", "Manufacturer: kvmd", "Product Name: Virtual Machine",
		"UUID: 00112233-4455-6677-8899-aabbccddeeff", "System is a virtual machine",
		"Size: 128 MB", "Range Size: 128 MB", "Serial Number: Not Specified", NULL
	};
	static const char *const of_full[] = {
		"Vendor: bios maker", "Version: 1.2.3", "Release Date: 02/03/2004", "BIOS Revision: 7.254",
		"Product Name: product", "Serial Number: SN-1", "SKU Number: SKU-1", "Family: family",
		"Manufacturer: chassis maker", "SKU Number: CSKU", "Product Name: board",
		"Asset Tag: asset-7", "Location In Chassis: rack 3", "Product Name: second",
		"String 2: io.systemd.credential:a=b", "Socket Designation: CPU 63",
		"ID: A9 06 03 00 FF FB 8B 17", "Version: cpu model", "Core Count: 300", "Thread Count: 600",
		"Max Speed: 2600 MHz", "Maximum Capacity: 6 TB", "Size: 6 TB", "Range Size: 3 GB",
		"Range Size: 6 TB", "No errors detected", NULL
	};
	g_autofree char *tool = find_dmidecode();

	if (!tool) {
		g_test_skip("no dmidecode (package dmidecode): tables not judged");
		return;
	}
	for (unsigned entry = 0; entry <= 32; entry += 32) {
		g_autoptr(GByteArray) a = build(&plain), b = build(&full);
		g_autofree char *said_a = decode(a, entry), *said_b = decode(b, entry);

		expect(said_a, of_plain);
		expect(said_b, of_full);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/smbios/structure", test_structure);
	g_test_add_func("/smbios/refused", test_refused);
	g_test_add_func("/smbios/dmidecode", test_dmidecode);
	return g_test_run();
}
