/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A change of a machine, of its definition, or of both (--live, --config, --current): the new definition is made and checked
 * first, beside the main loop; then the machine does it; then the definition goes to disk. A machine that refuses leaves the
 * definition as it was.
 */
#pragma once
#include "daemon/control.h"
#include "daemon/dom.h"

struct change;
struct change_ops {
	/* Makes the change in the definition; runs beside the main loop, touches nothing but these. */
	bool (*edit)(struct machine *, void *arg, GError **err);
	/* Asks the machine; must end in change_done(). Main thread. */
	void (*apply)(struct change *, struct dom *, void *arg);
	/* All is done: answers the request. Main thread. */
	void (*answer)(struct request *, void *arg);
	void (*free)(void *arg);
};

/* What the options mean now; *err: STATE, ARGS, BUSY. At least one of *live and *config is set on success. */
bool change_scope(const struct request *, bool want_live, bool want_config, bool current, bool *live, bool *config, GError **err);
/* Takes the request and arg over. */
void change_run(struct request *, bool live, bool config, const struct change_ops *, void *arg);
/* The machine has done it, or not. Looks what it is now, and goes on. */
void change_done(struct change *, const GError *err);
/* For apply: asks the machine by one command. args is taken. */
void change_ask(struct change *, const char *execute, json_object *args);
