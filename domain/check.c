/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rules across members: the machine as a whole. check_cpu.c, check_disk.c, check_iface.c,
 * check_chardev.c and check_devices.c have their parts. Every finding says what to write instead.
 */
#include "domain/check.h"

#include <string.h>

static void check_name(const struct machine *m, struct report *r)
{
	static const char cure[] = "write <name>web</name>: letters, digits, '-', '_', '.', blanks";

	if (!m->name || !*m->name)
		BAD(m, "name", cure, "the name is empty");
	else if (strlen(m->name) > MACHINE_NAME_MAX)
		BAD(m, "name", cure, "the name has %zu bytes, at most %d are possible",
			strlen(m->name), MACHINE_NAME_MAX);
	else if (strchr(m->name, '/'))
		BAD(m, "name", cure, "the name has a '/'");
	else if (!strcmp(m->name, ".") || !strcmp(m->name, ".."))
		BAD(m, "name", cure, "the name is '%s'", m->name);
	for (const char *s = m->name; s && *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f) {
			BAD(m, "name", cure, "the name has control characters");
			break;
		}
}

static void check_os(const struct machine *m, struct report *r)
{
	const struct os *os = &m->os;

	if (m->type != MACHINE_KVM)
		HAS_NOT(m, "type", "write <domain type='kvm'>", "kvmd runs machines on KVM only");
	if (g_strcmp0(os->type, "hvm"))
		HAS_NOT(os, "type", "write <type arch='x86_64'>hvm</type>",
			"guests of type '%s' aren't run", os->type);
	if (!g_strcmp0(os->arch, "i686"))
		report_warn(r, os, "arch", "write arch='x86_64'",
			"the guest's processor has 64-bit mode as well; 32-bit systems run on it");
	else if (g_strcmp0(os->arch, "x86_64"))
		HAS_NOT(os, "arch", "write arch='x86_64'",
			"there is no machine of architecture '%s'", os->arch);
	for (const char *s = os->machine; s && *s; s++)
		if (!g_ascii_isalnum(*s) && !strchr("._-", *s)) {
			BAD(os, "machine", "write machine='" MACHINE_VERSION "' or leave it out",
				"'%s' is no machine type", os->machine);
			break;
		}
	if (!os->kernel.path && (os->initrd.path || os->cmdline))
		report_warn(r, os, os->initrd.path ? "initrd" : "cmdline",
			"add <kernel>/path</kernel>", "it has no use without a kernel");
	if (os->firmware || os->loader.path || os->nvram.path || os->nvram_template)
		report_warn(r, os, os->loader.path ? "loader" : os->firmware ? "firmware" : "nvram",
			os->kernel.path ? NULL : "give a <kernel> to start it", "there is no firmware yet: kept");
	if (list_len(os->acpi_tables))
		report_warn(r, os, "acpi_tables", NULL,
			"ACPI tables of the operator's own aren't shown to the guest yet: kept");
	if (os->smbios == SMBIOS_SYSINFO && !list_len(m->sysinfo))
		BAD(os, "smbios", "add <sysinfo type='smbios'> or leave <smbios> out",
			"there is no <sysinfo> to take the words from");
	list_each(sysinfo, s, m->sysinfo)
		if (s->type == 2)
			report_warn(r, s, NULL, NULL, "files of fw_cfg come with firmware: kept");
		else if (os->smbios != SMBIOS_SYSINFO)
			report_warn(r, s, NULL, "add <smbios mode='sysinfo'/> to <os>", "kept, has no effect: its words aren't shown to the guest");
}

#define HUGEPAGE_USUAL (UINT64_C(2) << 20)      /* where no size is given: what hosts have by default */

