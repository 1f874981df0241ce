/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The root of the grammar: rows of <domain> in the order libvirt writes them. Elements that libvirt
 * spreads over the root (<memory>, <vcpu>, <iothreads>) are rows here with dotted names, because
 * other elements stand between them.
 */
#include "domain/machine.h"

#include <string.h>

#include "domain/rows.h"

NAMES(machine_type_names, MACHINE_TYPE_N, "kvm", "qemu", "kqemu", "xen", "lxc", "uml", "openvz", "test", "vmware", "hyperv",
	"vbox", "phyp", "vz", "bhyve", "hvf");
NAMES_SHARED(lifecycle_action_names, ACTION_N, "destroy", "restart", "preserve", "rename-restart", "coredump-destroy",
	"coredump-restart");
NAMES(lock_action_names, LOCK_ACTION_N, "poweroff", "restart", "pause", "ignore");
static const char *const sysinfo_type_names[] = { "", "smbios", "fwcfg" };

static const struct field genid_schema_fields[] = {
	UUID(struct genid, uuid, ".", GUEST, "the number; none: made by kvmd"),
	EXTRAS(struct genid, extras), END
};
static SCHEMA(genid_schema, struct genid, "genid", "changes whenever the machine's time is no longer one line");

static const struct field sysinfo_entry_schema_fields[] = {
	STR(struct sysinfo_entry, name, "@name", GUEST, "which word"),
	STR(struct sysinfo_entry, file, "@file", GUEST, "file with it (fwcfg)"),
	STR(struct sysinfo_entry, value, ".", GUEST, "the word"),
	EXTRAS(struct sysinfo_entry, extras), END
};
static SCHEMA(sysinfo_entry_schema, struct sysinfo_entry, "entry", "one word for the guest's tables");

static const struct field sysinfo_block_schema_fields[] = {
	LIST(struct sysinfo_block, entries, "entry", sysinfo_entry_schema, 64, GUEST, "its words"),
	EXTRAS(struct sysinfo_block, extras), END
};
static SCHEMA(sysinfo_block_schema, struct sysinfo_block, "bios", "one table");

static const struct field sysinfo_schema_fields[] = {
	ENUM(struct sysinfo, type, "@type", sysinfo_type_names, GUEST | REQUIRED, "SMBIOS tables, or files of fw_cfg"),
	STRUCT(struct sysinfo, bios, "bios", sysinfo_block_schema, GUEST, "of the firmware"),
	STRUCT(struct sysinfo, system, "system", sysinfo_block_schema, GUEST, "of the machine"),
	LIST(struct sysinfo, base_boards, "baseBoard", sysinfo_block_schema, 16, GUEST, "of the boards"),
	STRUCT(struct sysinfo, chassis, "chassis", sysinfo_block_schema, GUEST, "of the case"),
	STRUCT(struct sysinfo, oem_strings, "oemStrings", sysinfo_block_schema, GUEST, "free words"),
	LIST(struct sysinfo, entries, "entry", sysinfo_entry_schema, 64, GUEST, "files of fw_cfg"),
	EXTRAS(struct sysinfo, extras), END
};
static SCHEMA(sysinfo_schema, struct sysinfo, "sysinfo", "words for the guest's SMBIOS tables");

static const struct field pm_schema_fields[] = {
	ENUM(struct pm, suspend_to_mem, "suspend-to-mem/@enabled", yesno_names, GUEST, "offer sleep (S3)"),
	ENUM(struct pm, suspend_to_disk, "suspend-to-disk/@enabled", yesno_names, GUEST, "offer hibernation (S4)"),
	EXTRAS(struct pm, extras), END
};
static SCHEMA(pm_schema, struct pm, "pm", "power states of the guest");

