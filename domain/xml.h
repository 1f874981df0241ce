/* SPDX-License-Identifier: GPL-2.0-or-later */
/* XML codec over field tables; the only home of libxml2. Pure, any thread (xml_init once before). */
#pragma once
#include <glib.h>

#include "domain/field.h"
#include "domain/report.h"

#define XML_MAX_BYTES (16u << 20)       /* a definition larger than this is refused */
#define XML_MAX_DEPTH 64
#define XML_MAX_ELEMENTS (1u << 17)
#define XML_MAX_ATTRS 100               /* of one element */

/* Namespaces whose elements and attributes may have rows ("kvmd:name"); any other is kept as it is. */
#define XMLNS_KVMD "urn:kvmd:domain:1"
#define XMLNS_QEMU "http://libvirt.org/schemas/domain/qemu/1.0"

/*
 * Reads `text` (len bytes, not necessarily terminated) whose root element must be `root` into obj
 * (initialised). Findings go to the report, with path, line and column; the caller asks report_ok().
 * No network, no external entities, no DTD. false when nothing could be read at all.
 */
bool xml_parse(const struct schema *, void *obj, const char *root, const char *text, size_t len, struct report *);
enum xml_format_flags { XML_INACTIVE = 1 /* no RUNTIME fields */, XML_SECRETS = 2 };
/* The canonical text, 2 spaces of indentation, ends with a newline. Caller frees. */
char *xml_format(const struct schema *, const void *obj, const char *root, unsigned flags);
