/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The XML codec on the sample grammar: reading, findings with their places, keeping, hostile text. */
#include <string.h>

#include "domain/report.h"
#include "domain/xml.h"
#include "tests/domain/sample.h"
#include "tests/domain/tables.h"

static struct sample *read_flags(const char *text, struct report *r)
{
	struct sample *s = schema_new(&sample_schema);

	xml_parse(&sample_schema, s, "sample", text, strlen(text), r);
	return s;
}

static struct sample *read_ok(const char *text)
{
	AUTO(report) r = report_new(NULL, false, false);
	g_autoptr(GError) e = NULL;
	struct sample *s = read_flags(text, r);

	report_ok(r, &e);
	g_assert_no_error(e);
	return s;
}

/* What goes in comes out, and again. */
static void becomes(const char *in, const char *out)
{
	struct sample *s = read_ok(in), *t;
	g_autofree char *text = xml_format(&sample_schema, s, "sample", XML_SECRETS), *again = NULL;

	g_assert_cmpstr(text, ==, out);
	t = read_ok(text);
	again = xml_format(&sample_schema, t, "sample", XML_SECRETS);
	g_assert_cmpstr(again, ==, text);
	schema_free(&sample_schema, s);
	schema_free(&sample_schema, t);
}

static void same(const char *text)
{
	becomes(text, text);
}

/* The first finding as report_ok tells it. */
static void refused(const char *in, enum kerr code, const char *message)
{
	AUTO(report) r = report_new("f.xml", false, false);
	g_autoptr(GError) e = NULL;
	struct sample *s = read_flags(in, r);

	g_assert_false(report_ok(r, &e));
	g_assert_cmpstr(e->message, ==, message);
	g_assert_cmpint(e->code, ==, code);
	schema_free(&sample_schema, s);
}

#define BODY(x) "<sample>\n  <name>a</name>\n" x "</sample>\n"

static void test_tables(void)
{
	tables_check(&sample_schema);
	tables_round_trip(&sample_schema, "sample", 1000, 2);
	tables_damage(&sample_schema, "sample", 3000);
}

static void test_values(void)
{
	struct sample *s = read_ok("<?xml version='1.0' encoding='UTF-8'?>\n<!-- hello -->\n"
		"<sample id='4'><name>a&lt;<![CDATA[&b]]>&#x41;</name><uuid>6BA7B8109dad11d180b400c04fd430c8</uuid>"
		"<memory unit='GiB' dumpCore='off'> 2 </memory><cell memory='3' scale='MB'/><vcpu cpuset='0-3,^2,8'> 4 </vcpu>"
		"<clock offset='-5'/><mac address='52:54:0:A:b:c'/><address bus='0x1f' base='16'/><driver cache='none'>"
		"<iommu pinned='yes'/></driver><readonly/><key>00fF</key><source file='/x' mode='dial' path='/y'/>"
		"<iotune><total_bytes_sec>5</total_bytes_sec></iotune><rom bar='on'/><host name='h'/><host name='i' port='1'/>"
		"<slots><slot slot='1'>one</slot><slot slot='2'/></slots></sample>");

	g_assert_cmpstr(s->name, ==, "a<&bA");
	g_assert_cmpstr(s->uuid, ==, "6ba7b810-9dad-11d1-80b4-00c04fd430c8");
	g_assert_cmpuint(s->memory, ==, UINT64_C(2) << 30);
	g_assert_cmpint(s->dump_core, ==, ONOFF_OFF);
	g_assert_cmpuint(s->cell, ==, 3000000);
	g_assert_cmpuint(s->small, ==, 4);
	g_assert_cmpstr(s->cpus, ==, "0-1,3,8");
	g_assert_cmpint(s->offset, ==, -5);
	g_assert_cmpint(s->far, ==, -1);
	g_assert_cmpstr(s->mac, ==, "52:54:00:0a:0b:0c");
	g_assert_cmpuint(s->bus, ==, 0x1f);
	g_assert_cmpuint(s->base, ==, 16);
	g_assert_cmpint(s->cache, ==, CACHE_NONE);
	g_assert_cmpint(s->pinned, ==, YESNO_YES);
	g_assert_true(s->readonly);
	g_assert_cmpmem(s->key->data, s->key->len, "\0\xff", 2);
	g_assert_cmpstr(s->file.path, ==, "/x");
	g_assert_cmpint(s->chan.mode, ==, 2);
	g_assert_cmpstr(s->chan.path.path, ==, "/y");
	g_assert_cmpuint(s->tune.total_bytes_sec, ==, 5);
	g_assert_cmpint(s->rom->bar, ==, ONOFF_ON);
	g_assert_cmpuint(s->hosts->len, ==, 2);
	g_assert_cmpuint(((struct sample_host *)s->hosts->pdata[0])->port, ==, 10809);
	g_assert_cmpstr(((struct sample_slot *)s->slots->pdata[0])->text, ==, "one");
	g_assert_cmpuint(s->id, ==, 4);
	schema_free(&sample_schema, s);
}

