/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the tree to structs, by the rows. Each attribute and element is looked up among the rows of
 * the struct that its element belongs to; an element that rows only pass through ("driver" of
 * "driver/@cache") is read within the same struct, with its path as prefix. What no row reads is
 * kept, refused or unknown; kept pieces go to the nearest struct outwards that has EXTRAS.
 */
#include <inttypes.h>
#include <string.h>

#include "domain/xml.h"
#include "domain/xml_tree.h"

#define LIST_ALLOWED 14                 /* names that an error lists at most */

struct reading {
	struct report *report;
	struct arena arena;
	GHashTable *cache;              /* schema to struct flat */
	const char *text;
	GString *path;                  /* of the element being read */
};

/* One struct being filled. */
struct frame {
	struct frame *up;
	const struct flat *flat;
	void *obj;
	uint8_t *seen;                  /* per row: SEEN, or bit n: the element n steps down its path */
	struct place **places;          /* per part */
	const char *step;               /* the path from the outer struct's element */
	int index;                      /* among the list's items, -1: no list */
};
#define SEEN 0x80u
#define FULL 0x40u

/* --- schemas laid flat --- */
static void flat_free(void *data)
{
	struct flat *f = data;

	g_free(f->rows);
	g_free(f->parts);
	g_free(f);
}

GHashTable *flat_cache_new(void)
{
	return g_hash_table_new_full(NULL, NULL, NULL, flat_free);
}

static bool is_inline(const struct field *f)
{
	return f->kind->shape == SHAPE_STRUCT && f->path && !strcmp(f->path, ".");
}

static void lay(struct flat *flat, const struct schema *s, size_t off)
{
	unsigned part = flat->parts_n++;

	flat->parts = g_realloc_n(flat->parts, flat->parts_n, sizeof(*flat->parts));
	flat->parts[part].s = s;
	flat->parts[part].off = off;
	for (const struct field *f = s->fields; f->name; f++) {
		if (is_inline(f)) {
			lay(flat, f->sub, off + f->off);
			continue;
		}
		if (!(flat->n & (flat->n - 1)))
			flat->rows = g_realloc_n(flat->rows, flat->n ? 2 * flat->n : 1, sizeof(*flat->rows));
		flat->rows[flat->n++] = (struct flat_row){ f, part, f->kind->shape, off + f->off };
	}
}

const struct flat *flat_of(GHashTable *cache, const struct schema *s)
{
	struct flat *flat = g_hash_table_lookup(cache, s);

	if (flat)
		return flat;
	flat = g_new0(struct flat, 1);
	flat->s = s;
	lay(flat, s, 0);
	for (unsigned i = 0; i < flat->n && !flat->extras; i++)
		if (flat->rows[i].f->kind->shape == SHAPE_EXTRAS)
			flat->extras = &flat->rows[i];
	g_hash_table_insert(cache, (void *)(uintptr_t)s, flat);
	return flat;
}

/* --- findings --- */
static void G_GNUC_PRINTF(7, 8) find(struct reading *r, const struct xnode *n, const struct xattr *a,
	enum finding_level level, enum kerr code, const char *cure, const char *fmt, ...)
{
	g_autofree char *text = NULL, *path = g_strconcat(r->path->str, a ? "/@" : NULL, a ? a->name : NULL, NULL);
	va_list ap;

	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	report_at(r->report, level, code, path, n->line, n->column, cure, text);
}

static bool listed(const GPtrArray *names, const char *name)
{
	for (unsigned i = 0; i < names->len; i++)
		if (!strcmp(names->pdata[i], name))
			return true;
	return false;
}

