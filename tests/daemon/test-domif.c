/* SPDX-License-Identifier: GPL-2.0-or-later */
/* domif-setlink and its kin: the definition, the machine, both; and what is refused. A script plays passt. */
#include <string.h>

#include "tests/daemon/host.h"

#define MAC "52:54:00:00:00:07"
#define CARD "<interface type='user'><mac address='" MAC "'/></interface>"

static void define_web(const struct host *h)
{
	g_autofree char *xml = domain_xml(h, "web", NULL, NULL, NULL);
	g_auto(GStrv) parts = g_strsplit(xml, "</devices>", 2);
	g_autofree char *with = g_strdup_printf("%s%s</devices>%s", parts[0], CARD, parts[1]);

	define(h, with);
}

static bool dump_has(const struct host *h, bool inactive, const char *text)
{
	json_object *r = ask(h, "dumpxml", "web", inactive ? "{\"inactive\":true}" : "{}");
	bool has = strstr(str(r, "xml"), text);

	json_object_put(r);
	return has;
}

static char *link_of(const struct host *h, const char *args)
{
	json_object *r = ask(h, "domif-getlink", "web", args);
	char *state = g_strdup(str(r, "state"));

	json_object_put(r);
	return state;
}

#define LINK_IS(h, args, want) do { g_autofree char *s_ = link_of(h, args); g_assert_cmpstr(s_, ==, want); } while (0)

static int64_t limit(const struct host *h, const char *args, const char *side, const char *key)
{
	json_object *r = ask(h, "domiftune", "web", args), *s;
	int64_t n;

	g_assert_true(json_object_object_get_ex(r, side, &s));
	n = num(s, key);
	json_object_put(r);
	return n;
}

#define WEB "\"interface\":\"" MAC "\""

static void test_definition(void)
{
	struct host *h = host_new(NULL);
	json_object *r, *rows;

	define_web(h);
	r = ask(h, "domiflist", "web", "{}");
	g_assert_true(json_object_object_get_ex(r, "interfaces", &rows));
	g_assert_cmpuint(json_object_array_length(rows), ==, 1);
	g_assert_cmpstr(str(json_object_array_get_idx(rows, 0), "mac"), ==, MAC);
	g_assert_cmpstr(str(json_object_array_get_idx(rows, 0), "type"), ==, "user");
	json_object_put(r);
	LINK_IS(h, "{" WEB "}", "up");
	ask_ok(h, "domif-setlink", "web", "{" WEB ",\"state\":\"down\"}");
	LINK_IS(h, "{" WEB "}", "down");
	g_assert_true(dump_has(h, true, "<link state='down'/>"));
	ask_ok(h, "domiftune", "web", "{" WEB ",\"inbound\":\"100,200,50\",\"outbound\":\"7\"}");
	g_assert_true(dump_has(h, true, "<inbound average='100' peak='200' burst='50'/>"));
	g_assert_true(dump_has(h, true, "<outbound average='7'/>"));
	g_assert_cmpint(limit(h, "{" WEB ",\"config\":true}", "inbound", "peak"), ==, 200);
	ask_ok(h, "domiftune", "web", "{" WEB ",\"inbound\":\"0\",\"outbound\":\"0\",\"config\":true}");
	g_assert_false(dump_has(h, true, "<bandwidth"));
	host_free(h);
}

static void test_machine(void)
{
	struct host *h = host_new(NULL);
	json_object *r;

	define_web(h);
	ask_ok(h, "start", "web", "{}");
	/* the machine only */
	ask_ok(h, "domif-setlink", "web", "{\"interface\":\"net0\",\"state\":\"down\"}");
	g_assert_true(dump_has(h, false, "<link state='down'/>"));
	g_assert_false(dump_has(h, true, "<link"));
	LINK_IS(h, "{" WEB "}", "down");
	LINK_IS(h, "{" WEB ",\"config\":true}", "up");
	ask_ok(h, "domiftune", "web", "{" WEB ",\"inbound\":\"1000\",\"live\":true}");
	g_assert_cmpint(limit(h, "{" WEB "}", "inbound", "average"), ==, 1000);
	g_assert_cmpint(limit(h, "{" WEB ",\"config\":true}", "inbound", "average"), ==, 0);
	/* one side stays as it is when the other changes; both machine and definition */
	ask_ok(h, "domiftune", "web", "{" WEB ",\"outbound\":\"500,600\",\"live\":true,\"config\":true}");
	g_assert_cmpint(limit(h, "{" WEB "}", "inbound", "average"), ==, 1000);
	g_assert_cmpint(limit(h, "{" WEB "}", "outbound", "peak"), ==, 600);
	g_assert_cmpint(limit(h, "{" WEB ",\"config\":true}", "outbound", "peak"), ==, 600);
	/* a name that only the machine knows stands for the same card of the definition */
	ask_ok(h, "domif-setlink", "web", "{\"interface\":\"fake7\",\"state\":\"down\",\"config\":true}");
	LINK_IS(h, "{\"interface\":\"fake7\",\"config\":true}", "down");
	r = ask(h, "domifstat", "web", "{" WEB "}");
	g_assert_cmpint(num(r, "rx_bytes"), ==, 11);
	g_assert_cmpint(num(r, "tx_drop"), ==, 4);
	json_object_put(r);
	host_free(h);
}

