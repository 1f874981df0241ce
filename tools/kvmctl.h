/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of kvmctl. One thread. */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdio.h>

#include "domain/command.h"

enum output { OUT_TEXT, OUT_JSON, OUT_JSONL, OUT_N };
extern const char *const output_names[OUT_N];

/* One call of kvmctl. */
struct call {
	enum output output;
	char *root, *connect;           /* --root, --connect */
	gboolean help, quiet;
	const struct command *command;
	char *vm;                       /* CMD_VM and worker commands */
	void *args;                     /* struct of command->args, or NULL */
	char *file;                     /* FILE_TEXT argument: its name, for messages */
	char **files;                   /* validate */
};

/* --- kvmctl_args.c --- */
/* Finds the verb, reads options and arguments. *err: ARGS with what to do. Unknown verbs name the nearest. */
bool call_parse(struct call *, int argc, char **argv, GError **err);
void call_clear(struct call *);
void help_all(void);
void help_verb(const struct command *, GString *out);
/* "--security-info" of a field. New. */
char *option_name(const struct field *);

/* --- kvmctl_client.c --- */
struct client;
struct client *client_new(const struct call *, GError **err);
void client_free(struct client *);
/* Sends and waits; *fd (may be NULL) gets a descriptor that came along, else -1. New reply ("return"), or NULL and *err. After a
 * second a terminal is told that it takes long, and how far it is where the machine tells that. */
json_object *client_call(struct client *, const char *execute, const char *vm, json_object *args /* taken */, int *fd, GError **err);
/* The next message of a stream. NULL without *err: the end. */
json_object *client_next(struct client *, GError **err);

/* --- kvmctl_print.c --- */
void print_reply(const struct call *, json_object *reply);
void print_event(const struct call *, json_object *event);      /* with -o json no newline follows: it is part of an array */
void print_error(const struct call *, const GError *err);

/* --- verbs of kvmctl's own: as `run` in kvmctl.c --- */
bool top_run(struct call *, int *status, GError **err);         /* kvmctl_top.c */
bool edit_run(struct call *, int *status, GError **err);        /* kvmctl_edit.c */
bool qmp_run(struct call *, int *status, GError **err);         /* kvmctl_qmp.c */

/* --- kvmctl_console.c --- */
/* Copies between the terminal (or pipe) and the console until one ends; takes fd. Exit status. */
int console_run(int fd, const char *vm, const char *device, bool readonly);
/* What a guest or an XML wrote must not drive the reader's terminal. */
void put_text(FILE *, const char *);

/* --- kvmctl_table.c --- */
/* The lists of a reply as tables. */
void print_table(const struct call *, json_object *reply);
void print_rows(const struct schema *, json_object *rows, const char *const *hidden /* names of columns, ends with NULL; may be NULL */);
void print_tune(const struct call *, json_object *reply);
void print_resized(const struct call *, json_object *reply);
/* --- kvmctl_net.c --- */
void print_domiflist(const struct call *, json_object *reply);
void print_domif_getlink(const struct call *, json_object *reply);
void print_domifstat(const struct call *, json_object *reply);
void print_domiftune(const struct call *, json_object *reply);
