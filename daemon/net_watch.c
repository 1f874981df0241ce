/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Helpers of network cards while their machine runs. passt is no child of ours (it went to the background), so a kvmd that
 * began anew finds it like the one that started it: by its pid file in the machine's folder and a pidfd. When it ends while
 * the machine goes on, its card's cable is out; another is started, at once the first time and then with growing pauses,
 * and its socket is handed to the worker.
 */
#include <errno.h>
#include <glib-unix.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/net.h"
#include "daemon/dom.h"

#define FILE_PREFIX "passt-"    /* net_passt_file() */
#define FILE_SUFFIX ".pid"
#define SETTLE_MS 200           /* a machine that ends takes its helpers along: that is no failure */
#define PAUSE_MS 1000
#define PAUSE_MOST_MS 60000
#define STEADY_US 30000000      /* one that ran so long has not failed at the start */

struct helper {                 /* of a card */
	struct dom_net *net;
	char *alias, *file;
	int pidfd;                      /* -1: it does not run */
	guint gone, timer;
	unsigned pause;                 /* ms; 0: at once */
	gint64 since;                   /* monotonic, µs */
	bool told;                      /* that it has ended */
};
struct dom_net {
	struct dom *dom;
	unsigned refs;                  /* the domain's, and a start under way */
	bool dead;
	GPtrArray *helpers;
};
struct job {                    /* a start, beside the main loop */
	struct dom_net *net;
	struct helper *helper;
	struct iface *iface;
	char *file;
	int null_fd, sock;
	GError *err;
};

static void look(struct helper *h);
static void retry(struct helper *h, unsigned ms);

static void helper_stop(struct helper *h)
{
	if (h->gone)
		g_source_remove(h->gone);
	if (h->timer)
		g_source_remove(h->timer);
	h->gone = h->timer = 0;
	if (h->pidfd >= 0)
		close(h->pidfd);
	h->pidfd = -1;
}

static void helper_free(gpointer p)
{
	struct helper *h = p;

	helper_stop(h);
	g_free(h->alias);
	g_free(h->file);
	g_free(h);
}

static void net_unref(struct dom_net *n)
{
	if (--n->refs)
		return;
	g_ptr_array_unref(n->helpers);
	g_free(n);
}

static void tell(struct helper *h, const char *event, const char *reason)
{
	json_object *data = json_object_new_object();

	json_object_object_add(data, "netdev-id", json_object_new_string(h->alias));
	if (reason)
		json_object_object_add(data, "reason", json_object_new_string(reason));
	dom_event(h->net->dom, event, data);
}

/* --- which process --- */