static void test_format(void)
{
	struct sample *s = read_ok("<sample id='4'><name>a</name><memory unit='bytes'>1025</memory>"
		"<source mode='listen'><auth passwd='p'/></source></sample>");
	g_autofree char *all = xml_format(&sample_schema, s, "sample", XML_SECRETS);
	g_autofree char *some = xml_format(&sample_schema, s, "sample", XML_INACTIVE);

	g_assert_cmpstr(all, ==, "<sample id='4'>\n  <name>a</name>\n  <memory unit='bytes'>1025</memory>\n"
		"  <source mode='listen'>\n    <auth passwd='p'/>\n  </source>\n</sample>\n");
	g_assert_cmpstr(some, ==, "<sample>\n  <name>a</name>\n  <memory unit='bytes'>1025</memory>\n"
		"  <source mode='listen'/>\n</sample>\n");
	schema_free(&sample_schema, s);
	/* an element that is there for its attribute says its value */
	same(BODY("  <memory dumpCore='on' unit='KiB'>0</memory>\n  <vcpu cpuset='3'>1</vcpu>\n"));
	becomes("<sample><rom/><memory unit='TB'>1</memory><name>it's &amp; \t&#13;\n x</name><mac address='1:2:3:4:5:6'/></sample>",
		"<sample>\n  <name>it's &amp; \t&#13;\n x</name>\n  <memory unit='KiB'>976562500</memory>\n"
		"  <mac address='01:02:03:04:05:06'/>\n  <rom/>\n</sample>\n");
}

static void test_sizes(void)
{
	static const struct { const char *unit; uint64_t bytes; } units[] = {
		{ "b", 1 }, { "bytes", 1 }, { "byte", 1 }, { "KB", 1000 }, { "k", 1024 }, { "KiB", 1024 }, { "MB", 1000000 },
		{ "M", 1 << 20 }, { "MiB", 1 << 20 }, { "GB", 1000000000 }, { "g", 1 << 30 }, { "GiB", 1 << 30 },
		{ "TB", UINT64_C(1000000000000) }, { "T", UINT64_C(1) << 40 }, { "TiB", UINT64_C(1) << 40 },
		{ "PB", UINT64_C(1000000000000000) }, { "PiB", UINT64_C(1) << 50 }, { "EB", UINT64_C(1000000000000000000) },
		{ "EiB", UINT64_C(1) << 60 },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(units); i++) {
		g_autofree char *x = g_strdup_printf("<sample><name>n</name><cell memory='3' scale='%s'/></sample>", units[i].unit);
		struct sample *s = read_ok(x);

		g_assert_cmpuint(s->cell, ==, 3 * units[i].bytes);
		schema_free(&sample_schema, s);
	}
	refused(BODY("<cell memory='16' scale='EiB'/>"), KERR_XML,
		"f.xml:3:1: sample/cell/@memory: 'cell': 16 EiB is too large (at most 18446744073709551615 bytes)");
	refused(BODY("<memory unit='XiB'>1</memory>"), KERR_XML, "f.xml:3:1: sample/memory: 'memory': 'XiB' is not a unit; "
		"write bytes, KiB, MiB, GiB, TiB, PiB, EiB, KB, MB, GB, TB, PB or EB");
	refused(BODY("<memory unit='TiB'>257</memory>"), KERR_XML,
		"f.xml:3:1: sample/memory: 'memory': 275951648768 KiB is outside 0 KiB..274877906944 KiB");
}

