/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Documentation from field tables: text for the terminal, Markdown for the reference, roff for manuals. */
#pragma once
#include "domain/field.h"

enum doc_style { DOC_TEXT, DOC_MARKDOWN, DOC_ROFF };
/* Appends one entry per field: XML place (or name), kind, bounds, default, doc; recurses into sub-schemas once each. */
void doc_schema(const struct schema *, enum doc_style, GString *out);
/* "u32 0..256 (default 1)" */
char *doc_type(const struct field *);
