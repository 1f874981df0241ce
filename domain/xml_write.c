/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From structs to text. The rows make a tree in table order; kept pieces are then put back behind
 * the sibling they followed, and the tree is written. A piece kept for an inner struct (because that
 * one has no EXTRAS) is handed down to where its path leads; what it belonged to may be gone by
 * then (an unplugged device), and the piece goes with it.
 *
 * Each element has a rank, the first row that names it, so that its place among its siblings does
 * not depend on which members have values.
 */
#include <inttypes.h>
#include <string.h>

#include "domain/xml.h"
#include "domain/xml_tree.h"

struct out_attr {
	struct out_attr *next;
	const char *text;               /* name='value' */
	size_t name_len, len;
	bool implied;                   /* a namespace that an outer element may have declared */
};

struct out {
	const char *name;               /* NULL: a kept piece */
	size_t name_len;
	const char *text;               /* the value, or the piece as it is */
	struct out_attr *attrs, **attrs_end;
	struct out *first, *last, *next;
	unsigned rank;
};

struct piece {
	const struct extra *x;
	const char *at;                 /* what is left of its path */
	bool down;                      /* handed to an inner struct */
};

struct writing {
	struct arena arena;
	GHashTable *cache;
	unsigned flags;
	GString *tmp;
};

/* Everything one struct writes into. */
struct scope {
	const struct flat *flat;
	const void *obj;
	struct out *e;
	GArray *pieces;                 /* of struct piece, NULL: none */
};

bool xml_writes(const struct field *f, const void *obj)
{
	if (!f->path)
		return false;
	switch (f->kind->shape) {
	case SHAPE_BOOL:
		if (!strrchr(f->path, '@'))
			return field_num(f, obj);
		/* fall through */
	case SHAPE_NUM:
		if (!field_is_default(f, obj))
			return true;
		return f->flags & REQUIRED && (f->kind != &kind_enum || (field_num_ok(f, field_num(f, obj)) &&
			*f->names[field_num(f, obj)]));
	case SHAPE_TEXT:
		return *(void *const *)field_at(f, obj) && (f->flags & REQUIRED || !field_is_default(f, obj));
	default:
		return !field_is_default(f, obj);
	}
}

void xml_escape(GString *s, const char *text, bool attr)
{
	for (const char *p = text; *p; p++) {
		size_t plain = strcspn(p, attr ? "<>&'\n\t\r" : "<>&\r");

		g_string_append_len(s, p, (gssize)plain);
		p += plain;
		switch (*p) {
		case 0:
			return;
		case '<':
			g_string_append(s, "&lt;");
			break;
		case '>':
			g_string_append(s, "&gt;");
			break;
		case '&':
			g_string_append(s, "&amp;");
			break;
		case '\'':
			g_string_append(s, "&apos;");
			break;
		default:
			g_string_append_printf(s, "&#%d;", *p);
		}
	}
}

/* --- the tree --- */
/* Unless the element has the attribute already. */
static void add_attr(struct writing *w, struct out *e, const char *text, size_t name_len, size_t len, bool implied)
{
	struct out_attr *a;

	for (a = e->attrs; a; a = a->next)
		if (a->name_len == name_len && !memcmp(a->text, text, name_len))
			return;
	a = arena_alloc(&w->arena, sizeof(*a));
	a->text = arena_text(&w->arena, text, len);
	a->name_len = name_len;
	a->len = len;
	a->implied = implied;
	*e->attrs_end = a;
	e->attrs_end = &a->next;
}

/* Declares the namespace of a name that a row gives with a prefix. */
static void declare(struct writing *w, struct out *e, const char *name)
{
	size_t n;
	const char *uri = xml_known_uri(name, &n);

	if (!uri)
		return;
	g_string_printf(w->tmp, "xmlns:%.*s='%s'", (int)n, name, uri);
	add_attr(w, e, w->tmp->str, n + strlen("xmlns:"), w->tmp->len, true);
}

static void set_attr(struct writing *w, struct out *e, const char *name, const char *text)
{
	size_t n = strlen(name);

	declare(w, e, name);
	g_string_truncate(w->tmp, 0);
	g_string_append_len(w->tmp, name, (gssize)n);
	g_string_append_len(w->tmp, "='", 2);
	xml_escape(w->tmp, text, true);
	g_string_append_c(w->tmp, '\'');
	add_attr(w, e, w->tmp->str, n, w->tmp->len, false);
}

static struct out *out_new(struct writing *w, const char *name, size_t len)
{
	struct out *e = arena_alloc(&w->arena, sizeof(*e));