static void test_findings(void)
{
	refused(BODY("  <iotune>\n    <total_bytes_sec_max_length>99999999</total_bytes_sec_max_length></iotune>"), KERR_XML,
		"f.xml:4:5: sample/iotune/total_bytes_sec_max_length: 'total_bytes_sec_max_length': 99999999 is outside 0..86400");
	refused(BODY("<sorce/>"), KERR_XML, "f.xml:3:1: sample/sorce: unknown element <sorce>; did you mean <source>?");
	refused(BODY("<iotune><nothing/></iotune>"), KERR_UNSUPPORTED, "f.xml:3:9: sample/iotune/nothing: unknown element "
		"<nothing>; allowed here: <total_bytes_sec>, <total_bytes_sec_max>, <total_bytes_sec_max_length>");
	refused(BODY("<driver\n   cahce='none'\n/>"), KERR_XML, "f.xml:3:1: sample/driver/@cahce: unknown attribute 'cahce'; "
		"did you mean 'cache'? allowed here: 'cache', 'ats'");
	refused(BODY("<iotune x='1'/>"), KERR_UNSUPPORTED,
		"f.xml:3:1: sample/iotune/@x: unknown attribute 'x'; no attribute is allowed here");
	refused(BODY("<driver cache='wrietback'/>"), KERR_XML, "f.xml:3:1: sample/driver/@cache: 'cache': unknown value "
		"'wrietback'; did you mean 'writeback'? (allowed: none, writeback, unsafe)");
	refused(BODY("<host name='a'/>\n <host name='b'\tport='0'/>"), KERR_XML,
		"f.xml:4:2: sample/host[2]/@port: 'port': 0 is outside 1..65535");
	refused(BODY("<host port='99'/>"), KERR_XML, "f.xml:3:1: sample/host: '@name' is missing");
	refused("<sample/>", KERR_XML, "f.xml:1:1: sample: <name> is missing");
	refused(BODY("<vcpu>1</vcpu><vcpu>2</vcpu>"), KERR_XML, "f.xml:3:15: sample/vcpu: <vcpu> is given twice; write it once");
	refused(BODY("<driver/><driver/>"), KERR_XML, "f.xml:3:10: sample/driver: <driver> is given twice; write it once");
	refused(BODY("<iotune/>漢<iotune/>"), KERR_XML, "f.xml:1:1: sample: text is not allowed in <sample>");
	refused(BODY("<readonly>yes</readonly>"), KERR_XML, "f.xml:3:1: sample/readonly: text is not allowed in <readonly>");
	refused(BODY("<sound model='x'/>"), KERR_UNSUPPORTED, "f.xml:3:1: sample/sound: not supported; remove it");
	refused(BODY("<big>-1</big>"), KERR_XML, "f.xml:3:1: sample/big: 'big': '-1' is not a whole number");
	refused(BODY("<big>18446744073709551616</big>"), KERR_XML,
		"f.xml:3:1: sample/big: 'big': 18446744073709551616 is too large (at most 18446744073709551615)");
	refused(BODY("<address bus='010'/>"), KERR_XML, "f.xml:3:1: sample/address/@bus: 'bus': '010' is not clear: "
		"write 0x… or leave out the leading zeros");
	refused(BODY("<vcpu cpuset='3-1'>1</vcpu>"), KERR_XML,
		"f.xml:3:1: sample/vcpu/@cpuset: 'cpus': '3-1' is not a list of CPUs: a range goes upwards");
	refused(BODY("<vcpu cpuset='8192'>1</vcpu>"), KERR_XML, "f.xml:3:1: sample/vcpu/@cpuset: 'cpus': CPU 8192 is outside 0..8191");
	refused(BODY("<name>b</name>"), KERR_XML, "f.xml:3:1: sample/name: <name> is given twice; write it once");
	refused(BODY("<uuid>12</uuid>"), KERR_XML,
		"f.xml:3:1: sample/uuid: 'uuid': '12' is not a uuid such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8");
	refused(BODY("<host name='1'/><host name='2'/><host name='3'/><host name='4'/><host name='5'/><host name='6'/>"
		"<host name='7'/><host name='8'/><host name='9'/>"), KERR_LIMIT, "f.xml:3:129: sample/host[9]: more than 8 <host>");
}

