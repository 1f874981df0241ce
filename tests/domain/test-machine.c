/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The grammar on real input: every file of tests/golden/xml is read, filled and checked. NAME.xml
 * has either NAME.out.xml (the canonical definition; NAME.warn: what was warned of) or NAME.err (all
 * findings). bad-*: must be refused; lenient-*, strict-*: read so. KVMD_REGEN=1 writes the goldens.
 * What is accepted must come back the same through XML, JSON and saved state, and be valid by
 * libvirt's own schema (where that is installed).
 */
#include <stdio.h>
#include <string.h>

#include "domain/json.h"
#include "domain/machine.h"
#include "domain/state.h"
#include "domain/xml.h"
#include "tests/domain/tables.h"

#define GOLDEN SOURCE_ROOT "/tests/golden/xml"
#define EXAMPLES SOURCE_ROOT "/domain/examples"
#define RNG "/usr/share/libvirt/schemas/domain.rng"

/* Newer than the schema that Debian 12 has, none of libvirt's at all, or written by a tool that cares less than it. */
static const char *const not_in_schema[] = { "panic-pvpanic", "lenient-unknown", "real-q35-dump", "real-uefi", "real-windows",
	"real-passthrough", "real-storage", "real-kubevirt", "real-vagrant" };

static char *findings(const struct report *r)
{
	GString *s = g_string_new(NULL);

	for (unsigned i = 0; i < r->findings->len; i++) {
		g_autofree char *line = finding_text(r, r->findings->pdata[i]);

		g_string_append_printf(s, "%s\n", line);
	}
	return g_string_free(s, FALSE);
}

static char *golden_path(const char *name, const char *suffix)
{
	return g_strdup_printf("%s/%s%s", GOLDEN, name, suffix);
}

/* The file's text is `want`; no file: NULL or "". */
static void compare(const char *name, const char *suffix, const char *want)
{
	g_autofree char *path = golden_path(name, suffix), *text = NULL;

	if (want && !*want)
		want = NULL;
	if (g_getenv("KVMD_REGEN")) {
		if (want)
			g_assert_true(g_file_set_contents(path, want, -1, NULL));
		else
			(void)remove(path);   /* most are not there */
		return;
	}
	g_file_get_contents(path, &text, NULL, NULL);
	if (g_strcmp0(text, want))
		g_test_message("%s differs; KVMD_REGEN=1 writes it anew", path);
	g_assert_cmpstr(want, ==, text);
}

static struct machine *read_text(const char *text, size_t len, const char *name,
	struct report **report)
{
	g_autoptr(GError) err = NULL;
	g_autofree char *file = g_strconcat(name, ".xml", NULL);
	struct machine *m;

	*report = report_new(file, g_str_has_prefix(name, "strict-"), g_str_has_prefix(name, "lenient-"));
	m = machine_from_xml(text, len, *report, &err);
	g_assert_cmpint(!m, ==, (*report)->errors != 0);
	g_assert_cmpint(!m, ==, err != NULL);
	return m;
}

static void same_machine(const struct machine *a, const struct machine *b)
{
	g_autofree char *x = machine_to_xml(a, XML_SECRETS), *y = machine_to_xml(b, XML_SECRETS);

	g_autoptr(GPtrArray) diff = machine_diff(a, b);

	g_assert_cmpstr(x, ==, y);
	for (unsigned i = 0; i < diff->len; i++) {
		const struct difference *d = g_ptr_array_index(diff, i);

		g_test_message("%s: %s, %s", d->path, d->before, d->after);
	}
	g_assert_cmpuint(diff->len, ==, 0);
}

static void through_codecs(const struct machine *m)
{
	struct machine *j = machine_new(), *s = machine_new();
	json_object *json = json_from_struct(&machine_schema, m, JSON_SECRETS);
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	g_autoptr(GError) err = NULL;
	const uint8_t *p;
	size_t left;

	json_to_struct(&machine_schema, j, json, &err);
	g_assert_no_error(err);
	g_assert_true(schema_equal(&machine_schema, m, j));
	json_object_put(json);
	state_save(&machine_schema, m, bytes);
	p = bytes->data;
	left = bytes->len;
	state_load(&machine_schema, s, &p, &left, &err);
	g_assert_no_error(err);
	g_assert_true(schema_equal(&machine_schema, m, s));
	machine_free(j);
	machine_free(s);
}

