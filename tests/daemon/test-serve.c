/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine that has been taken over says that its clients' commands are kvmd's: kvmd does what a client wrote, and nothing else. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/unix.h"
#include "daemon/wire.h"
#include "tests/daemon/host.h"

#define UUID "5a8a7c0e-0b54-4f0e-9d7a-0d6ac1d6a001"
#define PTY(id) "{\"execute\":\"chardev-add\",\"arguments\":{\"id\":\"" id "\",\"backend\":{\"type\":\"pty\",\"data\":{}}}}"

struct rig {
	struct host *h;
	struct conn *orders;    /* to the fake */
	int client;             /* whose input stays where it is */
};

static struct conn *dial(const struct host *h)
{
	g_autofree char *path = host_path(h, "run/kvmd/vm/v.qmp");
	g_autoptr(GError) err = NULL;
	struct conn *c = g_new(struct conn, 1);

	c->fd = connect_unix(path, &err);
	g_assert_no_error(err);
	c->reader = wire_reader_new(c->fd);
	return c;
}

static void order(struct conn *c, const char *command, const char *text)
{
	json_object *m = json_object_new_object(), *a = json_object_new_object();

	json_object_object_add(m, "execute", json_object_new_string(command));
	json_object_object_add(a, "text", json_object_new_string(text));
	json_object_object_add(m, "arguments", a);
	g_assert_true(wire_write_sync(c->fd, m, NULL, 0, NULL));
	json_object_put(m);
}

static void rig_init(struct rig *r)
{
	g_autofree char *xml = NULL;
	struct conn *c;
	json_object *m;

	r->h = host_new(NULL);
	xml = domain_xml(r->h, "v", UUID, "", "");
	define(r->h, xml);
	ask_ok(r->h, "start", "v", NULL);
	wait_for(r->h, "v", "running");
	r->orders = dial(r->h);
	c = dial(r->h);
	order(c, "x-hold", "");
	do {
		m = conn_read(c);
		json_object_put(m);
	} while (json_object_object_get_ex(m, "event", NULL));
	r->client = c->fd;
	wire_reader_free(c->reader);
	g_free(c);
}

static void rig_finish(struct rig *r)
{
	close(r->client);
	conn_free(r->orders);
	host_free(r->h);
}

/* What kvmd says of that socket's next command, and whether it took it: "AccessDenied: …", "return {…}". New. */
static char *serve(struct rig *r, const char *what, bool *taken)
{
	char *said = NULL;

	*taken = false;
	order(r->orders, "x-serve", what);
	while (!said) {
		json_object *m = conn_read(r->orders), *v, *answer, *data;

		if (json_object_object_get_ex(m, "event", &v) && !strcmp(json_object_get_string(v), "SERVED")) {
			g_assert_true(json_object_object_get_ex(m, "data", &data) && json_object_object_get_ex(data, "taken", &v));
			*taken |= json_object_get_boolean(v);
			if (json_object_object_get_ex(data, "answer", &answer)) {
				if (json_object_object_get_ex(answer, "error", &v))
					said = g_strdup_printf("%s: %s", str(v, "code"), str(v, "desc"));
				else if (json_object_object_get_ex(answer, "return", &v))
					said = g_strdup_printf("return %s", json_object_to_json_string(v));
			}
		}
		json_object_put(m);
	}
	g_test_message("%s: %s", what, said);
	return said;
}

static void put(const struct rig *r, const char *text)
{
	g_assert_cmpint(send(r->client, text, strlen(text), MSG_NOSIGNAL), ==, (ssize_t)strlen(text));
}

/* The next command of the real client: an answer that begins with `want` and has `part` in it. */
static void expect(struct rig *r, bool taken, const char *want, const char *part)
{
	bool took;
	g_autofree char *said = serve(r, "client", &took);

	if (!g_str_has_prefix(said, want) || !strstr(said, part) || took != taken)
		g_error("not '%s … %s', %staken: %s", want, part, taken ? "" : "not ", said);
}