static void test_keep(void)
{
	/* in place, word by word, attributes of an intermediate element too */
	same("<sample foo:x='1' xmlns:foo='urn:foo'>\n  <name>a</name>\n"
		"  <emulator   b=\"2\" >&lt;<![CDATA[x]]><!-- c --></emulator>\n"
		"  <driver cache='none' ats='on' foo:y='&lt;'>\n    <foo:bar/>\n    <iommu pinned='yes'/>\n    <foo:baz/>\n"
		"    <foo:baz>\n  x</foo:baz>\n  </driver>\n  <foo:end/>\n</sample>\n");
	/* of structs that can't keep: the outer one does, and finds the place again */
	same(BODY("  <iotune foo:a='1' xmlns:foo='urn:foo'>\n    <total_bytes_sec>1</total_bytes_sec>\n    <foo:b/>\n  </iotune>\n"
		"  <rom bar='on'>\n    <x:y xmlns:x='urn:x'/>\n  </rom>\n"
		"  <host name='1'/>\n  <host name='2'>\n    <x:y xmlns:x='urn:x'/>\n  </host>\n"
		"  <slots>\n    <slot slot='1'/>\n    <slot slot='2' foo:a='1' xmlns:foo='urn:foo'/>\n  </slots>\n"));
	/* elements that say nothing are not lost */
	same(BODY("  <title>untitled</title>\n  <memory unit='KiB'>0</memory>\n  <vcpu>1</vcpu>\n  <driver>\n    <iommu/>\n"
		"  </driver>\n  <iotune/>\n  <slots/>\n"));
	becomes("<sample><emulator/><host name='1'/><x:a xmlns:x='u'/><name>a</name><x:b xmlns:x='u'/></sample>",
		"<sample>\n  <emulator/>\n  <name>a</name>\n  <x:b xmlns:x='u'/>\n  <host name='1'/>\n  <x:a xmlns:x='u'/>\n</sample>\n");
	/* metadata: whole, unless it holds something of ours */
	same(BODY("  <metadata>\n <!-- c -->text<a b='c'/> </metadata>\n"));
	becomes(BODY("  <metadata xmlns:k='urn:kvmd:domain:1'><a>t</a><k:test><k:exit-port iobase='244'/></k:test><b/></metadata>\n"),
		"<sample>\n  <name>a</name>\n  <metadata xmlns:k='urn:kvmd:domain:1'>\n    <a>t</a>\n"
		"    <kvmd:test xmlns:kvmd='urn:kvmd:domain:1'>\n      <kvmd:exit-port iobase='244'/>\n"
		"    </kvmd:test>\n    <b/>\n  </metadata>\n</sample>\n");
}

static void test_gone(void)
{
	struct sample *s = read_ok(BODY("<rom><x:y xmlns:x='u'/></rom><host name='1'/><host name='2'><x:y xmlns:x='u'/></host>"));
	const struct field *rom = schema_field(&sample_schema, "rom"), *hosts = schema_field(&sample_schema, "hosts");
	g_autofree char *text = NULL;

	rom->kind->clear(rom, &s->rom);
	hosts->kind->clear(hosts, &s->hosts);
	text = xml_format(&sample_schema, s, "sample", 0);
	g_assert_cmpstr(text, ==, "<sample>\n  <name>a</name>\n</sample>\n");
	schema_free(&sample_schema, s);
}

