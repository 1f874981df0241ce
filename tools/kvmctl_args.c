/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From argv to a command with its arguments: options are the fields of the command's schema. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "domain/doc.h"
#include "domain/xml.h"
#include "tools/kvmctl.h"

const char *const output_names[OUT_N] = { "text", "json", "jsonl" };

/* Options that stand before or after the verb; those with a value, for finding the verb. */
static const char *const everywhere[] = { "output", "root", "connect", "quiet", "help" };
static const char *const valued[] = { "-o", "--output", "--root", "-c", "--connect", NULL };

static bool is_about_vm(const struct command *c)
{
	return (c->flags & CMD_VM) || c->where == IN_WORKER;
}

/* Its words are all names of files: validate. */
static bool takes_files(const struct command *c)
{
	return c->where == IN_CLIENT && !(c->flags & CMD_VM) && c->args && c->args->fields->flags & POSITIONAL;
}

char *option_name(const struct field *f)
{
	return g_strdelimit(g_strdup(f->name), "_", '-');
}

/* --- the nearest verb --- */

static unsigned distance(const char *a, const char *b)
{
	size_t n = strlen(b);
	g_autofree unsigned *row = g_new(unsigned, n + 1);

	for (size_t j = 0; j <= n; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; a[i - 1]; i++) {
		unsigned diagonal = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= n; j++) {
			unsigned up = row[j], cost = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = up;
			row[j] = MIN(cost, MIN(up, row[j - 1]) + 1);
		}
	}
	return row[n];
}

static bool unknown_verb(const char *verb, GError **err)
{
	const char *near = NULL;
	unsigned best = 4;

	for (const struct command *c = command_next(NULL); c && strlen(verb) < 100; c = command_next(c))
		if (c->verb && distance(verb, c->verb) < best) {
			best = distance(verb, c->verb);
			near = c->verb;
		}
	return near ? kerr_set(err, KERR_ARGS, "there is no verb '%s'; did you mean '%s'?", verb, near) :
		kerr_set(err, KERR_ARGS, "there is no verb '%s'; kvmctl --help lists them", verb);
}

/* --- help --- */

static char *upper(const char *s)
{
	return g_strdelimit(g_ascii_strup(s, -1), "_", '-');
}

static void usage_line(const struct command *c, GString *out)
{
	g_string_append_printf(out, "kvmctl %s%s", c->verb, is_about_vm(c) ? " DOMAIN" : "");
	for (const struct field *f = c->args ? c->args->fields : NULL; f && f->name; f++) {
		g_autofree char *name = upper(f->name);

		if (f->flags & POSITIONAL)
			g_string_append_printf(out, f->flags & REQUIRED ? " %s%s" : " [%s%s]", f->flags & FILE_TEXT ? "FILE" : name, f->kind == &kind_list ? "…" : "");
	}
	if (takes_files(c))
		g_string_append(out, "…");
	for (const struct field *f = c->args ? c->args->fields : NULL; f && f->name; f++) {
		g_autofree char *opt = option_name(f), *name = upper(f->name);

		if (!(f->flags & POSITIONAL))
			g_string_append_printf(out, f->kind->shape == SHAPE_BOOL ? " [--%s]" : " [--%s %s]", opt, name);
	}
	g_string_append_c(out, '\n');
}

void help_verb(const struct command *c, GString *out)
{
	g_string_append(out, "Usage: ");
	usage_line(c, out);
	g_string_append_printf(out, "\n  %c%s.\n", g_ascii_toupper(c->doc[0]), c->doc + 1);
	if (c->more)
		g_string_append_printf(out, "\n  %s\n", c->more);
	g_string_append(out, "\nOptions:\n");
	for (const struct field *f = c->args ? c->args->fields : NULL; f && f->name; f++) {
		g_autofree char *opt = option_name(f), *name = upper(f->name), *type = doc_type(f);
		char letter[8] = "";

		if (f->letter)
			snprintf(letter, sizeof letter, "-%c, ", f->letter);
		if (f->flags & POSITIONAL && f->kind == &kind_enum)
			g_string_append_printf(out, "  %-22s %s (%s)\n", name, f->doc, type);
		else if (f->flags & POSITIONAL)
			g_string_append_printf(out, "  %-22s %s\n", f->flags & FILE_TEXT ? "FILE" : name, f->doc);
		else if (f->kind->shape == SHAPE_BOOL)
			g_string_append_printf(out, "  %s--%-*s %s\n", letter, f->letter ? 16 : 20, opt, f->doc);
		else
			g_string_append_printf(out, "  %s--%s=%-*s %s (%s)\n", letter, opt, (int)MAX(1, (f->letter ? 15 : 19) - (int)strlen(opt)), name, f->doc, type);
	}
	g_string_append(out,
		"  -o, --output=FORMAT    text, json or jsonl\n"
		"  -c, --connect=SOCKET   kvmd's control.sock\n"
		"  --root=DIR             that of the kvmd started with --root DIR (or KVMD_ROOT)\n"
		"  -q, --quiet            say nothing when all went well\n");
	if (c->example) {
		g_auto(GStrv) lines = g_strsplit(c->example, "\n", -1);

		g_string_append(out, "\nExamples:\n");
		for (char **l = lines; *l; l++)
			g_string_append_printf(out, "  %s\n", *l);
	}
}

