/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvmd-validate, the program behind `kvmctl validate`: reads files and folders, prints every finding. Needs no kvmd. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <json-c/json.h>

#include "domain/machine.h"
#include "domain/report.h"
#include "domain/xml.h"

struct validation {
	char *output;
	gboolean strict, lenient, quiet;
	unsigned files, errors, warnings, bad, unread;  /* bad: definitions; unread: files and folders */
	json_object *list;      /* -o json */
};

static void put_json(struct validation *v, const char *file, const struct finding *f)
{
	json_object *o = json_object_new_object();

	json_object_object_add(o, "file", json_object_new_string(file));
	json_object_object_add(o, "level", json_object_new_string(f->level == FINDING_ERROR ? "error" : "warning"));
	json_object_object_add(o, "code", json_object_new_string(kerr_row((int)f->code)->code));
	json_object_object_add(o, "line", json_object_new_int64(f->line));
	json_object_object_add(o, "column", json_object_new_int64(f->column));
	json_object_object_add(o, "path", json_object_new_string(f->path ? f->path : ""));
	json_object_object_add(o, "text", json_object_new_string(f->text));
	if (f->cure)
		json_object_object_add(o, "cure", json_object_new_string(f->cure));
	if (!strcmp(v->output, "json")) {
		json_object_array_add(v->list, o);
		return;
	}
	puts(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

static void put(struct validation *v, const char *file, const struct report *r, const struct finding *f)
{
	g_autofree char *line = NULL;

	if (f->level == FINDING_ERROR)
		v->errors++;
	else
		v->warnings++;
	if (strcmp(v->output, "text")) {
		put_json(v, file, f);
		return;
	}
	line = finding_text(r, f);
	puts(line);
}

/* A file that could not be read: a finding without a place. */
static void put_unread(struct validation *v, const char *file, enum kerr code, const char *why)
{
	AUTO(report) r = report_new(file, false, false);

	report_at(r, FINDING_ERROR, code, "", 0, 0, NULL, why);
	put(v, file, r, r->findings->pdata[0]);
	v->unread++;
}

static char *read_stdin(gsize *len)
{
	GString *s = g_string_new(NULL);
	char buf[65536];
	size_t n;

	while (s->len <= XML_MAX_BYTES && (n = fread(buf, 1, sizeof buf, stdin)) > 0)
		g_string_append_len(s, buf, (gssize)n);
	*len = s->len;
	return g_string_free(s, FALSE);
}

static void check_file(struct validation *v, const char *file)
{
	const char *shown = strcmp(file, "-") ? file : "standard input";
	AUTO(report) r = report_new(shown, v->strict, v->lenient);
	g_autoptr(GError) err = NULL;
	g_autofree char *text = NULL;
	AUTO(machine) m = NULL;
	gsize len;

	v->files++;
	if (!strcmp(file, "-")) {
		text = read_stdin(&len);
	} else if (!g_file_get_contents(file, &text, &len, &err)) {
		put_unread(v, shown, KERR_NO_FILE, err->message);
		return;
	}
	m = machine_from_xml(text, len, r, &err);
	for (unsigned i = 0; i < r->findings->len; i++)
		put(v, shown, r, r->findings->pdata[i]);
	if (!m && !r->errors)
		put_unread(v, shown, KERR_XML, err ? err->message : "cannot be read");
	v->bad += !m;
}

static gint by_text(gconstpointer a, gconstpointer b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void check_dir(struct validation *v, const char *dir)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) err = NULL;
	GDir *d = g_dir_open(dir, 0, &err);
	const char *name;

	if (!d) {
		put_unread(v, dir, KERR_NO_FILE, err->message);
		return;
	}
	while ((name = g_dir_read_name(d)))
		if (g_str_has_suffix(name, ".xml"))
			g_ptr_array_add(names, g_build_filename(dir, name, NULL));
	g_dir_close(d);
	g_ptr_array_sort(names, by_text);
	for (unsigned i = 0; i < names->len; i++)
		check_file(v, names->pdata[i]);
	if (!names->len)
		put_unread(v, dir, KERR_NO_FILE, "the folder has no file whose name ends in .xml: there is nothing to check");
}

int main(int argc, char **argv)
{
	struct validation v = { 0 };
	const GOptionEntry entries[] = {
		{ "output", 'o', 0, G_OPTION_ARG_STRING, &v.output, "text, json or jsonl", "FORMAT" },
		{ "strict", 0, 0, G_OPTION_ARG_NONE, &v.strict, "take warnings for errors", NULL },
		{ "lenient", 0, 0, G_OPTION_ARG_NONE, &v.lenient, "keep what kvmd has not", NULL },
		{ "quiet", 'q', 0, G_OPTION_ARG_NONE, &v.quiet, "no summary", NULL },
		{ NULL },
	};
	GOptionContext *c = g_option_context_new("FILE…|DIR…");
	g_autoptr(GError) err = NULL;

	g_option_context_add_main_entries(c, entries, NULL);
	if (!g_option_context_parse(c, &argc, &argv, &err)) {
		fprintf(stderr, "error: BadArguments: %s\n", err->message);
		return kerr_row(KERR_ARGS)->exit;
	}
	g_option_context_free(c);
	if (!v.output)
		v.output = g_strdup("text");
	v.list = json_object_new_array();
	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (!strcmp(argv[i], "--"))
			continue;
		if (strcmp(argv[i], "-") && !stat(argv[i], &st) && S_ISDIR(st.st_mode))
			check_dir(&v, argv[i]);
		else
			check_file(&v, argv[i]);
	}
	if (!strcmp(v.output, "json"))
		puts(json_object_to_json_string_ext(v.list, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	else if (!strcmp(v.output, "text") && !v.quiet)
		printf("%u file%s, %u error%s, %u warning%s\n", v.files, v.files == 1 ? "" : "s", v.errors, v.errors == 1 ? "" : "s", v.warnings,
			v.warnings == 1 ? "" : "s");
	json_object_put(v.list);
	g_free(v.output);
	return v.bad ? kerr_row(KERR_XML)->exit : v.unread ? kerr_row(KERR_NO_FILE)->exit : 0;
}
