/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices: registry, lifecycle, saving. A device is one file behind one ops table; the core checks the contract around
 * every call, so that devices stay small. Lifecycle: new → realize → (reset, pause ⇄ resume, update, save, load)* →
 * unrealize → free, all from the main thread; register accesses come from vCPU threads under dev->lock.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "domain/field.h"
#include "hv/bus.h"
#include "hv/fdset.h"

struct vm;
struct device;

/* Called once, on the main thread, when the last part of something asynchronous has ended. */
struct done { void (*fn)(struct done *, int result); void *arg; int pending, result; };
void done_begin(struct done *);                 /* one more part is under way; any thread */
void done_end(struct done *, int result);       /* that part ended; the last one runs fn by a post to main */

struct device_ops {
	const char *name, *doc;
	size_t size;                            /* of the device's own struct, whose first member is struct device */
	const struct schema *config;            /* what its XML came through; NULL: none */
	const struct schema *state;             /* members of its struct that travel; &no_state: said, not implied */
	bool (*realize)(struct device *, struct fdset *, GError **err);
	void (*unrealize)(struct device *);     /* also after a failed realize */
	void (*reset)(struct device *);         /* as after power-on; the core holds dev->lock, also around pre_save, post_load */
	void (*pause)(struct device *, struct done *);  /* done: nothing in flight, new work is held. NULL: nothing to do */
	void (*resume)(struct device *);
	bool (*update)(struct device *, const void *config, GError **err);      /* only LIVE fields differ */
	bool (*unplug)(struct device *, GError **err);
};

enum device_state { DEVICE_NEW, DEVICE_REALIZED, DEVICE_PAUSED, DEVICE_DEAD };
struct device {
	const struct device_ops *ops;
	char *id;
	void *config;           /* owned by the machine description */
	struct vm *vm;
	struct device *parent;
	GMutex lock;            /* registers */
	enum device_state state;        /* main thread */
	uint64_t guest_errors;  /* atomic */
	int awaited;            /* atomic: the guest's driver is to be told of by VM_REQ_DRIVER, once */
	int64_t last_log;       /* rate limit of guest_error */
};

extern const struct schema no_state;
/* All device types, in order; made from devices/meson.build. Ends with NULL. Tests may use their own list. */
extern const struct device_ops *const device_list[];
const struct device_ops *device_type(const char *name);

/* New device, not realized; id is copied and must be unique in the vm. Joins vm->devices. */
struct device *device_new(struct vm *, const struct device_ops *, const char *id, void *config);
bool device_realize(struct device *, struct fdset *, GError **err);     /* and reset */
void device_free(struct device *);              /* unrealizes, leaves vm->devices; NULL is fine */
void device_reset(struct device *);
struct device *device_find(struct vm *, const char *id);        /* NULL: none */
/* One tagged section: {id, type, state}. Only while paused (or never run). */
void device_save(struct device *, GByteArray *out);
bool device_load(struct device *, const uint8_t **data, size_t *len, GError **err);
/* Whole machine: every device in order; load refuses missing, surplus and differing devices by name. */
void devices_save(struct vm *, GByteArray *out);
bool devices_load(struct vm *, const uint8_t **data, size_t *len, GError **err);
void devices_pause(struct vm *, struct done *);
void devices_resume(struct vm *);
void devices_reset(struct vm *);

/* The guest broke a rule: counted, logged at debug at most once a second. Any thread. */
void guest_error(struct device *, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
/* For devices: the guest's driver runs it from now on. Any thread. */
void device_has_driver(struct device *);
/* For devices: claim ports or MMIO for one's region. */
bool device_map_pio(struct device *, struct region *, const struct region_ops *, const char *name, uint16_t base, uint16_t size, GError **err);
bool device_map_mmio(struct device *, struct region *, const struct region_ops *, const char *name, uint64_t base, uint64_t size, GError **err);
