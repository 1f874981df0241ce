/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fake as a machine that has been taken over: it hands kvmd sockets of all kinds as its clients', and reads these clients' input up to
 * wherever it likes. */
#include "tests/daemon/fake_serve.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define COMMAND "{\"execute\":\"chardev-add\",\"arguments\":{\"id\":\"forged\",\"backend\":{\"type\":\"pty\",\"data\":{}}}}\n"

static int pair(int type, int fds[2])
{
	return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) || write(fds[1], COMMAND, strlen(COMMAND)) < 0 ? -1 : fds[0];
}

/* Its name is not that of the machine's socket, nearly. */
static int other_listener(int qmp)
{
	struct sockaddr_un at;
	socklen_t len = sizeof at;
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), s;

	if (getsockname(qmp, (struct sockaddr *)&at, &len))
		return -1;
	strcat(at.sun_path, "x");
	(void)unlink(at.sun_path);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 1) || connect(client, (struct sockaddr *)&at, sizeof at))
		return -1;
	s = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	(void)unlink(at.sun_path);
	return write(client, COMMAND, strlen(COMMAND)) < 0 ? -1 : s;
}

/* The end that the client has: what comes there the machine writes. */
static int client_end(int qmp)
{
	struct sockaddr_un at;
	socklen_t len = sizeof at;
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return getsockname(qmp, (struct sockaddr *)&at, &len) || connect(s, (struct sockaddr *)&at, len) ? -1 : s;
}

static int make(const struct fake_serve *f, const char *what)
{
	int fds[2];

	if (!strcmp(what, "client"))
		return wire_fd(f->held);
	if (!strcmp(what, "listener"))
		return f->qmp;
	if (!strcmp(what, "link"))
		return wire_fd(f->kvmd);
	if (!strcmp(what, "pair"))
		return pair(SOCK_STREAM, fds);
	if (!strcmp(what, "packets"))
		return pair(SOCK_SEQPACKET, fds);
	if (!strcmp(what, "datagrams"))
		return pair(SOCK_DGRAM, fds);
	if (!strcmp(what, "other"))
		return other_listener(f->qmp);
	if (!strcmp(what, "end"))
		return client_end(f->qmp);
	if (!strcmp(what, "tcp"))
		return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	return memfd_create("forged", MFD_CLOEXEC);
}

bool fake_serve(struct fake_serve *f, const char *name, const char *text, struct wire *w)
{
	json_object *o;
	char there;
	int fd;

	if (!strcmp(name, "x-hold")) {          /* from now on this client's input stays */
		f->held = w;
		wire_hold(w, true);
	} else if (!strcmp(name, "x-eat")) {    /* so many bytes of it */
		for (int n = atoi(text); n > 0 && recv(wire_fd(f->held), &there, 1, MSG_DONTWAIT) == 1; n--)
			continue;
	} else if (!strcmp(name, "x-serve")) {
		fd = make(f, text);
		o = json_object_new_object();
		json_object_object_add(o, "serve", json_object_new_uint64(++f->made));
		g_assert_cmpint(fd, >=, 0);
		wire_send(f->kvmd, o, &fd, 1);
		json_object_put(o);
	} else {
		return false;
	}
	return true;
}