/* An element or attribute that no row knows: what was meant, what is allowed. */
static void unknown(struct reading *r, struct frame *fr, const struct xnode *n, const struct xattr *a,
	const char *prefix, size_t plen)
{
	const char *word = a ? a->name : n->name, *open = a ? "'" : "<", *close = a ? "'" : ">";
	struct nearest near = { .word = word };
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GString) cure = g_string_new(NULL);

	for (unsigned i = 0; i < fr->flat->n; i++) {
		const char *rest = path_below(fr->flat->rows[i].f, prefix, plen);
		g_autofree char *name = NULL;

		if (fr->flat->rows[i].f->flags & REFUSE_XML)
			continue;
		if (!rest || !strcmp(rest, ".") || (*rest == '@') != !!a)
			continue;
		rest += !!a;
		name = g_strndup(rest, strcspn(rest, "/"));
		if (!listed(names, name))
			g_ptr_array_add(names, g_steal_pointer(&name));
	}
	for (unsigned i = 0; i < names->len; i++)
		nearest_try(&near, names->pdata[i]);
	if (near.best)
		g_string_append_printf(cure, "did you mean %s%s%s?", open, near.best, close);
	if (names->len && names->len <= LIST_ALLOWED) {
		g_string_append_printf(cure, "%sallowed here: ", near.best ? " " : "");
		for (unsigned i = 0; i < names->len; i++)
			g_string_append_printf(cure, "%s%s%s%s", i ? ", " : "", open, (char *)names->pdata[i], close);
	} else if (!names->len) {
		g_string_append_printf(cure, "no %s is allowed here", a ? "attribute" : "element");
	}
	find(r, n, a, FINDING_ERROR, near.best ? KERR_XML : KERR_UNSUPPORTED, cure->len ? cure->str : NULL,
		"unknown %s %s%s%s", a ? "attribute" : "element", open, word, close);
}

/* --- keeping --- */
static bool keep(struct reading *r, struct frame *fr, const struct xnode *n, const char *prefix, size_t plen,
	const char *after, unsigned nth, const char *xml)
{
	g_autoptr(GString) at = g_string_new_len(prefix, (gssize)plen);

	while (fr && !fr->flat->extras) {
		g_autofree char *index = fr->index < 0 ? g_strdup("") : g_strdup_printf("[%d]", fr->index);

		g_string_prepend(at, at->len ? "/" : "");
		g_string_prepend(at, index);
		g_string_prepend(at, fr->step);
		fr = fr->up;
	}
	if (fr && extras_add((struct extras *)((char *)flat_obj(fr->flat, fr->flat->extras, fr->obj) +
			fr->flat->extras->f->off), at->str, after, nth, xml))
		return true;
	if (fr)
		find(r, n, NULL, FINDING_ERROR, KERR_LIMIT, NULL, "more than %d pieces of XML that kvmd only keeps", EXTRAS_MAX);
	else
		find(r, n, NULL, FINDING_ERROR, KERR_UNSUPPORTED, NULL, "kvmd can't keep this here");
	return false;
}

static void keep_attr(struct reading *r, struct frame *fr, const struct xnode *n, const struct xattr *a,
	const char *prefix, size_t plen)
{
	g_autoptr(GString) xml = g_string_new(a->as_written);

	g_string_append(xml, "='");
	xml_escape(xml, a->value, true);
	g_string_append_c(xml, '\'');
	keep(r, fr, n, prefix, plen, NULL, 0, xml->str);
}

static void keep_node(struct reading *r, struct frame *fr, const struct xnode *n, const char *prefix, size_t plen,
	const char *after, unsigned nth)
{
	g_autofree char *xml = g_strndup(r->text + n->start, n->end - n->start);

	keep(r, fr, n, prefix, plen, after, nth, xml);
}

/* Remembers that an element was given which says nothing, where something can remember it. */
static void keep_mark(struct reading *r, struct frame *fr, const struct xnode *n, const char *path, size_t len)
{
	for (const struct frame *f = fr; f; f = f->up)
		if (f->flat->extras) {
			keep(r, fr, n, path, len, "", 0, "");
			return;
		}
}

