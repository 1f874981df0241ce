/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was found while reading a machine: errors, warnings and where in the text each thing stands.
 * One report goes through parse, fill and check; `kvmctl validate` prints all findings, other
 * callers take the first error. One thread.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "domain/auto.h"
#include "domain/error.h"

enum finding_level { FINDING_WARNING, FINDING_ERROR };

struct finding {
	enum finding_level level;
	enum kerr code;
	char *path;             /* "domain/devices/disk[2]/driver/@cache" */
	unsigned line, column;  /* from 1; 0: not from a text */
	char *text;             /* what is wrong */
	char *cure;             /* what to write instead, or NULL */
};

struct report {
	char *file;             /* shown before line:column; NULL: none */
	bool strict;            /* warnings are errors */
	bool lenient;           /* unknown parts and optional devices are kept with a warning */
	GPtrArray *findings;    /* of struct finding; at most REPORT_MAX, then one that says so */
	GHashTable *where;      /* place of each parsed struct and member; owned here */
	struct slab *slabs;     /* memory of the places */
	bool live;              /* the text had values that only a running machine has */
	unsigned errors, warnings;
};
#define REPORT_MAX 100

struct report *report_new(const char *file, bool strict, bool lenient);
void report_free(struct report *);
AUTO_DEFINE(report, report_free)

/* A finding about member `field` (NULL: the struct itself) of a struct that xml_parse made. */
void report_error(struct report *, const void *obj, const char *field, enum kerr code, const char *cure,
	const char *fmt, ...) G_GNUC_PRINTF(6, 7);
void report_warn(struct report *, const void *obj, const char *field, const char *cure, const char *fmt, ...)
	G_GNUC_PRINTF(5, 6);
/* An error, or a warning when the report is lenient: for devices a machine can do without. */
void report_refuse(struct report *, const void *obj, const char *field, const char *cure, const char *fmt, ...)
	G_GNUC_PRINTF(5, 6);
/* The same with a given place, for parsers. */
void report_at(struct report *, enum finding_level, enum kerr code, const char *path, unsigned line, unsigned column,
	const char *cure, const char *text);
/* Remember the place of a struct or a member, for the codecs. Paths are made when they are asked for: of the outer
 * struct's, the step below it (not copied, but for the outermost) and the index from 1 (0: none). Members without a
 * place of their own stand where their struct stands. The place belongs to the report. */
struct schema;
struct field;
struct place;
struct place *report_place_struct(struct report *, const void *obj, const struct schema *, const struct place *up,
	const char *step, int index, unsigned line, unsigned column);
void report_place_member(struct report *, struct place *, const struct field *, unsigned line, unsigned column);
/* false and *err = the first error («file:line:col: path: text; cure») when there is any. */
bool report_ok(const struct report *, GError **err);
/* One line per finding as a person reads it. Caller frees. */
char *finding_text(const struct report *, const struct finding *);
