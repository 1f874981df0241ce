/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Findings and places. A struct's place is found by its address; since a struct and its first
 * member share one, places of one address form a chain, told apart by their schema.
 */
#include "domain/report.h"

#include <string.h>

#include "domain/field.h"

struct member {
	struct member *next;
	const char *name;
	char *path;             /* NULL: follows from the row */
	unsigned line, column;
};

struct place {
	struct place *next;             /* same address, inner struct */
	const struct schema *schema;    /* NULL: placed by hand */
	const struct place *up;         /* the outer struct; its path and step make this one's */
	const char *step;
	int index;                      /* from 1; 0: none */
	char *path;                     /* where there is no outer struct */
	unsigned line, column;
	struct member *members;
};

/* Places live as long as their report, so they come from slabs: a definition has some thousand of them. */
#define SLAB_BYTES 8000
struct slab {
	struct slab *next;
	size_t size, used;
	char bytes[];
};

/* n zeroed bytes, aligned for pointers. */
static void *slab_alloc(struct report *r, size_t n)
{
	struct slab *s = r->slabs;

	n = (n + sizeof(void *) - 1) & ~(sizeof(void *) - 1);
	if (!s || s->size - s->used < n) {
		size_t size = MAX(n, SLAB_BYTES);

		s = g_malloc(sizeof(*s) + size);
		*s = (struct slab){ .next = r->slabs, .size = size };
		r->slabs = s;
	}
	s->used += n;
	return memset(s->bytes + s->used - n, 0, n);
}

static char *slab_text(struct report *r, const char *text)
{
	return text ? strcpy(slab_alloc(r, strlen(text) + 1), text) : NULL;
}

static void finding_free(void *data)
{
	struct finding *f = data;

	g_free(f->path);
	g_free(f->text);
	g_free(f->cure);
	g_free(f);
}

struct report *report_new(const char *file, bool strict, bool lenient)
{
	struct report *r = g_new0(struct report, 1);

	r->file = g_strdup(file);
	r->strict = strict;
	r->lenient = lenient;
	r->findings = g_ptr_array_new_with_free_func(finding_free);
	r->where = g_hash_table_new(NULL, NULL);
	return r;
}

void report_free(struct report *r)
{
	if (!r)
		return;
	g_free(r->file);
	g_ptr_array_unref(r->findings);
	g_hash_table_unref(r->where);
	while (r->slabs) {
		struct slab *s = r->slabs;

		r->slabs = s->next;
		g_free(s);
	}
	g_free(r);
}

static struct finding *finding_new(enum finding_level level, enum kerr code, const char *path, unsigned line,
	unsigned column, const char *cure, const char *text)
{
	struct finding *f = g_new0(struct finding, 1);

	*f = (struct finding){ .level = level, .code = code, .path = g_strdup(path ? path : ""), .line = line,
		.column = column, .text = g_strdup(text), .cure = g_strdup(cure) };
	return f;
}

void report_at(struct report *r, enum finding_level level, enum kerr code, const char *path, unsigned line,
	unsigned column, const char *cure, const char *text)
{
	bool first_error;

	if (r->strict)
		level = FINDING_ERROR;
	first_error = level == FINDING_ERROR && !r->errors;
	*(level == FINDING_ERROR ? &r->errors : &r->warnings) += 1;
	if (r->findings->len == REPORT_MAX)
		g_ptr_array_add(r->findings, finding_new(FINDING_WARNING, KERR_LIMIT, NULL, 0, 0, NULL,
			"there are more findings; they are not shown"));
	if (r->findings->len > REPORT_MAX) {
		/* The first error is what callers show: it never falls behind a hundred warnings. */
		if (!first_error)
			return;
		g_ptr_array_remove_index(r->findings, REPORT_MAX - 1);
		g_ptr_array_insert(r->findings, REPORT_MAX - 1,
			finding_new(level, code, path, line, column, cure, text));
		return;
	}
	g_ptr_array_add(r->findings, finding_new(level, code, path, line, column, cure, text));
}

static struct place *place_of(struct report *r, const void *obj, const struct schema *s)
{
	struct place *head = g_hash_table_lookup(r->where, obj), *p = head, *last = NULL;

	for (; p && p->schema != s; p = p->next)
		last = p;
	if (p)
		return p;
	p = slab_alloc(r, sizeof(*p));
	p->schema = s;
	if (last)
		last->next = p;
	else
		g_hash_table_insert(r->where, (void *)(uintptr_t)obj, p);
	return p;
}

