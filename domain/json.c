/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * JSON over field tables. Numbers stay exact to 64 bits, sizes are bytes, enums and other text are
 * strings, resources a path or {"path", "fd"}, kept XML an array of its pieces. An optional array
 * or object may be null, which is the same as leaving it out.
 */
#include "domain/json.h"

#include <inttypes.h>
#include <string.h>

static const char *key_of(const struct field *f)
{
	return f->key ? f->key : f->name;
}

/* --- out --- */
static json_object *from_value(const struct field *f, const void *obj, unsigned flags);

json_object *json_from_struct(const struct schema *s, const void *obj, unsigned flags)
{
	json_object *j = json_object_new_object();

	for (const struct field *f = s->fields; f->name; f++) {
		json_object *v;

		if (f->kind->shape == SHAPE_NONE || (f->flags & SECRET && !(flags & JSON_SECRETS)) ||
		    (field_is_default(f, obj) && !(f->flags & REQUIRED) && (f->flags & UNSAID || !(flags & JSON_ALL))))
			continue;
		if (f->kind->shape == SHAPE_EXTRAS && field_is_default(f, obj))
			continue;
		v = from_value(f, obj, flags);
		if (v)
			json_object_object_add(j, key_of(f), v);
	}
	return j;
}

static json_object *from_extras(const struct extras *x)
{
	json_object *j = json_object_new_array();

	for (unsigned i = 0; x->list && i < x->list->len; i++) {
		const struct extra *p = x->list->pdata[i];
		json_object *o = json_object_new_object();

		json_object_object_add(o, "at", json_object_new_string(p->at));
		if (p->after)
			json_object_object_add(o, "after", json_object_new_string(p->after));
		if (p->nth)
			json_object_object_add(o, "nth", json_object_new_uint64(p->nth));
		json_object_object_add(o, "xml", json_object_new_string(p->xml));
		json_object_array_add(j, o);
	}
	return j;
}

static json_object *from_resource(const struct resource *r)
{
	json_object *o;

	if (!r->fd)
		return r->path ? json_object_new_string(r->path) : NULL;
	o = json_object_new_object();
	if (r->path)
		json_object_object_add(o, "path", json_object_new_string(r->path));
	json_object_object_add(o, "fd", json_object_new_string(r->fd));
	return o;
}

/* NULL: there is no value (a string that isn't set) */
static json_object *from_value(const struct field *f, const void *obj, unsigned flags)
{
	const void *member = field_at(f, obj);
	g_autofree char *text = NULL;
	const GPtrArray *list;
	json_object *j;

	switch (f->kind->shape) {
	case SHAPE_BOOL:
		return json_object_new_boolean(field_num(f, obj) != 0);
	case SHAPE_NUM:
		if (f->kind == &kind_int)
			return json_object_new_int64((int64_t)field_num(f, obj));
		if (f->kind != &kind_enum)
			return json_object_new_uint64(field_num(f, obj));
		/* "not given" is no value */
		if (field_num_ok(f, field_num(f, obj)) && !*f->names[field_num(f, obj)] && !f->def)
			return NULL;
		break;
	case SHAPE_TEXT:
		if (f->kind == &kind_resource)
			return from_resource(member);
		if (f->kind == &kind_json)
			return *(char *const *)member ? json_tokener_parse(*(char *const *)member) : NULL;
		break;
	case SHAPE_STRUCT:
		return json_from_struct(f->sub, member, flags);
	case SHAPE_OPT:
		return *(void *const *)member ? json_from_struct(f->sub, *(void *const *)member, flags) : NULL;
	case SHAPE_LIST:
		list = *(GPtrArray *const *)member;
		j = json_object_new_array();
		for (unsigned i = 0; list && i < list->len; i++)
			json_object_array_add(j, json_from_struct(f->sub, list->pdata[i], flags));
		return j;
	case SHAPE_EXTRAS:
		return from_extras(member);
	case SHAPE_NONE:
		return NULL;
	}
	text = field_text(f, obj);
	return text ? json_object_new_string(text) : NULL;
}

/* --- in --- */
/* The path is built while errors come back, so that reading what is right costs nothing. */
static bool wrong(GError **err, const char *key, const char *what)
{
	return kerr_set(err, KERR_ARGS, "%s: %s", key, what);
}