/* What to do with something that is no value: true to keep it, after saying what there is to say. */
static bool judge(struct reading *r, struct frame *fr, const struct xnode *n, const struct xattr *a,
	const struct field *row, bool foreign, const char *prefix, size_t plen)
{
	bool lenient = r->report->lenient;

	if (row && row->flags & REFUSE_XML && !(row->flags & OPTIONAL_DEVICE && lenient)) {
		find(r, n, a, FINDING_ERROR, KERR_UNSUPPORTED, row->doc, "not supported");
		return false;
	}
	if (row && row->doc)
		find(r, n, a, FINDING_WARNING, KERR_XML, NULL, "kept, not used: %s", row->doc);
	if (row || foreign)
		return true;
	if (!lenient) {
		unknown(r, fr, n, a, prefix, plen);
		return false;
	}
	find(r, n, a, FINDING_WARNING, KERR_XML, NULL, "unknown %s, kept and not used", a ? "attribute" : "element");
	return true;
}

/* --- reading --- */
static void read_element(struct reading *r, struct frame *fr, const struct xnode *n, const char *prefix, size_t plen,
	unsigned level, const struct flat_row *text, const struct field *fallback);

static const char *attr_value(const struct xnode *n, const char *name)
{
	for (unsigned i = 0; i < n->attrs_n; i++)
		if (!strcmp(n->attrs[i].name, name))
			return n->attrs[i].value;
	return NULL;
}

/* Whether attribute `name` of an element is the unit of a size that stands there. */
static bool is_unit(const struct frame *fr, const char *prefix, size_t plen, const char *name)
{
	for (unsigned i = 0; i < fr->flat->n; i++) {
		const struct field *f = fr->flat->rows[i].f;
		const char *rest;

		if (f->kind != &kind_size || !f->path || strcmp(size_unit(f), name))
			continue;
		if (plen ? strlen(f->path) == plen && !strncmp(f->path, prefix, plen) : !strcmp(f->path, "."))
			return true;
		rest = path_below(f, prefix, plen);
		if (rest && *rest == '@')
			return true;
	}
	return false;
}

static bool is_blank(const char *s)
{
	return !s || !s[strspn(s, " \t\r\n")];
}

/* Whether an element without text may be there for its attributes only, or stand for no value. */
static bool may_be_empty(const struct field *f, const struct xnode *n)
{
	if (f->flags & REQUIRED)
		return false;
	if (f->kind->shape == SHAPE_NUM)
		return n->attrs_n && default_is_none(f);
	return f->kind->shape == SHAPE_TEXT && !f->text_def && !f->min && (f->kind == &kind_str || n->attrs_n);
}

static void read_value(struct reading *r, struct frame *fr, const struct xnode *n, const struct xattr *a,
	const struct flat_row *row, const char *text)
{
	const struct field *f = row->f;
	const char *unit = f->kind == &kind_size ? attr_value(n, size_unit(f)) : NULL;
	g_autofree char *sized = unit ? g_strdup_printf("%s %s", text, unit) : NULL;
	g_autoptr(GError) e = NULL;

	if (a || !(fr->seen[row - fr->flat->rows] & SEEN))
		report_place_member(r->report, fr->places[row->part], f, n->line, n->column);
	fr->seen[row - fr->flat->rows] |= SEEN;
	if (!*text && !a && may_be_empty(f, n))
		return;
	if (!f->kind->from_text(f, field_at(f, flat_obj(fr->flat, row, fr->obj)), sized ? sized : text, &e))
		find(r, n, a, FINDING_ERROR, KERR_XML, NULL, "%s", e->message);
	else if (f->flags & RUNTIME || f->made)
		r->report->live = true;
}

