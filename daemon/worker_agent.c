/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls of the guest's agent, one at a time; see the header for what is guarded against.
 *
 *   IDLE ──► SYNC: 0xFF {"execute":"guest-sync-delimited",…{"id":N}} is out; bytes are dropped up to 0xFF {"return":N}
 *              └──► ASK: the command is out; the next line is its answer ──► IDLE
 *
 * The byte 0xFF is in no JSON text: each side drops what it has of a line when it comes, so that a half line of somebody who was
 * cut off does no harm. In IDLE nothing is read; what comes then fills the channel and the guest waits.
 */
#include "daemon/worker_agent.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <glib-unix.h>

#include "daemon/worker.h"
#include "domain/error.h"

#define CHUNK 65536u
#define DELIMITER 0xff

enum step { STEP_IDLE, STEP_SYNC, STEP_ASK };

struct call {
	struct agent *agent;
	char *execute, *text;           /* its name; its line */
	unsigned flags, timeout;
	guint deadline;
	agent_done *done;
	void *arg;
};

struct agent {
	struct worker *worker;
	char *name;
	int fd;
	bool connected;
	GQueue calls;                   /* struct call; the head is under way unless IDLE */
	enum step step;
	guint readable, writable;       /* sources; 0: not watched */
	guint next;                     /* the head is begun soon */
	uint64_t number;                /* of the last sync */
	bool delimited;                 /* 0xFF came since it was sent */
	GByteArray *line;               /* what there is of the line that comes */
	bool cut;                       /* it is too long: dropped */
	uint64_t taken;                 /* bytes read for this call */
	GByteArray *out;                /* to be sent */
	guint out_done;
};

static void call_free(struct call *c)
{
	if (c->deadline)
		g_source_remove(c->deadline);
	g_free(c->execute);
	g_free(c->text);
	g_free(c);
}

static void unwatch(guint *source)
{
	if (*source)
		g_source_remove(*source);
	*source = 0;
}

/* --- calls begin and end --- */

static void begin(struct agent *a);

static gboolean begin_later(gpointer data)
{
	struct agent *a = data;

	a->next = 0;
	if (a->step == STEP_IDLE && a->calls.length)
		begin(a);
	return G_SOURCE_REMOVE;
}

static void call_end(struct agent *a, struct call *c, json_object *answer, const GError *err)
{
	if (a->step != STEP_IDLE && c == g_queue_peek_head(&a->calls)) {
		a->step = STEP_IDLE;
		unwatch(&a->readable);
		unwatch(&a->writable);
		g_byte_array_set_size(a->line, 0);
		g_byte_array_set_size(a->out, 0);
	}
	g_queue_remove(&a->calls, c);
	if (a->calls.length && !a->next)
		a->next = g_idle_add_full(G_PRIORITY_DEFAULT, begin_later, a, NULL);
	c->done(a->worker, answer, err, c->arg);
	call_free(c);
}

static void head_fail(struct agent *a, enum kerr code, const char *what)
{
	g_autoptr(GError) err = NULL;

	kerr_set(&err, code, "the guest agent of '%s' %s", a->name, what);
	call_end(a, g_queue_peek_head(&a->calls), NULL, err);
}

static gboolean deadline(gpointer data)
{
	struct call *c = data;
	struct agent *a = c->agent;
	bool head = c == g_queue_peek_head(&a->calls) && a->step != STEP_IDLE;
	g_autoptr(GError) err = NULL;

	c->deadline = 0;
	if (head && a->step == STEP_ASK && (c->flags & AGENT_SILENT)) {
		call_end(a, c, NULL, NULL);
		return G_SOURCE_REMOVE;
	}
	if (!head)
		kerr_set(&err, KERR_TIMEOUT, "the guest agent of '%s' was busy with other commands for %.1f s", a->name, c->timeout / 1000.0);
	else if (a->step == STEP_SYNC)
		kerr_set(&err, KERR_TIMEOUT, "the guest agent of '%s' does not answer (%.1f s); is qemu-guest-agent running in the guest?", a->name,
			c->timeout / 1000.0);
	else
		kerr_set(&err, KERR_TIMEOUT, "the guest agent of '%s' has not answered to %s within %.1f s; the guest may still do it", a->name, c->execute,
			c->timeout / 1000.0);
	call_end(a, c, NULL, err);
	return G_SOURCE_REMOVE;
}

/* --- what the agent says --- */

/* So many values would be made of it; strings count as one. */
static bool too_many_values(const uint8_t *text, size_t n)
{
	size_t values = 1;
	bool quoted = false;

	for (size_t i = 0; i < n; i++) {
		if (text[i] == '\\' && quoted)
			i++;
		else if (text[i] == '"')
			quoted = !quoted;
		else if (!quoted && (text[i] == ',' || text[i] == '[' || text[i] == '{' || text[i] == ':'))
			values++;
	}
	return values > AGENT_VALUES_MAX;
}