static void test_refusals(void)
{
	struct host *h = host_new(NULL);

	define_web(h);
	ask_bad(h, "domifstat", "web", "{" WEB "}", "WrongState", "not running");
	ask_bad(h, "domif-setlink", "web", "{" WEB ",\"state\":\"down\",\"live\":true}", "WrongState", "leave out --live");
	ask_bad(h, "domif-setlink", "web", "{" WEB ",\"state\":\"sideways\"}", "BadArguments", "sideways");
	ask_bad(h, "domif-setlink", "web", "{\"interface\":\"vnet9\",\"state\":\"up\"}", "DeviceNotFound", "domiflist");
	ask_bad(h, "domif-setlink", "web", "{" WEB ",\"state\":\"up\",\"current\":true,\"config\":true}", "BadArguments", "--current");
	ask_bad(h, "domiftune", "web", "{" WEB ",\"inbound\":\"much\"}", "BadArguments", "no number");
	ask_bad(h, "domiftune", "web", "{" WEB ",\"inbound\":\"\"}", "BadArguments", "AVERAGE");
	ask_bad(h, "domiftune", "web", "{" WEB ",\"inbound\":\"5000000000\"}", "BadArguments", "no number");
	ask_bad(h, "domiftune", "web", "{" WEB ",\"inbound\":\"-1\"}", "BadArguments", "no number");
	ask_bad(h, "domiftune", "web", "{" WEB ",\"inbound\":\"10,5\"}", "BadArguments", "below");
	ask_bad(h, "domiftune", "web", "{" WEB ",\"outbound\":\"0,5\"}", "BadArguments", "needs an average");
	ask_bad(h, "domiftune", "web", "{" WEB ",\"inbound\":\"10,20,30,5\"}", "BadArguments", "promised");
	ask_bad(h, "domiftune", "web", "{" WEB ",\"live\":true,\"config\":true}", "BadArguments", "one of");
	g_assert_false(dump_has(h, true, "<bandwidth"));
	ask_ok(h, "start", "web", "{}");
	ask_bad(h, "domiftune", "web", "{" WEB ",\"inbound\":\"10,5\"}", "BadArguments", "below");
	ask_bad(h, "domifstat", "web", "{\"interface\":\"net9\"}", "DeviceNotFound", "net9");
	host_free(h);
}

static char *kvmctl(const struct host *h, const char *line)
{
	g_autofree char *script = g_strdup_printf("'%s' --root '%s' %s", g_getenv("KVMCTL"), h->root, line);
	char *argv[] = { (char *)"/bin/sh", (char *)"-c", script, NULL }, *out = NULL;
	int status;

	g_assert_true(g_spawn_sync(NULL, argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &out, NULL, &status, NULL));
	g_assert_cmpint(status, ==, 0);
	return out;
}

#define PRINTS(h, line, part) do { g_autofree char *o_ = kvmctl(h, line); if (!strstr(o_, part)) g_error("%s: '%s' is not in\n%s", line, part, o_); } while (0)

static void test_words(void)
{
	struct host *h = host_new(NULL);

	define_web(h);
	PRINTS(h, "domiflist web", " Interface   Type   Source   Model    MAC\n");
	PRINTS(h, "domiflist web", "user   -        virtio   " MAC "\n");
	ask_ok(h, "start", "web", "{}");
	PRINTS(h, "domif-setlink web " MAC " down", "the cable is as asked");
	PRINTS(h, "domif-getlink web " MAC, MAC " down\n");
	PRINTS(h, "domiftune web net0 --outbound 10,20,30", "are changed");
	PRINTS(h, "domiftune web net0", "outbound.burst  : 30\n");
	PRINTS(h, "domifstat web net0", "net0 rx_bytes 11\nnet0 rx_packets 2\nnet0 rx_errs 0\n");
	host_free(h);
}

int main(int argc, char **argv)
{
	g_autofree char *dir = passt_new();
	int rc;

	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/domif/definition", test_definition);
	g_test_add_func("/domif/machine", test_machine);
	g_test_add_func("/domif/refusals", test_refusals);
	g_test_add_func("/domif/words", test_words);
	rc = g_test_run();
	passt_remove(dir);
	return rc;
}