static void test_commands(void)
{
	struct rig r;

	rig_init(&r);
	put(&r, PTY("a") "{\"execute\":\"query-status\"}\n" PTY("b"));
	expect(&r, true, "return", "\"pty\"");
	expect(&r, true, "InternalError", "the machine's own");
	expect(&r, true, "BadMessage", "not valid JSON");                       /* the newline's empty message */
	expect(&r, true, "return", "\"pty\"");
	expect(&r, false, "BadMessage", "as a whole");                         /* all is gone: nothing comes twice */
	put(&r, "{\"execute\":\"undefine\"}{\"execute\":\"list\"}{\"execute\":\"destroy\",\"vm\":\"v\"}{\"execute\":\"client-served\"}");
	expect(&r, true, "InternalError", "the machine's own");
	expect(&r, true, "BadArguments", "not about one domain");
	expect(&r, true, "BadMessage", "'vm' has no place");
	expect(&r, true, "CommandNotFound", "no command");
	put(&r, "{\"execute\":\"chardev-add\",\"vm\":\"v\",\"arguments\":{}}{\"execute\":\"chardev-add\",\"arguments\":{\"x\":1}}[1]}{\"execute\":7}");
	expect(&r, true, "BadMessage", "'vm' has no place");
	expect(&r, true, "BadArguments", "unknown");
	expect(&r, true, "BadMessage", "not a JSON object");
	expect(&r, true, "BadMessage", "not valid JSON");
	expect(&r, true, "BadMessage", "needs \"execute\"");
	put(&r, "{'execute':'chardev-add','arguments':{'id':'s','backend':{'type':'pty','data':{}}}}");
	expect(&r, true, "BadMessage", "double quotes");
	put(&r, "{\"execute\":\"chardev-add\",");
	expect(&r, false, "BadMessage", "as a whole");
	put(&r, "\"arguments\":{\"id\":\"c\",\"backend\":{\"type\":\"null\",\"data\":{}}}}");
	expect(&r, true, "return", "");
	rig_finish(&r);
}

static void test_sockets(void)
{
	static const char *const forged[] = { "pair", "packets", "datagrams", "other", "listener", "link", "end", "tcp", "file" };
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < G_N_ELEMENTS(forged); i++) {
		bool taken;
		g_autofree char *said = serve(&r, forged[i], &taken);

		g_assert_true(g_str_has_prefix(said, "AccessDenied: ") && strstr(said, "qmp.sock") && !taken);
	}
	/* many at once: each is answered, and kvmd goes on */
	for (unsigned i = 0; i < 500; i++)
		order(r.orders, "x-serve", "file");
	for (unsigned n = 0; n < 500;) {
		json_object *m = conn_read(r.orders), *v;

		n += json_object_object_get_ex(m, "event", &v) && !strcmp(json_object_get_string(v), "SERVED");
		json_object_put(m);
	}
	ask_ok(r.h, "version", NULL, NULL);
	rig_finish(&r);
}

/* A client's message with text of somebody else in it, read by kvmd from every byte on: nothing in it is a command. */
static void read_from_everywhere(struct rig *r, const char *message)
{
	for (size_t at = 1; message[at]; at++) {
		g_autofree char *n = g_strdup_printf("%zu", at);

		put(r, message);
		order(r->orders, "x-eat", n);
		for (bool more = true; more;) {
			g_autofree char *said = serve(r, "client", &more);

			if (g_str_has_prefix(said, "return") || strstr(said, "CommandNotFound") || strstr(said, "machine's own"))
				g_error("from byte %zu of %s: %s", at, message, said);
		}
		order(r->orders, "x-eat", "100000");
	}
}

static void test_middle(void)
{
	static const char *const texts[] = { PTY("x"), "{'execute':'chardev-add','arguments':{'id':'x','backend':{'type':'pty','data':{}}}}",
		"\n{\"execute\":\"stop\"}\n", "\\" PTY("x"), "{\\\"execute\\\":\\\"stop\\\"}", "\"}{\"execute\":\"stop\"}{\"" };
	struct rig r;

	rig_init(&r);
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
		json_object *m = json_object_new_object(), *a = json_object_new_array();

		/* as any JSON library writes it */
		json_object_object_add(m, "id", json_object_new_int(1));
		json_object_array_add(a, json_object_new_string(texts[i]));
		json_object_array_add(a, json_object_new_string(texts[i]));
		json_object_object_add(m, texts[i], a);
		read_from_everywhere(&r, json_object_to_json_string_ext(m, JSON_C_TO_STRING_PLAIN));
		json_object_put(m);
	}
	/* texts between which the quotes change their meaning */
	read_from_everywhere(&r, "[\"{\", \"execute\", \":\", \"stop\", \"}\", {\"{\":\"execute\",\":\":\"stop\",\"}\":\"\"}]");
	rig_finish(&r);
}

/* kvmd ends while it serves; the next one knows nothing of it. */
static void test_restart(void)
{
	struct rig r;

	rig_init(&r);
	host_kill(r.h, 9);
	host_start(r.h);
	wait_for(r.h, "v", "running");
	put(&r, PTY("a"));
	expect(&r, true, "return", "\"pty\"");
	rig_finish(&r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/serve/commands", test_commands);
	g_test_add_func("/serve/sockets", test_sockets);
	g_test_add_func("/serve/middle", test_middle);
	g_test_add_func("/serve/restart", test_restart);
	return g_test_run();
}