/* A JSON object, or NULL. */
static json_object *parse(const GByteArray *line)
{
	struct json_tokener *tok;
	json_object *o;

	/* control characters have no place in JSON, and would grow when they are written again */
	for (guint i = 0; i < line->len; i++)
		if (line->data[i] < 0x20)
			return NULL;
	if (!g_utf8_validate((const char *)line->data, line->len, NULL) || too_many_values(line->data, line->len))
		return NULL;
	tok = json_tokener_new_ex(AGENT_DEPTH);
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT);
	o = json_tokener_parse_ex(tok, (const char *)line->data, (int)line->len);
	if (json_tokener_get_error(tok) != json_tokener_success || json_tokener_get_parse_end(tok) != line->len || !json_object_is_type(o, json_type_object))
		g_clear_pointer(&o, json_object_put);
	json_tokener_free(tok);
	return o;
}

static void send_some(struct agent *a);

static void put(struct agent *a, const char *text)
{
	g_byte_array_append(a->out, (const uint8_t *)text, (guint)strlen(text));
	send_some(a);
}

static void synced(struct agent *a)
{
	struct call *c = g_queue_peek_head(&a->calls);

	a->step = STEP_ASK;
	if (c->flags & AGENT_SILENT) {
		g_source_remove(c->deadline);
		c->deadline = g_timeout_add(AGENT_QUIET_MS, deadline, c);
	}
	put(a, c->text);
}

/* Its error in its own words, which are the guest's: bounded, and without what could play with a terminal. */
static void refused(struct agent *a, json_object *error)
{
	struct call *c = g_queue_peek_head(&a->calls);
	const char *desc = "no reason given";
	g_autofree char *words = NULL;
	g_autoptr(GError) err = NULL;
	json_object *v;

	if (json_object_is_type(error, json_type_object) && json_object_object_get_ex(error, "desc", &v) && json_object_is_type(v, json_type_string))
		desc = json_object_get_string(v);
	words = g_strndup(desc, MIN(strlen(desc), 500));
	for (char *p = words; *p; p++)
		if (g_ascii_iscntrl(*p))
			*p = ' ';
	if (!g_utf8_validate(words, -1, NULL)) {        /* cut in a character */
		char *whole = g_utf8_make_valid(words, -1);

		g_free(words);
		words = whole;
	}
	kerr_set(&err, KERR_GUEST, "the guest agent of '%s' refused %s: %s", a->name, c->execute, words);
	call_end(a, c, NULL, err);
}

static void take_line(struct agent *a)
{
	json_object *o = a->cut ? NULL : parse(a->line), *v = NULL;
	bool cut = a->cut, blank = !a->line->len;

	a->cut = false;
	g_byte_array_set_size(a->line, 0);
	if (a->step == STEP_SYNC) {
		if (o && a->delimited && json_object_object_get_ex(o, "return", &v) && json_object_is_type(v, json_type_int) &&
			json_object_get_uint64(v) == a->number)
			synced(a);
	} else if (blank && !cut) {
		/* nothing was said */
	} else if (cut) {
		head_fail(a, KERR_GUEST, "answers with more than can be taken (2 MiB)");
	} else if (o && json_object_object_get_ex(o, "error", &v)) {
		refused(a, v);
	} else if (o && json_object_object_get_ex(o, "return", NULL)) {
		call_end(a, g_queue_peek_head(&a->calls), o, NULL);
	} else {
		head_fail(a, KERR_GUEST, "answers with what is no answer");
	}
	json_object_put(o);
}

static void take(struct agent *a, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n && a->step != STEP_IDLE; i++) {
		if (data[i] == DELIMITER) {
			g_byte_array_set_size(a->line, 0);
			a->cut = false;
			a->delimited = true;
		} else if (data[i] == '\n') {
			take_line(a);
		} else if (data[i] != '\r' && !a->cut) {
			a->cut = a->line->len == AGENT_LINE_MAX;
			if (!a->cut)
				g_byte_array_append(a->line, &data[i], 1);
		}
	}
}

static gboolean on_readable(gint fd, GIOCondition cond, gpointer data)
{
	struct agent *a = data;
	g_autofree uint8_t *buf = g_malloc(CHUNK);
	ssize_t n = read(fd, buf, CHUNK);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return G_SOURCE_CONTINUE;
	if (n <= 0) {           /* its channel was taken away */
		a->readable = 0;
		a->connected = false;
		head_fail(a, KERR_STATE, "has no channel any more");
		return G_SOURCE_REMOVE;
	}
	a->taken += (uint64_t)n;
	take(a, buf, (size_t)n);
	if (a->step != STEP_IDLE && a->taken > AGENT_READ_MAX)
		head_fail(a, KERR_GUEST, "floods its channel with what is no answer");
	/* a call that has ended has removed this source */
	return G_SOURCE_CONTINUE;
}

/* --- what it is told --- */

static gboolean on_writable(gint fd, GIOCondition cond, gpointer data)
{
	struct agent *a = data;

	a->writable = 0;
	send_some(a);
	return G_SOURCE_REMOVE;
}

