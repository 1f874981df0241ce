/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile guest's agent: any bytes on its channel while it is asked something. The first byte says what is asked; 0xFE in the
 * rest stands for the answer to the sync that is under way, which no input could guess. Whatever comes, each question ends once,
 * with an answer or a reason, and what kvmd and its clients get of it is bounded text.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/worker.h"
#include "daemon/worker_agent_calls.h"

#define SYNCED 0xfe
#define LONG 1000000            /* ms: the end of its channel ends a question before */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned ended;

static void must(bool so)
{
	if (!so)
		abort();
}

/* Text that goes to logs and terminals. */
static void check_reason(const GError *err)
{
	must(strlen(err->message) < 1000 && g_utf8_validate(err->message, -1, NULL));
	for (const char *p = err->message; *p; p++)
		must(!g_ascii_iscntrl(*p));
}

static void on_answer(struct worker *w, json_object *answer, const GError *err, void *arg)
{
	must(!answer != !err && !ended++);
	if (answer)
		must(strlen(json_object_to_json_string_ext(answer, JSON_C_TO_STRING_PLAIN)) <= 6 * AGENT_LINE_MAX);
	else
		check_reason(err);
}

static void on_told(struct worker *w, const struct agent_told *told, const GError *err, void *arg)
{
	uint64_t sum = 0;

	must(!ended++);
	if (err)
		check_reason(err);
	for (guint i = 0; !err && told->list && i < told->list->len; i++) {
		const struct guest_vcpu *c = g_ptr_array_index(told->list, i);

		sum += c->id + c->online + c->can_offline;
	}
	must(sum < UINT64_MAX);         /* all of it could be read */
}

static bool ask(struct worker *w, unsigned what)
{
	if (what % (AGENT_ASK_N + 2) < AGENT_ASK_N)
		return agent_ask(w, what % (AGENT_ASK_N + 2), NULL, LONG, on_told, NULL, NULL);
	return agent_call(w->agent, "guest-x", NULL, LONG, 0, on_answer, NULL, NULL);
}

/* The number of the last sync that the guest was told. */
static uint64_t number(int guest, uint64_t before)
{
	char buf[4096];
	ssize_t n = recv(guest, buf, sizeof(buf) - 1, MSG_DONTWAIT);
	const char *id = n > 0 ? g_strrstr_len(buf, n, "\"id\":") : NULL;

	if (!id)
		return before;
	buf[n] = 0;
	return g_ascii_strtoull(id + 5, NULL, 10);
}

static void synced(int guest, uint64_t id)
{
	g_autofree char *text = g_strdup_printf("\xff{\"return\":%" G_GUINT64_FORMAT "}\n", id);

	(void)!send(guest, text, strlen(text), MSG_NOSIGNAL);
}

static void settle(void)
{
	while (g_main_context_iteration(NULL, FALSE))
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct worker w = { .vm = { .state = VM_RUNNING } };
	uint64_t id = 0;
	int pair[2];

	if (!size)
		return 0;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	w.agent = agent_new(&w, pair[0], "web");
	agent_set_connected(w.agent, true);
	ended = 0;
	must(ask(&w, data[0]));
	for (size_t at = 1; at < size && !ended;) {
		const uint8_t *end = memchr(data + at, SYNCED, size - at);
		size_t part = end ? (size_t)(end - data) - at : size - at;

		settle();
		id = number(pair[1], id);
		(void)!send(pair[1], data + at, part, MSG_NOSIGNAL);
		if (end)
			synced(pair[1], id);
		at += part + (end ? 1 : 0);
	}
	settle();
	close(pair[1]);
	while (!ended)
		g_main_context_iteration(NULL, TRUE);
	agent_free(w.agent);
	settle();
	must(ended == 1);
	return 0;
}
