/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine is: libvirt's <domain type='kvm'> as plain data. Read-only once filled and checked;
 * a change makes a new one (machine_diff says what differs). Pure, any thread.
 */
#pragma once
#include "domain/auto.h"
#include "domain/chardev.h"
#include "domain/cpu.h"
#include "domain/clock.h"
#include "domain/devices.h"
#include "domain/features.h"
#include "domain/field.h"
#include "domain/memory.h"
#include "domain/os.h"
#include "domain/report.h"
#include "domain/tune.h"

#define MACHINE_NAME_MAX 250            /* bytes */
#define MACHINE_VERSION "kvmd-1.0"      /* what a definition without a machine type gets */

enum machine_type { MACHINE_ABSENT, MACHINE_KVM, MACHINE_QEMU, MACHINE_KQEMU, MACHINE_XEN, MACHINE_LXC, MACHINE_UML,
	MACHINE_OPENVZ, MACHINE_TEST, MACHINE_VMWARE, MACHINE_HYPERV, MACHINE_VBOX, MACHINE_PHYP, MACHINE_VZ, MACHINE_BHYVE,
	MACHINE_HVF, MACHINE_TYPE_N };
enum lifecycle_action { ACTION_ABSENT, ACTION_DESTROY, ACTION_RESTART, ACTION_PRESERVE, ACTION_RENAME_RESTART,
	ACTION_COREDUMP_DESTROY, ACTION_COREDUMP_RESTART, ACTION_N };
enum lock_action { LOCK_ACTION_ABSENT, LOCK_POWEROFF, LOCK_RESTART, LOCK_PAUSE, LOCK_IGNORE, LOCK_ACTION_N };

/* Words for the guest's SMBIOS tables: <sysinfo>. */
struct sysinfo_entry {
	char *name, *value;
	char *file;                     /* fwcfg */
	struct extras extras;
};
struct sysinfo_block {
	GPtrArray *entries;             /* struct sysinfo_entry */
	struct extras extras;
};
struct sysinfo {
	int type;                       /* 1 smbios, 2 fwcfg */
	struct sysinfo_block bios, system;
	GPtrArray *base_boards;         /* struct sysinfo_block */
	struct sysinfo_block chassis, oem_strings;
	GPtrArray *entries;             /* fwcfg */
	struct extras extras;
};

/* <genid/>: a number that changes whenever the machine's time is no longer one line (clones, snapshots). */
struct genid {
	char *uuid;                     /* fill makes one when none was given */
	struct extras extras;
};
struct pm {
	int suspend_to_mem, suspend_to_disk;    /* YESNO */
	struct extras extras;
};

/* <kvmd:test xmlns:kvmd='urn:kvmd:domain:1'> inside <metadata>: knobs of test guests. Not for production. */
struct machine_test {
	uint16_t exit_port;             /* a byte written there ends the machine with that status; 0: off */
	bool null_disks;                /* disks have the sizes of their images, but nothing is read or written */
};

struct machine {
	int type;                       /* kvm (others are refused) */
	uint32_t id;                    /* RUNTIME: 0 when not running */
	char *name, *uuid, *title, *description;
	struct genid *genid;            /* NULL: none */
	struct os os;
	struct memory memory;           /* sizes in bytes */
	struct vcpu_config vcpu;        /* .max, .current, .cpuset, list of <vcpus> */
	struct cpu cpu;                 /* mode, model, features, topology, numa cells */
	struct clock_config clock;
	struct features features;
	int on_poweroff, on_reboot, on_crash;   /* enum lifecycle_action; ABSENT: libvirt's defaults */
	int on_lockfailure;             /* enum lock_action */
	struct pm pm;
	struct blkiotune blkiotune;
	struct memtune memtune;
	struct cputune cputune;
	struct numatune numatune;
	struct iothreads iothreads;
	struct resource_group resource;
	GPtrArray *sysinfo;             /* struct sysinfo */
	struct devices devices;
	struct machine_test test;
	struct extras extras;           /* <metadata>, <seclabel> and other kept elements */
};

extern const struct schema machine_schema;
extern const char *const lifecycle_action_names[ACTION_N];

