/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command table: each row has code and words, names are told once. */
#include <string.h>

#include "daemon/control.h"
#include "domain/commands_kvmd.h"
#include "domain/event_names.h"
#include "domain/json.h"

static unsigned bindings(const char *name)
{
	unsigned n = 0;

	for (size_t i = 0; kvmd_bindings[i]; i++)
		for (const struct command_binding *b = kvmd_bindings[i]; b->name; b++)
			n += !strcmp(b->name, name);
	return n;
}

static void test_bindings(void)
{
	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		g_assert_cmpuint(bindings(c->name), ==, c->where == IN_KVMD ? 1 : 0);
	for (size_t i = 0; kvmd_bindings[i]; i++)
		for (const struct command_binding *b = kvmd_bindings[i]; b->name; b++)
			g_assert_nonnull(command_by_name(b->name));
}

/* kvmd does for a machine's clients what it opens something for, and that only. */
static void test_opens(void)
{
	unsigned rows = 0, bound = 0;

	for (const struct command *c = command_next(NULL); c; c = command_next(c)) {
		if (!(c->flags & CMD_OPENS))
			continue;
		g_assert_true(c->where == IN_WORKER && (c->flags & CMD_VM) && !(c->flags & (CMD_READ | CMD_FDS | CMD_INTERNAL)));
		rows++;
	}
	for (size_t i = 0; kvmd_opening[i]; i++)
		for (const struct command_binding *b = kvmd_opening[i]; b->name; b++) {
			g_assert_true(command_by_name(b->name)->flags & CMD_OPENS);
			bound++;
		}
	g_assert_cmpuint(rows, ==, bound);
}

static void test_names(void)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal), verbs = g_hash_table_new(g_str_hash, g_str_equal);

	for (const struct command *c = command_next(NULL); c; c = command_next(c)) {
		if (!g_hash_table_add(names, (char *)c->name))
			g_error("two rows are named '%s'", c->name);
		if (c->verb && !g_hash_table_add(verbs, (char *)c->verb))
			g_error("two rows have the verb '%s'", c->verb);
	}
}

static void check_fields(const struct command *c, const struct schema *s)
{
	bool optional = false;

	for (const struct field *f = s ? s->fields : NULL; f && f->name; f++) {
		if (!f->doc || !*f->doc)
			g_error("%s: field '%s' has no doc", c->name, f->name);
		if (!(f->flags & POSITIONAL))
			continue;
		if (optional && (f->flags & REQUIRED))
			g_error("%s: '%s' is required, but stands after one that is not", c->name, f->name);
		optional |= !(f->flags & REQUIRED);
	}
}

static void test_words(void)
{
	for (const struct command *c = command_next(NULL); c; c = command_next(c)) {
		if (!c->doc || !*c->doc)
			g_error("'%s' has no doc", c->name);
		if (c->verb && !c->example)
			g_error("'%s' has no example", c->name);
		if (c->verb && !strstr(c->example, c->verb))
			g_error("the example of '%s' does not show it", c->verb);
		check_fields(c, c->args);
		check_fields(c, c->reply);
	}
}

/* --live, --config and --current read the same with every command that has them. */
static void test_scopes(void)
{
	static const char *const words[][2] = { { "live", "of the running machine" }, { "config", "of the definition, from its next start" },
		{ "current", "of the machine if it runs, else of its definition" } };
	unsigned seen = 0;

	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
			const struct field *f = c->args ? schema_field(c->args, words[i][0]) : NULL;

			if (!f)
				continue;
			seen++;
			if (!g_str_has_prefix(f->doc, words[i][1]))
				g_error("%s: --%s: '%s'", c->name, words[i][0], f->doc);
		}
	g_assert_cmpuint(seen, >=, 3 * 12);
}

/* A mistyped name would be waited for for ever; one of another version may come. */
static void test_events(void)
{
	g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);

	for (const struct event_row *e = event_next(NULL); e; e = event_next(e)) {
		g_autofree char *low = g_ascii_strdown(e->name, -1);

		g_assert_true(g_hash_table_add(names, (void *)(uintptr_t)e->name));
		g_assert_nonnull(e->doc);
		g_assert_null(event_meant(e->name));
		g_assert_cmpstr(event_meant(low), ==, e->name);
	}
	g_assert_true(g_hash_table_contains(names, "STOP") && g_hash_table_contains(names, "STARTED"));
	g_assert_cmpstr(event_meant("STOPED"), ==, "STOPPED");
	g_assert_null(event_meant("SOMETHING_ELSE"));
}

/* Who asks in JSON knows the command, not the struct behind it. */
static void test_blame(void)
{
	for (const struct command *c = command_next(NULL); c; c = command_next(c)) {
		json_object *o = json_tokener_parse("{\"no-such-key\":1}");
		g_autofree char *want = g_strdup_printf("%s.no-such-key: unknown", c->name);
		g_autoptr(GError) err = NULL;

		if (c->args) {
			void *args = schema_new(c->args);

			g_assert_false(json_to_struct(c->args, args, o, &err));
			g_assert_false(command_blame(c, &err));
			g_assert_true(g_str_has_prefix(err->message, want));
			g_assert_false(command_blame(c, &err));
			g_assert_true(g_str_has_prefix(err->message, want));
			schema_free(c->args, args);
		}
		json_object_put(o);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/commands/bindings", test_bindings);
	g_test_add_func("/commands/opens", test_opens);
	g_test_add_func("/commands/names", test_names);
	g_test_add_func("/commands/words", test_words);
	g_test_add_func("/commands/scopes", test_scopes);
	g_test_add_func("/commands/events", test_events);
	g_test_add_func("/commands/blame", test_blame);
	return g_test_run();
}
