/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine on real KVM for tests: kernel, serial console, the usual small devices; no daemon, XML or fence. Main thread
 * only; waiting runs the main context.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "domain/machine.h"
#include "hv/vm.h"

struct box;
struct box_config {
	const char *kernel, *initrd, *cmdline;  /* paths; initrd, cmdline may be NULL */
	uint64_t memory;                        /* bytes; 0: 64 MiB */
	unsigned cpus;                          /* 0: 1 */
	bool no_boot;                           /* state will be loaded: kernel may be NULL */
	const struct cpu *cpu;                  /* copied shallowly; NULL: none given */
	const struct accel_ops *accel;          /* NULL: accel_kvm */
	bool (*more)(struct box *, GError **err);       /* adds devices by box_add; NULL: none */
};
struct box_note { enum vm_request what; unsigned value; char text[1024]; };
struct box {
	struct vm vm;
	struct machine def;
	struct chardev serial;
	struct fdset *fds;
	GString *out;                   /* all that the console said */
	void (*on_output)(struct box *, const char *data, size_t n);
	GArray *notes;                  /* of struct box_note, in order */
	unsigned taken;                 /* notes given out by box_wait_note */
	unsigned sources[2];
	int console, wake[2];
	struct box_config config;       /* owns its strings */
};

/* Why there can be no KVM test here (caller skips); NULL: there can. */
const char *box_skip(void);
struct box *box_new(const struct box_config *, GError **err);   /* parked */
/* A device of that type, at the end of the list; the config stays the caller's, for longer than the box. */
bool box_add(struct box *, const char *type, const char *id, void *config, GError **err);
void box_free(struct box *);                                    /* NULL is fine */
void box_go(struct box *);
bool box_park(struct box *);                                    /* and waits, 5 s; then pauses devices and clock */
bool box_wait_text(struct box *, const char *text, unsigned ms);        /* anywhere in what was said so far */
bool box_wait_note(struct box *, struct box_note *, unsigned ms);       /* the next request of the guest */
void box_pump(struct box *, unsigned ms);                       /* lets time pass */
void box_type(struct box *, const char *text);
/* Parks the machine, carries all its state into a new one of the same kind, frees the old one. The new one is parked and
 * has heard what the old one said. NULL and *err: the old one is still there. */
struct box *box_move(struct box *, GError **err);