/* Parse, fill and check a definition. New machine or NULL with *err; warnings stay in the report. Caller frees. */
struct machine *machine_from_xml(const char *text, size_t len, struct report *, GError **err);
/* Canonical XML (flags: enum xml_format_flags). With XML_INACTIVE aliases other than the user's own, paths of ptys and
 * names of taps that kvmd made ("vnet…") are left out too. */
char *machine_to_xml(const struct machine *, unsigned flags);
/* Clears RUNTIME rows and values that kvmd made, of a struct and all below it. */
void machine_forget(const struct schema *, void *obj);
/* New empty machine, and a deep copy. Caller frees. */
struct machine *machine_new(void);
struct machine *machine_dup(const struct machine *);
void machine_free(struct machine *);
AUTO_DEFINE(machine, machine_free)
/* Defaults that depend on other members: uuid, devices' targets, aliases, PCI addresses. Idempotent; all is
 * deterministic but new uuids and MACs. false when it found errors. */
bool machine_fill(struct machine *, struct report *);
/* The part of it that gives places and names: PCI and virtio-serial addresses, controllers, aliases (place.c). */
void machine_place(struct machine *, struct report *);
/* The part of that for the PCI bus (place_pci.c). */
void machine_place_pci(struct devices *, struct report *);
/* Warns of each element that says more than its defaults and has no effect yet (NOT_YET). The machine as read, before machine_fill. */
void machine_unused(const struct machine *, struct report *);
void schema_unused(const struct schema *, const void *obj, struct report *);    /* the same for a part of one */
/* Something that a start refuses (harmless: that the guest can do without), of which kvmd has no device yet. */
struct lack {
	const void *obj;                /* struct it is about; places of reports know it */
	const char *what, *why;         /* "disk 'vda'"; cause and cure */
	bool harmless;
};
/* Each of them until fn returns false; then false. The machine is filled. */
typedef bool lack_fn(const struct lack *, void *arg);
bool machine_lacks(const struct machine *, lack_fn *, void *arg);
/* Rules across members; findings go to the report. */
void machine_check(const struct machine *, struct report *);
/* The current number of vCPUs, and whether vCPU `id` is on at start. */
unsigned machine_vcpus(const struct machine *);
bool machine_vcpu_enabled(const struct machine *, unsigned id);
/* Whether vCPU `id` may come and go: as <vcpus> says; else all but the first where there are more than at start. */
bool machine_vcpu_hotpluggable(const struct machine *, unsigned id);
/* Whether any may: only then the machine has the hardware for it, which costs guests time at boot. */
bool machine_has_vcpu_hotplug(const struct machine *);
/* Memory that is there at start without devices: <memory> counts the memory devices too. 0: they are larger. */
uint64_t machine_memory_initial(const struct machine *);

/* Calls fn for every resource (files, sockets, ptys, devices of the host) with what is said of it. Devices that kvmd only
 * keeps (refused ones under --lenient) and the console that repeats a serial port are left out. */
struct resource_visit {
	struct resource *res;           /* ->path may be NULL for RES_PTY, a RES_SOCKET_LISTEN without a place, and what has host and service */
	const struct field *field;
	enum resource_use use;          /* how it is opened: field->use, or what the chardev's type and mode make of it */
	const void *owner;              /* the struct it stands in */
	const struct schema *owner_schema;
	struct chardev *chardev;        /* whose source that is; NULL: another thing */
	const char *path;               /* "os/kernel", "devices/serials[0]/source/path" */
};
bool machine_walk_resources(struct machine *, bool (*fn)(struct resource_visit *, void *arg, GError **), void *arg, GError **err);

/* One difference between two machines. */
struct difference {
	char *path;                     /* "devices/disks[vda]/iotune/total_bytes_sec": list entries by their key */
	char *before, *after;           /* as text; NULL: not there */
	bool live;                      /* may change while the machine runs */
};
/* New array (its entries go with it) of struct difference, semantic: the order of entries that have a key does not count. */
GPtrArray *machine_diff(const struct machine *a, const struct machine *b);
/* The same for any two structs of one schema. */
GPtrArray *schema_diff(const struct schema *, const void *a, const void *b);
/* The key of a list entry ("vda", a MAC, an alias, "pci.0"), or NULL when entries of this schema have none. Caller frees. */
char *entry_key(const struct schema *, const void *entry);