	e->attrs_end = &e->attrs;
	if (name) {
		e->name = arena_text(&w->arena, name, len);
		e->name_len = len;
		declare(w, e, e->name);
	}
	return e;
}

static void insert_after(struct out *e, struct out *sibling, struct out *n)
{
	n->next = sibling ? sibling->next : e->first;
	if (sibling)
		sibling->next = n;
	else
		e->first = n;
	if (!n->next)
		e->last = n;
}

/* Behind the last child whose rank is no higher. */
static void insert_ranked(struct out *e, struct out *n)
{
	struct out *at = NULL;

	if (e->last && e->last->rank <= n->rank)
		at = e->last;
	else
		for (struct out *c = e->first; c && c->rank <= n->rank; c = c->next)
			at = c;
	insert_after(e, at, n);
}

/* First row that names the element at path[0..len). */
static unsigned rank_of(const struct flat *flat, const char *path, size_t len)
{
	for (unsigned i = 0; i < flat->n; i++) {
		const char *p = flat->rows[i].f->path;

		if (p && flat->rows[i].f->kind->shape != SHAPE_NONE && !strncmp(p, path, len) && (!p[len] || p[len] == '/'))
			return i;
	}
	return UINT_MAX;
}

/* The element at path[0..len) below the scope's own; where it isn't there, it is made or the answer is NULL. */
static struct out *make(struct writing *w, const struct scope *s, const char *path, size_t len, bool create)
{
	struct out *e = s->e;

	for (size_t from = 0, to; from < len; from = to + 1) {
		struct out *c;

		for (to = from; to < len && path[to] != '/';)
			to++;
		for (c = e->first; c; c = c->next)
			if (c->name && c->name_len == to - from && !memcmp(c->name, path + from, to - from))
				break;
		if (!c && !create)
			return NULL;
		if (!c) {
			c = out_new(w, path + from, to - from);
			c->rank = rank_of(s->flat, path, to);
			insert_ranked(e, c);
		}
		e = c;
	}
	return e;
}

/* Length of the path's part that names the element around its last step. */
static size_t parent_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) : 0;
}

/* --- pieces --- */
/* The rest of a piece's path below `path` (and, for a list's item, its index), or NULL. */
static const char *piece_below(const struct piece *p, const char *path, int index)
{
	size_t n = strlen(path);
	const char *rest = p->at + n;

	if (strncmp(p->at, path, n))
		return NULL;
	if (index >= 0) {
		char *end;

		if (*rest != '[' || g_ascii_strtoull(rest + 1, &end, 10) != (guint64)index || *end != ']')
			return NULL;
		rest = end + 1;
	}
	return *rest == '/' ? rest + 1 : *rest ? NULL : rest;
}

static GArray *hand_down(const struct scope *s, const struct field *f, int index)
{
	GArray *down = NULL;

	for (unsigned i = 0; s->pieces && i < s->pieces->len; i++) {
		struct piece *p = &g_array_index(s->pieces, struct piece, i);
		struct piece inner = { p->x, piece_below(p, f->path, index), false };

		if (!inner.at)
			continue;
		p->down = true;
		if (!down)
			down = g_array_new(FALSE, FALSE, sizeof(inner));
		g_array_append_val(down, inner);
	}
	return down;
}

static void put_element(struct writing *w, const struct scope *s, struct out *e, const struct piece *p)
{
	struct out *n = out_new(w, NULL, 0), *at = NULL, *found = NULL;
	g_autofree char *path = g_strconcat(p->at, *p->at ? "/" : "", p->x->after, NULL);
	unsigned nth = 0, rank = *p->x->after ? rank_of(s->flat, path, strlen(path)) : 0;

	n->text = p->x->xml;
	for (struct out *c = e->first; c && *p->x->after; c = c->next) {
		if (c->name && !strcmp(c->name, p->x->after) && nth++ == p->x->nth) {
			found = c;
			break;
		}
		if (c->name && c->rank <= rank)
			at = c;
	}
	at = found ? found : at;
	n->rank = at ? at->rank : 0;
	/* behind the pieces that are there already */
	for (struct out *c = at ? at->next : e->first; c && !c->name; c = c->next)
		at = c;
	insert_after(e, at, n);
}

/* Whether what a piece belongs to is an optional struct or a list's item that isn't there. */
static bool is_gone(const struct scope *s, const struct piece *p)
{
	size_t n = strcspn(p->at, "[");

	if (p->at[n])
		return true;
	for (unsigned i = 0; i < s->flat->n; i++) {
		const struct field *f = s->flat->rows[i].f;

		if ((f->kind->shape == SHAPE_OPT || f->kind->shape == SHAPE_LIST) && f->path && piece_below(p, f->path, -1))
			return true;
	}
	return false;
}