static void check_memory(const struct machine *m, struct report *r)
{
	const struct memory *mem = &m->memory;
	uint64_t sum = 0, plugged = mem->size - machine_memory_initial(m);

	if (!mem->size) {
		BAD(m, "memory.size", "write <memory unit='MiB'>512</memory>",
			"the machine has no memory");
		return;
	}
	if (mem->size < MEMORY_MIN)
		BAD(m, "memory.size", "write <memory unit='MiB'>512</memory>",
			"less than 1 MiB of memory");
	if (mem->size % 4096)
		BAD(m, "memory.size", "write a multiple of 4 KiB",
			"%" PRIu64 " bytes are no whole number of pages", mem->size);
	if (mem->current > mem->size)
		BAD(m, "memory.current", "write at most as much as in <memory>",
			"current memory %" PRIu64 " KiB is more than memory %"
			PRIu64 " KiB", mem->current / 1024, mem->size / 1024);
	if (mem->max && mem->max < mem->size)
		BAD(m, "memory.max", "write at least as much as in <memory>",
			"maximum memory is less than memory");
	if (!mem->max != !mem->slots)
		BAD(m, mem->max ? "memory.max" : "memory.slots",
			"write <maxMemory slots='16' unit='GiB'>64</maxMemory>",
			"maximum memory needs a size and a number of slots");
	if (!machine_memory_initial(m))
		BAD(m, "memory.size",
			"write the sum of what is there at start and all memory devices",
			"the memory devices leave nothing of <memory> to start with");
	if (list_len(m->devices.memdevs) && !mem->max)
		BAD(m, "memory.max", "write <maxMemory slots='16' unit='GiB'>64</maxMemory>",
			"memory devices need <maxMemory>");
	if (mem->backing.hugepages) {
		const struct hugepages *h = mem->backing.hugepages;
		uint64_t page = list_len(h->pages) && list_at(hugepage, h->pages, 0)->size ? list_at(hugepage, h->pages, 0)->size : HUGEPAGE_USUAL;

		list_each(memdev, d, m->devices.memdevs)
			if (d->model == MEMDEV_VIRTIO_MEM && d->target.block % page)
				BAD(&d->target, "block", "write whole huge pages, or leave <hugepages> out",
					"blocks of %" PRIu64 " KiB can't go back to the host: the machine's pages have %" PRIu64 " KiB", d->target.block / 1024, page / 1024);
	}
	if (mem->max && list_len(m->devices.memdevs) > mem->slots)
		BAD(m, "memory.slots", "write more slots", "%u memory devices, but %u slots",
			list_len(m->devices.memdevs), mem->slots);
	list_each(numa_cell, c, m->cpu.cells)
		if (__builtin_add_overflow(sum, c->memory, &sum))
			sum = UINT64_MAX / 2;
	if (list_len(m->cpu.cells) && machine_memory_initial(m) && sum != mem->size - plugged) {
		g_autofree char *cure = g_strdup_printf("write <memory unit='KiB'>%" PRIu64 "</memory>", (sum + plugged) / 1024);

		BAD(m, "memory.size", cure,
			"the NUMA cells have %" PRIu64 " KiB, the machine %" PRIu64 " KiB",
			sum / 1024,
			(mem->size - plugged) / 1024);
	}
}

/* What a timer is asked for beyond what it does anyway: the interval timer delays or discards, the clock follows the wall. */
static void check_ticks(const struct timer *t, struct report *r)
{
	const char *field = t->tickpolicy > TICK_DELAY && !(t->name == TIMER_PIT && t->tickpolicy == TICK_DISCARD) ? "tickpolicy" :
		t->track && t->track != TRACK_WALL && t->track != TRACK_REALTIME ? "track" :
		t->present == YESNO_NO && (t->name == TIMER_RTC || t->name == TIMER_TSC) ? "present" : NULL;

	if (field)
		report_warn(r, t, field, NULL, !strcmp(field, "present") ? "kept, has no effect yet: the machine always has this timer" :
			"kept, has no effect yet: missed ticks are delayed, and the clock follows the host's");
}

static void check_clock(const struct clock_config *c, struct report *r)
{
	bool seen[TIMER_N] = { false };
	int64_t seconds;

	if (!clock_adjustment(c, &seconds))
		BAD(c, "adjustment", "write seconds, as in adjustment='3600'",
			"'%s' is no number of seconds", c->adjustment);
	if (c->offset == CLOCK_VARIABLE && !g_strcmp0(c->adjustment, "reset"))
		BAD(c, "adjustment", "write seconds, as in adjustment='3600'",
			"a variable offset can't be reset");
	if (c->offset == CLOCK_TIMEZONE && !c->timezone)
		BAD(c, "offset", "write <clock offset='timezone' timezone='Europe/Berlin'/>",
			"the time zone is missing");
	if (c->offset == CLOCK_ABSOLUTE && !c->start)
		BAD(c, "offset", "write <clock offset='absolute' start='1700000000'/>",
			"the start is missing");
	list_each(timer, t, c->timers) {
		if (seen[t->name])
			BAD(t, "name", "leave one of them out", "the timer is given twice");
		seen[t->name] = true;
		if (t->name == TIMER_ARMVTIMER)
			HAS_NOT(t, "name", "leave the timer out",
				"the ARM timer is for ARM guests");
		if (t->name != TIMER_TSC && (t->frequency || t->mode))
			BAD(t, t->frequency ? "frequency" : "mode", "leave it out",
				"it belongs to the tsc");
		if (t->name == TIMER_TSC && t->mode > TIMER_MODE_NATIVE)
			report_warn(r, t, "mode", "leave it out",
				"KVM has no such mode: the tsc is native");
		if (t->name == TIMER_HPET && t->present == YESNO_YES)
			report_warn(r, t, "present", "write present='no'",
				"the machine has no HPET yet");
		if (t->name == TIMER_HYPERVCLOCK && t->present == YESNO_YES)
			report_warn(r, t, "present", "write present='no'",
				"Hyper-V's interfaces aren't offered yet");
		check_ticks(t, r);
		if (t->name == TIMER_PLATFORM)
			report_warn(r, t, "name", "leave the timer out",
				"the platform timer is Xen's: kept");
		if (t->tickpolicy != TICK_CATCHUP && (t->catchup.threshold || t->catchup.slew ||
		    t->catchup.limit))
			BAD(t, "tickpolicy", "write tickpolicy='catchup' or leave <catchup> out",
				"<catchup> needs its tick policy");
	}
}

