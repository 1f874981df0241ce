/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A QMP client that names a path at a machine's own socket.
 *
 * A machine's process may be hostile, and what it asks for is not done: it hands over the client's socket, and kvmd believes the
 * kernel and the client only.
 *  - The socket must be a connection to this machine's qmp.sock: its own name is then that path. The process can't make such a
 *    socket (its fence has no socket, socketpair, bind, connect), nor get one otherwise: what kvmd opened for it (character
 *    devices, the agent's, passt) has other names, or none, and so has any that a client gave it by getfd.
 *  - Whoever connected, as the kernel noted it, must be one who may connect to control.sock; a machine's user never is, nor is
 *    kvmd itself, which connects character devices: what is written there is the machine's. So nobody may connect these
 *    to a qmp.sock.
 *  - The command is read here, from the socket: the process holds only the end to which the client writes. What it has read
 *    itself is gone, so it can't play a command twice or alter one. It can read on to the middle of a message, so that kvmd
 *    begins inside a string with text that somebody else chose. But a command needs quotes that no backslash stands in front
 *    of, and within a string in double quotes each has one: there such text does not parse. Hence the strict reading, without
 *    single quotes, which need no backslash there. What remains is a trusted client that writes ' around its own strings and
 *    puts foreign text there, " and all.
 *  - What is parsed is what was read, not what was seen before: the process may read in between.
 * Then it is a command at control.sock, logged with who gave it.
 */
#include "daemon/client_serve.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/auth.h"
#include "daemon/control.h"
#include "daemon/dom.h"
#include "daemon/kvmd.h"
#include "daemon/link.h"
#include "daemon/log.h"
#include "daemon/wire.h"
#include "daemon/wire_text.h"
#include "domain/error.h"

#define AT_ONCE 64              /* of one machine: as many clients as it takes */
#define TOLD_USEC (60 * G_USEC_PER_SEC) /* a machine that forges is told of once in that time */

struct serve {
	struct dom *dom;
	uint64_t id;
	int pid;                        /* the process that asked: the answer is not for another */
	bool taken;
};

static void tell(const struct serve *s, json_object *answer)
{
	json_object *args = json_object_new_object();

	json_object_object_add(args, "serve", json_object_new_uint64(s->id));
	json_object_object_add(args, "taken", json_object_new_boolean(s->taken));
	if (answer)
		json_object_object_add(args, "answer", json_object_get(answer));
	if (s->dom->link && s->dom->pid == s->pid)
		link_call(s->dom->link, "client-served", args, NULL, 0, 0, NULL, NULL);
	else
		json_object_put(args);
}

static void served(void *arg, json_object *answer)
{
	struct serve *s = arg;

	tell(s, answer);
	s->dom->serves--;
	dom_unref(s->dom);
	g_free(s);
}

static bool has_option(int fd, int option, int value)
{
	int v;
	socklen_t len = sizeof v;

	return !getsockopt(fd, SOL_SOCKET, option, &v, &len) && v == value;
}

/* Is it what accept() gave for this machine's qmp.sock? */
static bool is_client(const char *path, int fd)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	socklen_t len = sizeof at;

	if (!has_option(fd, SO_DOMAIN, AF_UNIX) || !has_option(fd, SO_TYPE, SOCK_STREAM) || !has_option(fd, SO_ACCEPTCONN, 0))
		return false;
	if (getsockname(fd, (struct sockaddr *)&at, &len) < 0 || len <= offsetof(struct sockaddr_un, sun_path) || len > sizeof at)
		return false;
	return !strncmp(at.sun_path, path, sizeof at.sun_path);
}

static bool may_ask(const struct kvmd *k, int fd, const struct auth *who, GError **err)
{
	const struct config *c = k->config;
	g_autofree char *control = control_path(k->control);
	bool machine = c->worker_uid_base && who->uid >= c->worker_uid_base && who->uid - c->worker_uid_base < c->worker_uid_count;

	return (!machine && auth_may_connect(fd, who, control)) ||
		kerr_set(err, KERR_ACCESS, "kvmd opens nothing for user %u, who may not use '%s': join its group, or hand a descriptor over by add-fd or getfd", who->uid, control);
}

/* The command in front of the socket's queue, read; new. NULL: *err. */
static json_object *take(struct serve *s, int fd, GError **err)
{
	g_autofree char *text = g_malloc(WIRE_WHOLE_MAX);
	ssize_t there = recv(fd, text, WIRE_WHOLE_MAX, MSG_PEEK | MSG_DONTWAIT);
	struct wire_frame frame = { 0 }, again = { 0 };
	size_t end, next, len;
	json_object *m;
	const char *why;

	if (there <= 0 || !wire_frame_next(&frame, text, (size_t)there, &end, &next))
		return kerr_set(err, KERR_JSON, "no command was there as a whole"), NULL;
	there = recv(fd, text, next, MSG_DONTWAIT);
	s->taken = there > 0;
	len = s->taken ? (size_t)there : 0;
	if (len != next || !wire_frame_next(&again, text, len, &end, &next) || next != len)
		return kerr_set(err, KERR_JSON, "the command changed while it was read"), NULL;
	m = wire_parse(text, end, false, &why);
	if (!m)
		kerr_set(err, KERR_JSON, "the message is %s: kvmd, which is to open something, reads strings in double quotes only", why);
	return m;
}

static json_object *check(struct serve *s, int fd, char **who, GError **err)
{
	struct dom *d = s->dom;
	g_autofree char *path = g_strdup_printf("%s/%s/qmp.sock", d->kvmd->paths->vms, d->uuid);
	struct auth auth;

	/* unix.c binds such a one by another name, which says nothing */
	if (strlen(path) >= sizeof ((struct sockaddr_un *)0)->sun_path)
		return kerr_set(err, KERR_UNSUPPORTED, "'%s' is too long a name for kvmd to know its clients by: ask kvmd itself ('kvmctl qmp')", path), NULL;
	auth_of_socket(fd, &auth);
	if (!is_client(path, fd) || auth.pid == getpid()) {
		gint64 now = g_get_monotonic_time();

		if (!d->serve_told || now - d->serve_told > TOLD_USEC)
			log_warning("vm '%s': its process handed over a socket that is no client of its own: refused", d->name);
		d->serve_told = now;
		return kerr_set(err, KERR_ACCESS, "the socket is not a connection to this machine's qmp.sock"), NULL;
	}
	*who = auth_text(&auth);
	if (d->serves > AT_ONCE)
		return kerr_set(err, KERR_LIMIT, "kvmd does %u commands of this machine's clients already", AT_ONCE), NULL;
	return may_ask(d->kvmd, fd, &auth, err) ? take(s, fd, err) : NULL;
}

void client_serve(struct dom *d, uint64_t id, int fd)
{
	struct serve *s = g_new(struct serve, 1);
	g_autofree char *who = NULL;
	g_autoptr(GError) err = NULL;
	json_object *m, *answer;

	*s = (struct serve){ .dom = dom_ref(d), .id = id, .pid = d->pid };
	d->serves++;
	m = check(s, fd, &who, &err);
	close(fd);
	if (!m) {
		answer = wire_error(NULL, err);
		served(s, answer);
		json_object_put(answer);
		return;
	}
	tell(s, NULL);
	request_serve(d, m, who, served, s);
	json_object_put(m);
}
