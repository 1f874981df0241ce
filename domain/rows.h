/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Helpers for the files that hold the grammar's tables. */
#pragma once
#include "domain/field.h"

/* Names of an enum whose value 0 is "not given"; the length is checked against the enum's _N. */
#define NAMES(tab, n, ...) \
	static const char *const tab[] = { "", __VA_ARGS__ }; \
	G_STATIC_ASSERT(G_N_ELEMENTS(tab) == (n))
/* The same for a table that a header declares. */
#define NAMES_SHARED(tab, n, ...) \
	const char *const tab[] = { "", __VA_ARGS__ }; \
	G_STATIC_ASSERT(G_N_ELEMENTS(tab) == (n))

/* Kept without a word: it says what is so anyway, or belongs to something that is spoken of already. */
#define KEEP_SILENT(xml) KEEP(xml, NULL)

#define SCHEMA(id, T, element, text, ...) \
	const struct schema id = { .name = element, .doc = text, .version = 1, .size = sizeof(T), .fields = id##_fields, \
		##__VA_ARGS__ }
