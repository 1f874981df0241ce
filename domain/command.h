/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The command table: what can be asked of kvmd and of a machine. One row serves QMP, kvmctl (verbs, --help,
 * completion, manuals) and later libvirt's RPC. Rows are pure data in commands_*.c; the code behind a row is bound
 * by name in daemon/commands.c (IN_KVMD), daemon/worker_commands.c (IN_WORKER) or tools/ (IN_CLIENT), and a test
 * checks that each row has exactly one.
 */
#pragma once
#include "domain/field.h"

enum command_where { IN_KVMD, IN_WORKER, IN_CLIENT };
enum command_flags {
	CMD_READ = 1 << 0,      /* changes nothing: allowed on read-only sockets */
	CMD_VM = 1 << 1,        /* IN_KVMD: needs "vm" beside "execute" (kvmctl: first argument) */
	CMD_FDS = 1 << 2,       /* descriptors ride along */
	CMD_STREAM = 1 << 3,    /* the reply is followed by events or a stream until the client leaves */
	CMD_INTERNAL = 1 << 4,  /* kvmd to worker only: not listed by kvmctl, refused on the VM's QMP socket */
	CMD_PREADOPT = 1 << 5,  /* worker: allowed before machine-create */
	CMD_OOB = 1 << 6,
	CMD_LIST = 1 << 7,      /* the reply is an array of `reply` */
	CMD_TELLS = 1 << 9,     /* worker: tells COMMAND_BEGUN and COMMAND_DONE by itself, when it was not refused at once */
	CMD_PLUMBING = 1 << 10, /* worker: of its connection, or ends the machine: COMMAND_DONE does not tell it (others that change something: always) */
	CMD_OPENS = 1 << 11,    /* worker: may name what only kvmd can open: kvmd serves the client then (daemon/client_serve.c) */
	CMD_ANY = 1 << 8,       /* the reply (or each entry of it) is any JSON value: no `reply` */
};

/* What a change, or a look, is of: the same options and words with every command that has them. Rows: ASK_SCOPE. */
struct ask_scope { bool live, config, current; };
#define ASK_SCOPE(T) \
	FLAG(T, scope.live, NULL, 0, "of the running machine", .name = "live"), \
	FLAG(T, scope.config, NULL, 0, "of the definition, from its next start", .name = "config"), \
	FLAG(T, scope.current, NULL, 0, "of the machine if it runs, else of its definition; what happens without options", .name = "current")

struct command {
	const char *name;               /* QMP's name where QEMU has one for the thing */
	const char *verb;               /* kvmctl's (virsh's) verb; NULL: no verb of its own */
	const char *doc;                /* one sentence */
	enum command_where where;
	unsigned flags;
	const struct schema *args, *reply;      /* NULL: none */
	const char *example;            /* "kvmctl start web --paused\n…": shown by --help and manuals */
	const char *more;               /* paragraph for the manual, or NULL */
};

/* The rows, by the program that runs them; each table ends with a row without a name. */
extern const struct command kvmd_commands[];    /* domain/commands_kvmd.c */
extern const struct command net_commands[];     /* domain/commands_net.c */
extern const struct command memory_commands[];  /* domain/commands_memory.c */
extern const struct command qmp_memory_commands[];      /* domain/commands_qmp_memory.c */
extern const struct command worker_commands[];  /* domain/commands_worker.c */
extern const struct command qmp_commands[];     /* domain/commands_qmp.c */
extern const struct command disk_commands[];    /* domain/commands_disk.c */
extern const struct command qmp_block_commands[];       /* domain/commands_qmp_block.c */
extern const struct command watch_commands[];   /* domain/commands_watch.c */
extern const struct command qmp_net_commands[]; /* domain/commands_qmp_net.c */
extern const struct command qmp_migrate_commands[];     /* domain/commands_qmp_migrate.c */
extern const struct command devices_commands[]; /* domain/commands_devices.c */
extern const struct command agent_commands[];   /* domain/commands_agent.c */
extern const struct command media_commands[];   /* domain/commands_media.c */
extern const struct command chardev_commands[]; /* domain/commands_chardev.c */
extern const struct command vcpus_commands[];   /* domain/commands_vcpus.c */
/* Every row once: pass NULL to begin, NULL comes back at the end. */
const struct command *command_next(const struct command *);
const struct command *command_by_name(const char *name);
const struct command *command_by_verb(const char *verb);
/* An error about arguments begins with their schema's name: people know the command's. Always false. */
bool command_blame(const struct command *, GError **err);