#define M struct machine
#define ACTION(m, text) ENUM(M, m, #m, lifecycle_action_names, LIVE, text)
static const struct field machine_schema_fields[] = {
	ENUM(M, type, "@type", machine_type_names, REQUIRED, "kvm"),
	U32(M, id, "@id", 0, UINT32_MAX, RUNTIME, "number while running"),
	STR(M, name, "name", REQUIRED, "what the machine is called"),
	UUID(M, uuid, "uuid", GUEST, "what it is known by for ever"),
	OPT(M, genid, "genid", genid_schema, GUEST | NOT_YET, "changes whenever the machine's time is no longer one line"),
	STR(M, title, "title", LIVE, "one line about it"),
	F_NUM(M, description, char *, "description", kind_str, 0, 65536, LIVE, "more about it"),
	HEX16(M, test.exit_port, "metadata/kvmd:test/kvmd:exit-port/@iobase", 0, 0xffff, GUEST,
		"test guests: a byte written to this port ends the machine"),
	FLAG(M, test.null_disks, "metadata/kvmd:test/kvmd:null-disks", GUEST,
		"test guests: disks neither read nor write their images, so that all but these is measured"),
	KEEP_SILENT("metadata"),
	SIZE(M, memory.max, "maxMemory", 0, MEMORY_MAX, GUEST, "most memory it may have with all that is plugged"),
	U32(M, memory.slots, "maxMemory/@slots", 1, 256, GUEST, "how many memory devices may be plugged"),
	SIZE(M, memory.size, "memory", 0, MEMORY_MAX, GUEST, "memory at start"),
	ENUM(M, memory.dump_core, "memory/@dumpCore", onoff_names, NOT_YET, "whether core dumps hold the guest's memory", .lacks = 1 << ONOFF_ON),
	SIZE(M, memory.current, "currentMemory", 0, MEMORY_MAX, LIVE, "what the guest shall use of it (balloon)"),
	STRUCT(M, blkiotune, "blkiotune", blkiotune_schema, LIVE | NOT_YET, "its share of the host's disks"),
	STRUCT(M, memtune, "memtune", memtune_schema, LIVE | NOT_YET, "limits on its process' memory"),
	STRUCT(M, memory.backing, "memoryBacking", memory_backing_schema, 0, "what stands behind its memory"),
	U32(M, vcpu.max, "vcpu", 1, 65535, GUEST, "most vCPUs it may have"),
	ENUM(M, vcpu.placement, "vcpu/@placement", vcpu_placement_names, NOT_YET, "host CPUs given here, or found at start", .lacks = 1 << PLACEMENT_AUTO),
	CPUSET(M, vcpu.cpuset, "vcpu/@cpuset", NOT_YET, "host CPUs for all its threads"),
	U32(M, vcpu.current, "vcpu/@current", 1, 65535, LIVE, "vCPUs at start"),
	LIST(M, vcpu.list, "vcpus/vcpu", vcpu_entry_schema, VCPUS_MAX, LIVE, "each vCPU"),
	U32(M, iothreads.count, "iothreads", 0, 1024, LIVE, "threads that serve disks"),
	LIST(M, iothreads.list, "iothreadids/iothread", iothread_schema, 1024, LIVE, "each of them"),
	I32(M, iothreads.pool_min, "defaultiothread/@thread_pool_min", 0, INT32_MAX, LIVE | NOT_YET, "helpers the main thread keeps", .def = UINT64_MAX),
	I32(M, iothreads.pool_max, "defaultiothread/@thread_pool_max", 0, INT32_MAX, LIVE | NOT_YET, "helpers it may have", .def = UINT64_MAX),
	STRUCT(M, cputune, "cputune", cputune_schema, LIVE | NOT_YET, "its share of the host's CPUs"),
	STRUCT(M, numatune, "numatune", numatune_schema, NOT_YET, "which host nodes its memory comes from"),
	STRUCT(M, resource, "resource", resource_group_schema, NOT_YET, "where it stands among others"),
	LIST(M, sysinfo, "sysinfo", sysinfo_schema, 2, GUEST, "words for the guest's SMBIOS tables"),
	REFUSE("bootloader", "for Xen guests: write <os><kernel>…</kernel></os>"),
	REFUSE("bootloader_args", "for Xen guests: write <os><cmdline>…</cmdline></os>"),
	STRUCT(M, os, "os", os_schema, GUEST, "how it boots"),
	KEEP("idmap", "for container guests"),
	STRUCT(M, features, "features", features_schema, GUEST, "what it offers besides its processors"),
	STRUCT(M, cpu, "cpu", cpu_schema, GUEST, "what its processors are"),
	STRUCT(M, clock, "clock", clock_schema, 0, "what time it is inside"),
	ACTION(on_poweroff, "what follows when the guest powers off; none given: destroy"),
	ACTION(on_reboot, "what follows when the guest reboots; none given: restart"),
	ENUM(M, on_crash, "on_crash", lifecycle_action_names, LIVE | NOT_YET, "what follows when the guest crashes; none given: destroy (no dump is written)",
		.lacks = 1 << ACTION_COREDUMP_DESTROY | 1 << ACTION_COREDUMP_RESTART),
	ENUM(M, on_lockfailure, "on_lockfailure", lock_action_names, 0, "what follows when a disk's lock is lost"),
	STRUCT(M, pm, "pm", pm_schema, GUEST, "power states of the guest"),
	KEEP("perf", "the host's performance events aren't counted per machine"),
	STRUCT(M, devices, "devices", devices_schema, 0, "its devices"),
	KEEP("seclabel", "kvmd fences each machine by itself: user, namespaces, system calls"),
	REFUSE("keywrap", "for s390 guests: leave the element out"),
	REFUSE("launchSecurity", "encrypted guests aren't run: leave the element out"),
	KEEP("qemu:commandline", "there is no QEMU that would take these arguments"),
	KEEP("qemu:capabilities", "there is no QEMU whose capabilities could change"),
	KEEP("qemu:override", "there is no QEMU that would take these properties"),
	KEEP("qemu:deprecation", "there is no QEMU that would warn"),
	EXTRAS(M, extras), END
};
#undef M
SCHEMA(machine_schema, struct machine, "domain", "a machine");

