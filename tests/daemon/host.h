/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kvmd of a test's own: its places in a temporary folder, a fake worker, answers with a deadline. No sleeping: kvmd says
 * when it is ready, commands and events say the rest. */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <sys/types.h>

struct wire_reader;

struct host {
	char *root, *notify, *kernel;
	pid_t kvmd;
	int notify_fd;
	int nofile;             /* limit of kvmd's descriptors, 0: as is */
	const char *conf;       /* text of kvmd.conf, or NULL */
	const char *kvm;        /* "--kvm": /dev/null */
};

struct conn {
	int fd;
	struct wire_reader *reader;
};

struct host *host_new(const char *conf);        /* with kvmd running */
void host_spawn(struct host *);                 /* does not wait until it is ready */
void host_start(struct host *);
void host_kill(struct host *, int sig);         /* and waits for its end */
void host_free(struct host *);                  /* ends machines and kvmd, removes all */
char *host_path(const struct host *, const char *relative);
/* A definition: description is the fake's orders, extra goes before </domain>. New. */
char *domain_xml(const struct host *, const char *name, const char *uuid, const char *description, const char *extra);

struct conn *conn_new(const struct host *);
void conn_free(struct conn *);
json_object *conn_read(struct conn *);          /* next message; fails the test after 20 s */
/* Sends {"execute": execute, "vm": vm, "arguments": JSON text} and reads its answer, events before it are dropped. */
json_object *conn_ask(struct conn *, const char *execute, const char *vm, const char *arguments);
/* "return", which must be there; the caller puts it. */
json_object *ask(const struct host *, const char *execute, const char *vm, const char *arguments);
void ask_ok(const struct host *, const char *execute, const char *vm, const char *arguments);
/* The answer must be an error of that code whose text has `part` in it. */
void ask_bad(const struct host *, const char *execute, const char *vm, const char *arguments, const char *code, const char *part);
void define(const struct host *, const char *xml);
json_object *define_args(const char *xml);
char *state_of(const struct host *, const char *vm);
void wait_for(const struct host *, const char *vm, const char *state);
/* A command to the fake itself, on its QMP socket. */
void fake_do(const struct host *, const char *vm, const char *execute, const char *text);
const char *str(json_object *, const char *key);
int64_t num(json_object *, const char *key);
/* Reads events until one of that name (and vm, unless NULL) comes; the caller puts it. */
json_object *event_wait(struct conn *, const char *name, const char *vm);
/* A folder, new, at the head of PATH, with a script that plays passt; before the first host_new(). */
char *passt_new(void);
void passt_remove(const char *dir);
