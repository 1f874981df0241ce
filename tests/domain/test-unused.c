/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a definition says in vain is told, with its place; what is so anyway is not; what a start refuses is told too. */
#include <string.h>

#include "domain/machine.h"
#include "domain/report.h"
#include "domain/xml.h"

/* All findings about a machine with these lines in <domain>, <os> and <devices>, which stand on lines 6, 4 and 8. */
static char *findings(const char *domain, const char *os, const char *devices, bool strict)
{
	g_autofree char *text = g_strdup_printf("<domain type='kvm'><name>x</name>\n<memory unit='MiB'>512</memory>\n"
		"<os><type arch='x86_64'>hvm</type>\n%s\n</os>\n%s\n<devices>\n%s\n</devices></domain>\n", os, domain, devices);
	AUTO(report) r = report_new("f.xml", strict, false);
	g_autoptr(GError) err = NULL;
	AUTO(machine) m = machine_from_xml(text, strlen(text), r, &err);
	GString *out = g_string_new(NULL);

	g_assert_true(!m == (r->errors != 0));
	for (unsigned i = 0; i < r->findings->len; i++) {
		g_autofree char *line = finding_text(r, r->findings->pdata[i]);

		g_string_append_printf(out, "%s\n", line);
	}
	return g_string_free(out, FALSE);
}

#define KERNEL "<kernel>/k</kernel>"
#define DISK(in) "<disk type='file' device='disk'><source file='/d'/><target dev='vda' bus='virtio'/>" in "</disk>"
static const struct {
	const char *domain, *os, *devices, *said;       /* said: one line, behind its file and line */
} vain[] = {
	{ "<vcpu cpuset='0' placement='auto'>1</vcpu>", .said = "6:1: warning: domain/vcpu/@placement: kept, has no effect yet: 'auto', host CPUs given here, or found "
		"at start; host CPUs for all its threads" },
	{ "<memtune><hard_limit>900000</hard_limit><soft_limit>1</soft_limit></memtune>", .said = "domain/memtune: kept, has no effect yet: limits on its process' memory "
		"(hard_limit, soft_limit)" },
	{ "<cputune><shares>9</shares><quota>5000</quota><vcpupin vcpu='0' cpuset='1'/></cputune>", .said = "domain/cputune: kept, has no effect yet: its share of the host's "
		"CPUs (shares, quota, vcpupin)" },
	{ "<blkiotune><weight>200</weight></blkiotune>", .said = "domain/blkiotune: kept, has no effect yet: " },
	{ "<numatune><memory mode='strict' nodeset='0'/></numatune>", .said = "domain/numatune: kept, has no effect yet: which host nodes its memory comes from (memory)" },
	{ "<resource><partition>/a</partition></resource>", .said = "domain/resource: kept, has no effect yet: " },
	{ "<genid/>", .said = "6:1: warning: domain/genid: kept, has no effect yet: " },
	{ "<memoryBacking><locked/></memoryBacking>", .said = "domain/memoryBacking/locked: kept, has no effect yet: " },
	{ "<memoryBacking><nosharepages/></memoryBacking>", .said = "domain/memoryBacking/nosharepages: kept, has no effect yet: " },
	{ "<memoryBacking><allocation mode='immediate'/></memoryBacking>", .said = "domain/memoryBacking/allocation/@mode: kept, has no effect yet: 'immediate', " },
	{ "<iothreads>1</iothreads><iothreadids><iothread id='1' thread_pool_max='4'/></iothreadids>", .said = "thread_pool_max: kept, has no effect yet: " },
	{ "<on_crash>coredump-restart</on_crash>", .said = "6:1: warning: domain/on_crash: kept, has no effect yet: 'coredump-restart', " },
	{ "<features><acpi/><apic eoi='on'/></features>", .said = "domain/features/apic/@eoi: kept, has no effect yet: " },
	{ "<features><acpi/><hap state='off'/></features>", .said = "domain/features/hap: kept, has no effect yet: " },
	{ "<clock offset='utc'><timer name='rtc' tickpolicy='catchup'/></clock>", .said = "domain/clock/timer/@tickpolicy: kept, has no effect yet: " },
	{ "<clock offset='utc'><timer name='rtc' present='no'/></clock>", .said = "domain/clock/timer/@present: kept, has no effect yet: " },
	{ "<sysinfo type='smbios'><bios><entry name='vendor'>v</entry></bios></sysinfo>", .said = "domain/sysinfo: kept, has no effect: " },
	{ .os = KERNEL "<boot dev='hd'/><boot dev='cdrom'/>", .said = "4:20: warning: domain/os/boot[1]: kept, has no effect yet: " },
	{ .os = KERNEL "<bootmenu enable='yes'/>", .said = "domain/os/bootmenu/@enable: kept, has no effect yet: " },
	{ .os = KERNEL "<bios useserial='yes'/>", .said = "domain/os/bios/@useserial: kept, has no effect yet: " },
	{ .os = KERNEL "<smbios mode='host'/>", .said = "domain/os/smbios/@mode: kept, has no effect yet: 'host', " },
	{ .devices = DISK("<boot order='1'/>"), .said = "domain/devices/disk/boot/@order: kept, has no effect yet: " },
	{ .devices = DISK("<wwn>5000c50015ea71ad</wwn>"), .said = "domain/devices/disk/wwn: kept, has no effect yet: " },
	{ .devices = DISK("<driver type='raw' iommu='on' ats='on'/>"), .said = "domain/devices/disk/driver/@ats: kept, has no effect yet: " },
	/* what a start refuses */
	{ .os = "", .said = "domain/os: kept, but start will refuse it: it has no kernel of its own" },
	{ .devices = "<serial type='nmdm'><source master='/dev/nmdm0A' slave='/dev/nmdm0B'/></serial>", .said =
		"8:1: warning: domain/devices/serial: kept, but start will refuse it: serial port of type 'nmdm': " },
	{ .devices = "<serial type='vc'/>", .said = "start will refuse it: serial port of type 'vc'" },
	{ .devices = "<console type='stdio'><target type='virtio'/></console>", .said = "start will refuse it: console of type 'stdio'" },
	{ .devices = "<interface type='network'><source network='default'/></interface>", .said = "domain/devices/interface: kept, but start will refuse it: " },
	{ .devices = "<disk type='volume'><source pool='p' volume='v'/><target dev='vda'/></disk>", .said = "start will refuse it: disk 'vda': network storage" },
	{ .devices = DISK("<transient/>"), .said = "start will refuse it: disk 'vda': writes" },
	{ .devices = "<tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm>", .said = "domain/devices/tpm: kept, but start will refuse it: " },
};

