/* SPDX-License-Identifier: GPL-2.0-or-later */
/* JSON codec over field tables; with daemon/wire.c the only home of json-c. Pure, any thread. */
#pragma once
#include <json-c/json.h>

#include "domain/field.h"

enum json_flags { JSON_SECRETS = 1 /* SECRET members too */, JSON_ALL = 2 /* members at their default too: replies that QMP clients read by key; NULL strings and OPTs stay out */ };
/* New object; members at their default are left out unless JSON_ALL, SECRET ones unless JSON_SECRETS. */
json_object *json_from_struct(const struct schema *, const void *obj, unsigned flags);
/* Fills obj (initialised). Unknown, mistyped, missing REQUIRED keys and bounds are errors that name the path
 * ("arguments.cpu-index: …"). On failure obj may be partly filled: clear it. */
bool json_to_struct(const struct schema *, void *obj, json_object *, GError **err);
/* The schema itself, as `query-schema` returns it: types, bounds, defaults, docs. */
json_object *json_describe(const struct schema *);
