/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of kinds share; nobody else includes this. */
#pragma once
#include "domain/field.h"

static inline const char *skip_space(const char *s)
{
	while (g_ascii_isspace(*s))
		s++;
	return s;
}
/* Digits at *s in a base; moves *s behind them. false: none, or more than 64 bits (*over). */
bool kind_number(const char **s, unsigned base, uint64_t *v, bool *over);
/* Writes a number before `end`; returns its first character. At least `width` digits. */
char *kind_digits(char *end, uint64_t v, unsigned base, unsigned width);
/* The error «'name': 'text' is not …», or that it is too large. Returns false. */
bool kind_not_a(const struct field *, const char *what, const char *text, bool over, GError **err);