void help_all(void)
{
	int wide = 0;

	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		wide = c->verb ? MAX(wide, (int)strlen(c->verb)) : wide;
	printf("Usage: kvmctl [OPTION…] VERB [ARGUMENT…]\n\nManages virtual machines through kvmd. kvmctl VERB --help tells more about a verb.\n\nVerbs:\n");
	for (const struct command *c = command_next(NULL); c; c = command_next(c))
		if (c->verb)
			printf("  %-*s  %s\n", wide, c->verb, c->doc);
	printf("\nOptions:\n"
		"  -o, --output=FORMAT    text, json or jsonl\n"
		"  -c, --connect=SOCKET   kvmd's control.sock\n"
		"  --root=DIR             that of the kvmd started with --root DIR (or KVMD_ROOT)\n"
		"  -q, --quiet            say nothing when all went well\n\n"
		"Exit status:\n  0 done");
	for (int exit = 1; exit < 20; exit++) {
		const char *sep = "";

		for (int code = 0; code < KERR_N; code++)
			if (kerr_row(code)->exit == exit) {
				if (!*sep)
					printf("\n  %d", exit);
				printf("%s %s", sep, kerr_row(code)->code);
				sep = ",";
			}
	}
	putchar('\n');
}

/* --- arguments --- */

static const char *find_verb(int argc, char **argv, int *at)
{
	for (int i = 1; i < argc; i++) {
		if (*argv[i] != '-') {
			*at = i;
			return argv[i];
		}
		if (g_strv_contains(valued, argv[i]))
			i++;
	}
	return NULL;
}

/* Also what is wrong with the command line is told in the form that it asks for. */
static enum output find_output(int argc, char **argv)
{
	enum output found = OUT_TEXT;

	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		const char *a = argv[i], *name = NULL;

		if (!strcmp(a, "-o") || !strcmp(a, "--output"))
			name = argv[i + 1];
		else if (g_str_has_prefix(a, "--output="))
			name = a + strlen("--output=");
		else if (g_str_has_prefix(a, "-o"))
			name = a + strlen("-o");
		for (int n = 0; name && n < OUT_N; n++)
			if (!strcmp(name, output_names[n]))
				found = (enum output)n;
	}
	return found;
}

static char *read_file(const char *name, GError **err)
{
	GString *s;
	FILE *f = strcmp(name, "-") ? fopen(name, "re") : stdin;
	char buf[65536];
	size_t n;

	if (!f) {
		kerr_set(err, KERR_NO_FILE, "cannot open '%s': %m", name);
		return NULL;
	}
	s = g_string_new(NULL);
	while (s->len <= XML_MAX_BYTES && (n = fread(buf, 1, sizeof buf, f)) > 0)
		g_string_append_len(s, buf, (gssize)n);
	if (ferror(f))
		kerr_set(err, KERR_IO, "cannot read '%s': %m", name);
	else if (s->len > XML_MAX_BYTES)
		kerr_set(err, KERR_LIMIT, "'%s' is larger than %u bytes", name, XML_MAX_BYTES);
	else if (!g_utf8_validate(s->str, (gssize)s->len, NULL) || strlen(s->str) != s->len)
		kerr_set(err, KERR_XML, "'%s' is not a text in UTF-8", name);
	else if (!s->len)
		kerr_set(err, KERR_XML, "'%s' is empty", name);
	if (f != stdin)
		fclose(f);
	if (s->len > XML_MAX_BYTES || !s->len || (err && *err)) {
		g_string_free(s, TRUE);
		return NULL;
	}
	return g_string_free(s, FALSE);
}

