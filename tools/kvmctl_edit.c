/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmctl edit: a definition goes through an editor. The text lives in a file of the user's own until it is stored, so that nothing
 * typed is lost: it is removed only when it was accepted or given up.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "domain/xml.h"
#include "tools/kvmctl.h"

static char *definition(struct client *cl, const char *vm, GError **err)
{
	json_object *args = json_object_new_object(), *reply, *v;
	char *xml = NULL;

	json_object_object_add(args, "inactive", json_object_new_boolean(true));
	json_object_object_add(args, "security_info", json_object_new_boolean(true));
	reply = client_call(cl, "dumpxml", vm, args, NULL, err);
	if (reply && json_object_object_get_ex(reply, "xml", &v))
		xml = g_strdup(json_object_get_string(v));
	json_object_put(reply);
	return xml;
}

/* The user's file, which others may not read: there may be passwords in it. */
static char *write_file(const char *vm, const char *xml, GError **err)
{
	g_autofree char *safe = g_strcanon(g_strdup(vm), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", '_');
	g_autofree char *path = g_strdup_printf("%s/kvmctl-%.40s-XXXXXX.xml", g_get_tmp_dir(), safe);
	size_t len = strlen(xml);
	int fd = mkstemps(path, 4);
	bool ok = fd >= 0 && write(fd, xml, len) == (ssize_t)len;

	if (fd >= 0 && (close(fd) < 0 || !ok)) {
		ok = false;
		(void)unlink(path);
	}
	if (!ok)
		kerr_errno(err, errno, "write '%s'", path);
	return ok ? g_steal_pointer(&path) : NULL;
}

static bool run_editor(const char *path, GError **err)
{
	const char *editor = g_getenv("VISUAL");
	g_autofree char *line = NULL;
	const char *argv[] = { "/bin/sh", "-c", NULL, "sh", path, NULL };
	int status;
	pid_t pid;

	if (!editor || !*editor)
		editor = g_getenv("EDITOR");
	if (!editor || !*editor)
		editor = "vi";
	line = g_strdup_printf("%s \"$1\"", editor);    /* it may have arguments */
	argv[2] = line;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		execv(argv[0], (char **)argv);
		_exit(127);
	}
	if (pid < 0)
		return kerr_errno(err, errno, "fork");
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return kerr_errno(err, errno, "wait for the editor");
	return (WIFEXITED(status) && !WEXITSTATUS(status)) || kerr_set(err, KERR_ARGS, "the editor '%s' failed: set VISUAL or EDITOR", editor);
}

static char *read_back(const char *path, GError **err)
{
	g_autoptr(GError) bad = NULL;
	g_autofree char *text = NULL;
	gsize len;

	if (!g_file_get_contents(path, &text, &len, &bad))
		kerr_set(err, KERR_IO, "%s", bad->message);
	else if (!len || len > XML_MAX_BYTES || !g_utf8_validate(text, (gssize)len, NULL))
		kerr_set(err, KERR_XML, "the file is empty, too large, or not a text in UTF-8");
	else
		return g_steal_pointer(&text);
	return NULL;
}

/* Stores what was written, unless someone else was faster. *same: it is what is stored already. */
static bool store(struct call *c, struct client *cl, const char *before, const char *path, bool *same, GError **err)
{
	g_autofree char *text = read_back(path, err), *now = NULL;
	json_object *args, *reply, *name;

	if (!text)
		return false;
	*same = !strcmp(text, before);
	if (*same)
		return true;
	now = definition(cl, c->vm, err);
	if (!now)
		return false;
	if (strcmp(now, before))
		return kerr_set(err, KERR_BUSY, "someone else changed the definition meanwhile");
	args = json_object_new_object();
	json_object_object_add(args, "xml", json_object_new_string(text));
	reply = client_call(cl, "define", NULL, args, NULL, err);
	if (!reply)
		return false;
	if (!c->quiet && json_object_object_get_ex(reply, "name", &name))
		printf("domain '%s' %s\n", json_object_get_string(name), json_object_object_get_ex(reply, "created", &args) && json_object_get_boolean(args) ?
			"is new: name and uuid were changed" : "changed; a running machine gets it at its next start");
	json_object_put(reply);
	return true;
}

/* On a terminal only. */
static bool wants_again(const GError *err)
{
	char answer[32];

	fprintf(stderr, "error: %s\nEdit it again? [Y/n] ", err->message);
	fflush(stderr);
	return fgets(answer, sizeof answer, stdin) && *answer != 'n' && *answer != 'N';
}

bool edit_run(struct call *c, int *status, GError **err)
{
	bool terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO), ok = false, same = false;
	const char *editor = g_getenv("VISUAL") ? g_getenv("VISUAL") : g_getenv("EDITOR");
	g_autofree char *before = NULL, *path = NULL;
	struct client *cl;

	if (!terminal && !(editor && *editor))
		return kerr_set(err, KERR_ARGS, "edit wants a terminal, or an editor that needs none in VISUAL or EDITOR");
	cl = client_new(c, err);
	before = cl ? definition(cl, c->vm, err) : NULL;
	path = before ? write_file(c->vm, before, err) : NULL;
	while (path) {
		g_autoptr(GError) bad = NULL;

		ok = run_editor(path, &bad) && store(c, cl, before, path, &same, &bad);
		if (ok)
			break;
		if (terminal && wants_again(bad))
			continue;
		g_propagate_prefixed_error(err, g_steal_pointer(&bad), "the text is kept in '%s': ", path);
		break;
	}
	if (ok) {
		(void)unlink(path);
		if (same && !c->quiet)
			printf("domain '%s' not changed\n", c->vm);
	}
	client_free(cl);
	return ok;
}
