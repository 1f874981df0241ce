/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Consoles: sockets handed over while the machine runs. Any number up to CHR_CONSOLES_MAX read, one
 * writes; who takes that place by force ends the other's connection. One whose peer has left while its last input still waits for the guest counts no more as
 * writer, and makes room for a new one when the list is full.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "devices/chr_core.h"
#include "domain/error.h"

struct attach {
	struct chr *chr;
	int fd;
	unsigned flags;
	const char *name;
	unsigned id;
	bool ok;
	GError **err;
};

/* The one whose keyboard is taken is told and let go, for what he goes on to type would reach nobody. */
static void displace(struct chr_end *e, const char *by)
{
	g_autofree char *text = g_strdup_printf("\r\n[kvmd] '%s' has taken this console\r\n", by);

	(void)send(e->watch.fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);       /* full: he sees the end all the same */
	e->closing = true;
}

static void attach_on_loop(void *arg)
{
	struct attach *a = arg;
	struct chr *c = a->chr;
	struct chr_end *writer = NULL, *left = NULL, *e;
	unsigned n = 0;

	for (unsigned i = 0; i < c->ends->len; i++) {
		e = c->ends->pdata[i];
		n += e->ops == &chr_console;
		if (e->ops == &chr_console && e->hup)
			left = e;       /* its last input still waits for the guest */
		else if (e->writer)
			writer = e;
	}
	if (n >= CHR_CONSOLES_MAX && left) {
		left->closing = true;
		chr_sweep(c);
		n--;
	}
	if (n >= CHR_CONSOLES_MAX || (writer && a->flags & CHR_WRITER && !(a->flags & CHR_FORCE))) {
		if (n >= CHR_CONSOLES_MAX)
			kerr_set(a->err, KERR_LIMIT, "%d consoles are attached already", CHR_CONSOLES_MAX);
		else
			kerr_set(a->err, KERR_BUSY, "'%s' (console %u) writes to it already: look with --readonly, or take the keyboard with --force", writer->name, writer->id);
		close(a->fd);
		return;
	}
	e = chr_end_new(c, &chr_console);
	e->watch.fd = a->fd;
	e->pollable = e->strict = true;
	e->id = c->next_id++;
	g_strlcpy(e->name, a->name ? a->name : "", sizeof(e->name));
	g_mutex_lock(&c->lock);
	e->at = a->flags & CHR_NO_BACKLOG ? c->ring.head : chr_ring_backlog(&c->ring);
	g_mutex_unlock(&c->lock);
	if (a->flags & CHR_WRITER) {
		if (writer)
			displace(writer, e->name);
		e->writer = true;
	}
	a->id = e->id;
	a->ok = chr_end_join(e, false, a->err);
	chr_sweep(c);
}

bool chr_attach(struct chr *c, int fd, unsigned flags, const char *name, unsigned *id, GError **err)
{
	struct attach a = { .chr = c, .fd = fd, .flags = flags, .name = name, .err = err };

	loop_call(c->loop, attach_on_loop, &a);
	if (a.ok)
		*id = a.id;
	return a.ok;
}

static void detach_on_loop(void *arg)
{
	struct attach *a = arg;

	for (unsigned i = 0; i < a->chr->ends->len; i++) {
		struct chr_end *e = a->chr->ends->pdata[i];

		if (e->ops == &chr_console && e->id == a->id)
			a->ok = e->closing = true;
	}
	chr_sweep(a->chr);
}

bool chr_detach(struct chr *c, unsigned id, GError **err)
{
	struct attach a = { .chr = c, .id = id };

	loop_call(c->loop, detach_on_loop, &a);
	return a.ok || kerr_set(err, KERR_NO_DEVICE, "there is no console %u", id);
}

struct ask_info {
	struct chr *chr;
	struct chr_info *out;
};

static void info_on_loop(void *arg)
{
	struct ask_info *a = arg;
	struct chr *c = a->chr;
	struct chr_info *out = a->out;

	*out = (struct chr_info){ .backend = c->backend ? c->backend->ops->name : "null", .in = c->in, .cut = c->cut };
	g_mutex_lock(&c->lock);
	out->out = c->ring.head;
	g_mutex_unlock(&c->lock);
	out->open = chr_is_open(c);
	if (c->backend)
		out->lost = c->backend->lost;
	for (unsigned i = 0; i < c->ends->len; i++) {
		const struct chr_end *e = c->ends->pdata[i];

		if (e->ops != &chr_console || e->hup)
			continue;
		out->consoles[out->consoles_n].id = e->id;
		out->consoles[out->consoles_n].writer = e->writer;
		out->consoles[out->consoles_n].sent = e->sent;
		g_strlcpy(out->consoles[out->consoles_n++].name, e->name, CHR_NAME_MAX);
	}
}

void chr_info(struct chr *c, struct chr_info *out)
{
	struct ask_info a = { c, out };

	loop_call(c->loop, info_on_loop, &a);
}
