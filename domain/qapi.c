/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The tables as QEMU's SchemaInfo: commands, events, objects, enums, arrays, builtins. As there, names of types that are
 * not builtin mean nothing: they are numbers in the order of first use, so clients cannot come to rely on them.
 *
 * An argument that is not REQUIRED is optional. A reply has all its members but text and structs that are not set, so
 * those are optional there.
 */
#include "domain/qapi.h"

#include <string.h>

#include "domain/commands_qmp.h"

struct describing {
	json_object *list;
	GHashTable *types;      /* name and use of what is described already: to its number */
	unsigned n;
};

static const char *object_type(struct describing *d, const struct schema *s, bool reply);

static json_object *info(struct describing *d, const char *name, const char *meta)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(name));
	json_object_object_add(o, "meta-type", json_object_new_string(meta));
	json_object_array_add(d->list, o);
	return o;
}

/* The number that stands for `key`; *fresh: it is to be described. */
static const char *number_of(struct describing *d, const char *key, bool *fresh)
{
	const char *known = g_hash_table_lookup(d->types, key);
	char *name;

	*fresh = !known;
	if (known)
		return known;
	name = g_strdup_printf("%u", d->n++);
	g_hash_table_insert(d->types, g_strdup(key), name);
	return name;
}

static const char *array_of(struct describing *d, const char *element)
{
	g_autofree char *name = g_strdup_printf("[%s]", element);
	const char *known = g_hash_table_lookup(d->types, name);

	if (known)
		return known;
	g_hash_table_insert(d->types, g_strdup(name), g_strdup(name));
	json_object_object_add(info(d, name, "array"), "element-type", json_object_new_string(element));
	return g_hash_table_lookup(d->types, name);
}

static const char *enum_type(struct describing *d, const struct field *f)
{
	g_autofree char *key = g_strdup_printf("enum %p", (const void *)f->names);
	bool fresh;
	const char *name = number_of(d, key, &fresh);
	json_object *o, *members, *values;

	if (!fresh)
		return name;
	o = info(d, name, "enum");
	members = json_object_new_array();
	values = json_object_new_array();
	for (uint64_t i = 0; i <= f->max; i++) {
		json_object *m;

		if (!f->names[i] || !*f->names[i])
			continue;
		m = json_object_new_object();
		json_object_object_add(m, "name", json_object_new_string(f->names[i]));
		json_object_array_add(members, m);
		json_object_array_add(values, json_object_new_string(f->names[i]));
	}
	json_object_object_add(o, "members", members);
	json_object_object_add(o, "values", values);
	return name;
}

static const char *field_type(struct describing *d, const struct field *f, bool reply)
{
	switch (f->kind->shape) {
	case SHAPE_BOOL:
		return "bool";
	case SHAPE_NUM:
		return f->kind == &kind_enum ? enum_type(d, f) : "int";
	case SHAPE_STRUCT:
	case SHAPE_OPT:
		return object_type(d, f->sub, reply);
	case SHAPE_LIST:
		return array_of(d, object_type(d, f->sub, reply));
	default:
		if (f->kind == &kind_json)
			return f->attr && !strcmp(f->attr, "[str]") ? array_of(d, "str") : "any";
		return "str";
	}
}

static bool is_optional(const struct field *f, bool reply)
{
	if (f->flags & REQUIRED)
		return false;
	if (!reply || f->flags & UNSAID)
		return true;
	return f->kind->shape == SHAPE_TEXT || f->kind->shape == SHAPE_OPT || (f->kind == &kind_enum && !*f->names[0] && !f->def);
}

static const char *object_type(struct describing *d, const struct schema *s, bool reply)
{
	g_autofree char *key = g_strdup_printf("%s %p", reply ? "reply" : "arguments", (const void *)s);
	bool fresh;
	const char *name = number_of(d, s ? key : "empty", &fresh);
	json_object *o, *members;

	if (!fresh)
		return name;
	o = info(d, name, "object");
	members = json_object_new_array();
	json_object_object_add(o, "members", members);
	for (const struct field *f = s ? s->fields : NULL; f && f->name; f++) {
		json_object *m = json_object_new_object();

		json_object_object_add(m, "name", json_object_new_string(f->key ? f->key : f->name));
		if (is_optional(f, reply))
			json_object_object_add(m, "default", NULL);
		json_object_object_add(m, "type", json_object_new_string(field_type(d, f, reply)));
		json_object_array_add(members, m);
	}
	return name;
}

static const char *reply_type(struct describing *d, const struct command *c)
{
	const char *one = c->flags & CMD_ANY ? "any" : object_type(d, c->reply, true);

	return c->flags & CMD_LIST ? array_of(d, one) : one;
}

static void command(struct describing *d, const struct command *c)
{
	json_object *o = info(d, c->name, "command");

	json_object_object_add(o, "arg-type", json_object_new_string(object_type(d, c->args, false)));
	json_object_object_add(o, "ret-type", json_object_new_string(reply_type(d, c)));
	json_object_object_add(o, "allow-oob", json_object_new_boolean((c->flags & CMD_READ) != 0));
}

json_object *qapi_describe(void)
{
	static const struct { const char *name, *json; } builtins[] = { { "str", "string" }, { "int", "int" }, { "number", "number" },
		{ "bool", "boolean" }, { "null", "null" }, { "any", "value" } };
	struct describing d = { json_object_new_array(), g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free), 0 };

	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		if (c->where == IN_WORKER && !(c->flags & CMD_INTERNAL))
			command(&d, c);
	for (const struct event_row *e = worker_events; e->name; e++)
		json_object_object_add(info(&d, e->name, "event"), "arg-type", json_object_new_string(object_type(&d, e->data, true)));
	for (size_t i = 0; i < G_N_ELEMENTS(builtins); i++)
		json_object_object_add(info(&d, builtins[i].name, "builtin"), "json-type", json_object_new_string(builtins[i].json));
	g_hash_table_unref(d.types);
	return d.list;
}
