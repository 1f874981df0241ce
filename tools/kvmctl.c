/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmctl: one verb, one command of kvmd. Verbs, options, help and exit status come from domain/'s tables; what is special
 * of a verb is in `specials` below.
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/paths.h"
#include "daemon/wire.h"
#include "domain/commands_kvmd.h"
#include "domain/json.h"
#include "tools/kvmctl.h"

static json_object *args_json(const struct call *c)
{
	return c->args ? json_from_struct(c->command->args, c->args, JSON_SECRETS) : NULL;
}

/* --- verbs that do more than ask and print --- */

static bool attach(struct client *cl, const char *vm, json_object *args, bool readonly, int *status, GError **err)
{
	int fd = -1;
	json_object *reply = client_call(cl, "console", vm, args, &fd, err), *v;

	if (!reply)
		return false;
	if (fd < 0) {
		json_object_put(reply);
		return kerr_set(err, KERR_JSON, "kvmd sent no console");
	}
	*status = console_run(fd, vm, json_object_object_get_ex(reply, "device", &v) && v ? json_object_get_string(v) : "", readonly);
	json_object_put(reply);
	return true;
}

static bool is_text(const struct call *c, GError **err)
{
	return c->output == OUT_TEXT || kerr_set(err, KERR_ARGS, "a console is bytes as the guest sends them: leave -o %s out", output_names[c->output]);
}

static bool run_console(struct call *c, struct client *cl, int *status, GError **err)
{
	if (!is_text(c, err))
		return false;
	return attach(cl, c->vm, args_json(c), ((const struct ask_console *)c->args)->readonly, status, err);
}

static bool run_start(struct call *c, struct client *cl, int *status, GError **err)
{
	struct ask_start *a = c->args;
	bool console = a->console;
	json_object *reply;

	if (console && !is_text(c, err))
		return false;
	a->console = false;
	reply = client_call(cl, c->command->name, c->vm, args_json(c), NULL, err);
	if (!reply)
		return false;
	print_reply(c, reply);
	json_object_put(reply);
	fflush(stdout);
	return !console || attach(cl, c->vm, NULL, false, status, err);
}

#define BACK_S 60       /* so long a follower waits for kvmd to come back */

static const int interrupts[] = { SIGINT, SIGTERM, SIGHUP };

/* The JSON document is closed also when the user ends it; held off while an event is printed. */
static void close_array(int sig)
{
	(void)!write(STDOUT_FILENO, "\n]\n", 3);
	_exit(128 + sig);
}

static void hold_interrupts(int how)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < G_N_ELEMENTS(interrupts); i++)
		sigaddset(&set, interrupts[i]);
	sigprocmask(how, &set, NULL);
}

static bool begin_events(struct call *c, struct client *cl, GError **err)
{
	json_object *reply = client_call(cl, c->command->name, NULL, args_json(c), NULL, err);

	json_object_put(reply);
	return reply;
}

/* A follower whose kvmd has gone goes on where it was when there is one again. New; NULL: there is none, *why stays what it was. */
static struct client *follow_on(struct call *c, GError **why)
{
	gint64 until = g_get_monotonic_time() + BACK_S * G_USEC_PER_SEC;

	fprintf(stderr, "kvmd has gone (%s): waiting until it is back, %d s at most\n", (*why)->message, BACK_S);
	while (g_get_monotonic_time() < until) {
		struct client *cl = client_new(c, NULL);

		if (cl && begin_events(c, cl, NULL)) {
			g_clear_error(why);
			return cl;
		}
		client_free(cl);
		g_usleep(G_USEC_PER_SEC / 5);
	}
	return NULL;
}

