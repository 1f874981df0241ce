/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What kvmd knows of each domain: its definition (text, as on disk), and while it runs the machine as it is and the link
 * to its process. Counted references, so that a command outlives an undefine. Main thread.
 */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "domain/commands_kvmd.h"
#include "domain/machine.h"

struct kvmd;
struct link;

/* What lists and dominfo say without parsing. */
struct dom_summary {
	char *title;
	uint64_t memory, memory_max;
	uint32_t vcpus, vcpus_max;
};

/* run/vm/UUID/seen: the number of the last event taken from the worker, and the one that it got in the journal (0: none). */
struct dom_seen {
	uint64_t seq, number;
};

struct dom {
	struct kvmd *kvmd;
	unsigned refs;
	bool listed;                    /* in the table */
	char *name, *uuid;
	char *text;                     /* the definition; NULL: transient, forgotten when it ends */
	char *trouble;                  /* why the definition cannot be used; NULL: it can */
	bool autostart;
	bool writing;                   /* a change of the definition is on its way to the disk */
	bool placeholder;               /* its first definition is on its way: not yet shown to anyone */
	struct dom_summary def;         /* of the definition */

	enum dom_state state;           /* written by dom_set_state only */
	char *reason;
	char *detail;                   /* what else is known of it: an error's words; NULL: nothing */
	gint64 since;                   /* real time, µs */
	struct { enum dom_state state; char *reason, *detail; gint64 since; } remembered;        /* the last one while its process was known, also of an earlier kvmd */
	const char *stops;              /* a disk failed and the machine is about to pause for it: the reason; NULL: none */
	uint32_t id;                    /* 0: not running */
	uint32_t uid;                   /* of the process; 0: kvmd's own */
	struct machine *live;           /* what runs; NULL: off, or not yet known */
	struct link *link;              /* NULL: off, or a process that cannot be reached */
	int pid, pidfd;                 /* -1: none */
	guint gone;                     /* source on pidfd */
	int seen_fd;                    /* of a struct dom_seen; -1: none */
	uint64_t seen;
	gint64 told_at;                 /* monotonic, µs: when `tell` was filled up last */
	double tell;                    /* how many of its events may be told now */
	uint64_t untold;                /* events left out since the last one told */
	unsigned serves;                /* client_serve.c: commands of its clients that kvmd does just now */
	gint64 serve_told;              /* monotonic, µs: when the log told of a forged one; 0: never */
	gint64 refused_told;            /* refresh.c: as serve_told, of a description that is not believed */
	bool looking, look_more;        /* refresh.c: asked because the machine said so; it said so since */
	double looks;                   /* and how often it may make kvmd ask now */
	gint64 looks_at;                /* monotonic, µs: when that was filled up last */
	bool flooded;                   /* that some are left out has been logged */
	guint kill_timer;
	struct dom_redial *redial;      /* chardev_redial.c's; NULL: none */
	struct dom_net *net;            /* net_watch.c's: helpers of its cards; NULL: none */
	guint lost_timer;               /* its connection has ended, its process not yet */
	bool stale;                     /* while replaying: it has changed since it was asked what it is, perhaps */
	bool replaying;                 /* adoption: events come by replay-events, what comes before its answer is in it too */
	bool destroyed;                 /* its end was asked for: no restart */
	bool undefine;                  /* remove the record when it ends */

	/* restart policy */
	uint32_t restarts;
	uint32_t delay;                 /* ms of the next restart */
	guint restart_timer;
	gint64 started;                 /* monotonic, µs */
	GPtrArray *waiters;             /* of struct waiter (wait.c's): told at each change of state */
};

struct doms;
struct doms *doms_new(struct kvmd *);
void doms_finish(struct doms *);                /* kvmd ends: lets go of processes, timers, waiters; machines go on */
void doms_free(struct doms *);
unsigned doms_count(const struct doms *);
/* Domains by name, new array without ownership. */
GPtrArray *doms_sorted(const struct doms *);
/* pid → name (copies) of all that run. New. */
uint64_t doms_memory(const struct doms *);      /* bytes that the machines which run, or start, may use together */
GHashTable *doms_by_pid(const struct doms *);
struct dom *doms_by_uuid(const struct doms *, const char *uuid);
struct dom *doms_by_name(const struct doms *, const char *name);
/* A name, a uuid or the number of a running one; NULL and *err naming the nearest when there is none. */
struct dom *doms_find(const struct doms *, const char *what, GError **err);
/* New and listed, one reference for the table; name and uuid must be free. */
struct dom *doms_add(struct doms *, const char *name, const char *uuid);
void doms_remove(struct dom *);                 /* from the table; freed with the last reference */
void doms_rename(struct dom *, const char *name);
uint32_t doms_new_id(struct doms *);
void doms_saw_id(struct doms *, uint32_t id);   /* of an adopted machine */
/* A user id no running machine has; 0 and *err when the range is used up. */
uint32_t doms_new_uid(struct doms *, GError **err);

struct dom *dom_ref(struct dom *);
void dom_unref(struct dom *);
/* Takes text (copied) and what it says as the definition; m may be NULL with trouble. */
void dom_set_definition(struct dom *, const char *text, const struct machine *m, const char *trouble);
void dom_set_state(struct dom *, enum dom_state, const char *reason);
void dom_set_state_told(struct dom *, enum dom_state, const char *reason, const char *detail /* may be NULL */);
bool dom_is_active(const struct dom *);         /* has, or may have, a process */
/* Event with this domain's name and uuid. */
void dom_event(struct dom *, const char *name, json_object *data /* taken */);
char *dom_run_dir(const struct dom *);          /* run/vm/UUID */
void dom_wait(struct dom *, void (*fn)(void *arg, struct dom *), void *arg);
void dom_unwait(struct dom *, void *arg);