static void put_pieces(struct writing *w, const struct scope *s)
{
	for (unsigned i = 0; s->pieces && i < s->pieces->len; i++) {
		const struct piece *p = &g_array_index(s->pieces, struct piece, i);
		struct out *e;
		size_t n;

		if (p->down || is_gone(s, p))
			continue;
		e = make(w, s, p->at, strlen(p->at), true);
		if (p->x->after) {
			if (*p->x->xml)
				put_element(w, s, e, p);
			continue;
		}
		n = strcspn(p->x->xml, "=");
		if (n && p->x->xml[n])
			add_attr(w, e, p->x->xml, n, strlen(p->x->xml), false);
	}
}

/* --- rows --- */
static void write_struct(struct writing *w, const struct schema *sch, const void *obj, struct out *e, GArray *handed);

/* always: there is another element of its name behind it. */
static void write_inner(struct writing *w, const struct scope *s, const struct field *f, const void *inner, int index, bool always)
{
	size_t up = parent_len(f->path);
	const char *name = f->path + up + (up > 0);
	GArray *down = hand_down(s, f, index);
	bool must = down || f->kind->shape != SHAPE_STRUCT || always;
	struct out *n;

	/* an embedded struct that says nothing isn't there */
	if (!must && !(f->flags & REQUIRED) && field_is_default(f, (const char *)inner - f->off))
		return;
	n = out_new(w, name, strlen(name));
	write_struct(w, f->sub, inner, n, down);
	if (!must && !n->text && !n->first && !n->attrs)
		return;
	n->rank = rank_of(s->flat, f->path, strlen(f->path));
	insert_ranked(make(w, s, f->path, up, true), n);
}

static void write_value(struct writing *w, const struct scope *s, const struct field *f, const void *obj)
{
	const char *at = strrchr(f->path, '@'), *text;
	g_autofree char *bytes = NULL;
	char buf[FIELD_TEXT];
	struct out *e;

	if (!strcmp(f->path, "."))
		e = s->e;
	else
		e = make(w, s, f->path, at ? parent_len(f->path) : strlen(f->path), true);
	if (f->kind == &kind_flag && !at)
		return;
	if (f->kind == &kind_bytes)
		text = bytes = field_text(f, obj);
	else
		text = field_peek(f, obj, buf);
	if (f->kind == &kind_size) {
		/* "4 KiB" becomes the value and the unit */
		char *unit = buf + (strchr(text, ' ') - buf);

		*unit++ = 0;
		set_attr(w, e, size_unit(f), unit);
	}
	if (at)
		set_attr(w, e, at + 1, text ? text : "");
	else if (text && *text)
		e->text = arena_text(&w->arena, text, strlen(text));
}

static bool is_left_out(const struct writing *w, const struct field *f, const void *member)
{
	if (w->flags & XML_INACTIVE && (f->flags & RUNTIME || (f->made && f->made(member))))
		return true;
	return f->flags & SECRET && !(w->flags & XML_SECRETS);
}

/* Are there further elements of its name, in the list behind the row? */
static bool has_further(const struct scope *s, const struct flat_row *row)
{
	const struct flat_row *next = row + 1;
	const GPtrArray *list;

	if (next >= s->flat->rows + s->flat->n || next->shape != SHAPE_LIST || !next->f->path || strcmp(next->f->path, row->f->path))
		return false;
	list = *(GPtrArray *const *)flat_member(next, s->obj);
	return list && list->len;
}

static void write_row(struct writing *w, const struct scope *s, const struct flat_row *row)
{
	const struct field *f = row->f;
	const void *obj, *member = flat_member(row, s->obj);
	const GPtrArray *list;

	switch (row->shape) {
	case SHAPE_NONE:
	case SHAPE_EXTRAS:
		return;
	case SHAPE_TEXT:
	case SHAPE_OPT:
	case SHAPE_LIST:
		/* most members are not there */
		if (!*(void *const *)member)
			return;
		break;
	default:
		break;
	}
	if (!f->path || is_left_out(w, f, member))
		return;
	obj = flat_obj(s->flat, row, s->obj);
	switch (row->shape) {
	case SHAPE_STRUCT:
		write_inner(w, s, f, member, -1, has_further(s, row));
		return;
	case SHAPE_OPT:
		write_inner(w, s, f, *(void *const *)member, -1, false);
		return;
	case SHAPE_LIST:
		list = *(GPtrArray *const *)member;
		for (unsigned i = 0; i < list->len; i++)
			write_inner(w, s, f, list->pdata[i], (int)i, false);
		return;
	default:
		if (xml_writes(f, obj))
			write_value(w, s, f, obj);
	}
}

