/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes that the guest must confirm. See the header for the rules. */
#include "daemon/worker_confirm.h"

#include <string.h>

#include "daemon/worker.h"

struct part {
	char *key, *said;
	enum confirm_word word;
};

struct confirm {
	struct worker *worker;
	const struct confirm_ops *ops;
	void *arg;
	GPtrArray *parts;       /* struct part */
	unsigned timeout_ms, extensions;
	guint timer;
	bool started;
};

static void part_free(gpointer data)
{
	struct part *p = data;

	g_free(p->key);
	g_free(p->said);
	g_free(p);
}

static void confirm_free(struct confirm *c)
{
	if (c->timer)
		g_source_remove(c->timer);
	g_ptr_array_remove(c->worker->confirms, c);
	g_ptr_array_unref(c->parts);
	g_free(c);
}

static struct part *find(const struct worker *w, const char *key, struct confirm **in)
{
	for (unsigned i = 0; w->confirms && i < w->confirms->len; i++) {
		struct confirm *c = w->confirms->pdata[i];

		for (unsigned j = 0; j < c->parts->len; j++) {
			struct part *p = c->parts->pdata[j];

			if (strcmp(p->key, key))
				continue;
			if (in)
				*in = c;
			return p;
		}
	}
	return NULL;
}

static void complain(const struct confirm *c, const struct part *p, GString *text)
{
	if (text->len)
		g_string_append(text, "; ");
	if (p->word == CONFIRM_FAILED) {
		g_string_append(text, p->said);
		return;
	}
	g_string_append_printf(text, "%s: ", p->key);
	if (p->said && p->word == CONFIRM_PROGRESS)
		g_string_append_printf(text, "the guest has not done it within %u s; the last it said was: %s", c->timeout_ms / 1000, p->said);
	else if (p->said)
		g_string_append_printf(text, "the guest refused: %s", p->said);
	else
		g_string_append_printf(text, "no answer from the guest within %u s: does it handle ACPI events, or is it slow (--timeout)?", c->timeout_ms / 1000);
}

static void finish(struct confirm *c)
{
	struct worker *w = c->worker;
	const struct confirm_ops *ops = c->ops;
	void *arg = c->arg;
	g_autoptr(GString) text = g_string_new(NULL);
	g_autoptr(GError) err = NULL;

	for (unsigned i = 0; i < c->parts->len; i++) {
		struct part *p = c->parts->pdata[i];

		if (p->word != CONFIRM_DONE && !ops->undo(w, p->key, arg))
			complain(c, p, text);
	}
	if (text->len)
		kerr_set(&err, KERR_GUEST, "%s", text->str);
	confirm_free(c);
	ops->ended(w, err, arg);
}

static void arm(struct confirm *c);

static gboolean over(gpointer data)
{
	struct confirm *c = data;

	c->timer = 0;
	if (c->worker->vm.state != VM_RUNNING)
		arm(c);         /* nobody is there to answer */
	else
		finish(c);
	return G_SOURCE_REMOVE;
}

static void arm(struct confirm *c)
{
	if (c->timer)
		g_source_remove(c->timer);
	c->timer = g_timeout_add(c->timeout_ms, over, c);
}

static bool settled(const struct confirm *c)
{
	for (unsigned i = 0; i < c->parts->len; i++)
		if (((const struct part *)c->parts->pdata[i])->word == CONFIRM_PROGRESS)
			return false;
	return true;
}

struct confirm *confirm_new(struct worker *w, unsigned timeout_ms, const struct confirm_ops *ops, void *arg)
{
	struct confirm *c = g_new0(struct confirm, 1);

	*c = (struct confirm){ .worker = w, .ops = ops, .arg = arg, .timeout_ms = timeout_ms ? timeout_ms : CONFIRM_TIMEOUT_MS,
		.parts = g_ptr_array_new_with_free_func(part_free) };
	if (!w->confirms)
		w->confirms = g_ptr_array_new();
	g_ptr_array_add(w->confirms, c);
	return c;
}

bool confirm_part(struct confirm *c, const char *key, GError **err)
{
	struct part *p;

	if (find(c->worker, key, NULL))
		return kerr_set(err, KERR_BUSY, "%s: the guest has not yet answered to an earlier change of it", key);
	p = g_new0(struct part, 1);
	p->key = g_strdup(key);
	g_ptr_array_add(c->parts, p);
	return true;
}

void confirm_start(struct confirm *c)
{
	c->started = true;
	if (settled(c))
		finish(c);
	else
		arm(c);
}

void confirm_cancel(struct confirm *c)
{
	g_assert(!c->started);
	confirm_free(c);
}

bool confirm_told(struct worker *w, const char *key, enum confirm_word word, const char *said)
{
	struct confirm *c = NULL;
	struct part *p = find(w, key, &c);

	if (!p || p->word == CONFIRM_DONE)
		return false;
	p->word = word;
	if (said) {
		g_free(p->said);
		p->said = g_strdup(said);
	}
	if (!c->started)
		return true;
	if (settled(c))
		finish(c);
	else if (c->extensions++ < CONFIRM_PATIENCE * c->parts->len)
		arm(c);
	return true;
}

bool confirm_waits(const struct worker *w, const char *key)
{
	return find(w, key, NULL) != NULL;
}
