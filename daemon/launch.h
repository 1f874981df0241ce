/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a definition to a worker that has all it needs: lock, spawn, open, describe. It runs beside the main loop (a dead
 * file server delays this machine only) and touches nothing but its struct. The worker is started first and fences itself
 * while the rest is opened; when something fails, its socket is closed and it ends by itself.
 */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>

#include "daemon/paths.h"
#include "domain/machine.h"

struct cgroups;
struct config;

struct launch_fd { char *name; int fd; };

struct launch {
	/* in */
	const struct paths *paths;      /* these four do not change after start */
	const struct config *config;
	const struct cgroups *cgroups;
	const char *worker, *empty, *kvm;
	int null_fd, ram_fs;
	char *name, *uuid, *text, *host;        /* owned; host: the probe's answer */
	GHashTable *machines;           /* pid → name of those that run, to name who holds something; owned */
	uint32_t id, uid, restarts;
	uint64_t promised;              /* bytes that all machines may use, this one too */
	bool paused;
	/* out */
	bool locked;                    /* the machine's folder is ours */
	struct machine *machine;        /* as it runs */
	GPtrArray *fds;                 /* struct launch_fd */
	json_object *create;            /* arguments of machine-create */
	int sock, pid, pidfd, seen_fd;
	GError *err;
	GPtrArray *sockets;             /* char *: sockets to remove when it fails or ends */
	GPtrArray *notes;               /* char *: what the operator should know */
	GPtrArray *dropped;             /* json_object: optional disks that are missing; see disks_drop_missing */
};

struct launch *launch_new(void);
void launch_run(struct launch *);       /* fills `out`; on failure sets err, pid tells whether a worker must be waited for */
void launch_close_fds(struct launch *); /* after they are sent */
void launch_free(struct launch *);
/* Makes memory for a guest, of the kind that m says, and gives it by this name; nothing of it is taken yet. false: l->err. */
bool launch_memory(struct launch *, const struct machine *m, const char *name, uint64_t bytes);
/* How many I/O rings a worker of this definition makes. */
unsigned launch_rings(const char *text);
/* Makes run/vm/UUID and takes its lock; -1 and BUSY naming the holder when a worker holds it. */
int launch_lock(const char *dir, const char *name, GError **err);
/* A process's start in clock ticks since boot, 0 when there is none; this boot's id (new). */
uint64_t process_start(int pid);
char *boot_id(void);

/* What a machine may not have (yet): *err names the device and says what to do. What the guest can do without goes to
 * notes (char *, new; may be NULL). */
bool launch_supported(const struct machine *, GPtrArray *notes, GError **err);