/* An element that is there for its attributes or by a kept piece says its value, if only the default. */
static void write_defaults(struct writing *w, const struct scope *s)
{
	for (unsigned i = 0; i < s->flat->n && s->e->first; i++) {
		const struct field *f = s->flat->rows[i].f;
		const void *obj = flat_obj(s->flat, &s->flat->rows[i], s->obj);
		bool value = f->kind->shape == SHAPE_TEXT || (f->kind->shape == SHAPE_NUM && !default_is_none(f));

		if (value && f->path && !strchr(f->path, '@') && strcmp(f->path, ".") && !is_left_out(w, f, field_at(f, obj)) &&
		    !xml_writes(f, obj) && make(w, s, f->path, strlen(f->path), false))
			write_value(w, s, f, obj);
	}
}

static void write_struct(struct writing *w, const struct schema *sch, const void *obj, struct out *e, GArray *handed)
{
	struct scope s = { flat_of(w->cache, sch), obj, e, handed };

	for (unsigned i = 0; i < s.flat->n; i++) {
		const struct flat_row *row = &s.flat->rows[i];
		const struct extras *x;

		if (row->f->kind->shape != SHAPE_EXTRAS)
			continue;
		x = field_at(row->f, flat_obj(s.flat, row, obj));
		for (unsigned k = 0; x->list && k < x->list->len; k++) {
			const struct extra *piece = x->list->pdata[k];
			struct piece p = { piece, piece->at, false };

			if (!s.pieces)
				s.pieces = g_array_new(FALSE, FALSE, sizeof(p));
			g_array_append_val(s.pieces, p);
		}
	}
	for (unsigned i = 0; i < s.flat->n; i++)
		write_row(w, &s, &s.flat->rows[i]);
	put_pieces(w, &s);
	write_defaults(w, &s);
	if (s.pieces)
		g_array_unref(s.pieces);
}

/* --- text --- */
/* g_string_append without its calls: most of the writing is here. The end is terminated by xml_format. */
static void put(GString *s, const char *text, size_t n)
{
	size_t at = s->len;

	if (at + n >= s->allocated_len)
		g_string_set_size(s, 2 * (at + n));
	memcpy(s->str + at, text, n);
	s->len = at + n;
}

static void print_tag(GString *s, const struct out *e, const struct out *up)
{
	size_t n;

	put(s, "<", 1);
	put(s, e->name, e->name_len);
	for (const struct out_attr *a = e->attrs; a; a = a->next) {
		if (a->implied && up && xml_known_uri(up->name, &n) && !strncmp(up->name, a->text + strlen("xmlns:"), n))
			continue;
		put(s, " ", 1);
		put(s, a->text, a->len);
	}
	if (!e->text && !e->first)
		put(s, "/>", 2);
	else
		put(s, ">", 1);
}

/* Elements stand on lines of their own, but not beside a value: there, space would become part of it. */
static void print(GString *s, const struct out *e, const struct out *up, unsigned depth, bool beside_text)
{
	/* space beside elements reads as indentation: so it is none */
	bool text = e->text && !(e->first && !e->text[strspn(e->text, " \t\r\n")]), flat = beside_text || text;

	for (unsigned i = 0; i < depth && !beside_text; i++)
		put(s, "  ", 2);
	if (!e->name) {
		put(s, e->text, strlen(e->text));
	} else {
		print_tag(s, e, up);
		if (text)
			xml_escape(s, e->text, false);
		else if (e->first && !flat)
			put(s, "\n", 1);
		for (const struct out *c = e->first; c; c = c->next)
			print(s, c, e, depth + 1, flat);
		for (unsigned i = 0; i < depth && e->first && !flat; i++)
			put(s, "  ", 2);
		if (e->text || e->first) {
			put(s, "</", 2);
			put(s, e->name, e->name_len);
			put(s, ">", 1);
		}
	}
	if (!beside_text)
		put(s, "\n", 1);
}

char *xml_format(const struct schema *s, const void *obj, const char *root, unsigned flags)
{
	struct writing w = { .cache = flat_cache_new(), .flags = flags, .tmp = g_string_new(NULL) };
	GString *text = g_string_sized_new(8192);
	struct out *e = out_new(&w, root, strlen(root));

	write_struct(&w, s, obj, e, NULL);
	print(text, e, NULL, 0, false);
	text->str[text->len] = 0;
	arena_finish(&w.arena);
	g_hash_table_unref(w.cache);
	g_string_free(w.tmp, TRUE);
	return g_string_free(text, FALSE);
}
