/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The connection from kvmd to one worker: requests with deadlines, replies by number, events. A worker that hangs costs
 * its callers a Timeout and nobody else anything. Main thread.
 */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

struct link;
struct link_ops {
	void (*event)(void *owner, const char *name, json_object *data /* may be NULL */, uint64_t seq);
	/* The machine's process hands over the socket of a client of its own, whose next command is kvmd's to do. fd is the callee's. */
	void (*serve)(void *owner, uint64_t id, int fd);
	/* The connection ended by itself; the link has answered all callers with NoConnection. link_free it, now or later. */
	void (*closed)(void *owner, const char *why);
};
/* reply is valid during the call; err set: there is none. Called once, never from inside link_call. */
typedef void link_reply(void *arg, json_object *reply, const GError *err);

struct link *link_new(int fd /* taken */, const struct link_ops *, void *owner);
void link_free(struct link *);          /* answers who still waits with NoConnection; NULL is fine */
/* timeout 0: no deadline. args (may be NULL) is taken; fds stay the caller's. fn NULL: the answer is of no interest. */
void link_call(struct link *, const char *execute, json_object *args, const int *fds, unsigned n, unsigned timeout_ms,
	link_reply *fn, void *arg);