static bool set_field(struct call *c, const struct field *f, const char *text, GError **err)
{
	g_autofree char *content = NULL;

	if (f->flags & FILE_TEXT) {
		content = read_file(text, err);
		if (!content)
			return false;
		g_free(c->file);
		c->file = g_strdup(strcmp(text, "-") ? text : "standard input");
		*(char **)field_at(f, c->args) = g_steal_pointer(&content);
		return true;
	}
	return field_set_text(f, c->args, text, err);
}

/* A list takes all words that are left; the first member of an entry is the word. */
static bool add_to_list(struct call *c, const struct field *f, const char *text, GError **err)
{
	GPtrArray **list = field_at(f, c->args);
	void *item = schema_new(f->sub);

	if (!field_set_text(&f->sub->fields[0], item, text, err)) {
		schema_free(f->sub, item);
		return false;
	}
	if (!*list)
		*list = g_ptr_array_new();
	g_ptr_array_add(*list, item);
	return true;
}

static bool take_positionals(struct call *c, char **rest, GError **err)
{
	const struct command *k = c->command;

	if (is_about_vm(k)) {
		if (!*rest)
			return kerr_set(err, KERR_ARGS, "%s: which domain? kvmctl list --all shows them", k->verb);
		c->vm = g_strdup(*rest++);
	}
	for (const struct field *f = k->args ? k->args->fields : NULL; f && f->name; f++) {
		if (!(f->flags & POSITIONAL))
			continue;
		if (takes_files(k)) {
			if (!*rest)
				return kerr_set(err, KERR_ARGS, "%s: which files?", k->verb);
			c->files = g_strdupv(rest);
			return true;
		}
		if (f->kind == &kind_list) {
			for (; *rest; rest++)
				if (!add_to_list(c, f, *rest, err))
					return false;
		} else if (*rest) {
			if (!set_field(c, f, *rest++, err))
				return false;
		} else if (f->flags & REQUIRED) {
			return kerr_set(err, KERR_ARGS, "%s: %s is missing; see kvmctl %s --help", k->verb, f->flags & FILE_TEXT ? "FILE" : f->name, k->verb);
		}
	}
	if (*rest)
		return kerr_set(err, KERR_ARGS, "%s: '%s' is too much; see kvmctl %s --help", k->verb, *rest, k->verb);
	return true;
}

/* What GOption fills: one slot per field. */
struct slot {
	const struct field *field;
	char *name, *text;
	gboolean given;
};

static void slots_free(GArray *slots)
{
	for (unsigned i = 0; i < slots->len; i++) {
		g_free(g_array_index(slots, struct slot, i).name);
		g_free(g_array_index(slots, struct slot, i).text);
	}
	g_array_unref(slots);
}

static GArray *slots_new(const struct command *c)
{
	GArray *slots = g_array_new(FALSE, TRUE, sizeof(struct slot));

	for (const struct field *f = c && c->args ? c->args->fields : NULL; f && f->name; f++)
		if (!(f->flags & POSITIONAL)) {
			struct slot s = { .field = f, .name = option_name(f) };

			g_array_append_val(slots, s);
		}
	return slots;
}

/* Of the first option in argv that there is not: the one that was meant, or NULL. */
static const char *meant_option(GArray *slots, char **argv)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	const char *near = NULL;
	unsigned best = 3;

	for (size_t i = 0; i < G_N_ELEMENTS(everywhere); i++)
		g_ptr_array_add(names, (char *)everywhere[i]);
	for (unsigned i = 0; i < slots->len; i++)
		g_ptr_array_add(names, g_array_index(slots, struct slot, i).name);
	for (; *argv && strcmp(*argv, "--"); argv++) {
		g_autofree char *word = g_str_has_prefix(*argv, "--") ? g_strndup(*argv + 2, strcspn(*argv + 2, "=")) : NULL;

		if (!word || strlen(word) > 100 || g_ptr_array_find_with_equal_func(names, word, g_str_equal, NULL))
			continue;
		for (unsigned i = 0; i < names->len; i++) {
			unsigned d = g_str_has_prefix(names->pdata[i], word) ? 0 : distance(word, names->pdata[i]);

			if (d < best && d < strlen(word)) {
				best = d;
				near = names->pdata[i];
			}
		}
		break;
	}
	return near;
}