/* Space beside kept elements reads as indentation, so it is written as none; a value stands beside them as it is. */
static void test_space(void)
{
	struct sample *s = read_ok(BODY("<slots><slot slot='1'> v <x:y xmlns:x='u'/></slot></slots>"));
	struct sample_slot *slot = s->slots->pdata[0];
	g_autofree char *value = xml_format(&sample_schema, s, "sample", 0), *space = NULL;

	g_assert_nonnull(strstr(value, "<slot slot='1'> v <x:y xmlns:x='u'/></slot>\n"));
	same(value);
	g_free(slot->text);
	slot->text = g_strdup("\r\n ");
	space = xml_format(&sample_schema, s, "sample", 0);
	g_assert_nonnull(strstr(space, "<slot slot='1'>\n      <x:y xmlns:x='u'/>\n    </slot>\n"));
	same(space);
	schema_free(&sample_schema, s);
	/* an embedded struct that isn't there requires nothing and is not written; an empty value is none */
	same(BODY(""));
	same(BODY("  <vcpu cpuset='1'>1</vcpu>\n  <source file='/x'/>\n"));
	becomes(BODY("<source file=''/><uuid x:y='1' xmlns:x='u'/>"),
		BODY("  <uuid x:y='1' xmlns:x='u'/>\n  <source/>\n"));
}

static void test_levels(void)
{
	static const char text[] = "<sample>\n<name>a</name>\n<emulator/><unknown/><watch/>\n</sample>";
	AUTO(report) plain = report_new(NULL, false, false);
	AUTO(report) strict = report_new(NULL, true, false);
	AUTO(report) lenient = report_new("x", false, true);
	g_autofree char *line = NULL, *out = NULL;
	struct sample *s;

	schema_free(&sample_schema, read_flags(text, plain));
	g_assert_cmpuint(plain->warnings, ==, 1);
	g_assert_cmpuint(plain->errors, ==, 2);
	line = finding_text(plain, plain->findings->pdata[0]);
	g_assert_cmpstr(line, ==, "3:1: warning: sample/emulator: kept, not used: kvmd runs the machine itself");
	schema_free(&sample_schema, read_flags(text, strict));
	g_assert_cmpuint(strict->errors, ==, 3);
	s = read_flags(text, lenient);
	g_assert_true(report_ok(lenient, NULL));
	g_assert_cmpuint(lenient->warnings, ==, 3);
	out = xml_format(&sample_schema, s, "sample", 0);
	g_assert_cmpstr(out, ==, "<sample>\n  <name>a</name>\n  <emulator/>\n  <unknown/>\n  <watch/>\n</sample>\n");
	schema_free(&sample_schema, s);
}

/* Rules across members find their place in the text. */
static void test_places(void)
{
	AUTO(report) r = report_new("f.xml", false, false);
	g_autoptr(GError) e = NULL;
	struct sample *s = read_flags(BODY("<iotune>\n <total_bytes_sec>5</total_bytes_sec>\n"
		" <total_bytes_sec_max>4</total_bytes_sec_max></iotune><host name='a'/><host\nname='b'/>"), r);

	schema_check_report(&sample_schema, s, r);
	g_assert_false(report_ok(r, &e));
	g_assert_cmpstr(e->message, ==, "f.xml:5:2: sample/iotune/total_bytes_sec_max: the burst is below the rate; make it larger");
	report_error(r, s->hosts->pdata[1], "port", KERR_XML, NULL, "x");
	g_assert_cmpstr(((struct finding *)r->findings->pdata[1])->path, ==, "sample/host[2]/@port");
	g_assert_cmpuint(((struct finding *)r->findings->pdata[1])->line, ==, 5);
	report_error(r, &s->chan, "path", KERR_XML, NULL, "x");
	g_assert_cmpstr(((struct finding *)r->findings->pdata[2])->path, ==, "sample/source/@path");
	schema_free(&sample_schema, s);
}

