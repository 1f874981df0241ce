/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A change of a domain: of the running machine, of its definition, or of both, as --live, --config and --current say. The
 * new definition is made and checked first (beside the main loop), then the machine's process is asked, then the definition
 * goes to disk: a change that the machine refuses changes nothing. Main thread, unless said.
 */
#pragma once
#include "daemon/control.h"
#include "domain/machine.h"

struct revision {
	/* Any thread, may block nothing: changes m as the request's arguments say. *err: what is wrong with them. */
	bool (*edit)(const struct request *, struct machine *m, GError **err);
	/* The worker's command and its arguments (new), from the machine as it is. NULL: *err. */
	const char *(*ask)(const struct request *, json_object **args, GError **err);
};
struct revise_scope { bool live, config, current; };

/* Answers the request with {}, once. */
void revise(struct request *, const struct revision *, struct revise_scope);

/* What is looked at: the machine as it runs, or its definition, which is parsed beside the main loop. Called once; m is the
 * caller's while it is called; NULL: *err. */
void revise_look(struct request *, struct revise_scope, void (*fn)(struct request *, const struct machine *m, const GError *err));