static void check_features(const struct machine *m, struct report *r)
{
	const struct features *f = &m->features;

	if (f->hyperv)
		report_warn(r, f, "hyperv", NULL,
			"Hyper-V's interfaces aren't offered yet: the guest runs without them");
	if (f->hyperv && f->hyperv->vendor_id_value && strlen(f->hyperv->vendor_id_value) > 12)
		BAD(f->hyperv, "vendor_id_value", "write at most 12 characters",
			"the vendor name is too long");
	if (f->hap && !feature_on(f->hap))
		report_warn(r, f, "hap", "leave it out", "kept, has no effect yet: KVM uses hardware-assisted paging where the host has it");
	if (f->smm && f->smm->state == ONOFF_ON)
		report_warn(r, f, "smm", "write <smm state='off'/>",
			"there is no system management mode without firmware");
	if (feature_on(f->vmport))
		report_warn(r, f, "vmport", "write <vmport state='off'/>",
			"VMware's port isn't there");
	if (feature_on(f->vmcoreinfo))
		report_warn(r, f, "vmcoreinfo", "leave it out",
			"the guest can't leave its crash notes with the host yet");
	if (f->ioapic == IOAPIC_QEMU)
		report_warn(r, f, "ioapic", "write <ioapic driver='kvm'/>",
			"the I/O APIC is always KVM's");
	if (f->kvm_dirty_ring == ONOFF_ON && f->kvm_dirty_ring_size &&
	    (!power_of_two(f->kvm_dirty_ring_size) || f->kvm_dirty_ring_size < 1024))
		BAD(f, "kvm_dirty_ring_size", "write a power of two from 1024 to 65536",
			"%u entries are not possible", f->kvm_dirty_ring_size);
	if (m->pm.suspend_to_mem == YESNO_YES || m->pm.suspend_to_disk == YESNO_YES)
		report_warn(r, &m->pm, m->pm.suspend_to_mem == YESNO_YES ?
			"suspend_to_mem" : "suspend_to_disk", "write enabled='no'",
			"the machine has no sleep states");
}

static void check_actions(const struct machine *m, struct report *r)
{
	const struct {
		const char *field;
		int action;
		bool crash;
	} rows[] = { { "on_poweroff", m->on_poweroff }, { "on_reboot", m->on_reboot }, { "on_crash",
		m->on_crash, true } };

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		if (rows[i].action == ACTION_RENAME_RESTART)
			HAS_NOT(m, rows[i].field, "write restart",
				"a machine isn't renamed when it restarts");
		if (!rows[i].crash && rows[i].action >= ACTION_COREDUMP_DESTROY)
			BAD(m, rows[i].field, "write destroy, restart or preserve",
				"a core dump is for crashes");
	}
	if (m->on_lockfailure)
		report_warn(r, m, "on_lockfailure", NULL,
			"locks of kvmd don't fail while a machine runs: kept");
}

static bool path_absolute(struct resource_visit *v, void *arg, GError **err)
{
	struct report *r = arg;

	(void)err;
	if (v->res->path && v->res->path[0] != '/')
		BAD(v->owner, v->field->name, "write a path that begins with '/'",
			"'%s' is no absolute path", v->res->path);
	return true;
}

bool machine_has_iothread(const struct machine *m, uint32_t id)
{
	list_each(iothread, t, m->iothreads.list)
		if (t->id == id)
			return true;
	return false;
}

void cpu_bits_parse(const char *text, struct cpu_bits *b)
{
	memset(b, 0, sizeof *b);
	while (text && *text) {
		char *end;
		guint64 from = g_ascii_strtoull(text, &end, 10), to = from;

		if (end == text)
			return;
		if (*end == '-')
			to = g_ascii_strtoull(end + 1, &end, 10);
		for (guint64 i = from; i <= to && i < CPU_BITS_MAX; i++)
			b->word[i / 64] |= UINT64_C(1) << (i % 64);
		text = *end == ',' ? end + 1 : "";
	}
}

int cpu_bits_highest(const struct cpu_bits *b)
{
	for (int i = CPU_BITS_MAX / 64 - 1; i >= 0; i--)
		if (b->word[i])
			return i * 64 + 63 - __builtin_clzll(b->word[i]);
	return -1;
}

void machine_check(const struct machine *m, struct report *r)
{
	check_name(m, r);
	check_os(m, r);
	check_memory(m, r);
	check_cpu(m, r);
	check_tune(m, r);
	check_clock(&m->clock, r);
	check_features(m, r);
	check_actions(m, r);
	check_disks(m, r);
	check_interfaces(m, r);
	check_chardevs(m, r);
	check_devices(m, r);
	check_places(m, r);
	if (!r->errors || r->strict)
		check_start(m, r);
	/* the visitor only reads here */
	(void)machine_walk_resources((struct machine *)(uintptr_t)m, path_absolute, r, NULL);
}
