/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmd-vm, the process of one machine. The main thread runs a GMainContext: control connections, the state driver, device
 * lifecycle. It opens nothing: all it has came as descriptors. kvmd may die at any time; the worker then goes on and
 * waits for a new kvmd on the socket "kvmd".
 */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>

#include "daemon/wire.h"
#include "domain/commands_qmp.h"
#include "domain/commands_worker.h"
#include "hv/fdset.h"
#include "hv/ring.h"
#include "hv/vm.h"

#define WORKER_EVENTS_KEPT 1000         /* for a kvmd that was away */
#define WORKER_CLIENTS_MAX 64
#define WORKER_CLIENT_QUEUE (4u << 20)  /* bytes a client may leave unread before it is cut off */
#define WORKER_HELD_MAX 8               /* commands of a client behind one that is answered later */

/* How the machine ends; `names` in worker_state.c are what the exit record and SHUTDOWN events say. */
enum exit_reason { EXIT_SHUTDOWN, EXIT_RESET, EXIT_PANICKED, EXIT_CRASHED, EXIT_KILLED, EXIT_ERROR, EXIT_TEST, EXIT_REASONS };

struct worker;
struct client {
	struct worker *worker;
	struct wire *wire;
	bool internal;          /* kvmd: every command, no negotiation */
	bool negotiated;        /* has said qmp_capabilities */
	bool oob;               /* may overtake by exec-oob */
	bool running;           /* in client_next: no recursion */
	bool busy;              /* one of its commands is answered later: the next waits (kvmd's do not) */
	GQueue held;            /* of struct message: at most WORKER_HELD_MAX, then its socket is not read */
	bool has_id;
	json_object *id;        /* of the command being run; borrowed, NULL is JSON's null */
	json_object *journal;   /* what COMMAND_DONE will say of it; NULL: it is not told, or by the command itself */
	int *fds;               /* that came with it; a command takes one by setting it to -1 */
	unsigned fds_n;
	GHashTable *named;      /* getfd: name to descriptor + 1 */
};

/* A command that is answered later. */
struct waiter { struct worker *worker; struct client *client; /* NULL: has gone */ bool has_id; json_object *id, *journal; /* owned; NULL: told by the command itself */ };

struct worker {
	GMainLoop *loop;
	struct fdset *fds;
	struct machine *machine;
	struct vm vm;
	bool created, ending;
	int run_state;                  /* enum run_state, what query-status says */
	GPtrArray *clients;             /* of struct client */
	GPtrArray *later;               /* of struct waiter: all that are open */
	GPtrArray *confirms;            /* worker_confirm.c */
	unsigned media;                 /* worker_media.c: how many were put in */
	GPtrArray *chardevs;            /* worker_chardev_add.c: of QMP clients */
	GPtrArray *made;                /* worker_qmp_devices.c: block nodes and network back ends of QMP clients */
	unsigned nodes_made;            /* and how many names of nodes it gave itself */
	struct plugs *plugs;            /* worker_plug.c; NULL: nothing can be plugged */
	struct hotplug *hotplug;        /* worker_vcpus.c; NULL: this machine's vCPUs stay */
	struct worker_memory *memory;   /* worker_memory.c; NULL: before the devices are made */
	struct agent *agent;            /* worker_channels.c; NULL: no channel to one */
	bool channels_posted;           /* worker_channels.c: atomic: it is to look at them */
	struct { guint throttle; bool pending; } rtc;   /* worker_clock.c: no event before it fires; one is due then */
	gint64 channels_told;           /* monotonic, µs; 0: never */
	guint channels_timer;
	GPtrArray *fdsets;              /* worker_qmp_fds.c: struct qmp_fdset */
	struct dump *dump;              /* worker_dump.c: under way, the machine stays paused; NULL: none */
	struct tell_dump dumped;        /* the last one */
	struct qmp_migrate_parameters *migrate; /* worker_qmp_migrate.c; NULL: not asked for yet */
	GPtrArray *serves;              /* worker_serve.c: what kvmd does for clients just now */
	uint64_t serves_made;
	GQueue events;                  /* of json_object: the newest WORKER_EVENTS_KEPT */
	uint64_t seq;
	int exit_fd;                    /* exit record, or -1 */
	struct assist_native **native;  /* --assist: made before the fence */
	unsigned native_n;
	struct ring *rings;             /* --rings: made before the fence, one per loop; lost ones are not there */
	unsigned rings_n;
	bool io_error;                  /* the pause under way is for a disk that failed */
	/* state driver (worker_state.c) */
	int after;                      /* what is done when the vCPUs are out */
	GPtrArray *waiters;             /* of struct waiter */
	guint poll, poll_left;
	gint64 went;                    /* monotonic, µs: when the guest began to run */
	unsigned short_lives;           /* resets in a row, each soon after the last */
	unsigned reset_delay;           /* ms before the reset under way is made */
	guint delay;                    /* that wait */
	bool reboot;                    /* the next power-off is a reboot */
	bool stay;                      /* the reset under way ends paused */
	uint64_t violations_told;
};