static bool prefixed(GError **err, const char *sep, const char *fmt, ...) G_GNUC_PRINTF(3, 4);
static bool prefixed(GError **err, const char *sep, const char *fmt, ...)
{
	g_autofree char *step = NULL;
	va_list ap;

	va_start(ap, fmt);
	step = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	g_prefix_error(err, "%s%s", step, sep);
	return false;
}

/* A string without zero bytes inside, or NULL. */
static const char *plain_string(json_object *j)
{
	const char *s;

	if (!json_object_is_type(j, json_type_string))
		return NULL;
	s = json_object_get_string(j);
	return strlen(s) == (size_t)json_object_get_string_len(j) ? s : NULL;
}

static bool to_struct(const struct schema *s, void *obj, json_object *j, GError **err);

static bool to_num(const struct field *f, void *obj, json_object *j, GError **err)
{
	bool negative;
	uint64_t v;

	if (!json_object_is_type(j, json_type_int))
		return wrong(err, key_of(f), f->kind == &kind_size ? "must be a whole number of bytes" : "must be a whole number");
	negative = json_object_get_int64(j) < 0;
	v = negative ? (uint64_t)json_object_get_int64(j) : json_object_get_uint64(j);
	if ((negative && f->kind != &kind_int) || (!negative && f->kind == &kind_int && v > INT64_MAX))
		return kerr_set(err, KERR_ARGS, "%s: %s is out of range", key_of(f), json_object_get_string(j));
	return field_set_num(f, obj, v, err) || prefixed(err, ": ", "%s", key_of(f));
}

static bool to_resource(const struct field *f, void *obj, json_object *j, GError **err)
{
	struct resource *r = field_at(f, obj);
	const char *text = plain_string(j);

	if (text)
		return field_set_text(f, obj, text, err) || prefixed(err, ": ", "%s", key_of(f));
	if (!json_object_is_type(j, json_type_object))
		return wrong(err, key_of(f), "must be a path or {\"path\", \"fd\"}");
	json_object_object_foreach(j, key, v) {
		text = plain_string(v);
		if (!text || (strcmp(key, "path") && strcmp(key, "fd")))
			return wrong(err, key_of(f), "must be a path or {\"path\", \"fd\"}");
		if (!strcmp(key, "path")) {
			if (!field_set_text(f, obj, text, err))
				return prefixed(err, ": ", "%s", key_of(f));
			continue;
		}
		if (!*text || strlen(text) > 255 || !text_ok(text, strlen(text)))
			return wrong(err, key_of(f), "'fd' is not a name");
		g_free(r->fd);
		r->fd = g_strdup(text);
	}
	return true;
}

static bool to_extras(const struct field *f, struct extras *x, json_object *j, GError **err)
{
	for (size_t i = 0; i < json_object_array_length(j); i++) {
		json_object *o = json_object_array_get_idx(j, i);
		const char *at = NULL, *after = NULL, *xml = NULL;
		uint64_t nth = 0;

		if (!json_object_is_type(o, json_type_object))
			return wrong(err, key_of(f), "must hold objects");
		json_object_object_foreach(o, key, v) {
			const char **to = !strcmp(key, "at") ? &at : !strcmp(key, "after") ? &after : !strcmp(key, "xml") ? &xml : NULL;

			if (to)
				*to = plain_string(v);
			else if (!strcmp(key, "nth") && json_object_is_type(v, json_type_int))
				nth = json_object_get_uint64(v);
			if ((to && !*to) || (!to && (strcmp(key, "nth") || nth > UINT_MAX)))
				return wrong(err, key_of(f), "a piece is \"at\", \"after\", \"nth\" and \"xml\"");
		}
		if (!at || !xml)
			return wrong(err, key_of(f), "a piece lacks \"at\" or \"xml\"");
		if (!extras_add(x, at, after, (unsigned)nth, xml))
			return wrong(err, key_of(f), "too many pieces");
	}
	return extras_ok(x, err) || prefixed(err, ": ", "%s", key_of(f));
}

