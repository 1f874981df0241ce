/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What xml.c (libxml2 to tree), xml_read.c (tree to structs) and xml_write.c (structs to text) share:
 * an arena, the parsed tree with the place of each start tag, and schemas with their inlined structs
 * laid flat. Nobody else includes this. One thread per tree.
 */
#pragma once
#include "domain/field.h"
#include "domain/report.h"

struct arena { struct arena_block *blocks; };
void *arena_alloc(struct arena *, size_t n);    /* zeroed; lives as long as the arena */
char *arena_text(struct arena *, const char *s, size_t n);
void arena_finish(struct arena *);

struct xattr {
	const char *name;       /* local, or "kvmd:local" of a known namespace; as written for others */
	const char *as_written; /* with the text's own prefix */
	const char *value;
	bool foreign;           /* of a namespace that isn't ours, or a namespace declaration */
};

struct xnode {
	const char *name;       /* as struct xattr has it */
	const char *text;       /* character data, NULL: none, or only space beside child elements */
	struct xnode *first, *next, *last;
	struct xattr *attrs;
	unsigned attrs_n;
	bool foreign;           /* of a namespace that isn't ours */
	unsigned line, column;  /* of '<' */
	size_t start, end;      /* bytes of the text: from '<' to behind the last '>' */
};

/* Root of the tree, or NULL with a finding. The tree lives in the arena. */
struct xnode *xml_tree(struct arena *, const char *text, size_t len, struct report *);

/* Rows of a schema, those of structs with the path "." in place of them. */
struct flat_row {
	const struct field *f;
	unsigned part;          /* the struct it belongs to */
	enum shape shape;       /* of f */
	size_t off;             /* of the member in the whole */
};
struct flat {
	const struct schema *s;
	struct flat_row *rows;
	unsigned n;
	struct { const struct schema *s; size_t off; } *parts;  /* [0]: the struct itself */
	unsigned parts_n;
	const struct flat_row *extras;          /* NULL: this struct can't keep XML */
};
GHashTable *flat_cache_new(void);
const struct flat *flat_of(GHashTable *cache, const struct schema *);
static inline void *flat_obj(const struct flat *flat, const struct flat_row *row, const void *obj)
{
	return (char *)obj + flat->parts[row->part].off;
}

static inline void *flat_member(const struct flat_row *row, const void *obj)
{
	return (char *)obj + row->off;
}

/* The rest of a row's path below the element that the first plen bytes of prefix name, or NULL. */
static inline const char *path_below(const struct field *f, const char *prefix, size_t plen)
{
	if (!f->path)
		return NULL;
	if (!plen)
		return f->path;
	return !strncmp(f->path, prefix, plen) && f->path[plen] == '/' ? f->path + plen + 1 : NULL;
}
/* Name of the unit attribute of a size. */
static inline const char *size_unit(const struct field *f)
{
	return !f->attr ? "unit" : f->attr + (*f->attr == '@');
}
/* A number whose default has no text: outside the bounds, or an enum's "". It means "not given". */
static inline bool default_is_none(const struct field *f)
{
	return f->kind->shape == SHAPE_NUM && (!field_num_ok(f, f->def) || (f->kind == &kind_enum && !*f->names[f->def]));
}
/* URI of a known prefix in "prefix:name", NULL: none. */
const char *xml_known_uri(const char *name, size_t *prefix_len);
/* Whether the writer writes this row of its own accord. */
bool xml_writes(const struct field *, const void *obj);
void xml_escape(GString *, const char *text, bool attr);
