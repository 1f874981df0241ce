/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine is: libvirt's <domain type='kvm'> as plain data. Read-only once filled and checked;
 * a change makes a new one (diff.c says what differs). Pure, any thread.
 */
#pragma once
#include "domain/chardev.h"
#include "domain/cpu.h"
#include "domain/clock.h"
#include "domain/devices.h"
#include "domain/field.h"
#include "domain/memory.h"
#include "domain/os.h"

enum lifecycle_action { ACTION_ABSENT, ACTION_DESTROY, ACTION_RESTART, ACTION_PRESERVE, ACTION_RENAME_RESTART,
	ACTION_COREDUMP_DESTROY, ACTION_COREDUMP_RESTART, ACTION_N };

struct machine {
	int type;                       /* kvm (others are refused) */
	uint32_t id;                    /* RUNTIME: 0 when not running */
	char *name, *uuid, *title, *description;
	struct os os;
	struct memory memory;           /* sizes in bytes */
	struct vcpu_config vcpu;        /* .max, .current, .cpuset, list of <vcpus> */
	struct cpu cpu;                 /* mode, model, features, topology, numa cells */
	struct clock_config clock;
	struct features features;
	int on_poweroff, on_reboot, on_crash;   /* enum lifecycle_action; ABSENT: libvirt's defaults */
	struct devices devices;
	/* … one member per element of the grammar … */
	struct extras extras;
};

extern const struct schema machine_schema;

/* Parse, fill and check a definition. New machine or NULL with *err; warnings stay in the report. Caller frees. */
struct machine *machine_from_xml(const char *text, size_t len, struct report *, GError **err);
char *machine_to_xml(const struct machine *, unsigned flags);
void machine_free(struct machine *);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(struct machine, machine_free)
/* Defaults that depend on other members: uuid, devices' targets, aliases, PCI addresses. Idempotent. */
bool machine_fill(struct machine *, struct report *);
/* Rules across members; findings go to the report. */
void machine_check(const struct machine *, struct report *);
/* Calls fn for every resource (files, sockets, ptys, devices of the host) with what is said of it. */
struct resource_visit {
	struct resource *res;
	const struct field *field;      /* .use: how it is opened */
	const void *owner;              /* the struct it stands in */
	const struct schema *owner_schema;
	const char *path;               /* "os/kernel", "devices/serials[0]/source/path" */
};
bool machine_walk_resources(struct machine *, bool (*fn)(struct resource_visit *, void *arg, GError **), void *arg, GError **err);
