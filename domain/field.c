/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whole structs over their tables: defaults, comparing, copying, clearing, random values, checks. */
#include "domain/field.h"

#include <inttypes.h>
#include <string.h>

#include "domain/report.h"

const struct field *schema_field(const struct schema *s, const char *name)
{
	for (const struct field *f = s->fields; f->name; f++)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}

/* --- kinds that hold structs --- */
static bool struct_equal(const struct field *f, const void *a, const void *b)
{
	return schema_equal(f->sub, a, b);
}

static void struct_copy(const struct field *f, void *to, const void *from)
{
	schema_init(f->sub, to);
	schema_copy(f->sub, to, from);
}

static void struct_clear(const struct field *f, void *member)
{
	schema_clear(f->sub, member);
}

static bool opt_equal(const struct field *f, const void *a, const void *b)
{
	const void *x = *(void *const *)a, *y = *(void *const *)b;

	return x && y ? schema_equal(f->sub, x, y) : x == y;
}

static void opt_copy(const struct field *f, void *to, const void *from)
{
	const void *x = *(void *const *)from;

	*(void **)to = x ? schema_dup(f->sub, x) : NULL;
}

static void opt_clear(const struct field *f, void *member)
{
	schema_free(f->sub, *(void **)member);
	*(void **)member = NULL;
}

static unsigned list_len(const GPtrArray *l)
{
	return l ? l->len : 0;
}

static bool list_equal(const struct field *f, const void *a, const void *b)
{
	const GPtrArray *x = *(GPtrArray *const *)a, *y = *(GPtrArray *const *)b;

	if (list_len(x) != list_len(y))
		return false;
	for (unsigned i = 0; i < list_len(x); i++)
		if (!schema_equal(f->sub, x->pdata[i], y->pdata[i]))
			return false;
	return true;
}

static void list_copy(const struct field *f, void *to, const void *from)
{
	const GPtrArray *x = *(GPtrArray *const *)from;

	if (!list_len(x))
		return;
	*(GPtrArray **)to = g_ptr_array_new();
	for (unsigned i = 0; i < x->len; i++)
		g_ptr_array_add(*(GPtrArray **)to, schema_dup(f->sub, x->pdata[i]));
}

static void list_clear(const struct field *f, void *member)
{
	GPtrArray **list = member;

	for (unsigned i = 0; i < list_len(*list); i++)
		schema_free(f->sub, (*list)->pdata[i]);
	if (*list) {
		/* the items are gone, whatever free function the owner gave the array */
		g_ptr_array_set_free_func(*list, NULL);
		g_ptr_array_unref(*list);
	}
	*list = NULL;
}

static void extra_free(void *data)
{
	struct extra *x = data;

	g_free(x->at);
	g_free(x->after);
	g_free(x->xml);
	g_free(x);
}

bool extras_add(struct extras *e, const char *at, const char *after, unsigned nth, const char *xml)
{
	struct extra *x;

	if (!e->list)
		e->list = g_ptr_array_new_with_free_func(extra_free);
	if (e->list->len >= EXTRAS_MAX)
		return false;
	x = g_new0(struct extra, 1);
	*x = (struct extra){ g_strdup(at), g_strdup(after), nth, g_strdup(xml) };
	g_ptr_array_add(e->list, x);
	return true;
}

static bool extra_ok(const struct extra *x)
{
	const char *p = x->xml;
	size_t n = strlen(p);

	if (!text_ok(p, n) || !text_ok(x->at, strlen(x->at)) || strpbrk(x->at, "<>&'\" @") ||
	    (x->after && !text_ok(x->after, strlen(x->after))))
		return false;
	if (!n)
		return x->after && *x->at;
	if (x->after)
		return n >= 4 && p[0] == '<' && (g_ascii_isalpha(p[1]) || p[1] == '_' || p[1] & 0x80) && p[n - 1] == '>';
	/* name='value' */
	p += strcspn(p, "= <>&'\"/");
	return p > x->xml && p[0] == '=' && p[1] == '\'' && !strpbrk(p + 2, "<") &&
		strchr(p + 2, '\'') == x->xml + n - 1;
}

bool extras_ok(const struct extras *e, GError **err)
{
	if (list_len(e->list) > EXTRAS_MAX)
		return kerr_set(err, KERR_LIMIT, "more than %d kept pieces of XML", EXTRAS_MAX);
	for (unsigned i = 0; i < list_len(e->list); i++)
		if (!extra_ok(e->list->pdata[i]))
			return kerr_set(err, KERR_ARGS, "kept XML: piece %u is not an element or an attribute", i);
	return true;
}