static void read_attr(struct reading *r, struct frame *fr, const struct xnode *n, const struct xattr *a,
	const char *prefix, size_t plen, const struct field *fallback)
{
	for (unsigned i = 0; i < fr->flat->n; i++) {
		const struct flat_row *row = &fr->flat->rows[i];
		const char *rest = path_below(row->f, prefix, plen);

		if (!rest || *rest != '@' || strcmp(rest + 1, a->name))
			continue;
		if (row->f->kind->shape == SHAPE_NONE)
			fallback = row->f;
		else
			read_value(r, fr, n, a, row, a->value);
		if (row->f->kind->shape == SHAPE_NONE)
			break;
		return;
	}
	if (is_unit(fr, prefix, plen, a->name))
		return;
	if (judge(r, fr, n, a, fallback, a->foreign, prefix, plen))
		keep_attr(r, fr, n, a, prefix, plen);
}

static void read_struct(struct reading *r, struct frame *up, const struct schema *s, void *obj, const struct xnode *n,
	const char *step, int index, bool is_one_of_many)
{
	struct frame fr = { .up = up, .flat = flat_of(r->cache, s), .obj = obj, .step = step, .index = index };
	const struct flat_row *text = NULL;

	fr.seen = arena_alloc(&r->arena, fr.flat->n);
	fr.places = arena_alloc(&r->arena, fr.flat->parts_n * sizeof(*fr.places));
	for (unsigned i = 0; i < fr.flat->parts_n; i++)
		fr.places[i] = report_place_struct(r->report, (char *)obj + fr.flat->parts[i].off, fr.flat->parts[i].s,
			up ? up->places[0] : NULL, step, is_one_of_many ? index + 1 : 0, n->line, n->column);
	for (unsigned i = 0; i < fr.flat->n && !text; i++)
		if (fr.flat->rows[i].f->path && !strcmp(fr.flat->rows[i].f->path, "."))
			text = &fr.flat->rows[i];
	read_element(r, &fr, n, "", 0, 0, text, NULL);
	for (unsigned i = 0; i < fr.flat->n; i++) {
		const struct field *f = fr.flat->rows[i].f;

		if ((f->flags & REQUIRED) && f->path && !(fr.seen[i] & SEEN))
			find(r, n, NULL, FINDING_ERROR, KERR_XML, NULL, !strcmp(f->path, ".") ? "the element's text is missing" :
				strrchr(f->path, '@') ? "'%s' is missing" : "<%s> is missing", f->path);
	}
}

/* Appends an item; NULL with a finding when the list is full. */
static void *list_add(struct reading *r, struct frame *fr, const struct flat_row *row, const struct xnode *n)
{
	const struct field *f = row->f;
	GPtrArray **list = field_at(f, flat_obj(fr->flat, row, fr->obj));
	uint8_t *seen = &fr->seen[row - fr->flat->rows];
	void *item;

	if (!*list)
		*list = g_ptr_array_new();
	if ((*list)->len >= f->max) {
		if (!(*seen & FULL))
			find(r, n, NULL, FINDING_ERROR, KERR_LIMIT, NULL, "more than %" PRIu64 " <%s>", f->max, n->name);
		*seen |= FULL;
		return NULL;
	}
	*seen |= SEEN;
	item = schema_new(f->sub);
	g_ptr_array_add(*list, item);
	return item;
}

static bool has_twin(const struct xnode *n)
{
	for (const struct xnode *t = n->next; t; t = t->next)
		if (!strcmp(t->name, n->name))
			return true;
	return false;
}

/* The list that takes further elements of a row's name; NULL: there is one of them only. */
static const struct flat_row *further(const struct frame *fr, const struct flat_row *row)
{
	const struct flat_row *next = row + 1;

	return next < fr->flat->rows + fr->flat->n && next->f->kind->shape == SHAPE_LIST && row->f->path && next->f->path &&
		!strcmp(row->f->path, next->f->path) ? next : NULL;
}

