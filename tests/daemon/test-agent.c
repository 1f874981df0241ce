/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's agent, the host's side, with a fake agent: what it answers, what it should not, and when it says nothing. */
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <glib-unix.h>

#include "daemon/worker.h"
#include "daemon/worker_agent_vcpus.h"

#define QUICK 60                /* ms, of those that get no answer */
#define LONG 20000              /* ms, of those that do */
#define CPUS 6

struct rig {
	struct worker w;
	int guest;                      /* the guest's end */
	guint source;
	GString *in;                    /* what came and was not a line yet */
	const char *before, *answer;    /* of a sync: what is said before its answer; to all else, NULL: nothing */
	bool mute, no_sync, liar;
	unsigned syncs, commands;
	char last[256];                 /* the last command's line */
	unsigned cpus;                  /* with: the guest's CPUs */
	bool online[CPUS];
	/* what came of a call */
	unsigned done;
	char *said, *error;
	int code;
	unsigned count;
};

static void say(struct rig *r, const char *text, size_t n)
{
	while (n) {
		ssize_t put = write(r->guest, text, n);

		if (put > 0) {
			text += put;
			n -= (size_t)put;
		} else {
			g_main_context_iteration(NULL, FALSE);
			if (!r->w.agent || r->done)
				return;         /* nobody reads */
		}
	}
}

static void answer_vcpus(struct rig *r, const char *line)
{
	g_autoptr(GString) s = g_string_new("{\"return\": [");
	json_object *o, *args, *list, *id, *on;

	if (strstr(line, "guest-get-vcpus")) {
		for (unsigned i = 0; i < r->cpus; i++)
			g_string_append_printf(s, "%s{\"online\": %s, \"can-offline\": %s, \"logical-id\": %u, \"more\": [1]}", i ? ", " : "",
				r->online[i] ? "true" : "false", i ? "true" : "false", i);
		g_string_append(s, "]}\n");
		say(r, s->str, s->len);
		return;
	}
	o = json_tokener_parse(line);
	json_object_object_get_ex(o, "arguments", &args);
	json_object_object_get_ex(args, "vcpus", &list);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		json_object_object_get_ex(json_object_array_get_idx(list, i), "logical-id", &id);
		json_object_object_get_ex(json_object_array_get_idx(list, i), "online", &on);
		if (!r->liar)
			r->online[json_object_get_int(id)] = json_object_get_boolean(on);
	}
	g_string_printf(s, "{\"return\": %zu}\n", json_object_array_length(list));
	say(r, s->str, s->len);
	json_object_put(o);
}

static void told(struct rig *r, const char *line)
{
	const char *id = strstr(line, "\"id\":");
	g_autofree char *text = NULL;

	if (!strstr(line, "guest-sync-delimited")) {
		r->commands++;
		g_strlcpy(r->last, line, sizeof(r->last));
		if (r->cpus)
			answer_vcpus(r, line);
		else if (r->answer)
			say(r, r->answer, strlen(r->answer));
		return;
	}
	r->syncs++;
	if (r->before)
		say(r, r->before, strlen(r->before));
	text = g_strdup_printf("\xff{\"return\": %" G_GUINT64_FORMAT "}\n", g_ascii_strtoull(id + 5, NULL, 10));
	if (!r->no_sync)
		say(r, text, strlen(text));
}

static gboolean guest_reads(gint fd, GIOCondition cond, gpointer data)
{
	struct rig *r = data;
	char buf[4096], *end;
	ssize_t n = read(fd, buf, sizeof(buf));

	if (n <= 0)
		return G_SOURCE_CONTINUE;
	g_string_append_len(r->in, buf, n);
	while ((end = strchr(r->in->str, '\n'))) {
		g_autofree char *line = g_strndup(r->in->str, (gsize)(end - r->in->str));
		char *start = strrchr(line, '\xff');

		g_string_erase(r->in, 0, end - r->in->str + 1);
		if (!r->mute)
			told(r, start ? start + 1 : line);
	}
	return G_SOURCE_CONTINUE;
}