static bool extras_equal(const struct field *f, const void *a, const void *b)
{
	const struct extras *x = a, *y = b;

	if (list_len(x->list) != list_len(y->list))
		return false;
	for (unsigned i = 0; i < list_len(x->list); i++) {
		const struct extra *p = x->list->pdata[i], *q = y->list->pdata[i];

		if (strcmp(p->at, q->at) || g_strcmp0(p->after, q->after) || p->nth != q->nth || strcmp(p->xml, q->xml))
			return false;
	}
	return true;
}

static void extras_copy(const struct field *f, void *to, const void *from)
{
	const struct extras *x = from;

	for (unsigned i = 0; i < list_len(x->list); i++) {
		const struct extra *p = x->list->pdata[i];

		extras_add(to, p->at, p->after, p->nth, p->xml);
	}
}

static void extras_clear(const struct field *f, void *member)
{
	g_clear_pointer(&((struct extras *)member)->list, g_ptr_array_unref);
}

static void extras_random(const struct field *f, void *member, GRand *r)
{
	int attrs = g_rand_int_range(r, 0, 3), elements = g_rand_int_range(r, 0, 3);

	for (int i = 0; i < attrs; i++) {
		g_autofree char *attr = g_strdup_printf("xmlns:r%d='urn:r:%u'", i, g_rand_int(r));

		extras_add(member, "", NULL, 0, attr);
	}
	for (int i = 0; i < elements; i++) {
		g_autofree char *elem = g_strdup_printf("<r:e xmlns:r='urn:r'\n a=\"%u\"><x/><!-- &' -->&lt;</r:e>", g_rand_int(r));

		extras_add(member, "", "", 0, elem);
	}
}

const struct kind kind_struct = { "struct", SHAPE_STRUCT, .equal = struct_equal, .copy = struct_copy, .clear = struct_clear };
const struct kind kind_opt = { "optional struct", SHAPE_OPT, .equal = opt_equal, .copy = opt_copy, .clear = opt_clear };
const struct kind kind_list = { "list", SHAPE_LIST, .equal = list_equal, .copy = list_copy, .clear = list_clear };
const struct kind kind_extras = { "kept XML", SHAPE_EXTRAS, .equal = extras_equal, .copy = extras_copy, .clear = extras_clear,
	.random = extras_random };
const struct kind kind_none = { "none", SHAPE_NONE };

/* --- whole structs --- */
static void set_default(const struct field *f, void *member)
{
	switch (f->kind->shape) {
	case SHAPE_NUM:
	case SHAPE_BOOL:
		/* a default may lie outside the bounds: then it means "not given" */
		if (f->size == 1)
			*(uint8_t *)member = (uint8_t)f->def;
		else if (f->size == 2)
			*(uint16_t *)member = (uint16_t)f->def;
		else if (f->size == 4)
			*(uint32_t *)member = (uint32_t)f->def;
		else
			*(uint64_t *)member = f->def;
		return;
	case SHAPE_TEXT:
		if (f->text_def)
			*(char **)member = g_strdup(f->text_def);
		return;
	default:
		return;
	}
}

/* For memory that holds nothing: members that are structs get their own defaults. */
static void defaults(const struct schema *s, void *obj)
{
	for (const struct field *f = s->fields; f->name; f++)
		if (f->kind->shape == SHAPE_STRUCT)
			defaults(f->sub, field_at(f, obj));
		else
			set_default(f, field_at(f, obj));
}

void schema_init(const struct schema *s, void *obj)
{
	memset(obj, 0, s->size);
	defaults(s, obj);
}

void *schema_new(const struct schema *s)
{
	void *obj = g_malloc(s->size);

	schema_init(s, obj);
	return obj;
}

void schema_clear(const struct schema *s, void *obj)
{
	for (const struct field *f = s->fields; f->name; f++) {
		if (f->kind->shape == SHAPE_NONE)
			continue;
		f->kind->clear(f, field_at(f, obj));
		set_default(f, field_at(f, obj));
	}
}

/* Like clear, but the memory will go: no defaults afterwards. */
static void finish(const struct schema *s, void *obj)
{
	for (const struct field *f = s->fields; f->name; f++)
		if (f->kind->shape == SHAPE_STRUCT)
			finish(f->sub, field_at(f, obj));
		else if (f->kind->shape != SHAPE_NONE)
			f->kind->clear(f, field_at(f, obj));
}

void schema_free(const struct schema *s, void *obj)
{
	if (!obj)
		return;
	finish(s, obj);
	g_free(obj);
}

bool schema_equal(const struct schema *s, const void *a, const void *b)
{
	for (const struct field *f = s->fields; f->name; f++)
		if (f->kind->shape != SHAPE_NONE && !f->kind->equal(f, field_at(f, a), field_at(f, b)))
			return false;
	return true;
}

