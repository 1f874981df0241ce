/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that come and go while the machine runs. A device's alias is its id, its name in QMP and its key for
 * worker_confirm.h. The machine's description follows, and the event KVMD_MACHINE says so. Main thread.
 *
 * Another kind of device is a row of plug_kinds[] (worker_plug_kinds.c): its schema says which list of <devices> it is in.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "daemon/worker.h"
#include "domain/commands_devices.h"

struct plugs;
/* A change has ended; err: NULL when it was done. */
typedef void plug_then(struct worker *, const GError *err, void *arg);

struct plug_kind {
	const struct schema *schema;
	const char *type;               /* of its device (a PCI function); NULL: it is a part of another one, by these two: */
	/* Makes it and tells the guest. *id: the id of its struct device when the guest will answer (VM_REQ_DRIVER); NULL: it is
	 * done. New. */
	bool (*add)(struct worker *, void *config, struct fdset *, char **id, GError **err);
	void (*remove)(struct worker *, const void *config);    /* tells the guest too, which has no say in it */
	/* May it come, may it go? NULL: always. */
	bool (*may_come)(struct worker *, const void *config, GError **err);
	bool (*may_go)(struct worker *, const void *config, bool force, GError **err);
	/* Its device has come; it is just about to be freed. NULL: nothing is to be done. */
	void (*came)(struct worker *, struct device *);
	void (*gone)(struct worker *, struct device *);
	/*
	 * What must be empty before it goes: what is in it or shall be (0: nothing), the request to give it all back (as
	 * memory_empty), and the word that it stays and is to have so much again. NULL: nothing.
	 */
	uint64_t (*holds)(struct device *);
	bool (*empty)(struct worker *, struct device *, unsigned timeout_ms, void (*done)(void *arg, const GError *err), void *arg, GError **err);
	void (*refill)(struct worker *, struct device *, uint64_t);
	/* What is in `live` is to be as in config; NULL: its device does it (ops->update). */
	bool (*update)(struct worker *, struct device *, const void *config, GError **err);
	const char *const *live;        /* rows that may change while it is used, ends with NULL; NULL: none */
	const char *const *own;         /* rows that the machine itself keeps: what is said of them is passed over; as live */
};
extern const struct plug_kind plug_kinds[];             /* ends with a row without a schema */
const struct plug_kind *plug_kind_of(const struct schema *);
const struct plug_kind *plug_kind_named(const char *element);   /* "disk"; NULL: such cannot be plugged */
const char *plug_kind_name(const struct plug_kind *);
struct device_base *plug_base(const struct plug_kind *, void *config);
GPtrArray **plug_list(struct worker *, const struct plug_kind *);
/* What an alias stands for among all that can be plugged; NULL: nothing. */
void *plug_find(struct worker *, const char *alias, const struct plug_kind **kind);

/* --- worker_plug_places.c --- */

/* After devices are made, before the guest's tables are: which slots those name. */
void plugs_limit(struct worker *);
/*
 * A place among those that the guest was told of. One that is part of the definition stays what it is; one that only stands
 * in for a place elsewhere may be any.
 */
bool plug_settle(struct worker *, struct address *, GError **err);
/* Whole slots come and go: *err when its slot has other devices, or is that of others. */
bool plug_shares_slot(struct device *, GError **err);

/* --- worker_plug.c --- */

void plugs_listen(struct worker *);
/* All are parked and the guest begins a new life: changes under way are settled. Before devices_reset. */
void plugs_reset(struct worker *);
/* VM_REQ_DRIVER: the device's driver has come. */
void plug_driver(struct worker *, const char *id);
/* COMMAND_BEGUN and COMMAND_DONE, which plug_attach_then and plug_detach_then do not tell. */
void plug_command_event(struct worker *, const char *command, const char *id, const char *alias, bool done, const GError *err);

/* --- worker_plug_in.c and worker_plug_out.c --- */

/*
 * Plugs a device; the guest is told and not waited for. config: of the kind's schema, complete but for its address, which it
 * gets; taken also on failure. fds: what its resources name; what is not used stays there.
 */
bool plug_in(struct worker *, const struct plug_kind *, void *config, struct fdset *fds, GError **err);
/* Asks the guest for it. DEVICE_DELETED follows, or DEVICE_UNPLUG_GUEST_ERROR. force: also what the guest lives on. */
bool plug_out(struct worker *, const char *alias, bool force, GError **err);

/* The same, with the client answered (RUN_LATER) when the guest has done it or not. id (may be NULL) comes back in events. */
bool plug_attach(struct client *, const struct plug_kind *, void *config, struct fdset *, unsigned timeout_ms, const char *id, GError **err);
bool plug_detach(struct client *, const char *alias, bool force, unsigned timeout_ms, const char *id, GError **err);

/* The same for who is no client: `then` is called once, later, when these return true. */
bool plug_attach_then(struct worker *, const struct plug_kind *, void *config, struct fdset *, unsigned timeout_ms, plug_then *then, void *arg, GError **err);
bool plug_detach_then(struct worker *, const char *alias, unsigned timeout_ms, plug_then *then, void *arg, GError **err);

/* worker_plug_with.c: the controller first, then, when the guest has it, the device on it. When that fails the controller goes
 * again. All three are taken, also on failure. As plug_attach. */
bool plug_attach_with(struct client *, void *controller, const struct plug_kind *, void *config, struct fdset *, unsigned timeout_ms, const char *id, GError **err);

/* worker_plug_commands.c: device-attach, device-detach. */
extern const struct worker_binding plug_bindings[];
/* device-update. */
extern const struct worker_binding plug_update_bindings[];

/* worker_plug_memory.c: the row of <memory>. */
#define PLUG_MEMORY { &memdev_schema, "virtio-mem", .may_come = plug_memory_may_come, .came = plug_memory_came, .gone = plug_memory_gone, \
	.holds = plug_memory_holds, .empty = memory_empty, .refill = memory_refill, .update = plug_memory_update, .live = plug_memory_live, .own = plug_memory_own }
bool plug_memory_may_come(struct worker *, const void *config, GError **err);
void plug_memory_came(struct worker *, struct device *);
void plug_memory_gone(struct worker *, struct device *);
uint64_t plug_memory_holds(struct device *);
bool plug_memory_update(struct worker *, struct device *, const void *config, GError **err);
extern const char *const plug_memory_live[], *const plug_memory_own[];

/* --- worker_qmp_devices.c --- */
extern const struct worker_binding qmp_device_bindings[];
bool qmp_plugs(const char *driver);             /* is it one of the drivers that device_add can plug? */
/* device_add of one of them; the guest is told and not waited for. */
bool qmp_device_plug(struct worker *, const struct args_device_add *, GError **err);

/* For worker_plug_update.c: the device in a command's arguments (new; NULL: *err); the machine is another one now. */
void *plug_parse(const struct plug_kind *, json_object *raw, GError **err);
/* The descriptors that came along, by names (struct device_fd). New; NULL and *err. */
struct fdset *plug_take_fds(struct client *, const GPtrArray *names, GError **err);
void plug_changed(struct worker *);