/* --- worker.c --- */
void worker_event(struct worker *, const char *name, json_object *data /* taken, may be NULL */);
/* KVMD_MACHINE: this part of the description has changed, of this device (NULL: none, or several); kvmd looks, and its journal tells it. */
void worker_changed(struct worker *, const char *what, const char *device);
bool worker_listen(struct worker *, const char *fd_name, bool internal, GError **err);
/* Any thread: fn runs on the main one, unless the machine is ending by then. */
void worker_post(struct worker *, void (*fn)(struct worker *));
/* For RUN_LATER: the command that c runs now. Answered exactly once, which frees it; value (taken) may be NULL for {}. */
struct waiter *waiter_new(struct client *c);
void waiter_answer(struct waiter *, json_object *value, const GError *err);
void waiter_drop(struct waiter *);      /* instead, for RUN_FAILED: from inside the command */

/* --- worker_machine.c --- */
/* Builds the machine from the arguments of machine-create; state VM_PAUSED (prelaunch) afterwards. */
bool worker_machine_create(struct worker *, json_object *args, GError **err);
json_object *worker_machine_json(const struct worker *);
/* The host side of the serial port, console or channel of that alias or name; NULL name: of the first that can be a console. */
struct chr *worker_chr(struct worker *, const char *name);
/* Takes fd over, also on failure. */
bool worker_console_attach(struct worker *, const struct args_console *, int fd, GError **err);
/* The end is near: vCPUs out, devices gone, so that their last words reach the host. Gives up after the time-out. */
void worker_machine_quiet(struct worker *, unsigned timeout_ms);

/* --- worker_state.c: the only writer of vm->state --- */
void state_on_request(struct vm *, enum vm_request, unsigned value, const char *detail);      /* any thread */
bool state_run(struct worker *, GError **err);
/* Each starts the change; true: the client is answered when it is done. */
bool state_pause(struct worker *, struct client *, GError **err);
bool state_reset(struct worker *, struct client *, GError **err);
/* Writes the exit record and ends the process. */
G_NORETURN void state_exit(struct worker *, enum exit_reason, bool guest, unsigned value, const char *detail);

/* --- worker_dump.c --- */
void dump_on_pause(struct worker *);    /* the machine is paused: a dump that waited for that begins */
void dump_stays(struct worker *);       /* somebody else wants it paused too: it does not go on behind a dump */

/* --- worker_commands.c --- */
enum run_result { RUN_FAILED, RUN_DONE, RUN_LATER };
struct worker_binding {
	const char *name;
	/* *reply: new JSON value or left NULL for {} */
	enum run_result (*run)(struct client *, json_object *raw, const void *args, json_object **reply, GError **err);
};
extern const struct worker_binding qmp_memory_bindings[];       /* worker_qmp_memory.c */
extern const struct worker_binding worker_bindings[];   /* ends with a row without a name */
extern const struct worker_binding qmp_bindings[];      /* worker_qmp.c: what QEMU's clients know */
extern const struct worker_binding qmp_migrate_bindings[];       /* worker_qmp_migrate.c */
extern const struct worker_binding qmp_dirty_bindings[];        /* worker_qmp_dirty.c */
extern const struct worker_binding serve_bindings[];    /* worker_serve.c: kvmd's answers */
extern const struct worker_binding chardev_bindings[];  /* worker_chardev.c: their back ends */
extern const struct worker_binding qmp_block_bindings[];        /* worker_qmp_block.c: of that, disks */
struct device *device_by_type(struct worker *, const char *type);       /* the first; NULL: none */
const char *worker_alias_of(const struct device *);     /* as the description says; NULL: it has none */
const char *worker_name_of(const struct device *);      /* its alias, else its id */