struct place *report_place_struct(struct report *r, const void *obj, const struct schema *s, const struct place *up,
	const char *step, int index, unsigned line, unsigned column)
{
	struct place *p = place_of(r, obj, s);

	if (!up)
		p->path = slab_text(r, step);
	p->up = up;
	p->step = step;
	p->index = index;
	p->line = line;
	p->column = column;
	return p;
}

static void place_path(const struct place *p, GString *path)
{
	if (!p->up) {
		g_string_append(path, p->path ? p->path : "");
		return;
	}
	place_path(p->up, path);
	if (path->len)
		g_string_append_c(path, '/');
	g_string_append(path, p->step);
	if (p->index)
		g_string_append_printf(path, "[%d]", p->index);
}

static struct member *member_new(struct report *r, struct place *p, const char *name, unsigned line, unsigned column)
{
	struct member *m = slab_alloc(r, sizeof(*m));

	m->next = p->members;
	m->name = name;
	m->line = line;
	m->column = column;
	p->members = m;
	return m;
}

void report_place_member(struct report *r, struct place *p, const struct field *f, unsigned line, unsigned column)
{
	if (line != p->line || column != p->column)
		member_new(r, p, f->name, line, column);
}

/* Path, line and column of a member as well as they are known. Caller frees. */
static char *locate(const struct report *r, const void *obj, const char *field, unsigned *line, unsigned *column)
{
	const struct place *p = g_hash_table_lookup(r->where, obj), *at = p;
	const struct field *row = NULL;
	const char *step = field;
	GString *path;

	*line = *column = 0;
	if (!p)
		return g_strdup(field ? field : "");
	for (; field && p && !row; p = p->next) {
		for (const struct member *m = p->members; m; m = m->next)
			if (!strcmp(m->name, field) && m->path) {
				*line = m->line;
				*column = m->column;
				return g_strdup(m->path);
			}
		row = p->schema ? schema_field(p->schema, field) : NULL;
		if (row)
			at = p;
	}
	*line = at->line;
	*column = at->column;
	for (const struct member *m = row ? at->members : NULL; m; m = m->next)
		if (!strcmp(m->name, field)) {
			*line = m->line;
			*column = m->column;
			break;
		}
	if (row && row->path)
		step = strcmp(row->path, ".") ? row->path : NULL;
	path = g_string_new(NULL);
	place_path(at, path);
	if (step)
		g_string_append_printf(path, "%s%s", path->len ? "/" : "", step);
	return g_string_free(path, FALSE);
}

static void G_GNUC_PRINTF(7, 0) report_v(struct report *r, enum finding_level level, enum kerr code, const void *obj,
	const char *field, const char *cure, const char *fmt, va_list ap)
{
	unsigned line, column;
	g_autofree char *path = locate(r, obj, field, &line, &column), *text = g_strdup_vprintf(fmt, ap);

	report_at(r, level, code, path, line, column, cure, text);
}

void report_error(struct report *r, const void *obj, const char *field, enum kerr code, const char *cure,
	const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_v(r, FINDING_ERROR, code, obj, field, cure, fmt, ap);
	va_end(ap);
}

void report_warn(struct report *r, const void *obj, const char *field, const char *cure, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_v(r, FINDING_WARNING, KERR_XML, obj, field, cure, fmt, ap);
	va_end(ap);
}

void report_refuse(struct report *r, const void *obj, const char *field, const char *cure, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_v(r, r->lenient ? FINDING_WARNING : FINDING_ERROR, KERR_UNSUPPORTED, obj, field, cure, fmt, ap);
	va_end(ap);
}

static char *describe(const struct report *r, const struct finding *f, bool level)
{
	g_autoptr(GString) s = g_string_new(NULL);

	if (r->file)
		g_string_append_printf(s, "%s:", r->file);
	if (f->line)
		g_string_append_printf(s, "%u:%u:", f->line, f->column);
	if (s->len)
		g_string_append_c(s, ' ');
	if (level)
		g_string_append(s, f->level == FINDING_ERROR ? "error: " : "warning: ");
	if (*f->path)
		g_string_append_printf(s, "%s: ", f->path);
	g_string_append(s, f->text);
	if (f->cure)
		g_string_append_printf(s, "; %s", f->cure);
	return g_string_free(g_steal_pointer(&s), FALSE);
}

char *finding_text(const struct report *r, const struct finding *f)
{
	return describe(r, f, true);
}

bool report_ok(const struct report *r, GError **err)
{
	for (unsigned i = 0; i < r->findings->len; i++) {
		const struct finding *f = r->findings->pdata[i];
		g_autofree char *text = NULL;

		if (f->level != FINDING_ERROR)
			continue;
		text = describe(r, f, false);
		return kerr_set(err, f->code, "%s", text);
	}
	return true;
}
