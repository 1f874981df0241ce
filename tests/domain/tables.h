/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every schema must stand, whoever wrote it: call tables_all() on yours from a GTest case. All
 * functions fail the running test with g_assert; sub-schemas are included. Deterministic: the
 * random values come from a fixed seed.
 */
#pragma once
#include "domain/field.h"

/*
 * The table itself: each row has a doc, names, keys and paths are unique (an inlined struct's among
 * its outer's), defaults and bounds fit the member and each other, enums have names without twins,
 * no row hides another, paths are at most 5 elements deep, kept XML has one home.
 */
void tables_check(const struct schema *);
/*
 * `rounds` random values through state, JSON, copying and, with a root name, XML: what comes back
 * is equal, and XML written from it is the same text. depth: how deep optional structs and lists go.
 */
void tables_round_trip(const struct schema *, const char *root, unsigned rounds, unsigned depth);
/*
 * Random values whose state (and XML) is cut at each byte and has each bit flipped: state is
 * refused, nothing crashes. At most `most` cuts and as many flips, spread evenly.
 */
void tables_damage(const struct schema *, const char *root, unsigned most);
/* All of it, with 1000 rounds. root: the element's name, or NULL when the schema isn't in XML. */
void tables_all(const struct schema *, const char *root);
