/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Saved state over field tables: tagged, self-describing, big endian, checksummed.
 * One struct is {name, version, length, fields…, crc32}; a field is {name, kind, length, value}.
 * Pure, any thread; input is hostile.
 */
#pragma once
#include "domain/field.h"

#define STATE_MAX_BYTES (64u << 20)

/* Appends one struct. */
void state_save(const struct schema *, const void *obj, GByteArray *out);
/* Loads one struct from *data, moves *data and *len behind it. obj is initialised. Unknown fields, other names, newer
 * versions, values out of bounds and damage are errors. schema->post_load runs last. */
bool state_load(const struct schema *, void *obj, const uint8_t **data, size_t *len, GError **err);
/* Text of any state without its schema (tools/statecat); false at damage. */
bool state_dump(const uint8_t *data, size_t len, GString *out, GError **err);
