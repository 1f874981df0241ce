/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as JSON: what is accepted is written and read again to an equal struct. */
#include <string.h>

#include "domain/json.h"
#include "tests/domain/sample.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct sample *read_json(const char *text, size_t n)
{
	json_tokener *tok = json_tokener_new_ex(32);
	json_object *j = json_tokener_parse_ex(tok, text, (int)n);
	struct sample *s = NULL;

	if (j && json_tokener_get_error(tok) == json_tokener_success) {
		s = schema_new(&sample_schema);
		if (!json_to_struct(&sample_schema, s, j, NULL)) {
			schema_free(&sample_schema, s);
			s = NULL;
		}
	}
	json_object_put(j);
	json_tokener_free(tok);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct sample *s, *again;
	json_object *j;
	const char *text;

	if (n > 1 << 20)
		return 0;
	s = read_json((const char *)data, n);
	if (!s)
		return 0;
	j = json_from_struct(&sample_schema, s, JSON_SECRETS);
	text = json_object_to_json_string_ext(j, JSON_C_TO_STRING_PLAIN);
	again = read_json(text, strlen(text));
	g_assert_nonnull(again);
	g_assert_true(schema_equal(&sample_schema, s, again));
	json_object_put(j);
	schema_free(&sample_schema, s);
	schema_free(&sample_schema, again);
	return 0;
}