static bool to_list(const struct field *f, GPtrArray **list, json_object *j, GError **err)
{
	if (json_object_array_length(j) > f->max)
		return kerr_set(err, KERR_LIMIT, "%s: %zu entries, at most %" PRIu64 " are possible", key_of(f),
			json_object_array_length(j), f->max);
	for (size_t i = 0; i < json_object_array_length(j); i++) {
		json_object *o = json_object_array_get_idx(j, i);
		void *item;

		if (!json_object_is_type(o, json_type_object))
			return kerr_set(err, KERR_ARGS, "%s[%zu]: must be an object", key_of(f), i);
		if (!*list)
			*list = g_ptr_array_new();
		item = schema_new(f->sub);
		g_ptr_array_add(*list, item);
		if (!to_struct(f->sub, item, o, err))
			return prefixed(err, ".", "%s[%zu]", key_of(f), i);
	}
	return true;
}

static bool to_value(const struct field *f, void *obj, json_object *j, GError **err)
{
	void *member = field_at(f, obj);
	const char *text;

	switch (f->kind->shape) {
	case SHAPE_BOOL:
		if (!json_object_is_type(j, json_type_boolean))
			return wrong(err, key_of(f), "must be true or false");
		return field_set_num(f, obj, (uint64_t)json_object_get_boolean(j), err);
	case SHAPE_NUM:
		if (f->kind != &kind_enum)
			return to_num(f, obj, j, err);
		break;
	case SHAPE_TEXT:
		if (f->kind == &kind_resource)
			return to_resource(f, obj, j, err);
		if (f->kind == &kind_json)
			return field_set_text(f, obj, json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE), err) ||
				prefixed(err, ": ", "%s", key_of(f));
		break;
	case SHAPE_OPT:
		if (!json_object_is_type(j, json_type_object))
			return wrong(err, key_of(f), "must be an object");
		if (!*(void **)member)
			*(void **)member = schema_new(f->sub);
		return to_struct(f->sub, *(void **)member, j, err) || prefixed(err, ".", "%s", key_of(f));
	case SHAPE_STRUCT:
		if (!json_object_is_type(j, json_type_object))
			return wrong(err, key_of(f), "must be an object");
		return to_struct(f->sub, member, j, err) || prefixed(err, ".", "%s", key_of(f));
	case SHAPE_LIST:
	case SHAPE_EXTRAS:
		if (!json_object_is_type(j, json_type_array))
			return wrong(err, key_of(f), "must be an array");
		f->kind->clear(f, member);
		return f->kind->shape == SHAPE_LIST ? to_list(f, member, j, err) : to_extras(f, member, j, err);
	case SHAPE_NONE:
		return wrong(err, key_of(f), "can't be set");
	}
	text = plain_string(j);
	if (!text)
		return wrong(err, key_of(f), "must be a string (without zero bytes)");
	return field_set_text(f, obj, text, err) || prefixed(err, ": ", "%s", key_of(f));
}

static const struct field *field_of_key(const struct schema *s, const char *key)
{
	for (const struct field *f = s->fields; f->name; f++)
		if (f->kind->shape != SHAPE_NONE && (!strcmp(key, key_of(f)) || !strcmp(key, f->name)))
			return f;
	return NULL;
}

static bool unknown_key(const struct schema *s, const char *key, GError **err)
{
	g_autofree char *word = g_utf8_make_valid(key, (gssize)strnlen(key, 80));
	struct nearest near = { .word = word };

	for (const struct field *f = s->fields; f->name; f++)
		if (f->kind->shape != SHAPE_NONE)
			nearest_try(&near, key_of(f));
	if (near.best)
		return kerr_set(err, KERR_ARGS, "%s: unknown; did you mean '%s'?", word, near.best);
	return kerr_set(err, KERR_ARGS, "%s: unknown", word);
}

static bool to_struct(const struct schema *s, void *obj, json_object *j, GError **err)
{
	json_object_object_foreach(j, key, v) {
		const struct field *f = field_of_key(s, key);

		if (!f)
			return unknown_key(s, key, err);
		/* null: as if it weren't there */
		if (v && !to_value(f, obj, v, err))
			return false;
	}
	for (const struct field *f = s->fields; f->name; f++)
		if (f->flags & REQUIRED && !json_object_object_get(j, key_of(f)) && !json_object_object_get(j, f->name))
			return wrong(err, key_of(f), "is missing");
	return true;
}

