/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvmctl as people and scripts use it: words, JSON, exit status, files, pipes. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/daemon/host.h"

struct result {
	int status;
	char *out, *err;
};

static void result_clear(struct result *r)
{
	g_free(r->out);
	g_free(r->err);
}

/* Runs a shell line with `k` for kvmctl on this host. */
static struct result sh(const struct host *h, const char *line)
{
	const char *kvmctl = g_getenv("KVMCTL");
	g_autofree char *script = g_strdup_printf("k() { '%s' --root '%s' \"$@\"; }; cd '%s'; %s", kvmctl, h->root, h->root, line);
	char *argv[] = { (char *)"/bin/sh", (char *)"-c", script, NULL };
	struct result r = { -1, NULL, NULL };
	g_autoptr(GError) err = NULL;
	int status;

	g_assert_true(g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &r.out, &r.err, &status, &err));
	r.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return r;
}

static void expect(const struct host *h, const char *line, int status, const char *out, const char *err)
{
	struct result r = sh(h, line);

	if (r.status != status || (out && !strstr(r.out, out)) || (err && !strstr(r.err, err)))
		g_error("%s\nstatus %d, expected %d\n--- output, expected '%s'\n%s--- errors, expected '%s'\n%s", line, r.status, status, out ? out : "", r.out,
			err ? err : "", r.err);
	result_clear(&r);
}

static void put(const struct host *h, const char *name, const char *xml)
{
	g_autofree char *path = host_path(h, name);

	g_assert_true(g_file_set_contents(path, xml, -1, NULL));
}

static void test_verbs(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *xml = domain_xml(h, "web", NULL, NULL, NULL);

	put(h, "web.xml", xml);
	expect(h, "k define web.xml", 0, "domain 'web' defined", NULL);
	expect(h, "k define - < web.xml", 0, "domain 'web' redefined", NULL);
	expect(h, "k define nothing.xml", 3, NULL, "cannot open 'nothing.xml'");
	expect(h, "echo '<domain' | k define -", 2, NULL, "standard input:");
	expect(h, "k define", 2, NULL, "FILE is missing");
	expect(h, "k list", 0, "Name", NULL);
	expect(h, "k list --all", 0, "shut off", NULL);
	expect(h, "k list --all --names", 0, "web\n", NULL);
	expect(h, "k list --all -o json | grep -c '\"name\":\"web\"'", 0, "1", NULL);
	expect(h, "k -o jsonl list --all | wc -l", 0, "1\n", NULL);
	expect(h, "k dominfo web | grep -E '^(Id|Pid|Uid):' | tr -d ' '", 0, "Id:-\nPid:-\nUid:-\n", NULL);
	expect(h, "k domstate web --reason", 0, "shut off\n", NULL);
	expect(h, "k start web", 0, "domain 'web' started", NULL);
	expect(h, "k start web", 4, NULL, "error: WrongState: vm 'web'");
	expect(h, "k start web -o json", 4, NULL, "{\"error\":{\"code\":\"WrongState\"");
	expect(h, "k domstate web --reason", 0, "running (booted)", NULL);
	expect(h, "k domid web", 0, "1\n", NULL);
	expect(h, "k suspend web && k domstate web", 0, "paused", NULL);
	expect(h, "k resume web -q", 0, "", NULL);
	expect(h, "k dominfo web", 0, "Memory:", NULL);
	expect(h, "k dumpxml web | head -1", 0, "<domain type='kvm' id='1'>", NULL);
	expect(h, "k log web", 0, "fake guest", NULL);
	expect(h, "k wait web running", 0, "running", NULL);
	expect(h, "k wait web off --timeout 1", 9, NULL, "it is still running");
	expect(h, "k shutdown web && k wait web off", 0, "shut off", NULL);
	expect(h, "k destroy web", 4, NULL, "not running");
	expect(h, "k autostart web", 0, "starts with the host", NULL);
	expect(h, "k event --since 0 -o jsonl | grep -c STARTED", 0, "1\n", NULL);
	expect(h, "k event --since 0 --domain web --event STARTED", 0, "web STARTED state=running", NULL);
	expect(h, "k event --since 0 -o json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)) > 5)'", 0, "True\n", NULL);
	expect(h, "k event --since 0 --event NOTHING -o json | tr -d '\\n'", 0, "[]", NULL);
	expect(h, "\"$KVMCTL\" --root . event --since 0 --follow -o json > e.json & for i in $(seq 100); do grep -q STARTED e.json && break; sleep 0.1; done; "
		"kill $!; wait $!; python3 -c 'import json; print(json.load(open(\"e.json\"))[0][\"seq\"])'", 0, "1\n", NULL);
	expect(h, "k event --help | grep -c 18446744073709551615", 1, "0\n", NULL);
	expect(h, "k console web -o json", 2, NULL, "leave -o json out");
	expect(h, "k start web --console -o jsonl", 2, NULL, "leave -o jsonl out");
	expect(h, "k undefine web", 0, "domain 'web' undefined", NULL);
	expect(h, "k domuuid web", 3, NULL, "VmNotFound");
	expect(h, "k version -o json", 0, "\"kvmd\":\"0.1.0\"", NULL);
	expect(h, "k host", 0, "guest kernel code: native", NULL);
	expect(h, "k host", 0, " Haswell-noTSX", NULL);         /* errors send people here for the models' names */
	host_free(h);
}