struct machine *machine_new(void)
{
	return schema_new(&machine_schema);
}

struct machine *machine_dup(const struct machine *m)
{
	return schema_dup(&machine_schema, m);
}

void machine_free(struct machine *m)
{
	schema_free(&machine_schema, m);
}

unsigned machine_vcpus(const struct machine *m)
{
	return m->vcpu.current ? m->vcpu.current : m->vcpu.max;
}

bool machine_vcpu_enabled(const struct machine *m, unsigned id)
{
	list_each(vcpu_entry, v, m->vcpu.list)
		if (v->id == id)
			return v->enabled != YESNO_NO;
	return id < machine_vcpus(m);
}

bool machine_vcpu_hotpluggable(const struct machine *m, unsigned id)
{
	if (!id || id >= m->vcpu.max)
		return false;           /* the first one boots the guest */
	list_each(vcpu_entry, v, m->vcpu.list)
		if (v->id == id && (v->hotpluggable || v->enabled == YESNO_NO))
			return v->hotpluggable == YESNO_YES || v->enabled == YESNO_NO;
	return machine_vcpus(m) < m->vcpu.max;
}

bool machine_has_vcpu_hotplug(const struct machine *m)
{
	for (unsigned i = 1; i < m->vcpu.max; i++)
		if (machine_vcpu_hotpluggable(m, i))
			return true;
	return false;
}

uint64_t machine_memory_initial(const struct machine *m)
{
	uint64_t plugged = 0;

	list_each(memdev, d, m->devices.memdevs)
		if (__builtin_add_overflow(plugged, d->target.size, &plugged))
			return 0;
	return plugged < m->memory.size ? m->memory.size - plugged : 0;
}
