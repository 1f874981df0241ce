/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/devices/chr_rig.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static size_t sink_room(struct device *d)
{
	return ((struct sink *)d)->room;
}

static void sink_input(struct device *d, const uint8_t *data, size_t n)
{
	struct sink *s = (struct sink *)d;

	g_assert_cmpuint(n, <=, s->room);
	s->room -= n;
	g_string_append_len(s->got, (const char *)data, (gssize)n);
}

static const struct chr_front front = { .room = sink_room, .input = sink_input };

void set_up(struct test *t, size_t room)
{
	*t = (struct test){ .f = fake_vm() };
	t->sink.dev.vm = &t->f->vm;
	t->sink.room = room;
	t->sink.got = g_string_new(NULL);
	t->chr = chr_new(t->f->loop, &front, &t->sink.dev);
}

void tear_down(struct test *t)
{
	chr_free(t->chr);
	g_string_free(t->sink.got, TRUE);
	fake_free(t->f);
}

void pass(struct test *t)
{
	for (int i = 0; i < 3; i++)
		fake_pass(t->f, 1000000);
}

void put_text(struct test *t, const char *text)
{
	chr_write(t->chr, text, strlen(text));
	pass(t);
}

char *get_text(int fd)
{
	static char buf[300000];
	ssize_t n, all = 0;

	while ((n = read(fd, buf + all, sizeof(buf) - 1 - (size_t)all)) > 0)
		all += n;
	buf[all] = 0;
	return buf;
}

int attach(struct test *t, unsigned flags, const char *name, unsigned *id)
{
	GError *err = NULL;
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), ==, 0);
	chr_attach(t->chr, pair[1], flags, name, id, &err);
	g_assert_no_error(err);
	return pair[0];
}