void schema_copy(const struct schema *s, void *to, const void *from)
{
	if (to == from)
		return;
	for (const struct field *f = s->fields; f->name; f++) {
		void *member = field_at(f, to);

		if (f->kind->shape == SHAPE_STRUCT) {
			schema_copy(f->sub, member, field_at(f, from));
		} else if (f->kind->shape != SHAPE_NONE) {
			f->kind->clear(f, member);
			f->kind->copy(f, member, field_at(f, from));
		}
	}
}

void *schema_dup(const struct schema *s, const void *obj)
{
	void *to = schema_new(s);

	schema_copy(s, to, obj);
	return to;
}

static void *random_struct(const struct schema *s, GRand *r, unsigned depth)
{
	void *obj = schema_new(s);

	schema_random(s, obj, r, depth);
	return obj;
}

static void list_random(const struct field *f, GPtrArray **list, GRand *r, unsigned depth)
{
	uint64_t most = MIN(f->max, 3), least = f->flags & REQUIRED ? 1 : 0, n = least + g_rand_int(r) % (most - least + 1);

	for (; n; n--) {
		if (!*list)
			*list = g_ptr_array_new();
		g_ptr_array_add(*list, random_struct(f->sub, r, depth));
	}
}

void schema_random(const struct schema *s, void *obj, GRand *r, unsigned depth)
{
	for (const struct field *f = s->fields; f->name; f++) {
		void *member = field_at(f, obj);
		bool must = f->flags & REQUIRED;

		if (f->kind->shape == SHAPE_STRUCT)
			schema_random(f->sub, member, r, depth);
		if (f->kind->shape == SHAPE_STRUCT || f->kind->shape == SHAPE_NONE || (!must && g_rand_boolean(r)))
			continue;
		f->kind->clear(f, member);
		set_default(f, member);
		if (f->kind->random)
			f->kind->random(f, member, r);
		else if (f->kind->shape == SHAPE_OPT && (depth || must))
			*(void **)member = random_struct(f->sub, r, depth ? depth - 1 : 0);
		else if (f->kind->shape == SHAPE_LIST && (depth || must))
			list_random(f, member, r, depth ? depth - 1 : 0);
	}
}

bool field_is_default(const struct field *f, const void *obj)
{
	const void *member = field_at(f, obj);

	switch (f->kind->shape) {
	case SHAPE_NUM:
	case SHAPE_BOOL:
		/* as the member would hold it */
		if (f->size == 4)
			return *(const uint32_t *)member == (uint32_t)f->def;
		if (f->size == 8)
			return *(const uint64_t *)member == f->def;
		if (f->size == 2)
			return *(const uint16_t *)member == (uint16_t)f->def;
		return *(const uint8_t *)member == (uint8_t)f->def;
	case SHAPE_TEXT:
		if (f->kind == &kind_resource)
			return !((const struct resource *)member)->path && !((const struct resource *)member)->fd;
		if (f->kind == &kind_bytes)
			return !*(GByteArray *const *)member || !(*(GByteArray *const *)member)->len;
		return !*(char *const *)member || !g_strcmp0(*(char *const *)member, f->text_def);
	case SHAPE_STRUCT:
		for (const struct field *g = f->sub->fields; g->name; g++)
			if (!field_is_default(g, member))
				return false;
		return true;
	case SHAPE_OPT:
		return !*(void *const *)member;
	case SHAPE_LIST:
		return !list_len(*(GPtrArray *const *)member);
	case SHAPE_EXTRAS:
		return !list_len(((const struct extras *)member)->list);
	case SHAPE_NONE:
		return true;
	}
	g_assert_not_reached();
}

bool field_set_text(const struct field *f, void *obj, const char *text, GError **err)
{
	if (!f->kind->from_text)
		return kerr_set(err, KERR_ARGS, "'%s' is not a plain value", f->name);
	return f->kind->from_text(f, field_at(f, obj), text, err);
}

char *field_text(const struct field *f, const void *obj)
{
	return f->kind->to_text ? f->kind->to_text(f, field_at(f, obj)) : NULL;
}

/* --- checks --- */
/* A value that is not the default must be one that its kind would read. */
static bool value_ok(const struct field *f, const void *obj, GError **err)
{
	g_autofree char *text = NULL;
	struct resource copy = { 0 };   /* the largest member a kind with text has */
	const char *s;
	char buf[FIELD_TEXT];
	bool ok;

	if (f->kind->shape != SHAPE_TEXT && field_num_ok(f, field_num(f, obj)))
		return true;
	if (f->kind == &kind_str) {
		s = field_peek(f, obj, buf);
		if (!s || (strlen(s) >= f->min && strlen(s) <= f->max && text_ok(s, strlen(s))))
			return true;
	}
	text = field_text(f, obj);
	if (!text)
		return true;
	ok = f->kind->from_text(f, &copy, text, err);
	f->kind->clear(f, &copy);
	return ok;
}

