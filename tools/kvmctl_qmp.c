/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvmctl qmp: any command of a machine, its arguments as JSON or as words. */
#include <string.h>

#include "domain/commands_watch.h"
#include "tools/kvmctl.h"

/* NULL and *err unless text is one JSON value. */
static json_object *json_of(const char *text, GError **err)
{
	json_tokener *t = json_tokener_new();
	size_t len = strlen(text);
	json_object *o = json_tokener_parse_ex(t, text, (int)len + 1);
	enum json_tokener_error bad = json_tokener_get_error(t);
	size_t used = json_tokener_get_parse_end(t);

	json_tokener_free(t);
	if (bad == json_tokener_success && used >= len)
		return o;
	json_object_put(o);
	kerr_set(err, KERR_ARGS, "'%s' is not JSON: %s", text, bad == json_tokener_success ? "something follows it" : json_tokener_error_desc(bad));
	return NULL;
}

/* A value that is JSON is taken for it, anything else for a string. */
static json_object *value_of(const char *text)
{
	json_object *o = strcmp(text, "null") ? json_of(text, NULL) : NULL;

	return o || !strcmp(text, "null") ? o : json_object_new_string(text);
}

static bool add_word(json_object *args, const char *text, GError **err)
{
	const char *is = strchr(text, '=');

	if (*text == '{') {
		json_object *o = json_of(text, err);

		if (!o)
			return false;
		json_object_object_foreach(o, key, v)
			json_object_object_add(args, key, json_object_get(v));
		json_object_put(o);
		return true;
	}
	if (!is || is == text)
		return kerr_set(err, KERR_ARGS, "'%s' is neither a JSON object nor key=value", text);
	g_autofree char *key = g_strndup(text, (gsize)(is - text));

	json_object_object_add(args, key, value_of(is + 1));
	return true;
}

/* A whole message: its command, and arguments into args. */
static char *read_message(const char *text, json_object *args, GError **err)
{
	json_object *o = json_of(text, err), *v;
	char *name = NULL;

	if (!o)
		return NULL;
	if (json_object_object_get_ex(o, "execute", &v) && json_object_is_type(v, json_type_string))
		name = g_strdup(json_object_get_string(v));
	else
		kerr_set(err, KERR_ARGS, "the message has no \"execute\"");
	if (name && json_object_object_get_ex(o, "arguments", &v) && json_object_is_type(v, json_type_object)) {
		json_object_object_foreach(v, key, value)
			json_object_object_add(args, key, json_object_get(value));
	}
	json_object_put(o);
	return name;
}

bool qmp_run(struct call *c, int *status, GError **err)
{
	const struct ask_qmp *a = c->args;
	json_object *args = json_object_new_object(), *reply = NULL;
	g_autofree char *name = *a->command == '{' ? read_message(a->command, args, err) : g_strdup(a->command);
	struct client *cl = NULL;
	bool ok = name;

	for (unsigned i = 0; ok && a->arguments && i < a->arguments->len; i++)
		ok = add_word(args, ((const struct qmp_word *)a->arguments->pdata[i])->text, err);
	ok = ok && (cl = client_new(c, err));
	if (!ok) {
		json_object_put(args);
		return false;
	}
	if (!json_object_object_length(args))
		g_clear_pointer(&args, json_object_put);
	reply = client_call(cl, name, c->vm, args, NULL, err);
	if (reply)
		puts(json_object_to_json_string_ext(reply, JSON_C_TO_STRING_NOSLASHESCAPE | (c->output == OUT_JSONL ? JSON_C_TO_STRING_PLAIN : JSON_C_TO_STRING_PRETTY)));
	json_object_put(reply);
	client_free(cl);
	return reply;
}
