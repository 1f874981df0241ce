/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * control.sock: QMP's framing with "vm" beside "execute". Accepts, says who a client is (SO_PEERCRED), checks arguments
 * against the command's schema, runs one command of a client at a time, forwards those of a worker. Commands that change
 * something are logged with who gave them. Main thread.
 */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>

#include "domain/command.h"

struct kvmd;
struct dom;
struct control;
struct peer;

/* One command under way. It may outlive its client: answers then go nowhere. Answered exactly once, by request_*. */
struct request {
	struct kvmd *kvmd;
	struct peer *peer;              /* NULL: the client has gone */
	json_object *id;
	const struct command *command;
	void *args;                     /* struct of command->args, NULL: none */
	json_object *raw;               /* "arguments" as they came, or NULL */
	struct dom *dom;                /* CMD_VM; a reference */
	void (*gone)(struct request *); /* the client has gone: optional, to end what only waits for it */
	void *data;                     /* the command's own */
	void (*served)(void *, json_object *answer);    /* it came at a machine's own socket: gets the answer; NULL: it did not */
	void *served_arg;
};

struct command_binding {
	const char *name;
	void (*run)(struct request *);
};
/* Commands of a machine for which kvmd opens something first, when they come by kvmd; as kvmd_bindings. */
extern const struct command_binding *const kvmd_opening[];
extern const struct command_binding *const kvmd_bindings[];     /* commands.c: a table per subject, then NULL; a table ends with a row without a name */

/* reply: struct of command->reply, or NULL for {}; stays the caller's. */
void request_reply(struct request *, const void *reply);
void request_reply_json(struct request *, json_object *value /* taken */, const int *fds, unsigned n);
void request_fail(struct request *, const GError *);
/* The machine answers it. fds (not taken) go along. */
void request_forward(struct request *, const int *fds, unsigned n);
struct wire *request_wire(struct request *);    /* NULL: the client has gone */
/* From now on the client gets a stream (events): more commands of it go on being answered. Freed with the client. */
void request_stream(struct request *, void *stream, void (*free)(void *));
void request_stream_over(struct wire *);        /* the client on it gets no more of its stream */

/* A command that a client gave at the socket of its machine: one with CMD_OPENS, checked and done as at kvmd's. m stays the caller's.
 * fn gets {"return": …} or {"error": …}, once, perhaps at once. */
void request_serve(struct dom *, json_object *m, const char *who, void (*fn)(void *arg, json_object *answer), void *arg);

struct control *control_new(struct kvmd *, GError **err);      /* listens, or takes systemd's socket; accepts after control_open */
void control_open(struct control *);
void control_free(struct control *);
char *control_path(const struct control *);     /* where it listens. New */