static struct rig *rig_new(void)
{
	struct rig *r = g_new0(struct rig, 1);
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), ==, 0);
	r->guest = pair[1];
	r->in = g_string_new(NULL);
	r->source = g_unix_fd_add(r->guest, G_IO_IN, guest_reads, r);
	r->w.vm.state = VM_RUNNING;
	r->w.agent = agent_new(&r->w, pair[0], "web");
	agent_set_connected(r->w.agent, true);
	r->answer = "{\"return\": {\"a\": 1}}\n";
	return r;
}

static void forget(struct rig *r)
{
	g_clear_pointer(&r->said, g_free);
	g_clear_pointer(&r->error, g_free);
	r->done = 0;
}

static void rig_free(struct rig *r)
{
	g_clear_pointer(&r->w.agent, agent_free);
	g_source_remove(r->source);
	close(r->guest);
	g_string_free(r->in, TRUE);
	forget(r);
	g_free(r);
}

static void done(struct worker *w, json_object *answer, const GError *err, void *arg)
{
	struct rig *r = arg;

	g_assert_true(!answer || !err);
	r->done++;
	g_free(r->said);
	g_free(r->error);
	r->said = answer ? g_strdup(json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PLAIN)) : NULL;
	r->error = err ? g_strdup(err->message) : NULL;
	r->code = err ? err->code : -1;
}

static void wait_done(struct rig *r, unsigned n)
{
	while (r->done < n)
		g_main_context_iteration(NULL, TRUE);
}

static void call(struct rig *r, unsigned timeout, unsigned flags)
{
	g_autoptr(GError) err = NULL;

	forget(r);
	g_assert_true(agent_call(r->w.agent, "guest-x", NULL, timeout, flags, done, r, &err));
	g_assert_cmpuint(r->done, ==, 0);
	wait_done(r, 1);
}

/* After all that, the next call gets its own answer. */
static void works(struct rig *r)
{
	r->before = NULL;
	r->answer = "{\"return\": {\"a\": 1}}\n";
	r->mute = r->no_sync = false;
	call(r, LONG, 0);
	g_assert_cmpstr(r->error, ==, NULL);
	g_assert_cmpstr(r->said, ==, "{\"return\":{\"a\":1}}");
}

static void test_answers(void)
{
	struct rig *r = rig_new();

	works(r);
	g_assert_cmpuint(r->syncs, ==, 1);
	g_assert_cmpstr(r->last, ==, "{\"execute\":\"guest-x\"}");
	r->answer = "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no \\u001b[2Jway\"}}\r\n";
	call(r, LONG, 0);
	g_assert_cmpint(r->code, ==, KERR_GUEST);
	g_assert_cmpstr(r->error, ==, "the guest agent of 'web' refused guest-x: no  [2Jway");
	works(r);
	/* one that says nothing when it works, or that the guest went down */
	r->answer = NULL;
	call(r, LONG, AGENT_SILENT);
	g_assert_true(!r->said && !r->error);
	works(r);
	rig_free(r);
}

static void test_resync(void)
{
	static const char *const before[] = {
		"{\"return\": {\"old\": 1}}\n",
		"{\"return\": 7}\n\xff{\"return\": 7}\n",                       /* of an older sync */
		"{\"return\": {\"half\": ",
		"\xff\xff{\"return\": [[[\xff",
		"not JSON\n\n\n{}\n[1]\n{\"return\": null}\n",
		"{\"error\": {\"desc\": \"JSON parse error\"}}\n",
		"\x01\x02\xfe\xc0\n",
	};
	struct rig *r = rig_new();

	for (size_t i = 0; i < G_N_ELEMENTS(before); i++) {
		r->before = before[i];
		call(r, LONG, 0);
		g_assert_cmpstr(r->said, ==, "{\"return\":{\"a\":1}}");
	}
	/* while nobody asks: a megabyte that nobody reads, then it is thrown away */
	for (char flood[4096] = { 'x' }; write(r->guest, flood, sizeof(flood)) > 0;)
		;
	g_assert_false(g_main_context_pending(NULL));
	works(r);
	rig_free(r);
}