static void hostile(const char *text, size_t len, const char *want)
{
	AUTO(report) r = report_new(NULL, false, false);
	g_autoptr(GError) e = NULL;
	struct sample *s = schema_new(&sample_schema);

	g_assert_false(xml_parse(&sample_schema, s, "sample", text, len, r));
	g_assert_false(report_ok(r, &e));
	if (!strstr(e->message, want))
		g_error("'%s' does not say '%s'", e->message, want);
	schema_free(&sample_schema, s);
}

static void test_hostile(void)
{
	g_autoptr(GString) s = g_string_new(NULL);

	hostile("", 0, "empty");
	hostile("   ", 3, "");
	hostile("<sample", 7, "1:");
	hostile("<sample>\n</smple>", 17, "2:9: Opening and ending tag mismatch");
	hostile("<a/>", 4, "the outermost element is <a>, <sample> is expected");
	hostile("<sample xmlns='urn:x'/>", 23, "foreign namespace");
	hostile("<sample><\0/></sample>", 21, "1:10: the text contains a zero byte");
	hostile("<sample>\n  \xff</sample>", 21, "2:3: the text is not valid UTF-8");
	hostile("<!DOCTYPE sample SYSTEM 'file:///etc/passwd'><sample/>", 54, "1:1: a DOCTYPE is not allowed");
	hostile("<?xml version='1.0' encoding='latin1'?><sample/>", 48, "only UTF-8");
	hostile("<sample>&foo;</sample>", 22, "foo");
	hostile("<sample><x:y/></sample>", 23, "prefix x");
	hostile("<sample a='1' a='2'/>", 21, "redefined");
	hostile("<sample/><sample/>", 18, "1:10");
	for (int i = 0; i < 70; i++)
		g_string_append(s, "<sample>");
	hostile(s->str, s->len, "nested too deeply");
	g_string_assign(s, "<sample");
	for (int i = 0; i < 101; i++)
		g_string_append_printf(s, " a%d='>'", i);
	g_string_append(s, "/>");
	hostile(s->str, s->len, "too many attributes");
	g_string_assign(s, "<sample>");
	for (unsigned i = 0; i < XML_MAX_ELEMENTS; i++)
		g_string_append(s, "<a/>");
	g_string_append(s, "</sample>");
	hostile(s->str, s->len, "too many elements");
	g_string_set_size(s, XML_MAX_BYTES + 1);
	hostile(s->str, s->len, "at most");
}

static void test_many(void)
{
	AUTO(report) r = report_new(NULL, false, false);
	g_autoptr(GString) s = g_string_new("<sample><name>a</name>");
	g_autoptr(GError) e = NULL;

	for (int i = 0; i < 5000; i++)
		g_string_append(s, "<emulator/>");
	g_string_append(s, "<oops/></sample>");
	schema_free(&sample_schema, read_flags(s->str, r));
	g_assert_cmpuint(r->findings->len, ==, REPORT_MAX + 1);
	g_assert_false(report_ok(r, &e));               /* the error is not lost behind warnings */
	g_assert_nonnull(strstr(e->message, "that kvmd only keeps"));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/xml/values", test_values);
	g_test_add_func("/xml/format", test_format);
	g_test_add_func("/xml/sizes", test_sizes);
	g_test_add_func("/xml/findings", test_findings);
	g_test_add_func("/xml/keep", test_keep);
	g_test_add_func("/xml/gone", test_gone);
	g_test_add_func("/xml/space", test_space);
	g_test_add_func("/xml/levels", test_levels);
	g_test_add_func("/xml/places", test_places);
	g_test_add_func("/xml/hostile", test_hostile);
	g_test_add_func("/xml/many", test_many);
	g_test_add_func("/xml/tables", test_tables);
	return g_test_run();
}