static void test_usage(void)
{
	struct host *h = host_new(NULL);

	expect(h, "k", 2, NULL, "which verb?");
	expect(h, "k --help", 0, "define", NULL);
	expect(h, "k strat web", 2, NULL, "did you mean 'start'");
	expect(h, "k start --help", 0, "kvmctl start web --console", NULL);
	expect(h, "k help define", 0, "FILE", NULL);
	expect(h, "k start", 2, NULL, "which domain?");
	expect(h, "k start a b", 2, NULL, "'b' is too much");
	expect(h, "k start -- -dash", 3, NULL, "there is no domain '-dash'");
	expect(h, "k start web --pausd", 2, NULL, "start: Unknown option --pausd; did you mean --paused? see kvmctl start --help");
	expect(h, "k list --al", 2, NULL, "did you mean --all?");
	expect(h, "k list --all --nam=x", 2, NULL, "did you mean --names?");
	expect(h, "k list --zzzzzz", 2, NULL, "Unknown option --zzzzzz; see kvmctl list --help");
	expect(h, "\"$KVMD\" --rot", 2, NULL, "see kvmd --help");
	expect(h, "k list -o yaml", 2, NULL, "text, json or jsonl");
	expect(h, "k wait web gone", 2, NULL, "gone");
	expect(h, "k wait --help", 0, "(off | running | paused", NULL);
	expect(h, "k top --help | head -1", 0, "Usage: kvmctl top [", NULL);
	expect(h, "k start web --pausd -o json", 2, NULL, "{\"error\":{\"code\":\"BadArguments\"");
	expect(h, "k -ojsonl strat web", 2, NULL, "{\"error\":{\"code\":\"BadArguments\"");
	expect(h, "k strat --output=json", 2, NULL, "{\"error\":{\"code\":\"BadArguments\"");
	expect(h, "k strat -o", 2, NULL, "error: BadArguments");
	expect(h, "k strat -- -o json", 2, NULL, "error: BadArguments");
	expect(h, "k --connect /nonexistent/x.sock list", 10, NULL, "is kvmd running?");
	/* a root that kvmd makes lets other users through to run, where passt has its file, and to nothing else */
	expect(h, "umask 022; \"$KVMD\" --root \"$PWD/new\" 2>/dev/null & for i in $(seq 100); do [ -S new/run/kvmd/control.sock ] && break; sleep 0.1; done; "
		"kill $!; wait $!; stat -c %a new new/run/kvmd new/run/kvmd/vm new/var/lib/kvmd new/var/log/kvmd | tr '\\n' ' '", 0, "755 755 755 700 750", NULL);
	host_kill(h, SIGTERM);
	expect(h, "k list", 10, NULL, "is kvmd running?");
	host_free(h);
}

/* As bash calls it: it takes words apart at the equals sign. The last word is the one that is being typed. */
static void completes(const struct host *h, const char *words, const char *to)
{
	g_autofree char *line = g_strdup_printf("PATH=$(dirname \"$KVMCTL\"):$PATH bash -c '. \"$(dirname \"$KVMCTL\")/kvmctl.bash\"; COMP_WORDS=(kvmctl %s); "
		"COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _kvmctl 2>/dev/null; echo \"[${COMPREPLY[@]}]\"'", words);
	g_autofree char *out = g_strdup_printf("[%s]\n", to);

	expect(h, line, 0, out, NULL);
}

static void test_completion(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *xml = domain_xml(h, "web", NULL, NULL, NULL);

	define(h, xml);
	completes(h, "und", "undefine");
	completes(h, "--root = \"$PWD\" start \"\"", "web");
	completes(h, "--root \"$PWD\" -o json start w", "web");
	completes(h, "list --al", "--all");
	completes(h, "wait web \"\"", "off running paused");
	completes(h, "top --sort = st", "state steal");
	completes(h, "top --sort st", "state steal");
	completes(h, "list --output =", "text json jsonl");
	completes(h, "--root = \"$PWD\" event --domain =", "web");
	completes(h, "domdirtyrate-calc web --mode = page", "page-sampling");
	completes(h, "attach-disk web --live --cache = \"\"", "");
	completes(h, "help update-memory", "update-memory-device");
	host_free(h);
}