static void test_silence(void)
{
	struct rig *r = rig_new();

	/* it never answers: not even to the sync, so the command was never sent */
	r->mute = true;
	call(r, QUICK, 0);
	g_assert_cmpint(r->code, ==, KERR_TIMEOUT);
	g_assert_nonnull(strstr(r->error, "the guest agent of 'web' does not answer (0.1 s); is qemu-guest-agent running in the guest?"));
	call(r, QUICK, AGENT_SILENT);
	g_assert_cmpint(r->code, ==, KERR_TIMEOUT);
	g_assert_cmpuint(r->commands, ==, 0);
	works(r);
	/* to the sync only; and its answer comes after the deadline */
	r->answer = "{\"return\": ";
	call(r, QUICK, 0);
	g_assert_cmpint(r->code, ==, KERR_TIMEOUT);
	g_assert_nonnull(strstr(r->error, "has not answered to guest-x within"));
	say(r, "\"late\"}\n{\"return\": \"later\"}\n", 29);
	works(r);
	rig_free(r);
}

static void test_nonsense(void)
{
	static const char *const answers[] = { "nonsense\n", "[]\n", "{}\n", "{\"return\": 1\n", "{\"return\": 1}}\n", "{\"return\": 1} {}\n", "7\n",
		"{\"return\": \"\xc3\x28\"}\n", "{\"return\": \"\t\"}\n", "{\"return\": nan}\n" };
	g_autoptr(GString) s = g_string_new(NULL);
	struct rig *r = rig_new();

	for (size_t i = 0; i < G_N_ELEMENTS(answers); i++) {
		r->answer = answers[i];
		call(r, LONG, 0);
		g_assert_cmpint(r->code, ==, KERR_GUEST);
		g_assert_cmpstr(r->error, ==, "the guest agent of 'web' answers with what is no answer");
		works(r);
	}
	/* deeper, more, longer than can be taken */
	for (unsigned kind = 0; kind < 4; kind++) {
		g_string_assign(s, "{\"return\": ");
		for (unsigned i = 0; i < (kind == 0 ? AGENT_DEPTH : kind == 1 ? AGENT_VALUES_MAX : 0); i++)
			g_string_append(s, kind == 0 ? "[" : i ? ",[]" : "[[]");
		if (kind >= 2) {
			g_string_append_c(s, '"');
			while (s->len <= AGENT_LINE_MAX)
				g_string_append(s, "xxxxxxxxxxxxxxxx");
			if (kind == 2)
				g_string_append(s, "\"}\n");
		} else {
			g_string_append(s, "]}\n");
		}
		r->answer = s->str;
		call(r, kind == 3 ? QUICK * 20 : LONG, 0);
		g_assert_cmpint(r->code, ==, kind == 3 ? KERR_TIMEOUT : KERR_GUEST);
		works(r);
	}
	rig_free(r);
}

static gboolean flood(gint fd, GIOCondition cond, gpointer data)
{
	static const char text[4096];

	(void)!write(fd, text, sizeof(text));
	return G_SOURCE_CONTINUE;
}

static void test_flood(void)
{
	struct rig *r = rig_new();
	guint source;

	r->no_sync = true;
	source = g_unix_fd_add(r->guest, G_IO_OUT, flood, r);
	call(r, 10 * LONG, 0);
	g_source_remove(source);
	g_assert_cmpint(r->code, ==, KERR_GUEST);
	g_assert_cmpstr(r->error, ==, "the guest agent of 'web' floods its channel with what is no answer");
	works(r);
	rig_free(r);
}

