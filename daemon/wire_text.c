/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages as text: framing and parsing. */
#include "daemon/wire_text.h"

#include <glib.h>
#include <string.h>

#define JSON_DEPTH 64

/* --- where it ends --- */

/* In no JSON text, not even in a string. */
static bool is_foreign(char c, bool in_string)
{
	unsigned char u = (unsigned char)c;

	return u >= 0xfe || (u < ' ' && (in_string || !strchr("\t\r\n", c) || !c));
}

static bool ends_behind(struct wire_frame *f, char c)
{
	if (is_foreign(c, f->quote))
		return true;
	if (f->escaped) {
		f->escaped = false;
	} else if (f->quote) {
		f->escaped = c == '\\';
		if (c == f->quote)
			f->quote = 0;
	} else if (c == '{' || c == '[') {
		return ++f->depth > JSON_DEPTH;
	} else if (c == '}' || c == ']') {
		return !f->depth || !--f->depth;
	} else if ((c == '"' || c == '\'') && f->depth) {
		f->quote = c;
	}
	return false;
}

bool wire_frame_next(struct wire_frame *f, const char *data, size_t len, size_t *end, size_t *next)
{
	while (f->scanned < len) {
		size_t at = f->scanned++;
		bool line = data[at] == '\n' && !f->depth;

		if (!line && !ends_behind(f, data[at]))
			continue;
		*end = line ? at : at + 1;
		*next = at + 1;
		*f = (struct wire_frame){ .scanned = *next };
		return true;
	}
	return false;
}

/* --- what it says --- */

bool wire_is_blank(const char *s, size_t n)
{
	while (n && (*s == ' ' || *s == '\t' || *s == '\r'))
		s++, n--;
	return !n;
}

/* How many members the text of a message has; it may be no JSON at all. *constant: NaN or Infinity is in it, which the parser takes and
 * JSON has not. */
static size_t members_written(const char *line, size_t len, bool *constant)
{
	size_t n = 0;
	bool text = false;

	*constant = false;
	for (size_t i = 0; i < len; i++) {
		char c = line[i];

		if (c == '"')
			text = !text;
		else if (text)
			i += c == '\\';
		else if (c == ':')
			n++;
		else if (c == 'N' || c == 'I')
			*constant = true;
	}
	return n;
}

/* How many came out of it: of two with one name, one. The parser has bounded the depth. */
static size_t members_read(json_object *o)
{
	size_t n = 0;

	if (json_object_is_type(o, json_type_array))
		for (size_t i = 0; i < json_object_array_length(o); i++)
			n += members_read(json_object_array_get_idx(o, i));
	if (!json_object_is_type(o, json_type_object))
		return n;
	json_object_object_foreach(o, key, v) {
		(void)key;
		n += 1 + members_read(v);
	}
	return n;
}

static json_object *parse(const char *line, size_t len, const char **why)
{
	struct json_tokener *tok;
	json_object *o;
	size_t written;
	bool constant;

	*why = "not valid JSON";
	if (memchr(line, 0, len) || !g_utf8_validate(line, (gssize)len, NULL)) {
		*why = "not valid UTF-8";
		return NULL;
	}
	tok = json_tokener_new_ex(JSON_DEPTH);
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, line, (int)len);
	if (json_tokener_get_error(tok) != json_tokener_success || !wire_is_blank(line + json_tokener_get_parse_end(tok), len - json_tokener_get_parse_end(tok)))
		g_clear_pointer(&o, json_object_put);
	json_tokener_free(tok);
	written = members_written(line, len, &constant);
	if (o && constant) {
		g_clear_pointer(&o, json_object_put);
	} else if (o && written != members_read(o)) {
		*why = "not valid JSON: duplicate key";
		g_clear_pointer(&o, json_object_put);
	}
	if (o && !json_object_is_type(o, json_type_object)) {
		*why = "not a JSON object";
		g_clear_pointer(&o, json_object_put);
	}
	return o;
}

/* The same with all strings in double quotes. New. */
static GString *requote(const char *text, size_t len)
{
	GString *s = g_string_sized_new(len + 16);
	char quote = 0;

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (!quote && (c == '"' || c == '\'')) {
			quote = c;
			g_string_append_c(s, '"');
		} else if (quote && c == '\\' && i + 1 < len) {
			if (text[++i] != '\'')
				g_string_append_c(s, c);
			g_string_append_c(s, text[i]);
		} else if (quote && c == quote) {
			quote = 0;
			g_string_append_c(s, '"');
		} else if (quote && c == '"') {
			g_string_append(s, "\\\"");
		} else {
			g_string_append_c(s, c);
		}
	}
	return s;
}

json_object *wire_parse(const char *text, size_t len, bool single, const char **why)
{
	g_autoptr(GString) plain = single && memchr(text, '\'', len) ? requote(text, len) : NULL;

	return plain ? parse(plain->str, plain->len, why) : parse(text, len, why);
}