static void test_console(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *xml = domain_xml(h, "web", NULL, NULL, NULL);

	define(h, xml);
	expect(h, "k console web < /dev/null", 4, NULL, "not running");
	expect(h, "echo typed | k start web --console", 0, "backlog\ntyped\n", NULL);
	expect(h, "printf 'one\\ntwo\\n' | k console web", 0, "backlog\none\ntwo\n", NULL);
	expect(h, "k console web serial0 < /dev/null", 0, "backlog\n", NULL);
	host_free(h);
}

static void test_validate(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *xml = domain_xml(h, "web", NULL, NULL, NULL), *dir = host_path(h, "d");

	host_kill(h, SIGTERM);                  /* it needs no kvmd */
	put(h, "good.xml", xml);
	put(h, "bad.xml", "<domain type='kvm'>\n  <name>x</name>\n  <memry>1</memry>\n</domain>\n");
	expect(h, "k validate good.xml", 0, "1 file, 0 errors", NULL);
	expect(h, "k validate bad.xml", 2, "bad.xml:3:", NULL);
	expect(h, "k validate good.xml bad.xml nothing.xml", 2, "nothing.xml", NULL);
	expect(h, "k validate bad.xml -o jsonl | head -1", 0, "\"line\":3", NULL);
	expect(h, "k validate - < good.xml", 0, "0 errors", NULL);
	g_assert_cmpint(g_mkdir(dir, 0755), ==, 0);
	expect(h, "k validate d", 3, "d: error: the folder has no file whose name ends in .xml", NULL);
	expect(h, "k validate nothing.xml", 3, "nothing.xml: error: ", NULL);
	expect(h, "k validate good.xml nothing.xml", 3, "2 files, 1 error,", NULL);
	expect(h, "cp good.xml d/a.xml; cp bad.xml d/b.xml; k validate d", 2, "d/b.xml:3:", NULL);
	host_free(h);
}

static void test_watch(void)
{
	struct host *h = host_new(NULL);
	g_autofree char *xml = domain_xml(h, "web", NULL, NULL, NULL), *other = domain_xml(h, "db", NULL, NULL, NULL), *line = NULL;

	define(h, xml);
	define(h, other);
	expect(h, "k domstats", 0, "Domain: 'db'\n  state.state=5\n  state.reason=0\n\nDomain: 'web'", NULL);
	expect(h, "k start web && k domstats web --state", 0, "state.state=1", NULL);
	fake_do(h, "web", "x-leave", "shutdown");
	expect(h, "k wait web off && k domstats web --state", 0, "state.state=5\n  state.reason=1\n", NULL);
	expect(h, "k start web && k suspend web && k domstats web --state", 0, "state.state=3\n  state.reason=1\n", NULL);
	expect(h, "k resume web && k domstats web --balloon", 0, "balloon.maximum=", NULL);
	/* errors are told in the form that was asked for, also of words that no command ever sees */
	expect(h, "k setmen web 3 -o json", 2, NULL, "{\"error\":{\"code\":\"BadArguments\"");
	expect(h, "k list --nix --output=jsonl", 2, NULL, "{\"error\":{\"code\":\"BadArguments\"");
	expect(h, "k setmem web -5", 2, NULL, "'-5' is below zero, and no option");
	expect(h, "k setmem web --nix", 2, NULL, "Unknown option --nix");
	expect(h, "k domstats db web -o json | grep -c '\"name\"'", 0, "2\n", NULL);
	expect(h, "k domstats web nobody", 3, NULL, "nobody");
	expect(h, "k domstats --list-running -o jsonl", 0, "{\"name\":\"web\"", NULL);
	expect(h, "k domstats --help", 0, "[DOMAINS…]", NULL);
	expect(h, "k top", 0, "web                  running", NULL);
	expect(h, "k top --help", 0, "-n, --count=COUNT", NULL);
	expect(h, "k top -b -n two", 2, NULL, "two");
	expect(h, "unset VISUAL EDITOR; k edit web < /dev/null", 2, NULL, "terminal");
	expect(h, "EDITOR=true k edit nobody", 3, NULL, "nobody");
	expect(h, "k qmp web", 2, NULL, "command is missing");
	expect(h, "k qmp web query-status", 0, "\"running\"", NULL);
	expect(h, "k qmp db query-status", 4, NULL, "not running");
	/* who interrupts a change is told that it goes on; who interrupts a look, nothing */
	fake_do(h, "web", "x-mute", NULL);
	line = g_strdup_printf("timeout -s INT 0.5 '%s' --root '%s' setvcpus web 1", g_getenv("KVMCTL"), h->root);
	expect(h, line, 124, NULL, "setvcpus: not taken back, it goes on: 'kvmctl event --since 0 --domain web'");
	host_free(h);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/kvmctl/verbs", test_verbs);
	g_test_add_func("/kvmctl/usage", test_usage);
	g_test_add_func("/kvmctl/completion", test_completion);
	g_test_add_func("/kvmctl/console", test_console);
	g_test_add_func("/kvmctl/validate", test_validate);
	g_test_add_func("/kvmctl/watch", test_watch);
	return g_test_run();
}