static void test_refused(void)
{
	struct rig *r = rig_new();
	g_autoptr(GError) err = NULL;

	g_assert_false(agent_call(NULL, "guest-x", NULL, LONG, 0, done, r, &err));
	g_assert_error(err, kerr_quark(), KERR_INACTIVE);
	g_clear_error(&err);
	r->w.vm.state = VM_PAUSED;
	g_assert_false(agent_call(r->w.agent, "guest-x", json_object_new_object(), LONG, 0, done, r, &err));
	g_assert_error(err, kerr_quark(), KERR_STATE);
	g_clear_error(&err);
	r->w.vm.state = VM_RUNNING;
	/* many at once: each its turn, up to a limit */
	for (unsigned i = 0; i < AGENT_CALLS_MAX; i++)
		g_assert_true(agent_call(r->w.agent, "guest-x", NULL, LONG, 0, done, r, NULL));
	g_assert_false(agent_call(r->w.agent, "guest-x", NULL, LONG, 0, done, r, &err));
	g_assert_error(err, kerr_quark(), KERR_BUSY);
	g_clear_error(&err);
	wait_done(r, AGENT_CALLS_MAX);
	g_assert_cmpuint(r->syncs, ==, AGENT_CALLS_MAX);
	g_assert_cmpstr(r->error, ==, NULL);
	/* one that waits behind one that hangs */
	forget(r);
	r->mute = true;
	g_assert_true(agent_call(r->w.agent, "guest-x", NULL, LONG, 0, done, r, NULL));
	g_assert_true(agent_call(r->w.agent, "guest-x", NULL, QUICK, 0, done, r, NULL));
	wait_done(r, 1);
	g_assert_nonnull(strstr(r->error, "was busy with other commands"));
	/* it goes away under a call, and is back */
	forget(r);
	agent_set_connected(r->w.agent, false);
	g_assert_cmpuint(r->done, ==, 1);
	g_assert_cmpint(r->code, ==, KERR_STATE);
	g_assert_false(agent_call(r->w.agent, "guest-x", NULL, LONG, 0, done, r, &err));
	g_assert_error(err, kerr_quark(), KERR_STATE);
	g_clear_error(&err);
	agent_set_connected(r->w.agent, true);
	works(r);
	/* its channel is taken away under two */
	forget(r);
	g_assert_true(agent_call(r->w.agent, "guest-x", NULL, LONG, 0, done, r, NULL));
	g_assert_true(agent_call(r->w.agent, "guest-x", NULL, LONG, 0, done, r, NULL));
	g_main_context_iteration(NULL, FALSE);
	g_clear_pointer(&r->w.agent, agent_free);
	g_assert_cmpuint(r->done, ==, 2);
	g_assert_cmpint(r->code, ==, KERR_STATE);
	rig_free(r);
}

/* --- CPUs --- */

static void vcpus_done(struct worker *w, const GPtrArray *list, const GError *err, void *arg)
{
	struct rig *r = arg;

	r->count = guest_vcpus_online(list);
	done(w, NULL, err, arg);
}

static void count(struct rig *r, unsigned n)
{
	forget(r);
	g_assert_true(guest_vcpus_count(&r->w, n, LONG, vcpus_done, r, NULL));
	wait_done(r, 1);
}

static GArray *ids(unsigned n, const uint32_t *id)
{
	GArray *a = g_array_new(FALSE, FALSE, sizeof(uint32_t));

	g_array_append_vals(a, id, n);
	return a;
}

static gboolean plug(gpointer data)
{
	((struct rig *)data)->cpus++;
	return G_SOURCE_REMOVE;
}

