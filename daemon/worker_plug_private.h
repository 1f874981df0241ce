/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A change of devices under way, and what coming and going share. For worker_plug*.c only. */
#pragma once
#include "daemon/worker_confirm.h"
#include "daemon/worker_ost.h"
#include "daemon/worker_plug.h"

/* A change under way. */
struct plug {
	struct worker *worker;
	const struct plug_kind *kind;
	char *alias, *id;               /* id: of the command; NULL: none */
	unsigned slot;
	bool leaving;
	bool over;                      /* the guest has answered, or never did */
	uint64_t held;                  /* what it had to give back before it leaves */
	bool begun, empty;              /* the command has; there was nothing to give back */
	unsigned timeout_ms;
	GError *err;                    /* what it came to */
	struct waiter *waiter;          /* NULL: nobody waits */
	plug_then *then;                /* instead; NULL: nobody */
	void *then_arg;
};

struct plugs {
	struct device *block;
	GPtrArray *changes;             /* of struct plug */
	GPtrArray *retiring;            /* of struct retiring */
	struct ost_limit told;
};

/* The change under way of a device; NULL: none. */
struct plug *plug_change_of(const struct worker *, const char *alias);
/* One that begins now. It ends by plug_end, or by plug_free when nobody is to hear of it. */
struct plug *plug_change_new(struct worker *, const struct plug_kind *, const char *alias, const char *id, bool leaving);
void plug_free(struct plug *);
/* Whoever waits is told what it came to (.err); it is freed. */
void plug_end(struct plug *);
/* struct confirm_ops.ended, arg being the change: the guest has answered, or never did. */
void plug_ended(struct worker *, const GError *err, void *arg);

/* Can devices come and go now? */
bool plug_can_change(const struct worker *, GError **err);
/* Takes it out of its list, and frees it. */
void plug_forget(struct worker *, const struct plug_kind *, void *config);
/* Off the bus now, freed when it has ended what it has in flight. quiet: it never was there, for anybody. */
void plug_retire(struct worker *, const struct plug_kind *, struct device *, bool quiet);
bool plug_is_retiring(const struct worker *, const struct device *);

void plug_tell_guest(struct worker *);          /* that the hot-plug block has something to say */
void plug_device_event(struct worker *, const char *event, const char *alias);
/* COMMAND_BEGUN or COMMAND_DONE of a change. */
void plug_tell_command(const struct plug *, bool done);