static bool run_goption(struct call *c, GArray *slots, char ***argv, GError **err)
{
	g_autofree char *output = NULL;
	const GOptionEntry global[] = {
		{ "output", 'o', 0, G_OPTION_ARG_STRING, &output, NULL, NULL },
		{ "root", 0, 0, G_OPTION_ARG_FILENAME, &c->root, NULL, NULL },
		{ "connect", 'c', 0, G_OPTION_ARG_FILENAME, &c->connect, NULL, NULL },
		{ "quiet", 'q', 0, G_OPTION_ARG_NONE, &c->quiet, NULL, NULL },
		{ "help", 'h', 0, G_OPTION_ARG_NONE, &c->help, NULL, NULL },
		{ NULL },
	};
	g_autofree GOptionEntry *own = g_new0(GOptionEntry, slots->len + 1);
	GOptionContext *ctx = g_option_context_new(NULL);
	g_autoptr(GError) bad = NULL;
	bool ok;

	for (unsigned i = 0; i < slots->len; i++) {
		struct slot *s = &g_array_index(slots, struct slot, i);
		bool flag = s->field->kind->shape == SHAPE_BOOL;

		own[i] = (GOptionEntry){ s->name, s->field->letter, 0, flag ? G_OPTION_ARG_NONE : G_OPTION_ARG_STRING, flag ? (void *)&s->given : (void *)&s->text, NULL, NULL };
	}
	g_option_context_set_help_enabled(ctx, FALSE);
	g_option_context_add_main_entries(ctx, global, NULL);
	g_option_context_add_main_entries(ctx, own, NULL);
	ok = g_option_context_parse_strv(ctx, argv, &bad);
	g_option_context_free(ctx);
	if (!ok) {
		const char *near = g_error_matches(bad, G_OPTION_ERROR, G_OPTION_ERROR_UNKNOWN_OPTION) ? meant_option(slots, *argv + 1) : NULL;

		return kerr_set(err, KERR_ARGS, "%s%s%s%s%s%s see kvmctl %s%s--help", c->command ? c->command->verb : "", c->command ? ": " : "", bad->message,
			near ? "; did you mean --" : "", near ? near : "", near ? "?" : ";", c->command ? c->command->verb : "", c->command ? " " : "");
	}
	for (int i = 0; output && i < OUT_N; i++)
		if (!strcmp(output, output_names[i])) {
			c->output = (enum output)i;
			return true;
		}
	return !output || kerr_set(err, KERR_ARGS, "there is no output format '%s': use text, json or jsonl", output);
}

/* GOption takes a negative number for options. */
static bool is_negative(const char *word)
{
	return word[0] == '-' && g_ascii_isdigit(word[1]);
}

bool call_parse(struct call *c, int argc, char **argv, GError **err)
{
	g_auto(GStrv) rest = g_new0(char *, (gsize)argc + 1);
	GArray *slots;
	int at = 0, n = 0;
	const char *verb = find_verb(argc, argv, &at);
	bool ok;

	c->output = find_output(argc, argv);
	if (verb && !strcmp(verb, "help")) {
		c->help = true;
		verb = at + 1 < argc ? argv[at + 1] : NULL;
		c->command = verb ? command_by_verb(verb) : NULL;
		return !verb || c->command || unknown_verb(verb, err);
	}
	if (verb)
		c->command = command_by_verb(verb);
	if (verb && !c->command)
		return unknown_verb(verb, err);
	for (int i = 0; i < argc; i++)
		if (!verb || i != at)
			rest[n++] = g_strdup(argv[i]);
	slots = slots_new(c->command);
	ok = run_goption(c, slots, &rest, err);
	for (int i = 1; !ok && c->command && i < argc && strcmp(argv[i], "--"); i++)
		if (is_negative(argv[i]) && err && *err && strstr((*err)->message, argv[i])) {
			g_clear_error(err);
			kerr_set(err, KERR_ARGS, "%s: '%s' is below zero, and no option; see kvmctl %s --help", verb, argv[i], verb);
		}
	if (ok && !c->help && !c->command)
		ok = kerr_set(err, KERR_ARGS, "which verb? kvmctl --help lists them");
	if (ok && !c->help) {
		if (c->command->args)
			c->args = schema_new(c->command->args);
		for (unsigned i = 0; ok && i < slots->len; i++) {
			struct slot *s = &g_array_index(slots, struct slot, i);

			if (s->given)
				*(bool *)field_at(s->field, c->args) = true;
			else if (s->text && !set_field(c, s->field, s->text, err)) {
				g_prefix_error(err, "--%s: ", s->name);
				ok = false;
			}
		}
		ok = ok && take_positionals(c, rest + (rest[1] && !strcmp(rest[1], "--") ? 2 : 1), err);
	}
	slots_free(slots);
	return ok;
}

void call_clear(struct call *c)
{
	if (c->command && c->command->args)
		schema_free(c->command->args, c->args);
	g_free(c->root);
	g_free(c->connect);
	g_free(c->vm);
	g_free(c->file);
	g_strfreev(c->files);
}
