/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * kvmctl console. On a terminal: raw mode, all keys go to the guest but Ctrl-], which detaches. From a pipe: the input is
 * sent, and when it ends, output is shown until the guest has been quiet for a second, so that scripts need no sleep.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "tools/kvmctl.h"

#define DETACH 0x1d             /* Ctrl-] */
#define QUIET_MS 1000
#define ROOM 4096

static struct termios before;   /* for the signal handler: a terminal must not stay raw */
static volatile sig_atomic_t is_raw;

static void make_sane(void)
{
	if (is_raw)
		(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
	is_raw = 0;
}

static void on_signal(int sig)
{
	make_sane();
	_exit(128 + sig);
}

static void make_raw(void)
{
	struct termios t;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return;
	t = before;
	cfmakeraw(&t);
	for (const int *s = (const int[]){ SIGTERM, SIGHUP, SIGINT, SIGQUIT, 0 }; *s; s++)
		(void)signal(*s, on_signal);
	(void)atexit(make_sane);
	is_raw = 1;
	(void)tcsetattr(STDIN_FILENO, TCSADRAIN, &t);
}

struct out {
	char data[ROOM];
	size_t len;             /* waits to be sent to the guest */
};

/* false: the other side has gone. */
static bool send_some(int fd, struct out *o)
{
	ssize_t n = write(fd, o->data, o->len);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	memmove(o->data, o->data + n, o->len - (size_t)n);
	o->len -= (size_t)n;
	return true;
}

static bool write_all(const char *data, size_t n)
{
	while (n) {
		ssize_t w = write(STDOUT_FILENO, data, n);

		if (w < 0 && errno != EINTR && errno != EAGAIN)
			return false;
		if (w > 0) {
			data += w;
			n -= (size_t)w;
		}
	}
	return true;
}

/* Reads keys; true: detach. *ended: no more will come. */
static bool read_keys(struct out *o, bool tty, bool readonly, bool *ended)
{
	char buf[ROOM];
	ssize_t n = read(STDIN_FILENO, buf, ROOM - o->len);

	if (n <= 0) {
		*ended = n == 0 || (errno != EINTR && errno != EAGAIN);
		return false;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (tty && buf[i] == DETACH)
			return true;
		if (!readonly)
			o->data[o->len++] = buf[i];
	}
	return false;
}

/* true: detached by the user (or his pipe ended), false: the machine ended. */
static bool copy(int fd, bool tty, bool readonly)
{
	struct out out = { .len = 0 };
	bool ended = false;

	for (;;) {
		struct pollfd p[2] = { { .fd = fd, .events = (short)(POLLIN | (out.len ? POLLOUT : 0)) },
			{ .fd = ended || out.len == ROOM ? -1 : STDIN_FILENO, .events = POLLIN } };
		int n = poll(p, 2, ended && !out.len && !tty ? QUIET_MS : -1);

		if (n == 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
		if (n < 0)
			continue;
		if (p[1].revents && read_keys(&out, tty, readonly, &ended))
			return true;
		if (out.len && !send_some(fd, &out))
			return false;
		if (p[0].revents & (POLLIN | POLLHUP | POLLERR)) {
			char buf[65536];
			ssize_t got = read(fd, buf, sizeof buf);

			if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
				return false;
			if (got > 0 && !write_all(buf, (size_t)got))
				return true;
		}
		if (ended && tty)
			return true;
	}
}

int console_run(int fd, const char *vm, const char *device, bool readonly)
{
	bool tty = isatty(STDIN_FILENO), detached;

	(void)signal(SIGPIPE, SIG_IGN);
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (tty) {
		fprintf(stderr, "connected to '%s'%s%s%s; Ctrl-] detaches\r\n", vm, *device ? ", " : "", device, readonly ? ", read-only" : "");
		make_raw();
	}
	detached = copy(fd, tty, readonly);
	make_sane();
	if (tty)
		fprintf(stderr, detached ? "\ndetached from '%s'\n" : "\nconsole of '%s' closed\n", vm);
	close(fd);
	return 0;
}