/* The pid file names it, and it was started with that file: a pid that was given to another is not taken for it. */
static int find(const struct helper *h)
{
	g_autofree char *text = NULL, *path = NULL, *args = NULL;
	gsize len;
	long pid;
	int fd;

	if (!g_file_get_contents(h->file, &text, NULL, NULL) || (pid = strtol(text, NULL, 10)) <= 1)
		return -1;
	fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	path = g_strdup_printf("/proc/%ld/cmdline", pid);
	if (fd >= 0 && (!g_file_get_contents(path, &args, &len, NULL) || !memmem(args, len, h->file, strlen(h->file)))) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* --- starting it again --- */

static const struct iface *card(const struct machine *m, const char *alias)
{
	if (m)
		list_each(iface, i, m->devices.interfaces)
			if (!g_strcmp0(i->alias, alias))
				return i;
	return NULL;
}

static const struct iface *iface_of(const struct helper *h)
{
	return card(h->net->dom->live, h->alias);
}

static void start(void *arg)
{
	struct job *j = arg;

	(void)net_passt_start(&(struct net_passt){ .iface = j->iface, .pid_file = j->file, .null_fd = j->null_fd }, &j->sock, &j->err);
}

static void connected(void *arg, json_object *reply, const GError *err)
{
	struct job *j = arg;
	struct helper *h = j->helper;

	if (!j->net->dead) {
		if (err) {
			log_warning("vm '%s': interface '%s': %s", j->net->dom->name, h->alias, err->message);
			retry(h, h->pause);
		} else {
			tell(h, "NETDEV_STREAM_CONNECTED", NULL);
			h->told = false;
		}
	}
	net_unref(j->net);
	g_free(j);
}

static void started(void *arg)
{
	struct job *j = arg;
	struct helper *h = j->helper;
	struct dom *d = j->net->dom;

	schema_free(&iface_schema, j->iface);
	g_free(j->file);
	if (!j->net->dead && !j->err && !d->link)
		kerr_set(&j->err, KERR_CONNECT, "the machine's process cannot be reached");
	if (j->net->dead || j->err) {
		if (!j->net->dead) {
			log_warning("vm '%s': interface '%s': %s", d->name, h->alias, j->err->message);
			retry(h, h->pause);
		}
		g_clear_error(&j->err);
		if (j->sock >= 0)
			close(j->sock);         /* and it ends */
		net_unref(j->net);
		g_free(j);
		return;
	}
	json_object *args = json_object_new_object();

	json_object_object_add(args, "id", json_object_new_string(h->alias));
	look(h);
	link_call(d->link, "netdev-reconnect", args, &j->sock, 1, d->kvmd->config->answer_timeout, connected, j);
	close(j->sock);
}

static gboolean due(gpointer data)
{
	struct helper *h = data;
	struct dom *d = h->net->dom;
	const struct iface *i = iface_of(h);
	struct job *j;

	h->timer = 0;
	if (!i || d->destroyed || d->kvmd->stopping || (d->pidfd >= 0 && poll(&(struct pollfd){ .fd = d->pidfd, .events = POLLIN }, 1, 0) > 0))
		return G_SOURCE_REMOVE;         /* the machine ends */
	if (!h->told) {
		h->told = true;
		log_warning("vm '%s': interface '%s': passt has ended; it is started again", d->name, h->alias);
		tell(h, "NETDEV_STREAM_DISCONNECTED", "passt has ended");
	}
	h->pause = h->pause ? MIN(2 * h->pause, PAUSE_MOST_MS) : PAUSE_MS;
	if (!d->link) {                         /* its process is not heard just now */
		retry(h, h->pause);
		return G_SOURCE_REMOVE;
	}
	j = g_new0(struct job, 1);
	*j = (struct job){ .net = h->net, .helper = h, .iface = schema_new(&iface_schema), .file = g_strdup(h->file),
		.null_fd = d->kvmd->null_fd, .sock = -1 };
	schema_copy(&iface_schema, j->iface, i);
	h->net->refs++;
	work_run(d->kvmd->work, start, started, j);
	return G_SOURCE_REMOVE;
}

static void retry(struct helper *h, unsigned ms)
{
	if (!h->timer)
		h->timer = g_timeout_add(MAX(ms, SETTLE_MS), due, h);
}

static gboolean gone(gint fd, GIOCondition cond, gpointer data)
{
	struct helper *h = data;

	h->gone = 0;
	close(h->pidfd);
	h->pidfd = -1;
	if (g_get_monotonic_time() - h->since > STEADY_US)
		h->pause = 0;
	retry(h, h->pause);
	return G_SOURCE_REMOVE;
}

/* Watches the process there is, or sees to one. */
static void look(struct helper *h)
{
	helper_stop(h);
	h->pidfd = find(h);
	h->since = g_get_monotonic_time();
	if (h->pidfd >= 0)
		h->gone = g_unix_fd_add(h->pidfd, G_IO_IN, gone, h);
	else
		retry(h, h->pause);
}

/* --- for the supervisor --- */

void net_watch(struct dom *d)
{
	g_autofree char *dir = dom_run_dir(d);

	net_forget(d);
	d->net = g_new0(struct dom_net, 1);
	*d->net = (struct dom_net){ .dom = d, .refs = 1, .helpers = g_ptr_array_new_with_free_func(helper_free) };
	list_each(iface, i, d->live->devices.interfaces) {
		struct helper *h;

		if (i->type != IFACE_USER || !i->alias)
			continue;
		h = g_new0(struct helper, 1);
		*h = (struct helper){ .net = d->net, .alias = g_strdup(i->alias), .file = net_passt_file(dir, i->alias), .pidfd = -1 };
		g_ptr_array_add(d->net->helpers, h);
		look(h);
	}
}

void net_forget(struct dom *d)
{
	struct dom_net *n = g_steal_pointer(&d->net);

	if (!n)
		return;
	n->dead = true;
	for (unsigned i = 0; i < n->helpers->len; i++)
		helper_stop(g_ptr_array_index(n->helpers, i));
	net_unref(n);
}

void net_changed(const char *dir, const struct machine *was, const struct machine *is)
{
	list_each(iface, i, was->devices.interfaces) {
		g_autofree char *file = i->alias && i->type == IFACE_USER && !card(is, i->alias) ? net_passt_file(dir, i->alias) : NULL;

		if (file)
			(void)unlink(file);
	}
}

void net_clean(const char *dir, const struct machine *live)
{
	GDir *d = g_dir_open(dir, 0, NULL);
	const char *name;

	while (d && (name = g_dir_read_name(d))) {
		g_autofree char *path = g_build_filename(dir, name, NULL), *alias = NULL;

		if (!g_str_has_prefix(name, FILE_PREFIX) || !g_str_has_suffix(name, FILE_SUFFIX))
			continue;
		alias = g_strndup(name + strlen(FILE_PREFIX), strlen(name) - strlen(FILE_PREFIX FILE_SUFFIX));
		if (!card(live, alias))
			(void)unlink(path);
	}
	if (d)
		g_dir_close(d);
}