static void read_list(struct reading *r, struct frame *fr, const struct flat_row *row, const struct xnode *n,
	unsigned *nth)
{
	GPtrArray *const *list = field_at(row->f, flat_obj(fr->flat, row, fr->obj));
	void *item;
	bool many;

	*nth = *list ? (*list)->len : 0;
	many = *nth || has_twin(n);
	if (many)
		g_string_append_printf(r->path, "[%u]", *nth + 1);
	item = list_add(r, fr, row, n);
	if (item)
		read_struct(r, fr, row->f->sub, item, n, row->f->path, (int)*nth, many);
}

/* Whether an element will be written for something inside it. */
static bool writes_below(const struct frame *fr, const char *path, size_t len)
{
	for (unsigned i = 0; i < fr->flat->n; i++) {
		const struct flat_row *row = &fr->flat->rows[i];

		if (path_below(row->f, path, len) &&
		    (row->f->flags & RUNTIME || xml_writes(row->f, flat_obj(fr->flat, row, fr->obj))))
			return true;
	}
	return false;
}

/* An element that a row of its own reads. */
static void read_row(struct reading *r, struct frame *fr, const struct flat_row *row, const struct xnode *n,
	unsigned level, unsigned *nth)
{
	const struct field *f = row->f;
	void *obj = flat_obj(fr->flat, row, fr->obj), *member = field_at(f, obj);
	uint8_t *seen = &fr->seen[row - fr->flat->rows];

	*nth = 0;
	if (f->kind->shape == SHAPE_LIST) {
		read_list(r, fr, row, n, nth);
		return;
	}
	if (*seen & SEEN && further(fr, row)) {
		read_list(r, fr, further(fr, row), n, nth);
		++*nth;
		return;
	}
	if (*seen & SEEN) {
		find(r, n, NULL, FINDING_ERROR, KERR_XML, "write it once", "<%s> is given twice", n->name);
		return;
	}
	*seen |= SEEN;
	report_place_member(r->report, fr->places[row->part], f, n->line, n->column);
	if (f->kind->shape == SHAPE_OPT) {
		if (!*(void **)member)
			*(void **)member = schema_new(f->sub);
		read_struct(r, fr, f->sub, *(void **)member, n, f->path, -1, false);
		return;
	}
	if (f->kind->shape == SHAPE_STRUCT)
		read_struct(r, fr, f->sub, member, n, f->path, -1, false);
	else
		read_element(r, fr, n, f->path, strlen(f->path), level + 1, row, NULL);
	if (!xml_writes(f, obj) && !(f->flags & RUNTIME) && !(further(fr, row) && has_twin(n)) && !writes_below(fr, f->path, strlen(f->path)))
		keep_mark(r, fr, n, f->path, strlen(f->path));
}

/* An element that rows pass through. */
static void read_through(struct reading *r, struct frame *fr, const struct flat_row *row, const struct xnode *n,
	size_t plen, unsigned level, const struct field *fallback)
{
	uint8_t *seen = &fr->seen[row - fr->flat->rows];

	if (*seen & 1u << level) {
		find(r, n, NULL, FINDING_ERROR, KERR_XML, "write it once", "<%s> is given twice", n->name);
		return;
	}
	*seen = (uint8_t)(*seen | 1u << level);
	read_element(r, fr, n, row->f->path, plen, level + 1, NULL, fallback);
	if (!writes_below(fr, row->f->path, plen))
		keep_mark(r, fr, n, row->f->path, plen);
}

/* Whether some child is read by rows that pass through the element. */
static bool any_below(const struct frame *fr, const struct xnode *n, const char *prefix, size_t plen)
{
	for (const struct xnode *c = n->first; c; c = c->next)
		for (unsigned i = 0; i < fr->flat->n; i++) {
			const char *rest = path_below(fr->flat->rows[i].f, prefix, plen);
			size_t len = strlen(c->name);

			if (rest && !strncmp(rest, c->name, len) && (!rest[len] || rest[len] == '/'))
				return true;
		}
	return false;
}

