/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a machine is, asked again. */
#include "daemon/refresh.h"

#include "daemon/chardev_open.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/net.h"
#include "daemon/sockets.h"
#include "domain/json.h"

struct refresh {
	struct dom *dom;
	struct link *link;      /* that was asked: the machine may have ended and be another one since */
	void (*done)(void *, const GError *);
	void *arg;
};

static void answered(void *arg, json_object *reply, const GError *failed)
{
	struct refresh *r = arg;
	struct machine *m = failed ? NULL : machine_new();
	g_autoptr(GError) err = failed ? g_error_copy(failed) : NULL;

	if (m && !json_to_struct(&machine_schema, m, reply, &err)) {
		machine_free(m);
		m = NULL;
	}
	if (m && r->dom->link == r->link && r->dom->live) {
		g_autofree char *dir = dom_run_dir(r->dom);

		sockets_changed(dir, r->dom->live, m);
		net_changed(dir, r->dom->live, m);
		machine_free(r->dom->live);
		r->dom->live = m;
		chardev_redial(r->dom);
	} else {
		machine_free(m);
	}
	if (err)
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
