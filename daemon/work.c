/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A pool of threads for what may block. */
#include "daemon/work.h"

#include <stdbool.h>

struct work {
	GThreadPool *pool;
};

struct item {
	void (*fn)(void *);
	void (*done)(void *);
	void *arg;
	int handed;
};

static gboolean item_done(gpointer data)
{
	struct item *i = data;

	TAKEN(&i->handed);
	i->done(i->arg);
	g_free(i);
	return G_SOURCE_REMOVE;
}

static void item_run(gpointer data, gpointer unused)
{
	struct item *i = data;
	bool report;

	TAKEN(&i->handed);
	i->fn(i->arg);
	report = i->done != NULL;
	HANDED(&i->handed);
	if (report)
		g_idle_add_full(G_PRIORITY_DEFAULT, item_done, i, NULL);
	else
		g_free(i);
}

struct work *work_new(unsigned threads)
{
	struct work *w = g_new0(struct work, 1);

	w->pool = g_thread_pool_new(item_run, NULL, (gint)threads, threads == 1, NULL);
	return w;
}

void work_run(struct work *w, void (*fn)(void *), void (*done)(void *), void *arg)
{
	struct item *i = g_new(struct item, 1);

	*i = (struct item){ fn, done, arg, 0 };
	HANDED(&i->handed);
	g_thread_pool_push(w->pool, i, NULL);
}

void work_free(struct work *w, gboolean wait)
{
	if (!w)
		return;
	g_thread_pool_free(w->pool, FALSE, wait);
	while (wait && g_main_context_iteration(NULL, FALSE))
		;
	g_free(w);
}