static void test_golden(gconstpointer data)
{
	const char *name = data;
	g_autofree char *path = golden_path(name, ".xml"), *text = NULL, *found = NULL, *out = NULL;
	gsize len;
	AUTO(report) r = NULL;
	AUTO(report) again = NULL;
	AUTO(machine) m = NULL;
	AUTO(machine) back = NULL;
	g_autofree char *twice = NULL;

	g_assert_true(g_file_get_contents(path, &text, &len, NULL));
	m = read_text(text, len, name, &r);
	found = findings(r);
	if (!m) {
		compare(name, ".err", found);
		compare(name, ".out.xml", NULL);
		compare(name, ".warn", NULL);
		return;
	}
	g_assert_false(g_str_has_prefix(name, "bad-"));
	out = machine_to_xml(m, XML_INACTIVE | XML_SECRETS);
	compare(name, ".err", NULL);
	compare(name, ".out.xml", out);
	compare(name, ".warn", found);
	/* define(dumpxml(x)) is x; XML_INACTIVE left out what a running machine has */
	back = read_text(out, strlen(out), name, &again);
	g_assert_nonnull(back);
	twice = machine_to_xml(back, XML_INACTIVE | XML_SECRETS);
	g_assert_cmpstr(twice, ==, out);
	same_machine(m, back);
	through_codecs(m);
}

static void names_in(const char *folder, const char *suffix, const char *without, GPtrArray *names)
{
	g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
	const char *file;

	g_assert_nonnull(dir);
	while ((file = g_dir_read_name(dir)))
		if (g_str_has_suffix(file, suffix) && !(without && g_str_has_suffix(file, without)))
			g_ptr_array_add(names, g_strndup(file, strlen(file) - strlen(suffix)));
}

/* All dumps in one run of xmllint: reading the schema takes longer than judging. */
static void test_schema(void)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *xmllint = g_find_program_in_path("xmllint"), *said = NULL;
	g_autoptr(GError) err = NULL;
	int status;

	if (!xmllint || !g_file_test(RNG, G_FILE_TEST_EXISTS)) {
		g_test_skip("xmllint (libxml2-utils) or libvirt's schemas (libvirt0) are not installed");
		return;
	}
	names_in(GOLDEN, ".out.xml", NULL, names);
	g_assert_cmpuint(names->len, >, 40);
	g_ptr_array_add(argv, g_strdup("timeout"));
	g_ptr_array_add(argv, g_strdup("100"));
	g_ptr_array_add(argv, g_steal_pointer(&xmllint));
	g_ptr_array_add(argv, g_strdup("--noout"));
	g_ptr_array_add(argv, g_strdup("--relaxng"));
	g_ptr_array_add(argv, g_strdup(RNG));
	for (unsigned i = 0; i < names->len; i++) {
		bool judge = true;

		for (size_t k = 0; k < G_N_ELEMENTS(not_in_schema); k++)
			judge &= strcmp(names->pdata[i], not_in_schema[k]) != 0;
		if (judge)
			g_ptr_array_add(argv, golden_path(names->pdata[i], ".out.xml"));
	}
	g_ptr_array_set_size(names, 0);
	names_in(EXAMPLES, ".xml", NULL, names);
	for (unsigned i = 0; i < names->len; i++)
		g_ptr_array_add(argv, g_strdup_printf("%s/%s.xml", EXAMPLES,
			(char *)names->pdata[i]));
	g_ptr_array_add(argv, NULL);
	g_spawn_sync(NULL, (char **)argv->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, &said,
		&status, &err);
	g_assert_no_error(err);
	if (status)
		g_test_message("%s", said);
	g_assert_cmpint(status, ==, 0);
}

static void test_example(gconstpointer data)
{
	g_autofree char *path = g_strdup_printf("%s/%s.xml", EXAMPLES, (const char *)data),
		*text = NULL, *found = NULL;
	AUTO(report) r = NULL;
	AUTO(machine) m = NULL;
	gsize len;

	g_assert_true(g_file_get_contents(path, &text, &len, NULL));
	m = read_text(text, len, data, &r);
	found = findings(r);
	/* one of them shows all that can be said, also what has no effect yet */
	for (unsigned i = 0; !strcmp(data, "full") && i < r->findings->len; i++)
		g_assert_true(g_str_has_prefix(((struct finding *)r->findings->pdata[i])->text, "kept, has no effect yet: "));
	if (strcmp(data, "full"))
		g_assert_cmpstr(found, ==, "");
	g_assert_nonnull(m);
}

static void test_tables(void)
{
	tables_check(&machine_schema);
	tables_round_trip(&machine_schema, "domain", 200, 4);
	tables_damage(&machine_schema, "domain", 300);
}

static bool note(struct resource_visit *v, void *arg, GError **err)
{
	(void)err;
	g_string_append_printf(arg, "%s %d %s\n", v->path, (int)v->use, v->res->path ?
		v->res->path : "-");
	return true;
}

static bool stop(struct resource_visit *v, void *arg, GError **err)
{
	(void)arg;
	return kerr_set(err, KERR_BUSY, "no %s", v->path);
}

