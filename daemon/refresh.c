/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a machine is, asked again. Each description passes given.h's gate before it is believed; one that does not is told of in the
 * log, and the machine is for kvmd what it was.
 *
 * Who asks gets an answer that was asked for after that. What the machine itself makes kvmd ask is asked once at a time, and once more
 * where it said so meanwhile; one that has it asked all the time waits in between, from some time on.
 */
#include "daemon/refresh.h"

#include "daemon/chardev_open.h"
#include "daemon/given.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/net.h"
#include "daemon/sockets.h"
#include "domain/json.h"

#define TOLD_USEC (60 * G_USEC_PER_SEC) /* what is refused is told of once in that time */
#define LOOKS 50                /* that the machine may cause at once; as many come back in a second */
#define PAUSE_MS 100            /* until it may again */

struct refresh {
	struct dom *dom;
	struct link *link;      /* that was asked: the machine may have ended and be another one since */
	void (*done)(void *, const GError *);
	void *arg;
};

static bool is_its_own(struct dom *d, const char *dir, const struct machine *m, GError **err)
{
	gint64 now = g_get_monotonic_time();
	g_autoptr(GError) why = NULL;

	if (given_holds(dir, m, &why))
		return true;
	if (!d->refused_told || now - d->refused_told > TOLD_USEC)
		log_warning("vm '%s': its description of itself is not believed: %s", d->name, why->message);
	d->refused_told = now;
	g_propagate_error(err, g_steal_pointer(&why));
	return false;
}

static void answered(void *arg, json_object *reply, const GError *failed)
{
	struct refresh *r = arg;
	struct machine *m = failed ? NULL : machine_new();
	g_autoptr(GError) err = failed ? g_error_copy(failed) : NULL;
	g_autofree char *dir = dom_run_dir(r->dom);
	bool own = true;

	if (m && !json_to_struct(&machine_schema, m, reply, &err)) {
		machine_free(m);
		m = NULL;
	}
	if (m && r->dom->link == r->link && r->dom->live && (own = is_its_own(r->dom, dir, m, &err))) {
		sockets_changed(dir, r->dom->live, m);
		net_changed(dir, r->dom->live, m);
		given_changed(dir, r->dom->live, m);
		machine_free(r->dom->live);
		r->dom->live = m;
		chardev_redial(r->dom);
	} else {
		machine_free(m);
	}
	if (err && own)
		log_warning("vm '%s': what it is now: %s", r->dom->name, err->message);
	if (r->done)
		r->done(r->arg, err);
	dom_unref(r->dom);
	g_free(r);
}

void dom_refresh(struct dom *d, void (*done)(void *, const GError *), void *arg)
{
	struct refresh *r = g_new(struct refresh, 1);

	*r = (struct refresh){ dom_ref(d), d->link, done, arg };
	link_call(d->link, "query-machine", NULL, NULL, 0, d->kvmd->config->answer_timeout, answered, r);
}

/* --- because the machine says so --- */

static bool may_look(struct dom *d)
{
	gint64 now = g_get_monotonic_time();

	d->looks = d->looks_at ? MIN(LOOKS, d->looks + (double)(now - d->looks_at) * LOOKS / G_USEC_PER_SEC) : LOOKS;
	d->looks_at = now;
	if (d->looks < 1)
		return false;
	d->looks--;
	return true;
}

static gboolean look_again(gpointer data)
{
	struct dom *d = data;

	d->looking = false;
	dom_refresh_soon(d);
	dom_unref(d);
	return G_SOURCE_REMOVE;
}

static void looked(void *arg, const GError *unused)
{
	struct dom *d = arg;

	d->looking = false;
	if (d->look_more)
		dom_refresh_soon(d);
	dom_unref(d);
}

void dom_refresh_soon(struct dom *d)
{
	d->look_more = d->looking;
	if (d->looking || !d->link)
		return;
	d->looking = true;
	if (may_look(d))
		dom_refresh(d, looked, dom_ref(d));
	else
		g_timeout_add(PAUSE_MS, look_again, dom_ref(d));
}