static void test_vcpus(void)
{
	struct rig *r = rig_new();

	r->cpus = 4;
	r->online[0] = r->online[2] = true;
	count(r, 3);
	g_assert_cmpstr(r->error, ==, NULL);
	g_assert_true(r->count == 3 && r->online[1] && !r->online[3]);
	count(r, 1);
	g_assert_true(!r->error && r->count == 1 && r->online[0]);
	count(r, 4);
	g_assert_true(!r->error && r->count == 4);
	count(r, 5);
	g_assert_cmpint(r->code, ==, KERR_ARGS);
	forget(r);
	g_assert_true(guest_vcpus_switch(&r->w, ids(2, (uint32_t[]){ 1, 3 }), false, LONG, vcpus_done, r, NULL));
	wait_done(r, 1);
	g_assert_true(!r->error && r->count == 2 && r->online[2]);
	forget(r);
	g_assert_true(guest_vcpus_switch(&r->w, ids(1, (uint32_t[]){ 0 }), false, LONG, vcpus_done, r, NULL));
	wait_done(r, 1);
	g_assert_cmpint(r->code, ==, KERR_GUEST);
	forget(r);
	g_assert_true(guest_vcpus_switch(&r->w, ids(1, (uint32_t[]){ 9 }), true, LONG, vcpus_done, r, NULL));
	wait_done(r, 1);
	g_assert_cmpint(r->code, ==, KERR_ARGS);
	/* new ones are waited for and switched on; what was off stays so */
	g_timeout_add(30, plug, r);
	forget(r);
	g_assert_true(guest_vcpus_new(&r->w, ids(4, (uint32_t[]){ 0, 1, 2, 3 }), 1, LONG, vcpus_done, r, NULL));
	wait_done(r, 1);
	g_assert_true(!r->error && r->count == 3 && r->online[4] && !r->online[1]);
	/* they do not come */
	forget(r);
	g_assert_true(guest_vcpus_new(&r->w, ids(5, (uint32_t[]){ 0, 1, 2, 3, 4 }), 1, QUICK, vcpus_done, r, NULL));
	wait_done(r, 1);
	g_assert_nonnull(r->error);
	/* it says yes and does nothing */
	r->liar = true;
	r->commands = 0;
	count(r, 1);
	g_assert_cmpint(r->code, ==, KERR_GUEST);
	g_assert_cmpuint(r->commands, ==, 17);
	rig_free(r);
}

static void list_told(struct worker *w, const struct agent_told *t, const GError *err, void *arg)
{
	done(w, NULL, err, arg);
}

static void test_lists(void)
{
	static const char *const answers[] = { "{\"return\": 3}\n", "{\"return\": [1]}\n", "{\"return\": [{}]}\n",
		"{\"return\": [{\"logical-id\": -1, \"online\": true}]}\n", "{\"return\": [{\"logical-id\": 65536, \"online\": true}]}\n",
		"{\"return\": [{\"logical-id\": 1, \"online\": \"yes\"}]}\n", "{\"return\": [{\"logical-id\": 1e9, \"online\": true}]}\n" };
	struct rig *r = rig_new();
	g_autoptr(GString) s = g_string_new("{\"return\": [{\"logical-id\": 1, \"online\": true}");

	for (unsigned i = 0; i < 5000; i++)
		g_string_append(s, ",{}");
	g_string_append(s, "]}\n");
	for (size_t i = 0; i <= G_N_ELEMENTS(answers); i++) {
		r->answer = i < G_N_ELEMENTS(answers) ? answers[i] : s->str;
		forget(r);
		g_assert_true(agent_ask(&r->w, AGENT_GET_VCPUS, NULL, LONG, list_told, r, NULL));
		wait_done(r, 1);
		g_assert_cmpint(r->code, ==, KERR_GUEST);
	}
	r->answer = "{\"return\": [{\"logical-id\": 1, \"online\": true, \"new\": {}}]}\n";
	forget(r);
	g_assert_true(agent_ask(&r->w, AGENT_GET_VCPUS, NULL, LONG, list_told, r, NULL));
	wait_done(r, 1);
	g_assert_cmpstr(r->error, ==, NULL);
	rig_free(r);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	g_test_add_func("/agent/answers", test_answers);
	g_test_add_func("/agent/resync", test_resync);
	g_test_add_func("/agent/silence", test_silence);
	g_test_add_func("/agent/nonsense", test_nonsense);
	g_test_add_func("/agent/flood", test_flood);
	g_test_add_func("/agent/refused", test_refused);
	g_test_add_func("/agent/vcpus", test_vcpus);
	g_test_add_func("/agent/lists", test_lists);
	return g_test_run();
}