static void test_walk(void)
{
	static const char xml[] = "<domain type='kvm'><name>a</name><memory>65536</memory>"
		"<os><type>hvm</type><kernel>/k</kernel><initrd>/i</initrd></os><devices>"
		"<disk><source file='/a'/><backingStore type='block'><format type='raw'/><source dev='/b'/></backingStore><target dev='vda'/></disk>"
		"<disk device='cdrom'><target dev='sda'/></disk>"
		"<serial type='pty'/><serial type='unix'><source mode='connect' path='/u'/><log file='/log'/></serial>"
		"<channel type='unix'><target type='virtio' name='x'/></channel><rng model='virtio'><backend model='random'/></rng>"
		"<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm></devices></domain>";
	g_autoptr(GString) seen = g_string_new(NULL);
	g_autoptr(GError) err = NULL;
	AUTO(report) r = NULL;
	AUTO(machine) m = read_text(xml, strlen(xml), "lenient-walk", &r);

	g_assert_nonnull(m);
	g_assert_true(machine_walk_resources(m, note, seen, &err));
	g_assert_cmpint(RES_READ, ==, 1);
	g_assert_cmpstr(seen->str, ==,
		"os/kernel 1 /k\n"
		"os/initrd 1 /i\n"
		"devices/disks[0]/source/file 3 /a\n"
		"devices/disks[0]/backing/source/dev 3 /b\n"
		"devices/serials[0]/source/path 7 -\n"
		"devices/serials[1]/source/path 6 /u\n"
		"devices/serials[1]/log/file 4 /log\n"
		"devices/channels[0]/source/path 5 -\n"
		"devices/rngs[0]/backend/path 1 /dev/urandom\n");
	g_assert_false(machine_walk_resources(m, stop, NULL, &err));
	g_assert_cmpstr(err->message, ==, "no os/kernel");
}

static void test_metadata(void)
{
	static const char xml[] = "<domain type='kvm'><name>a</name><memory>65536</memory><os><type>hvm</type></os><metadata>"
		"<t:test xmlns:t='urn:kvmd:domain:1'><t:exit-port iobase='0xf4'/><t:null-disks/></t:test></metadata></domain>";
	AUTO(report) r = NULL;
	AUTO(machine) m = read_text(xml, strlen(xml), "metadata", &r);

	g_assert_nonnull(m);
	g_assert_cmpuint(m->test.exit_port, ==, 0xf4);
	g_assert_true(m->test.null_disks);
}

/* Rows whose text is not one of the engine's kinds but an element's own code: few, or the tables are not the description. */
static void count_hooks(const struct schema *s, GHashTable *seen, unsigned *rows, unsigned *hooks)
{
	static const struct kind *const engine[] = { &kind_uint, &kind_int, &kind_hex, &kind_size, &kind_flag, &kind_enum, &kind_str, &kind_uuid,
		&kind_mac, &kind_bytes, &kind_cpuset, &kind_resource, &kind_struct, &kind_opt, &kind_list, &kind_extras, &kind_json, &kind_none };

	if (!g_hash_table_add(seen, (void *)s))
		return;
	for (const struct field *f = s->fields; f->name; f++) {
		bool own = true;

		for (size_t i = 0; i < G_N_ELEMENTS(engine); i++)
			own &= f->kind != engine[i];
		++*rows;
		*hooks += own;
		if (f->sub)
			count_hooks(f->sub, seen, rows, hooks);
	}
}

static void test_hooks(void)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
	unsigned rows = 0, hooks = 0;

	count_hooks(&machine_schema, seen, &rows, &hooks);
	g_test_message("%u rows, %u with code of their own", rows, hooks);
	g_assert_cmpuint(rows, >, 500);
	g_assert_cmpuint(hooks * 20, <=, rows);
}

int main(int argc, char **argv)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	unsigned examples;

	g_test_init(&argc, &argv, NULL);
	names_in(EXAMPLES, ".xml", NULL, names);
	examples = names->len;
	names_in(GOLDEN, ".xml", ".out.xml", names);
	for (unsigned i = 0; i < names->len; i++) {
		g_autofree char *path = g_strdup_printf("/machine/%s/%s", i < examples ?
			"example" : "golden", (char *)names->pdata[i]);

		g_test_add_data_func(path, names->pdata[i], i < examples ?
			test_example : test_golden);
	}
	g_test_add_func("/machine/schema", test_schema);
	g_test_add_func("/machine/tables", test_tables);
	g_test_add_func("/machine/walk", test_walk);
	g_test_add_func("/machine/metadata", test_metadata);
	g_test_add_func("/machine/hooks", test_hooks);
	return g_test_run();
}