bool json_to_struct(const struct schema *s, void *obj, json_object *j, GError **err)
{
	if (!json_object_is_type(j, json_type_object))
		return wrong(err, s->name, "must be an object");
	return to_struct(s, obj, j, err) || prefixed(err, ".", "%s", s->name);
}

/* --- the schema itself --- */
struct describing {
	json_object *types;
	GHashTable *names;              /* schema to the name it is described by */
};

static const char *type_name(struct describing *d, const struct schema *s);

static void add_text(json_object *o, const char *key, const char *text)
{
	if (text)
		json_object_object_add(o, key, json_object_new_string(text));
}

static json_object *number(const struct field *f, uint64_t v)
{
	return f->kind == &kind_int ? json_object_new_int64((int64_t)v) : json_object_new_uint64(v);
}

static json_object *describe_field(struct describing *d, const struct field *f)
{
	static const struct {
		unsigned flag;
		const char *key;
	} marks[] = {
		{ REQUIRED, "required" }, { LIVE, "live" }, { SECRET, "secret" }, { POSITIONAL, "positional" },
		{ FILE_TEXT, "file-text" }, { RUNTIME, "runtime" },
	};
	json_object *o = json_object_new_object(), *values;

	add_text(o, "name", key_of(f));
	add_text(o, "type", f->kind->name);
	for (unsigned i = 0; i < G_N_ELEMENTS(marks); i++)
		if (f->flags & marks[i].flag)
			json_object_object_add(o, marks[i].key, json_object_new_boolean(1));
	if (f->kind == &kind_enum) {
		values = json_object_new_array();
		for (uint64_t i = 0; i <= f->max; i++)
			if (f->names[i] && *f->names[i])
				json_object_array_add(values, json_object_new_string(f->names[i]));
		json_object_object_add(o, "values", values);
		if (f->names[f->def] && *f->names[f->def])
			add_text(o, "default", f->names[f->def]);
	} else if (f->kind->shape == SHAPE_NUM) {
		json_object_object_add(o, "bits", json_object_new_uint64(8 * f->size));
		json_object_object_add(o, "min", number(f, f->min));
		json_object_object_add(o, "max", number(f, f->max));
		json_object_object_add(o, "default", number(f, f->def));
	} else if (f->kind->shape == SHAPE_TEXT) {
		if (f->kind == &kind_str || f->kind == &kind_bytes || f->kind == &kind_resource) {
			json_object_object_add(o, "min-length", number(f, f->min));
			json_object_object_add(o, "max-length", number(f, f->max));
		}
		add_text(o, "default", f->text_def);
	} else if (f->kind->shape == SHAPE_LIST) {
		json_object_object_add(o, "max-entries", number(f, f->max));
	}
	if (f->sub)
		add_text(o, "struct", type_name(d, f->sub));
	add_text(o, "doc", f->doc);
	return o;
}

static json_object *describe(struct describing *d, const struct schema *s)
{
	json_object *o = json_object_new_object(), *fields = json_object_new_array();

	add_text(o, "doc", s->doc);
	json_object_object_add(o, "fields", fields);
	for (const struct field *f = s->fields; f->name; f++)
		if (f->kind->shape != SHAPE_NONE)
			json_object_array_add(fields, describe_field(d, f));
	return o;
}

static const char *type_name(struct describing *d, const struct schema *s)
{
	char *name = g_hash_table_lookup(d->names, s);

	if (name)
		return name;
	/* two schemas may have one element's name: <source> of a disk and of an interface */
	name = g_strdup(s->name);
	for (unsigned n = 2; json_object_object_get_ex(d->types, name, NULL); n++) {
		g_free(name);
		name = g_strdup_printf("%s-%u", s->name, n);
	}
	g_hash_table_insert(d->names, (void *)(uintptr_t)s, name);
	json_object_object_add(d->types, name, NULL);   /* taken, should it hold itself */
	json_object_object_add(d->types, name, describe(d, s));
	return name;
}

json_object *json_describe(const struct schema *s)
{
	struct describing d = { json_object_new_object(), g_hash_table_new_full(NULL, NULL, NULL, g_free) };
	json_object *o = json_object_new_object();

	add_text(o, "struct", type_name(&d, s));
	json_object_object_add(o, "types", d.types);
	g_hash_table_unref(d.names);
	return o;
}