/* Where a struct stands in the one that is checked; the text is made when there is something to say. */
struct inside {
	const struct inside *up;
	const char *name;
	int index;                      /* -1: no list */
};

static void inside_path(const struct inside *in, GString *path)
{
	if (!in)
		return;
	inside_path(in->up, path);
	g_string_append(path, in->name);
	if (in->index >= 0)
		g_string_append_printf(path, "[%d]", in->index);
	g_string_append_c(path, '.');
}

/* A finding where the text has the member, or else under its name. */
static void G_GNUC_PRINTF(6, 7) found(struct report *r, const void *obj, const struct inside *in, const struct field *f,
	enum kerr code, const char *fmt, ...)
{
	g_autoptr(GString) path = g_string_new(NULL);
	g_autofree char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	inside_path(in, path);
	g_string_append(path, f->name);
	if (g_hash_table_contains(r->where, obj))
		report_error(r, obj, f->name, code, NULL, "%s", text);
	else
		report_at(r, FINDING_ERROR, code, path->str, 0, 0, NULL, text);
}

/* Whether a required member isn't there. A number may well be given as its default. */
static bool is_missing(const struct field *f, const void *obj)
{
	if (!(f->flags & REQUIRED) || f->text_def)
		return false;
	if (f->kind == &kind_enum)
		return !field_num(f, obj) && !*f->names[0];
	return f->kind->shape == SHAPE_TEXT || f->kind->shape == SHAPE_OPT || f->kind->shape == SHAPE_LIST;
}

/* given: the struct is there, so what it requires must be. */
static void check(const struct schema *s, const void *obj, bool given, const struct inside *in, struct report *r)
{
	for (const struct field *f = s->fields; f->name; f++) {
		const void *member = field_at(f, obj);
		struct inside below = { in, f->name, -1 };
		unsigned findings = r->errors;
		g_autoptr(GError) e = NULL;
		const GPtrArray *list;

		if (f->kind->shape == SHAPE_NONE)
			continue;
		if (f->kind->shape == SHAPE_STRUCT) {
			check(f->sub, member, f->flags & REQUIRED || (f->path && !strcmp(f->path, ".") && given) ||
				!field_is_default(f, obj), &below, r);
			continue;
		}
		if (field_is_default(f, obj)) {
			if (given && is_missing(f, obj))
				found(r, obj, in, f, KERR_ARGS, "'%s' is missing", f->name);
			continue;
		}
		switch (f->kind->shape) {
		case SHAPE_OPT:
			check(f->sub, *(void *const *)member, true, &below, r);
			break;
		case SHAPE_LIST:
			list = *(GPtrArray *const *)member;
			if (list->len > f->max)
				found(r, obj, in, f, KERR_LIMIT, "%u entries, at most %" PRIu64 " are possible", list->len, f->max);
			for (unsigned i = 0; i < list->len && r->errors < findings + REPORT_MAX; i++) {
				below.index = (int)i;
				check(f->sub, list->pdata[i], true, &below, r);
			}
			break;
		case SHAPE_EXTRAS:
			if (!extras_ok(member, &e))
				found(r, obj, in, f, (enum kerr)e->code, "%s", e->message);
			break;
		default:
			if (!value_ok(f, obj, &e))
				found(r, obj, in, f, (enum kerr)e->code, "%s", e->message);
		}
	}
	if (s->check)
		s->check(obj, r);
}

void schema_check_report(const struct schema *s, const void *obj, struct report *r)
{
	check(s, obj, true, NULL, r);
}

bool schema_check(const struct schema *s, const void *obj, GError **err)
{
	AUTO(report) r = report_new(NULL, false, true);

	schema_check_report(s, obj, r);
	return report_ok(r, err);
}

/* --- did you mean --- */
#define WORD_MAX 32

/* Insertions, deletions, replacements and swaps of neighbours that make b of a. */
static unsigned distance(const char *a, size_t n, const char *b, size_t m)
{
	unsigned row[3][WORD_MAX + 1];

	for (unsigned j = 0; j <= m; j++)
		row[0][j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];

		now[0] = i;
		for (unsigned j = 1; j <= m; j++) {
			now[j] = MIN(MIN(now[j - 1], last[j]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = MIN(now[j], before[j - 2] + 1);
		}
	}
	return row[n % 3][m];
}

void nearest_try(struct nearest *near, const char *candidate)
{
	size_t n = strlen(near->word), m = strlen(candidate);
	unsigned d;

	if (n < 2 || n > WORD_MAX || m < 2 || m > WORD_MAX)
		return;
	d = !g_ascii_strcasecmp(near->word, candidate) ? 0 : distance(near->word, n, candidate, m);
	if (d > MAX(1, n / 3) || (near->best && d >= near->dist))
		return;
	near->best = candidate;
	near->dist = d;
}