static void test_vain(void)
{
	for (size_t i = 0; i < G_N_ELEMENTS(vain); i++) {
		const char *domain = vain[i].domain ? vain[i].domain : "", *os = vain[i].os ? vain[i].os : KERNEL, *devices = vain[i].devices ? vain[i].devices : "";
		g_autofree char *lax = findings(domain, os, devices, false), *strict = findings(domain, os, devices, true);
		const char *end = strchr(lax, '\n');

		if (!strstr(lax, vain[i].said) || (end && end[1]) || !strstr(strict, ": error: "))
			g_error("expected one line with\n%s\nfound\n%sstrict\n%s", vain[i].said, lax, strict);
	}
}

/* What is so anyway is not worth a word. */
static void test_anyway(void)
{
	static const struct { const char *domain, *os, *devices; } rows[] = {
		{ "<vcpu placement='static'>2</vcpu>" },
		{ "<memtune/><cputune/><blkiotune/><resource/>" },
		{ "<memoryBacking><access mode='shared'/><source type='memfd'/><allocation mode='ondemand'/><discard/></memoryBacking>" },
		{ "<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>" },
		{ "<on_crash>restart</on_crash><features><acpi/><apic/><pae/></features>" },
		{ "<clock offset='localtime'/>" }, { "<clock offset='variable' adjustment='-60' basis='localtime'/>" },
		{ "<clock offset='utc'><timer name='pit' tickpolicy='delay'/><timer name='hpet' present='no'/><timer name='rtc' track='wall'/></clock>" },
		{ .os = KERNEL "<bootmenu enable='no'/><smbios mode='emulate'/>" },
		{ .devices = DISK("<driver name='qemu' type='raw' cache='none' io='threads' ioeventfd='on'/>") },
		{ .devices = "<interface type='user'><model type='virtio'/><driver name='qemu' iommu='off'/><rom enabled='no'/></interface>" },
		{ .devices = "<serial type='pty'/><console type='pty'><target type='serial'/></console>" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *found = findings(rows[i].domain ? rows[i].domain : "", rows[i].os ? rows[i].os : KERNEL,
			rows[i].devices ? rows[i].devices : "", true);

		g_assert_cmpstr(found, ==, "");
	}
}

/* Rows: values named in .lacks exist, and what is not told where it stands in the XML is not marked. */
static void look(const struct schema *s, GHashTable *seen)
{
	if (!g_hash_table_add(seen, (gpointer)(uintptr_t)s))
		return;
	for (const struct field *f = s->fields; f->name; f++) {
		if (f->flags & NOT_YET)
			g_assert_nonnull(f->path);
		if (f->lacks)
			g_assert_true(f->kind == &kind_enum && f->lacks < UINT64_C(2) << f->max && !(f->lacks >> f->def & 1));
		if (f->sub)
			look(f->sub, seen);
	}
}

static void test_rows(void)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

	look(&machine_schema, seen);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unused/vain", test_vain);
	g_test_add_func("/unused/anyway", test_anyway);
	g_test_add_func("/unused/rows", test_rows);
	return g_test_run();
}
