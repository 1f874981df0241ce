/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Connections of character devices that are made again (<reconnect enabled='yes' timeout='N'/>). The machine's process cannot
 * connect: it says in its description that a connection is lost, and that is all there is to know, also for a kvmd that
 * began anew. N seconds later kvmd connects and hands the socket over, or waits N seconds again. Where to, it says
 * too, but there a description is refused that is not kvmd's own (given.h).
 */
#include <string.h>
#include <unistd.h>

#include "daemon/chardev_open.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/work.h"

struct dom_redial {
	struct dom *dom;
	unsigned refs;                  /* the domain's, and tries under way */
	bool dead;
	GPtrArray *lines;
};
struct line {                           /* one that is lost */
	struct dom_redial *all;
	char *alias;
	guint timer;                    /* 0: a try is under way */
	bool told;
};
struct try {                            /* beside the main loop */
	struct dom_redial *all;
	char *alias;
	struct chardev *chardev;
	int fd;
	GError *err;
};

static void line_free(gpointer p)
{
	struct line *l = p;

	if (l->timer)
		g_source_remove(l->timer);
	g_free(l->alias);
	g_free(l);
}

static void redial_unref(struct dom_redial *r)
{
	if (--r->refs)
		return;
	g_ptr_array_unref(r->lines);
	g_free(r);
}

static const struct chardev *find(const struct dom *d, const char *alias)
{
	const struct devices *all = d->live ? &d->live->devices : NULL;
	GPtrArray *lists[] = { all ? all->serials : NULL, all ? all->consoles : NULL, all ? all->channels : NULL };

	for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
		list_each(chardev, c, lists[i])
			if (!chardev_is_serial_console(all, c) && !g_strcmp0(c->alias, alias))
				return c;
	return NULL;
}

static struct line *line_of(const struct dom_redial *r, const char *alias)
{
	for (unsigned i = 0; i < r->lines->len; i++)
		if (!strcmp(((const struct line *)r->lines->pdata[i])->alias, alias))
			return r->lines->pdata[i];
	return NULL;
}

static void wait(struct line *l, const struct chardev *);

static void try_free(struct try *t)
{
	if (t->fd >= 0)
		close(t->fd);
	schema_free(&channel_schema, t->chardev);
	g_clear_error(&t->err);
	redial_unref(t->all);
	g_free(t->alias);
	g_free(t);
}

static void dial(void *arg)
{
	struct try *t = arg;

	t->fd = chardev_connect(t->chardev, &t->err);
}

/* Again, if it is still meant. */
static void again(struct try *t, const char *why)
{
	struct line *l = line_of(t->all, t->alias);
	const struct chardev *c = find(t->all->dom, t->alias);

	if (!l)
		return;
	if (!c || !c->source.lost || !chardev_reconnects(c)) {
		g_ptr_array_remove(t->all->lines, l);
		return;
	}
	if (why && !l->told)
		log_warning("vm '%s': '%s': %s; tried again every %u s", t->all->dom->name, t->alias, why, c->source.reconnect_timeout);
	l->told |= why != NULL;
	wait(l, c);
}

static void handed_over(void *arg, json_object *reply, const GError *err)
{
	struct try *t = arg;
	struct line *l;

	if (!t->all->dead && err)
		again(t, NULL);         /* it may have one already, of a kvmd before this one */
	else if (!t->all->dead && (l = line_of(t->all, t->alias)))
		g_ptr_array_remove(t->all->lines, l);
	try_free(t);
}

static void dialled(void *arg)
{
	struct try *t = arg;
	struct dom *d = t->all->dom;
	json_object *args;

	if (t->all->dead || t->err || !d->link) {
		if (!t->all->dead)
			again(t, t->err ? t->err->message : NULL);
		try_free(t);
		return;
	}
	args = json_object_new_object();
	json_object_object_add(args, "id", json_object_new_string(t->alias));
	link_call(d->link, "chardev-reconnect", args, &t->fd, 1, d->kvmd->config->answer_timeout, handed_over, t);
}

static gboolean due(gpointer data)
{
	struct line *l = data;
	struct dom_redial *r = l->all;
	const struct chardev *c = find(r->dom, l->alias);
	struct try *t;

	l->timer = 0;
	if (!c || !c->source.lost || !chardev_reconnects(c) || r->dom->kvmd->stopping) {
		g_ptr_array_remove(r->lines, l);
		return G_SOURCE_REMOVE;
	}
	t = g_new0(struct try, 1);
	*t = (struct try){ .all = r, .alias = g_strdup(l->alias), .chardev = schema_dup(&channel_schema, c), .fd = -1 };
	r->refs++;
	work_run(r->dom->kvmd->dial, dial, dialled, t);
	return G_SOURCE_REMOVE;
}

static void wait(struct line *l, const struct chardev *c)
{
	l->timer = g_timeout_add_seconds(MAX(c->source.reconnect_timeout, 1), due, l);
}

void chardev_redial(struct dom *d)
{
	const struct devices *all = &d->live->devices;
	GPtrArray *lists[] = { all->serials, all->consoles, all->channels };

	for (size_t i = 0; i < G_N_ELEMENTS(lists); i++)
		list_each(chardev, c, lists[i]) {
			struct line *l;

			if (!c->source.lost || !c->alias || !chardev_reconnects(c) || chardev_is_serial_console(all, c))
				continue;
			if (!d->redial) {
				d->redial = g_new0(struct dom_redial, 1);
				*d->redial = (struct dom_redial){ .dom = d, .refs = 1, .lines = g_ptr_array_new_with_free_func(line_free) };
			}
			if (line_of(d->redial, c->alias))
				continue;
			l = g_new0(struct line, 1);
			*l = (struct line){ .all = d->redial, .alias = g_strdup(c->alias) };
			g_ptr_array_add(d->redial->lines, l);
			wait(l, c);
		}
}

void chardev_redial_stop(struct dom *d)
{
	struct dom_redial *r = g_steal_pointer(&d->redial);

	if (!r)
		return;
	r->dead = true;
	g_ptr_array_set_size(r->lines, 0);
	redial_unref(r);
}