/* -o json is one document, an array; -o jsonl has a line per event. */
static bool run_event(struct call *c, struct client *cl, int *status, GError **err)
{
	struct ask_event *a = c->args;
	struct client *next = NULL;
	json_object *m, *v;
	bool array = c->output == OUT_JSON, first = true, ended = false;
	g_autoptr(GError) why = NULL;

	if (!begin_events(c, cl, err))
		return false;
	if (array) {
		putchar('[');
		fflush(stdout);
	}
	for (size_t i = 0; array && i < G_N_ELEMENTS(interrupts); i++)
		if (signal(interrupts[i], close_array) == SIG_IGN)
			(void)signal(interrupts[i], SIG_IGN);   /* nohup */
	while (!ended && !ferror(stdout)) {     /* ferror: the reader of our pipe has had enough */
		const char *name;

		m = client_next(next ? next : cl, &why);
		if (!m) {
			client_free(next);
			next = a->follow ? follow_on(c, &why) : NULL;
			if (next)
				continue;
			break;
		}
		name = json_object_object_get_ex(m, "event", &v) ? json_object_get_string(v) : NULL;
		ended = name && !strcmp(name, "EVENTS_END");
		if (name && !ended) {
			hold_interrupts(SIG_BLOCK);
			if (array)
				fputs(first ? "\n" : ",\n", stdout);
			print_event(c, m);
			if (json_object_object_get_ex(m, "seq", &v))
				a->since = json_object_get_uint64(v);
			ended = a->count && !--a->count;
			hold_interrupts(SIG_UNBLOCK);
			first = false;
		}
		json_object_put(m);
	}
	for (size_t i = 0; array && i < G_N_ELEMENTS(interrupts); i++)
		(void)signal(interrupts[i], SIG_IGN);   /* the document is being closed */
	if (array)
		puts(first ? "]" : "\n]");
	client_free(next);
	if (ended || ferror(stdout))
		return true;
	if (a->follow && a->since != UINT64_MAX)
		g_prefix_error(&why, "'kvmctl event --follow --since %" G_GUINT64_FORMAT "' goes on after the last one: ", a->since);
	g_propagate_error(err, g_steal_pointer(&why));
	return false;
}

static const struct {
	const char *command;
	bool (*run)(struct call *, struct client *, int *status, GError **err);
} specials[] = {
	{ "console", run_console },
	{ "start", run_start },
	{ "event", run_event },
};

/* validate is a program of its own: the XML library would cost every other call 2 ms of loading. */
static bool run_validate(struct call *c, int *status, GError **err)
{
	const struct ask_validate *a = c->args;
	g_autofree char *program = paths_program("kvmd-validate");
	g_autoptr(GPtrArray) argv = g_ptr_array_new();

	g_ptr_array_add(argv, program);
	g_ptr_array_add(argv, (char *)"-o");
	g_ptr_array_add(argv, (char *)output_names[c->output]);
	if (a->strict)
		g_ptr_array_add(argv, (char *)"--strict");
	if (a->lenient)
		g_ptr_array_add(argv, (char *)"--lenient");
	if (c->quiet)
		g_ptr_array_add(argv, (char *)"--quiet");
	g_ptr_array_add(argv, (char *)"--");
	for (char **f = c->files; f && *f; f++)
		g_ptr_array_add(argv, *f);
	g_ptr_array_add(argv, NULL);
	execv(program, (char **)argv->pdata);
	return kerr_errno(err, errno, "run '%s'", program);
}

/* The rows of the table that are kvmctl's own (IN_CLIENT). */
static const struct {
	const char *command;
	bool (*run)(struct call *, int *status, GError **err);
} locals[] = {
	{ "validate", run_validate },
	{ "top", top_run },
	{ "edit", edit_run },
	{ "qmp", qmp_run },
};

static bool run(struct call *c, int *status, GError **err)
{
	struct client *cl;
	json_object *reply;
	bool ok;

	for (size_t i = 0; i < G_N_ELEMENTS(locals); i++)
		if (!strcmp(locals[i].command, c->command->name))
			return locals[i].run(c, status, err);
	cl = client_new(c, err);
	if (!cl)
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(specials); i++)
		if (!strcmp(specials[i].command, c->command->name)) {
			ok = specials[i].run(c, cl, status, err);
			client_free(cl);
			return ok;
		}
	reply = client_call(cl, c->command->name, c->vm, args_json(c), NULL, err);
	if (reply)
		print_reply(c, reply);
	json_object_put(reply);
	client_free(cl);
	return reply != NULL;
}

int main(int argc, char **argv)
{
	struct call c = { 0 };
	g_autoptr(GError) err = NULL;
	int status = 0;

	setlocale(LC_ALL, "");
	if (argc > 1 && !strcmp(argv[1], "--version")) {
		puts("kvmctl " KVMD_VERSION);
		return 0;
	}
	if (call_parse(&c, argc, argv, &err) && c.help) {
		g_autoptr(GString) s = g_string_new(NULL);

		if (c.command)
			help_verb(c.command, s);
		else
			help_all();
		fputs(s->str, stdout);
	} else if (err || !run(&c, &status, &err)) {
		if (c.file && err)
			g_prefix_error(&err, g_ascii_isdigit(*err->message) ? "%s:" : "%s: ", c.file);      /* FILE:LINE:COLUMN: */
		print_error(&c, err);
		status = kerr_of(err)->exit;
	}
	if (fflush(stdout) && !status) {
		fprintf(stderr, "error: cannot write the output: %s\n", g_strerror(errno));
		status = kerr_row(KERR_IO)->exit;
	}
	call_clear(&c);
	return status;
}