static void read_child(struct reading *r, struct frame *fr, const struct xnode *c, const char *prefix, size_t plen,
	unsigned level, const struct field *fallback, const char **after, unsigned *nth)
{
	const struct flat_row *exact = NULL, *through = NULL;
	size_t len = strlen(c->name), below = plen ? plen + 1 + len : len;

	for (unsigned i = 0; i < fr->flat->n && !(exact && through); i++) {
		const char *rest = path_below(fr->flat->rows[i].f, prefix, plen);

		if (!rest || *rest != *c->name || strncmp(rest, c->name, len))
			continue;
		if (!rest[len] && !exact)
			exact = &fr->flat->rows[i];
		else if (rest[len] == '/' && !through)
			through = &fr->flat->rows[i];
	}
	if (exact && exact->f->kind->shape != SHAPE_NONE) {
		read_row(r, fr, exact, c, level, nth);
		*after = c->name;
		return;
	}
	if (through && (!exact || (exact->f->flags & KEEP_XML && any_below(fr, c, through->f->path, below)))) {
		read_through(r, fr, through, c, below, level, exact ? exact->f : NULL);
		*after = c->name;
		*nth = 0;
		return;
	}
	if (exact)
		fallback = exact->f;
	if (judge(r, fr, c, NULL, fallback, c->foreign, prefix, plen))
		keep_node(r, fr, c, prefix, plen, *after, *nth);
}

static void read_element(struct reading *r, struct frame *fr, const struct xnode *n, const char *prefix, size_t plen,
	unsigned level, const struct flat_row *text, const struct field *fallback)
{
	const char *after = "";
	unsigned nth = 0;

	for (unsigned i = 0; i < n->attrs_n; i++)
		read_attr(r, fr, n, &n->attrs[i], prefix, plen, fallback);
	if (text && text->f->kind->shape == SHAPE_BOOL && plen)
		field_set_num(text->f, flat_obj(fr->flat, text, fr->obj), 1, NULL);     /* present: a flag */
	/* an element that is a value has one, if only ""; the text of a struct's element may be missing */
	if (text && (plen ? text->f->kind->shape != SHAPE_BOOL : n->text && *n->text &&
			(text->f->kind == &kind_str || !is_blank(n->text))))
		read_value(r, fr, n, NULL, text, n->text ? n->text : "");
	else if (!is_blank(n->text))
		find(r, n, NULL, FINDING_ERROR, KERR_XML, NULL, "text is not allowed in <%s>", n->name);
	for (const struct xnode *c = n->first; c; c = c->next) {
		size_t len = r->path->len;

		g_string_append_c(r->path, '/');
		g_string_append(r->path, c->name);
		read_child(r, fr, c, prefix, plen, level, fallback, &after, &nth);
		g_string_truncate(r->path, len);
	}
}

bool xml_parse(const struct schema *s, void *obj, const char *root, const char *text, size_t len, struct report *report)
{
	struct reading r = { .report = report, .text = text };
	const struct xnode *n;

	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) {
		r.text += 3;
		len -= 3;
	}
	n = xml_tree(&r.arena, r.text, len, report);
	if (n && strcmp(n->name, root)) {
		g_autofree char *what = g_strdup_printf("the outermost element is <%s>, <%s> is expected", n->name, root);

		report_at(report, FINDING_ERROR, KERR_XML, n->name, n->line, n->column, NULL, what);
		n = NULL;
	} else if (n && n->foreign) {
		report_at(report, FINDING_ERROR, KERR_XML, n->name, n->line, n->column, "leave out its xmlns",
			"the outermost element belongs to a foreign namespace");
		n = NULL;
	}
	if (n) {
		r.cache = flat_cache_new();
		r.path = g_string_new(root);
		read_struct(&r, NULL, s, obj, n, root, -1, false);
		g_string_free(r.path, TRUE);
		g_hash_table_unref(r.cache);
	}
	arena_finish(&r.arena);
	return n != NULL;
}
