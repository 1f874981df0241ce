/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happened, numbered for ever: a journal of JSON lines in lib/ (two files, the older is given up when the newer is
 * full), and followers. Numbers never repeat: not after kill -9 (the last one is in run/), not after a power cut (a
 * ceiling on disk is raised in steps). Main thread.
 */
#pragma once
#include <glib.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/paths.h"
#include "daemon/wire.h"

struct events;
/* Blocks (start only). */
struct events *events_new(const struct paths *, uint64_t file_max, unsigned followers_max, GError **err);
void events_free(struct events *);
/* Numbers, journals and sends; returns the number. vm, uuid and data may be NULL; data is taken. */
uint64_t events_emit(struct events *, const char *name, const char *vm, const char *uuid, json_object *data);
uint64_t events_first(const struct events *);   /* oldest that is kept, 0: none */
uint64_t events_last(const struct events *);
uint64_t events_found(const struct events *);   /* last that was stored when events_new() looked */

/*
 * Sends events over wire from now on. since UINT64_MAX: only new ones; else stored ones with a greater number first, as
 * fast as the peer reads. follow false: EVENTS_END after the stored ones. vm (uuid) and event filter when not NULL;
 * count 0: no limit. The follower must be freed before the wire.
 */
struct follow_ask { uint64_t since, count; bool follow; const char *uuid, *event; };
struct follower;
struct follower *events_follow(struct events *, struct wire *, const struct follow_ask *, void (*ended)(void *arg), void *arg, GError **err);
void follower_free(struct follower *);