static void send_some(struct agent *a)
{
	while (a->out_done < a->out->len) {
		ssize_t n = write(a->fd, a->out->data + a->out_done, a->out->len - a->out_done);

		if (n > 0) {
			a->out_done += (guint)n;
		} else if (n < 0 && errno == EAGAIN) {
			if (!a->writable)
				a->writable = g_unix_fd_add(a->fd, G_IO_OUT, on_writable, a);
			return;
		} else if (n == 0 || errno != EINTR) {
			break;          /* the reader hears of it, or the deadline comes */
		}
	}
	g_byte_array_set_size(a->out, 0);
	a->out_done = 0;
}

static void begin(struct agent *a)
{
	g_autofree char *sync = NULL;
	uint8_t delimiter = DELIMITER;

	a->step = STEP_SYNC;
	a->taken = 0;
	a->delimited = a->cut = false;
	a->out_done = 0;
	g_byte_array_set_size(a->line, 0);
	g_byte_array_set_size(a->out, 0);
	/* also another one than an earlier worker's, whose question may still be in the guest */
	a->number = MAX(a->number + 1, (uint64_t)g_get_real_time());
	sync = g_strdup_printf("{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%" G_GUINT64_FORMAT "}}\n", a->number);
	/* a flood must not keep others of this thread waiting */
	a->readable = g_unix_fd_add_full(G_PRIORITY_LOW, a->fd, G_IO_IN, on_readable, a, NULL);
	g_byte_array_append(a->out, &delimiter, 1);
	put(a, sync);
}

bool agent_call(struct agent *a, const char *execute, json_object *args, unsigned timeout_ms, unsigned flags, agent_done *done, void *arg, GError **err)
{
	json_object *message = json_object_new_object();
	g_autofree char *text = NULL;
	struct call *c;

	json_object_object_add(message, "execute", json_object_new_string(execute));
	if (args)
		json_object_object_add(message, "arguments", args);
	text = g_strconcat(json_object_to_json_string_ext(message, JSON_C_TO_STRING_PLAIN), "\n", NULL);
	json_object_put(message);
	if (!a)
		return kerr_set(err, KERR_INACTIVE, "the domain has no channel to a guest agent: attach <channel type='unix'><target type='virtio' name='"
			CHARDEV_AGENT "'/></channel>");
	if (strlen(text) > AGENT_LINE_MAX)
		return kerr_set(err, KERR_ARGS, "a command for the guest agent has at most %u bytes", AGENT_LINE_MAX);
	if (a->worker->vm.state != VM_RUNNING)
		return kerr_set(err, KERR_STATE, "the guest does not run, so its agent cannot answer");
	if (!a->connected)
		return kerr_set(err, KERR_STATE, "the guest agent of '%s' is not connected; is qemu-guest-agent running in the guest?", a->name);
	if (a->calls.length >= AGENT_CALLS_MAX)
		return kerr_set(err, KERR_BUSY, "%u commands wait for the guest agent of '%s' already", AGENT_CALLS_MAX, a->name);
	c = g_new0(struct call, 1);
	*c = (struct call){ .agent = a, .execute = g_strdup(execute), .text = g_steal_pointer(&text), .flags = flags, .timeout = timeout_ms, .done = done,
		.arg = arg };
	c->deadline = g_timeout_add(timeout_ms, deadline, c);
	g_queue_push_tail(&a->calls, c);
	if (a->step == STEP_IDLE && !a->next)
		a->next = g_idle_add_full(G_PRIORITY_DEFAULT, begin_later, a, NULL);
	return true;
}

/* --- it comes and goes --- */

static void fail_all(struct agent *a, const char *what)
{
	g_autoptr(GError) err = NULL;

	kerr_set(&err, KERR_STATE, "the guest agent of '%s' %s", a->name, what);
	for (guint n = a->calls.length; n && a->calls.length; n--)
		call_end(a, g_queue_peek_head(&a->calls), NULL, err);
}

void agent_set_connected(struct agent *a, bool on)
{
	struct call *head;

	if (a->connected == on)
		return;
	a->connected = on;
	if (on)
		return;
	head = g_queue_peek_head(&a->calls);
	if (head && a->step == STEP_ASK && (head->flags & AGENT_SILENT))
		call_end(a, head, NULL, NULL);          /* the guest goes down */
	fail_all(a, "went away before it answered");
}

bool agent_is_connected(const struct agent *a)
{
	return a && a->connected;
}

struct agent *agent_new(struct worker *w, int fd, const char *name)
{
	struct agent *a = g_new0(struct agent, 1);

	*a = (struct agent){ .worker = w, .fd = fd, .name = g_strdup(name), .line = g_byte_array_new(), .out = g_byte_array_new() };
	g_queue_init(&a->calls);
	return a;
}

void agent_free(struct agent *a)
{
	if (!a)
		return;
	a->connected = false;
	fail_all(a, "has no channel any more");
	unwatch(&a->next);
	unwatch(&a->readable);
	unwatch(&a->writable);
	close(a->fd);
	g_byte_array_unref(a->line);
	g_byte_array_unref(a->out);
	g_free(a->name);
	g_free(a);
}
